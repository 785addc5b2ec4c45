"""The pages of one base, as long as some view needs them: from the file, or from the document when the file has them no
more."""

from __future__ import annotations

from collections.abc import Sequence

from vaultsync.errors import DamagedStore, StoreError
from vaultsync.schema.cells import Raw
from vaultsync.vault.ledger import Ledger
from vaultsync.view.pages import PAGE, MalformedPage
from vaultsync.view.stored import Pages

__all__ = ["BasePages"]


class BasePages(Pages):
    """See the module. A view may outlive its base (another process made it anew) and its vault (it was closed)."""

    def __init__(self, ledger: Ledger, generation: bytes, heads: tuple[bytes, ...], ids: Sequence[str]) -> None:
        super().__init__(ids, self._from_file, self._from_document)
        self.generation = generation
        self._ledger = ledger
        self._heads = heads
        self._held: dict[int, bytes] = {}

    def _from_file(self, number: int) -> bytes:
        if (held := self._held.get(number)) is not None:
            return held
        ledger = self._ledger
        try:
            with ledger.store.read() as reading:
                try:
                    return ledger.shelf.page(reading, self.generation, number)
                except MalformedPage:
                    if ledger.shelf.holds(reading, self.generation):
                        ledger.distrust_shelf(self.generation)
                    raise
        except DamagedStore:
            raise MalformedPage("a page cannot be read") from None

    def _from_document(self, ids: Sequence[str]) -> Sequence[Raw]:
        """The same entries as they were then. Loads the document."""
        ledger = self._ledger
        with ledger.lock:
            engine = ledger.engine
            return [engine.read_at(entry_id, self._heads) or {} for entry_id in ids]

    def hold(self) -> None:
        """The file is about to be closed: have every page in memory."""
        for number in range(-(-len(self._ids) // PAGE)):
            try:
                self._held[number] = self._from_file(number)
            except (MalformedPage, StoreError):
                return  # it is gone already: what was not looked at stays unread

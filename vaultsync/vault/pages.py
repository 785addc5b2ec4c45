"""The pages of one base, as long as some view needs them: from the file, or from the document when the file has them no
more."""

from __future__ import annotations

from collections.abc import Sequence

from vaultsync.errors import DamagedStore, StoreError
from vaultsync.schema.cells import Raw
from vaultsync.vault.ledger import Ledger
from vaultsync.view.columns import Columns
from vaultsync.view.pages import PAGE
from vaultsync.view.stored import AHEAD, Pages

__all__ = ["BasePages"]


class BasePages(Pages):
    """See the module. A view may outlive its base (another process made it anew) and its vault (it was closed)."""

    def __init__(self, ledger: Ledger, generation: bytes, heads: tuple[bytes, ...], columns: Columns) -> None:
        super().__init__(columns, self._from_file, self._from_document)
        self.generation = generation
        self._ledger = ledger
        self._heads = heads
        self._held: dict[int, bytes] = {}

    def _from_file(self, number: int, many: int) -> dict[int, bytes]:
        if number in self._held:
            return {number: self._held[number]}
        ledger = self._ledger
        try:
            with ledger.store.read() as reading:
                found = ledger.shelf.pages(reading, self.generation, number, many)
                if number not in found and ledger.shelf.holds(reading, self.generation):
                    ledger.distrust_shelf(self.generation)
                return found
        except DamagedStore:
            return {}

    def _from_document(self, ids: Sequence[str]) -> Sequence[Raw]:
        """The same entries as they were then. Loads the document."""
        ledger = self._ledger
        with ledger.lock:
            engine = ledger.engine
            return [engine.read_at(entry_id, self._heads) or {} for entry_id in ids]

    def hold(self) -> None:
        """The file is about to be closed: have every page in memory."""
        last = -(-len(self._columns.ids) // PAGE)
        for number in range(0, last, AHEAD):
            try:
                self._held |= self._from_file(number, min(AHEAD, last - number))
            except StoreError:
                return  # it is gone already: what was not looked at stays unread

"""A draft: edits planned but not yet written, each seeing those before it.

One edit is a draft of one; ``vault.batch()`` is a draft of many. Planning is pure (`view.edits`); writing is
`Ledger.write`. Between the two another process or the background sync may have added changes: the operations are then
applied on top of those, key by key, as a concurrent edit would be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from vaultsync.document.engine import DELETED, Deleted, Edits, Engine
from vaultsync.document.layout import ENTRIES
from vaultsync.errors import EntryNotFound
from vaultsync.schema.cells import GONE, Gone, Ops, Raw, Scalar
from vaultsync.store import Writing

__all__ = ["Draft"]


class Draft:
    """``base`` reads an entry as it is stored now (``None`` when there is none). ``incarnation``: whose edits are
    planned."""

    def __init__(self, base: Callable[[str], Raw | None], incarnation: str | None = None) -> None:
        self._base = base
        self.incarnation = incarnation
        self._ops: dict[str, Ops] = {}
        self._raws: dict[str, Raw] = {}
        self.added: set[str] = set()
        self.checked = False
        """Whether it was made sure that the vault may be written to; it is again when the draft is written."""
        self.also: list[Callable[[Writing], None]] = []
        """What else to store in the transaction that writes the draft."""

    def __bool__(self) -> bool:
        return bool(self._ops)

    def raw(self, entry_id: str) -> Raw:
        """The entry as this draft would leave it. Raises `EntryNotFound`."""
        raw = self._raws.get(entry_id)
        if raw is None:
            raw = self._base(entry_id)
        if raw is None:
            raise EntryNotFound(f"there is no entry {entry_id!r} in this vault")
        return raw

    def create(self, entry_id: str, ops: Ops) -> None:
        """A new entry."""
        self.added.add(entry_id)
        self._ops[entry_id] = ops
        self._raws[entry_id] = _stored(ops)

    def change(self, entry_id: str, ops: Ops) -> None:
        """Planned operations on an entry; a later one on the same key replaces an earlier one and takes a later
        place."""
        if ops:
            self._merge(entry_id, self.raw(entry_id), ops)

    def _merge(self, entry_id: str, raw: Raw, ops: Ops) -> None:
        mine = self._ops[entry_id] = dict(self._ops.get(entry_id, ()))  # what was handed out before stays as it is
        after: dict[str, Scalar] = dict(raw)
        for key, value in _with_older_cells(ops, mine).items():
            mine.pop(key, None)
            mine[key] = value
            if value is GONE:
                after.pop(key, None)
            else:
                after[key] = value
        self._raws[entry_id] = after

    @property
    def raws(self) -> Mapping[str, Raw]:
        """Every entry the draft changes, as it would leave it."""
        return self._raws

    def edits(self, engine: Engine, incarnation: str, *, stands: bool = False) -> list[Edits]:
        """The operations for the document as it is now; ``stands``: as it was when they were planned.

        ``$edited`` is raised above what this incarnation wrote meanwhile (another process of the same device): else a
        delete elsewhere that saw only the other write would cover this one too. Where the device goes on as another
        incarnation since the edits were planned, they are that one's.
        """
        renamed = {
            f"{prefix}{self.incarnation}": prefix + incarnation
            for prefix in ("$edited/", "$deleted/")
            if self.incarnation not in (None, incarnation)
        }
        mine = f"$edited/{incarnation}"
        edits: list[Edits] = []
        for entry_id, planned in self._ops.items():
            if entry_id in self.added and planned is self._raws[entry_id] and not renamed:
                edits.append(Edits(ENTRIES, entry_id, self._raws[entry_id]))  # an import: nothing is copied
                continue
            ops = {renamed.get(key, key): value for key, value in planned.items()}
            values = {key: DELETED if isinstance(value, Gone) else value for key, value in ops.items()}
            if stands or entry_id in self.added or mine not in ops:
                pass  # nobody wrote meanwhile
            elif (stored := engine.read(ENTRIES, entry_id)) is not None:
                values[mine] = _above(values[mine], stored.get(mine))
            edits.append(Edits(ENTRIES, entry_id, values))
        return edits


def _with_older_cells(ops: Ops, before: Ops) -> Ops:
    """``ops``, with every mark of a mirror followed by the older cells that followed it in an earlier edit.

    A mark and the older value that it speaks of must stand beside each other, mark first: concurrent writes of the two
    then win or lose together.
    """
    out: Ops = {}
    for key, value in ops.items():
        out[key] = value
        if key.startswith("$lens/") and key in before:
            for later in list(before)[list(before).index(key) + 1 :]:
                if later.startswith("$"):
                    break
                if later not in ops:
                    out[later] = before[later]
    return out


def _stored(ops: Ops) -> Raw:
    """What the operations make of an entry that was not there: the same mapping, if nothing in it is a removal."""
    if GONE in ops.values():
        return {key: value for key, value in ops.items() if value is not GONE}
    return cast("Raw", ops)


def _above(planned: Scalar | Deleted, stored: Scalar) -> Scalar | Deleted:
    if isinstance(planned, int) and isinstance(stored, int):
        return max(planned, stored + 1)
    return planned

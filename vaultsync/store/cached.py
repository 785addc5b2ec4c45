"""Rows that may go at any time: what the owner keeps to be quick, and can make again from the journal.

They stand in one table by *part* (a small number that the owner gives a meaning) and number. There is no checksum and
no count of them: the owner's seals notice what is damaged, stale or missing, and nothing is lost with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vaultsync.errors import DamagedStore
from vaultsync.store.base import Changes, Rows

__all__ = ["CachedReading", "CachedWriting"]

_DOING: Final = "reading what is kept to be quick"
_WRITING: Final = "keeping what makes reading quick"
_SHIFT: Final = 40
"""Numbers within a part: 2**40, more than a file can hold."""
_LAST: Final = (1 << _SHIFT) - 1


class CachedReading(Rows):
    """Reads of cached rows. A row that SQLite itself cannot read raises `DamagedStore`."""

    def cached(self, part: int, number: int) -> bytes | None:
        """One row."""
        row = self._row(_DOING, "SELECT sealed FROM cache WHERE id = ?", part << _SHIFT | number)
        return None if row is None else bytes(row[0])

    def cached_rows(self, part: int, first: int = 0, last: int = _LAST) -> list[tuple[int, bytes]]:
        """The rows of a part with numbers from ``first`` to ``last``, ascending."""
        rows = self._rows(
            _DOING,
            "SELECT id, sealed FROM cache WHERE id BETWEEN ? AND ? ORDER BY id",
            part << _SHIFT | first,
            part << _SHIFT | last,
        )
        return [(id_ & _LAST, sealed) for id_, sealed in rows]

    def cached_numbers(self, part: int) -> list[int]:
        """The numbers that a part has, ascending."""
        rows = self._rows(
            _DOING,
            "SELECT id FROM cache WHERE id BETWEEN ? AND ? ORDER BY id",
            part << _SHIFT,
            part << _SHIFT | _LAST,
        )
        return [id_ & _LAST for (id_,) in rows]

    def last_cached(self, part: int) -> int | None:
        """The highest number of a part."""
        row = self._row(
            _DOING,
            "SELECT max(id) FROM cache WHERE id BETWEEN ? AND ?",
            part << _SHIFT,
            part << _SHIFT | _LAST,
        )
        return None if row is None or row[0] is None else row[0] & _LAST


class CachedWriting(CachedReading, Changes):
    """Writes of cached rows. Inside ``optional()`` damage to them does not take the rest of the transaction along."""

    @contextmanager
    def optional(self) -> Iterator[None]:
        """Steps that are undone alone when they meet damage (`DamagedStore`); any other error ends everything."""
        self._rows(_WRITING, "SAVEPOINT optional")
        try:
            yield
        except DamagedStore:
            if self._database.in_transaction:
                self._database.run(_WRITING, "ROLLBACK TO optional")
                self._database.run(_WRITING, "RELEASE optional")
                self._broken = False
                self.pictures.distrust()
            raise
        self._rows(_WRITING, "RELEASE optional")

    def cache(self, part: int, number: int, sealed: bytes) -> None:
        """Store a row, or replace the one that is there."""
        self.changed = True
        self._rows(_WRITING, "INSERT OR REPLACE INTO cache VALUES (?, ?)", part << _SHIFT | number, sealed)

    def uncache(self, part: int, first: int = 0, last: int = _LAST) -> None:
        """Drop rows of a part."""
        self.changed = True
        self._rows(
            _WRITING,
            "DELETE FROM cache WHERE id BETWEEN ? AND ?",
            part << _SHIFT | first,
            part << _SHIFT | last,
        )

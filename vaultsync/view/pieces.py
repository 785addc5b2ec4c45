"""Lists of stored entries as pieces of persistent maps: nothing is made before somebody looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

from vaultsync.view.decide import Status
from vaultsync.view.entry import Entry
from vaultsync.view.ordered import OrderedMap, Removed
from vaultsync.view.pages import PAGE
from vaultsync.view.stored import Content, StoredEntry, Summary, Table

__all__ = ["Piece", "StoredIds", "lazily", "moved"]

_SIZE: Final = 2 * PAGE
"""Entries of a piece; it is copied when one of them changes."""


class Piece:
    """A piece of an `OrderedMap` of entries by (created, id): keys and entries are made when somebody looks.

    Unpacks and indexes like the pair (keys, values) that a piece usually is.
    """

    __slots__ = ("_rows", "_table")

    def __init__(self, table: Table, rows: Sequence[int]) -> None:
        self._table = table
        self._rows = rows

    @property
    def first(self) -> tuple[int, str]:
        return self._table.columns.created[self._rows[0]], self._table.columns.ids[self._rows[0]]

    @property
    def size(self) -> int:
        return len(self._rows)

    def within(self, table: Table) -> Piece:
        return Piece(table, self._rows)

    def keys(self) -> list[tuple[int, str]]:
        columns, rows = self._table.columns, self._rows
        if isinstance(rows, range):
            part = slice(rows.start, rows.stop)
            return list(zip(columns.created[part], columns.ids[part], strict=True))
        return [(columns.created[row], columns.ids[row]) for row in rows]

    def values(self) -> list[StoredEntry]:
        return list(map(StoredEntry, repeat(self._table), self._rows, *self._cells()))

    def value(self, index: int) -> StoredEntry:
        return self._table.entry(self._rows[index])

    def summaries(self) -> Iterator[Summary]:
        """What a list shows of each."""
        return map(tuple.__new__, repeat(Summary), zip(*self._cells(), strict=True))

    def contents(self) -> list[Content]:
        """What is shown of each."""
        return self._table.contents(self._rows)

    def _cells(self) -> tuple[Iterable[str], Iterable[str | None], Iterable[str], Iterable[Status]]:
        """Ids, titles, types and statuses."""
        columns, index, rows = self._table.columns, self._table.index, self._rows
        numbers: Sequence[int]
        if isinstance(rows, range):
            part = slice(rows.start, rows.stop)
            ids, titles, numbers = columns.ids[part], index.titles[part], index.numbers[part]
        else:
            ids, titles = [columns.ids[row] for row in rows], [index.titles[row] for row in rows]
            numbers = [index.numbers[row] for row in rows]
        types, statuses = self._table.types, self._table.statuses
        return ids, titles, map(types.__getitem__, numbers), map(statuses.__getitem__, numbers)

    def __iter__(self) -> Iterator[Any]:
        yield self.keys()
        yield self.values()

    def __getitem__(self, which: int) -> Any:
        return self.values() if which else self.keys()


def lazily(table: Table, rows: Sequence[int]) -> OrderedMap[tuple[int, str], Entry]:
    """Some rows of a table as a map by (created, id)."""
    pieces = [Piece(table, rows[start : start + _SIZE]) for start in range(0, len(rows), _SIZE)]
    return OrderedMap.of_pieces(pieces, [piece.first for piece in pieces], len(rows))


def moved(entries: OrderedMap[tuple[int, str], Entry], table: Table) -> OrderedMap[tuple[int, str], Entry]:
    """The same entries with the stored ones out of another table of the same rows."""
    return entries.with_pieces(
        lambda piece: (
            piece.within(table)
            if isinstance(piece, Piece)
            else (piece[0], [table.entry(e._row) if isinstance(e, StoredEntry) else e for e in piece[1]])
        )
    )


class StoredIds:
    """Entries by id: those of a table, under those that changed since. Persistent."""

    __slots__ = ("_changes", "_table")

    def __init__(self, table: Table, changes: OrderedMap[str, Entry | None] | None = None) -> None:
        self._table = table
        self._changes: OrderedMap[str, Entry | None] = OrderedMap() if changes is None else changes

    def get(self, entry_id: str) -> Entry | None:
        found = self._changes.get(entry_id, _UNCHANGED)
        if found is not _UNCHANGED:
            return found
        row = self._table.row_of(entry_id)
        return None if row is None else self._table.entry(row)

    def changed(self, changes: Mapping[str, Entry | Removed]) -> StoredIds:
        """With some ids set or removed. A removed one stays noted: the table still has it."""
        if not changes:
            return self
        noted = {key: None if isinstance(entry, Removed) else entry for key, entry in changes.items()}
        return StoredIds(self._table, self._changes.changed(noted))

    def within(self, table: Table) -> StoredIds:
        """The same out of another table of the same rows."""
        return StoredIds(table, self._changes)

    def __iter__(self) -> Iterator[str]:
        changes = dict(self._changes.items())
        there = {entry_id for entry_id in self._table.columns.ids if entry_id not in changes}
        return iter(sorted(there | {entry_id for entry_id, entry in changes.items() if entry is not None}))


_UNCHANGED: Any = object()

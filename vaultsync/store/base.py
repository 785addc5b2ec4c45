"""What every transaction shares: running statements, the tally, and noticing that a row is not what was written.

`Rows` reads, `Changes` writes as well. The seams above them (journal, snapshots, objects) are mixed into `Reading` and
`Writing` in ``transactions.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from vaultsync.errors import DamagedStore, StoreBusy, StoreFailed
from vaultsync.store.connection import Database, SqlValue, damaged
from vaultsync.store.pictures import Kept, Picture, Pictures
from vaultsync.store.stamps import written_by
from vaultsync.store.tables import checksum, tally_checksum

__all__ = ["Changes", "Rows", "Tally"]


@dataclass
class Tally:
    """The one row that says what there should be. ``position`` and ``floor`` are journal positions, the rest are
    counts."""

    position: int = 0
    floor: int = 0
    commits: int = 0
    generation: int = 0
    journal_bytes: int = 0
    slots: int = 0
    actors: int = 0
    journal: int = 0
    snapshots: int = 0
    segments: int = 0
    remotes: int = 0
    envelopes: int = 0
    outbox: int = 0
    quarantine: int = 0
    state: int = 0


COUNTED = (
    "slots",
    "actors",
    "journal",
    "snapshots",
    "segments",
    "remotes",
    "envelopes",
    "outbox",
    "quarantine",
    "state",
)
"""Tables whose rows the tally counts."""
_NAMES = tuple(field.name for field in fields(Tally))
_numbers = attrgetter(*_NAMES)
_READ_TALLY = f"SELECT {', '.join(_NAMES)}, crc FROM tally WHERE id = 1"  # noqa: S608 (our own column names)
_WRITE_TALLY = f"UPDATE tally SET {', '.join(f'{name} = ?' for name in _NAMES)}, crc = ? WHERE id = 1"  # noqa: S608


class Rows:
    """Reads inside one transaction of one connection. Unusable once the transaction is over."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open = True
        self._tally_row: Tally | None = None

    def _finish(self) -> None:
        self._open = False

    def _usable(self) -> None:
        if not self._open:
            raise RuntimeError("this transaction is over; its rows have to be read inside the with block")

    def _rows(self, doing: str, sql: str, *parameters: SqlValue) -> list[Any]:
        self._usable()
        return self._database.rows(doing, sql, *parameters)

    def _row(self, doing: str, sql: str, *parameters: SqlValue) -> Any | None:
        found = self._rows(doing, sql, *parameters)
        return found[0] if found else None

    def _damaged(self, doing: str, lost: str = "", whole: str = "") -> DamagedStore:
        return damaged(self._database.path, doing, lost=lost, whole=whole)

    def _check(self, doing: str, table: str, columns: Sequence[Any], crc: object, lost: str = "") -> None:
        """Raise `DamagedStore` unless a row's columns are what was written."""
        if checksum(table, *columns) != crc:
            raise self._damaged(doing, lost)

    @property
    def _tally(self) -> Tally:
        if self._tally_row is None or not self._open:
            self._usable()
            doing = "reading the vault's record of itself"
            row = self._row(doing, _READ_TALLY)
            if row is None or tally_checksum(row[:-1]) != row[-1]:
                raise self._damaged(
                    doing,
                    "How many rows the vault's tables should have is not known any more, so missing ones go unnoticed.",
                )
            self._tally_row = Tally(*row[:-1])
        return self._tally_row

    def _seen(self, picture: Picture) -> Mapping[Any, Any] | None:
        """What is known of some tables without reading them; ``None``: nothing."""
        return None

    @property
    def commits(self) -> int:
        """How many transactions changed this file so far."""
        return self._tally.commits

    def _complete(self, doing: str, table: str) -> None:
        """A row was looked for and is not there: raise `DamagedStore` if rows of that (small) table have vanished."""
        row = self._row(doing, f"SELECT count(*) FROM {table}")  # noqa: S608 (our own table names)
        if row is None or row[0] != getattr(self._tally, table):
            raise self._damaged(doing)


class Changes(Rows):
    """Writes inside one transaction. After a statement failed nothing more is accepted: SQLite may have rolled back."""

    def __init__(self, database: Database, kept: Kept = lambda picture, total: None) -> None:
        super().__init__(database)
        self._broken = False
        self.changed = False
        self.written: Counter[str] = Counter()
        """Statements that changed something, by table."""
        self.pictures = Pictures(kept, self.written)

    def _seen(self, picture: Picture) -> Mapping[Any, Any] | None:
        return self.pictures.seen(picture, self._tally.commits)

    def _changed(self, picture: Picture, statements: int = 1) -> dict[Any, Any] | None:
        """Where to put down what the last so many statements on the picture's tables did, if that is kept."""
        return self.pictures.changed(picture, statements, self._tally.commits)

    def _rows(self, doing: str, sql: str, *parameters: SqlValue) -> list[Any]:
        if self._broken:
            raise StoreFailed(f"{self._database.path.name}: {doing} failed: an earlier step of this write did")
        table = written_by(sql)
        if table is not None:
            self.written[table] += 1
        try:
            return super()._rows(doing, sql, *parameters)
        except (StoreFailed, StoreBusy):
            self._broken = True  # a disk error may have ended the transaction: another statement would commit alone
            raise
        except DamagedStore:
            self._broken = self._broken or not self._database.in_transaction
            raise

    def _write(self, doing: str, sql: str, *parameters: SqlValue) -> int:
        """Run a statement that changes rows; returns how many."""
        self._change(doing, sql, *parameters)
        try:
            return int(self._rows(doing, "SELECT changes()")[0][0])
        except BaseException:
            self._broken = True
            raise

    def _change(self, doing: str, sql: str, *parameters: SqlValue) -> None:
        """The same where how many is known."""
        self.changed = True
        try:
            self._rows(doing, sql, *parameters)
        except BaseException:
            self._broken = True
            raise

    def _insert(self, table: str, doing: str, sql: str, *parameters: SqlValue, rows: int = 1) -> None:
        self._change(doing, sql, *parameters)  # a plain INSERT that did not fail has added its rows
        self._count(table, rows)

    def _delete(self, table: str, doing: str, sql: str, *parameters: SqlValue) -> int:
        gone = self._write(doing, sql, *parameters)
        self._count(table, -gone)
        return gone

    def _count(self, table: str, change: int) -> None:
        setattr(self._tally, table, getattr(self._tally, table) + change)

    def seal_transaction(self) -> None:
        """The last step before COMMIT: write the tally. Raises `StoreFailed` when a step before it failed."""
        if self._broken:
            raise StoreFailed(f"{self._database.path.name}: nothing was stored: a step of this write failed")
        if self.changed:
            self._tally.commits += 1
            values = _numbers(self._tally)
            self._change("storing", _WRITE_TALLY, *values, tally_checksum(values))  # it was read just now: it is there

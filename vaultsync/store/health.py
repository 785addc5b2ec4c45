"""Examining a whole file: what SQLite says of its pages, what the checksums say of the rows, what the tally says is
missing.

Reports in sentences for a person and in lists for a program; never raises for damage. Seals are not known here: the
owner hands in ``verify`` and its verdicts become part of the report.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from vaultsync.errors import DamagedStore, VaultSyncError
from vaultsync.store import files
from vaultsync.store.base import COUNTED
from vaultsync.store.connection import Database
from vaultsync.store.rows import JournalRow, LostRow, SnapshotInfo
from vaultsync.store.tables import checksum
from vaultsync.store.transactions import Reading

__all__ = ["Health", "Unreadable", "Verify", "examine"]

Verify = Callable[[str, tuple[Any, ...]], bool]
"""``verify(table, row) -> does its seal open``. Rows by table: "journal" `JournalRow`, "segment" (generation, number,
sealed), "index" (generation, sealed), "state" (name, sealed), "envelope" `Envelope`'s columns. It should not raise."""

_DOING = "checking the vault"


class Unreadable(NamedTuple):
    """A row that is there as written, and whose seal the owner says does not open."""

    table: str
    key: tuple[Any, ...]


@dataclass
class Health:
    """What was found. ``lost`` and ``whole`` are sentences; ``details`` are SQLite's own words, for a bug report."""

    lost: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    lost_changes: list[LostRow] = field(default_factory=list)
    snapshots: list[SnapshotInfo] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    bytes: int = 0
    """Size of the file and its log."""
    free_bytes: int = 0
    """Of these, pages that hold nothing (`Store.trim` gives them back)."""
    counts: dict[str, int] = field(default_factory=dict)
    """Readable rows by table."""
    leftovers: list[str] = field(default_factory=list)
    """Names of files that a killed creation left beside the vault."""

    @property
    def ok(self) -> bool:
        return not self.lost

    def __str__(self) -> str:
        if self.ok:
            return "The vault's file is whole.\n" + "\n".join(f"  {line}" for line in self.whole)
        lines = ["The vault's file is damaged.", *(f"  lost: {line}" for line in self.lost)]
        return "\n".join([*lines, *(f"  whole: {line}" for line in self.whole)])


class _Table(NamedTuple):
    one: str
    many: str
    key: str
    columns: tuple[str, ...]
    sealed: str | None  # what `verify` calls its rows


_TABLES = {
    "slots": _Table("way to unlock the vault", "ways to unlock the vault", "id", ("id", "kind", "data"), None),
    "actors": _Table(
        "record of this device's last change", "records of this device's last changes", "actor",
        ("actor", "last_seq", "last_hash", "packed"), None,
    ),
    "remotes": _Table("remote", "remotes", "id", ("id", "remote"), None),
    "state": _Table("stored setting", "stored settings", "name", ("name", "sealed"), "state"),
    "envelopes": _Table(
        "sent or received object", "sent or received objects", "id",
        ("name", "chain", "seq", "env_id", "kind", "own", "data"), "envelope",
    ),
    "quarantine": _Table("refused object", "refused objects", "name", ("name", "reason", "data"), None),
}  # fmt: skip


def examine(path: Path, open_database: Callable[[], Database], *, full: bool, verify: Verify | None) -> Health:
    """See `Store.check`."""
    health = Health()
    health.leftovers = [file.name for file in files.leftovers(path)]
    for file in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(OSError):
            health.bytes += file.stat().st_size
    try:
        database = open_database()
    except DamagedStore as error:
        health.lost += error.lost
        health.details.append(str(error.__cause__ or error))
        return health
    except VaultSyncError as error:
        health.lost.append(f"The vault cannot be opened: {error}")
        return health
    try:
        database.run(_DOING, "BEGIN DEFERRED")
        _pages(database, health, full)
        _Examination(database, health, verify).run()
    except VaultSyncError as error:
        health.lost.append(f"The check could not be finished: {error}")
    finally:
        database.rollback()
        database.close()
    return health


def _pages(database: Database, health: Health, full: bool) -> None:
    for pragma in ("quick_check", *(["integrity_check"] if full else [])):
        try:
            said = [str(row[0]) for row in database.rows(_DOING, f"PRAGMA {pragma}")]
        except DamagedStore as error:
            said = [str(error.__cause__ or error)]
        if said != ["ok"]:
            health.details += [line for line in said if line not in health.details]
            break
    try:
        free, size = database.pragma(_DOING, "freelist_count"), database.pragma(_DOING, "page_size")
        health.free_bytes = int(free) * int(size)
    except DamagedStore:
        pass
    if health.details:
        health.lost.append("The structure of the file is damaged; what that means for its contents follows.")


class _Examination:
    """One pass over all tables in one read transaction."""

    def __init__(self, database: Database, health: Health, verify: Verify | None) -> None:
        self.database = database
        self.health = health
        self.verify = verify
        self.reading = Reading(database)

    def run(self) -> None:
        self.tally()
        self.journal()
        self.snapshots()
        for name, table in _TABLES.items():
            self.table(name, table)
        self.outbox()

    def tally(self) -> None:
        try:
            self.reading.position()
        except DamagedStore as error:
            self.health.lost += error.lost

    def expected(self, table: str) -> int | None:
        try:
            return int(getattr(self.reading._tally, table))
        except DamagedStore:
            return None

    def opens(self, kind: str, key: tuple[Any, ...], row: tuple[Any, ...]) -> bool:
        if self.verify is None or self.verify(kind, row):
            return True
        self.health.unreadable.append(Unreadable(kind, key))
        return False

    def report(self, table: str, one: str, many: str, good: int, bad: int) -> None:
        """``bad`` counts rows that are known to have been there; the tally may know of more."""
        self.health.counts[table] = good
        should = self.expected(table)
        bad = max(bad, 0 if should is None else should - good)
        if bad:
            self.health.lost.append(f"{bad} {one if bad == 1 else many} of {good + bad} cannot be read.")
        if good:
            self.health.whole.append(f"{good} {one if good == 1 else many}.")
        if should is not None and should < good + bad and not bad:
            self.health.lost.append(f"There are {good} {many} where {should} were stored: deleted ones came back.")

    # ---- the tables
    def journal(self) -> None:
        good: list[JournalRow] = []
        unreadable = 0
        try:
            for row in self.reading.salvage(self._floor_or_zero()):
                if isinstance(row, LostRow):
                    self.health.lost_changes.append(row)
                elif self.opens("journal", (row.position,), row):
                    good.append(row._replace(sealed=b""))
                else:
                    unreadable += 1
            below = [row for row in self.reading.salvage(0) if row.position <= self._floor_or_zero()]
        except DamagedStore as error:
            self.health.lost += error.lost
            return
        self.health.lost_changes += [row for row in below if isinstance(row, LostRow)]
        kept = [row for row in below if isinstance(row, JournalRow)]
        self.report(
            "journal",
            "recorded change",
            "recorded changes",
            len(good) + len(kept),
            len(self.health.lost_changes) + unreadable,
        )
        self._own_gaps([*kept, *good])

    def _floor_or_zero(self) -> int:
        return self.reading.floor_or_zero()

    def _own_gaps(self, rows: list[JournalRow]) -> None:
        try:
            tips = self.reading.own_tips()
        except DamagedStore:
            return  # reported with its own table
        for tip in tips:
            held = (range(row.seq - row.holds + 1, row.seq + 1) for row in rows if row.actor == tip.actor)
            there = set(chain.from_iterable(held))
            gaps = [seq for seq in range(tip.packed + 1, tip.seq + 1) if seq not in there]
            if gaps:
                self.health.lost.append(
                    f"{len(gaps)} of this device's own changes, not sent anywhere yet, are missing "
                    f"(from number {gaps[0]})."
                )

    def snapshots(self) -> None:
        health = self.health
        try:
            health.snapshots = self.reading.snapshots()
        except DamagedStore as error:
            health.lost += error.lost
        self.report("snapshots", "snapshot", "snapshots", len(health.snapshots), 0)
        good = bad = 0
        for info in health.snapshots:
            broken = [number for number in range(info.segments) if not self._segment(info, number)]
            good, bad = good + info.segments - len(broken), bad + len(broken)
            if broken:
                health.lost.append(
                    f"The snapshot of everything up to change {info.position} lacks {len(broken)} of "
                    f"{info.segments} segments."
                )
            else:
                health.whole.append(f"The snapshot of everything up to change {info.position}.")
            if not self._index(info):
                health.lost.append(f"The index of the snapshot up to change {info.position} cannot be read.")
        self.report("segments", "snapshot segment", "snapshot segments", good, bad)
        floor = self._floor_or_zero()
        if floor and not any(info.verified and info.position >= floor for info in health.snapshots):
            health.lost.append(f"The snapshot of everything up to change {floor}.")

    def _segment(self, info: SnapshotInfo, number: int) -> bool:
        try:
            sealed = self.reading.segment(info.generation, number)
        except DamagedStore:
            return False
        return self.opens("segment", (info.generation, number), (info.generation, number, sealed))

    def _index(self, info: SnapshotInfo) -> bool:
        try:
            return self.opens(
                "index", (info.generation,), (info.generation, self.reading.snapshot_index(info.generation))
            )
        except DamagedStore:
            return False

    def table(self, name: str, table: _Table) -> None:
        good = bad = 0
        try:
            keys = [row[0] for row in self.database.rows(_DOING, f"SELECT {table.key} FROM {name}")]  # noqa: S608
        except DamagedStore:
            keys = []
        for key in keys:
            row = self._one(name, table, key)
            if row is not None and (table.sealed is None or self.opens(table.sealed, (key,), row)):
                good += 1
            else:
                bad += 1
        self.report(name, table.one, table.many, good, bad)

    def _one(self, name: str, table: _Table, key: Any) -> tuple[Any, ...] | None:
        try:
            query = f"SELECT {', '.join(table.columns)}, crc FROM {name} WHERE {table.key} = ?"  # noqa: S608 (ours)
            row = self.database.row(_DOING, query, key)
        except DamagedStore:
            return None
        return None if row is None or checksum(name, *row[:-1]) != row[-1] else tuple(row[:-1])

    def outbox(self) -> None:
        try:
            there = int(self.database.rows(_DOING, "SELECT count(*) FROM outbox")[0][0])
        except DamagedStore:
            there = 0
        self.report("outbox", "note of something still to be sent", "notes of something still to be sent", there, 0)


_UNCHECKED = set(COUNTED) - set(_TABLES) - {"journal", "snapshots", "segments", "outbox"}
if _UNCHECKED:  # a table that a later step adds must not be forgotten here
    raise RuntimeError(f"no check for {sorted(_UNCHECKED)}")

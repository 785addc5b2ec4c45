"""Filling a new file, and opening one so that what comes back is a connection to a vault of this version or a typed
error."""

from __future__ import annotations

from pathlib import Path

from vaultsync.errors import StoreFailed
from vaultsync.store import tables
from vaultsync.store.base import Tally
from vaultsync.store.connection import Connect, Database, damaged
from vaultsync.store.rows import Slot
from vaultsync.store.transactions import Writing

__all__ = ["fill", "open_vault", "read_header"]


def fill(path: Path, connect: Connect, header: bytes, slots: list[Slot]) -> None:
    """Make an empty file a vault, in one transaction, and close it. Rollback journal first: one file, nothing beside
    it."""
    database = Database.open(path, connect)
    try:
        for pragma in ("page_size = 4096", "auto_vacuum = INCREMENTAL", "journal_mode = DELETE"):
            database.run("making the vault", f"PRAGMA {pragma}")
        database.configure()
        database.run("making the vault", "BEGIN IMMEDIATE")
        tables.build(database)
        tally = Tally()
        numbers = tuple(vars(tally).values())
        names, values = ("id", *vars(tally), "crc"), (1, *numbers, tables.checksum("tally", *numbers))
        places = ", ".join("?" for _ in names)
        database.run("making the vault", f"INSERT INTO tally ({', '.join(names)}) VALUES ({places})", *values)  # noqa: S608
        database.run(
            "making the vault", "INSERT INTO header VALUES (1, ?, ?)", header, tables.checksum("header", header)
        )
        writing = Writing(database)
        writing.replace_slots(slots)
        writing.seal_transaction()
        database.run("making the vault", "COMMIT")
        _log_mode(database, "making the vault")
    finally:
        database.rollback()
        database.close()


def open_vault(path: Path, connect: Connect, *, query_only: bool = False) -> Database:
    """A connection to a file that proved to be a vault of this version, set up. Raises like `Store.open`."""
    database = Database.open(path, connect)
    try:
        version = tables.identify(database)
        database.configure()
        if database.pragma("opening the vault", "journal_mode") != "wal":
            _log_mode(database, "opening the vault")
        if version < tables.VERSION:
            tables.migrate(database)
        tables.verify_definitions(database)
        if query_only:
            database.run("opening the vault", "PRAGMA query_only = ON")
        return database
    except BaseException:
        database.rollback()
        database.close()
        raise


def _log_mode(database: Database, doing: str) -> None:
    if database.pragma(doing, "journal_mode = WAL") != "wal":
        raise StoreFailed(
            f"{database.path.name}: {doing} failed: this file system cannot keep a write-ahead log; use a local disk"
        )


def read_header(database: Database) -> bytes:
    """What the vault was created with. Raises `DamagedStore`."""
    row = database.row("opening the vault", "SELECT data, crc FROM header WHERE id = 1")
    if row is None or tables.checksum("header", row[0]) != row[1]:
        raise damaged(database.path, "opening the vault", lost="The vault's own description cannot be read.")
    return bytes(row[0])

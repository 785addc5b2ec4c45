"""The tables, how they came to be (one list of steps, never edited, only added to) and the checksum that every row
carries.

A file of version *n* has gone through the first *n* steps. A new file goes through all of them, so that definitions are
textually equal however old the file is, and a file whose definitions differ is damaged or was tampered with.

What the columns hold::

    tally       one row: the last journal position, the floor, and how many rows every table should have. SQLite does
    not
                notice a page whose cell count was damaged: rows vanish. These numbers do.
    actors      one row per own incarnation: last seq and hash written here, and the last seq that was packed
    journal     position, actor, seq, hash, own, sealed           (position ascends without gaps above the floor)
    snapshots   generation, position, segments, verified, sealed index;    segments: their pieces
    envelopes   what goes to or came from remotes, by name;    outbox: (remote, envelope) still to be delivered
    quarantine  objects that were refused, with the reason;    state: sealed values by name;    slots: how the key is
    wrapped
    cache       rows that can be made again from the others; neither counted nor summed
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final
from zlib import crc32

from vaultsync import limits
from vaultsync.errors import DamagedStore, UpdateRequired, VaultNotFound
from vaultsync.store.connection import Database, damaged, error_code

__all__ = ["APPLICATION_ID", "STEPS", "VERSION", "build", "checksum", "identify", "migrate", "tally_checksum"]

APPLICATION_ID: Final = 0x56534E43
""""VSNC", in the file's header, for ``file(1)`` and for us."""

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE header (id INTEGER PRIMARY KEY CHECK (id = 1), data BLOB NOT NULL, crc INTEGER NOT NULL)""",
        """CREATE TABLE slots (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL)""",
        """CREATE TABLE tally (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL, floor INTEGER NOT NULL,
            commits INTEGER NOT NULL, generation INTEGER NOT NULL, journal_bytes INTEGER NOT NULL, slots INTEGER NOT
            NULL, actors INTEGER NOT NULL, journal INTEGER NOT NULL, snapshots INTEGER NOT NULL, segments INTEGER NOT
            NULL, remotes INTEGER NOT NULL, envelopes INTEGER NOT NULL, outbox INTEGER NOT NULL, quarantine INTEGER
            NOT NULL, state INTEGER NOT NULL, crc INTEGER NOT NULL)""",
        """CREATE TABLE actors (actor BLOB PRIMARY KEY, last_seq INTEGER NOT NULL, last_hash BLOB NOT NULL,
            packed INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE journal (position INTEGER PRIMARY KEY, actor BLOB NOT NULL, seq INTEGER NOT NULL, hash BLOB
        NOT NULL,
            own INTEGER NOT NULL, crc INTEGER NOT NULL, sealed BLOB NOT NULL)""",
        """CREATE UNIQUE INDEX journal_actor ON journal (actor, seq)""",
        """CREATE UNIQUE INDEX journal_hash ON journal (hash)""",
        """CREATE TABLE snapshots (generation INTEGER PRIMARY KEY, position INTEGER NOT NULL, segments INTEGER NOT NULL,
            verified INTEGER NOT NULL, crc INTEGER NOT NULL, sealed BLOB NOT NULL)""",
        """CREATE TABLE segments (generation INTEGER NOT NULL, number INTEGER NOT NULL, crc INTEGER NOT NULL,
            sealed BLOB NOT NULL, PRIMARY KEY (generation, number)) WITHOUT ROWID""",
        """CREATE TABLE remotes (id INTEGER PRIMARY KEY, remote TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL)""",
        """CREATE TABLE envelopes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, chain BLOB NOT NULL,
            seq INTEGER NOT NULL, env_id BLOB NOT NULL, kind INTEGER NOT NULL, own INTEGER NOT NULL, crc INTEGER NOT
            NULL, data BLOB NOT NULL)""",
        """CREATE INDEX envelopes_chain ON envelopes (chain, seq)""",
        """CREATE UNIQUE INDEX envelopes_own ON envelopes (kind, chain, seq) WHERE own = 1""",
        """CREATE TABLE outbox (remote INTEGER NOT NULL, envelope INTEGER NOT NULL,
            PRIMARY KEY (remote, envelope)) WITHOUT ROWID""",
        """CREATE TABLE quarantine (name TEXT PRIMARY KEY, reason TEXT NOT NULL, crc INTEGER NOT NULL,
            data BLOB NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE state (name TEXT PRIMARY KEY, crc INTEGER NOT NULL, sealed BLOB NOT NULL) WITHOUT ROWID""",
    ),
    ("""CREATE TABLE cache (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL)""",),
)
VERSION: Final = len(STEPS)
"""The file version that this code writes."""


def checksum(*parts: object) -> int:
    """A CRC-32 of one row: its table's name, then its columns, each with type and length.

    Not a defence against anyone (the seals are): it lets the store itself tell a damaged row, and a row of another
    table, from what was written, also in the columns and tables that are not sealed.
    """
    pieces: list[bytes] = []
    for part in parts:
        if type(part) is int:
            pieces.append(b"int%d;" % part)
        elif isinstance(part, bytes):
            pieces += (b"b%d:" % len(part), part)
        elif isinstance(part, str):
            data = part.encode("utf-8", "surrogatepass")
            pieces += (b"s%d:" % len(data), data)
        else:
            pieces.append(f"{type(part).__name__}{part};".encode())
    return crc32(b"".join(pieces))


def tally_checksum(numbers: Sequence[object]) -> int:
    """`checksum` of the tally's row, which every transaction reads."""
    if any(type(number) is not int for number in numbers):
        return checksum("tally", *numbers)
    return crc32(b"s5:tally" + b"int%d;" * len(numbers) % tuple(numbers))


def build(database: Database) -> None:
    """Make every table in an empty file; inside the caller's transaction."""
    for step in STEPS:
        for statement in step:
            database.run("making the vault", statement)
    stamp(database, VERSION)


def stamp(database: Database, version: int) -> None:
    """Write what kind of file this is."""
    database.run("making the vault", f"PRAGMA application_id = {APPLICATION_ID}")
    database.run("making the vault", f"PRAGMA user_version = {version}")


def identify(database: Database) -> int:
    """The file's version, having changed nothing in it. Raises `VaultNotFound`, `UpdateRequired` or `DamagedStore`."""
    path, doing = database.path, "opening the vault"
    try:
        application = database.pragma(doing, "application_id")
    except DamagedStore as error:
        if _could_be_ours(path, error.__cause__):
            raise damaged(
                path, doing, lost="The beginning of the file cannot be read, and with it the way to everything in it."
            ) from None
        raise VaultNotFound(f"{path.name} is not a vault: it is a file of another kind") from None
    if application != APPLICATION_ID:
        empty = path.stat().st_size == 0
        raise VaultNotFound(
            f"{path.name} is not a vault: it is " + ("empty" if empty else "a database of another program")
        )
    version = int(database.pragma(doing, "user_version"))
    if not 1 <= version <= limits.MAX_STORE_VERSION:
        raise damaged(path, doing, lost="The beginning of the file holds an impossible version number.")
    if version > VERSION:
        raise UpdateRequired(
            f"{path.name} was written by a newer version of this application: update it to open the vault"
        )
    return version


def _could_be_ours(path: Path, error: BaseException | None) -> bool:
    """A file of ours consists of whole pages, or SQLite knew its beginning as a database's and misses the rest. The
    file itself must not be opened here: closing it would drop SQLite's locks."""
    code = None if error is None else error_code(error)
    size = path.stat().st_size
    return (size > 0 and size % 4096 == 0) or (code is not None and code & 0xFF == sqlite3.SQLITE_CORRUPT)


def migrate(database: Database, steps: tuple[tuple[str, ...], ...] = STEPS) -> None:
    """Bring an older file to the newest version, in one transaction. A process that comes second finds the work
    done."""
    doing = "updating the vault's file"
    database.run(doing, "BEGIN IMMEDIATE")
    try:
        version = int(database.pragma(doing, "user_version"))
        for step in steps[version:]:
            for statement in step:
                database.run(doing, statement)
        if version < len(steps):
            stamp(database, len(steps))
        database.run(doing, "COMMIT")
    finally:
        database.rollback()


@cache
def _expected(steps: tuple[tuple[str, ...], ...]) -> frozenset[tuple[str, str, str | None]]:
    memory = sqlite3.connect(":memory:")
    try:
        for step in steps:
            for statement in step:
                memory.execute(statement)
        return frozenset(memory.execute("SELECT type, name, sql FROM sqlite_schema").fetchall())
    finally:
        memory.close()


def verify_definitions(database: Database) -> None:
    """Raise `DamagedStore` unless tables and indexes are exactly ours: no trigger, no view, no altered column."""
    found = database.rows("reading the table definitions", "SELECT type, name, sql FROM sqlite_schema")
    if len(found) != len(_expected(STEPS)) or frozenset(found) != _expected(STEPS):
        raise damaged(
            database.path,
            "reading the table definitions",
            lost="The descriptions of the file's tables are not as written.",
        )

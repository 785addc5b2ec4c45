"""The one place where a connection to the file is made, set up, and where the driver's errors become ours.

Everything else in ``store/`` talks to a `Database`, which runs a statement, fetches all of its rows at once (an open
cursor would hold an old snapshot) and raises only errors of this package. What lies under it is a `Connection`: three
methods that ``sqlite3`` has and that other drivers can be wrapped into. A `Connect` factory is handed to the store,
so tests put a disk that fails under it.

This module does not know any table.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from vaultsync import limits
from vaultsync.errors import DamagedStore, StoreBusy, StoreFailed, VaultSyncError

__all__ = ["Connect", "Connection", "Cursor", "Database", "connect", "damaged", "error_code", "translate"]

SqlValue = int | str | bytes | None
"""What is bound to a statement: the store never binds floats."""


class Cursor(Protocol):
    """What is asked of a statement that ran."""

    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """What is asked of a driver. It must be in autocommit mode (no implicit BEGIN) and usable from any thread."""

    def execute(self, sql: str, parameters: Sequence[SqlValue] = ..., /) -> Cursor: ...

    def close(self) -> None: ...

    @property
    def in_transaction(self) -> bool: ...


Connect = Callable[[Path], Connection]
"""Opens an existing file, never creates one. Errors are the driver's own; `Database.open` translates them."""


def connect(path: Path) -> Connection:
    """The default factory: ``sqlite3`` on an existing file. Pragmas are set by `Database.open`, for every driver
    alike."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=limits.BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # the store serialises by its own locks
    )


# ---- errors -----------------------------------------------------------------------------------------------------
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DAMAGED: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_MISMATCH,
    }
)
_DAMAGED_EXTENDED: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
        sqlite3.SQLITE_IOERR | (32 << 8),  # SQLITE_IOERR_DATA: a checksumming file system layer says no
    }
)
_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only",
    sqlite3.SQLITE_PERM: "the operating system does not allow access to the file",
    sqlite3.SQLITE_AUTH: "the operating system does not allow access to the file",
    sqlite3.SQLITE_CANTOPEN: "the file, or a helper file beside it, could not be opened; is the folder writable?",
    sqlite3.SQLITE_IOERR: "the disk reported an error while reading or writing",
    sqlite3.SQLITE_NOMEM: "there was not enough memory",
    sqlite3.SQLITE_INTERRUPT: "the operation was interrupted",
}
_SCHEMA_WORDS: Final = (
    "no such table",
    "no such column",
    "no such index",
    "malformed",
    "has no column",
    "decode to utf-8",
)
"""The table definitions were checked at opening: a statement that no longer fits them met damage."""


def error_code(error: BaseException) -> int | None:
    """SQLite's extended result code of a driver's exception (``sqlite3`` or apsw), ``None`` when it carries none."""
    for name in ("sqlite_errorcode", "extendedresult", "result"):
        code = getattr(error, name, None)
        if isinstance(code, int):
            return code
    return sqlite3.SQLITE_NOMEM if isinstance(error, MemoryError) else None


def translate(error: Exception, path: Path, doing: str) -> VaultSyncError:
    """The error of this package for a driver's exception raised while ``doing`` something with ``path``."""
    if isinstance(error, VaultSyncError):
        return error
    code = error_code(error)
    primary = -1 if code is None else code & 0xFF
    text = str(error).lower()
    if primary in _BUSY:
        return StoreBusy(
            f"{path.name} is in use: another process kept it locked for more than {limits.BUSY_SECONDS:g} seconds; "
            "try again"
        )
    if primary in _DAMAGED or code in _DAMAGED_EXTENDED or any(word in text for word in _SCHEMA_WORDS):
        return damaged(path, doing)
    advice = _ADVICE.get(primary, f"the database refused ({error})")
    return StoreFailed(f"{path.name}: {doing} failed: {advice}")


def damaged(path: Path, doing: str, *, lost: str = "", whole: str = "") -> DamagedStore:
    """The error for something that cannot be read, in words for a person."""
    return DamagedStore(
        f"{path.name} is damaged: {doing} failed because part of the file cannot be read",
        lost=(lost or f"Something that was needed for {doing} cannot be read.",),
        whole=(
            whole or "The rest of the file stays readable; a check of the vault lists what is lost and what is whole.",
            "What other devices or the remote hold is not affected.",
        ),
    )


# ---- the wrapper ------------------------------------------------------------------------------------------------
_PRAGMAS: Final = (
    "PRAGMA trusted_schema = OFF",  # nothing in the file's own definitions may call a function
    "PRAGMA cell_size_check = ON",  # damage is noticed when a page is read, not when it is used
    "PRAGMA mmap_size = 0",  # a file that shrinks under a mapping kills the process
    "PRAGMA temp_store = MEMORY",
    "PRAGMA synchronous = FULL",  # in WAL mode: the log is synced at every commit; acknowledged means durable
    "PRAGMA secure_delete = FAST",  # deleted cells are zeroed where that costs no extra page; key slots: see slots
    f"PRAGMA journal_size_limit = {limits.WAL_KEEP_BYTES}",
)
_PRAGMAS_MACOS: Final = (
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
)  # fsync alone stops at the drive's cache


class Database:
    """A connection that raises only errors of this package. Not thread-safe: its owner holds a lock."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, path: Path, connect: Connect) -> Database:
        """Connect and set the waiting time; nothing is read or changed yet. Raises `StoreError`."""
        try:
            database = cls(connect(path), path)
        except Exception as error:
            raise translate(error, path, "opening the vault") from error
        try:
            database.run("opening the vault", f"PRAGMA busy_timeout = {int(limits.BUSY_SECONDS * 1000)}")
        except BaseException:
            database.close()
            raise
        return database

    def configure(self, *, query_only: bool = False) -> None:
        """Set every pragma. Only after the file proved to be a vault: some of them write into the file."""
        for pragma in (*_PRAGMAS, *(_PRAGMAS_MACOS if sys.platform == "darwin" else ())):
            self.run("opening the vault", pragma)
        if query_only:
            self.run("opening the vault", "PRAGMA query_only = ON")

    def rows(self, doing: str, sql: str, *parameters: SqlValue) -> list[Any]:
        """Run one statement and fetch all its rows. ``doing`` completes "… failed" in a message for a person."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except Exception as error:
            raise translate(error, self.path, doing) from error

    def row(self, doing: str, sql: str, *parameters: SqlValue) -> Any | None:
        """The first row, ``None`` if there is none."""
        found = self.rows(doing, sql, *parameters)
        return found[0] if found else None

    def run(self, doing: str, sql: str, *parameters: SqlValue) -> None:
        """Run one statement for its effect."""
        self.rows(doing, sql, *parameters)

    def pragma(self, doing: str, name: str) -> Any:
        """The value of a pragma that has one."""
        row = self.row(doing, f"PRAGMA {name}")
        return None if row is None else row[0]

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def rollback(self) -> bool:
        """Leave any transaction; true when the connection is clean afterwards. Never raises: it runs while failing."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK").fetchall()
            return not self._connection.in_transaction
        except Exception:
            return False

    def close(self) -> None:
        """Never raises: what was committed is in the log whether or not closing could tidy up."""
        with contextlib.suppress(Exception):
            self._connection.close()

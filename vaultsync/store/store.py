"""The store: one SQLite file a vault, opened by any number of threads and processes.

Promises
    1. What a ``write()`` block stored is on the disk, whole, when the block ends without an exception; otherwise none
    of it
       is (`CommitUnknown` excepted: then it is whole or absent, and `Reading.has_change` tells).
    2. A ``read()`` block sees one consistent state, also while other processes write.
    3. Nothing that comes out differs from what went in: a row that cannot be read as written raises `DamagedStore`.
    4. Only errors of this package come out.

Threads: reads and writes have a connection each, each under its own reentrant lock. Readers of one process take turns
with each other but wait neither for this process's writer nor for another process's, however long that takes
(write-ahead log). Writers wait for one another for ``limits.BUSY_SECONDS`` and then raise `StoreBusy`. Inside a
``write()`` block, ``read()`` gives the same transaction, so it sees its own writes; inside a ``read()`` block,
``write()`` is a separate, newer one. A store must not be used after ``fork``: open it again in the child.

The bytes are sealed by the caller. This module neither knows nor checks what they mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from vaultsync import limits
from vaultsync.errors import (
    CommitUnknown,
    StoreBusy,
    StoreError,
    StoreFailed,
    UpdateRequired,
    VaultClosed,
)
from vaultsync.store import files, tables
from vaultsync.store.connection import Connect, Database, connect
from vaultsync.store.files import FileLock
from vaultsync.store.health import Health, Verify, examine
from vaultsync.store.knowing import Knowing
from vaultsync.store.objects import as_slot
from vaultsync.store.opening import fill, open_vault, read_header
from vaultsync.store.rows import Slot
from vaultsync.store.transactions import Reading, Writing

__all__ = ["Store"]


class Store(Knowing):
    """An open vault file. Make one by `create` or `open`; a context manager closes it."""

    def __init__(self, path: Path, connect: Connect, reader: Database, header: bytes) -> None:
        super().__init__()
        self.path = path
        self.header = header
        """What `create` was given; never changes."""
        self._connect = connect
        self._reader: Database | None = reader
        self._writer: Database | None = None  # opened by the first write
        self._read_lock, self._write_lock = RLock(), RLock()
        self._reading: Reading | None = None
        self._writing: Writing | None = None
        self._pid = os.getpid()
        self.changed_elsewhere()

    # ---- opening and closing
    @classmethod
    def create(
        cls, path: str | os.PathLike[str], *, header: bytes, slots: Sequence[Slot | bytes], connect: Connect = connect
    ) -> Store:
        """Make a vault's file and open it. After a crash at any moment it is there whole or not at all.

        Raises `VaultExists` when anything is at the path, `StoreFailed` when the disk or folder refuses, `StoreBusy`
        while another process makes the same file, `ValueError` without a slot.
        """
        if not slots:
            raise ValueError("a vault without a key slot could never be opened")
        place = Path(path).absolute()
        files.create(place, lambda temporary: fill(temporary, connect, header, [as_slot(slot) for slot in slots]))
        return cls.open(place, connect=connect)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, connect: Connect = connect) -> Store:
        """Open an existing vault's file.

        Raises `VaultNotFound` (nothing there, or no vault), `UpdateRequired` (written by a newer format),
        `DamagedStore`, `StoreFailed`, `StoreBusy`.
        """
        place = Path(path).absolute()
        files.existing(place)
        reader = open_vault(place, connect, query_only=True)
        try:
            header = read_header(reader)
            return cls(place, connect, reader, header)
        except BaseException:
            reader.close()
            raise

    @property
    def closed(self) -> bool:
        return self._reader is None

    def close(self) -> None:
        """Close; waits for transactions of other threads. Harmless when closed. What was committed needs no closing."""
        with self._write_lock, self._read_lock:
            if self._reading is not None or self._writing is not None:
                raise RuntimeError("the store cannot be closed inside its own transaction")
            reader, self._reader = self._reader, None
            writer, self._writer = self._writer, None
            if self._pid != os.getpid():
                return  # closing the parent's connections here would drop the parent's locks
            for database in (reader, writer):
                if database is not None:
                    database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _usable(self) -> Database:
        """The reader's connection. Raises `VaultClosed`."""
        if self._reader is None:
            raise VaultClosed(f"{self.path.name} was closed")
        if self._pid != os.getpid():
            raise StoreFailed(f"{self.path.name} was opened before this process was forked: open it again")
        return self._reader

    def _open_writer(self) -> Database:
        """Under the lock of writers."""
        self._usable()
        if self._writer is None:
            self._writer = open_vault(self.path, self._connect)
        return self._writer

    @contextmanager
    def _locked(self, lock: RLock) -> Iterator[None]:
        if not lock.acquire(timeout=limits.BUSY_SECONDS):
            raise StoreBusy(
                f"{self.path.name} is in use by another thread for more than {limits.BUSY_SECONDS:g} seconds"
            )
        try:
            yield
        finally:
            lock.release()

    # ---- transactions
    def _mine(self) -> Writing | None:
        """The write transaction of the calling thread. The lock is reentrant: only its owner gets it without
        waiting."""
        writing = self._writing
        if writing is None or not self._write_lock.acquire(blocking=False):
            return None
        try:
            return self._writing
        finally:
            self._write_lock.release()

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """A consistent picture. Nested in this thread's ``write()`` or ``read()`` it is the same transaction."""
        mine = self._mine()
        if mine is not None:
            yield mine
            return
        with self._locked(self._read_lock):
            database = self._usable()
            if self._reading is not None:
                yield self._reading
                return
            reading = Reading(database)
            database.run("reading", "BEGIN DEFERRED")
            try:
                # Reading anything fixes the picture; this also notices a file that another process brought to a newer
                # format.
                if int(database.pragma("reading", "user_version")) > tables.VERSION:
                    raise UpdateRequired(
                        f"{self.path.name} was updated by a newer version of this application: update this one"
                    )
                self._reading = reading
                yield reading
            finally:
                self._reading = None
                reading._finish()
                if not database.rollback():
                    self._reopen_reader()

    def _reopen_reader(self) -> None:
        """A connection that cannot leave its transaction is of no use any more."""
        if self._reader is not None:
            self._reader.close()
            self._reader = open_vault(self.path, self._connect, query_only=True)

    @contextmanager
    def write(self) -> Iterator[Writing]:
        """BEGIN IMMEDIATE … COMMIT; rolled back when the block raises. One at a time over all processes.

        First apply ``journal(after=…)`` rows that others added, then append. Raises `StoreBusy` when another process
        keeps the lock, `StoreFailed` when nothing was stored, `CommitUnknown` when COMMIT itself failed: nothing may
        be built on what was in memory; look with ``has_change``. Not to be nested (`RuntimeError`).
        """
        if self._mine() is not None:
            raise RuntimeError("a write transaction is open in this thread already")
        with self._locked(self._write_lock):
            database = self._open_writer()
            writing = Writing(database, self._stamps.picture)
            try:
                database.run("writing", "BEGIN IMMEDIATE")
                if int(database.pragma("writing", "user_version")) > tables.VERSION:
                    raise UpdateRequired(
                        f"{self.path.name} was updated by a newer version of this application: update this one"
                    )
                self._writing = writing
                yield writing
                writing.seal_transaction()
                self._commit(database, writing)
            finally:
                self._writing = None
                writing._finish()
                if self._writer is database and not database.rollback():
                    self._drop_writer()

    def _commit(self, database: Database, writing: Writing) -> None:
        if writing.changed:
            for counting in self._counting():
                counting.own(writing.commits)
        try:
            database.run("storing", "COMMIT")
        except StoreError as error:
            for counting in self._counting():
                counting.forget()
            self._drop_writer()
            self._settle()
            raise CommitUnknown(
                f"{self.path.name}: the last step of storing failed, so it is stored whole or not at all ({error})"
            ) from error
        if writing.changed:
            self._stamps.committed(writing.written, writing.pictures.left)

    def _settle(self) -> None:
        """After a failed COMMIT, store nothing of importance once more, if the disk lets us.

        A log whose sync failed may hold the transaction that this process was told did not happen; after a crash,
        recovery would find it. Writing again overwrites it, so what `has_change` says from now on stays true.
        """
        try:
            writer = self._writer = open_vault(self.path, self._connect)
            writing = Writing(writer)
            writer.run("storing", "BEGIN IMMEDIATE")
            writing.changed = True
            writing.seal_transaction()
            writer.run("storing", "COMMIT")
        except StoreError:
            self._drop_writer()

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.rollback()
            writer.close()

    # ---- key slots, tidying, health, locks
    @property
    def slots(self) -> list[bytes]:
        """The wrapped keys, as they were given."""
        return [slot.data for slot in self.keyed_slots()]

    def keyed_slots(self) -> list[Slot]:
        """The wrapped keys with their kinds."""
        with self.read() as reading:
            return reading.slots()

    def replace_slots(self, slots: Sequence[Slot | bytes]) -> bool:
        """Replace every key slot in a transaction of its own, then `scrub`; returns what that returned."""
        with self.write() as writing:
            writing.replace_slots(slots)
        return self.scrub()

    def scrub(self) -> bool:
        """Move the log into the file and cut it to nothing, so that overwritten key slots are in neither.

        False when a reader somewhere still needs the log: call it again later. What the disk itself keeps of freed
        blocks cannot be reached from here.
        """
        doing = "clearing the log"
        return self._outside(doing, lambda database: int(database.pragma(doing, "wal_checkpoint(TRUNCATE)"))) == 0

    def trim(self) -> int:
        """Give free pages back to the disk (after a snapshot replaced another); returns how many bytes went. Takes
        the write lock for about as long as writing those bytes takes."""
        doing = "giving space back"

        def work(database: Database) -> int:
            pages = int(database.pragma(doing, "freelist_count"))
            database.run(doing, "BEGIN IMMEDIATE")
            try:
                for _ in range(pages):  # drivers step a statement without columns once, and one step frees one page
                    database.run(doing, "PRAGMA incremental_vacuum")
                freed = pages - int(database.pragma(doing, "freelist_count"))
                database.run(doing, "COMMIT")
            finally:
                database.rollback()
            return freed * int(database.pragma(doing, "page_size"))

        return self._outside(doing, work)

    def _outside(self, doing: str, work: Callable[[Database], int]) -> int:
        """Work of the writing connection that is no transaction of ours."""
        if self._mine() is not None:
            raise RuntimeError(f"{doing} is not possible inside a write transaction")
        with self._locked(self._write_lock):
            return work(self._open_writer())

    def check(self, *, full: bool = True, verify: Verify | None = None) -> Health:
        """Examine the whole file on a connection of its own; reports, never raises for damage. See `Health`.

        ``full`` also compares every index with its table. ``verify(table, row)`` is called for every sealed row and
        says whether its seal opens; the store cannot know.
        """
        self._usable()
        return self.examine(self.path, full=full, verify=verify, connect=self._connect)

    @staticmethod
    def examine(
        path: str | os.PathLike[str], *, full: bool = True, verify: Verify | None = None, connect: Connect = connect
    ) -> Health:
        """`check` for a file that may be too damaged to be opened."""
        place = Path(path).absolute()
        return examine(place, lambda: open_vault(place, connect, query_only=True), full=full, verify=verify)

    def pusher_lock(self) -> FileLock:
        """The lock of whoever delivers to remotes: one at a time over all processes, released when its process dies."""
        return FileLock(files.lock_path(self.path))

    def pairing_lock(self) -> FileLock:
        """The lock of whoever keeps the invitations of this device. It makes a file of its own."""
        return FileLock(self.path.with_name(self.path.name + "-pairing"))

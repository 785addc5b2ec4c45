"""SQLite under a relay of one process: one connection in one thread, and one COMMIT for all jobs that were waiting."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from vaultsync.errors import StoreBusy, StoreFailed
from vaultsync.relay.storage import Session, StorageAway

__all__ = ["SqliteDriver"]

T = TypeVar("T")
_MOST_AT_ONCE: Final = 64
_Job = tuple[Callable[[Session], Any], "asyncio.Future[Any]"]


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.told: list[bytes] = []

    def rows(self, sql: str, *values: object) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> int:
        return self._connection.execute(sql, values).rowcount

    def tell(self, bucket: bytes) -> None:
        self.told.append(bucket)


class SqliteDriver:
    """``path`` is made when it is not there. The file is locked: a second process is refused with ``StoreBusy``."""

    lock = ""
    blob = "BLOB"
    text = "TEXT"

    def __init__(self, path: str, *, connect: Callable[[str], sqlite3.Connection] | None = None) -> None:
        self._path = path
        self._connect = connect or (lambda path: sqlite3.connect(path, isolation_level=None, timeout=1.0))
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def start(self, heard: Callable[[bytes | None], None]) -> None:
        """See ``Driver.start``. Raises ``StoreBusy`` and ``StoreFailed``."""
        self._loop, self._heard = asyncio.get_running_loop(), heard
        ready: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(ready,), name="relay-sqlite", daemon=True)
        self._thread.start()
        await ready

    async def run(self, job: Callable[[Session], T]) -> T:
        """See ``Driver.run``."""
        if self._closed:
            raise StorageAway("closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return await future

    async def close(self) -> None:
        """See ``Driver.close``. What was asked for before is still done."""
        if self._closed or self._thread is None:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    # ---- the thread -----------------------------------------------------------------------------------------------

    def _work(self, ready: asyncio.Future[None]) -> None:
        try:
            connection = self._connect(self._path)
        except sqlite3.Error as error:
            self._answer(ready, StoreFailed(f"the relay's database cannot be opened ({type(error).__name__})"))
            return
        with contextlib.closing(connection):
            try:
                for pragma in (
                    *("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "trusted_schema = OFF"),
                    *("cell_size_check = ON", "fullfsync = ON", "user_version"),
                ):
                    connection.execute(f"PRAGMA {pragma}").fetchall()
                connection.execute("BEGIN IMMEDIATE").connection.execute("COMMIT")  # takes the lock for good
            except sqlite3.Error:
                self._answer(
                    ready,
                    StoreBusy(
                        "the relay's database is in use by another process, or no database; "
                        "several processes need PostgreSQL"
                    ),
                )
                return
            self._answer(ready, None)
            while (first := self._jobs.get()) is not None:
                batch, last = [first], False
                while len(batch) < _MOST_AT_ONCE and not self._jobs.empty():
                    one = self._jobs.get()
                    if one is None:
                        last = True
                        break
                    batch.append(one)
                self._together(connection, batch)
                if last:
                    break

    def _together(self, connection: sqlite3.Connection, batch: list[_Job]) -> None:
        """Each job whole or not at all; answers only after the COMMIT they share."""
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        told: list[bytes] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job, future in batch:
                transaction = _Transaction(connection)
                connection.execute("SAVEPOINT job")
                try:
                    answers.append((future, (True, job(transaction))))
                    told += transaction.told
                except sqlite3.Error:
                    raise
                except Exception as error:  # the job's own; it alone is undone
                    connection.execute("ROLLBACK TO job")
                    answers.append((future, (False, error)))
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            for _, future in batch:
                self._answer(future, StorageAway(type(error).__name__))
            return
        self._loop_call(self._deliver, answers, told)

    def _deliver(self, answers: list[tuple[asyncio.Future[Any], Any]], told: list[bytes]) -> None:
        for bucket in dict.fromkeys(told):
            self._heard(bucket)
        for future, (good, value) in answers:
            if not future.done():  # a client that went away took its future with it
                if good:
                    future.set_result(value)
                else:
                    future.set_exception(value)

    def _answer(self, future: asyncio.Future[Any], error: Exception | None) -> None:
        def answer() -> None:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

        self._loop_call(answer)

    def _loop_call(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop ended without closing us; nobody waits for an answer
            self._loop.call_soon_threadsafe(callback, *arguments)

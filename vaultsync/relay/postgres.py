"""PostgreSQL under any number of relay processes: a few connections, and LISTEN for what the others committed."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vaultsync.errors import ExtraMissing, StoreFailed
from vaultsync.relay.storage import Session, StorageAway

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresDriver"]

T = TypeVar("T")
_CHANNEL: Final = "vaultsync_relay"
_SETUP_LOCK: Final = 0x5661756C  # two processes that start at once make the tables one after the other
_LISTEN_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.5


class _Transaction:
    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, *values: object) -> Sequence[tuple[Any, ...]]:
        return self._execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> int:
        if sql.startswith("CREATE"):
            self._execute("SELECT pg_advisory_xact_lock(?)", (_SETUP_LOCK,))
        return self._execute(sql, values).rowcount

    def tell(self, bucket: bytes) -> None:
        self._execute("SELECT pg_notify(?, ?)", (_CHANNEL, bucket.hex()))

    def _execute(self, sql: str, values: tuple[object, ...]) -> psycopg.Cursor:
        written: Any = sql.replace("?", "%s")
        return self._connection.execute(written, values, prepare=not sql.startswith("CREATE"))


class PostgresDriver:
    """``url``: ``postgresql://…``, never repeated in a message. ``connections`` jobs run at once."""

    lock = " FOR UPDATE"
    blob = "BYTEA"
    text = 'TEXT COLLATE "C"'

    def __init__(self, url: str, *, connections: int = 8) -> None:
        try:
            import psycopg
        except ImportError:
            raise ExtraMissing("PostgreSQL needs an optional part: pip install 'vaultsync[relay,postgres]'") from None
        self._psycopg, self._url = psycopg, url
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="relay-postgres")
        self._idle: queue.LifoQueue[psycopg.Connection] = queue.LifoQueue()
        self._stopping = threading.Event()
        self._listener: threading.Thread | None = None

    async def start(self, heard: Callable[[bytes | None], None]) -> None:
        """See ``Driver.start``. Raises ``StoreFailed`` when there is no connection to be had."""
        self._loop, self._heard = asyncio.get_running_loop(), heard
        ready = threading.Event()
        try:
            first = await asyncio.to_thread(self._connect)
        except self._psycopg.Error as error:
            raise StoreFailed(f"no connection to PostgreSQL ({type(error).__name__}); check the address") from None
        self._listener = threading.Thread(target=self._listen, args=(first, ready), name="relay-listen", daemon=True)
        self._listener.start()
        await asyncio.to_thread(ready.wait, 10.0)

    async def run(self, job: Callable[[Session], T]) -> T:
        """See ``Driver.run``."""
        if self._stopping.is_set():
            raise StorageAway("closed")
        return await self._loop.run_in_executor(self._pool, self._run, job)

    async def close(self) -> None:
        """See ``Driver.close``."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        await asyncio.to_thread(self._pool.shutdown)
        if self._listener is not None:
            await asyncio.to_thread(self._listener.join)
        while not self._idle.empty():
            self._idle.get().close()

    # ---- threads --------------------------------------------------------------------------------------------------

    def _connect(self) -> psycopg.Connection:
        return self._psycopg.connect(self._url, connect_timeout=5, application_name="vaultsync-relay")

    def _run(self, job: Callable[[Session], T]) -> T:
        """A connection may have died since it was last used: a job that failed before its COMMIT is tried once more."""
        for fresh in (False, True):
            committing = False
            connection = None
            try:
                connection = self._connect() if fresh or self._idle.empty() else self._take()
                result = job(_Transaction(connection))
                committing = True
                connection.commit()
            except self._psycopg.OperationalError as error:
                if connection is not None:
                    connection.close()
                if fresh or committing:
                    raise StorageAway(type(error).__name__) from None
            except self._psycopg.Error as error:
                if connection is not None:
                    connection.close()
                raise StorageAway(type(error).__name__) from None
            except Exception:
                if connection is not None:
                    with contextlib.suppress(self._psycopg.Error):
                        connection.rollback()
                    self._idle.put(connection)
                raise
            else:
                self._idle.put(connection)
                return result
        raise StorageAway("unreachable")  # pragma: no cover

    def _take(self) -> psycopg.Connection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._connect()

    def _listen(self, connection: psycopg.Connection | None, ready: threading.Event) -> None:
        """Passes on what is heard. After a time of deafness everybody is woken: something may have been missed."""
        while not self._stopping.is_set():
            try:
                if connection is None:
                    connection = self._connect()
                connection.autocommit = True
                connection.execute(f"LISTEN {_CHANNEL}")
                ready.set()
                self._tell(None)
                while not self._stopping.is_set():
                    for notice in connection.notifies(timeout=_LISTEN_SECONDS):
                        with contextlib.suppress(ValueError):
                            self._tell(bytes.fromhex(notice.payload))
                        if self._stopping.is_set():
                            break
            except self._psycopg.Error:
                if connection is not None:
                    connection.close()
                connection = None
                self._stopping.wait(_RETRY_SECONDS)
        if connection is not None:
            connection.close()

    def _tell(self, bucket: bytes | None) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._heard, bucket)

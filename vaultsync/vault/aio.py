"""Vaults in asyncio programs: events as an asynchronous iterator, and calls that do not hold up the loop.

::

    async with vs.aio.changes(vault) as changes:
        async for event in changes: ...                            # repaint event.entries
    entry = await vs.aio.run(vault.add, "note", title="Groceries") # any call, in a thread
    report = await vs.aio.sync(vault)

The library is synchronous and thread-safe; this is a thin adapter over it. Reading (``vault.view()``) is quick and may
be called in the loop directly.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, TypeVar

from vaultsync.sync.report import SyncReport
from vaultsync.vault.events import CROWDED, Event, Pile
from vaultsync.vault.replication.standing import Progress
from vaultsync.vault.vault import Vault

__all__ = ["Changes", "changes", "run", "sync"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Changes:
    """Events of one vault from the moment of `changes` on; ends when the vault is closed, or with `aclose`.

    Nothing is lost between two steps, or when a step is cancelled: events wait, at most a bounded number of them (what
    does not fit is joined, see `Event`). One consumer, in the loop that made it.
    """

    def __init__(self, vault: Vault, most: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._pile = Pile(most)
        self._ended = False
        here = weakref.ref(self)  # a loop that was left by `break` is collected, and with it its subscription

        def told(event: Event) -> None:
            if (changes := here()) is not None:
                changes._add(event)

        def ended() -> None:
            if (changes := here()) is not None:
                changes._add(None)

        self._unsubscribe = vault.subscribe(told, ended=ended)
        weakref.finalize(self, self._unsubscribe)

    def _add(self, event: Event | None) -> None:
        """On the library's thread."""
        with self._lock:
            if event is None:
                self._ended = True
            else:
                self._pile.add(event)
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._ready.set)

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Event:
        while True:
            self._ready.clear()
            with self._lock:
                event, ended = self._pile.take(), self._ended
            if event is not None:
                return event  # taken and handed over without a pause in which a cancellation could lose it
            if ended:
                raise StopAsyncIteration
            await self._ready.wait()

    async def aclose(self) -> None:
        """Hear no more; a step that waits ends. Harmless when repeated."""
        self._unsubscribe()
        with self._lock:
            self._ended = True
            while self._pile.take() is not None:
                pass
        self._ready.set()

    async def __aenter__(self) -> Changes:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def changes(vault: Vault, *, most: int = CROWDED) -> Changes:
    """Hear of everything that happens from now on. ``most``: how many events may wait one by one before some are
    joined. Raises `VaultClosed`, and ``RuntimeError`` outside of a running loop."""
    return Changes(vault, most)


async def run(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """``function(*args, **kwargs)`` in a thread: for edits, batches (a function with a ``with vault.batch():`` in it),
    opening and closing.

    When the caller is cancelled it is still waited for, as a thread cannot be stopped: after the ``CancelledError``
    nothing is written any more that was not written before it. Edits take milliseconds.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # looked at: the caller, being cancelled, does not ask
        raise


async def sync(vault: Vault, *, progress: Callable[[Progress], None] | None = None) -> SyncReport:
    """`Vault.sync` in a thread. When the caller is cancelled it returns at once, and the exchange goes on by itself:
    a remote may take its time, and neither the loop nor the end of the program waits for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[SyncReport] = loop.create_future()

    def settle(report: SyncReport | None, error: BaseException | None) -> None:
        if done.done():
            return  # cancelled
        if error is not None:
            done.set_exception(error)
        elif report is not None:
            done.set_result(report)

    def work() -> None:
        report, failed = None, None
        try:
            report = vault.sync(progress=progress)
        except BaseException as error:  # handed to whoever awaits it
            failed = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, report, failed)

    threading.Thread(target=work, name="vaultsync-aio-sync", daemon=True).start()
    return await done

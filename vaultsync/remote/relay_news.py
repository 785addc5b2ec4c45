"""Waiting for news of a relay: one request that lasts, in a thread of its own, for each waiter.

An answer says where the bucket is now and, where that is little, what changed: then nothing has to be listed.
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final, NamedTuple

from vaultsync.errors import RemoteError, RemoteUnavailable

__all__ = ["CURSOR", "Change", "News", "within"]

CURSOR: Final = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})")
_TICK_SECONDS: Final = 0.1
"""How late a waiter notices that it was woken. News are noticed at once."""


class Change(NamedTuple):
    """What changed between two cursors; None for what the relay did not say."""

    since: str
    cursor: str
    added: list[str] | None = None
    gone: list[str] | None = None


class _Poll:
    """One request for news, in a thread of its own: it outlives the calls of ``wait`` that look at it."""

    def __init__(self, since: str) -> None:
        self.since = since
        self.done = threading.Event()
        self.change: Change | None = None
        self.error: RemoteError | None = None


class _Waiter:
    """``cursor``: what this waiter knows of, "" before it was told anything."""

    def __init__(self) -> None:
        self.cursor = ""
        self.poll: _Poll | None = None


class News:
    """``fetch(since)`` asks the relay, which answers as late as it can. Thread-safe."""

    def __init__(self, fetch: Callable[[str], Change], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._lock = threading.Lock()
        self._waiters: weakref.WeakKeyDictionary[threading.Event, _Waiter] = weakref.WeakKeyDictionary()

    def wait(self, timeout: float, wake: threading.Event) -> Change | None:
        """What the waiter, told apart by ``wake``, was not told of yet. See ``Remote.wait``."""
        end = self._clock() + timeout
        with self._lock:
            waiter = self._waiters.setdefault(wake, _Waiter())
        while not wake.is_set():
            poll = self._poll(waiter)
            left = end - self._clock()
            first = not waiter.cursor  # answered at once, and worth waiting for whatever the timeout
            if not poll.done.wait(_TICK_SECONDS if first else max(0.0, min(_TICK_SECONDS, left))):
                if left <= 0 and not first:
                    return None
                continue
            waiter.poll = None
            if poll.change is None:
                raise poll.error or RemoteUnavailable("waiting for news: there was no answer")
            back = poll.since == waiter.cursor != poll.change.cursor  # of a relay that went back to an older backup
            if back or _later(poll.change.cursor, waiter.cursor):
                waiter.cursor = poll.change.cursor
                return poll.change
            if left <= 0:
                return None
        return None

    def own(self, cursor: object) -> None:
        """A put of ours moved the cursor: who knew everything before it knows everything after it."""
        found = CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
        if found is None:
            return
        before = f"{found[1]}-{int(found[2]) - 1}"
        with self._lock:
            for waiter in self._waiters.values():
                if waiter.cursor == before:
                    waiter.cursor = found[0]

    def _poll(self, waiter: _Waiter) -> _Poll:
        if waiter.poll is None:
            waiter.poll = _Poll(waiter.cursor)
            threading.Thread(target=self._ask, args=(waiter.poll,), name="vaultsync-news", daemon=True).start()
        return waiter.poll

    def _ask(self, poll: _Poll) -> None:
        try:
            poll.change = self._fetch(poll.since)
        except RemoteError as error:
            poll.error = error
        except Exception as error:  # whatever it is, nobody may wait for ever
            poll.error = RemoteUnavailable(f"waiting for news: {type(error).__name__}")
        finally:
            poll.done.set()


def _later(cursor: str, than: str) -> bool:
    """Whether ``cursor`` tells of something that ``than`` does not know. Another life of the bucket always does."""
    one, other = CURSOR.fullmatch(cursor), CURSOR.fullmatch(than)
    if one is None or other is None or one[1] != other[1]:
        return True
    return int(one[2]) > int(other[2])


def within(cursor: str, change: Change) -> bool:
    """Whether somebody who knows everything up to ``cursor`` knows everything once he was told of ``change``."""
    first, here, last = (CURSOR.fullmatch(one) for one in (change.since, cursor, change.cursor))
    if first is None or here is None or last is None or not first[1] == here[1] == last[1]:
        return False
    return int(first[2]) <= int(here[2]) <= int(last[2])

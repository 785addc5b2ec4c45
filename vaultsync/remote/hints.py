"""How storage that cannot call back is asked for news cheaply: tiny hints, and when to look at them again. No I/O.

For every directory of objects (``<vault>/env/<chain>``, ``<vault>/roster``, …) one hint is kept beside them, under a
key that no object can have. Whoever puts an object writes fresh random bytes into its directory's hint afterwards: the
only thing on a remote that is ever overwritten. Looking at all hints of a vault is one request however many objects
there are, and tells which directories have to be listed again.

A hint promises nothing. One that is lost (the writer died between its two writes) costs time, not data: the writer, not
having been told of success, puts again; and a listing taken over from earlier is never older than ``MAX_AGE``.
Deleting writes no hint: nobody waits for it.
"""

from __future__ import annotations

import math
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from vaultsync.remote.port import check_prefix

__all__ = ["FIRST_POLL", "HINTS", "LAST_POLL", "Hinted", "Hints", "directory_of"]

HINTS: Final = "_heads"
"""First segment of every hint's key. No object's name begins with an underscore."""
FIRST_POLL: Final = 5.0
LAST_POLL: Final = 60.0
"""Seconds between looks: the first after news, growing by half with each look that found none, up to the last."""
FRESH: Final = 5.0
"""Seconds for which a look at the hints stands for the present, for the thread that looked: the one that waits for news
lists right after it was told; somebody who asks for a pass himself gets listings made anew.
"""
MAX_AGE: Final = 600.0
"""Seconds after which a listing is made again whatever the hints say."""
_GROWTH: Final = 1.5
_MAX_LISTINGS: Final = 4_096
_NEVER: Final[tuple[str, float, Mapping[str, str]]] = ("\0", 0.0, {})  # no prefix begins so

Look = Callable[[str], Mapping[str, str]]
"""Below a prefix ("" or with its slash): directory -> something that differs after each write of its hint."""


class _Watch(NamedTuple):
    seen: Mapping[str, str]
    due: float
    pause: float
    looked: float


class _Listing(NamedTuple):
    token: frozenset[tuple[str, str]]
    names: list[str]
    at: float


def _bare(told: str) -> str:
    """The entity tag at the beginning of what is told of a hint; servers quote it here and not there."""
    return told.split(" ")[0].removeprefix("W/").strip('"')


def directory_of(name: str) -> str:
    """``a/b`` for ``a/b/c``, nothing for a name without slash."""
    return name.rpartition("/")[0]


class Hints:
    """Paces the looks of every waiter, and remembers listings between them. Thread-safe."""

    def __init__(
        self,
        look: Look,
        *,
        first: float = FIRST_POLL,
        last: float = LAST_POLL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_at = look
        self._first, self._last, self._clock = first, last, clock
        self._lock = threading.Lock()
        self._watches: weakref.WeakKeyDictionary[threading.Event, dict[str, _Watch]] = weakref.WeakKeyDictionary()
        self._mine = threading.local()
        self._listings: dict[str, _Listing] = {}
        self._alone: set[str] = set()
        self._own: dict[str, str] = {}
        self._jitter = random.Random()  # devices that were woken together do not poll together; decides nothing

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """``Remote.wait``. Costs a look only when one is due; a short ``timeout`` may pass without any."""
        end = self._clock() + timeout
        with self._lock:
            watches = self._watches.setdefault(wake, {})
        while not wake.is_set():
            watch, now = watches.get(prefix), self._clock()
            if watch is None or now >= watch.due:
                seen = self._look(prefix)
                news = watch is None or self._differs(seen, watch.seen)
                pause = self._first if watch is None or news else min(watch.pause * _GROWTH, self._last)
                due = self._clock() + pause * self._jitter.uniform(0.9, 1.0)
                watches[prefix] = watch = _Watch(seen, due, pause, now)
                if news:
                    return True
            left = end - self._clock()
            if left <= 0:
                return False
            wake.wait(min(left, max(0.0, watch.due - self._clock())))
            if prefix in watches:
                watch = watches[prefix]  # a put of our own may have brought the next look forward
        return False

    def listed(self, prefix: str, make: Callable[[], list[str]]) -> list[str]:
        """What ``make`` lists, or what it listed before when a fresh look at the hints says that nothing changed."""
        now = self._clock()
        with self._lock:
            known = self._listings.get(prefix)
        below, looked, seen = getattr(self._mine, "look", _NEVER)
        token = None
        if prefix.startswith(below):
            token = frozenset(item for item in seen.items() if (item[0] + "/").startswith(prefix))
        fresh = now - looked < min(FRESH, self._first)
        if known is not None and known.token == token and fresh and now - known.at < MAX_AGE:
            return list(known.names)
        names = make()
        with self._lock:
            if token is not None:
                if len(self._listings) >= _MAX_LISTINGS:
                    self._listings.clear()
                self._listings[prefix] = _Listing(token, list(names), now)
        return names

    def _differs(self, seen: Mapping[str, str], before: Mapping[str, str]) -> bool:
        """Whether there is a hint that somebody else may have written."""
        changed = [directory for directory in {*seen, *before} if seen.get(directory) != before.get(directory)]
        with self._lock:
            return any(self._own.get(directory) != _bare(seen.get(directory, "")) for directory in changed)

    def looked(self, prefix: str, wake: threading.Event) -> float:
        """See ``Polled.looked``."""
        with self._lock:
            watch = self._watches.get(wake, {}).get(prefix)
        return -math.inf if watch is None else watch.looked

    def look_soon(self, prefix: str, wake: threading.Event) -> None:
        """See ``Polled.look_soon``."""
        with self._lock:
            watches = self._watches.get(wake, {})
            if prefix in watches:
                watches[prefix] = watches[prefix]._replace(due=-math.inf)

    def alone_in(self, prefix: str) -> None:
        """See ``Polled.alone_in``."""
        with self._lock:
            self._alone.add(prefix.removesuffix("/"))

    def changed(self, name: str, tag: str | None = None) -> None:
        """``name`` was put or deleted here: forget what was listed above it, and be quick to look for answers. ``tag``:
        how what a look tells of the hint that was written for it begins (up to the first space)."""
        soon, directory = self._clock() + self._first, directory_of(name)
        with self._lock:
            if tag and directory in self._alone:
                self._own[directory] = _bare(tag)
            for prefix in [prefix for prefix in self._listings if name.startswith(prefix)]:
                del self._listings[prefix]
            for watches in self._watches.values():
                for prefix, watch in watches.items():
                    if name.startswith(prefix):
                        watches[prefix] = watch._replace(due=min(watch.due, soon), pause=self._first)

    def _look(self, prefix: str) -> Mapping[str, str]:
        started = self._clock()
        seen = self._look_at(prefix)
        self._mine.look = (prefix, started, seen)
        return seen


class Hinted:
    """The part of a remote that its hints answer: news are looked for, now and then, with one request for all of them.
    Prefixes are checked here."""

    _hints: Hints

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """See ``Remote.wait``. Looks every 5 to 60 seconds. Deletions are no news."""
        return self._hints.wait(check_prefix(prefix), timeout, wake)

    def looked(self, prefix: str, wake: threading.Event) -> float:
        """See ``Polled.looked``."""
        return self._hints.looked(check_prefix(prefix), wake)

    def look_soon(self, prefix: str, wake: threading.Event) -> None:
        """See ``Polled.look_soon``. It is one request."""
        self._hints.look_soon(check_prefix(prefix), wake)

    def alone_in(self, prefix: str) -> None:
        """See ``Polled.alone_in``."""
        self._hints.alone_in(check_prefix(prefix))

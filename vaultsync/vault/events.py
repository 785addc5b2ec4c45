"""News for user interfaces: what changed, told on a thread of the library's own and never under one of its locks."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from vaultsync.sync.report import Finding
from vaultsync.vault.replication.standing import Progress, Status

__all__ = ["Bus", "Event", "EventKind", "Pile"]

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
"""How often it is looked whether another process of this device wrote to the vault, while somebody listens."""
CLOSE_SECONDS: Final = 2.0
"""How long closing waits for a callback that does not return."""
CROWDED: Final = 64
"""Events that may wait for one listener one by one; beyond that those that say the same of more entries are joined."""


class EventKind(Enum):
    """What an event is about."""

    EDITED = "edited"
    """Edits made through this object are durable."""
    MERGED = "merged"
    """Edits from other devices arrived."""
    ELSEWHERE = "elsewhere"
    """Another process of this device wrote to the same vault, or fetched what other devices wrote."""
    STATUS = "status"
    """``vault.status`` changed."""
    LOCKED = "locked"
    """The vault was locked, by hand or because nobody used it: drop what is shown of it."""
    UNLOCKED = "unlocked"
    PROGRESS = "progress"
    """A pass that transfers something is so far."""
    FINDING = "finding"
    """Something was noticed about a remote or a device."""


_ENTRIES: Final = frozenset({EventKind.EDITED, EventKind.MERGED, EventKind.ELSEWHERE})


@dataclass(frozen=True, slots=True)
class Event:
    """``entries``: ids of the entries to paint again, with ``EDITED``, ``MERGED`` and ``ELSEWHERE``; no others
    changed, except where ``everything`` says that only a new view can tell. ``status``, ``progress`` and ``finding``
    come with the kinds of these names.
    """

    kind: EventKind
    entries: frozenset[str] = frozenset()
    everything: bool = False
    status: Status | None = None
    progress: Progress | None = None
    finding: Finding | None = None


Callback = Callable[[Event], object]


class Pile:
    """Events that wait for somebody, in order; bounded, for one who does not keep up. Not thread-safe.

    The newest status and the newest progress replace those that wait: they say everything. Edits and merges wait one by
    one up to ``crowded`` events; beyond, one that follows its like is joined with it. So nothing is ever lost: what is
    painted after reading a pile to its end is right.
    """

    def __init__(self, crowded: int = CROWDED) -> None:
        self._crowded = crowded
        self._waiting: deque[Event] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: Event) -> None:
        if event.kind in (EventKind.STATUS, EventKind.PROGRESS):
            self._replace(event)
        elif event.kind in _ENTRIES and len(self._waiting) >= self._crowded:
            self._join(event)
        else:
            self._waiting.append(event)

    def take(self) -> Event | None:
        """The oldest; ``None`` when there is none."""
        return self._waiting.popleft() if self._waiting else None

    def _replace(self, event: Event) -> None:
        for waiting in self._waiting:
            if waiting.kind is event.kind:
                self._waiting.remove(waiting)
                break
        self._waiting.append(event)

    def _join(self, event: Event) -> None:
        for index in range(len(self._waiting) - 1, -1, -1):
            waiting = self._waiting[index]
            if waiting.kind is event.kind:
                joined = replace(
                    event, entries=waiting.entries | event.entries, everything=waiting.everything or event.everything
                )
                del self._waiting[index]
                self._waiting.append(joined)
                return
        self._waiting.append(event)


class _Subscriber:
    """One subscription. ``active`` ends between two calls, also from within one."""

    def __init__(self, callback: Callback, ended: Callable[[], object]) -> None:
        self.callback = callback
        self.ended = ended
        self.active = True


class Bus:
    """Delivers events to every subscriber. The thread starts with the first one and ends with `close`.

    * **Order**: each subscriber hears of events in the order in which they happened; those of one edit come after that
      edit is durable. Subscribers are called in the order in which they subscribed, one after the other.
    * **Thread**: one of the library's own, under none of its locks: a callback may use the vault, also close it.
    * **Slow callbacks** delay later events and nothing else; see `Pile` for what is then joined.
    * **Exceptions** in a callback are logged (logger ``vaultsync.vault.events``); it goes on being called.
    * **Unsubscribing** takes effect at once, also from within a callback: no call begins after it. One that is running
      on the library's thread meanwhile is not waited for.
    """

    def __init__(self, status: Callable[[], Status | None], look: Callable[[], object] = lambda: None) -> None:
        """``status`` gives the status as of now (``None``: not to be had any more); ``look`` is called every now and
        then while somebody listens, to see what other processes did. Both are called on the bus's thread."""
        self._status = status
        self._look = look
        self._changed = threading.Condition()
        self._pile = Pile()
        self._subscribers: list[_Subscriber] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._told: Status | None = None

    def subscribe(self, callback: Callback, ended: Callable[[], object] = lambda: None) -> Callable[[], None]:
        """Call ``callback(event)`` from now on; the function returned ends it. ``ended()`` is called on the library's
        thread when the vault is closed and every event was delivered."""
        subscriber = _Subscriber(callback, ended)
        if self._thread is None:
            self._told = self._current()  # before anything that may change it is listened to
        with self._changed:
            self._subscribers.append(subscriber)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="vaultsync-events", daemon=True)
                self._thread.start()

        def end() -> None:
            with self._changed:
                subscriber.active = False
                if subscriber in self._subscribers:
                    self._subscribers.remove(subscriber)

        return end

    def tell(self, event: Event) -> None:
        """Returns at once."""
        with self._changed:
            if self._thread is not None and not self._closed:
                self._pile.add(event)
                self._changed.notify()

    # ---- the thread -------------------------------------------------------------------------------------------
    def _run(self) -> None:
        looked = time.monotonic()
        while True:
            with self._changed:
                event = self._pile.take()
                if event is None:
                    if self._closed:
                        break
                    self._changed.wait(LOOK_SECONDS)
                listening = bool(self._subscribers)
            if event is not None:
                self._deliver(event)
            if listening and time.monotonic() - looked >= LOOK_SECONDS and not self._closed:
                self._guarded(self._look)
                looked = time.monotonic()
        for subscriber in list(self._subscribers):
            self._guarded(subscriber.ended)

    def _deliver(self, event: Event) -> None:
        if event.kind is EventKind.STATUS:
            now = self._current()
            if now is None or not now.differs(self._told):
                return
            self._told = now
            event = replace(event, status=now)
        with self._changed:
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            if subscriber.active:
                self._guarded(lambda: subscriber.callback(event))  # noqa: B023 - called at once

    def _current(self) -> Status | None:
        try:
            return self._status()
        except Exception:
            _log.debug("no status to tell", exc_info=True)
            return None

    def _guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            _log.exception("a subscriber of a vault raised")

    def close(self) -> None:
        """Deliver what was told, then end. Safe to call from a callback."""
        with self._changed:
            thread, self._closed = self._thread, True
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=CLOSE_SECONDS)

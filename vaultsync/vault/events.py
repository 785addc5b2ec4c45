"""News for user interfaces: what changed, told on a thread of the library's own and never under one of its locks."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

__all__ = ["Bus", "Event", "EventKind"]

_log = logging.getLogger(__name__)


class EventKind(Enum):
    """What an event is about."""

    EDITED = "edited"
    """Edits made through this object are durable."""
    MERGED = "merged"
    """Edits from other devices arrived."""
    ELSEWHERE = "elsewhere"
    """Another process of this device wrote to the same vault."""
    STATUS = "status"
    """``vault.status`` changed."""
    LOCKED = "locked"
    """The vault was locked, by hand or because nobody used it: drop what is shown of it."""
    UNLOCKED = "unlocked"


@dataclass(frozen=True, slots=True)
class Event:
    """``entries``: ids of the entries to paint again; empty with ``ELSEWHERE`` when only a new view can tell."""

    kind: EventKind
    entries: frozenset[str] = frozenset()


Callback = Callable[[Event], None]


class Bus:
    """Delivers events in order to every subscriber. The thread starts with the first one and ends with `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: list[Callback] = []
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback(event)`` from now on; the function returned ends it. An exception in it is logged."""
        with self._lock:
            self._subscribers.append(callback)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._deliver, name="vaultsync-events", daemon=True)
                self._thread.start()
        return lambda: self._unsubscribe(callback)

    def _unsubscribe(self, callback: Callback) -> None:
        with self._lock:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

    def tell(self, event: Event) -> None:
        """Returns at once."""
        if self._thread is not None:
            self._queue.put(event)

    def _deliver(self) -> None:
        while (event := self._queue.get()) is not None:
            with self._lock:
                subscribers = list(self._subscribers)
            for callback in subscribers:
                try:
                    callback(event)
                except Exception:
                    _log.exception("a subscriber of a vault raised")

    def close(self) -> None:
        """Deliver what was told, then end. Safe to call from a callback."""
        with self._lock:
            thread, self._closed = self._thread, True
        if thread is not None:
            self._queue.put(None)
            if thread is not threading.current_thread():
                thread.join(timeout=5)

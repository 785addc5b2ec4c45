"""Own changes that were recorded a moment ago and are in no envelope yet: packing them need not read the journal.

What is at hand is a copy of rows that were committed; nothing else knows of it, and it is used only where it is exactly
what the journal says is to be packed: every number from the last packed one on, up to the last one recorded and its
hash. What another process of this device wrote is not in it, so then the journal is read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from vaultsync.limits import UNSENT_AT_HAND_BYTES
from vaultsync.store import Tip
from vaultsync.vault.recording import OwnChange, Recorded

__all__ = ["Unsent"]


class Unsent:
    """Of one actor at a time: the one that this device writes as. Thread-safe."""

    def __init__(self, most: int = UNSENT_AT_HAND_BYTES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._changes: deque[OwnChange] = deque()
        self._bytes = 0

    def add(self, changes: Iterable[OwnChange]) -> None:
        """These were committed."""
        with self._lock:
            for own in changes:
                last = self._changes[-1].change if self._changes else None
                if last is not None and (last.actor, last.seq + 1) != (own.change.actor, own.change.seq):
                    self._forget()
                self._changes.append(own)
                self._bytes += len(own.change.chunk)
            while self._bytes > self._most:
                self._bytes -= len(self._changes.popleft().change.chunk)

    def above(self, tip: Tip) -> list[Recorded] | None:
        """What is not packed yet of the actor whose tip that is; ``None`` when not all of it is here."""
        with self._lock:
            if not self._changes or self._changes[0].change.seq > tip.packed + 1:
                return None
            last = self._changes[-1].change
            if (last.actor, last.seq, last.hash) != (tip.actor, tip.seq, tip.hash):
                return None
            return [(own.change.chunk, own.group) for own in self._changes if own.change.seq > tip.packed]

    def forget(self) -> None:
        """They are packed, or nobody knows whether they were committed."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._changes.clear()
        self._bytes = 0

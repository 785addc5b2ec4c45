"""Locking a vault that nobody uses: when that is due.

Time counts by the clock that never jumps and by the wall clock, whichever says more: a machine that slept did not move
the first one, and a person who comes back expects a locked vault all the same.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from vaultsync.errors import UsageError
from vaultsync.vault.environment import Environment

__all__ = ["AutoLock"]

_LOOK: Final = 10.0
"""Seconds between looks at the clocks at most: after a suspend the vault is locked that soon."""


class AutoLock:
    """Calls ``lock``, a bound method, ``after`` seconds after the last `touch`, while nothing is held. Thread-safe."""

    def __init__(self, lock: Callable[[], None], environment: Environment) -> None:
        self._lock = weakref.WeakMethod(lock)  # a vault that nobody holds any more goes, and this with it
        self._environment = environment
        self._changed = threading.Condition()
        self._after: float | None = None
        self._thread: threading.Thread | None = None
        self._holds = 0
        self._used = self._now()

    def _now(self) -> tuple[float, float]:
        return self._environment.monotonic(), self._environment.now_ms() / 1000

    @property
    def after(self) -> float | None:
        """Seconds without use; ``None`` for never."""
        return self._after

    @after.setter
    def after(self, seconds: float | None) -> None:
        if seconds is not None and not seconds > 0:
            raise UsageError("a vault locks itself after a number of seconds above 0, or never (None)")
        with self._changed:
            self._after = seconds
            self._used = self._now()
            self._changed.notify_all()
            if seconds is not None and self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="vaultsync-lock", daemon=True)
                self._thread.start()

    def touch(self) -> None:
        """The vault is being used."""
        if self._after is not None:
            self._used = self._now()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Something long, a batch: as long as the block runs, the vault is in use."""
        with self._changed:
            self._holds += 1
        try:
            yield
        finally:
            with self._changed:
                self._holds -= 1
                self.touch()

    def stop(self) -> None:
        """End the thread; the vault is closed."""
        with self._changed:
            self._after = None
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def _left(self) -> float | None:
        if self._after is None:
            return None
        idle = max(now - used for now, used in zip(self._now(), self._used, strict=True))
        return self._after if self._holds else self._after - idle

    def _watch(self) -> None:
        while True:
            with self._changed:
                left = self._left()
                if left is None:
                    self._thread = None
                    return
                if left > 0:
                    self._changed.wait(min(left, _LOOK))
                    continue
                self._used = self._now()
            if (lock := self._lock()) is None:
                return
            lock()  # outside the condition: it waits for edits that are being written
            del lock

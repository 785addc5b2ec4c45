"""Automatic sync: one thread that pushes soon after an edit and pulls as soon as a remote says so.

It never holds a lock that an edit waits for while it talks to a remote, and it ends promptly: whatever it waits for, it
waits on the same event that ``stop`` and ``nudge`` set. When passes are due is decided in `pacing`.

A computer that slept is noticed by its two clocks: the one on the wall went on, the other did not (or a short wait
took long). Then every remote is tried at once, as after `hint`. A clock that is set forward looks the same, which costs
one attempt; nothing else here looks at the time of day.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final, Protocol

from vaultsync.errors import DeviceRemoved, RemoteError, StoreBusy, VaultClosed, VaultSyncError
from vaultsync.remote.port import Polled, Remote
from vaultsync.vault.replication.pacing import FIRST_RETRY, HEARD, LAST_RETRY, Pace

__all__ = ["Background", "Line", "Outcome"]

_log = logging.getLogger(__name__)

WAIT: Final = 5.0
"""Longest uninterrupted wait in seconds: how late the end of a suspend is noticed."""
MIRROR_POLL: Final = 60.0
"""Seconds between passes with a remote that nobody waits on: another one is reached, and has the news."""
STOP_SECONDS: Final = 1.0
"""How long stopping waits for a call of a remote that is under way."""
JUMP_SECONDS: Final = 20.0
"""Seconds by which the clocks must part before it counts: more than clocks are ever adjusted by in one wait."""


class Outcome(Enum):
    """What became of an attempt. ``BUSY``: another process of this device is at it."""

    BUSY = auto()
    PUSHED = auto()
    PASSED = auto()


class Line(Protocol):
    """One remote of the vault, as the thread sees it. The first of several is the primary one."""

    def remote(self) -> Remote:
        """May raise `RemoteError`."""
        ...

    def attempt(self, stop: threading.Event, *, push: bool) -> Outcome:
        """One pass, given up when ``stop`` is set. ``push``: only own edits are to be sent, if that is possible."""
        ...


class Background:
    """Runs passes on each of its lines whenever there may be something to do."""

    def __init__(
        self,
        lines: Sequence[Line],
        prefix: str,
        refresh: Callable[[], None],
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``refresh`` looks at what other processes of this device wrote; called at every turn, cheap. ``wall`` and
        ``clock`` give seconds: of the time of day, and of what waiting goes by."""
        self._lines = [(line, Pace()) for line in lines]
        self._prefix = prefix
        self._refresh = refresh
        self._wall, self._clock = wall, clock
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._edited = self._hinted = False
        self._deaf = 0
        self._ahead = wall() - clock()
        self._polled = clock()
        self._thread = threading.Thread(target=self._run, name="vaultsync-sync", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Something was edited. Returns at once."""
        self._edited = True
        self._wake.set()

    def hint(self) -> None:
        """A remote may be reachable again. Returns at once."""
        self._hinted = True
        self._wake.set()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End the thread; waits for the object that is being transferred, not for the rest of the pass, and not for a
        remote that hangs: then the thread ends by itself when that answers."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    # ---- the thread -------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
                if (line := self._due()) is not None:
                    self._attempt(*line)
                else:
                    self._wait()
                self._refresh()
            except (VaultClosed, DeviceRemoved):
                break
            except VaultSyncError as error:  # of the local file: syncing goes on when it does
                _log.warning("automatic sync was disturbed: %s", error)
                self._wake.wait(1.0)

    def _listen(self) -> None:
        """Take in what was said since the last turn, by others and by the clocks."""
        self._wake.clear()  # first: what is said from here on wakes again
        edited, self._edited = self._edited, False
        hinted, self._hinted = self._hinted, False
        now = self._clock()
        ahead = self._wall() - now
        resumed, self._ahead = ahead - self._ahead > JUMP_SECONDS, ahead
        for _, pace in self._lines:
            if edited:
                pace.edited(now)
            if hinted or resumed:
                pace.hint(now)
        if now - self._polled >= MIRROR_POLL:
            self._polled = now
            for _, pace in self._lines:
                if pace is not self._listened()[1] and pace.reached:
                    pace.news(now)

    def _due(self) -> tuple[Line, Pace] | None:
        now = self._clock()
        return next(((line, pace) for line, pace in self._lines if pace.left(now) == 0), None)

    def _listened(self) -> tuple[Line, Pace]:
        """The line whose remote is waited on: the first that is reached."""
        return next((pair for pair in self._lines if pair[1].reached), self._lines[0])

    def _attempt(self, line: Line, pace: Pace) -> None:
        began = self._clock()
        push = pace.pushes(began)
        pace.began()
        try:
            match line.attempt(self._stopping, push=push):
                case Outcome.BUSY:
                    pace.busy(self._clock())
                case Outcome.PUSHED:
                    pace.pushed(self._clock())
                case Outcome.PASSED:
                    pace.succeeded(self._clock(), began=began)
        except (VaultClosed, DeviceRemoved):
            raise
        except (RemoteError, StoreBusy):
            pace.failed(self._clock())
        except VaultSyncError as error:
            _log.warning("automatic sync failed: %s", error)
            pace.failed(self._clock(), again=LAST_RETRY)

    def _wait(self) -> None:
        """Until something is due, the remote has news, somebody says something, or `WAIT` passed."""
        now = self._clock()
        waits = [left for _, pace in self._lines if (left := pace.left(now)) is not None]
        longest = min([WAIT, *waits])
        line, pace = self._listened()
        try:
            if not pace.reached or (pace.left(now) is not None and not self._looks(line, pace, now)):
                self._slept(now, self._wake.wait(longest))  # away, or gathering edits
                return
            remote = line.remote()
            news = remote.wait(self._prefix, longest, self._wake)
        except RemoteError:
            self._deaf += 1
            if self._deaf == 1:
                pace.news(self._clock())  # a pass says what is wrong
            else:  # passes succeed and waiting does not
                pace.failed(self._clock(), again=min(FIRST_RETRY * 2.0 ** min(self._deaf, 16), LAST_RETRY))
            return
        self._deaf = 0
        if news:
            pace.news(self._clock())
        elif isinstance(remote, Polled):
            pace.heard(remote.looked(self._prefix, self._wake))
        elif not self._wake.is_set():  # else it may not have come to telling
            pace.heard(self._clock())
        self._slept(now, news)

    def _looks(self, line: Line, pace: Pace, now: float) -> bool:
        """Whether to look for news while edits are gathered: one look spares the listings of a whole pass."""
        if not pace.asks(now) or not isinstance(remote := line.remote(), Polled):
            return False
        if now - remote.looked(self._prefix, self._wake) > HEARD / 2:
            remote.look_soon(self._prefix, self._wake)
        return True

    def _slept(self, began: float, early: bool) -> None:
        if not early and self._clock() - began > WAIT + JUMP_SECONDS:  # a clock that counts sleep, too
            self._hinted = True

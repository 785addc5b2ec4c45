"""Automatic sync: one thread that pushes soon after an edit and pulls as soon as the remote says so.

It never holds a lock that an edit waits for while it talks to the remote, and it ends promptly: whatever it waits
for, it waits on the same event that ``stop`` and ``nudge`` set.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Final

from vaultsync.errors import DeviceRemoved, RemoteError, StoreBusy, StoreError, VaultClosed, VaultSyncError
from vaultsync.remote.port import Remote

__all__ = ["Background"]

_log = logging.getLogger(__name__)

DEBOUNCE: Final = 0.15
"""Seconds to gather further edits before pushing."""
WAIT: Final = 5.0
"""Longest wait for news of the remote; also how late a change is seen when a remote cannot tell of it."""
TURN: Final = 0.25
"""Seconds between attempts while another process of this device syncs."""
STOP_SECONDS: Final = 2.0
"""How long stopping waits for a call of the remote that is under way."""
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 60.0
"""Seconds between attempts while the remote is away: doubling from the first to the last."""


class Background:
    """Runs ``sync`` (one pass, to be given up when the event it gets is set; ``False`` when another process is at it)
    whenever there may be something to do."""

    def __init__(
        self, sync: Callable[[threading.Event], bool], remote: Remote, prefix: str, refresh: Callable[[], None]
    ) -> None:
        """``refresh`` looks at what other processes of this device wrote; called at every turn, cheap."""
        self._sync = sync
        self._remote = remote
        self._prefix = prefix
        self._refresh = refresh
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._edited = False
        self._jitter = random.Random()  # spreads retries; decides nothing
        self._thread = threading.Thread(target=self._run, name="vaultsync-sync", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Something was edited. Returns at once."""
        self._edited = True
        self._wake.set()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End the thread; waits for the object that is being transferred, not for the rest of the pass, and not for a
        remote that hangs: then the thread ends by itself when that answers."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        retry = FIRST_RETRY
        due = True
        while not self._stopping.is_set():
            try:
                if due and not self._sync(self._stopping):
                    self._stopping.wait(TURN)  # another process is at it; what we edited may have come too late for it
                    continue
                retry = FIRST_RETRY
                due = self._wait()
                self._refresh()
            except (VaultClosed, DeviceRemoved):
                break
            except (RemoteError, StoreBusy):
                due = self._pause(retry)
                retry = min(retry * 2, LAST_RETRY)
            except (VaultSyncError, StoreError) as error:
                _log.warning("automatic sync failed: %s", error)
                due = self._pause(LAST_RETRY)

    def _wait(self) -> bool:
        """Until an edit, news or the longest wait; ``True`` when a pass should follow."""
        news = self._remote.wait(self._prefix, WAIT, self._wake)
        if self._wake.is_set() and not self._stopping.is_set():
            self._stopping.wait(DEBOUNCE)
        self._wake.clear()
        edited, self._edited = self._edited, False
        return news or edited

    def _pause(self, seconds: float) -> bool:
        """Offline: wait, but not longer than until the next edit or a manual nudge would be tried anyway."""
        self._stopping.wait(seconds * self._jitter.uniform(0.7, 1.3))
        return True

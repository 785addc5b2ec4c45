"""One remote of a vault, the primary one or a mirror: its exchange, whose turn it is, and how passes with it went."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vaultsync.errors import RemoteError, RemoteRefused, VaultClosed, VaultSyncError
from vaultsync.remote import Remote
from vaultsync.sync.report import SyncReport
from vaultsync.vault.replication.exchange import Exchange
from vaultsync.vault.replication.standing import State

__all__ = ["Link"]


class Link:
    """Made without touching the remote. Passes are made one at a time: the caller sees to it. The rest is
    thread-safe."""

    def __init__(self, url: str, make: Callable[[], Exchange], now_ms: Callable[[], int]) -> None:
        """``make`` reaches the remote; called when it is first needed."""
        self.url = url
        self.report: SyncReport | None = None
        self.error: VaultSyncError | None = None
        self.last_ms: int | None = None
        """When the last pass succeeded."""
        self.attachments_at = float("-inf")
        """When attachments of other devices were last brought here (seconds of a monotonic clock)."""
        self.pushed = False
        """Whether the last pass only sent."""
        self._make = make
        self._now_ms = now_ms
        self._making = threading.Lock()
        self._exchange: Exchange | None = None
        self._closed = False
        self._since_ms: int | None = None
        self._busy_ms: int | None = None
        self._edited_ms: int | None = None

    def exchange(self) -> Exchange:
        """Raises `RemoteError`, `UnsupportedRemote`, and `VaultClosed` after `close`."""
        with self._making:
            if self._closed:
                raise VaultClosed("the vault was closed, or disconnected from this remote")
            if self._exchange is None:
                self._exchange = self._make()
            return self._exchange

    @property
    def remote(self) -> Remote:
        """For single objects, beside passes. Raises as `exchange` does; never waits for a pass."""
        return self.exchange().remote

    def edited(self) -> None:
        """Something waits to be sent."""
        if self._edited_ms is None:
            self._edited_ms = self._now_ms()

    def forget(self) -> None:
        """Begin the next pass from what is stored. Between passes only."""
        if self._exchange is not None:
            self._exchange.forget()

    def run(self, stop: threading.Event | None, *, push: bool = False) -> SyncReport:
        """One pass, noted whatever comes of it; with ``push`` one that only sends, if that is possible."""
        self._busy_ms = self._now_ms()
        self._edited_ms = None
        try:
            exchange = self.exchange()
            report = exchange.push(stop) if push else None
            self.pushed = report is not None
            report = exchange.run(stop) if report is None else report
        except VaultClosed:
            raise
        except VaultSyncError as error:
            self._note(error)
            raise
        else:
            self.report, self.last_ms = report, self._now_ms()
            self._note(None)
            return report
        finally:
            self._busy_ms = None

    def _note(self, error: VaultSyncError | None) -> None:
        before, self.error = self._trouble(), error
        if self._trouble() is not before or self._since_ms is None:
            self._since_ms = self._now_ms()

    def _trouble(self) -> State | None:
        if self.error is None:
            return None
        if isinstance(self.error, RemoteRefused):
            return State.REFUSED
        return State.OFFLINE if isinstance(self.error, RemoteError) else State.FAILED

    def state(self, pending: int, *, auto: bool) -> tuple[State, int | None]:
        """As of now, and since when (ms)."""
        if self._busy_ms is not None:
            return State.SYNCING, self._busy_ms
        if (trouble := self._trouble()) is not None:
            return trouble, self._since_ms
        if pending or self.report is None or self.report.waiting:
            return State.BEHIND if auto else State.MANUAL, self._edited_ms or self._since_ms
        return State.UP_TO_DATE, self._since_ms

    def close(self) -> None:
        """Let go of the remote. A pass that is in it goes on until the remote answers."""
        with self._making:
            self._closed = True
            exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

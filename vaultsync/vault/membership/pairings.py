"""The invitations of one vault that are not over: kept sealed in the store, so that a vault which was closed or killed
goes on with them, or withdraws them, when it is opened again.

One process at a time keeps them; what a second one invites beside it ends with that process.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Final

from vaultsync.errors import RemoteError, UsageError
from vaultsync.vault.environment import Environment
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership.pairing import PAIRING, Pairing, Stage
from vaultsync.vault.replication.syncing import Syncing

__all__ = ["Pairings"]

_OVER: Final = (Stage.DONE, Stage.FAILED)


class Pairings:
    """Thread-safe."""

    def __init__(self, ledger: Ledger, syncing: Syncing, environment: Environment) -> None:
        self._ledger, self._syncing, self._environment = ledger, syncing, environment
        self._lock = threading.Lock()
        self._mine = ledger.store.pairing_lock()
        self._running: list[Pairing] = []

    def begin(self, valid_minutes: float) -> Pairing:
        """A new invitation. Raises as `Pairing` does."""
        with self._lock:
            kept = self._keeps()
            made = Pairing(self._ledger, self._syncing, self._environment, valid_minutes=valid_minutes, kept=kept)
            self._running.append(made)
            return made

    def tend(self) -> tuple[Pairing, ...]:
        """Poll every invitation that is not over, those of an earlier run included, and clear away what is; what waits
        for the person then. A remote that does not answer is asked another time."""
        with self._lock:
            self._resume()
            for pairing in self._running:
                with contextlib.suppress(RemoteError):
                    pairing.poll()
            self._running = [pairing for pairing in self._running if not pairing.over]
            return tuple(pairing for pairing in self._running if pairing.stage is Stage.COMPARING)

    def find(self, pairing: Pairing) -> Pairing:
        """Raises `UsageError` for one that is none of these."""
        if pairing not in self._running:
            raise UsageError("this request is over: look at vault.pending again")
        return pairing

    def close(self) -> None:
        """Nobody of this process goes on with them."""
        self._mine.release()

    def _keeps(self) -> bool:
        return self._mine.held or self._mine.acquire()

    def _resume(self) -> None:
        stored = self._ledger.states(PAIRING)
        known = {pairing.name for pairing in self._running}
        if not stored.keys() - known or self._syncing.url is None or not self._keeps():
            return
        for name in sorted(stored.keys() - known):
            self._running.append(Pairing(self._ledger, self._syncing, self._environment, stored=stored[name]))

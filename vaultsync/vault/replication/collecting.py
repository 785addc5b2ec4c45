"""Collection: what two verified checkpoints hold need not lie on the remote any more, nor here.

What goes: envelopes that this device applied itself, that two checkpoints cover which it verified and which the remote
holds whole, and that no checkpoint is anchored at; and checkpoints when two others hold everything of them. What never
goes: the list of devices, the account, whatever this device does not know or did not apply (a branch of a forked chain
has to stay for everybody to see), and anything while what replaces it is younger than a day here: programs that sync
folders carry deletions in any order. Whoever is in the middle of fetching finds something missing, and goes on from the
checkpoint.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from typing import Final

from vaultsync import limits
from vaultsync.crypto import envelope
from vaultsync.errors import RemoteRefused, RemoteUnavailable
from vaultsync.remote.port import Remote
from vaultsync.sync.coverage import Known, collectible, superseded
from vaultsync.vault.environment import Environment
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.replication.checkpoints import forget, known_checkpoints
from vaultsync.vault.replication.lines import Lines

__all__ = ["Collector"]

COLLECTED: Final = "collected/"
"""State, by chain: of a vault with mirrors, what each remote let go and is still kept here for the others."""


class Collector:
    """Collects on one remote, and here."""

    def __init__(self, ledger: Ledger, remote: Remote, remote_id: str, vault: bytes, environment: Environment) -> None:
        self._ledger = ledger
        self._remote = remote
        self._remote_id = remote_id
        self._vault = vault
        self._environment = environment
        self._keeps_all = False

    def run(
        self,
        known: Iterable[Known],
        checkpoints: set[str],
        chains: Mapping[bytes, list[str]],
        stop: threading.Event | None,
    ) -> int:
        """Delete what may go, at most ``COLLECT_BATCH`` objects; returns how many went.

        ``checkpoints`` and ``chains``: what the remote lists, kept up to date. A remote that is away ends it, one that
        refuses to delete keeps everything; neither is an error.
        """
        now, known = self._environment.now_ms(), list(known)
        there = [one for one in known if checkpoints.issuperset(one.parts)]
        ripe = [one for one in there if now - one.since >= limits.COLLECT_AFTER_MS]
        if len(ripe) < 2:
            return 0
        budget = limits.COLLECT_BATCH
        try:
            for chain, listed in chains.items():
                budget -= self._envelopes(chain, listed, ripe, known, budget, stop)
            lines = Lines(self._ledger, self._vault)
            whole = {one.env_id: one for one in known_checkpoints(self._ledger)}
            absent = [one for one in whole.values() if checkpoints.isdisjoint(one.parts)]  # another device was faster
            for one in superseded([whole.get(one.env_id, one) for one in ripe], lines.holds, absent):
                if budget > 0:
                    budget -= self._checkpoint(one, checkpoints, stop)
        except RemoteUnavailable:
            pass
        return 0 if self._keeps_all else limits.COLLECT_BATCH - budget

    def _envelopes(
        self,
        chain: bytes,
        listed: list[str],
        ripe: list[Known],
        known: list[Known],
        most: int,
        stop: threading.Event | None,
    ) -> int:
        with self._ledger.store.read() as reading:
            held = reading.names_of(chain, envelope.Kind.CHANGES)
            remotes = reading.remotes()
            waiting = {name for remote in remotes for name in reading.undelivered_names(remote)}
        going = [name for name in collectible(ripe, known, chain, held) if name not in waiting]
        if not going:
            return 0
        on_remote = set(listed)
        there = [name for name in going if name in on_remote][:most]
        gone = {name for name in there if self._delete(name, stop)}
        listed[:] = [name for name in listed if name not in gone]
        on_remote -= gone
        self._trim(chain, [name for name in going if name not in on_remote or self._keeps_all], remotes)
        return len(gone)

    def _trim(self, chain: bytes, done: list[str], remotes: list[str]) -> None:
        """Let go of envelopes here, once every remote of the vault did: what is not here is not known there."""
        if len(remotes) <= 1:
            ready = done
        else:
            with self._ledger.noting() as transaction:
                state = COLLECTED + chain.hex()
                stored = transaction.state(state)
                rows: dict[str, list[str]] = json.loads(stored) if stored else {}
                rows[self._remote_id] = done
                ready = sorted(set(done).intersection(*(rows.get(remote, []) for remote in remotes)))
                left = {remote: sorted(set(rows.get(remote, [])).difference(ready)) for remote in remotes}
                text = json.dumps(left, sort_keys=True).encode()
                if text != stored:
                    transaction.set_state(state, text if any(left.values()) else None)
        if ready:
            with self._ledger.store.write() as writing:
                for name in ready:
                    writing.drop_envelope(name)

    def _checkpoint(self, one: Known, checkpoints: set[str], stop: threading.Event | None) -> int:
        there = checkpoints.intersection(one.parts)
        if not all(self._delete(name, stop) for name in sorted(there)):
            return 0  # told to stop
        checkpoints.difference_update(one.parts)
        with self._ledger.noting() as transaction:
            forget(transaction, one)
        return len(there)

    def _delete(self, name: str, stop: threading.Event | None) -> bool:
        """``True`` when it need not be kept here either: it went, or this remote keeps everything anyway."""
        if stop is not None and stop.is_set():
            return False
        if not self._keeps_all:
            try:
                self._remote.delete(name)
            except RemoteRefused:
                self._keeps_all = True
        return True

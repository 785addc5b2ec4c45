"""What the core remembers, and the only ways in which it changes: envelopes move along the table, one at a time.

Split from the core so that every rule about *what follows from an event* is there, and everything that has to be kept
in step when an envelope changes its state is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from vaultsync.errors import VaultSyncError
from vaultsync.sync import events as ev
from vaultsync.sync import names
from vaultsync.sync.chain import TRANSITIONS, Cause, Chain, Record, State
from vaultsync.sync.report import Finding, FindingKind

__all__ = ["Ledger"]

_ONCE_A_CHAIN: Final = frozenset({FindingKind.OWN_CHAIN_AHEAD})


class Ledger:
    """The core's state. Parameters as those of ``Core``."""

    def __init__(
        self,
        vault: bytes,
        tips: Mapping[bytes, ev.Tip],
        own: bytes | None,
        roster: Iterable[bytes] | None,
        outbox: Iterable[str],
        quarantined: Iterable[str],
        sides: Mapping[bytes, Mapping[bytes, int]],
    ) -> None:
        self._vault = vault
        self._own = own
        self._roster = None if roster is None else frozenset(roster)
        self._chains: dict[bytes, Chain] = {}
        for key, tip in tips.items():
            self._chains[key] = Chain(key, names.chain_prefix(vault, key), tip)
        for key, branch in sides.items():
            for env_id, seq in branch.items():
                self._chain(key).branch(seq, env_id)
        self._busy: set[bytes] = set()
        self._fetching = 0
        self._applying: dict[str, Record] = {}
        self._awaited: dict[bytes, set[Record]] = {}
        self._outbox: dict[str, bool] = dict.fromkeys(outbox, False)  # name -> handed out
        self._fresh: set[str] = set()  # put by us since the last listing that might have shown it
        self._healing: set[str] = set()
        self._quarantined: dict[str, VaultSyncError | None] = dict.fromkeys(quarantined)
        self._reported: set[tuple[FindingKind, bytes, int]] = set()
        self._heal: list[str] = []
        self._compare: list[bytes] = []
        self._confirmed: list[str] = []
        self._set_aside: list[ev.Quarantined] = []
        self._release: list[str] = []
        self._findings: list[Finding] = []
        self._covered: list[str] = []

    def _chain(self, key: bytes) -> Chain:
        if key not in self._chains:
            self._chains[key] = Chain(key, names.chain_prefix(self._vault, key), ev.Tip(0, ev.NO_ENVELOPE))
        return self._chains[key]

    def _record(self, name: str) -> Record | None:
        parsed = names.parse_envelope(name)
        chain = self._chains.get(parsed.chain) if parsed is not None and parsed.vault == self._vault else None
        return chain.records.get(name) if chain is not None else None

    def _knows(self, chain: bytes) -> bool:
        return self._roster is None or chain in self._roster or chain == self._own

    def _take_back(self, records: list[Record]) -> None:
        for record in records:
            self._move(record, Cause.TAKEN_BACK)
            record.chain.cursor = (record.chain.tip.seq, record.chain.tip.env_id)
            self._busy.add(record.chain.key)

    def _refuse(self, record: Record, error: VaultSyncError) -> None:
        record.error = error
        self._move(record, Cause.REFUSED)
        if record.name not in self._quarantined:
            self._set_aside.append(ev.Quarantined(record.name, error))
        self._quarantined[record.name] = error

    def _find(self, kind: FindingKind, chain: Chain, seq: int, *involved: str, by: bytes | None = None) -> None:
        key = (kind, chain.key, 0 if kind in _ONCE_A_CHAIN else seq)
        if key not in self._reported:
            self._reported.add(key)
            self._findings.append(Finding(kind, chain.key, seq, involved, by))

    def _move(self, record: Record, cause: Cause) -> None:
        """The only place where an envelope changes its state, and where what depends on the state is kept in step."""
        state = TRANSITIONS.get((record.state, cause))
        if state is None:
            return
        chain, before, record.state = record.chain, record.state, state
        self._fetching += (state is State.FETCHING) - (before is State.FETCHING)
        if state is State.APPLYING:
            self._applying[record.name] = record
        elif before is State.APPLYING:
            self._applying.pop(record.name, None)
        if state in (State.NO_ROSTER, State.NEWER):
            chain.stalls[record.name] = record.seq
        else:
            chain.stalls.pop(record.name, None)
        open_before, open_now = (s in (State.OPENED, State.APPLYING) for s in (before, state))
        if open_now and not open_before:
            chain.at.setdefault(record.seq, []).append(record)
        elif open_before and not open_now:
            chain.at[record.seq].remove(record)
            if not chain.at[record.seq]:
                del chain.at[record.seq]
            self._forget_missing(record)
        if state in (State.LISTED, State.APPLIED):
            chain.records.pop(record.name, None)
        else:
            chain.records[record.name] = record
        self._busy.add(chain.key)

    def _forget_missing(self, record: Record) -> None:
        for hash_ in record.missing:
            waiters = self._awaited.get(hash_)
            if waiters is not None:
                waiters.discard(record)
                if not waiters:
                    del self._awaited[hash_]
        record.missing = set()

    def _learn(self, hashes: Iterable[bytes]) -> None:
        for hash_ in hashes:
            for record in self._awaited.pop(hash_, ()):
                record.missing.discard(hash_)
                self._busy.add(record.chain.key)

    def _hand_out(self, fetch: tuple[str, ...], units: tuple[ev.Unit, ...], put: tuple[str, ...]) -> ev.Decision:
        """A decision with these and whatever was collected since the last one."""
        decision = ev.Decision(
            fetch,
            units,
            put,
            tuple(self._heal),
            tuple(self._compare),
            tuple(self._confirmed),
            tuple(self._set_aside),
            tuple(self._release),
            tuple(self._findings),
            tuple(self._covered),
        )
        for collected in (
            self._heal,
            self._compare,
            self._confirmed,
            self._set_aside,
            self._release,
            self._findings,
            self._covered,
        ):
            collected.clear()
        return decision

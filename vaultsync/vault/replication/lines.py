"""What checkpoints hold of chains that forked. Numbers of envelopes say nothing there: branches have the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from vaultsync.crypto.envelope import Kind
from vaultsync.document.branches import Part, set_apart
from vaultsync.document.transplant import resolve
from vaultsync.store import Reading
from vaultsync.sync import names
from vaultsync.sync.coverage import Known
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.replication.grafting import signed_changes

__all__ = ["Lines"]


class Lines:
    """The branches of one vault as they are known now."""

    def __init__(self, ledger: Ledger, vault: bytes) -> None:
        self._ledger = ledger
        self._vault = vault
        self._signed = signed_changes(ledger)
        self._contested = frozenset(change.actor for change in self._signed)
        self._held = held_of(ledger, self._contested) if self._contested else {}

    def counted(self, known: Iterable[Known]) -> list[Known]:
        """Without what they cover of another branch than the one that is followed here: what was applied here is in
        them as far as the envelope that they end with is one of those."""
        return [self._followed(one) for one in known] if self._contested else list(known)

    def _followed(self, one: Known) -> Known:
        frontier = {
            chain: (seq, env_id)
            for chain, (seq, env_id) in one.frontier.items()
            if chain not in self._contested or names.envelope_name(self._vault, chain, seq, env_id) in self._held[chain]
        }
        return one._replace(frontier=frontier)

    def holds(self, one: Known, other: Known) -> bool:
        """Whether one checkpoint has everything of another, of every branch."""
        rest = {chain: place for chain, place in other.frontier.items() if chain not in self._contested}
        return one.covers(rest) and all(
            self._past(one.ends.get(chain, ())) >= self._past(other.ends.get(chain, ()))
            and (bool(one.ends.get(chain)) or chain not in other.frontier)
            for chain in self._contested
        )

    @cached_property
    def _follows(self) -> Mapping[bytes, bytes | None]:
        apart = set_apart(self._ledger.engine, self._signed)
        return resolve(apart.wire.values(), Part(self._ledger.engine, apart.beyond)).follows

    def _past(self, ends: Iterable[bytes]) -> set[bytes]:
        """Those ends and what they follow, back to where the first fork begins."""
        found = set()
        for end in ends:
            at: bytes | None = end
            while at and at not in found:
                if at not in self._follows:
                    break  # before every fork: so is everything that it follows
                found.add(at)
                at = self._follows[at]
        return found


def held_of(ledger: Ledger, chains: frozenset[bytes]) -> dict[bytes, frozenset[str]]:
    """The envelopes of the branches that are followed, by chain."""

    def read(reading: Reading) -> dict[bytes, frozenset[str]]:
        return {chain: frozenset(reading.names_of(chain, Kind.CHANGES)) for chain in chains}

    return ledger.store.recall(("held", chains), ("envelopes",), read)

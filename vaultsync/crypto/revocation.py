"""Where the chains of removed devices end, and which envelopes may still be accepted. Pure: no roster is changed here.

A replicated document cannot take anything back, and a strict end would lose what honest devices built on a removed
device's changes. So nothing is ever un-applied: on hearing of a removal a device, in one transaction and before any
further pull, stores the entry, freezes the ended chains where it has *applied* them, and writes an ack that says where.
The accepted part of an ended chain is the union of the prefixes that these name:

1. the pins of the removal (how far the remover had applied it);
2. acks of devices that are in the vault;
3. frontiers in accepted envelopes whose writers did not know of the removal yet (by their ``roster_head``).

Each only grows with what is known, so the whole does, and equal knowledge gives equal ends. An honest device's frontier
never exceeds what it applied, and that never exceeds what is accepted, so waiting for the rest loses nothing that an
honest device saw. A limit: a remote that hides the removal from a device keeps that device accepting until it hears.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from vaultsync.crypto.roster import Frontier, RevokedChain
from vaultsync.errors import Revoked, StaleEpoch, UnknownChain

__all__ = [
    "NOTHING",
    "End",
    "History",
    "Removals",
    "Statement",
    "accepted_ends",
    "check_end",
    "check_epoch",
    "named_ends",
]

End = tuple[int, bytes]
"""(seq, env_id): up to and with that envelope."""
NOTHING: End = (0, bytes(32))


class Statement(NamedTuple):
    """What an opened envelope says of other chains: its place, and ``roster_head`` and ``frontier`` of its body."""

    chain: bytes
    seq: int
    roster_head: bytes
    frontier: Frontier


class Removals(Protocol):
    """What is asked of a roster."""

    @property
    def revoked(self) -> Mapping[bytes, RevokedChain]:
        """The chains that ended."""

    def aware(self, head: bytes, chain_id: bytes) -> bool:
        """Whether who named ``head`` knew that the chain ended; :class:`UnknownChain`."""


class History(Protocol):
    """What is asked of a roster."""

    def superseded(self, head: bytes) -> frozenset[bytes]:
        """Epochs that another one came after, by ``head``; :class:`UnknownChain`."""

    def came_before(self, older: bytes, newer: bytes) -> bool:
        """Whether the second epoch was begun in knowledge of the first."""

    def builds_on(self, head: bytes, older: bytes) -> bool:
        """Whether the second entry is an ancestor of the first."""


def named_ends(roster: Removals, statements: Iterable[Statement] = ()) -> dict[bytes, frozenset[End]]:
    """Every place that is named in each ended chain; several where the chain was forked, or somebody knew more.

    ``statements``: of opened envelopes that name an ended chain in their frontier, applied or not, in any order and
    repeated or not. Those that name an unknown roster entry do not count yet, and those of ended chains only as far as
    these are accepted themselves.
    """
    ends = {chain: set(known.pins | known.acks) for chain, known in roster.revoked.items()}
    waiting = _unaware(roster, statements)
    while True:
        reach = {chain: max(places, default=NOTHING)[0] for chain, places in ends.items()}
        later = {said for said in waiting if said.seq > reach.get(said.writer, said.seq)}
        if later == waiting:
            return {chain: frozenset(places) for chain, places in ends.items()}
        for said in waiting - later:
            ends[said.chain].add(said.place)
        waiting = later


def accepted_ends(roster: Removals, statements: Iterable[Statement] = ()) -> dict[bytes, End]:
    """The last accepted envelope of each chain that ended, :data:`NOTHING` where nothing is. It only ever grows.

    Of a chain with two branches of one length the larger id: :func:`named_ends` tells them all.
    """
    return {chain: max(places, default=NOTHING) for chain, places in named_ends(roster, statements).items()}


class _Said(NamedTuple):
    writer: bytes
    seq: int
    chain: bytes
    place: End


def _unaware(roster: Removals, statements: Iterable[Statement]) -> set[_Said]:
    """What was said of ended chains by those who did not know that they had ended."""
    said = set()
    for one in statements:
        for chain in roster.revoked.keys() & one.frontier.keys() - {one.chain}:  # nobody speaks for itself
            with contextlib.suppress(UnknownChain):
                if not roster.aware(one.roster_head, chain):
                    said.add(_Said(one.chain, one.seq, chain, one.frontier[chain]))
    return said


def check_end(ends: Mapping[bytes, End], chain: bytes, seq: int, env_id: bytes) -> None:
    """Raises :class:`Revoked` for an envelope past the accepted end of its chain, or another one at that end.

    What is applied already is not asked about: it stays. ``ends`` is from :func:`accepted_ends`.
    """
    if chain in ends:
        last, name = ends[chain]
        if seq > last or (seq == last and env_id != name):
            raise Revoked("the device was removed, and nobody had this of it when hearing so")


def check_epoch(
    roster: History, *, epoch: bytes, roster_head: bytes, previous: tuple[bytes, bytes] | None = None
) -> None:
    """Whether an envelope may be sealed under ``epoch`` (id) and name ``roster_head``: the epoch is not older than what
    that entry grants, and neither goes back from (epoch, roster_head) of the chain's envelope before, ``previous``.

    An old epoch alone is accepted without time limit: its writer had not heard of a newer one. Raises
    :class:`StaleEpoch`, and :class:`UnknownChain` while the entry is not here.
    """
    if epoch in roster.superseded(roster_head):
        raise StaleEpoch("the envelope is sealed under an older key than its writer was granted")
    if previous is None:
        return
    if previous[0] != epoch and roster.came_before(epoch, previous[0]):
        raise StaleEpoch("the envelope is sealed under an older key than the one before it in its chain")
    if previous[1] != roster_head and roster.builds_on(previous[1], roster_head):
        raise StaleEpoch("the envelope's writer claims to know less of the vault's devices than before")

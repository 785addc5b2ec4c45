"""Which opened envelopes may be applied now, and in which order. Pure: reads the core's state, changes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from vaultsync.errors import ForkedChain, MalformedEnvelope, VaultSyncError
from vaultsync.sync.chain import Chain, Record, State
from vaultsync.sync.events import Group, Unit

__all__ = ["ready_units"]

_Refusals = list[tuple[Record, VaultSyncError]]


def ready_units(
    chains: Iterable[Chain], applying: Mapping[str, Record], awaited: Mapping[bytes, set[Record]]
) -> tuple[list[Unit], _Refusals]:
    """Units in an order in which each finds its predecessor and dependencies applied, and what can never be applied.

    ``applying`` counts as applied: if something of it fails, all of it is taken back and this is asked again.
    """
    units: list[Unit] = []
    refusals: _Refusals = []
    coming: set[bytes] = set()
    for record in applying.values():
        coming |= record.contents.hashes
    cursors: dict[bytes, tuple[int, bytes]] = {}
    turn = deque(chain for chain in chains if chain.at)
    while turn:
        chain = turn.popleft()
        cursor = cursors.get(chain.key, chain.cursor)
        members = _next(chain, cursor, coming, refusals)
        if members is None:
            continue
        cursors[chain.key] = (members[-1].seq, members[-1].contents.env_id)
        units.append(Unit(chain.key, tuple(record.name for record in members)))
        turn.append(chain)
        for record in members:
            coming |= record.contents.hashes
            for hash_ in record.contents.hashes:
                turn.extend(waiter.chain for waiter in awaited.get(hash_, ()))
    return units, list(dict(refusals).items())


def _next(chain: Chain, cursor: tuple[int, bytes], coming: set[bytes], refusals: _Refusals) -> list[Record] | None:
    """An envelope that follows ``cursor``, with the rest of its group, if all of it may be applied."""
    for head in _followers(chain, cursor, refusals, final=cursor[0] == chain.tip.seq):
        members = _whole(chain, head, refusals)
        if members is not None:
            brought = coming.union(*(record.contents.hashes for record in members))
            if all(record.missing <= brought for record in members):
                return members
    return None


def _whole(chain: Chain, head: Record, refusals: _Refusals) -> list[Record] | None:
    """``head`` and the rest of its group; None while that is not all there."""
    members = [head]
    group = head.contents.group
    if group is not None:
        if group.index != 0:
            refusals.append((head, MalformedEnvelope("continues a batch that did not begin")))
            return None
        for index in range(1, group.count):
            following = _followers(chain, (members[-1].seq, members[-1].contents.env_id), refusals, final=False)
            if not following:
                return None
            if following[0].contents.group != Group(group.id, index, group.count):
                refusals.append((following[0], MalformedEnvelope("does not continue the batch before it")))
                return None
            members.append(following[0])
    return members


def _followers(chain: Chain, cursor: tuple[int, bytes], refusals: _Refusals, *, final: bool) -> list[Record]:
    """What continues the chain after ``cursor``, smallest id first. Once that is the tip (``final``), what does not fit
    never will."""
    seq, env_id = cursor
    fitting = []
    for record in chain.at.get(seq + 1, ()):
        if record.state is not State.OPENED:
            continue
        if record.contents.prev == env_id:
            fitting.append(record)
        elif final:
            refusals.append((record, ForkedChain(f"envelope {seq + 1} does not follow the one applied before it")))
    return sorted(fitting, key=lambda record: record.contents.env_id)

"""Which opened envelopes may be applied now, and in which order. Pure but for this: what can never follow the branch
that is followed is marked as lying beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from vaultsync.errors import MalformedEnvelope, VaultSyncError
from vaultsync.sync.chain import Chain, Record, State
from vaultsync.sync.events import NO_ENVELOPE, Group, Unit

__all__ = ["held_before", "ready_units"]

_Refusals = list[tuple[Record, VaultSyncError]]


def ready_units(
    chains: Iterable[Chain], applying: Mapping[str, Record], awaited: Mapping[bytes, set[Record]]
) -> tuple[list[Unit], _Refusals]:
    """Units in an order in which each finds its predecessor and dependencies applied, and what can never be applied.

    ``applying`` counts as applied: if something of it fails, all of it is taken back and this is asked again.
    """
    units: list[Unit] = []
    refusals: _Refusals = []
    chains = list(chains)
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
    for chain in chains:
        units += _branches(chain, coming, refusals)
    return units, list(dict(refusals).items())


def _branches(chain: Chain, coming: set[bytes], refusals: _Refusals) -> list[Unit]:
    """What may be applied of the branches that are not followed: after an envelope of any branch that is held."""
    reached = set(chain.sides)
    records = []
    beside = set(reached)
    for seq in sorted(chain.at):
        for record in sorted(chain.at[seq], key=lambda one: one.contents.env_id):
            record.side = record.side or record.contents.prev in beside
            if record.side:
                beside.add(record.contents.env_id)
                if record.state is State.OPENED:
                    records.append(record)
    by_prev: dict[bytes, list[Record]] = {}
    for record in records:
        by_prev.setdefault(record.contents.prev, []).append(record)
    units, taken = [], set[str]()
    for record in records:
        contents = record.contents
        if record.name in taken or not (contents.prev in reached or held_before(chain, record)):
            continue
        members = [record]
        group = contents.group
        if group is not None:
            if group.index != 0:
                refusals.append((record, MalformedEnvelope("continues a batch that did not begin")))
                continue
            for index in range(1, group.count):
                wanted = Group(group.id, index, group.count)
                following = by_prev.get(members[-1].contents.env_id, [])
                members += [one for one in following if one.contents.group == wanted][:1]
            if len(members) < group.count:
                continue
        brought = coming.union(*(one.contents.hashes for one in members))
        if all(one.missing <= brought for one in members):
            coming |= brought
            taken.update(one.name for one in members)
            reached.update(one.contents.env_id for one in members)
            units.append(Unit(chain.key, tuple(one.name for one in members), side=True))
    return units


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


def held_before(chain: Chain, record: Record) -> bool:
    """Whether the envelope that one follows is applied here, on whatever branch."""
    contents = record.contents
    return (
        contents.follows
        or contents.prev in chain.sides
        or chain.recent.get(record.seq - 1) == contents.prev[:16]
        or (record.seq == 1 and contents.prev == NO_ENVELOPE)
    )


def _followers(chain: Chain, cursor: tuple[int, bytes], refusals: _Refusals, *, final: bool) -> list[Record]:
    """What continues the chain after ``cursor``, smallest id first. Once that is the tip (``final``), what does not fit
    never will."""
    seq, env_id = cursor
    fitting = []
    for record in chain.at.get(seq + 1, ()):
        if record.state is not State.OPENED or record.side:
            continue
        if record.contents.prev == env_id:
            fitting.append(record)
        elif final:
            record.side = True
    return sorted(fitting, key=lambda record: record.contents.env_id)

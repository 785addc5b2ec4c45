"""Why a chain cannot go on: said for people, decided nowhere. Pure."""

from __future__ import annotations

from collections.abc import Container

from vaultsync.sync.chain import Chain, Record, State, seq_of
from vaultsync.sync.report import Waiting, WaitsFor

__all__ = ["waiting_of"]

_REASONS = {
    State.FETCHING: WaitsFor.COMPLETION,
    State.INCOMPLETE: WaitsFor.COMPLETION,
    State.NO_ROSTER: WaitsFor.ROSTER,
    State.NEWER: WaitsFor.UPDATE,
}


def waiting_of(chain: Chain, quarantined: Container[str], in_roster: bool) -> Waiting | None:
    """What the chain waits for; None when everything of it that is known is applied."""
    head = chain.tip.seq + 1
    behind = {name for name in chain.offered if seq_of(name) >= head}
    behind.update(record.name for records in chain.at.values() for record in records)
    alive = {name for name in behind if name not in quarantined}
    first = sorted(name for name in behind if seq_of(name) == head)
    if not in_roster:
        return Waiting(WaitsFor.ROSTER, chain.key, head, first[0] if first else None, len(behind)) if alive else None
    records = [chain.records[name] for name in first if name in chain.records]
    opened = [
        record
        for record in chain.at.get(head, ())
        if record.state in (State.OPENED, State.APPLYING) and not record.side
    ]
    if opened:
        return _of_opened(chain, min(opened, key=lambda record: record.name), len(behind))
    for state, reason in _REASONS.items():
        for record in records:
            if record.state is state:
                return Waiting(reason, chain.key, head, record.name, len(behind))
    if first and all(name in quarantined for name in first):
        return Waiting(WaitsFor.REFUSED, chain.key, head, first[0], len(behind)) if behind - set(first) else None
    if behind or chain.named >= max(head, chain.side_reach + 1):  # other branches' numbers are no gaps of this one
        return Waiting(WaitsFor.ENVELOPE, chain.key, head, first[0] if first else None, len(behind))
    return _of_suspects(chain)


def _of_opened(chain: Chain, head: Record, behind: int) -> Waiting:
    group = head.contents.group
    missing = set(head.missing)
    if group is not None and group.index == 0:
        members = [record for seq in range(head.seq, head.seq + group.count) for record in chain.at.get(seq, ())]
        if len({record.seq for record in members}) < group.count:
            return Waiting(WaitsFor.GROUP, chain.key, head.seq, head.name, behind)
        missing = missing.union(*(record.missing for record in members))
        missing = missing.difference(*(record.contents.hashes for record in members))
    return Waiting(WaitsFor.CHANGES, chain.key, head.seq, head.name, behind, tuple(sorted(missing)))


def _of_suspects(chain: Chain) -> Waiting | None:
    for record in sorted(chain.records.values(), key=lambda record: record.name):
        if record.state in _REASONS:
            return Waiting(_REASONS[record.state], chain.key, record.seq, record.name, 0)
    return None

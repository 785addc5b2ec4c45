"""What the accepted entries of a roster amount to: who is a member, which epoch is current, whose chains end.

An entry is *accepted* by its ancestors alone (:mod:`~vaultsync.crypto.roster_rules`). Whether it still has *effect*
also depends on what was written beside it: a function of the set of accepted entries, and so the same everywhere.

1. **Recovery identity.** A renewal passes it on. Of what the replaced one signed, only the renewal's ancestors have
   effect. Renewals beside each other are decided by the devices: each stands for the one that its first entry after it
   builds on. Those count that were there before all of them, or that the founding device, or one it stands for, added:
   a thief of the recovery identity alone can make none of either. Then the larger (n, hash).
2. **Removed devices.** Of what one signed, only the ancestors of its removals have effect. A device that was added by
   entries without effect only is no member; it is treated as removed by what took their effect. Somebody else may add
   it again.
3. **The current epoch** is, of those with effect that none came after, one that nobody holds who is no member, if there
   is one; then the one of the largest (n, hash).

Nothing here un-applies anything: what is accepted of chains is another matter (:mod:`~vaultsync.crypto.revocation`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vaultsync.crypto.epochs import Epoch
from vaultsync.crypto.keys import DevicePublic
from vaultsync.crypto.roster_entry import Entry, Mark, Op
from vaultsync.crypto.roster_rules import Standing

__all__ = ["Effects", "Member", "RevokedChain", "View", "derive", "effects", "past"]


class Member(NamedTuple):
    """A device, or a recovery identity (which writes no chains). ``chains`` in the order they were announced."""

    public: DevicePublic
    recovery: bool
    chains: tuple[bytes, ...]

    @property
    def id(self) -> bytes:
        return self.public.id


class RevokedChain(NamedTuple):
    """A chain whose device is no member: what was named of it by those who ended it and by those who heard of that.

    ``removals`` are the entries that ended it; ``pins`` and ``acks`` places in it that they and the others name.
    """

    device: bytes
    removals: frozenset[bytes]
    pins: frozenset[tuple[int, bytes]]
    acks: frozenset[tuple[int, bytes]]


class Effects(NamedTuple):
    """Who is in the vault by a set of entries (ids): the recovery identity, the devices that are there, those that were
    removed. ``void``: entries without effect. ``removals``: those with effect; ``won`` and ``lost``: renewals.
    ``causes``: device -> the entries that it was removed by, or by which its adding lost its effect."""

    recovery: bytes
    devices: frozenset[bytes]
    gone: frozenset[bytes]
    void: frozenset[bytes]
    removals: tuple[Entry, ...]
    won: tuple[bytes, ...]
    lost: tuple[bytes, ...]
    causes: Mapping[bytes, frozenset[bytes]]


class View(NamedTuple):
    """Everything that follows. ``seen``: by entry, which of ``enders`` (the removals and renewals with effect) it
    builds on or is. ``clean``: nobody holds the current epoch's key who is no member."""

    effects: Effects
    members: Mapping[bytes, Member]
    former: Mapping[bytes, Member]
    writers: Mapping[bytes, bytes]
    revoked: Mapping[bytes, RevokedChain]
    epochs: Mapping[bytes, Epoch]
    epoch: bytes
    clean: bool
    enders: frozenset[bytes]
    seen: Mapping[bytes, frozenset[bytes]]


def derive(log: Sequence[Entry], standing: Mapping[bytes, Standing]) -> View:
    """``log``: at least the first entry, by (n, hash); ``standing``: what was so after each."""
    result = effects(log, standing)
    void = result.void
    publics = {public.id: public for entry in log for public in entry.publics}
    identities = _identities(log)
    writers: dict[bytes, bytes] = {}
    for entry in log:
        if entry.chain is not None:
            writers.setdefault(entry.chain.id, entry.author if entry.claim is None else entry.claim.public.id)
    chains: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for chain, device in writers.items():
        chains[device].append(chain)
    every = {id: Member(public, id in identities, tuple(chains[id])) for id, public in publics.items()}
    members = {id: one for id, one in every.items() if id == result.recovery or id in result.devices}
    former = {id: one for id, one in every.items() if id not in members}
    enders = frozenset((*(removal.hash for removal in result.removals), *result.won))
    seen = _seen(log, enders)
    acks = [entry for entry in log if entry.op == Op.ACK and entry.hash not in void]
    revoked = {
        chain: _revoked(chain, device, result, acks, seen) for chain, device in writers.items() if device not in members
    }
    epoch, clean = _current(log, standing, void, members)
    epochs = {entry.epoch.id: entry.epoch for entry in reversed(log) if entry.epoch and entry.hash in void}
    epochs |= {entry.epoch.id: entry.epoch for entry in reversed(log) if entry.epoch and entry.hash not in void}
    return View(result, members, former, writers, revoked, epochs, epoch, clean, enders, seen)


def effects(log: Sequence[Entry], standing: Mapping[bytes, Standing]) -> Effects:
    """Who is in the vault by these entries, and what has no effect; arguments as for :func:`derive`."""
    known = {entry.hash: entry for entry in log}
    recovery, allowed, won, lost = _succession(log, known, standing)
    removals = tuple(entry for entry in log if entry.op == Op.REMOVE and _effective(entry, allowed))
    gone = {device for removal in removals for device in removal.removed}
    causes: defaultdict[bytes, set[bytes]] = defaultdict(set)
    prefix: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for removal in removals:
        ancestors = past(removal.hash, known)
        for device in removal.removed:
            causes[device].add(removal.hash)
            prefix[device] |= ancestors
    identities = _identities(log)
    admitted, void = {log[0].publics[1].id}, set()
    for entry in log[1:]:
        author = entry.author
        if author in identities:
            counts = _effective(entry, allowed)
        else:
            counts = author in admitted and (author not in prefix or entry.hash in prefix[author])
        if counts and entry.claim is not None:
            admitted.add(entry.claim.public.id)
        elif not counts:
            void.add(entry.hash)
            if entry.claim is not None:
                causes[entry.claim.public.id] |= set(won) if author in identities else causes[author]
    devices = frozenset(admitted - gone - identities)
    named = {device: frozenset(entries) for device, entries in causes.items()}
    return Effects(recovery, devices, frozenset(gone | identities), frozenset(void), removals, won, lost, named)


def _identities(log: Iterable[Entry]) -> set[bytes]:
    return {entry.recovery.id for entry in log if entry.recovery is not None}


def past(name: bytes, known: Mapping[bytes, Entry]) -> set[bytes]:
    """The entry and all its ancestors."""
    found, todo = {name}, [name]
    while todo:
        fresh = set(known[todo.pop()].prev) - found
        found |= fresh
        todo += fresh
    return found


def _seen(log: Iterable[Entry], marks: frozenset[bytes]) -> dict[bytes, frozenset[bytes]]:
    """By entry, which of ``marks`` are the entry or its ancestors."""
    seen: dict[bytes, frozenset[bytes]] = {}
    shared: dict[frozenset[bytes], frozenset[bytes]] = {}
    for entry in log:  # predecessors have smaller numbers, and so were met before
        own = marks & {entry.hash}
        found = own.union(*(seen[name] for name in entry.prev)) if own or len(entry.prev) != 1 else seen[entry.prev[0]]
        seen[entry.hash] = shared.setdefault(found, found)
    return seen


# ---- the recovery identity ----------------------------------------------------------------------------------------

_Allowed = dict[bytes, set[bytes] | None]
"""Recovery identity -> which of its entries have effect (None: all). One that never won is not in it."""


def _succession(
    log: Sequence[Entry], known: Mapping[bytes, Entry], standing: Mapping[bytes, Standing]
) -> tuple[bytes, _Allowed, tuple[bytes, ...], tuple[bytes, ...]]:
    """The current identity, what has effect of each, and the renewals that won and that lost."""
    identity = log[0].author
    allowed: _Allowed = {identity: None}
    won: list[bytes] = []
    lost: list[bytes] = []
    while True:
        rivals = [entry for entry in log if entry.op == Op.RENEW and entry.author == identity]
        if not rivals:
            return identity, allowed, tuple(won), tuple(lost)
        winner = _decided(rivals, log, standing) if len(rivals) > 1 else rivals[0]
        lost += [entry.hash for entry in rivals if entry is not winner]
        won.append(winner.hash)
        allowed[identity] = past(winner.hash, known)
        successor = winner.publics[0].id
        if successor in allowed:  # two branches that renew to each other's: whoever is met first stays
            return identity, allowed, tuple(won), tuple(lost)
        identity = successor
        allowed[identity] = None


def _decided(rivals: list[Entry], log: Sequence[Entry], standing: Mapping[bytes, Standing]) -> Entry:
    """The renewal that most devices stand for; see the module."""
    names = frozenset(entry.hash for entry in rivals)
    seen = _seen(log, names)
    there = [standing[entry.hash].members for entry in rivals]
    voters = set(there[0].intersection(*there[1:])) | {log[0].publics[1].id}  # the identity they replace is in none
    votes: dict[bytes, bytes | None] = {}
    for entry in log:
        if entry.author not in voters:
            continue
        if entry.claim is not None:
            voters.add(entry.claim.public.id)
        if (found := seen[entry.hash]) and entry.author not in votes:
            votes[entry.author] = next(iter(found)) if len(found) == 1 else None
    counted = list(votes.values())
    return max(rivals, key=lambda entry: (counted.count(entry.hash), entry.n, entry.hash))


# ---- what has effect ----------------------------------------------------------------------------------------------


def _effective(entry: Entry, allowed: _Allowed) -> bool:
    """For what only a recovery identity may write."""
    part = allowed.get(entry.author, set())
    return part is None or entry.hash in part


def _revoked(
    chain: bytes, device: bytes, result: Effects, acks: Iterable[Entry], seen: Mapping[bytes, frozenset[bytes]]
) -> RevokedChain:
    def places(entries: Iterable[Entry]) -> frozenset[tuple[int, bytes]]:
        return frozenset((mark.seq, mark.env_id) for one in entries for mark in one.marks if mark.chain == chain)

    causes = result.causes.get(device, frozenset())
    pins = places(removal for removal in result.removals if device in removal.removed)
    return RevokedChain(device, causes, pins, places(ack for ack in acks if seen[ack.hash] & causes))


# ---- epochs -------------------------------------------------------------------------------------------------------


def _current(
    log: Sequence[Entry], standing: Mapping[bytes, Standing], void: frozenset[bytes], members: Mapping[bytes, Member]
) -> tuple[bytes, bool]:
    """The id of the epoch to seal under, and whether nobody holds it who is no member."""
    holders: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for entry in log:
        for given in entry.grants:
            holders[given.check].add(given.recipient)
    rotations = [entry for entry in log if entry.epoch is not None and entry.hash not in void]
    old = frozenset().union(*(standing[entry.hash].superseded for entry in rotations))
    best: tuple[bool, int, bytes, bytes] | None = None
    for entry in rotations:
        if entry.epoch is not None and entry.epoch.check not in old:
            rank = (holders[entry.epoch.check] <= members.keys(), entry.n, entry.hash, entry.epoch.id)
            best = rank if best is None else max(best, rank)
    if best is None:  # only where two entries name one epoch as their own: an owner against itself
        latest = rotations[-1]
        return (latest.epoch.id if latest.epoch else b""), False
    return best[3], best[0]


def marks_of(frontier: Mapping[bytes, tuple[int, bytes]]) -> tuple[Mark, ...]:
    """A frontier as the marks of an entry: ascending, without chains of which nothing is there."""
    return tuple(Mark(chain, seq, env_id) for chain, (seq, env_id) in sorted(frontier.items()) if seq)

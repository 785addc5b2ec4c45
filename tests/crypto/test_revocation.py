"""Where ended chains end: every interleaving of a small model, and random histories over real rosters.

The model: honest devices a and b, and x, which somebody removes. An envelope can be applied only after everything that
its writer had applied. The remote may show roster and envelopes at different times. What must hold:

* nothing is ever to be un-applied: what a device applied of an ended chain, it accepts;
* no honest change is lost: at the end everything that honest devices wrote is applied everywhere;
* at the end all agree, also on x's chain;
* nothing of x becomes visible that no honest device had applied before it heard of the removal.

``VAULTSYNC_HISTORIES=1000`` for the documented run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest

from tests.crypto.given import Seeded, device, world
from vaultsync.crypto import revocation
from vaultsync.crypto.keys import Chain, DeviceKeys
from vaultsync.crypto.revocation import NOTHING, End, Statement, accepted_ends, check_end, check_epoch, named_ends
from vaultsync.crypto.roster import RevokedChain, Roster
from vaultsync.crypto.roster_entry import Claim
from vaultsync.errors import Revoked, StaleEpoch, UnknownChain

HISTORIES = int(os.environ.get("VAULTSYNC_HISTORIES", "100"))
Applied = dict[bytes, End]


class Envelope(NamedTuple):
    chain: bytes
    seq: int
    head: bytes
    frontier: tuple[tuple[bytes, End], ...]

    @property
    def place(self) -> End:
        return (self.seq, self.chain + bytes(8) + self.seq.to_bytes(8, "big"))

    @property
    def statement(self) -> Statement:
        return Statement(self.chain, self.seq, self.head, dict(self.frontier))


def pull(applied: Applied, ends: Mapping[bytes, End], remote: Iterable[Envelope], own: bytes | None) -> Applied:
    """Everything that can be applied, in any order: what is needed first is applied first."""
    applied, moved = dict(applied), True
    while moved:
        moved = False
        for one in remote:
            if one.chain == own or one.seq != applied.get(one.chain, NOTHING)[0] + 1:
                continue
            try:
                check_end(ends, one.chain, *one.place)
            except Revoked:
                continue
            if all(applied.get(chain, NOTHING)[0] >= place[0] for chain, place in one.frontier):
                applied[one.chain], moved = one.place, True
    return applied


# ---- every interleaving -------------------------------------------------------------------------------------------

A, B, X = b"a" * 16, b"b" * 16, b"x" * 16
Entry = tuple[str, bytes, End]
"""A removal or ack, by whom, and where it saw x's chain."""


class Little(NamedTuple):
    """As much of a roster as the rule asks for. A head is the set of removals that its namer knew."""

    entries: frozenset[Entry] = frozenset()

    @property
    def head(self) -> bytes:
        return b"".join(sorted(by for what, by, _ in self.entries if what == "remove"))

    @property
    def revoked(self) -> dict[bytes, RevokedChain]:
        if not self.head:
            return {}
        pins = frozenset(at for what, _, at in self.entries if what == "remove" and at[0])
        acks = frozenset(at for what, _, at in self.entries if what == "ack" and at[0])
        return {X: RevokedChain(X, frozenset((self.head,)), pins, acks)}

    def aware(self, head: bytes, chain_id: bytes) -> bool:
        return chain_id == X and bool(head)


EMPTY = Little()


@dataclass(frozen=True)
class State:
    applied: tuple[tuple[bytes, tuple[tuple[bytes, End], ...]], ...] = ((A, ()), (B, ()), (X, ()))
    rosters: tuple[tuple[bytes, Little], ...] = ((A, EMPTY), (B, EMPTY), (X, EMPTY))
    remote: frozenset[Envelope] = frozenset()
    published: Little = EMPTY
    seen: int = 0
    """How far any honest device had applied x's chain before it heard."""

    def of(self, who: bytes) -> tuple[Applied, Little]:
        return dict(dict(self.applied)[who]), dict(self.rosters)[who]

    def having(self, who: bytes, applied: Applied, roster: Little) -> State:
        held = tuple((key, tuple(sorted(applied.items())) if key == who else old) for key, old in self.applied)
        rosters = tuple((key, roster if key == who else old) for key, old in self.rosters)
        seen = max(self.seen, applied.get(X, NOTHING)[0]) if who != X and not roster.head else self.seen
        return replace(self, applied=held, rosters=rosters, seen=seen)

    def publish(self, *entries: Entry) -> State:
        return replace(self, published=Little(self.published.entries | set(entries)))


def write(state: State, who: bytes) -> State:
    applied, roster = state.of(who)
    frontier = tuple(sorted((chain, at) for chain, at in applied.items() if chain != who))
    made = Envelope(who, applied.get(who, NOTHING)[0] + 1, b"" if who == X else roster.head, frontier)
    return replace(state.having(who, applied | {who: made.place}, roster), remote=state.remote | {made})


def remove(state: State, who: bytes) -> State:
    applied, roster = state.of(who)
    entry = ("remove", who, applied.get(X, NOTHING))
    if roster.head:
        return state
    return state.having(who, applied, Little(roster.entries | {entry})).publish(entry)


def hear(state: State, who: bytes) -> State:
    """The roster alone: freeze and acknowledge, in one step."""
    applied, roster = state.of(who)
    heard = Little(roster.entries | state.published.entries)
    if heard.head == roster.head:
        return state.having(who, applied, heard)
    ack = ("ack", who, applied.get(X, NOTHING))
    return state.having(who, applied, Little(heard.entries | {ack})).publish(ack)


def fetch(state: State, who: bytes) -> State:
    """Envelopes alone, as a remote that hides the roster shows them."""
    applied, roster = state.of(who)
    ends = {} if who == X else accepted_ends(roster, [one.statement for one in state.remote])
    return state.having(who, pull(applied, ends, sorted(state.remote), who), roster)


EVENTS = [(write, A), (write, B), (write, X), (remove, A), (remove, B)]
EVENTS += [(step, who) for step in (hear, fetch) for who in (A, B)] + [(fetch, X)]


class Broken(AssertionError):
    """What must hold does not."""


def check(condition: bool, what: str) -> None:
    if not condition:
        raise Broken(what)


def check_always(state: State) -> None:
    for who in (A, B):
        applied, roster = state.of(who)
        if roster.head:
            end = accepted_ends(roster, [one.statement for one in state.remote])[X]
            check(applied.get(X, NOTHING) <= end, "something applied would have to be un-applied")


def check_end_of(state: State, survivors: tuple[bytes, ...]) -> None:
    """Everybody who is left hears and fetches everything; b may be lost before it ever hears."""
    for _ in range(3):
        for step in (hear, fetch):
            for who in survivors:
                state = step(state, who)
    check_always(state)
    ends = []
    for who in survivors:
        applied, roster = state.of(who)
        for chain in (A, B):
            last = max((one.seq for one in state.remote if one.chain == chain), default=0)
            check(applied.get(chain, NOTHING)[0] == last, "an honest change is lost")
        if roster.head:
            check(applied.get(X, NOTHING)[0] <= state.seen, "something of x is visible that nobody had seen")
        else:
            last = max((one.seq for one in state.remote if one.chain == X), default=0)
            check(applied.get(X, NOTHING)[0] == last, "a change of a member is lost")
        ends.append(applied.get(X, NOTHING))
    check(len(set(ends)) == 1, "two devices disagree for ever")


def explore(depth: int) -> int:
    """All interleavings of that many events, each state once; how many states there were."""
    level = {State()}
    known = set(level)
    for _ in range(depth):
        level = {step(state, who) for state in level for step, who in EVENTS} - known
        known |= level
        for state in level:
            check_always(state)
            check_end_of(state, (A, B))
            check_end_of(state, (A,))
    return len(known)


def test_every_interleaving_of_six_events() -> None:
    assert explore(6) > 3_000


@pytest.mark.parametrize("part", ["pins", "acks", "frontiers"])
def test_each_part_of_the_rule_is_needed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = revocation.named_ends

    class Without(NamedTuple):
        roster: Little

        @property
        def revoked(self) -> dict[bytes, RevokedChain]:
            return {key: one._replace(**{part: frozenset()}) for key, one in self.roster.revoked.items()}

        def aware(self, head: bytes, chain_id: bytes) -> bool:
            return self.roster.aware(head, chain_id)

    def maimed(roster: Little, statements: Iterable[Statement] = ()) -> dict[bytes, frozenset[End]]:
        return original(roster, ()) if part == "frontiers" else original(Without(roster), statements)

    monkeypatch.setattr(revocation, "named_ends", maimed)
    with pytest.raises(Broken):
        explore(6)


def test_without_an_end_the_removed_device_goes_on_being_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "check_end", lambda *_: None)
    with pytest.raises(Broken, match=r"visible|un-applied"):
        explore(5)


# ---- random histories over real rosters ---------------------------------------------------------------------------

W = world()


@dataclass
class Replica:
    keys: DeviceKeys
    chain: bytes
    roster: Roster
    applied: Applied = field(default_factory=dict)
    honest: bool = True


class History:
    """Some devices of one vault, one remote, and a person with password and recovery code at any of them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed, self.step = seed, 0
        self.entries: list[bytes] = list(W.entries)
        self.remote: list[Envelope] = []
        self.replicas = [
            Replica(W.laptop, W.laptop_chain.id, W.roster),
            Replica(W.phone, W.phone_chain.id, W.roster),
        ]
        self.visible: dict[bytes, int] = {}
        for _ in range(self.rng.randrange(1, 4)):
            self.pair(self.rng.choice(self.replicas))
            for one in self.replicas:
                self.hear(one)

    def inside(self, one: Replica) -> bool:
        return one.keys.public.id in one.roster.members

    def pair(self, sponsor: Replica) -> None:
        name = f"{self.seed}/{len(self.replicas)}"
        keys = device(name)
        chain = Chain.new(keys.public.id, Seeded(name))
        sponsor.roster, entry = sponsor.roster.add_device(sponsor.keys, Claim.make(keys, chain, W.roster.vault_id))
        self.entries.append(entry)
        self.replicas.append(Replica(keys, chain.id, sponsor.roster, dict(sponsor.applied)))

    def hear(self, one: Replica) -> None:
        self.note(one)
        one.roster = one.roster.merge(self.entries)
        if one.honest and one.roster.ack_due(one.keys.public.id):
            one.roster, entry = one.roster.ack(one.keys, one.applied)
            self.entries.append(entry)
        if one.honest and self.inside(one) and (made := one.roster.grant_missing(one.keys)) is not None:
            one.roster, entry = made
            self.entries.append(entry)

    def ends(self, one: Replica) -> dict[bytes, End]:
        return accepted_ends(one.roster, [made.statement for made in self.remote])

    def fetch(self, one: Replica) -> None:
        remote = [made for made in self.remote if made.chain in one.roster.writers]
        self.rng.shuffle(remote)
        if not one.honest or not self.inside(one):
            one.applied = pull(one.applied, {}, remote, one.chain)
            return
        keep = dict(one.applied)
        one.applied = pull(one.applied, self.ends(one), remote, one.chain)
        if self.rng.random() < 0.3:  # cut off after some chains
            for chain in self.rng.sample(sorted(one.applied), len(one.applied) // 2):
                one.applied[chain] = keep.get(chain, NOTHING)
            one.applied = {chain: at for chain, at in one.applied.items() if at[0]}
            if any(not self.closed(one, made) for made in remote):
                one.applied = keep
        self.note(one)

    def closed(self, one: Replica, made: Envelope) -> bool:
        """Whether what is applied rests on nothing that is not."""
        there = one.applied.get(made.chain, NOTHING)[0] >= made.seq
        return not there or all(one.applied.get(chain, NOTHING)[0] >= at[0] for chain, at in made.frontier)

    def note(self, one: Replica) -> None:
        """What an honest member has applied of chains that have not ended for it."""
        if one.honest and self.inside(one):
            for chain, at in one.applied.items():
                if chain not in one.roster.revoked:
                    self.visible[chain] = max(at[0], self.visible.get(chain, 0))

    def write(self, one: Replica) -> None:
        frontier = tuple(sorted((chain, at) for chain, at in one.applied.items() if chain != one.chain))
        made = Envelope(one.chain, one.applied.get(one.chain, NOTHING)[0] + 1, one.roster.head, frontier)
        one.applied[one.chain] = made.place
        self.remote.append(made)

    def remove(self, one: Replica) -> None:
        others = [other for other in self.replicas if other is not one and other.keys.public.id in one.roster.members]
        if not others or not self.inside(one):
            return
        gone = self.rng.sample(others, min(len(others), self.rng.choice((1, 1, 2))))
        self.note(one)
        ids = [other.keys.public.id for other in gone]
        one.roster, entry = one.roster.remove(W.recovery, ids, one.applied, entropy=Seeded(f"{self.seed}/{self.step}"))
        self.entries.append(entry)
        for other in gone:
            other.honest = other.honest and self.rng.random() < 0.5  # a thief ignores it, a forgotten device hears it
        self.hear(one)

    def run(self) -> None:
        for step in range(self.rng.randrange(8, 26)):
            self.step = step
            one = self.rng.choice(self.replicas)
            match self.rng.randrange(12):
                case 0 | 1 | 2 | 3:
                    if self.inside(one):
                        self.write(one)
                case 4 | 5 | 6:
                    self.fetch(one)
                case 7 | 8:
                    if one.honest:
                        self.hear(one)
                case 9:
                    if (
                        self.members().count(one)
                        and len(self.replicas) < 6
                        and one.keys.public.id not in (one.roster.ungranted)
                    ):
                        self.pair(one)
                case _:
                    if one.honest and self.rng.random() < 0.5:
                        self.remove(one)
            self.check_always()
        self.finish()

    def members(self) -> list[Replica]:
        return [one for one in self.replicas if one.honest and self.inside(one)]

    def check_always(self) -> None:
        for one in self.members():
            for chain, end in self.ends(one).items():
                check(one.applied.get(chain, NOTHING) <= end, "something applied would have to be un-applied")

    def finish(self) -> None:
        for _ in range(3):
            for one in self.replicas:
                if one.honest:
                    self.hear(one)
            for one in self.members():
                one.applied = pull(one.applied, self.ends(one), self.remote, one.chain)
            self.check_always()
        members = self.members()
        for one in members:
            check(one.roster == members[0].roster, "rosters differ")
            check(one.applied == members[0].applied, "two devices disagree for ever")
            check(self.ends(one) == self.ends(members[0]), "two devices disagree on an end")
            for made in self.remote:
                if made.chain not in one.roster.revoked:
                    check(one.applied[made.chain][0] >= made.seq, "an honest change is lost")
            for chain in one.roster.revoked:
                check(
                    one.applied.get(chain, NOTHING)[0] <= self.visible.get(chain, 0), "visible, and nobody had seen it"
                )


def test_random_histories_over_real_rosters() -> None:
    removals = 0
    for seed in range(HISTORIES):
        history = History(seed)
        try:
            history.run()
        except Broken as broken:
            raise AssertionError(f"history {seed}: {broken}") from broken
        removals += sum(bool(one.roster.former) for one in history.replicas)
    assert removals > HISTORIES // 4


# ---- single rules, named by attack ----------------------------------------------------------------------------------


def _removed() -> Roster:
    places = {W.phone_chain.id: (4, b"4" * 32)}
    return W.roster.remove(W.recovery, [W.phone.public.id], places, entropy=Seeded("removal"))[0]


def _said(chain: bytes, seq: int, head: bytes, place: End) -> Statement:
    return Statement(chain, seq, head, {W.phone_chain.id: place})


def test_past_the_pin_only_what_was_acknowledged_and_past_every_ack_nothing() -> None:
    roster = _removed()
    phone = W.phone_chain.id
    assert accepted_ends(roster) == {phone: (4, b"4" * 32)}
    acked, _ = roster.ack(W.laptop, {phone: (6, b"6" * 32)})
    ends = accepted_ends(acked)
    assert ends == {phone: (6, b"6" * 32)}
    for seq in range(1, 6):
        check_end(ends, phone, seq, bytes(32))
    check_end(ends, phone, 6, b"6" * 32)
    check_end(ends, W.laptop_chain.id, 99, bytes(32))
    for seq, env_id in ((7, b"7" * 32), (6, b"x" * 32)):
        with pytest.raises(Revoked):
            check_end(ends, phone, seq, env_id)
    assert accepted_ends(W.roster) == {}


def test_a_removed_device_cannot_name_its_own_end() -> None:
    roster, phone = _removed(), W.phone_chain.id
    for seq in (5, 99):
        assert accepted_ends(roster, [_said(phone, seq, W.roster.head, (99, b"9" * 32))]) == accepted_ends(roster)
    # said early, while it was a member, about what it means to write once it is removed: nobody speaks for itself
    for at in (5, 99):
        assert accepted_ends(roster, [_said(phone, 4, W.roster.head, (at, b"9" * 32))]) == accepted_ends(roster)


def test_frontiers_count_only_when_their_writer_did_not_know() -> None:
    roster, phone, laptop = _removed(), W.phone_chain.id, W.laptop_chain.id
    assert accepted_ends(roster, [_said(laptop, 8, W.roster.head, (5, b"5" * 32))])[phone] == (5, b"5" * 32)
    assert accepted_ends(roster, [_said(laptop, 8, roster.head, (5, b"5" * 32))])[phone] == (4, b"4" * 32)
    assert accepted_ends(roster, [_said(laptop, 8, b"?" * 32, (5, b"5" * 32))])[phone] == (4, b"4" * 32)


def test_both_ends_of_a_forked_chain_are_told() -> None:
    roster, phone = _removed(), W.phone_chain.id
    said = [_said(W.laptop_chain.id, 8, W.roster.head, (4, b"x" * 32))]
    assert named_ends(roster, said) == {phone: {(4, b"4" * 32), (4, b"x" * 32)}}
    assert accepted_ends(roster, said) == {phone: (4, b"x" * 32)}
    nothing, _ = W.roster.remove(W.recovery, [W.phone.public.id], {}, entropy=Seeded("nothing"))
    assert accepted_ends(nothing) == {phone: NOTHING}


def test_ends_only_grow_whatever_comes_in_whatever_order() -> None:
    roster, rng = _removed(), random.Random(1)
    roster, _ = roster.ack(W.laptop, {W.phone_chain.id: (5, b"5" * 32)})
    said = [
        _said(rng.choice((W.laptop_chain.id, W.phone_chain.id)), rng.randrange(1, 12), head, (at, bytes([at]) * 32))
        for at in range(1, 12)
        for head in (W.roster.head, roster.head)
    ]
    whole = named_ends(roster, said)
    for _ in range(20):
        rng.shuffle(said)
        assert named_ends(roster, said + said[:3]) == whole
        before = named_ends(roster)
        for count in range(len(said) + 1):
            now = named_ends(roster, said[:count])
            assert now[W.phone_chain.id] >= before[W.phone_chain.id]
            before = now


def test_epoch_that_is_older_than_what_the_writer_was_granted_or_than_the_one_before() -> None:
    roster = _removed()
    old, new = W.roster.epoch, roster.epoch
    check_epoch(roster, epoch=old, roster_head=W.roster.head)  # late, and without time limit
    check_epoch(roster, epoch=old, roster_head=W.roster.head, previous=(old, W.roster.head))
    check_epoch(roster, epoch=new, roster_head=roster.head, previous=(old, W.first.head))
    check_epoch(roster, epoch=new, roster_head=W.roster.head, previous=(old, W.roster.head))
    for epoch, head, previous in (
        (old, roster.head, None),
        (old, W.roster.head, (new, W.roster.head)),
        (new, W.roster.head, (new, roster.head)),
    ):
        with pytest.raises(StaleEpoch):
            check_epoch(roster, epoch=epoch, roster_head=head, previous=previous)
    with pytest.raises(UnknownChain):
        check_epoch(W.roster, epoch=old, roster_head=roster.head)


def test_epochs_begun_beside_each_other_may_follow_in_either_order() -> None:
    one, _ = W.roster.rotate(W.recovery, entropy=Seeded("one"))
    two, _ = W.roster.rotate(W.recovery, entropy=Seeded("two"))
    both = one.merge([entry.data for entry in two.log])
    for first, second in ((one, two), (two, one)):
        check_epoch(both, epoch=second.epoch, roster_head=second.head, previous=(first.epoch, first.head))

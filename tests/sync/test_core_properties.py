"""The core against random histories served in any order, with losses, repetitions, garbage, forks and refusals."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sync.history import EVERYTHING, VAULT, Env, Shell, make, shell
from vaultsync.errors import MalformedChange, MalformedEnvelope
from vaultsync.sync import Core, FindingKind, WaitsFor
from vaultsync.sync.events import NO_ENVELOPE, Group, Interrupted, Listed, Tip

MANY = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "120")), deadline=None)


@dataclass
class World:
    """``envs`` in a causal order; ``forks``: (one, other) for the same place."""

    envs: list[Env]
    forks: list[tuple[Env, Env]]


@st.composite
def worlds(draw: st.DrawFn, *, forks: bool = False, groups: bool = True) -> World:
    """A few chains whose envelopes depend on each other as those of devices that sync now and then do."""
    chains = draw(st.integers(1, 5))
    heads: dict[int, Env] = {}
    made: list[Env] = []
    forked: list[tuple[Env, Env]] = []
    seen: dict[int, list[Env]] = {chain: [] for chain in range(chains)}
    for _ in range(draw(st.integers(0, 25))):
        who = draw(st.integers(0, chains - 1))
        if draw(st.booleans()) and made:
            seen[who] = [env for env in draw(st.lists(st.sampled_from(made), max_size=3)) if env.chain != letter(who)]
        count = draw(st.sampled_from([1, 1, 1, 2, 3])) if groups else 1
        for index in range(count):
            before = heads.get(who)
            seq, prev = (before.seq + 1, before) if before else (1, NO_ENVELOPE)
            frontier = {env.chain: (env.seq, env.env_id) for env in seen[who]}
            group = Group(b"%d" % len(made), index, count) if count > 1 else None
            if count > 1 and index:
                group = Group(made[-1].group.id, index, count)  # type: ignore[union-attr]
            env = make(letter(who), seq, prev, *seen[who], salt=str(len(made)), frontier=frontier, group=group)
            made.append(env)
            heads[who] = env
            if forks and count == 1 and draw(st.integers(0, 5)) == 0:
                rival = make(letter(who), seq, prev, *seen[who], salt=f"rival {len(made)}")
                made.append(rival)
                forked.append((env, rival))
                heads[who] = draw(st.sampled_from([env, rival]))
    return World(made, forked)


def letter(index: int) -> bytes:
    return b"abcde"[index : index + 1] * 16


def closure(envs: Iterable[Env], *, never: frozenset[str] = frozenset()) -> set[Env]:
    """What can be applied of ``envs``: the model. Groups whole, predecessors and dependencies first; no forks."""
    left = {env.name: env for env in envs if env.name not in never}
    applied: dict[tuple[bytes, int], Env] = {}
    changes: set[bytes] = set()
    progress = True
    while progress:
        progress = False
        for env in list(left.values()):
            unit = [env]
            if env.group is not None:
                unit = [
                    other
                    for other in left.values()
                    if other.group is not None and other.chain == env.chain and other.group.id == env.group.id
                ]
                unit.sort(key=lambda other: other.seq)
                if len(unit) != env.group.count:
                    continue
            before = applied.get((unit[0].chain, unit[0].seq - 1))
            if unit[0].prev != (before.env_id if before else NO_ENVELOPE):
                continue
            brought = {other.change for other in unit}
            if all(other.deps <= changes | brought for other in unit):
                for other in unit:
                    applied[other.chain, other.seq] = other
                    del left[other.name]
                changes |= brought
                progress = True
                break
    return set(applied.values())


@MANY
@given(worlds(), st.data())
def test_what_is_applied_is_the_causal_closure_of_what_is_served(world: World, data: st.DataObject) -> None:
    """Listings grow and shrink, files are half written, events come shuffled and twice; the shell checks order."""
    chooser = random.Random(data.draw(st.integers(0, 2**32)))
    one = shell()
    for _ in range(data.draw(st.integers(0, 4))):
        some = chooser.sample(world.envs, chooser.randint(0, len(world.envs)))
        one.served = {env.name: env if chooser.random() < 0.8 else None for env in some}
        one.sync(chooser=chooser)
        if chooser.random() < 0.3:
            one.core.receive(Interrupted())
    final = [env for env in world.envs if chooser.random() < 0.9]
    opened = dict(one.bodies)  # once opened, an envelope is kept, whatever is served later
    one.served = {env.name: env for env in final}
    before = one.steps
    one.sync(chooser=chooser)
    assert set(one.applied) == closure({**opened, **{env.name: env for env in final}}.values())
    assert len(one.applied) == len(set(one.applied))
    assert one.quarantined == {}
    assert one.steps - before <= 4 * len(world.envs) + 4
    one.served = {env.name: env for env in world.envs}
    one.sync(chooser=chooser)
    assert set(one.applied) == set(world.envs)
    assert one.core.waiting() == ()
    assert not {FindingKind.EQUIVOCATION, FindingKind.BROKEN_CHAIN, FindingKind.OTHER_BRANCH} & {
        finding.kind for finding in one.findings
    }


@MANY
@given(worlds(forks=True), st.integers(0, 2**32))
def test_equivocation_is_always_noticed_when_both_are_served(world: World, seed: int) -> None:
    """In one listing or one after the other, before or after one of them was applied."""
    chooser = random.Random(seed)
    one = shell()
    for fraction in (chooser.random(), 1.0):
        one.served.update((env.name, env) for env in world.envs if chooser.random() < fraction)
        one.sync(chooser=chooser)
    one.sync(chooser=chooser)
    noticed = {(f.chain, f.seq) for f in one.findings if f.kind is FindingKind.EQUIVOCATION}
    assert noticed == {(env.chain, env.seq) for env, _ in world.forks}
    places = [(env.chain, env.seq) for env in one.applied]
    assert len(places) == len(set(places))
    forked = {env.chain for env, _ in world.forks}
    reachable = closure(env for env in world.envs if env.chain not in forked)
    assert reachable <= set(one.applied)
    before = one.compared
    one.sync()
    assert one.compared == before or any(w.reason is WaitsFor.COMPLETION for w in one.core.waiting())


@MANY
@given(worlds(), st.data())
def test_a_refusal_delays_nothing_that_does_not_build_on_it(world: World, data: st.DataObject) -> None:
    """At opening or at the gate; the rest is applied in one pass."""
    chooser = random.Random(data.draw(st.integers(0, 2**32)))
    one = shell(*world.envs)
    bad = [env for env in world.envs if chooser.random() < 0.15]
    for env in bad:
        if chooser.random() < 0.5:
            one.refuses[env.name] = MalformedEnvelope("no")
        else:
            one.gate[env.name] = MalformedChange("no")
    one.sync(chooser=chooser)
    assert set(one.applied) == closure(world.envs, never=frozenset(env.name for env in bad))
    assert set(one.quarantined) <= {env.name for env in bad}
    applied = set(one.applied)
    one.sync(chooser=chooser)
    assert set(one.applied) == applied


@MANY
@given(worlds(), st.data())
def test_a_restart_anywhere_changes_nothing(world: World, data: st.DataObject) -> None:
    """Only tips, held names and the quarantine survive; the outcome is the same, and nothing is applied twice."""
    chooser = random.Random(data.draw(st.integers(0, 2**32)))
    one = shell()
    for _ in range(data.draw(st.integers(1, 4))):
        one.served.update((env.name, env) for env in world.envs if chooser.random() < 0.4)
        one.core.receive(Listed(EVERYTHING, chooser.sample(sorted(one.served), len(one.served))))
        for _ in range(chooser.randint(0, 4)):
            decision = one.core.decide()
            for outcome in one.outcomes(decision):
                one.core.receive(outcome)
            one.apply(decision)
        one.core = Core(VAULT, {key: Tip(*tip) for key, tip in one.core.tips().items()})
    one.serve(*world.envs).sync()
    assert len(one.applied) == len(set(one.applied))
    assert set(one.applied) == set(world.envs)
    assert one.healed == []


@MANY
@given(worlds(groups=False), st.integers(0, 2**32))
def test_whatever_a_remote_loses_is_put_back(world: World, seed: int) -> None:
    """And nothing else is; a second listing asks for nothing more."""
    chooser = random.Random(seed)
    one = shell(*world.envs).sync()
    lost = [env.name for env in world.envs if chooser.random() < 0.3]
    for name in lost:
        del one.served[name]
    one.sync()
    assert sorted(one.healed) == sorted(lost)
    robbed = [finding for finding in one.findings if finding.kind is FindingKind.ROLLED_BACK]
    assert sorted(name for finding in robbed for name in finding.names) == sorted(lost)
    one.sync()
    assert len(one.healed) == len(lost)


@MANY
@given(worlds(groups=False), worlds(groups=False), st.integers(0, 2**32))
def test_two_devices_through_one_remote_end_with_the_same(one_side: World, other_side: World, seed: int) -> None:
    """Each holds what only it has; both put what the remote lacks and take what they lack."""
    chooser = random.Random(seed)
    mine = [env for env in one_side.envs if env.chain in (letter(0), letter(1))]
    mine = sorted(closure(mine), key=one_side.envs.index)
    taken = {env.chain for env in mine}
    yours = sorted(closure(env for env in other_side.envs if env.chain not in taken), key=other_side.envs.index)
    remote: dict[str, Env | None] = {}
    shells: list[Shell] = []
    for held in (mine, yours):
        tips = {env.chain: Tip(env.seq, env.env_id) for env in held}
        made = shell(start=tips, outbox=[env.name for env in held]).hold(*held)
        made.served = remote
        shells.append(made)
    known = {env.name: env for env in (*mine, *yours)}
    for _ in range(3):
        for made in chooser.sample(shells, 2):
            made.sync(chooser=chooser)
            remote.update((name, known[name]) for name in list(remote))
    assert set(remote) == set(known)
    assert shells[0].core.tips() == shells[1].core.tips()
    assert shells[0].document == shells[1].document

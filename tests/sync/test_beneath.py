"""Joining from a checkpoint whose writer knew one branch of a chain: the others are found below what it covers, and
where there are none, looking costs next to nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sync.history import Env, Shell, listed, make, row, shell, tip
from vaultsync.sync import FindingKind
from vaultsync.sync.beneath import lowest
from vaultsync.sync.events import Holds, Opened

MANY = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "120")), deadline=None)


@dataclass
class Forked:
    """``kept``: the branch that a checkpoint covers up to ``cover``; ``other``: the one that its writer never saw."""

    kept: list[Env]
    other: list[Env]
    cover: int

    def listed(self, lowest_kept: int, anchors: frozenset[int]) -> list[Env]:
        """After devices that follow ``kept`` collected it below a number, all but what checkpoints end with."""
        return [env for env in self.kept if env.seq >= lowest_kept or env.seq in anchors] + self.other

    def joiner(self, served: list[Env]) -> Shell:
        """Somebody who took the checkpoint: it holds the envelope that this ends with."""
        anchor = self.kept[self.cover - 1]
        one = shell(*served, start=tip(anchor, floor=anchor.seq)).hold(anchor)
        one.document.update(env.change for env in self.kept[: self.cover])
        return one


def fork(common: int, kept: int, other: int, cover: int) -> Forked:
    shared = row("a", common)
    branch = list(shared)
    for seq in range(common + 1, common + kept + 1):
        branch.append(make("a", seq, *branch[-1:], salt="kept"))
    beside: list[Env] = []
    for seq in range(common + 1, common + other + 1):
        beside.append(make("a", seq, *(beside[-1:] or shared[-1:]), salt="other"))
    return Forked(branch, beside, cover)


@st.composite
def forks(draw: st.DrawFn, *, other: bool = True) -> tuple[Forked, int, frozenset[int]]:
    common, kept = draw(st.integers(0, 12)), draw(st.integers(1, 12))
    cover = draw(st.integers(common + 1, common + kept))
    made = fork(common, kept, draw(st.integers(1, 14)) if other else 0, cover)
    bottom = draw(st.integers(1, cover))
    anchors = draw(st.sets(st.integers(1, max(1, bottom - 1)), max_size=2)) if bottom > 1 else set()
    if any(seq + 1 in anchors for seq in anchors):
        anchors = {max(anchors)}
    return made, bottom, frozenset(anchors)


@MANY
@given(forks())
def test_a_branch_whose_rivals_were_collected_is_found(given_: tuple[Forked, int, frozenset[int]]) -> None:
    world, bottom, anchors = given_
    one = world.joiner(world.listed(bottom, anchors)).sync().sync()
    assert {env.name for env in world.other} <= {env.name for env in one.beside}
    assert one.core.waiting() == ()
    assert FindingKind.EQUIVOCATION in {finding.kind for finding in one.findings}
    before = len(one.fetched)
    one.sync()
    assert len(one.fetched) == before


@MANY
@given(forks(other=False))
def test_where_nothing_forked_looking_is_bounded_and_silent(given_: tuple[Forked, int, frozenset[int]]) -> None:
    world, bottom, anchors = given_
    served = world.listed(bottom, anchors)
    one = world.joiner(served).sync()
    below = [env.name for env in served if env.seq < world.cover]
    assert sorted(name for name in one.fetched if name in below) == lowest(below)
    assert (one.findings, one.beside, one.core.waiting()) == ([], [], ())
    before = len(one.fetched)
    one.sync().sync()
    assert len(one.fetched) == before
    again = world.joiner(served)
    again.covered = one.covered
    again.sync()
    assert [name for name in again.fetched if name in below] == []


@pytest.mark.parametrize("many", [20, 2_000])
def test_a_joiner_opens_two_envelopes_of_a_chain_however_long_it_is(many: int) -> None:
    world = fork(many, 1, 0, many)
    one = world.joiner(world.listed(1, frozenset())).sync()
    assert [name for name in one.fetched if name in {env.name for env in world.kept[:many]}] == [
        env.name for env in world.kept[:2]
    ]


def test_an_envelope_that_holds_nothing_is_no_branch() -> None:
    world = fork(3, 3, 0, 6)
    one = world.joiner(world.listed(1, frozenset()))
    one.core.receive(listed(*world.kept))
    decision = one.core.decide()
    one.core.receive(Holds(world.kept[0].chain, []))
    (name, *_) = one.core.decide().fetch
    assert decision.compare
    assert name == world.kept[0].name
    one.core.receive(Opened(name, world.kept[0].env_id, world.kept[0].prev))
    assert one.core.decide().covered == (name,)


def test_what_others_built_on_is_found_by_its_name() -> None:
    """In the middle of a run, where nothing else tells: a folder lost some files, in no order."""
    world = fork(4, 8, 3, 12)
    left = [env for env in world.listed(1, frozenset()) if env not in world.kept[4:7]]
    builder = make("b", 1, b"\0" * 32, world.other[-1], frontier={world.other[-1].chain: (7, world.other[-1].env_id)})
    silent = world.joiner(left).sync()
    assert silent.beside == []
    told = world.joiner([*left, builder]).sync().sync()
    assert {env.name for env in world.other} <= {env.name for env in told.beside}
    assert builder in told.applied


def test_a_branch_that_goes_on_above_the_cover_leads_below_it() -> None:
    world = fork(4, 8, 12, 12)
    left = [env for env in world.listed(1, frozenset()) if env not in world.kept[4:11]]
    one = world.joiner(left).sync().sync()
    assert {env.name for env in world.other} <= {env.name for env in one.beside}


def test_what_is_missing_in_between_is_waited_for() -> None:
    """What follows a collected envelope is applied; what follows one that is withheld is not."""
    world = fork(4, 8, 4, 12)
    withheld = world.other[1]
    served = [env for env in world.listed(12, frozenset()) if env is not withheld]
    one = world.joiner(served).sync().sync()
    assert one.beside == world.other[:1]
    assert one.core.waiting()
    assert one.serve(withheld).sync().beside == world.other

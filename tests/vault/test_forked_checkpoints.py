"""Checkpoints of vaults in which chains forked: written, joined from, collected for, and forged.

VAULTSYNC_FORKED=100 pytest tests/vault/test_forked_checkpoints.py -k histories -s      a long run
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from tests.vault.copies import Installed
from tests.vault.forks import ForkedWorld, forked, play
from vaultsync import limits
from vaultsync.document.branches import recompute
from vaultsync.document.changes import Change, encode
from vaultsync.document.codec import decode_own
from vaultsync.document.engine import Engine
from vaultsync.errors import MalformedChange, MalformedEnvelope
from vaultsync.testing.remotes import LyingRemote
from vaultsync.vault.replication.checkpoints import known_checkpoints
from vaultsync.vault.replication.grafting import signed_changes
from vaultsync.vault.replication.inspection import inspect_apart

HISTORIES = int(os.environ.get("VAULTSYNC_FORKED", "3"))
SEED = int(os.environ.get("VAULTSYNC_SEED", "3"))
DAY = 24 * 3600 * 1000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_AFTER_ENVELOPES", 6)
    monkeypatch.setattr(limits, "CATCH_UP_ENVELOPES", 3)


@pytest.fixture
def world() -> Iterator[ForkedWorld]:
    """A laptop and its copy, which both wrote and published; the phone knows the copy's branch only."""
    made = ForkedWorld(7, checkpoints=True)
    laptop, phone = made.found(), made.join("phone")
    made.write(laptop, new=True)
    made.sync(laptop)
    made.sync(phone)
    copy = laptop.copy("copy")
    copy.disguise()
    made.island, made.split = {laptop: 0, copy: 1, phone: 1}, True
    for one in (laptop, copy):
        for _ in range(2):
            made.write(one, new=True)
            made.sync(one)
    made.sync(phone)
    made.write(phone, new=True)
    made.sync(phone)
    yield made
    made.close()


def signed_of(one: Installed) -> list[Change]:
    return signed_changes(one.vault._ledger)


def count(world: ForkedWorld, kind: str) -> int:
    return sum(f"/{kind}/" in name for name in world.remote.list(""))


def test_a_vault_that_once_forked_is_joined_from_a_checkpoint(world: ForkedWorld) -> None:
    world.settle("forked")
    laptop = world.installed[0]
    assert forked(laptop)
    for _ in range(2):
        assert laptop.vault.checkpoint()
        world.settle("written")
        world.write(laptop)
        world.settle("on")
    before = count(world, "env")
    for _ in range(3):
        world.clock.advance(2 * DAY)
        world.settle("collected")
    assert count(world, "env") < before, "nothing was collected"
    tablet = world.join("tablet")
    assert known_checkpoints(tablet.vault._ledger)
    world.write(tablet, new=True)
    world.check("joined from it")
    assert {change.hash for change in signed_of(tablet)} == {change.hash for change in signed_of(laptop)}


@pytest.mark.parametrize("late", [False, True])
def test_a_checkpoint_of_the_other_branch_written_before_it_heard_of_the_fork(world: ForkedWorld, late: bool) -> None:
    """The copy's branch is in a checkpoint, and in nothing else but the envelope that it ends with."""
    laptop, phone, copy = world.installed
    for _ in range(2):
        world.write(phone)
        world.sync(phone)
        assert phone.vault.checkpoint()
        world.sync(phone)
        world.clock.advance(2 * DAY)
    world.sync(phone)
    world.sync(copy)
    gone = world.owner.keys() - set(world.remote.list(""))
    assert any("/env/" in name and world.owner[name] is copy for name in gone), "nothing of the branch was collected"
    world.write(laptop, new=True)
    world.checkpoints = late
    world.check("merged with the other branch")
    assert forked(laptop)


def _all_collected(world: ForkedWorld, laptop: Installed, phone: Installed, length: int) -> list[str]:
    """The copy writes and publishes, is never seen again, and nothing of the other branch lies beside what it sent;
    the names of that."""
    for _ in range(3):
        world.write(laptop, new=True)
        world.sync(laptop)
    world.sync(phone)
    copy = laptop.copy("copy")
    copy.disguise()
    world.island, world.split = {laptop: 0, phone: 0, copy: 1}, True
    chain = laptop.chain
    for number in range(24):
        world.write(laptop, new=True)
        world.sync(laptop)
        if number > 10 and number % 6 == 0:
            assert laptop.vault.checkpoint()
        world.sync(phone)
        world.clock.advance(DAY)
    for _ in range(length):
        world.write(copy, new=True)
        world.sync(copy)
    world.installed.remove(copy)
    copy.close()
    there = [name for name in world.remote.list("") if f"/env/{chain.hex()}" in name]
    lost = [name for name in there if world.owner[name] is copy]
    places = {name.split("-")[0] for name in lost}
    assert lost
    assert not any(name.split("-")[0] in places for name in there if name not in lost), "a rival tells of the fork"
    return lost


@pytest.mark.parametrize(("joins", "length"), [(True, 5), (False, 1)])
def test_a_branch_of_which_nothing_but_its_envelopes_tells_is_found(joins: bool, length: int) -> None:
    """Its writer is lost, every envelope that it rivals was collected, and the checkpoints that are there know nothing
    of it: who joins then has it, and so have those who wrote these checkpoints."""
    world = ForkedWorld(11, checkpoints=True)
    try:
        laptop, phone = world.found(), world.join("phone")
        lost = _all_collected(world, laptop, phone, length)
        world.mend()
        if joins:
            world.join("tablet")
            world.installed[:2] = []
        world.check("a lost copy")
        assert set(lost) & set(world.remote.list("")) or not joins
        assert all(map(forked, world.installed))
    finally:
        for one in (laptop, phone):
            one.close()
        world.close()


def test_joining_a_vault_that_never_forked_opens_two_envelopes_of_a_chain_below_its_cover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[str] = []
    get = LyingRemote.get
    monkeypatch.setattr(LyingRemote, "get", lambda remote, name: (got.append(name), get(remote, name))[1])
    world = ForkedWorld(12, checkpoints=True)
    try:
        laptop = world.found()
        for _ in range(30):
            world.write(laptop, new=True)
            world.sync(laptop)
        assert laptop.vault.checkpoint()
        world.sync(laptop)
        (cover,) = {seq for seq, _ in known_checkpoints(laptop.vault._ledger)[-1].frontier.values()}
        got.clear()
        tablet = world.join("tablet")
        world.sync(tablet)
        below = [name for name in got if "/env/" in name and int(name[-45:-33]) < cover]
        assert len(below) == len(set(below)) <= 2
        tablet.close()
        tablet.open()
        got.clear()
        world.sync(tablet)
        assert not [name for name in got if "/env/" in name]
        assert not forked(tablet)
        assert tablet.vault.status.findings == ()
    finally:
        world.close()


def _another_value(image: Change, rng: random.Random) -> bytes:
    ops = list(image.ops)
    at = max(number for number, op in enumerate(ops) if isinstance(op.value, str) and op.action == 1)
    ops[at] = ops[at]._replace(value="forged")
    return encode(image.actor, image.seq, image.start_op, image.deps, ops)


def _one_less(image: Change, rng: random.Random) -> None:
    return None


@pytest.mark.parametrize("forge", [_another_value, _one_less])
def test_a_forged_recomputed_change_is_refused(
    world: ForkedWorld, forge: Callable[[Change, random.Random], bytes | None]
) -> None:
    world.settle("forked")
    engine, signed = world.installed[0].vault._ledger.engine, signed_of(world.installed[0])
    assert recompute(engine, signed)
    chunks = engine.changes()
    last = {actor: place for actor, place in engine.lasts().items() if place[1] in engine.heads}
    computed = engine.lasts().keys() - recompute(engine, signed).keys()
    (at,) = [
        n
        for n, chunk in enumerate(chunks)
        if decode_own(chunk).actor in computed and decode_own(chunk).hash in {place[1] for place in last.values()}
    ][-1:]
    made = forge(decode_own(chunks[at]), world.rng)
    hostile = Engine.load(None, [*chunks[:at], *([made] if made else []), *chunks[at + 1 :]])
    with pytest.raises(MalformedChange):
        recompute(hostile, signed)
    with pytest.raises(MalformedEnvelope):
        inspect_apart(hostile.save(), gate=True, signed=[change.chunk for change in signed])


def test_branches_that_are_left_out_made_up_or_damaged_are_refused(world: ForkedWorld) -> None:
    world.settle("forked")
    engine, signed = world.installed[0].vault._ledger.engine, signed_of(world.installed[0])
    document = engine.save()
    chunks = [change.chunk for change in signed]
    assert inspect_apart(document, gate=True, signed=chunks).ends == recompute(engine, signed)
    with pytest.raises(MalformedChange):
        recompute(engine, signed[:-1])
    kept = next(decode_own(chunk) for chunk in reversed(engine.changes()))
    with pytest.raises(MalformedChange):
        recompute(engine, [*signed, kept])
    for damaged in (chunks[0][:-1], chunks[0] + b"x", b"", bytes(40)):
        with pytest.raises(MalformedEnvelope):
            inspect_apart(document, gate=True, signed=[*chunks[1:], damaged])


def test_mixed_histories_of_forks_checkpoints_and_collection() -> None:
    most = 0
    for seed in range(SEED, SEED + HISTORIES):
        world = ForkedWorld(seed, checkpoints=True)
        try:
            play(world)
            if seed % 2:
                world.lose_copies()
            world.check(f"seed {seed}")
            most = max(most, *map(forked, world.installed))
        finally:
            world.close()
    assert most

"""Copies of one device that both wrote: everybody computes the same document, and nothing is lost.

VAULTSYNC_CLONES=20000 pytest tests/document/test_transplant.py -k histories -s      a long run
"""

from __future__ import annotations

import json
import os
import random

from tests.document.clones import Beginning, Replica, World, actor_of, play
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.layout import ENTRIES, new_ulid
from vaultsync.document.transplant import resolve
from vaultsync.schema.cells import trashed

HISTORIES = int(os.environ.get("VAULTSYNC_CLONES", "120"))
SEED = int(os.environ.get("VAULTSYNC_SEED", "1"))


def check(world: World, seed: int) -> tuple[int, int]:
    world.settle()
    heads = {replica.engine.heads for replica in world.replicas}
    assert len(heads) == 1, f"seed {seed}: different documents of the same changes"
    for replica in world.replicas:
        assert not replica.resolution.waiting, f"seed {seed}: {replica.name} waits for what nobody has"
        assert not replica.resolution.refused, f"seed {seed}: {replica.name} refuses what an honest device wrote"
    engine = world.replicas[0].engine
    assert Engine.verify_snapshot(engine.save(), engine.heads)
    for (entry, key), value in world.told.items():
        row = engine.read(ENTRIES, entry)
        assert (row or {}).get(key, "gone") == value, f"seed {seed}: {key} of {entry} is lost"
    for entry, row in engine.read_all():
        assert trashed(row) == world.trashed(entry), f"seed {seed}: {entry} is in the wrong place"
    return len(world.replicas[0].resolution.moved), len(world.replicas[0].wire)


def test_histories_of_copies_come_to_one_document() -> None:
    moved = changes = forked = 0
    for seed in range(SEED, SEED + HISTORIES):
        world = play(seed)
        one, all_ = check(world, seed)
        moved, changes, forked = moved + one, changes + all_, forked + bool(one)
    print(f"{HISTORIES} histories, {forked} with forks, {changes} changes, {moved} made anew; seeds from {SEED}")
    assert forked > HISTORIES // 3


def two_clones() -> tuple[Replica, Replica, str]:
    """A device and its copy, which share one entry; the copy's branch is the one that gives way."""
    founder = Replica("founder", actor_of("founder", 0), {})
    entry = new_ulid(1, random.Random(0).randbytes)
    mine = f"$edited/{founder.actor.hex()}"
    founder.write([Edit(ENTRIES, entry, "title", "GitHub"), Edit(ENTRIES, entry, mine, 10)])
    copy = Replica("copy", founder.actor, founder.wire)
    for number in range(100):  # until the hashes fall as wanted
        one, two = (Replica(replica.name, replica.actor, replica.wire) for replica in (founder, copy))
        kept = one.write([Edit(ENTRIES, entry, "username", "ann"), Edit(ENTRIES, entry, mine, 20)])
        made = two.write([Edit(ENTRIES, entry, "password", f"{number}"), Edit(ENTRIES, entry, mine, 30)])
        if kept < made:
            return one, two, entry
    raise AssertionError("unlikely")


def test_the_smaller_hash_stays_and_the_other_branch_is_made_anew() -> None:
    one, two, entry = two_clones()
    (kept,) = (change for change in one.wire.values() if change.hash not in two.wire)
    (made,) = (change for change in two.wire.values() if change.hash not in one.wire)
    one.pull(two)
    images = one.resolution.images
    assert images[kept.hash] == kept
    assert images[made.hash].actor not in (made.actor, kept.actor)
    assert (images[made.hash].seq, images[made.hash].deps) == (1, made.deps)
    assert one.resolution.contested == {made.actor}
    row = one.engine.read(ENTRIES, entry)
    assert row is not None
    assert (row["title"], row["username"], row["password"]) == ("GitHub", "ann", made.ops[0].value)
    assert row[f"$edited/{kept.actor.hex()}"] == 20
    assert row[f"$edited/{images[made.hash].actor.hex()}"] == 30


def test_who_lost_its_branch_goes_on_under_another_name_and_who_kept_it_does_not() -> None:
    one, two, _ = two_clones()
    actor = one.actor
    one.pull(two)
    two.pull(one)
    assert one.actor == actor
    assert two.actor != actor


def test_a_deletion_that_saw_one_branch_does_not_cover_the_other() -> None:
    one, two, entry = two_clones()
    third = Replica("third", actor_of("third", 0), two.wire)
    row = third.engine.read(ENTRIES, entry) or {}
    vector = json.dumps({key[8:]: value for key, value in row.items() if key.startswith("$edited/")})
    third.write([Edit(ENTRIES, entry, f"$deleted/{third.actor.hex()}", vector)])
    assert trashed(third.engine.read(ENTRIES, entry) or {})
    third.pull(one)
    assert not trashed(third.engine.read(ENTRIES, entry) or {})
    one.pull(third)
    assert one.engine.heads == third.engine.heads


def test_nothing_forks_and_nothing_is_made_anew() -> None:
    founder = Replica("founder", actor_of("founder", 0), {})
    world = World(3)
    for _ in range(20):
        world.edit(world.replicas[0])
    found = resolve(world.replicas[0].wire.values(), Beginning())
    assert (found.moved, found.contested, found.waiting, found.refused) == (frozenset(), frozenset(), {}, {})
    assert founder.resolution.images == {}


def test_a_deletion_that_saw_an_edit_as_somebody_knew_it_who_knew_less() -> None:
    """Two chains forked. Who deletes knows of one fork: to him the edit was made anew for what it builds on, under the
    name of its incarnation. It is renamed when the other fork is known; the deletion saw it all the same."""
    kept, made, entry = two_clones()
    writer = Replica("writer", actor_of("writer", 0), made.wire)  # builds on the branch that gives way
    clone = Replica("writer", writer.actor, made.wire)
    mine = f"$edited/{writer.actor.hex()}"
    first = new_ulid(2, random.Random(1).randbytes)
    for number in range(100):  # until the edit is on the branch that gives way
        one, other = (Replica("writer", each.actor, each.wire) for each in (writer, clone))
        seen = one.write([Edit(ENTRIES, first, "title", f"{number}"), Edit(ENTRIES, first, mine, 40)])
        rival = other.write([Edit(ENTRIES, entry, "note", "n"), Edit(ENTRIES, entry, mine, 41)])
        if rival < seen:
            break
    third = Replica("third", actor_of("third", 0), one.wire)
    third.pull(kept)
    row = third.engine.read(ENTRIES, first) or {}
    assert third.resolution.images[seen].hash != seen
    assert row[mine] == 40  # made anew, and not renamed
    third.write([Edit(ENTRIES, first, f"$deleted/{third.actor.hex()}", json.dumps({writer.actor.hex(): 40}))])
    assert trashed(third.engine.read(ENTRIES, first) or {})
    third.pull(other)
    assert mine not in (third.engine.read(ENTRIES, first) or {})  # renamed now
    assert trashed(third.engine.read(ENTRIES, first) or {})
    for other_ in (one, kept):
        other_.pull(third)
        assert other_.engine.heads == third.engine.heads


def test_a_deletion_on_a_branch_of_a_branch_saw_the_edits_of_both() -> None:
    """The branch that gives way has forked again. What it wrote before and after that has two names now: a deletion
    that saw both covers both, and nothing that the other branch of it wrote meanwhile."""
    kept, made, entry = two_clones()
    mine = f"$edited/{made.actor.hex()}"
    for number in range(100):  # until the branch that deletes gives way, too
        one, two = (Replica(made.name, made.actor, made.wire) for _ in range(2))
        stays = one.write([Edit(ENTRIES, entry, "url", "u"), Edit(ENTRIES, entry, mine, 35)])
        goes = two.write([Edit(ENTRIES, entry, "note", f"{number}"), Edit(ENTRIES, entry, mine, 40)])
        if stays < goes:
            break
    two.write([Edit(ENTRIES, entry, f"$deleted/{two.actor.hex()}", json.dumps({two.actor.hex(): 40}))])
    assert trashed(two.engine.read(ENTRIES, entry) or {})
    alone = Replica("alone", actor_of("alone", 0), kept.wire)
    alone.pull(two)
    row = alone.engine.read(ENTRIES, entry) or {}
    seen = {key: value for key, value in row.items() if key.startswith("$edited/")}
    assert sorted(seen.values()) == [20, 40]  # the kept branch's, and that of the deletion's own: no second fork yet
    assert not trashed(row)
    alone.pull(one)
    row = alone.engine.read(ENTRIES, entry) or {}
    names = {value: key.removeprefix("$edited/") for key, value in row.items() if key.startswith("$edited/")}
    assert sorted(names) == [20, 35, 40]
    (vector,) = [json.loads(str(value)) for key, value in row.items() if key.startswith("$deleted/")]
    assert vector == {made.actor.hex(): 10, names[35]: 30, names[40]: 40}
    assert not trashed(row)

"""The engine against the replay model: values and conflicts, as changes come in and after a load."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings

from tests.document.model import (
    ANN,
    BOB,
    ENTRIES_OBJECT,
    EVE,
    EXAMPLES,
    IDS,
    Model,
    everything,
    exact,
    histories,
    merge_all,
    missing,
    play,
    shown_conflicts,
)
from vaultsync.document.changes import decode, encode
from vaultsync.document.engine import DELETED, Edit, Engine

many = settings(max_examples=EXAMPLES or 150, deadline=None)


@given(histories)
@many
def test_every_change_of_the_engine_is_canonical_here(history):
    devices, made = play(history)
    for change in made:
        again = decode(change.chunk)
        assert exact(again) == exact(change)
        assert encode(again.actor, again.seq, again.start_op, again.deps, again.ops) == change.chunk
    for device in devices:
        for chunk in device.changes():
            assert decode(chunk).chunk == chunk


@given(histories)
@many
def test_values_and_conflicts_are_those_of_the_model(history):
    devices, made = play(history)
    for device in devices:
        model = Model().replay(change for change in made if device.has(change.hash))
        assert exact(everything(device)) == exact(model.entries())
        for entry in device.entry_ids():
            assert exact(shown_conflicts(device, entry)) == exact(model.conflicts(entry))
    merge_all(devices)
    model = Model().replay(made)
    for device in devices:
        assert device.heads == devices[0].heads
        loaded = Engine.load(device.save())
        shuffled = device.changes()
        random.Random(1).shuffle(shuffled)
        replayed = Engine.load(None, shuffled)
        for engine in (device, loaded, replayed):
            assert exact(everything(engine)) == exact(model.entries())
            for entry in engine.entry_ids():
                assert exact(shown_conflicts(engine, entry)) == exact(model.conflicts(entry))


@given(histories)
@many
def test_what_a_batch_touched_is_what_differs(history):
    devices, _ = play(history)
    for source, target in ((devices[0], devices[1]), (devices[1], devices[2]), (devices[2], devices[0])):
        before = everything(target)
        maps = {entry: target.winner(ENTRIES_OBJECT, entry) for entry in before}
        applied = target.apply(missing(source, target))
        after = everything(target)
        for entry in after:
            old, new = before.get(entry, {}), after[entry]
            changed = {key for key in old.keys() | new.keys() if exact(old.get(key, ...)) != exact(new.get(key, ...))}
            if entry not in before:
                assert ("entries", entry) in applied.touched
            if maps.get(entry) in (None, target.winner(ENTRIES_OBJECT, entry)):  # not shadowed by another map
                assert changed <= applied.touched.get(("entries", entry), frozenset())


@given(histories)
@many
def test_history_leads_from_nothing_to_now(history):
    devices, made = play(history)
    by_hash = {change.hash: change for change in made}
    for device in devices:
        for entry, row in device.read_all():
            seen = {}
            for revision in device.history(entry):
                change = by_hash[revision.hash]
                assert (revision.actor, revision.seq) == (change.actor, change.seq)
                assert exact(device.read_at(entry, [revision.hash])).items() >= exact(dict(revision.after)).items()
                if revision.before.keys() | revision.after.keys():
                    before = device.read_at(entry, change.deps) or {}
                    assert exact({k: before[k] for k in revision.before}) == exact(dict(revision.before))
                seen.update(dict.fromkeys(revision.after))
            assert row.keys() <= seen.keys()


def test_one_conflict_is_seen_by_all_and_settled_by_one():
    ann, bob = Engine.new(), Engine.new()
    ann.commit(ANN, [Edit("entries", IDS[0], "password", "first"), Edit("entries", IDS[0], "title", "t")])
    bob.apply(missing(ann, bob))
    a = ann.commit(ANN, [Edit("entries", IDS[0], "password", "ann's")])[0]
    b = bob.commit(BOB, [Edit("entries", IDS[0], "password", "bob's")])[0]
    assert ann.conflicts(IDS[0]) == {}
    ann.apply([b.chunk])
    bob.apply([a.chunk])
    assert ann.conflicts(IDS[0]) == bob.conflicts(IDS[0])
    winner, loser = ann.conflicts(IDS[0])["password"]
    assert winner == ("bob's", BOB, b.hash, 1)  # same counter; the larger actor wins
    assert loser == ("ann's", ANN, a.hash, 2)
    settled = ann.commit(ANN, [Edit("entries", IDS[0], "password", "ours")])
    assert ann.conflicts(IDS[0]) == {}
    bob.apply([change.chunk for change in settled])
    assert bob.conflicts(IDS[0]) == {}
    assert Engine.load(bob.save()).conflicts(IDS[0]) == {}


@pytest.mark.parametrize("asked", [False, True])
def test_a_deleted_value_is_no_conflict_even_if_all_comes_at_once(asked):
    ann, bob, eve = Engine.new(), Engine.new(), Engine.new()
    ann.commit(ANN, [Edit("entries", IDS[0], "password", "first"), Edit("entries", IDS[0], "title", "t")])
    bob.apply(missing(ann, bob))
    eve.apply(missing(ann, eve))
    if asked:
        eve.conflicts(IDS[0])
    ann.commit(ANN, [Edit("entries", IDS[0], "password", DELETED), Edit("entries", IDS[0], "title", DELETED)])
    bob.commit(BOB, [Edit("entries", IDS[0], "password", "bob's")])
    bob.apply(missing(ann, bob))
    eve.apply(missing(bob, eve))
    assert eve.read("entries", IDS[0]) == {"password": "bob's"}
    assert eve.conflicts(IDS[0]) == {}


@pytest.mark.parametrize("asked", [False, True])
def test_three_values_and_one_that_was_overwritten_by_one_of_them(asked):
    ann, bob, eve = Engine.new(), Engine.new(), Engine.new()
    ann.commit(ANN, [Edit("entries", IDS[0], "title", "t")])
    for each in (bob, eve):
        each.apply(missing(ann, each))
    if asked:
        ann.conflicts(IDS[0])
    ann.commit(ANN, [Edit("entries", IDS[0], "title", "ann's")])
    bob.commit(BOB, [Edit("entries", IDS[0], "title", "bob's first")])
    eve.commit(EVE, [Edit("entries", IDS[0], "title", "eve's")])
    bob.commit(BOB, [Edit("entries", IDS[0], "title", "bob's")])
    merge_all([ann, bob, eve])
    assert [w.value for w in ann.conflicts(IDS[0])["title"]] == ["bob's", "eve's", "ann's"]
    assert ann.conflicts(IDS[0]) == bob.conflicts(IDS[0]) == eve.conflicts(IDS[0])


@pytest.mark.parametrize("asked", [False, True])
def test_a_value_that_its_writer_deleted_again_is_no_conflict(asked):
    ann, bob = Engine.new(), Engine.new()
    bob.commit(BOB, [Edit("entries", IDS[0], "title", "t")])
    ann.apply(missing(bob, ann))
    if asked:
        bob.conflicts(IDS[0])
    ann.commit(ANN, [Edit("entries", IDS[0], "password", "typo")])
    ann.commit(ANN, [Edit("entries", IDS[0], "password", DELETED)])
    bob.commit(BOB, [Edit("entries", IDS[0], "password", "bob's")])
    bob.apply(missing(ann, bob))
    for each in (bob, Engine.load(bob.save())):
        assert each.read("entries", IDS[0]) == {"password": "bob's", "title": "t"}
        assert each.conflicts(IDS[0]) == {}

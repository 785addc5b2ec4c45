"""The gate by column against the gate operation by operation: the same verdict, the same words, the same places.

Every change is shown to both, one time as a `Table` and one time as rows, which only the long way takes. A few thousand
by default; the full run is

    VAULTSYNC_EXAMPLES=100000 python -m pytest tests/document/test_plainly.py -q -s
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings

from tests.document.model import ANN, BOB, EVE, EXAMPLES, IDS, Model, exact, histories, merge_all, missing, play
from tests.document.mutations import KEYS, VALUES, mutate_meaning, world
from vaultsync.document import gate
from vaultsync.document.batch import Batch
from vaultsync.document.changes import Action, Change, Op, OpId, decode, encode
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.layout import SECTION_OBJECTS
from vaultsync.document.operations import Table
from vaultsync.errors import MalformedChange, MissingDependencies

NUMBER = EXAMPLES or 4_000
ENTRIES = SECTION_OBJECTS["entries"]
many = settings(max_examples=EXAMPLES or 100, deadline=None)


def rows(change: Change) -> Change:
    """The same change, for the long way."""
    return change._replace(ops=tuple(change.ops))


def verdict(engine: Engine, changes: Sequence[Change], *, long: bool = False) -> Any:
    """What a batch of these changes comes to; the engine is as before. ``long``: each by every rule, and as rows."""
    batch = Batch(engine._graph, engine)
    try:
        for change in changes:
            if long:
                batch._last = None
            batch.admit(rows(change) if long else change, None)
        return list(batch.touched.items()), batch.made
    except (MalformedChange, MissingDependencies) as error:
        return type(error).__name__, str(error)
    finally:
        batch.undo()


def plainly(engine: Engine, change: Change) -> bool:
    """Whether a change goes the short way."""
    batch = Batch(engine._graph, engine)
    try:
        past = gate._check_order(change, batch)
    except (MalformedChange, MissingDependencies):
        return False
    return isinstance(change.ops, Table) and gate._touches_plainly(change, change.ops, batch, past) is not None


@given(histories)
@many
def test_what_is_made_passes_both_ways(history):
    devices, made = play(history)
    merge_all(devices)
    changes = [decode(change.chunk) for change in made]
    for target in (Engine.new(), devices[0]):
        for batch in (changes, changes[: len(changes) // 2]):
            assert verdict(target, batch) == verdict(target, batch, long=True)
    whole, slow = Engine.new(), Engine.new()
    for some in (changes[: len(changes) // 2], changes[len(changes) // 2 :]):
        quick, long = whole.apply(some), slow.apply([rows(change) for change in some])
        assert exact(quick.changes) == exact(long.changes)
        assert (list(quick.touched.items()), quick.known) == (list(long.touched.items()), long.known)
    assert (whole.heads, dict(whole.read_all())) == (slow.heads, dict(slow.read_all()))
    assert [whole.conflicts(entry) for entry in IDS] == [slow.conflicts(entry) for entry in IDS]


def plausible(rng: random.Random, model: Model, base: Change, actor: bytes, seq: int, deps: Sequence[bytes]) -> bytes:
    """A change like those that are made, with a slip here and there."""
    start = base.max_op + 1
    maps = [obj for objs in model.maps.values() for obj in objs]
    ops: list[Op] = []
    own: list[OpId] = []
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.3:
            ops.append(Op(ENTRIES, rng.choice([*IDS, *IDS, *IDS, "x"]), Action.MAKE_MAP, None, ()))
            own.append((start + len(ops) - 1, actor))
        obj = rng.choice([*maps, *own, SECTION_OBJECTS["settings"]])
        for _ in range(rng.randint(1, 3)):
            key = rng.choice(["title", "password", "n", "a", "b", *(KEYS if rng.random() < 0.05 else [])])
            live = sorted(model.cells.get((obj, key), {}))
            preds = live if rng.random() < 0.9 else rng.sample(live, rng.randint(0, len(live)))
            if rng.random() < 0.1:
                preds = [(start + rng.randrange(len(ops) + 1), actor), *rng.sample(maps, 1)][: rng.randint(1, 2)]
            action = Action.DELETE if rng.random() < 0.1 else Action.SET
            value = None if action is Action.DELETE else rng.choice(VALUES if rng.random() < 0.2 else VALUES[:8])
            ops.append(Op(obj, key, action, value, tuple(preds)))
            if rng.random() < 0.1:
                obj = rng.choice([*maps, *own])
    return encode(actor, seq, start, deps, ops)


def test_plausible_and_mutated_changes_get_the_same_verdict():
    counts: Counter[str] = Counter()
    worlds = max(8, NUMBER // 4_000)
    for seed in range(worlds):
        rng = random.Random(seed)
        made, top = world(seed)
        engine = Engine.load(None, [change.chunk for change in made])
        model = Model().replay(made)
        chain = {actor: [c for c in made if c.actor == actor] for actor in (ANN, BOB)}
        last = max(made, key=lambda change: change.max_op)
        for _ in range(NUMBER // worlds):
            if rng.random() < 0.5:
                actor = rng.choice([ANN, BOB, EVE])
                seq = len(chain.get(actor, ())) + 1
                chunk = plausible(rng, model, last, actor, seq, engine.heads)
                prefix: list[Change] = []
            else:
                prefix = rng.choice([[], [], top[:1]])
                try:
                    chunk = mutate_meaning(
                        rng, top[1] if prefix else rng.choice([top[0], top[2]]), rng.choice(made[1:])
                    )
                except (ValueError, TypeError, AttributeError):
                    continue
            try:
                change = decode(chunk)
            except MalformedChange:
                continue
            batch = [*prefix, change]
            quick, long = verdict(engine, batch), verdict(engine, batch, long=True)
            assert quick == long, chunk.hex()
            accepted = not isinstance(long[0], str)
            counts[
                f"{'accepted' if accepted else 'refused'} {'plainly' if plainly(engine, change) else 'the long way'}"
            ] += 1
    print(dict(sorted(counts.items())))
    assert not counts["refused plainly"]
    assert counts["accepted plainly"] > NUMBER // 10
    assert counts["accepted the long way"] > NUMBER // 50
    assert counts["refused the long way"] > NUMBER // 10


def test_nearly_all_that_is_made_goes_the_short_way():
    """Counted, not timed: an import, and edits of single fields, by two devices in turns."""
    ann, bob, reader = Engine.new(), Engine.new(), Engine.new()
    ids = [f"01HZY{n:021d}" for n in range(200)]
    ann.commit(ANN, [Edit("entries", i, key, f"{i}{key}") for i in ids for key in ("title", "password", "tags/x")])
    bob.apply(missing(ann, bob))
    for number, entry in enumerate(ids):
        engine, actor = ((ann, ANN), (bob, BOB))[number % 2]
        engine.commit(
            actor, [Edit("entries", entry, "password", "p"), Edit("entries", entry, f"$edited/{actor.hex()}", 1)]
        )
    ann.apply(missing(bob, ann))
    changes = [decode(chunk) for chunk in ann.changes()[1:]]
    short = 0
    for change in changes:
        short += plainly(reader, change)
        reader.apply([change])
    assert short == len(changes) == 201


def test_two_maps_of_one_entry_and_one_key_in_both():
    """Made apart, so there are two; a change that writes to both of them touches one place."""
    ann, bob = Engine.new(), Engine.new()
    ann.commit(ANN, [Edit("entries", IDS[0], "title", "a")])
    bob.commit(BOB, [Edit("entries", IDS[0], "title", "b")])
    ann.apply(missing(bob, ann))
    for keys in (("x", "y"), ("x", "x")):
        ops = [Op((5, actor), key, Action.SET, 1, ()) for actor, key in zip((ANN, BOB), keys, strict=True)]
        change = decode(encode(EVE, 1, 7, ann.heads, ops))
        assert plainly(ann, change) == (keys[0] != keys[1])
        assert verdict(ann, [change]) == verdict(ann, [change], long=True)
        assert verdict(ann, [change])[0] == [(("entries", IDS[0]), frozenset(keys))]


def test_what_comes_right_after_another_change_continues_it():
    """One thing wrong at a time, in a batch with the change before."""
    engine = Engine.new()
    engine.commit(ANN, [Edit("entries", IDS[0], "title", "t")])
    first = decode(encode(BOB, 1, 7, engine.heads, [Op((5, ANN), "a", Action.SET, 1, ())]))
    following = {"actor": BOB, "seq": 2, "start_op": 8, "deps": (first.hash,)}
    for wrong in (
        {},
        {"actor": EVE},
        {"actor": EVE, "seq": 1},
        {"seq": 1},
        {"seq": 3},
        {"start_op": 7},
        {"start_op": 9},
        {"start_op": (1 << 31) - 1},
        {"deps": ()},
        {"deps": engine.heads},
        {"deps": (first.hash, *engine.heads)},
        {"deps": (bytes(32),)},
    ):
        change = decode(encode(**{**following, **wrong}, ops=[Op((5, ANN), "b", Action.SET, 1, ())]))
        assert verdict(engine, [first, change]) == verdict(engine, [first, change], long=True)
        assert isinstance(verdict(engine, [first, change])[0], str) == (
            bool(wrong) and wrong not in ({"actor": EVE, "seq": 1}, {"deps": (first.hash, *engine.heads)})
        )

"""Mutated changes: each is refused, or accepted with the values that replaying predicts and a save that loads.

A few thousand by default; the full run is

    VAULTSYNC_EXAMPLES=100000 python -m pytest tests/document/test_mutations.py -q -s
"""

from __future__ import annotations

import random
from collections import Counter

from tests.document.model import ANN, BOB, EXAMPLES, IDS, Model, everything, exact
from tests.document.mutations import mutate_bytes, mutate_meaning, mutate_spelling, world
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.layout import SECTION_OBJECTS
from vaultsync.errors import MalformedChange, MissingDependencies

NUMBER = EXAMPLES or 3_000


def test_every_mutated_change_is_refused_or_does_what_it_says():
    counts: Counter[str] = Counter()
    rng = random.Random(2026)
    for seed in range(max(3, NUMBER // 2_500)):
        made, top = world(seed)
        base = [change.chunk for change in made]
        fresh = Engine.load(None, base)
        snapshot, heads, entries = fresh.save(), fresh.heads, everything(fresh)
        engine = fresh
        for _ in range(NUMBER // max(3, NUMBER // 2_500)):
            mutate = rng.choice([mutate_bytes, mutate_meaning, mutate_spelling])
            prefix = rng.choice([[], [], top[:1]])
            change = top[1] if prefix else rng.choice([top[0], top[2]])
            try:
                chunk = mutate(rng, change, rng.choice([*made[1:], *top]))
            except (ValueError, TypeError, AttributeError):  # not even the encoder can write it
                counts["unwritable"] += 1
                continue
            try:
                applied = engine.apply([*prefix, chunk])
            except (MalformedChange, MissingDependencies) as error:
                counts[f"{mutate.__name__} {type(error).__name__}"] += 1
                if rng.random() < 0.02:
                    assert (engine.heads, everything(engine)) == (heads, entries)
                continue
            counts[f"{mutate.__name__} accepted"] += 1
            model = Model().replay([*made, *applied.changes])
            assert exact(everything(engine)) == exact(model.entries())
            assert exact(engine.read("settings")) == exact(model.row(SECTION_OBJECTS["settings"]))
            engine.commit(
                ANN if applied.changes and applied.changes[-1].actor != ANN else BOB,
                [Edit("entries", IDS[1], "title", f"on top {rng.random()}")],
            )
            saved = engine.save()
            assert Engine.verify_snapshot(saved, engine.heads)
            again = Engine.load(None, engine.changes())
            assert (again.heads, everything(again)) == (engine.heads, everything(engine))
            engine = Engine.load(snapshot)
        assert (engine.heads, everything(engine)) == (heads, entries)
    print(dict(sorted(counts.items())))
    assert counts["mutate_meaning accepted"] > NUMBER // 100
    assert sum(counts.values()) >= NUMBER * 0.99

"""Mutated changes: each is refused, or accepted with the values that replaying predicts and a save that loads.

A few thousand by default; the full run is

    VAULTSYNC_EXAMPLES=100000 python -m pytest tests/document/test_mutations.py -q -s
"""

from __future__ import annotations

import random
from collections import Counter
from hashlib import sha256

from tests.document.model import ACTORS, ANN, BOB, EXAMPLES, IDS, Model, everything, exact, missing
from vaultsync.document.changes import Action, Change, Op, decode, encode
from vaultsync.document.columns import to_unsigned, unsigned
from vaultsync.document.engine import DELETED, Edit, Engine
from vaultsync.document.layout import SECTION_OBJECTS
from vaultsync.errors import MalformedChange, MissingDependencies

NUMBER = EXAMPLES or 3_000
VALUES = ["", "x", "long" * 9, 0, -1, 1 << 40, 1.5, -0.0, float("nan"), True, False, None, (1 << 63) - 1]
KEYS = ["title", "password", "new", "", "k" * 600, *IDS]


def world(seed: int) -> tuple[list[Change], list[Change]]:
    """A history of two devices that sync now and then: what everybody has, and some changes on top of it."""
    rng = random.Random(seed)
    ann, bob = Engine.new(), Engine.new()
    made: list[Change] = [decode(ann.changes()[0])]

    def write(engine: Engine, actor: bytes) -> list[Change]:
        edits = [
            Edit("entries", rng.choice(IDS[:3]), rng.choice(["title", "password", "n"]), rng.choice(VALUES[:8]))
            for _ in range(rng.randint(1, 3))
        ]
        edits.append(Edit("settings", "", rng.choice("ab"), rng.randint(0, 99)))
        if rng.random() < 0.3:
            edits.append(Edit("entries", IDS[0], "title", DELETED))
        return engine.commit(actor, edits)

    for _ in range(8):
        made += write(*rng.choice([(ann, ANN), (bob, BOB)]))
        if rng.random() < 0.5:
            ann.apply(missing(bob, ann))
            bob.apply(missing(ann, bob))
    ann.apply(missing(bob, ann))
    bob.apply(missing(ann, bob))
    top = write(ann, ANN) + write(ann, ANN) + write(bob, BOB)
    return made, top


# ---- ways to mutate ---------------------------------------------------------------------------------------------
def mutate_bytes(rng: random.Random, change: Change, other: Change) -> bytes:
    """Bytes of the contents; frame and checksum made right again, or else nothing would get far."""
    chunk = change.chunk
    _, at = unsigned(chunk, 9)
    contents = bytearray(chunk[at:])
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        where = rng.randrange(len(contents))
        what = rng.randrange(5)
        if what == 0:
            contents[where] ^= 1 << rng.randrange(8)
        elif what == 1:
            contents[where] = rng.choice([0, 1, 2, 0x7F, 0x7E, 0x80, 0xFF, rng.randrange(256)])
        elif what == 2:
            del contents[where : where + rng.randint(1, 3)]
        elif what == 3:
            contents[where:where] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 3)))
        else:
            source = other.chunk[at:]
            start = rng.randrange(len(source))
            contents[where : where + 8] = source[start : start + 8]
        if not contents:
            return b""
    body = b"\1" + to_unsigned(len(contents)) + contents
    return b"\x85\x6f\x4a\x83" + sha256(body).digest()[:4] + body


def mutate_meaning(rng: random.Random, change: Change, other: Change) -> bytes:
    """A canonical change that says something else."""
    ids = [(counter, actor) for counter in range(1, change.max_op + 2) for actor in (*ACTORS[:2], bytes(16))]
    actor, seq, start, deps = change.actor, change.seq, change.start_op, list(change.deps)
    ops = list(change.ops)
    for _ in range(rng.choice([1, 1, 2])):
        k = rng.randrange(len(ops))
        op = ops[k]
        what = rng.randrange(13)
        if what in (0, 1):
            ops[k] = op._replace(value=rng.choice(VALUES))
        elif what == 2:
            ops[k] = op._replace(key=rng.choice(KEYS))
        elif what == 3:
            ops[k] = op._replace(obj=rng.choice([None, *ids, *(o.obj for o in other.ops)]))
        elif what == 4:
            ops[k] = op._replace(action=rng.choice(list(Action)))
        elif what == 5:
            ops[k] = op._replace(preds=tuple(rng.sample(ids, rng.randint(0, 2))))
        elif what == 6:
            ops[k] = op._replace(preds=op.preds[1:])
        elif what == 7:
            ops.insert(k, rng.choice(other.ops))
        elif what == 8 and len(ops) > 1:
            del ops[k]
        elif what == 9:
            ops.append(Op(rng.choice(list(SECTION_OBJECTS.values())), rng.choice(KEYS), Action.SET, 1, ()))
        elif what == 10:
            start += rng.choice([-1, 1, 1 << 31])
        elif what == 11:
            seq, actor = seq + rng.choice([-1, 0, 1]), rng.choice([*ACTORS, b"", bytes(16)])
        else:
            deps = rng.choice([[], deps[:-1], [*deps, other.hash], list(other.deps), [*deps, *other.deps]])
    return encode(actor, max(seq, 0), max(start, 0), deps, ops)


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
            mutate = rng.choice([mutate_bytes, mutate_meaning])
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

"""Histories, and changes made wrong on purpose: by their bytes, by what they say, and by the way it is written."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.document.model import ACTORS, ANN, BOB, IDS, missing
from tests.document.tables import chunk
from vaultsync.document.changes import Action, Change, Op, decode, encode
from vaultsync.document.columns import (
    read_runs,
    read_string,
    signed,
    to_signed,
    to_unsigned,
    unsigned,
    write_string,
)
from vaultsync.document.engine import DELETED, Edit, Engine
from vaultsync.document.layout import SECTION_OBJECTS

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
    return framed(bytes(contents))


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


def mutate_spelling(rng: random.Random, change: Change, other: Change) -> bytes:
    """The same cells in other runs, or numbers in more bytes than needed, in one or two columns."""
    head, columns = taken_apart(change.chunk)
    for spec in rng.sample([spec for spec in columns if spec in _CELLS], rng.choice([1, 1, 2])):
        read, write = _CELLS[spec]
        cells = read_runs(columns[spec], 20_000, read, exactly=False)
        columns[spec] = spelled(rng, cells, write)
    return put_together(head, columns)


_CELLS: dict[int, tuple[Callable[[bytes, int], tuple[Any, int]], Callable[[Any], bytes]]] = {
    **dict.fromkeys((1, 2, 66, 86, 112, 113), (unsigned, to_unsigned)),
    21: (read_string, write_string),
    115: (signed, to_signed),
}


def spelled(rng: random.Random, cells: Sequence[Any], write: Callable[[Any], bytes]) -> bytes:
    """A column of these cells in runs of any kind, the longest ones or not."""
    out, at = b"", 0
    while at < len(cells):
        most = next((k for k in range(at, len(cells)) if cells[k] != cells[at]), len(cells)) - at
        if cells[at] is None:
            run = rng.randint(1, most)
            out += b"\0" + to_unsigned(run)
        elif rng.random() < (0.2 if most == 1 else 0.8):
            run = rng.choice([most, most, rng.randint(1, most)])
            out += to_signed(run) + longer(rng, write(cells[at]))
        else:
            run = rng.choice([1, rng.randint(1, len(cells) - at), most])
            run = next((k for k in range(at, at + run) if cells[k] is None), at + run) - at
            out += to_signed(-run) + b"".join(longer(rng, write(cell)) for cell in cells[at : at + run])
        at += run
    return out


def longer(rng: random.Random, number: bytes) -> bytes:
    """Now and then a number of one byte in two."""
    if len(number) == 1 and number[0] < 64 and rng.random() < 0.02:
        return bytes((number[0] | 128, 0))
    return number


def taken_apart(chunk: bytes) -> tuple[bytes, dict[int, bytes]]:
    """What stands before the columns of a change, and the columns."""
    _, start = unsigned(chunk, 9)
    count, at = unsigned(chunk, start)
    at += 32 * count
    length, at = unsigned(chunk, at)
    _, at = unsigned(chunk, at + length)
    _, at = unsigned(chunk, at)
    count, at = unsigned(chunk, at + 2)
    for _ in range(count):
        length, at = unsigned(chunk, at)
        at += length
    head = chunk[start:at]
    count, at = unsigned(chunk, at)
    heads = []
    for _ in range(count):
        spec, at = unsigned(chunk, at)
        length, at = unsigned(chunk, at)
        heads.append((spec, length))
    columns = {}
    for spec, length in heads:
        columns[spec] = chunk[at : at + length]
        at += length
    return head, columns


def put_together(head: bytes, columns: dict[int, bytes]) -> bytes:
    """A chunk with the right length and checksum."""
    contents = head + to_unsigned(len(columns))
    contents += b"".join(to_unsigned(spec) + to_unsigned(len(data)) for spec, data in columns.items())
    return framed(contents + b"".join(columns.values()))


def framed(contents: bytes) -> bytes:
    return chunk(1, contents)

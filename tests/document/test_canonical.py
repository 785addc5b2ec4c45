"""Reading a change in one pass against reading, writing and comparing it: what the first takes, the second takes, and
reads the same.

A few thousand by default; the full run is

    VAULTSYNC_EXAMPLES=100000 python -m pytest tests/document/test_canonical.py -q -s
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.document.model import ACTORS, ANN, EXAMPLES, IDS, exact, forge, histories, keys, make, play, put, scalars
from tests.document.mutations import (
    framed,
    mutate_bytes,
    mutate_meaning,
    mutate_spelling,
    put_together,
    spelled,
    taken_apart,
    world,
)
from vaultsync.document import canonical
from vaultsync.document.changes import Action, Change, Op, decode, encode
from vaultsync.document.codec import decode_literally
from vaultsync.document.columns import to_unsigned, unsigned
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.layout import GENESIS
from vaultsync.errors import MalformedChange
from vaultsync.limits import MAX_DEPS_PER_CHANGE, MAX_OPS_PER_CHANGE

many = settings(max_examples=EXAMPLES or 300, deadline=None)
NUMBER = EXAMPLES or 4_000


def outcome(way: Callable[[bytes], Change], chunk: bytes) -> tuple[Change | None, str]:
    try:
        return way(chunk), ""
    except MalformedChange as error:
        return None, str(error)


def agreed(chunk: bytes) -> Change | None:
    """What reading in one pass gives; the literal way was asked too."""
    quick = canonical.read(chunk)
    slow, why = outcome(decode_literally, chunk)
    assert exact(outcome(decode, chunk)) == exact((slow, why))
    if quick is not None:
        assert slow is not None, chunk.hex()
        assert exact(quick) == exact(slow), chunk.hex()
        assert sum(count for _, count in quick.ops.objects) == len(quick.ops) == len(slow.ops)
    return quick


@given(histories)
@many
def test_every_change_that_is_made_is_read_in_one_pass(history):
    for change in play(history)[1]:
        assert agreed(change.chunk) is not None


op_ids = st.tuples(
    st.one_of(st.integers(0, 9), st.integers(0, 1 << 33)), st.sampled_from([*ACTORS, bytes(16), b"", b"x" * 200])
)
ops = st.builds(
    Op,
    st.one_of(op_ids, op_ids, op_ids, op_ids, st.none()),
    st.one_of(keys, st.sampled_from(["", *IDS])),
    st.sampled_from(Action),
    st.one_of(scalars, st.floats()),
    st.one_of(st.just(()), st.lists(op_ids, max_size=3).map(tuple)),
)


@given(
    st.sampled_from([*ACTORS, b"", b"\xff" * 130]),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 32),
    st.lists(st.binary(min_size=32, max_size=32), max_size=3),
    st.lists(st.one_of(ops, ops.flatmap(lambda op: st.sampled_from([op]))), min_size=1, max_size=8),
    st.lists(st.integers(1, 40), min_size=8, max_size=8),
)
@many
def test_whatever_can_be_written_is_read_the_same(actor, seq, start_op, deps, some, times):
    repeated = [op for op, number in zip(some, times, strict=False) for _ in range(number if number > 30 else 1)]
    quick = agreed(encode(actor, seq, start_op, deps, repeated))
    if seq and 0 < start_op < 1 << 30 and all(op.obj for op in some):
        assert quick is not None


@given(histories, st.integers(0, 1 << 32))
@many
def test_another_spelling_is_never_read(history, seed):
    rng = random.Random(seed)
    for change in play(history)[1]:
        head, columns = taken_apart(change.chunk)
        assert put_together(head, columns) == change.chunk
        chunk = mutate_spelling(rng, change, change)
        assert (agreed(chunk) is None) == (chunk != change.chunk)


def test_mutated_changes_are_read_the_same_or_not_at_all():
    counts: Counter[str] = Counter()
    for seed in range(max(4, NUMBER // 5_000)):
        rng = random.Random(seed)
        made, top = world(seed)
        large = Engine.new()
        large.commit(ANN, [Edit("entries", f"01HZY{n:021d}", key, n * 77) for n in range(40) for key in "abcdefg"])
        pool = [*made[1:], *top, *(decode(chunk) for chunk in large.changes()[1:])]
        for _ in range(NUMBER // max(4, NUMBER // 5_000)):
            mutate = rng.choice([mutate_bytes, mutate_meaning, mutate_spelling])
            try:
                chunk = mutate(rng, rng.choice(pool), rng.choice(pool))
            except (ValueError, TypeError, AttributeError, IndexError):  # not even the encoder can write it
                continue
            counts[f"{mutate.__name__} {'refused' if agreed(chunk) is None else 'read'}"] += 1
    print(dict(sorted(counts.items())))
    assert counts["mutate_meaning read"] > NUMBER // 20
    assert counts["mutate_bytes read"] > NUMBER // 200


# ---- each point of the argument, by name ------------------------------------------------------------------------
ENTRY = (5, ANN)


def columns_of(*operations: Op) -> tuple[bytes, dict[int, bytes]]:
    return taken_apart(forge(*operations))


def test_the_first_change_of_a_vault_is_left_to_the_literal_way():
    assert agreed(GENESIS) is None
    assert decode(GENESIS) == decode_literally(GENESIS)


@pytest.mark.parametrize(
    ("spec", "spelling"),
    [
        (21, b"\x7f\1a\x7f\1b\x7f\1c"),  # runs of one instead of one of three
        (21, b"\1\1a\x7e\1b\1c"),  # a repeated run of one
        (112, b"\x7f\0\2\0"),  # neighbours that are equal
        (112, b"\2\0\x7f\0"),
        (112, b"\2\0\1\0"),
        (112, b"\x7d\0\0\0"),
        (112, b"\x83\0\0"),  # a count in two bytes
        (112, b"\3\x80\0"),  # a cell in two bytes
        (112, b"\3\0\0\0"),  # a run of no nulls
        (52, b"\x83\0"),
        (52, b"\0\3"),
        (86, b"\3\2\x7f"),  # a run that is cut short
    ],
)
def test_runs_are_the_longest_and_numbers_the_shortest(spec, spelling):
    head, columns = columns_of(put(ENTRY, "a", True), put(ENTRY, "b", True), put(ENTRY, "c", True))
    assert agreed(put_together(head, columns)) is not None
    assert agreed(put_together(head, {**columns, spec: spelling})) is None


@pytest.mark.parametrize("value", [5, 300, 1_790_000_000_000, -1_790_000_000_000, (1 << 63) - 1, -(1 << 63), 0.5])
def test_numbers_among_values(value):
    head, columns = columns_of(put(ENTRY, "a", value))
    quick = agreed(put_together(head, columns))
    assert quick is not None
    assert quick.ops[0].value == value
    if isinstance(value, int) and len(columns[87]) < 10:
        data = columns[87]
        padded = data[:-1] + bytes((data[-1] | 128, 0 if value > 0 else 0x7F))
        columns |= {87: padded, 86: b"\x7f" + to_unsigned(len(padded) << 4 | 4)}
        assert agreed(put_together(head, columns)) is None


def test_texts_are_utf8_each_for_itself():
    """Two halves of one character in two values, or two keys, are none."""
    head, columns = columns_of(put(ENTRY, "ab", "xy"), put(ENTRY, "cd", "zw"))
    assert agreed(put_together(head, {**columns, 87: b"x\xc3\xa4w"})) is None
    assert agreed(put_together(head, {**columns, 87: "xyä".encode()})) is not None
    assert agreed(put_together(head, {**columns, 21: b"\x7e\2a\xc3\2\xa4d"})) is None
    assert agreed(put_together(head, {**columns, 21: b"\x7e\2ab\2\xc3\xa4"})) is not None
    assert agreed(put_together(head, {**columns, 87: b"xyzwv"})) is None
    assert agreed(put_together(head, {**columns, 87: b"xyz"})) is None
    assert (
        agreed(put_together(head, {**columns, 87: "xy\ud800".encode("utf-8", "surrogatepass"), 86: b"\x7e\x26\x36"}))
        is None
    )


def test_columns_that_are_not_needed_missing_or_out_of_order():
    head, columns = columns_of(put(ENTRY, "a", True, (6, ANN)))
    assert agreed(put_together(head, columns)) is not None
    for spec in columns:
        assert agreed(put_together(head, {at: data for at, data in columns.items() if at != spec})) is None
        assert agreed(put_together(head, {**columns, spec: b""})) is None
    assert agreed(put_together(head, dict(reversed(columns.items())))) is None
    assert agreed(put_together(head, {**columns, 87: b"x"})) is None
    assert agreed(put_together(head, {**columns, 117: b"\x7f\0"})) is None
    assert agreed(put_together(head, columns)[:-1]) is None


def test_actors_ascend_and_are_named():
    chunk = forge(put((5, b"b" * 16), "a", 1, (6, b"c" * 16)))
    _, at = unsigned(chunk, 9)
    contents = chunk[at:]
    assert agreed(framed(contents)) is not None
    both = b"\2\x10" + b"b" * 16 + b"\x10" + b"c" * 16
    assert contents.count(both) == 1
    for others in (
        b"\2\x10" + b"c" * 16 + b"\x10" + b"b" * 16,
        b"\3\x10" + b"b" * 16 + b"\x10" + b"c" * 16 + b"\x10" + b"d" * 16,  # nobody's
        b"\2\x10" + b"b" * 16 + b"\x10" + b"b" * 16,
        b"\2\x10" + b"b" * 16 + b"\x10" + b"\xe5" * 16,  # its own
    ):
        assert agreed(framed(contents.replace(both, others))) is None


def test_dependencies_ascend():
    deps = [bytes([n]) * 32 for n in (3, 7)]
    chunk = forge(put(ENTRY, "a", 1), deps=deps)
    assert agreed(chunk) is not None
    _, at = unsigned(chunk, 9)
    assert agreed(framed(chunk[at:].replace(b"".join(deps), b"".join(reversed(deps))))) is None
    assert agreed(forge(put(ENTRY, "a", 1), deps=[bytes([n % 251, n // 251]) * 16 for n in range(1_024)])) is not None
    assert agreed(forge(put(ENTRY, "a", 1), deps=[bytes(32)] * (MAX_DEPS_PER_CHANGE + 1))) is None


def test_predecessors_ascend_and_are_as_many_as_counted():
    head, columns = columns_of(put(ENTRY, "a", True, (6, ANN), (8, ANN)))
    assert agreed(put_together(head, columns)) is not None
    for spec, data in ((115, b"\x7e\x08\x7e"), (115, b"\x7f\6"), (112, b"\x7f\3"), (112, b"\x7f\1"), (112, b"\x7f\0")):
        assert agreed(put_together(head, {**columns, spec: data})) is None


def test_bounds_hold_before_anything_is_expanded():
    """Few bytes that say very much."""
    head, columns = columns_of(put(ENTRY, "a", True))
    for count in (MAX_OPS_PER_CHANGE + 1, 1 << 40):
        run = to_unsigned(count)  # ends with a byte whose sixth bit may say: negative
        bomb = {spec: (run if run[-1] < 64 else run[:-1] + bytes((run[-1] | 128, 0))) for spec in (1, 2, 66, 86, 112)}
        blown = {spec: data + columns[spec][1:] for spec, data in bomb.items()} | {21: run + b"\1a", 52: run}
        assert agreed(put_together(head, dict(sorted((columns | blown).items())))) is None
    assert agreed(forge(*[put(ENTRY, "n", None)] * MAX_OPS_PER_CHANGE)) is not None
    assert agreed(forge(*[put(ENTRY, "n", None)] * (MAX_OPS_PER_CHANGE + 1))) is None


def test_one_pass_is_all_it_takes():
    """Not timed, but counted: nothing of an import is read the literal way."""
    engine = Engine.new()
    engine.commit(ANN, [Edit("entries", f"01HZY{n:021d}", key, "é" * n) for n in range(60) for key in ("ü", "tags/x")])
    assert all(canonical.read(chunk) is not None for chunk in engine.changes()[1:])
    assert canonical.read(forge(make(IDS[0]), put((5, ANN), "k" * 300, "x"))) is not None
    assert spelled(random.Random(1), ["a", "b"], lambda text: text.encode()) != b""

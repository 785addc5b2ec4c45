"""Entries handed from one process to another: whole, in order, and believed no further than their shape."""

from __future__ import annotations

import os
import random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.document.rows import BATCH, RowReader, pack_flat, pack_rows, unpack_flat
from vaultsync.errors import MalformedChange

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "100"))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=8)
)
ROWS = st.dictionaries(
    st.text(min_size=1, max_size=6), st.dictionaries(st.sampled_from("abcdef"), SCALARS), max_size=20
)


def read(batches: list[bytes]) -> list[tuple[str, dict[str, object]]]:
    reader = RowReader()
    return [row for batch in batches for row in reader.read(batch)]


@settings(max_examples=EXAMPLES)
@given(ROWS)
def test_rows_come_back_as_they_were(rows: dict[str, dict[str, object]]) -> None:
    items = sorted(rows.items())
    assert read(list(pack_rows(items))) == items


def test_batches_share_their_layouts() -> None:
    items = [(f"{number:05d}", {"title": "t", "password": str(number)}) for number in range(3 * BATCH + 1)]
    batches = list(pack_rows(items))
    assert len(batches) == 4
    assert read(batches) == items
    assert b"password" in batches[0]
    assert not any(b"password" in batch for batch in batches[1:])
    with pytest.raises(MalformedChange):
        RowReader().read(batches[1])


@settings(max_examples=EXAMPLES)
@given(st.dictionaries(st.sampled_from(["settings", "devices"]), st.dictionaries(st.text(max_size=5), SCALARS)))
def test_flat_sections_come_back_when_they_are_the_ones_asked_for(
    sections: dict[str, dict[str, object]],
) -> None:
    assert unpack_flat(pack_flat(sections), list(sections)) == sections
    for others in ([*sections, "schemas"], list(sections)[1:] or ["schemas"]):
        with pytest.raises(MalformedChange):
            unpack_flat(pack_flat(sections), others)


@pytest.mark.parametrize(
    "batch",
    [
        None,
        [],
        [[], [], []],
        [[["a"]], [["x"]]],
        [[["a"]], [["x", 0]]],
        [[["a"]], [["x", 0, 1, 2]]],
        [[["a"]], [["x", 1, 1]]],
        [[["a"]], [["x", -1, 1]]],
        [[["a"]], [["x", True, 1]]],
        [[["a"]], [["", 0, 1]]],
        [[["a"]], [[b"x", 0, 1]]],
        [[["a"]], [["x", 0, b"1"]]],
        [[["a"]], [["x", 0, {}]]],
        [[["a"]], [["y", 0, 1], ["x", 0, 1]]],
        [[["a", "a"]], [["x", 0, 1, 2]]],
        [[[1]], [["x", 0, 1]]],
        [[["a"]], ["x01"]],
        [[["a"]], [7]],
    ],
)
def test_what_nobody_writes_is_refused(batch: object) -> None:
    with pytest.raises(MalformedChange):
        RowReader().read(msgpack.packb(batch))


def test_mutated_batches_are_refused_or_are_rows() -> None:
    seed = 20261122
    print(f"seed {seed}")
    rng = random.Random(seed)
    (batch,) = pack_rows([(f"id{number}", {"title": "t", "n": number, "on": True}) for number in range(8)])
    refused = 0
    for _ in range(20 * EXAMPLES):
        mutated = bytearray(batch)
        for _ in range(rng.randint(1, 3)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        try:
            rows = RowReader().read(bytes(mutated))
        except MalformedChange:
            refused += 1
            continue
        assert [entry for entry, _ in rows] == sorted({entry for entry, _ in rows})
        for _, row in rows:
            assert all(type(key) is str for key in row)
            assert all(type(value) in (str, int, float, bool, type(None)) for value in row.values())
    assert 0 < refused < 20 * EXAMPLES

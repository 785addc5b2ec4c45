"""Comparing and placing ordered elements, apart from how they are stored."""

from __future__ import annotations

import itertools
import os
import random
import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.schema.sequences import common, merge, place, plan

MANY = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "400")), deadline=None)
LISTS = st.lists(st.sampled_from("abcd"), max_size=9)


def longest(a: list[str], b: list[str]) -> int:
    """The textbook definition."""

    @cache
    def at(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        return 1 + at(i + 1, j + 1) if a[i] == b[j] else max(at(i + 1, j), at(i, j + 1))

    return at(0, 0)


def valid(a: list[str], b: list[str], pairs: list[tuple[int, int]]) -> bool:
    rising = all(i < k and j < m for (i, j), (k, m) in itertools.pairwise(pairs))
    return rising and all(a[i] == b[j] for i, j in pairs)


@MANY
@given(LISTS, LISTS)
def test_common_is_a_longest_common_subsequence(a: list[str], b: list[str]) -> None:
    pairs = common(a, b)
    assert valid(a, b, pairs)
    assert len(pairs) == longest(a, b)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2, 40, 10_000]))
def test_long_lists_are_compared_by_their_unique_lines(seed: int, alphabet: int) -> None:
    rng = random.Random(seed)
    a = [str(rng.randrange(alphabet)) for _ in range(600)]
    b = list(a)
    for _ in range(20):
        at = rng.randrange(len(b))
        b[at : at + rng.randrange(2)] = [f"new {rng.random()}"]
    pairs = common(a, b)
    assert valid(a, b, pairs)
    if alphabet == 10_000:
        assert len(pairs) >= 560


@pytest.mark.parametrize("alphabet", [1, 3, 1_000, 10**9])
def test_comparing_hostile_lists_takes_no_quadratic_time(alphabet: int) -> None:
    rng = random.Random(alphabet)
    a = [str(rng.randrange(alphabet)) for _ in range(30_000)]
    b = [str(rng.randrange(alphabet)) for _ in range(30_000)]
    start = time.perf_counter()
    assert valid(a, b, common(a, b))
    assert time.perf_counter() - start < 20  # the full table would take minutes


@MANY
@given(LISTS, LISTS)
def test_a_plan_reads_as_wanted_and_accounts_for_everything(seen: list[str], wanted: list[str]) -> None:
    ids = [f"i{n}" for n in range(len(seen))]
    made = plan(list(zip(ids, seen, strict=True)), wanted)
    assert [slot.value for slot in made.wanted] == wanted
    used = [slot.id for slot in made.wanted if slot.id is not None]
    assert sorted(used + made.removed) == sorted(ids)  # every id is used once or removed
    before = dict(zip(ids, seen, strict=True))
    for slot in made.wanted:
        assert slot.written == (slot.id is None or before[slot.id] != slot.value)
    staying = [slot.id for slot in made.wanted if slot.id is not None and not slot.moved]
    assert staying == sorted(staying, key=ids.index)
    assert made.empty == (seen == wanted)


@MANY
@given(st.data())
def test_placing_gives_the_order_and_touches_little(data: st.DataObject) -> None:
    names = [f"i{n}" for n in range(data.draw(st.integers(0, 8)))]
    drawn = {n: data.draw(st.text("0UVz", min_size=1, max_size=2)) for n in names if data.draw(st.booleans())}
    staying = sorted(drawn, key=lambda n: (drawn[n], n))
    order = merge(staying, data.draw(st.permutations(names)), frozenset(names) - frozenset(drawn))
    assert sorted(order) == sorted(names)
    made = place(order, drawn)
    after = drawn | made
    assert sorted(names, key=lambda n: (after[n], n)) == order
    if len(drawn) == len(names):
        assert made == {}


def test_the_right_one_of_equal_neighbours_moves() -> None:
    standing = {"a": "U", "b": "U", "c": "V"}
    made = place(["a", "x", "b", "c"], standing)
    assert set(made) == {"x", "b"}
    assert "U" < made["x"] < made["b"] < "V"


def test_without_room_all_are_spread_anew() -> None:
    standing = {"a": "U", "b": "U0"}
    made = place(["a", "x", "b"], standing)
    assert made["a"] < made["x"] < made["b"]


def test_an_inserted_element_follows_its_predecessor() -> None:
    assert merge(["a", "u", "b"], ["a", "x", "y", "b"], frozenset("xy")) == ["a", "x", "y", "u", "b"]
    assert merge(["u", "b"], ["gone", "x", "b"], frozenset("x")) == ["x", "u", "b"]
    assert merge(["a", "b"], ["a", "b", "z"], frozenset("z")) == ["a", "b", "z"]

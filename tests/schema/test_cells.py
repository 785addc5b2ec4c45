"""Keys, positions, canonical JSON, numbers and the vectors that say what is deleted."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import pickle
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.limits import MAX_POSITION_CHARS, MAX_VALUE_BYTES
from vaultsync.schema import cells
from vaultsync.schema.cells import GONE, MIDDLE, Key, between, canonical_json, fill, parse_json, split_key, spread
from vaultsync.testing.strategies import positions, scalars

MANY = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "400")), deadline=None)
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)
ANY_POSITION = positions() | st.text(DIGITS, min_size=1, max_size=MAX_POSITION_CHARS)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_gone_is_one_and_not_a_null() -> None:
    assert copy.deepcopy(GONE) is GONE
    assert pickle.loads(pickle.dumps(GONE)) is GONE  # noqa: S301
    assert repr(GONE) == "GONE"
    assert GONE is not None
    assert GONE


# ---- keys -------------------------------------------------------------------------------------------------------
@MANY
@given(NAMES, st.sampled_from(["", "/", "@"]), st.text(max_size=8))
def test_a_key_splits_at_its_first_separator(name: str, sep: str, element: str) -> None:
    element = element if sep else ""
    assert split_key(name + sep + element) == Key(name, sep, element)
    assert cells.owner(name + sep + element) == name


@MANY
@given(st.text(alphabet="$aZ_0/@é\n", max_size=8))
def test_every_text_has_an_owner_and_splits_or_does_not(key: str) -> None:
    parts = split_key(key)
    if parts is not None:
        assert "".join(parts) == key
        assert cells.owner(key) == parts.name
    assert key.startswith(cells.owner(key))
    assert not set(cells.owner(key)) & {"/", "@"}


@pytest.mark.parametrize("key", ["$type", "$edited/ab", "", "/x", "@x", "Title", "1st", "a" * 65, "title\n", "a b/c"])
def test_what_is_no_key_of_ours_does_not_split(key: str) -> None:
    assert split_key(key) is None


# ---- positions --------------------------------------------------------------------------------------------------
@MANY
@given(ANY_POSITION, ANY_POSITION)
def test_between_is_between(one: str, other: str) -> None:
    left, right = sorted((one, other))
    made = between(left, right)
    if made is None:
        assert right.rstrip("0") == left.rstrip("0") or min(len(left), len(right)) >= MAX_POSITION_CHARS - 1
    else:
        assert left < made < right
        assert cells.is_position(made)
        assert not made.endswith("0")  # nothing would fit below it


@MANY
@given(ANY_POSITION)
def test_there_is_room_at_both_ends(position: str) -> None:
    above, below = between(position, None), between(None, position)
    assert above is None or position < above
    assert above is not None or set(position) == {"z"}
    assert below is None or below < position
    assert below is not None or len(position.rstrip("0")) in (0, MAX_POSITION_CHARS)


def test_equal_positions_have_nothing_between_them() -> None:
    assert between("U", "U") is None
    assert between("U", "U0") is None
    assert between("V", "U") is None
    assert between(None, "00") is None
    assert between(None, None) == MIDDLE


@MANY
@given(st.none() | ANY_POSITION, st.none() | ANY_POSITION, st.integers(0, 80))
def test_fill_is_ascending_and_between(left: str | None, right: str | None, count: int) -> None:
    made = fill(left, right, count)
    if left is not None and right is not None and left >= right and count:
        assert made is None
    if made is not None:
        whole = [*([left] if left and count else []), *made, *([right] if right and count else [])]
        assert all(a < b for a, b in itertools.pairwise(whole))
        assert len(made) == count
        assert all(map(cells.is_position, made))


@pytest.mark.parametrize(("count", "longest"), [(0, 0), (1, 1), (2, 1), (30, 1), (31, 2), (1900, 2), (100_000, 3)])
def test_spread_is_even_and_short(count: int, longest: int) -> None:
    made = spread(count)
    assert len(made) == count
    assert made == sorted(set(made))
    assert max(map(len, made), default=0) == longest
    assert not any(position.endswith("0") for position in made)


@pytest.mark.parametrize("end", ["above", "below"])
def test_a_list_may_grow_at_one_end_for_long(end: str) -> None:
    position = MIDDLE
    for _ in range(3_500):
        made = between(position, None) if end == "above" else between(None, position)
        assert made is not None
        assert (made > position) == (end == "above")
        position = made


def test_halving_one_gap_ends_without_room_not_with_a_long_key() -> None:
    left, right, steps = "A", "B", 0
    while (made := between(left, right)) is not None:
        left, steps = made, steps + 1
    assert len(left) <= MAX_POSITION_CHARS
    assert steps > 200


# ---- JSON and numbers -------------------------------------------------------------------------------------------
@MANY
@given(JSON)
def test_canonical_json_says_the_same_and_is_one_text(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == json.loads(canonical_json(json.loads(text)))
    assert canonical_json(json.loads(text)) == text
    assert parse_json(text, max_bytes=1 << 20, max_depth=64) == json.loads(text)


def test_canonical_json_is_spelt_one_way() -> None:
    assert canonical_json({"b": 1.0, "a": ["é", None, True, 1e300]}) == '{"a":["é",null,true,1e+300],"b":1}'
    assert canonical_json({"x": 1, "y": 2}) == canonical_json({"y": 2.0, "x": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", ["\udfff"], {"\ud800": 1}, 10**400])
def test_canonical_json_refuses_what_cannot_be_stored(value: object) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)


@pytest.mark.parametrize("value", [b"x", {1: 2}, {1}, object()])
def test_canonical_json_refuses_what_is_no_json(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


@MANY
@given(st.text(alphabet='[]{}":,\\ud8001eNaE+-.', max_size=30) | st.text() | scalars())
def test_parsing_is_total(text: object) -> None:
    value = parse_json(text, max_bytes=1000)
    if value is not None:
        canonical_json(value)  # whatever gets through can be stored again


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        "1e999",
        '{"a":1,"a":2}',
        '"\\ud800"',
        '"' + "x" * 101 + '"',
        '"' + "é" * 60 + '"',
        "9" * 5000,
        "[" * 9 + "]" * 9,
        "[" * 100_000,
        "{" * 40,
        b"1",
        7,
        None,
    ],
)
def test_hostile_json_counts_as_absent(text: object) -> None:
    assert parse_json(text, max_bytes=100) is None


def test_brackets_inside_strings_are_no_depth() -> None:
    assert parse_json('["[[[[[[[[[[[[", "\\"[[[[[[[[["]', max_bytes=100, max_depth=1) == ["[" * 12, '"' + "[" * 9]
    assert parse_json("[[1],[2],[3],[4],[5]]", max_bytes=100, max_depth=2) == [[1], [2], [3], [4], [5]]
    assert parse_json("[[[1]]]", max_bytes=100, max_depth=2) is None


@MANY
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_has_one_form(value: float) -> None:
    try:
        made = cells.normalise_number(value)
    except ValueError:
        assert abs(value) > 1e308
        return
    assert cells.normalise_number(made) == made
    assert type(cells.normalise_number(made)) is type(made)
    assert made == value or abs(value) > 2**53
    assert isinstance(made, int) == (float(value).is_integer() and abs(float(value)) <= 2**53)


def test_text_that_the_engine_cannot_hold() -> None:
    assert cells.storable("é" * (MAX_VALUE_BYTES // 2))
    assert not cells.storable("é" * (MAX_VALUE_BYTES // 2) + "x")
    assert not cells.storable("x" * (MAX_VALUE_BYTES + 1))
    assert not cells.storable("\ud83d")
    assert cells.storable("\0")


# ---- edits, deletes, stamps -------------------------------------------------------------------------------------
VECTORS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 4))


@MANY
@given(VECTORS, st.lists(VECTORS, max_size=3), st.dictionaries(st.sampled_from("xyz"), st.text(max_size=5) | scalars()))
def test_trashed_iff_every_edit_is_covered_by_some_delete(
    edits: dict[str, int], deletes: list[dict[str, int]], garbage: dict[str, object]
) -> None:
    raw = {f"$edited/{name}": when for name, when in edits.items()}
    raw |= {f"$deleted/{i}": json.dumps(vector) for i, vector in enumerate(deletes)}
    raw |= {f"$deleted/{name}": f"!{text}" for name, text in garbage.items()}
    assert cells.edited(raw) == edits
    assert cells.deleted(raw) == deletes
    covered = all(any(vector.get(name, -1) >= when for vector in deletes) for name, when in edits.items())
    assert cells.trashed(raw) == (bool(deletes) and covered)


@MANY
@given(VECTORS, st.sampled_from("abc"), st.integers(0, 6))
def test_an_edit_undoes_every_delete_before_it(edits: dict[str, int], me: str, now: int) -> None:
    raw: dict[str, cells.Scalar] = {f"$edited/{name}": when for name, when in edits.items()}
    raw["$deleted/z"] = cells.vector_json(raw)
    assert cells.trashed(raw)
    raw[f"$edited/{me}"] = cells.next_edit(raw, me, now)
    assert not cells.trashed(raw)
    assert raw[f"$edited/{me}"] >= now  # type: ignore[operator]


@pytest.mark.parametrize("value", [True, -1, 2**53 + 1, 1.0, "5", None])
def test_an_edit_stamp_that_is_no_time_counts_as_absent(value: cells.Scalar) -> None:
    assert cells.edited({"$edited/a": value}) == {}


@pytest.mark.parametrize("text", ["[]", "{", '{"a":true}', '{"a":-1}', '{"a":{}}', '{"a":"1"}', "null", True, 3, None])
def test_a_garbled_delete_counts_as_absent(text: cells.Scalar) -> None:
    assert not cells.trashed({"$deleted/x": text})


def test_stamps_faces_and_critical_marks() -> None:
    raw: dict[str, cells.Scalar] = {
        "$schema/login/10": True,
        "$schema/login/2": True,
        "$schema/card/1": "yes",
        "$schema/card/01": True,
        "$schema/card/0": True,
        "$schema/card/-1": True,
        "$schema/card/²": True,
        "$schema/card/99999999": True,
        "$schema/card/": True,
        "$schema/Card/1": True,
        "$schema/login/3/4": True,
        "$face/note": True,
        "$face/wifi": 1,
        "$face/": True,
        "$critical/passkey": "write",
        "$critical/title": "both",
        "$critical/flag": True,
    }
    assert cells.stamps(raw) == {"login": (2, 10)}
    assert cells.faces(raw) == {"note"}
    assert cells.criticals(raw) == {"passkey": "write"}

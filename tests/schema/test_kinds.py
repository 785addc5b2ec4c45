"""Every kind: what it takes, how it reads after writing, and what survives when two devices write at once."""

from __future__ import annotations

import enum
import os
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vaultsync.errors import SchemaError
from vaultsync.limits import MAX_POSITION_CHARS, MAX_VALUE_BYTES
from vaultsync.schema import kinds
from vaultsync.schema.cells import GONE, Ops, Scalar, owner, split_key
from vaultsync.schema.kinds import FileRef, Kind, KindMismatch, add, remove
from vaultsync.testing.strategies import KINDS, cells_for, counting_ids, scalars, values_for

MANY = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "400")), deadline=None)
ANY_KIND = st.sampled_from(KINDS)
LISTED = kinds.items(kinds.text)
LINES = st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=1, max_size=6)


def apply(raw: dict[str, Scalar], ops: Ops) -> dict[str, Scalar]:
    merged = {**raw, **ops}
    return {key: value for key, value in merged.items() if value is not GONE}


def merge(raw: dict[str, Scalar], one: Ops, other: Ops) -> dict[str, Scalar]:
    """Concurrent operations on one entry: a put beats a deletion of the same key; of two puts the later actor wins."""
    both = {**one, **{key: value for key, value in other.items() if value is not GONE or key not in one}}
    return apply(raw, both)


def write(kind: Kind, raw: dict[str, Scalar], wanted: Any, who: str = "n", seen: Any = None) -> Ops:
    return kind.write("f", raw, wanted, seen=seen, new_id=counting_ids(who))


def made(kind: Kind, wanted: Any) -> dict[str, Scalar]:
    return apply({}, write(kind, {}, wanted, "m"))


# ---- every kind -------------------------------------------------------------------------------------------------
@MANY
@given(ANY_KIND, st.data())
def test_reading_after_writing_gives_what_was_wanted(kind: Kind, data: st.DataObject) -> None:
    now = data.draw(cells_for(kind))
    wanted = data.draw(st.none() | values_for(kind))
    checked = kind.check(wanted)
    ops = write(kind, now, wanted, seen=data.draw(st.sampled_from([None, dict(now)])))
    after = apply(now, ops)
    assert kind.read("f", after) == (checked if checked not in ((), frozenset()) else None)
    assert write(kind, after, wanted) == {}, "writing an equal value is no change"
    for key, value in ops.items():
        parts = split_key(key)
        assert parts is not None
        assert parts.name == "f"
        assert value is GONE or kind.fits(parts, value)
        assert now.get(key, GONE) is not value


@MANY
@given(ANY_KIND, st.data())
def test_what_is_read_can_be_written_back(kind: Kind, data: st.DataObject) -> None:
    cells = data.draw(cells_for(kind))
    shown = kind.read("f", cells)
    assert kind.check(shown) == shown
    assert write(kind, cells, shown) == {}


@MANY
@given(ANY_KIND, st.dictionaries(st.text("f/@old U", max_size=6) | st.just("f"), scalars(), max_size=8))
def test_reading_is_total(kind: Kind, cells: dict[str, Scalar]) -> None:
    kind.read("f", cells)
    repr(kind.elements("f", cells))
    for key, value in cells.items():
        parts = split_key(key)
        if parts is not None:
            kind.fits(parts, value)


@MANY
@given(ANY_KIND, st.data())
def test_cells_that_do_not_fit_are_not_read_and_not_touched(kind: Kind, data: st.DataObject) -> None:
    now = data.draw(cells_for(kind))
    strange = {k for k, v in now.items() if not kind.fits(split_key(k), v)}  # type: ignore[arg-type]
    plain = {k: v for k, v in now.items() if k not in strange}
    assert kind.read("f", plain) == kind.read("f", now)
    wanted = data.draw(st.none() | values_for(kind))
    if kind is kinds.tags:  # a tag's key is its value: putting the tag there is meant
        strange -= {f"f/{tag}" for tag in kind.check(wanted) or ()}
    ops = write(kind, now, wanted)
    assert {k for k in strange & ops.keys() if split_key(k).sep == "/"} == set()  # type: ignore[union-attr]


@MANY
@given(ANY_KIND, st.data())
def test_elements_are_what_is_read(kind: Kind, data: st.DataObject) -> None:
    cells = data.draw(cells_for(kind))
    elements, shown = kind.elements("f", cells), kind.read("f", cells)
    if not kind.has_elements:
        assert elements == ()
        return
    values = [each.value for each in elements]
    joined = "\n".join(values) if kind is kinds.note else frozenset(values) if kind is kinds.tags else tuple(values)
    assert shown == (joined if values else None)
    assert len({each.id for each in elements}) == len(elements)


@MANY
@given(ANY_KIND, ANY_KIND, st.data())
def test_a_value_of_another_kind_is_refused_without_being_quoted(kind: Kind, other: Kind, data: st.DataObject) -> None:
    value = data.draw(values_for(other))
    shape = {"text": str, "secret": str, "note": str, "number": (int, float), "flag": bool, "instant": datetime}
    takes = shape.get(kind.name, FileRef if kind is kinds.file else (list, tuple))
    assume(not isinstance(value, takes) or (kind is kinds.number and isinstance(value, bool)))  # type: ignore[arg-type]
    if kind is kinds.tags:
        assume(not isinstance(value, frozenset))
    with pytest.raises(KindMismatch) as caught:
        kind.check(value)
    assert caught.value.expected == kind.name
    if isinstance(value, str) and len(value) > 4:
        assert value not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_kinds_are_values(kind: Kind) -> None:
    assert kind.check(None) is None
    with pytest.raises(AttributeError):
        kind.name = "other"
    assert sum(kind == other for other in KINDS) == 1
    assert len({*KINDS, kind}) == len(KINDS)


# ---- each kind --------------------------------------------------------------------------------------------------
class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        (kinds.text, "", ""),
        (kinds.text, Colour.RED, "red"),
        (kinds.secret, "a\0b", "a\0b"),
        (kinds.number, 1.0, 1),
        (kinds.number, -0.0, 0),
        (kinds.number, 0.5, 0.5),
        (kinds.number, 2**53, 2**53),
        (kinds.number, 2**60, float(2**60)),
        (kinds.flag, False, False),
        (kinds.instant, datetime(1970, 1, 1, 1, 0, 0, 1999, timezone(timedelta(hours=1))), 1),
        (kinds.instant, datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), -1),
    ],
)
def test_how_scalars_are_stored(kind: Kind, value: object, stored: object) -> None:
    ops = write(kind, {}, value)
    assert ops == {"f": stored}
    assert type(ops["f"]) is type(stored)


@pytest.mark.parametrize(
    ("kind", "value", "given"),
    [
        (kinds.text, "\ud800", "surrogates"),
        (kinds.text, "x" * (MAX_VALUE_BYTES + 1), "MiB"),
        (kinds.text, b"x", "bytes"),
        (kinds.text, add("x"), "add or remove"),
        (kinds.note, "ok\n\udfff", "surrogates"),
        (kinds.note, ["line"], "list"),
        (kinds.number, True, "flag"),
        (kinds.number, float("nan"), "finite"),
        (kinds.number, float("inf"), "finite"),
        (kinds.number, 10**400, "finite"),
        (kinds.number, Decimal(1), "Decimal"),
        (kinds.flag, 1, "number"),
        (kinds.instant, datetime(2026, 1, 1), "time zone"),
        (kinds.instant, datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "year"),
        (kinds.instant, date(2026, 1, 1), "date"),
        (kinds.instant, 0, "number"),
        (kinds.tags, "work", "text"),
        (kinds.tags, ["  "], "empty"),
        (kinds.tags, ["x" * 257], "long"),
        (kinds.tags, [None], "nothing"),
        (kinds.tags, ["\ud800"], "UTF-8"),
        (LISTED, "x", "text"),
        (LISTED, {"x"}, "set"),
        (LISTED, [None], "nothing"),
        (LISTED, [1], "number as an item"),
        (kinds.items(kinds.flag), add(1), "number as an item"),
        (kinds.file, "x", "text"),
        (kinds.file, FileRef("zz", "n", 1, "00", "k"), "malformed"),
        (kinds.file, FileRef("00", "n" * 5000, 1, "00", "k"), "too long"),
        (kinds.file, FileRef("00", "\ud800", 1, "00", "k"), "malformed"),
        (kinds.file, FileRef("00", "n", -1, "00", "k"), "malformed"),
    ],
)
def test_what_is_refused_and_how_it_is_named(kind: Kind, value: object, given: str) -> None:
    with pytest.raises(KindMismatch, match=given) as caught:
        kind.check(value)
    assert caught.value.expected == kind.name


@pytest.mark.parametrize("kind", [kinds.note, kinds.tags, kinds.file, LISTED, "text", None])
def test_items_hold_scalars_only(kind: Any) -> None:
    with pytest.raises(SchemaError):
        kinds.items(kind)


def test_tags_are_normalised_and_case_counts() -> None:
    ops = write(kinds.tags, {}, ["  cafe\u0301 ", "caf\xe9", "Work", "work", "a/b@c"])
    assert ops == {"f/Work": True, "f/a/b@c": True, "f/caf\xe9": True, "f/work": True}
    assert not kinds.tags.fits(split_key("f/ x"), True)  # type: ignore[arg-type]
    assert not kinds.tags.fits(split_key("f/x"), 1)  # type: ignore[arg-type]


def test_secrets_are_masked_in_every_repr() -> None:
    listed = kinds.items(kinds.secret)
    raw = made(listed, ["hunter2"])
    assert "hunter2" not in repr(listed.elements("f", raw))
    assert "hunter2" not in repr(add("hunter2") | remove("hunter2"))
    assert "hunter2" not in repr(FileRef("00", "n", 1, "00", "hunter2"))
    assert listed.is_secret


# ---- deltas -----------------------------------------------------------------------------------------------------
@MANY
@given(
    st.frozensets(st.sampled_from("abcd")),
    st.frozensets(st.sampled_from("abcd")),
    st.frozensets(st.sampled_from("abcd")),
)
def test_tags_added_and_removed(have: frozenset[str], more: frozenset[str], less: frozenset[str]) -> None:
    raw = made(kinds.tags, have)
    after = apply(raw, write(kinds.tags, raw, add(*more) | remove(*less)))
    assert (kinds.tags.read("f", after) or frozenset()) == (have | more) - less
    after = apply(raw, write(kinds.tags, raw, remove(*less) | add(*more)))
    assert (kinds.tags.read("f", after) or frozenset()) == (have - less) | more


@MANY
@given(LINES, LINES, st.frozensets(st.sampled_from("abc")))
def test_items_added_come_last_and_removed_ones_go_everywhere(have: list[str], more: list[str], less: set[str]) -> None:
    raw = made(LISTED, have)
    after = apply(raw, write(LISTED, raw, remove(*less) | add(*more)))
    assert LISTED.read("f", after) == tuple([each for each in have if each not in less] + more)


# ---- two devices ------------------------------------------------------------------------------------------------
@MANY
@given(st.sampled_from([kinds.note, LISTED]), LINES, st.data())
def test_edits_of_different_lines_both_survive(kind: Kind, lines: list[str], data: st.DataObject) -> None:
    """One device edits or removes some lines, the other edits or removes different ones; both also insert."""
    base = [f"{n}{line}" for n, line in enumerate(lines)]
    joined = "\n".join if kind is kinds.note else tuple
    raw = made(kind, joined(base))
    mine = data.draw(st.sets(st.sampled_from(range(len(base)))))
    keep = {n for n in range(len(base)) if data.draw(st.booleans())}
    want: dict[str, list[str]] = {"ann": [], "bob": []}
    for n, line in enumerate(base):
        for who, others in (("ann", n not in mine), ("bob", n in mine)):
            if others:
                want[who].append(line)
            elif n in keep:
                want[who].append(f"{line} by {who}")
    want["ann"] += ["from ann"]
    want["bob"] += ["from bob"]
    one, other = (write(kind, raw, joined(want[who]), who) for who in ("ann", "bob"))
    for both in (merge(raw, one, other), merge(raw, other, one)):
        shown = [each.value for each in kind.elements("f", both)]
        expected = [f"{b} by {'ann' if n in mine else 'bob'}" for n, b in enumerate(base) if n in keep]
        assert sorted(shown) == sorted([*expected, "from ann", "from bob"])
        ours = [line for line in shown if not line.startswith("from")]
        assert ours == sorted(ours, key=lambda line: int(line.split()[0].rstrip("abcd")))


@MANY
@given(st.sampled_from([kinds.note, LISTED]), LINES, LINES, LINES)
def test_what_the_caller_did_not_see_survives(kind: Kind, base: list[str], theirs: list[str], mine: list[str]) -> None:
    joined = "\n".join if kind is kinds.note else tuple
    seen = made(kind, joined(base))
    now = apply(seen, write(kind, seen, joined(theirs), "they"))
    ops = write(kind, now, joined(mine), "me", seen)
    before = {each.id: each.value for each in kind.elements("f", seen)}
    there = {each.id: each.value for each in kind.elements("f", now)}
    after = {each.id: each.value for each in kind.elements("f", apply(now, ops))}
    alone = {each.id: each.value for each in kind.elements("f", apply(seen, write(kind, seen, joined(mine), "me")))}
    for element, value in there.items():
        if element not in before:
            assert after[element] == value, "new to the caller"
        elif value != before[element] and alone.get(element, before[element]) == before[element]:
            assert after[element] == value, "edited meanwhile, and by the caller at most removed"
    for element, value in alone.items():
        if value != before.get(element):
            assert after[element] == value, "what the caller wrote is there"
        elif element not in there:
            assert element not in after, "removed meanwhile and not edited by the caller: stays removed"
    for element in before.keys() - alone.keys():
        if there.get(element) == before[element]:
            assert element not in after, "removed by the caller"


@MANY
@given(LINES, LINES, LINES)
def test_tags_compare_with_what_was_seen(base: list[str], theirs: list[str], mine: list[str]) -> None:
    seen, now = ({f"f/{tag}": True for tag in tags if tag} for tags in (base, theirs))
    after = apply(now, write(kinds.tags, now, [tag for tag in mine if tag], seen=seen))  # type: ignore[arg-type]
    was, there, want = (set(tags) - {""} for tags in (base, theirs, mine))
    assert (kinds.tags.read("f", after) or set()) == (there - (was - want)) | (want - was)


@pytest.mark.parametrize("kind", [kinds.note, LISTED], ids=repr)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_edit_beats_a_concurrent_removal_in_place(kind: Kind, at: int) -> None:
    joined = "\n".join if kind is kinds.note else tuple
    raw = made(kind, joined(["a", "b", "c"]))
    removal = write(kind, raw, joined([line for n, line in enumerate("abc") if n != at]))
    assert list(removal.values()) == [GONE], "the position stays"
    edit = write(kind, raw, joined([line + "!" * (n == at) for n, line in enumerate("abc")]))
    both = merge(raw, removal, edit)
    assert [each.value for each in kind.elements("f", both)] == [line + "!" * (n == at) for n, line in enumerate("abc")]


def test_a_move_keeps_the_id_and_an_edit_elsewhere_follows_it() -> None:
    raw = made(LISTED, ["a", "b", "c", "d"])
    move = write(LISTED, raw, ["d", "a", "b", "c"], "ann")
    assert [split_key(key).sep for key in move] == ["@"]  # type: ignore[union-attr]
    edit = write(LISTED, raw, ["a", "b", "c", "D"], "bob")
    assert LISTED.read("f", merge(raw, move, edit)) == ("D", "a", "b", "c")


def test_a_line_goes_where_it_was_put_beside_one_that_an_edit_brings_back() -> None:
    seen = made(LISTED, ["a", "b", "c"])
    now = apply(seen, write(LISTED, seen, ["a", "c"], "ann"))
    ops = write(LISTED, now, ["a", "B", "x", "y", "c"], "bob", seen)
    assert LISTED.read("f", apply(now, ops)) == ("a", "B", "x", "y", "c")


def test_an_edit_that_is_there_already_is_not_written_again() -> None:
    seen = made(LISTED, ["a", "b"])
    now = apply(seen, write(LISTED, seen, ["A", "b"], "ann"))
    assert write(LISTED, now, ["A", "b"], "bob", seen) == {}


def test_moving_what_was_removed_meanwhile_does_nothing() -> None:
    seen = made(LISTED, ["a", "b", "c"])
    now = apply(seen, write(LISTED, seen, ["a", "b"], "ann"))
    assert write(LISTED, now, ["c", "a", "b"], "bob", seen) == {}


def test_equal_positions_from_two_devices_part_when_something_goes_between() -> None:
    raw = made(LISTED, ["a"])
    both = merge(raw, write(LISTED, raw, ["a", "x"], "ann"), write(LISTED, raw, ["a", "y"], "bob"))
    a, x, y = LISTED.elements("f", both)
    assert x.position == y.position
    ops = write(LISTED, both, ["a", "x", "between", "y"], "eve")
    assert sorted(ops) == ["f/eve0", f"f@{y.id}", "f@eve0"] or set(ops) == {"f/eve0", "f@eve0", f"f@{y.id}"}
    assert LISTED.read("f", apply(both, ops)) == ("a", "x", "between", "y")
    assert a.id == "m0"


# ---- notes ------------------------------------------------------------------------------------------------------
def test_a_new_note_has_its_first_line_in_the_plain_key() -> None:
    assert write(kinds.note, {}, "one line") == {"f": "one line"}
    assert set(write(kinds.note, {}, "a\nb")) == {"f", "f@old", "f/n0", "f@n0"}
    assert write(kinds.note, {}, "") == {"f": ""}


def test_a_note_that_was_emptied_leaves_the_plain_key_alone() -> None:
    raw = made(kinds.note, "a\nb")
    empty = apply(raw, write(kinds.note, raw, None))
    assert kinds.note.read("f", empty) is None
    again = write(kinds.note, empty, "c")
    assert "f" not in again
    assert kinds.note.read("f", apply(empty, again)) == "c"


def test_a_stored_line_with_a_line_break_is_left_until_it_is_edited() -> None:
    raw: dict[str, Scalar] = {"f": "a\nb"}
    assert write(kinds.note, raw, "a\nb") == {}
    assert kinds.note.read("f", apply(raw, write(kinds.note, raw, "a\nB"))) == "a\nB"


def test_a_line_with_the_reserved_id_is_not_a_line() -> None:
    assert kinds.note.read("f", {"f/old": "x"}) is None
    assert not kinds.note.fits(split_key("f/old"), "x")  # type: ignore[arg-type]
    assert LISTED.read("f", {"f/old": "x"}) == ("x",)


def test_small_changes_of_a_long_note_are_small() -> None:
    lines = [f"line {n}" for n in range(1000)]
    raw = made(kinds.note, "\n".join(lines))
    assert len(write(kinds.note, raw, "\n".join([*lines[:500], "changed", *lines[501:]]))) == 1
    assert len(write(kinds.note, raw, "\n".join([*lines[:500], "new", *lines[500:]]))) == 2
    assert len(write(kinds.note, raw, "\n".join([*lines[:500], *lines[501:]]))) == 1
    assert len(write(kinds.note, raw, "\n".join([lines[-1], *lines[:-1]]))) == 1
    assert max(len(str(v)) for k, v in raw.items() if "@" in k) == 2


@pytest.mark.parametrize("where", ["front", "middle", "back"])
def test_positions_stay_bounded_however_long_one_types_at_one_place(where: str) -> None:
    want = ["first", "last"]
    raw = made(LISTED, want)
    fresh = counting_ids("t")
    for n in range(700):
        at = {"front": 0, "middle": 1, "back": len(want)}[where]
        want.insert(at, f"{n}")
        raw = apply(raw, LISTED.write("f", raw, want, seen=None, new_id=fresh))
    assert LISTED.read("f", raw) == tuple(want)
    assert max(len(str(v)) for k, v in raw.items() if "@" in k) <= MAX_POSITION_CHARS


# ---- ids --------------------------------------------------------------------------------------------------------
def test_new_ids_are_none_in_use_and_none_of_removed_elements() -> None:
    raw = made(LISTED, ["a", "b"])
    raw = apply(raw, write(LISTED, raw, ["a"]))
    ids = iter(["m0", "m1", "old", "fresh"])
    ops = LISTED.write("f", raw, ["a", "c"], seen=None, new_id=lambda: next(ids))
    assert "f/fresh" in ops
    for bad in ("", "a/b", "x" * 33, "m0"):
        with pytest.raises(ValueError):
            LISTED.write("f", raw, ["a", "c"], seen=None, new_id=lambda bad=bad: bad)


def test_a_slot_takes_the_first_new_item() -> None:
    ops = LISTED.write("f", {}, ["a", "b"], seen=None, new_id=counting_ids(), first_id="old")
    assert ops["f/old"] == "a"
    assert ops["f/n0"] == "b"


def test_other_fields_are_not_looked_at() -> None:
    raw: dict[str, Scalar] = {"ff/x": "no", "f_": "no", "g/x": "no", "f/x": "yes"}
    assert LISTED.read("f", raw) == ("yes",)
    assert all(owner(key) == "f" for key in write(LISTED, raw, ["z", "yes"]))

"""The laws of every constructor, on values that its fields can hold; and how computed values are spelt as cells."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import vaultsync as vs
from vaultsync.errors import SchemaError
from vaultsync.schema.cells import GONE, split_key
from vaultsync.schema.kind import KindMismatch
from vaultsync.schema.lenses import Lens
from vaultsync.schema.spelling import applied, checked, digest, element_id, respell, spell, written
from vaultsync.schema.types import Field
from vaultsync.testing.strategies import KINDS, counting_ids, values_for

MANY = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "200")), deadline=None)
PARTS = st.text("ab ,", max_size=6)
WORD = st.text("abc", min_size=1, max_size=4)


def some(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def lawful(lens: Lens, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    assert lens.back(lens.get(old)) == old
    assert lens.back(lens.put(new, old)) == old
    assert lens.put(new, lens.back(new)) == new


@MANY
@given(st.none() | PARTS, *[st.none() | PARTS] * 3)
def test_split(text: str | None, a: str | None, b: str | None, c: str | None) -> None:
    for names, lens in (("ab", vs.split("t", [*"ab"])), ("abc", vs.split("t", [*"abc"], sep=", "))):
        lawful(lens, some(t=text), some(**dict(zip(names, (a, b, c), strict=False))))


def test_split_keeps_the_parts_that_an_older_edit_left() -> None:
    lens = vs.split("name", ["first", "last"])
    now = {"first": "Anna Maria", "last": "Lee"}
    assert lens.get({"name": "Ann Lee"}) == {"first": "Ann", "last": "Lee"}
    assert lens.put(now, {"name": "Anna Maria von Lee"}) == {"first": "Anna Maria", "last": "von Lee"}
    assert lens.put(now, {"name": "Eve Lee"}) == {"first": "Eve", "last": "Lee"}
    assert lens.put({"first": "Ann"}, {"name": "Ann Lee"}) == {"first": "Ann", "last": "Lee"}
    assert lens.put(now, {"name": "Eve Smith Lee Jones"}) == {"first": "Eve", "last": "Smith Lee Jones"}
    assert lens.put(now, {}) == {}
    three = vs.split("name", ["first", "middle", "last"])
    assert three.put({"first": "A", "middle": "B", "last": "C"}, {"name": "A x y C"}) == {
        "first": "A",
        "middle": "x y",
        "last": "C",
    }


@MANY
@given(st.none() | WORD, st.none() | WORD, st.none() | PARTS)
def test_join(a: str | None, b: str | None, text: str | None) -> None:
    lens = vs.join(["a", "b"], "t")
    old, new = some(a=a, b=b), some(t=text)
    assert lens.back(lens.get(old)) == old
    assert lens.back(lens.put(new, old)) == old
    assert lens.put(new, lens.back(new)) == new
    assert vs.join(["last", "first"], "name").get({"last": "Lee", "first": "Ann"}) == {"name": "Lee, Ann"}
    assert vs.join(["last", "first"], "name").get({"first": "Ann"}) == {"name": ", Ann"}


@MANY
@given(st.none() | PARTS, st.none() | st.lists(PARTS, max_size=3).map(tuple))
def test_wrap(old: str | None, new: tuple[str, ...] | None) -> None:
    lens = vs.wrap("a", "l")
    before, after = some(a=old), some(l=new or None)
    assert lens.back(lens.get(before)) == before
    assert lens.put(after, lens.back(after)) == after
    assume(old is not None or not new or len(new) < 2)  # an empty slot is not seen among values
    assert lens.back(lens.put(after, before)) == before


@MANY
@given(st.none() | st.integers(-99, 99), st.none() | st.integers(-99, 99).map(str))
def test_convert(old: int | None, new: str | None) -> None:
    lens = vs.convert("a", "b", get=str, back=int)
    assert lens.form == "alias"
    lawful(lens, some(a=old), some(b=new))
    lossy = vs.convert("a", "b", get=float, back=round, lossy=True)
    assert lossy.form == "mirror"
    lawful(lossy, some(a=old), some(b=None if new is None else int(new) + 0.25))


def test_convert_brings_an_older_edit_in() -> None:
    lens = vs.convert("whole", "exact", get=float, back=round, put=lambda now, old: old + now - round(now), lossy=True)
    assert lens.put({"exact": 2.25}, {"whole": 7}) == {"exact": 7.25}
    assert lens.put({}, {"whole": 7}) == {"exact": 7.0}
    assert lens.put({"exact": 2.25}, {}) == {}


@MANY
@given(st.lists(st.text("abc", max_size=3), max_size=4))
def test_map_values(values: list[str]) -> None:
    for made in (tuple(values), frozenset(values), "\n".join(values)):
        lens = vs.map_values("a", "b", get=str.upper, back=str.lower)
        lawful(lens, {"a": made}, {"b": lens.get({"a": made})["b"]})
        lossy = vs.map_values("a", "b", get=lambda v: v + "!", back=lambda v: v[:-1], lossy=True)
        assert (lens.form, lossy.form) == ("alias", "mirror")
        assert lossy.back(lossy.get({"a": made})) == {"a": made}


@MANY
@given(st.data(), st.sampled_from(KINDS))
def test_rename(data: st.DataObject, kind: Any) -> None:
    value, other = data.draw(st.none() | values_for(kind)), data.draw(values_for(kind))
    lawful(vs.rename("a", "b"), some(a=value), some(b=other))


def test_user_defined() -> None:
    lens = vs.lens(
        ["width", "height"],
        "size",
        get=lambda o: {"size": f"{o.get('width', 0)}x{o.get('height', 0)}"} if o else {},
        back=lambda n: {k: int(v) for k, v in zip(("width", "height"), n["size"].split("x"), strict=True)} if n else {},
    )
    lawful(lens, {"width": 2, "height": 3}, {"size": "4x5"})
    assert lens.put({"size": "4x5"}, {"width": 4, "height": 6}) == {"size": "4x6"}
    assert lens.rule.startswith("lens:")
    with pytest.raises(SchemaError, match="functions"):
        vs.lens("a", "b", get=1, back=str)  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="lossy=True"):
        vs.convert("a", "b", get=str, back=int, put=max)
    for make in (lambda: vs.split("a", ["b"]), lambda: vs.split("a", ["b", "c"], sep=""), lambda: vs.join(["a"], "b")):
        with pytest.raises(SchemaError):
            make()


# ---- spelling ---------------------------------------------------------------------------------------------------
def shown(kind: Any, value: Any) -> Any:
    """A value as it reads once it is stored."""
    made = kind.check(value)
    return None if made in ((), frozenset()) else made


@MANY
@given(st.data(), st.sampled_from([kind for kind in KINDS if kind.name != "file"]))
def test_spelling_is_read_as_what_was_spelt(data: st.DataObject, kind: Any) -> None:
    value = shown(kind, data.draw(values_for(kind)))
    cells = spell(kind, "f", value)
    assert kind.read("f", cells) == value
    assert cells == spell(kind, "f", value)
    assert all(kind.fits(split_key(key), v) for key, v in cells.items())
    other = shown(kind, data.draw(st.none() | values_for(kind)))
    again = respell(kind, "f", cells, other)
    assert kind.read("f", again) == other
    assert respell(kind, "f", again, other) == again
    mine = applied({}, kind.write("f", {}, value, seen=None, new_id=counting_ids()))
    assert kind.read("f", respell(kind, "f", mine, other)) == other


def test_computed_elements_keep_their_ids_and_places() -> None:
    kind = vs.items(vs.text)
    two, three = spell(kind, "l", ("a", "b")), spell(kind, "l", ("a", "b", "c"))
    assert two.items() <= three.items()  # one more at the end leaves the others alone
    first = spell(kind, "l", ("x", "a", "b"))
    ids = {key for key in two if "/" in key}
    assert ids <= first.keys()  # so does one before them, but for their places
    assert len({key for key in spell(kind, "l", ("a", "a", "a")) if "/" in key}) == 3
    assert spell(vs.note, "n", "one\ntwo")["n"] == "one"
    appended = applied(two, written(kind, "l", two, ("a", "b", "c")))
    assert appended == three  # what a person adds is spelt as a lens would
    many = spell(kind, "l", tuple(map(str, range(2000))))
    assert kind.read("l", many) == tuple(map(str, range(2000)))
    assert max(len(v) for k, v in many.items() if "@" in k) <= 3
    gone = {**two, "l@" + element_id("c", 0): "W"}
    again = written(kind, "l", gone, ("a", "b", "c"))
    assert "l/" + element_id("c", 1) in again  # the place of a removed one is not taken
    assert GONE not in again.values()


def test_digests_tell_values_apart_and_nothing_else() -> None:
    name, tags, list_ = Field("name", vs.text), Field("t", vs.tags), Field("l", vs.items(vs.instant))
    when = datetime(2026, 1, 2, tzinfo=UTC)
    fields = (name, tags, list_)
    one = digest(fields, {"name": "a", "t": frozenset("xy"), "l": (when,)})
    assert len(one) == 32
    assert one == digest(fields, {"t": frozenset("yx"), "l": (when,), "name": "a"})
    assert one != digest(fields, {"name": "a", "t": frozenset("xy")})
    assert digest((name,), {}) != digest((name,), {"name": ""})
    assert digest((name,), {"name": "a"}) == sha256(b'["a"]').hexdigest()[:32]


def test_what_a_lens_returns_is_checked() -> None:
    fields = (Field("n", vs.number), Field("t", vs.tags))
    assert checked(fields, {"n": 2.0, "t": ["b", "b"]}) == {"n": 2, "t": frozenset("b")}
    assert checked(fields, {"n": None, "t": set()}) == {}
    for wrong in ({"n": "2"}, {"x": 1}, [("n", 1)], {"t": vs.add("b")}, None, {"n": float("nan")}):
        with pytest.raises(KindMismatch):
            checked(fields, wrong)

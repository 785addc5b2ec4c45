"""``check_lens`` finds what is wrong with a lens and accuses none that is right."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import strategies as st

import vaultsync as vs
from vaultsync.errors import UsageError
from vaultsync.schema.lenses import Lens
from vaultsync.schema.types import Field
from vaultsync.testing.lenses import LensBroken, check_lens

TEXT = [Field("a", vs.text), Field("b", vs.text), Field("c", vs.text)]
LIST = [Field("a", vs.text), Field("l", vs.items(vs.text)), Field("n", vs.number), Field("t", vs.tags)]
WORD = st.text("abc", min_size=1, max_size=3)
COPY: dict[str, Any] = {"get": lambda o: {"b": o["a"]} if o else {}, "back": lambda n: {"a": n["b"]} if n else {}}
numbers = count()

GOOD: dict[str, tuple[Lens, list[Field], dict[str, Any]]] = {
    "rename": (vs.rename("a", "b"), TEXT, {}),
    "split": (vs.split("a", ["b", "c"]), TEXT, {}),
    "join of words": (vs.join(["a", "b"], "c"), TEXT, {"old": {"a": WORD, "b": WORD}}),
    "wrap": (vs.wrap("a", "l"), LIST, {}),
    "convert": (
        vs.convert("a", "n", get=int, back=str),
        LIST,
        {"old": {"a": st.integers(-99, 99).map(str)}, "new": {"n": st.integers(-99, 99)}},
    ),
}
BAD: dict[str, tuple[Lens, list[Field], str]] = {
    "raises": (vs.convert("a", "n", get=int, back=str), LIST, r"get\(\{'a': ''\}\) raises ValueError"),
    "join that cannot be undone": (vs.join(["a", "b"], "c"), TEXT, "older devices would see another value"),
    "lossy back": (vs.convert("a", "b", get=str.upper, back=str.lower), TEXT, "older devices would see another value"),
    "alias that is no bijection": (
        vs.convert("a", "b", get=lambda v: v + "!", back=lambda v: v.removesuffix("!")),
        TEXT,
        "stored in its older form only, which loses something",
    ),
    "put that ignores the older value": (
        vs.lens("a", "b", **{**COPY, "put": lambda n, o: n}),
        TEXT,
        "an older edit would be lost",
    ),
    "put that changes what nobody edited": (
        vs.lens(
            "a",
            "l",
            get=lambda o: {"l": (o["a"],)} if o else {},
            back=lambda n: {"a": n["l"][0]} if n else {},
            put=lambda n, o: {"l": (o["a"],)} if o else {},
        ),
        LIST,
        "what nobody edited would change",
    ),
    "another answer every time": (
        vs.lens(
            "a",
            "b",
            get=lambda o: {"b": f"{o['a']}~{next(numbers)}"} if o else {},
            back=lambda n: {"a": n["b"].rpartition("~")[0]} if n else {},
        ),
        TEXT,
        "asked again.*devices would not agree",
    ),
    "another kind": (
        vs.lens("a", "t", get=lambda o: {"t": o.get("a")}, back=lambda n: {}),
        LIST,
        "does not fit: expected tags, not text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_lens_is_not_accused(name: str) -> None:
    lens, fields, more = GOOD[name]
    check_lens(lens, fields, **more)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_lens_is_found_out_with_a_story(name: str) -> None:
    lens, fields, story = BAD[name]
    with pytest.raises(LensBroken, match=story) as caught:
        check_lens(lens, fields)
    assert lens.ends in str(caught.value)
    assert len(str(caught.value)) < 300  # shrunk


def test_fields_come_from_a_schema_too() -> None:
    kind = vs.EntryType("t", fields=[Field("a", vs.text, until=2), Field("b", vs.text, since=2)])
    schema = vs.Schema("s", version=2, platform="web", types=[kind])
    check_lens(vs.rename("a", "b"), schema)
    with pytest.raises(UsageError, match="names a field 'zzz'"):
        check_lens(vs.rename("a", "zzz"), schema)

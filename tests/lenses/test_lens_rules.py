"""What a declaration of lenses and conversions must fulfil, each rule by the sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import vaultsync as vs
from vaultsync.errors import SchemaError
from vaultsync.schema.types import EntryType, Field, Schema


def declared(old: Any, new: Any, lens: Any, **more: Any) -> Schema:
    fields = [Field("a", old, until=2), Field("b", new, since=2, **more)]
    return Schema("s", version=2, platform="web", types=[EntryType("t", fields=fields, lenses=[lens])])


def same(value: Any) -> Any:
    return value


def nothing(values: Any) -> dict[str, Any]:
    return {}


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "rename to another kind": (
        lambda: declared(vs.text, vs.number, vs.rename("a", "b", since=2)),
        "type 't', lens a -> b: a renamed field keeps its kind: text is not stored as number is",
    ),
    "rename a note to a text": (lambda: declared(vs.note, vs.text, vs.rename("a", "b", since=2)), "keeps its kind"),
    "convert a list": (
        lambda: declared(vs.tags, vs.tags, vs.convert("a", "b", get=same, back=same, since=2)),
        "convert changes a whole value; map_values is for",
    ),
    "map a text": (
        lambda: declared(vs.text, vs.text, vs.map_values("a", "b", get=same, back=same, since=2)),
        "map_values is for tags, items and notes",
    ),
    "map tags to items": (
        lambda: declared(vs.tags, vs.items(vs.text), vs.map_values("a", "b", get=same, back=same, since=2)),
        "not stored in the same shape: say lossy=True",
    ),
    "convert a file": (
        lambda: declared(vs.file, vs.text, vs.convert("a", "b", get=same, back=same, since=2)),
        "an attachment can only be renamed",
    ),
    "mirror a file": (
        lambda: declared(vs.file, vs.text, vs.lens("a", "b", get=nothing, back=nothing, since=2)),
        "an attachment can only be renamed",
    ),
    "wrap into another kind": (
        lambda: declared(vs.text, vs.items(vs.number), vs.wrap("a", "b", since=2)),
        r"a slot's target is items\(text\)",
    ),
    "critical alias": (
        lambda: declared(vs.text, vs.text, vs.rename("a", "b", since=2), critical="write"),
        "critical has no effect on an alias",
    ),
    "other platforms": (
        lambda: declared(vs.text, vs.text, vs.rename("a", "b", since=2), platforms={"ios"}),
        "both ends are on the same platforms",
    ),
    "no version": (lambda: declared(vs.text, vs.text, vs.rename("a", "b")), "retired exactly where the lens begins"),
    "converted into a field that is not there yet": (lambda: converting(since=4), "begins in version 4, not in 3"),
    "converted into a field that was there before": (lambda: converting(since=2), "begins in version 2, not in 3"),
    "converted into a field that is gone": (
        lambda: converting(since=2, until=3),
        "is retired when the conversion begins",
    ),
    "functions": (lambda: vs.convert("a", "b", get=None, back=str), "get, back and put are functions"),  # type: ignore[arg-type]
    "name": (lambda: vs.rename("A", "b"), "connects one or more old fields"),
}


def converting(**more: Any) -> Schema:
    old = EntryType(
        "old", fields=[Field("x", vs.text)], until=3, converts=vs.Convert("new", [vs.rename("x", "y")], keep_old=True)
    )
    new = EntryType("new", fields=[Field("y", vs.text, **more)], since=2)
    return Schema("s", version=5, platform="web", types=[old, new])


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_lens_is_refused(name: str) -> None:
    make, sentence = WRONG[name]
    with pytest.raises(SchemaError, match=sentence):
        make()


def test_what_is_right_is_accepted() -> None:
    assert declared(vs.text, vs.secret, vs.rename("a", "b", since=2))  # stored alike: what was shown is masked now
    assert declared(vs.items(vs.secret), vs.items(vs.text), vs.rename("a", "b", since=2))
    assert declared(vs.file, vs.file, vs.rename("a", "b", since=2))
    assert declared(vs.number, vs.text, vs.convert("a", "b", get=str, back=int, since=2))
    assert declared(vs.tags, vs.items(vs.text), vs.lens("a", "b", get=nothing, back=nothing, since=2))
    assert declared(vs.text, vs.items(vs.text), vs.wrap("a", "b", since=2), critical="read")
    assert converting(since=3)


def test_functions_are_part_of_what_evaluates_though_not_of_the_digest() -> None:
    """Two declarations that differ in nothing but a lambda have one digest: what is derived must not be shared."""
    from vaultsync.view.context import Context
    from vaultsync.view.entry import evaluate

    loud, low = (
        declared(vs.text, vs.text, vs.convert("a", "b", get=get, back=back, since=2))
        for get, back in ((lambda v: v + "!", lambda v: v[:-1]), (lambda v: v + "?", lambda v: v[:-1]))
    )
    raw = {"$type": "t", "$schema/t/1": True, "a": "x"}
    assert evaluate("e", raw, loud, Context())["b"] == "x!"
    assert evaluate("e", raw, low, Context())["b"] == "x?"

"""Strategies for this folder: timelines of types, entries as stored (plausible, strange and hostile), edits of them.

Field names carry their kind for all time, as they must: every schema drawn here obeys that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from vaultsync.schema.cells import GONE, canonical_json
from vaultsync.schema.kinds import items, note, number, secret, tags, text
from vaultsync.schema.lenses import Convert
from vaultsync.schema.types import EntryType, Field, Schema

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "40"))
SOME = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(SOME, max_examples=5 * EXAMPLES)

KINDS = {"f": text, "g": number, "h": tags, "i": items(text), "n": note, "p": secret}
TYPES = "abcd"
INCARNATIONS = ("aa" * 16, "bb" * 16, "cc" * 16)
LAST = 9


@st.composite
def fields(draw: st.DrawFn, name: str, since: int, until: int | None, places: frozenset[str] | None) -> Field:
    last = (until or LAST + 1) - 1
    begin = draw(st.integers(since, last))
    end = draw(st.none() | st.integers(begin + 1, LAST + 1))
    where = st.none() | st.frozensets(st.sampled_from(sorted(places or {"macos", "ios"})), min_size=1)
    critical = draw(st.sampled_from([None, None, "read", "write"]))
    return Field(name, KINDS[name], since=begin, until=end, platforms=draw(where), critical=critical)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """A timeline of up to four types, some converted into later ones, seen at some version from macOS or iOS."""
    made: list[EntryType] = []
    for name in sorted(draw(st.sets(st.sampled_from(TYPES))), reverse=True):
        since = draw(st.integers(1, 5))
        until = draw(st.none() | st.integers(since + 1, LAST))
        places = draw(st.sampled_from([None, None, None, frozenset({"macos"}), frozenset({"ios"})]))
        names = draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True))
        alive = [t.name for t in made if until and t.since <= until and (t.until is None or t.until > until)]
        target = draw(st.sampled_from(alive)) if alive and draw(st.booleans()) else None
        made.append(
            EntryType(
                name,
                fields=[draw(fields(field, since, until, places)) for field in names],
                since=since,
                until=until,
                platforms=places,
                converts=Convert(target, keep_old=draw(st.booleans())) if target else None,
            )
        )
    version, platform = draw(st.integers(1, LAST)), draw(st.sampled_from(["macos", "ios"]))
    return Schema("world", version=version, platform=platform, types=made, releases={3: "3.0", 9: "9.0 beta"})


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(),
    st.text(max_size=8),
    st.just("x"),
    st.just(True),
)
_VECTORS = st.dictionaries(st.sampled_from(INCARNATIONS), st.integers(0, 5), max_size=3).map(canonical_json)
_MARKS = st.one_of(
    st.tuples(
        st.text(max_size=3),
        st.booleans(),
        st.lists(st.sampled_from("fghinpz"), max_size=3),
        st.dictionaries(
            st.sampled_from(["f", "z", "h/x", "i/1", "i@1", "Q/1"]), st.sampled_from(["v", True, None]), max_size=2
        ),
    ).map(list).map(canonical_json),
    st.sampled_from(
        ['["d",1,["f"],{}]', '["d",false,"f",{}]', '["d",false,[1],{}]', '["d",false,["f"],{"z":[]}]', "[", "{}"]
    ),
)  # fmt: skip
_GARBAGE = st.one_of(
    SCALARS, st.sampled_from(["[" * 5000, "{}", "[1]", '{"aa":true}', '{"aa":-1}', '{"a":1,"a":2}', "9" * 5000])
)


@st.composite
def raws(draw: st.DrawFn) -> dict[str, Any]:
    """One entry as it might be stored, by a well-behaved device of some version or not."""
    raw: dict[str, Any] = {"$type": draw(st.sampled_from([*TYPES, "z"]))}
    for name in draw(st.sets(st.sampled_from([*TYPES, "z"]), max_size=2)):
        raw[f"$face/{name}"] = True
    for name in draw(st.sets(st.sampled_from([*TYPES, "z"]), max_size=3)):
        raw[f"$schema/{name}/{draw(st.integers(1, LAST + 3))}"] = True
    for name in draw(st.sets(st.sampled_from([*KINDS, "z"]), max_size=4)):
        raw |= draw(cells(name))
        if mark := draw(st.sampled_from([None, None, "read", "write"])):
            raw[f"$critical/{name}"] = mark
    for incarnation in draw(st.sets(st.sampled_from(INCARNATIONS), max_size=3)):
        raw[f"$edited/{incarnation}"] = draw(st.integers(0, 5))
    if draw(st.integers(0, 3)) == 0:
        raw[f"$deleted/{draw(st.sampled_from(INCARNATIONS))}"] = draw(_VECTORS)
    if draw(st.integers(0, 3)) == 0:
        raw["$lens/f"] = draw(_MARKS)
    return raw


@st.composite
def cells(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Cells of one field that fit its kind (``z``: a field that nobody here declares)."""
    word, number_ = st.text("ab\n ", max_size=4), st.integers(-9, 9)
    if name == "h":
        return {f"h/{tag}": True for tag in draw(st.sets(st.sampled_from(["x", "y", "a/b", "c@d"]), min_size=1))}
    if name in ("i", "n"):
        found: dict[str, Any] = {}
        for element in draw(st.sets(st.sampled_from(["1", "2", "old"]), min_size=1)):
            found[name if (name, element) == ("n", "old") else f"{name}/{element}"] = draw(word)
            if draw(st.booleans()):
                found[f"{name}@{element}"] = draw(st.sampled_from(["B", "U", "k"]))
        return found
    return {name: draw(number_ if name == "g" else word)}


@st.composite
def hostile_raws(draw: st.DrawFn) -> dict[str, Any]:
    """Anything: keys of every shape with values of every type."""
    raw = draw(raws())
    names = st.sampled_from(
        [*KINDS, "z", "", "$", "$type", "$created", "Q", "f" * 80, "f/", "f@", "h/", "i/!", "i/1", "n/old"]
    )
    marks = st.sampled_from(["$face/", "$schema/", "$edited/", "$deleted/", "$critical/", "$lens/", "$new/"])
    keys = st.one_of(
        names,
        st.text(max_size=6),
        st.builds(str.__add__, marks, st.sampled_from(["a", "f", "a/1", "a/x", "a/0", "aa" * 16, "", "/", "A"])),
        st.builds("{}{}{}".format, st.sampled_from(sorted(KINDS)), st.sampled_from("/@"), st.text(max_size=4)),
    )  # fmt: skip
    raw |= draw(st.dictionaries(keys, _GARBAGE, max_size=5))
    for key in draw(st.lists(st.sampled_from(sorted(raw)), max_size=2)):
        raw[key] = draw(_GARBAGE)
    return raw


def new_ids() -> Callable[[], str]:
    """Element ids that never repeat."""
    numbers = count(1)
    return lambda: f"e{next(numbers)}"


def values(field: Field) -> st.SearchStrategy[Any]:
    """Something to write into a field, None to clear it."""
    word = st.text("ab ", max_size=3)
    some: dict[str, st.SearchStrategy[Any]] = {
        "g": st.integers(-9, 9),
        "h": st.frozensets(st.sampled_from(["x", "y", "z"])),
        "i": st.lists(word, max_size=3),
        "n": st.text("ab\n", max_size=5),
    }
    return st.none() | some.get(field.name, word)


def applied(raw: Mapping[str, Any], ops: Mapping[str, Any]) -> dict[str, Any]:
    """The entry after these operations."""
    return {key: value for key, value in {**raw, **ops}.items() if value is not GONE}


def merged(base: Mapping[str, Any], *branches: Mapping[str, Any]) -> dict[str, Any]:
    """What the document makes of concurrent operations, cell by cell: the later branch wins, a deletion never does."""
    result = dict(base)
    gone = {key for ops in branches for key, value in ops.items() if value is GONE}
    put = {key: value for ops in branches for key, value in ops.items() if value is not GONE}
    return {key: value for key, value in {**result, **put}.items() if key in put or key not in gone}

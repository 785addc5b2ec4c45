"""Hypothesis strategies for what this package speaks in: scalars, cells, kinds, values and whole schema timelines.

Small alphabets on purpose: two draws should often collide, since collisions are where merging goes wrong. The
strategies grow with every feature, and an application's own test suite may use them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

from hypothesis import strategies as st

from vaultsync.schema import kinds
from vaultsync.schema.cells import Scalar
from vaultsync.schema.kinds import FileRef, Kind
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import invention

__all__ = [
    "KINDS",
    "PLATFORMS",
    "cells_for",
    "counting_ids",
    "places",
    "positions",
    "scalars",
    "schemas",
    "values_for",
    "values_of",
]

KINDS: tuple[Kind, ...] = (*invention.KINDS, kinds.items(kinds.flag), kinds.items(kinds.instant))
"""Every kind there is."""

PLATFORMS: tuple[str, ...] = ("linux", "macos")
"""The platforms that generated schemas speak of."""


def counting_ids(prefix: str = "n") -> Callable[[], str]:
    """Ids for new elements: n0, n1, … A prefix for each device keeps them apart, as random ids would."""
    counter = count()
    return lambda: f"{prefix}{next(counter)}"


# ---- values -----------------------------------------------------------------------------------------------------
_words = st.text("ab /@é", max_size=4) | st.text(max_size=6)
_small = st.sampled_from(["", "a", "b", "a b", "é", "c/d"])
_texts = _small | _words
_integers = st.integers(-3, 3) | st.integers(-(2**54), 2**54)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-9))])
_instants = st.builds(
    lambda naive, zone: naive.replace(tzinfo=zone),
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),
    _zones,
)
_hexes = st.text("0123456789abcdef", min_size=1, max_size=32)
_files = st.builds(FileRef, _hexes, _texts, st.integers(0, 2**40), _hexes, _texts)
_tags = st.sampled_from(["work", "home", "a/b", "a@b", "é", "e\u0301", " padded "]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5
).filter(lambda tag: bool(unicodedata.normalize("NFC", tag).strip()))
_lines = st.lists(st.sampled_from(["", "a", "b", "c", "a b", "é\r"]), max_size=7).map("\n".join) | _texts


def values_for(kind: Kind) -> st.SearchStrategy[Any]:
    """Values that a field of this kind accepts; collections may be empty, nothing is None."""
    scalar: dict[str, st.SearchStrategy[Any]] = {
        "text": _texts,
        "secret": _texts,
        "note": _lines,
        "number": _integers | _floats,
        "flag": st.booleans(),
        "instant": _instants,
        "tags": st.frozensets(_tags, max_size=4),
        "file": _files,
    }
    if isinstance(kind, kinds.ItemsKind):
        each = _small if kind.inner.name in ("text", "secret") else scalar[kind.inner.name]
        return st.lists(each | scalar[kind.inner.name], max_size=6).map(tuple)
    return scalar[kind.name]


def scalars() -> st.SearchStrategy[Scalar]:
    """Anything that a cell can hold, whoever wrote it."""
    return st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | _texts


def positions() -> st.SearchStrategy[str]:
    """Positions, mostly near each other: equal ones, prefixes of others, with zeros at their ends."""
    return st.text("0UVz1", min_size=1, max_size=4) | st.sampled_from(["U", "V", "k"])


@st.composite
def cells_for(draw: st.DrawFn, kind: Kind, name: str = "f") -> dict[str, Scalar]:
    """Cells of field ``name``: written by the kind itself, then possibly spoilt by somebody hostile."""
    cells: dict[str, Any] = {}
    if draw(st.booleans()):
        wanted = draw(values_for(kind))
        cells.update(kind.write(name, {}, wanted, seen=None, new_id=counting_ids("c")))
    element = st.sampled_from(["old", "c0", "c1", "c2", "x", "y", "", "a b", "work", "a/b"])
    for _ in range(draw(st.integers(0, 4))):
        form = draw(st.sampled_from(["", "/", "@"]))
        key = name + (form + draw(element) if form else "")
        cells[key] = draw(positions() | scalars() if form == "@" else scalars())
    return cells


# ---- schemas ----------------------------------------------------------------------------------------------------
@st.composite
def _span(draw: st.DrawFn, first: int, last: int) -> tuple[int, int | None]:
    since = draw(st.integers(first, last))
    until = draw(st.none() | st.integers(since + 1, last)) if since < last else None
    return since, until


def _somewhere(platforms: Sequence[str]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.none() | st.frozensets(st.sampled_from(list(platforms)), min_size=1)


@st.composite
def schemas(
    draw: st.DrawFn,
    *,
    max_versions: int = 4,
    max_types: int = 3,
    max_fields: int = 5,
    platforms: Sequence[str] = PLATFORMS,
) -> Schema:
    """A whole timeline at its newest version: types and fields that come and are retired, some on one platform only,
    some critical. The first type and its first field ``title`` are there always and everywhere."""
    last = draw(st.integers(1, max_versions))
    pool: dict[str, Kind] = {"title": kinds.text}
    for i in range(max_fields + 2):
        pool[f"f{i}"] = draw(st.sampled_from(KINDS))
    types = []
    for i in range(draw(st.integers(1, max_types))):
        since, until = (1, None) if i == 0 else draw(_span(1, last))
        where = None if i == 0 else draw(_somewhere(platforms))
        names = draw(
            st.lists(st.sampled_from([name for name in pool if name != "title"]), unique=True, max_size=max_fields)
        )
        fields = [Field("title", kinds.text, since=since, label=draw(st.none() | st.just("Title")))]
        for name in names:
            begins, ends = draw(_span(since, last if until is None else until - 1))
            there = draw(_somewhere(platforms))
            if where is not None and there is not None and not where & there:
                there = None
            critical = draw(st.sampled_from([None, None, None, "write", "read"]))
            fields.append(Field(name, pool[name], since=begins, until=ends, platforms=there, critical=critical))
        types.append(EntryType(f"t{i}", fields=fields, since=since, until=until, platforms=where))
    releases = draw(st.dictionaries(st.integers(1, last), st.sampled_from(["1.0", "2.0"]), max_size=2))
    return Schema("generated", version=last, platform=platforms[0], types=types, releases=releases)


def places(schema: Schema, platforms: Sequence[str] = PLATFORMS) -> st.SearchStrategy[Schema]:
    """The same timeline at any version up to the schema's, on any of the platforms."""
    return st.builds(schema.at, st.integers(1, schema.version), st.sampled_from(list(platforms)))


@st.composite
def values_of(draw: st.DrawFn, schema: Schema, type_name: str) -> dict[str, Any]:
    """Values for some of the fields of a type that can be written at the schema's version and platform."""
    writable = [field for field in schema.fields_here(type_name) if not schema.retired(field)]
    chosen = draw(st.lists(st.sampled_from(writable), unique=True)) if writable else []
    return {field.name: draw(values_for(field.kind)) for field in chosen}

"""One small timeline for each form of lens, with what the histories need to know about them.

Everything a person writes is made of words ``fact~serial``: the fact it is about, and the act that wrote it. So it can
be told at the end which of them are shown, whatever lenses they went through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import vaultsync as vs
from vaultsync.schema.types import EntryType, Field, Schema

TEXT = vs.text
LIST = vs.items(vs.text)


@dataclass(frozen=True)
class Form:
    """``cells[version or type][fact]``: the field that holds a fact. ``lists[version]``: a field whose elements are
    facts. ``joint``: what stands between facts that share a text."""

    name: str
    types: tuple[EntryType, ...]
    start: dict[str, Any]
    cells: dict[Any, dict[str, str]]
    lists: dict[int, str] = field(default_factory=dict)
    mirrored: bool = True

    @property
    def first(self) -> str:
        return self.types[0].name

    def schema(self, version: int) -> Schema:
        return Schema("history", version=99, platform="linux", types=self.types).at(version)


def fields(*names: str, kind: Any = TEXT, since: int = 1, until: int | None = None) -> list[Field]:
    return [Field(name, kind, since=since, until=until) for name in names]


def tagged(old: str, new: str, since: int) -> vs.Lens:  # type: ignore[name-defined]
    """Comma-separated text to tags: a mirror with a set in it."""
    return vs.lens(
        old,
        new,
        get=lambda o: {new: frozenset(o[old].split(","))} if old in o else {},
        back=lambda n: {old: ",".join(sorted(n[new]))} if n.get(new) else {},
        since=since,
        rule="comma tags",
    )


def listed(old: str, new: str, since: int) -> vs.Lens:  # type: ignore[name-defined]
    """Comma-separated text to a list: a mirror with an ordered collection in it."""
    return vs.lens(
        old,
        new,
        get=lambda o: {new: tuple(o[old].split(","))} if old in o else {},
        back=lambda n: {old: ",".join(n[new])} if n.get(new) else {},
        since=since,
        rule="comma list",
    )


SPLIT = Form(
    "split",
    (
        EntryType(
            "p",
            fields=[
                *fields("name", until=2),
                *fields("first", since=2, until=4),
                *fields("last", since=2, until=3),
                *fields("family", since=3),
                *fields("given", "middle", since=4),
            ],
            lenses=[
                vs.split("name", ["first", "last"], since=2),
                vs.rename("last", "family", since=3),
                vs.split("first", ["given", "middle"], since=4),
            ],
        ),
    ),
    {"name": "g~0 f~0"},
    {
        1: {"g": "name", "m": "name", "f": "name"},
        2: {"g": "first", "m": "first", "f": "last"},
        3: {"g": "first", "m": "first", "f": "family"},
        4: {"g": "given", "m": "middle", "f": "family"},
    },
)
JOIN = Form(
    "join",
    (
        EntryType(
            "p",
            fields=[
                *fields("first", "last", until=2),
                *fields("name", since=2, until=3),
                *fields("called", since=3),
            ],
            lenses=[vs.join(["last", "first"], "name", since=2), vs.rename("name", "called", since=3)],
        ),
    ),
    {"first": "g~0", "last": "f~0"},
    {1: {"g": "first", "f": "last"}, 2: {"g": "name", "f": "name"}, 3: {"g": "called", "f": "called"}},
)
OVER = Form(
    "split over a join",
    (
        EntryType(
            "p",
            fields=[
                *fields("first", "last", until=2),
                *fields("name", since=2, until=3),
                *fields("called", since=3, until=4),
                *fields("title", "given", "middle", "family", since=4),
            ],
            lenses=[
                vs.join(["first", "last"], "name", sep=" ", since=2),
                vs.rename("name", "called", since=3),
                vs.split("called", ["title", "given", "middle", "family"], since=4),
            ],
        ),
    ),
    {"first": "s~0", "last": "g~0 m~0 f~0"},
    {
        1: {"s": "first", "g": "last", "m": "last", "f": "last"},
        2: {"s": "name", "g": "name", "m": "name", "f": "name"},
        3: {"s": "called", "g": "called", "m": "called", "f": "called"},
        4: {"s": "title", "g": "given", "m": "middle", "f": "family"},
    },
)
ALIAS = Form(
    "alias",
    (
        EntryType(
            "p",
            fields=[*fields("title", until=2), *fields("heading", since=2, until=3), *fields("head", since=3)],
            lenses=[
                vs.convert("title", "heading", get=str.upper, back=str.lower, since=2),
                vs.rename("heading", "head", since=3),
            ],
        ),
    ),
    {"title": "t~0"},
    {1: {"t": "title"}, 2: {"t": "heading"}, 3: {"t": "head"}},
    mirrored=False,
)
TAGS = Form(
    "tags alias",
    (
        EntryType(
            "p",
            fields=[*fields("tags", kind=vs.tags, until=2), *fields("labels", kind=vs.tags, since=2)],
            lenses=[vs.rename("tags", "labels", since=2)],
        ),
    ),
    {"tags": {"t0"}},
    {},
    {1: "tags", 2: "labels"},
    mirrored=False,
)
MAPPED = Form(
    "items alias",
    (
        EntryType(
            "p",
            fields=[*fields("words", kind=LIST, until=2), *fields("terms", kind=LIST, since=2)],
            lenses=[vs.map_values("words", "terms", get=str.upper, back=str.lower, since=2)],
        ),
    ),
    {"words": ["t0"]},
    {},
    {1: "words", 2: "terms"},
    mirrored=False,
)
TEXTTAGS = Form(
    "tags mirror",
    (
        EntryType(
            "p",
            fields=[
                *fields("line", until=2),
                *fields("tags", kind=vs.tags, since=2, until=3),
                *fields("labels", kind=vs.tags, since=3),
            ],
            lenses=[tagged("line", "tags", 2), vs.rename("tags", "labels", since=3)],
        ),
    ),
    {"line": "t0"},
    {1: {}},
    {1: "line", 2: "tags", 3: "labels"},
)
TEXTITEMS = Form(
    "items mirror",
    (
        EntryType(
            "p",
            fields=[
                *fields("line", until=2),
                *fields("parts", kind=LIST, since=2, until=3),
                *fields("pieces", kind=LIST, since=3),
            ],
            lenses=[listed("line", "parts", 2), vs.rename("parts", "pieces", since=3)],
        ),
    ),
    {"line": "t0"},
    {1: {}},
    {1: "line", 2: "parts", 3: "pieces"},
)
SLOT = Form(
    "slot",
    (
        EntryType(
            "p",
            fields=[
                *fields("email", until=2),
                *fields("emails", kind=LIST, since=2, until=3),
                *fields("addresses", kind=LIST, since=3),
            ],
            lenses=[vs.wrap("email", "emails", since=2), vs.rename("emails", "addresses", since=3)],
        ),
    ),
    {"email": "old~0"},
    {1: {"old": "email"}},
    {2: "emails", 3: "addresses"},
    mirrored=False,
)
FORMS = {form.name: form for form in (SPLIT, JOIN, OVER, ALIAS, TAGS, MAPPED, TEXTTAGS, TEXTITEMS, SLOT)}


def conversion(keep_ab: bool, keep_bc: bool) -> Form:
    """A becomes B in version 2, B becomes C in version 3."""
    ab = [vs.rename("ssid", "network"), vs.split("login", ["user", "pwd"])]
    bc = [vs.rename("network", "label"), vs.wrap("user", "users")]
    a = EntryType(
        "a",
        fields=fields("ssid", "login", "notes", "band"),
        until=2,
        converts=vs.Convert("b", ab, keep_old=keep_ab),
    )
    b = EntryType(
        "b",
        fields=fields("network", "user", "pwd", "notes", "security", since=2),
        since=2,
        until=3,
        converts=vs.Convert("c", bc, keep_old=keep_bc),
    )
    c = EntryType(
        "c",
        fields=[*fields("users", kind=LIST, since=3), *fields("label", "pwd", "notes", "security", since=3)],
        since=3,
    )
    return Form(
        "conversion",
        (a, b, c),
        {"ssid": "n~0", "login": "u~0 p~0", "notes": "o~0", "band": "x~0"},
        {
            "a": {"n": "ssid", "u": "login", "p": "login", "o": "notes", "x": "band"},
            "b": {"n": "network", "u": "user", "p": "pwd", "o": "notes", "s": "security"},
            "c": {"n": "label", "u": "users", "p": "pwd", "o": "notes", "s": "security"},
        },
    )


# ---- words ------------------------------------------------------------------------------------------------------
_ORDER = "sgmfupnoxt"


def words(values: Mapping[str, Any]) -> list[str]:
    """Every word that is shown, in small letters."""
    found: list[str] = []
    for value in values.values():
        texts = [value] if isinstance(value, str) else sorted(value)
        found += [word for text in texts for word in re.split(r"[ ,]+", text.lower()) if word]
    return found


def facts(values: Mapping[str, Any]) -> dict[str, str]:
    """Fact -> the word that is shown of it."""
    return {word.split("~")[0]: word for word in words(values)}


def in_order(text: Mapping[str, str]) -> list[str]:
    return [text[fact] for fact in sorted(text, key=lambda fact: (_ORDER.find(fact), fact))]

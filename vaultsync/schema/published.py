"""Published declarations: what each type looked like as of a version, kept in the vault itself.

An older device reads them for labels in its notices ("2 Passkeys need 12.0 or later"); a newer one compares them with
its own timeline and reports drift: somebody edited the past. They are written once, for each version at which the type
changed, under ``"<type>@<n>"``, and come from any device: parsing is bounded before it begins, and whatever is invalid
counts as absent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from vaultsync.errors import SchemaError
from vaultsync.limits import MAX_DECLARATION_BYTES, MAX_DECLARATION_DEPTH, MAX_LABEL_CHARS, MAX_VERSION
from vaultsync.schema.cells import canonical_json, is_name, parse_json
from vaultsync.schema.lenses import Lens
from vaultsync.schema.types import EntryType, Schema

__all__ = [
    "Catalog",
    "Declaration",
    "DeclaredConvert",
    "DeclaredField",
    "DeclaredLens",
    "Drift",
    "changed_at",
    "declaration",
    "declarations",
    "describe",
    "drift",
    "parse",
    "stored_name",
]


# ---- writing ----------------------------------------------------------------------------------------------------
def _lens(lens: Lens) -> dict[str, Any]:
    made: dict[str, Any] = {"form": lens.form, "old": list(lens.old), "new": list(lens.new), "since": lens.since}
    if lens.rule and not lens.guessed:
        made["rule"] = lens.rule if len(lens.rule) <= MAX_LABEL_CHARS else sha256(lens.rule.encode()).hexdigest()
    return made


def _as_of(kind: EntryType, n: int) -> dict[str, Any]:
    """A type as version ``n`` knew it: nothing that came later, not even a retirement."""
    until = kind.until if kind.until is not None and kind.until <= n else None
    made: dict[str, Any] = {
        "type": kind.name,
        "label": kind.label,
        "since": kind.since,
        "until": until,
        "platforms": _sorted(kind.platforms),
        "fields": [
            {
                "name": field.name,
                "kind": field.kind.name,
                "label": field.label,
                "since": field.since,
                "until": field.until if field.until is not None and field.until <= n else None,
                "platforms": _sorted(field.platforms),
                "critical": field.critical,
            }
            for field in sorted(kind.fields, key=lambda field: field.name)
            if field.since <= n
        ],
        "lenses": _lenses(lens for lens in kind.lenses if lens.since is not None and lens.since <= n),
        "converts": None,
    }
    if kind.converts is not None and until is not None:
        rules = _lenses(kind.converts.lenses)
        made["converts"] = {"to": kind.converts.to, "keep_old": kind.converts.keep_old, "lenses": rules}
    return made


def _lenses(lenses: Iterable[Lens]) -> list[dict[str, Any]]:
    return sorted(map(_lens, lenses), key=lambda lens: (lens["since"] or 0, lens["new"]))


def _sorted(platforms: frozenset[str] | None) -> list[str] | None:
    return None if platforms is None else sorted(platforms)


def describe(kind: EntryType) -> dict[str, Any]:
    """Everything about a type over all time, as JSON, for digests: also the order of fields and the rules of lenses."""
    lenses = [*kind.lenses, *(kind.converts.lenses if kind.converts is not None else ())]
    return {
        **_as_of(kind, MAX_VERSION),
        "order": [field.name for field in kind.fields],
        "rules": [lens.rule for lens in lenses],
    }


def changed_at(kind: EntryType) -> tuple[int, ...]:
    """The versions at which a type changed, ascending: there it is published anew."""
    marks = {kind.since, kind.until, *(lens.since for lens in kind.lenses)}
    for field in kind.fields:
        marks |= {field.since, field.until}
    return tuple(sorted(mark for mark in marks if mark is not None))


def stored_name(type_name: str, n: int) -> str:
    """The key of a declaration in the ``schemas`` section."""
    return f"{type_name}@{n}"


def declaration(schema: Schema, type_name: str, n: int) -> str:
    """The canonical JSON that declares a type as of version ``n``.

    Raises ``SchemaError`` when the type is not there in version ``n``, or is too large to be published.
    """
    kind = schema.types.get(type_name)
    if kind is None or n < kind.since:
        raise SchemaError(f"type {type_name!r}: it does not exist in version {n}")
    text = canonical_json(_as_of(kind, n))
    if len(text.encode()) > MAX_DECLARATION_BYTES:
        raise SchemaError(f"type {type_name!r}: its declaration is larger than {MAX_DECLARATION_BYTES >> 10} KiB")
    return text


def declarations(schema: Schema) -> dict[str, str]:
    """All that a device at this schema's version publishes: stored name -> text."""
    return {
        stored_name(kind.name, n): declaration(schema, kind.name, n)
        for kind in schema.types.values()
        for n in changed_at(kind)
        if n <= schema.version
    }


# ---- reading ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class DeclaredField:
    """A field as published; ``kind`` is a name that may be unknown here."""

    name: str
    kind: str
    label: str
    since: int
    until: int | None
    platforms: frozenset[str] | None
    critical: str | None


@dataclass(frozen=True, slots=True)
class DeclaredLens:
    """A lens as published: what it connects, and by which rule, where that was named ("split:,"). ``rule`` is left out
    of comparisons: not every publication has it."""

    form: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    since: int | None
    rule: str | None = dataclasses.field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DeclaredConvert:
    """A conversion as published."""

    to: str
    keep_old: bool
    lenses: tuple[DeclaredLens, ...]


@dataclass(frozen=True, slots=True)
class Declaration:
    """A type as published for one version."""

    type: str
    label: str
    since: int
    until: int | None
    platforms: frozenset[str] | None
    fields: Mapping[str, DeclaredField]
    lenses: tuple[DeclaredLens, ...]
    converts: DeclaredConvert | None


class _Invalid(Exception):
    pass


def _need(good: bool) -> None:
    if not good:
        raise _Invalid


def _name(value: Any) -> str:
    _need(is_name(value))
    return str(value)


def _words(value: Any) -> str:
    _need(isinstance(value, str) and 0 < len(value) <= MAX_LABEL_CHARS)
    return str(value)


def _version(value: Any) -> int:
    _need(type(value) is int and 1 <= value <= MAX_VERSION)
    return int(value)


def _maybe_version(value: Any) -> int | None:
    return None if value is None else _version(value)


def _places(value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    _need(isinstance(value, list) and 0 < len(value) <= 64)
    return frozenset(map(_name, value))  # a newer version may know a platform that this one does not


def _list(value: Any) -> list[Any]:
    _need(isinstance(value, list))
    return list(value)


def _read_field(value: Any) -> DeclaredField:
    _need(isinstance(value, dict))
    critical = value.get("critical")
    _need(critical in (None, "read", "write"))
    return DeclaredField(
        name=_name(value.get("name")),
        kind=_words(value.get("kind")),
        label=_words(value.get("label")),
        since=_version(value.get("since")),
        until=_maybe_version(value.get("until")),
        platforms=_places(value.get("platforms")),
        critical=critical,
    )


def _read_lens(value: Any) -> DeclaredLens:
    _need(isinstance(value, dict))
    return DeclaredLens(
        form=_words(value.get("form")),
        old=tuple(map(_name, _list(value.get("old")))),
        new=tuple(map(_name, _list(value.get("new")))),
        since=_maybe_version(value.get("since")),
        rule=None if value.get("rule") is None else _words(value.get("rule")),
    )


def _read_convert(value: Any) -> DeclaredConvert | None:
    if value is None:
        return None
    _need(isinstance(value, dict))
    keep = value.get("keep_old")
    _need(isinstance(keep, bool))
    return DeclaredConvert(_name(value.get("to")), keep, tuple(map(_read_lens, _list(value.get("lenses")))))


def parse(text: object) -> Declaration | None:
    """A stored declaration, None when it is none. Bounded before parsing; unknown keys are ignored."""
    value = parse_json(text, max_bytes=MAX_DECLARATION_BYTES, max_depth=MAX_DECLARATION_DEPTH)
    if not isinstance(value, dict):
        return None
    try:
        fields = [_read_field(each) for each in _list(value.get("fields"))]
        _need(len({field.name for field in fields}) == len(fields))
        return Declaration(
            type=_name(value.get("type")),
            label=_words(value.get("label")),
            since=_version(value.get("since")),
            until=_maybe_version(value.get("until")),
            platforms=_places(value.get("platforms")),
            fields={field.name: field for field in fields},
            lenses=tuple(map(_read_lens, _list(value.get("lenses")))),
            converts=_read_convert(value.get("converts")),
        )
    except _Invalid:
        return None


def _stored_key(key: str) -> tuple[str, int] | None:
    name, _, number = key.partition("@")
    if not is_name(name) or not (number.isascii() and number.isdigit()) or len(number) > 7 or number[0] == "0":
        return None
    n = int(number)
    return (name, n) if n <= MAX_VERSION else None


def _stored(stored: Mapping[str, Any]) -> dict[tuple[str, int], Declaration]:
    """Every valid declaration under its type and version; one that does not belong under its key counts as absent."""
    found = {}
    for key, text in stored.items():
        place = _stored_key(key)
        declared = parse(text) if place is not None else None
        if place is not None and declared is not None and declared.type == place[0] and declared.since <= place[1]:
            found[place] = declared
    return found


# ---- drift ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Drift:
    """A type that this schema declares otherwise than it was published. ``removed``: something is missing here."""

    type: str
    version: int
    details: tuple[str, ...]
    removed: bool

    def __str__(self) -> str:
        return f"{self.type} as of version {self.version} was published otherwise: {'; '.join(self.details)}"


def drift(schema: Schema, stored: Mapping[str, Any]) -> list[Drift]:
    """Where the published past (versions up to the schema's) differs from its own timeline; labels do not count."""
    found = []
    for (name, n), theirs in sorted(_stored(stored).items(), key=lambda each: each[0]):
        if n > schema.version:
            continue
        kind = schema.types.get(name)
        ours = parse(declaration(schema, name, n)) if kind is not None and kind.since <= n else None
        if kind is None or ours is None:
            found.append(Drift(name, n, (f"type {name} is missing here",), removed=True))
            continue
        details, removed = _differences(ours, theirs)
        if n not in changed_at(kind) and not details:
            details = ["nothing changes here in this version"]
        if details:
            found.append(Drift(name, n, tuple(details), removed))
    return found


def _differences(ours: Declaration, theirs: Declaration) -> tuple[list[str], bool]:
    details, removed = [], False
    for word in ("since", "until", "platforms"):
        details += _unlike("the type", word, getattr(ours, word), getattr(theirs, word))
    for name in sorted(ours.fields.keys() | theirs.fields.keys()):
        here, there = ours.fields.get(name), theirs.fields.get(name)
        if here is None:
            details.append(f"field {name} is missing here")
            removed = True
        elif there is None:
            details.append(f"field {name} was not there")
        else:
            for word in ("kind", "since", "until", "platforms", "critical"):
                details += _unlike(f"field {name}", word, getattr(here, word), getattr(there, word))
    if set(ours.lenses) != set(theirs.lenses):
        details.append("its lenses differ")
    target = theirs.converts.to if theirs.converts is not None else None
    if target is not None and (ours.converts is None or ours.converts.to != target):
        details.append(f"it was converted to {target}: a published conversion never changes its target")
    elif ours.converts != theirs.converts:
        details.append("its conversion differs")
    return details + _other_rules(ours, theirs), removed


def _other_rules(ours: Declaration, theirs: Declaration) -> list[str]:
    """Lenses that connect the same fields by another rule than was published, where both are named."""
    mine, published = (
        {(lens.old, lens.new): lens.rule for lens in (*each.lenses, *(each.converts.lenses if each.converts else ()))}
        for each in (ours, theirs)
    )
    return [
        f"lens {'+'.join(old)} -> {'+'.join(new)}: its rule is {mine[old, new]!r} here, was {rule!r}"
        for (old, new), rule in published.items()
        if rule is not None and mine.get((old, new)) not in (None, rule)
    ]


def _unlike(place: str, word: str, ours: Any, theirs: Any) -> list[str]:
    if ours == theirs:
        return []
    shown = [", ".join(sorted(each)) if isinstance(each, frozenset) else str(each) for each in (ours, theirs)]
    return [f"{place}: {word} is {shown[0]} here, was {shown[1]}"]


# ---- what is unknown here ---------------------------------------------------------------------------------------
class Catalog:
    """What the published declarations say about types and fields, mostly for those that the local schema does not know.

    Built once from the ``schemas`` section; a later version's word about the same thing counts.
    """

    __slots__ = ("_newest", "_versions")

    def __init__(self, stored: Mapping[str, Any]) -> None:
        newest: dict[str, Declaration] = {}
        versions: dict[str, list[int]] = {}
        for (name, n), declared in sorted(_stored(stored).items(), key=lambda each: each[0]):
            newest[name] = declared
            versions.setdefault(name, []).append(n)
        self._newest = newest
        self._versions = versions

    @property
    def types(self) -> tuple[str, ...]:
        """The types that are declared, sorted."""
        return tuple(self._newest)

    def declared(self, type_name: str) -> Declaration | None:
        """The newest declaration of a type."""
        return self._newest.get(type_name)

    def label(self, type_name: str) -> str | None:
        """What people call a type."""
        found = self._newest.get(type_name)
        return None if found is None else found.label

    def since(self, type_name: str) -> int | None:
        """The version that introduced a type."""
        found = self._newest.get(type_name)
        return None if found is None else found.since

    def versions(self, type_name: str) -> tuple[int, ...]:
        """The versions at which a type was published, ascending."""
        return tuple(self._versions.get(type_name, ()))

    def platforms(self, type_name: str) -> frozenset[str] | None:
        """Where a type exists; None: everywhere, or not known."""
        found = self._newest.get(type_name)
        return None if found is None else found.platforms

    def field(self, type_name: str, field_name: str) -> DeclaredField | None:
        """A field of a type (label, since, platforms) as its newest declaration has it."""
        found = self._newest.get(type_name)
        return None if found is None else found.fields.get(field_name)

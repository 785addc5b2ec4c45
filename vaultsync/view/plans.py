"""Reading fields of stored entries without looking at every key: where the fields of one shape stand in one layout is
worked out once, and the entries of a page that have it are read together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from vaultsync.schema.cells import Scalar
from vaultsync.schema.kind import Kind
from vaultsync.schema.kinds import NoteKind, TagsKind
from vaultsync.schema.scalars import FlagKind, ScalarKind, TextKind
from vaultsync.schema.types import Field
from vaultsync.view.decide import Judgement
from vaultsync.view.entry import NO_FIELDS, Fields
from vaultsync.view.pages import Elements, Group, Layout

__all__ = ["NOTHING", "Plan", "Shown", "plan_of"]


class _Step(NamedTuple):
    """Where one field stands in a layout."""

    name: str
    place: int  # of its plain key; -1: there is none
    decode: Callable[[Scalar], Any] | None  # of the plain key's value; None: it is shown as it is stored
    kind: Kind


class Shown(NamedTuple):
    """The names of the fields that are shown of an entry, and which of them are masked. Most entries of a vault have
    one of a few of these."""

    names: tuple[str, ...]
    secret: frozenset[str]

    @classmethod
    def of(cls, fields: Fields) -> Shown:
        return cls(tuple(fields), fields.secret) if fields else NOTHING

    def fields(self, values: Iterable[Any]) -> Fields:
        """The values by these names."""
        return Fields.of(zip(self.names, values, strict=True), self.secret) if self.names else NO_FIELDS


NOTHING: Final = Shown((), frozenset())
_MOST_SETS: Final = 4_096
"""Sets of tags that entries of one plan share."""


class Plan:
    """Where the fields of one shape stand in one layout, when everything that is stored fits."""

    __slots__ = ("_decoded", "_past", "_places", "_secret", "_sets", "_shown", "_tags", "shown")

    def __init__(self, layout: Layout, shown: list[_Step], past: list[_Step], secret: frozenset[str]) -> None:
        self._shown = shown
        self._past = past
        self._secret = secret
        self._sets: dict[tuple[str, ...], frozenset[str]] = {}
        sets = {name: len(layout.keys) + number for number, name in enumerate(layout.sets)}
        columns: list[tuple[str, int, Callable[[Any], Any] | None]] = []
        tags: list[int] = []
        fits = True
        for name, place, decode, kind in shown:
            if name not in sets or not kind.has_elements:
                if place >= 0:
                    columns.append((name, place, decode))
            elif place < 0 and type(kind) is TagsKind:
                columns.append((name, sets[name], None))
                tags.append(len(columns) - 1)
            else:
                fits = False  # elements of another kind that are all True, beside a plain key or not
        names = tuple(name for name, _, _ in columns) if fits else ()
        self.shown = Shown(names, secret) if names else NOTHING
        """Of entries that have no gaps and no other elements (`columns`)."""
        self._places = [place for _, place, _ in columns]
        self._tags = tags
        self._decoded = [(at, decode) for at, (_, _, decode) in enumerate(columns) if decode is not None]

    def read(self, group: Group, place: int) -> tuple[Fields, Fields]:
        """Of one entry: what is shown, and what is only read."""
        past = _values(self._past, group.values(place), group.cells(place)) if self._past else None
        return self.read_shown(group, place), Fields.of(past, self._secret) if past else NO_FIELDS

    def read_shown(self, group: Group, place: int) -> Fields:
        """Of one entry what is shown."""
        found = _values(self._shown, group.values(place), group.cells(place)) if self._shown else None
        return Fields.of(found, self._secret) if found else NO_FIELDS

    def read_all(self, group: Group) -> list[Fields]:
        """Of every entry of a group what is shown."""
        rows = self.columns(group)
        if rows is None:
            return [self.read_shown(group, place) for place in range(len(group.members))]
        made = list(map(self.shown.fields, zip(*rows, strict=True))) if rows else [NO_FIELDS] * len(group.members)
        for place in group.others:
            made[place] = self.read_shown(group, place)
        return made

    def columns(self, group: Group) -> list[list[Any]] | None:
        """Of every entry of a group the values of what is `shown`, a column a field; those of ``group.others`` mean
        nothing. None where entries show more or less than that."""
        if not self._shown:
            return []
        if group.holes or not self.shown.names:
            return None
        columns = [group.columns[place] for place in self._places]
        for at, decode in self._decoded:
            columns[at] = list(map(decode, columns[at]))
            if None in columns[at]:
                return None
        for at in self._tags:
            known = self._sets
            columns[at] = [known.get(tags) or self._set(tags) for tags in map(tuple, columns[at])]
        return columns

    def _set(self, tags: tuple[str, ...]) -> frozenset[str]:
        """Many entries have the same."""
        if len(self._sets) >= _MOST_SETS:
            self._sets.clear()
        made = self._sets[tags] = frozenset(tags)
        return made


def _values(steps: Iterable[_Step], values: Sequence[Any], elements: Elements) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, place, decode, kind in steps:
        if elements and (cells := elements.get(name)) is not None and kind.has_elements:
            if type(kind) is TagsKind:
                at = len(name)  # a position ("@") of a tag means nothing, and is no reason to doubt the rest
                tags = [key[at + 1 :] for key, cell in cells.items() if cell is True and key[at] == "/"]
                value: Any = frozenset(tags) or None
            else:
                value = kind.read(name, {**cells, name: values[place]} if place >= 0 else cells)
        elif place < 0:
            continue
        else:
            value = values[place] if decode is None else decode(values[place])
        if value is not None:
            found[name] = value
    return found


def plan_of(layout: Layout, verdict: Judgement) -> Plan | None:
    """None where lenses compute, or where something stored does not fit its field."""
    shape = verdict.shape
    if not verdict.visible:
        return Plan(layout, [], [], shape.secret)
    if shape.steps or not verdict.unknown.isdisjoint(shape.known):
        return None
    return Plan(layout, _steps(shape.active, layout), _steps(shape.past, layout), shape.secret)


def _steps(fields: Iterable[Field], layout: Layout) -> list[_Step]:
    found = []
    for field in fields:
        kind, place = field.kind, layout.places.get(field.name, -1)
        if isinstance(kind, ScalarKind):
            plain = isinstance(kind, (TextKind, FlagKind))
            if place >= 0:
                found.append(_Step(field.name, place, None if plain else kind.decode, kind))
        else:  # a note's plain key is a line of it; those of other kinds mean nothing
            found.append(_Step(field.name, place if isinstance(kind, NoteKind) else -1, None, kind))
    return found

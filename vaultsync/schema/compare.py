"""What lies between two places on a timeline: two versions, two platforms, or two schemas altogether.

``compare(a, b)`` answers the two questions before a release: what do people get, and what will devices that stay at
``a`` stop seeing of what devices at ``b`` write?
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from vaultsync.schema.lenses import Lens
from vaultsync.schema.types import EntryType, Field, Schema

__all__ = ["Change", "Comparison", "Effect", "FieldChange", "TypeChange", "Unseen", "compare"]


class Change(Enum):
    """What became of a type or field on the way from ``a`` to ``b``."""

    ADDED = "added"
    RETIRED = "retired"
    CONVERTED = "converted"
    """Retired, with a successor that takes over its data: a type by a conversion, a field by a lens."""
    LEFT = "left"
    """There at a, but not at b: another platform, an older version, or taken out of the declaration."""


class Effect(Enum):
    """How a device at ``a`` shows what it cannot show in full."""

    HIDDEN = "hidden"
    LOCKED = "shown, but not editable"
    FLAGGED = "shown as incomplete"
    PARTIAL = "shown in its older form"


@dataclass(frozen=True, slots=True)
class TypeChange:
    """``to``: the type it is converted to; ``keeps_old``: older devices go on reading its entries."""

    change: Change
    type: str
    label: str
    to: str | None = None
    keeps_old: bool = False


@dataclass(frozen=True, slots=True)
class FieldChange:
    """``to``: the fields that a lens puts in its place."""

    change: Change
    type: str
    field: str
    label: str
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unseen:
    """What devices at ``b`` can write and devices at ``a`` do not show in full. ``field`` None: whole entries."""

    effect: Effect
    type: str
    field: str | None
    label: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The way from ``a`` to ``b``; ``str()`` of it is a report for people."""

    a: str
    b: str
    types: tuple[TypeChange, ...]
    fields: tuple[FieldChange, ...]
    unseen: tuple[Unseen, ...]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.types or self.fields or self.unseen)

    def __str__(self) -> str:
        lines = [f"From {self.a} to {self.b}:"]
        for each in self.types:
            successor = "" if each.to is None else f" to {each.to}" + (", still readable as before" * each.keeps_old)
            lines.append(f"  {each.change.value} type {each.type} ({each.label}){successor}")
        for field in self.fields:
            successor = f" to {', '.join(field.to)}" if field.to else ""
            lines.append(f"  {field.change.value} field {field.type}.{field.field} ({field.label}){successor}")
        if len(lines) == 1:
            lines.append("  nothing changes")
        if self.unseen:
            lines.append(f"Of what is written there, a device at {self.a} does not show everything:")
        for unseen in self.unseen:
            what = f"entries of {unseen.type}" if unseen.field is None else f"{unseen.type}.{unseen.field}"
            lines.append(f"  {what} ({unseen.label}): {unseen.effect.value}")
        return "\n".join(lines)


def _place(schema: Schema) -> str:
    return f"{schema.release(schema.version)} on {schema.platform}"


def _live(schema: Schema, thing: EntryType | Field) -> bool:
    return schema.here(thing) and not schema.retired(thing)


def compare(a: Schema, b: Schema) -> Comparison:
    """What ``b`` adds, retires and converts over ``a``, and what devices at ``a`` would stop seeing."""
    return Comparison(
        _place(a),
        _place(b),
        tuple(_types(a, b)),
        tuple(_fields(a, b)),
        tuple(_unseen_types(a, b)) + tuple(_unseen_fields(a, b)),
    )


def _types(a: Schema, b: Schema) -> Iterator[TypeChange]:
    for name in sorted(a.types.keys() | b.types.keys()):
        old, new = a.active(name), b.active(name)
        if old is None and new is not None:
            yield TypeChange(Change.ADDED, name, new.label)
        elif old is not None and new is None:
            kind = b.known(name)
            if kind is None or not b.here(kind):
                yield TypeChange(Change.LEFT, name, old.label)
            elif kind.converts is None:
                yield TypeChange(Change.RETIRED, name, old.label)
            else:
                yield TypeChange(Change.CONVERTED, name, old.label, kind.converts.to, kind.converts.keep_old)


def _both(a: Schema, b: Schema) -> Iterator[tuple[EntryType, EntryType]]:
    for name in sorted(a.types.keys() & b.types.keys()):
        old, new = a.active(name), b.active(name)
        if old is not None and new is not None:
            yield old, new


def _source_of(kind: EntryType, field: str, version: int) -> Lens | None:
    return next((each for each in kind.lenses if field in each.old and each.since and each.since <= version), None)


def _target_of(kind: EntryType, field: str) -> Lens | None:
    return next((each for each in kind.lenses if field in each.new), None)


def _fields(a: Schema, b: Schema) -> Iterator[FieldChange]:
    for old, new in _both(a, b):
        for name in sorted(old.by_name.keys() | new.by_name.keys()):
            was, now = old.field(name), new.field(name)
            before = was is not None and _live(a, was)
            after = now is not None and _live(b, now)
            if not before and after and now is not None:
                yield FieldChange(Change.ADDED, new.name, name, now.label)
            elif before and not after and was is not None:
                if now is None or not b.here(now):
                    yield FieldChange(Change.LEFT, new.name, name, was.label)
                elif lens := _source_of(new, name, b.version):
                    yield FieldChange(Change.CONVERTED, new.name, name, was.label, lens.new)
                else:
                    yield FieldChange(Change.RETIRED, new.name, name, was.label)


def _unseen_types(a: Schema, b: Schema) -> Iterator[Unseen]:
    for name, kind in sorted(b.types.items()):
        at_a = a.known(name)
        if b.active(name) is not None and (at_a is None or not a.here(at_a)):
            yield Unseen(Effect.HIDDEN, name, None, kind.label)
        if a.active(name) is not None and kind.converts is not None and b.known(name) and b.retired(kind):
            readable, target = kind.converts.keep_old, a.known(kind.converts.to)
            if not readable and (target is None or not a.here(target)):
                yield Unseen(Effect.HIDDEN, name, None, kind.label)


def _unseen_fields(a: Schema, b: Schema) -> Iterator[Unseen]:
    for old, new in _both(a, b):
        for field in sorted(new.fields, key=lambda field: field.name):
            at_a = old.field(field.name)
            if not _live(b, field) or (at_a is not None and a.here(at_a)):
                continue
            effect = _effect(field, _covering(field, old, new, a))
            if effect is not None:
                yield Unseen(effect, new.name, field.name, field.label)


def _covering(field: Field, old: EntryType, new: EntryType, a: Schema) -> str | None:
    """The form in which ``a`` sees a field of ``b`` through lenses, None if it does not: the loosest on the way."""
    forms = ["alias"]
    names: tuple[str, ...] = (field.name,)
    while not all((seen := old.field(name)) is not None and a.here(seen) for name in names):
        lenses = {lens for name in names if (lens := _target_of(new, name)) is not None}
        if len(lenses) != 1:
            return None
        lens = lenses.pop()
        forms.append(lens.form)
        names = lens.old
    return max(forms, key=["alias", "slot", "mirror"].index)


def _effect(field: Field, form: str | None) -> Effect | None:
    if form == "alias":
        return None
    if field.critical is not None:
        return Effect.HIDDEN if field.critical == "read" else Effect.LOCKED
    return Effect.FLAGGED if form is None or form == "slot" else Effect.PARTIAL

"""What all new entries of a type have in common, worked out once: imports make a hundred thousand of them.

A `Template` gives the same operations as planning against an empty entry. It covers what is ordinary (no lens reaches
the type, every field is writable here, every value fits) and says so when something is not: who asked then takes the
long way, which also knows how to explain what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vaultsync.schema.cells import Ops
from vaultsync.schema.kind import Kind, KindMismatch
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.decide import shape_of

__all__ = ["Template", "template_of"]


class _Column(NamedTuple):
    """One field: its kind, and what an entry needs besides when it is set."""

    name: str
    kind: Kind
    signs: Ops


class Template:
    """The writable fields of a type whose values are stored as they are shown."""

    __slots__ = ("_columns", "_names")

    def __init__(self, kind: EntryType, fields: tuple[Field, ...]) -> None:
        self._columns = tuple(_Column(field.name, field.kind, signs(kind, field)) for field in fields)
        self._names = frozenset(field.name for field in fields)

    def fill(self, values: Mapping[str, Any], new_id: Callable[[], str]) -> Ops | None:
        """The cells of a new entry with their stamps and marks, in the order of the declaration; ``None`` when a name
        is not writable here or a value does not fit."""
        if not self._names.issuperset(values):
            return None
        cells: Ops = {}
        needed: Ops = {}
        try:
            for name, kind, besides in self._columns:
                value = values.get(name)
                if value is not None and (first := kind.first(name, value, new_id)):
                    cells.update(first)
                    needed.update(besides)
        except KindMismatch:
            return None
        cells.update(needed)
        return cells


def signs(kind: EntryType, field: Field) -> Ops:
    """The stamp that an entry of a type needs for a field, and its critical mark."""
    ops: Ops = {f"$schema/{kind.name}/{max(field.since, kind.since)}": True}
    if field.critical:
        ops[f"$critical/{field.name}"] = field.critical
    return ops


def template_of(schema: Schema, kind: EntryType) -> Template | None:
    """The template of an active type; ``None`` where lenses stand between what is stored and what is shown."""
    made: dict[str, Template | None] = schema.derived.setdefault("templates", {})
    if kind.name not in made:
        shape = shape_of({}, schema, kind.name)
        made[kind.name] = None if shape.steps else Template(kind, shape.active)
    return made[kind.name]

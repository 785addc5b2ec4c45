"""Which fields belong together because lenses connect them, and how closely their values can be followed.

A *family* is everything that a fact can be stored in over time: ``name``, ``first`` and ``last`` of a split. Fields
without lenses are families of one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from vaultsync.schema import kinds
from vaultsync.schema.kinds import ItemsKind
from vaultsync.schema.lenses import Lens
from vaultsync.schema.types import EntryType, Schema
from vaultsync.testing.rehearsal.values import Inventor, Source, words_of
from vaultsync.testing.rehearsal.watch import lenses_of

__all__ = ["Family", "dropped_fields", "families"]

_ORDER = ("plain", "alias", "slot", "mirror")


@dataclass(frozen=True, eq=False)
class Family:
    """``form``: the riskiest form of its lenses, "plain" if there is none. ``opaque``: some lens rewrites texts so that
    words cannot be followed. ``numbers``: no lens rewrites values, so that numbers and instants can be followed."""

    fields: frozenset[str]
    form: str
    lenses: tuple[Lens, ...]
    opaque: bool
    numbers: bool

    @property
    def mirrored(self) -> bool:
        """Whether something of it is stored twice."""
        return self.form == "mirror"

    @property
    def ends(self) -> str:
        """Its lenses, for a story."""
        return "; ".join(lens.ends for lens in self.lenses)

    def __repr__(self) -> str:
        return f"<Family {self.form} {'+'.join(sorted(self.fields))}>"


def families(schema: Schema, values: Mapping[str, Source]) -> dict[str, Family]:
    """Field name -> its family."""
    groups: dict[str, set[str]] = {}
    every = {lens for kind in schema.types.values() for lens in lenses_of(kind)}
    for kind in schema.types.values():
        for field in kind.fields:
            groups.setdefault(field.name, {field.name})
    for lens in every:
        whole = set[str]().union(*(groups[name] for name in (*lens.old, *lens.new)))
        for name in whole:
            groups[name] = whole
    made: dict[int, Family] = {}
    for group in groups.values():
        if id(group) not in made:
            mine = tuple(sorted((lens for lens in every if lens.new[0] in group), key=lambda lens: lens.ends))
            form = max(("plain", *(lens.form for lens in mine)), key=_ORDER.index)
            opaque = any(_rewrites(lens, schema, values) for lens in mine)
            numbers = all(lens.form != "mirror" and lens.each is None for lens in mine)
            made[id(group)] = Family(frozenset(group), form, mine, opaque, numbers)
    return {name: made[id(group)] for name, group in groups.items()}


def _rewrites(lens: Lens, schema: Schema, values: Mapping[str, Source]) -> bool:
    """Whether words do not survive ``get``: tried on some values, whatever else may be wrong with it."""
    kinds_of, inventor = schema.kinds, Inventor(schema, random.Random(0), values)
    for name in (*lens.old, *lens.new):
        inner = kinds_of[name].inner if isinstance(kinds_of[name], ItemsKind) else kinds_of[name]  # type: ignore[attr-defined]
        if inner in (kinds.number, kinds.flag, kinds.instant) and (lens.form == "mirror" or lens.each):
            return True
    kept = lost = 0
    for _ in range(12):
        old = {name: inventor.write(name, kinds_of[name], None) for name in lens.old}
        try:
            new = lens.get({name: value for name, value in old.items() if value is not None})
            before, after = words_of(tuple(old.values())), words_of(tuple(new.values()))
        except Exception:  # noqa: S112 - the histories will say so
            continue
        kept, lost = kept + len(before & after), lost + len(before - after)
    return lost > kept


def dropped_fields(kind: EntryType, schema: Schema) -> dict[str, EntryType]:
    """Fields of a converted type that were in use until its end, and that its target neither has nor gets from a lens:
    converted entries show them as leftovers that nobody can edit. Name -> the target."""
    if kind.converts is None:
        return {}
    target, converts = schema.types[kind.converts.to], kind.converts
    carried = {name for lens in (*converts.lenses, *kind.lenses) for name in lens.old} | target.by_name.keys()
    return {
        field.name: target
        for field in kind.fields
        if field.name not in carried and (field.until is None or field.until >= (kind.until or 0))
    }

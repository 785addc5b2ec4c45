"""Lenses: two-way translations between an older and a newer representation of the same data. Here: only their shape.

A lens is declared beside the fields it connects, on the same timeline. Its functions work on what a person sees (a
scalar, a tuple of items, a frozenset of tags), keyed by field name, fields that are not set left out. Laws::

    back(get(old)) == old        back(put(new, old)) == old        put(new, back(new)) == new        back is total

The form says how the two sides are stored: an ``alias`` under the oldest name only, a ``slot`` as one element of the
newer list, a ``mirror`` as both with a mark. The rules of reading and writing them belong to ``view``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from vaultsync.errors import SchemaError
from vaultsync.schema.cells import is_name

__all__ = ["FORMS", "Convert", "Lens", "Shown"]

FORMS: Final = ("alias", "slot", "mirror")

Shown: TypeAlias = Mapping[str, Any]
"""Field -> value as a person sees it; a field that is not set is absent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lens:
    """One lens. ``since``: the version that introduced it (None inside a conversion: where the conversion begins).
    ``rule`` names how it was made ("rename", "wrap", …) with its arguments: functions cannot be compared, so this is
    what stands for them in a schema's digest; change it when the functions' meaning changes."""

    form: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    since: int | None
    get: Callable[[Shown], Shown]
    put: Callable[[Shown, Shown], Shown]
    back: Callable[[Shown], Shown]
    rule: str = ""

    def __post_init__(self) -> None:
        place = f"lens {'+'.join(self.old)} -> {'+'.join(self.new)}"
        if self.form not in FORMS:
            raise SchemaError(f"{place}: the form is one of {', '.join(FORMS)}")
        names = self.old + self.new
        if not self.old or not self.new or not all(map(is_name, names)) or len(set(names)) != len(names):
            raise SchemaError(f"{place}: it connects one or more old fields with other, new ones, each named once")
        if self.form != "mirror" and len(names) != 2:
            raise SchemaError(f"{place}: only a mirror connects more than one field with another")

    def __repr__(self) -> str:
        return f"<{self.form} {'+'.join(self.old)} -> {'+'.join(self.new)} since {self.since}>"


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Convert:
    """What becomes of the entries of a retired type: they are converted to the type ``to``. ``keep_old``: they stay
    readable as the old type, so that older devices go on showing and editing them in their own terms."""

    to: str
    lenses: tuple[Lens, ...]
    keep_old: bool

    def __init__(self, to: str, lenses: Iterable[Lens] = (), keep_old: bool = False) -> None:
        object.__setattr__(self, "to", to)
        object.__setattr__(self, "lenses", tuple(lenses))
        object.__setattr__(self, "keep_old", bool(keep_old))
        if not is_name(to) or not all(isinstance(lens, Lens) for lens in self.lenses):
            raise SchemaError("a conversion names its target type and lists lenses")

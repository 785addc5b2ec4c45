"""Lenses: two-way translations between an older and a newer representation of the same data.

A lens is declared beside the fields it connects, on the same timeline. Its functions work on what a person sees (a
scalar, a tuple of items, a frozenset of tags, the text of a note), keyed by field name, fields that are not set left
out; ids and positions of items are not seen. Laws::

    back(get(old)) == old        back(put(new, old)) == old        put(new, back(new)) == new        back is total

So the newer side is at least as rich as the older one: a coarser successor is a new field without a lens.

The form says how the two sides are stored, hence what concurrent edits of both can cost:

``alias``    under the oldest name only; the newer one is a way of reading and writing it. Costs nothing.
``slot``     the older value *is* one element of the newer list. Costs nothing.
``mirror``   both, with a mark that tells who wrote last. Costs a little where old devices go on editing.

===============  ======  ==============================================================================================
``rename``       alias   another name, for every kind
``convert``      alias   another spelling of one value, nothing lost either way; with ``lossy=True`` a mirror
``map_values``   alias   the same for every tag, item or line of a collection; with ``lossy=True`` a mirror
``wrap``         slot    one value becomes a list
``split``        mirror  one text becomes several
``join``         mirror  several texts become one
``lens``         mirror  anything else
===============  ======  ==============================================================================================

Functions handed in are the user's: they must be pure (every device computes the same), and are never trusted to be. One
that raises, or breaks a law on what is stored, leaves the older fields visible and read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from vaultsync.errors import SchemaError
from vaultsync.schema.cells import is_name

__all__ = [
    "FORMS",
    "Convert",
    "Each",
    "Lens",
    "Shown",
    "convert",
    "join",
    "lens",
    "map_values",
    "rename",
    "split",
    "wrap",
]

FORMS: Final = ("alias", "slot", "mirror")

Shown: TypeAlias = Mapping[str, Any]
"""Field -> value as a person sees it; a field that is not set is absent."""


@dataclass(frozen=True, slots=True)
class Each:
    """How an alias spells one value otherwise: the value of a scalar field, or each element of a collection."""

    get: Callable[[Any], Any]
    back: Callable[[Any], Any]
    elements: bool = False
    """Whether it is meant for the elements of collections and notes, rather than for scalars."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lens:
    """One lens; the functions of this module make them.

    ``since``: the version that introduced it (None inside a conversion: where the conversion begins). ``each``: what an
    alias does to a value; None: nothing. ``rule`` names how it was made ("rename", "split", …) with its arguments:
    functions cannot be compared, so this is what stands for them in a schema's digest; change it when the functions'
    meaning changes."""

    form: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    since: int | None
    get: Callable[[Shown], Shown]
    put: Callable[[Shown, Shown], Shown]
    back: Callable[[Shown], Shown]
    each: Each | None = None
    rule: str = ""
    guessed: bool = False
    """Whether ``rule`` is made of the functions' names: a refactoring changes it, so it is not published."""

    def __post_init__(self) -> None:
        place = f"lens {self.ends}"
        if self.form not in FORMS:
            raise SchemaError(f"{place}: the form is one of {', '.join(FORMS)}")
        names = self.old + self.new
        if not self.old or not self.new or not all(map(is_name, names)) or len(set(names)) != len(names):
            raise SchemaError(f"{place}: it connects one or more old fields with other, new ones, each named once")
        if self.form != "mirror" and len(names) != 2:
            raise SchemaError(f"{place}: only a mirror connects more than one field with another")
        if not all(map(callable, (self.get, self.put, self.back))):
            raise SchemaError(f"{place}: get, put and back are functions")

    @property
    def ends(self) -> str:
        """``name -> first+last``: what errors and notices call it."""
        return f"{'+'.join(map(str, self.old))} -> {'+'.join(map(str, self.new))}"

    def __repr__(self) -> str:
        return f"<{self.form} {self.ends} since {self.since}>"


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


# ---- aliases ----------------------------------------------------------------------------------------------------
def _alias(old: str, new: str, since: int | None, each: Each | None, rule: str) -> Lens:
    def turned(cells: Shown, source: str, target: str, turn: Callable[[Any], Any] | None) -> Shown:
        if source not in cells:
            return {}
        value = cells[source]
        if turn is None:
            return {target: value}
        if each is None or not each.elements:
            return {target: turn(value)}
        if isinstance(value, str):  # a note
            return {target: "\n".join(turn(line) for line in value.split("\n"))}
        return {target: type(value)(turn(element) for element in value)}

    def get(cells: Shown) -> Shown:
        return turned(cells, old, new, each.get if each else None)

    def back(cells: Shown) -> Shown:
        return turned(cells, new, old, each.back if each else None)

    return Lens(
        form="alias",
        old=_names(old),
        new=_names(new),
        since=since,
        get=get,
        put=lambda _, cells: get(cells),
        back=back,
        each=each,
        rule=rule,
    )


def rename(old: str, new: str, *, since: int | None = None) -> Lens:
    """The same data under another name: an alias, for every kind (also from ``text`` to ``secret`` and the other way
    round, which are stored alike)."""
    return _alias(old, new, since, None, "rename")


def convert(
    old: str,
    new: str,
    *,
    get: Callable[[Any], Any],
    back: Callable[[Any], Any],
    put: Callable[[Any, Any], Any] | None = None,
    lossy: bool = False,
    since: int | None = None,
    rule: str = "",
) -> Lens:
    """Another spelling or kind of one value: ``get(old value) -> new value``, ``back(new value) -> old value``.

    Lossless (``back`` undoes ``get`` and the other way round): an alias between two scalar fields. ``lossy=True``: the
    newer value says more than the older one, so that both are stored: a mirror, between any kinds; ``put(new value, old
    value)`` then brings an older edit into the newer value (None: a value that still fits is kept, else ``get``).
    """
    if not lossy:
        if put is not None:
            raise SchemaError(f"lens {old} -> {new}: a lossless conversion needs no put; say lossy=True if it is none")
        _functions(f"{old} -> {new}", get, back)
        return _named(_alias(old, new, since, Each(get, back), rule), "convert", get, back)
    _functions(f"{old} -> {new}", get, back, *([put] if put else []))
    made = _mirror(
        (old,),
        (new,),
        since,
        lambda cells: {new: get(cells[old])} if old in cells else {},
        lambda cells: {old: back(cells[new])} if new in cells else {},
        None if put is None else (lambda now, cells: _put_value(put, get, old, new, now, cells)),
        rule,
    )
    return _named(made, "convert", get, back, put)


def map_values(
    old: str,
    new: str,
    *,
    get: Callable[[Any], Any],
    back: Callable[[Any], Any],
    lossy: bool = False,
    since: int | None = None,
    rule: str = "",
) -> Lens:
    """Every tag, item or line spelt otherwise: ``get(old element) -> new element``, ``back(new element) -> old``.

    Lossless: an alias; elements keep their ids and places. ``lossy=True``: a mirror.
    """
    _functions(f"{old} -> {new}", get, back)
    made = _alias(old, new, since, Each(get, back, elements=True), rule)
    made = made if not lossy else _mirror((old,), (new,), since, made.get, made.back, None, rule)
    return _named(made, "map_values", get, back)


# ---- slots ------------------------------------------------------------------------------------------------------
def wrap(old: str, new: str, *, since: int | None = None) -> Lens:
    """One value becomes a list of such values: a slot. Older devices show and edit the element that is in the slot,
    which is the first one of an entry that a newer device makes."""

    def get(cells: Shown) -> Shown:
        return {new: (cells[old],)} if old in cells else {}

    def back(cells: Shown) -> Shown:
        return {old: cells[new][0]} if cells.get(new) else {}

    def put(now: Shown, cells: Shown) -> Shown:
        items = (*([cells[old]] if old in cells else []), *now.get(new, ())[1:])
        return {new: items} if items else {}

    return Lens(form="slot", old=_names(old), new=_names(new), since=since, get=get, put=put, back=back, rule="wrap")


# ---- mirrors ----------------------------------------------------------------------------------------------------
def lens(
    old: str | Iterable[str],
    new: str | Iterable[str],
    *,
    get: Callable[[Shown], Shown],
    back: Callable[[Shown], Shown],
    put: Callable[[Shown, Shown], Shown] | None = None,
    since: int | None = None,
    rule: str = "",
) -> Lens:
    """A mirror of your own, over one or several fields on either side.

    The functions take and return mappings of field name to value; fields that are not set are absent.
    ``get(old) -> new``, ``back(new) -> old``, ``put(new, old) -> new``: what the newer fields become when an older
    device has changed the older ones (None: they stay if they still fit, else ``get``). ``rule`` stands for the
    functions in the schema's digest.
    """
    olds, news = _names(old), _names(new)
    _functions(f"{'+'.join(olds)} -> {'+'.join(news)}", get, back, *([put] if put else []))
    return _named(_mirror(olds, news, since, get, back, put, rule), "lens", get, back, put)


def split(old: str, new: Iterable[str], *, sep: str = " ", since: int | None = None) -> Lens:
    """One text becomes several: a mirror. An older edit of one part leaves the others as they are.

    ``"Ann Lee"`` -> ``first="Ann"``, ``last="Lee"``; what has fewer parts fills the first fields, what has more leaves
    the rest to the last one.
    """
    names = _names(new)
    if len(names) < 2 or not sep:
        raise SchemaError(f"lens {old} -> {'+'.join(names)}: a split has two or more new fields and a separator")

    def back(cells: Shown) -> Shown:
        parts = [cells[name] for name in names if name in cells]
        return {old: sep.join(parts)} if parts else {}

    def get(cells: Shown) -> Shown:
        if old not in cells:
            return {}
        parts = cells[old].split(sep, len(names) - 1)
        return dict(zip(names, parts, strict=False)) if all(parts) else {names[0]: cells[old]}

    def put(now: Shown, cells: Shown) -> Shown:
        """Where all parts but one still stand in the text, that one takes what is left; the last is tried first."""
        if back(now) == cells:
            return now
        text: str = cells.get(old, "")
        for k in range(len(names) - 1, -1, -1):
            before, after = names[:k], names[k + 1 :]
            if all(name in now for name in before + after):
                head = "".join(now[name] + sep for name in before)
                tail = "".join(sep + now[name] for name in after)
                if len(text) > len(head) + len(tail) and text.startswith(head) and text.endswith(tail):
                    middle = text[len(head) : len(text) - len(tail)]
                    return {name: middle if name == names[k] else now[name] for name in names}
        return get(cells)

    return _mirror((old,), names, since, get, back, put, f"split:{sep}")


def join(old: Iterable[str], new: str, *, sep: str = ", ", since: int | None = None) -> Lens:
    """Several texts become one: a mirror. ``("last", "first")`` -> ``"Lee, Ann"``.

    What is missing at the end is left out; a first part that is missing leaves its separator. Choose a separator that
    the older texts do not hold: a part that holds it, or an empty one, cannot be told apart again, and such an entry
    keeps showing its older fields.
    """
    names = _names(old)
    if len(names) < 2 or not sep:
        raise SchemaError(f"lens {'+'.join(names)} -> {new}: a join has two or more old fields and a separator")

    def get(cells: Shown) -> Shown:
        parts = [cells.get(name, "") for name in names]
        while parts and names[len(parts) - 1] not in cells:
            parts.pop()
        return {new: sep.join(parts)} if parts else {}

    def back(cells: Shown) -> Shown:
        parts = cells.get(new, "").split(sep, len(names) - 1)
        return {name: part for name, part in zip(names, parts, strict=False) if part}

    return _mirror(names, (new,), since, get, back, None, f"join:{sep}")


def _mirror(
    old: tuple[str, ...],
    new: tuple[str, ...],
    since: int | None,
    get: Callable[[Shown], Shown],
    back: Callable[[Shown], Shown],
    put: Callable[[Shown, Shown], Shown] | None,
    rule: str,
) -> Lens:
    def keep(now: Shown, cells: Shown) -> Shown:
        return now if back(now) == cells else get(cells)

    return Lens(form="mirror", old=old, new=new, since=since, get=get, put=put or keep, back=back, rule=rule)


def _put_value(
    put: Callable[[Any, Any], Any], get: Callable[[Any], Any], old: str, new: str, now: Shown, cells: Shown
) -> Shown:
    if old not in cells:
        return {}
    return {new: put(now[new], cells[old]) if new in now else get(cells[old])}


def _names(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _functions(place: str, *given: object) -> None:
    if not all(map(callable, given)):
        raise SchemaError(f"lens {place}: get, back and put are functions")


def _named(lens: Lens, what: str, *functions: object) -> Lens:
    """With a rule, if it was given none: ``convert:int,str``, the best guess at what tells two lenses apart; not their
    meaning, which nothing tells."""
    if lens.rule:
        return lens
    names = (getattr(f, "__qualname__", type(f).__name__) for f in functions if f is not None)
    return replace(lens, rule=f"{what}:{','.join(names)}", guessed=True)

"""The kinds of fields: text, secret, note, number, flag, instant, tags, file and items(…).

How each is stored::

    text, secret, number, flag, instant, file    <field>                      one scalar
    tags                                         <field>/<tag> = True         a set: two additions never collide
    items(kind)                                  <field>/<id>, <field>@<id>   an ordered list by stable ids
    note                                         the same by lines; the plain key is the line with id "old"

Elements are ordered by (position, id). Removing one keeps its position, so that an edit elsewhere that beats the
removal brings it back where it stood.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Final

from vaultsync.errors import SchemaError
from vaultsync.limits import MAX_ELEMENT_ID_CHARS, MAX_TAG_CHARS
from vaultsync.schema.cells import GONE, MIDDLE, Key, Ops, Raw, Scalar, is_position
from vaultsync.schema.kind import Add, Delta, Element, Kind, KindMismatch, Remove, add, given, remove
from vaultsync.schema.scalars import (
    FileKind,
    FileRef,
    FlagKind,
    InstantKind,
    NumberKind,
    ScalarKind,
    TextKind,
    as_text,
)
from vaultsync.schema.sequences import Plan, Slot, merge, place, plan

__all__ = [
    "OLD",
    "Add",
    "Delta",
    "Element",
    "FileRef",
    "ItemsKind",
    "Kind",
    "KindMismatch",
    "NoteKind",
    "Remove",
    "ScalarKind",
    "TagsKind",
    "add",
    "file",
    "flag",
    "instant",
    "items",
    "note",
    "number",
    "remove",
    "secret",
    "tags",
    "text",
]

OLD: Final = "old"
"""The id of the element that lives in a plain key: a note's first line, a slot's element."""

_is_id = re.compile(rf"[0-9A-Za-z-]{{1,{MAX_ELEMENT_ID_CHARS}}}").fullmatch


class _Ordered(Kind):
    """What items and notes share: elements with ids and positions, compared and placed by ``sequences``."""

    __slots__ = ("inner", "plain")

    inner: ScalarKind
    plain: bool
    """Whether the plain key is the element ``OLD``."""

    def __init__(self, name: str, inner: ScalarKind, *, plain: bool, is_collection: bool) -> None:
        super().__init__(name, is_collection=is_collection, has_elements=True, is_secret=inner.is_secret)
        object.__setattr__(self, "inner", inner)
        object.__setattr__(self, "plain", plain)

    def _key(self, name: str, element: str) -> str:
        return name if self.plain and element == OLD else f"{name}/{element}"

    def _valid(self, element: str) -> bool:
        return _is_id(element) is not None and not (self.plain and element == OLD)

    def _standing(self, name: str, cells: Raw) -> list[tuple[str, str, Any]]:
        """(position, id, shown value) of every element that is there, in order."""
        prefix, found = name + "/", []
        for key, value in cells.items():
            if value is None:
                continue
            if key.startswith(prefix) and self._valid(key[len(prefix) :]):
                element = key[len(prefix) :]
            elif self.plain and key == name:
                element = OLD
            else:
                continue
            shown = self.inner.decode(value)
            if shown is not None:
                found.append((self._position(name, element, cells), element, shown))
        return sorted(found, key=lambda each: each[:2])

    @staticmethod
    def _position(name: str, element: str, cells: Raw) -> str:
        position = cells.get(f"{name}@{element}")
        return position if isinstance(position, str) and is_position(position) else MIDDLE

    def elements(self, name: str, cells: Raw) -> tuple[Element, ...]:
        return tuple(
            Element(element, shown, position, self.is_secret)
            for position, element, shown in self._standing(name, cells)
        )

    def fits(self, key: Key, value: Scalar) -> bool:
        if key.sep == "@":
            return _is_id(key.element) is not None and (value is None or is_position(value))
        if key.sep == "/" and not self._valid(key.element):
            return False
        if not key.sep and not self.plain:
            return False
        return value is None or self.inner.decode(value) is not None

    def _change(
        self,
        name: str,
        now: Raw,
        wanted: list[Scalar] | Delta,
        *,
        seen: Raw | None,
        new_id: Callable[[], str],
        first_id: str | None = None,
    ) -> Ops:
        """The operations for wanted *stored* values; ``first_id`` is the id of the first new element."""
        here = self._standing(name, now)
        stored = {element: self.inner.encode(shown) for _, element, shown in here}
        if isinstance(wanted, Delta):
            known = dict(stored)
            steps = _outright(known, wanted)
        else:
            known = stored if seen is None else {i: self.inner.encode(v) for _, i, v in self._standing(name, seen)}
            steps = plan(list(known.items()), wanted)
        if steps.empty:
            return {}
        # An edit that the caller did not see beats his removal.
        gone = [element for element in steps.removed if element in stored and stored[element] == known[element]]
        values: dict[str, Scalar] = {}
        loose: set[str] = set()
        order: list[str] = []
        taken = self._ids(name, now)
        for slot in steps.wanted:
            if slot.id is None:
                slot.id, first_id = (first_id, None) if first_id else (_fresh(new_id, taken), None)
                loose.add(slot.id)
            elif slot.moved and slot.id in stored:  # one removed elsewhere meanwhile stays removed
                loose.add(slot.id)
            if slot.written and stored.get(slot.id) != slot.value:
                values[slot.id] = slot.value
            order.append(slot.id)
        back = [element for element in values if element not in stored and element not in loose]
        standing = {element: position for position, element, _ in here if element not in gone and element not in loose}
        standing |= {element: self._position(name, element, now) for element in back}
        staying = sorted(standing, key=lambda element: (standing[element], element))
        made = place(merge(staying, order, frozenset(loose)), standing)
        ops: Ops = {self._key(name, element): GONE for element in gone}
        for element in order:
            if element in values:
                ops[self._key(name, element)] = values[element]
        for element, position in made.items():
            if self._position(name, element, now) != position:
                ops[f"{name}@{element}"] = position
        return ops

    @staticmethod
    def _ids(name: str, cells: Raw) -> set[str]:
        """Every id in use, also of removed elements, whose positions are kept; a new one must be none of them."""
        start = len(name) + 1
        return {OLD, *(key[start:] for key in cells if key.startswith((f"{name}/", f"{name}@")))}


def _outright(known: dict[str, Scalar], delta: Delta) -> Plan:
    """The plan that a delta stands for: every equal element goes, the additions come last."""
    kept = [Slot(element, value) for element, value in known.items() if value not in delta.removed]
    removed = [element for element, value in known.items() if value in delta.removed]
    return Plan([*kept, *(Slot(None, value, written=True) for value in delta.added)], removed)


def _fresh(new_id: Callable[[], str], taken: set[str]) -> str:
    for _ in range(100):
        element = new_id()
        if _is_id(element) is None:
            raise ValueError("new_id gave no element id")
        if element not in taken:
            taken.add(element)
            return element
    raise ValueError("new_id keeps giving ids that are in use")


class ItemsKind(_Ordered):
    """``items(kind)``: an ordered list of scalars of one kind, shown as a tuple; an empty one reads as not set."""

    __slots__ = ()

    def __init__(self, inner: ScalarKind) -> None:
        super().__init__(f"items({inner.name})", inner, plain=False, is_collection=True)

    def check(self, value: Any) -> tuple[Any, ...] | Delta | None:
        if value is None:
            return None
        if isinstance(value, Delta):
            return Delta(self._each(value.added), self._each(value.removed))
        if not isinstance(value, list | tuple):
            raise KindMismatch(self.name, given(value))
        return self._each(value)

    def _each(self, values: Iterable[Any]) -> tuple[Any, ...]:
        made = []
        for value in values:
            if value is None:
                raise KindMismatch(self.name, "nothing as an item")
            try:
                made.append(self.inner.check(value))
            except KindMismatch as error:
                raise KindMismatch(self.name, f"{error.given} as an item") from None
        return tuple(made)

    def read(self, name: str, cells: Raw) -> tuple[Any, ...] | None:
        return tuple(shown for _, _, shown in self._standing(name, cells)) or None

    def write(
        self,
        name: str,
        now: Raw,
        wanted: Any,
        *,
        seen: Raw | None,
        new_id: Callable[[], str],
        first_id: str | None = None,
    ) -> Ops:
        """As for every kind. ``first_id``: the id of the first new item (a slot's, when the entry is created)."""
        value = self.check(wanted)
        encode = self.inner.encode
        change: list[Scalar] | Delta
        if isinstance(value, Delta):
            change = Delta(tuple(map(encode, value.added)), tuple(map(encode, value.removed)))
        else:
            change = [encode(each) for each in value or ()]
        return self._change(name, now, change, seen=seen, new_id=new_id, first_id=first_id)


class NoteKind(_Ordered):
    """``note``: long text kept by lines ("\\n"), so that edits of different lines both win."""

    __slots__ = ()

    def __init__(self, inner: ScalarKind) -> None:
        super().__init__("note", inner, plain=True, is_collection=False)

    def check(self, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise KindMismatch(self.name, given(value))
        note = str.__str__(value)
        for line in note.split("\n"):
            as_text(line, self.name)
        return note

    def read(self, name: str, cells: Raw) -> str | None:
        lines = [shown for _, _, shown in self._standing(name, cells)]
        return "\n".join(lines) if lines else None

    def write(self, name: str, now: Raw, wanted: Any, *, seen: Raw | None, new_id: Callable[[], str]) -> Ops:
        value = self.check(wanted)
        if value == self.read(name, now if seen is None else seen):
            return {}  # also where a stored line holds a line break, which we would not write
        lines: list[Scalar] = [] if value is None else list(value.split("\n"))
        # A note that was there before keeps its plain key empty: two devices that fill it again must not collide there.
        made = name not in now and len(self._ids(name, now)) == 1
        return self._change(name, now, lines, seen=seen, new_id=new_id, first_id=OLD if made else None)

    def first(self, name: str, value: Any, new_id: Callable[[], str]) -> Ops:
        if isinstance(value, str) and "\n" in value:
            return super().first(name, value, new_id)
        return {name: as_text(value, self.name)}  # one line, in the fixed middle, has no position


def _tag(value: object) -> str | None:
    """The stored form of a tag, None when it is none."""
    if not isinstance(value, str):
        return None
    tag = unicodedata.normalize("NFC", str.__str__(value)).strip()
    try:
        tag.encode()
    except UnicodeEncodeError:
        return None
    return tag if 1 <= len(tag) <= MAX_TAG_CHARS else None


class TagsKind(Kind):
    """``tags``: a set of short texts, NFC and stripped; case counts. Shown as a frozenset; an empty one is not set."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("tags", is_collection=True, has_elements=True)

    def check(self, value: Any) -> frozenset[str] | Delta | None:
        if value is None:
            return None
        if isinstance(value, Delta):
            return Delta(self._each(value.added), self._each(value.removed))
        if not isinstance(value, set | frozenset | list | tuple):
            raise KindMismatch(self.name, given(value))
        return frozenset(self._each(value))

    def _each(self, values: Iterable[Any]) -> tuple[str, ...]:
        made = []
        for value in values:
            tag = _tag(value)
            if tag is None:
                what = "text that is empty, too long or not UTF-8" if isinstance(value, str) else given(value)
                raise KindMismatch(self.name, f"{what} as a tag")
            made.append(tag)
        return tuple(made)

    @staticmethod
    def _there(name: str, cells: Raw) -> frozenset[str]:
        start = len(name) + 1
        return frozenset(
            key[start:]
            for key, value in cells.items()
            if value is True and key.startswith(f"{name}/") and _tag(key[start:]) == key[start:]
        )

    def read(self, name: str, cells: Raw) -> frozenset[str] | None:
        return self._there(name, cells) or None

    def elements(self, name: str, cells: Raw) -> tuple[Element, ...]:
        return tuple(Element(tag, tag, "") for tag in sorted(self._there(name, cells)))

    def write(self, name: str, now: Raw, wanted: Any, *, seen: Raw | None, new_id: Callable[[], str]) -> Ops:
        value = self.check(wanted)
        here = self._there(name, now)
        if isinstance(value, Delta):
            put, take = set(value.added), set(value.removed) - set(value.added)
        else:
            want, known = value or frozenset(), here if seen is None else self._there(name, seen)
            put, take = set(want - known), set(known - want)
        ops: Ops = {f"{name}/{tag}": GONE for tag in sorted(take & here)}
        return ops | {f"{name}/{tag}": True for tag in sorted(put - here)}

    def first(self, name: str, value: Any, new_id: Callable[[], str]) -> Ops:
        tags = self.check(value)
        if isinstance(tags, Delta):
            return super().first(name, value, new_id)
        return {f"{name}/{tag}": True for tag in sorted(tags or ())}

    def fits(self, key: Key, value: Scalar) -> bool:
        return key.sep == "/" and _tag(key.element) == key.element and (value is None or value is True)


text: Final = TextKind("text")
"""One line or a short paragraph of text."""
secret: Final = TextKind("secret", is_secret=True)
"""Text that is masked wherever it could be seen by accident."""
note: Final = NoteKind(text)
"""Long text, merged line by line."""
number: Final = NumberKind("number")
"""A finite number."""
flag: Final = FlagKind("flag")
"""True or False."""
instant: Final = InstantKind("instant")
"""A point in time, to the millisecond."""
tags: Final = TagsKind()
"""A set of short texts."""
file: Final = FileKind("file")
"""An attachment."""

_ITEMS: Final[dict[Kind, ItemsKind]] = {kind: ItemsKind(kind) for kind in (text, secret, number, flag, instant)}


def items(kind: Kind) -> ItemsKind:
    """An ordered list of one scalar kind: text, secret, number, flag or instant; ``SchemaError`` for any other."""
    made = _ITEMS.get(kind) if isinstance(kind, ScalarKind) else None
    if made is None:
        what = kind.name if isinstance(kind, Kind) else type(kind).__name__
        raise SchemaError(f"items({what}): the kind of an item is text, secret, number, flag or instant")
    return made

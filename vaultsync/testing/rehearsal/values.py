"""Values as people write them, of every kind, and the *words* by which one is followed through lenses.

Every text that is made here holds words of its own (``kiwi3``: a fruit and a number that no other write has). A lens
that keeps the text keeps the words, whatever it does with case, order and separators; so what became of one write can
be told in every version. Numbers and instants are different each time, and stand for themselves.

What stands between words is what people type: spaces, hyphens, slashes, apostrophes, other alphabets; sometimes a text
is empty, or has a space at its end. Not ", " and no line breaks: those are separators by convention, and a schema that
must withstand them gets values of its own (``values=``).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from vaultsync.schema import kinds
from vaultsync.schema.kind import Kind
from vaultsync.schema.kinds import FileRef, ItemsKind
from vaultsync.schema.types import Schema

__all__ = ["Inventor", "Source", "elements_of", "show", "words_of"]

Source: TypeAlias = Sequence[Any] | Callable[[random.Random], Any]
"""Where the values of one field come from: a list to choose from, or a function of a ``random.Random``."""

_FRUIT: Final = ("kiwi", "plum", "fig", "pear", "lime", "date", "quince", "mango")
_WORD: Final = re.compile(rf"(?:{'|'.join(_FRUIT)})[0-9]+")
_BETWEEN: Final = (" ", " ", " ", "-", "/", ".", "'", "@", ":", " é ", " 名 ", "  ")
_EPOCH: Final = datetime(2020, 2, 29, tzinfo=UTC)


def words_of(value: Any, *, numbers: bool = True) -> frozenset[str]:
    """The words in a shown value; with ``numbers``, a number or an instant is one too."""
    if isinstance(value, str):
        return frozenset(_WORD.findall(value.casefold()))
    if isinstance(value, FileRef):
        return frozenset(_WORD.findall(value.name))
    if isinstance(value, tuple | frozenset):
        return frozenset[str]().union(*(words_of(each, numbers=numbers) for each in value))
    if not numbers or value is None or isinstance(value, bool):
        return frozenset()
    return frozenset([f"={value}"])


def elements_of(kind: Kind, value: Any) -> Counter[Any]:
    """The parts of a value that are written one by one, and how often each is there."""
    if value is None:
        return Counter()
    if kind == kinds.note:
        return Counter(value.split("\n"))
    return Counter(value) if kind.is_collection else Counter([value])


def show(value: Any) -> str:
    """A value as a story tells it."""
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(show, value))) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {show(each)}" for name, each in value.items()) or "nothing"
    if isinstance(value, FileRef):
        return f"file {value.name!r}"
    if isinstance(value, datetime):
        return value.isoformat()
    return "nothing" if value is None else repr(value)


class Inventor:
    """Makes values for the fields of one schema. ``values``: field name -> where its values (a collection's elements,
    a note's lines) come from instead."""

    def __init__(self, schema: Schema, rng: random.Random, values: Mapping[str, Source]) -> None:
        self.rng = rng
        self.values = values
        self.serial = 0
        self.joined = {
            name
            for kind in schema.types.values()
            for lens in (*kind.lenses, *(kind.converts.lenses if kind.converts else ()))
            if lens.rule.startswith("join:")
            for name in lens.old
        }
        """Sources of a ``join``, which cannot tell an empty text from none: its documentation says so."""

    def write(self, name: str, kind: Kind, now: Any, *, clear: float = 0.12) -> Any:
        """Something to write into a field that shows ``now`` (None: nothing): None clears it."""
        if now and self.rng.random() < clear:
            return None
        if kind == kinds.tags:
            return self._tags(name, now or frozenset())
        if isinstance(kind, ItemsKind):
            return tuple(self._rearranged(list(now or ()), lambda kept: self.scalar(name, kind.inner, kept)))
        if kind == kinds.note:
            lines = now.split("\n") if now else []
            return "\n".join(self._rearranged(lines, lambda kept: self.scalar(name, kinds.text, kept))) or None
        return self.scalar(name, kind, now)

    def scalar(self, name: str, kind: Kind, now: Any = None) -> Any:
        """One value; a text may keep some words of ``now``."""
        self.serial += 1
        rng, source = self.rng, self.values.get(name)
        if source is not None:
            return source(rng) if callable(source) else rng.choice(list(source))
        if kind == kinds.number:
            sign, part = rng.choice([1, 1, 1, -1]), rng.choice([0, 0, 0.5])
            return sign * (self.serial + rng.choice([0, 0, 1000, 1_000_000]) + part)
        if kind == kinds.flag:
            return rng.random() < 0.5
        if kind == kinds.instant:
            return _EPOCH + timedelta(days=rng.choice([0, 1, 365]) * self.serial, milliseconds=self.serial)
        if kind == kinds.file:
            return FileRef(f"{self.serial:032x}", self._word() + ".pdf", self.serial, "ab" * 32, "cd" * 32)
        return self._text(now if isinstance(now, str) else "", empty=name not in self.joined)

    def _word(self) -> str:
        self.serial += 1
        return f"{_FRUIT[self.serial % len(_FRUIT)]}{self.serial}"

    def _text(self, now: str, *, empty: bool) -> str:
        """Words of its own, and often what stood there with one word put in, replaced or taken away."""
        rng, found = self.rng, list(_WORD.finditer(now))
        roll = rng.random()
        if empty and roll < 0.04:
            return ""
        if found and roll < 0.65:
            start, end = rng.choice(found).span()
            change = rng.random()
            if change < 0.6:
                return now[:start] + self._word() + now[end:]
            if change < 0.85 or len(found) == 1:
                return now + rng.choice(_BETWEEN) + self._word()
            left = (now[:start] + now[end:]).strip(" -/.'@:")
            return left or self._word()
        text = self._word()
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            text += rng.choice(_BETWEEN) + self._word()
        if rng.random() < 0.2:
            text = text.capitalize() if rng.random() < 0.8 else text + " "
        return text

    def _tags(self, name: str, now: frozenset[str]) -> frozenset[str]:
        rng, tags = self.rng, set(now)
        if tags and rng.random() < 0.35:
            tags.discard(rng.choice(sorted(tags)))
        else:
            tags.add(self._tag(name))
        return frozenset(tags)

    def _tag(self, name: str) -> str:
        if name in self.values:
            return str(self.scalar(name, kinds.text))
        tag = self._word()
        return tag + self.rng.choice(["", "", "/", " @", ":é "]).join(["", self._word()]) if len(tag) % 2 else tag

    def _rearranged(self, items: list[Any], make: Callable[[Any], Any]) -> list[Any]:
        """One or two changes: something put in, replaced, taken out, moved, or there twice."""
        rng = self.rng
        for _ in range(rng.choice((1, 1, 2))):
            roll, at = rng.random(), rng.randrange(len(items) + 1)
            here = min(at, len(items) - 1)
            if not items or roll < 0.45:
                items.insert(at, make(None))
            elif roll < 0.65:
                items[here] = make(items[here])
            elif roll < 0.8:
                items.pop(here)
            elif roll < 0.93:
                items.insert(rng.randrange(len(items)), items.pop(here))
            else:
                items.insert(at, items[here])
        return items

"""Watching the user's functions while the library calls them: what they were asked, what they raised, whether they
answer the same question twice in the same way.

``watched(schema)`` is the same timeline with every function of a lens wrapped. The wrapped ones behave as the user's
own; what goes wrong is noted in a :class:`Watch`, in words for a story, since the library itself only ever says that a
lens fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from vaultsync.schema.lenses import Convert, Each, Lens
from vaultsync.schema.types import EntryType, Schema
from vaultsync.testing.rehearsal.values import show

__all__ = ["Trouble", "Watch", "lenses_of", "watched"]

_MOST_ANSWERS = 20_000


class Trouble(NamedTuple):
    """Something a lens may not do. ``law`` is which; ``text`` tells it with the values."""

    ends: str
    law: str
    text: str


class _Reordered(frozenset[Any]):
    """The same set, gone through in another order, as it may be in another process."""

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__(), key=repr, reverse=True))


class Watch:
    """What was noticed. ``raised`` holds the last exception of each lens: not all of them are faults."""

    def __init__(self) -> None:
        self.troubles: list[Trouble] = []
        self.raised: dict[str, str] = {}
        self._recent: dict[str, deque[str]] = {}
        self._answers: dict[tuple[int, str], str] = {}

    def forget(self) -> None:
        """Begin anew: what was answered before is asked for twice again."""
        self.troubles.clear()
        self.raised.clear()
        self._recent.clear()
        self._answers.clear()

    def recent(self, ends: str) -> str:
        """What the functions of a lens were asked last, and said."""
        return "; ".join(dict.fromkeys(self._recent.get(ends, ())))

    def function(self, lens: Lens, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, watched."""
        return partial(self._call, lens.ends, name, function)

    def _call(self, ends: str, name: str, function: Callable[..., Any], *values: Any) -> Any:
        asked = f"{name}({', '.join(_asked(value) for value in values)})"
        try:
            answer = function(*values)
        except Exception as error:
            self.raised[ends] = f"{asked} raises {type(error).__name__}: {error}"
            raise
        question, said = (id(function), asked), show(answer)
        self._recent.setdefault(ends, deque(maxlen=3)).append(f"{asked} gives {said}")
        before = self._answers.get(question)
        if before is None:
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.clear()
            self._answers[question] = said
            before = self._again(function, values)
        if before != said:
            text = f"{asked} gives {said}, and asked again {before}"
            self.troubles.append(Trouble(ends, "the same question has one answer", text))
        return answer

    @staticmethod
    def _again(function: Callable[..., Any], values: tuple[Any, ...]) -> str:
        try:
            return show(function(*map(_reordered, values)))
        except Exception as error:  # the user's: anything
            return f"an error ({type(error).__name__}: {error})"


def _asked(value: Any) -> str:
    return "{" + show(value) + "}" if isinstance(value, Mapping) else show(value)


def _reordered(value: Any) -> Any:
    if isinstance(value, frozenset):
        return _Reordered(value)
    if isinstance(value, Mapping):
        return {name: _reordered(each) for name, each in value.items()}
    return value


def lenses_of(kind: EntryType) -> tuple[Lens, ...]:
    """Those of a type and of its conversion."""
    return (*kind.lenses, *(kind.converts.lenses if kind.converts is not None else ()))


def watched_lens(lens: Lens, watch: Watch) -> Lens:
    """The lens, watched."""
    if lens.each is not None:
        each = Each(
            watch.function(lens, "get", lens.each.get),
            watch.function(lens, "back", lens.each.back),
            lens.each.elements,
        )
        return replace(lens, each=each)
    if lens.form != "mirror":
        return lens
    return replace(
        lens,
        get=watch.function(lens, "get", lens.get),
        put=watch.function(lens, "put", lens.put),
        back=watch.function(lens, "back", lens.back),
    )


def watched(schema: Schema, watch: Watch) -> Schema:
    """The same timeline with every lens watched."""
    types = []
    for kind in schema.types.values():
        converts = kind.converts
        if converts is not None:
            converts = Convert(converts.to, [watched_lens(lens, watch) for lens in converts.lenses], converts.keep_old)
        types.append(
            EntryType(
                kind.name,
                label=kind.label,
                fields=kind.fields,
                since=kind.since,
                until=kind.until,
                platforms=kind.platforms,
                lenses=[watched_lens(lens, watch) for lens in kind.lenses],
                converts=converts,
            )
        )
    return Schema(schema.name, version=schema.version, platform=schema.platform, types=types, releases=schema.releases)

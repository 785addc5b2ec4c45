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
        self._recent: dict[str, deque[tuple[str, tuple[Any, ...], Any]]] = {}
        self._answers: dict[Any, Any] = {}

    def forget(self) -> None:
        """Begin anew: what was answered before is asked for twice again."""
        self.troubles.clear()
        self.raised.clear()
        self._recent.clear()
        self._answers.clear()

    def recent(self, ends: str) -> str:
        """What the functions of a lens were asked last, and said."""
        told = (f"{_asked(name, values)} gives {show(answer)}" for name, values, answer in self._recent.get(ends, ()))
        return "; ".join(dict.fromkeys(told))

    def function(self, lens: Lens, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, watched."""
        return partial(self._call, lens.ends, name, function)

    def _call(self, ends: str, name: str, function: Callable[..., Any], *values: Any) -> Any:
        try:
            answer = function(*values)
        except Exception as error:
            self.raised[ends] = f"{_asked(name, values)} raises {type(error).__name__}: {error}"
            raise
        if ends not in self._recent:
            self._recent[ends] = deque(maxlen=3)
        self._recent[ends].append((name, values, answer))
        question, said = (id(function), *map(_frozen, values)), _frozen(answer)
        if question not in self._answers:
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.clear()
            self._answers[question] = self._again(function, values)
        if self._answers[question] != said:
            before = self._answers[question]
            shown = show(dict(before)) if isinstance(answer, Mapping) and isinstance(before, tuple) else show(before)
            text = f"{_asked(name, values)} gives {show(answer)}, and asked again {shown}"
            self.troubles.append(Trouble(ends, "the same question has one answer", text))
        return answer

    @staticmethod
    def _again(function: Callable[..., Any], values: tuple[Any, ...]) -> Any:
        try:
            return _frozen(function(*map(_reordered, values)))
        except Exception as error:  # the user's: anything
            return f"an error ({type(error).__name__}: {error})"


def _asked(name: str, values: tuple[Any, ...]) -> str:
    listed = ("{" + show(value) + "}" if isinstance(value, Mapping) else show(value) for value in values)
    return f"{name}({', '.join(listed)})"


def _frozen(value: Any) -> Any:
    """Something to compare and to look up by, for whatever a function takes or gives."""
    if isinstance(value, dict):
        return tuple(sorted((str(name), _frozen(each)) for name, each in value.items() if each is not None))
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


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

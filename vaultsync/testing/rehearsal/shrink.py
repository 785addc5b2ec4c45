"""The shortest history that still shows the same: steps are left out, then values made simple, as long as it fails in
the same way. Pure search; what "fails" means is handed in."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from vaultsync.testing.rehearsal.script import Script, Step
from vaultsync.testing.rehearsal.values import words_of

__all__ = ["shrink", "smaller"]

_MOST_RUNS: Final = 600


def shrink(
    script: Script, fails: Callable[[Script], bool], *, given: Container[str] = (), most: int = _MOST_RUNS
) -> Script:
    """A smaller script that fails; ``script`` itself must. At most ``most`` tries. ``given``: fields whose values are
    not ours to simplify."""
    best, better = script, True
    while better:
        better = False
        for other in _candidates(best, given):
            most -= 1
            if most < 0:
                return best
            if fails(other):
                best, better = other, True
                break
    return best


def _candidates(script: Script, given: Container[str]) -> Iterator[Script]:
    steps = script.steps
    size = len(steps) // 2
    while size >= 1:
        for start in range(len(steps) - size, -1, -size):
            yield replace(script, steps=steps[:start] + steps[start + size :])
        size //= 2
    for i, step in enumerate(steps):
        for values in smaller(step.values, given):
            if values or step.kind == "add":
                yield replace(script, steps=(*steps[:i], replace(step, values=values), *steps[i + 1 :]))
    yield from _fewer_devices(script)


def _fewer_devices(script: Script) -> Iterator[Script]:
    """One device does what another of its kind did."""
    places = script.cast.places
    for i in range(len(places) - 1, 0, -1):
        for j in range(i):
            if places[i] == places[j] and any(i in (step.device, step.other) for step in script.steps):
                yield replace(script, steps=tuple(_instead(step, i, j) for step in script.steps))


def _instead(step: Step, i: int, j: int) -> Step:
    return replace(step, device=j if step.device == i else step.device, other=j if step.other == i else step.other)


def smaller(values: Mapping[str, Any], given: Container[str] = ()) -> Iterator[dict[str, Any]]:
    """The same with one field less, or with one value that is simpler; the elements of ``given`` fields as they are."""
    for name in values:
        if len(values) > 1 or values[name] is not None:
            yield {other: value for other, value in values.items() if other != name}
    for name, value in values.items():
        for simple in _simpler(value) if name not in given else _fewer(value):
            yield {**values, name: simple}


def _fewer(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        yield from (value[:i] + value[i + 1 :] for i in range(len(value)))
    elif isinstance(value, frozenset):
        yield from (value - {each} for each in sorted(value, key=repr))


def _simpler(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        words = sorted(words_of(value), key=value.casefold().find)
        plain = " ".join(words)
        if len(words) > 1:
            yield from (" ".join(word for word in words if word != gone) for gone in words)
        if plain and plain != value and len(plain) <= len(value):
            yield plain
        if words and len(value) > 2 * len(words[0]) + 4:
            yield value[: len(value) // 2]
        for start in range(len(value) if len(value) < 24 else 0):
            if not words_of(value[start : start + 1]) and not value[start].isalnum():
                yield value[:start] + value[start + 1 :]
    elif isinstance(value, tuple):
        yield from _fewer(value)
        yield from ((*value[:i], each, *value[i + 1 :]) for i, old in enumerate(value) for each in _simpler(old))
    elif isinstance(value, frozenset):
        yield from _fewer(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from (small for small in (0, 1, int(value)) if small != value and abs(small) < abs(value))

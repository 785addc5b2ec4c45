"""Where a value that lost against a concurrent one would be seen: under the fields that this version shows.

A loser may stand under a name of an older version. Through aliases and slots it is one value of one newer field.
Through a mirror it is what the newer fields would show had everything won that was written with it: its mark says what
the writer knew of the newer fields, so that an edit of one of them is no loser under the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vaultsync.schema.cells import Raw, Scalar, owner, split_key
from vaultsync.schema.kinds import OLD
from vaultsync.view.chain import Broken, Cells, holding
from vaultsync.view.decide import Shape

__all__ = ["MASK", "Candidate", "Candidates", "Lost", "Rivals", "alone", "had_it_won", "represented", "written_with"]

MASK = "••••"


class Candidate(NamedTuple):
    """One of several values that concurrent writes left under one key, as the document knows it."""

    value: Scalar
    device: str | None = None  # the name or id of the device that wrote it
    version: int | None = None  # the schema version it ran
    time: int | None = None  # ms since the epoch, that device's clock
    writer: str = ""  # the incarnation that wrote it (lowercase hex)
    change: str = ""  # the change that wrote it: equal for values that were written together

    def __repr__(self) -> str:  # the value may be a secret; only the field's kind would tell
        return f"Candidate({MASK}, device={self.device!r}, version={self.version}, time={self.time})"


Candidates = Mapping[str, Sequence[Candidate]]
"""Stored key -> the values that stand there, the winner first."""


Rivals = Callable[[], Candidates]
"""Asks for them: only when something is written through a mirror."""


def alone() -> Candidates:
    """No rivals."""
    return {}


class Lost(NamedTuple):
    """A value that lost, as a shown field has it. ``element``: the id of the tag, item or line that it is; None: the
    whole value of the field."""

    field: str
    value: Any
    element: str | None


def written_with(shape: Shape, candidates: Candidates, one: Candidate, key: str) -> Cells:
    """A value with what was written of the same data in the same change and has rivals, by stored key.

    Of a mirror whose lens the writer did not know, the mark is null: whatever mark stands now says nothing of this.
    """
    cells: Cells = {key: one.value}
    if one.change:
        same = {at: each.value for at, every in candidates.items() for each in every if each.change == one.change}
        cells |= _family(shape, key, same)
    owners = {owner(at) for at in cells}
    for i, step in enumerate(shape.steps):
        if step.mirrored and step.mark not in cells and not owners.isdisjoint(holding(step, shape.steps[:i])):
            cells[step.mark] = None
    return cells


def represented(shape: Shape, raw: Raw, key: str, value: Scalar, beside: Raw) -> Iterator[Lost]:
    """How a loser under a stored key looks here; nothing when it would look the same. ``beside``: what was written with
    it. One on which a lens fails is listed under the field that it is stored in."""
    cells: Cells = {key: value}
    for step in shape.steps:
        if owner(next(iter(cells))) not in step.lens.old:
            continue
        try:
            if step.mirrored:
                yield from had_it_won(shape, raw, {**beside, key: value})
                return
            slot = {f"{step.lens.new[0]}/{OLD}": each for each in cells.values()}
            cells = slot if step.lens.form == "slot" else step.turned(cells, up=True)
        except Broken:
            break
    yield from _element(shape, *next(iter(cells.items())))


def _family(shape: Shape, key: str, beside: Raw) -> Cells:
    """The cells of the fields that a mirror connects with this one, and its marks."""
    wanted = {owner(key)}
    for step in (*shape.steps, *reversed(shape.steps)):
        ends = {*step.lens.old, *step.lens.new}
        if not wanted.isdisjoint(ends):
            wanted |= ends.union(step.marks)
    return {each: value for each, value in beside.items() if (each if each.startswith("$") else owner(each)) in wanted}


def _element(shape: Shape, key: str, value: Scalar) -> Iterator[Lost]:
    """One cell of a shown field."""
    split = split_key(key)
    if split is None or (field := shape.known.get(split.name)) is None:
        return
    shown = field.kind.read(split.name, {key: value})
    if isinstance(shown, (tuple, frozenset)):
        shown = next(iter(shown), None)
    # A note's plain key is a line.
    yield Lost(split.name, shown, split.element or (OLD if field.kind.has_elements else None))


def had_it_won(shape: Shape, raw: Raw, cells: Raw) -> Iterator[Lost]:
    """What would be shown otherwise had these cells won. Where a lens fails on them, what it fails on."""
    now, then = shape.climb(raw).top, shape.climb({**raw, **cells}).top
    for field in (*shape.active, *shape.past):
        shown = field.kind.read(field.name, then)
        if shown is not None and shown != field.kind.read(field.name, now):
            yield Lost(field.name, shown, None)

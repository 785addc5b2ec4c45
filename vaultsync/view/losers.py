"""Where a value that lost against a concurrent one would be seen: under the fields that this version shows.

A loser may stand under a name of an older version. Through aliases and slots it is one value of one newer field.
Through a mirror it is what the newer fields would show had it won.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from vaultsync.schema.cells import Raw, Scalar, owner, split_key
from vaultsync.schema.kinds import OLD
from vaultsync.view.chain import Broken, Cells
from vaultsync.view.decide import Shape

__all__ = ["Lost", "represented"]


class Lost(NamedTuple):
    """A value that lost, as a shown field has it. ``element``: the id of the tag, item or line that it is; None: the
    whole value of the field."""

    field: str
    value: Any
    element: str | None


def represented(shape: Shape, raw: Raw, key: str, value: Scalar) -> Iterator[Lost]:
    """How a loser under a stored key looks here; nothing when a lens fails on it, or when it would look the same."""
    cells: Cells = {key: value}
    for step in shape.steps:
        if owner(next(iter(cells))) not in step.lens.old:
            continue
        try:
            if step.mirrored:
                yield from _had_it_won(shape, raw, key, value)
                return
            slot = {f"{step.lens.new[0]}/{OLD}": each for each in cells.values()}
            cells = slot if step.lens.form == "slot" else step.turned(cells, up=True)
        except Broken:
            return
    yield from _element(shape, *next(iter(cells.items())))


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


def _had_it_won(shape: Shape, raw: Raw, key: str, value: Scalar) -> Iterator[Lost]:
    now, then = shape.climb(raw).top, shape.climb({**raw, key: value}).top
    for field in shape.active:
        shown = field.kind.read(field.name, then)
        if shown is not None and shown != field.kind.read(field.name, now):
            yield Lost(field.name, shown, None)

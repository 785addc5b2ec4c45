"""Writing many changes of one shape: what they share is encoded once.

A *shape* says of every operation whose the object is, the key, the action, the type of the value and whose the
predecessor is, if it has one. Changes of one shape differ in their numbers and values alone, so of their chunks only
those are encoded anew. What comes out is byte for byte what `codec.encode` writes.

A stencil holds names of keys. It lives as long as the call that reads a pack, no longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .codec import Action, frame
from .columns import steps, to_signed, to_unsigned, write_runs, write_string

__all__ = ["Line", "Stencil"]

_OBJ_ACTOR, _OBJ_COUNTER, _KEY, _INSERT, _ACTION = 1, 2, 21, 52, 66
_VALUE_META, _VALUE, _PRED_COUNT, _PRED_ACTOR, _PRED_COUNTER = 86, 87, 112, 113, 115
_FEW = 8
"""Operations of a change whose sizes are remembered: values of large changes never have the same sizes twice."""
_SPEC = [to_unsigned(spec) for spec in range(128)]


class Line(NamedTuple):
    """One operation of a shape: the actors of its object and of its predecessor (``None``: it overwrites nothing)."""

    object: bytes
    key: str
    action: Action
    type: int
    pred: bytes | None


def _head(spec: int, column: bytes) -> bytes:
    return _SPEC[spec] + to_unsigned(len(column)) if column else b""


class Stencil:
    """For changes of ``actor`` whose operations are like ``lines``; no operation has more than one predecessor."""

    __slots__ = ("_actor", "_columns", "_counted", "_described", "_names", "_others", "_sized", "_types")

    def __init__(self, actor: bytes, lines: Sequence[Line]) -> None:
        others = {line.object for line in lines} | {line.pred for line in lines if line.pred is not None}
        others.discard(actor)
        named = sorted(others)
        index = {actor: 0} | {other: number for number, other in enumerate(named, 1)}
        preds = [line.pred for line in lines if line.pred is not None]
        objects = write_runs([index[line.object] for line in lines], to_unsigned)
        keys = write_runs([line.key for line in lines], write_string)
        inserts = to_unsigned(len(lines))  # a run of that many times "no"
        actions = write_runs([line.action for line in lines], to_unsigned)
        counts = write_runs([0 if line.pred is None else 1 for line in lines], to_unsigned)
        actors = write_runs([index[pred] for pred in preds], to_unsigned)
        self._actor = to_unsigned(len(actor)) + actor
        self._others = b"\0\0" + b"".join(  # no time, no message
            [to_unsigned(len(named)), *(to_unsigned(len(other)) + other for other in named)]
        )
        self._columns = 8 + 2 * bool(preds) - 1  # without that of the values
        self._described = (
            _head(_OBJ_ACTOR, objects) + _SPEC[_OBJ_COUNTER],
            _head(_KEY, keys) + _head(_INSERT, inserts) + _head(_ACTION, actions) + _SPEC[_VALUE_META],
            _head(_PRED_COUNT, counts) + _head(_PRED_ACTOR, actors) + (_SPEC[_PRED_COUNTER] if preds else b""),
        )
        self._names = objects, keys + inserts + actions, counts + actors
        self._types = [line.type for line in lines]
        self._sized: dict[tuple[int, ...], tuple[bytes, bytes, bytes]] = {}
        self._counted = b"\x7f" if len(lines) == 1 else to_signed(len(lines))

    def encode(
        self,
        seq: int,
        start_op: int,
        deps: Sequence[bytes],
        objects: Sequence[int],
        values: Sequence[bytes],
        preds: Sequence[int],
    ) -> tuple[bytes, bytes]:
        """(hash, chunk) of a change: counters of its objects (one an operation), bytes of its values, counters of its
        predecessors. ``deps`` are sorted."""
        first, count = objects[0], len(objects)
        if objects.count(first) == count:
            counters = self._counted + to_unsigned(first)
        else:
            counters = write_runs(objects, to_unsigned)
        sizes = tuple(map(len, values))
        before, sized, meta = self._sized.get(sizes) or self._size(sizes)
        names, rest, counts = self._names
        parts = (
            *((b"\x01", deps[0]) if len(deps) == 1 else (to_unsigned(len(deps)), *deps)),
            self._actor,
            to_unsigned(seq),
            to_unsigned(start_op),
            before,
            to_unsigned(len(counters)),
            sized,
        )
        if preds:
            distances = b"\x7f" + to_signed(preds[0]) if len(preds) == 1 else write_runs(steps(preds), to_signed)
            columns = (to_unsigned(len(distances)), names, counters, rest, meta, *values, counts, distances)
            return frame(b"".join(parts + columns))
        return frame(b"".join((*parts, names, counters, rest, meta, *values, counts)))

    def _size(self, sizes: tuple[int, ...]) -> tuple[bytes, bytes, bytes]:
        """What depends on the sizes of the values alone: up to the counters' size, from there to that of the
        predecessors, and the column of sizes."""
        meta = write_runs([size << 4 | kind for size, kind in zip(sizes, self._types, strict=True)], to_unsigned)
        total = sum(sizes)
        before, between, after = self._described
        value = _SPEC[_VALUE] + to_unsigned(total) if total else b""
        found = (
            self._others + to_unsigned(self._columns + bool(total)) + before,
            between + to_unsigned(len(meta)) + value + after,
            meta,
        )
        if len(sizes) <= _FEW:
            self._sized[sizes] = found
        return found

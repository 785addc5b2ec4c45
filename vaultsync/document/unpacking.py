"""Unpacking what ``pack`` made: the layout stands there, and the names of its parts here.

Changes of one shape are written by one stencil, and share their keys and actions. What comes out are changes by column,
as the gate likes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from struct import error as StructError
from typing import Any, NamedTuple

from ..errors import MalformedChange
from ..limits import MAX_ACTORS_PER_CHANGE, MAX_CHANGE_BYTES, MAX_OP_COUNTER, MAX_OPS_PER_CHANGE, MAX_OPS_PER_PACK
from .canonical import read_time
from .codec import chunk_hash, decode, encode
from .columns import read_runs, signed, summed, unsigned
from .operations import Action, Change, OpId, Scalar, Table, read_value, value_bytes, value_type
from .stencil import Line, Stencil

__all__ = [
    "COLUMNS",
    "F64",
    "INT",
    "LISTS",
    "OBJECT_OF",
    "OWN_OBJECT",
    "OWN_PRED",
    "PLAIN",
    "PRED_OF",
    "SAME_OBJECT",
    "STEPS",
    "STR",
    "UNSIGNED",
    "Row",
    "unpack_changes",
]

PLAIN, COLUMNS = 0, 1
INT, F64, STR = value_type(0), value_type(0.0), value_type("")

# How an operation names its object, and a predecessor; everything above is an index in the table of actors.
SAME_OBJECT, OWN_OBJECT, OBJECT_OF = 0, 1, 2
OWN_PRED, PRED_OF = 0, 1

UNSIGNED, SIGNED, STEPS = range(3)
LISTS = {
    # of shapes
    "sizes": UNSIGNED,  # operations of each
    "objects": UNSIGNED,  # per operation
    "own_objects": STEPS,  # number of the operation of the same change that makes the object
    "keys": UNSIGNED,
    "actions": UNSIGNED,
    "types": UNSIGNED,
    "pred_counts": UNSIGNED,
    "preds": UNSIGNED,
    "own_preds": UNSIGNED,  # how many operations ago
    # of changes
    "shapes": UNSIGNED,
    "gaps": SIGNED,
    "deps": UNSIGNED,  # twice the number of hashes, plus one for "and the change before"
    "hashes": UNSIGNED,
    # of operations
    "counters": STEPS,  # of objects
    "distances": SIGNED,  # of predecessors: from their object if of the same actor, else back from start_op
    "lengths": UNSIGNED,  # of texts
}


class Row(NamedTuple):
    """One operation of a shape."""

    object: int
    own_object: int
    key: int
    action: int
    type: int
    preds: tuple[tuple[int, int], ...]  # (how it is named, how many operations ago)


_GARBLED = (IndexError, KeyError, TypeError, ValueError, OverflowError, StructError, RuntimeError, StopIteration)
"""What reading garbled columns ends with. A column that is too short is a StopIteration, inside a generator a
RuntimeError."""


def unpack_changes(data: bytes, *, max_bytes: int) -> list[Change]:
    """The changes in a pack, decoded; ``Engine.apply`` takes them as they are. Otherwise like ``unpack``."""
    try:
        if data[0] == COLUMNS:
            return list(_Unpacker(data, max_bytes).changes())
        if data[0] != PLAIN or len(data) > max_bytes + 5 * len(data) // 64 + 16:
            raise MalformedChange("a pack of changes of an unknown layout, or too large")
        return list(_plain(data))
    except _GARBLED as error:
        raise MalformedChange(f"a pack of changes is cut short or garbled ({type(error).__name__})") from None


def _plain(data: bytes) -> Iterator[Change]:
    at = 1
    while at < len(data):
        length, at = unsigned(data, at)
        yield decode(data[at : at + length])
        at += length


class _Segment(NamedTuple):
    """Operations of a shape in one object, and per operation the type of its value and what it overwrites."""

    object: int
    own_object: int
    size: int
    lines: list[tuple[int, tuple[tuple[int, int], ...]]]


class _Shape:
    """What changes look like apart from their numbers and values."""

    __slots__ = ("actions", "keys", "rows", "segments", "size", "stencil")

    def __init__(self, rows: Sequence[Row], keys: Sequence[str]) -> None:
        self.rows = rows
        self.size = len(rows)
        self.keys = [keys[row.key] for row in rows]
        self.actions = [Action(row.action) for row in rows]
        self.segments: list[_Segment] = []
        for row in rows:
            line = (row.type, row.preds)
            if row.object == SAME_OBJECT and self.segments:
                last = self.segments[-1]
                last.lines.append(line)
                self.segments[-1] = last._replace(size=last.size + 1)
            else:
                self.segments.append(_Segment(row.object, row.own_object, 1, [line]))
        self.stencil: Stencil | None = None


class _Unpacker:
    """Reads the lists and puts changes together again."""

    def __init__(self, data: bytes, max_bytes: int) -> None:
        self._data = data
        self._at = 1
        self._max_bytes = max_bytes
        self._seq = self._number()
        self._start_op = self._number()
        self._actors = [self._take(self._number()) for _ in range(self._count(MAX_ACTORS_PER_CHANGE))]
        self._keys = [self._take(self._number()).decode() for _ in range(self._count(MAX_OPS_PER_PACK))]
        self._hashes = [self._take(32) for _ in range(self._count(len(data) // 32))]
        self._lists = {name: iter(self._list(kind)) for name, kind in LISTS.items() if name != "lengths"}
        lengths = self._list(LISTS["lengths"])
        self._texts, self._integers, self._floats = [self._take(self._number()) for _ in range(3)]
        if self._at != len(data):
            raise MalformedChange("something follows a pack of changes")
        self._shapes = [self._shape(size) for size in self._lists["sizes"]]
        self._numbers = list(self._lists["shapes"])
        if sum(self._shapes[number].size for number in self._numbers) > MAX_OPS_PER_PACK:
            raise MalformedChange("a pack of changes holds too many operations")
        ends = list(accumulate(lengths))
        self._text_end = ends[-1] if ends else 0
        self._strings = map(self._texts.__getitem__, map(slice, [0, *ends[:-1]], ends))
        self._integer_at = self._float_at = 0

    # ---- reading the lists --------------------------------------------------------------------------------------
    def _number(self) -> int:
        number, self._at = unsigned(self._data, self._at)
        return number

    def _count(self, most: int) -> int:
        count = self._number()
        if count > most:
            raise MalformedChange("a table of a pack of changes is too long")
        return count

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise MalformedChange("a pack of changes is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _list(self, kind: int) -> list[int]:
        column = self._take(self._number())
        read: Callable[[bytes, int], tuple[Any, int]] = unsigned if kind == UNSIGNED else signed
        cells = read_runs(column, MAX_OPS_PER_PACK, read, exactly=False)
        return summed(cells) if kind == STEPS else cells

    def _shape(self, size: int) -> _Shape:
        if not 0 < size <= MAX_OPS_PER_CHANGE:
            raise MalformedChange("a change has no operations, or too many")
        lists = self._lists
        rows = []
        for _ in range(size):
            named = next(lists["objects"])
            own = next(lists["own_objects"]) if named == OWN_OBJECT else 0
            preds = []
            for _ in range(next(lists["pred_counts"])):
                pred = next(lists["preds"])
                preds.append((pred, next(lists["own_preds"]) if pred == OWN_PRED else 0))
            key, action, kind = next(lists["keys"]), next(lists["actions"]), next(lists["types"])
            rows.append(Row(named, own, key, Action(action), kind, tuple(preds)))
        return _Shape(rows, self._keys)

    # ---- putting changes together -------------------------------------------------------------------------------
    def changes(self) -> Iterator[Change]:
        """All changes, in order."""
        actor = self._actors[0]
        start_op, last_hash, total = self._start_op, b"", 0
        gaps, shapes = self._lists["gaps"], self._shapes
        stencils: dict[int, Stencil | None] = {}
        for seq, number in enumerate(self._numbers, self._seq):
            shape = shapes[number]
            start_op += next(gaps)
            if not seq or not 0 < start_op <= MAX_OP_COUNTER - shape.size:
                raise MalformedChange("a sequence number or operation counter is out of range")
            deps = self._deps(last_hash)
            table, objects, raws, overwritten = self._written(shape, start_op)
            if number not in stencils:
                stencils[number] = self._stencil(shape)
            stencil = stencils[number]
            if stencil is None:
                chunk = encode(actor, seq, start_op, deps, table.rows())
                last_hash = chunk_hash(chunk)
            else:
                last_hash, chunk = stencil.encode(seq, start_op, deps, objects, raws, overwritten)
            total += len(chunk)
            if len(chunk) > MAX_CHANGE_BYTES or total > self._max_bytes:
                raise MalformedChange("a pack of changes holds more than allowed")
            yield Change(last_hash, deps, actor, seq, start_op, table, chunk)
            start_op += shape.size
        ends = (self._text_end, self._integer_at, self._float_at)
        if any(next(cells, None) is not None for cells in (*self._lists.values(), self._strings)) or ends != (
            len(self._texts),
            len(self._integers),
            len(self._floats),
        ):
            raise MalformedChange("a pack of changes holds more than its changes")

    def _stencil(self, shape: _Shape) -> Stencil | None:
        """How changes of that shape are written; none where an operation has several predecessors."""
        actors, lines = self._actors, []
        obj = actors[0]
        for row in shape.rows:
            if len(row.preds) > 1:
                return None
            if row.object != SAME_OBJECT:
                obj = actors[row.object - OBJECT_OF] if row.object >= OBJECT_OF else actors[0]
            named = row.preds[0][0] if row.preds else None
            pred = None if named is None else actors[0 if named == OWN_PRED else named - PRED_OF]
            lines.append(Line(obj, self._keys[row.key], row.action, row.type, pred))  # type: ignore[arg-type]
        return Stencil(actors[0], lines)

    def _deps(self, last_hash: bytes) -> tuple[bytes, ...]:
        pattern = next(self._lists["deps"])
        if pattern == 1 and last_hash:
            return (last_hash,)
        deps = [self._hashes[next(self._lists["hashes"])] for _ in range(pattern >> 1)]
        if pattern & 1:
            deps.append(last_hash)
        return tuple(sorted(deps))

    def _written(self, shape: _Shape, start_op: int) -> tuple[Table, list[int], list[bytes], list[int]]:
        """The operations of the next change, and what a stencil is told of them: per operation the counter of its
        object and the bytes of its value, and the counters of all predecessors."""
        actors, counters, distances = self._actors, self._lists["counters"], self._lists["distances"]
        runs: list[tuple[OpId, int]] = []
        objects: list[int] = []
        values: list[Scalar] = []
        raws: list[bytes] = []
        preds: list[tuple[OpId, ...]] = []
        overwritten: list[int] = []
        obj: OpId = (0, b"")
        for named, own, count, lines in shape.segments:
            if named >= OBJECT_OF:
                obj = (next(counters), actors[named - OBJECT_OF])
            elif named == OWN_OBJECT:
                obj = (start_op + own, actors[0])
            if not 0 < obj[0] <= MAX_OP_COUNTER:
                raise MalformedChange("an operation counter is out of range")
            runs.append((obj, count))
            objects += [obj[0]] * count
            for kind, overwrites in lines:
                if not overwrites:
                    preds.append(())
                elif len(overwrites) == 1 and (named := overwrites[0][0]) != OWN_PRED:
                    actor, distance = actors[named - PRED_OF], next(distances)
                    counter = obj[0] + distance if actor == obj[1] else start_op - distance
                    if not 0 < counter <= MAX_OP_COUNTER:
                        raise MalformedChange("an operation counter is out of range")
                    preds.append(((counter, actor),))
                    overwritten.append(counter)
                else:
                    of_one = self._preds(overwrites, obj, len(raws), start_op)
                    preds.append(of_one)
                    overwritten.append(of_one[0][0])
                if kind == STR:
                    raw = next(self._strings)
                    values.append(raw.decode())
                else:
                    value, raw = self._number_value(kind)
                    values.append(value)
                raws.append(raw)
        table = Table(runs, shape.keys, shape.actions, values, preds if overwritten else None)
        return table, objects, raws, overwritten

    def _preds(
        self, overwrites: tuple[tuple[int, int], ...], obj: OpId, number: int, start_op: int
    ) -> tuple[OpId, ...]:
        preds = []
        for named, ago in overwrites:
            if named == OWN_PRED:
                pred = (start_op + number - ago, self._actors[0])
            else:
                actor = self._actors[named - PRED_OF]
                distance = next(self._lists["distances"])
                pred = (obj[0] + distance if actor == obj[1] else start_op - distance, actor)
            if not 0 < pred[0] <= MAX_OP_COUNTER:
                raise MalformedChange("an operation counter is out of range")
            preds.append(pred)
        return tuple(sorted(preds)) if len(preds) > 1 else tuple(preds)

    def _number_value(self, kind: int) -> tuple[Scalar, bytes]:
        """The next value of a type that is no text, and its bytes as they stand in a change."""
        value: Scalar
        if kind == INT:
            at = self._integer_at
            raw = self._integers[at : at + 6]
            if value := read_time(raw):
                self._integer_at = at + 6
                return value, raw
            _, self._integer_at = signed(self._integers, at)
            value = read_value(kind, self._integers[at : self._integer_at])
            return value, value_bytes(kind, value)  # a number can be written longer than it has to be
        if kind == F64:
            at = self._float_at
            self._float_at = at + 8
            value = read_value(kind, self._floats[at : self._float_at])
            return value, value_bytes(kind, value)
        return read_value(kind, b""), b""

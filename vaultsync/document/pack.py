"""What an envelope carries: changes of one actor, in order, with what they have in common sent once.

A change on its own costs about 140 bytes, of which a new password is perhaps twenty: the rest is the hash of the
change before it, its actor, names of columns and keys. A pack of many changes is transposed::

    byte 1
    actors, keys, hashes   three tables, each value once; the first actor is the author of all changes
    shapes                 what changes look like apart from their numbers and values: per operation its key, action,
                           type of value, how its object and its predecessors are named. Edits of one kind share a shape
    changes                shape, gap before start_op, dependencies besides the change before it
    operations             counters of objects, distances of predecessors, lengths of texts
    values                 texts, integers and floats, untouched

Each list is one run-length coded column. No general compressor ever sees a value: the length of the result would tell
how much a new value has in common with others. Hashes within the pack are left out; unpacking computes them.

Packing checks that unpacking gives the same bytes, and falls back to the plain layout (byte 0, then length and chunk of
each) when it does not, or when that is shorter, as it is for one small change.

Unpacking is for bytes from outside: bounded in memory and in operations before anything is expanded. What it returns is
canonical, because it was encoded here; it still has to pass the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import error as StructError
from typing import Any, NamedTuple

from ..errors import MalformedChange
from ..limits import MAX_ACTORS_PER_CHANGE, MAX_CHANGE_BYTES, MAX_OP_COUNTER, MAX_OPS_PER_CHANGE, MAX_OPS_PER_PACK
from .codec import (
    Action,
    Change,
    Op,
    OpId,
    Scalar,
    chunk_hash,
    decode,
    decode_own,
    encode,
    read_value,
    value_bytes,
    value_type,
)
from .columns import read_runs, signed, steps, summed, to_signed, to_unsigned, unsigned, write_runs
from .stencil import Line, Stencil

__all__ = ["pack", "unpack", "unpack_changes"]

_PLAIN, _COLUMNS = 0, 1
_INT, _F64, _STR = value_type(0), value_type(0.0), value_type("")

# How an operation names its object, and a predecessor; everything above is an index in the table of actors.
_SAME_OBJECT, _OWN_OBJECT, _OBJECT_OF = 0, 1, 2
_OWN_PRED, _PRED_OF = 0, 1

_UNSIGNED, _SIGNED, _STEPS = range(3)
_LISTS = {
    # of shapes
    "sizes": _UNSIGNED,  # operations of each
    "objects": _UNSIGNED,  # per operation
    "own_objects": _STEPS,  # number of the operation of the same change that makes the object
    "keys": _UNSIGNED,
    "actions": _UNSIGNED,
    "types": _UNSIGNED,
    "pred_counts": _UNSIGNED,
    "preds": _UNSIGNED,
    "own_preds": _UNSIGNED,  # how many operations ago
    # of changes
    "shapes": _UNSIGNED,
    "gaps": _SIGNED,
    "deps": _UNSIGNED,  # twice the number of hashes, plus one for "and the change before"
    "hashes": _UNSIGNED,
    # of operations
    "counters": _STEPS,  # of objects
    "distances": _SIGNED,  # of predecessors: from their object if of the same actor, else back from start_op
    "lengths": _UNSIGNED,  # of texts
}


class _Row(NamedTuple):
    """One operation of a shape."""

    object: int
    own_object: int
    key: int
    action: int
    type: int
    preds: tuple[tuple[int, int], ...]  # (how it is named, how many operations ago)


def pack(given: Sequence[bytes | Change]) -> bytes:
    """Changes of one actor in the order of their chain, as one string of bytes; ``unpack`` gives the same chunks.

    ``given``: chunks, or changes that were decoded already. Whatever else chunks may be comes back the same too, only
    not smaller.
    """
    chunks = [each.chunk if isinstance(each, Change) else each for each in given]
    plain = bytes((_PLAIN,)) + b"".join([to_unsigned(len(chunk)) + chunk for chunk in chunks])
    if len(chunks) < 2:
        return plain
    try:
        changes = [each if isinstance(each, Change) else decode_own(each) for each in given]
        if sum(len(change.ops) for change in changes) > MAX_OPS_PER_PACK:
            return plain
        packed = _Packer(changes).joined()
        size = sum(map(len, chunks))
        if len(packed) < len(plain) and [c.chunk for c in unpack_changes(packed, max_bytes=size)] == chunks:
            return packed
    except MalformedChange:
        pass
    return plain


_GARBLED = (IndexError, KeyError, TypeError, ValueError, OverflowError, StructError, RuntimeError, StopIteration)
"""What reading garbled columns ends with. A column that is too short is a StopIteration, inside a generator a
RuntimeError."""


def unpack(data: bytes, *, max_bytes: int) -> list[bytes]:
    """The chunks in a pack. ``max_bytes`` bounds them together. Raises ``MalformedChange``."""
    return [change.chunk for change in unpack_changes(data, max_bytes=max_bytes)]


def unpack_changes(data: bytes, *, max_bytes: int) -> list[Change]:
    """The changes in a pack, decoded; ``Engine.apply`` takes them as they are. Otherwise like ``unpack``."""
    try:
        if data[0] == _COLUMNS:
            return list(_Unpacker(data, max_bytes).changes())
        if data[0] != _PLAIN or len(data) > max_bytes + 5 * len(data) // 64 + 16:
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


class _Packer:
    """Takes changes apart into lists."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._actor = changes[0].actor
        self._first = changes[0]
        self._lists: dict[str, list[int]] = {name: [] for name in _LISTS}
        self._actors: dict[bytes, int] = {self._actor: 0}
        self._keys: dict[str, int] = {}
        self._hashes: dict[bytes, int] = {}
        self._shapes: dict[tuple[_Row, ...], int] = {}
        self._values: dict[int, list[bytes]] = {_STR: [], _INT: [], _F64: []}
        before: Change | None = None
        for change in changes:
            self._add(change, before)
            before = change
        for shape in self._shapes:
            self._add_shape(shape)

    def joined(self) -> bytes:
        """The pack."""
        tables = (
            [to_unsigned(len(actor)) + actor for actor in self._actors],
            [to_unsigned(len(key)) + key for key in map(str.encode, self._keys)],
            list(self._hashes),
        )
        parts = [bytes((_COLUMNS,)), to_unsigned(self._first.seq), to_unsigned(self._first.start_op)]
        for table in tables:
            parts += (to_unsigned(len(table)), *table)
        for name, kind in _LISTS.items():
            numbers = self._lists[name]
            cells = steps(numbers) if kind == _STEPS else numbers
            column = write_runs(cells, to_unsigned if kind == _UNSIGNED else to_signed) if cells else b""
            parts += (to_unsigned(len(column)), column)
        for values in self._values.values():
            joined = b"".join(values)
            parts += (to_unsigned(len(joined)), joined)
        return b"".join(parts)

    def _actor_number(self, actor: bytes) -> int:
        return self._actors.setdefault(actor, len(self._actors))

    def _add(self, change: Change, before: Change | None) -> None:
        lists = self._lists
        lists["gaps"].append(0 if before is None else change.start_op - before.max_op - 1)
        others = [dep for dep in change.deps if before is None or dep != before.hash]
        lists["deps"].append(2 * len(others) + (len(others) < len(change.deps)))
        lists["hashes"] += [self._hashes.setdefault(dep, len(self._hashes)) for dep in others]
        rows = []
        last: OpId | None = None
        for number, op in enumerate(change.ops):
            rows.append(self._row(change, number, op, last))
            last = op.obj
        shape = tuple(rows)
        lists["shapes"].append(self._shapes.setdefault(shape, len(self._shapes)))

    def _row(self, change: Change, number: int, op: Op, last: OpId | None) -> _Row:
        obj, start = op.obj, change.start_op
        if obj is None:
            raise MalformedChange("the first change of a vault is not packed")
        own = 0
        if obj == last:
            named = _SAME_OBJECT
        elif obj[1] == self._actor and obj[0] >= start:
            named, own = _OWN_OBJECT, obj[0] - start
        else:
            named = _OBJECT_OF + self._actor_number(obj[1])
            self._lists["counters"].append(obj[0])
        preds = []
        for counter, actor in op.preds:
            if actor == self._actor and counter >= start:
                preds.append((_OWN_PRED, number - (counter - start)))
                continue
            preds.append((_PRED_OF + self._actor_number(actor), 0))
            self._lists["distances"].append(counter - obj[0] if actor == obj[1] else start - counter)
        kind = value_type(op.value)
        if kind in self._values:
            raw = value_bytes(kind, op.value)
            self._values[kind].append(raw)
            if kind == _STR:
                self._lists["lengths"].append(len(raw))
        key = self._keys.setdefault(op.key, len(self._keys))
        return _Row(named, own, key, op.action, kind, tuple(preds))

    def _add_shape(self, shape: tuple[_Row, ...]) -> None:
        lists = self._lists
        lists["sizes"].append(len(shape))
        for row in shape:
            lists["objects"].append(row.object)
            if row.object == _OWN_OBJECT:
                lists["own_objects"].append(row.own_object)
            lists["keys"].append(row.key)
            lists["actions"].append(row.action)
            lists["types"].append(row.type)
            lists["pred_counts"].append(len(row.preds))
            for named, ago in row.preds:
                lists["preds"].append(named)
                if named == _OWN_PRED:
                    lists["own_preds"].append(ago)


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
        self._lists = {name: iter(self._list(kind)) for name, kind in _LISTS.items()}
        self._texts, self._integers, self._floats = [self._take(self._number()) for _ in range(3)]
        if self._at != len(data):
            raise MalformedChange("something follows a pack of changes")
        self._shapes = [self._shape(size) for size in self._lists["sizes"]]
        self._stencils: dict[int, Stencil | None] = {}
        self._numbers = list(self._lists["shapes"])
        if sum(len(self._shapes[number]) for number in self._numbers) > MAX_OPS_PER_PACK:
            raise MalformedChange("a pack of changes holds too many operations")
        self._text_at = self._integer_at = self._float_at = 0
        self._objects: list[int] = []
        self._raws: list[bytes] = []
        self._overwritten: list[int] = []

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
        read: Callable[[bytes, int], tuple[Any, int]] = unsigned if kind == _UNSIGNED else signed
        cells = read_runs(column, MAX_OPS_PER_PACK, read, exactly=False)
        return summed(cells) if kind == _STEPS else cells

    def _shape(self, size: int) -> tuple[_Row, ...]:
        if not 0 < size <= MAX_OPS_PER_CHANGE:
            raise MalformedChange("a change has no operations, or too many")
        lists = self._lists
        rows = []
        for _ in range(size):
            named = next(lists["objects"])
            own = next(lists["own_objects"]) if named == _OWN_OBJECT else 0
            preds = []
            for _ in range(next(lists["pred_counts"])):
                pred = next(lists["preds"])
                preds.append((pred, next(lists["own_preds"]) if pred == _OWN_PRED else 0))
            key, action, kind = next(lists["keys"]), next(lists["actions"]), next(lists["types"])
            rows.append(_Row(named, own, key, Action(action), kind, tuple(preds)))
        return tuple(rows)

    # ---- putting changes together -------------------------------------------------------------------------------
    def changes(self) -> Iterator[Change]:
        """All changes, in order."""
        actor = self._actors[0]
        start_op, last_hash, total = self._start_op, b"", 0
        gaps = self._lists["gaps"]
        for seq, number in enumerate(self._numbers, self._seq):
            shape = self._shapes[number]
            start_op += next(gaps)
            if not seq or not 0 < start_op <= MAX_OP_COUNTER - len(shape):
                raise MalformedChange("a sequence number or operation counter is out of range")
            deps = self._deps(last_hash)
            ops = self._ops(shape, start_op)
            stencil = self._stencil(number)
            if stencil is None:
                chunk = encode(actor, seq, start_op, deps, ops)
                last_hash = chunk_hash(chunk)
            else:
                last_hash, chunk = stencil.encode(seq, start_op, deps, self._objects, self._raws, self._overwritten)
            total += len(chunk)
            if len(chunk) > MAX_CHANGE_BYTES or total > self._max_bytes:
                raise MalformedChange("a pack of changes holds more than allowed")
            yield Change(last_hash, deps, actor, seq, start_op, ops, chunk)
            start_op += len(ops)
        if any(next(numbers, None) is not None for numbers in self._lists.values()) or (
            (self._text_at, self._integer_at, self._float_at)
            != (len(self._texts), len(self._integers), len(self._floats))
        ):
            raise MalformedChange("a pack of changes holds more than its changes")

    def _stencil(self, number: int) -> Stencil | None:
        """How changes of that shape are written; none where an operation has several predecessors."""
        if number not in self._stencils:
            self._stencils[number] = self._make_stencil(self._shapes[number])
        return self._stencils[number]

    def _make_stencil(self, shape: tuple[_Row, ...]) -> Stencil | None:
        actors, lines = self._actors, []
        obj = actors[0]
        for row in shape:
            if len(row.preds) > 1:
                return None
            if row.object != _SAME_OBJECT:
                obj = actors[row.object - _OBJECT_OF] if row.object >= _OBJECT_OF else actors[0]
            named = row.preds[0][0] if row.preds else None
            pred = None if named is None else actors[0 if named == _OWN_PRED else named - _PRED_OF]
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

    def _ops(self, shape: tuple[_Row, ...], start_op: int) -> tuple[Op, ...]:
        """The operations of the next change; what a stencil is told of them lies in lists of this object then."""
        actors, keys, counters = self._actors, self._keys, self._lists["counters"]
        ops = []
        objects: list[int] = []
        raws: list[bytes] = []
        overwritten: list[int] = []
        self._objects, self._raws, self._overwritten = objects, raws, overwritten
        obj: OpId = (0, b"")
        for number, (named, own, key, action, kind, overwrites) in enumerate(shape):
            if named >= _OBJECT_OF:
                obj = (next(counters), actors[named - _OBJECT_OF])
            elif named == _OWN_OBJECT:
                obj = (start_op + own, actors[0])
            if not 0 < obj[0] <= MAX_OP_COUNTER:
                raise MalformedChange("an operation counter is out of range")
            preds = self._preds(overwrites, obj, number, start_op) if overwrites else ()
            value, raw = self._value(kind)
            ops.append(Op(obj, keys[key], action, value, preds))  # type: ignore[arg-type]
            objects.append(obj[0])
            raws.append(raw)
            if preds:
                overwritten.append(preds[0][0])
        return tuple(ops)

    def _preds(
        self, overwrites: tuple[tuple[int, int], ...], obj: OpId, number: int, start_op: int
    ) -> tuple[OpId, ...]:
        preds = []
        for named, ago in overwrites:
            if named == _OWN_PRED:
                pred = (start_op + number - ago, self._actors[0])
            else:
                actor = self._actors[named - _PRED_OF]
                distance = next(self._lists["distances"])
                pred = (obj[0] + distance if actor == obj[1] else start_op - distance, actor)
            if not 0 < pred[0] <= MAX_OP_COUNTER:
                raise MalformedChange("an operation counter is out of range")
            preds.append(pred)
        return tuple(sorted(preds)) if len(preds) > 1 else tuple(preds)

    def _value(self, kind: int) -> tuple[Scalar, bytes]:
        """The next value of a type, and its bytes as they stand in a change."""
        if kind == _STR:
            at = self._text_at
            self._text_at = end = at + next(self._lists["lengths"])
            raw = self._texts[at:end]
            return raw.decode(), raw
        if kind == _INT:
            at = self._integer_at
            _, self._integer_at = signed(self._integers, at)
            value = read_value(kind, self._integers[at : self._integer_at])
            return value, value_bytes(kind, value)  # a number can be written longer than it has to be
        if kind == _F64:
            at = self._float_at
            self._float_at = at + 8
            value = read_value(kind, self._floats[at : self._float_at])
            return value, value_bytes(kind, value)
        return read_value(kind, b""), b""

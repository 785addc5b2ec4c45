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

from collections.abc import Sequence

from ..errors import MalformedChange
from ..limits import MAX_OPS_PER_PACK
from .codec import Change, Op, OpId, decode_own, value_bytes, value_type
from .columns import steps, to_signed, to_unsigned, write_runs
from .unpacking import (
    COLUMNS,
    F64,
    INT,
    LISTS,
    OBJECT_OF,
    OWN_OBJECT,
    OWN_PRED,
    PLAIN,
    PRED_OF,
    SAME_OBJECT,
    STEPS,
    STR,
    UNSIGNED,
    Row,
    unpack_changes,
)

__all__ = ["pack", "unpack", "unpack_changes"]


def pack(given: Sequence[bytes | Change]) -> bytes:
    """Changes of one actor in the order of their chain, as one string of bytes; ``unpack`` gives the same chunks.

    ``given``: chunks, or changes that were decoded already. Whatever else chunks may be comes back the same too, only
    not smaller.
    """
    chunks = [each.chunk if isinstance(each, Change) else each for each in given]
    plain = bytes((PLAIN,)) + b"".join([to_unsigned(len(chunk)) + chunk for chunk in chunks])
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


def unpack(data: bytes, *, max_bytes: int) -> list[bytes]:
    """The chunks in a pack. ``max_bytes`` bounds them together. Raises ``MalformedChange``."""
    return [change.chunk for change in unpack_changes(data, max_bytes=max_bytes)]


class _Packer:
    """Takes changes apart into lists."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._actor = changes[0].actor
        self._first = changes[0]
        self._lists: dict[str, list[int]] = {name: [] for name in LISTS}
        self._actors: dict[bytes, int] = {self._actor: 0}
        self._keys: dict[str, int] = {}
        self._hashes: dict[bytes, int] = {}
        self._shapes: dict[tuple[Row, ...], int] = {}
        self._values: dict[int, list[bytes]] = {STR: [], INT: [], F64: []}
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
        parts = [bytes((COLUMNS,)), to_unsigned(self._first.seq), to_unsigned(self._first.start_op)]
        for table in tables:
            parts += (to_unsigned(len(table)), *table)
        for name, kind in LISTS.items():
            numbers = self._lists[name]
            cells = steps(numbers) if kind == STEPS else numbers
            column = write_runs(cells, to_unsigned if kind == UNSIGNED else to_signed) if cells else b""
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

    def _row(self, change: Change, number: int, op: Op, last: OpId | None) -> Row:
        obj, start = op.obj, change.start_op
        if obj is None:
            raise MalformedChange("the first change of a vault is not packed")
        own = 0
        if obj == last:
            named = SAME_OBJECT
        elif obj[1] == self._actor and obj[0] >= start:
            named, own = OWN_OBJECT, obj[0] - start
        else:
            named = OBJECT_OF + self._actor_number(obj[1])
            self._lists["counters"].append(obj[0])
        preds = []
        for counter, actor in op.preds:
            if actor == self._actor and counter >= start:
                preds.append((OWN_PRED, number - (counter - start)))
                continue
            preds.append((PRED_OF + self._actor_number(actor), 0))
            self._lists["distances"].append(counter - obj[0] if actor == obj[1] else start - counter)
        kind = value_type(op.value)
        if kind in self._values:
            raw = value_bytes(kind, op.value)
            self._values[kind].append(raw)
            if kind == STR:
                self._lists["lengths"].append(len(raw))
        key = self._keys.setdefault(op.key, len(self._keys))
        return Row(named, own, key, op.action, kind, tuple(preds))

    def _add_shape(self, shape: tuple[Row, ...]) -> None:
        lists = self._lists
        lists["sizes"].append(len(shape))
        for row in shape:
            lists["objects"].append(row.object)
            if row.object == OWN_OBJECT:
                lists["own_objects"].append(row.own_object)
            lists["keys"].append(row.key)
            lists["actions"].append(row.action)
            lists["types"].append(row.type)
            lists["pred_counts"].append(len(row.preds))
            for named, ago in row.preds:
                lists["preds"].append(named)
                if named == OWN_PRED:
                    lists["own_preds"].append(ago)

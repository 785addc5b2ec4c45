"""The bytes of one Automerge change, for the subset that a vault uses: maps of scalars.

A change chunk (type 1) is laid out as::

    85 6f 4a 83 | checksum (4) | 01 | uleb length | contents
    contents = uleb n, n * 32 bytes dependencies (sorted) | uleb length + actor | uleb seq | uleb start_op
             | sleb time | uleb length + message | uleb n, n * (uleb length + actor) other actors (sorted)
             | uleb n, n * (uleb column spec, uleb length) | the columns

and its hash is SHA-256 over everything from the type byte on; the checksum is the first four bytes of it. The columns
hold one cell an operation, run-length coded (``put``/``null`` runs as in the Automerge binary format, version 1).

``decode`` accepts exactly what ``encode`` writes, which is what the engine writes: whatever is not byte for byte the
canonical form is refused, so no two parties can read one change differently. Everything is bounded by the sizes in
``limits`` *before* a run is expanded. Chunks of other types (a deflated change, a whole document) are refused; the
time has to be 0 and the message empty, as the engine leaves them: nothing in a vault reads either, so a chunk that
has them was not made by this library, and a free field that nobody reads is a place to hide bytes in.

This module does not know the layout of a vault: which operation may stand where is decided in ``gate``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from struct import error as StructError
from typing import NamedTuple, TypeAlias, overload

from ..errors import MalformedChange
from ..limits import (
    MAX_ACTORS_PER_CHANGE,
    MAX_CHANGE_BYTES,
    MAX_DEPS_PER_CHANGE,
    MAX_OP_COUNTER,
    MAX_OPS_PER_CHANGE,
    MAX_PREDS_PER_CHANGE,
    MAX_VALUE_BYTES,
)
from .canonical import read
from .columns import (
    read_runs,
    read_string,
    signed,
    steps,
    summed,
    to_signed,
    to_unsigned,
    unsigned,
    write_runs,
    write_string,
)
from .operations import Action, Change, Op, OpId, Scalar, read_value, value_bytes, value_type

__all__ = [
    "Action",
    "Change",
    "LazyOps",
    "Looks",
    "Op",
    "OpId",
    "Scalar",
    "chunk_hash",
    "decode",
    "decode_literally",
    "decode_own",
    "encode",
    "frame",
    "read_value",
    "value_bytes",
    "value_type",
    "whole",
]

_HEAD = b"\x85\x6f\x4a\x83"
_TYPE = 8  # where the type byte stands
_ACTIONS = {int(a): a for a in Action}
_OBJ_ACTOR, _OBJ_COUNTER, _KEY, _INSERT, _ACTION = 1, 2, 21, 52, 66
_VALUE_META, _VALUE, _PRED_COUNT, _PRED_ACTOR, _PRED_COUNTER = 86, 87, 112, 113, 115
_COLUMNS = frozenset((1, 2, 21, 52, 66, 86, 87, 112, 113, 115))


# ---- changes ----------------------------------------------------------------------------------------------------
def chunk_hash(chunk: bytes) -> bytes:
    """The hash of a type-1 chunk that is known to be whole."""
    return sha256(chunk[_TYPE:]).digest()


def encode(actor: bytes, seq: int, start_op: int, deps: Sequence[bytes], ops: Sequence[Op]) -> bytes:
    """The canonical chunk of a change of at least one operation. Dependencies and predecessors come in any order."""
    return frame(_contents(actor, seq, start_op, deps, ops))[1]


def frame(contents: bytes) -> tuple[bytes, bytes]:
    """(hash, chunk) of a change with these contents."""
    return whole(b"\x01" + to_unsigned(len(contents)) + contents)


def whole(body: bytes) -> tuple[bytes, bytes]:
    """(hash, chunk) of what stands behind the checksum of a chunk."""
    digest = sha256(body).digest()
    return digest, _HEAD + digest[:4] + body


_SPECS = {spec: to_unsigned(spec) for spec in _COLUMNS}


def _contents(actor: bytes, seq: int, start_op: int, deps: Sequence[bytes], ops: Sequence[Op]) -> bytes:
    objs, keys, actions, values, preds = zip(*ops, strict=True)
    flat = [pred for of_one in preds for pred in (sorted(of_one) if len(of_one) > 1 else of_one)]
    others = {op_id[1] for op_id in flat}
    others.update(obj[1] for obj in objs if obj is not None)
    others.discard(actor)
    index = {actor: 0}
    for other in sorted(others):
        index[other] = len(index)
    kinds = [value_type(value) for value in values]
    raw = [value_bytes(kind, value) for kind, value in zip(kinds, values, strict=True)]
    columns = (
        (_OBJ_ACTOR, write_runs([obj and index[obj[1]] for obj in objs], to_unsigned)),
        (_OBJ_COUNTER, write_runs([obj and obj[0] for obj in objs], to_unsigned)),
        (_KEY, write_runs(keys, write_string)),
        (_INSERT, to_unsigned(len(ops))),  # a run of that many times "no"
        (_ACTION, write_runs(actions, to_unsigned)),
        (_VALUE_META, write_runs([len(r) << 4 | kind for r, kind in zip(raw, kinds, strict=True)], to_unsigned)),
        (_VALUE, b"".join(raw)),
        (_PRED_COUNT, write_runs([len(of_one) for of_one in preds], to_unsigned)),
        (_PRED_ACTOR, write_runs([index[pred[1]] for pred in flat], to_unsigned)),
        (_PRED_COUNTER, write_runs(steps(pred[0] for pred in flat), to_signed)),
    )
    present = [(spec, data) for spec, data in columns if data]
    parts = [to_unsigned(len(deps)), *sorted(deps), to_unsigned(len(actor)), actor]
    parts += (to_unsigned(seq), to_unsigned(start_op), b"\0\0", to_unsigned(len(others)))  # no time, no message
    for other in sorted(others):
        parts += (to_unsigned(len(other)), other)
    parts.append(to_unsigned(len(present)))
    parts += [_SPECS[spec] + to_unsigned(len(data)) for spec, data in present]
    parts += [data for _, data in present]
    return b"".join(parts)


def decode(chunk: bytes) -> Change:
    """The change in a chunk, in time and memory bounded by the chunk's size and ``limits``.

    Raises ``MalformedChange`` for whatever ``encode`` would not have written.
    """
    return read(chunk) or decode_literally(chunk)


def decode_literally(chunk: bytes) -> Change:
    """What ``decode`` means: read the change, write it again, and compare. ``canonical.read`` does the same faster."""
    try:
        return _decode(chunk, canonical=True)
    except (IndexError, StructError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise MalformedChange(f"a change is cut short or garbled ({type(error).__name__})") from None


def _open(chunk: bytes) -> tuple[bytes, bytes]:
    """The contents and the hash of a chunk whose frame and checksum are right."""
    if chunk[:4] != _HEAD:
        raise MalformedChange("not a change")
    if len(chunk) > MAX_CHANGE_BYTES:
        raise MalformedChange("a change is larger than allowed")
    if chunk[_TYPE] == 2:
        raise MalformedChange("a deflated change: changes are sent uncompressed")
    if chunk[_TYPE] != 1:
        raise MalformedChange("a chunk that is not a change")
    length, at = unsigned(chunk, _TYPE + 1)
    contents = chunk[at:]
    if len(contents) != length:
        raise MalformedChange("a change is cut short, or something follows it")
    if chunk[_TYPE + 1 : at] != to_unsigned(length):  # it is hashed as it stands here, and as it should be elsewhere
        raise MalformedChange("a change is not in canonical form")
    digest = chunk_hash(chunk)
    if digest[:4] != chunk[4:_TYPE]:
        raise MalformedChange("the checksum of a change is wrong")
    return contents, digest


Looks: TypeAlias = "dict[tuple[bytes, ...], _Look]"
"""Operations that were read before, apart from their numbers and values: for who decodes many changes that are alike.
It holds names of keys, so it should not live longer than the work."""


def decode_own(chunk: bytes, looks: Looks | None = None) -> Change:
    """The change in a chunk of one's own making: like ``decode``, but not proved to be canonical."""
    try:
        return _decode(chunk, canonical=False, looks=looks)
    except (IndexError, StructError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise MalformedChange(f"a change is cut short or garbled ({type(error).__name__})") from None


class LazyOps(Sequence[Op]):
    """The operations of a chunk of one's own making, decoded when first looked at: mostly nobody does."""

    __slots__ = ("_chunk", "_count", "_ops")

    def __init__(self, chunk: bytes, count: int) -> None:
        self._chunk = chunk
        self._count = count
        self._ops: Sequence[Op] | None = None

    def _decoded(self) -> Sequence[Op]:
        if self._ops is None:
            self._ops = decode_own(self._chunk).ops
        return self._ops

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Op: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Op]: ...
    def __getitem__(self, index: int | slice) -> Op | Sequence[Op]:
        return self._decoded()[index]

    def __iter__(self) -> Iterator[Op]:
        return iter(self._decoded())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._chunk)

    def __repr__(self) -> str:
        return f"<{self._count} operations>"


def _decode(chunk: bytes, *, canonical: bool, looks: Looks | None = None) -> Change:
    contents, digest = _open(chunk)
    count, at = unsigned(contents, 0)
    if count > MAX_DEPS_PER_CHANGE:
        raise MalformedChange("a change has more dependencies than allowed")
    deps = tuple([contents[k : k + 32] for k in range(at, at + 32 * count, 32)])
    at += 32 * count
    length, at = unsigned(contents, at)
    actors = [contents[at : at + length]]
    seq, at = unsigned(contents, at + length)
    start_op, at = unsigned(contents, at)
    if contents[at : at + 2] != b"\0\0":
        raise MalformedChange("a change has a time or a message")
    count, at = unsigned(contents, at + 2)
    if count > MAX_ACTORS_PER_CHANGE:
        raise MalformedChange("a change names more actors than allowed")
    for _ in range(count):
        length, at = unsigned(contents, at)
        actors.append(contents[at : at + length])
        at += length
    columns = _split_columns(contents, at)
    ops = _read_ops(columns, actors, looks)
    if not seq or not start_op or start_op + len(ops) > MAX_OP_COUNTER:
        raise MalformedChange("a sequence number or operation counter is out of range")
    if canonical and _contents(actors[0], seq, start_op, deps, ops) != contents:
        raise MalformedChange("a change is not in canonical form")
    return Change(digest, deps, actors[0], seq, start_op, ops, chunk)


def _split_columns(contents: bytes, at: int) -> dict[int, bytes]:
    count, at = unsigned(contents, at)
    if count > len(_COLUMNS):
        raise MalformedChange("a change has columns that a vault does not use")
    heads = contents[at : at + 2 * count]
    if heads.isascii() and len(heads) == 2 * count:  # numbers of one byte, as nearly always
        lengths = list(zip(heads[::2], heads[1::2], strict=True))
        at += 2 * count
    else:
        lengths = []
        for _ in range(count):
            spec, at = unsigned(contents, at)
            length, at = unsigned(contents, at)
            lengths.append((spec, length))
    columns = {}
    for spec, length in lengths:
        if spec not in _COLUMNS:
            raise MalformedChange("a change has columns that a vault does not use")
        columns[spec] = contents[at : at + length]
        at += length
    return columns


class _Look(NamedTuple):
    """Operations apart from their numbers and values; ``objects`` and ``overwritten`` are actors by their number."""

    objects: list[int | None]
    keys: list[str]
    actions: list[Action]
    pred_counts: list[int]
    overwritten: list[int]


_LOOKS = (_ACTION, _OBJ_ACTOR, _KEY, _PRED_COUNT, _PRED_ACTOR)


def _look(columns: Sequence[bytes]) -> _Look:
    action_column, objects_column, keys_column, counts_column, actors_column = columns
    actions = read_runs(action_column, MAX_OPS_PER_CHANGE, unsigned, exactly=False)
    count = len(actions)
    if not count:
        raise MalformedChange("a change without operations")
    pred_counts = read_runs(counts_column, count, unsigned)
    total = sum(pred_counts)
    if total > MAX_PREDS_PER_CHANGE:
        raise MalformedChange("a change overwrites more than allowed")
    keys = read_runs(keys_column, count, read_string)
    if None in keys:
        raise MalformedChange("a change holds what is no whole operation: there is no key")
    return _Look(
        read_runs(objects_column, count, unsigned),
        keys,
        [_ACTIONS[action] for action in actions],
        pred_counts,
        read_runs(actors_column, total, unsigned),
    )


def _read_ops(columns: dict[int, bytes], actors: list[bytes], looks: Looks | None = None) -> tuple[Op, ...]:
    column = columns.get
    described = tuple([column(spec, b"") for spec in _LOOKS])
    look = None if looks is None else looks.get(described)
    if look is None:
        look = _look(described)
        if looks is not None:
            looks[described] = look
    count = len(look.actions)
    counters = read_runs(column(_OBJ_COUNTER, b""), count, unsigned)
    if counters.count(None) != look.objects.count(None):
        raise MalformedChange("a change holds what is no whole operation: half of an object's id")
    objs = [
        None if actor is None and counter is None else (counter, actors[actor])  # type: ignore[index]
        for actor, counter in zip(look.objects, counters, strict=True)
    ]
    values: list[Scalar] = []
    raw = column(_VALUE, b"")
    at = 0
    for meta in read_runs(column(_VALUE_META, b""), count, unsigned):
        end = at + (meta >> 4)
        if end - at > MAX_VALUE_BYTES:
            raise MalformedChange("a value is larger than allowed")
        values.append(read_value(meta & 15, raw[at:end]))
        at = end
    pred_counters = summed(read_runs(column(_PRED_COUNTER, b""), len(look.overwritten), signed))
    flat = [(counter, actors[actor]) for counter, actor in zip(pred_counters, look.overwritten, strict=True)]
    preds = []
    at = 0
    for number in look.pred_counts:
        preds.append(tuple(flat[at : at + number]))
        at += number
    return tuple(map(Op, objs, look.keys, look.actions, values, preds))

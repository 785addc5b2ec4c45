"""What a change is made of: operations, the values they write, and the change itself. No bytes but those of values.

The operations of a change come as rows (a tuple of `Op`), or as a `Table`, by column: who takes many thousands of them
looks at columns, and rows are made only where somebody asks for one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import partial
from itertools import accumulate, chain, repeat
from struct import Struct
from typing import Any, NamedTuple, TypeAlias, overload

from ..errors import MalformedChange
from .columns import signed, to_signed

__all__ = [
    "Action",
    "Change",
    "Op",
    "OpId",
    "Scalar",
    "Table",
    "read_value",
    "value_bytes",
    "value_type",
]

_DOUBLE = Struct("<d")
_MAX_INT = (1 << 63) - 1
_NULL, _FALSE, _TRUE, _INT, _F64, _STR = 0, 1, 2, 4, 5, 6  # value types of the column format

Scalar: TypeAlias = str | int | float | bool | None
OpId: TypeAlias = tuple[int, bytes]
"""(counter, actor): the identity of an operation, and of the object that it makes. Compares as the engine compares."""


class Action(IntEnum):
    """What an operation does. Automerge knows more of them; a vault does not."""

    MAKE_MAP = 0
    SET = 1
    DELETE = 3


class Op(NamedTuple):
    """One operation. The k-th of a change has the id ``(start_op + k, actor)``."""

    obj: OpId | None
    """The map it is made in; ``None`` is the root."""
    key: str
    action: Action
    value: Scalar
    preds: tuple[OpId, ...]
    """The operations that it overwrites, ascending."""


_new_op = partial(tuple.__new__, Op)  # a third of the time of Op(...), for as many at once


class Table(Sequence[Op]):
    """The operations of a change by column. Nothing of it is changed once it is made."""

    __slots__ = ("_ends", "_rows", "actions", "keys", "objects", "preds", "values")

    def __init__(
        self,
        objects: list[tuple[OpId, int]],
        keys: list[str],
        actions: list[Action],
        values: list[Scalar],
        preds: list[tuple[OpId, ...]] | None,
    ) -> None:
        self.objects = objects
        """Runs of operations in one map: the map, and how many of them."""
        self.keys = keys
        self.actions = actions
        self.values = values
        self.preds = preds
        """What each overwrites; ``None`` when none overwrites anything."""
        self._rows: tuple[Op, ...] | None = None
        self._ends: list[int] | None = None  # where the runs of ``objects`` end

    def rows(self) -> tuple[Op, ...]:
        """The same as rows."""
        if self._rows is None:
            objs = chain.from_iterable(repeat(obj, count) for obj, count in self.objects)
            preds = repeat(()) if self.preds is None else self.preds
            self._rows = tuple(map(_new_op, zip(objs, self.keys, self.actions, self.values, preds, strict=False)))
        return self._rows

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Op: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Op]: ...
    def __getitem__(self, index: int | slice) -> Op | Sequence[Op]:
        if self._rows is not None or isinstance(index, slice):
            return self.rows()[index]
        key, action, value = self.keys[index], self.actions[index], self.values[index]
        if self._ends is None:
            self._ends = list(accumulate([count for _, count in self.objects]))
        obj = self.objects[bisect_right(self._ends, index % len(self.keys))][0]
        return Op(obj, key, action, value, () if self.preds is None else self.preds[index])

    def __iter__(self) -> Iterator[Op]:
        return iter(self.rows())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.rows() == tuple(other)

    def __hash__(self) -> int:
        return hash(self.rows())

    def __repr__(self) -> str:
        return f"<{len(self.keys)} operations>"


class Change(NamedTuple):
    """One decoded change and the chunk it was decoded from."""

    hash: bytes
    deps: tuple[bytes, ...]
    actor: bytes
    seq: int
    start_op: int
    ops: Sequence[Op]
    chunk: bytes

    @property
    def max_op(self) -> int:
        """Counter of its last operation."""
        return self.start_op + len(self.ops) - 1


# ---- values -----------------------------------------------------------------------------------------------------
def value_type(value: Scalar) -> int:
    """The column format's type of a value. Raises ``TypeError`` for anything that a vault does not hold."""
    kind = type(value)
    if kind is str:
        return _STR
    if kind is int:
        return _INT
    if kind is bool:
        return _TRUE if value else _FALSE
    if value is None:
        return _NULL
    if kind is float:
        return _F64
    raise TypeError(f"a vault holds no {kind.__name__}")


def value_bytes(kind: int, value: Any) -> bytes:
    """The bytes of a value of that type in the value column."""
    if kind == _STR:
        return value.encode()  # type: ignore[no-any-return]
    if kind == _INT:
        return to_signed(value)
    if kind == _F64:
        return _DOUBLE.pack(value)
    return b""


def read_value(kind: int, data: bytes) -> Scalar:
    """The value of that type whose bytes are ``data``."""
    if kind == _STR:
        return data.decode()
    if kind == _INT:
        number, end = signed(data, 0)
        if end != len(data) or not -_MAX_INT - 1 <= number <= _MAX_INT:
            raise MalformedChange("an integer is out of range")
        return number
    if kind == _F64 and len(data) == 8:
        return float(_DOUBLE.unpack(data)[0])
    if kind <= _TRUE and not data:
        return (None, False, True)[kind]
    raise MalformedChange("a value is of a kind that a vault does not hold")

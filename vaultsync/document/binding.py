"""A document of the automerge binding, held with tongs. This module gets it as an object and imports nothing of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn, ParamSpec, TypeVar

from ..errors import EngineFailure
from .codec import OpId
from .columns import to_unsigned, unsigned

__all__ = ["Binding", "is_panic", "object_id", "op_id"]

P = ParamSpec("P")
T = TypeVar("T")


def is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"


@lru_cache(maxsize=4_096)  # one entry is asked for several times in a row
def object_id(obj: OpId) -> bytes:
    """The binding's id of an object. Its third part is a hint that may be wrong, so it is always 0."""
    counter, actor = obj
    return b"\x10" + to_unsigned(len(actor)) + actor + b"\0" + to_unsigned(counter)


def op_id(raw: bytes) -> OpId:
    """The (counter, actor) in the binding's id of an object or operation."""
    length = raw[1]
    hint_end = length + 3
    if length > 127 or raw[length + 2] > 127:  # longer than any actor of ours, or one of very many
        length, at = unsigned(raw, 1)
        _, hint_end = unsigned(raw, at + length)
        return unsigned(raw, hint_end)[0], raw[at : at + length]
    return unsigned(raw, hint_end)[0], raw[2 : length + 2]


class Binding:
    """A document of the binding behind guards: every call of it goes through ``call``."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.broken = False

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call into the engine; whatever it raises leaves the document unusable."""
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> NoReturn:
        """Give the document up, and raise what the caller should see."""
        self.broken = True
        if is_panic(error):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.document))  # freeing a poisoned document may segfault
        if isinstance(error, EngineFailure):
            raise error
        if not isinstance(error, Exception) and not is_panic(error):
            raise error  # KeyboardInterrupt and its like: not ours to hide
        raise EngineFailure(f"the document engine failed ({type(error).__name__})") from None

"""Plain data as bytes and back, many objects at once: what pages, columns and indexes are written down with."""

from __future__ import annotations

import gc
import sys
import threading
import zlib
from array import array
from typing import Any, Final

import msgpack

__all__ = ["MalformedPage", "array_of", "bytes_of", "deflate", "inflate", "pack", "uncollected", "unpack"]


SMALL_BUFFER: Final = 4_096
"""Bytes that packing begins with: the library's quarter of a megabyte is mapped and cleared anew for each record."""


class MalformedPage(Exception):
    """What was kept does not have the shape that it was written in. Internal: the owner makes it again."""


def bytes_of(numbers: array[int]) -> bytes:
    """Numbers, little-endian."""
    if sys.byteorder == "big":  # written down little-endian
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def array_of(code: str, data: bytes) -> array[int]:
    """Numbers as `bytes_of` wrote them. Raises ``ValueError``."""
    numbers = array(code)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def pack(value: object) -> bytes:
    """Plain data as bytes. Text as Python holds it: also what no UTF-8 can say comes back as it was."""
    packed = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass", buf_size=SMALL_BUFFER)
    return bytes(packed)


def unpack(data: bytes) -> Any:
    """The reverse of `pack`. Raises `MalformedPage`."""
    try:
        with uncollected():
            return msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=False, unicode_errors="surrogatepass")
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError):
        raise MalformedPage("what was kept cannot be read") from None


def deflate(data: bytes) -> bytes:
    """The same in fewer bytes, for what is seldom read."""
    return zlib.compress(data)


def inflate(data: bytes) -> bytes:
    """The reverse. Raises `MalformedPage`."""
    try:
        return zlib.decompress(data)
    except zlib.error:
        raise MalformedPage("what was kept cannot be read") from None


# ---- the collector ----------------------------------------------------------------------------------------------
_pauses = 0
_pausing = threading.Lock()
_resume = False


class _Pause:
    """See `uncollected`. Holds nothing: one for everybody."""

    def __enter__(self) -> None:
        global _pauses, _resume  # noqa: PLW0603 - the collector is one for the process, and so is who paused it
        with _pausing:
            if _pauses == 0:
                _resume = gc.isenabled()
                gc.disable()
            _pauses += 1

    def __exit__(self, *_: object) -> None:
        global _pauses  # noqa: PLW0603
        with _pausing:
            _pauses -= 1
            if _pauses == 0 and _resume:
                gc.enable()


_PAUSE: Final = _Pause()


def uncollected() -> _Pause:
    """Pause the cyclic collector while many objects are made that are no garbage: it would look at all of them, again
    and again. Nested and concurrent uses count; whoever had turned the collector off keeps it off."""
    return _PAUSE

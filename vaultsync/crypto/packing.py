"""Strict canonical msgpack, shapes to check it against, and padding.

The subset: nil, bool, 64-bit integers, UTF-8 text, bytes, lists (read as tuples) and maps with text keys in ascending
order. One value has one encoding; everything else is refused with the one error that the caller names, in memory
bounded by :mod:`vaultsync.limits` and not by what the input claims.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

import msgpack

from vaultsync import limits
from vaultsync.errors import MalformedEnvelope, VaultSyncError

__all__ = [
    "Check",
    "flag",
    "many",
    "octets",
    "optional",
    "pack",
    "pad",
    "padded_size",
    "row",
    "uint",
    "unpack",
    "unpad",
]

Check = Callable[[object], bool]
"""Whether an unpacked value has the wanted shape."""
_SMALLEST: Final = 256
_BUFFER: Final = 4_096  # it grows; the library's own begins with a quarter of a megabyte


def pack(value: object) -> bytes:
    """The one encoding of ``value``. Raises TypeError or ValueError for what the subset lacks (a caller's bug)."""
    ordered = _ordered(value, limits.MAX_PACKED_DEPTH)
    return bytes(msgpack.packb(ordered, use_bin_type=True, strict_types=True, buf_size=_BUFFER))


def unpack(
    data: bytes,
    *,
    max_bytes: int,
    error: type[VaultSyncError] = MalformedEnvelope,
    max_items: int = limits.MAX_PACKED_ITEMS,
) -> Any:
    """The value whose one encoding is ``data``; ``error`` for everything else, never holding the contents."""
    if len(data) > max_bytes:
        raise error("the packed contents are larger than the limit")
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            use_list=False,
            strict_map_key=True,
            ext_hook=_no_extensions,
            max_str_len=max_bytes,
            max_bin_len=max_bytes,
            max_array_len=max_items,
            max_map_len=max_items,
            max_ext_len=0,
        )
        canonical = pack(value) == data  # and so no key twice or out of order, nothing longer than needed
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        canonical = False
    if not canonical:  # raised here, not above: the library's exceptions carry what was decoded
        raise error("the packed contents are not in canonical form")
    return value


def _no_extensions(code: int, data: bytes) -> NoReturn:
    raise ValueError("extension types are not part of the format")


def _ordered(value: object, depth: int) -> object:
    """``value`` with maps in key order; refuses what the subset lacks."""
    if value is None or isinstance(value, bool | int | str | bytes):
        return value
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, tuple | list):
        return [_ordered(item, depth - 1) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _ordered(value[key], depth - 1) for key in sorted(value)}
    raise TypeError(f"{type(value).__name__} is not part of the format")


# ---- shapes -----------------------------------------------------------------------------------------------------


def uint(most: int, least: int = 0) -> Check:
    """An integer between the two, both included (True is not 1)."""
    return lambda value: type(value) is int and least <= value <= most


def octets(least: int, most: int | None = None) -> Check:
    """Bytes of exactly ``least``, or of between the two."""
    top = least if most is None else most
    return lambda value: type(value) is bytes and least <= len(value) <= top


def flag(value: object) -> bool:
    """A boolean."""
    return type(value) is bool


def optional(check: Check) -> Check:
    """Nil or what ``check`` accepts."""
    return lambda value: value is None or check(value)


def many(check: Check, most: int, least: int = 0) -> Check:
    """A list of between ``least`` and ``most`` such values."""
    return lambda value: type(value) is tuple and least <= len(value) <= most and all(map(check, value))


def row(*checks: Check) -> Check:
    """A list with exactly these, in order."""
    return lambda value: (
        type(value) is tuple
        and len(value) == len(checks)
        and all(check(item) for check, item in zip(checks, value, strict=True))
    )


# ---- padding ----------------------------------------------------------------------------------------------------


def padded_size(size: int) -> int:
    """max(256, Padmé): at most 12% more, and sizes fall into so few classes that they tell O(log log n) bits."""
    if size <= _SMALLEST:
        return _SMALLEST
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask


def pad(body: bytes) -> bytes:
    """u32 length || body || zeros up to the padded size."""
    framed = len(body).to_bytes(4, "big") + body
    return framed.ljust(padded_size(len(framed)), b"\0")


def unpad(padded: bytes, error: type[VaultSyncError] = MalformedEnvelope) -> bytes:
    """The reverse of :func:`pad`; ``error`` unless it is exactly what :func:`pad` gives."""
    length = int.from_bytes(padded[:4], "big")
    if len(padded) < _SMALLEST or 4 + length > len(padded) or len(padded) != padded_size(4 + length):
        raise error("the padding has the wrong length")
    if padded.count(0, 4 + length) != len(padded) - 4 - length:
        raise error("the padding is not all zero")
    return padded[4 : 4 + length]

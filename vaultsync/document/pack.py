"""What an envelope carries: the changes of one actor, in order."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import MalformedChange
from .codec import Change, decode, to_unsigned, unsigned

__all__ = ["pack", "unpack", "unpack_changes"]

_PLAIN = 0


def pack(chunks: Sequence[bytes]) -> bytes:
    """The chunks as one string of bytes."""
    return bytes((_PLAIN,)) + b"".join(to_unsigned(len(chunk)) + chunk for chunk in chunks)


def unpack(data: bytes, *, max_bytes: int) -> list[bytes]:
    """The chunks of a pack. Raises ``MalformedChange``."""
    return [change.chunk for change in unpack_changes(data, max_bytes=max_bytes)]


def unpack_changes(data: bytes, *, max_bytes: int) -> list[Change]:
    """The decoded changes of a pack. Raises ``MalformedChange``."""
    if not data or data[0] != _PLAIN or len(data) > max_bytes:
        raise MalformedChange("a pack of changes is garbled")
    out = []
    at = 1
    try:
        while at < len(data):
            length, at = unsigned(data, at)
            out.append(decode(data[at : at + length]))
            at += length
    except IndexError:
        raise MalformedChange("a pack of changes is cut short") from None
    return out

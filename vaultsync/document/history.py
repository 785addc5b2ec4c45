"""What an entry has been: one revision for each change that touched it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .codec import Change, OpId, Scalar, decode_own
from .columns import to_unsigned

__all__ = ["Revision", "Written", "changes_of"]


class Written(NamedTuple):
    """One of several values that a key holds, and which change wrote it."""

    value: Scalar
    actor: bytes
    hash: bytes
    seq: int


class Revision(NamedTuple):
    """What one change did to an entry, as its author saw it: the keys it wrote, before and after.

    A key that is missing from ``before`` was not there, one missing from ``after`` was deleted.
    """

    hash: bytes
    actor: bytes
    seq: int
    before: Mapping[str, Scalar]
    after: Mapping[str, Scalar]


def changes_of(
    obj: OpId, maker: bytes | None, chunks: Iterable[tuple[bytes, bytes]]
) -> Iterator[tuple[Change, list[str]]]:
    """Of all changes (hash, chunk) those that write to one map, and the keys they write.

    ``maker`` is the change that made the map. Few changes are decoded: a map's counter stands in the bytes of every
    change that writes to it.
    """
    needle = to_unsigned(obj[0])
    for hash, chunk in chunks:
        if hash == maker or needle in chunk:
            change = decode_own(chunk)
            keys = list(dict.fromkeys(op.key for op in change.ops if op.obj == obj))
            if keys or hash == maker:
                yield change, keys

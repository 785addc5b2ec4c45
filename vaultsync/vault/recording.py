"""How changes are written down in rows of the journal, before they are sealed.

A row holds one change or several that follow each other: received ones that came together, or a *strip* of own ones,
which a snapshot holds as well and which no envelope holds yet. Nobody reads those before they are packed, so they lie
there as small as is cheap::

    change      the chunk as it is (it begins with byte 0x85)
    "G" mark    its place in a batch, then the chunk
    "Z"         one of the two, deflated
    "T"         several: for each change flags 1 (1: a mark follows), place 1, length 4, [mark], then what stands behind
                the checksum of its chunk. place: one more than where the hash of the change before it was left out,
                as it can be computed; 0: it was not
    "S"         the same, deflated: a strip

Rows are local: what is deflated tells by its size how well it could be, and only who reads this device's disk. What is
sent is never deflated (`document/pack.py`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from vaultsync import limits
from vaultsync.document.changes import Change
from vaultsync.document.codec import chunk_hash, whole
from vaultsync.errors import BadSeal
from vaultsync.store import JournalRow

__all__ = ["GroupMark", "OwnChange", "Recorded", "record", "recorded", "runs", "strip", "strips", "together"]


class GroupMark(NamedTuple):
    """The place of a change in a batch that took several: id (16 bytes), number from 0, how many."""

    id: bytes
    number: int
    of: int


class OwnChange(NamedTuple):
    """A change of this device as it was recorded, with its place in a batch."""

    change: Change
    group: GroupMark | None


Recorded = tuple[bytes, GroupMark | None]
"""A chunk, and its place in a batch."""

_GROUPED: Final = struct.Struct(">1s16sII")
_MARK, _DEFLATED, _TOGETHER, _STRIP = b"G", b"Z", b"T", b"S"  # no change begins with one of them
_LINE: Final = struct.Struct(">BBI")
_HASH: Final = 32
_CHECKED: Final = 8  # bytes of a chunk before what its hash is of
_QUICK: Final = 1  # an import waits for it; 4 takes twice as long for a tenth less


def record(chunk: bytes, group: GroupMark | None = None) -> bytes:
    """What a row says of one change."""
    data = chunk if group is None else _GROUPED.pack(_MARK, *group) + chunk
    if len(data) < limits.DEFLATE_FROM_BYTES:
        return data
    deflated = _DEFLATED + zlib.compress(data, _QUICK)
    return deflated if len(deflated) < len(data) else data


def recorded(data: bytes) -> list[Recorded]:
    """What a row says. Raises `BadSeal` when it is not what `record`, `together` or `strip` made."""
    kind = data[:1]
    try:
        if kind == _TOGETHER:
            return list(_lines(data[1:]))
        if kind == _STRIP:
            return list(_lines(_inflated(data)))
        return [_one(_inflated(data) if kind == _DEFLATED else data)]
    except (zlib.error, struct.error, IndexError):
        raise BadSeal("a row of the journal is not as it was written") from None


def _inflated(data: bytes) -> bytes:
    inflating = zlib.decompressobj()
    found = inflating.decompress(data[1:], limits.MAX_ROW_BYTES)
    if not inflating.eof:
        raise BadSeal("a row of the journal is cut short, or larger than any")
    return found


def _one(data: bytes) -> Recorded:
    if data[:1] != _MARK:
        return data, None
    _, *group = _GROUPED.unpack_from(data)
    return data[_GROUPED.size :], GroupMark(*group)


def strip(changes: Sequence[Recorded]) -> bytes:
    """What a row says of own changes that follow each other and that a snapshot holds."""
    return _STRIP + zlib.compress(_lined((chunk, group, chunk_hash(chunk)) for chunk, group in changes))


def together(changes: Sequence[Change]) -> bytes:
    """What a row says of received changes that follow each other. Not deflated: they are not this device's words."""
    return _TOGETHER + _lined((change.chunk, None, change.hash) for change in changes)


def _lined(changes: Iterable[tuple[bytes, GroupMark | None, bytes]]) -> bytes:
    out = bytearray()
    before = b""
    for chunk, group, hash_ in changes:
        body = chunk[_CHECKED:]
        place = body.find(before, 0, 0xFE + _HASH) if before else -1
        if place >= 0:
            body = body[:place] + body[place + _HASH :]
        out += _LINE.pack(group is not None, place + 1, len(body))
        if group is not None:
            out += _GROUPED.pack(_MARK, *group)
        out += body
        before = hash_
    return bytes(out)


def _lines(data: bytes) -> Iterator[Recorded]:
    at, before = 0, b""
    while at < len(data):
        grouped, place, size = _LINE.unpack_from(data, at)
        at += _LINE.size
        group = None
        if grouped:
            group = _one(data[at : at + _GROUPED.size])[1]
            at += _GROUPED.size
        body = data[at : at + size]
        if len(body) != size:
            raise BadSeal("a row of the journal is cut short")
        at += size
        if place:
            body = body[: place - 1] + before + body[place - 1 :]
        before, chunk = whole(body)
        yield chunk, group


def runs(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Received changes, parted into what has one row: small ones that follow each other, any other alone."""
    run: list[Change] = []
    size = 0
    for change in changes:
        small = len(change.chunk) < limits.DEFLATE_FROM_BYTES
        follows = bool(run) and (run[-1].actor, run[-1].seq + 1) == (change.actor, change.seq)
        if run and not (small and follows and len(run) < limits.STRIP_CHANGES and size < limits.STRIP_BYTES):
            yield run
            run, size = [], 0
        run.append(change)
        size += len(change.chunk) if small else limits.STRIP_BYTES
    if run:
        yield run


def strips(rows: Iterable[JournalRow], floor: int) -> Iterator[list[JournalRow]]:
    """Which rows of one actor, in their order, are to become strips: those up to a position that are small and hold
    one change each."""
    found: list[JournalRow] = []
    size = 0
    for row in rows:
        fits = row.position <= floor and row.holds == 1 and len(row.sealed) < limits.DEFLATE_FROM_BYTES
        if len(found) >= limits.STRIP_AT_LEAST and (
            not fits or len(found) == limits.STRIP_CHANGES or size > limits.STRIP_BYTES
        ):
            yield found
            found, size = [], 0
        if fits:
            found.append(row)
            size += len(row.sealed)
        else:
            found, size = [], 0
    if len(found) >= limits.STRIP_AT_LEAST:
        yield found

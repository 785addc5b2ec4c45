"""Folding the journal: a snapshot of the document takes the place of rows.

A snapshot replaces nothing before it was read back from the file, loaded, and its heads compared. Own changes that are
in no envelope yet stay beside it, many in a row: a snapshot that is damaged later takes nothing along that was sent
nowhere (`healing`), and packing needs no document.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from vaultsync import limits
from vaultsync.crypto.rows import LocalKey
from vaultsync.document.engine import Engine
from vaultsync.errors import BadSeal, DamagedStore
from vaultsync.store import JournalRow, Reseal, Snapshot, Writing
from vaultsync.vault.recording import recorded, strip, strips
from vaultsync.vault.transaction import JOURNAL, STATE

__all__ = ["confirm", "opened", "put", "resealing", "sealed"]

# What a row is sealed for: the names of the tables as far as the seals are concerned.
SNAPSHOT: Final = "snapshot"
INDEX: Final = "index"


def sealed(key: LocalKey, name: str, data: bytes) -> tuple[bytes, Iterator[bytes]]:
    """The index and the segments of a snapshot, sealed."""
    size = limits.SEGMENT_BYTES
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    segments = (key.seal(SNAPSHOT, f"{name}/{number}", piece) for number, piece in enumerate(pieces))
    return key.seal(SNAPSHOT, INDEX, json.dumps({"id": name}).encode()), segments


def opened(key: LocalKey, held: Snapshot) -> bytes:
    """Raises `BadSeal`, and `DamagedStore` for a segment that is not there."""
    name = json.loads(key.open(SNAPSHOT, INDEX, held.index))["id"]
    return b"".join(key.open(SNAPSHOT, f"{name}/{n}", segment) for n, segment in enumerate(held.segments()))


def put(key: LocalKey, entropy: Callable[[int], bytes], writing: Writing, data: bytes) -> int:
    """Store a snapshot of everything that is recorded, not yet confirmed; returns its generation."""
    return writing.put_snapshot(writing.position(), *sealed(key, entropy(16).hex(), data))


def confirm(key: LocalKey, writing: Writing, generation: int, heads: Sequence[bytes]) -> bool:
    """Read a snapshot back, load it, compare its heads, and only then let it take the place of what it covers. False
    when it is gone, or is not what it should be: the changes stay the truth."""
    held = writing.snapshot(generation)
    if held is None:
        return False
    if not Engine.verify_snapshot(opened(key, held), heads):
        writing.drop_snapshot(generation)
        return False
    if not writing.confirm_snapshot(generation):
        return False
    with contextlib.suppress(DamagedStore):  # what is damaged stays as it is, for whoever examines it
        for tip in writing.own_tips():
            for rows in strips(writing.unpacked(tip.actor), writing.floor()):
                _join(key, writing, rows)
    return True


def _join(key: LocalKey, writing: Writing, rows: Sequence[JournalRow]) -> None:
    """Have these changes in one row. What cannot be read, or would not read back as it was, stays."""
    try:
        changes = [change for row in rows for change in recorded(key.open(JOURNAL, row.hash, row.sealed))]
        data = strip(changes)
        if recorded(data) != changes:
            return
    except BadSeal:
        return
    writing.join_own(rows, key.seal(JOURNAL, rows[-1].hash, data))


def resealing(old: LocalKey, new: LocalKey) -> Reseal:
    """How each sealed row gets from one key to the other. Raises `DamagedStore` for what does not open."""

    def move(table: str, name: str | bytes, sealed: bytes) -> bytes:
        try:
            return new.seal(table, name, old.open(table, name, sealed))
        except BadSeal:
            raise DamagedStore(
                "something in this vault file cannot be read: examine it, and change the password when it is whole",
                lost=("what that row held",),
                whole=("everything else: nothing was changed",),
            ) from None

    def segment(index: bytes, number: int, sealed: bytes) -> bytes:
        name = json.loads(old.open(SNAPSHOT, INDEX, index))["id"]
        return move(SNAPSHOT, f"{name}/{number}", sealed)

    return Reseal(
        journal=lambda row: move(JOURNAL, row.hash, row.sealed),
        head=lambda sealed: move(SNAPSHOT, INDEX, sealed),
        segment=segment,
        state=lambda name, sealed: move(STATE, name, sealed),
    )

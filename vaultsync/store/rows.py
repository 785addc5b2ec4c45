"""What the store hands out: plain rows, sealed bytes inside, nothing that refers back to the file."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "Envelope",
    "JournalRow",
    "LostRow",
    "NewRow",
    "Origin",
    "Quarantined",
    "Slot",
    "SnapshotInfo",
    "Tip",
    "Weight",
]


class Origin(StrEnum):
    """Who wrote a change: this file's own incarnations (kept until packed into an envelope), or somebody else."""

    OWN = "own"
    FOREIGN = "foreign"


class JournalRow(NamedTuple):
    """One change. ``position`` ascends over the life of the file and is never used twice.

    A row may hold several changes of one actor that follow each other: ``holds`` of them, up to ``seq``; position and
    hash are the last one's. Somebody else's are recorded so, and have the positions before this one; own ones are
    joined when a snapshot holds them (`JournalWriting.join_own`).
    """

    position: int
    actor: bytes
    seq: int
    hash: bytes
    sealed: bytes
    origin: Origin
    holds: int = 1


class NewRow(NamedTuple):
    """One change that is to be recorded, or somebody else's ``holds`` that follow each other, up to ``seq``; ``hash``
    is the last one's."""

    actor: bytes
    seq: int
    hash: bytes
    sealed: bytes
    holds: int = 1


class LostRow(NamedTuple):
    """A journal row that cannot be read; ``actor`` and ``seq`` where an index still knows them."""

    position: int
    actor: bytes | None
    seq: int | None


class Tip(NamedTuple):
    """The last change an own incarnation recorded here, and the last of its numbers that is in an envelope."""

    actor: bytes
    seq: int
    hash: bytes
    packed: int


class Weight(NamedTuple):
    """What the journal holds above the floor: what a new snapshot would save replaying."""

    changes: int
    bytes: int


class Slot(NamedTuple):
    """A wrapped key: not sealed, it is what opens the seals. ``kind`` says by what (password, keyring, …)."""

    kind: str
    data: bytes


class Envelope(NamedTuple):
    """An object of a remote as it is stored here."""

    name: str
    chain: bytes
    seq: int
    env_id: bytes
    kind: int
    own: bool
    data: bytes


class Quarantined(NamedTuple):
    """An object that was refused; ``reason`` is what the caller wrote."""

    name: str
    reason: str
    data: bytes


class SnapshotInfo(NamedTuple):
    """One snapshot as it is recorded; ``missing`` are the numbers of segments that are not there."""

    generation: int
    position: int
    segments: int
    verified: bool
    missing: tuple[int, ...]

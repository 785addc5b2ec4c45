"""Snapshots: the whole document as of a journal position, sealed in segments.

Written in two steps. `put_snapshot` stores it unverified; the owner reads it back, loads it and compares heads; only
then `confirm_snapshot` drops older ones and the journal rows it covers. Until then the older one and all rows are
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vaultsync import limits
from vaultsync.errors import DamagedStore
from vaultsync.store.base import Rows
from vaultsync.store.journal import JournalWriting
from vaultsync.store.rows import SnapshotInfo
from vaultsync.store.tables import checksum

__all__ = ["Snapshot", "SnapshotReading", "SnapshotWriting", "split"]

_DOING = "reading the snapshot"


def split(data: bytes) -> Iterator[bytes]:
    """A snapshot's bytes in pieces of ``limits.SEGMENT_BYTES``, to be sealed one by one."""
    view = memoryview(data)
    for start in range(0, len(data), limits.SEGMENT_BYTES):
        yield bytes(view[start : start + limits.SEGMENT_BYTES])


class SnapshotReading(Rows):
    """Reads of snapshots."""

    def snapshots(self) -> list[SnapshotInfo]:
        """Every snapshot that is recorded, newest first. Segments are counted, not read."""
        rows = self._rows(
            _DOING,
            "SELECT generation, position, segments, verified, sealed, crc FROM snapshots ORDER BY generation DESC",
        )
        found = []
        for row in rows:
            if checksum("snapshots", *row[:-1]) == row[-1]:
                generation, position, segments, verified = row[:4]
                found.append(
                    SnapshotInfo(generation, position, segments, bool(verified), self._missing(generation, segments))
                )
        return found

    def _missing(self, generation: int, segments: int) -> tuple[int, ...]:
        try:
            rows = self._rows(_DOING, "SELECT number FROM segments WHERE generation = ?", generation)
            there = {row[0] for row in rows}
        except DamagedStore:  # a page of the tree itself: look for each
            there = {number for number in range(segments) if self._has_segment(generation, number)}
        return tuple(number for number in range(segments) if number not in there)

    def _has_segment(self, generation: int, number: int) -> bool:
        try:
            return (
                self._row(_DOING, "SELECT 1 FROM segments WHERE generation = ? AND number = ?", generation, number)
                is not None
            )
        except DamagedStore:
            return False

    def snapshot(self, generation: int | None = None) -> Snapshot | None:
        """The newest verified snapshot if all its segments are there, else another whole one that the journal
        continues.

        When none is whole: the newest verified one, whose ``missing`` says what is not there. ``None`` when none was
        ever confirmed (then the journal goes back to the beginning). Raises `DamagedStore` when there was one. With
        ``generation``: that one, ``None`` if it is not there.
        """
        found = self.snapshots()
        if generation is not None:
            return next((Snapshot(self, info) for info in found if info.generation == generation), None)
        verified = [info for info in found if info.verified]
        floor = self.floor_or_zero()
        for info in (*verified, *(info for info in found if not info.verified and (verified or floor))):
            if not info.missing and info.position >= floor:
                return Snapshot(self, info)
        if verified:
            return Snapshot(self, verified[0])
        if floor:
            raise self._damaged(
                _DOING,
                f"The snapshot of everything up to change {floor} cannot be read.",
                "Changes recorded after it.",
            )
        return None

    def floor_or_zero(self) -> int:
        """The floor, or 0 when damage hides it: a snapshot alone is better than nothing."""
        try:
            return self._tally.floor
        except DamagedStore:
            return 0

    def snapshot_index(self, generation: int) -> bytes:
        """The sealed index of a snapshot. Raises `DamagedStore`."""
        row = self._row(
            _DOING,
            "SELECT generation, position, segments, verified, sealed, crc FROM snapshots WHERE generation = ?",
            generation,
        )
        if row is None:
            raise self._damaged(_DOING, "The snapshot's index cannot be found.")
        self._check(_DOING, "snapshots", row[:-1], row[-1], "The snapshot's index is not as written.")
        return bytes(row[4])

    def segment(self, generation: int, number: int) -> bytes:
        """One sealed segment. Raises `DamagedStore` naming it."""
        lost = f"Segment {number} of the snapshot cannot be read."
        row: Any | None
        try:
            row = self._row(
                _DOING, "SELECT sealed, crc FROM segments WHERE generation = ? AND number = ?", generation, number
            )
        except DamagedStore as error:
            raise self._damaged(_DOING, lost, "The snapshot's other segments may be readable.") from error
        if row is None or checksum("segments", generation, number, row[0]) != row[1]:
            raise self._damaged(_DOING, lost, "The snapshot's other segments may be readable.")
        return bytes(row[0])


class Snapshot:
    """A snapshot inside the transaction that it was read in. ``position``: the journal goes on after it."""

    def __init__(self, reading: SnapshotReading, info: SnapshotInfo) -> None:
        self._reading = reading
        self.generation = info.generation
        self.position = info.position
        self.count = info.segments
        self.verified = info.verified
        self.missing = info.missing
        """Numbers of segments that are not there; a segment that is there may still turn out damaged."""

    @property
    def index(self) -> bytes:
        return self._reading.snapshot_index(self.generation)

    def segments(self) -> Iterator[bytes]:
        """All sealed segments in order. Raises `DamagedStore` at the first that cannot be read."""
        for number in range(self.count):
            yield self._reading.segment(self.generation, number)

    def segment(self, number: int) -> bytes:
        """One sealed segment. Raises `DamagedStore`."""
        return self._reading.segment(self.generation, number)


class SnapshotWriting(SnapshotReading, JournalWriting):
    """Writes of snapshots."""

    def put_snapshot(self, position: int, index: bytes, segments: Iterable[bytes]) -> int:
        """Store a snapshot of everything up to ``position``, unverified; returns its generation (never used twice).

        Raises `ValueError` for a position that the journal has not reached, or that is below the floor.
        """
        doing = "storing a snapshot"
        tally = self._tally
        if not tally.floor <= position <= tally.position:
            raise ValueError(f"a snapshot at {position} does not fit a journal from {tally.floor} to {tally.position}")
        tally.generation += 1
        generation, count = tally.generation, 0
        for sealed in segments:
            self._insert(
                "segments",
                doing,
                "INSERT INTO segments (generation, number, crc, sealed) VALUES (?, ?, ?, ?)",
                *(generation, count, checksum("segments", generation, count, sealed), sealed),
            )
            count += 1
        self._insert(
            "snapshots",
            doing,
            "INSERT INTO snapshots (generation, position, segments, verified, crc, sealed) VALUES (?, ?, ?, 0, ?, ?)",
            *(generation, position, count, checksum("snapshots", generation, position, count, 0, index), index),
        )
        return generation

    def take_over_snapshot(self, index: bytes, segments: Iterable[bytes]) -> int:
        """Store a snapshot that holds *more* than the journal (a verified checkpoint was merged in), unverified;
        returns its generation.

        It gets a position of its own, so that whoever knows less finds the journal compacted and loads it. That
        position has no row: confirm it in this same transaction.
        """
        self._tally.position += 1
        return self.put_snapshot(self._tally.position, index, segments)

    def confirm_snapshot(self, generation: int) -> bool:
        """The snapshot was loaded and compared: make it the one that counts, drop older ones and the rows it covers.

        False when it is gone, because another process confirmed a newer one meanwhile. Own rows that are in no envelope
        yet stay. Raises `DamagedStore` when a segment is missing.
        """
        doing = "confirming a snapshot"
        info = next((info for info in self.snapshots() if info.generation == generation), None)
        if info is None:
            return False
        if info.position < self._tally.floor:  # confirming it would leave a hole between it and the journal
            self.drop_snapshot(generation)
            return False
        if info.missing:
            raise self._damaged(
                doing, f"Segment {info.missing[0]} of the new snapshot is missing.", "The older snapshot."
            )
        index = self.snapshot_index(generation)
        self._write(
            doing,
            "UPDATE snapshots SET verified = 1, crc = ? WHERE generation = ?",
            *(checksum("snapshots", generation, info.position, info.segments, 1, index), generation),
        )
        self._delete("segments", doing, "DELETE FROM segments WHERE generation < ?", generation)
        self._delete("snapshots", doing, "DELETE FROM snapshots WHERE generation < ?", generation)
        self._compact(info.position)
        return True

    def drop_snapshot(self, generation: int) -> None:
        """Forget a snapshot that could not be verified. Raises `ValueError` for a verified one: others rely on it."""
        doing = "dropping a snapshot"
        row = self._row(doing, "SELECT verified FROM snapshots WHERE generation = ?", generation)
        if row is not None and row[0]:
            raise ValueError("a verified snapshot is replaced by confirming a newer one")
        self._delete("segments", doing, "DELETE FROM segments WHERE generation = ?", generation)
        self._delete("snapshots", doing, "DELETE FROM snapshots WHERE generation = ?", generation)

"""Sealing every row anew, under another key, inside one transaction: what changing a password takes.

The store knows no keys: the caller says what each row becomes. Deleted and overwritten bytes are zeroed on the way;
`Store.scrub` afterwards clears the log of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vaultsync.store.journal import JournalWriting
from vaultsync.store.objects import ObjectsWriting
from vaultsync.store.rows import JournalRow
from vaultsync.store.snapshots import SnapshotWriting
from vaultsync.store.tables import checksum

__all__ = ["Reseal", "ResealingWriting"]

_DOING = "sealing the vault anew"


class Reseal(NamedTuple):
    """What each sealed row becomes: ``journal(row)``, ``head(sealed)`` and ``segment(index, number, sealed)`` of a
    snapshot (``index``: its head as it was), ``state(name, sealed)``."""

    journal: Callable[[JournalRow], bytes]
    head: Callable[[bytes], bytes]
    segment: Callable[[bytes, int, bytes], bytes]
    state: Callable[[str, bytes], bytes]


class ResealingWriting(SnapshotWriting, ObjectsWriting, JournalWriting):
    """The write that touches everything that is sealed."""

    def reseal(self, rows: Reseal) -> None:
        """Replace every sealed row; what is only there to be quick, and snapshots that were never confirmed, go.

        Raises `DamagedStore`; then nothing was changed, as the transaction is to be left with the exception.
        """
        self._rows(_DOING, "PRAGMA secure_delete = ON")
        self._write(_DOING, "DELETE FROM cache")
        for name, sealed in self.states().items():
            self.set_state(name, rows.state(name, sealed))
        for info in self.snapshots():
            if info.verified:
                self._reseal_snapshot(info.generation, info.segments, rows)
            else:
                self.drop_snapshot(info.generation)
        for (position,) in self._rows(_DOING, "SELECT position FROM journal ORDER BY position"):
            self._reseal_change(position, rows)
        self._rows(_DOING, "PRAGMA secure_delete = FAST")

    def _reseal_change(self, position: int, rows: Reseal) -> None:
        found = self._rows(
            _DOING, "SELECT position, actor, seq, hash, own, sealed, crc FROM journal WHERE position = ?", position
        )
        if not found:
            raise self._lost_row(position)
        row = self._journal_row(found[0])
        sealed, own = rows.journal(row), found[0][4]
        if position > self._tally.floor:
            self._tally.journal_bytes += len(sealed) - len(row.sealed)
        crc = checksum("journal", position, row.actor, row.seq, row.hash, own, sealed)
        self._write(_DOING, "UPDATE journal SET sealed = ?, crc = ? WHERE position = ?", sealed, crc, position)

    def _reseal_snapshot(self, generation: int, segments: int, rows: Reseal) -> None:
        index = self.snapshot_index(generation)
        for number in range(segments):
            sealed = rows.segment(index, number, self.segment(generation, number))
            self._write(
                _DOING,
                "UPDATE segments SET sealed = ?, crc = ? WHERE generation = ? AND number = ?",
                *(sealed, checksum("segments", generation, number, sealed), generation, number),
            )
        info = next(info for info in self.snapshots() if info.generation == generation)
        sealed = rows.head(index)
        crc = checksum("snapshots", generation, info.position, segments, 1, sealed)
        self._write(_DOING, "UPDATE snapshots SET sealed = ?, crc = ? WHERE generation = ?", sealed, crc, generation)

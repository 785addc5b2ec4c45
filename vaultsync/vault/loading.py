"""From rows back to changes: what a document is loaded from, and what of it was not sent yet."""

from __future__ import annotations

from typing import NamedTuple

from vaultsync.crypto.rows import LocalKey
from vaultsync.document.codec import Looks, decode_own
from vaultsync.document.engine import Engine
from vaultsync.errors import BadSeal, DamagedStore, EngineFailure
from vaultsync.store import JournalRow, Reading
from vaultsync.vault import folding
from vaultsync.vault.recording import OwnChange, Recorded, recorded
from vaultsync.vault.transaction import JOURNAL

__all__ = ["Stored", "own_changes", "recorded_chunks", "stored_document"]


class Stored(NamedTuple):
    """What a document is loaded from."""

    snapshot: bytes | None
    chunks: list[bytes]
    position: int

    def loaded(self) -> Engine:
        """The document. Raises `DamagedStore`."""
        try:
            return Engine.load(self.snapshot, self.chunks)
        except EngineFailure:
            raise _unreadable(self.snapshot) from None


def stored_document(key: LocalKey, reading: Reading) -> Stored:
    """The snapshot, and the journal after it. Raises `DamagedStore`."""
    snapshot, start = _snapshot(key, reading)
    try:
        return Stored(snapshot, recorded_chunks(key, reading, start), reading.position())
    except BadSeal:
        raise _unreadable(snapshot) from None


def _unreadable(snapshot: bytes | None) -> DamagedStore:
    return DamagedStore(
        "the recorded changes of this vault cannot be read as they were written: restore the file from a "
        "backup, or join the vault again from the remote, which holds everything that was synced",
        lost=("changes made since the last snapshot",),
        whole=("the snapshot",) if snapshot else (),
    )


def _snapshot(key: LocalKey, reading: Reading) -> tuple[bytes | None, int]:
    """(document, position in the journal after which to go on)."""
    held = reading.snapshot()
    if held is None:
        return None, 0
    try:
        return folding.opened(key, held), held.position
    except BadSeal:
        raise DamagedStore(
            "the snapshot in this vault file does not open under the vault's key",
            lost=(f"everything up to change {held.position}, unless the remote holds it",),
            whole=("changes recorded after the snapshot",),
        ) from None


def recorded_chunks(key: LocalKey, reading: Reading, after: int) -> list[bytes]:
    """The changes above a position. Raises `BadSeal`."""
    return [chunk for row in reading.journal(after=after) for chunk, _ in _recorded(key, row)]


def _recorded(key: LocalKey, row: JournalRow) -> list[Recorded]:
    found = recorded(key.open(JOURNAL, row.hash, row.sealed))
    if len(found) != row.holds:
        raise BadSeal("a row of the journal holds more or less than it says")
    return found


def own_changes(key: LocalKey, row: JournalRow, looks: Looks | None = None) -> list[OwnChange]:
    """What a row of this device's own holds, opened; ``looks``: what is kept from one to the next. Raises
    `DamagedStore`."""
    try:
        return [OwnChange(decode_own(chunk, looks), group) for chunk, group in _recorded(key, row)]
    except BadSeal:
        first = row.seq - row.holds + 1
        raise DamagedStore(
            "a change of this device that was not sent yet cannot be read",
            lost=(f"changes {first} to {row.seq} of this device",),
            whole=("everything that was synced",),
        ) from None

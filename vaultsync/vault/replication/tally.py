"""What one pass did so far, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vaultsync.sync.report import Finding, SyncReport, Waiting
from vaultsync.vault.replication.standing import Progress

__all__ = ["Tally"]


class Tally:
    """Of one exchange: `begin` with each pass. ``progress`` is told how far it is, under no lock."""

    def __init__(self, progress: Callable[[Progress], None]) -> None:
        self._progress = progress
        self.begin()

    def begin(self) -> None:
        """Nothing was done yet."""
        self.sent = self.received = self.blobs = 0
        self.bytes_sent = self.bytes_received = 0
        self.to_send: int | None = None
        self.to_receive: int | None = None
        self.bytes_to_send: int | None = None
        self.bytes_to_receive: int | None = None
        self.entries: set[str] = set()
        self.quarantined: list[str] = []
        self.findings: list[Finding] = []

    def came(self, size: int) -> None:
        """So many bytes were received."""
        self.bytes_received += size
        self.tell()

    def expect(self, size: int) -> None:
        """So many more will come."""
        self.bytes_to_receive = self.bytes_received + size
        self.tell()

    def tell(self) -> None:
        """Say how far it is."""
        self._progress(
            Progress(
                self.sent + self.blobs,
                self.received,
                self.bytes_sent,
                self.bytes_received,
                self.to_send,
                self.to_receive,
                self.bytes_to_send,
                self.bytes_to_receive and max(self.bytes_to_receive, self.bytes_received),
            )
        )

    def report(self, seconds: float, waiting: Iterable[Waiting], merged: int, collected: int) -> SyncReport:
        """At the end. ``merged`` and ``collected``: checkpoints, and objects that were deleted."""
        if self.sent or self.blobs or self.received:
            self.to_send, self.to_receive = self.sent + self.blobs, self.received
            self.tell()
        return SyncReport(
            self.sent,
            self.received,
            len(self.entries),
            self.bytes_sent,
            self.bytes_received,
            seconds,
            tuple(waiting),
            tuple(self.quarantined),
            tuple(self.findings),
            merged,
            collected,
        )

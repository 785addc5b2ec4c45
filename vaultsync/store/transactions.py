"""The two kinds of transaction that a store hands out, each put together from its seams."""

from __future__ import annotations

from vaultsync.store.cached import CachedReading, CachedWriting
from vaultsync.store.journal import JournalReading
from vaultsync.store.objects import ObjectsReading
from vaultsync.store.resealing import ResealingWriting
from vaultsync.store.snapshots import SnapshotReading

__all__ = ["Reading", "Writing"]


class Reading(SnapshotReading, JournalReading, ObjectsReading, CachedReading):
    """A consistent picture of the file, from the moment it was taken. Valid inside the ``with`` block only."""


class Writing(ResealingWriting, CachedWriting, Reading):
    """The one write transaction of the file at a time, over all processes. It sees its own writes."""

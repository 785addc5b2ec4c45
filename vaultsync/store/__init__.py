"""The local store: one SQLite file a vault, holding sealed bytes, ids and sequence numbers. It knows no key and no
document.

``Store`` (``store.py``) hands out `Reading` and `Writing` transactions; ``connection.py`` is the one place where a
connection is made; ``tables.py`` defines the file; ``health.py`` examines it.
"""

from __future__ import annotations

from vaultsync.store.connection import Connect, Connection, connect
from vaultsync.store.files import FileLock
from vaultsync.store.health import Health, Unreadable
from vaultsync.store.resealing import Reseal
from vaultsync.store.rows import (
    Envelope,
    JournalRow,
    LostRow,
    NewRow,
    Origin,
    Quarantined,
    Slot,
    SnapshotInfo,
    Tip,
    Weight,
)
from vaultsync.store.salvage import Salvaged, salvage
from vaultsync.store.snapshots import Snapshot, split
from vaultsync.store.store import Store
from vaultsync.store.transactions import Reading, Writing

__all__ = [
    "Connect",
    "Connection",
    "Envelope",
    "FileLock",
    "Health",
    "JournalRow",
    "LostRow",
    "NewRow",
    "Origin",
    "Quarantined",
    "Reading",
    "Reseal",
    "Salvaged",
    "Slot",
    "Snapshot",
    "SnapshotInfo",
    "Store",
    "Tip",
    "Unreadable",
    "Weight",
    "Writing",
    "connect",
    "salvage",
    "split",
]

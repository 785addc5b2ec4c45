"""Examining a vault's file with the keys at hand: pages and rows by the store, seals and the document here."""

from __future__ import annotations

from typing import Any

from vaultsync.document.engine import Engine
from vaultsync.errors import BadSeal, DamagedStore, EngineFailure, VaultSyncError
from vaultsync.store import Health
from vaultsync.vault.ledger import JOURNAL, STATE, Ledger

__all__ = ["Health", "examine"]


def examine(ledger: Ledger) -> Health:
    """Everything that can be checked without a remote. Reports; never raises for damage."""

    def verify(table: str, row: tuple[Any, ...]) -> bool:
        try:
            if table == "journal":
                ledger.key.open(JOURNAL, row[3], row[4])
            elif table == "state":
                ledger.key.open(STATE, row[0], row[1])
        except (BadSeal, IndexError):
            return False
        return True

    health = ledger.store.check(verify=verify)
    try:
        engine = ledger.reload()
    except (DamagedStore, EngineFailure) as error:
        health.lost.append(f"The document cannot be loaded from what is stored: {error}")
        return health
    try:
        saved = engine.save()
        if not Engine.verify_snapshot(saved, engine.heads):
            health.lost.append("The document loads, and what would be saved of it does not.")
        else:
            health.whole.append(f"The document: {len(list(engine.entry_ids())):,} entries, every change in place.")
    except VaultSyncError as error:
        health.lost.append(f"The document loads, but cannot be saved: {error}")
    return health

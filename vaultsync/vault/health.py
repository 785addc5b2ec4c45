"""Examining a vault's file with the keys at hand: pages and rows by the store, seals and the document here."""

from __future__ import annotations

import os
from typing import Any

from vaultsync.document.engine import Engine
from vaultsync.errors import BadSeal, DamagedStore, EngineFailure, VaultSyncError
from vaultsync.store import Health, Store
from vaultsync.vault.ledger import JOURNAL, STATE, Ledger

__all__ = ["Health", "examine", "examine_file"]


def examine_file(path: str | os.PathLike[str]) -> Health:
    """The same of a file too damaged to be opened: what can be told without its key. Never raises for damage."""
    try:
        store = Store.open(path)
    except DamagedStore as error:
        return Health(lost=list(error.lost) or [str(error)], whole=list(error.whole))
    try:
        health = store.check()
    finally:
        store.close()
    if health.ok:
        health.lost.append("Every row is as it was written, and yet the vault cannot be loaded from them.")
    return health


def _shelf(ledger: Ledger, health: Health) -> None:
    """What makes opening quick. Nothing is lost with it, so it is no reason not to be well."""
    with ledger.lock, ledger.store.read() as reading:
        wrong = ledger.shelf.damage(reading)
    if wrong:
        ledger.distrust_shelf()
        health.details += [f"What makes opening quick is damaged and will be made anew: {line}" for line in wrong]
    elif ledger.shelf.state is not None:
        health.whole.append("What makes opening quick.")


def examine(ledger: Ledger, *, quick: bool = False) -> Health:
    """Everything that can be checked without a remote; ``quick``: every row and its seal, and the document is not
    loaded from them. Reports; never raises for damage."""

    def verify(table: str, row: tuple[Any, ...]) -> bool:
        try:
            if table == "journal":
                ledger.key.open(JOURNAL, row[3], row[4])
            elif table == "state":
                ledger.key.open(STATE, row[0], row[1])
        except (BadSeal, IndexError):
            return False
        return True

    health = ledger.store.check(full=not quick, verify=verify)
    if quick:
        return health
    _shelf(ledger, health)
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

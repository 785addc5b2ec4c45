"""What was looked at below a checkpoint's cover (`sync.beneath`), so that no pass looks again.

``looked/<chain>``   JSON: names of envelopes that were opened and hold nothing but what the checkpoint does
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from vaultsync.sync import names
from vaultsync.vault.ledger import Ledger

__all__ = ["looked_at", "remember_looks"]

LOOKED: Final = "looked/"
_KEPT: Final = 64
"""Names of one chain: what is looked at is gone from the remote soon, or stays the lowest of its run."""


def looked_at(ledger: Ledger, chain: bytes) -> list[str]:
    """Those of one chain."""
    stored = ledger.state(LOOKED + chain.hex())
    return json.loads(stored) if stored else []


def remember_looks(ledger: Ledger, found: Iterable[str]) -> None:
    """These are covered."""
    by_chain: dict[bytes, list[str]] = {}
    for name in found:
        if (place := names.parse_envelope(name)) is not None:
            by_chain.setdefault(place.chain, []).append(name)
    if not by_chain:
        return
    with ledger.noting() as transaction:
        for chain, new in by_chain.items():
            stored = transaction.state(LOOKED + chain.hex())
            kept = [*(json.loads(stored) if stored else []), *new][-_KEPT:]
            transaction.set_state(LOOKED + chain.hex(), json.dumps(kept).encode())

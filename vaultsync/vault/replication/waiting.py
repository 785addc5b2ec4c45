"""What waits to be sent, as far as asking costs nothing while it is the same."""

from __future__ import annotations

from collections.abc import Mapping

from vaultsync.store import Tip
from vaultsync.vault.ledger import Ledger

__all__ = ["own_tips", "waiting_for"]


def waiting_for(ledger: Ledger, remote: str) -> Mapping[str, tuple[int, int]]:
    """By name, oldest first, (kind, bytes) of what still has to go to a remote."""
    return ledger.store.outbox(remote)


def own_tips(ledger: Ledger) -> Mapping[bytes, Tip]:
    """The last change of every own incarnation, and how far it is in envelopes."""
    return ledger.store.own_tips()

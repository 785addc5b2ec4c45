"""What waits to be sent, as far as asking costs nothing while it is the same."""

from __future__ import annotations

from typing import Final

from vaultsync.store import Reading, Tip
from vaultsync.vault.ledger import Ledger

__all__ = ["own_tips", "waiting_for"]

_OUTBOX: Final = ("outbox", "remotes", "envelopes")


def waiting_for(ledger: Ledger, remote: str) -> list[tuple[str, int, int]]:
    """(name, kind, bytes) of what still has to go to a remote, oldest first."""
    return ledger.store.recall(("waiting", remote), _OUTBOX, lambda reading: reading.undelivered_sizes(remote))


def own_tips(ledger: Ledger) -> dict[bytes, Tip]:
    """The last change of every own incarnation, and how far it is in envelopes."""
    return ledger.store.recall("own tips", ("actors",), _own_tips)


def _own_tips(reading: Reading) -> dict[bytes, Tip]:
    return {tip.actor: tip for tip in reading.own_tips()}

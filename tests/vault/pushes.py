"""Passes as automatic sync makes them after an edit, when it was just told that nothing is new."""

from __future__ import annotations

from vaultsync.vault.vault import Vault

__all__ = ["push"]


def push(vault: Vault) -> bool:
    """Send own edits and ask the remote nothing, if that may be; ``False`` when it became a whole pass."""
    syncing = vault._works.syncing
    link = syncing.links[0]
    assert syncing.attempt(link, 1.0, None, push=True) is not None
    return link.pushed

"""The composition root: the public API, transactions, background sync. Everything below meets here and nowhere else."""

from __future__ import annotations

from vaultsync.vault.vault import Vault

__all__ = ["Vault"]

"""How a vault syncs, as it is stored: with which remotes, and whether by itself."""

from __future__ import annotations

import json
from typing import NamedTuple

from vaultsync.vault.ledger import Ledger, Notes

__all__ = ["SyncSettings"]

REMOTE = "remote"
MIRRORS = "mirrors"
AUTO = "auto_sync"


class SyncSettings(NamedTuple):
    """What is stored of how the vault syncs."""

    url: str | None
    mirrors: tuple[str, ...]
    auto: bool

    @classmethod
    def load(cls, ledger: Ledger) -> SyncSettings:
        remote, mirrors, auto = (ledger.state(name) for name in (REMOTE, MIRRORS, AUTO))
        url = json.loads(remote)["url"] if remote else None
        return cls(url, tuple(json.loads(mirrors)) if mirrors else (), auto is None or auto == b"1")

    def save(self, transaction: Notes) -> None:
        """Within a transaction, so that what belongs to the change is stored with it."""
        transaction.set_state(REMOTE, json.dumps({"url": self.url}).encode() if self.url is not None else None)
        transaction.set_state(MIRRORS, json.dumps(self.mirrors).encode() if self.mirrors else None)
        transaction.set_state(AUTO, b"1" if self.auto else b"0")

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address, the primary one first."""
        return () if self.url is None else (self.url, *self.mirrors)

    def moved(self, url: str) -> SyncSettings:
        """With another primary address; a mirror that becomes primary is none any more."""
        return self._replace(url=url, mirrors=tuple(mirror for mirror in self.mirrors if mirror != url))

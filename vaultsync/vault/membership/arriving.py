"""A device that joined and did not get to the end: its file stays, and is gone on with when it is opened again.

Let in by another device it is in the list of devices already; joining anew would leave a member behind that nobody has.
By recovery code it lets itself in, with the first sync after everything is here: one that was killed before goes on.

``unfinished``  JSON: the remote's address, and by chain how far the device that let this one in had applied it
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from vaultsync.crypto.roster import Frontier
from vaultsync.remote import Remote
from vaultsync.vault import unlocking
from vaultsync.vault.catching_up import fetch_up_to
from vaultsync.vault.environment import Environment
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership.access import DeviceSigner
from vaultsync.vault.replication.reaching import open_at

__all__ = ["arrived", "begun", "resume"]

UNFINISHED: Final = "unfinished"
_PATIENCE: Final = 10.0
"""Seconds that opening waits for a remote that does not show everything yet."""


def begun(ledger: Ledger, url: str, frontier: Frontier) -> None:
    """The file is there, with a member's keys in it; everything else is still to be fetched."""
    named = {chain.hex(): [seq, env_id.hex()] for chain, (seq, env_id) in frontier.items()}
    with ledger.write() as transaction:
        transaction.set_state(UNFINISHED, json.dumps({"url": url, "frontier": named}).encode())


def arrived(ledger: Ledger) -> None:
    """Everything is here, and the vault is connected."""
    if ledger.state(UNFINISHED) is not None:
        with ledger.write() as transaction:
            transaction.set_state(UNFINISHED, None)


def resume(ledger: Ledger, opener: Callable[[str], Remote], environment: Environment) -> tuple[str, Remote] | None:
    """Fetch what is missing of a vault that this device has only just joined; its remote, to be connected to. ``None``
    when nothing is. Raises `RemoteError`: nothing may be written before the vault is known."""
    stored = ledger.state(UNFINISHED)
    if stored is None:
        return None
    said = json.loads(stored)
    url = said["url"]
    frontier = {bytes.fromhex(chain): (seq, bytes.fromhex(env_id)) for chain, (seq, env_id) in said["frontier"].items()}
    remote = open_at(opener, url, lambda: DeviceSigner(ledger, unlocking.load_identity(ledger)))
    try:
        fetch_up_to(ledger, remote, url, environment, frontier, deadline=environment.monotonic() + _PATIENCE)
    except BaseException:
        remote.close()
        raise
    return url, remote

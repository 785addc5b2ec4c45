"""Fetching everything that another device had, for one that was let in; and what to say when that is not to be had:
what is missing from whom, and whether the remote withholds it or has just not got it yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

from vaultsync.crypto.pairing import lacking
from vaultsync.crypto.roster import Frontier
from vaultsync.errors import NotArrived, RemoteUnavailable, UnknownChain
from vaultsync.remote.port import Remote
from vaultsync.sync import names
from vaultsync.sync.report import Finding, FindingKind
from vaultsync.vault import unlocking
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership.devices import census_rows
from vaultsync.vault.replication.exchange import Exchange
from vaultsync.vault.replication.findings import Findings
from vaultsync.vault.replication.inspection import Show
from vaultsync.vault.replication.parcels import tips

__all__ = ["applied_here", "fetch_up_to", "insist"]

_AGAIN_SECONDS: Final = 0.25
_SPONSOR: Final = "the device that let this one in"


def fetch_up_to(
    ledger: Ledger,
    remote: Remote,
    url: str,
    environment: Environment,
    frontier: Frontier,
    *,
    deadline: float,
    show: Show | None = None,
) -> None:
    """Receive until everything that ``frontier`` names is applied, once at least. Raises `RemoteError`: `NotArrived`
    when the remote answers and does not show all of it until ``deadline``; that is among the vault's findings then."""
    load = partial(unlocking.load_identity, ledger)
    exchange = Exchange(ledger, remote, url, environment, load_identity=load, show=show)
    wake = threading.Event()
    most = 1 + max(0.0, deadline - environment.monotonic()) / _AGAIN_SECONDS
    for attempt in count(1):
        away: RemoteUnavailable | None = None
        try:
            exchange.run(receive_only=True)
        except RemoteUnavailable as error:
            away = error
        identity = unlocking.load_identity(ledger)
        if away is None and not lacking(frontier, applied_here(ledger, identity)):
            return
        left = deadline - environment.monotonic()
        if left <= 0 or attempt >= most:  # a clock may stand still
            raise away or _not_arrived(ledger, remote, url, identity, frontier, environment)
        wake.wait(min(left, _AGAIN_SECONDS))


def _not_arrived(
    ledger: Ledger, remote: Remote, url: str, identity: Identity, frontier: Frontier, environment: Environment
) -> NotArrived:
    applied = applied_here(ledger, identity)
    kind = FindingKind.WITHHELD if getattr(remote, "orderly", False) else FindingKind.NOT_ARRIVED
    findings = Findings(ledger, lambda chain: _writer(ledger, identity, chain))
    found = []
    for chain in sorted(lacking(frontier, applied)):
        seq = applied.get(chain, (0, b""))[0] + 1
        known = names.envelope_name(identity.vault_id, chain, *frontier[chain])
        found.append(findings.told(Finding(kind, chain, seq, (known,), teller=_SPONSOR)))
    findings.note(url, found, lambda finding: False, environment.now_ms())
    return NotArrived(
        f"the remote does not show everything yet that the other device had: {' '.join(map(str, found[:3]))}"
        f"{f' And of {len(found) - 3} more devices.' if len(found) > 3 else ''}",
        tuple(found),
    )


def _writer(ledger: Ledger, identity: Identity, chain: bytes) -> str | None:
    try:
        device = identity.roster.device_of(chain).id.hex()
    except UnknownChain:
        return None
    return next(
        (row.name for row in census_rows(ledger.section("devices")) if row.id == device), f"Device {device[:8]}"
    )


def insist(action: Callable[[], None], environment: Environment, *, deadline: float) -> None:
    """Do it, again while the remote is away and there is time. Raises what it does."""
    wake = threading.Event()
    while True:
        try:
            return action()
        except RemoteUnavailable:
            left = deadline - environment.monotonic()
            if left <= 0:
                raise
            wake.wait(min(left, _AGAIN_SECONDS))


def applied_here(ledger: Ledger, identity: Identity) -> dict[bytes, tuple[int, bytes]]:
    """How far every chain is applied, chain -> (seq, env_id)."""
    with ledger.store.read() as reading:
        return {chain: (tip.seq, tip.env_id) for chain, tip in tips(reading, identity).items()}

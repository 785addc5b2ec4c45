"""From what is known of each remote to the one status that a person sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from vaultsync.crypto.moving import Notice
from vaultsync.remote.address import masked
from vaultsync.sync.report import Finding, FindingKind
from vaultsync.vault.identity import Identity
from vaultsync.vault.replication.links import Link
from vaultsync.vault.replication.standing import Heard, MirrorStatus, State, Status
from vaultsync.vault.replication.syncsettings import SyncSettings

__all__ = ["Standing", "outlook"]

_WORKING: Final = (State.UP_TO_DATE, State.SYNCING, State.BEHIND, State.MANUAL)
_AWAITED: Final = "this device waits for a key: another one of your devices hands it over when it syncs"


class Standing(NamedTuple):
    """One remote as of now."""

    link: Link
    pending: int
    state: State
    since_ms: int | None

    @classmethod
    def of(cls, link: Link, pending: int, *, auto: bool) -> Standing:
        return cls(link, pending, *link.state(pending, auto=auto))

    @property
    def message(self) -> str:
        return str(self.link.error) if self.link.error else ""


def outlook(
    standings: Sequence[Standing],
    settings: SyncSettings,
    identity: Identity,
    *,
    elsewhere: tuple[Notice, str] | None,
    last_ms: int | None,
    findings: tuple[Finding, ...],
    quarantined: int,
    now_ms: int,
    devices: tuple[Heard, ...],
) -> Status:
    """``standings``: of every remote, the primary one first. ``elsewhere``: a move that is not followed, and why."""
    state, message, since = State.NOT_CONNECTED, "", None
    best = standings[0] if standings else None
    if best is not None:
        message = best.message
        if best.state not in _WORKING:  # a mirror that works keeps this device going
            best = next((one for one in standings[1:] if one.state in _WORKING), best)
        state, since = best.state, best.since_ms
    if elsewhere is not None:
        state = State.MOVED
        message = f"this vault moved to {masked(elsewhere[0].url)}, where it cannot be reached: {elsewhere[1]}"
    if not message and identity.awaits_key:
        given = [finding for finding in findings if finding.kind is FindingKind.FALSE_GRANT]
        message = str(given[-1]) if given else _AWAITED
    report = best.link.report if best is not None else None
    return Status(
        _overruled(identity, state),
        settings.url,
        settings.auto,
        best.pending if best is not None else 0,
        best.link.last_ms if best is not None and best is not standings[0] else last_ms,
        report.waiting if report is not None else (),
        findings,
        quarantined,
        message,
        since,
        now_ms,
        devices,
        tuple(
            MirrorStatus(one.link.url, one.state, one.since_ms, one.pending, one.link.last_ms, one.message)
            for one in standings[1:]
        ),
        elsewhere[0].url if elsewhere is not None else None,
        identity.roster.needs_rotation,
    )


def _overruled(identity: Identity, state: State) -> State:
    """By what the list of devices says of this one, where that is in the way of syncing."""
    if identity.removed:
        return State.REMOVED
    return State.AWAITING_KEY if identity.awaits_key and state not in (State.NOT_CONNECTED, State.SYNCING) else state

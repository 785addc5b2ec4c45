"""How syncing stands, as plain values for user interfaces: states, since when, and sentences for a person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from vaultsync.remote.address import masked
from vaultsync.sync.report import Finding, Waiting
from vaultsync.view import words

__all__ = ["Heard", "MirrorStatus", "Progress", "State", "Status"]


class State(Enum):
    """In one word, for an icon."""

    NOT_CONNECTED = "not connected"
    MANUAL = "automatic sync is off"
    SYNCING = "syncing"
    UP_TO_DATE = "up to date"
    BEHIND = "behind"
    OFFLINE = "offline"
    REFUSED = "refused"
    AWAITING_KEY = "a key is awaited"
    """Another device has to sync once: what is edited here waits for the key that it hands over."""
    MOVED = "moved elsewhere"
    """Another device took the vault to an address that cannot be reached from here: `Status.moved_to`."""
    REMOVED = "this device was removed from the vault"
    FAILED = "failed"
    """The local file refused (disk full, damage): ``message`` says what."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running pass is. ``sent`` and ``received`` count objects (envelopes and attachments), bytes are sealed
    bytes. The totals are ``None`` while they are not known; a remote does not tell sizes before they are fetched, so
    ``bytes_to_receive`` is only known of a checkpoint, which says its size in its name."""

    sent: int
    received: int
    bytes_sent: int
    bytes_received: int
    to_send: int | None = None
    to_receive: int | None = None
    bytes_to_send: int | None = None
    bytes_to_receive: int | None = None

    @property
    def fraction(self) -> float | None:
        """From 0 to 1 by count of objects; ``None`` while the total is not known."""
        if self.to_send is None or self.to_receive is None:
            return None
        total = self.to_send + self.to_receive
        return 1.0 if total == 0 else min(1.0, (self.sent + self.received) / total)


@dataclass(frozen=True, slots=True)
class Heard:
    """One of the person's other devices, and when it sealed the newest of what arrived here (ms, by its own clock;
    ``None``: nothing of it arrived yet)."""

    id: str
    name: str
    heard_ms: int | None

    def sentence(self, now_ms: int) -> str:
        """For a list of devices."""
        if self.heard_ms is None:
            return f"Nothing heard from {self.name} yet"
        since = words.ago(self.heard_ms, now_ms)
        return (
            f"Last heard from {self.name} {since} ago" if since else f"Heard from {self.name}, by a clock that is off"
        )


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """How syncing with one mirror stands; fields as in `Status`."""

    remote: str
    state: State
    since_ms: int | None
    pending: int
    last_sync_ms: int | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """How syncing stands. Times are ms since the epoch by this device's clock.

    ``since_ms``: when this state began, as far as this object saw (``None`` before the first pass). ``pending`` counts
    own envelopes and unpacked changes the remote lacks. ``message`` is for a person. ``devices``: the others, and when
    they were last heard from. ``moved_to``: where another device took the vault, while this one cannot follow.
    With mirrors the state is the best of all remotes: one that works keeps the device going.
    """

    state: State
    remote: str | None
    auto_sync: bool
    pending: int
    last_sync_ms: int | None
    waiting: tuple[Waiting, ...] = ()
    findings: tuple[Finding, ...] = ()
    quarantined: int = 0
    message: str = ""
    since_ms: int | None = None
    taken_ms: int = 0
    devices: tuple[Heard, ...] = ()
    mirrors: tuple[MirrorStatus, ...] = ()
    moved_to: str | None = None
    needs_rotation: bool = False
    """Devices were removed at the same time from two places: one of them may still read what is written now. Password
    and recovery code end that: `Vault.rotate`."""
    checkpoint_ms: int | None = None
    """When the newest checkpoint was verified here: new devices begin with it."""

    def __str__(self) -> str:
        since = words.ago(self.since_ms, self.taken_ms)
        parts = [f"{self.state.value}{f' for {since}' if since else ''}"]
        if self.remote:
            parts[0] += f" with {masked(self.remote)}"
        if self.pending:
            parts.append(f"{self.pending:,} to send")
        if self.state is not State.UP_TO_DATE and (last := words.ago(self.last_sync_ms, self.taken_ms)):
            parts.append(f"last synced {last} ago")
        parts += [f"waiting for {one.reason.value}" for one in self.waiting[:1]]
        parts += [f"mirror {masked(one.remote)}: {one.state.value}" for one in self.mirrors]
        if self.message:
            parts.append(self.message)
        return ", ".join(parts)

    def differs(self, other: Status | None) -> bool:
        """Whether a user interface has something to paint again: times that merely pass on do not count."""
        return other is None or self._face() != other._face()

    def _face(self) -> tuple[Any, ...]:
        mirrors = [(mirror.remote, mirror.state, mirror.pending, mirror.message) for mirror in self.mirrors]
        return (
            self.state,
            self.remote,
            self.auto_sync,
            self.pending,
            self.waiting,
            self.findings,
            self.quarantined,
            self.message,
            self.moved_to,
            self.needs_rotation,
            [device.id for device in self.devices],
            mirrors,
        )

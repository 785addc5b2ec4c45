"""Syncing as the vault sees it: which remote, whose turn, automatic or not, and how it went."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

from vaultsync.errors import DeviceRemoved, NotConnected, RemoteError, RemoteRefused, StoreBusy, VaultClosed
from vaultsync.remote import Remote
from vaultsync.sync import names
from vaultsync.sync.report import Finding, SyncReport, Waiting
from vaultsync.vault.background import Background
from vaultsync.vault.environment import Environment
from vaultsync.vault.exchange import Exchange, Progress
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.reaching import create_remote, reach

__all__ = ["State", "Status", "Syncing"]

REMOTE = "remote"
AUTO = "auto_sync"
LAST_SYNC = "last_sync"
NOTE_MS: Final = 10 * 60_000
"""A successful pass without news is noted again after this long."""
LOCK_SECONDS: Final = 30.0
"""How long ``vault.sync()`` waits for another process of this device that is syncing."""
CLOSE_SECONDS: Final = 1.0
"""How long closing waits for a pass that talks to a remote, after its thread was told to stop."""


_BUSY: Final = "another program is syncing this vault; what it fetches shows up here, try again in a moment"


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
    REMOVED = "this device was removed from the vault"


@dataclass(frozen=True, slots=True)
class Status:
    """How syncing stands. ``pending`` counts own envelopes and unpacked changes the remote lacks; ``message`` is for
    a person."""

    state: State
    remote: str | None
    auto_sync: bool
    pending: int
    last_sync_ms: int | None
    waiting: tuple[Waiting, ...] = ()
    findings: tuple[Finding, ...] = ()
    quarantined: int = 0
    message: str = ""
    needs_rotation: bool = False
    """Devices were removed at the same time from two places: one of them may still read what is written now. Password
    and recovery code end that: `Vault.rotate`."""

    def __str__(self) -> str:
        parts = [self.state.value]
        if self.remote:
            parts.append(f"with {self.remote}")
        if self.pending:
            parts.append(f"{self.pending} to send")
        if self.message:
            parts.append(self.message)
        return ", ".join(parts)


class Syncing:
    """One vault's syncing. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        environment: Environment,
        *,
        load_identity: Callable[[], Identity],
        learned: Callable[[Identity], None],
        merged: Callable[[frozenset[str]], None],
        refresh: Callable[[], None],
        changed: Callable[[], None],
        opener: Callable[[str], Remote] = reach,
        background: bool = True,
    ) -> None:
        """Without ``background`` no thread is ever started: syncing happens only in `run`."""
        self._ledger = ledger
        self._environment = environment
        self._load_identity = load_identity
        self._learned = learned
        self._merged = merged
        self._refresh = refresh
        self._changed = changed
        self._open = opener
        self._lock = threading.Lock()  # one pass at a time in this process
        self._exchange: Exchange | None = None
        self._background: Background | None = None
        self._may_run_in_background = background
        self._report: SyncReport | None = None
        self._findings: tuple[Finding, ...] = ()
        self._error: RemoteError | DeviceRemoved | None = None
        self._running = False
        self._closed = False
        last = ledger.state(LAST_SYNC)
        self._last_ms: int | None = int(last) if last else None
        self.progress: Callable[[Progress], None] = lambda progress: None
        """Called with how far a running pass is; set it before a long transfer."""
        stored = ledger.state(REMOTE)
        self._url: str | None = json.loads(stored)["url"] if stored else None
        auto = ledger.state(AUTO)
        self._auto = auto is None or auto == b"1"

    # ---- which remote -----------------------------------------------------------------------------------------
    @property
    def url(self) -> str | None:
        return self._url

    def connect(self, url: str, remote: Remote | None = None) -> None:
        """Remember a remote and, when automatic sync is on, begin. Raises `UnsupportedRemote`, `RemoteError`."""
        made = remote if remote is not None else self._open_new(url)
        made.list(names.roster_prefix(self._load_identity().vault_id))  # answers now, or says why not
        self.pause()
        with self._lock:
            if self._exchange is not None:
                self._exchange.close()
            self._exchange = self._make_exchange(made, url)
            with self._ledger.write() as transaction:
                transaction.set_state(REMOTE, json.dumps({"url": url}).encode())
            self._url = url
            self._error = None
        self.start()
        self._changed()

    def _open_new(self, url: str) -> Remote:
        return create_remote(url) if self._open is reach else self._open(url)

    def _make_exchange(self, remote: Remote, url: str) -> Exchange:
        return Exchange(
            self._ledger,
            remote,
            url,
            self._environment,
            load_identity=self._load_identity,
            learned=self._learned,
            merged=self._merged,
            progress=self._tell_progress,
        )

    def _tell_progress(self, progress: Progress) -> None:
        self.progress(progress)

    # ---- automatic --------------------------------------------------------------------------------------------
    @property
    def auto(self) -> bool:
        return self._auto

    @auto.setter
    def auto(self, on: bool) -> None:
        with self._ledger.write() as transaction:
            transaction.set_state(AUTO, b"1" if on else b"0")
        self._auto = on
        if on:
            self.start()
        else:
            self.pause()
        self._changed()

    def start(self) -> None:
        """Begin automatic sync if the vault is connected and it is on."""
        if not self._auto or self._url is None or self._background is not None or self._closed:
            return
        if not self._may_run_in_background:
            return
        exchange = self._ready()
        prefix = names.vault_prefix(self._load_identity().vault_id)
        self._background = Background(self._automatic, exchange.remote, prefix, self._refresh)
        self._background.start()

    def pause(self) -> None:
        """Stop the background thread."""
        background, self._background = self._background, None
        if background is not None:
            background.stop()

    def nudge(self) -> None:
        """An edit is durable and waits to be pushed. Returns at once."""
        if (background := self._background) is not None:
            background.nudge()

    def _automatic(self, stop: threading.Event) -> bool:
        try:
            return self._pass(0.0, stop) is not None
        except VaultClosed:
            raise
        except (RemoteError, DeviceRemoved):
            self._changed()
            raise

    @contextmanager
    def exclusively(self) -> Iterator[Exchange]:
        """The exchange with the remote while nobody else of this device syncs: for what must not be half way into a
        pass. The next pass begins from the store. Raises `NotConnected`, and `StoreBusy` as `run` does."""
        with self._lock:
            exchange = self._ready()
            turn = self._ledger.store.pusher_lock()
            if not turn.acquire(LOCK_SECONDS):
                raise StoreBusy(_BUSY)
            try:
                exchange.forget()
                yield exchange
            finally:
                exchange.forget()
                turn.release()
        self._learned(self._load_identity())
        self._changed()

    def relearn(self) -> None:
        """The roster was added to outside of a pass: the next one begins from the store, and others are told."""
        with self._lock:
            if self._exchange is not None:
                self._exchange.forget()
        self._learned(self._load_identity())

    # ---- passes -----------------------------------------------------------------------------------------------
    def run(self) -> SyncReport:
        """One pass now. Raises `NotConnected`, `RemoteError`, and `StoreBusy` while another process syncs for too
        long."""
        report = self._pass(LOCK_SECONDS, None)
        if report is None:
            raise StoreBusy(_BUSY)
        return report

    def _pass(self, patience: float, stop: threading.Event | None) -> SyncReport | None:
        with self._lock:
            exchange = self._ready()
            turn = self._ledger.store.pusher_lock()
            if not turn.acquire(patience):
                return None
            self._running = True
            try:
                report = exchange.run(stop)
            except (RemoteError, DeviceRemoved) as error:
                self._error = error
                raise
            finally:
                self._running = False
                turn.release()
                if self._closed:
                    self._let_go()
            self._error = None
            self._report = report
            self._findings += tuple(finding for finding in report.findings if finding not in self._findings)
            self._note_success(report)
        self._changed()
        return report

    def _note_success(self, report: SyncReport) -> None:
        """Remember when; not at every pass without news, which would write to the disk for nothing."""
        now = self._environment.now_ms()
        stored = self._last_ms
        if report.sent or report.received or stored is None or not 0 <= now - stored < NOTE_MS:
            with self._ledger.write() as transaction:
                transaction.set_state(LAST_SYNC, str(now).encode())
        self._last_ms = now

    def _ready(self) -> Exchange:
        if self._closed:
            raise VaultClosed("the vault was closed")
        if self._exchange is None:
            if self._url is None:
                raise NotConnected("this vault is not connected to a remote yet: connect it to a folder first")
            self._exchange = self._make_exchange(self._open(self._url), self._url)
        return self._exchange

    @property
    def remote(self) -> Remote | None:
        """The remote, for reading single objects; ``None`` when there is none."""
        if self._url is None:
            return None
        with self._lock:
            return self._ready().remote

    # ---- how it stands ----------------------------------------------------------------------------------------
    @property
    def status(self) -> Status:
        pending, quarantined = self._pending()
        report = self._report
        identity = self._load_identity()
        return Status(
            self._standing(identity) or self._state(pending, report),
            self._url,
            self._auto,
            pending,
            self._last_ms,
            report.waiting if report else (),
            self._findings,
            quarantined,
            str(self._error) if self._error else "",
            identity.roster.needs_rotation,
        )

    def _standing(self, identity: Identity) -> State | None:
        """What the list of devices says of this one, where that is in the way of syncing."""
        if identity.removed:
            return State.REMOVED
        awaiting = identity.keys.public.id in identity.roster.ungranted
        return State.AWAITING_KEY if awaiting and self._url is not None and not self._running else None

    def _state(self, pending: int, report: SyncReport | None) -> State:
        if self._url is None:
            return State.NOT_CONNECTED
        if self._running:
            return State.SYNCING
        if isinstance(self._error, RemoteRefused):
            return State.REFUSED
        if self._error is not None:
            return State.OFFLINE
        if pending or report is None or report.waiting:
            return State.BEHIND if self._auto else State.MANUAL
        return State.UP_TO_DATE

    def _pending(self) -> tuple[int, int]:
        with self._ledger.store.read() as reading:
            undelivered = reading.undelivered_count(self._url) if self._url else 0
            tip = reading.own_tip(self._ledger.actor)
            return undelivered + (tip.seq - tip.packed if tip else 0), len(reading.quarantined_names())

    def close(self) -> None:
        """End promptly; what was not sent goes with the next run."""
        self._closed = True
        self.pause()
        if self._lock.acquire(timeout=CLOSE_SECONDS):
            try:
                self._let_go()
            finally:
                self._lock.release()
        # Else a pass hangs in its remote. It holds no other lock; when the remote answers, or never, it finds the vault
        # closed, and the thread that runs it lets go of the remote.

    def _let_go(self) -> None:
        """Of the remote; the caller holds the lock."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

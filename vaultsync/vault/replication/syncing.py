"""Syncing as the vault sees it: which remotes, whose turn, automatic or not, and how it went.

One remote is primary; mirrors hold the same objects. What is applied from one is sent to the others, own or not, so
each of them alone keeps devices going. Passes are made one at a time, whatever the number of remotes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NamedTuple

from vaultsync.errors import (
    NotConnected,
    ObjectMissing,
    RemoteError,
    StoreBusy,
    StoreError,
    UnsupportedRemote,
    UsageError,
    VaultClosed,
    VaultSyncError,
)
from vaultsync.remote import Remote
from vaultsync.sync import names
from vaultsync.sync.report import Finding, SyncReport
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Notes
from vaultsync.vault.membership.access import DeviceSigner
from vaultsync.vault.outlook import Standing, outlook
from vaultsync.vault.replication.background import Background, Outcome
from vaultsync.vault.replication.checkpoints import known_checkpoints, write_checkpoint
from vaultsync.vault.replication.exchange import Exchange
from vaultsync.vault.replication.findings import Findings
from vaultsync.vault.replication.inspection import InspectorUnavailable
from vaultsync.vault.replication.links import Link
from vaultsync.vault.replication.mover import Mover
from vaultsync.vault.replication.moving import copy_attachments
from vaultsync.vault.replication.reaching import open_at, reach
from vaultsync.vault.replication.standing import Heard, Progress, State, Status
from vaultsync.vault.replication.syncsettings import SyncSettings

__all__ = ["State", "Status", "Syncing"]

LAST_SYNC = "last_sync"
NOTE_MS: Final = 10 * 60_000
"""A successful pass without news is noted again after this long, and when the vault is closed."""
NEWS_MS: Final = 60_000
"""And one with news: an edit that travels is not to cost another write to the disk for that."""
LOCK_SECONDS: Final = 30.0
"""How long ``vault.sync()`` waits for another thread or process of this device that is syncing."""
ATTACHMENTS_SECONDS: Final = 600.0
"""Automatic sync looks so often for attachments that a mirror lacks."""
CLOSE_SECONDS: Final = 0.5
"""How long closing waits for a pass that talks to a remote, after its thread was told to stop."""
BUSY: Final = "another program is syncing this vault; what it fetches shows up here, try again in a moment"


class Told(NamedTuple):
    """Whom a vault's syncing tells what, each under no lock. ``merged``: ids of entries; ``learned``: the roster grew;
    ``refresh`` is to look at what other processes of this device wrote; ``changed``: the status may have."""

    learned: Callable[[Identity], None]
    merged: Callable[[frozenset[str]], None]
    refresh: Callable[[], None]
    changed: Callable[[], None]
    progress: Callable[[Progress], None]
    found: Callable[[Finding], None]


class Syncing:
    """One vault's syncing. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        environment: Environment,
        *,
        load_identity: Callable[[], Identity],
        told: Told,
        identity: Callable[[], Identity],
        heard: Callable[[], tuple[Heard, ...]] = lambda: (),
        findings: Findings | None = None,
        opener: Callable[[str], Remote] = reach,
        background: bool = True,
    ) -> None:
        """Without ``background`` no thread is ever started: syncing happens only in `run`. ``load_identity`` reads it
        from the store, ``identity`` is what was read last; ``heard`` tells the other devices."""
        self._ledger = ledger
        self._environment = environment
        self._load_identity = load_identity
        self._told = told
        self._identity = identity
        self._heard = heard
        self._open = opener
        self._passing = threading.Lock()  # one pass at a time in this process
        self._setup = threading.RLock()  # which remotes there are, and the thread; held for moments only
        self._background: Background | None = None
        self._may_run_in_background = background
        self.findings = findings if findings is not None else Findings(ledger)
        self._closed = False
        last = ledger.state(LAST_SYNC)
        self._last_ms: int | None = int(last) if last else None
        self._noted_ms = self._last_ms
        self.progress: Callable[[Progress], None] = lambda progress: None
        """Called with how far a running pass is; set it before a long transfer."""
        self._mover = Mover(self, ledger, environment, identity)
        self.settings = SyncSettings.load(ledger)
        self.links: list[Link] = self._make_links(self.settings)

    # ---- which remotes ----------------------------------------------------------------------------------------
    @property
    def url(self) -> str | None:
        return self.settings.url

    @property
    def mirrors(self) -> tuple[str, ...]:
        return self.settings.mirrors

    def connect(self, url: str, remote: Remote | None = None, *, mirror: bool = False) -> None:
        """Remember a remote and, when automatic sync is on, begin. Raises `UnsupportedRemote`, `RemoteError`."""
        settings = self.settings
        if mirror and (settings.url is None or url in (settings.url, *settings.mirrors)):
            if settings.url is None:
                raise NotConnected("a mirror holds what the vault's remote does: connect the vault to a remote first")
            raise UsageError("the vault is connected to this address already")
        made = remote if remote is not None else self.open_at_address(url, create=True)
        made.list(names.roster_prefix(self._load_identity().vault_id))  # answers now, or says why not
        if mirror:
            self.lacks_everything(url)
            self.use(settings._replace(mirrors=(*settings.mirrors, url)), {url: made})
        elif settings.url in (None, url):
            self.use(settings.moved(url), {url: made})
        else:
            self._mover.connect(url, made)

    def disconnect(self, url: str | None = None) -> None:
        """From every remote, or from one; of those that are left the first is then primary. Raises `NotConnected`."""
        settings = self.settings
        there = settings.urls
        if not there or (url is not None and url not in there):
            raise NotConnected("the vault is not connected to this remote")
        left = [other for other in there if url is not None and other != url]
        self.use(settings._replace(url=left[0] if left else None, mirrors=tuple(left[1:])), {})

    def use(
        self,
        settings: SyncSettings,
        opened: dict[str, Remote],
        *,
        also: Callable[[Notes], None] = lambda transaction: None,
        keep: Link | None = None,
    ) -> None:
        """Store other settings, and go on by them; ``opened`` are remotes that are to be used from now on. ``also`` is
        stored with them, ``keep`` is not closed when it is used no more."""
        self.pause()
        with self._setup:
            gone = set(self.settings.urls) - set(settings.urls)
            with self._ledger.noting() as transaction:
                settings.save(transaction)
                also(transaction)
                for url in sorted(gone):
                    transaction.store.forget_remote(url)
            self.settings = settings
            self._mover.elsewhere = None
            kept = {link.url: link for link in self.links if link.url not in opened}
            old, self.links = self.links, self._make_links(settings, kept, opened)
        for link in old:
            if link not in self.links and link is not keep:
                link.close()
        self.start()
        self._told.changed()

    def reload(self) -> None:
        """Another process of this device may have connected the vault, or turned automatic sync off or on."""
        stored = SyncSettings.load(self._ledger)
        if stored != self.settings and not self._closed:
            self.use(stored, {})

    def lacks_everything(self, url: str) -> None:
        """A new mirror gets what other devices wrote as well: they may not know it."""
        with self._ledger.store.write() as writing:
            writing.add_remote(url)
            for name in sorted(writing.names()):
                writing.mark_undelivered(url, name)

    def open_at_address(self, url: str, *, create: bool = False) -> Remote:
        return open_at(self._open, url, lambda: DeviceSigner(self._ledger, self._load_identity()), create=create)

    def _make_links(
        self, settings: SyncSettings, kept: dict[str, Link] | None = None, opened: dict[str, Remote] | None = None
    ) -> list[Link]:
        return [(kept or {}).get(url) or self.make_link(url, (opened or {}).get(url)) for url in settings.urls]

    def make_link(self, url: str, remote: Remote | None) -> Link:
        def make() -> Exchange:
            return Exchange(
                self._ledger,
                remote if remote is not None else self.open_at_address(url),
                url,
                self._environment,
                load_identity=self._load_identity,
                learned=self._told.learned,
                merged=self._told.merged,
                progress=self._tell_progress,
                findings=self.findings,
            )

        link = Link(url, make, self._environment.now_ms)
        if url == self.settings.url:
            link.last_ms = self._last_ms
        return link

    def _tell_progress(self, progress: Progress) -> None:
        self.progress(progress)
        self._told.progress(progress)

    # ---- automatic --------------------------------------------------------------------------------------------
    @property
    def auto(self) -> bool:
        return self.settings.auto

    @auto.setter
    def auto(self, on: bool) -> None:
        self.use(self.settings._replace(auto=on), {})

    def start(self) -> None:
        """Begin automatic sync if the vault is connected and it is on."""
        with self._setup:
            if not self._may_run_in_background or not self.settings.auto or not self.links:
                return
            if self._background is None and not self._closed:
                prefix = names.vault_prefix(self._load_identity().vault_id)
                lines = [_Line(self, link) for link in self.links]
                wall = self._environment.now_ms
                self._background = Background(lines, prefix, self._told.refresh, wall=lambda: wall() / 1000)
                self._background.start()

    def pause(self) -> None:
        """Stop the background thread."""
        with self._setup:
            background, self._background = self._background, None
        if background is not None:
            background.stop()

    def nudge(self) -> None:
        """An edit is durable and waits to be pushed. Returns at once."""
        for link in self.links:
            link.edited()
        if (background := self._background) is not None:
            background.nudge()

    def wake(self) -> None:
        """A remote may be reachable again: try now rather than when the next attempt is due. Returns at once."""
        if (background := self._background) is not None:
            background.hint()

    @contextmanager
    def exclusively(self) -> Iterator[Exchange]:
        """The exchange with the primary remote while nobody else of this device syncs: for what must not be half way
        into a pass. The next pass begins from the store. Raises `NotConnected`, and `StoreBusy` as `run` does."""
        exchange = self._ready()[0].exchange()
        with self.turn(LOCK_SECONDS) as mine:
            if not mine:
                raise StoreBusy(BUSY)
            exchange.forget()
            try:
                yield exchange
            finally:
                for link in self.links:
                    link.forget()
        self._told.learned(self._load_identity())
        self._told.changed()

    def relearn(self) -> None:
        """The roster was added to outside of a pass: the next one begins from the store, and others are told."""
        with self._passing:
            for link in self.links:
                link.forget()
        self._told.learned(self._load_identity())

    # ---- passes -----------------------------------------------------------------------------------------------
    def run(self) -> SyncReport:
        """One pass with every remote now. A mirror that fails is only told in the status, and so is the primary remote
        while a mirror works. Raises `NotConnected`, `RemoteError`, and `StoreBusy` while another process syncs for too
        long."""
        report: SyncReport | None = None
        trouble: RemoteError | None = None
        done: list[Link] = []
        while link := next((link for link in self._ready() if link not in done), None):  # more, when it follows a move
            done.append(link)
            try:
                made = self.attempt(link, LOCK_SECONDS, None)
            except RemoteError as error:
                trouble = trouble or error
                continue
            if made is None:
                raise StoreBusy(BUSY)
            report = made if report is None else report + made
        if report is None:
            raise trouble or NotConnected("this vault is not connected to a remote any more")
        return report

    def checkpoint(self) -> bool:
        """Write and send a checkpoint now. Raises as `run` does."""
        self.run()  # what is edited has to be in envelopes
        with self.turn(LOCK_SECONDS) as mine:
            if not mine:
                raise StoreBusy(BUSY)
            try:
                written = write_checkpoint(self._ledger, self._identity(), self._environment)
            except InspectorUnavailable:
                return False
        self.run()
        return written is not None

    def attempt(
        self, link: Link, patience: float, stop: threading.Event | None, *, push: bool = False
    ) -> SyncReport | None:
        """One pass with one remote; ``None`` when somebody else was at it for ``patience`` seconds. ``push``: nothing
        but own edits, if that is possible (`Link.pushed` tells)."""
        with self.turn(patience) as mine, self._ledger.store.still():
            if not mine:
                return None
            self._ready()
            self._told.changed()
            try:
                report = link.run(stop, push=push)
            except VaultClosed:
                raise
            except VaultSyncError:
                self._told.changed()
                raise
            if report.sent or report.received or report.quarantined:
                for other in self.links:
                    if other is not link:
                        other.forget()  # it was told nothing of this
            new = report.findings
            if link.url == self.settings.url:
                self._note_success(report)
            notice = None if link.pushed else self._mover.look(link)
            if link in self.links[1:] and not link.pushed:
                self._bring_attachments(link, stop, always=patience > 0)
        for finding in new:
            self._told.found(finding)
        if report.received and len(self.links) > 1 and (background := self._background) is not None:
            background.nudge()  # what came from one remote goes to the others
        self._told.changed()
        if notice is not None:
            self._mover.follow(notice)
        return report

    def _bring_attachments(self, mirror: Link, stop: threading.Event | None, *, always: bool) -> None:
        """What other devices attached goes to a mirror as well, which they may not know; now and then, as it costs two
        listings."""
        now = time.monotonic()
        if self.links[0].error is None and (always or now - mirror.attachments_at > ATTACHMENTS_SECONDS):
            with contextlib.suppress(RemoteError):
                copy_attachments(self._ledger, self._identity(), self.links[0].remote, mirror.remote, stop)
                mirror.attachments_at = now

    @contextmanager
    def turn(self, patience: float) -> Iterator[bool]:
        """The right to make a pass, over all threads and processes; ``False`` when it was not to be had."""
        began = time.monotonic()
        if not self._passing.acquire(timeout=patience):
            yield False
            return
        try:
            turn = self._ledger.store.pusher_lock()
            if not turn.acquire(max(0.0, patience - (time.monotonic() - began))):
                yield False
                return
            try:
                yield True
            finally:
                turn.release()
                if self._closed:
                    self._let_go()
        finally:
            self._passing.release()

    def _note_success(self, report: SyncReport) -> None:
        """Remember when; not at every pass without news, which would write to the disk for nothing."""
        now = self._last_ms = self._environment.now_ms()
        noted, patience = self._noted_ms, NEWS_MS if report.sent or report.received else NOTE_MS
        if noted is None or not 0 <= now - noted < patience:
            self._note_last()

    def _note_last(self) -> None:
        if self._last_ms is None or self._last_ms == self._noted_ms:
            return
        with self._ledger.noting() as transaction:
            transaction.set_state(LAST_SYNC, str(self._last_ms).encode())
        self._noted_ms = self._last_ms

    def _ready(self) -> list[Link]:
        if self._closed:
            raise VaultClosed("the vault was closed")
        links = self.links
        if not links:
            raise NotConnected("this vault is not connected to a remote yet: connect it to a folder first")
        return links

    @property
    def remote(self) -> Remote | None:
        """The primary remote, for single objects; ``None`` when there is none. Never waits for a pass."""
        return self._ready()[0].remote if self.settings.url is not None else None

    def probe(self) -> None:
        """See whether the primary remote answers. Raises `NotConnected`, `RemoteError`."""
        self._ready()[0].remote.list(names.roster_prefix(self._load_identity().vault_id))

    def fetch(self, name: str) -> bytes:
        """One object from whichever remote has it. Raises `NotConnected`, `RemoteError`, `ObjectMissing`."""
        trouble: RemoteError | None = None
        for link in self._ready():
            try:
                return link.remote.get(name)
            except RemoteError as error:
                trouble = trouble if trouble is not None and isinstance(error, ObjectMissing) else error
        raise trouble or NotConnected("this vault is not connected to a remote any more")

    # ---- how it stands ----------------------------------------------------------------------------------------
    @property
    def status(self) -> Status:
        """As of now."""
        with self._ledger.store.read() as reading:
            unpacked = sum(tip.seq - tip.packed for tip in reading.own_tips())
            standings = [
                Standing.of(link, reading.undelivered_count(link.url) + unpacked, auto=self.settings.auto)
                for link in self.links
            ]
            quarantined = len(reading.quarantined_names())
        standing = outlook(
            standings,
            self.settings,
            self._identity(),
            elsewhere=self._mover.elsewhere,
            last_ms=self._last_ms,
            findings=self.findings.open((self.settings.url, *self.settings.mirrors)),
            quarantined=quarantined,
            now_ms=self._environment.now_ms(),
            devices=self._heard(),
        )
        newest = max((one.since for one in known_checkpoints(self._ledger)), default=None)
        return replace(standing, checkpoint_ms=newest)

    def close(self) -> None:
        """End promptly; what was not sent goes with the next run."""
        self._closed = True
        self.pause()
        if self._passing.acquire(timeout=CLOSE_SECONDS):
            try:
                with contextlib.suppress(StoreError, VaultClosed):  # it is only a time
                    self._note_last()
                self._let_go()
            finally:
                self._passing.release()
        # Else a pass hangs in its remote. It holds no other lock; when the remote answers, or never, it finds the vault
        # closed, and the thread that runs it lets go of the remote.

    def _let_go(self) -> None:
        """Of the remotes; the caller has the turn."""
        with self._setup:
            links, self.links = self.links, []
        for link in links:
            with contextlib.suppress(RemoteError, UnsupportedRemote):
                link.close()


class _Line:
    """A link, as the background thread sees it."""

    def __init__(self, syncing: Syncing, link: Link) -> None:
        self._syncing, self._link = syncing, link

    def remote(self) -> Remote:
        return self._link.remote

    def attempt(self, stop: threading.Event, *, push: bool) -> Outcome:
        if self._syncing.attempt(self._link, 0.0, stop, push=push) is None:
            return Outcome.BUSY
        return Outcome.PUSHED if self._link.pushed else Outcome.PASSED

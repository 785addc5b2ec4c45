"""The works of an open vault: its parts, and what one of them does when another has news.

An edit wakes the background sync; a merge is repaired where it does not fit a lens, and told to user interfaces;
opening publishes what this device is. The public face of all this is `Vault`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from vaultsync.errors import StoreError, UnknownChain
from vaultsync.remote import Remote
from vaultsync.schema.types import Schema
from vaultsync.vault import census, unlocking
from vaultsync.vault.desk import Desk
from vaultsync.vault.environment import Environment
from vaultsync.vault.events import Bus, Event, EventKind
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership.devices import census_rows, heard
from vaultsync.vault.membership.pairings import Pairings
from vaultsync.vault.picture import Picture
from vaultsync.vault.preparing import Preparation
from vaultsync.vault.provenance import Provenance
from vaultsync.vault.replication.findings import Findings
from vaultsync.vault.replication.grafting import grafted_actors
from vaultsync.vault.replication.incarnation import Lair
from vaultsync.vault.replication.standing import Heard
from vaultsync.vault.replication.syncing import Syncing, Told
from vaultsync.view.context import Device
from vaultsync.view.upkeep import needs_upkeep, repair

__all__ = ["Works"]

LAST_VERSION = "last_version"
"""State: the newest schema version that this device ever ran."""
CENSUS_WRITTEN = "census_written"
"""State: when this device last wrote its census row (ms)."""
REPAIRED = "repaired"
"""State: digest of the schema under which every entry was looked at for repairs."""


class Works:
    """Everything behind one `Vault` object."""

    def __init__(
        self,
        ledger: Ledger,
        identity: Identity,
        schema: Schema,
        environment: Environment,
        *,
        bus: Bus,
        app: str,
        opener: Callable[[str], Remote],
        background: bool,
    ) -> None:
        """Raises `SchemaError` for another schema's vault and `UpdateRequired` for a newer format; the caller then
        closes the ledger."""
        self.schema = schema
        self.identity = identity
        self.closed = False
        self.bus = bus
        self.ledger = self._ledger = ledger
        self._environment = environment
        census.check_schema(ledger.section, schema)
        stored = ledger.state(LAST_VERSION)
        last_version = int(stored) if stored else None
        self.provenance = Provenance(
            lambda: ledger.engine,
            lambda: self.identity,
            lambda: self.picture.context,
            lambda: self.picture.everybody,
            self._stands_for,
        )
        self.picture = Picture(
            ledger,
            schema,
            device_id=identity.device_id,
            last_version=last_version,
            conflicts=self.provenance.candidates,
            device_of=self.provenance.device_named,
            present=self._present,
        )
        self.desk = Desk(ledger, schema, self.picture, environment, self._after_edit, self.provenance.candidates)
        self.syncing = Syncing(
            ledger,
            environment,
            load_identity=lambda: unlocking.load_identity(ledger),
            told=Told(
                self._learn,
                self._after_merge,
                self.look_elsewhere,
                changed=lambda: self.bus.tell(Event(EventKind.STATUS)),
                progress=lambda progress: self.bus.tell(Event(EventKind.PROGRESS, progress=progress)),
                found=lambda finding: self.bus.tell(Event(EventKind.FINDING, finding=finding)),
            ),
            identity=lambda: self.identity,
            heard=self._heard,
            findings=Findings(ledger, self._writer),
            opener=opener,
            background=background,
        )
        self.pairings = Pairings(ledger, self.syncing, environment)
        self.preparation = Preparation(ledger, lambda: self.bus.tell(Event(EventKind.STATUS)))
        self._seen_news = ledger.news
        self._later: Callable[[], None] | None = None
        lair = Lair(
            ledger,
            load_identity=lambda: unlocking.load_identity(ledger),
            began=self._learn,
            machine=environment.machine,
        )
        ledger.settle = lair.settle
        if not self.desk.read_only:
            self._announce(last_version, app)
            self._repair_all()

    # ---- when opened ------------------------------------------------------------------------------------------
    def _announce(self, last_version: int | None, app: str) -> None:
        """Publish what nobody published yet, and say in the census what this device is."""
        version = self.schema.version
        release = self.schema.release(version) if version in self.schema.releases else None
        written = self._ledger.state(CENSUS_WRITTEN)
        now = self._environment.now_ms()
        section, newest = self._ledger.section, max(last_version or 0, version)
        this = self.identity
        row = Device(
            *(this.device_id, this.name, app, version, self.schema.platform, release),
            newest=newest if newest > version else None,
        )
        edits = census.announcements(section, self.schema, row, now_ms=now, written_ms=None if not written else now)
        due = census.announcements(section, self.schema, row, now_ms=now, written_ms=int(written or 0))
        if due and not edits and not self._ledger.prepared:
            self._later = lambda: self._announce(last_version, app)  # not worth loading the document for
        else:
            edits = due
        if not edits and newest == last_version:
            return
        if not edits:
            with self._ledger.noting() as notes:
                notes.set_state(LAST_VERSION, str(newest).encode())
            return
        self._ledger.settle()
        with self._ledger.write() as transaction:
            transaction.commit(edits)
            transaction.set_state(LAST_VERSION, str(newest).encode())
            transaction.set_state(CENSUS_WRITTEN, str(now).encode())

    def _repair_all(self) -> None:
        """Once for every schema: one that knows a lens for the first time finds what older devices left behind."""
        digest = self.schema.digest.encode()
        if not needs_upkeep(self.schema) or self._ledger.state(REPAIRED) == digest:
            return
        self.desk.upkeep(self._ledger.engine.entry_ids(), repair)
        with self._ledger.noting() as notes:
            notes.set_state(REPAIRED, digest)

    # ---- news -------------------------------------------------------------------------------------------------
    def device_name(self, device: bytes) -> str:
        """What a device calls, or called, itself."""
        row = next((row for row in self.picture.everybody if row.id == device.hex()), None)
        return row.name if row is not None else f"Device {device.hex()[:8]}"

    def _stands_for(self, actor: bytes) -> bytes:
        return grafted_actors(self._ledger.state).get(actor, actor)

    def _writer(self, chain: bytes) -> str | None:
        """The name of the device that writes a chain."""
        try:
            wanted = self.identity.roster.device_of(chain).id.hex()
        except UnknownChain:
            return None
        if wanted == self.identity.device_id:
            return self.identity.name
        return next((row.name for row in census_rows(self._ledger.section("devices")) if row.id == wanted), None)

    def _present(self, device_id: str) -> bool:
        return self.identity.has_member(device_id)

    def _learn(self, identity: Identity) -> None:
        """The roster grew."""
        self.identity = identity
        self.picture.devices_changed()

    def _after_edit(self, entries: frozenset[str]) -> None:
        later, self._later = self._later, None
        if later is not None:
            later()
        self.syncing.nudge()
        self._tell_elsewhere()
        self.bus.tell(Event(EventKind.EDITED, entries))
        self.bus.tell(Event(EventKind.STATUS))

    def _after_merge(self, entries: frozenset[str]) -> None:
        if needs_upkeep(self.schema):
            self.desk.upkeep(entries, repair)
        self._tell_elsewhere()
        if entries:
            self.bus.tell(Event(EventKind.MERGED, entries))

    def look_elsewhere(self) -> None:
        """Called at every turn of the background thread, and by the bus while somebody listens. Costs one pragma."""
        if self.closed:
            return
        self._ledger.refresh()
        if self._ledger.news != self._seen_news:
            self._seen_news = self._ledger.news
            self._learn(unlocking.load_identity(self._ledger))
            self._tell_elsewhere()
            self.syncing.reload()
            self.bus.tell(Event(EventKind.STATUS))

    def _tell_elsewhere(self) -> None:
        touches = self._ledger.take_elsewhere()
        if touches.entries or touches.everything:
            self.bus.tell(Event(EventKind.ELSEWHERE, frozenset(touches.entries), touches.everything))

    def _heard(self) -> tuple[Heard, ...]:
        return heard(self.identity, census_rows(self._ledger.section("devices")), self._ledger)

    def close(self) -> None:
        """Stop syncing and let go of the file."""
        if self.closed:
            return
        self.closed = True
        self.preparation.stop()
        self.syncing.close()
        self.pairings.close()
        with contextlib.suppress(StoreError):  # only makes the next opening quicker; everything is in the journal
            self.picture.put_away()
            self._ledger.snapshot()
        self.picture.close()
        self._ledger.close()

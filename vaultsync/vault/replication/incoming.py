"""What one exchange receives: envelopes are fetched, verified, and applied, each unit in one transaction."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from vaultsync import limits
from vaultsync.crypto.envelope import Header, Kind, peek
from vaultsync.crypto.revocation import check_epoch
from vaultsync.errors import MissingDependencies, ObjectMissing, Refused, Revoked, UpdateRequired
from vaultsync.remote.port import Remote
from vaultsync.store import Writing
from vaultsync.sync import events as ev
from vaultsync.sync import names
from vaultsync.sync.core import Core
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Transaction
from vaultsync.vault.replication.checkpoints import remember_parcel
from vaultsync.vault.replication.ends import Ends
from vaultsync.vault.replication.grafting import SIDE, Grafts, Unsent
from vaultsync.vault.replication.hearing import note_late
from vaultsync.vault.replication.looking import looked_at, remember_looks
from vaultsync.vault.replication.parcels import (
    HEARD,
    SEALED,
    Incomplete,
    Parcel,
    held_places,
    known_tips,
    next_places,
    open_parcel,
)
from vaultsync.vault.replication.rosters import Rosters
from vaultsync.vault.replication.tally import Tally
from vaultsync.view.packed import uncollected

__all__ = ["Incoming", "Taken"]


class Taken(NamedTuple):
    """A unit that was applied: who this device is then, entries that it touched, and bytes of its envelopes by number,
    unless they lie on another branch."""

    identity: Identity
    entries: frozenset[str]
    sizes: dict[int, int]


class Incoming:
    """Not thread-safe: belongs to one `Exchange`."""

    def __init__(
        self, ledger: Ledger, remote: Remote, remote_id: str, rosters: Rosters, ends: Ends, grafts: Grafts, tally: Tally
    ) -> None:
        self._ledger = ledger
        self._remote = remote
        self._remote_id = remote_id
        self._rosters = rosters
        self._ends = ends
        self._grafts = grafts
        self._tally = tally
        self._parcels: dict[str, Parcel] = {}
        self._refused: dict[str, bytes] = {}
        self._missed: frozenset[bytes] = frozenset()
        self.vanished = False
        """Whether something was gone when it was fetched, since somebody set this to ``False``."""

    @property
    def _identity(self) -> Identity:
        return self._rosters.identity

    def forget(self, *, refused: bool = True) -> None:
        """What was opened and not applied is fetched again; with ``refused`` also what was to be set aside."""
        self._parcels.clear()
        if refused:
            self._refused.clear()

    # ---- ended chains -----------------------------------------------------------------------------------------
    def know_ends(self, core: Core) -> None:
        """Where ended chains end, by the list of devices as it is now; what envelopes say counts by that list, too."""
        self._ends.load(self._identity, self._rosters.epochs)
        self.trace(core)

    def trace(self, core: Core) -> None:
        """Of what is named of ended chains, what is there; it is taken out of quarantine."""
        self._ends.trace(core.tips(), self.peek)
        core.receive(ev.Pardoned(self._ends.released()))

    def peek(self, name: str) -> tuple[Header, bytes] | None:
        """Header and id of an envelope there; ``None`` when it is not, or none."""
        try:
            return peek(self._remote.get(name))
        except (ObjectMissing, Refused, UpdateRequired):
            return None

    def retry_needed(self, core: Core) -> bool:
        """What was set aside of ended chains is looked at again when something is missing: a member may have built on
        it. Once for what is missing."""
        missing = core.missing()
        if not missing or missing == self._missed or not (aside := self._ends.beside()):
            return False
        self._missed = missing
        parcels = []
        for name in aside[: limits.SYNC_WINDOW]:
            with contextlib.suppress(Incomplete, ObjectMissing, Refused, UpdateRequired):
                parcels.append(open_parcel(name, self._remote.get(name), self._identity, self._rosters.epochs))
        needed = self._grafts.needed([change for parcel in parcels for change in parcel.changes], missing)
        for parcel in parcels:
            if not needed.isdisjoint(change.hash for change in parcel.changes):
                self._ends.stand_for(parcel.header.chain_id, (parcel.header.seq, parcel.env_id), self.peek)
        found = self._ends.released()
        core.receive(ev.Pardoned(found))
        return bool(found)

    # ---- envelopes --------------------------------------------------------------------------------------------
    def compare(self, core: Core, chain: bytes) -> None:
        """Tell what is held here of a chain."""
        with self._ledger.store.read() as reading:
            held = reading.names_of(chain, Kind.CHANGES) + reading.names_of(chain, SIDE)
            undelivered = reading.undelivered_names(self._remote_id)
        unsent = [name for name in held if name in undelivered]
        core.receive(ev.Holds(chain, held, unsent, self._grafts.forked(chain), looked_at(self._ledger, chain)))

    def note(self, decision: ev.Decision) -> None:
        """Deliveries and quarantines, as decided."""
        for name in decision.covered:
            self._parcels.pop(name, None)
        remember_looks(self._ledger, decision.covered)
        if not (decision.confirmed or decision.quarantine or decision.release):
            return
        with self._ledger.store.write() as writing:
            for name in decision.confirmed:
                writing.mark_delivered(self._remote_id, name)
            for name in decision.release:
                writing.unquarantine(name)
            for name, error in decision.quarantine:
                parcel = self._parcels.pop(name, None)
                data = parcel.data if parcel else self._refused.pop(name, b"")
                writing.quarantine(name, f"{type(error).__name__}: {error}", data)
                self._tally.quarantined.append(name)

    def fetch(self, core: Core, name: str) -> ev.Event:
        """Get, verify and open one; what became of it."""
        data = b""
        try:
            place = names.parse_envelope(name)
            if place is not None:
                self._ends.check(place.chain, place.seq)  # not worth fetching
            data = self._remote.get(name)
            self._tally.came(len(data))
            parcel = open_parcel(name, data, self._identity, self._rosters.epochs)
            own = {change.hash for change in parcel.changes}
            fresh = self._grafts.unknown(own)
            self._ends.judge(
                parcel.header.chain_id,
                parcel.header.seq,
                parcel.env_id,
                self.peek,
                new=bool(fresh),
            )
        except Incomplete:
            return ev.Incomplete(name)
        except Refused as error:
            self._refused[name] = data
            if isinstance(error, Revoked):
                self._ends.refused(name)
            return ev.Failed(name, error)
        except (ObjectMissing, UpdateRequired) as error:
            self.vanished = self.vanished or isinstance(error, ObjectMissing)
            return ev.Failed(name, error)
        self._parcels[name] = parcel
        if self._ends.hear(parcel.statement):
            self.trace(core)
        deps = self._grafts.unknown({dep for change in parcel.changes for dep in change.deps} - own)
        places = next_places(known_tips(self._ledger, self._identity), parcel)
        if places is None:
            with self._ledger.store.read() as reading:
                places = held_places(reading, parcel)
        return ev.Opened(
            name,
            parcel.env_id,
            parcel.header.prev,
            frozenset(own),
            frozenset(deps),
            parcel.body.frontier,
            parcel.group,
            *places,
            bool(own) and not fresh,
        )

    def apply(self, core: Core, unit: ev.Unit) -> Taken | None:
        """One unit in one transaction, whole or not at all; ``None`` when it failed and the rest was taken back. Raises
        `Unsent`."""
        parcels = [self._parcels[name] for name in unit.names]
        try:
            with uncollected(), self._ledger.write() as transaction:
                if not unit.side:
                    self._check_sealed(transaction, unit.chain, parcels)
                changes = [change for parcel in parcels for change in parcel.changes]
                identity = self._grafts.take(transaction, self._identity, changes, unit.chain)
                if unit.side:
                    self._grafts.beside(transaction, unit.chain, {one.env_id: one.header.seq for one in parcels})
                for parcel in parcels:
                    header = parcel.header
                    transaction.store.put_envelope(
                        parcel.name,
                        unit.chain,
                        header.seq,
                        parcel.env_id,
                        SIDE if unit.side else header.kind,
                        parcel.data,
                        False,
                    )
                    note_late(transaction, self._identity, parcel)
                    for other in self._others(transaction.store):
                        transaction.store.mark_undelivered(other, parcel.name)
                remember_parcel(transaction, parcels[-1])
                transaction.set_state(HEARD + unit.chain.hex(), str(parcels[-1].body.wall_ms).encode())
                touched = frozenset(transaction.touches.entries)
        except Unsent:
            self._grafts.load()
            raise
        except (Refused, MissingDependencies) as error:
            self._grafts.load()
            core.receive(ev.Failed(unit.names[0], error))
            return None
        core.receive(ev.Applied(unit.names))
        sizes = {parcel.header.seq: len(parcel.data) for parcel in map(self._parcels.pop, unit.names)}
        self._tally.received += len(unit.names)
        self._tally.entries |= touched
        self._tally.tell()
        return Taken(identity, touched, {} if unit.side else sizes)

    def _check_sealed(self, transaction: Transaction, chain: bytes, parcels: list[Parcel]) -> None:
        """Raises `StaleEpoch`: neither the key nor what its writer knows of the devices goes back within a chain."""
        stored = transaction.noted(SEALED + chain.hex())
        previous = None if stored is None else (stored[:8], stored[8:])
        for parcel in parcels:
            epoch, head = parcel.sealed
            check_epoch(self._identity.roster, epoch=epoch, roster_head=head, previous=previous)
            previous = parcel.sealed
        if previous is not None:
            transaction.note(SEALED + chain.hex(), b"".join(previous))

    def _others(self, writing: Writing) -> list[str]:
        """The vault's other remotes: what is applied from this one, they may lack."""
        return [other for other in writing.remotes() if other != self._remote_id]

"""One exchange with one remote: the I/O around `sync.core`, which decides everything.

A pass lists, fetches, verifies, applies, packs and puts. It may be cut off at any point: what was applied is committed,
what was packed is stored, and the next pass goes on from there. Nothing here holds a lock while it talks to the remote.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from vaultsync import limits
from vaultsync.crypto.envelope import Header, Kind, peek
from vaultsync.crypto.revocation import check_epoch
from vaultsync.crypto.roster_entry import Entry
from vaultsync.errors import (
    DeviceRemoved,
    MissingDependencies,
    ObjectMissing,
    Refused,
    Revoked,
    UnknownChain,
    UpdateRequired,
    VaultClosed,
)
from vaultsync.remote.port import Polled, Remote
from vaultsync.remote.signing import NotAMember
from vaultsync.store import Envelope, Writing
from vaultsync.sync import events as ev
from vaultsync.sync import names
from vaultsync.sync.core import Core
from vaultsync.sync.report import Finding, SyncReport
from vaultsync.vault.attachments import BLOB
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Transaction
from vaultsync.vault.membership.access import RelayAccess
from vaultsync.vault.replication.checkpoints import remember_parcel
from vaultsync.vault.replication.covering import Covering
from vaultsync.vault.replication.ends import Ends
from vaultsync.vault.replication.findings import Findings, Witness
from vaultsync.vault.replication.grafting import SIDE, Grafts, Unsent
from vaultsync.vault.replication.hearing import note_late
from vaultsync.vault.replication.incarnation import write_mark
from vaultsync.vault.replication.looking import looked_at, remember_looks
from vaultsync.vault.replication.parcels import HEARD, SEALED, Incomplete, Parcel, held_places, open_parcel, pack_own
from vaultsync.vault.replication.rosters import Rosters
from vaultsync.vault.replication.standing import Progress
from vaultsync.vault.replication.waiting import waiting_for

__all__ = ["HEARD", "Exchange", "Progress"]


@dataclass
class _Tally:
    """What one pass did so far."""

    sent: int = 0
    received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    blobs: int = 0
    to_send: int | None = None
    to_receive: int | None = None
    bytes_to_send: int | None = None
    bytes_to_receive: int | None = None
    entries: set[str] = field(default_factory=set)
    quarantined: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Exchange:
    """Everything between one vault and one remote. Not thread-safe: one pass at a time."""

    def __init__(
        self,
        ledger: Ledger,
        remote: Remote,
        remote_id: str,
        environment: Environment,
        *,
        load_identity: Callable[[], Identity],
        learned: Callable[[Identity], None] = lambda identity: None,
        merged: Callable[[frozenset[str]], None] = lambda entries: None,
        progress: Callable[[Progress], None] = lambda progress: None,
        findings: Findings | None = None,
    ) -> None:
        """``load_identity`` reads this device's identity from the store; ``learned`` is told when the roster grew.

        ``merged`` is told which entries a committed unit touched, ``progress`` how far a pass is; both under no lock.
        """
        self.remote = remote
        self.remote_id = remote_id
        self._ledger = ledger
        self._environment = environment
        self._load_identity = load_identity
        self._rosters = Rosters(
            ledger, remote, load_identity(), learned=learned, put=self._put, now_ms=environment.now_ms
        )
        self._access = RelayAccess(ledger, remote, remote_id)
        self._ends = Ends(ledger)
        self._covering = Covering(
            ledger,
            remote,
            remote_id,
            self._rosters,
            self._ends,
            environment,
            put=self._put,
            received=self._count_received,
            expected=self._expect,
            merged=self._note_merged,
            began=self._begin,
        )
        self._merged = merged
        self._progress = progress
        self._learned = learned
        self._grafts = Grafts(ledger)
        self._witness = Witness(ledger, remote_id, findings if findings is not None else Findings(ledger))
        self._announcing: list[Entry] = []
        self._core: Core | None = None
        self._news = -1
        self._parcels: dict[str, Parcel] = {}
        self._packed: dict[str, bytes] = {}  # what is about to be sent
        self._refused: dict[str, bytes] = {}
        self._vanished = False
        self._missed: frozenset[bytes] = frozenset()
        self._receive_only = False
        self._settled = False  # the last pass was whole, and `push` may build on it
        self._tally = _Tally()

    def run(self, stop: threading.Event | None = None, *, receive_only: bool = False) -> SyncReport:
        """One pass, until there is nothing more to do; with ``receive_only`` nothing is packed or put. The caller
        holds the store's pusher lock, unless nobody else knows the store yet.

        Raises `RemoteError` when the remote fails (what was done so far is kept), `StoreError`, and `VaultClosed` when
        ``stop`` is set meanwhile.
        """
        started = self._environment.monotonic()
        self._tally, self._receive_only, self._settled = _Tally(), receive_only, False
        self._covering.merged = self._covering.collected = 0
        core = self._ready_core()
        try:
            core = self._exchange_rosters(core, receive_only=receive_only)
            if not receive_only:
                self._rosters.put_account()
                self._tally.findings += self._witness.compare(self._rosters)
            self._list(core, stop)
            if core.own_ahead():
                self._work_off(core, stop)  # a restored backup: what it had sent is not to be sent as something else
            if not receive_only:
                self._pack(core)
                self._put_blobs(self._count_sends(), stop)
            self._work_off(core, stop)
            if self._vanished and self._covering.unseen:  # collected while it was fetched: a checkpoint holds it
                self._list(core, stop)
                self._work_off(core, stop)
            came = self._tally.received or self._covering.merged
            if came and not receive_only and self._pack(core):  # it was put right where it did not fit: send that too
                self._work_off(core, stop)
            if not receive_only:
                self._covering.put(stop)
                self._covering.maintain(core, stop)
            self._tally.findings = list(self._witness.finish(core, self._tally.findings, self._environment.now_ms()))
        except BaseException:
            self.forget()  # what was handed out has no outcome: begin anew from the store
            raise
        self._settled = not receive_only
        return self._report(core, started)

    def push(self, stop: threading.Event | None = None) -> SyncReport | None:
        """Send what was edited here and ask the remote nothing; ``None`` when something speaks for a whole pass: make
        that. The caller holds the lock as for `run`, and believes that nothing new lies there. Raises as `run` does.

        What is put is under names of its own and stays what it is, so nothing that would have been heard of by listing
        makes it wrong: it would have been sealed for somebody who was removed meanwhile (and counts as read by him),
        refused by the others (of a removed device), or a second branch (of a copied file), as if it had been on its way
        a moment earlier. What must be there *before* it is looked at here: the entries of the list of devices that it
        builds on, and what this device sent before.
        """
        started = self._environment.monotonic()
        self._ledger.refresh()
        if (core := self._undisturbed()) is None:
            return None
        self._tally, self._receive_only = _Tally(), False
        self._covering.merged = self._covering.collected = 0
        try:
            self._pack(core)
            self._put_blobs(self._count_sends(), stop)
            self._work_off(core, stop)
            if self._tally.findings:
                self._tally.findings = list(
                    self._witness.finish(core, self._tally.findings, self._environment.now_ms())
                )
        except NotAMember:
            self.forget()
            return None
        except BaseException:
            self.forget()
            raise
        return self._report(core, started)

    def _undisturbed(self) -> Core | None:
        """The core of the last pass, if that was whole and everything is as it left it but for own edits."""
        core, identity = self._core, self._identity
        same = self._settled and self._news == self._ledger.news and identity.chain.id == self._ledger.actor
        if core is None or not same or identity.removed or self._announcing or not self._rosters.settled:
            return None
        return core if core.calm() else None

    def _report(self, core: Core, started: float) -> SyncReport:
        tally = self._tally
        if tally.sent or tally.blobs or tally.received:
            tally.to_send, tally.to_receive = tally.sent + tally.blobs, tally.received
            self._report_progress()
        return SyncReport(
            tally.sent,
            tally.received,
            len(tally.entries),
            tally.bytes_sent,
            tally.bytes_received,
            self._environment.monotonic() - started,
            tuple(waiting for waiting in core.waiting() if not self._ends.past(waiting.chain, waiting.seq)),
            tuple(tally.quarantined),
            tuple(tally.findings),
            self._covering.merged,
            self._covering.collected,
        )

    def _hear(self, core: Core) -> tuple[Core, list[Entry]]:
        """The list of devices first: who was removed is not listened to further. Raises `DeviceRemoved`."""
        before = self._identity.roster.revoked
        changed, missing = self._rosters.pull()
        self._check_removed()
        if self._identity.roster.revoked != before:
            self.forget()  # what waits here may not be accepted any more, and what was set aside may be
            core = self._ready_core()
        elif changed:
            core.receive(ev.RosterChanged(self._rosters.chains))
            self._know_ends(core)
        else:
            self._trace_ends(core)  # what was named may have come there meanwhile
        return core, missing

    def _check_removed(self) -> None:
        if self._identity.removed:
            raise DeviceRemoved(
                "this device was removed from the vault: what is here can still be read and exported, but nothing is "
                "sent or received any more"
            )

    def exchange_rosters(self) -> Rosters:
        """The list of devices alone, in both directions. Under the same lock as `run`; raises as that does."""
        self._exchange_rosters(self._ready_core(), receive_only=False)
        return self._rosters

    def _exchange_rosters(self, core: Core, *, receive_only: bool) -> Core:
        try:
            seen = self._access.look(self._identity)
            core, missing = self._hear(core)
        except NotAMember:
            self._rosters.pull(self._access.former())
            self._check_removed()
            raise
        if not receive_only:
            self._rosters.put(missing)
            self._access.publish(self._identity, seen)
        return core

    def _work_off(self, core: Core, stop: threading.Event | None) -> None:
        while True:
            while decision := core.decide():
                self._carry_out(core, decision, stop)
            if known := self._grafts.explain(core.missing()):
                core.receive(ev.Known(known))
            elif not self._retry_needed(core):
                return

    def _retry_needed(self, core: Core) -> bool:
        """What was set aside of ended chains is looked at again when something is missing: a member may have built on
        it. Once for what is missing."""
        missing = core.missing()
        if not missing or missing == self._missed or not (aside := self._ends.beside()):
            return False
        self._missed = missing
        parcels = []
        for name in aside[: limits.SYNC_WINDOW]:
            with contextlib.suppress(Incomplete, ObjectMissing, Refused, UpdateRequired):
                parcels.append(open_parcel(name, self.remote.get(name), self._identity, self._rosters.epochs))
        needed = self._grafts.needed([change for parcel in parcels for change in parcel.changes], missing)
        for parcel in parcels:
            if not needed.isdisjoint(change.hash for change in parcel.changes):
                self._ends.stand_for(parcel.header.chain_id, (parcel.header.seq, parcel.env_id), self._peek)
        found = self._ends.released()
        core.receive(ev.Pardoned(found))
        return bool(found)

    def _pack(self, core: Core) -> bool:
        """Pack what is not yet in envelopes, and tell the core of those; whether there was anything."""
        packed = pack_own(self._ledger, self._identity, self._rosters.epochs, self._environment)
        if packed:
            *_, last = packed  # of the newest incarnation: it is packed after those before it
            write_mark(self._ledger, last.chain, last.last)
            self._rosters.put(self._announcing)
            self._announcing = []
        for one in packed:
            core.receive(ev.Sealed(one.name, one.env_id))
            self._packed[one.name] = one.data
        return bool(packed)

    # ---- beginning --------------------------------------------------------------------------------------------
    @property
    def _identity(self) -> Identity:
        return self._rosters.identity

    def _ready_core(self) -> Core:
        """The core of the last pass, or a new one from the store when another process wrote meanwhile."""
        self._ledger.refresh()
        same_chain = self._identity.chain.id == self._ledger.actor
        if self._core is None or self._news != self._ledger.news or not same_chain:
            self._rosters.use(self._load_identity())
            with self._ledger.store.write() as writing:
                writing.add_remote(self.remote_id)
            self._grafts.load()
            claims = self._witness.claims()
            applied = self._covering.tips()
            with self._ledger.store.read() as reading:
                self._core = Core(
                    self._identity.vault_id,
                    applied,
                    own=self._identity.chain.id,
                    roster=self._rosters.chains,
                    outbox=[sent.name for sent in reading.undelivered(self.remote_id) if sent.kind == Kind.CHANGES],
                    quarantined=reading.quarantined_names(),
                    sides=self._grafts.sides,
                    former=self._identity.own_chains[:-1],
                    claims=claims,
                    orderly=getattr(self.remote, "orderly", False),
                )
            self._news = self._ledger.news
            self._parcels.clear()
            self._know_ends(self._core)
            if isinstance(self.remote, Polled):
                self.remote.alone_in(names.chain_prefix(self._identity.vault_id, self._identity.chain.id))
        return self._core

    def _know_ends(self, core: Core) -> None:
        """Where ended chains end, by the list of devices as it is now; what envelopes say counts by that list, too."""
        self._ends.load(self._identity, self._rosters.epochs)
        self._trace_ends(core)

    def _trace_ends(self, core: Core) -> None:
        """Of what is named of ended chains, what is there; it is taken out of quarantine."""
        self._ends.trace(core.tips(), self._peek)
        core.receive(ev.Pardoned(self._ends.released()))

    def _peek(self, name: str) -> tuple[Header, bytes] | None:
        try:
            return peek(self.remote.get(name))
        except (ObjectMissing, Refused, UpdateRequired):
            return None

    def forget(self) -> None:
        """Begin the next pass from what is stored."""
        self._core = None
        self._settled = False
        self._parcels.clear()
        self._packed.clear()
        self._refused.clear()

    # ---- attachments ------------------------------------------------------------------------------------------
    def _put_blobs(self, waiting: Iterable[str], stop: threading.Event | None) -> None:
        """Attachments before the envelopes that refer to them: whoever learns of one can fetch it."""
        for name in waiting:
            _check(stop)
            with self._ledger.store.read() as reading:
                stored = reading.envelope(name)
            if stored is not None:
                self._put(name, stored.data)
                with self._ledger.store.write() as writing:
                    writing.mark_delivered(self.remote_id, name)
                self._tally.blobs += 1
                self._report_progress()

    def _count_sends(self) -> list[str]:
        """What this pass has to send, as far as it is known before anything was received; the names of attachments."""
        waiting = waiting_for(self._ledger, self.remote_id)
        self._tally.to_send, self._tally.bytes_to_send = len(waiting), sum(size for _, _, size in waiting)
        return [name for name, kind, _ in waiting if kind == BLOB]

    def _put(self, name: str, data: bytes) -> None:
        self.remote.put(name, data)
        self._tally.bytes_sent += len(data)

    # ---- envelopes --------------------------------------------------------------------------------------------
    def _list(self, core: Core, stop: threading.Event | None) -> None:
        self._vanished = False
        self._covering.look()
        listed = {prefix: self.remote.list(prefix) for prefix in core.prefixes()}
        self._covering.prepare(core, listed, stop)
        tips, new = core.tips(), 0
        for prefix, found in listed.items():
            chain = names.chain_of_prefix(self._identity.vault_id, prefix)
            tip = tips.get(chain) if chain is not None else None
            first = f"{prefix}{(tip.seq if tip else 0) + 1:012d}"
            new += sum(name >= first for name in found)
            core.receive(ev.Listed(prefix, found))
        self._tally.to_receive = new

    def _carry_out(self, core: Core, decision: ev.Decision, stop: threading.Event | None) -> None:
        self._tally.findings += decision.findings
        for chain in decision.compare:
            if not self._covering.holds_back(chain):
                self._compare(core, chain)
        self._note(decision)
        for name in (*decision.put, *decision.heal):
            _check(stop)
            self._send(core, name)
        for name in decision.fetch:
            _check(stop)
            core.receive(self._fetch(core, name))
        for unit in decision.apply:
            _check(stop)
            if not self._apply(core, unit, stop):
                break

    def _compare(self, core: Core, chain: bytes) -> None:
        with self._ledger.store.read() as reading:
            held = reading.names_of(chain, Kind.CHANGES) + reading.names_of(chain, SIDE)
            undelivered = reading.undelivered_names(self.remote_id)
        unsent = [name for name in held if name in undelivered]
        core.receive(ev.Holds(chain, held, unsent, self._grafts.forked(chain), looked_at(self._ledger, chain)))

    def _note(self, decision: ev.Decision) -> None:
        """Deliveries and quarantines, as decided."""
        for name in decision.covered:
            self._parcels.pop(name, None)
        remember_looks(self._ledger, decision.covered)
        if not (decision.confirmed or decision.quarantine or decision.release):
            return
        with self._ledger.store.write() as writing:
            for name in decision.confirmed:
                writing.mark_delivered(self.remote_id, name)
            for name in decision.release:
                writing.unquarantine(name)
            for name, error in decision.quarantine:
                parcel = self._parcels.pop(name, None)
                data = parcel.data if parcel else self._refused.pop(name, b"")
                writing.quarantine(name, f"{type(error).__name__}: {error}", data)
                self._tally.quarantined.append(name)

    def _send(self, core: Core, name: str) -> None:
        data = self._packed.pop(name, None) or self._stored(name)
        if data is None:
            return
        self._put(name, data)
        with self._ledger.store.write() as writing:
            writing.mark_delivered(self.remote_id, name)
        core.receive(ev.Put(name))
        self._covering.sent(name, len(data))
        self._tally.sent += 1
        self._report_progress()

    def _stored(self, name: str) -> bytes | None:
        with self._ledger.store.read() as reading:
            held: Envelope | None = reading.envelope(name)
        return None if held is None else held.data

    def _fetch(self, core: Core, name: str) -> ev.Event:
        data = b""
        try:
            place = names.parse_envelope(name)
            if place is not None:
                self._ends.check(place.chain, place.seq)  # not worth fetching
            data = self.remote.get(name)
            self._count_received(len(data))
            parcel = open_parcel(name, data, self._identity, self._rosters.epochs)
            own = {change.hash for change in parcel.changes}
            fresh = {name_ for name_ in own if not self._grafts.knows(name_)}
            self._ends.judge(
                parcel.header.chain_id,
                parcel.header.seq,
                parcel.env_id,
                self._peek,
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
            self._vanished = self._vanished or isinstance(error, ObjectMissing)
            return ev.Failed(name, error)
        self._parcels[name] = parcel
        if self._ends.hear(parcel.statement):
            self._trace_ends(core)
        knows = self._grafts.knows
        deps = {dep for change in parcel.changes for dep in change.deps if dep not in own and not knows(dep)}
        with self._ledger.store.read() as reading:
            follows, held = held_places(reading, parcel)
        return ev.Opened(
            name,
            parcel.env_id,
            parcel.header.prev,
            frozenset(own),
            frozenset(deps),
            parcel.body.frontier,
            parcel.group,
            follows,
            held,
            bool(own) and all(map(knows, own)),
        )

    def _apply(self, core: Core, unit: ev.Unit, stop: threading.Event | None) -> bool:
        """One unit in one transaction, whole or not at all; ``False`` when it failed and the rest was taken back."""
        parcels = [self._parcels[name] for name in unit.names]
        try:
            with self._ledger.write() as transaction:
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
            self._branch_off(core, unit, stop)
            return False
        except (Refused, MissingDependencies) as error:
            self._grafts.load()
            core.receive(ev.Failed(unit.names[0], error))
            return False
        core.receive(ev.Applied(unit.names))
        if identity is not self._identity:
            self._began(core, identity)
        for name in unit.names:
            parcel = self._parcels.pop(name)
            if not unit.side:
                self._covering.grew(unit.chain, parcel.header.seq, len(parcel.data))
        self._tally.received += len(unit.names)
        self._tally.entries |= touched
        self._report_progress()
        self._merged(touched)
        return True

    def _branch_off(self, core: Core, unit: ev.Unit, stop: threading.Event | None) -> None:
        """Own changes that have rivals in ``unit`` are packed, as they are, before it is applied: as a branch."""
        if self._receive_only or self._rosters.epochs.get(self._identity.roster.epoch) is None:
            error = UnknownChain("own changes that are not sent yet stand in its place: they have to be sent first")
            core.receive(ev.Failed(unit.names[0], error))
            return
        core.receive(ev.Interrupted())
        self._pack(core)
        self._put_blobs(self._count_sends(), stop)

    def _began(self, core: Core, identity: Identity) -> None:
        """This device goes on as another incarnation: others hear of it before they see anything of it."""
        new = [entry for entry in identity.roster.log if not self._identity.roster.knows(entry.hash)]
        self._rosters.use(identity)
        self._announcing += new
        self._learned(identity)
        core.receive(ev.RosterChanged(self._rosters.chains, identity.chain.id))

    def _begin(self, identity: Identity) -> None:
        """The same, with a checkpoint that was merged in."""
        if self._core is not None:
            self._began(self._core, identity)

    def _check_sealed(self, transaction: Transaction, chain: bytes, parcels: list[Parcel]) -> None:
        """Raises `StaleEpoch`: neither the key nor what its writer knows of the devices goes back within a chain."""
        stored = transaction.state(SEALED + chain.hex())
        previous = None if stored is None else (stored[:8], stored[8:])
        for parcel in parcels:
            epoch, head = parcel.sealed
            check_epoch(self._identity.roster, epoch=epoch, roster_head=head, previous=previous)
            previous = parcel.sealed
        if previous is not None:
            transaction.set_state(SEALED + chain.hex(), b"".join(previous))

    def _note_merged(self, entries: frozenset[str]) -> None:
        """A checkpoint was merged in, which touched these."""
        self._grafts.load()
        self._tally.entries |= entries
        self._merged(entries)

    def _count_received(self, size: int) -> None:
        self._tally.bytes_received += size
        self._report_progress()

    def _expect(self, size: int) -> None:
        self._tally.bytes_to_receive = self._tally.bytes_received + size
        self._report_progress()

    def _report_progress(self) -> None:
        tally = self._tally
        self._progress(
            Progress(
                tally.sent + tally.blobs,
                tally.received,
                tally.bytes_sent,
                tally.bytes_received,
                tally.to_send,
                tally.to_receive,
                tally.bytes_to_send,
                tally.bytes_to_receive and max(tally.bytes_to_receive, tally.bytes_received),
            )
        )

    def _others(self, writing: Writing) -> list[str]:
        """The vault's other remotes: what is applied from this one, they may lack."""
        return [other for other in writing.remotes() if other != self.remote_id]

    def close(self) -> None:
        self.remote.close()


def _check(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise VaultClosed("the vault is being closed")

"""One exchange with one remote: the I/O around `sync.core`, which decides everything.

A pass lists, fetches, verifies, applies, packs and puts. It may be cut off at any point: what was applied is committed,
what was packed is stored, and the next pass goes on from there. Nothing here holds a lock while it talks to the remote.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable

from vaultsync.crypto.envelope import Kind
from vaultsync.crypto.roster_entry import Entry
from vaultsync.errors import (
    DeviceRemoved,
    UnknownChain,
)
from vaultsync.remote.port import Polled, Remote
from vaultsync.remote.signing import NotAMember
from vaultsync.sync import events as ev
from vaultsync.sync import names
from vaultsync.sync.core import Core
from vaultsync.sync.report import SyncReport
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership.access import RelayAccess
from vaultsync.vault.replication.covering import Covering
from vaultsync.vault.replication.ends import Ends
from vaultsync.vault.replication.findings import Findings, Witness
from vaultsync.vault.replication.grafting import Grafts, Unsent
from vaultsync.vault.replication.incoming import Incoming
from vaultsync.vault.replication.inspection import Show
from vaultsync.vault.replication.outgoing import Outgoing, check
from vaultsync.vault.replication.parcels import HEARD
from vaultsync.vault.replication.rosters import Rosters
from vaultsync.vault.replication.standing import Progress
from vaultsync.vault.replication.tally import Tally

__all__ = ["HEARD", "Exchange", "Progress"]


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
        show: Show | None = None,
    ) -> None:
        """``load_identity`` reads this device's identity from the store; ``learned`` is told when the roster grew.

        ``merged`` is told which entries a committed unit touched, ``progress`` how far a pass is; both under no lock.
        ``show`` gets what fills an empty vault, before it is verified.
        """
        self.remote = remote
        self.remote_id = remote_id
        self._ledger = ledger
        self._environment = environment
        self._load_identity = load_identity
        self._tally = Tally(progress)
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
            received=self._tally.came,
            expected=self._tally.expect,
            merged=self._note_merged,
            began=self._begin,
            show=show,
        )
        self._merged = merged
        self._learned = learned
        self._grafts = Grafts(ledger)
        self._incoming = Incoming(ledger, remote, remote_id, self._rosters, self._ends, self._grafts, self._tally)
        self._outgoing = Outgoing(
            ledger, remote_id, environment, self._rosters, self._tally, put=self._put, sent=self._covering.sent
        )
        self._witness = Witness(ledger, remote_id, findings if findings is not None else Findings(ledger))
        self._core: Core | None = None
        self._news = -1
        self._receive_only = False
        self._settled = False  # the last pass was whole, and `push` may build on it

    def run(self, stop: threading.Event | None = None, *, receive_only: bool = False) -> SyncReport:
        """One pass, until there is nothing more to do; with ``receive_only`` nothing is packed or put. The caller
        holds the store's pusher lock, unless nobody else knows the store yet.

        Raises `RemoteError` when the remote fails (what was done so far is kept), `StoreError`, and `VaultClosed` when
        ``stop`` is set meanwhile.
        """
        started = self._environment.monotonic()
        self._tally.begin()
        self._receive_only, self._settled = receive_only, False
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
                self._outgoing.pack(core)
                self._outgoing.attachments(stop)
            self._work_off(core, stop)
            if self._incoming.vanished and self._covering.unseen:  # collected meanwhile: a checkpoint holds it
                self._list(core, stop)
                self._work_off(core, stop)
            if not receive_only:
                came = self._tally.received or self._covering.merged
                if came and self._outgoing.pack(core):  # it was put right where it did not fit: send that too
                    self._work_off(core, stop)
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
        self._tally.begin()
        self._receive_only = False
        self._covering.merged = self._covering.collected = 0
        try:
            self._outgoing.pack(core)
            self._outgoing.attachments(stop)
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
        if core is None or not same or identity.removed or self._outgoing.announcing or not self._rosters.settled:
            return None
        return core if core.calm() else None

    def _report(self, core: Core, started: float) -> SyncReport:
        return self._tally.report(
            self._environment.monotonic() - started,
            [waiting for waiting in core.waiting() if not self._ends.past(waiting.chain, waiting.seq)],
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
            self._incoming.know_ends(core)
        else:
            self._incoming.trace(core)  # what was named may have come there meanwhile
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
            elif not self._incoming.retry_needed(core):
                return

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
            self._incoming.forget(refused=False)
            self._incoming.know_ends(self._core)
            if isinstance(self.remote, Polled):
                self.remote.alone_in(names.chain_prefix(self._identity.vault_id, self._identity.chain.id))
        return self._core

    def forget(self) -> None:
        """Begin the next pass from what is stored."""
        self._core = None
        self._settled = False
        self._incoming.forget()
        self._outgoing.forget()

    def _put(self, name: str, data: bytes) -> None:
        self.remote.put(name, data)
        self._tally.bytes_sent += len(data)

    # ---- envelopes --------------------------------------------------------------------------------------------
    def _list(self, core: Core, stop: threading.Event | None) -> None:
        self._incoming.vanished = False
        self._covering.look()
        listed = {prefix: self.remote.list(prefix) for prefix in core.prefixes()}
        self._covering.prepare(core, listed, stop)
        tips, new = core.tips(), 0
        for prefix, found in listed.items():
            chain = names.chain_of_prefix(self._identity.vault_id, prefix)
            tip = tips.get(chain) if chain is not None else None
            first = f"{prefix}{(tip.seq if tip else 0) + 1:012d}"
            new += len(found) - bisect_left(found, first)
            core.receive(ev.Listed(prefix, found))
        self._tally.to_receive = new

    def _carry_out(self, core: Core, decision: ev.Decision, stop: threading.Event | None) -> None:
        self._tally.findings += decision.findings
        for chain in decision.compare:
            if not self._covering.holds_back(chain):
                self._incoming.compare(core, chain)
        self._incoming.note(decision)
        for name in (*decision.put, *decision.heal):
            check(stop)
            self._outgoing.send(core, name)
        for name in decision.fetch:
            check(stop)
            core.receive(self._incoming.fetch(core, name))
        for unit in decision.apply:
            check(stop)
            if not self._apply(core, unit, stop):
                break

    def _apply(self, core: Core, unit: ev.Unit, stop: threading.Event | None) -> bool:
        """One unit, whole or not at all; ``False`` when it failed and the rest was taken back."""
        try:
            taken = self._incoming.apply(core, unit)
        except Unsent:
            self._branch_off(core, unit, stop)
            return False
        if taken is None:
            return False
        if taken.identity is not self._identity:
            self._began(core, taken.identity)
        for seq, size in taken.sizes.items():
            self._covering.grew(unit.chain, seq, size)
        self._merged(taken.entries)
        return True

    def _branch_off(self, core: Core, unit: ev.Unit, stop: threading.Event | None) -> None:
        """Own changes that have rivals in ``unit`` are packed, as they are, before it is applied: as a branch."""
        if self._receive_only or self._rosters.epochs.get(self._identity.roster.epoch) is None:
            error = UnknownChain("own changes that are not sent yet stand in its place: they have to be sent first")
            core.receive(ev.Failed(unit.names[0], error))
            return
        core.receive(ev.Interrupted())
        self._outgoing.pack(core)
        self._outgoing.attachments(stop)

    def _began(self, core: Core, identity: Identity) -> None:
        """This device goes on as another incarnation: others hear of it before they see anything of it."""
        new = [entry for entry in identity.roster.log if not self._identity.roster.knows(entry.hash)]
        self._rosters.use(identity)
        self._outgoing.announcing += new
        self._learned(identity)
        core.receive(ev.RosterChanged(self._rosters.chains, identity.chain.id))

    def _begin(self, identity: Identity) -> None:
        """The same, with a checkpoint that was merged in."""
        if self._core is not None:
            self._began(self._core, identity)

    def _note_merged(self, entries: frozenset[str]) -> None:
        """A checkpoint was merged in, which touched these."""
        self._grafts.load()
        self._tally.entries |= entries
        self._merged(entries)

    def close(self) -> None:
        self.remote.close()

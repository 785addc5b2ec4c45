"""Checkpoints in one exchange with one remote: what a pass does with them before, and after, it exchanges envelopes.

Before: what the remote lists is compared with what is applied here. Envelopes that are missing there, or that are many,
send this device to a checkpoint that may explain or hold them; `sync.coverage` decides. After: checkpoints that were
made or that the remote lost are put; one that somebody else made is verified, so that two stand for what is collected;
one is written when that pays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Set
from contextlib import suppress

from vaultsync import limits
from vaultsync.crypto.envelope import Kind
from vaultsync.errors import MalformedEnvelope, Refused, UpdateRequired, VaultClosed
from vaultsync.remote.port import Remote
from vaultsync.sync import events as ev
from vaultsync.sync import names
from vaultsync.sync.core import Core
from vaultsync.sync.coverage import Known, Numbers, Offer, floors, offers, situation
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership.sweeping import Sweeper
from vaultsync.vault.replication.checkpoints import counting, due, known_checkpoints, with_floors, write_checkpoint
from vaultsync.vault.replication.collecting import Collector
from vaultsync.vault.replication.ends import Ends
from vaultsync.vault.replication.inspection import InspectorUnavailable, Show
from vaultsync.vault.replication.lines import Lines
from vaultsync.vault.replication.parcels import known_tips
from vaultsync.vault.replication.rosters import Rosters
from vaultsync.vault.replication.verifying import NotYet, Taken, Taker
from vaultsync.vault.replication.waiting import waiting_for

__all__ = ["Covering"]

_log = logging.getLogger(__name__)


class Covering:
    """Not thread-safe: belongs to one `Exchange`."""

    def __init__(
        self,
        ledger: Ledger,
        remote: Remote,
        remote_id: str,
        rosters: Rosters,
        ends: Ends,
        environment: Environment,
        *,
        put: Callable[[str, bytes], None],
        received: Callable[[int], None],
        expected: Callable[[int], None],
        merged: Callable[[frozenset[str]], None],
        began: Callable[[Identity], None],
        show: Show | None = None,
    ) -> None:
        """``put`` puts an object, and counts it; ``received`` and ``expected`` are told bytes that came and that will
        come; ``merged`` which entries a checkpoint touched, under no lock; ``began`` who this device is when another
        incarnation began with it; ``show`` gets what fills an empty vault, before it is verified."""
        self._ledger = ledger
        self._remote = remote
        self._remote_id = remote_id
        self._rosters = rosters
        self._ends = ends
        self._environment = environment
        self._put = put
        self._received = received
        self._expected = expected
        self._merged = merged
        self._began = began
        self._show = show
        self._collector = Collector(ledger, remote, remote_id, rosters.identity.vault_id, environment)
        self._sweeper = Sweeper(ledger, remote, remote_id, environment)
        self._known: list[Known] = []
        self._weighed: dict[bytes, tuple[int, int, int]] = {}  # chain: floor, last that was weighed, bytes
        self._offers: list[Offer] = []
        self._listed: set[str] = set()
        self._chains: dict[bytes, list[str]] = {}
        self._numbers = Numbers()
        self.merged = 0
        """Checkpoints merged in since somebody set this to 0."""
        self.collected = 0
        """Objects deleted, likewise."""
        self._late = False
        self._late_passes = 0
        self._lost: frozenset[bytes] = frozenset()

    @property
    def _identity(self) -> Identity:
        return self._rosters.identity

    # ---- before envelopes -------------------------------------------------------------------------------------
    def tips(self) -> dict[bytes, ev.Tip]:
        """How far each chain is applied, and covered by a checkpoint that was verified here."""
        everything = counting(known_checkpoints(self._ledger), self._identity)
        self._known = Lines(self._ledger, self._identity.vault_id).counted(everything)
        return with_floors(known_tips(self._ledger, self._identity), self._known)

    def look(self) -> None:
        """List the checkpoints there. Raises `RemoteError`."""
        self._listed = set(self._remote.list(names.checkpoints_prefix(self._identity.vault_id)))
        refused = self._ledger.store.recall("refused", ("quarantine",), lambda reading: reading.quarantined_names())
        found, parts = offers(self._identity.vault_id, self._listed)
        ours = {name for one in self._known for name in one.parts}
        self._offers = [offer for offer in found if refused.isdisjoint(offer.parts) and ours.isdisjoint(offer.parts)]
        self._late = parts and any(name not in ours for name in self._listed)

    def prepare(self, core: Core, listed: Mapping[str, list[str]], stop: threading.Event | None) -> None:
        """Take what checkpoints it needs to understand this listing (of each chain's prefix), and tell the core."""
        vault = self._identity.vault_id
        self._chains = {
            chain: names_there
            for prefix, names_there in listed.items()
            if (chain := names.chain_of_prefix(vault, prefix)) is not None
        }
        unsent = self._undelivered()
        applied = self._floors(core)
        now = situation(applied, self._chains, unsent, self._numbers)
        for offer in list(self._offers):
            if not (core.missing() or now.wants(offer, applied)):  # what is missing may be collected, of another branch
                break
            if self._take(offer, stop) is not None:
                applied = self._floors(core)
                now = situation(applied, self._chains, unsent, self._numbers)
        self._lost = now.lost
        self._late_passes = self._late_passes + 1 if self._late and self._lost else 0

    def _undelivered(self) -> Set[str]:
        return waiting_for(self._ledger, self._remote_id).keys()

    @property
    def unseen(self) -> bool:
        """Whether there are checkpoints that were not looked at."""
        return bool(self._offers)

    def sent(self, name: str, size: int) -> None:
        """An envelope was put."""
        parsed = names.parse_envelope(name)
        if parsed is not None:
            self._chains.setdefault(parsed.chain, []).append(name)
            self.grew(parsed.chain, parsed.seq, size)

    def grew(self, chain: bytes, seq: int, size: int) -> None:
        """An envelope of so many bytes is stored as that of its chain: it need not be weighed."""
        floor, last, weight = self._weighed.get(chain, (-1, 0, 0))
        if seq == last + 1 and floor >= 0:
            self._weighed[chain] = (floor, seq, weight + size)

    def holds_back(self, chain: bytes) -> bool:
        """Whether what is missing of the chain may be explained by a checkpoint that has not quite arrived."""
        return chain in self._lost and 0 < self._late_passes <= limits.CHECKPOINT_PATIENCE

    def _floors(self, core: Core) -> dict[bytes, ev.Tip]:
        applied = self.tips()
        before = core.tips()
        for chain, tip in applied.items():
            if before.get(chain) != tip:
                core.receive(ev.Advanced(chain, tip))
        engine = self._ledger.engine
        core.receive(ev.Known([hash_ for hash_ in core.missing() if engine.has(hash_)]))
        return applied

    def _take(self, offer: Offer, stop: threading.Event | None) -> Taken | None:
        """What became of it; ``None`` when it is of no use (now)."""
        self._offers.remove(offer)
        with self._ledger.store.read() as reading:
            held = {name for name in offer.parts if reading.has_envelope(name)}
        self._expected(offer.size if not held else offer.size * (len(offer.parts) - len(held)) // len(offer.parts))
        taker = Taker(
            self._ledger,
            self._remote,
            self._identity,
            self._rosters.epochs,
            self._ends,
            self._environment,
            received=self._received,
            stop=stop,
            check=lambda: _check(stop),
            began=self._began,
            show=self._show,
        )
        try:
            taken = taker.take(offer)
        except (NotYet, UpdateRequired, InspectorUnavailable) as error:
            _log.info("a checkpoint is of no use yet: %s", error)
            self._late = True
            return None
        except Refused as error:
            self._set_aside(offer, error)
            return None
        if taken.merged:
            self.merged += 1
            self._merged(taken.entries)
        return taken

    def _set_aside(self, offer: Offer, error: Refused) -> None:
        """Never to be looked at again. Its bytes are not kept: they may be many, and the remote has them."""
        with self._ledger.store.write() as writing:
            for name in offer.parts:
                writing.drop_envelope(name)
            writing.quarantine(offer.parts[0], f"{type(error).__name__}: {error}", b"")

    # ---- after envelopes --------------------------------------------------------------------------------------
    def put(self, stop: threading.Event | None) -> None:
        """What of checkpoints the remote lacks: own ones, and after a loss those that stand for what is covered."""
        if not self._known:
            return
        waiting = self._undelivered()
        for one in self._known:
            if self._listed.issuperset(one.parts):
                self._deliver(one, waiting)
        covered = floors(one for one in self._known if self._listed.issuperset(one.parts))
        for one in sorted(self._known, key=lambda one: one.since, reverse=True):
            new = not waiting.isdisjoint(one.parts)
            needed = any(covered.get(chain, (0, b""))[0] < seq for chain, (seq, _) in one.frontier.items())
            if not self._listed.issuperset(one.parts) and (new or needed):
                self._put_parts(one, stop)
                self._deliver(one, waiting)
                covered = floors(known for known in self._known if self._listed.issuperset(known.parts))
        self._put_anchors(stop)

    def _put_parts(self, one: Known, stop: threading.Event | None) -> None:
        for name in one.parts:
            _check(stop)
            with self._ledger.store.read() as reading:
                held = reading.envelope(name)
            if held is not None and name not in self._listed:
                self._put(name, held.data)
                self._listed.add(name)

    def _deliver(self, one: Known, waiting: Set[str]) -> None:
        if not waiting.isdisjoint(one.parts):
            with self._ledger.store.write() as writing:
                for name in one.parts:
                    writing.mark_delivered(self._remote_id, name)

    def _put_anchors(self, stop: threading.Event | None) -> None:
        """A checkpoint is of no use to anybody without the envelopes that its frontier names."""
        vault = self._identity.vault_id
        for one in self._known:
            for chain, (seq, env_id) in one.frontier.items():
                name = names.envelope_name(vault, chain, seq, env_id)
                there = self._chains.setdefault(chain, [])
                if name in there:
                    continue
                _check(stop)
                with self._ledger.store.read() as reading:
                    held = reading.envelope(name)
                if held is not None:
                    self._put(name, held.data)
                    there.append(name)

    def maintain(self, core: Core, stop: threading.Event | None) -> None:
        """Verify one more checkpoint of others, write one if that pays, and collect what nobody needs."""
        applied = core.tips()
        pays = due(applied, self._known, self._weight)
        if self._offers and (pays or self._holds_much(applied)):
            for offer in list(self._offers):
                if self._worth(offer):
                    self._take(offer, stop)
                    applied = self._floors(core)
                    break
        if self._gone() or (pays and due(applied, self._known, self._weight)):
            self.write(stop)
            self._floors(core)
            self.put(stop)
        self.collected += self._collector.run(self._known, self._listed, self._chains, stop)
        self.collected += self._sweeper.run(self._identity, self._known, stop)
        if self._sweeper.lacks_checkpoint and self.write(stop) is not None:
            self._floors(core)
            self.put(stop)

    def _weight(self, applied: Mapping[bytes, ev.Tip]) -> int:
        """Bytes of the stored envelopes that no checkpoint covers. Only what came since the last time is weighed."""
        moved = []
        for chain, tip in applied.items():
            floor, seq, _ = self._weighed.get(chain, (-1, 0, 0))
            if floor != tip.floor or seq > tip.seq:
                self._weighed[chain] = (tip.floor, tip.floor, 0)
            if self._weighed[chain][1] < tip.seq:
                moved.append((chain, tip.seq))
        if moved:
            with self._ledger.store.read() as reading:
                for chain, last in moved:
                    floor, seq, weight = self._weighed[chain]
                    weight += reading.bytes_of(chain, Kind.CHANGES, seq, last)
                    self._weighed[chain] = (floor, last, weight)
        return sum(self._weighed[chain][2] for chain in applied)

    def _holds_much(self, applied: Mapping[bytes, ev.Tip]) -> bool:
        """Whether so many envelopes are kept here that letting them go is worth fetching a checkpoint for."""
        with self._ledger.store.read() as reading:
            held = sum(reading.count_of(chain, Kind.CHANGES) for chain in applied)
        return held >= limits.CHECKPOINT_AFTER_ENVELOPES // 2

    def _worth(self, offer: Offer) -> bool:
        """Whether verifying it may add to the two newest that are known."""
        sizes = sorted((sum(seq for seq, _ in one.frontier.values()) for one in self._known), reverse=True)
        return len(sizes) < 2 or offer.covered > sizes[1]

    def _gone(self) -> bool:
        """Whether something was trimmed here on the word of checkpoints that do not count any more."""
        known = known_checkpoints(self._ledger)
        if len(known) == len(self._known):
            return False
        everything = floors(Lines(self._ledger, self._identity.vault_id).counted(known))
        counted = floors(self._known)
        return any(counted.get(chain, (0, b""))[0] < seq for chain, (seq, _) in everything.items())

    def write(self, stop: threading.Event | None = None) -> Known | None:
        """Write one now; ``None`` when that is not possible now."""
        try:
            return write_checkpoint(self._ledger, self._identity, self._environment, stop=stop)
        except (InspectorUnavailable, MalformedEnvelope) as error:
            _log.warning("no checkpoint was written: %s", error)
            return None

    def tidy(self) -> None:
        """Forget the beginnings of checkpoints that are not offered any more."""
        kept = {name for one in known_checkpoints(self._ledger) for name in one.parts}
        kept |= {name for offer in self._offers for name in offer.parts} | self._listed
        with self._ledger.store.read() as reading:
            stale = reading.names(names.checkpoints_prefix(self._identity.vault_id)) - kept
        if stale:
            with suppress(VaultClosed), self._ledger.store.write() as writing:
                for name in stale:
                    writing.drop_envelope(name)


def _check(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise VaultClosed("the vault is being closed")

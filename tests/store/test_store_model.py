"""The store against a dict model: two stores on one file, reopening, snapshots, packing, deliveries, rollbacks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vaultsync.errors import AlreadyStored, Compacted
from vaultsync.store import Envelope, JournalRow, NewRow, Origin, Quarantined, Slot, Store, Writing, split

OWN = [b"a" * 16, b"b" * 16]
FOREIGN = [b"x" * 16, b"y" * 16]
REMOTES = ["primary", "mirror"]
blobs = st.binary(max_size=600) | st.binary(min_size=5000, max_size=9000)
names = st.sampled_from(["a", "a/1", "a/2", "b", "\u00e4/\U0010fffe", ""])
who = st.integers(0, 1)


class Abort(Exception):
    pass


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ann.vault"
        self.rows: list[JournalRow] = []
        self.position = self.floor = 0
        self.seqs = dict.fromkeys([*OWN, *FOREIGN], 0)
        self.packed = dict.fromkeys(OWN, 0)
        self.hashes: set[bytes] = set()
        self.state: dict[str, bytes] = {}
        self.envelopes: dict[str, Envelope] = {}
        self.lacking: dict[str, list[str]] = {}
        self.refused: dict[str, Quarantined] = {}
        self.snapshots: dict[int, tuple[int, bytes, bytes, bool]] = {}
        self.slots = [Slot("password", b"first")]
        self.stores: list[Store] = []
        self.news = [False, False]

    @initialize()
    def create(self) -> None:
        self.stores = [Store.create(self.path, header=b"header", slots=self.slots), Store.open(self.path)]

    def teardown(self) -> None:
        for store in self.stores:
            assert store.check().ok
            store.close()
        self.folder.cleanup()

    def note(self, at: int) -> None:
        self.news[1 - at] = True

    # ---- journal
    def _append(self, writing: Writing, actor: bytes, seq: int, sealed: bytes) -> JournalRow:
        origin = Origin.OWN if actor in OWN else Origin.FOREIGN
        hash_ = actor + seq.to_bytes(16, "big")
        position = writing.append(actor, seq, hash_, sealed, origin)
        return JournalRow(position, actor, seq, hash_, sealed, origin)

    @rule(at=who, actor=st.sampled_from([*OWN, *FOREIGN]), sealed=st.lists(blobs, min_size=1, max_size=4))
    def append(self, at: int, actor: bytes, sealed: list[bytes]) -> None:
        with self.stores[at].write() as writing:
            for data in sealed:
                self.seqs[actor] += 1
                row = self._append(writing, actor, self.seqs[actor], data)
                self.position += 1
                assert row.position == self.position
                self.rows.append(row)
                self.hashes.add(row.hash)
            assert [row.hash for row in writing.journal(self.position - len(sealed))] == [
                row.hash for row in self.rows[-len(sealed) :]
            ]
        self.note(at)

    @rule(at=who, actor=st.sampled_from(FOREIGN), holds=st.lists(st.integers(1, 5), min_size=1, max_size=3), data=blobs)
    def append_together(self, at: int, actor: bytes, holds: list[int], data: bytes) -> None:
        """Somebody else's changes that came together share rows."""
        with self.stores[at].write() as writing:
            new = []
            for many in holds:
                self.seqs[actor] += many
                self.position += many
                hash_ = actor + self.seqs[actor].to_bytes(16, "big")
                new.append(JournalRow(self.position, actor, self.seqs[actor], hash_, data, Origin.FOREIGN, many))
            rows = [NewRow(actor, row.seq, row.hash, data, row.holds) for row in new]
            assert writing.append_all(rows, Origin.FOREIGN) == self.position
            self.rows += new
            self.hashes.update(row.hash for row in new)
            assert list(writing.journal(self.position - sum(holds))) == new
        self.note(at)

    @rule(at=who, actor=st.sampled_from(FOREIGN), back=st.integers(0, 5), many=st.integers(1, 8))
    def append_again(self, at: int, actor: bytes, back: int, many: int) -> None:
        """Also when the number lies inside of a row."""
        held = {seq for row in self.rows if row.actor == actor for seq in range(row.seq - row.holds + 1, row.seq + 1)}
        last = self.seqs[actor] - back + many - 1
        if last >= many and not held.isdisjoint(range(last - many + 1, last + 1)):
            with self.stores[at].write() as writing, pytest.raises(AlreadyStored):
                writing.append_all([NewRow(actor, last, os.urandom(32), b"again", many)], Origin.FOREIGN)

    @rule(at=who, actor=st.sampled_from(OWN), back=st.integers(0, 5))
    def append_twice(self, at: int, actor: bytes, back: int) -> None:
        seq = self.seqs[actor] - back
        if seq < 1:
            return
        with self.stores[at].write() as writing, pytest.raises(AlreadyStored):  # also when that row is compacted
            writing.append(actor, seq, os.urandom(32), b"again")

    @rule(at=who, actor=st.sampled_from(OWN), skipped=st.integers(1, 3))
    def append_with_a_gap(self, at: int, actor: bytes, skipped: int) -> None:
        if self.seqs[actor]:
            with self.stores[at].write() as writing, pytest.raises(ValueError, match="follow"):
                writing.append(actor, self.seqs[actor] + skipped + 1, os.urandom(32), b"gap")

    @rule(at=who, actor=st.sampled_from(OWN), data=blobs, name=names)
    def roll_back(self, at: int, actor: bytes, data: bytes, name: str) -> None:
        with pytest.raises(Abort), self.stores[at].write() as writing:  # noqa: PT012 (the block is what is rolled back)
            self._append(writing, actor, self.seqs[actor] + 1, data)
            writing.set_state(name, data)
            writing.replace_slots([b"never"])
            writing.put_envelope("v/never", actor, 10_000, b"id", 1, data, True)
            raise Abort

    @rule(at=who, actor=st.sampled_from(OWN), part=st.floats(0, 1))
    def pack(self, at: int, actor: bytes, part: float) -> None:
        seq = round(self.seqs[actor] * part)
        if not seq:
            return
        with self.stores[at].write() as writing:
            writing.packed_up_to(actor, seq)
        if seq > self.packed[actor]:
            self.packed[actor] = seq
            self.drop_covered()
            self.note(at)

    @rule(at=who, actor=st.sampled_from(OWN), first=st.integers(0, 8), many=st.integers(2, 8), data=blobs)
    def join_own(self, at: int, actor: bytes, first: int, many: int, data: bytes) -> None:
        mine = [row for row in self.rows if row.actor == actor and row.position <= self.floor]
        joined = mine[first : first + many]
        if len(joined) < 2:
            return
        with self.stores[at].write() as writing:
            writing.join_own(joined, data)
        one = joined[-1]._replace(sealed=data, holds=sum(row.holds for row in joined))
        kept = [row for row in self.rows if row not in joined]
        self.rows = sorted([*kept, one], key=lambda row: row.position)
        self.note(at)

    @rule(at=who, actor=st.sampled_from(OWN))
    def join_what_is_needed_one_by_one(self, at: int, actor: bytes) -> None:
        mine = [row for row in self.rows if row.actor == actor][-2:]
        if len(mine) == 2 and mine[-1].position > self.floor:
            with self.stores[at].write() as writing, pytest.raises(ValueError, match="one by one"):
                writing.join_own(mine, b"joined")

    def drop_covered(self) -> None:
        self.rows = [
            row for row in self.rows
            if row.position > self.floor or (row.actor in OWN and row.seq > self.packed[row.actor])
        ]  # fmt: skip

    # ---- snapshots
    @rule(at=who, size=st.integers(0, 200_000), back=st.integers(0, 3))
    def put_snapshot(self, at: int, size: int, back: int) -> None:
        position = max(self.floor, self.position - back)
        data = os.urandom(size)
        with self.stores[at].write() as writing:
            generation = writing.put_snapshot(position, b"index %d" % size, split(data))
        assert generation > max(self.snapshots, default=0)
        self.snapshots[generation] = (position, b"index %d" % size, data, False)
        self.note(at)

    @rule(at=who, choice=st.integers(0, 2))
    def confirm(self, at: int, choice: int) -> None:
        waiting = sorted(g for g, (_, _, _, verified) in self.snapshots.items() if not verified)
        if len(waiting) <= choice:
            return
        generation = waiting[choice]
        position, index, data, _ = self.snapshots[generation]
        with self.stores[at].write() as writing:
            confirmed = writing.confirm_snapshot(generation)
        assert confirmed == (position >= self.floor)
        if confirmed:
            self.snapshots = {g: s for g, s in self.snapshots.items() if g > generation}
            self.snapshots[generation] = (position, index, data, True)
            self.floor = position
            self.drop_covered()
        else:
            del self.snapshots[generation]
        with self.stores[at].write() as writing:
            assert not writing.confirm_snapshot(generation + 1000)
        self.note(at)

    # ---- everything else
    @rule(at=who, name=names, data=st.none() | blobs)
    def set_state(self, at: int, name: str, data: bytes | None) -> None:
        with self.stores[at].write() as writing:
            writing.set_state(name, data)
        if data is None:
            self.state.pop(name, None)
        else:
            self.state[name] = data
        self.note(at)

    @rule(at=who, own=st.booleans(), data=blobs)
    def put_envelope(self, at: int, own: bool, data: bytes) -> None:
        number = len(self.envelopes)
        chain = (OWN if own else FOREIGN)[number % 2]
        envelope = Envelope(f"v/env/{number}", chain, number, b"%032d" % number, 1, own, data)
        name, chain, seq, env_id, kind, own, data = envelope
        with self.stores[at].write() as writing:
            for _ in range(2):  # again is harmless
                writing.put_envelope(name, chain, seq, env_id, kind, data, own)
        with self.stores[at].write() as writing:
            with pytest.raises(AlreadyStored):
                writing.put_envelope(name, chain, seq, env_id, kind, data + b"!", own)
            if own:
                with pytest.raises(AlreadyStored):
                    writing.put_envelope("v/env/other", chain, seq, b"other", kind, data, own)
        self.envelopes[name] = envelope
        if own:
            for lacking in self.lacking.values():
                lacking.append(name)
        self.note(at)

    @rule(at=who, remote=st.sampled_from(REMOTES), delivered=st.booleans(), pick=st.integers(0, 20))
    def deliver(self, at: int, remote: str, delivered: bool, pick: int) -> None:
        if not self.envelopes:
            return
        name = list(self.envelopes)[pick % len(self.envelopes)]
        lacking = self.lacking.setdefault(remote, [n for n, e in self.envelopes.items() if e.own])
        with self.stores[at].write() as writing:
            (writing.mark_delivered if delivered else writing.mark_undelivered)(remote, name)
        if delivered and name in lacking:
            lacking.remove(name)
        elif not delivered and name not in lacking:
            lacking.append(name)
        self.note(at)

    @rule(at=who, remote=st.sampled_from(REMOTES))
    def forget_remote(self, at: int, remote: str) -> None:
        with self.stores[at].write() as writing:
            writing.forget_remote(remote)
        if self.lacking.pop(remote, None) is not None:
            self.note(at)

    @rule(at=who, name=names, data=blobs, free=st.booleans())
    def quarantine(self, at: int, name: str, data: bytes, free: bool) -> None:
        with self.stores[at].write() as writing:
            if free:
                writing.unquarantine(name)
                self.refused.pop(name, None)
            else:
                writing.quarantine(name, "BadSeal", data)
                self.refused[name] = Quarantined(name, "BadSeal", data)
        self.note(at)

    @rule(at=who, slots=st.lists(st.binary(max_size=300), min_size=1, max_size=3))
    def replace_slots(self, at: int, slots: list[bytes]) -> None:
        self.stores[at].replace_slots(slots)
        self.slots = [Slot("password", slot) for slot in slots]
        self.note(at)

    @rule(at=who)
    def reopen(self, at: int) -> None:
        self.stores[at].close()
        self.stores[at] = Store.open(self.path)
        self.news[at] = False

    @rule(at=who)
    def tidy(self, at: int) -> None:
        self.stores[at].trim()
        self.stores[at].scrub()

    # ---- what must hold
    @rule(at=who)
    def look_for_news(self, at: int) -> None:
        changed = self.stores[at].changed_elsewhere()
        assert changed or not self.news[at], "never missed"
        assert not self.stores[at].changed_elsewhere()
        self.news[at] = False

    @invariant()
    def both_show_the_model(self) -> None:
        for store in self.stores:
            with store.read() as reading:
                assert (reading.position(), reading.floor()) == (self.position, self.floor)
                above = [row for row in self.rows if row.position > self.floor]
                assert list(reading.journal(self.floor)) == above
                assert reading.weight() == (sum(row.holds for row in above), sum(len(row.sealed) for row in above))
                if self.floor:
                    with pytest.raises(Compacted):
                        reading.journal(self.floor - 1)
                assert list(reading.salvage()) == self.rows
                for actor in OWN:
                    mine = [row for row in self.rows if row.actor == actor and row.seq > self.packed[actor]]
                    assert list(reading.unpacked(actor)) == mine
                    tip = reading.own_tip(actor)
                    assert (tip.seq if tip else 0) == self.seqs[actor]
                assert all(reading.has_change(row.hash) for row in self.rows)
                assert not reading.has_change(b"never")
                assert reading.states() == dict(sorted(self.state.items()))
                assert reading.state("a") == self.state.get("a")
                assert set(reading.states("a/")) == {name for name in self.state if name.startswith("a/")}
                assert reading.slots() == self.slots
                self.objects(store)
                newest = reading.snapshot()
                verified = [g for g, (_, _, _, verified) in self.snapshots.items() if verified]
                if not verified:
                    assert newest is None
                else:
                    assert newest is not None
                    position, index, data, _ = self.snapshots[max(verified)]
                    assert (newest.position, newest.index, b"".join(newest.segments())) == (position, index, data)
                    assert newest.position == self.floor

    def objects(self, store: Store) -> None:
        with store.read() as reading:
            assert list(reading.envelopes()) == list(self.envelopes.values())
            for chain in (*OWN, *FOREIGN):
                mine = [envelope for envelope in self.envelopes.values() if envelope.chain == chain]
                assert list(reading.envelopes(chain, 2)) == [envelope for envelope in mine if envelope.seq > 2]
                assert reading.last_envelope(chain) == (mine[-1] if mine else None)
            assert reading.names() == set(self.envelopes)
            assert reading.names("v/env/1") == {name for name in self.envelopes if name.startswith("v/env/1")}
            assert set(reading.remotes()) == set(self.lacking)
            for remote in REMOTES:
                lacking = self.lacking.get(remote, [name for name, e in self.envelopes.items() if e.own])
                assert {envelope.name for envelope in reading.undelivered(remote)} == set(lacking)
                assert reading.undelivered_count(remote) == len(lacking)
            assert {refused.name: refused for refused in reading.quarantined()} == self.refused
            assert reading.quarantined_names() == set(self.refused)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "20")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

"""The ledger: the document in memory and its journal on disk, kept equal.

A change is acknowledged when the journal row that holds it is committed. Because the engine cannot undo, any failure
after it was given something discards the document in memory; it is loaded again from what is stored. Several processes
may hold a ledger on the same file: each applies the rows that the others added before it adds its own.

This module knows nothing of schemas, of what entries mean, of devices or of remotes.
"""

from __future__ import annotations

import contextlib
import json
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from vaultsync import limits
from vaultsync.crypto.rows import LocalKey
from vaultsync.document.changes import Change, Touched
from vaultsync.document.codec import decode_own
from vaultsync.document.engine import Applied, Edit, Edits, Engine
from vaultsync.document.layout import ENTRIES
from vaultsync.errors import (
    BadSeal,
    CommitUnknown,
    DamagedStore,
    EngineFailure,
    MissingDependencies,
    StoreError,
    StoreFailed,
    VaultClosed,
)
from vaultsync.store import JournalRow, Origin, Reading, Reseal, Slot, Snapshot, Store, Writing
from vaultsync.vault.environment import Environment

__all__ = ["GroupMark", "Ledger", "OwnChange", "Touches", "Transaction"]

# What a row is sealed for: the names of the tables as far as the seals are concerned.
JOURNAL = "journal"
SNAPSHOT = "snapshot"
STATE = "state"
INDEX = "index"

INCARNATION = "incarnation"
"""State: the actor under which this device writes now (16 bytes). Any process of the device may begin another."""


class GroupMark(NamedTuple):
    """The place of a change in a batch that took several: id (16 bytes), number from 0, how many."""

    id: bytes
    number: int
    of: int


class OwnChange(NamedTuple):
    """A change of this device as it was recorded, with its place in a batch."""

    change: Change
    group: GroupMark | None


_GROUPED = struct.Struct(">1s16sII")
_MARK = b"G"  # no change begins with it


KEYRING = "keyring"
"""Kind of the key slot whose key the operating system keeps. It comes and goes without anything being sealed anew."""


def _keyed(slots: Iterable[Slot]) -> list[bytes]:
    return [slot.data for slot in slots if slot.kind != KEYRING]


@dataclass
class Touches:
    """What changed since somebody last looked: entry ids, and whether a flat section (schemas, devices, settings)
    did."""

    entries: set[str] = field(default_factory=set)
    flat: bool = False
    everything: bool = False

    def add(self, touched: Touched) -> None:
        for place in touched:
            if place[0] == ENTRIES:
                self.entries.add(place[1])
            else:
                self.flat = True

    def update(self, other: Touches) -> None:
        self.entries |= other.entries
        self.flat |= other.flat
        self.everything |= other.everything

    def __bool__(self) -> bool:
        return bool(self.entries) or self.flat or self.everything


class Transaction:
    """One durable unit: changes of the document and rows of the store that commit together or not at all."""

    def __init__(self, ledger: Ledger, writing: Writing, engine: Engine) -> None:
        self._ledger = ledger
        self.store = writing
        self.engine = engine
        self.actor = ledger.actor
        self.touches = Touches()
        self.changes: list[Change] = []
        self.replaced = False

    def commit(self, edits: Sequence[Edit | Edits]) -> list[Change]:
        """Write edits as changes of this device's incarnation; none when every value is already there."""
        changes = self.engine.commit(self.actor, edits)
        if changes:
            self._record(changes, Origin.OWN, self._ledger.entropy(16) if len(changes) > 1 else None)
            for edit in edits:
                if edit.section == ENTRIES:
                    self.touches.entries.add(edit.entry)
                else:
                    self.touches.flat = True
        return changes

    def apply(self, chunks: Sequence[bytes | Change], *, actor: bytes | None = None) -> Applied:
        """Gate and apply changes from outside, all or none. Raises `Refused` and `MissingDependencies`."""
        applied = self.engine.apply(chunks, actor=actor)
        self._record(applied.changes, Origin.FOREIGN)
        self.touches.add(applied.touched)
        return applied

    def begin_incarnation(self, actor: bytes) -> None:
        """From here on this device writes under another actor."""
        self.set_state(INCARNATION, actor)
        self.actor = actor

    def replace(self, engine: Engine, written: Sequence[Change] = ()) -> None:
        """Go on with another document than the journal's: a snapshot of it takes the journal's place. ``written``:
        changes in it that this device made just now. Raises `EngineFailure`."""
        self.replaced = True
        self.engine = engine
        self._ledger.adopt(engine)
        # A row of no meaning, gone with the next statement: others see by its number that they have to load anew.
        self.store.append(self._ledger.entropy(16), 1, self._ledger.entropy(32), b"", Origin.FOREIGN)
        if not self._ledger.fold(self.store, engine):
            raise EngineFailure("the document with its branches put right cannot be stored")
        self._record(written, Origin.OWN)
        self.touches.everything = True

    def set_state(self, name: str, value: bytes | None) -> None:
        """Store a value under a name, sealed (``None`` removes it)."""
        self.store.set_state(name, None if value is None else self._ledger.key.seal(STATE, name, value))

    def state(self, name: str) -> bytes | None:
        return self._ledger.unseal_state(name, self.store.state(name))

    def _record(self, changes: Sequence[Change], origin: Origin, group: bytes | None = None) -> None:
        self.changes += changes  # before any of them is stored: the document has moved on, whatever the disk says
        for index, change in enumerate(changes):
            mark = b"" if group is None else _GROUPED.pack(_MARK, group, index, len(changes))
            sealed = self._ledger.key.seal(JOURNAL, change.hash, mark + change.chunk)
            self.store.append(change.actor, change.seq, change.hash, sealed, origin)


class Ledger:
    """See the module. Thread-safe: one reentrant lock, held for the length of one call or one transaction."""

    def __init__(self, store: Store, key: LocalKey, actor: bytes, environment: Environment) -> None:
        self.store = store
        self.key = key
        self.actor = actor
        self.lock = threading.RLock()
        self.entropy = environment.entropy
        self.news = 0
        """Counts what other processes committed, as far as `refresh` saw it."""
        self.settle: Callable[[], None] = lambda: None
        """Called before edits are planned: the file may have moved since the last ones."""
        self._engine: Engine | None = None
        self._incarnation = b""
        self._position = 0
        self._touches = Touches(everything=True)
        self._elsewhere = Touches()
        self._slots = _keyed(store.keyed_slots())
        self._stale = False

    # ---- the document -----------------------------------------------------------------------------------------
    @property
    def engine(self) -> Engine:
        """The document as of the last `refresh` or write; loads it when it is not in memory."""
        with self.lock:
            if self._engine is None or self._engine.dirty:
                if self.store.closed:
                    raise VaultClosed(f"{self.store.path.name} was closed: open the vault again")
                with self.store.read() as reading:
                    self._load(reading)
            if self._engine is None:  # pragma: no cover - _load sets it or raises
                raise EngineFailure("the document could not be loaded")
            return self._engine

    def reload(self) -> Engine:
        """The document, loaded from the store again. Raises `DamagedStore`."""
        with self.lock:
            self._engine = None
            return self.engine

    def _load(self, reading: Reading) -> None:
        """Take the document from the snapshot and the journal after it. Raises `DamagedStore`."""
        snapshot, start = self._read_snapshot(reading)
        try:
            chunks = [self._chunk(row) for row in reading.journal(after=start)]
            self._engine = Engine.load(snapshot, chunks)
        except (BadSeal, EngineFailure):
            raise DamagedStore(
                "the recorded changes of this vault cannot be read as they were written: restore the file from a "
                "backup, or join the vault again from the remote, which holds everything that was synced",
                lost=("changes made since the last snapshot",),
                whole=("the snapshot",) if snapshot else (),
            ) from None
        self._position = reading.position()
        self._touches = Touches(everything=True)

    def _read_snapshot(self, reading: Reading) -> tuple[bytes | None, int]:
        """(document, position in the journal after which to go on)."""
        held = reading.snapshot()
        if held is None:
            return None, 0
        try:
            return self._opened_snapshot(held), held.position
        except BadSeal:
            raise DamagedStore(
                "the snapshot in this vault file does not open under the vault's key",
                lost=(f"everything up to change {held.position}, unless the remote holds it",),
                whole=("changes recorded after the snapshot",),
            ) from None

    def _chunk(self, row: JournalRow) -> bytes:
        return self._recorded(row)[0]

    def _recorded(self, row: JournalRow) -> tuple[bytes, GroupMark | None]:
        data = self.key.open(JOURNAL, row.hash, row.sealed)
        if data[:1] != _MARK:
            return data, None
        _, group, index, count = _GROUPED.unpack_from(data)
        return data[_GROUPED.size :], GroupMark(group, index, count)

    def own_change(self, row: JournalRow) -> OwnChange:
        """A row of this device's own, opened. Raises `DamagedStore`."""
        try:
            chunk, group = self._recorded(row)
        except BadSeal:
            raise DamagedStore(
                "a change of this device that was not sent yet cannot be read",
                lost=(f"change {row.seq} of this device",),
                whole=("everything that was synced",),
            ) from None
        return OwnChange(decode_own(chunk), group)

    # ---- seeing and writing -----------------------------------------------------------------------------------
    def refresh(self) -> None:
        """See what other processes of this device wrote. Costs one pragma when there is nothing."""
        with self.lock:
            if not self.store.changed_elsewhere() and not self._stale:
                return
            self.news += 1
            with self.store.read() as reading:
                self._check_key(reading)
            if self._engine is not None and not self._engine.dirty:
                with self.store.read() as reading:
                    self._catch_up(reading)
                    self._follow(reading)

    def _follow(self, reading: Reading) -> None:
        """Another process of this device may have begun another incarnation."""
        sealed = reading.state(INCARNATION)
        if sealed is not None and sealed != self._incarnation:
            self.actor = self.unseal_state(INCARNATION, sealed) or self.actor
            self._incarnation = sealed

    def adopt(self, engine: Engine) -> None:
        """For a transaction that replaces the document."""
        self._engine = engine

    def take_touches(self) -> Touches:
        """What changed since the last call, and forget it."""
        with self.lock:
            taken, self._touches = self._touches, Touches()
            return taken

    def take_elsewhere(self) -> Touches:
        """What other processes changed since the last call, as far as it was seen, and forget it."""
        with self.lock:
            taken, self._elsewhere = self._elsewhere, Touches()
            return taken

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One transaction. Nothing that was done in it is visible or stored when the block or the COMMIT raises."""
        with self.lock:
            self.engine  # noqa: B018 - loading may take seconds: not under the lock that other processes wait for
            transaction: Transaction | None = None
            try:
                with self.store.write() as writing:
                    self._check_key(writing)
                    self._catch_up(writing)
                    self._follow(writing)
                    transaction = Transaction(self, writing, self.engine)
                    yield transaction
                    position = writing.position()
            except CommitUnknown:
                self._engine = None
                if transaction is None or not transaction.changes or not self._stored(transaction.changes[-1]):
                    raise
            except BaseException:
                if (
                    transaction is None
                    or transaction.changes
                    or transaction.replaced
                    or (self._engine is not None and self._engine.dirty)
                ):
                    self._engine = None  # the engine cannot undo: what was not stored must not be built on
                raise
            else:
                self._position = position
                self.actor = transaction.actor
                self._touches.update(transaction.touches)

    def _stored(self, change: Change) -> bool:
        with self.store.read() as reading:
            return reading.has_change(change.hash)

    def _catch_up(self, reading: Reading) -> None:
        """Apply the rows that other processes added since our position."""
        last = reading.position()
        if self._engine is None or self._engine.dirty or reading.floor() > self._position:
            self._elsewhere.everything |= last != self._position
            self._load(reading)  # not in memory, or the rows between were folded into a snapshot
        elif last != self._position:
            try:
                chunks = [self._chunk(row) for row in reading.journal(after=self._position)]
            except BadSeal:
                self._load(reading)  # says what is damaged
                return
            touched = self._engine.apply(chunks).touched
            self._touches.add(touched)
            self._elsewhere.add(touched)
            self._position = last

    # ---- the key ----------------------------------------------------------------------------------------------
    def _check_key(self, reading: Reading) -> None:
        """Raises `VaultClosed` when another process sealed everything anew: what is here can read nothing of it."""
        self._stale = _keyed(reading.slots()) != self._slots
        if self._stale:
            raise VaultClosed("the password was changed by another program of this device: open the vault again")

    def rekey(self, key: LocalKey, slots: Sequence[Slot]) -> None:
        """Seal every row under another key of the same store, and replace the key slots, in one transaction; then clear
        the file of what it held before, as far as that is possible.

        Raises `DamagedStore` when something cannot be read, and `StoreError`; then the old key and slots are the ones
        that count.
        """
        with self.lock:
            old, wrapped = self.key, _keyed(slots)
            self.engine  # noqa: B018 - loaded before, not while other processes wait
            try:
                with self.store.write() as writing:
                    self._check_key(writing)
                    self._catch_up(writing)
                    writing.reseal(resealing(old, key))
                    writing.replace_slots(slots)
            except CommitUnknown:
                if _keyed(self.store.keyed_slots()) != wrapped:
                    raise
            self.key, self._slots = key, wrapped
            with contextlib.suppress(StoreError):  # it is done; what is left goes with a later write
                self.store.scrub()
                self.store.trim()
                self.store.scrub()

    # ---- sealed state -----------------------------------------------------------------------------------------
    def state(self, name: str) -> bytes | None:
        """A value that was stored under a name."""
        with self.store.read() as reading:
            return self.unseal_state(name, reading.state(name))

    def states(self, prefix: str) -> dict[str, bytes]:
        """Every stored value whose name begins with ``prefix``."""
        with self.store.read() as reading:
            sealed = reading.states(prefix)
        values = {name: self.unseal_state(name, value) for name, value in sealed.items()}
        return {name: value for name, value in values.items() if value is not None}

    def unseal_state(self, name: str, sealed: bytes | None) -> bytes | None:
        try:
            return None if sealed is None else self.key.open(STATE, name, sealed)
        except BadSeal:
            with self.store.read() as reading:
                self._check_key(reading)
            raise DamagedStore(
                f"the vault file is damaged: its setting {name!r} cannot be read", lost=(name,), whole=("the entries",)
            ) from None

    # ---- snapshots --------------------------------------------------------------------------------------------
    def snapshot(self, *, at_least: int = limits.SNAPSHOT_AFTER_ROWS) -> bool:
        """Fold the journal into a snapshot when it has grown by ``at_least`` rows; ``True`` when that was done.

        The new one replaces nothing before it was read back from the file, loaded, and its heads compared.
        """
        with self.lock:
            if self._engine is None or self._engine.dirty:
                return False
            with self.store.read() as reading:
                weight = reading.weight()
            if weight.rows == 0 or (weight.rows < at_least and weight.bytes < limits.SNAPSHOT_AFTER_BYTES):
                return False
            with self.write() as transaction:
                data, heads = transaction.engine.save(), transaction.engine.heads
                generation = self._put_snapshot(transaction.store, data)
            with self.store.write() as writing:
                return self._confirm(writing, generation, heads)

    def fold(self, writing: Writing, engine: Engine) -> bool:
        """Put a snapshot of that document in the place of the whole journal, inside the caller's transaction."""
        return self._confirm(writing, self._put_snapshot(writing, engine.save()), engine.heads)

    def _confirm(self, writing: Writing, generation: int, heads: Sequence[bytes]) -> bool:
        held = writing.snapshot(generation)
        if held is None:
            return False
        if not Engine.verify_snapshot(self._opened_snapshot(held), heads):
            writing.drop_snapshot(generation)  # the changes stay the truth
            return False
        return writing.confirm_snapshot(generation)

    @contextmanager
    def take_over(self, merged: Engine, data: bytes) -> Iterator[Transaction]:
        """Go on with ``merged``, whose saved bytes ``data`` were loaded and compared: this document and more. One
        transaction, as `write`; whatever else belongs to it is stored in the block.

        Raises `MissingDependencies` when this document has come to hold what ``merged`` lacks: merge that in first.
        """
        with self.lock:
            try:
                with self.store.write() as writing:
                    self._catch_up(writing)
                    if missing := tuple(head for head in self.engine.heads if not merged.has(head)):
                        raise MissingDependencies(missing)
                    name = self.entropy(16).hex()
                    generation = writing.take_over_snapshot(*self._sealed_snapshot(name, data))
                    if (held := writing.snapshot(generation)) is None or self._opened_snapshot(held) != data:
                        raise StoreFailed(f"{self.store.path.name}: what was stored cannot be read back")
                    writing.confirm_snapshot(generation)
                    yield Transaction(self, writing, merged)
                    position = writing.position()
            except CommitUnknown:
                self._engine = None  # whichever of the two is stored is whole: load that
                raise
            self._engine, self._position = merged, position
            self._touches = Touches(everything=True)

    def _sealed_snapshot(self, name: str, data: bytes) -> tuple[bytes, Iterator[bytes]]:
        """The index and the segments of a snapshot, sealed."""
        size = limits.SEGMENT_BYTES
        pieces = (data[start : start + size] for start in range(0, len(data), size))
        sealed = (self.key.seal(SNAPSHOT, f"{name}/{number}", piece) for number, piece in enumerate(pieces))
        return self.key.seal(SNAPSHOT, INDEX, json.dumps({"id": name}).encode()), sealed

    def _opened_snapshot(self, held: Snapshot) -> bytes:
        """Raises `BadSeal`, and `DamagedStore` for a segment that is not there."""
        name = json.loads(self.key.open(SNAPSHOT, INDEX, held.index))["id"]
        return b"".join(self.key.open(SNAPSHOT, f"{name}/{n}", sealed) for n, sealed in enumerate(held.segments()))

    def _put_snapshot(self, writing: Writing, data: bytes) -> int:
        return writing.put_snapshot(writing.position(), *self._sealed_snapshot(self.entropy(16).hex(), data))

    def close(self) -> None:
        """Let go of the document and the file."""
        with self.lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            self.store.close()


def resealing(old: LocalKey, new: LocalKey) -> Reseal:
    """How each sealed row gets from one key to the other. Raises `DamagedStore` for what does not open."""

    def move(table: str, name: str | bytes, sealed: bytes) -> bytes:
        try:
            return new.seal(table, name, old.open(table, name, sealed))
        except BadSeal:
            raise DamagedStore(
                "something in this vault file cannot be read: examine it, and change the password when it is whole",
                lost=("what that row held",),
                whole=("everything else: nothing was changed",),
            ) from None

    def segment(index: bytes, number: int, sealed: bytes) -> bytes:
        name = json.loads(old.open(SNAPSHOT, INDEX, index))["id"]
        return move(SNAPSHOT, f"{name}/{number}", sealed)

    return Reseal(
        journal=lambda row: move(JOURNAL, row.hash, row.sealed),
        head=lambda sealed: move(SNAPSHOT, INDEX, sealed),
        segment=segment,
        state=lambda name, sealed: move(STATE, name, sealed),
    )

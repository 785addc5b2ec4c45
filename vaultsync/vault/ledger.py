"""The ledger: the document in memory and its journal on disk, kept equal.

A change is acknowledged when the journal row that holds it is committed. Because the engine cannot undo, any failure
after it was given something discards the document in memory; it is loaded again from what is stored. Several processes
may hold a ledger on the same file: each applies the rows that the others added before it adds its own.

Reading needs no document: entries and flat sections lie on a *shelf* that is brought up to date in the transaction of
every change. The document is loaded by the first write, or by `prepare`.

This module knows nothing of schemas, of what entries mean, of devices or of remotes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from vaultsync import limits
from vaultsync.crypto.rows import LocalKey
from vaultsync.document.changes import Change
from vaultsync.document.codec import Looks, decode_own
from vaultsync.document.engine import Engine
from vaultsync.document.layout import ENTRIES, FLAT_SECTIONS
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
from vaultsync.schema.cells import Raw
from vaultsync.store import Reading, Slot, Store, Writing
from vaultsync.vault import folding
from vaultsync.vault.environment import Environment
from vaultsync.vault.loading import own_changes, recorded_chunks, stored_document
from vaultsync.vault.recording import OwnChange
from vaultsync.vault.shelf import LEAST_LOG, Base, Shelf, State
from vaultsync.vault.touches import Touches
from vaultsync.vault.transaction import INCARNATION, JOURNAL, STATE, Notes, Transaction
from vaultsync.vault.unsent import Unsent
from vaultsync.vault.values import Values

__all__ = ["INCARNATION", "JOURNAL", "STATE", "Ledger", "Notes", "Touches", "Transaction"]


KEYRING = "keyring"
"""Kind of the key slot whose key the operating system keeps. It comes and goes without anything being sealed anew."""


def _keyed(slots: Iterable[Slot]) -> list[bytes]:
    return [slot.data for slot in slots if slot.kind != KEYRING]


class Ledger(Values):
    """See the module. Thread-safe: one reentrant lock, held for the length of one call or one transaction."""

    def __init__(self, store: Store, key: LocalKey, actor: bytes, environment: Environment) -> None:
        super().__init__()
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
        self._made: tuple[int, dict[str, Raw]] | None = None  # entries at hand, as of a position
        self._touches = Touches(everything=True)
        self._elsewhere = Touches()
        self._unsent = Unsent()
        self._slots = _keyed(store.keyed_slots())
        self._stale = False
        self._others = store.watch()
        self._keyed_elsewhere = store.watch()
        self._loading = threading.Lock()  # taken before ``lock``, never inside it
        self.shelf = Shelf(lambda: self.key, environment.entropy)
        """The entries as they were last evaluated, so that reading needs no document."""

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

    @property
    def prepared(self) -> bool:
        """Whether the document is in memory, so that an edit need not wait for it."""
        return self._has_document()

    def document_bytes(self) -> int:
        """About how many bytes are read to load the document."""
        with self.store.read() as reading:
            held = reading.snapshots()
            return reading.weight().bytes + (held[0].segments * limits.SEGMENT_BYTES if held else 0)

    def _has_document(self) -> bool:
        engine = self._engine
        return engine is not None and not engine.dirty

    def prepare(self) -> None:
        """Have the document in memory, loading it while others go on reading. Raises `DamagedStore`, `VaultClosed`."""
        with self._loading:
            if self._has_document():
                return
            if self.store.closed:
                raise VaultClosed(f"{self.store.path.name} was closed: open the vault again")
            with self.store.read() as reading:
                stored = stored_document(self.key, reading)
            engine = stored.loaded()  # under no lock that a reader waits for
            with self.lock:
                if self._has_document() or self.store.closed:
                    engine.close()
                    return
                with self.store.read() as reading:
                    self._install(engine, stored.position, reading)

    def _load(self, reading: Reading) -> None:
        """Take the document from the snapshot and the journal after it. Raises `DamagedStore`."""
        stored = stored_document(self.key, reading)
        self._install(stored.loaded(), stored.position, reading)

    def _install(self, engine: Engine, position: int, reading: Reading) -> None:
        """From here on this is the document. What others recorded since it was read is applied."""
        self._engine, self._position = engine, position
        if reading.position() != position:
            self._catch_up(reading)
        touches = self.shelf.advance(reading)
        if touches is None or self.shelf.state is None:
            self._touches.everything = True
            return
        self._touches.update(touches)
        if self.shelf.state.heads != engine.heads:
            self.shelf.spoil()  # it says what this document does not
            self._touches.everything = True

    def unpacked(self, actor: bytes) -> list[OwnChange]:
        """Own changes of one incarnation that are in no envelope yet, in their order. Raises `DamagedStore`."""
        looks: Looks = {}
        tip = self.store.own_tips().get(actor)
        if tip is not None and (at_hand := self._unsent.above(tip)) is not None:
            return [OwnChange(decode_own(chunk, looks), group) for chunk, group in at_hand]
        with self.store.read() as reading:
            tip = reading.own_tip(actor)
            found = [own for row in reading.unpacked(actor) for own in own_changes(self.key, row, looks)]
        return [own for own in found if tip is None or own.change.seq > tip.packed]  # the first may be in one

    def packed(self) -> None:
        """What was recorded is in envelopes: it need not be at hand."""
        self._unsent.forget()

    # ---- seeing and writing -----------------------------------------------------------------------------------
    def refresh(self) -> None:
        """See what other processes of this device wrote. Costs one pragma when there is nothing."""
        with self.lock:
            if not self.store.changed_elsewhere() and not self._stale:
                return
            self.news += 1
            with self.store.read() as reading:
                self._check_key(reading)
                if not self._has_document() and self.shelf.state is None:
                    return
                touches = self.shelf.advance(reading)
                if touches is None:
                    touches = Touches(everything=not self._has_document())
                self._touches.update(touches)
                if self._has_document():
                    self._catch_up(reading)
                else:
                    self._elsewhere.update(touches)
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

    def section(self, name: str) -> Mapping[str, Any]:
        """A flat section (settings, schemas, devices) as of the last `refresh` or write, without the document if that
        can be."""
        with self.lock:
            if self._shelf_is_now() or (not self._has_document() and self.on_shelf()):
                return self.shelf.flat[name]
            return self.engine.read(name) or {}

    def entry(self, entry_id: str) -> Raw | None:
        """An entry that was touched since somebody looked at everything, as it is now; None when it is gone."""
        with self.lock:
            if entry_id in self.shelf.entries and self._shelf_is_now():
                return self.shelf.entries[entry_id]
            if self._made is not None and self._made[0] == self._position and entry_id in self._made[1]:
                return self._made[1][entry_id]
            return self.engine.read(ENTRIES, entry_id)

    def rows(self) -> Iterator[tuple[str, Raw]]:
        """Every entry by ascending id, from what is at hand or the document. The caller holds the lock."""
        if self._made is None or self._made[0] != self._position:
            return self.engine.read_all()
        made, read = self._made[1], self.engine.read
        ids = self.engine.entry_ids()
        return ((entry, row) for entry in ids if (row := made.get(entry) or read(ENTRIES, entry)) is not None)

    @property
    def made_at_hand(self) -> bool:
        """Whether a large import, or what a new device got, is at hand: nobody looked at it yet."""
        return self._made is not None and self._made[0] == self._position

    def forget_made(self) -> None:
        """Somebody looked at every entry of it: they need not be kept at hand any longer."""
        with self.lock:
            self._made = None

    def _shelf_is_now(self) -> bool:
        """Whether the shelf says what the document says, or would say."""
        state = self.shelf.state
        return state is not None and (not self._has_document() or state.position == self._position)

    def on_shelf(self) -> bool:
        """Whether everything can be read without the document. The caller holds the lock."""
        if self.shelf.state is None:
            with self.store.read() as reading:
                state = self.shelf.attach(reading)
            if state is None or (self._has_document() and state.heads != self.engine.heads):
                self.shelf.leave()
                return False
        return True

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
                    planned_at = self._position
                    self._see_others(writing)
                    transaction = Transaction(self, writing, self.engine, quiet=planned_at == self._position)
                    yield transaction
                    shelved = self._shelve(transaction)
                    position = writing.position()
            except CommitUnknown:
                self._engine = None
                self._unsent.forget()
                self.shelf.leave()
                self._touches.everything = True
                if transaction is None or not transaction.changes or not self._stored(transaction.changes[-1]):
                    raise
            except BaseException:
                self.shelf.undone()
                if (
                    transaction is None
                    or transaction.changes
                    or transaction.replaced
                    or (self._engine is not None and self._engine.dirty)
                ):
                    self._engine = None  # the engine cannot undo: what was not stored must not be built on
                raise
            else:
                self._made = self._at_hand(transaction, position)
                self._position = position
                self.actor = transaction.actor
                self._unsent.add(transaction.own)
                self._touches.update(transaction.touches)
                if shelved is not None:
                    self.shelf.committed(*shelved)

    def _at_hand(self, transaction: Transaction, position: int) -> tuple[int, dict[str, Raw]] | None:
        """What is at hand after a transaction: what it made, or what was there before and it did not touch."""
        if len(transaction.made) > LEAST_LOG:
            return position, transaction.made
        if self._made is None or self._made[0] != self._position or transaction.replaced:
            return None
        for entry in transaction.touches.entries:
            self._made[1].pop(entry, None)
        return position, self._made[1]

    def _shelve(self, transaction: Transaction) -> tuple[Mapping[str, Raw | None], Mapping[str, Any] | None] | None:
        """Bring the shelf up to date in the same transaction; returns what it was told."""
        touches, shelf, engine = transaction.touches, self.shelf, transaction.engine
        if shelf.state is None or not (transaction.changes or transaction.replaced):
            return None
        try:
            if transaction.replaced or len(touches.entries) > max(LEAST_LOG, shelf.size // 2):
                shelf.abandon(transaction.store)  # an import: it is made anew at once when somebody looks
                return None
            state = State(transaction.store.position(), transaction.changes[-1].hash, engine.heads)
            made = {entry_id: transaction.made[entry_id] for entry_id in touches.entries & transaction.made.keys()}
            entries = dict(sorted({**engine.read_entries(touches.entries - made.keys()), **made}.items()))
            flat = {name: engine.read(name) or {} for name in FLAT_SECTIONS} if touches.flat else None
            shelf.record(transaction.store, state, entries, flat)
            return entries, flat
        except DamagedStore:
            shelf.spoil()
            return None

    @contextmanager
    def noting(self) -> Iterator[Notes]:
        """One transaction that changes nothing of the document, which is not needed for it."""
        with self.lock, self.store.write() as writing:
            if self._keyed_elsewhere.look(writing.commits):
                self._keyed_elsewhere.forget()  # until the key was checked
                self._check_key(writing)
                self._keyed_elsewhere.look(writing.commits)
            yield Notes(self, writing)

    def _see_others(self, writing: Writing) -> None:
        """Take in what other processes committed since the last time, if they did."""
        others = self._others.look(writing.commits)
        if not others and self._has_document() and writing.position() == self._position:
            return
        try:
            self._check_key(writing)
            self._touches.update(self.shelf.advance(writing) or Touches())
            self._catch_up(writing)
            self._follow(writing)
        except BaseException:
            self._others.forget()
            raise

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
                chunks = recorded_chunks(self.key, reading, self._position)
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
                    self.shelf.clear(writing)  # it is made anew sooner than it is sealed anew
                    writing.reseal(folding.resealing(old, key))
                    writing.replace_slots(slots)
            except CommitUnknown:
                self.shelf.leave()
                if _keyed(self.store.keyed_slots()) != wrapped:
                    raise
            self.key, self._slots = key, wrapped
            with contextlib.suppress(StoreError):  # it is done; what is left goes with a later write
                self.store.scrub()
                self.store.trim()
                self.store.scrub()

    # ---- snapshots --------------------------------------------------------------------------------------------
    def shelve(self, base: Base, state: State) -> bytes | None:
        """Write another base, if ``state`` is still how things stand; returns its generation. Never raises for a disk
        that refuses: nothing is lost without it."""
        with self.lock:
            try:
                with self.store.write() as writing:
                    if writing.position() != state.position:
                        return None
                    with writing.optional():
                        generation = self.shelf.replace(writing, state, base, self._flat())
                return generation if self.on_shelf_anew() else None
            except StoreError:
                self.shelf.leave()
                return None

    def _flat(self) -> Mapping[str, Any]:
        return {name: dict(self.section(name)) for name in FLAT_SECTIONS}

    def distrust_shelf(self, generation: bytes | None = None) -> None:
        """Something of it (of this base) is not as it was written: another one is made when somebody looks."""
        with self.lock:
            if generation is None or self.shelf.generation in (None, generation):
                self.shelf.spoil()
                self._touches.everything = True

    def on_shelf_anew(self) -> bool:
        """Read again how the shelf stands."""
        self.shelf.leave()
        return self.on_shelf()

    def state_now(self) -> State:
        """What a shelf made now is of. The caller holds the lock and has the newest view."""
        if not self._has_document() and self.shelf.state is not None:
            return self.shelf.state
        heads = self.engine.heads
        with self.store.read() as reading:
            return State(self._position, reading.hash_at(self._position) or b"", heads)

    def snapshot(self, *, at_least: int = limits.SNAPSHOT_AFTER_ROWS) -> bool:
        """Fold the journal into a snapshot when it has grown by ``at_least`` rows; ``True`` when that was done.

        The new one replaces nothing before it was read back from the file, loaded, and its heads compared.
        """
        with self.lock:
            if self._engine is None or self._engine.dirty:
                return False
            with self.store.read() as reading:
                weight = reading.weight()
            if weight.changes == 0 or (weight.changes < at_least and weight.bytes < limits.SNAPSHOT_AFTER_BYTES):
                return False
            with self.write() as transaction:
                data, heads = transaction.engine.save(), transaction.engine.heads
                generation = folding.put(self.key, self.entropy, transaction.store, data)
            with self.store.write() as writing:
                done = folding.confirm(self.key, writing, generation, heads)
            if done:
                self.store.trim()
            return done

    def fold(self, writing: Writing, engine: Engine) -> bool:
        """Put a snapshot of that document in the place of the whole journal, inside the caller's transaction."""
        generation = folding.put(self.key, self.entropy, writing, engine.save())
        return folding.confirm(self.key, writing, generation, engine.heads)

    @contextmanager
    def take_over(
        self,
        merged: Engine,
        data: bytes,
        *,
        of: tuple[bytes, ...] | None = None,
        rows: dict[str, Raw] | None = None,
    ) -> Iterator[Transaction]:
        """Go on with ``merged``, whose saved bytes ``data`` were loaded and compared: this document and more. One
        transaction, as `write`; whatever else belongs to it is stored in the block. ``of``: the heads of this document
        when it was merged in, where not all of them are in ``merged`` as they were. ``rows``: every entry of
        ``merged``, for who looks at them next.

        Raises `MissingDependencies` when this document has come to hold what ``merged`` lacks: merge that in first.
        """
        with self.lock:
            try:
                with self.store.write() as writing:
                    self._catch_up(writing)
                    known = frozenset(of or ())
                    if missing := tuple(h for h in self.engine.heads if h not in known and not merged.has(h)):
                        raise MissingDependencies(missing)
                    name = self.entropy(16).hex()
                    generation = writing.take_over_snapshot(*folding.sealed(self.key, name, data))
                    if (held := writing.snapshot(generation)) is None or folding.opened(self.key, held) != data:
                        raise StoreFailed(f"{self.store.path.name}: what was stored cannot be read back")
                    writing.confirm_snapshot(generation)
                    self.shelf.clear(writing)
                    transaction = Transaction(self, writing, merged)
                    yield transaction
                    position = writing.position()
            except CommitUnknown:
                self._engine = None  # whichever of the two is stored is whole: load that
                raise
            self._engine, self._position = merged, position
            self._made = None if rows is None else (position, rows)
            self.actor = transaction.actor
            self._touches = Touches(everything=True)

    def close(self) -> None:
        """Let go of the document and the file."""
        with self.lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            self._made = None
            self._unsent.forget()
            self.store.close()

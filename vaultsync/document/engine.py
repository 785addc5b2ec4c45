"""The document engine: the only module that imports automerge, and the only one that may not trust what it calls.

Of the engine the rest of the package needs little: apply changes and learn what they touched, commit edits as a
change, read an entry, heads, save, load, history. That is all this module offers, in plain Python types.

What it guards against (each point is a test in ``tests/document/test_engine_facts.py`` or ``test_hostile.py``):

* a panic of the engine is a ``BaseException`` that pretends to be nothing we know. It is caught at this border, and a
  document that panicked may hold a poisoned lock and an open transaction, and freeing it could end the process: it is
  leaked on purpose;
* nothing from outside reaches the engine before the gate has passed the whole batch, dependencies included: orphans
  would be queued invisibly;
* the engine swallows some changes without a word, so after every call that changes the document the hashes that
  arrived are compared with those that should have;
* whatever fails half way leaves a document that nobody may build on: the engine is then ``dirty`` and refuses every
  call. The owner builds a new one from what is stored.

Costs: nothing but ``load``, ``save``, ``history`` and the first ``apply`` and ``conflicts`` after a load depends on the
size of the document.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeAlias

from automerge import core as automerge

from ..errors import EngineFailure, MissingDependencies
from ..limits import MAX_OPS_PER_CHANGE
from .batch import Batch
from .binding import Binding, is_panic, object_id, op_id
from .codec import Action, Change, LazyOps, OpId, Scalar, chunk_hash, decode
from .columns import to_unsigned
from .conflicts import Conflicts
from .edits import DELETED, Deleted, Edit, Edits, bounded, check_edits, grouped
from .gate import ChangeInfo, Touched
from .graph import Graph
from .history import Revision, Written, changes_of
from .layout import (
    ENTRIES,
    GENESIS,
    GENESIS_ACTOR,
    GENESIS_HASH,
    SECTION_OBJECTS,
    Place,
)

__all__ = ["DELETED", "Applied", "Deleted", "Edit", "Edits", "Engine", "Revision", "Written"]


class Applied(NamedTuple):
    """What ``apply`` did: the changes that were new, what they touched, and how many were known already."""

    changes: list[Change]
    touched: Touched
    known: int


_Aimed: TypeAlias = tuple[Edits, bytes | None]
"""Edits of one place, and the map that they are made in; ``None`` when it has to be made."""

_ENTRIES_OBJECT = SECTION_OBJECTS[ENTRIES]
_SECTION_PLACES = {obj: Place(section) for section, obj in SECTION_OBJECTS.items()}
_SCALARS = frozenset((str, int, float, bool, type(None)))
_KINDS = {
    str: automerge.ScalarType.Str,
    int: automerge.ScalarType.Int,
    float: automerge.ScalarType.F64,
    bool: automerge.ScalarType.Boolean,
    type(None): automerge.ScalarType.Null,
}
_MAP = automerge.ObjType.Map


def _own_change(made: Any) -> Change:
    """A change that the engine has just made. Its operations are decoded when somebody looks at them."""
    chunk = made.raw_bytes
    if chunk_hash(chunk) != made.hash:
        raise EngineFailure("the document engine gave a change another hash than it has")
    count = made.max_op - made.start_op + 1
    return Change(
        made.hash, tuple(sorted(made.deps)), made.actor_id, made.seq, made.start_op, LazyOps(chunk, count), chunk
    )


def _load_document(data: bytes) -> Any:
    try:
        return automerge.Document.load(data)
    except BaseException as error:
        if isinstance(error, Exception) or is_panic(error):
            raise EngineFailure("the document engine cannot load what is stored") from None
        raise


class Engine:
    """One vault's document. Thread-safe: one lock around everything."""

    def __init__(self, document: Any) -> None:
        """For ``new`` and ``load``. ``document`` is the binding's, whole and without an open transaction."""
        self._lock = threading.RLock()
        self._binding = Binding(document)
        self._closed = False
        self._graph = Graph()
        self._heads: tuple[bytes, ...] = ()
        self._places: dict[OpId, Place] | None = None  # of entries; built when the gate first asks
        self._conflicts: Conflicts | None = None  # found when somebody first asks
        self._index()

    # ---- making one ---------------------------------------------------------------------------------------------
    @classmethod
    def new(cls) -> Engine:
        """An empty vault: the first change and nothing else."""
        return cls(_load_document(GENESIS))

    @classmethod
    def load(cls, snapshot: bytes | None, chunks: Iterable[bytes] = ()) -> Engine:
        """A document from trusted bytes: a snapshot and changes, in any order, duplicates allowed.

        Raises ``EngineFailure`` when something is missing between them or cannot be read.
        """
        stored = list(chunks)
        engine = cls(_load_document(b"".join([snapshot or b"", GENESIS, *stored])))
        if any(chunk_hash(chunk) not in engine._graph for chunk in stored):
            raise EngineFailure("a stored change did not reach the document")
        return engine

    @staticmethod
    def verify_snapshot(snapshot: bytes, heads: Iterable[bytes]) -> bool:
        """Whether ``snapshot`` can be loaded and gives a document with these heads.

        A snapshot may replace an older one only after this: the engine can write what it cannot read.
        """
        try:
            document = _load_document(snapshot)
            return sorted(Binding(document).call(document.get_heads)) == sorted(heads)
        except EngineFailure:
            return False

    def _index(self) -> None:
        document = self._binding.document
        actors: dict[bytes, bytes] = {}
        for change in self._binding.call(document.get_changes, []):
            actor = change.actor_id
            actor = actors.setdefault(actor, actor)
            if not self._graph.add(change.hash, actor, change.seq, change.start_op, change.max_op, change.deps):
                raise EngineFailure("the stored changes of a device are not one chain")
        if GENESIS_HASH not in self._graph:
            raise EngineFailure("the stored document is not that of a vault")
        self._heads = tuple(sorted(self._binding.call(document.get_heads)))

    # ---- state --------------------------------------------------------------------------------------------------
    @property
    def dirty(self) -> bool:
        """Whether something failed half way; only ``close`` works then."""
        return self._binding.broken

    def close(self) -> None:
        """Let go of the document."""
        with self._lock:
            self._closed = True
            self._binding.document = None
            self._graph = Graph()
            self._places = self._conflicts = None

    @contextmanager
    def _use(self) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise EngineFailure("the document was closed")
            if self._binding.broken:
                raise EngineFailure("the document failed before and has to be loaded again")
            yield self._binding.document

    @contextmanager
    def _whole_or_dirty(self) -> Iterator[None]:
        """Around what must not end half way, not even by an interrupt between two lines."""
        try:
            yield
        except BaseException:
            self._binding.broken = True
            raise

    @property
    def heads(self) -> tuple[bytes, ...]:
        """The changes on which nothing builds yet, sorted."""
        with self._use():
            return self._heads

    def has(self, hash: bytes) -> bool:
        """Whether a change is part of the document."""
        with self._use():
            return hash in self._graph

    def lacks(self, hashes: Iterable[bytes]) -> set[bytes]:
        """Those of these changes that are not part of the document."""
        with self._use():
            return {hash for hash in hashes if hash not in self._graph}

    def last_seq(self, actor: bytes) -> int:
        """How many changes of that actor are part of the document."""
        with self._use():
            return self._graph.last_seq(actor)

    def lasts(self) -> dict[bytes, tuple[int, bytes]]:
        """The last change of every actor, as number and hash; the first change of a vault is nobody's."""
        with self._use():
            return {actor: last for actor, last in self._graph.lasts().items() if actor != GENESIS_ACTOR}

    def change_info(self, hash: bytes) -> ChangeInfo | None:
        """Who made a change, and which of theirs it is."""
        with self._use():
            return self._graph.info(hash)

    def change_at(self, actor: bytes, seq: int) -> bytes | None:
        """The hash of an actor's change with that number, if it is part of the document."""
        with self._use():
            return self._graph.hash_at(actor, seq)

    # ---- writing ------------------------------------------------------------------------------------------------
    def commit(self, actor: bytes, edits: Sequence[Edit | Edits]) -> list[Change]:
        """Make the edits, as one change of ``actor`` or as several if they are very many; none if nothing changes.

        Maps of new entries are made as needed. Raises ``WrongKind`` for what a vault cannot hold, before anything
        is touched; ``EngineFailure`` leaves the engine dirty.
        """
        if len(actor) != len(GENESIS_ACTOR) or actor == GENESIS_ACTOR:
            raise ValueError("an actor is 16 bytes, not all of them zero")
        groups = list(grouped(edits))
        check_edits(groups)
        with self._use():
            committed = []
            for part in self._parts(groups):
                with self._whole_or_dirty():
                    change = self._commit(actor, part)
                if change is not None:
                    committed.append(change)
            return committed

    def _parts(self, groups: Iterable[Edits]) -> Iterator[list[_Aimed]]:
        """The edits with the maps they are made in (``None``: to be made), in parts of a change each."""
        part: list[_Aimed] = []
        targets: dict[str, bytes | None] = {}
        count = 0
        for group in bounded(groups, MAX_OPS_PER_CHANGE - 1):
            size = len(group.values) + 1  # as if every entry had to be made
            if count + size > MAX_OPS_PER_CHANGE:
                yield part
                part, targets, count = [], {}, 0  # what that part made is found in the document now
            name = group.entry or group.section
            if name not in targets:
                obj = self.winner(_ENTRIES_OBJECT, name) if group.entry else SECTION_OBJECTS[name]
                targets[name] = None if obj is None else object_id(obj)
            part.append((group, targets[name]))
            count += size
        if part:
            yield part

    def _commit(self, actor: bytes, edits: list[_Aimed]) -> Change | None:
        binding, document = self._binding, self._binding.document
        binding.call(document.set_actor, actor)
        binding.call(self._write, edits)
        made = binding.call(document.get_changes, list(self._heads))
        if not made:
            return None
        change = binding.call(_own_change, made[0])
        if len(made) != 1 or change.actor != actor or not set(self._heads) <= set(change.deps):
            binding.fail(EngineFailure("the document engine made another change than it was told to"))
        if not self._graph.add(change.hash, actor, change.seq, change.start_op, change.max_op, change.deps):
            binding.fail(EngineFailure("the document engine numbered a change wrongly"))
        self._heads = (change.hash,)
        if self._conflicts is not None:
            self._conflicts.settle(change)
        if self._places is not None:
            for counter, op in enumerate(change.ops, change.start_op):
                if op.action is Action.MAKE_MAP:
                    self._places[counter, actor] = Place(ENTRIES, op.key)
        return change

    def _write(self, edits: list[_Aimed]) -> None:
        entries = object_id(_ENTRIES_OBJECT)
        made: dict[str, bytes] = {}
        with self._binding.document.transaction() as transaction:
            put = transaction.put
            for (_, entry, values), target in edits:
                if target is None:
                    target = made.get(entry)
                for key, value in values.items():
                    if value is DELETED:
                        if target is not None:
                            transaction.delete(target, key)
                        continue
                    if target is None:
                        target = made[entry] = transaction.put_object(entries, entry, _MAP)
                    put(target, key, _KINDS[type(value)], value)

    def apply(self, chunks: Sequence[bytes | Change], *, actor: bytes | None = None) -> Applied:
        """Let changes from outside in, all of them or none; later ones may build on earlier ones.

        ``chunks``: chunks, or changes as ``decode`` and ``unpack_changes`` gave them. ``actor``: whose they must be.
        Raises ``MalformedChange`` and ``MissingDependencies`` with the document as it was, and ``EngineFailure``
        when the engine did not take what the gate passed (the engine is dirty then).
        """
        with self._use():
            batch = Batch(self._graph, self)
            known = 0
            try:
                for chunk in chunks:
                    if (chunk.hash if isinstance(chunk, Change) else chunk_hash(chunk)) in self._graph:
                        known += 1
                    else:
                        batch.admit(chunk if isinstance(chunk, Change) else decode(chunk), actor)
                if self._conflicts is not None:
                    self._read_before(batch)
            except Exception:
                batch.undo()
                raise
            except BaseException:
                self._binding.broken = True  # an interrupt: the batch may not know all that it did
                raise
            changes = batch.changes
            if changes:
                with self._whole_or_dirty():
                    self._feed(batch, changes)
            return Applied(changes, batch.touched, known)

    def _read_before(self, batch: Batch) -> None:
        """Have the batch remember what its keys show now, for the account of conflicts."""
        for change in batch.changes:
            for op in change.ops:
                if op.obj is not None and op.action is not Action.MAKE_MAP:
                    batch.before(op.obj, op.key)

    def _feed(self, batch: Batch, changes: list[Change]) -> None:
        binding, document = self._binding, self._binding.document
        message = b"".join(
            [b"\x42\0\0\0", to_unsigned(len(changes)), *(to_unsigned(len(c.chunk)) + c.chunk for c in changes)]
        )  # a sync message is the only door for raw changes
        binding.call(lambda: document.receive_sync_message(automerge.SyncState(), automerge.Message.decode(message)))
        arrived = {change.hash for change in binding.call(document.get_changes, list(self._heads))}
        if arrived != {change.hash for change in changes}:
            binding.fail(EngineFailure("changes did not reach the document"))
        self._heads = tuple(sorted(binding.call(document.get_heads)))
        if self._places is not None:
            self._places.update(batch.made)
        if self._conflicts is not None:
            self._conflicts.advance(changes, batch.before)

    # ---- what the gate asks (batch.Reader) ----------------------------------------------------------------------
    def winner(self, obj: OpId, key: str, at: bytes | None = None) -> OpId | None:
        """The operation whose value a key of an object shows, now or as of a change."""
        found = self._get(obj, key, None if at is None else [at])
        return None if found is None else found[1]

    def place(self, obj: OpId) -> Place | None:
        """Which map of the layout an object is; ``None`` for no map of it."""
        section = _SECTION_PLACES.get(obj)
        if section is not None:
            return section
        if self._places is None:
            document, entries = self._binding.document, object_id(_ENTRIES_OBJECT)
            keys = self._binding.call(document.keys, entries)
            ids = self._binding.call(document.values, entries)
            self._places = {op_id(raw): Place(ENTRIES, key) for key, (_, raw) in zip(keys, ids, strict=True)}
        return self._places.get(obj) or self._shadowed_place(obj)

    def _shadowed_place(self, obj: OpId) -> Place | None:
        """The place of a map that lost against another with the same entry id: only the change that made it tells."""
        holder = self._graph.holder(obj)
        try:
            self._binding.document.object_type(object_id(obj))
        except Exception:
            return None  # no map at all: nothing to look for
        for chunk in self.changes():
            if chunk_hash(chunk) == holder:
                change = decode(chunk)
                place = Place(ENTRIES, change.ops[obj[0] - change.start_op].key)
                if self._places is not None:
                    self._places[obj] = place
                return place
        return None

    # ---- reading ------------------------------------------------------------------------------------------------
    def _get(self, obj: OpId, key: str, heads: list[bytes] | None = None) -> tuple[Any, OpId] | None:
        """A key's raw value and the operation that wrote it."""
        document = self._binding.document
        try:
            found = document.get(object_id(obj), key, heads) if heads else document.get(object_id(obj), key)
        except BaseException as error:
            self._binding.fail(error)
        return None if found is None else (found[0], op_id(found[1]))

    def _row(self, obj: OpId, heads: list[bytes] | None = None) -> dict[str, Scalar]:
        return self._read_map(object_id(obj), heads)

    def _read_map(self, raw: bytes, heads: list[bytes] | None = None) -> dict[str, Scalar]:
        """Keys and values of a map by the binding's id."""
        document = self._binding.document
        try:
            keys = document.keys(raw, heads)
            values = document.values(raw, heads)
        except BaseException as error:
            self._binding.fail(error)
        with suppress(TypeError):  # a map or a list in the place of a value
            row = {key: value[1] for key, (value, _) in zip(keys, values, strict=True)}
            if _SCALARS.issuperset(map(type, row.values())):
                return row
        return self._binding.fail(EngineFailure("the document holds what no vault holds"))

    def _scalar(self, value: Any) -> Scalar:
        if type(value) is tuple and type(value[1]) in _SCALARS:
            return value[1]  # type: ignore[no-any-return]
        return self._binding.fail(EngineFailure("the document holds what no vault holds"))

    def read(self, section: str, entry: str = "") -> dict[str, Scalar] | None:
        """A flat section, or one entry: its keys and values; ``None`` if there is no such entry."""
        with self._use():
            if not entry:
                return self._row(SECTION_OBJECTS[section])
            return self._entry(entry, section)

    def read_entries(self, entries: Iterable[str]) -> dict[str, dict[str, Scalar] | None]:
        """The same of many entries."""
        with self._use():
            return {entry: self._entry(entry) for entry in entries}

    def _entry(self, entry: str, section: str = ENTRIES) -> dict[str, Scalar] | None:
        obj = self.winner(SECTION_OBJECTS[section], entry)
        return None if obj is None else self._row(obj)

    def entry_ids(self) -> list[str]:
        """The ids of all entries, ascending."""
        with self._use() as document:
            return self._binding.call(document.keys, object_id(_ENTRIES_OBJECT))

    def read_all(self) -> Iterator[tuple[str, dict[str, Scalar]]]:
        """All entries by ascending id; each is read when its turn comes, at half the cost of asking for it by name."""
        section = object_id(_ENTRIES_OBJECT)
        with self._use() as document:
            ids, maps = self._binding.call(document.keys, section), self._binding.call(document.values, section)
        for entry, (_, raw) in zip(ids, maps, strict=True):
            with self._use():
                row = self._read_map(raw)
            yield entry, row

    def read_at(self, entry: str, heads: Sequence[bytes]) -> dict[str, Scalar] | None:
        """An entry as it was when ``heads`` were the heads; ``None`` if it did not exist then."""
        with self._use():
            self._require(heads)
            found = self._get(_ENTRIES_OBJECT, entry, list(heads)) if heads else None
            return None if found is None else self._row(found[1], list(heads))

    def _require(self, hashes: Iterable[bytes]) -> None:
        missing = tuple(hash for hash in hashes if hash not in self._graph)
        if missing:
            raise MissingDependencies(missing)  # the engine would answer as if the document were empty

    def conflicts(self, entry: str) -> dict[str, tuple[Written, ...]]:
        """The keys of an entry that hold more than one value: all of them, the one that is shown first."""
        with self._use():
            if self._conflicts is None:
                self._conflicts = Conflicts.find(self._concurrent_changes(), self.winner)
            obj = self.winner(_ENTRIES_OBJECT, entry)
            if obj is None:
                return {}
            return {
                key: tuple([self._written(obj, key, op) for op in ops])
                for key, ops in self._conflicts.of(obj, self._graph).items()
            }

    def _concurrent_changes(self) -> Iterator[Change]:
        wanted = set(self._graph.concurrent())
        if wanted:
            for change in self._binding.call(self._binding.document.get_changes, []):
                if change.hash in wanted:
                    yield decode(change.raw_bytes)

    def _written(self, obj: OpId, key: str, op: OpId) -> Written:
        holder = self._graph.holder(op)
        info = None if holder is None else self._graph.info(holder)
        found = None if holder is None else self._get(obj, key, [holder])
        if holder is None or info is None or found is None or found[1] != op:
            return self._binding.fail(EngineFailure("the document lost a value that it held"))
        return Written(self._scalar(found[0]), info.actor, holder, info.seq)

    # ---- bytes --------------------------------------------------------------------------------------------------
    def save(self) -> bytes:
        """The whole document. Check it with ``verify_snapshot`` before it replaces anything."""
        with self._use() as document:
            return self._binding.call(document.save)  # type: ignore[no-any-return]

    def changes(self, after: Iterable[bytes] = ()) -> list[bytes]:
        """The chunks of all changes that are not in ``after`` or their past, in causal order."""
        with self._use() as document:
            known = list(after)
            self._require(known)
            return [change.raw_bytes for change in self._binding.call(document.get_changes, known)]

    def changes_from(self, start_op: int) -> tuple[list[bytes], list[bytes]]:
        """The chunks of all changes in causal order: those whose operations begin below ``start_op``, and the rest."""
        with self._use() as document:
            below: list[bytes] = []
            above: list[bytes] = []
            for change in self._binding.call(document.get_changes, []):
                (above if change.start_op >= start_op else below).append(change.raw_bytes)
            return below, above

    def written(self, obj: OpId, key: str, op: OpId) -> Scalar:
        """What an operation wrote into a map under a key; ``None`` where no change shows it."""
        with self._use():
            holder = self._graph.holder(op)
            found = None if holder is None else self._get(obj, key, [holder])
            return self._scalar(found[0]) if found is not None and found[1] == op else None

    def own_changes(self, actor: bytes, after_seq: int) -> list[bytes]:
        """The chunks of one actor's changes after its ``after_seq``-th, in order."""
        with self._use() as document:
            if after_seq >= self._graph.last_seq(actor):
                return []
            last = self._graph.hash_at(actor, after_seq)
            later = self._binding.call(document.get_changes, [] if last is None else [last])
            return [change.raw_bytes for change in later if change.actor_id == actor]

    def history(self, entry: str) -> list[Revision]:
        """What every change did to an entry, oldest first. Looks at all changes of the document."""
        with self._use() as document:
            obj = self.winner(_ENTRIES_OBJECT, entry)
            if obj is None:
                return []
            changes = self._binding.call(document.get_changes, [])
            touching = changes_of(obj, self._graph.holder(obj), ((c.hash, c.raw_bytes) for c in changes))
            return [self._revision(change, obj, keys) for change, keys in touching]

    def _revision(self, change: Change, obj: OpId, keys: Iterable[str]) -> Revision:
        before: dict[str, Scalar] = {}
        after: dict[str, Scalar] = {}
        made_here = obj[1] == change.actor and change.start_op <= obj[0] <= change.max_op
        for key in keys:
            old = None if made_here else self._get(obj, key, list(change.deps))
            new = self._get(obj, key, [change.hash])
            if old is not None:
                before[key] = self._scalar(old[0])
            if new is not None:
                after[key] = self._scalar(new[0])
        return Revision(change.hash, change.actor, change.seq, before, after)

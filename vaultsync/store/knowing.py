"""What an open file knows without reading: whether others wrote, and what was read before and still holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from threading import RLock, local
from typing import Any, TypeVar
from weakref import WeakSet

from vaultsync import limits
from vaultsync.errors import DamagedStore
from vaultsync.store.connection import Database
from vaultsync.store.news import Commits
from vaultsync.store.pictures import Picture
from vaultsync.store.rows import Tip
from vaultsync.store.stamps import Stamp, Stamps
from vaultsync.store.transactions import Reading, Writing

__all__ = ["Knowing"]

T = TypeVar("T")


class _Looked(local):
    """Of each thread, whether it is inside `Knowing.still`."""

    still = False


class Knowing:
    """The part of a store that answers without a transaction where it can."""

    _reader: Database | None
    _read_lock: RLock
    _reading: Reading | None
    _writing: Writing | None

    def __init__(self) -> None:
        self._data_version: int | None = None
        self._news = False  # seen by a look, and not told by `changed_elsewhere` yet
        self._commits = Commits()
        self._stamps = Stamps()
        self._watches: WeakSet[Commits] = WeakSet()
        self._looked = _Looked()

    def _mine(self) -> Writing | None:
        raise NotImplementedError

    def _usable(self) -> Database:
        raise NotImplementedError

    def _locked(self, lock: RLock) -> AbstractContextManager[None]:
        raise NotImplementedError

    def read(self) -> AbstractContextManager[Reading]:
        """See `Store.read`."""
        raise NotImplementedError

    def changed_elsewhere(self) -> bool:
        """Whether another process (or another `Store`) committed since the last call. Microseconds; waits for no
        writer.

        Never false when it should be true; asked inside a ``write()`` block it may be true without need. Own writes
        do not count. Inside a ``read()`` block nothing changes.
        """
        inside_write = self._mine() is not None
        if inside_write and not self._read_lock.acquire(blocking=False):
            return True
        try:
            with self._locked(self._read_lock):
                self._look(self._usable())
                changed, self._news = self._news, False
                return changed
        except DamagedStore:
            return False  # a later read says what is damaged; polling must not
        finally:
            if inside_write:
                self._read_lock.release()

    def _look(self, database: Database) -> None:
        """See what was committed elsewhere, whoever asks. Under the reader's lock; raises `DamagedStore`."""
        version = int(database.pragma("reading", "data_version"))
        if version != self._data_version or not (self._commits.certain and self._stamps.certain):
            total = Reading(database).commits
            self._news |= self._commits.look(total)
            self._stamps.look(total)
            self._data_version = version

    def _counting(self) -> list[Commits | Stamps]:
        return [self._commits, self._stamps, *self._watches]

    def watch(self) -> Commits:
        """For who counts commits inside its own transactions: whether others were among them."""
        commits = Commits()
        self._watches.add(commits)
        return commits

    def _stamp(self, tables: tuple[str, ...]) -> Stamp | None:
        """What changes when one of the tables does; ``None`` inside a transaction, whose picture is its own."""
        if self._writing is None and self._reading is None and self._left_alone():
            return self._stamps.of(tables)
        if self._writing is not None and self._mine() is not None:
            return None
        if not self._read_lock.acquire(timeout=limits.BUSY_SECONDS):
            return None
        try:
            database = self._usable()
            if self._reading is not None:
                return None
            if not self._left_alone():
                self._look(database)
            return self._stamps.of(tables)
        except DamagedStore:
            return None  # reading says what is damaged
        finally:
            self._read_lock.release()

    def _left_alone(self) -> bool:
        """Whether the calling thread looked a moment ago, and that is enough for it."""
        return self._looked.still and self._stamps.certain and self._reader is not None

    @contextmanager
    def still(self) -> Iterator[None]:
        """Look once, now, for what other processes committed, instead of at each question: what they commit from here
        on, `recall`, `state` and `states` may tell this thread only after the block. What this process commits is
        told at once, and a transaction sees everything. For who asks many questions in a row and comes again."""
        self._stamp(())
        before, self._looked.still = self._looked.still, True
        try:
            yield
        finally:
            self._looked.still = before

    def recall(self, what: Hashable, tables: tuple[str, ...], read: Callable[[Reading], T]) -> T:
        """What ``read`` finds, which looks at these tables alone; it is asked again only when one of them changed.

        Inside a transaction it is always asked. Nobody may change what comes back. ``what`` names the question.
        """
        stamp = self._stamp(tables)
        if stamp is not None and (kept := self._stamps.kept(what, stamp)) is not None:
            return kept[0]  # type: ignore[no-any-return]
        with self.read() as reading:
            found = read(reading)
        if stamp is not None:
            self._stamps.keep(what, stamp, found)
        return found

    def _recall(self, picture: Picture, read: Callable[[Reading], Mapping[Any, Any]]) -> Mapping[Any, Any]:
        return self.recall(picture, picture.tables, read)

    def state(self, name: str) -> bytes | None:
        """A sealed value, as `Reading.state`."""
        if self._mine() is not None:
            with self.read() as reading:
                return reading.state(name)
        return self.states().get(name)

    def states(self) -> Mapping[str, bytes]:
        """Every sealed value, as `Reading.states`."""
        return self._recall(Picture.STATE, lambda reading: reading.states())

    def own_tips(self) -> Mapping[bytes, Tip]:
        """Every own incarnation that wrote into this file, by actor, as `Reading.own_tips`."""
        return self._recall(Picture.TIPS, lambda reading: {tip.actor: tip for tip in reading.own_tips()})

    def outbox(self, remote: str) -> Mapping[str, tuple[int, int]]:
        """By name of an envelope that a remote lacks, oldest first: (kind, bytes). One that was never heard of lacks
        every own one."""
        found = self._recall(Picture.OUTBOX, lambda reading: reading.outbox()).get(remote)
        if found is None:
            with self.read() as reading:
                return {name: (kind, size) for name, kind, size in reading.undelivered_sizes(remote)}
        return found  # type: ignore[no-any-return]

    def last_places(self, chains: Collection[bytes], kind: int) -> dict[bytes, tuple[int, bytes]]:
        """(seq, id) of the last envelope of one kind, by chain, without those that have none."""
        stamp = self._stamp(Picture.LAST.tables)
        kept = None if stamp is None else self._stamps.kept(Picture.LAST, stamp)
        seen: dict[tuple[bytes, int], tuple[int, bytes] | None] = {} if kept is None else kept[0]
        wanted = [(chain, int(kind)) for chain in chains]
        if any(key not in seen for key in wanted):
            with self.read() as reading:
                seen = seen | {key: reading.last_place(*key) for key in wanted if key not in seen}
            if stamp is not None:
                self._stamps.keep(Picture.LAST, stamp, seen)
        return {chain: place for chain, key in zip(chains, wanted, strict=True) if (place := seen[key]) is not None}

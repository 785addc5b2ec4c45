"""The log under a roster: entries are collected, judged when their predecessors are, and kept as a graph.

**Whether an entry is accepted is a function of its ancestors alone**, never of what else is known or in which order it
came. An entry whose predecessor is unknown waits; a bad one is set aside with its reason, and so is everything built on
it; what is built on an operation of a later version is held unjudged, for that may have added or removed its author.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Self

from vaultsync import limits
from vaultsync.crypto.keys import DevicePublic
from vaultsync.crypto.roster_entry import Entry, Op, decode, entry_hash
from vaultsync.crypto.roster_rules import Standing, joined, judge, judge_first
from vaultsync.crypto.roster_view import effects, past
from vaultsync.errors import MalformedRoster, Refused, UpdateRequired, VaultSyncError

__all__ = ["RosterLog"]


class RosterLog:
    """Immutable; :meth:`merge` gives a new one."""

    log: tuple[Entry, ...]
    """Accepted entries by (n, hash); their ``data`` is what to store and to publish."""
    heads: tuple[bytes, ...]
    """Accepted entries that no other accepted one builds on, ascending."""

    def __init__(self, vault_id: bytes) -> None:
        """Empty: everything merged into it waits for the entry whose hash begins with ``vault_id`` (16 bytes)."""
        self.vault_id: Final = vault_id
        self._known: dict[bytes, Entry] = {}
        self._standing: dict[bytes, Standing] = {}
        self._waiting: dict[bytes, Entry] = {}
        self._refused: dict[bytes, VaultSyncError] = {}
        self._held: set[bytes] = set()
        self._unreadable: set[bytes] = set()
        self._public: dict[bytes, DevicePublic] = {}
        self._derive()

    @classmethod
    def load(cls, vault_id: bytes, entries: Iterable[bytes]) -> Self:
        """From all entries in any order; :class:`MalformedRoster` when the vault's first entry is not among them."""
        roster = cls(vault_id).merge(entries)
        if not roster._known:
            raise MalformedRoster("the first entry of the vault's roster is missing or was refused")
        return roster

    def merge(self, entries: Iterable[bytes]) -> Self:
        """With these entries too, in any order, known ones included. Bad ones end up in :attr:`refused`.

        Raises :class:`MalformedRoster` only when there are more entries than a roster may have.
        """
        new = type(self)(self.vault_id)
        new._known, new._standing, new._public = dict(self._known), dict(self._standing), dict(self._public)
        new._waiting, new._refused = dict(self._waiting), dict(self._refused)
        new._held, new._unreadable = set(self._held), set(self._unreadable)
        for data in entries:
            name = entry_hash(data)
            if new._judged(name) or name in new._waiting:
                continue
            try:
                new._waiting[name] = decode(data)
            except Refused as error:
                new._refused[name] = type(error)(*error.args)
            except UpdateRequired:
                new._unreadable.add(name)
        if len(new._known) + len(new._waiting) + len(new._held) + len(new._unreadable) > limits.MAX_ROSTER_ENTRIES:
            raise MalformedRoster("the roster has more entries than the limit")
        new._settle()
        new._derive()
        return new

    # ---- deciding -----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Judges every waiting entry whose predecessors are all judged; the order does not matter."""
        children: defaultdict[bytes, list[Entry]] = defaultdict(list)
        missing: dict[bytes, int] = {}
        for entry in self._waiting.values():
            unknown = [name for name in entry.prev if not self._judged(name)]
            missing[entry.hash] = len(unknown)
            for name in unknown:
                children[name].append(entry)
        ready = [entry for entry in self._waiting.values() if not missing[entry.hash]]
        while ready:
            entry = ready.pop()
            del self._waiting[entry.hash]
            try:
                self._standing[entry.hash] = self._judge(entry)
                self._known[entry.hash] = entry
                self._public |= {public.id: public for public in entry.publics}
            except Refused as error:
                self._refused[entry.hash] = type(error)(*error.args)
            except UpdateRequired:
                self._held.add(entry.hash)
            for child in children[entry.hash]:
                missing[child.hash] -= 1
                if not missing[child.hash]:
                    ready.append(child)

    def _judge(self, entry: Entry) -> Standing:
        if any(name in self._refused for name in entry.prev):
            raise MalformedRoster("the entry builds on one that was refused")
        if any(name in self._held or name in self._unreadable for name in entry.prev):
            raise UpdateRequired("the entry builds on one of a later version")
        if entry.op == Op.CREATE:
            return judge_first(entry, self.vault_id)
        return judge(entry, self._before(entry.prev), self._public.get(entry.author), self.vault_id)

    def _before(self, prev: tuple[bytes, ...]) -> Standing:
        """What is so where these are joined, by them and their ancestors alone."""
        standings = [self._standing[name] for name in prev]
        before = joined(standings)
        if len(prev) == 1 or (not before.contested and all(one.ends == before.ends for one in standings)):
            return before
        names = set().union(*(past(name, self._known) for name in prev))
        result = effects(_ordered(self._known[name] for name in names), self._standing)
        return before._replace(
            recovery=result.recovery,
            members=result.devices | {result.recovery},
            gone=result.gone,
            contested=bool(result.lost),
        )

    def _judged(self, name: bytes) -> bool:
        return name in self._known or name in self._refused or name in self._held or name in self._unreadable

    def _derive(self) -> None:
        """Everything readable, from the accepted entries in an order that is a function of their set."""
        self.log = _ordered(self._known.values())
        self.heads = _heads(self.log)

    # ---- what there is ------------------------------------------------------------------------------------------

    @property
    def head(self) -> bytes:
        """One entry to stand for what is known here: the head of the largest (n, hash). 32 bytes."""
        return self.log[-1].hash

    @property
    def refused(self) -> Mapping[bytes, VaultSyncError]:
        """Hash -> why the entry does not count."""
        return MappingProxyType(self._refused)

    @property
    def awaited(self) -> frozenset[bytes]:
        """Hashes of unknown entries that known ones build on."""
        return frozenset(
            name for entry in self._waiting.values() for name in entry.prev if not self._judged(name)
        ) - frozenset(self._waiting)

    def knows(self, name: bytes) -> bool:
        """Whether that entry is accepted here. A joiner asks it of the head that its account slot or sponsor named."""
        return name in self._known

    def _base(self) -> tuple[bytes, ...]:
        """What a new entry builds on: all heads, but not operations of a later version. When they are more than one
        entry may join, the newest of those that say something; the others remain for later entries."""
        heads = _heads(entry for entry in self.log if not self._standing[entry.hash].later)
        if len(heads) <= limits.MAX_ROSTER_PREV:
            return heads
        newest = sorted(heads, key=lambda name: (self._known[name].n, name), reverse=True)
        chosen = [newest.pop(0)]
        idle: list[bytes] = []
        for name in newest:
            now = joined(self._standing[one] for one in chosen)
            (chosen if joined([now, self._standing[name]]) != now else idle).append(name)
        return tuple(sorted((chosen + idle)[: limits.MAX_ROSTER_PREV]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RosterLog) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((self.vault_id, self.heads))

    def _state(self) -> tuple[object, ...]:
        sets = (self._known, self._waiting, self._held, self._unreadable, self._refused)
        return (self.vault_id, *(frozenset(names) for names in sets))


def _ordered(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: (entry.n, entry.hash)))


def _heads(entries: Iterable[Entry]) -> tuple[bytes, ...]:
    entries = tuple(entries)
    named = {name for entry in entries for name in entry.prev}
    return tuple(sorted([entry.hash for entry in entries if entry.hash not in named]))

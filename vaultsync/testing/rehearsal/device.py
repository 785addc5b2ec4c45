"""A device without store, keys or remote: the real document, one local schema, and what its person has seen."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import count
from typing import Any

from vaultsync.document.engine import DELETED, Edit, Engine
from vaultsync.document.layout import ENTRIES
from vaultsync.schema.cells import GONE, Ops, Raw
from vaultsync.schema.types import Schema
from vaultsync.testing.rehearsal.truth import Act
from vaultsync.view.chain import Climb
from vaultsync.view.context import Context
from vaultsync.view.entry import Candidate, Entry, evaluate

__all__ = ["Device", "Look", "entry_id"]


def entry_id(number: int) -> str:
    """The id of an entry, as the document wants it."""
    return f"{number:026d}"


class Look:
    """One entry as one version shows it, with what leads there; kept until it changes."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.lawful = False
        """Whether every lens on the way was checked."""
        self.repairs: Ops | None = None
        """What a repair of it would write; None: not asked yet."""

    @cached_property
    def climbed(self) -> Climb:
        """Every level between what is stored and what is shown."""
        return self.entry._judgement.shape.climb(self.entry.raw)


class Device:
    """One installation."""

    def __init__(self, number: int, schema: Schema, shared: dict[Any, Look]) -> None:
        """``shared``: looks of all devices, since equal knowledge looks equal at one version."""
        self.number = number
        self._shared = shared
        self.schema = schema
        self.actor = bytes([number + 1]) * 16
        self.incarnation = self.actor.hex()
        self.engine = Engine.new()
        self.saw = 0
        """The acts that are known here, as bits."""
        numbers = count(1)
        self.new_id = lambda: f"d{number}-{next(numbers)}"
        self._raws: dict[int, Raw] = {}
        self._looks: dict[int, dict[int, Look]] = {}
        self._context = Context(conflicts=self.candidates)

    def raw(self, number: int) -> Raw | None:
        """An entry as it is stored, None if it is not known here."""
        if number not in self._raws:
            found = self.engine.read(ENTRIES, entry_id(number))
            if found is None:
                return None
            self._raws[number] = found
        return self._raws[number]

    def look(self, number: int, schema: Schema | None = None) -> Look:
        """An entry as it is shown here, or would be had this device another version."""
        schema = schema or self.schema
        looks = self._looks.setdefault(number, {})
        if (found := looks.get(id(schema))) is None:
            raw = self.raw(number) or {}
            place = (number, id(schema), frozenset(raw.items()))
            if (found := self._shared.get(place)) is None:
                found = self._shared[place] = Look(evaluate(entry_id(number), raw, schema, Context()))
            looks[id(schema)] = found
        return found

    def alone(self, number: int) -> Entry:
        """The same with the conflicts that this device knows of, and not shared."""
        return evaluate(entry_id(number), self.raw(number) or {}, self.schema, self._context)

    def entry(self, number: int) -> Entry:
        """An entry as it is shown here."""
        return self.look(number).entry

    def look_at(self, raw: Raw) -> Look:
        """What this version makes of something that is not stored."""
        return Look(evaluate(entry_id(0), raw, self.schema, Context()))

    def _changed(self, number: int) -> None:
        self._raws.pop(number, None)
        self._looks.pop(number, None)

    def candidates(self, entry: str) -> dict[str, tuple[Candidate, ...]]:
        """What concurrent writes left, for ``entry.conflicts``."""
        return {
            key: tuple(
                Candidate(written.value, None, writer=written.actor.hex(), change=written.hash.hex())
                for written in every
            )
            for key, every in self.engine.conflicts(entry).items()
        }

    def commit(self, number: int, ops: Ops) -> list[Any]:
        """Make operations of an entry a change."""
        entry = entry_id(number)
        self._changed(number)
        edits = [Edit(ENTRIES, entry, key, DELETED if value is GONE else value) for key, value in ops.items()]
        return self.engine.commit(self.actor, edits)

    def learn(self, acts: Iterable[Act]) -> set[int]:
        """Apply what these acts wrote; the entries that were touched."""
        changes, touched, saw = [], set[int](), self.saw
        for act in acts:
            if not saw & act.bit:
                saw |= act.bit
                changes += act.changes
                touched.add(act.entry)
        if changes:
            self.engine.apply(changes)
            for number in touched:
                self._changed(number)
        self.saw = saw
        return touched

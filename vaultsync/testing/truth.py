"""What really happened: every act of a person with what that person's device knew then, in plain dicts.

Kept beside the simulated devices and never asked of them. A *fact* is the smallest thing that a person says about an
entry: the value of a field, or one tag, item or line of it. An *act* sets facts or clears them, and knows which acts it
had seen. From causality alone follows what every device must show once everybody knows everything:

* a fact stands if the acts on it that no other act on it has seen (its *last words*) hold a value; of several values
  one is shown and the others are conflicts; a clear among them changes nothing, since an edit beats a clear;
* an entry is in the trash if every act that edited it was seen by some delete;
* a raw cell holds one of its own last words, byte for byte, whoever else knew the field or did not.

Facts and stored cells are one to one here, which lets the last rule be so strict; a fact whose last word somebody else
spoke about at the same time is *contested*, all others *clean*. Types that lenses or conversions touch store a fact in
several forms, or several in one: they are told of in words instead, by ``rehearsal.truth``, and played with real vaults
by ``rehearsal.vaults``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vaultsync.schema.cells import GONE, Gone, Scalar
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.entry import Status

__all__ = ["EDITS", "Act", "Cell", "Fact", "Truth"]

EDITS = frozenset({"add", "update", "restore", "resolve"})
"""Kinds of acts that bring an entry back if a delete did not see them."""


class Fact(NamedTuple):
    """``element`` is the tag, or the id of the item or line; "" for a field with one value."""

    entry: str
    field: str
    element: str = ""


class Cell(NamedTuple):
    """A key of an entry as it is stored."""

    entry: str
    key: str


@dataclass(frozen=True)
class Act:
    """One thing a person (or, as "upkeep", the library) did on one device. ``saw`` and ``covers`` are sets of act
    numbers as bits."""

    number: int
    device: str
    kind: str
    entry: str
    change: bytes
    """The hash of the change that it became: whoever has that knows the act."""
    saw: int
    covers: int = 0
    """A delete: the acts that the person had seen of the entry; less than ``saw`` when it was looked at earlier."""
    facts: Mapping[Fact, Any] = field(default_factory=dict)
    """What was said; None is a clear."""
    cells: Mapping[Cell, Scalar | Gone] = field(default_factory=dict)
    type: str = ""
    """An add: the type of the entry."""

    @property
    def bit(self) -> int:
        return 1 << self.number

    def concurrent(self, other: Act) -> bool:
        """Whether neither knew of the other."""
        return self is not other and not self.saw & other.bit and not other.saw & self.bit


class Truth:
    """All acts so far, and what follows from them. ``known`` limits a question to a set of acts (bits)."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.entries: dict[str, str] = {}
        """Entry id -> type."""
        self._by_fact: defaultdict[Fact, list[Act]] = defaultdict(list)
        self._by_cell: defaultdict[Cell, list[Act]] = defaultdict(list)
        self._by_entry: defaultdict[str, list[Act]] = defaultdict(list)

    def record(self, act: Act) -> None:
        self.acts.append(act)
        for fact in act.facts:
            self._by_fact[fact].append(act)
        for cell in act.cells:
            self._by_cell[cell].append(act)
        if act.entry:
            self._by_entry[act.entry].append(act)
        if act.kind == "add":
            self.entries[act.entry] = act.type

    def known_to(self, has: Callable[[bytes], bool]) -> int:
        """The acts whose changes are there."""
        changes = {change: has(change) for change in {act.change for act in self.acts}}
        return sum(act.bit for act in self.acts if changes[act.change])

    # ---- what must stand --------------------------------------------------------------------------------------
    @property
    def facts(self) -> Iterable[Fact]:
        return self._by_fact

    def last_words(self, fact: Fact, known: int = -1) -> list[Act]:
        """The acts on a fact that no other act on it has seen."""
        return _last(self._by_fact[fact], known)

    def values(self, fact: Fact, known: int = -1) -> list[Any]:
        """What may be shown; nothing when it must not be set."""
        said = [act.facts[fact] for act in self.last_words(fact, known)]
        return [value for value in said if value is not None]

    def is_clean(self, fact: Fact) -> bool:
        """Whether one act had the last word and nobody spoke about it meanwhile."""
        last = self.last_words(fact)
        if len(last) != 1:
            return False
        others = self._by_entry[fact.entry]
        return not any(fact in act.facts and act.concurrent(last[0]) for act in others)

    def standing(self, entry: str, known: int = -1) -> dict[Fact, list[Any]]:
        """Every fact of an entry that is set, with its values."""
        found = {fact: self.values(fact, known) for fact in list(self._by_fact) if fact.entry == entry}
        return {fact: values for fact, values in found.items() if values}

    def cells(self, entry: str) -> dict[str, list[Scalar]]:
        """Every data key of an entry that must be stored, with the values that may stand there."""
        found: dict[str, list[Scalar]] = {}
        for cell, acts in self._by_cell.items():
            if cell.entry == entry:
                said = [act.cells[cell] for act in _last(acts, -1)]
                values = [value for value in said if value is not GONE]
                if values:
                    found[cell.key] = values
        return found

    def trashed(self, entry: str, known: int = -1) -> bool:
        """Whether every edit was seen by some delete."""
        acts = [act for act in self._by_entry[entry] if act.bit & known]
        covered = 0
        for act in acts:
            covered |= act.covers
        deleted = any(act.kind in ("delete", "purge") for act in acts)
        return deleted and all(covered & act.bit for act in acts if act.kind in EDITS)

    def status(self, entry: str, schema: Schema, known: int = -1) -> Status:
        """What the entry is under a schema, by the order of the design."""
        if self.trashed(entry, known):
            return Status.TRASHED
        kind = schema.types[self.entries[entry]]
        names = {fact.field for fact in self.standing(entry, known)}
        unknown = [fld for name in names if not schema.here(fld := _field(kind, name))]
        if not schema.here(kind) or any(fld.critical == "read" for fld in unknown):
            return Status.HIDDEN
        if schema.retired(kind):
            return Status.ARCHIVED
        return Status.FLAGGED if unknown else Status.COMPLETE

    def counted(self, entry: str, schema: Schema) -> bool:
        """Not deleted, and not of a type that is retired at this version, whatever the platform."""
        kind = schema.types[self.entries[entry]]
        retired = kind.since <= schema.version and schema.retired(kind)
        return not retired and not self.trashed(entry)


def _last(acts: Iterable[Act], known: int) -> list[Act]:
    mine = [act for act in acts if act.bit & known]
    seen = 0
    for act in mine:
        seen |= act.saw
    return [act for act in mine if not act.bit & seen]


def _field(kind: EntryType, name: str) -> Field:
    found = kind.field(name)
    if found is None:  # pragma: no cover - acts come from declared fields
        raise KeyError(name)
    return found

"""A view: an immutable picture of a whole vault under the local schema, derived at the cost of what changed.

Its entries were evaluated one by one (`View.build`), or lie evaluated in a store and are read when somebody looks
(`View.stored`); nobody can tell the difference but by the time that it takes.

Every entry is in one of four lists by its status, in the order of (created, id). A view shares everything that did not
change with the view it was derived from, down to the sums behind its notices; so taking one is free, keeping an old
one is safe, and k touched entries cost k evaluations and about k * sqrt(N) copied references, never N.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from typing import Any, cast, overload

from vaultsync.errors import EntryNotFound, UnknownField, UnknownType, WrongKind
from vaultsync.schema.cells import Raw
from vaultsync.schema.kind import Kind, KindMismatch
from vaultsync.schema.types import Schema
from vaultsync.view.context import Context
from vaultsync.view.decide import Status
from vaultsync.view.entry import Entry, evaluate_all, fold
from vaultsync.view.notices import Fact, Notice, facts, notices
from vaultsync.view.ordered import GONE, OrderedMap, Removed
from vaultsync.view.packed import uncollected
from vaultsync.view.pieces import Piece, StoredIds, lazily, moved
from vaultsync.view.stored import Content, Summary, Table
from vaultsync.view.words import near

__all__ = ["Content", "Entries", "Summary", "View"]

_Place = tuple[int, str]  # (created, id)
_FIRST, _TOGETHER = 4, 64
"""Pieces whose contents are made at once, at first and at most: the collector looks at new objects whenever it may, so
that it may seldom; who only wants the first few should not wait."""


class Entries(Sequence[Entry]):
    """Entries in the order of (created, id); an index or a slice is found without walking there."""

    __slots__ = ("_map",)

    def __init__(self, entries: OrderedMap[_Place, Entry]) -> None:
        self._map = entries

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, index: int | slice) -> Entry | tuple[Entry, ...]:
        if isinstance(index, slice):
            return tuple(self._map.at(i) for i in range(*index.indices(len(self))))
        return self._map.at(index)

    def __len__(self) -> int:
        return len(self._map)

    def __iter__(self) -> Iterator[Entry]:
        return self._map.values()

    def __contains__(self, entry: object) -> bool:
        return isinstance(entry, Entry) and self._map.get(_place(entry)) == entry

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Entries, list, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        first = ", ".join(map(repr, self[:3]))
        return f"[{first}{', …' if len(self) > 3 else ''}] ({len(self)})" if len(self) > 3 else f"[{first}]"


@dataclass(frozen=True, slots=True)
class _State:
    """What a view consists of; every part is persistent."""

    ids: OrderedMap[str, Entry] | StoredIds = field(default_factory=OrderedMap)
    shown: OrderedMap[_Place, Entry] = field(default_factory=OrderedMap)
    hidden: OrderedMap[_Place, Entry] = field(default_factory=OrderedMap)
    archived: OrderedMap[_Place, Entry] = field(default_factory=OrderedMap)
    trash: OrderedMap[_Place, Entry] = field(default_factory=OrderedMap)
    foreign: OrderedMap[str, Entry] = field(default_factory=OrderedMap)  # with names from the catalog
    facts: OrderedMap[Fact, int] = field(default_factory=OrderedMap)
    counted: int = 0
    table: Table | None = None  # where stored entries come from; what changed since is beside them

    @classmethod
    def stored(cls, table: Table) -> _State:
        """Everything as it lies in a store. Costs the lists, not the entries."""
        index = table.index
        lists = {name: lazily(table, table.rows(*statuses)) for name, statuses in _STATUSES.items()}
        facts = OrderedMap.build(index.facts.items())
        return replace(
            cls(StoredIds(table), facts=facts, counted=index.counted, table=table), **cast("dict[str, Any]", lists)
        )

    def within(self, context: Context) -> _State:
        """Stored entries in another context."""
        if self.table is None or not isinstance(self.ids, StoredIds):
            return self
        table = self.table.within(context)
        lists = {name: moved(getattr(self, name), table) for name in _STATUSES}
        return replace(self, ids=self.ids.within(table), table=table, **cast("dict[str, Any]", lists))


_LIST = {
    Status.COMPLETE: "shown",
    Status.FLAGGED: "shown",
    Status.HIDDEN: "hidden",
    Status.ARCHIVED: "archived",
    Status.TRASHED: "trash",
}
_STATUSES = {name: [status for status, each in _LIST.items() if each == name] for name in sorted(set(_LIST.values()))}


class View:
    """An immutable picture of the vault. ``len`` and iteration go over ``entries``; ``in`` and ``[]`` know every id."""

    __slots__ = ("_notices", "_state", "context", "schema")

    def __init__(self, state: _State, schema: Schema, context: Context) -> None:
        self._state = state
        self._notices: tuple[Notice, ...] | None = None
        self.schema = schema
        self.context = context

    @classmethod
    def build(cls, items: Iterable[tuple[str, Raw]], schema: Schema, context: Context | None = None) -> View:
        """Evaluate everything, each entry when its turn comes; no id comes twice. The mappings handed in are kept:
        nobody may change them from here on."""
        context = context or Context()
        made = _Made(items, schema, context)
        state = replace(_State(), facts=OrderedMap.build(made.sums.items()), counted=made.counted)
        return cls(_replaced(state, made.entries), schema, context)

    @classmethod
    def stored(cls, table: Table) -> View:
        """What lies evaluated in a store, in the table's schema and context. Nothing is evaluated or read."""
        return cls(_State.stored(table), table.schema, table.context)

    def updated(self, touched: Mapping[str, Raw | None], context: Context | None = None) -> View:
        """The view after some entries changed (None: gone). Only these are evaluated.

        A new catalog also renames what entries do not know. ``context.conflicts`` is bound when an entry is evaluated.
        """
        context = context or self.context
        state = self._state
        if context.catalog is not self.context.catalog:
            state = state.within(context)
            state = _replaced(state, [e._in(context) for e in state.foreign.values() if e.id not in touched])
        if touched:
            state = _changed(state, touched, self.schema, context)
        return View(state, self.schema, context)

    # ---- what there is ----------------------------------------------------------------------------------------
    @property
    def entries(self) -> Entries:
        """What is shown: complete and flagged."""
        return Entries(self._state.shown)

    @property
    def hidden(self) -> Entries:
        """What cannot be shown here; ``notices`` say why."""
        return Entries(self._state.hidden)

    @property
    def archived(self) -> Entries:
        """Entries of types that are retired here: readable, not editable, not counted."""
        return Entries(self._state.archived)

    @property
    def trash(self) -> Entries:
        """What was deleted and not purged or restored."""
        return Entries(self._state.trash)

    @property
    def counted(self) -> int:
        """How many entries count for the quota: the same on every platform of one version."""
        return self._state.counted

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What a person should be told."""
        if self._notices is None:
            self._notices = notices(self._state.facts.items(), self.schema, self.context)
        return self._notices

    @property
    def summaries(self) -> list[Summary]:
        """What a list shows of each entry in ``entries``, in their order: much cheaper than the entries themselves."""
        made: list[Summary] = []
        with uncollected():
            for piece in self._state.shown.pieces:
                if isinstance(piece, Piece):
                    made += piece.summaries()
                else:
                    made += [Summary(e.id, e.title, e.type, e.status) for e in piece[1]]
        return made

    def contents(self) -> Iterator[Content]:
        """Each entry in ``entries`` with all its fields, in their order: the way to read everything. Several times
        cheaper than ``fields`` of one entry after the other; at most some sixteen thousand are in memory at a time."""
        pieces = self._state.shown.pieces
        start, together = 0, _FIRST
        while start < len(pieces):
            made: list[Content] = []
            with uncollected():
                for piece in pieces[start : start + together]:
                    made += piece.contents() if isinstance(piece, Piece) else map(Content.of, piece[1])
            start, together = start + together, min(2 * together, _TOGETHER)
            yield from made

    def everything(self) -> Iterator[Entry]:
        """Every entry of any status, in the order of (created, id)."""
        state = self._state
        lists = (state.shown, state.hidden, state.archived, state.trash)
        return merge(*(each.values() for each in lists if len(each)), key=_place)

    def __getitem__(self, entry_id: str) -> Entry:
        """An entry of any status; ``EntryNotFound`` (a ``KeyError``) if there is none."""
        if (entry := self._state.ids.get(entry_id)) is None:
            raise EntryNotFound(f"no entry {entry_id!r} in this vault")
        return entry

    def get(self, entry_id: str, default: Any = None) -> Any:
        """An entry of any status, or ``default``."""
        entry = self._state.ids.get(entry_id)
        return default if entry is None else entry

    def __contains__(self, entry_id: object) -> bool:
        return isinstance(entry_id, str) and self._state.ids.get(entry_id) is not None

    def __iter__(self) -> Iterator[Entry]:
        return self._state.shown.values()

    def __len__(self) -> int:
        return len(self._state.shown)

    def __repr__(self) -> str:
        state = self._state
        sizes = (len(state.shown), len(state.hidden), len(state.archived), len(state.trash))
        return "<View {} entries, {} hidden, {} archived, {} in the trash>".format(*sizes)

    # ---- looking for something --------------------------------------------------------------------------------
    def search(self, text: str, type: str | None = None) -> tuple[Entry, ...]:
        """Shown entries that hold every word of ``text``, whatever its case, in text, notes, tags or names of files.
        Secrets are never searched. Raises ``UnknownType`` for a type that is not declared."""
        self._check_type(type)
        words = fold(text).split()
        chosen = (e for e in self if type is None or e.type == type)
        return tuple(e for e in chosen if all(word in e._searchable() for word in words))

    def where(self, type: str | None = None, **fields: Any) -> tuple[Entry, ...]:
        """Shown entries whose fields fit: an equal value, a tag or item that they hold, or a callable that says yes.

        ``None`` fits a field that is not set. Raises ``UnknownType``, ``UnknownField`` and ``WrongKind``.
        """
        self._check_type(type)
        kinds = self._kinds(type, fields)
        tests = {name: _test(name, kinds[name], value) for name, value in fields.items()}
        chosen = (e for e in self if type is None or e.type == type)
        return tuple(e for e in chosen if all(n in e._judgement.shape.known and t(e[n]) for n, t in tests.items()))

    def _check_type(self, name: str | None) -> None:
        if name is not None and name not in self.schema.types:
            raise UnknownType(f"no entry type {name!r} is declared.{near(name, self.schema.types)}")

    def _kinds(self, type: str | None, fields: Iterable[str]) -> dict[str, Kind]:
        types = self.schema.types.values() if type is None else (self.schema.types[type],)
        kinds = {f.name: f.kind for kind in types for f in kind.fields}
        for name in fields:
            if name not in kinds:
                where = f"{type!r} has" if type else "no entry type has a field"
                raise UnknownField(f"{where}{' no field' if type else ''} {name!r}.{near(name, kinds)}")
        return kinds


def _place(entry: Entry) -> _Place:
    return entry.created, entry.id


def _is_foreign(entry: Entry) -> bool:
    return bool(entry._judgement.unknown) or not entry._judgement.shape.line


class _Made:
    """Entries, evaluated, and the sums of what they tell."""

    def __init__(self, items: Iterable[tuple[str, Raw]], schema: Schema, context: Context) -> None:
        self.entries: list[Entry] = []
        self.sums: Counter[Fact] = Counter()
        self.counted = 0
        for entry in evaluate_all(items, schema, context):
            self.entries.append(entry)
            self.counted += entry.counted
            self.sums.update(facts(entry, schema))


def _changed(state: _State, touched: Mapping[str, Raw | None], schema: Schema, context: Context) -> _State:
    """The state with these entries evaluated again."""
    gone = [old for entry_id in touched if (old := state.ids.get(entry_id)) is not None]
    there = ((entry_id, raw) for entry_id, raw in touched.items() if raw is not None)
    made = _Made(there, schema, context)
    counted = state.counted + made.counted
    for old in gone:
        counted -= old.counted
        made.sums.subtract(facts(old, schema))
    told: dict[Fact, int | Removed] = {}
    for fact, change in made.sums.items():
        if change:
            told[fact] = ((state.facts.get(fact) or 0) + change) or GONE
    return replace(_replaced(state, made.entries, gone), facts=state.facts.changed(told), counted=counted)


def _replaced(state: _State, made: Iterable[Entry], gone: Iterable[Entry] = ()) -> _State:
    """The state without the entries ``gone`` and with the entries ``made``, sums untouched."""
    ids: dict[str, Entry | Removed] = {}
    foreign: dict[str, Entry | Removed] = {}
    lists: dict[str, dict[_Place, Entry | Removed]] = {}
    for entry in gone:
        ids[entry.id] = GONE
        lists.setdefault(_LIST[entry.status], {})[_place(entry)] = GONE
        if _is_foreign(entry):
            foreign[entry.id] = GONE
    for entry in made:
        ids[entry.id] = entry
        lists.setdefault(_LIST[entry.status], {})[_place(entry)] = entry
        if _is_foreign(entry):
            foreign[entry.id] = entry
    return replace(
        state,
        ids=state.ids.changed(ids),
        foreign=state.foreign.changed(foreign),
        **{name: getattr(state, name).changed(changes) for name, changes in lists.items()},
    )


def _test(name: str, kind: Kind, wanted: Any) -> Callable[[Any], bool]:
    """What ``where`` asks of one value."""
    if callable(wanted):
        return lambda value: bool(wanted(value))
    if wanted is None:
        return lambda value: value is None or value == () or value == frozenset()
    if kind.is_collection and not isinstance(wanted, (set, frozenset, list, tuple)):
        try:
            member = next(iter(kind.check([wanted])))
        except KindMismatch as error:
            raise WrongKind(f"where {name}: expected one of {error.expected}, given {error.given}") from None
        return lambda value: member in value
    try:
        checked = kind.check(wanted)
    except KindMismatch as error:
        raise WrongKind(f"where {name}: expected {error.expected}, given {error.given}") from None
    return lambda value: bool(value == checked)

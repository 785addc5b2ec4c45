"""Entries that lie evaluated in a store: a list of all of them in memory, each one read when somebody looks into it.

Two parts are handed in: `Columns` say what there is whatever the schema, an `Index` what one schema makes of it (one
verdict an entry, titles, sums). Together they answer what lists ask; the fields come from *pages*, fetched on demand,
a few of which are kept. An entry is two references until then.

Everything here is immutable but for what is kept of pages, and shared by all views that were derived from it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

from vaultsync.schema.cells import Raw, Scalar
from vaultsync.schema.kind import Kind
from vaultsync.schema.kinds import NoteKind, TagsKind
from vaultsync.schema.scalars import FlagKind, ScalarKind, TextKind
from vaultsync.schema.types import Field, Schema
from vaultsync.view.context import Context
from vaultsync.view.decide import Judgement, Status
from vaultsync.view.entry import NO_FIELDS, Entry, Fields, evaluate
from vaultsync.view.index import Index
from vaultsync.view.pages import PAGE, Columns, Layout, MalformedPage, Page, Row, decode_page, encode_page

__all__ = ["KEPT_PAGES", "Pages", "StoredEntry", "Table"]

KEPT_PAGES: Final = 32
"""Decoded pages kept: whoever goes through a list in order decodes each page once, whoever jumps about a few."""


# ---- pages ------------------------------------------------------------------------------------------------------
class Pages:
    """The entries of a table, page by page.

    ``fetch(number)`` gives the bytes of a page and raises `MalformedPage` when it is gone or not as it was written;
    ``recover(ids)`` then gives the same entries from elsewhere, slowly.
    """

    def __init__(
        self,
        ids: Sequence[str],
        fetch: Callable[[int], bytes],
        recover: Callable[[Sequence[str]], Sequence[Raw]],
    ) -> None:
        self._ids = ids
        self._fetch = fetch
        self._recover = recover
        self._kept: dict[int, Page] = {}
        self.decoded = 0
        """How many pages were decoded so far: for tests and diagnosis."""

    def row(self, number: int) -> Row:
        """One entry."""
        return self.page(number // PAGE)[number % PAGE]

    def page(self, number: int) -> Page:
        """The entries of one page."""
        found = self._kept.get(number)
        if found is None:
            found = self._read(number)
            self.decoded += 1
            kept = self._kept
            while len(kept) >= KEPT_PAGES:
                kept.pop(next(iter(kept), -1), None)  # the oldest; other threads may do the same
            kept[number] = found
        return found

    def _read(self, number: int) -> Page:
        start = number * PAGE
        ids = self._ids[start : start + PAGE]
        try:
            return decode_page(self._fetch(number), len(ids))
        except MalformedPage:
            return decode_page(encode_page(self._recover(ids)), len(ids))


# ---- a table of entries -----------------------------------------------------------------------------------------
class Table:
    """Columns, index and pages of the same entries, under one schema and one context."""

    __slots__ = (
        "__weakref__",
        "_folded",
        "_plans",
        "_rows",
        "columns",
        "context",
        "index",
        "pages",
        "schema",
        "statuses",
        "types",
    )

    def __init__(self, columns: Columns, index: Index, pages: Pages, schema: Schema, context: Context) -> None:
        """Raises `MalformedPage` when columns and index are not of the same entries."""
        if len(columns.ids) != len(index.numbers):
            raise MalformedPage("the index is not of these entries")
        self.columns = columns
        self.index = index
        self.pages = pages
        self.schema = schema
        self.context = context
        self.statuses = [verdict.decision.status for verdict in index.verdicts]
        """By the number of the verdict, as are ``types``."""
        self.types = [verdict.decision.face or verdict.primary for verdict in index.verdicts]
        self._rows: dict[str, int] | None = None
        self._plans: dict[tuple[Layout, int], _Plan | None] = {}
        self._folded: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.columns.ids)

    def within(self, context: Context) -> Table:
        """The same entries in another context."""
        made = Table(self.columns, self.index, self.pages, self.schema, context)
        made._rows, made._plans, made._folded = self._rows, self._plans, self._folded
        return made

    def entry(self, row: int) -> StoredEntry:
        return StoredEntry(self, row)

    def row_of(self, entry_id: str) -> int | None:
        """Where an entry stands."""
        if self._rows is None:
            self._rows = dict(zip(self.columns.ids, range(len(self)), strict=True))
        return self._rows.get(entry_id)

    def rows(self, *statuses: Status) -> Sequence[int]:
        """The rows of entries with these statuses, ascending."""
        wanted = [status in statuses for status in self.statuses]
        if all(wanted):
            return range(len(self))
        if not any(wanted):
            return range(0)
        return array("I", compress(range(len(self)), map(wanted.__getitem__, self.index.numbers)))

    def fields(self, row: int) -> tuple[Fields, Fields] | None:
        """What `Entry` would decode of an entry, by a shorter way; None where there is none."""
        stored = self.pages.row(row)
        number = self.index.numbers[row]
        try:
            plan = self._plans[stored.layout, number]
        except KeyError:
            plan = self._plans[stored.layout, number] = _plan(stored.layout, self.index.verdicts[number])
        return None if plan is None else plan.read(stored)

    def folded(self) -> list[str | None]:
        """Row -> its searchable text, as far as somebody asked for it."""
        if self._folded is None:
            self._folded = [None] * len(self)
        return self._folded


# ---- reading fields without looking at every key ------------------------------------------------------------------
class _Step(NamedTuple):
    """Where one field stands in a layout."""

    name: str
    place: int  # of its plain key; -1: there is none
    decode: Callable[[Scalar], Any] | None  # of the plain key's value; None: it is shown as it is stored
    kind: Kind


class _Plan:
    """Where the fields of one shape stand in one layout, when everything that is stored fits."""

    __slots__ = ("_past", "_secret", "_shown")

    def __init__(self, shown: list[_Step], past: list[_Step], secret: frozenset[str]) -> None:
        self._shown = shown
        self._past = past
        self._secret = secret

    def read(self, row: Row) -> tuple[Fields, Fields]:
        shown = _values(self._shown, row.values, row.elements)
        past = _values(self._past, row.values, row.elements) if self._past else None
        return Fields(shown, self._secret) if shown else NO_FIELDS, Fields(past, self._secret) if past else NO_FIELDS


def _values(
    steps: Iterable[_Step], values: Sequence[Any], elements: Mapping[str, Mapping[str, Scalar]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, place, decode, kind in steps:
        if elements and (cells := elements.get(name)) is not None and kind.has_elements:
            if type(kind) is TagsKind:
                start = len(name) + 1
                value: Any = frozenset([key[start:] for key, cell in cells.items() if cell is True]) or None
            else:
                value = kind.read(name, {**cells, name: values[place]} if place >= 0 else cells)
        elif place < 0:
            continue
        else:
            value = values[place] if decode is None else decode(values[place])
        if value is not None:
            found[name] = value
    return found


def _plan(layout: Layout, verdict: Judgement) -> _Plan | None:
    """None where lenses compute, or where something stored does not fit its field."""
    shape = verdict.shape
    if not verdict.visible:
        return _Plan([], [], shape.secret)
    if shape.steps or not verdict.unknown.isdisjoint(shape.known):
        return None
    return _Plan(_steps(shape.active, layout), _steps(shape.past, layout), shape.secret)


def _steps(fields: Iterable[Field], layout: Layout) -> list[_Step]:
    found = []
    for field in fields:
        kind, place = field.kind, layout.places.get(field.name, -1)
        if isinstance(kind, ScalarKind):
            plain = isinstance(kind, (TextKind, FlagKind))
            if place >= 0:
                found.append(_Step(field.name, place, None if plain else kind.decode, kind))
        else:  # a note's plain key is a line of it; those of other kinds mean nothing
            found.append(_Step(field.name, place if isinstance(kind, NoteKind) else -1, None, kind))
    return found


# ---- entries ------------------------------------------------------------------------------------------------------
class StoredEntry(Entry):
    """An entry of a table: what the lists ask is known, everything else is read when somebody asks."""

    __slots__ = ("_read", "_row", "_table")

    def __init__(self, table: Table, row: int) -> None:
        self._table = table
        self._row = row
        self._read: Raw | None = None
        self._shown = self._retired = self._folded = None

    # What `Entry` keeps in itself:
    @property
    def _id(self) -> str:  # type: ignore[override]
        return self._table.columns.ids[self._row]

    @property
    def _schema(self) -> Schema:  # type: ignore[override]
        return self._table.schema

    @property
    def _context(self) -> Context:  # type: ignore[override]
        return self._table.context

    @property
    def _judgement(self) -> Judgement:  # type: ignore[override]
        index = self._table.index
        return index.verdicts[index.numbers[self._row]]

    @property
    def _raw(self) -> Raw:  # type: ignore[override]
        if self._read is None:
            self._read = self._table.pages.row(self._row).raw
        return self._read

    # What the columns know:
    @property
    def id(self) -> str:
        return self._table.columns.ids[self._row]

    @property
    def status(self) -> Status:
        table = self._table
        return table.statuses[table.index.numbers[self._row]]

    @property
    def type(self) -> str:
        table = self._table
        return table.types[table.index.numbers[self._row]]

    @property
    def title(self) -> str | None:
        return self._table.index.titles[self._row]

    @property
    def created(self) -> int:
        return self._table.columns.created[self._row]

    @property
    def modified(self) -> int:
        return self._table.columns.modified[self._row]

    @property
    def source(self) -> str | None:
        return self._table.columns.sources.get(self._row)

    def _decoded(self) -> tuple[Fields, Fields]:
        if self._shown is None or self._retired is None:
            found = self._table.fields(self._row)
            if found is None:
                return super()._decoded()
            self._shown, self._retired = found
        return self._shown, self._retired

    def _searchable(self) -> str:
        folded = self._table.folded()
        found = folded[self._row]
        if found is None:
            found = folded[self._row] = super()._searchable()
        return found

    def _in(self, context: Context) -> Entry:
        return evaluate(self.id, self._raw, self._schema, context)

    def __reduce__(self) -> Any:
        return evaluate, (self.id, self._raw, self._schema, self._context)

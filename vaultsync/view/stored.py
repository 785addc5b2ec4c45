"""Entries that lie evaluated in a store: a list of all of them in memory, each one read when somebody looks into it.

Two parts are handed in: `Columns` say what there is whatever the schema, an `Index` what one schema makes of it (one
verdict an entry, titles, sums). Together they answer what lists ask; the fields come from *pages*, fetched on demand,
a few of which are kept. An entry is two references until then.

Everything here is immutable but for what is kept of pages, and shared by all views that were derived from it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress, takewhile
from operator import attrgetter, itemgetter
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
AHEAD: Final = 16
"""Pages fetched at once by whoever goes through them in order."""


class Pages:
    """The entries of a table, page by page.

    ``fetch(number, many)`` gives the bytes of that page and of as many as are wanted from there on, those left out that
    are gone or not as they were written; ``recover(ids)`` then gives the same entries from elsewhere, slowly.
    """

    def __init__(
        self,
        ids: Sequence[str],
        fetch: Callable[[int, int], dict[int, bytes]],
        recover: Callable[[Sequence[str]], Sequence[Raw]],
    ) -> None:
        self._ids = ids
        self._fetch = fetch
        self._recover = recover
        self._kept: dict[int, Page] = {}
        self._ahead: dict[int, bytes] = {}
        self.decoded = 0
        """How many pages were decoded so far: for tests and diagnosis."""

    def row(self, number: int) -> Row:
        """One entry."""
        return self.page(number // PAGE)[number % PAGE]

    def page(self, number: int) -> Page:
        """The entries of one page."""
        found = self._kept.get(number)
        if found is None:
            data = self._ahead.pop(number, None)
            if data is None:
                # Whoever has read the page before goes through them in order: fetch some at once.
                many = AHEAD if number - 1 in self._kept else 1
                fetched = self._fetch(number, min(many, -(-len(self._ids) // PAGE) - number))
                data = fetched.pop(number, None)
                self._ahead = fetched
            found = self._read(number, data)
            self.decoded += 1
            kept = self._kept
            while len(kept) >= KEPT_PAGES:
                kept.pop(next(iter(kept), -1), None)  # the oldest; other threads may do the same
            kept[number] = found
        return found

    def _read(self, number: int, data: bytes | None) -> Page:
        start = number * PAGE
        ids = self._ids[start : start + PAGE]
        try:
            if data is None:
                raise MalformedPage("the page is not there")
            return decode_page(data, len(ids))
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
        number = self.index.numbers[row]
        return StoredEntry(
            self, row, self.columns.ids[row], self.index.titles[row], self.types[number], self.statuses[number]
        )

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
        page = self.pages.page(row // PAGE)
        values = page.rows[row % PAGE]
        at = page.layouts[values[-1]], self.index.numbers[row]
        try:
            plan = self._plans[at]
        except KeyError:
            plan = self._plans[at] = _plan(at[0], self.index.verdicts[at[1]])
        return None if plan is None else plan.read(values, values[-2])

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

    __slots__ = ("_get", "_names", "_past", "_rest", "_secret", "_shown")

    def __init__(self, shown: list[_Step], past: list[_Step], secret: frozenset[str]) -> None:
        self._shown = shown
        self._past = past
        self._secret = secret
        plain = list(takewhile(lambda step: step.place >= 0 and step.decode is None, shown))
        self._names = tuple(step.name for step in plain)
        self._get = itemgetter(*(step.place for step in plain)) if len(plain) > 1 else None
        self._rest = shown[len(plain) :]

    def read(self, values: Sequence[Any], elements: Mapping[str, Mapping[str, Scalar]] | None) -> tuple[Fields, Fields]:
        """``elements``: None when there are none."""
        past = _values(self._past, values, elements) if self._past else None
        retired = Fields.of(past, self._secret) if past else NO_FIELDS
        if self._get is not None:
            cells = self._get(values)
            if None not in cells and (not elements or elements.keys().isdisjoint(self._names)):
                shown = Fields(zip(self._names, cells, strict=True))  # by far the most: nothing looked at one by one
                if self._rest:
                    dict.update(shown, _values(self._rest, values, elements))
                shown._secret = self._secret
                return shown, retired
        found = _values(self._shown, values, elements)
        return Fields.of(found, self._secret) if found else NO_FIELDS, retired


def _values(
    steps: Iterable[_Step], values: Sequence[Any], elements: Mapping[str, Mapping[str, Scalar]] | None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, place, decode, kind in steps:
        if elements and (cells := elements.get(name)) is not None and kind.has_elements:
            if type(kind) is TagsKind:
                at = len(name)  # a position ("@") of a tag means nothing, and is no reason to doubt the rest
                tags = [key[at + 1 :] for key, cell in cells.items() if cell is True and key[at] == "/"]
                value: Any = frozenset(tags) or None
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
    """An entry of a table: what lists ask is known, everything else is read when somebody asks."""

    __slots__ = ("_name", "_read", "_row", "_standing", "_table", "_titled", "_typed")

    def __init__(self, table: Table, row: int, entry_id: str, title: str | None, type: str, status: Status) -> None:
        self._table = table
        self._row = row
        self._name = entry_id
        self._titled = title
        self._typed = type
        self._standing = status
        self._shown = None
        self._read: Raw | None = None

    # Quicker than functions, and no less read-only:
    id = property(attrgetter("_name"), doc=Entry.id.__doc__)
    title = property(attrgetter("_titled"), doc=Entry.title.__doc__)
    type = property(attrgetter("_typed"), doc=Entry.type.__doc__)
    status = property(attrgetter("_standing"), doc=Entry.status.__doc__)

    # What `Entry` keeps in itself:
    @property
    def _id(self) -> str:  # type: ignore[override]
        return self._name

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
    def created(self) -> int:
        return self._table.columns.created[self._row]

    @property
    def modified(self) -> int:
        return self._table.columns.modified[self._row]

    @property
    def source(self) -> str | None:
        return self._table.columns.sources.get(self._row)

    @property
    def fields(self) -> Fields:
        return self._shown if self._shown is not None else self._decoded()[0]

    def _decoded(self) -> tuple[Fields, Fields]:
        if self._shown is None:
            found = self._table.fields(self._row)
            if found is None:
                self._retired = None
                return super()._decoded()
            self._shown, self._retired = found
        return self._shown, self._retired  # type: ignore[return-value]

    def _searchable(self) -> str:
        folded = self._table.folded()
        found = folded[self._row]
        if found is None:
            self._folded = None
            found = folded[self._row] = super()._searchable()
        return found

    def _in(self, context: Context) -> Entry:
        return evaluate(self.id, self._raw, self._schema, context)

    def __reduce__(self) -> Any:
        return evaluate, (self.id, self._raw, self._schema, self._context)

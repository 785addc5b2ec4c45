"""Entries that lie evaluated in a store: a list of all of them in memory, each one read when somebody looks into it.

Two parts are handed in: `Columns` say what there is whatever the schema, an `Index` what one schema makes of it (one
verdict an entry, titles, sums). Together they answer what lists ask; the fields come from *pages*, fetched on demand,
a few of which are kept. An entry is two references until then.

Everything here is immutable but for what is kept of pages, and shared by all views that were derived from it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, groupby, repeat
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

from vaultsync.schema.cells import Raw
from vaultsync.schema.types import Schema
from vaultsync.view.columns import Columns
from vaultsync.view.context import Context
from vaultsync.view.decide import Judgement, Status
from vaultsync.view.entry import Entry, Fields, evaluate
from vaultsync.view.index import Index
from vaultsync.view.packed import MalformedPage, uncollected
from vaultsync.view.pages import PAGE, Layout, Page, decode_page, encode_page
from vaultsync.view.plans import Plan, Shown, plan_of

__all__ = ["KEPT_PAGES", "Content", "Pages", "StoredEntry", "Summary", "Table"]

KEPT_PAGES: Final = 16
"""Decoded pages kept: whoever goes through a list in order decodes each page once, whoever jumps about a few."""


# ---- pages ------------------------------------------------------------------------------------------------------
AHEAD: Final = 8
"""Pages fetched at once by whoever goes through them in order."""


class Pages:
    """The entries of a table, page by page.

    ``fetch(number, many)`` gives the bytes of that page and of as many as are wanted from there on, those left out that
    are gone or not as they were written; ``recover(ids)`` then gives the same entries from elsewhere, slowly.
    """

    def __init__(
        self,
        columns: Columns,
        fetch: Callable[[int, int], dict[int, bytes]],
        recover: Callable[[Sequence[str]], Sequence[Raw]],
    ) -> None:
        self._columns = columns
        self._fetch = fetch
        self._recover = recover
        self._kept: dict[int, Page] = {}
        self._ahead: dict[int, bytes] = {}
        self.decoded = 0
        """How many pages were decoded so far: for tests and diagnosis."""

    def raw(self, number: int) -> Raw:
        """One entry as a mapping; a new one each time."""
        return self.page(number // PAGE).raw(number % PAGE)

    def page(self, number: int) -> Page:
        """The entries of one page."""
        found = self._kept.get(number)
        if found is None:
            data = self._ahead.pop(number, None)
            if data is None:
                # Whoever has read the page before goes through them in order: fetch some at once.
                many = AHEAD if number - 1 in self._kept else 1
                fetched = self._fetch(number, min(many, -(-len(self._columns.ids) // PAGE) - number))
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
        ids = self._columns.ids[start : start + PAGE]
        try:
            if data is None:
                raise MalformedPage("the page is not there")
            return decode_page(data, len(ids), self._columns, start)
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
        self._plans: dict[tuple[Layout, int], Plan | None] = {}
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
        group, place = self.pages.page(row // PAGE).find(row % PAGE)
        plan = self._plan(group.layout, self.index.numbers[row])
        return None if plan is None else plan.read(group, place)

    def shown(self, row: int) -> Fields | None:
        """What `fields` would give first. Whoever looks at two entries of a page will look at more: all of them are
        made together then."""
        number = row // PAGE
        page = self.pages.page(number)
        if page.shown is None:
            page.looks += 1
            if page.looks == 1:
                found = self.fields(row)
                return None if found is None else found[0]
            page.shown = self._shown(page, number)
        found_here: Fields | None = page.shown[row % PAGE]
        return found_here

    def contents(self, rows: Sequence[int]) -> list[Content]:
        """Some rows, ascending, with everything that is shown of them."""
        made: list[Content] = []
        with uncollected():
            for number, some in groupby(rows, PAGE.__rfloordiv__):
                page, here = self._contents(number), list(some)
                start = number * PAGE
                made += page if len(here) == len(page) else [page[row - start] for row in here]
        return made

    def _contents(self, number: int) -> list[Content]:
        """Every entry of a page."""
        columns, page, start = self.columns, self.pages.page(number), number * PAGE
        part = slice(start, start + len(page))
        verdicts = self.index.numbers[part]
        told = columns.ids[part], self.index.titles[part], columns.created[part], columns.modified[part]
        made: list[Any] = [None] * len(page)
        for group in page.groups:
            members = group.members
            verdict = verdicts[members[0]]
            alike = len(set(map(verdicts.__getitem__, members))) == 1
            plan = self._plan(group.layout, verdict) if alike else None
            rows = None if plan is None else plan.columns(group)
            if plan is None or rows is None:
                singly: Iterable[int] = members
            else:
                pick: _Pick = itemgetter(*members) if len(members) > 1 else _only(members[0])
                ids, titles, created, modified = map(pick, told)
                type_, status = repeat(self.types[verdict]), repeat(self.statuses[verdict])
                cells = zip(ids, titles, type_, status, created, modified, repeat(plan.shown), *rows, strict=False)
                for member, content in zip(members, map(tuple.__new__, repeat(Content), cells), strict=True):
                    made[member] = content
                singly = map(members.__getitem__, group.others)
            for member in singly:
                made[member] = Content.of(self.entry(start + member))
        return made

    def _shown(self, page: Page, number: int) -> list[Fields | None]:
        """What is shown of each entry of a page; None where there is no short way."""
        shown: list[Fields | None] = [None] * len(page)
        start = number * PAGE
        verdicts = self.index.numbers[start : start + len(page)]
        for group in page.groups:
            if len(here := set(map(verdicts.__getitem__, group.members))) == 1:
                plan = self._plan(group.layout, here.pop())
                if plan is not None:
                    for member, fields in zip(group.members, plan.read_all(group), strict=True):
                        shown[member] = fields
                continue  # by far the most
            for place, member in enumerate(group.members):
                plan = self._plan(group.layout, verdicts[member])
                if plan is not None:
                    shown[member] = plan.read_shown(group, place)
        return shown

    def _plan(self, layout: Layout, number: int) -> Plan | None:
        at = layout, number
        try:
            return self._plans[at]
        except KeyError:
            plan = self._plans[at] = plan_of(layout, self.index.verdicts[number])
            return plan

    def folded(self) -> list[str | None]:
        """Row -> its searchable text, as far as somebody asked for it."""
        if self._folded is None:
            self._folded = [None] * len(self)
        return self._folded


# ---- what is told in bulk ------------------------------------------------------------------------------------------
class Summary(NamedTuple):
    """What a list shows of an entry."""

    id: str
    title: str | None
    type: str
    status: Status


class Content(tuple[Any, ...]):
    """An entry with everything that is shown of it. No ``repr`` of it, or of its ``fields``, shows a secret.

    One tuple an entry, as these are made by the hundred thousand: what is named below, `Shown`, then the values of the
    fields.
    """

    __slots__ = ()

    id: str = property(itemgetter(0))  # type: ignore[assignment]
    title: str | None = property(itemgetter(1))  # type: ignore[assignment]
    type: str = property(itemgetter(2))  # type: ignore[assignment]
    status: Status = property(itemgetter(3))  # type: ignore[assignment]
    created: int = property(itemgetter(4))  # type: ignore[assignment]
    modified: int = property(itemgetter(5))  # type: ignore[assignment]

    @classmethod
    def of(cls, entry: Entry) -> Content:
        told = entry.id, entry.title, entry.type, entry.status, entry.created, entry.modified
        fields = entry.fields
        return cls((*told, Shown.of(fields), *fields.values()))

    @property
    def fields(self) -> Fields:
        """The values by their names: what ``entry.fields`` gives. Made when it is asked for."""
        shown: Shown = self[_SHOWN]
        return shown.fields(self[_SHOWN + 1 :])

    def __repr__(self) -> str:
        names = ("id", "title", "type", "status", "created", "modified", "fields")
        return f"Content({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


_SHOWN: Final = 6
_Pick = Callable[[Any], tuple[Any, ...]]


def _only(place: int) -> _Pick:
    return lambda column: (column[place],)


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
        self._shown = self._retired = None
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
            self._read = self._table.pages.raw(self._row)
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
        shown = self._shown
        if shown is None:
            shown = self._table.shown(self._row)
            if shown is None:
                return self._decoded()[0]
            self._shown = shown
        return shown

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
            self._folded = None
            found = folded[self._row] = super()._searchable()
        return found

    def _in(self, context: Context) -> Entry:
        return evaluate(self.id, self._raw, self._schema, context)

    def __reduce__(self) -> Any:
        return evaluate, (self.id, self._raw, self._schema, self._context)

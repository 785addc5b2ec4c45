"""The shelf: what makes opening quick. The entries of a vault as of a journal position, sealed in the vault's file, so
that lists, fields and settings are read without the document.

Parts, each a row of the store's cache (`store/cached.py`), sealed for their place::

    LOG      0      the base: generation, position, heads, the flat sections, how many entries
             1 …    one for each transaction since: the entries that it touched, as they are then; now and then the
                    first of them is a sum of those before
    COLUMNS  0      id, created, modified, source of every entry of the base, in the order of (created, id)
    INDEX    0      what one schema makes of them: verdicts, titles, sums
    PAGES    n      128 entries of the base each

Theory. **The journal is the truth**; a shelf that is not exactly of the journal's last position is not used. A base is
immutable: it has a random generation that its rows are sealed with, so a page of another base, vault or place does not
open. Records form a chain (each names the one before), so none can be missing or exchanged, and the last one names the
position and the hash of the change that stands there, so that an older shelf, put back, is noticed. Whatever does not
fit into this is dropped and made anew from the document; there is no repair.

Records and base depend on no schema. The index does, and is made anew from the pages for another one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from vaultsync.crypto.rows import LocalKey
from vaultsync.errors import BadSeal, DamagedStore
from vaultsync.schema.cells import Raw
from vaultsync.store import Reading, Writing
from vaultsync.vault.touches import Touches
from vaultsync.view.columns import Columns, decode_columns, encode_columns
from vaultsync.view.index import Index, decode_index, encode_index
from vaultsync.view.packed import MalformedPage, pack, unpack
from vaultsync.view.pages import PAGE

__all__ = ["Base", "Flat", "Shelf", "State"]

CACHE: Final = "cache"
"""What the rows are sealed for."""
FORMAT: Final = 3
"""Of everything here, pages and index among it. A shelf of another one is made anew."""
LOG, COLUMNS, INDEX, PAGES = range(4)
LEAST_LOG: Final = 1_024
LOG_SHARE: Final = 16
"""A base is made anew when the records since hold more entries than this, or than this share of it: reading them costs
a few microseconds each at every opening, making a base about ten of each entry."""

MOST_LOOSE: Final = 64
"""Records that are read one by one; more (and more than a share of what they hold) are summed up in one."""

Flat = Mapping[str, Mapping[str, Any]]
"""The flat sections of the document by name."""


_UNUSABLE: Final = (BadSeal, MalformedPage, DamagedStore, TypeError, ValueError, KeyError)
"""What reading raises that is not there, not as written, or not of this vault."""


class State(NamedTuple):
    """What the journal says that a shelf must be of: its last position, the hash of the change there (empty when that
    is compacted), and the document's heads."""

    position: int
    tip: bytes
    heads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Base:
    """What is written down of a whole vault."""

    columns: Columns
    index: Index
    digest: bytes
    """Of the schema that the index is for (`evaluation`)."""
    pages: Iterable[bytes]


class _Mark(NamedTuple):
    """The last record that this process knows."""

    generation: bytes
    number: int
    id: bytes
    state: State


@dataclass
class Counts:
    """What was done so far: for tests and diagnosis."""

    rows_read: int = 0
    rows_written: int = 0
    pages_read: int = 0
    records_read: int = 0


@dataclass
class _Said:
    """What the records since the base say."""

    entries: dict[str, Raw | None] = field(default_factory=dict)
    flat: dict[str, Mapping[str, Any]] = field(default_factory=dict)


class Shelf:
    """The shelf of one open file. Whoever uses it holds the ledger's lock; `page` needs none."""

    def __init__(self, key: Callable[[], LocalKey], entropy: Callable[[int], bytes]) -> None:
        self._key = key
        self._entropy = entropy
        self._mark: _Mark | None = None
        self._next: _Mark | None = None  # what a transaction has written and not yet committed
        self._said = _Said()
        self._spoilt = False
        self._base_id = b""
        self._summed_at = 0  # the number of the first record, which may be the sum of all before it
        self._sums = False
        self.size = 0
        """Entries of the base."""
        self.heads: tuple[bytes, ...] = ()
        """What the document's heads were when the base was made."""
        self.counts = Counts()

    # ---- where it stands ------------------------------------------------------------------------------------------
    @property
    def state(self) -> State | None:
        """What it is of; None while none is in use."""
        return None if self._mark is None else self._mark.state

    @property
    def generation(self) -> bytes | None:
        return None if self._mark is None else self._mark.generation

    @property
    def flat(self) -> Flat:
        """The flat sections as of `state`."""
        return self._said.flat

    @property
    def entries(self) -> Mapping[str, Raw | None]:
        """Every entry that changed since the base, as it is now (None: gone)."""
        return self._said.entries

    @property
    def heavy(self) -> bool:
        """Whether so much changed since the base that it should be made anew."""
        return len(self._said.entries) > max(LEAST_LOG, self.size // LOG_SHARE)

    def leave(self) -> None:
        """Use it no longer: the next `attach` reads it again."""
        self._mark = self._next = None
        self._said = _Said()

    def spoil(self) -> None:
        """Something in it is not as it was written: use it no longer, and never this one again."""
        self.leave()
        self._spoilt = True

    # ---- reading --------------------------------------------------------------------------------------------------
    def attach(self, reading: Reading) -> State | None:
        """Read base and records; what they are of, None when that is not the journal's last position."""
        self.leave()
        if self._spoilt:
            return None
        try:
            rows = reading.cached_rows(LOG)
            if not rows or rows[0][0] != 0:
                return None
            self._begin(rows[0][1])
            for number, sealed in rows[1:]:
                self._follow(number, sealed)
            if self._is_of(reading):
                return self.state
        except _UNUSABLE:
            pass
        self.leave()
        return None

    def _begin(self, sealed: bytes) -> None:
        record = self._open(LOG, 0, sealed, b"")
        format_, id_, generation, position, tip, heads, size, flat = unpack(record)
        if format_ != FORMAT:
            raise MalformedPage("a shelf of another format")
        self._mark = _Mark(generation, 0, id_, State(position, tip, tuple(heads)))
        self._base_id, self._summed_at = id_, 0
        self._said = _Said({}, flat)
        self.size, self.heads = size, tuple(heads)

    def _follow(self, number: int, sealed: bytes) -> tuple[Mapping[str, Raw | None], bool]:
        """Take in the next record; returns what it says changed, and whether a flat section did."""
        mark = self._mark
        if mark is None or number <= mark.number:
            raise MalformedPage("a record is out of order")
        id_, before, position, tip, heads, entries, flat = unpack(self._open(LOG, number, sealed, mark.generation))
        if before != mark.id:
            raise MalformedPage("a record of another line")
        self.counts.records_read += 1
        if mark.number == 0:
            self._summed_at = number
        self._mark = _Mark(mark.generation, number, id_, State(position, tip, tuple(heads)))
        changed = dict(entries)
        self._said.entries.update(changed)
        if flat is not None:
            self._said.flat = flat
        return changed, flat is not None

    def _is_of(self, reading: Reading) -> bool:
        mark = self._mark
        if mark is None or mark.state.position != reading.position():
            return False
        tip = reading.hash_at(mark.state.position)
        return tip is None or tip == mark.state.tip

    def advance(self, reading: Reading) -> Touches | None:
        """Take in what others recorded since; returns what changed, or None when this one is of no use any more."""
        mark = self._mark
        if mark is None:
            return None
        try:
            if mark.number and mark.state.position == reading.position() and reading.last_cached(LOG) == mark.number:
                return Touches()  # a newer base would begin with number 0, and more records with a later position
            rows = reading.cached_rows(LOG, mark.number)
            if not rows or rows[0][0] != mark.number or not self._is_mine(mark, rows[0][1]):
                return self._summed(reading)
            touches = Touches()
            for number, sealed in rows[1:]:
                changed, flat = self._follow(number, sealed)
                touches.entries |= changed.keys()
                touches.flat |= flat
            if self._is_of(reading):
                return touches
        except _UNUSABLE:
            pass
        self.leave()
        return None

    def _summed(self, reading: Reading) -> Touches | None:
        """The record that was the last one here is there no more: others summed the records up, or made another base.
        What is different then; None after another base."""
        before, generation = self._said, self.generation
        if self.attach(reading) is None:
            return None
        if self.generation != generation:
            self.leave()
            return None
        now = self._said
        ids = before.entries.keys() | now.entries.keys()
        changed = {each for each in ids if each not in before.entries or before.entries[each] != now.entries.get(each)}
        return Touches(changed, now.flat != before.flat)

    def _is_mine(self, mark: _Mark, sealed: bytes) -> bool:
        record = unpack(self._open(LOG, mark.number, sealed, mark.generation if mark.number else b""))
        return bool(record[0 if mark.number else 1] == mark.id)

    def columns(self, reading: Reading) -> Columns:
        """Raises `MalformedPage`."""
        columns = decode_columns(self._read(reading, COLUMNS, 0))
        if len(columns.ids) != self.size:
            raise MalformedPage("the list of entries is not whole")
        return columns

    def index(self, reading: Reading, digest: bytes, schema: Any) -> Index | None:
        """None when it is of another schema. Raises `MalformedPage`."""
        made_for, data = unpack(self._read(reading, INDEX, 0))
        return decode_index(data, schema) if made_for == digest else None

    def pages(self, reading: Reading, generation: bytes, number: int, many: int) -> dict[int, bytes]:
        """Pages of a base by their numbers, those that do not open left out. Needs no lock; raises `DamagedStore`."""
        found = {}
        for at, sealed in reading.cached_rows(PAGES, number, number + many - 1):
            with contextlib.suppress(BadSeal):
                found[at] = self._open(PAGES, at, sealed, generation)
                self.counts.pages_read += 1
        return found

    def holds(self, reading: Reading, generation: bytes) -> bool:
        """Whether the file still has the base of this generation."""
        try:
            sealed = reading.cached(LOG, 0)
            return sealed is not None and unpack(self._open(LOG, 0, sealed, b""))[2] == generation
        except (BadSeal, MalformedPage, DamagedStore, IndexError):
            return True  # and is damaged

    def _read(self, reading: Reading, part: int, number: int, generation: bytes | None = None) -> bytes:
        generation = self.generation if generation is None else generation
        try:
            sealed = reading.cached(part, number)
            if sealed is None or generation is None:
                raise MalformedPage("a row is missing")
            return self._open(part, number, sealed, generation)
        except (BadSeal, DamagedStore):
            raise MalformedPage("a row does not open") from None

    def _open(self, part: int, number: int, sealed: bytes, generation: bytes) -> bytes:
        self.counts.rows_read += 1
        return self._key().open(CACHE, f"{part}/{number}", sealed, generation)

    # ---- writing: inside somebody's transaction ---------------------------------------------------------------------
    def record(self, writing: Writing, state: State, entries: Mapping[str, Raw | None], flat: Flat | None) -> None:
        """Note what a transaction changed; in force from `committed`. Raises `DamagedStore` with the rest of the
        transaction untouched."""
        mark = self._mark
        if mark is None:
            return
        id_, number, before = self._entropy(16), mark.number + 1, mark.id
        summed = number - self._summed_at > max(MOST_LOOSE, len(self._said.entries) // LOG_SHARE)
        if summed:
            entries, flat, before = {**self._said.entries, **entries}, flat or self._said.flat, self._base_id
        body = [id_, before, state.position, state.tip, state.heads, list(entries.items()), flat]
        self._next = _Mark(mark.generation, number, id_, state)
        with writing.optional():
            if summed:
                writing.uncache(LOG, 1)
            self._write(writing, LOG, number, pack(body), mark.generation)
        self._sums = summed

    def abandon(self, writing: Writing) -> None:
        """So much changed that noting it is no use."""
        self.leave()
        with writing.optional():
            writing.uncache(LOG)

    def undone(self) -> None:
        """The transaction of `record` is not stored."""
        self._next = None

    def clear(self, writing: Writing) -> None:
        """Everything else changes: leave nothing of it. Raises `DamagedStore`."""
        self.leave()
        for part in (LOG, COLUMNS, INDEX, PAGES):
            writing.uncache(part)

    def committed(self, entries: Mapping[str, Raw | None], flat: Flat | None) -> None:
        """The transaction of `record` is stored."""
        if self._next is not None:
            self._mark, self._next = self._next, None
            if self._sums:
                self._summed_at = self._mark.number
            self._said.entries.update(entries)
            if flat is not None:
                self._said.flat = dict(flat)

    def replace(self, writing: Writing, state: State, base: Base, flat: Flat) -> bytes:
        """Write another base over everything; returns its generation. `attach` afterwards."""
        generation = self._entropy(16)
        self.clear(writing)
        for number, page in enumerate(base.pages):
            self._write(writing, PAGES, number, page, generation)
        self._write(writing, COLUMNS, 0, encode_columns(base.columns), generation)
        self._put_index(writing, base.digest, base.index, generation)
        head = [FORMAT, self._entropy(16), generation, *state, len(base.columns.ids), flat]
        self._write(writing, LOG, 0, pack(head), b"")
        self._spoilt = False
        return generation

    def put_index(self, writing: Writing, digest: bytes, index: Index) -> None:
        """Replace the index by one for another schema."""
        if self.generation is not None:
            self._put_index(writing, digest, index, self.generation)

    def _put_index(self, writing: Writing, digest: bytes, index: Index, generation: bytes) -> None:
        self._write(writing, INDEX, 0, pack([digest, encode_index(index)]), generation)

    def _write(self, writing: Writing, part: int, number: int, body: bytes, generation: bytes) -> None:
        self.counts.rows_written += 1
        writing.cache(part, number, self._key().seal(CACHE, f"{part}/{number}", body, generation))

    # ---- looking after it -------------------------------------------------------------------------------------------
    def damage(self, reading: Reading) -> list[str]:
        """What is wrong with it, in sentences; nothing when all of it opens, or there is none."""
        try:
            if not reading.cached_numbers(LOG):
                return []
            if self.attach(reading) is None:
                return ["It is not of the last change."]
            pages = -(-len(self.columns(reading).ids) // PAGE)
            unpack(self._read(reading, INDEX, 0))
        except (MalformedPage, DamagedStore):
            return ["Its list of entries cannot be read."]
        bad = sum(not self._opens(reading, number) for number in range(pages))
        return [f"{bad} of its {pages} pages cannot be read."] if bad else []

    def _opens(self, reading: Reading, number: int) -> bool:
        try:
            self._read(reading, PAGES, number)
        except MalformedPage:
            return False
        return True

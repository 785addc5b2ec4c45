"""How stored entries are written down in bulk: pages of raw entries, and columns of what lists need of all of them.

Entries of one kind have the same keys, so a page holds each set of keys (a *layout*) once, and of each entry its
values. Keys with an element (a tag, the line of a note, an item) differ from entry to entry and stand with it.

Bytes are our own and were sealed under the local key, so nothing here is defensive against a stranger; it still checks
shapes, because a wrong answer is worse than none: everything that does not fit raises `MalformedPage`.
"""

from __future__ import annotations

import gc
import sys
import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgpack

from vaultsync.schema.cells import Raw, Scalar, owner

__all__ = [
    "PAGE",
    "Columns",
    "Layout",
    "MalformedPage",
    "Page",
    "Row",
    "array_of",
    "bytes_of",
    "decode_columns",
    "decode_page",
    "encode_columns",
    "encode_page",
    "pack",
    "uncollected",
    "unpack",
]

PAGE: Final = 64
"""Entries of a page: one is decoded to look at one entry, and all of them to look at everything."""


class MalformedPage(Exception):
    """What was kept does not have the shape that it was written in. Internal: the owner makes it again."""


class Layout:
    """The keys that entries of one kind have in common: plain keys of fields, and marks (``$…``). One object for equal
    ones."""

    __slots__ = ("keys", "marks", "places")

    def __init__(self, keys: tuple[str, ...], marks: tuple[str, ...]) -> None:
        self.keys = keys
        self.marks = marks
        self.places = {key: place for place, key in enumerate(keys)}


@lru_cache(maxsize=4096)
def _layout(keys: tuple[str, ...], marks: tuple[str, ...]) -> Layout:
    return Layout(keys, marks)


class Row(NamedTuple):
    """One stored entry: the values of its layout's keys in order (and more behind them), and the cells of its elements
    by field."""

    layout: Layout
    values: Sequence[Any]
    elements: Mapping[str, Mapping[str, Scalar]]

    @property
    def raw(self) -> Raw:
        """The entry as a mapping; a new one each time. Raises `MalformedPage`."""
        found: dict[str, Scalar] = dict(zip(self.layout.keys, self.values, strict=False))
        found.update(zip(self.layout.marks, unpack(self.values[-3]), strict=True))
        for cells in self.elements.values():
            found.update(cells)
        return found


# ---- pages ------------------------------------------------------------------------------------------------------
def encode_page(raws: Sequence[Raw]) -> bytes:
    """Some entries, in order."""
    layouts: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    rows: list[list[Any]] = []
    for raw in raws:
        keys: list[str] = []
        row: list[Any] = []
        marks: dict[str, Scalar] = {}
        elements: dict[str, dict[str, Scalar]] = {}
        for key, value in raw.items():
            if key[:1] == "$":
                marks[key] = value
            elif "/" in key or "@" in key:
                elements.setdefault(owner(key), {})[key] = value
            else:
                keys.append(key)
                row.append(value)
        number = layouts.setdefault((tuple(keys), tuple(marks)), len(layouts))
        rows.append([*row, pack(list(marks.values())), elements or None, number])  # marks: only who asks decodes them
    return pack([list(layouts), rows])


class Page:
    """A decoded page."""

    __slots__ = ("layouts", "rows")

    def __init__(self, layouts: list[Layout], rows: list[list[Any]]) -> None:
        self.layouts = layouts
        self.rows = rows

    def __getitem__(self, number: int) -> Row:
        row = self.rows[number]
        return Row(self.layouts[row[-1]], row, row[-2] or _NOTHING)

    def __len__(self) -> int:
        return len(self.rows)


def decode_page(data: bytes, count: int) -> Page:
    """The entries of a page of ``count``. Raises `MalformedPage`."""
    try:
        keys, rows = unpack(data)
        layouts = [_layout(tuple(plain), tuple(marks)) for plain, marks in keys]
        sizes = [len(layout.keys) + 3 for layout in layouts]
        if len(rows) != count or any(len(row) != sizes[row[-1]] for row in rows):
            raise MalformedPage("a page does not hold what it should")
    except (TypeError, ValueError, IndexError, AttributeError, KeyError):
        raise MalformedPage("a page cannot be read") from None
    return Page(layouts, rows)


_NOTHING: Final[Mapping[str, Mapping[str, Scalar]]] = {}


# ---- columns ----------------------------------------------------------------------------------------------------
class Columns:
    """What is listed of every entry, whatever the schema: in the order of (created, id)."""

    __slots__ = ("_packed", "_sources", "created", "ids", "modified")

    def __init__(
        self, ids: list[str], created: array[int], modified: array[int], sources: dict[int, str] | bytes
    ) -> None:
        """``sources``: also as they are written down; they are read when somebody asks."""
        self.ids = ids
        self.created = created
        self.modified = modified
        self._packed = sources if isinstance(sources, bytes) else None
        self._sources = None if isinstance(sources, bytes) else sources

    @property
    def sources(self) -> dict[int, str]:
        """Row -> ``$source``, of the entries that have one. Raises `MalformedPage`."""
        if self._sources is None:
            try:
                rows, texts = unpack(self._packed or b"")
                self._sources = dict(zip(array_of("q", rows), texts, strict=True))
            except (TypeError, ValueError):
                raise MalformedPage("where entries came from cannot be read") from None
            self._packed = None
        return self._sources


def encode_columns(columns: Columns) -> bytes:
    sources = columns.sources
    return pack(
        [
            columns.ids,
            bytes_of(columns.created),
            bytes_of(columns.modified),
            pack([bytes_of(array("q", sources)), list(sources.values())]),
        ]
    )


def decode_columns(data: bytes) -> Columns:
    """Raises `MalformedPage`."""
    try:
        ids, created, modified, sources = unpack(data)
        columns = Columns(ids, array_of("q", created), array_of("q", modified), bytes(sources))
    except (TypeError, ValueError):
        raise MalformedPage("the list of entries cannot be read") from None
    if not len(columns.ids) == len(columns.created) == len(columns.modified):
        raise MalformedPage("the list of entries is not whole")
    return columns


def bytes_of(numbers: array[int]) -> bytes:
    """Numbers, little-endian."""
    if sys.byteorder == "big":  # written down little-endian
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def array_of(code: str, data: bytes) -> array[int]:
    """Numbers as `bytes_of` wrote them. Raises ``ValueError``."""
    numbers = array(code)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


# ---- msgpack, and the collector ---------------------------------------------------------------------------------
def pack(value: object) -> bytes:
    """Plain data as bytes. Text as Python holds it: also what no UTF-8 can say comes back as it was."""
    return bytes(msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass"))


def unpack(data: bytes) -> Any:
    """The reverse of `pack`. Raises `MalformedPage`."""
    try:
        with uncollected():
            return msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=False, unicode_errors="surrogatepass")
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError):
        raise MalformedPage("what was kept cannot be read") from None


_pauses = 0
_pausing = threading.Lock()
_resume = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the cyclic collector while many objects are made that are no garbage: it would look at all of them, again
    and again. Nested and concurrent uses count; whoever had turned the collector off keeps it off."""
    global _pauses, _resume  # noqa: PLW0603 - the collector is one for the process, and so is who paused it
    with _pausing:
        if _pauses == 0:
            _resume = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _pausing:
            _pauses -= 1
            if _pauses == 0 and _resume:
                gc.enable()

"""How stored entries are written down in bulk: pages of raw entries, and columns of what lists need of all of them.

Entries of one kind have the same keys, so a page holds each set of keys (a *layout*) once, and the values of its
entries as columns. Of keys with an element those of a set (tags) are a column of names; others (the lines of a note,
items) differ from entry to entry and stand with it. Marks (``$…``) are packed apart: only who asks decodes them.

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
from typing import Any, Final

import msgpack

from vaultsync.schema.cells import Raw, Scalar, owner

__all__ = [
    "PAGE",
    "Columns",
    "Elements",
    "Group",
    "Layout",
    "MalformedPage",
    "Page",
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
    """The keys that entries of one kind have in common: plain keys of fields, fields whose elements say no more than
    that they are there (tags), and marks (``$…``). One object for equal ones."""

    __slots__ = ("keys", "marks", "places", "sets")

    def __init__(self, keys: tuple[str, ...], sets: tuple[str, ...], marks: tuple[str, ...]) -> None:
        self.keys = keys
        self.sets = sets
        self.marks = marks
        self.places = {key: place for place, key in enumerate(keys)}


@lru_cache(maxsize=4096)
def _layout(keys: tuple[str, ...], sets: tuple[str, ...], marks: tuple[str, ...]) -> Layout:
    return Layout(keys, sets, marks)


Elements = Mapping[str, Mapping[str, Scalar]]
"""Cells of elements by field."""


class Group:
    """The entries of a page that have one layout, as columns."""

    __slots__ = ("_marks", "columns", "elements", "holes", "layout", "members")

    def __init__(
        self,
        layout: Layout,
        members: bytes,
        columns: list[list[Any]],
        holes: bool,
        elements: list[Elements | None] | None,
        marks: Any,
    ) -> None:
        self.layout = layout
        self.members = members
        """Where they stand in the page, ascending."""
        self.columns = columns
        """The values of the layout's plain keys, then the elements' names of its sets."""
        self.holes = holes
        """Whether one of them is None."""
        self.elements = elements
        """Of each entry, those that are in no set; None when none has any."""
        self._marks = marks

    def values(self, place: int) -> list[Any]:
        """Of one entry, the cells of all columns."""
        return [column[place] for column in self.columns]

    def cells(self, place: int) -> dict[str, Mapping[str, Scalar]]:
        """Of one entry, every element's cells by field."""
        found: dict[str, Mapping[str, Scalar]] = {}
        for name, column in zip(self.layout.sets, self.columns[len(self.layout.keys) :], strict=True):
            found[name] = {f"{name}/{element}": True for element in column[place]}
        if self.elements is not None:
            found.update(self.elements[place] or {})
        return found

    def raw(self, place: int) -> Raw:
        """One entry as a mapping; a new one each time. Raises `MalformedPage`."""
        if isinstance(self._marks, bytes):
            marks = unpack(self._marks)
            if not isinstance(marks, list) or len(marks) != len(self.layout.marks):
                raise MalformedPage("the marks of a page cannot be read")
            self._marks = marks
        found: dict[str, Scalar] = dict(zip(self.layout.keys, self.values(place), strict=False))
        try:
            for mark, column in zip(self.layout.marks, self._marks, strict=True):
                found[mark] = column[place if len(column) > 1 else 0]
        except (TypeError, IndexError):
            raise MalformedPage("the marks of a page cannot be read") from None
        for cells in self.cells(place).values():
            found.update(cells)
        return found


# ---- pages ------------------------------------------------------------------------------------------------------
def encode_page(raws: Sequence[Raw]) -> bytes:
    """Some entries, in order."""
    groups: dict[Any, tuple[list[int], list[list[Any]], list[Any], list[list[Any]]]] = {}
    for number, raw in enumerate(raws):
        keys: list[str] = []
        row: list[Any] = []
        names: list[str] = []
        marks: list[Any] = []
        elements: dict[str, dict[str, Scalar]] | None = None
        for key, value in raw.items():
            if key[:1] == "$":
                names.append(key)
                marks.append(value)
            elif "/" in key or "@" in key:
                elements = {} if elements is None else elements
                elements.setdefault(owner(key), {})[key] = value
            else:
                keys.append(key)
                row.append(value)
        sets: list[str] = []
        if elements is not None:
            sets = [name for name, cells in elements.items() if _is_set(len(name), cells)]
            row += [[key[len(name) + 1 :] for key in elements.pop(name)] for name in sets]
        layout = (tuple(keys), tuple(sets), tuple(names))
        members, rows, others, marked = groups.setdefault(layout, ([], [], [], []))
        members.append(number)
        rows.append(row)
        others.append(elements or None)
        marked.append(marks)
    packed = []
    for layout, (members, rows, others, marked) in groups.items():
        columns = _columns(rows)
        holes = any(None in column for column in columns)
        packed.append([*layout, bytes(members), columns, holes, others if any(others) else None, pack(_folded(marked))])
    return pack(packed)


def _is_set(at: int, cells: Mapping[str, Scalar]) -> bool:
    return all(value is True and key[at] == "/" for key, value in cells.items())


def _columns(rows: list[list[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))


def _folded(rows: list[list[Any]]) -> list[Sequence[Any]]:
    """Columns; one that says the same text everywhere says it once."""
    columns = _columns(rows)
    return [
        column[:1] if type(column[0]) is str and column.count(column[0]) == len(rows) else column for column in columns
    ]


class Page:
    """A decoded page."""

    __slots__ = ("_size", "groups", "looks", "shown")

    def __init__(self, groups: list[Group], size: int) -> None:
        self.groups = groups
        self._size = size
        self.looks = 0
        self.shown: list[Any] | None = None
        """What the owner keeps of its entries beside it (`Table.shown`)."""

    def find(self, number: int) -> tuple[Group, int]:
        """An entry: its group, and its place there."""
        for group in self.groups:
            if (place := group.members.find(number)) >= 0:
                return group, place
        raise IndexError("no entry at that place")

    def raw(self, number: int) -> Raw:
        """One entry as a mapping; a new one each time. Raises `MalformedPage`."""
        group, place = self.find(number)
        return group.raw(place)

    def __len__(self) -> int:
        return self._size


def decode_page(data: bytes, count: int) -> Page:
    """The entries of a page of ``count``. Raises `MalformedPage`."""
    try:
        groups = [
            _group(_layout(tuple(keys), tuple(sets), tuple(names)), *rest) for keys, sets, names, *rest in unpack(data)
        ]
        members = groups[0].members if len(groups) == 1 else b"".join([group.members for group in groups])
    except (TypeError, ValueError, IndexError, AttributeError, KeyError):
        raise MalformedPage("a page cannot be read") from None
    if len(members) != count or any(map(int.__ne__, sorted(members), range(count))):
        raise MalformedPage("a page does not hold what it should")
    return Page(groups, count)


def _group(layout: Layout, members: bytes, columns: Any, holes: bool, elements: Any, marks: bytes) -> Group:
    size = len(members)
    if (
        type(members) is not bytes
        or type(marks) is not bytes
        or len(columns) != len(layout.keys) + len(layout.sets)
        or len(set(map(len, columns))) > 1
        or (columns and len(columns[0]) != size)
        or (elements is not None and len(elements) != size)
    ):
        raise MalformedPage("a page does not hold what it should")
    return Group(layout, members, columns, holes, elements, marks)


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

"""How stored entries are written down in bulk: pages of raw entries.

Entries of one kind have the same keys, so a page holds each set of keys (a *layout*) once, and the values of its
entries as columns. Of keys with an element those of a set (tags) are a column of names; others (the lines of a note,
items) differ from entry to entry and stand with it. Marks (``$…``) are packed and deflated apart, as only who asks
reads them; a time that the columns of all entries (`view/columns.py`) say as well is not said again.

Bytes are our own and were sealed under the local key, so nothing here is defensive against a stranger; it still checks
shapes, because a wrong answer is worse than none: everything that does not fit raises `MalformedPage`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from vaultsync.schema.cells import Raw, Scalar, owner
from vaultsync.view.columns import Columns
from vaultsync.view.packed import MalformedPage, deflate, inflate, pack, unpack

__all__ = ["PAGE", "Cuts", "Elements", "Group", "Layout", "Page", "decode_page", "encode_page"]

PAGE: Final = 128
"""Entries of a page: one is decoded to look at one entry, and all of them to look at everything."""


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
Times = tuple[Columns, int]
"""The columns of all entries, and the row there of the first entry of a page."""


class Group:
    """The entries of a page that have one layout, as columns."""

    __slots__ = ("_marks", "_times", "columns", "elements", "holes", "layout", "members", "others")

    def __init__(
        self,
        layout: Layout,
        members: bytes,
        columns: list[list[Any]],
        holes: bool,
        elements: list[Elements | None] | None,
        marks: Any,
        times: Times | None = None,
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
        self.others = () if elements is None else [place for place, cells in enumerate(elements) if cells]
        """Which entries have some."""
        self._marks = marks
        self._times = times

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
            marks = unpack(inflate(self._marks))
            if not isinstance(marks, list) or len(marks) != len(self.layout.marks):
                raise MalformedPage("the marks of a page cannot be read")
            self._marks = marks
        found: dict[str, Scalar] = dict(zip(self.layout.keys, self.values(place), strict=False))
        try:
            for mark, column in zip(self.layout.marks, self._marks, strict=True):
                if type(column) is int:
                    found[mark] = self._time(column, place)
                else:
                    found[mark] = column[place if len(column) > 1 else 0]
        except (TypeError, IndexError):
            raise MalformedPage("the marks of a page cannot be read") from None
        for cells in self.cells(place).values():
            found.update(cells)
        return found

    def _time(self, which: int, place: int) -> int:
        """What the columns of all entries say of one."""
        if self._times is None:
            raise IndexError("these entries stand in no columns")
        columns, start = self._times
        return (columns.created, columns.modified)[which][start + self.members[place]]


# ---- pages ------------------------------------------------------------------------------------------------------
class _Cut:
    """Where the parts of an entry stand among its values; one for all entries with the same keys in the same order."""

    __slots__ = ("elements", "keys", "marks", "names", "plain", "sets")

    def __init__(self, keys: tuple[str, ...]) -> None:
        fields: dict[str, list[int]] = {}
        self.plain: list[int] = []
        self.marks: list[int] = []
        for at, key in enumerate(keys):
            if key[:1] == "$":
                self.marks.append(at)
            elif "/" in key or "@" in key:
                fields.setdefault(owner(key), []).append(at)
            else:
                self.plain.append(at)
        self.keys = tuple([keys[at] for at in self.plain])
        self.names = tuple([keys[at] for at in self.marks])
        self.elements = [(name, [(keys[at], at) for at in places]) for name, places in fields.items()]
        self.sets = {
            name: [key[len(name) + 1 :] for key, _ in cells]
            for name, cells in self.elements
            if all(key[len(name)] == "/" for key, _ in cells)
        }
        """Of fields whose elements may say no more than that they are there: the elements' names."""


_MOST_CUTS: Final = 4_096
Cuts = dict[tuple[str, ...], _Cut]
"""What `encode_page` keeps from page to page. Names tags: it should not live longer than the work."""


def encode_page(raws: Sequence[Raw], columns: Columns | None = None, start: int = 0, cuts: Cuts | None = None) -> bytes:
    """Some entries, in order; with columns those of the rows from ``start`` on."""
    times = None if columns is None else (columns, start)
    cuts = {} if cuts is None else cuts
    groups: dict[Any, tuple[list[int], list[list[Any]], list[Any], list[list[Any]]]] = {}
    for number, raw in enumerate(raws):
        keys, values = tuple(raw), list(raw.values())
        cut = cuts.get(keys)
        if cut is None:
            if len(cuts) >= _MOST_CUTS:
                cuts.clear()
            cut = cuts[keys] = _Cut(keys)
        row: list[Any] = [values[at] for at in cut.plain]
        sets: list[str] = []
        elements: dict[str, dict[str, Scalar]] = {}
        for name, cells in cut.elements:
            if name in cut.sets and all(values[at] is True for _, at in cells):
                sets.append(name)
                row.append(cut.sets[name])
            else:
                elements[name] = {key: values[at] for key, at in cells}
        layout = (cut.keys, tuple(sets), cut.names)
        members, rows, others, marked = groups.setdefault(layout, ([], [], [], []))
        members.append(number)
        rows.append(row)
        others.append(elements or None)
        marked.append([values[at] for at in cut.marks])
    packed = []
    for layout, (members, rows, others, marked) in groups.items():
        found = _columns(rows)
        holes = any(None in column for column in found)
        kept = deflate(pack(_folded(marked, _said(times, members))))
        packed.append([*layout, bytes(members), found, holes, others if any(others) else None, kept])
    return pack(packed)


def _said(times: Times | None, members: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """When these entries were created and modified, as the columns say it."""
    if times is None:
        return ()
    columns, start = times
    return tuple(
        tuple([column[start + member] for member in members]) for column in (columns.created, columns.modified)
    )


def _columns(rows: list[list[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))


def _folded(rows: list[list[Any]], said: tuple[tuple[int, ...], ...]) -> list[Sequence[Any] | int]:
    """Columns; one that says the same text everywhere says it once, one that is said elsewhere is a number: where."""
    found: list[Sequence[Any] | int] = []
    for column in _columns(rows):
        kinds = set(map(type, column))
        if kinds == {int} and column in said:
            found.append(said.index(column))
        elif kinds == {str} and column.count(column[0]) == len(rows):
            found.append(column[:1])
        else:
            found.append(column)
    return found


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


def decode_page(data: bytes, count: int, columns: Columns | None = None, start: int = 0) -> Page:
    """The entries of a page of ``count``, written with the same columns. Raises `MalformedPage`."""
    times = None if columns is None else (columns, start)
    try:
        groups = [
            _group(_layout(tuple(keys), tuple(sets), tuple(names)), times, *rest)
            for keys, sets, names, *rest in unpack(data)
        ]
        members = groups[0].members if len(groups) == 1 else b"".join([group.members for group in groups])
    except (TypeError, ValueError, IndexError, AttributeError, KeyError):
        raise MalformedPage("a page cannot be read") from None
    if len(members) != count or any(map(int.__ne__, sorted(members), range(count))):
        raise MalformedPage("a page does not hold what it should")
    return Page(groups, count)


def _group(
    layout: Layout, times: Times | None, members: bytes, columns: Any, holes: bool, elements: Any, marks: bytes
) -> Group:
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
    return Group(layout, members, columns, holes, elements, marks, times)

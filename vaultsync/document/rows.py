"""Many entries on their way from one process to another: what `inspector` reads out of a document for whoever asked.

::

    batch  = msgpack [[layout, ...], [row, ...]]
    layout = [key, ...]                       new ones, numbered through all batches from 0
    row    = [entry id, number of its layout, value, ...]

Entries of one type have the same keys, so keys are told once. Who reads believes no more than the shape: ids ascend,
keys and values are what a document may hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgpack

from ..errors import MalformedChange
from .changes import Scalar

__all__ = ["RowReader", "pack_flat", "pack_rows", "unpack_flat"]

BATCH: Final = 1_000
"""Entries of one batch: few enough to be dealt with while the next one is read."""
_SCALARS: Final = frozenset((str, int, float, bool, type(None)))

Row = dict[str, Scalar]


def pack_rows(entries: Iterable[tuple[str, Mapping[str, Scalar]]]) -> Iterator[bytes]:
    """Entries (ascending ids) in batches."""
    numbers: dict[tuple[str, ...], int] = {}
    coming = iter(entries)
    while batch := list(islice(coming, BATCH)):
        new: list[tuple[str, ...]] = []
        rows = []
        for entry, row in batch:
            layout = tuple(row)
            number = numbers.get(layout)
            if number is None:
                number = numbers[layout] = len(numbers)
                new.append(layout)
            rows.append((entry, number, *row.values()))
        yield _packed((new, rows))


class RowReader:
    """Reads batches in their order."""

    def __init__(self) -> None:
        self._layouts: list[list[str]] = []
        self._last = ""

    def read(self, batch: bytes) -> list[tuple[str, Row]]:
        """Ids and rows. Raises `MalformedChange` for what `pack_rows` does not write."""
        match _unpacked(batch):
            case [list(layouts), list(rows)] if all(map(_is_layout, layouts)):
                self._layouts += layouts
                return [self._row(row) for row in rows]
        raise MalformedChange("entries of a document are not as they are handed over")

    def _row(self, row: Any) -> tuple[str, Row]:
        try:
            entry, number, *values = row
            if type(entry) is str and entry > self._last and type(number) is int and number >= 0:
                made = dict(zip(self._layouts[number], values, strict=True))
                if _SCALARS.issuperset(map(type, values)):
                    self._last = entry
                    return entry, made
        except (TypeError, ValueError, IndexError):
            pass
        raise MalformedChange("an entry of a document is not as it is handed over")


def pack_flat(sections: Mapping[str, Mapping[str, Scalar]]) -> bytes:
    """The flat sections of a document by name."""
    return _packed(sections)


def unpack_flat(data: bytes, names: Iterable[str]) -> dict[str, Row]:
    """The same sections, exactly those ``names``. Raises `MalformedChange`."""
    wanted = set(names)
    match _unpacked(data):
        case dict(sections) if sections.keys() == wanted and all(map(_is_section, sections.values())):
            return sections
    raise MalformedChange("the settings of a document are not as they are handed over")


def _is_layout(layout: Any) -> bool:
    return type(layout) is list and all(type(key) is str for key in layout) and len({*layout}) == len(layout)


def _is_section(section: Any) -> bool:
    return type(section) is dict and all(type(key) is str and type(value) in _SCALARS for key, value in section.items())


def _packed(value: object) -> bytes:
    return bytes(msgpack.packb(value, use_bin_type=True))


def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=True)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError):
        raise MalformedChange("what is handed over of a document cannot be read") from None

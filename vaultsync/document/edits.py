"""Edits: what a caller asks the document to write, and whether a vault can hold it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from math import isfinite
from typing import Final, NamedTuple

from ..errors import WrongKind
from ..limits import MAX_FLAT_KEY_CHARS, MAX_KEY_CHARS, MAX_VALUE_BYTES
from .codec import Scalar
from .layout import ENTRIES, SECTION_OBJECTS, is_entry_id

__all__ = ["DELETED", "Deleted", "Edit", "Edits", "bounded", "check_edits", "grouped"]


class Deleted(Enum):
    """The type of ``DELETED``."""

    DELETED = "deleted"

    def __repr__(self) -> str:
        return "DELETED"


DELETED: Final = Deleted.DELETED
"""The value of an edit that removes its key."""


class Edit(NamedTuple):
    """One key to set or to delete. ``entry`` is empty in the flat sections."""

    section: str
    entry: str
    key: str
    value: Scalar | Deleted


class Edits(NamedTuple):
    """Several keys of one place, in the order in which they are written: a hundred thousand entries are this many
    objects, not twelve times as many."""

    section: str
    entry: str
    values: Mapping[str, Scalar | Deleted]


def grouped(edits: Iterable[Edit | Edits]) -> Iterator[Edits]:
    """Edits of one place that follow each other as one; a key that is written twice begins anew."""
    place: tuple[str, str] = ("", "")
    values: dict[str, Scalar | Deleted] = {}
    for edit in edits:
        if isinstance(edit, Edits):
            if values:
                yield Edits(*place, values)
            place, values = ("", ""), {}
            yield edit
            continue
        section, entry, key, value = edit
        if (section, entry) != place or key in values:
            if values:
                yield Edits(*place, values)
            place, values = (section, entry), {}
        values[key] = value
    if values:
        yield Edits(*place, values)


def bounded(edits: Iterable[Edits], most: int) -> Iterator[Edits]:
    """The same edits, those of more than ``most`` keys in several parts."""
    for group in edits:
        if len(group.values) <= most:
            yield group
            continue
        cells = list(group.values.items())
        for start in range(0, len(cells), most):
            yield Edits(group.section, group.entry, dict(cells[start : start + most]))


def check_edits(edits: Iterable[Edits]) -> None:
    """Whether the gate of every other device would pass these edits; ``WrongKind``, with no value in it, if not."""
    for section, entry, values in edits:
        most = _longest_key(section, entry)
        for key, value in values.items():
            if type(key) is not str or not 0 < len(key) <= most:
                raise WrongKind(f"{_where(section, entry)}: a key is empty or longer than {most} characters")
            if type(value) is str and value.isascii() and len(value) <= MAX_VALUE_BYTES and key.isascii():
                continue  # the usual case, without a call
            try:
                reason = _objection(key, value)
            except UnicodeEncodeError:
                reason = "a lone surrogate, which is not a character"
            if reason is not None:
                raise WrongKind(f"{_where(section, entry)}, key {key!r}: {reason}")


def _where(section: str, entry: str) -> str:
    return f"entry {entry}" if entry else section


def _longest_key(section: str, entry: str) -> int:
    if section not in SECTION_OBJECTS or (section == ENTRIES) != bool(entry) or (entry and not is_entry_id(entry)):
        raise WrongKind(f"there is no place {section!r}, entry {entry!r} in a vault")
    return MAX_KEY_CHARS if entry else MAX_FLAT_KEY_CHARS


def _objection(key: str, value: object) -> str | None:
    """What is wrong with a key or value; ``UnicodeEncodeError`` if one is no text."""
    if not key.isascii():
        key.encode()
    kind = type(value)
    if kind is str:
        size = len(value) if value.isascii() else len(value.encode())  # type: ignore[attr-defined, arg-type]
        return None if size <= MAX_VALUE_BYTES else f"a text larger than {MAX_VALUE_BYTES} bytes"
    if kind is int:
        return None if -(1 << 63) <= value < 1 << 63 else "an integer that does not fit 64 bits"  # type: ignore[operator]
    if kind is float:
        return None if isfinite(value) else "a number that is not finite"  # type: ignore[arg-type]
    return None if kind is bool or value is None or value is DELETED else f"a vault holds no {kind.__name__}"

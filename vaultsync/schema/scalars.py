"""Kinds whose value is one cell: text, secret, number, flag, instant, file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vaultsync.limits import MAX_FILE_REF_BYTES, MAX_SAFE_INT, MAX_VALUE_BYTES
from vaultsync.schema.cells import GONE, Key, Ops, Raw, Scalar, canonical_json, normalise_number, parse_json, storable
from vaultsync.schema.kind import MASK, Kind, KindMismatch, given

__all__ = ["FileKind", "FileRef", "FlagKind", "InstantKind", "NumberKind", "ScalarKind", "TextKind", "as_text"]


class ScalarKind(Kind):
    """A kind whose value is one scalar under the plain key."""

    __slots__ = ()

    def encode(self, value: Any) -> Scalar:
        """The stored form of a checked value."""
        stored: Scalar = value
        return stored

    def decode(self, value: Scalar) -> Any:
        """The shown form of a stored value, None when it has not this kind's shape. Total."""
        raise NotImplementedError

    def read(self, name: str, cells: Raw) -> Any:
        return self.decode(cells.get(name))

    def write(self, name: str, now: Raw, wanted: Any, *, seen: Raw | None, new_id: Callable[[], str]) -> Ops:
        value = self.check(wanted)
        if value == self.read(name, now):
            return {}
        return {name: GONE if value is None else self.encode(value)}

    def first(self, name: str, value: Any, new_id: Callable[[], str]) -> Ops:
        return {name: self.encode(self.check(value))}

    def fits(self, key: Key, value: Scalar) -> bool:
        return not key.sep and (value is None or self.decode(value) is not None)


def as_text(value: object, expected: str) -> str:
    """The value as plain text that the engine can store. Raises ``KindMismatch``."""
    if not isinstance(value, str):
        raise KindMismatch(expected, given(value))
    text = str.__str__(value)  # a subclass (an enumeration's member, say) is stored as the text it is
    if not storable(text):
        size = f"text over {MAX_VALUE_BYTES >> 20} MiB" if len(text) * 4 > MAX_VALUE_BYTES else ""
        raise KindMismatch(expected, size or "text with lone surrogates, which no UTF-8 can hold")
    return text


class TextKind(ScalarKind):
    """``text`` and ``secret``: any text, kept as it is; the empty text is a value."""

    __slots__ = ()

    def check(self, value: Any) -> str | None:
        return None if value is None else as_text(value, self.name)

    def decode(self, value: Scalar) -> str | None:
        return value if isinstance(value, str) else None


class NumberKind(ScalarKind):
    """``number``: Int when integral and within 2**53, else F64. No bools, no NaN, no infinities."""

    __slots__ = ()

    def check(self, value: Any) -> int | float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise KindMismatch(self.name, given(value))
        try:
            return normalise_number(value)
        except ValueError:
            raise KindMismatch(self.name, "a number that is not finite") from None

    def decode(self, value: Scalar) -> int | float | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            return normalise_number(value)
        except ValueError:
            return None


class FlagKind(ScalarKind):
    """``flag``: True or False, and nothing that merely looks like it."""

    __slots__ = ()

    def check(self, value: Any) -> bool | None:
        if value is not None and not isinstance(value, bool):
            raise KindMismatch(self.name, given(value))
        return value

    def decode(self, value: Scalar) -> bool | None:
        return value if isinstance(value, bool) else None


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MS
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MS


class InstantKind(ScalarKind):
    """``instant``: an aware datetime, cut to the millisecond, shown in UTC, stored as ms since 1970."""

    __slots__ = ()

    def check(self, value: Any) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise KindMismatch(self.name, given(value))
        if value.utcoffset() is None:
            raise KindMismatch(self.name, "instant without a time zone")
        shown = self.decode((value - _EPOCH) // _MS)
        if shown is None:
            raise KindMismatch(self.name, "instant before year 1 or after year 9999 in UTC")
        return shown

    def encode(self, value: Any) -> Scalar:
        return int((value - _EPOCH) // _MS)

    def decode(self, value: Scalar) -> datetime | None:
        if isinstance(value, bool) or not isinstance(value, int) or not _FIRST <= value <= _LAST:
            return None
        return _EPOCH + value * _MS


@dataclass(frozen=True, slots=True)
class FileRef:
    """A reference to an attachment: its object ``id`` on the remote (hex), file ``name``, ``size`` in bytes, ``digest``
    of the plain contents (SHA-256, hex) and the ``key`` it is sealed under (text, never shown)."""

    id: str
    name: str
    size: int
    digest: str
    key: str

    def __repr__(self) -> str:
        return f"FileRef(id={self.id!r}, name={self.name!r}, size={self.size}, digest={self.digest!r}, key={MASK})"


_hex = re.compile(r"[0-9a-f]{1,128}").fullmatch


class FileKind(ScalarKind):
    """``file``: stored as the canonical JSON of a ``FileRef``."""

    __slots__ = ()

    def check(self, value: Any) -> FileRef | None:
        if value is None:
            return None
        if not isinstance(value, FileRef):
            raise KindMismatch(self.name, given(value))
        try:
            whole = self.decode(self.encode(value))
        except (TypeError, ValueError):
            whole = None
        if whole != value:
            raise KindMismatch(self.name, "file reference that is malformed or too long")
        return whole

    def encode(self, value: Any) -> Scalar:
        return canonical_json(asdict(value))

    def decode(self, value: Scalar) -> FileRef | None:
        found = parse_json(value, max_bytes=MAX_FILE_REF_BYTES, max_depth=1)
        if not isinstance(found, dict) or found.keys() != {"id", "name", "size", "digest", "key"}:
            return None
        size = found.pop("size")
        if type(size) is not int or not 0 <= size <= MAX_SAFE_INT:
            return None
        if not all(isinstance(text, str) for text in found.values()):
            return None
        if not _hex(found["id"]) or not _hex(found["digest"]):
            return None
        return FileRef(size=size, **found)

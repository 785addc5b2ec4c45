"""Where things stand in a vault's document: the four maps, the ids of entries, and the format's version.

Two levels of maps and scalars, nothing else. The first change of every vault makes the four maps and is byte-identical
everywhere (a fixed actor of sixteen zero bytes), so that vaults which were started apart can still be told to belong
to one format, and so that no device ever creates one of them a second time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ..errors import UpdateRequired
from .codec import Action, Op, OpId, Scalar, chunk_hash, encode

__all__ = [
    "ENTRIES",
    "FLAT_SECTIONS",
    "FORMAT",
    "FORMAT_KEY",
    "GENESIS",
    "GENESIS_ACTOR",
    "GENESIS_HASH",
    "SECTIONS",
    "SECTION_OBJECTS",
    "Format",
    "Place",
    "is_entry_id",
    "new_ulid",
    "parse_format",
    "writable_format",
]

ENTRIES: Final = "entries"
SECTIONS: Final = (ENTRIES, "schemas", "devices", "settings")
"""The maps of the root. ``entries`` holds maps; the others are flat and hold scalars."""
FLAT_SECTIONS: Final = tuple(section for section in SECTIONS if section != ENTRIES)

GENESIS_ACTOR: Final = bytes(16)
GENESIS: Final = encode(GENESIS_ACTOR, 1, 1, (), [Op(None, name, Action.MAKE_MAP, None, ()) for name in SECTIONS])
"""The first change of every vault."""
GENESIS_HASH: Final = chunk_hash(GENESIS)
SECTION_OBJECTS: Final[Mapping[str, OpId]] = {name: (n, GENESIS_ACTOR) for n, name in enumerate(SECTIONS, 1)}


class Place(NamedTuple):
    """A map of the document: a section, or one entry in the section ``entries``."""

    section: str
    entry: str = ""


# ---- ids of entries ---------------------------------------------------------------------------------------------
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def new_ulid(now_ms: int, entropy: Callable[[int], bytes]) -> str:
    """A new entry id: 48 bits of time (ms), 80 random bits, as 26 characters. Not monotonic within a millisecond."""
    number = (max(0, now_ms) & (1 << 48) - 1) << 80 | int.from_bytes(entropy(10))
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def is_entry_id(text: str) -> bool:
    """Whether ``text`` is a ULID in its one spelling."""
    return _ULID.fullmatch(text) is not None


# ---- the format's version ---------------------------------------------------------------------------------------
FORMAT_KEY: Final = "$format"
"""The key in ``settings`` that says who may read and who may write."""


class Format(NamedTuple):
    """The oldest format version that may read a vault, and the oldest that may write to it."""

    min_reader: int
    min_writer: int

    def __str__(self) -> str:
        """As stored."""
        return f"{self.min_reader}.{self.min_writer}"


FORMAT: Final = Format(1, 1)
"""What this package writes. It reads and writes every version up to ``FORMAT_VERSION``."""
FORMAT_VERSION: Final = 1
_FORMAT_TEXT: Final = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")


def parse_format(value: Scalar) -> Format | None:
    """The stored ``$format``; ``None`` if there is none, or none that this version understands."""
    if not isinstance(value, str) or (match := _FORMAT_TEXT.fullmatch(value)) is None:
        return None
    return Format(int(match[1]), int(match[2]))


def writable_format(value: Scalar) -> bool:
    """Whether this version may write to a vault whose ``$format`` is ``value`` (``None``: not set yet).

    Raises ``UpdateRequired`` when it may not even read it. A value that cannot be parsed was written by something
    newer than this, and how it may be treated is not known: ``UpdateRequired`` too.
    """
    if value is None:
        return True
    stored = parse_format(value)
    if stored is None or stored.min_reader > FORMAT_VERSION:
        raise UpdateRequired("This vault was written by a newer version of the application. Update to open it.")
    return stored.min_writer <= FORMAT_VERSION

"""What a parser gives: neutral records, and an account of everything in the file that did not become one.

A record belongs to no vault and no schema object: a type name, values by field name, and where it came from. An
application with an export of its own makes them itself and hands them to ``vault.import_records``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from vaultsync.limits import MAX_IMPORT_RECORDS, MAX_SOURCE_CHARS, MAX_VALUE_BYTES

__all__ = ["Collector", "Parsed", "Problem", "Record"]

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST_MS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_PLAIN_ID: Final = re.compile(r"[0-9A-Za-z{}_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Record:
    """One entry to be imported.

    ``source`` identifies it at its origin (``"bitwarden:<id>"``): importing two records of one source adds one entry,
    and never changes one that is there. ``values`` are those that ``vault.add`` takes. Times are milliseconds since
    the epoch; ``place`` is where it stood, for messages. ``kept`` names what of it no field was made for and became
    custom fields. The repr shows no value.
    """

    source: str
    type: str
    values: Mapping[str, Any]
    created_ms: int | None = None
    modified_ms: int | None = None
    trashed: bool = False
    place: str = ""
    kept: tuple[str, ...] = ()

    def __repr__(self) -> str:
        trashed = ", trashed" if self.trashed else ""
        return f"Record({self.source!r}, {self.type!r}, fields={sorted(self.values)}, place={self.place!r}{trashed})"


class Problem(NamedTuple):
    """Something that could not be read: where, and why. ``lost`` when the whole item is missing from the records."""

    place: str
    reason: str
    lost: bool = True

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's contents. Each of its ``items`` is one of ``records`` or one of the ``problems`` that are ``lost``;
    ``notes`` are sentences about what was read and deliberately not taken over. No message holds a value."""

    name: str
    format: str
    records: tuple[Record, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    items: int = 0


@dataclass(slots=True)
class Collector:
    """Gathers what a parser finds, makes sources unique, and holds values to what a vault can store."""

    name: str
    format: str
    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    items: int = 0
    _notes: dict[str, int] = field(default_factory=dict)
    _sources: dict[str, int] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return self.items >= MAX_IMPORT_RECORDS

    def record(self, record: Record) -> None:
        self.items += 1
        self.records.append(replace(record, source=self._unique(record.source), values=self._storable(record)))

    def lost(self, place: str, reason: str) -> None:
        """An item that could not be read at all."""
        self.items += 1
        self.problems.append(Problem(place, reason))

    def problem(self, place: str, reason: str) -> None:
        """A part of an item that could not be taken over."""
        self.problems.append(Problem(place, reason, lost=False))

    def note(self, sentence: str) -> None:
        """Something a person should know. Said once, with the number of times when there are several."""
        self._notes[sentence] = self._notes.get(sentence, 0) + 1

    def parsed(self) -> Parsed:
        notes = tuple(f"{text} ({count} times)" if count > 1 else text for text, count in self._notes.items())
        return Parsed(self.name, self.format, tuple(self.records), tuple(self.problems), notes, self.items)

    def _unique(self, source: str) -> str:
        """The second of two equal sources in a file gets an occurrence number, so the same file gives the same
        sources."""
        seen = self._sources[source] = self._sources.get(source, 0) + 1
        return source if seen == 1 else f"{source}#{seen}"

    def _storable(self, record: Record) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in record.values.items():
            if isinstance(value, str):
                if (text := self._text(value, name, record.place)) is not None:
                    values[name] = text
            elif isinstance(value, list | set | frozenset):
                kept = [text for item in value if (text := self._text(item, name, record.place)) is not None]
                if kept:
                    values[name] = kept if isinstance(value, list) else set(kept)
            else:
                values[name] = value
        return values

    def _text(self, text: str, name: str, place: str) -> str | None:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            text = _SURROGATES.sub("\ufffd", text)
            size = len(text.encode())
            self.problem(place, f"{name} holds half of a character (an unpaired surrogate), replaced by U+FFFD")
        if size > MAX_VALUE_BYTES:
            self.problem(place, f"{name} is left out: it has {size:,} bytes, and a value may have {MAX_VALUE_BYTES:,}")
            return None
        return text


def is_plain_id(identity: str) -> bool:
    """Whether an id from a file can stand in ``Record.source`` as it is."""
    return _PLAIN_ID.fullmatch(identity) is not None


def source_of(format: str, identity: str | None, fallback: Iterable[str | None]) -> str:
    """``format:identity`` when the file gives a usable id, else ``format:`` and a digest of what identifies the
    item."""
    if identity is not None and is_plain_id(identity):
        return f"{format}:{identity}"[:MAX_SOURCE_CHARS]
    # Lengths before the parts, so that no two lists of parts read the same.
    parts = [identity, *fallback]
    packed = "".join("-;" if part is None else f"{len(part)}:{part};" for part in parts)
    return f"{format}:~{hashlib.sha256(packed.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def instant_ms(text: str) -> int | None:
    """Milliseconds since the epoch of an ISO 8601 date and time (UTC when it names no zone), None when it is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    return ms if _FIRST_MS <= ms <= _LAST_MS else None


def instant(ms: int) -> datetime:
    """The point in time that so many milliseconds since the epoch are (not ``fromtimestamp``: Windows has none before
    1970)."""
    return _EPOCH + timedelta(milliseconds=ms)


def shown(name: str) -> str:
    """A name from the file as a message may show it: short, on one line."""
    clean = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return f"“{clean if len(clean) <= 60 else clean[:59] + '…'}”"

"""Random values, edits and timelines, drawn from a ``random.Random`` so that a seed replays them.

Every text carries the same marker and a number of its own: a fact can be told from every other, and the marker can be
searched for where it must never be, in the files of stores and remotes.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vaultsync.schema import kinds
from vaultsync.schema.kind import Delta, Kind, add, remove
from vaultsync.schema.kinds import FileRef, ItemsKind
from vaultsync.schema.types import EntryType, Field, Schema

__all__ = ["KINDS", "MARKER", "PLATFORMS", "invent_edit", "invent_schema", "outcome", "plain_types"]

MARKER: Final = "kanarienvogel"
"""What no file may hold in the clear."""
PLATFORMS: Final = ("linux", "ios")

KINDS: Final[tuple[Kind, ...]] = (
    kinds.text,
    kinds.secret,
    kinds.note,
    kinds.number,
    kinds.flag,
    kinds.instant,
    kinds.tags,
    kinds.file,
    kinds.items(kinds.text),
    kinds.items(kinds.secret),
    kinds.items(kinds.number),
)
"""What fields are invented of."""


def invent_edit(rng: random.Random, kind: Kind, serial: int, current: Any) -> Any:
    """Something to write into a field that shows ``current``: a value, a delta, or None to clear it."""
    if current and rng.random() < 0.12:
        return None
    if kind == kinds.tags:
        return _tags(rng, serial, current or frozenset())
    if isinstance(kind, ItemsKind):
        return _items(rng, kind.inner, serial, current or ())
    if kind == kinds.note:
        lines = _rearranged(rng, (current or "").split("\n") if current else [], lambda n: _text(serial, n))
        return "\n".join(lines) or None
    return _scalar(rng, kind, serial)


def outcome(kind: Kind, wanted: Any, current: Any) -> Any:
    """What the field must show after ``wanted`` was written by somebody who saw ``current``."""
    if wanted is None:
        return None
    wanted = kind.check(wanted)
    if not isinstance(wanted, Delta):
        return wanted
    if kind == kinds.tags:
        return (frozenset(current or ()) - frozenset(wanted.removed)) | frozenset(wanted.added)
    return tuple(item for item in current or () if item not in wanted.removed) + wanted.added


def _text(serial: int, n: int = 0) -> str:
    return f"{MARKER} {serial}.{n}é"


def _scalar(rng: random.Random, kind: Kind, serial: int, n: int = 0) -> Any:
    if kind == kinds.number:
        return serial * 100 + n + rng.choice([0, 0.5])
    if kind == kinds.flag:
        return rng.random() < 0.5
    if kind == kinds.instant:
        return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(milliseconds=serial * 100 + n)
    if kind == kinds.file:
        return FileRef(f"{serial:032x}", _text(serial), serial, "ab" * 32, "cd" * 32)
    return _text(serial, n)


def _tags(rng: random.Random, serial: int, current: frozenset[str]) -> Any:
    pool = [f"{MARKER} tag {n}" for n in range(3)] + [f"{MARKER}/{serial}@x"]
    roll = rng.random()
    if roll < 0.35:
        return add(rng.choice(pool))
    if roll < 0.55 and current:
        return remove(rng.choice(sorted(current)))
    wanted = set(current) | {rng.choice(pool)}
    if len(wanted) > 1 and rng.random() < 0.5:
        wanted.discard(rng.choice(sorted(wanted)))
    return wanted


def _items(rng: random.Random, inner: Kind, serial: int, current: tuple[Any, ...]) -> Any:
    roll = rng.random()
    if roll < 0.25:
        return add(_scalar(rng, inner, serial))
    if roll < 0.4 and current:
        return remove(rng.choice(current))
    return _rearranged(rng, list(current), lambda n: _scalar(rng, inner, serial, n))


def _rearranged(rng: random.Random, items: list[Any], make: Any) -> list[Any]:
    """One to three changes: something put in, taken out, replaced or moved."""
    for n in range(rng.randint(1, 3)):
        roll = rng.random()
        if not items or roll < 0.4:
            items.insert(rng.randint(0, len(items)), make(n))
        elif roll < 0.6:
            items[rng.randrange(len(items))] = make(n)
        elif roll < 0.8:
            items.pop(rng.randrange(len(items)))
        else:
            items.insert(rng.randint(0, len(items) - 1), items.pop(rng.randrange(len(items))))
    return items


def plain_types(schema: Schema) -> list[str]:
    """The types whose facts and cells are one to one: no lens stores them otherwise, no conversion leads to or from
    them. The others are played by ``rehearse``, and with real vaults by ``rehearsal.vaults``."""
    touched = {kind.name for kind in schema.types.values() if kind.lenses or kind.converts}
    touched |= {kind.converts.to for kind in schema.types.values() if kind.converts}
    return sorted(set(schema.types) - touched)


def invent_schema(rng: random.Random, *, versions: int = 4, platforms: tuple[str, ...] = PLATFORMS) -> Schema:
    """A whole timeline: types and fields that come and are retired, some on one platform only, some critical."""
    pool = {f"f{n}": rng.choice(KINDS) for n in range(7)}
    types = []
    for number in range(rng.randint(2, 3)):
        since, until = (1, None) if number == 0 else _span(rng, 1, versions)
        where = None if number == 0 or rng.random() < 0.7 else {rng.choice(platforms)}
        fields = [Field("title", kinds.text, since=since)]
        for name in rng.sample(sorted(pool), rng.randint(2, 5)):
            begins, ends = _span(rng, since, versions if until is None else until - 1)
            there = None if where is not None or rng.random() < 0.75 else {rng.choice(platforms)}
            critical = rng.choice([None, None, None, None, "write", "read"])
            fields.append(Field(name, pool[name], since=begins, until=ends, platforms=there, critical=critical))
        types.append(EntryType(f"t{number}", fields=fields, since=since, until=until, platforms=where))
    return Schema("invented", version=versions, platform=platforms[0], types=types)


def _span(rng: random.Random, first: int, last: int) -> tuple[int, int | None]:
    since = rng.randint(first, last)
    until = rng.randint(since + 1, last) if since < last and rng.random() < 0.35 else None
    return since, until

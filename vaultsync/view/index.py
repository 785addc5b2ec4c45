"""What one schema makes of all entries of a vault, written down: one verdict an entry, titles, and the sums behind the
notices.

Verdicts are few and shared, so an entry is a number. What is here depends on the schema (its digest and its lenses'
functions) and on nothing else; who keeps it says for which schema it is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final, NamedTuple

from vaultsync.schema.types import Schema
from vaultsync.view.decide import Decision, Judgement, Status, shape_named
from vaultsync.view.entry import Entry
from vaultsync.view.notices import Fact, facts
from vaultsync.view.pages import Columns, MalformedPage, array_of, bytes_of, pack, unpack

__all__ = ["Index", "columns_of", "decode_index", "encode_index", "index_of"]


class Index(NamedTuple):
    """Row by row in the order of the columns."""

    verdicts: list[Judgement]
    """The distinct ones; a vault has a handful."""
    numbers: array[int]
    """Row -> its verdict's place in ``verdicts``."""
    titles: list[str | None]
    facts: dict[Fact, int]
    counted: int


def index_of(entries: Iterable[Entry], schema: Schema) -> Index:
    """The index of evaluated entries, in their order."""
    known: dict[Judgement, int] = {}
    numbers, titles = array("I"), []
    sums: dict[Fact, int] = {}
    for entry in entries:
        verdict = entry._judgement
        numbers.append(known.setdefault(verdict, len(known)))
        titles.append(entry.title)
        if verdict.decision.status not in _QUIET:
            for fact in facts(entry, schema):
                sums[fact] = sums.get(fact, 0) + 1
    verdicts = list(known)
    counted = sum(verdicts[number].decision.counted for number in numbers)
    return Index(verdicts, numbers, titles, sums, counted)


_QUIET: Final = (Status.COMPLETE, Status.TRASHED)
"""They add nothing to the notices."""


def columns_of(entries: Iterable[Entry]) -> Columns:
    """The columns of entries that are in the order of (created, id)."""
    columns = Columns([], array("q"), array("q"), {})
    for row, entry in enumerate(entries):
        columns.ids.append(entry.id)
        columns.created.append(_fitting(entry.created))
        columns.modified.append(_fitting(entry.modified))
        if (source := entry.source) is not None:
            columns.sources[row] = source
    return columns


def _fitting(number: int) -> int:
    if not -(1 << 63) <= number < 1 << 63:  # the document holds none; a mapping handed in may
        raise MalformedPage("a time that no document can hold")
    return number


def encode_index(index: Index) -> bytes:
    verdicts = [
        [
            [d.status.value, d.face, d.reason, list(d.missing), d.editable, d.counted, d.locked],
            verdict.primary,
            [kind.name for kind in verdict.shape.line],
            sorted(verdict.unknown),
            sorted(verdict.broken),
            sorted(verdict.readable),
            verdict.withheld,
        ]
        for verdict in index.verdicts
        for d in (verdict.decision,)
    ]
    sums = [[*fact, number] for fact, number in index.facts.items()]
    return pack([verdicts, bytes_of(index.numbers), index.titles, sums, index.counted])


def decode_index(data: bytes, schema: Schema) -> Index:
    """Raises `MalformedPage`."""
    try:
        stored, numbers, titles, sums, counted = unpack(data)
        verdicts = [
            Judgement(
                Decision(Status(status), face, reason, tuple(missing), editable, counts, locked),
                primary,
                shape_named(tuple(line), schema),
                frozenset(unknown),
                frozenset(broken),
                frozenset(readable),
                withheld,
            )
            for (status, face, reason, missing, editable, counts, locked), primary, line, unknown, broken, readable, (
                withheld
            ) in stored
        ]
        index = Index(
            verdicts, array_of("I", numbers), titles, {Fact(*fact): number for *fact, number in sums}, counted
        )
    except (TypeError, ValueError, KeyError):
        raise MalformedPage("the index of the entries cannot be read") from None
    if len(index.numbers) != len(titles) or (titles and max(index.numbers) >= len(verdicts)):
        raise MalformedPage("the index of the entries is not whole")
    return index

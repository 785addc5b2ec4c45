"""What one schema makes of all entries of a vault, written down: one verdict an entry, titles, and the sums behind the
notices.

Verdicts are few and shared, so an entry is a number. What is here depends on the schema (its digest and its lenses'
functions) and on nothing else; who keeps it says for which schema it is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import sha256
from types import CodeType
from typing import Final, NamedTuple

from vaultsync.schema.lenses import Lens
from vaultsync.schema.types import EntryType, Schema
from vaultsync.view.columns import Columns
from vaultsync.view.decide import Decision, Judgement, Status, shape_named
from vaultsync.view.entry import Entry
from vaultsync.view.notices import Fact, facts
from vaultsync.view.packed import MalformedPage, array_of, bytes_of, pack, unpack

__all__ = ["Index", "columns_of", "decode_index", "encode_index", "evaluation", "index_of"]


class Index(NamedTuple):
    """Row by row in the order of the columns."""

    verdicts: list[Judgement]
    """The distinct ones; a vault has a handful."""
    numbers: array[int]
    """Row -> its verdict's place in ``verdicts``."""
    titles: list[str | None]
    facts: dict[Fact, int]
    counted: int


VERSION: Final = 1
"""Of what an evaluation gives: to be raised whenever the same entry under the same schema gets another verdict, title
or fact than before."""


def evaluation(schema: Schema) -> bytes:
    """A digest of everything that verdicts, titles and facts depend on besides the entries: this code, the schema, and
    the functions of its lenses, which no declaration tells."""
    functions = [_of_function(part) for kind in _sorted(schema) for lens in _lenses(kind) for part in _parts(lens)]
    return sha256(repr([VERSION, schema.digest, functions]).encode()).digest()


def _sorted(schema: Schema) -> list[EntryType]:
    return [kind for _, kind in sorted(schema.types.items())]


def _lenses(kind: EntryType) -> list[Lens]:
    return [*kind.lenses, *(kind.converts.lenses if kind.converts is not None else ())]


def _parts(lens: Lens) -> list[object]:
    each = lens.each
    return [lens.get, lens.put, lens.back, *((each.get, each.back) if each is not None else ())]


def _of_function(part: object, depth: int = 4) -> object:
    """What a function does, as far as that can be told: its code, its defaults and what it closes over. Of what tells
    nothing of itself (its ``repr`` names an address) the evaluation is made anew in every process."""
    code = getattr(part, "__code__", None)
    if not isinstance(code, CodeType) or depth == 0:
        return part if isinstance(part, (str, int, float, bool, bytes, tuple, frozenset, type(None))) else repr(part)
    closed = [cell.cell_contents for cell in getattr(part, "__closure__", None) or ()]
    more = [*closed, *(getattr(part, "__defaults__", None) or ())]
    return [_of_code(code), [_of_function(each, depth - 1) for each in more]]


def _of_code(code: CodeType) -> object:
    constants = [_of_code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code, constants, code.co_names]


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

"""The lenses of invented timelines: how each kind is made, where it fits, and the values on which it keeps its laws."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from vaultsync.schema import kinds, lenses
from vaultsync.schema.kind import Kind
from vaultsync.schema.kinds import ItemsKind
from vaultsync.schema.lenses import Lens, Shown
from vaultsync.schema.types import Field

__all__ = ["OPERATIONS", "Family", "Operation", "Part", "Source", "Workshop", "source_of"]

Source: TypeAlias = Callable[[random.Random], Any]
TEXTS: Final = (kinds.text, kinds.secret)
_LISTS: Final = (kinds.items(kinds.text), kinds.items(kinds.secret))
_EXTRAS: Final[tuple[Kind, ...]] = (kinds.text, kinds.text, kinds.tags, kinds.items(kinds.text), kinds.note)
_JOINTS: Final = (", ", " | ", " ~ ", " = ", " + ", " & ", " % ", " $ ")
"""What joins put between parts, each one once a timeline: no value holds them."""


class Family:
    """Fields that lenses connect. ``flags``: what their values must be so that every lens keeps its laws."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.flags: set[str] = set()


@dataclass(eq=False)
class Part:
    """A field being made."""

    name: str
    kind: Kind
    since: int
    platforms: str | None
    critical: str | None = None
    until: int | None = None

    def made(self) -> Field:
        where = None if self.platforms is None else {self.platforms}
        return Field(self.name, self.kind, since=self.since, until=self.until, platforms=where, critical=self.critical)


class Workshop:
    """What lenses are made with: the fields so far, which belong together, and where their values come from."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.families: dict[str, Family] = {}
        self.values: dict[str, Source] = {}
        self.joints = list(_JOINTS)

    def link(self, olds: list[str], news: list[str]) -> None:
        whole = Family()
        for name in (*olds, *news):
            whole.names |= self.families[name].names
            whole.flags |= self.families[name].flags
        for name in whole.names:
            self.families[name] = whole

    def flags(self, part: Part) -> set[str]:
        """What is asked of the values of a field."""
        return self.families[part.name].flags


New: TypeAlias = Callable[[Kind], Part]
"""Makes a field at the newer end."""
Made: TypeAlias = tuple[list[Part], list[Part], Lens]
"""The fields at both ends, and the lens."""


class Operation(NamedTuple):
    """One kind of lens: how often it is chosen, how it is made over the first of some fields (and others, if it needs
    them), and whether it fits there."""

    weight: int
    make: Callable[[Workshop, list[Part], New, int | None], Made]
    fits: Callable[[Workshop, Part, list[Part]], bool]


# ---- lenses -----------------------------------------------------------------------------------------------------
def _rename(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    old = parts[0]
    kind = old.kind
    if kind in TEXTS and maker.rng.random() < 0.3:
        kind = maker.rng.choice(TEXTS)
    made = new(kind)
    return [old], [made], lenses.rename(old.name, made.name, since=since)


def _wrap(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    old = parts[0]
    made = new(kinds.items(old.kind))
    return [old], [made], lenses.wrap(old.name, made.name, since=since)


def _split(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    old = parts[0]
    made = [new(old.kind) for _ in range(maker.rng.choice((2, 2, 3)))]
    sep = maker.rng.choice((" ", " ", "-", "/"))
    return [old], made, lenses.split(old.name, [each.name for each in made], sep=sep, since=since)


def _join(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    olds = [parts[0], *partners(maker, parts)][: maker.rng.choice((2, 2, 3))]
    maker.rng.shuffle(olds)
    made, sep = new(kinds.text), maker.joints.pop(0)
    for old in olds:
        maker.flags(old).add("nonempty")
    maker.values[made.name] = partial(_joined, sep)
    return olds, [made], lenses.join([each.name for each in olds], made.name, sep=sep, since=since)


def partners(maker: Workshop, parts: list[Part]) -> list[Part]:
    """What the first part can be joined with."""
    return [
        each for each in parts[1:]
        if each.kind in TEXTS and each.platforms == parts[0].platforms and each.name not in maker.values
        and maker.families[each.name] is not maker.families[parts[0].name]
    ]  # fmt: skip


def _spell(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    """Lossless convert."""
    old = parts[0]
    made = new(old.kind)
    turn: Any = str.swapcase if old.kind in TEXTS else _negated
    if old.kind == kinds.number:
        maker.flags(old).add("negated")
    return [old], [made], lenses.convert(old.name, made.name, get=turn, back=turn, since=since)


def _spell_lossy(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    """Stored twice, although nothing is lost."""
    old = parts[0]
    made = new(old.kind)
    turn = str.swapcase
    return [old], [made], lenses.convert(old.name, made.name, get=turn, back=turn, lossy=True, since=since)


def _list(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    old = parts[0]
    made = new(kinds.items(old.kind))
    lens = lenses.convert(old.name, made.name, get=_parts, back="; ".join, lossy=True, since=since)
    return [old], [made], lens


def _to_lines(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    old = parts[0]
    made = new(kinds.note)
    maker.flags(old).add("nonempty")
    lens = lenses.convert(old.name, made.name, get=_lines, back=_unlined, lossy=True, since=since)
    return [old], [made], lens


def _year(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    old = parts[0]
    made = new(kinds.instant)
    maker.flags(old).add("year")
    lens = lenses.convert(old.name, made.name, get=_new_year, back=_year_of, put=_in_year, lossy=True, since=since)
    return [old], [made], lens


def _map(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    old = parts[0]
    made, lossy = new(old.kind), maker.rng.random() < 0.4
    turn = str.swapcase
    return [old], [made], lenses.map_values(old.name, made.name, get=turn, back=turn, lossy=lossy, since=since)


def _label(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    """Every element may say more, after a "#"; an older edit keeps it with the elements that stay."""
    old = parts[0]
    made = new(old.kind)
    maker.flags(old).add("labelled")
    maker.values[made.name] = _labelled
    one, other = old.name, made.name
    lens = lenses.lens(
        one,
        other,
        get=lambda cells: {other: cells[one]} if one in cells else {},
        back=lambda cells: {one: _bare(cells[other])} if cells.get(other) else {},
        put=lambda now, cells: {other: _relabelled(now.get(other, ()), cells[one])} if one in cells else {},
        since=since,
        rule="labelled",
    )
    return [old], [made], lens


def _enrich(maker: Workshop, parts: list[Part], new: New, since: int | None) -> Made:
    """The same value and one more field, which an older edit leaves as it is."""
    old = parts[0]
    made, extra = new(old.kind), new(kinds.text if maker.rng.random() < 0.3 else maker.rng.choice(_EXTRAS))
    one, other, more = old.name, made.name, extra.name

    def put(now: Shown, cells: Shown) -> Shown:
        kept = {more: now[more]} if more in now else {}
        return {other: cells[one], **kept} if one in cells else kept

    lens = lenses.lens(
        one,
        [other, more],
        get=lambda cells: {other: cells[one]} if one in cells else {},
        back=lambda cells: {one: cells[other]} if other in cells else {},
        put=put,
        since=since,
        rule="enriched",
    )
    return [old], [made, extra], lens


OPERATIONS: Final[dict[str, Operation]] = {
    "rename": Operation(3, _rename, lambda maker, part, parts: True),
    "wrap": Operation(4, _wrap, lambda maker, part, parts: part.kind in (*TEXTS, kinds.number)),
    "split": Operation(5, _split, lambda maker, part, parts: part.kind in TEXTS),
    "join": Operation(8, _join, lambda maker, part, parts: part.kind in TEXTS and part.name not in maker.values
             and bool(maker.joints) and bool(partners(maker, parts))),
    "spell": Operation(2, _spell, lambda maker, part, parts: part.kind in TEXTS
              or (part.kind == kinds.number and "year" not in maker.flags(part))),
    "spell lossy": Operation(2, _spell_lossy, lambda maker, part, parts: part.kind in TEXTS),
    "list": Operation(3, _list, lambda maker, part, parts: part.kind in TEXTS),
    "lines": Operation(2, _to_lines, lambda maker, part, parts: part.kind == kinds.text),
    "year": Operation(6, _year, lambda maker, part, parts: part.kind == kinds.number and not maker.flags(part)),
    "map": Operation(5, _map, lambda maker, part, parts: part.kind in (*_LISTS, kinds.tags, kinds.note)),
    "label": Operation(5, _label, lambda maker, part, parts: part.kind in (*_LISTS, kinds.tags)
              and "labelled" not in maker.flags(part)),
    "enrich": Operation(3, _enrich, lambda maker, part, parts: part.kind != kinds.file),
}  # fmt: skip
"""Every kind of lens, how often it is chosen, and where it fits."""


# ---- the functions of lenses ------------------------------------------------------------------------------------
def _negated(value: float) -> float:
    return -value


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split("; "))


def _lines(text: str) -> str:
    return text.replace("; ", "\n")


def _unlined(note: str) -> str:
    return note.replace("\n", "; ")


def _new_year(year: float) -> datetime:
    return datetime(int(year), 1, 1, tzinfo=UTC)


def _year_of(moment: datetime) -> int:
    return moment.year


def _in_year(now: datetime, year: float) -> datetime:
    day = now.replace(day=28) if (now.month, now.day) == (2, 29) else now
    return now if now.year == year else day.replace(year=int(year))


def _bare(elements: Any) -> Any:
    return type(elements)(each.partition("#")[0] for each in elements)


def _relabelled(now: Any, older: Any) -> Any:
    """``older``, each element as it stands in ``now`` if it does."""
    if isinstance(older, frozenset):
        kept = {each for each in now if each.partition("#")[0] in older}
        return frozenset(kept | (older - _bare(frozenset(kept))))
    if _bare(tuple(now)) == older:
        return now
    left, made = list(now), []
    for element in older:
        same = [each for each in left if each.partition("#")[0] == element]
        best = max(same, key=len, default=element)  # says most: where edits met, the bare one may stand there as well
        if same:
            left.remove(best)
        made.append(best)
    return tuple(made)


# ---- values -----------------------------------------------------------------------------------------------------
_FRUIT: Final = ("kiwi", "plum", "fig", "pear", "lime", "date", "quince", "mango")
_GAPS: Final = (" ", " ", " ", "-", "/", ".", " é ", "  ")


def _word(rng: random.Random) -> str:
    return f"{rng.choice(_FRUIT)}{rng.randrange(10**9)}"


def _words(rng: random.Random) -> str:
    """A text that is never empty and holds no joint."""
    text = _word(rng)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        text += rng.choice(_GAPS) + _word(rng)
    return text


def _joined(sep: str, rng: random.Random) -> str:
    return sep.join(_words(rng) for _ in range(rng.choice((1, 2, 2, 3))))


def _labelled(rng: random.Random) -> str:
    """The label is no word to be followed: it goes with its element when an older device removes that."""
    return f"{_word(rng)}#{rng.randrange(10**6)}" if rng.random() < 0.6 else _word(rng)


def _years(rng: random.Random) -> int:
    return rng.randrange(1900, 2026)


def source_of(kind: Kind, flags: set[str]) -> Source | None:
    """Where values of a field come from so that its family keeps its laws; None: from anywhere."""
    inner = kind.inner if isinstance(kind, ItemsKind) else kind
    if "year" in flags and inner == kinds.number:
        return _years
    if "nonempty" in flags and inner in (*TEXTS, kinds.note):
        return _words
    return None

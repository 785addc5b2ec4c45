"""Losers that outlive the cell in which they lost.

A mirror writes cells that nobody chose to write: the older value when a newer one is edited, both when a repair brings
them together. Who writes a cell overwrites every value that stands there, and so a repair, or an edit of the first
name, would end a conflict about the last name that nobody has decided. Therefore: **what is listed and was not edited
stays listed**. What such a write would overwrite is kept beside it, in cells of its own::

    $lost/<id>          canonical JSON [incarnation, time, [fields]]: who wrote it, when (ms; null: not known), and the
                        fields that a person has decided about since
    $lost/<id>/<key>    the value that lost under <key>, with its mark and what it would have brought along

``<id>`` is made from the contents, so that two devices that repair at the same time keep the same. A person decides by
editing, or resolving, a field under which it is listed; once that is every one of them, it goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from vaultsync.schema.cells import GONE, Ops, Raw, Scalar, canonical_json, owner, parse_json, split_key
from vaultsync.view.decide import Shape
from vaultsync.view.losers import Candidate, Candidates, Lost, had_it_won, represented, written_with
from vaultsync.view.marks import Mark

__all__ = ["PREFIX", "Kept", "keep", "kept", "listed"]

PREFIX: Final = "$lost/"
_MAX_META_BYTES: Final = 64 << 10


class Kept(NamedTuple):
    """A loser that was kept. ``cells``: stored key -> what stood there."""

    id: str
    writer: str
    time: int | None
    done: frozenset[str]
    cells: Mapping[str, Scalar]

    def listed(self, shape: Shape, raw: Raw) -> Iterator[Lost]:
        """How it looks here, under the fields that nobody has decided about."""
        return (lost for lost in had_it_won(shape, raw, self.cells) if lost.field not in self.done)

    def key(self, shape: Shape, name: str) -> str:
        """The stored key that it lost under, as far as it concerns a shown field."""
        reaching = shape.reaching(name)
        return next((key for key in sorted(self.cells) if owner(key) in reaching), name)


def kept(raw: Raw) -> list[Kept]:
    """Every loser that an entry keeps; what makes no sense counts as absent."""
    found: dict[str, dict[str, Scalar]] = {}
    for key, value in raw.items():
        if key.startswith(PREFIX):
            mark, _, place = key[len(PREFIX) :].partition("/")
            found.setdefault(mark, {})[place] = value
    made = []
    for mark, cells in sorted(found.items()):
        match parse_json(cells.pop("", None), max_bytes=_MAX_META_BYTES, max_depth=2):
            case [str(writer), int() | None as time, [*done]] if cells:
                fields = frozenset(name for name in done if isinstance(name, str))
                made.append(Kept(mark, writer, time, fields, cells))
    return made


def keep(shape: Shape, raw: Raw, ops: Ops, candidates: Candidates, over: Collection[str] = ()) -> Ops:
    """What has to be written with ``ops`` so that no loser is overwritten unseen, and what is done with.

    ``over``: the shown fields that a person edits with these operations, knowing what is listed there.
    """
    made: Ops = {}
    for one, cells in _overwritten(shape, raw, ops, candidates):
        if {lost.field for lost in had_it_won(shape, raw, cells)} - set(over):
            made |= _stored(one, {**cells, **_going(shape, raw, ops, cells)}, over)
    for step in shape.steps:
        for one in candidates.get(step.mark, ())[1:] if step.mirrored and step.mark in ops else ():
            if {lost.field for lost in _rest(shape, raw, step.mark, one)} - set(over):
                made |= _stored(one, {step.mark: one.value}, over)
    for each in kept(raw):
        listed = {lost.field for lost in each.listed(shape, raw)}
        if listed and listed <= set(over):
            made |= dict.fromkeys([PREFIX + each.id, *(f"{PREFIX}{each.id}/{key}" for key in each.cells)], GONE)
        elif listed.intersection(over):
            made[PREFIX + each.id] = _meta(each.writer, each.time, each.done.union(over))
    return made


def _overwritten(shape: Shape, raw: Raw, ops: Ops, candidates: Candidates) -> Iterator[tuple[Candidate, Raw]]:
    """The losers under the keys that are written, each once with what was written with it.

    Among them the winner, if its writer did not know a mirror that now overrules it.
    """
    seen: set[str] = set()
    for key, every in candidates.items():
        if key not in ops or owner(key) not in shape.known or not every or raw.get(key) != every[0].value:
            continue
        for i, one in enumerate(every):
            cells = written_with(shape, candidates, one, key)
            blind = any(value is None for at, value in cells.items() if at.startswith("$lens/"))
            if one.value is None or (one.change and one.change in seen) or (i == 0 and not blind):
                continue
            seen.add(one.change)
            yield one, cells


def _rest(shape: Shape, raw: Raw, place: str, one: Candidate) -> Iterator[Lost]:
    """What stands only in a mark that lost to another one of the same older value."""
    losing, winning = Mark.parse(one.value), Mark.parse(raw.get(place))
    if losing is not None and winning is not None and losing.rest and losing.digest == winning.digest:
        fields = {owner(key) for key, value in losing.rest.items() if value is not None}
        yield from (lost for lost in had_it_won(shape, raw, {place: one.value}) if lost.field in fields)


def _going(shape: Shape, raw: Raw, ops: Ops, cells: Raw) -> Raw:
    """Newer cells that are deleted because an older form won: with the loser they would have stood."""
    mirrored = {name for step in shape.steps if step.mirrored for name in step.lens.new}
    return {
        key: raw[key]
        for key, value in ops.items()
        if value is GONE and key in raw and key not in cells and owner(key) in mirrored
    }


def _meta(writer: str, time: int | None, done: Collection[str]) -> str:
    return canonical_json([writer, time, sorted(done)])


def _stored(one: Candidate, cells: Raw, over: Collection[str]) -> Ops:
    mark = sha256(canonical_json([one.writer, one.time, cells]).encode()).hexdigest()[:16]
    return {
        f"{PREFIX}{mark}": _meta(one.writer, one.time, over),
        **{f"{PREFIX}{mark}/{key}": value for key, value in sorted(cells.items())},
    }


def listed(shape: Shape, raw: Raw, candidates: Candidates) -> Iterator[tuple[str, Candidate, Lost]]:
    """Everything that lost and is seen here: the stored key, who wrote it, and how it looks."""
    for key, every in candidates.items():
        split = split_key(key)
        field = shape.known.get(split.name) if split else None
        if split is None or field is None or split.sep == "@":
            continue
        for one in every[1:]:  # the first one won: it is what the entry shows
            if one.value is None or one.value == every[0].value or not field.kind.fits(split, one.value):
                continue  # written by two, as repairs are: nobody lost
            for lost in represented(shape, raw, key, one.value, written_with(shape, candidates, one, key)):
                yield key, one, lost
    for step in shape.steps:
        for one in candidates.get(step.mark, ())[1:] if step.mirrored else ():
            for lost in _rest(shape, raw, step.mark, one):
                yield lost.field, one, lost
    for each in kept(raw):
        for lost in each.listed(shape, raw):
            key = each.key(shape, lost.field)
            yield key, Candidate(each.cells.get(key), None, None, each.time, each.writer), lost

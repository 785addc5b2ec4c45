"""A schema's timeline as rows, and these rows as text. `timeline_svg` draws the same rows.

::

                                1.0  2.0  3.0  4.0
    Card (card)                 ●────●────●────●
      expiry   text             ●────▶              exp_month, exp_year (split)
      exp_month  text                ●────●────●
      issue_date  text          ●────●────●────○    retired in 4.0
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vaultsync.cli.output import heading, line, say
from vaultsync.view.words import listing, platforms

if TYPE_CHECKING:
    from vaultsync.schema.lenses import Lens
    from vaultsync.schema.types import EntryType, Field, Schema

__all__ = ["SAME", "Row", "Timeline", "draw", "timeline"]

SAME: Final = "as it is"
"""How a field of a converted type goes on whose name the new type has too."""
_SIGNS: Final = {"begin": "●", "live": "─", "retired": "○", "after": "┄", "on": "▶"}
_PLAIN: Final = {"begin": "*", "live": "-", "retired": "o", "after": ".", "on": ">"}


@dataclass(frozen=True, slots=True)
class Row:
    """A type (``kind`` empty) or one of its fields. ``until``: the version that retired it, ``to``: what it goes on as,
    types or fields of the type ``into``, and ``how``: what carries it there."""

    type: str
    name: str
    label: str
    kind: str
    since: int
    until: int | None
    to: tuple[str, ...] = ()
    into: str = ""
    how: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def is_type(self) -> bool:
        return not self.kind


@dataclass(frozen=True, slots=True)
class Timeline:
    """Columns and rows. ``versions`` are those at which something happens, ``names`` what people call them."""

    title: str
    versions: tuple[int, ...]
    names: tuple[str, ...]
    rows: tuple[Row, ...]
    here: int

    def column(self, version: int) -> int:
        """The column in which something of this version stands."""
        return self.versions.index(version)


def timeline(schema: Schema, types: Iterable[str] | None = None) -> Timeline:
    """The whole timeline, or that of some types."""
    chosen = [kind for kind in schema.types.values() if types is None or kind.name in types]
    rows = tuple(row for kind in chosen for row in _rows(kind, schema))
    marks = {schema.version, *schema.releases}
    for row in rows:
        marks |= {row.since, row.until} - {None}  # type: ignore[arg-type]
    versions = tuple(sorted(marks))
    names = tuple(schema.releases.get(version, str(version)) for version in versions)
    return Timeline(schema.name, versions, names, rows, schema.version)


def _rows(kind: EntryType, schema: Schema) -> Iterator[Row]:
    converts, remarks = kind.converts, []
    if kind.platforms:
        remarks.append(f"on {platforms(kind.platforms)}")
    if converts is None:
        remarks += _retired(kind.until, schema)
        yield Row(kind.name, kind.name, kind.label, "", kind.since, kind.until, remarks=tuple(remarks))
    else:
        kept = "conversion, older versions go on reading it" if converts.keep_old else "conversion"
        yield Row(
            kind.name, kind.name, kind.label, "", kind.since, kind.until, (converts.to,), "", kept, tuple(remarks)
        )  # fmt: skip
    for field in sorted(kind.fields, key=lambda field: field.since):
        yield _field(kind, field, schema)


def _field(kind: EntryType, field: Field, schema: Schema) -> Row:
    until = min(filter(None, (field.until, kind.until)), default=None)
    to, into, how = _onward(kind, field, schema)
    remarks = []
    if field.platforms:
        remarks.append(f"on {platforms(field.platforms)}")
    if field.critical:
        remarks.append(f"needed to {'edit' if field.critical == 'write' else 'show'} an entry that holds it")
    if not to and field.until is not None:
        remarks += _retired(field.until, schema)
    return Row(
        kind.name,
        field.name,
        field.label,
        field.kind.name,
        field.since,
        until,
        to,
        into,
        how,
        tuple(remarks),
    )


def _retired(until: int | None, schema: Schema) -> list[str]:
    return [f"retired in {schema.release(until)}"] if until is not None else []


def _onward(kind: EntryType, field: Field, schema: Schema) -> tuple[tuple[str, ...], str, str]:
    """The fields that a field goes on as, of which type, and by what."""
    for lens in kind.lenses:
        if field.name in lens.old:
            return lens.new, kind.name, _how(lens)
    if kind.converts is not None and field.until is None:
        for lens in kind.converts.lenses:
            if field.name in lens.old:
                return lens.new, kind.converts.to, _how(lens)
        if field.name in schema.types[kind.converts.to].by_name:
            return (field.name,), kind.converts.to, SAME
    return (), "", ""


def _how(lens: Lens) -> str:
    return lens.rule.partition(":")[0] or lens.form


# ---- as text --------------------------------------------------------------------------------------------------------
def draw(found: Timeline, *, release: str, where: str) -> None:
    """Print it: a row for each type and field, a column for each version."""
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    signs = _PLAIN if plain else _SIGNS
    width = max(len(name) for name in found.names) + 2
    heads = [f"{row.label} ({row.name})" if row.is_type else f"  {row.name}  {row.kind}" for row in found.rows]
    left = max((len(head) for head in heads), default=0) + 2
    say(f"{line(found.title)}, seen from {release} on {where}")
    say()
    heading(" " * left + "".join(name.ljust(width) for name in found.names).rstrip())
    for head, row in zip(heads, found.rows, strict=True):
        text = f"{line(head)}{' ' * (left - len(head))}{_bar(row, found, signs, width)}  {_words(row, plain)}".rstrip()
        if row.is_type and row is not found.rows[0]:
            say()
        (heading if row.is_type else say)(text)
    say()
    s = signs
    say(f"{s['begin']} new  {s['live']} there  {s['retired']} retired: read-only from here on  {s['on']} goes on as")


def _bar(row: Row, found: Timeline, signs: dict[str, str], width: int) -> str:
    cells = []
    for version in found.versions:
        if version < row.since:
            cells.append(" " * width)
        elif row.until is not None and version >= row.until:
            sign = (signs["on"] if row.to else signs["retired"]) if version == row.until else signs["after"]
            rest = " " if row.to else signs["after"]
            cells.append((" " if row.to and version > row.until else sign) + rest * (width - 1))
        else:
            sign = signs["begin"] if version == row.since else signs["live"]
            cells.append(sign + signs["live"] * (width - 1))
    return "".join(cells)[: 3 - width or None]  # the last version needs no room for a next one


def _words(row: Row, plain: bool) -> str:
    words = list(row.remarks)
    if row.to:
        place = f"{row.into}." if row.into not in ("", row.type) else ""
        words.insert(0, f"{'->' if plain else '→'} {listing([place + name for name in row.to], most=6)} ({row.how})")
    return line(", ".join(words))

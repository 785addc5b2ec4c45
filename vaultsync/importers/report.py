"""What an import did, for a person and for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from vaultsync.importers.records import Parsed, Problem, Record

__all__ = ["ImportReport"]

_SHOWN = 20


@dataclass(slots=True)
class ImportReport:
    """Filled by whoever applies records. Every record ends in exactly one of ``add``, ``already`` and ``skip``.

    ``added`` and ``already_there`` hold ids of entries; ``skipped`` and ``problems`` say where and why;
    ``kept_as_custom`` counts, by name, values of added entries that no field was made for. No message holds a value
    of an entry.
    """

    name: str = ""
    format: str = ""
    added: list[str] = field(default_factory=list)
    already_there: list[str] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept_as_custom: Counter[str] = field(default_factory=Counter)
    by_type: Counter[str] = field(default_factory=Counter)
    trashed: int = 0

    @classmethod
    def of(cls, parsed: Parsed) -> Self:
        """A report that begins with what parsing found."""
        return cls(parsed.name, parsed.format, problems=list(parsed.problems), notes=list(parsed.notes))

    def add(self, record: Record, entry_id: str) -> None:
        """The record became an entry."""
        self.added.append(entry_id)
        self.by_type[record.type] += 1
        self.trashed += record.trashed
        self.kept_as_custom.update(record.kept)

    def already(self, record: Record, entry_id: str) -> None:
        """An entry of the same source is in the vault; it was not changed."""
        self.already_there.append(entry_id)

    def skip(self, record: Record, reason: str) -> None:
        """The record could not be added. ``reason`` holds no value of it."""
        self.skipped.append(Problem(record.place or record.source, reason))

    def problem(self, place: str, reason: str) -> None:
        """Part of a record could not be taken over."""
        self.problems.append(Problem(place, reason, lost=False))

    @property
    def complete(self) -> bool:
        """Whether everything in the file is now in the vault."""
        return not self.skipped and not self.problems

    def __str__(self) -> str:
        types = ", ".join(_count(number, *_names(name)) for name, number in sorted(self.by_type.items()))
        head = f"{self.name or 'import'}: {_count(len(self.added), 'entry', 'entries')} added"
        head += f" ({types})" if types else ""
        head += f", {self.trashed} of them in the trash" if self.trashed else ""
        lines = [head]
        if self.already_there:
            lines.append(f"{_count(len(self.already_there), 'was', 'were')} already there and not changed")
        if self.kept_as_custom:
            total = self.kept_as_custom.total()
            names = _some([f"{name} ({n})" if n > 1 else name for name, n in self.kept_as_custom.most_common()], 8)
            lines.append(f"{_count(total, 'value', 'values')} without a field kept as custom fields: {names}")
        lines += _listed("not imported", [p for p in self.problems if p.lost] + self.skipped)
        lines += _listed("imported in part", [p for p in self.problems if not p.lost])
        lines += _listed("note", self.notes)
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts, strings and numbers, ready for ``json.dumps``."""

        def problems(found: Sequence[Problem]) -> list[dict[str, Any]]:
            return [{"place": p.place, "reason": p.reason, "lost": p.lost} for p in found]

        return {
            "name": self.name,
            "format": self.format,
            "added": list(self.added),
            "already_there": list(self.already_there),
            "skipped": problems(self.skipped),
            "problems": problems(self.problems),
            "notes": list(self.notes),
            "kept_as_custom": dict(self.kept_as_custom),
            "by_type": dict(self.by_type),
            "trashed": self.trashed,
        }


def _names(type: str) -> tuple[str, str]:
    """A type's name for a sentence, for one and for several."""
    one = type.replace("_", " ")
    return one, one[:-1] + "ies" if one.endswith("y") else one + "s"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _some(names: Sequence[str], most: int) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _listed(what: str, lines: Sequence[object]) -> list[str]:
    found = [f"{what}: {line}" for line in lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        found.append(f"{what}: … and {len(lines) - _SHOWN:,} more")
    return found

"""What everybody did, with what they knew then; and from causality alone, what must be shown in the end.

A *word* stands if every last act on it (one that no other act on that word has seen) left it there, and is gone if
every last act took it away; where such acts disagree, nothing follows. An act is *contested* when somebody wrote the
same family at another representation (an older form of the same data) without knowing of it, or without knowing of
something built on it: a mirror stores both forms, and there the last writer wins. Nothing else is ever contested, not
by a repair, nor where mirrors stand on each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vaultsync.testing.rehearsal.families import Family

__all__ = ["Act", "Truth", "Word"]

Word = tuple[Family, str]


@dataclass(frozen=True, eq=False)
class Act:
    """What a person (or, as "repair" and "convert", the library) wrote into one entry."""

    number: int
    saw: int
    kind: str
    entry: int
    device: int
    place: tuple[int, str]
    changes: list[Any]
    forms: Mapping[Family, tuple[str, ...]]
    """The families it wrote, each with the lenses that its device knew of it: the representation that it wrote."""
    said: Mapping[Word, bool | None] = field(default_factory=dict)
    """Words that it put there (True), took away (False) or did something unclear to (None)."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What a person wrote, by field, as it must read afterwards."""

    @property
    def bit(self) -> int:
        """This act in a set of acts."""
        return 1 << self.number

    @property
    def edits(self) -> bool:
        """Whether a delete that has not seen it cannot cover it."""
        return self.kind in ("add", "set", "restore")

    def concurrent(self, other: Act) -> bool:
        """Whether neither knew of the other."""
        return self is not other and not self.saw & other.bit and not other.saw & self.bit


class Truth:
    """All acts of a history."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self._by_entry: dict[int, list[Act]] = {}
        self.doubled: set[Word] = set()
        """Words that somebody wrote twice: which of the two went, nobody can tell."""

    def record(self, act: Act) -> None:
        """One more act."""
        self.acts.append(act)
        self._by_entry.setdefault(act.entry, []).append(act)

    def of(self, entry: int) -> list[Act]:
        """The acts on an entry, in the order in which they happened."""
        return self._by_entry.get(entry, [])

    def words(self, entry: int) -> dict[Word, list[Act]]:
        """The words of an entry with the last acts on each."""
        found: dict[Word, list[Act]] = {}
        for act in self.of(entry):
            for word in act.said:
                found.setdefault(word, []).append(act)
        return {word: _last(acts) for word, acts in found.items()}

    def contested(self, act: Act, family: Family) -> bool:
        """Whether somebody wrote another form of the same data without knowing of this act or what followed it."""
        if not family.mirrored:
            return False
        mine = [each for each in self.of(act.entry) if family in each.forms and each.kind not in ("repair", "convert")]
        later = [each for each in mine if each is act or each.saw & act.bit]
        return any(
            one.concurrent(other) and one.forms[family] != other.forms[family] for one in later for other in mine
        )

    def undisturbed(self, act: Act, family: Family) -> bool:
        """Whether nobody wrote anything of that family after or beside it."""
        return not any(
            other is not act and family in other.forms and not act.saw & other.bit
            for other in self.of(act.entry)
            if other.kind not in ("repair", "convert")
        )

    def trashed(self, entry: int) -> bool:
        """Whether some delete saw every edit."""
        acts = self.of(entry)
        deletes = [act for act in acts if act.kind in ("delete", "purge")]
        return bool(deletes) and all(any(act.bit & d.saw for d in deletes) for act in acts if act.edits)

    def purged(self, entry: int) -> bool:
        """Whether somebody ever purged it: what came back then is another matter."""
        return any(act.kind == "purge" for act in self.of(entry))


def _last(acts: Iterable[Act]) -> list[Act]:
    mine = list(acts)
    seen = 0
    for act in mine:
        seen |= act.saw
    return [act for act in mine if not act.bit & seen]

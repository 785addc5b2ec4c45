"""What changed since somebody last looked."""

from __future__ import annotations

from dataclasses import dataclass, field

from vaultsync.document.changes import Touched
from vaultsync.document.layout import ENTRIES

__all__ = ["Touches"]


@dataclass
class Touches:
    """What changed since somebody last looked: entry ids, and whether a flat section (schemas, devices, settings)
    did."""

    entries: set[str] = field(default_factory=set)
    flat: bool = False
    everything: bool = False

    def add(self, touched: Touched) -> None:
        for place in touched:
            if place[0] == ENTRIES:
                self.entries.add(place[1])
            else:
                self.flat = True

    def update(self, other: Touches) -> None:
        self.entries |= other.entries
        self.flat |= other.flat
        self.everything |= other.everything

    def __bool__(self) -> bool:
        return bool(self.entries) or self.flat or self.everything

"""A history as data: who takes part, and what everybody does, one step after the other. Steps say what a person does,
in values, and nothing about the outcome; so any step can be left out and the rest still makes sense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["NAMES", "Cast", "Script", "Step"]

NAMES: Final = ("Laptop", "Desktop", "Phone", "Tablet", "Netbook", "Watch")


@dataclass(frozen=True)
class Step:
    """What happens next.

    ========= =======================================================================================
    add       ``device`` adds entry number ``entry`` of ``type`` with ``values``
    set       ``device`` writes ``values`` (None clears) into ``entry``
    delete    and restore, purge: ``device`` does that to ``entry``
    sync      ``device`` learns everything that ``other`` knows, and repairs what needs it
    convert   ``device`` applies its upgrade plan to ``entry``
    update    ``device`` is updated to ``version`` of the application
    ========= =======================================================================================
    """

    kind: str
    device: int
    entry: int = 0
    other: int = 0
    type: str = ""
    version: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cast:
    """The devices, as (version, platform); the first two run the newest version on one platform."""

    places: tuple[tuple[int, str], ...]

    def label(self, device: int, version: int) -> str:
        """``Phone 9``; with the platform where it matters."""
        platforms = {platform for _, platform in self.places}
        where = f" ({self.places[device][1]})" if len(platforms) > 1 else ""
        return f"{NAMES[device]} {version}{where}"


@dataclass(frozen=True)
class Script:
    """One history. At its end everybody syncs with everybody."""

    cast: Cast
    steps: tuple[Step, ...]

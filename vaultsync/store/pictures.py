"""What a transaction knows without reading: small tables as they were read once, kept up to date by own writes.

A `Picture` of some tables holds for as long as only this process writes to them (``stamps.py`` sees to that). A write
transaction that begins while it holds is handed it, answers from it, and changes a copy with every statement of which
it knows what becomes of the picture. A copy that accounts for every statement on its tables takes the picture's place
when the transaction was committed; any other is dropped, and the next question reads.

Nothing here decides what is stored: rows are written as ever, and whoever reads a table sees those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

__all__ = ["Kept", "Picture", "Pictures"]


class Picture:
    """One that there is, with the tables that it shows."""

    __slots__ = ("tables",)

    STATE: ClassVar[Picture]
    """Every sealed value by its name."""
    TIPS: ClassVar[Picture]
    """`Tip` by actor: every own incarnation."""
    OUTBOX: ClassVar[Picture]
    """By remote, by name of an envelope that it lacks: (kind, bytes); oldest first."""
    LAST: ClassVar[Picture]
    """By chain and kind the last envelope's (seq, env_id), ``None`` without any; of those that somebody asked for."""

    def __init__(self, *tables: str) -> None:
        self.tables = tables


Picture.STATE = Picture("state")
Picture.TIPS = Picture("actors")
Picture.OUTBOX = Picture("outbox", "remotes")
Picture.LAST = Picture("envelopes")

_LARGEST: Final = 10_000
"""Rows that are copied for a write: what is larger is read again when somebody asks."""
Kept: TypeAlias = Callable[[Picture, int], Mapping[Any, Any] | None]
"""The picture that holds when so many transactions changed the file, if there is one."""


class Pictures:
    """Those of one write transaction."""

    def __init__(self, kept: Kept, written: Counter[str]) -> None:
        """``written``: statements that changed something so far, by table; kept up to date by the transaction."""
        self._kept = kept
        self._written = written
        self._copies: dict[Picture, dict[Any, Any]] = {}
        self._told: Counter[Picture] = Counter()

    def seen(self, picture: Picture, total: int) -> Mapping[Any, Any] | None:
        """How it looks now; ``None`` when that has to be read. ``total``: transactions so far, without this one."""
        if self._told[picture] != self._statements(picture):
            return None
        copy = self._copies.get(picture)
        return self._kept(picture, total) if copy is None else copy

    def changed(self, picture: Picture, statements: int, total: int) -> dict[Any, Any] | None:
        """The copy in which to put down what the last so many statements on its tables did; ``None`` without one."""
        if self._told[picture] + statements != self._statements(picture):
            return None
        if picture not in self._copies:
            kept = self._kept(picture, total)
            if kept is None or len(kept) > _LARGEST:
                return None
            self._copies[picture] = dict(kept)
        self._told[picture] += statements
        return self._copies[picture]

    def distrust(self) -> None:
        """Statements were undone: nothing is known any more."""
        self._kept = lambda picture, total: None
        self._copies.clear()

    @property
    def left(self) -> dict[Picture, dict[Any, Any]]:
        """Those that show what this transaction stores."""
        return {
            picture: shown
            for picture, shown in self._copies.items()
            if self._told[picture] == self._statements(picture)
        }

    def _statements(self, picture: Picture) -> int:
        return sum(map(self._written.__getitem__, picture.tables))

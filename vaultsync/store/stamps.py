"""Knowing without reading that what was read before is still so.

A `Stamp` of some tables stays the same for as long as nobody changed them: neither this process, whose writes name the
tables that they change, nor another one, whose writes show in the count of all commits and change every stamp. Whoever
keeps what it read beside the stamp from *before* it read may use it again while the stamp is the same.

*Pictures* are kept that way, too, and outlive own writes: a transaction changes copies of them as it writes
(``pictures.py``), and what it leaves takes their place when it was committed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, Final, TypeAlias

from vaultsync.store.news import Commits
from vaultsync.store.pictures import Picture

__all__ = ["Stamp", "Stamps", "written_by"]

Stamp: TypeAlias = tuple[int, ...]
_WRITES: Final = re.compile(r"\b(?:INTO|UPDATE|DELETE\s+FROM)\s+([a-z_]+)")


@lru_cache(maxsize=512)
def written_by(sql: str) -> str | None:
    """The table that a statement of ours changes."""
    found = _WRITES.search(sql)
    return None if found is None else found[1]


class Stamps:
    """The stamps of one open file, and what was kept beside them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._commits = Commits()
        self._elsewhere = 0
        self._written: Counter[str] = Counter()
        self._kept: dict[object, tuple[Stamp, Any]] = {}

    @property
    def certain(self) -> bool:
        return self._commits.certain

    def own(self, number: int) -> None:
        """About to be committed by us."""
        self._commits.own(number)

    def committed(self, written: Mapping[str, int], pictures: Mapping[Picture, dict[Any, Any]]) -> None:
        """It was. ``written``: statements by table; ``pictures``: those that show what is stored now."""
        with self._lock:
            for table in written:
                self._written[table] += 1
            for picture, shown in pictures.items():
                self._kept[picture] = (self._now(picture.tables), shown)

    def picture(self, picture: Picture, total: int) -> Mapping[Any, Any] | None:
        """What is kept of it, if that holds when so many transactions changed the file; nobody may change it."""
        if not self._commits.at(total):
            return None
        with self._lock:
            kept = self._kept.get(picture)
            return kept[1] if kept is not None and kept[0] == self._now(picture.tables) else None

    def forget(self) -> None:
        """A commit has no known outcome: nothing that was kept counts."""
        with self._lock:
            self._commits.forget()
            self._elsewhere += 1
            self._kept.clear()

    def look(self, total: int) -> None:
        """So many transactions changed the file by now."""
        if self._commits.look(total):
            with self._lock:
                self._elsewhere += 1
                self._kept.clear()

    def of(self, tables: tuple[str, ...]) -> Stamp:
        """As of the last look."""
        with self._lock:
            return self._now(tables)

    def _now(self, tables: tuple[str, ...]) -> Stamp:
        return (self._elsewhere, *map(self._written.__getitem__, tables))

    def kept(self, what: object, stamp: Stamp) -> tuple[Any] | None:
        """What was kept, if it still counts."""
        kept = self._kept.get(what)
        return (kept[1],) if kept is not None and kept[0] == stamp else None

    def keep(self, what: object, stamp: Stamp, value: Any) -> None:
        with self._lock:
            self._kept[what] = (stamp, value)

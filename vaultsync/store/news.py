"""Telling one's own commits from those of other processes."""

from __future__ import annotations

from threading import Lock

__all__ = ["Commits"]


class Commits:
    """Which commits in the file are this store's own, by the number each gets in the tally: all others are news."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen = 0
        self._own: set[int] = set()
        self.certain = False
        """False until the first look, and after a commit of unknown outcome: the next look says "changed"."""

    def own(self, number: int) -> None:
        """About to be committed by us."""
        with self._lock:
            if number == self._seen + 1 and self.certain:
                self._seen = number
            else:
                self._own.add(number)
            if len(self._own) > 10_000:  # nobody looks
                self._own.clear()
                self.certain = False

    def forget(self) -> None:
        with self._lock:
            self.certain = False

    def at(self, total: int) -> bool:
        """Whether nobody else committed anything up to ``total`` that was not looked at yet."""
        with self._lock:
            return self.certain and not self._own and self._seen == total

    def look(self, total: int) -> bool:
        """Whether any of the commits up to ``total`` that were not looked at yet is somebody else's."""
        with self._lock:
            ours = sum(1 for number in self._own if self._seen < number <= total)
            changed = not self.certain or total - self._seen > ours
            self._seen = max(self._seen, total) if self.certain else total
            self._own = {number for number in self._own if number > self._seen}
            self.certain = True
            return changed

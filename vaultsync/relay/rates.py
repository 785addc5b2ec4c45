"""How often who may ask: one allowance each, refilled steadily. In memory, one a process. Pure but for the clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

__all__ = ["Rates"]

_BURST_SECONDS: Final = 10.0
_MAX_KNOWN: Final = 100_000  # of those that have not asked for longest, the full allowance is assumed again


class Rates:
    """``rate`` requests a second, and ten seconds' worth at once."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate, self._clock = rate, clock
        self._most = max(1.0, rate * _BURST_SECONDS)
        self._known: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, who: Hashable, cost: float = 1.0) -> float:
        """0 when ``who`` may go on, else after how many seconds to try again."""
        now = self._clock()
        left, at = self._known.pop(who, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        wait = 0.0 if left >= cost else (cost - left) / self._rate
        self._known[who] = (left if wait else left - cost, now)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return wait

"""When the next pass with one remote is due. Pure: the time (seconds of a clock that never jumps) is handed in.

Reached, the remote is left alone until there is something to do: an edit is pushed after a moment in which more edits
may follow. Away, it is tried again after pauses that double, each a little longer or shorter than that, so that devices
that lost a server together do not come back together.

Whatever suggests that the remote may be back (an edit, an application's hint, the end of a suspend) makes an attempt
at once. Such haste is rationed: `HASTE` seconds lie between two attempts, and after `HURRIES` hasty ones there is one
more every `REGAIN` seconds, however often somebody asks.

An attempt that is made for own edits alone need only push, while it is known from moments ago that there is nothing
new: `pushes`. After such ones a whole pass is due before long, whatever else happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

__all__ = [
    "APART",
    "DEBOUNCE",
    "FIRST_RETRY",
    "FOLLOW",
    "HASTE",
    "HEARD",
    "HURRIES",
    "LAST_RETRY",
    "LONGEST_DEBOUNCE",
    "REGAIN",
    "Pace",
]

DEBOUNCE: Final = 0.15
"""Seconds of quiet after an edit before it is pushed ..."""
LONGEST_DEBOUNCE: Final = 0.5
"""... but no edit waits longer than this for the quiet."""
TURN: Final = 0.25
"""Seconds between attempts while another process of this device syncs."""
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 60.0
"""Seconds between attempts while the remote is away: doubling from the first to the last."""
APART: Final = 0.1
"""Seconds between two passes at least, for a remote that reports news all the time."""
HASTE: Final = 1.0
HURRIES: Final = 4
REGAIN: Final = 15.0

HEARD: Final = 10.0
"""Seconds for which it is believed that there is nothing new. It decides how long an edit may go out under a key that a
device has which was just removed elsewhere (`exchange.Exchange.push`), so it is short."""
FOLLOW: Final = 300.0
"""Seconds after the first push without one within which a whole pass is made."""

_NEVER: Final = float("inf")


class Pace:
    """Not thread-safe: the thread that makes the attempts asks it. A new one is due at once."""

    def __init__(self, spread: Callable[[float, float], float] = random.uniform) -> None:
        """``spread(low, high)`` gives a number between the two, by which a pause is multiplied."""
        self._spread = spread
        self._due = -_NEVER
        self._first_edit: float | None = None
        self._failures = 0
        self._ended = -_NEVER
        self._hurries = float(HURRIES)
        self._counted = 0.0
        self._hasty = self._gathering = False
        self._whole = True
        self._heard = -_NEVER
        self._follow = _NEVER

    @property
    def reached(self) -> bool:
        """Whether the last attempt reached the remote (or there was none yet)."""
        return self._failures == 0

    def left(self, now: float) -> float | None:
        """Seconds until an attempt is due, 0 when it is; ``None`` when only news can make one due."""
        if self._due == _NEVER:
            return 0.0 if now >= self._follow else None
        return max(0.0, self._due - now)

    def pushes(self, now: float) -> bool:
        """Whether the attempt that is due is for own edits alone, and nothing new is known to be there."""
        return self.reached and not self._whole and now - self._heard <= HEARD and now < self._follow

    def asks(self, now: float) -> bool:
        """Whether edits are gathered that could be only pushed if somebody looked for news meanwhile."""
        return self.reached and self._gathering and not self._whole and now - self._heard > HEARD / 2

    # ---- what suggests an attempt -----------------------------------------------------------------------------
    def edited(self, now: float) -> None:
        """Something waits to be pushed."""
        if not self.reached:
            self._hurry(now)
            return
        self._first_edit = now if self._first_edit is None else self._first_edit
        if self._due == _NEVER or self._gathering:
            self._due = min(now + DEBOUNCE, self._first_edit + LONGEST_DEBOUNCE)
            self._gathering = True

    def heard(self, when: float) -> None:
        """It was found then that there is nothing new."""
        self._heard = max(self._heard, when)

    def news(self, now: float) -> None:
        """The remote may have something new."""
        self._whole = True
        self._bring_forward(max(now, self._ended + APART))

    def hint(self, now: float) -> None:
        """The remote may be back: an attempt at once, and from then on as after a first failure."""
        self._whole = True
        if self.reached:
            self._bring_forward(max(now, self._ended + HASTE))
        elif self._hurry(now):
            self._failures = 1

    def _bring_forward(self, due: float) -> None:
        if due < self._due:
            self._due, self._gathering = due, False

    def _hurry(self, now: float) -> bool:
        self._hurries = min(float(HURRIES), self._hurries + max(0.0, now - self._counted) / REGAIN)
        self._counted = now
        if self._hasty:
            return True  # one is on its way
        if self._hurries < 1.0:
            return False  # the attempt that is due anyway is at most `LAST_RETRY` away
        self._hurries -= 1.0
        self._hasty = True
        self._bring_forward(max(now, self._ended + HASTE))
        return True

    # ---- attempts ---------------------------------------------------------------------------------------------
    def began(self) -> None:
        """An attempt begins; what is noted from here on asks for another."""
        self._due, self._first_edit = _NEVER, None
        self._gathering = self._hasty = self._whole = False

    def succeeded(self, now: float, *, began: float | None = None) -> None:
        """A whole pass, which listed what was there after ``began``."""
        self._failures, self._ended = 0, now
        self._heard, self._follow = max(self._heard, now if began is None else began), _NEVER

    def pushed(self, now: float) -> None:
        """Own edits were sent, and nothing was listed."""
        self._failures, self._ended = 0, now
        self._follow = min(self._follow, now + FOLLOW)

    def failed(self, now: float, *, again: float | None = None) -> None:
        """The remote is away or refuses; ``again``: a fixed pause in seconds, for what trying soon cannot help."""
        self._failures += 1
        self._whole = True
        self._ended = now
        pause = min(FIRST_RETRY * 2.0 ** min(self._failures - 1, 16), LAST_RETRY) if again is None else again
        self._due = now + pause * self._spread(0.7, 1.3)

    def busy(self, now: float) -> None:
        """Somebody else is at it; what waits here may have come too late for that."""
        self._whole = True
        self._ended = now
        self._due = now + TURN

"""A world for a vault that comes from one seed: its clock, its randomness, and keys that cost nothing to derive."""

from __future__ import annotations

import random
import threading
from typing import Final

from vaultsync.crypto.primitives import WEAK_FOR_TESTS
from vaultsync.store import Connect
from vaultsync.vault.environment import Environment

__all__ = ["START_MS", "Clock", "Entropy", "environment"]

START_MS: Final = 1_767_225_600_000
"""2026-01-01 00:00 UTC, where simulated time begins."""


class Clock:
    """Milliseconds that pass only when somebody looks, one a look, or when told to. Thread-safe."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._now = start_ms
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """The time now (ms since the epoch); never the same twice."""
        with self._lock:
            self._now += 1
            return self._now

    def advance(self, ms: int) -> None:
        """Let time pass, or with a negative number set the clock back, as people do."""
        with self._lock:
            self._now += ms

    def monotonic(self) -> float:
        """The same clock in seconds."""
        return self() / 1000


class Entropy:
    """``n -> n bytes`` that look random and come from a seed. Thread-safe. Never for real keys."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, size: int) -> bytes:
        with self._lock:
            return self._random.randbytes(size)


def environment(seed: int | str = 0, *, clock: Clock | None = None, connect: Connect | None = None) -> Environment:
    """An `Environment` that replays: the same seed and the same calls give the same ids, keys and times.

    Every device of a test needs a seed of its own, else two of them make the same keys. Passwords are stretched by
    parameters that are refused everywhere else. ``connect`` puts another disk under the vault.
    """
    ticking = clock if clock is not None else Clock()
    return Environment(
        now_ms=ticking,
        monotonic=ticking.monotonic,
        entropy=Entropy(seed),
        argon2=WEAK_FOR_TESTS,
        weak_keys=True,
        connect=connect,
    )

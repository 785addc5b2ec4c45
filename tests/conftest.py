"""What every test owes the next one of its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

PATIENCE = 10.0
"""Seconds that a thread which was told to end may take: a long poll is given up when its connection closes."""


@pytest.fixture(autouse=True)
def no_thread_of_ours_outlives_its_test() -> Iterator[None]:
    """A vault that a test leaves open goes on syncing under the tests that follow, which then fail for it."""
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + PATIENCE
    while left := [t.name for t in set(threading.enumerate()) - before if t.name.startswith("vaultsync")]:
        assert time.monotonic() < until, f"this test left threads behind: {sorted(left)}"
        time.sleep(0.01)

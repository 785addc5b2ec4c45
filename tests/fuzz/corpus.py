"""Inputs worth keeping: for each target a text file of hex lines, what fuzzing found that took a path of its own.

Kept small: the shortest first, at most `MOST` a target, none longer than `LONGEST` bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
MOST = 40
LONGEST = 1_200


def load(target: str) -> list[bytes]:
    path = FOLDER / f"{target}.hex"
    return [bytes.fromhex(line) for line in path.read_text().splitlines()] if path.exists() else []


def keep(target: str, found: Iterable[bytes]) -> int:
    """Add what is new to the file; returns how many it holds."""
    every = sorted(
        {*load(target), *(data for data in found if len(data) <= LONGEST)}, key=lambda data: (len(data), data)
    )
    step = max(1, -(-len(every) // MOST))
    chosen = every[::step]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{target}.hex").write_text("".join(data.hex() + "\n" for data in chosen))
    return len(chosen)

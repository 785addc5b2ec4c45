"""Inputs that once killed, hung or bricked the engine, through every door that we have for bytes from outside.

Each file runs in a process of its own, with 1.5 GiB of address space and a time limit, so that a hole in the gate
fails one test and not the machine. ``hostile/README.md`` says where the files come from.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vaultsync.document.changes import unpack
from vaultsync.document.columns import to_signed, to_unsigned
from vaultsync.document.layout import GENESIS_HASH
from vaultsync.errors import MalformedChange

FILES = sorted(path.name for path in (Path(__file__).parent / "hostile").iterdir() if path.suffix != ".md")


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_input_is_refused_and_the_vault_lives_on(name):
    done = subprocess.run(
        [sys.executable, "-m", "tests.document.hostile_child", name],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["doors"]
    assert set(result["doors"]) <= {"MalformedChange", "MissingDependencies"}
    assert result["seconds"] < 2
    assert (result["verified"], result["title"], result["changes"]) == (True, "still here", 3)


def bomb_pack(shapes: int, rows: int, changes: int) -> bytes:
    """A pack in which few bytes stand for very many operations."""

    def column(*runs: tuple[int, int]) -> bytes:
        data = b"".join(to_signed(count) + to_unsigned(cell) for count, cell in runs)
        return to_unsigned(len(data)) + data

    total = shapes * rows
    parts = [b"\1", b"\1", b"\5", b"\1\x10" + b"\xe5" * 16, b"\1\1k", b"\1" + GENESIS_HASH]
    parts += [column((shapes, rows)), column((total, 1)), column((total, 0)), column((total, 0)), column((total, 1))]
    parts += [column((total, 0)), column((total, 0)), b"\0", b"\0"]
    parts += [column((changes, 0)), column((changes, 0)), column((changes, 1)), b"\0"]
    parts += [b"\0", b"\0", b"\0", b"\0", b"\0", b"\0"]
    return b"".join(parts)


def test_such_a_pack_is_good_while_it_is_small():
    assert len(unpack(bomb_pack(1, 3, 5), max_bytes=1 << 20)) == 5


@pytest.mark.parametrize(
    ("shapes", "rows", "changes"),
    [(1, 20_001, 1), (1, 1, 1 << 40), (1 << 40, 1, 1), (100_000, 1, 100_000), (1, 20_000, 100_000), (20, 20_000, 20)],
)
def test_a_pack_that_expands_without_end_is_refused_soon(shapes, rows, changes):
    began = time.process_time()
    with pytest.raises(MalformedChange):
        unpack(bomb_pack(shapes, rows, changes), max_bytes=1 << 20)
    assert time.process_time() - began < 10

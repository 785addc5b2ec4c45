"""Inputs that once killed, hung or bricked the engine, through every door that we have for bytes from outside.

Each file runs in a process of its own, with 1.5 GiB of address space and a time limit, so that a hole in the gate
fails one test and not the machine. ``hostile/README.md`` says where the files come from.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.document.model import ANN, IDS
from vaultsync.document.changes import decode, pack, unpack
from vaultsync.document.codec import to_signed, to_unsigned, unsigned
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.layout import GENESIS_HASH
from vaultsync.errors import MalformedChange, MissingDependencies

FILES = sorted(path.name for path in (Path(__file__).parent / "hostile").iterdir() if path.suffix != ".md")
MEMORY = 3 << 29
SECONDS = 20
MAGIC = b"\x85\x6f\x4a\x83"


def chunks_in(data: bytes) -> list[bytes]:
    """Whatever may be a chunk in a file: from each magic to the next, and as long as its own length says."""
    starts = [at for at in range(len(data)) if data.startswith(MAGIC, at)]
    found = [data]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        found.append(data[start:end])
        try:
            length, at = unsigned(data, start + 9)
        except (IndexError, MalformedChange):
            continue
        found.append(data[start : at + length])
    return list(dict.fromkeys(found))


def attempt(act) -> str:
    try:
        act()
    except (MalformedChange, MissingDependencies) as error:
        return type(error).__name__
    return "accepted"


def run(name: str) -> dict[str, object]:
    """In the child: every chunk of the file through every door, and then whether the vault still works."""
    data = (Path(__file__).parent / "hostile" / name).read_bytes()
    engine = Engine.new()
    engine.commit(ANN, [Edit("entries", IDS[0], "title", "t")])
    chunks = chunks_in(data)
    began = time.process_time()
    outcomes = {}
    for number, chunk in enumerate(chunks):
        plain = b"\0" + to_unsigned(len(chunk)) + chunk
        outcomes[number] = [
            attempt(lambda: engine.apply([chunk])),  # noqa: B023 (called at once)
            attempt(lambda: decode(chunk)),  # noqa: B023
            attempt(lambda: unpack(plain, max_bytes=1 << 24)),  # noqa: B023
            attempt(lambda: unpack(b"\1" + chunk, max_bytes=1 << 24)),  # noqa: B023
        ]
        if pack([chunk, chunk])[0] != 0:
            raise RuntimeError("packed as if it were good")
    together = [attempt(lambda: engine.apply(chunks)), attempt(lambda: engine.apply(chunks[::-1]))]
    seconds = time.process_time() - began
    engine.commit(ANN, [Edit("entries", IDS[0], "title", "still here")])
    snapshot = engine.save()
    return {
        "doors": [outcome for four in outcomes.values() for outcome in four[:1] + four[2:]] + together,
        "seconds": seconds,
        "verified": Engine.verify_snapshot(snapshot, engine.heads),
        "title": (Engine.load(snapshot).read("entries", IDS[0]) or {}).get("title"),
        "changes": len(engine.changes()),
    }


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_input_is_refused_and_the_vault_lives_on(name):
    done = subprocess.run(
        [sys.executable, "-c", f"from tests.document.test_hostile import child; child({name!r})"],
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["doors"]
    assert set(result["doors"]) <= {"MalformedChange", "MissingDependencies"}
    assert result["seconds"] < 2
    assert (result["verified"], result["title"], result["changes"]) == (True, "still here", 3)


def child(name: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    print(json.dumps(run(name)))


def bomb_pack(shapes: int, rows: int, changes: int) -> bytes:
    """A pack in which few bytes stand for very many operations."""

    def column(*runs: tuple[int, int]) -> bytes:
        data = b"".join(to_signed(count) + to_unsigned(cell) for count, cell in runs)
        return to_unsigned(len(data)) + data

    total = shapes * rows
    parts = [b"\1", b"\1", b"\5", b"\1\x10" + b"\xe5" * 16, b"\1\1k", b"\1" + GENESIS_HASH]
    parts += [column((shapes, rows)), column((total, 2)), b"\0", column((total, 0)), column((total, 1))]
    parts += [column((total, 0)), column((total, 0)), b"\0", b"\0"]
    parts += [column((changes, 0)), column((changes, 0)), column((changes, 1)), b"\0"]
    parts += [column((changes * rows, 4)), b"\0", b"\0", b"\0", b"\0", b"\0"]
    return b"".join(parts)


@pytest.mark.parametrize(
    ("shapes", "rows", "changes"),
    [(1, 20_001, 1), (1, 1, 1 << 40), (1 << 40, 1, 1), (400_000, 1, 400_000), (1, 20_000, 400_000), (20, 20_000, 20)],
)
def test_a_pack_that_expands_without_end_is_refused_soon(shapes, rows, changes):
    began = time.process_time()
    with pytest.raises(MalformedChange):
        unpack(bomb_pack(shapes, rows, changes), max_bytes=1 << 20)
    assert time.process_time() - began < 10

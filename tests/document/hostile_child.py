"""Gives one hostile file to every door for bytes from outside; run by ``test_hostile.py`` in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from vaultsync.document.changes import decode, pack, unpack
from vaultsync.document.columns import to_unsigned, unsigned
from vaultsync.document.engine import Edit, Engine
from vaultsync.errors import MalformedChange, MissingDependencies

MEMORY = 3 << 29
SECONDS = 20
MAGIC = b"\x85\x6f\x4a\x83"
ANN = b"\xa1" * 16
ENTRY = "01HZY000000000000000000001"


def chunks_in(data: bytes) -> list[bytes]:
    """Whatever may be a chunk in a file: from each magic to the next, and as long as its own length says."""
    starts = [at for at in range(len(data)) if data.startswith(MAGIC, at)]
    found = [data]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=False):
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
    engine.commit(ANN, [Edit("entries", ENTRY, "title", "t")])
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
    engine.commit(ANN, [Edit("entries", ENTRY, "title", "still here")])
    snapshot = engine.save()
    return {
        "doors": [outcome for four in outcomes.values() for outcome in four[:1] + four[2:]] + together,
        "seconds": seconds,
        "verified": Engine.verify_snapshot(snapshot, engine.heads),
        "title": (Engine.load(snapshot).read("entries", ENTRY) or {}).get("title"),
        "changes": len(engine.changes()),
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    print(json.dumps(run(sys.argv[1])))

"""kill -9 of a real process at random moments: what was acknowledged is there, nothing is there by half."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vaultsync
from vaultsync.errors import VaultNotFound
from vaultsync.store import Store, files

KILLS = int(os.environ.get("VAULTSYNC_KILLS", "40"))
SEED = int(os.environ.get("VAULTSYNC_SEED", "1"))
ME = b"m" * 16

ALONE = f"""
import sys, types
package = types.ModuleType("vaultsync")  # the store alone: a hundred processes need not import the rest
package.__path__ = {list(vaultsync.__path__)!r}
sys.modules["vaultsync"] = package
"""

WRITER = """
import random, sys
from vaultsync.store import Store, split
path, start, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def blob(number, size): return random.Random(number).randbytes(size)
def say(*words): sys.stdout.write(" ".join(map(str, words)) + "\\n"); sys.stdout.flush()
rng = random.Random(seed)
store = Store.open(path)
say("open")
seq = start
while True:
    with store.write() as writing:  # a group: all of them or none
        group = rng.choice([1, 1, 1, 3])
        for _ in range(group):
            seq += 1
            writing.append(b"m" * 16, seq, blob(-seq, 32), blob(seq, 50 + seq * 37 % 3000))
        writing.set_state("last", b"%d" % seq)
        writing.set_state("group", b"%d" % group)
    say("seq", seq)
    if rng.random() < 0.15:
        with store.write() as writing:
            generation = writing.put_snapshot(writing.position(), b"index %d" % seq, split(blob(seq, 150_000)))
        with store.write() as writing:
            writing.confirm_snapshot(generation)
            alone = [row for row in writing.unpacked(b"m" * 16) if row.holds == 1]
            if len(alone) > 1:
                writing.join_own(alone, b"".join(row.hash for row in alone))
        say("snapshot", seq)
    if rng.random() < 0.2:
        with store.write() as writing:
            writing.put_envelope(f"v/env/{seq}", b"m" * 16, seq, b"id", 1, blob(seq, 900), True)
            writing.packed_up_to(b"m" * 16, seq)
        say("packed", seq)
    if rng.random() < 0.05:
        store.scrub()
"""


def blob(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def killed_after(arguments: list[str], delay: float, wait_for: str) -> list[list[str]]:
    """Start a process, kill it ``delay`` seconds after it said ``wait_for``; returns the lines that it finished
    saying."""
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE + arguments[0], *arguments[1:]], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline().split()
    assert first == [wait_for]
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.wait()
    process.stdout.close()
    return [line.split() for line in rest.split("\n")[:-1]]


def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    Store.create(path, header=b"h", slots=[b"s"]).close()
    rng = random.Random(SEED)
    seq = snapshot = packed = 0
    for kill in range(KILLS):
        said = killed_after([WRITER, str(path), str(seq), f"{SEED}{kill}"], rng.random() ** 2 * 0.08, "open")
        told = {word: max((int(n) for w, n in said if w == word), default=0) for word in ("seq", "snapshot", "packed")}
        with Store.open(path) as store, store.read() as reading:
            tip = reading.own_tip(ME)
            now = tip.seq if tip else 0
            assert max(seq, told["seq"]) <= now <= max(seq, told["seq"]) + 3, kill
            assert reading.position() == now
            if now:
                assert reading.state("last") == b"%d" % now, "a group is stored as a whole"
            for row in reading.journal(reading.floor()):
                assert row.position == row.seq
                assert (row.hash, row.sealed) == (blob(-row.seq, 32), blob(row.seq, 50 + row.seq * 37 % 3000)), kill
            held: list[int] = []
            for row in reading.unpacked(ME):
                numbers = range(row.seq - row.holds + 1, row.seq + 1)
                held += numbers
                assert row.holds == 1 or row.sealed == b"".join(blob(-number, 32) for number in numbers), kill
            assert tip is None or [n for n in held if n > tip.packed] == list(range(tip.packed + 1, now + 1))
            snapshot, packed = max(snapshot, told["snapshot"]), max(packed, told["packed"])
            assert reading.floor() >= snapshot
            assert tip is None or tip.packed >= packed
            found = reading.snapshot()
            if found is not None:
                assert found.index == b"index %d" % found.position
                assert b"".join(found.segments()) == blob(found.position, 150_000)
            for envelope in reading.envelopes(ME, seq):
                assert envelope.data == blob(envelope.seq, 900)
            seq = now
        if kill % 10 == 0:
            with Store.open(path) as store:
                assert store.check().ok
    assert seq > KILLS, "the writer got to write something before it was killed"


CREATOR = """
import os, sys
from vaultsync.store import Store
sys.stdout.write("ready\\n"); sys.stdout.flush()
for number in range(1000):
    path = f"{sys.argv[1]}.{number}"
    Store.create(path, header=b"header", slots=[b"slot"]).close()
    sys.stdout.write(f"made {number}\\n"); sys.stdout.flush()
"""


def test_killed_while_creating_there_is_a_whole_vault_or_none(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    left = 0
    for kill in range(max(10, KILLS // 4)):
        folder = tmp_path / str(kill)
        folder.mkdir()
        said = killed_after([CREATOR, str(folder / "ann")], rng.random() * 0.05, "ready")
        made = len(said)
        for number in range(made):
            with Store.open(folder / f"ann.{number}") as store:
                assert (store.header, store.slots) == (b"header", [b"slot"])
        path = folder / f"ann.{made}"
        left += len(files.leftovers(path))
        try:
            store = Store.open(path)
        except VaultNotFound:
            assert not path.exists()
            store = Store.create(path, header=b"header", slots=[b"slot"])
        with store:
            assert store.check().ok
            assert store.slots == [b"slot"]
        assert files.leftovers(path) == []
    assert left, "some were killed in the middle, or this tests nothing"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_the_log_of_a_killed_process_is_taken_over_by_others(tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    Store.create(path, header=b"h", slots=[b"s"]).close()
    with Store.open(path) as store:
        killed_after([WRITER, str(path), "0", "5"], 0.05, "open")
        assert store.changed_elsewhere()
        with store.write() as writing:
            tip = writing.own_tip(ME)
            assert tip is not None
            writing.append(ME, tip.seq + 1, b"h" * 32, b"mine")

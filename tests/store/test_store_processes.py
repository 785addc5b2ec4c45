"""Several processes on one file: no number twice, no row lost, and readers follow or are told to reload."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vaultsync.errors import Compacted
from vaultsync.store import Store

PROCESSES, APPENDS = 4, int(os.environ.get("VAULTSYNC_RACES", "60"))
ME = b"m" * 16

APPENDER = """
import sys
from vaultsync.store import Store, split
path, me, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = Store.open(path)
print("ready", flush=True)
sys.stdin.readline()
at = 0
for number in range(count):
    with store.write() as writing:
        if at < writing.floor():
            at = writing.floor()
        for row in writing.journal(at):  # what others added is applied before anything is added
            at = row.position
        tip = writing.own_tip(b"m" * 16)
        seq = tip.seq + 1 if tip else 1
        at = writing.append(b"m" * 16, seq, b"%032d" % seq, f"{me}/{number}".encode())
    if number % 20 == 19:
        with store.write() as writing:
            generation = writing.put_snapshot(writing.position(), b"i", split(bytes(100_000)))
        with store.write() as writing:
            writing.confirm_snapshot(generation)
    print(seq, flush=True)
"""


def test_processes_appending_share_one_count(tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    with Store.create(path, header=b"h", slots=[b"s"]) as store:
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", APPENDER, path, str(number), str(APPENDS)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for number in range(PROCESSES)
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        at = reloads = 0
        seen: list[int] = []
        while any(writer.poll() is None for writer in writers) or store.changed_elsewhere():
            with store.read() as reading:
                try:
                    new = [row.position for row in reading.journal(at)]
                except Compacted:
                    reloads += 1
                    found = reading.snapshot()
                    assert found is not None
                    assert found.position >= at
                    new = [row.position for row in reading.journal(found.position)]
                seen += new
                at = reading.position()
        said = [int(line) for writer in writers for line in (writer.stdout or []) if line.strip()]
        for writer in writers:
            assert writer.wait() == 0
            for pipe in (writer.stdin, writer.stdout):
                assert pipe is not None
                pipe.close()
        total = PROCESSES * APPENDS
        assert sorted(said) == list(range(1, total + 1)), "every number once"
        assert seen == sorted(set(seen)), "in order, none twice"
        with store.read() as reading:
            rows = list(reading.unpacked(ME))
            assert [row.seq for row in rows] == list(range(1, total + 1))
            for number in range(PROCESSES):
                mine = [row.sealed for row in rows if row.sealed.startswith(b"%d/" % number)]
                assert mine == [b"%d/%d" % (number, k) for k in range(APPENDS)]
        assert store.check().ok


def test_a_reader_below_the_floor_is_told_to_reload(tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    with Store.create(path, header=b"h", slots=[b"s"]) as store, Store.open(path) as other:
        with store.write() as writing:
            for seq in (1, 2, 3):
                writing.append(ME, seq, b"%032d" % seq, b"x")
        with other.read() as reading:
            assert [row.seq for row in reading.journal(0)] == [1, 2, 3]
            with store.write() as writing:
                generation = writing.put_snapshot(3, b"i", [b"s"])
                writing.confirm_snapshot(generation)
            assert [row.seq for row in reading.journal(1)] == [2, 3], "an older picture stays whole"
        with other.read() as reading:
            assert reading.floor() == 3
            try:
                reading.journal(1)
            except Compacted as error:
                assert "snapshot" in str(error)  # noqa: PT017
            else:
                raise AssertionError("rows 2 and 3 are not in the journal any more")
            assert list(reading.journal(3)) == []


def test_compaction_keeps_exactly_what_is_not_packed(tmp_path: Path) -> None:
    with Store.create(tmp_path / "ann.vault", header=b"h", slots=[b"s"]) as store:
        with store.write() as writing:
            for seq in range(1, 7):
                writing.append(ME, seq, b"%032d" % seq, b"own")
                writing.append(b"o" * 16, seq, b"o%031d" % seq, b"other", "foreign")
            writing.packed_up_to(ME, 2)
            assert writing.confirm_snapshot(writing.put_snapshot(10, b"i", [b"s"]))
            assert [(row.position, row.seq) for row in writing.salvage()] == [(5, 3), (7, 4), (9, 5), (11, 6), (12, 6)]
            assert writing.weight() == (2, len(b"own" + b"other"))
            writing.packed_up_to(ME, 4)
            writing.packed_up_to(ME, 3)
            assert [row.position for row in writing.salvage()] == [9, 11, 12]
            assert [row.seq for row in writing.unpacked(ME)] == [5, 6]
        assert store.check().ok


def test_confirming_a_snapshot_that_was_overtaken_leaves_no_hole(tmp_path: Path) -> None:
    """Two processes snapshot at once, and the one with the higher number saw less: its confirmation comes too late."""
    with Store.create(tmp_path / "ann.vault", header=b"h", slots=[b"s"]) as store:
        with store.write() as writing:
            for seq in range(1, 7):
                writing.append(b"o" * 16, seq, b"o%031d" % seq, b"other", "foreign")
            saw_more = writing.put_snapshot(6, b"more", [b"s"])
            saw_less = writing.put_snapshot(4, b"less", [b"s"])
        with store.write() as writing:
            assert writing.confirm_snapshot(saw_more)
            assert not writing.confirm_snapshot(saw_less)
        with store.read() as reading:
            found = reading.snapshot()
            assert found is not None
            assert (found.position, reading.floor()) == (6, 6)

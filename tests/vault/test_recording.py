"""Rows of the journal: what is written down is what is read, deflated and in strips too; nothing that was not sent is
lost with a snapshot."""

from __future__ import annotations

import os
import random
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vaultsync as vs
from tests.vault.test_healing import Device, titles
from vaultsync import limits
from vaultsync.document.changes import Change
from vaultsync.document.codec import decode_own
from vaultsync.document.edits import Edit
from vaultsync.document.engine import Engine
from vaultsync.errors import BadSeal, DamagedStore
from vaultsync.store import JournalRow, Origin
from vaultsync.testing import MemoryRemote
from vaultsync.vault.recording import GroupMark, record, recorded, runs, strip, strips, together

FEW = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "20")), deadline=None)
ME, YOU = b"m" * 16, b"y" * 16
marks = st.none() | st.builds(
    GroupMark, st.binary(min_size=16, max_size=16), st.integers(0, 1 << 20), st.integers(0, 1 << 20)
)


@given(st.binary(max_size=5_000).map(b"\x85".__add__) | st.integers(0, 90_000).map(lambda n: b"\x85" * (n + 1)), marks)
def test_what_is_recorded_is_read(chunk: bytes, mark: GroupMark | None) -> None:
    data = record(chunk, mark)
    assert recorded(data) == [(chunk, mark)]
    assert len(data) <= len(chunk) + 25


def test_what_compresses_is_smaller_and_what_does_not_is_left() -> None:
    assert len(record(b"\x85" * 100_000)) < 1_000
    noise = b"\x85" + random.Random(1).randbytes(10_000)
    assert record(noise) == noise
    assert record(b"\x85" * 100) == b"\x85" * 100


def edits(numbers: random.Random) -> Iterator[bytes]:
    """Changes of one device, most of them small, between them some of another that it then builds on."""
    engine = Engine.new()
    engine.commit(ME, [Edit("entries", f"{n:026d}", "title", "x") for n in range(5)])
    for _ in range(60):
        if numbers.random() < 0.1:
            engine.commit(YOU, [Edit("settings", "", "a", numbers.random())])
        key = numbers.choice(["password", "title", f"tags/{numbers.random()}"])
        value = "".join(numbers.choices("abc", k=numbers.choice([5, 20, 4_000])))
        for change in engine.commit(ME, [Edit("entries", f"{numbers.randrange(5):026d}", key, value)]):
            yield change.chunk  # none when the value is there already


@FEW
@given(st.integers(0, 1 << 32))
def test_a_strip_gives_back_the_same_changes(seed: int) -> None:
    numbers = random.Random(seed)
    changes = [
        (chunk, GroupMark(numbers.randbytes(16), numbers.randrange(9), 9) if numbers.random() < 0.2 else None)
        for chunk in edits(numbers)
    ]
    stripped = strip(changes)
    assert recorded(stripped) == changes
    start = numbers.randrange(len(changes))
    assert recorded(strip(changes[start:])) == changes[start:]


def test_a_strip_of_small_edits_is_small() -> None:
    engine, numbers = Engine.new(), random.Random(3)
    engine.commit(ME, [Edit("entries", f"{n:026d}", "title", "x") for n in range(100)])
    chunks = [
        engine.commit(ME, [Edit("entries", f"{numbers.randrange(100):026d}", "password", numbers.randbytes(6).hex())])
        for _ in range(1_000)
    ]
    assert len(strip([(chunk.chunk, None) for (chunk,) in chunks])) < 30_000


@FEW
@given(st.integers(0, 1 << 32))
def test_received_changes_share_rows(seed: int) -> None:
    changes = [decode_own(chunk) for chunk in edits(random.Random(seed))]
    changes = (
        changes[: random.Random(seed).randrange(len(changes))] + changes[len(changes) // 2 :]
    )  # some numbers twice
    parted = list(runs(changes))
    assert [change for run in parted for change in run] == changes
    for run in parted:
        assert recorded(together(run)) == [(change.chunk, None) for change in run]
        assert [change.seq for change in run] == list(range(run[0].seq, run[0].seq + len(run)))
        assert len(run) == 1 or all(len(change.chunk) < limits.DEFLATE_FROM_BYTES for change in run)


def test_how_many_share_a_row() -> None:
    one = Change(b"h" * 32, (), ME, 1, 1, (), bytes(100))
    small = [one._replace(seq=seq) for seq in range(1, 2_501)]
    assert [len(run) for run in runs(small)] == [1_024, 1_024, 452]
    middling = [change._replace(chunk=bytes(2_000)) for change in small[:200]]
    assert [len(run) for run in runs(middling)] == [132, 68], "no damaged page takes more than that"
    large = [*small[:3], small[3]._replace(chunk=bytes(50_000)), *small[4:6]]
    assert [len(run) for run in runs(large)] == [3, 1, 2]
    assert [len(run) for run in runs([*small[:3], small[3]._replace(actor=YOU), *small[5:7]])] == [3, 1, 2]
    assert list(runs([])) == []


def test_a_garbled_row_is_told() -> None:
    numbers = random.Random(5)
    stripped = strip([(chunk, None) for chunk in edits(numbers)])
    body = zlib.decompress(stripped[1:])
    for bad in (stripped[:-5], b"S", b"Z", b"Zabc", b"S" + zlib.compress(body[:-3]), b"T" + body[:-3], b"T\0"):
        with pytest.raises(BadSeal):
            recorded(bad)


def test_a_row_that_inflates_without_end_is_not_inflated() -> None:
    with pytest.raises(BadSeal, match="larger"):
        recorded(b"Z" + zlib.compress(bytes(limits.MAX_ROW_BYTES + 1)))


def rows(*sizes: int, start: int = 1) -> list[JournalRow]:
    return [JournalRow(n, ME, n, b"h", bytes(size), Origin.OWN) for n, size in enumerate(sizes, start)]


def test_which_rows_become_strips() -> None:
    some = rows(*[100] * 2_500)
    assert [len(part) for part in strips(some, 2_500)] == [1_024, 1_024, 452]
    assert [len(part) for part in strips(some, 20)] == [20]
    assert list(strips(some[:10], 2_500)) == []
    large = [*rows(*[100] * 20), *rows(50_000, start=21), *rows(*[100] * 10, start=22)]
    assert list(strips(large, 100)) == [large[:20]]
    held = [*large[:20], large[20]._replace(sealed=b"", holds=7), *rows(*[100] * 16, start=22)]
    assert [(part[0].seq, part[-1].seq) for part in strips(held, 100)] == [(1, 20), (22, 37)]


# ---- in a vault ---------------------------------------------------------------------------------------------------
def holds(device: Device) -> list[int]:
    with sqlite3.connect(device.path) as file:
        return [own for (own,) in file.execute("SELECT own FROM journal ORDER BY position")]


def folded(device: Device, more: int = 40) -> None:
    """More edits that are not sent, and a snapshot that holds them."""
    with device.open() as vault:
        for number in range(more):
            title = f"unsent more {number}"
            vault.add("login", title=title)
            device.all.add(title)
        assert vault._ledger.snapshot(at_least=1)


def test_what_was_not_sent_is_kept_in_few_rows_and_sent(tmp_path: Path) -> None:
    remote = MemoryRemote()
    device = Device(tmp_path, remote, snapshot=False)
    folded(device)
    assert holds(device) == [42]
    with device.open() as vault:
        assert vault.check().ok
        vault.add("login", title="after")
        vault.sync()
        assert titles(vault) == {*device.all, "after"}
        assert vault._ledger.snapshot(at_least=1)
    assert holds(device) == []
    with vs.Vault.join(
        tmp_path / "other.vault",
        "memory://",
        schema=vault.schema,
        password="pw",
        code=device.code,
        device="Phone",
        environment=device.environment(),
        opener=lambda url: remote,
        background=False,
    ) as other:
        assert titles(other) == {*device.all, "after"}


def test_a_damaged_snapshot_takes_nothing_along_that_was_not_sent(tmp_path: Path) -> None:
    device = Device(tmp_path, MemoryRemote())
    folded(device)
    with sqlite3.connect(device.path) as file:
        file.execute("UPDATE segments SET sealed = zeroblob(length(sealed))")
    with pytest.raises(DamagedStore):
        device.open()
    outcome = device.heal()
    assert not outcome.lost
    with device.open() as vault:
        assert titles(vault) == device.all
        assert vault.check().ok


def test_a_strip_that_is_damaged_is_told(tmp_path: Path) -> None:
    device = Device(tmp_path, MemoryRemote(), snapshot=False)
    folded(device)
    with sqlite3.connect(device.path) as file:
        file.execute("UPDATE journal SET sealed = zeroblob(length(sealed))")
    with device.open() as vault:
        health = vault.check()
        assert any(
            "42 of this device's own changes, not sent anywhere yet, are missing" in line for line in health.lost
        )
        with pytest.raises(DamagedStore):
            vault.sync()
        assert titles(vault) == device.all  # the snapshot holds them


def test_strips_are_sealed_anew_with_everything_else(tmp_path: Path) -> None:
    device = Device(tmp_path, MemoryRemote(), snapshot=False)
    folded(device)
    with device.open() as vault:
        vault.change_password("pw", "other", code=device.code)
        assert vault.check().ok
        vault.sync()
        assert titles(vault) == device.all

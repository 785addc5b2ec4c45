"""Offline and back: quick when there is a reason, patient when there is none, and in nobody's way meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vaultsync as vs
from vaultsync.errors import RemoteUnavailable
from vaultsync.testing import Clock, MemoryRemote, environment
from vaultsync.testing.vaults import KEY
from vaultsync.vault.replication.background import Background, Outcome

SCHEMA = vs.Schema(
    "notes",
    version=1,
    platform="linux",
    types=[vs.EntryType("note", fields=[vs.Field("title", vs.text), vs.Field("scan", vs.file)])],
)
PATIENCE = 20.0
CENTURY_MS = 36_525 * 86_400_000


def wait_for(holds: Callable[[], bool]) -> float:
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < PATIENCE, "still not so"
        time.sleep(0.005)
    return time.monotonic() - started


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("vaultsync")])


class Counting(MemoryRemote):
    """Counts the passes that begin (each asks for the list of devices first)."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[float] = []

    def list(self, prefix: str) -> list[str]:
        if "/roster" in prefix:
            self.attempts.append(time.monotonic())
        return super().list(prefix)


def create(path: Path, remote: MemoryRemote, clock: Clock | None = None) -> vs.Vault:
    vault = vs.Vault.create(path, schema=SCHEMA, key=KEY, environment=environment(str(path), clock=clock))
    vault.connect("memory://", remote=remote)
    wait_for(lambda: vault.status.state is vs.State.UP_TO_DATE)
    return vault


def long_away(vault: vs.Vault, remote: Counting) -> None:
    """Until the pauses between attempts are longer than a test's patience to wait for one by chance."""
    remote.present = False
    for _ in range(5):
        seen = len(remote.attempts)
        if vault.status.state is vs.State.OFFLINE and len(remote.attempts) >= 4:
            break
        wait_for(lambda: len(remote.attempts) > seen)  # noqa: B023
    assert vault.status.state is vs.State.OFFLINE


@pytest.mark.parametrize("what", ["edit", "wake", "resume"])
def test_what_suggests_a_return_is_tried_at_once(tmp_path: Path, what: str) -> None:
    remote, clock = Counting(), Clock()
    vault = create(tmp_path / "v", remote, clock)
    long_away(vault, remote)
    time.sleep(1.0)
    remote.present = True
    if what == "edit":
        vault.add("note", title="x")
    elif what == "wake":
        vault.wake()
    else:
        clock.advance(3_600_000)  # the computer slept: only the clock on the wall went on
    took = wait_for(lambda: vault.status.state is vs.State.UP_TO_DATE)
    print(f"{what}: up to date after {took:.2f} s")
    assert took < (6.5 if what == "resume" else 3.0)
    vault.close()


def test_hints_and_edits_without_number_are_no_hammer(tmp_path: Path) -> None:
    remote = Counting()
    vault = create(tmp_path / "v", remote)
    remote.present = False
    remote.attempts.clear()
    end = time.monotonic() + 4.0
    while time.monotonic() < end:
        vault.wake()
        vault.add("note", title="x")
        time.sleep(0.01)
    print(f"{len(remote.attempts)} attempts in 4 s")
    assert 2 <= len(remote.attempts) <= 8
    remote.present = True
    remote.attempts.clear()
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        vault.wake()
        time.sleep(0.01)
    assert len(remote.attempts) <= 8, "nor while it is there"
    vault.close()


@pytest.mark.parametrize("by", [CENTURY_MS, -CENTURY_MS])
def test_a_clock_that_jumps_a_century_disturbs_nothing(tmp_path: Path, by: int) -> None:
    remote, clock = Counting(), Clock()
    vault = create(tmp_path / "v", remote, clock)
    clock.advance(by)
    entry = vault.add("note", title="in another century")
    wait_for(lambda: vault.status.state is vs.State.UP_TO_DATE and vault.status.pending == 0)
    str(vault.status)
    clock.advance(-by)
    vault.update(entry, title="and back")
    wait_for(lambda: vault.status.state is vs.State.UP_TO_DATE and vault.status.pending == 0)
    assert len(remote.attempts) < 12
    vault.close()


def test_status_says_since_when(tmp_path: Path) -> None:
    remote, clock = Counting(), Clock()
    vault = create(tmp_path / "v", remote, clock)
    before = clock()
    remote.present = False
    wait_for(lambda: vault.status.state is vs.State.OFFLINE)
    first = vault.status.since_ms
    assert first is not None
    assert before <= first <= clock()
    long_away(vault, remote)
    assert vault.status.since_ms == first, "a further failure is no new beginning"
    assert vault.status.message
    remote.present = True
    vault.wake()
    wait_for(lambda: vault.status.state is vs.State.UP_TO_DATE)
    assert (vault.status.since_ms or 0) > first
    vault.close()


class Slow(MemoryRemote):
    """Hangs in ``put`` until told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.hang, self.stuck, self.go = False, threading.Event(), threading.Event()

    def put(self, name: str, data: bytes) -> None:
        if self.hang:
            self.stuck.set()
            self.go.wait(PATIENCE)
        super().put(name, data)


def test_reading_an_attachment_does_not_wait_for_a_pass(tmp_path: Path) -> None:
    remote = Slow()
    vault = create(tmp_path / "v", remote)
    entry = vault.attach(vault.add("note", title="x"), "a.bin", b"contents")
    wait_for(lambda: vault.status.state is vs.State.UP_TO_DATE and vault.status.pending == 0)
    with vault._ledger.store.write() as writing:  # as on a device that did not fetch it yet
        for name in [name for name in writing.names() if "/blob/" in name]:
            writing.drop_envelope(name)
    remote.hang = True
    vault.add("note", title="is being sent, slowly")
    assert remote.stuck.wait(PATIENCE)
    started = time.monotonic()
    assert vault.read_attachment(entry) == b"contents"
    assert vault.invite() is not None
    assert time.monotonic() - started < 3
    assert not remote.go.is_set()
    remote.go.set()
    vault.close()


def test_connecting_elsewhere_does_not_wait_for_a_remote_that_hangs(tmp_path: Path) -> None:
    remote, other = Slow(), MemoryRemote()
    vault = create(tmp_path / "v", remote)
    remote.hang = True
    vault.add("note", title="stuck")
    assert remote.stuck.wait(PATIENCE)
    started = time.monotonic()
    vault.disconnect()
    assert time.monotonic() - started < 3
    assert vault.status.state is vs.State.NOT_CONNECTED
    remote.go.set()
    vault.connect("memory://other", remote=other)
    wait_for(lambda: vault.status.state is vs.State.UP_TO_DATE)
    assert len(other.objects) >= 3
    vault.close()


class Deaf(Counting):
    """Answers everything, but cannot be waited on."""

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        raise RemoteUnavailable("no way to wait")


def test_a_remote_that_cannot_be_waited_on_is_not_hammered(tmp_path: Path) -> None:
    remote = Deaf()
    vault = vs.Vault.create(tmp_path / "v", schema=SCHEMA, key=KEY, environment=environment("v"))
    vault.connect("memory://", remote=remote)
    time.sleep(3.0)
    assert 1 <= len(remote.attempts) <= 6
    vault.close()


def test_time_that_passes_in_a_short_wait_counts_as_sleep() -> None:
    """Some systems count sleep on every clock: then a wait of seconds took hours."""
    now, slept = [0.0], threading.Event()

    class Line:
        def remote(self) -> Line:
            return self

        def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
            if not slept.is_set():
                slept.set()
                now[0] += 3_600
                return False
            wake.wait(timeout)
            return False

        def attempt(self, stop: threading.Event, *, push: bool) -> Outcome:
            attempts.append(now[0])
            return Outcome.PASSED

    attempts: list[float] = []
    background = Background([Line()], "", lambda: None, wall=lambda: now[0], clock=lambda: now[0])  # type: ignore[list-item]
    background.start()
    try:
        wait_for(lambda: len(attempts) == 2)
    finally:
        background.stop()
    assert attempts == [0.0, 3_600.0]

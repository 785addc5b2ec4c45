"""Automatic sync: on by itself, quick, and never in anybody's way."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vaultsync.errors import RemoteUnavailable
from vaultsync.schema.kinds import secret, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import MemoryRemote, environment
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.events import EventKind
from vaultsync.vault.replication.syncing import State
from vaultsync.vault.vault import Vault

SCHEMA = Schema(
    "notes",
    version=1,
    platform="linux",
    types=[EntryType("note", fields=[Field("title", text), Field("password", secret)])],
)
PATIENCE = 20.0
"""Seconds until a test gives up; what is promised is printed and lies far below."""


def wait_for(holds: Callable[[], bool]) -> float:
    """Seconds until it holds."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > PATIENCE:
            pytest.fail(f"still not so after {PATIENCE:g} seconds")
        time.sleep(0.01)
    return time.monotonic() - started


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("vaultsync")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    assert threads() == []
    yield
    assert threads() == []


def create(path: Path, name: str = "laptop") -> Vault:
    return Vault.create(path, schema=SCHEMA, password=PASSWORD, key=KEY, device=name, environment=environment(name))


def join(path: Path, url: str, laptop: Vault, name: str = "phone") -> Vault:
    return Vault.join(
        path, url, schema=SCHEMA, password=PASSWORD, code=laptop.recovery_code or "", key=KEY, device=name,
        environment=environment(name),
    )  # fmt: skip


def reopen(path: Path, name: str) -> Vault:
    return Vault.open(path, schema=SCHEMA, key=KEY, environment=environment(name))


def test_an_edit_arrives_on_another_open_device_with_no_call(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    url = shared.as_uri()
    with create(tmp_path / "a") as laptop:
        laptop.connect(url)
        wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
        with join(tmp_path / "b", url, laptop) as phone:
            assert laptop.auto_sync
            assert phone.auto_sync
            assert len(threads()) == 2, "one background thread a vault"
            times = []
            for number in range(5):
                time.sleep(0.3)
                entry = laptop.add("note", title=f"number {number}")
                times.append(wait_for(lambda: entry.id in phone.view()))  # noqa: B023
                answer = phone.update(entry.id, password="seen")
                times.append(wait_for(lambda: laptop.view()[answer.id]["password"] == "seen"))  # noqa: B023
            print(f"an edit arrived after {max(times):.2f} s at most, {sum(times) / len(times):.2f} s on average")
            assert len(threads()) == 2
            wait_for(lambda: phone.status.state is State.UP_TO_DATE and laptop.status.state is State.UP_TO_DATE)
            assert (phone.status.pending, phone.status.waiting, phone.status.findings) == (0, (), ())


def test_off_and_on_and_remembered(tmp_path: Path) -> None:
    url = (tmp_path / "shared").as_uri()
    laptop = create(tmp_path / "a")
    laptop.connect(url)
    wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
    assert len(threads()) == 1
    laptop.auto_sync = False
    assert threads() == []
    laptop.add("note", title="while it is off")
    assert laptop.status.state is State.MANUAL
    assert laptop.status.pending == 1
    laptop.close()
    laptop = reopen(tmp_path / "a", "again")
    assert not laptop.auto_sync
    assert threads() == []
    assert laptop.status.pending == 1
    laptop.auto_sync = True
    wait_for(lambda: laptop.status.pending == 0)
    laptop.close()
    laptop = reopen(tmp_path / "a", "once more")
    assert laptop.auto_sync
    assert len(threads()) == 1
    laptop.close()


def test_a_vault_without_a_remote_has_no_thread(tmp_path: Path) -> None:
    with create(tmp_path / "a") as laptop:
        assert laptop.auto_sync
        assert laptop.status.state is State.NOT_CONNECTED
        assert threads() == []


def test_a_program_that_is_over_in_a_moment_needs_no_thread(tmp_path: Path) -> None:
    url = (tmp_path / "shared").as_uri()
    with create(tmp_path / "a") as laptop:
        laptop.connect(url)
    with Vault.open(tmp_path / "a", schema=SCHEMA, key=KEY, environment=environment(9), background=False) as laptop:
        assert threads() == []
        laptop.add("note", title="x")
        assert laptop.sync().sent >= 1


class Hanging(MemoryRemote):
    """A remote that answers nothing, from ``hang`` on, until ``go``."""

    def __init__(self, *, calls: str = "put") -> None:
        super().__init__()
        self.hang, self.go, self.stuck = threading.Event(), threading.Event(), threading.Event()
        self.calls = calls

    def _maybe(self, call: str) -> None:
        if call in self.calls.split() and self.hang.is_set():
            self.stuck.set()
            self.go.wait(PATIENCE)

    def put(self, name: str, data: bytes) -> None:
        self._maybe("put")
        super().put(name, data)

    def get(self, name: str) -> bytes:
        self._maybe("get")
        return super().get(name)

    def list(self, prefix: str) -> list[str]:
        self._maybe("list")
        return super().list(prefix)


def test_edits_and_views_never_wait_for_a_slow_remote(tmp_path: Path) -> None:
    remote = Hanging()
    laptop = create(tmp_path / "a")
    laptop.connect("memory://", remote=remote)
    wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
    remote.hang.set()
    laptop.add("note", title="this one is being sent")
    assert remote.stuck.wait(PATIENCE)
    started = time.monotonic()
    for number in range(50):
        entry = laptop.add("note", title=f"{number}")
        laptop.update(entry, password="p")
        assert laptop.view()[entry.id]["password"] == "p"
        assert laptop.status.state is State.SYNCING
    took = time.monotonic() - started
    print(f"100 edits beside a remote that hangs: {took:.2f} s")
    assert not remote.go.is_set()
    assert took < PATIENCE / 2
    remote.go.set()
    wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
    assert laptop.status.pending == 0
    laptop.close()


@pytest.mark.parametrize("call", ["put", "list", "get"])
def test_closing_is_prompt_even_when_the_remote_hangs(tmp_path: Path, call: str) -> None:
    remote = Hanging(calls=call)
    laptop = create(tmp_path / "a")
    laptop.connect("memory://", remote=remote)
    wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
    if call == "get":  # something to fetch
        other = Vault.join(
            tmp_path / "b", "memory://", schema=SCHEMA, password=PASSWORD, code=laptop.recovery_code or "", key=KEY,
            environment=environment("other"), opener=lambda url: remote, background=False,
        )  # fmt: skip
        wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
        remote.hang.set()
        other.add("note", title="to be fetched")
        remote.hang.clear()
        threading.Timer(0.0, remote.hang.set).start()
        other.sync()
        other.close()
    remote.hang.set()
    entry = laptop.add("note", title="acknowledged")
    remote.stuck.wait(2.0)
    started = time.monotonic()
    laptop.close()
    took = time.monotonic() - started
    print(f"close with a remote that hangs in {call}: {took:.2f} s")
    remote.go.set()
    assert took < PATIENCE / 2
    with Vault.open(tmp_path / "a", schema=SCHEMA, key=KEY, environment=environment(3), background=False) as again:
        assert again.view()[entry.id]["title"] == "acknowledged"
    wait_for(lambda: threads() == [])


def test_closing_an_idle_vault_takes_no_time(tmp_path: Path) -> None:
    laptop = create(tmp_path / "a")
    laptop.connect((tmp_path / "shared").as_uri())
    wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
    started = time.monotonic()
    laptop.close()
    took = time.monotonic() - started
    print(f"close of an idle vault: {took:.3f} s")
    assert took < 3


def test_a_folder_that_vanishes_and_returns(tmp_path: Path) -> None:
    """A USB stick that is pulled out: offline, nothing lost, and by itself up to date when it is back."""
    shared, away = tmp_path / "stick" / "shared", tmp_path / "pocket"
    shared.parent.mkdir()
    url = shared.as_uri()
    laptop = create(tmp_path / "a")
    laptop.connect(url)
    wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
    phone = join(tmp_path / "b", url, laptop)
    wait_for(lambda: len(laptop.devices) == 2)
    shutil.move(shared.parent, away)
    one, two = laptop.add("note", title="from the laptop"), phone.add("note", title="from the phone")
    wait_for(lambda: State.OFFLINE in (laptop.status.state, phone.status.state))
    with pytest.raises(RemoteUnavailable):
        laptop.sync()
    assert laptop.status.message
    shutil.move(away, shared.parent)
    took = wait_for(lambda: two.id in laptop.view() and one.id in phone.view())
    print(f"up to date {took:.1f} s after the folder was back")
    wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
    phone.close()
    laptop.close()


def test_events_are_told_outside_of_every_lock(tmp_path: Path) -> None:
    """A callback may use the vault, and one that raises hurts nobody."""
    url = (tmp_path / "shared").as_uri()
    seen: list[tuple[EventKind, int]] = []
    with create(tmp_path / "a") as laptop:
        laptop.connect(url)
        wait_for(lambda: laptop.status.state is State.UP_TO_DATE)
        with join(tmp_path / "b", url, laptop) as phone:
            phone.subscribe(lambda event: seen.append((event.kind, len(phone.view()))))
            laptop.add("note", title="news")
            wait_for(lambda: (EventKind.MERGED, 1) in seen)

from __future__ import annotations

from pathlib import Path

import pytest

from vaultsync.errors import ObjectMissing, RemoteRefused, RemoteUnavailable, VaultSyncError
from vaultsync.remote import Remote
from vaultsync.testing.contracts import RemoteContract
from vaultsync.testing.remotes import Faults, FaultyRemote, MemoryRemote


class TestMemoryRemote(RemoteContract):
    @pytest.fixture(autouse=True)
    def _storage(self) -> None:
        self.memory = MemoryRemote()

    def connect(self, place: Path) -> Remote:
        return self.memory


class TestFaultyRemoteWithoutFaults(RemoteContract):
    @pytest.fixture(autouse=True)
    def _storage(self) -> None:
        self.memory = FaultyRemote(MemoryRemote(), 0, Faults())

    def connect(self, place: Path) -> Remote:
        return self.memory


def scenario(remote: FaultyRemote) -> list[object]:
    """Outcomes of a fixed row of calls."""
    outcomes: list[object] = []
    for index in range(60):
        calls = [
            lambda: remote.put(f"a/{index}", bytes(index)),  # noqa: B023
            lambda: remote.list("a"),
            lambda: len(remote.get(f"a/{index // 2}")),  # noqa: B023
        ]
        for call in calls:
            try:
                outcomes.append(call())
            except VaultSyncError as error:
                outcomes.append(str(error))
    return outcomes


def test_one_seed_replays_every_fault() -> None:
    first, second, other = (FaultyRemote(MemoryRemote(), seed, Faults.all(0.2)) for seed in (5, 5, 6))
    assert scenario(first) == scenario(second) != scenario(other)
    assert first.log == second.log


def test_every_fault_strikes_and_calm_ends_them() -> None:
    remote = FaultyRemote(MemoryRemote(), 1, Faults.all(0.15))
    scenario(remote)
    log = "\n".join(remote.log)
    for how in ("away", "vanished", "unavailable", "acknowledgement lost"):
        assert how in log
    remote.calm()
    for index in range(60):
        remote.put(f"a/{index}", bytes(index))
    assert remote.list("a") == remote.inner.list("a")
    assert [len(remote.get(f"a/{index}")) for index in range(60)] == list(range(60))


def test_a_plan_strikes_where_it_says() -> None:
    remote = FaultyRemote(MemoryRemote(), 0, Faults(), plan={1: "lost_ack", 2: "hide", 4: "cut", 5: "unavailable"})
    remote.put("a/0", b"zero")
    with pytest.raises(RemoteUnavailable, match="acknowledgement"):
        remote.put("a/1", b"one")
    remote.put("a/2", b"two")
    assert remote.list("a")[:2] == ["a/0", "a/1"]
    assert b"zero".startswith(remote.get("a/0"))
    with pytest.raises(RemoteUnavailable):
        remote.list("a")
    assert remote.inner.list("a") == ["a/0", "a/1", "a/2"]


def test_switches() -> None:
    remote = MemoryRemote()
    remote.put("a/1", b"")
    remote.readonly = True
    with pytest.raises(RemoteRefused):
        remote.put("a/2", b"")
    assert remote.get("a/1") == b""
    remote.present = False
    with pytest.raises(RemoteUnavailable):
        remote.get("a/1")
    with pytest.raises(RemoteUnavailable):
        remote.list("a")
    remote.present, remote.readonly = True, False
    remote.delete("a/1")
    with pytest.raises(ObjectMissing):
        remote.get("a/1")

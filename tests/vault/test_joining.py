"""Becoming one more device: what is wrong is said by name, and nothing is left behind when it does not work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vaultsync.errors import (
    MalformedRoster,
    ObjectMissing,
    RemoteUnavailable,
    SchemaError,
    UsageError,
    VaultExists,
    VaultNotFound,
    VaultSyncError,
    WrongCode,
    WrongPassword,
)
from vaultsync.remote import FolderRemote
from vaultsync.schema.kinds import text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import FaultyRemote, MemoryRemote, MemoryVault, environment, memory_vault
from vaultsync.testing.remotes import Faults
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.vault import Vault

SCHEMA = Schema("notes", version=1, platform="linux", types=[EntryType("note", fields=[Field("title", text)])])
OTHER = Schema("other", version=1, platform="linux", types=[EntryType("note", fields=[Field("title", text)])])
SEEDS = iter(range(10**6))
STEP = int(os.environ.get("VAULTSYNC_KILL_STEP", "6"))
HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote()


@pytest.fixture
def laptop(remote: MemoryRemote) -> MemoryVault:
    vault = memory_vault(SCHEMA, remote=remote, device="Laptop")
    vault.add("note", title="first")
    vault.sync()
    return vault


def join(path: Path, remote: object, code: str | None, *, password: str = PASSWORD, schema: Schema = SCHEMA) -> Vault:
    return Vault.join(
        path / "joined.vault", "memory://", schema=schema, password=password, code=code or "", key=KEY,
        device="Phone", environment=environment(f"join {next(SEEDS)}"), opener=lambda url: remote, background=False,
    )  # fmt: skip


def reopened(path: Path, shared: Path) -> Vault:
    return Vault.open(
        path / "joined.vault", schema=SCHEMA, key=KEY, environment=environment(f"reopened {next(SEEDS)}"),
        opener=lambda url: FolderRemote(shared), background=False,
    )  # fmt: skip


def nothing_left(path: Path) -> bool:
    return os.listdir(path) == []


def test_a_wrong_password_leaves_no_file(laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path) -> None:
    with pytest.raises(WrongPassword):
        join(tmp_path, remote, laptop.recovery_code, password="something else")
    assert nothing_left(tmp_path)


def test_a_code_of_another_vault_leaves_no_file(laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path) -> None:
    with memory_vault(SCHEMA) as other, pytest.raises(WrongCode):
        join(tmp_path, remote, other.recovery_code)
    assert nothing_left(tmp_path)


def test_a_misspelt_code_leaves_no_file(laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path) -> None:
    code = laptop.recovery_code or ""
    at = next(i for i, c in enumerate(code) if c.isalnum())
    misspelt = code[:at] + ("A" if code[at] != "A" else "B") + code[at + 1 :]
    with pytest.raises(WrongCode):
        join(tmp_path, remote, misspelt)
    assert nothing_left(tmp_path)


def test_the_schema_of_another_application_leaves_no_file_and_no_trace(
    laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path
) -> None:
    before = dict(remote.objects)
    with pytest.raises(SchemaError, match="belongs to the schema 'notes'"):
        join(tmp_path, remote, laptop.recovery_code, schema=OTHER)
    assert nothing_left(tmp_path)
    assert remote.objects == before


def test_a_file_that_is_there_is_left_alone(laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path) -> None:
    (tmp_path / "joined.vault").write_bytes(b"mine")
    with pytest.raises(VaultExists):
        join(tmp_path, remote, laptop.recovery_code)
    assert (tmp_path / "joined.vault").read_bytes() == b"mine"


def test_an_empty_remote_says_so(remote: MemoryRemote, tmp_path: Path) -> None:
    with memory_vault(SCHEMA) as never_connected, pytest.raises(WrongCode):
        join(tmp_path, MemoryRemote(), never_connected.recovery_code)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("cut", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_an_account_that_is_still_being_written_is_no_wrong_password(
    laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path, cut: float
) -> None:
    """A folder may show the beginning of a file; whoever typed the right password must not be told it is wrong."""
    (name,) = remote.list("account/")
    whole = remote.objects[name]
    remote.objects[name] = whole[: int(len(whole) * cut)]
    with pytest.raises(RemoteUnavailable):
        join(tmp_path, remote, laptop.recovery_code)
    assert nothing_left(tmp_path)
    remote.objects[name] = whole
    join(tmp_path, remote, laptop.recovery_code).close()


def test_a_roster_that_has_not_arrived_is_waited_for(laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path) -> None:
    roster = {name: remote.objects.pop(name) for name in list(remote.objects) if "/roster/" in name}
    with pytest.raises(VaultNotFound, match="not there yet"):
        join(tmp_path, remote, laptop.recovery_code)
    assert nothing_left(tmp_path)
    remote.objects |= roster
    join(tmp_path, remote, laptop.recovery_code).close()


@pytest.mark.parametrize("fault", ["unavailable", "lost_ack", "vanish"])
def test_a_remote_that_fails_at_any_call_leaves_a_device_or_nothing(
    laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path, fault: str
) -> None:
    """The n-th call fails, for every n. A join that raises leaves no file and no device in the list of the others;
    once everything was fetched a remote that fails is only a device that is offline."""
    raised = joined = 0
    for number in range(50):
        folder = tmp_path / str(number)
        folder.mkdir()
        copy = MemoryRemote()
        copy.objects = dict(remote.objects)
        faulty = FaultyRemote(copy, 1, Faults(), plan={number: fault})
        try:
            vault = join(folder, faulty, laptop.recovery_code)
        except RemoteUnavailable:
            raised += 1
            assert nothing_left(folder)
            assert copy.objects == remote.objects, "a device that nobody has stays in everybody's list"
            continue
        joined += 1
        assert [entry["title"] for entry in vault.view().entries] == ["first"]
        faulty.calm()
        vault.sync()
        assert (vault.status.pending, vault.status.message) == (0, "")
        vault.close()
        if len(faulty.log) <= number:
            break
    else:
        pytest.fail("every join failed")
    assert joined > 1
    assert (raised > 3) == (fault != "lost_ack")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda path: Vault.create(path, schema=SCHEMA, password="", environment=environment(1)),
        lambda path: Vault.create(path, schema=SCHEMA, password="p", device=" ", environment=environment(1)),
        lambda path: Vault.create(path, schema=SCHEMA, password="p", key=b"short", environment=environment(1)),
        lambda path: Vault.create(path, schema=SCHEMA, environment=environment(1)),
        lambda path: Vault.create(path.parent / "no" / "folder", schema=SCHEMA, key=KEY, environment=environment(1)),
    ],
    ids=["no password", "no name", "short key", "neither", "no folder"],
)
def test_nothing_half_after_a_failed_create(wrong: Callable[[Path], Vault], tmp_path: Path) -> None:
    with pytest.raises(VaultSyncError):
        wrong(tmp_path / "new.vault")
    assert nothing_left(tmp_path)


def test_a_create_that_fails_half_way_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is there and the first change fails: as if nothing had been."""

    def broken(schema: Schema) -> list[object]:
        raise ObjectMissing("on purpose")

    monkeypatch.setattr("vaultsync.vault.census.founding", broken)
    with pytest.raises(ObjectMissing):
        Vault.create(tmp_path / "new.vault", schema=SCHEMA, key=KEY, environment=environment(1))
    assert [name for name in os.listdir(tmp_path) if not name.endswith("-lock")] == []
    monkeypatch.undo()
    Vault.create(tmp_path / "new.vault", schema=SCHEMA, key=KEY, environment=environment(1)).close()


def test_a_vault_made_by_key_alone_has_no_code(tmp_path: Path) -> None:
    with Vault.create(tmp_path / "new.vault", schema=SCHEMA, key=KEY, environment=environment(1)) as vault:
        assert vault.recovery_code is None
    with pytest.raises(WrongPassword):
        Vault.open(tmp_path / "new.vault", schema=SCHEMA, key=b"x" * 32, environment=environment(2))
    with pytest.raises(WrongPassword):
        Vault.open(tmp_path / "new.vault", schema=SCHEMA, password="anything", environment=environment(2))
    with pytest.raises(UsageError):
        Vault.open(tmp_path / "new.vault", schema=SCHEMA, environment=environment(2))
    with pytest.raises(VaultNotFound):
        Vault.open(tmp_path / "other.vault", schema=SCHEMA, key=KEY, environment=environment(2))


def test_a_list_of_devices_older_than_the_account_is_not_joined(
    laptop: MemoryVault, remote: MemoryRemote, tmp_path: Path
) -> None:
    """The remote shows the newest account and hides the end of the list of devices, a removal say: nobody joins that,
    and nothing is written."""
    phone = memory_vault(SCHEMA, joins=laptop, device="Phone")
    laptop.sync()
    laptop.change_password(PASSWORD, "the new one", code=laptop.recovery_code)
    newest = sorted(name for name in remote.objects if "/roster/" in name)[-1]
    hidden = remote.objects.pop(newest)
    before = dict(remote.objects)
    with pytest.raises(MalformedRoster, match="does not show the list of devices"):
        join(tmp_path, remote, laptop.recovery_code, password="the new one")
    assert nothing_left(tmp_path)
    assert remote.objects == before
    remote.objects[newest] = hidden
    join(tmp_path, remote, laptop.recovery_code, password="the new one").close()
    phone.close()


CHILD = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import test_joining
from vaultsync.remote.folder import FolderRemote
from vaultsync.vault.vault import Vault
path, folder, code, at = Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5], int(sys.argv[6])
calls = 0
class Killed(FolderRemote):
    def _count(self):
        global calls
        calls += 1
        if calls == at:
            os._exit(9)
    def list(self, prefix):
        self._count()
        return super().list(prefix)
    def put(self, name, data):
        self._count()
        super().put(name, data)
        self._count()
test_joining.join(path, Killed(folder), code)
print("joined")
"""


def test_killed_at_any_call_of_the_remote_a_joiner_by_code_goes_on_or_left_nothing(tmp_path: Path) -> None:
    """Nobody is in the list of devices whom nobody has: whoever put itself there has a file that opens."""
    finished, went_on, at = False, 0, 1
    while not finished:
        at += STEP
        shared, here = tmp_path / f"shared {at}", tmp_path / f"here {at}"
        shared.mkdir()
        here.mkdir()
        first = memory_vault(SCHEMA, seed=f"killed {at}", remote=FolderRemote(shared, create=True), device="Laptop")
        first.add("note", title="first")
        first.sync()
        process = subprocess.run(
            [sys.executable, "-c", CHILD, *map(str, (ROOT, HERE, here, shared, first.recovery_code, at))],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        finished = process.stdout == "joined\n"
        assert finished or process.returncode == 9, process.stderr
        if (here / "joined.vault").exists():
            went_on += 1
            with reopened(here, shared) as joined:
                assert [entry["title"] for entry in joined.view()] == ["first"], at
                joined.sync()
                first.sync()
                assert len(first.devices) == len(joined.devices) == 2, at
                assert all(device.arrived for device in first.devices), at
        else:
            first.sync()
            assert len(first.devices) == 1, at
        first.close()
    assert went_on > 0

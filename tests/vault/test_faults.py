"""A remote that fails at any moment of a pass, and programs that meddle with a folder: told, and done with later."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest

import vaultsync as vs
from vaultsync.sync import names
from vaultsync.testing import FaultyRemote, MemoryRemote, environment, memory_vault
from vaultsync.testing.remotes import Faults
from vaultsync.testing.vaults import KEY, PASSWORD

SCHEMA = vs.Schema(
    "notes",
    version=1,
    platform="linux",
    types=[vs.EntryType("note", fields=[vs.Field("title", vs.text), vs.Field("scan", vs.file)])],
)


def titles(vault: vs.Vault) -> set[str]:
    return {str(entry["title"]) for entry in vault.view()}


@pytest.mark.parametrize("fault", ["unavailable", "lost_ack", "cut", "hide"])
def test_a_pass_that_fails_at_any_call_is_finished_by_a_later_one(fault: str) -> None:
    inner = MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=inner, seed=f"laptop {fault}", device="Laptop")
    phone = memory_vault(SCHEMA, joins=laptop, seed=f"phone {fault}", device="Phone")
    laptop.sync()
    failed = 0
    for call in itertools.count():
        entry = laptop.add("note", title=f"laptop {call}")
        laptop.attach(entry, "a.bin", b"contents %d" % call)
        phone.add("note", title=f"phone {call}")
        phone.sync()
        faulty = FaultyRemote(inner, call, Faults())
        laptop.connect("memory://", remote=faulty)  # the same place through a line that fails, from here on
        faulty.log.clear()
        faulty.plan = {call: fault}
        try:
            laptop.sync()
        except vs.RemoteUnavailable:
            failed += 1
            assert laptop.status.state is vs.State.OFFLINE
            assert laptop.status.message
        assert f"laptop {call}" in titles(laptop)
        took = len(faulty.log)
        faulty.calm()
        for vault in (laptop, phone, laptop):
            vault.sync()
        assert titles(laptop) == titles(phone), f"{fault} at call {call}: {faulty.log}"
        assert phone.read_attachment(entry.id) == b"contents %d" % call
        assert (laptop.status.state, laptop.status.pending) in {
            (vs.State.UP_TO_DATE, 0),
            (vs.State.MANUAL, 0),
        }, f"{fault} at call {call}"
        assert not laptop.status.findings, f"{fault} at call {call}: {laptop.status.findings}"
        if call > took:
            break
    print(f"{fault}: {failed} of {call} calls ended the pass")
    assert call > 8
    assert failed >= 2 or fault in ("cut", "hide")
    phone.close()
    laptop.close()


def test_a_remote_that_only_reads(tmp_path: Path) -> None:
    inner = MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=inner, device="Laptop")
    phone = memory_vault(SCHEMA, joins=laptop, device="Phone")
    phone.add("note", title="there already")
    phone.sync()
    inner.readonly = True
    laptop.add("note", title="cannot be sent")
    with pytest.raises(vs.RemoteRefused):
        laptop.sync()
    status = laptop.status
    assert status.state is vs.State.REFUSED
    assert "read-only" in status.message
    inner.readonly = False
    laptop.sync()
    phone.sync()
    assert titles(laptop) == titles(phone) == {"there already", "cannot be sent"}
    phone.close()
    laptop.close()


@pytest.mark.skipif(os.name == "nt", reason="names that Windows refuses")
def test_what_programs_that_carry_folders_around_leave_in_them(tmp_path: Path) -> None:
    """Conflict copies, files that arrive by pieces or under another name, and names written in other ways."""
    shared = tmp_path / "shared"
    laptop = vs.Vault.create(
        tmp_path / "a", schema=SCHEMA, password=PASSWORD, key=KEY, device="Laptop", environment=environment("a")
    )
    laptop.auto_sync = False
    laptop.connect(shared.as_uri())
    laptop.sync()
    phone = vs.Vault.join(
        tmp_path / "b", shared.as_uri(), schema=SCHEMA, password=PASSWORD, code=laptop.recovery_code, key=KEY,
        device="Phone", environment=environment("b"), background=False,
    )  # fmt: skip
    for number in range(6):
        before = set(shared.rglob("*"))
        laptop.add("note", title=f"{number}")
        laptop.sync()
        (new,) = [
            path
            for path in set(shared.rglob("*")) - before
            if names.parse_envelope(path.relative_to(shared).as_posix()) is not None
        ]
        data = new.read_bytes()
        match number:
            case 0:  # a conflict copy beside it, in three programs' ways, with other contents
                for name in (
                    f"{new.name} (Ann's conflicted copy 2026-01-01)",
                    f"{new.name}.sync-conflict-20260101-101010-ABCDEFG",
                    f"{new.name}-DESKTOP-1",
                ):
                    new.with_name(name).write_bytes(b"x" + data[1:])
            case 1:  # under the name of an unfinished download first
                new.rename(new.with_name(f"{new.name}.part"))
                assert phone.sync().received == 0
                new.with_name(f"{new.name}.part").rename(new)
            case 2:  # the beginning first
                new.write_bytes(data[: len(data) // 3])
                assert phone.sync().received == 0
                assert phone.status.waiting
                new.write_bytes(data)
            case 3:  # right in length, not written yet
                new.write_bytes(bytes(len(data)))
                assert phone.sync().received == 0
                new.write_bytes(data)
            case 4:  # gone for a while, with all that was before it
                folder = new.parent
                shutil.move(folder, tmp_path / "elsewhere")
                phone.sync()
                shutil.copytree(tmp_path / "elsewhere", folder, dirs_exist_ok=True)
            case 5:  # renamed for good: whoever wrote it puts it there again
                new.rename(new.with_name("Copy of " + new.name))
                phone.sync()
                laptop.sync()  # a listing may be late once
                laptop.sync()
        phone.sync()
        assert titles(phone) == titles(laptop), f"case {number}"
        assert phone.status.quarantined == 0, f"case {number}"
    phone.sync()
    assert (phone.status.waiting, phone.status.pending) == ((), 0)
    phone.close()
    laptop.close()

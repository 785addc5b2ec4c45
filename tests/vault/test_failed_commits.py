"""A disk that refuses after the document in memory has moved on: nothing is built on what was not stored."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vaultsync.errors import StoreError
from vaultsync.schema.kinds import secret, tags, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.store import Connection, connect
from vaultsync.testing import MemoryRemote, environment, memory_vault
from vaultsync.testing.vaults import KEY
from vaultsync.vault.vault import Vault

SCHEMA = Schema(
    "notes",
    version=1,
    platform="linux",
    types=[EntryType("note", fields=[Field("title", text), Field("password", secret), Field("labels", tags)])],
)


class Disk:
    """Fails one statement: the ``at``-th that begins with ``only``, before it took effect or ``after`` it did."""

    def __init__(self) -> None:
        self.armed = False
        self.only, self.at, self.after, self.count = "", 1, False, 0
        self.failed = 0

    def arm(self, only: str, at: int = 1, *, after: bool = False) -> None:
        self.armed, self.only, self.at, self.after, self.count, self.failed = True, only, at, after, 0, 0

    def connect(self, path: Path) -> Connection:
        return _Faulty(self, connect(path))


class _Faulty:
    def __init__(self, disk: Disk, real: Connection) -> None:
        self._disk, self._real = disk, real

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        disk = self._disk
        if disk.armed and sql.startswith(disk.only):
            disk.count += 1
            if disk.count == disk.at:
                disk.armed, disk.failed = False, disk.failed + 1
                if disk.after:
                    self._real.execute(sql, parameters).fetchall()
                elif self._real.in_transaction:
                    self._real.execute("ROLLBACK")
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
                raise error
        return self._real.execute(sql, parameters)

    def close(self) -> None:
        self._real.close()

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction


def stored(path: Path) -> tuple[Any, ...]:
    """What another process reads from the file."""
    with Vault.open(path, schema=SCHEMA, key=KEY, environment=environment("reader"), background=False) as vault:
        view = vault.view()  # from the shelf, if that is right; the check loads the document
        assert vault.check().ok
        assert {entry.id: dict(entry.raw) for entry in view.everything()} == dict(vault._ledger.engine.read_all())
        return vault._ledger.engine.heads, dict(vault._ledger.engine.read_all())


Edit = Callable[[Vault, str], Any]


def batch(vault: Vault, entry_id: str) -> None:
    with vault.batch():
        vault.add("note", title="one of a batch")
        vault.update(entry_id, title="in a batch")
        vault.add("note", title="another of a batch")


EDITS: list[Edit] = [
    lambda vault, entry_id: vault.add("note", title="new", labels={"a", "b"}),
    lambda vault, entry_id: vault.update(entry_id, title="changed", password="x"),
    lambda vault, entry_id: vault.delete(entry_id),
    lambda vault, entry_id: vault.purge(entry_id),
    batch,
]
NAMES = ["add", "update", "delete", "purge", "batch"]


@pytest.mark.parametrize("edit", EDITS, ids=NAMES)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("only", ["BEGIN IMMEDIATE", "INSERT", "COMMIT", ""])
def test_an_edit_is_stored_or_it_is_nowhere(tmp_path: Path, edit: Edit, after: bool, only: str) -> None:
    """Every matching statement in turn; the next edit works, and who opens the file sees what this object shows."""
    disk = Disk()
    path = tmp_path / "ann.vault"
    world = replace(environment("writer"), connect=disk.connect)
    vault = Vault.create(path, schema=SCHEMA, key=KEY, environment=world)
    vault.view()  # the shelf is in use from here on
    failures = 0
    for at in range(1, 14 if only else 45):
        entry = vault.add("note", title="there before", password="p", labels={"a"})
        before = dict(vault._ledger.engine.read_all())
        disk.arm(only, at, after=after)
        try:
            edit(vault, entry.id)
        except StoreError:
            failures += 1
            now = dict(vault._ledger.engine.read_all())
            if only != "COMMIT" and not after:
                assert now == before, f"statement {at}: an edit that raised is there"
        reached = disk.failed
        disk.armed = False
        assert stored(path) == (vault._ledger.engine.heads, dict(vault._ledger.engine.read_all())), f"statement {at}"
        following = vault.add("note", title="after the failure")
        vault.update(following, title="and again")
        assert vault.view()[following.id]["title"] == "and again"
        assert stored(path) == (vault._ledger.engine.heads, dict(vault._ledger.engine.read_all())), f"statement {at}"
        if not reached:
            break
    else:
        pytest.fail("more statements than expected")
    assert failures or (only in ("COMMIT", "") and after), "nothing failed, so nothing was tested"
    vault.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("only", ["INSERT", "COMMIT"])
def test_a_sync_that_cannot_store_goes_on_with_the_next(tmp_path: Path, after: bool, only: str) -> None:
    """Receiving and packing with a disk that fails at every statement in turn; at the end both devices agree."""
    remote = MemoryRemote()
    disk = Disk()
    laptop = memory_vault(SCHEMA, remote=remote, environment=replace(environment("laptop"), connect=disk.connect))
    phone = memory_vault(SCHEMA, joins=laptop, seed="phone")
    for at in range(1, 40):
        mine = laptop.add("note", title=f"mine {at}")
        theirs = phone.add("note", title=f"theirs {at}")
        phone.sync()
        disk.arm(only, at, after=after)
        with contextlib.suppress(StoreError):
            laptop.sync()
        reached, disk.armed = disk.failed, False
        laptop.sync()
        phone.sync()
        for vault in (laptop, phone):
            assert vault.view()[mine.id]["title"] == f"mine {at}"
            assert vault.view()[theirs.id]["title"] == f"theirs {at}"
            assert (vault.status.pending, vault.status.quarantined, vault.status.waiting) == (0, 0, ())
        assert laptop._ledger.engine.heads == phone._ledger.engine.heads
        if not reached:
            break
    else:
        pytest.fail("more statements than expected")
    assert laptop.check().ok
    phone.close()
    laptop.close()

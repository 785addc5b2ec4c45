"""Locking: what is gone afterwards, what stays, and when it happens by itself."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaultsync.crypto.keys import DeviceKeys
from vaultsync.crypto.rows import LocalKey
from vaultsync.document.engine import Engine
from vaultsync.errors import StoreError, UsageError, VaultClosed, VaultLocked, VaultSyncError, WrongPassword
from vaultsync.schema.kinds import secret, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import environment
from vaultsync.vault.desk import Quota
from vaultsync.vault.environment import Environment
from vaultsync.vault.events import Event, EventKind
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Entry
from vaultsync.view.picture import View

FIELDS = [Field("title", text), Field("password", secret)]
SCHEMA = Schema("notes", version=1, platform="linux", types=[EntryType("note", fields=FIELDS)])
PASSWORD = "correct horse battery staple"


@pytest.fixture
def world() -> Environment:
    """Seeded entropy and cheap keys, and real clocks."""
    real = Environment()
    return dataclasses.replace(environment("locking"), monotonic=real.monotonic, now_ms=real.now_ms)


@pytest.fixture
def vault(tmp_path: Path, world: Environment) -> Any:
    made = Vault.create(tmp_path / "a.vault", schema=SCHEMA, password=PASSWORD, environment=world)
    yield made
    made.close()


def until(seen: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


SECRET = (LocalKey, DeviceKeys, Engine, Ledger, Identity, View, Entry)


def secrets_in_memory() -> dict[str, int]:
    gc.collect()
    return {kind.__name__: sum(type(held) is kind for held in gc.get_objects()) for kind in SECRET}


def test_a_locked_vault_answers_nothing_and_holds_no_key_document_or_view(tmp_path: Path, world: Environment) -> None:
    nothing = secrets_in_memory()  # but what other tests of this process keep
    vault = Vault.create(tmp_path / "a.vault", schema=SCHEMA, password=PASSWORD, environment=world)
    entry = vault.add("note", title="Bank", password="canary")
    vault.view()
    assert vault.recovery_code
    assert not vault.locked
    assert all(secrets_in_memory()[kind] > nothing[kind] for kind in nothing)
    entry_id = entry.id
    del entry
    vault.lock()
    vault.lock()
    assert secrets_in_memory() == nothing
    assert vault.locked
    assert vault.recovery_code is None
    assert "locked" in repr(vault)
    calls: list[Callable[[], object]] = [
        vault.view,
        lambda: vault.add("note", title="x"),
        lambda: vault.update(entry_id, title="x"),
        lambda: vault.delete(entry_id),
        lambda: vault.restore(entry_id),
        lambda: vault.purge(entry_id),
        lambda: vault.resolve(entry_id, "title", "x"),
        lambda: vault.history(entry_id),
        lambda: vault.export("nowhere"),
        lambda: vault.import_records([]),
        lambda: vault.attach(entry_id, "a", b"a"),
        lambda: vault.read_attachment(entry_id),
        lambda: vault.connect("file:///nowhere"),
        lambda: vault.batch().__enter__(),
        vault.sync,
        vault.invite,
        vault.upgrade_plan,
        vault.check,
        lambda: vault.devices,
        lambda: vault.drift,
        lambda: vault.status,
        lambda: vault.quota,
        lambda: vault.auto_sync,
    ]
    for call in calls:
        with pytest.raises(VaultLocked, match="unlock"):
            call()
    vault.close()


def test_unlocking_gives_everything_back(vault: Vault) -> None:
    entry = vault.add("note", title="Bank", password="p")
    heard: list[Event] = []
    vault.subscribe(heard.append)
    vault.quota = Quota(7)
    vault.lock()
    with pytest.raises(WrongPassword):
        vault.unlock(password="wrong")
    assert vault.locked
    vault.unlock(password=PASSWORD)
    vault.unlock(password="not looked at: it is open")
    assert vault.view()[entry.id]["password"] == "p"
    assert vault.quota.max_entries == 7
    vault.update(entry.id, title="Other bank")
    until(lambda: [event.kind for event in heard] == [EventKind.LOCKED, EventKind.UNLOCKED, EventKind.EDITED])


def test_another_vault_under_the_same_path_is_not_unlocked(vault: Vault, tmp_path: Path) -> None:
    vault.lock()
    other = Vault.create(tmp_path / "b.vault", schema=SCHEMA, password=PASSWORD, environment=environment("other"))
    other.close()
    for left in tmp_path.glob("a.vault-*"):
        left.unlink()
    (tmp_path / "b.vault").rename(tmp_path / "a.vault")
    with pytest.raises((UsageError, StoreError)):
        vault.unlock(password=PASSWORD)
    assert vault.locked


def test_a_closed_vault_is_not_unlocked(vault: Vault) -> None:
    vault.lock()
    vault.close()
    assert not vault.locked
    with pytest.raises(VaultClosed, match="open the vault again"):
        vault.unlock(password=PASSWORD)


def test_automatic_sync_ends_with_locking_and_goes_on_after(tmp_path: Path, vault: Vault, world: Environment) -> None:
    (tmp_path / "remote").mkdir()
    vault.connect((tmp_path / "remote").as_uri())
    until(lambda: vault.status.pending == 0)
    vault.lock()
    assert not [thread for thread in threading.enumerate() if thread.name == "vaultsync-sync"]
    vault.unlock(password=PASSWORD)
    vault.add("note", title="after")
    until(lambda: vault.status.pending == 0)


def test_a_batch_that_is_open_while_the_vault_is_locked_writes_nothing(vault: Vault) -> None:
    with pytest.raises(VaultSyncError), vault.batch():  # noqa: PT012 - it is the end of the block that raises
        vault.add("note", title="never")
        vault.lock()
    vault.unlock(password=PASSWORD)
    assert len(vault.view()) == 0


# ---- by itself ----------------------------------------------------------------------------------------------------
def test_a_vault_that_nobody_uses_locks_itself(vault: Vault) -> None:
    assert vault.auto_lock_seconds is None
    vault.auto_lock_seconds = 0.3
    for _ in range(6):
        time.sleep(0.1)
        vault.view()
    assert not vault.locked, "it was used"
    until(lambda: vault.locked)
    vault.unlock(password=PASSWORD)
    assert not vault.locked
    until(lambda: vault.locked)
    vault.unlock(password=PASSWORD)
    vault.auto_lock_seconds = None
    time.sleep(0.5)
    assert not vault.locked


def test_a_batch_is_use_however_long_it_takes(vault: Vault) -> None:
    vault.auto_lock_seconds = 0.1
    with vault.batch():
        vault.add("note", title="kept")
        time.sleep(0.4)
    assert len(vault.view()) == 1
    until(lambda: vault.locked)


def test_time_asleep_counts(tmp_path: Path) -> None:
    """The clock that never jumps stood still while the machine slept; the wall clock did not."""
    hours = [0]
    real = Environment()
    world = dataclasses.replace(
        environment("asleep"), monotonic=real.monotonic, now_ms=lambda: real.now_ms() + hours[0] * 3_600_000
    )
    with Vault.create(tmp_path / "a.vault", schema=SCHEMA, password=PASSWORD, environment=world) as vault:
        vault.auto_lock_seconds = 1_800
        hours[0] = -24 * 365 * 100  # set back: no reason to lock
        vault._auto_lock._changed.acquire()
        vault._auto_lock._changed.notify_all()
        vault._auto_lock._changed.release()
        time.sleep(0.1)
        assert not vault.locked
        hours[0] = 1
        with vault._auto_lock._changed:
            vault._auto_lock._changed.notify_all()
        until(lambda: vault.locked)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_no_time_at_all_is_refused(vault: Vault, seconds: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        vault.auto_lock_seconds = seconds


def test_locking_ends_with_the_vault(tmp_path: Path, world: Environment) -> None:
    vault = Vault.create(tmp_path / "b.vault", schema=SCHEMA, key=bytes(32), environment=world)
    vault.auto_lock_seconds = 100
    assert [thread for thread in threading.enumerate() if thread.name == "vaultsync-lock"]
    vault.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "vaultsync-lock"]


def test_edits_and_locks_from_many_threads_lose_no_acknowledged_edit(vault: Vault) -> None:
    acknowledged: list[str] = []
    ending = threading.Event()

    def edit(number: int) -> None:
        while not ending.is_set():
            try:
                acknowledged.append(vault.add("note", title=f"by {number}").id)
            except VaultClosed:
                time.sleep(0.002)

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        time.sleep(0.03)
        vault.lock()
        vault.unlock(password=PASSWORD)
    ending.set()
    for thread in threads:
        thread.join()
    view = vault.view()
    assert acknowledged
    assert all(entry_id in view for entry_id in acknowledged)


def test_a_vault_that_locks_itself_goes_when_nobody_holds_it(tmp_path: Path, world: Environment) -> None:
    vault = Vault.create(tmp_path / "b.vault", schema=SCHEMA, key=bytes(32), environment=world)
    vault.auto_lock_seconds = 100
    gone, auto_lock = weakref.ref(vault), vault._auto_lock
    vault._works.close()
    del vault
    gc.collect()
    assert gone() is None
    auto_lock.stop()

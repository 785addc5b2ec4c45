"""Changing passwords and codes: what opens what afterwards, here, on other devices and for whoever joins."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from vaultsync.crypto.primitives import Argon2Params
from vaultsync.crypto.slots import make_slot, slot_params
from vaultsync.errors import DamagedStore, RemoteUnavailable, UsageError, VaultClosed, WrongCode, WrongPassword
from vaultsync.remote import FolderRemote, Remote
from vaultsync.schema.kinds import secret, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.store import Slot, Store
from vaultsync.testing import MemoryRemote, environment
from vaultsync.vault.environment import Environment
from vaultsync.vault.vault import Vault

SCHEMA = Schema(
    "logins",
    version=1,
    platform="linux",
    types=[EntryType("login", fields=[Field("title", text), Field("password", secret)])],
)
OLD, NEW = "the old password", "the new password"
SEEDS = iter(range(10**6))
CANARY = "canary-in-the-vault"


class Home:
    """Devices with files that open by password, around one remote."""

    def __init__(self, folder: Path, remote: Remote) -> None:
        self.folder, self.remote = folder, remote
        self.open: list[Vault] = []
        self.laptop = Vault.create(
            folder / "laptop.vault", schema=SCHEMA, password=OLD, device="Laptop", environment=world()
        )
        self.open.append(self.laptop)
        self.laptop.auto_sync = False
        self.laptop.connect("memory://", remote=remote)
        self.code = self.laptop.recovery_code or ""
        self.laptop.add("login", title="Bank", password=CANARY)
        self.laptop.sync()

    def join(self, password: str, code: str) -> Vault:
        made = Vault.join(
            self.folder / f"{next(SEEDS)}.vault", "memory://", schema=SCHEMA, password=password, code=code,
            device="Phone", environment=world(), opener=lambda url: self.remote, background=False,
        )  # fmt: skip
        self.open.append(made)
        return made

    def reopen(self, vault: Vault, password: str) -> Vault:
        vault.close()
        opened = Vault.open(
            vault.path, schema=SCHEMA, password=password, environment=world(), background=False,
            opener=lambda url: self.remote,
        )  # fmt: skip
        self.open.append(opened)
        return opened


def world() -> Environment:
    return environment(f"passwords {next(SEEDS)}")


@pytest.fixture(params=["memory", "folder"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    remote = MemoryRemote() if request.param == "memory" else FolderRemote(tmp_path / "shared", create=True)
    (tmp_path / "files").mkdir()
    made = Home(tmp_path / "files", remote)
    yield made
    for vault in made.open:
        vault.close()


def bank(vault: Vault) -> str:
    return str(next(iter(vault.view()))["password"])


# ---- the file -----------------------------------------------------------------------------------------------------
def test_the_file_opens_with_the_new_password_only(home: Home) -> None:
    done = home.laptop.change_password(OLD, NEW)
    assert (done.file, done.account) == (True, False)
    assert "still takes the old password" in str(done)
    home.laptop.add("login", title="after")  # the open object goes on
    home.laptop.sync()
    again = home.reopen(home.laptop, NEW)
    assert (bank(again), len(again.view())) == (CANARY, 2)
    again.add("login", title="reopened")
    again.sync()
    with pytest.raises(WrongPassword):
        home.reopen(again, OLD)
    assert len(home.join(OLD, home.code).view()) == 3, "joining takes the account's, which was not changed"


def test_a_wrong_password_or_code_changes_nothing(home: Home) -> None:
    before = Path(home.laptop.path).read_bytes(), home.remote.list("account")
    for old, new, code in (("wrong", NEW, None), ("wrong", NEW, home.code)):
        with pytest.raises(WrongPassword):
            home.laptop.change_password(old, new, code=code)
    with pytest.raises(WrongCode):
        home.laptop.change_password(OLD, NEW, code="1" * 30)
    with pytest.raises(UsageError):
        home.laptop.change_password(OLD, "")
    with pytest.raises(UsageError, match="recovery code"):
        home.laptop.change_password(OLD, NEW, leaked=True)
    assert (Path(home.laptop.path).read_bytes(), home.remote.list("account")) == before
    home.reopen(home.laptop, OLD)


def test_everything_in_the_file_is_sealed_anew(home: Home) -> None:
    """Rows, snapshot, settings: under the old key nothing opens, and nothing of the old bytes is in the file."""
    home.laptop._ledger.snapshot(at_least=1)
    for number in range(5):
        home.laptop.add("login", title=f"row {number}", password=CANARY)
    old_rows = sealed(home.laptop.path)
    slots = home.laptop._ledger.store.slots
    home.laptop.change_password(OLD, NEW)
    assert len(sealed(home.laptop.path)) == len(old_rows)
    home.laptop.close()
    raw = b"".join(
        path.read_bytes() for path in Path(home.laptop.path).parent.iterdir() if path.name.startswith("laptop.vault")
    )
    for old in (*old_rows, *slots):
        assert old not in raw
        assert old[30:90] not in raw
    assert CANARY.encode() not in raw
    again = home.reopen(home.laptop, NEW)
    assert again.check().ok
    assert len(again.view()) == 6


def sealed(path: str) -> list[bytes]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        tables = ("journal", "segments", "snapshots", "state")
        return [row[0] for table in tables for row in connection.execute(f"SELECT sealed FROM {table}")]


def test_costs_never_fall(tmp_path: Path) -> None:
    dear = Argon2Params(20 << 10, 2, 1)
    strong = replace(environment("strong"), argon2=dear)
    with Vault.create(tmp_path / "v", schema=SCHEMA, password=OLD, environment=strong) as vault:
        before = slot_params(vault._ledger.store.slots[0])
    cheap = environment("cheap")
    with Vault.open(tmp_path / "v", schema=SCHEMA, password=OLD, environment=cheap) as vault:
        vault.change_password(OLD, NEW)
        after = slot_params(vault._ledger.store.slots[0])
    assert after.raised_to(before) == after


@pytest.mark.parametrize("how", ["opening", "unlocking", "by key", "changing"])
def test_p20_a_slot_put_back_with_lower_costs_is_refused(tmp_path: Path, how: str) -> None:
    """The key is the same, the password too: only deriving it costs less."""
    dear = replace(environment("strong"), argon2=Argon2Params(20 << 10, 2, 1))
    raw = bytes(range(32))
    vault = Vault.create(tmp_path / "v", schema=SCHEMA, password=OLD, environment=dear)
    ledger = vault._ledger
    good = ledger.store.keyed_slots()
    cheap = make_slot(
        ledger.key, entropy=dear.entropy, password=OLD, params=Argon2Params(19 << 10, 2, 1), allow_weak=True
    )
    other = Slot("key", make_slot(ledger.key, entropy=dear.entropy, raw_key=raw))
    try:
        if how == "unlocking":
            vault.lock()
            with Store.open(tmp_path / "v") as store:
                store.replace_slots([Slot("password", cheap)])
            with pytest.raises(DamagedStore, match="costs"):
                vault.unlock(password=OLD)
        elif how == "changing":
            ledger.store.replace_slots([Slot("password", cheap)])
            with pytest.raises(DamagedStore, match="costs"):
                vault.change_password(OLD, NEW)
        else:
            ledger.store.replace_slots([Slot("password", cheap), *([other] if how == "by key" else [])])
            vault.close()
            by = {"key": raw} if how == "by key" else {"password": OLD}
            with pytest.raises(DamagedStore, match="put an older one back"):
                Vault.open(tmp_path / "v", schema=SCHEMA, environment=dear, **by)
    finally:
        vault.close()
    with Store.open(tmp_path / "v") as store:
        store.replace_slots(good)
    Vault.open(tmp_path / "v", schema=SCHEMA, password=OLD, environment=dear).close()


def test_another_process_with_the_file_open_is_told_and_harms_nothing(home: Home) -> None:
    other = Vault.open(home.laptop.path, schema=SCHEMA, password=OLD, environment=world(), background=False)
    home.open.append(other)
    assert bank(other) == CANARY
    seen = other.view()
    home.laptop.change_password(OLD, NEW)
    with pytest.raises(VaultClosed, match="open the vault again"):
        other.add("login", title="under the old key")
    for use in (other.view, lambda: other.update(next(iter(seen)), title="x")):
        with pytest.raises(VaultClosed, match="open the vault again"):
            use()
    again = home.reopen(home.laptop, NEW)
    assert again.check().ok
    assert len(again.view()) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from vaultsync.schema.kinds import secret, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.store.connection import connect
from vaultsync.testing import environment
from vaultsync.vault.vault import Vault
path, at = sys.argv[1], int(sys.argv[2])
class Counting:
    armed, left = False, at
    def __init__(self, inner): self.inner = inner
    def execute(self, *given):
        if Counting.armed:
            Counting.left -= 1
            if Counting.left < 0: os.kill(os.getpid(), signal.SIGKILL)
        return self.inner.execute(*given)
    def close(self): self.inner.close()
    @property
    def in_transaction(self): return self.inner.in_transaction
login = EntryType("login", fields=[Field("title", text), Field("password", secret)])
schema = Schema("logins", version=1, platform="linux", types=[login])
vault = Vault.open(path, schema=schema, password="the old password", background=False,
                   environment=environment(f"killed {at}", connect=lambda place: Counting(connect(place))))
Counting.armed = True
vault.change_password("the old password", "the new password")
print("done", flush=True)
"""


def test_killed_at_any_statement_one_of_the_two_passwords_opens_everything(tmp_path: Path) -> None:
    """kill -9 before every n-th statement of the database while the password is changed."""
    whole = tmp_path / "whole.vault"
    with Vault.create(whole, schema=SCHEMA, password=OLD, environment=environment("whole")) as vault:
        for number in range(6):
            vault.add("login", title=f"{number}", password=CANARY)
        vault._ledger.snapshot(at_least=1)
        vault.add("login", title="after the snapshot")
    data = whole.read_bytes()
    opened = {OLD: 0, NEW: 0}
    at, finished = 0, False
    while not finished:
        path = tmp_path / f"{at}.vault"
        path.write_bytes(data)
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), str(at)],
            capture_output=True,
            text=True,
            env=dict(os.environ),
            check=False,
        )
        finished = process.stdout == "done\n"
        assert finished or process.returncode == -signal.SIGKILL, process.stderr
        for password in (OLD, NEW):
            try:
                vault = Vault.open(path, schema=SCHEMA, password=password, environment=environment(f"look {at}"))
            except WrongPassword:
                continue
            with vault:
                assert len(vault.view()) == 7, at
                assert vault.check().ok, at
                vault.add("login", title="goes on")
            opened[password] += 1
        assert sum(opened.values()) == at // STEP + 1, "exactly one of the two opens it"
        at += STEP
    assert min(opened.values()) > 0


STEP = int(os.environ.get("VAULTSYNC_KILL_STEP", "37"))


# ---- the account --------------------------------------------------------------------------------------------------
def test_with_the_code_joining_takes_the_new_password_and_not_the_old(home: Home) -> None:
    phone = home.join(OLD, home.code)
    done = home.laptop.change_password(OLD, NEW, code=home.code)
    assert (done.file, done.account, done.published, done.recovery_code) == (True, True, True, None)
    phone.add("login", title="by the phone")  # offline meanwhile, with the account's old slot in its store
    phone.sync()
    home.laptop.sync()
    assert len(home.laptop.view()) == 2
    with pytest.raises(WrongPassword):
        home.join(OLD, home.code)
    third = home.join(NEW, home.code)
    assert len(third.view()) == 2
    home.reopen(phone, OLD).sync()  # other devices' files keep their passwords
    home.reopen(home.laptop, NEW).sync()


def test_changed_while_the_remote_is_away_nothing_changes(home: Home) -> None:
    if not isinstance(home.remote, MemoryRemote):
        pytest.skip("a folder that is there")
    home.remote.present = False
    with pytest.raises(RemoteUnavailable):
        home.laptop.change_password(OLD, NEW, code=home.code)
    home.remote.present = True
    home.reopen(home.laptop, OLD)


def test_what_leaked_has_no_power_any_more(home: Home) -> None:
    phone = home.join(OLD, home.code)
    slots = {name: home.remote.get(name) for name in home.remote.list("account")}
    done = home.laptop.change_password(OLD, NEW, code=home.code, leaked=True)
    fresh = done.recovery_code or ""
    assert fresh not in ("", home.code)
    assert fresh not in repr(done)
    for password, code in ((OLD, home.code), (NEW, home.code)):
        with pytest.raises(WrongCode):
            home.join(password, code)
    with pytest.raises(WrongPassword):
        home.join(OLD, fresh)
    for name, data in slots.items():  # whoever kept the old slots puts them back
        home.remote.put(name, data)
    with pytest.raises(WrongCode, match="replaced"):
        home.join(OLD, home.code)
    for vault, password in ((phone, OLD), (home.laptop, NEW)):
        with pytest.raises(WrongCode, match="replaced"):
            vault.revoke(vault.devices[1].id if len(vault.devices) > 1 else "00", password=OLD, code=home.code)
        vault.add("login", title=f"goes on with {password}")
    for vault in (phone, home.laptop, phone):
        vault.sync()
    assert len(home.laptop.view()) == len(phone.view()) == 3
    third = home.join(NEW, fresh)
    assert len(third.view()) == 3
    phone.revoke(third.devices[0], password=NEW, code=fresh)
    assert third.devices[0].id not in {device.id for device in phone.devices}


def test_a_new_code_is_shown_even_after_a_crash_and_forgotten_when_seen(home: Home) -> None:
    assert home.laptop.unseen_recovery_code is None
    fresh = home.laptop.renew_recovery_code(OLD, home.code)
    again = home.reopen(home.laptop, OLD)
    assert again.unseen_recovery_code == fresh
    again.recovery_code_seen()
    assert again.unseen_recovery_code is None
    with pytest.raises(WrongCode):
        home.join(OLD, home.code)
    assert len(home.join(OLD, fresh).view()) == 1


def test_renewed_on_one_device_another_renews_again_and_removes(home: Home) -> None:
    """A device that held the old slot needs nothing but password and the newest code."""
    phone = home.join(OLD, home.code)
    fresh = home.laptop.renew_recovery_code(OLD, home.code)
    with pytest.raises(WrongCode):
        phone.renew_recovery_code(OLD, home.code)
    newest = phone.renew_recovery_code(OLD, fresh)
    home.laptop.sync()
    made = home.laptop.revoke(phone.devices[0], password=OLD, code=newest)
    assert made.name == "Phone"


def test_a_vault_without_a_remote_changes_its_account_too(tmp_path: Path) -> None:
    remote = MemoryRemote()
    with Vault.create(tmp_path / "v", schema=SCHEMA, password=OLD, environment=world()) as vault:
        done = vault.change_password(OLD, NEW, code=vault.recovery_code)
        code = vault.recovery_code or ""
        assert (done.account, done.published) == (True, False)
        vault.auto_sync = False
        vault.connect("memory://", remote=remote)
        vault.sync()

        def join(password: str) -> Vault:
            return Vault.join(
                tmp_path / "joined", "memory://", schema=SCHEMA, password=password, code=code,
                environment=world(), opener=lambda url: remote, background=False,
            )  # fmt: skip

        with pytest.raises(WrongPassword):
            join(OLD)
        join(NEW).close()


@pytest.mark.parametrize("leaked", [True, False])
@pytest.mark.parametrize("step", ["before the file", "before the note is taken away"])
def test_a_change_of_both_that_is_cut_off_is_finished_when_the_file_is_opened(
    home: Home, leaked: bool, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The account has the new password already, and a leaked one's replacement cannot be taken back."""
    place = (
        "vaultsync.vault.ledger.Ledger.rekey"
        if step == "before the file"
        else "vaultsync.vault.membership.passwords._finished"
    )
    with monkeypatch.context() as cut:
        cut.setattr(place, killed)
        with pytest.raises(KeyboardInterrupt):
            home.laptop.change_password(OLD, NEW, code=home.code, leaked=leaked)
    early = step == "before the file"
    laptop = home.reopen(home.laptop, OLD if early else NEW)
    assert ("from now on the new one opens this file" in caplog.text) == early
    code = (laptop.unseen_recovery_code if leaked else home.code) or ""
    assert laptop.view()
    laptop.add("login", title="goes on")
    laptop.sync()
    laptop = home.reopen(laptop, NEW)
    assert len(laptop.view()) == 2
    assert laptop._ledger.state("rekey") is None
    laptop.close()
    with pytest.raises(WrongPassword):
        Vault.open(home.folder / "laptop.vault", schema=SCHEMA, password=OLD, environment=world())
    assert len(home.join(NEW, code).view()) == 2


@pytest.mark.parametrize("away", [True, False])
def test_the_older_slot_goes_with_the_next_sync_where_a_change_was_cut_off_before(
    home: Home, away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two, or the remote went away: else the old password would let people in for ever."""
    with monkeypatch.context() as cut:
        cut.setattr(type(home.remote), "delete", went_away if away else killed)
        with contextlib.nullcontext() if away else pytest.raises(KeyboardInterrupt):
            home.laptop.change_password(OLD, NEW, code=home.code)
    laptop = home.laptop if away else home.reopen(home.laptop, OLD)
    assert len(list(home.remote.list("account"))) == 2
    laptop.sync()
    assert len(list(home.remote.list("account"))) == 1
    with pytest.raises(WrongPassword):
        home.join(OLD, home.code)
    home.join(NEW, home.code)


def went_away(*args: object, **kwargs: object) -> None:
    raise RemoteUnavailable("away")


def killed(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_a_file_that_opens_in_several_ways_is_told_before_anything_changes(home: Home) -> None:
    ledger = home.laptop._ledger
    other = Slot("key", make_slot(ledger.key, entropy=world().entropy, raw_key=bytes(range(32))))
    ledger.store.replace_slots([*ledger.store.keyed_slots(), other])
    with pytest.raises(UsageError, match="several ways"):
        home.laptop.change_password(OLD, NEW, code=home.code, leaked=True)
    home.join(OLD, home.code)

"""kill -9 at every statement and before and after every message to the remote, while a password changes (here, and with
the account, and because it leaked) and while a recovery code is renewed.

    VAULTSYNC_KILL_STEP=1 pytest tests/vault/test_account_kills.py      every point

Afterwards the file opens with the old or the new password, other devices go on, somebody can join, and the change is
finished by opening the file, or can be made once more.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from vaultsync.errors import WrongCode, WrongPassword
from vaultsync.remote import FolderRemote
from vaultsync.schema.kinds import text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import environment
from vaultsync.vault.environment import Environment
from vaultsync.vault.vault import Vault

SCHEMA = Schema("logins", version=1, platform="linux", types=[EntryType("login", fields=[Field("title", text)])])
OLD, NEW, PHONE = "the old password", "the new password", "the phone's password"
STEP = int(os.environ.get("VAULTSYNC_KILL_STEP", "0"))
POINTS = 2  # of each act in a run of the suite, spread over it

CHILD = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from tests.vault.test_account_kills import NEW, OLD, SCHEMA, world
from vaultsync.remote import FolderRemote
from vaultsync.store import connect
from vaultsync.vault.vault import Vault

home, act, code, at = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
seen = 0

def tick():
    global seen
    if armed:
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

class Disk:
    def __init__(self, real):
        self.real = real
    def execute(self, sql, parameters=()):
        tick()
        return self.real.execute(sql, parameters)
    def close(self):
        self.real.close()
    @property
    def in_transaction(self):
        return self.real.in_transaction

class Messages:
    def __init__(self, real):
        self.real = real
    def __getattr__(self, name):
        told = getattr(self.real, name)
        if name not in ("put", "get", "list", "delete"):
            return told
        def asked(*said):
            tick()
            answer = told(*said)
            tick()
            return answer
        return asked

armed = False
vault = Vault.open(
    home / "laptop.vault", schema=SCHEMA, password=OLD, background=False,
    environment=replace(world(f"child {at}"), connect=lambda path: Disk(connect(path))),
    opener=lambda url: Messages(FolderRemote(home / "shared")),
)
armed = True
if act == "renewed":
    vault.renew_recovery_code(OLD, code)
else:
    vault.change_password(OLD, NEW, code=None if act == "file" else code, leaked=act == "leaked")
armed = False
print(seen, flush=True)
vault.close()
"""


def world(name: str) -> Environment:
    return environment(f"account kills {name}")


class Start(NamedTuple):
    """A folder with the laptop's and the phone's files and the remote, as they were before."""

    folder: Path
    code: str


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    folder = tmp_path_factory.mktemp("account-kills") / "start"
    folder.mkdir()
    remote = FolderRemote(folder / "shared", create=True)
    with Vault.create(
        folder / "laptop.vault", schema=SCHEMA, password=OLD, device="Laptop", environment=world("start")
    ) as laptop:
        laptop.auto_sync = False
        laptop.connect("memory://", remote=remote)
        laptop.add("login", title="Bank")
        laptop.sync()
        code = laptop.recovery_code or ""
        laptop.recovery_code_seen()
        joined(folder, "phone", OLD, code).close()
        laptop.sync()
    with opened(folder, "phone", OLD) as phone:
        phone.change_password(OLD, PHONE)
    return Start(folder, code)


def joined(home: Path, name: str, password: str, code: str) -> Vault:
    return Vault.join(
        home / f"{name}.vault", "memory://", schema=SCHEMA, password=password, code=code, device=name,
        environment=world(name), opener=lambda url: FolderRemote(home / "shared"), background=False,
    )  # fmt: skip


@contextmanager
def opened(home: Path, name: str, password: str, again: str = "") -> Iterator[Vault]:
    with Vault.open(
        home / f"{name}.vault", schema=SCHEMA, password=password, environment=world(f"{name} {again}"),
        opener=lambda url: FolderRemote(home / "shared"), background=False,
    ) as vault:  # fmt: skip
        yield vault


def opens(home: Path, password: str) -> bool:
    try:
        with opened(home, "laptop", password, "look") as vault:
            assert vault.check().ok
    except WrongPassword:
        return False
    return True


def joins(home: Path, name: str, password: str, code: str) -> bool:
    try:
        with joined(home, name, password, code) as vault:
            return len(vault.view()) > 0
    except (WrongPassword, WrongCode):
        return False


def run(home: Path, act: str, code: str, at: int) -> int | None:
    """How many points there are, if it was not killed."""
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(home), act, code, str(at)], capture_output=True, text=True, check=False
    )
    if ran.returncode == 0:
        return int(ran.stdout)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return None


def look(home: Path, act: str, code: str, at: str) -> str:
    """Everything that has to hold after a kill; which password opened the file first."""
    phone = (home / "phone.vault").read_bytes()
    with opened(home, "phone", PHONE, at) as other:  # before the laptop is there again
        other.add("login", title=f"by the phone {at}")
        assert other.sync().complete, at
    if not opens(home, OLD):
        found = "new"
    else:
        found = "old" if opens(home, OLD) else "old, which finished the change"
    password = OLD if found == "old" else NEW
    assert opens(home, NEW) == (password == NEW), f"{at}: exactly one of the two opens it"
    with opened(home, "laptop", password, at) as laptop:
        laptop.add("login", title=f"by the laptop {at}")
        assert laptop.sync().complete, at
        codes = {code, laptop.unseen_recovery_code or code}
    with opened(home, "phone", PHONE, f"{at} again") as other:
        assert other.sync().complete, at
        assert len(other.view()) == 3, at
    assert (home / "phone.vault").read_bytes() != phone
    able = [
        (secret, one)
        for number, (secret, one) in enumerate((s, c) for s in (OLD, NEW) for c in sorted(codes))
        if joins(home, f"newcomer-{number}", secret, one)
    ]
    assert len(able) == 1, f"{at}: exactly one password and code let somebody in"
    finish(home, act, at, password, *able[0])
    return found


def finish(home: Path, act: str, at: str, opens_file: str, secret: str, code: str) -> None:
    """Made once more, unless it is done: then it is as if it had never been cut off."""
    done = {
        "file": opens_file == NEW,
        "account": (opens_file, secret) == (NEW, NEW),
        "leaked": opens_file == NEW,
        "renewed": False,
    }[act]
    fresh: str | None = code
    with opened(home, "laptop", opens_file, f"{at} once more") as laptop:
        if not done and act == "renewed":
            fresh = laptop.renew_recovery_code(OLD, code)
        elif not done:
            made = laptop.change_password(opens_file, NEW, code=None if act == "file" else code, leaked=act == "leaked")
            fresh = made.recovery_code or code
        if act == "leaked" and done:
            assert laptop.unseen_recovery_code == code, at
        assert laptop.sync().complete, at
    assert opens(home, NEW) == (act != "renewed"), at
    assert joins(home, "newcomer-last", NEW if act in ("account", "leaked") else OLD, fresh or ""), at


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
@pytest.mark.parametrize("act", ["file", "account", "leaked", "renewed"])
def test_killed_at_every_statement_and_message(start: Start, act: str, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def begin() -> None:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(start.folder, home)

    begin()
    points = run(home, act, start.code, 0)
    assert points
    step = STEP or max(1, points // POINTS)
    seen: dict[str, int] = {}
    for at in range(1 if STEP else step // 2, points + 1, step):
        begin()
        assert run(home, act, start.code, at) is None, f"{act}: not killed at {at} of {points}"
        found = look(home, act, start.code, f"{act} killed at {at} of {points}")
        seen[found] = seen.get(found, 0) + 1
    print(f"{act}: {points} points, {seen}")

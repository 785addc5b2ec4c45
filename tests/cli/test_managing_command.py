"""``revoke``, ``revoked``, ``rotate``, ``password`` and ``recovery``: what a person reads, and what a program does."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.cli.conftest import Shell


@pytest.fixture
def shared(shell: Shell) -> Shell:
    """A laptop and a phone on one folder; the code is in the environment."""
    shell.env["VAULTSYNC_CODE"] = shell.json("create", "ann.vault", "--device", "Laptop")["recovery_code"]
    shell("add", "ann.vault", "login", "title=GitHub", "username=ann", "password=CANARY-1")
    shell("connect", "ann.vault", "shared")
    shell("join", "phone.vault", "shared", "--device", "Phone")
    shell("sync", "ann.vault")
    return shell


def test_a_device_is_removed_and_the_secrets_to_change_are_listed(shared: Shell) -> None:
    said = shared("revoke", "ann.vault", "Phone", "--yes").stdout
    assert "“Phone” is none of your devices any more" in said
    assert "GitHub" in said
    assert "password" in said
    assert "CANARY" not in said
    assert [one["name"] for one in shared.json("devices", "ann.vault")] == ["Laptop"]
    assert "removed from the vault" in shared.fails("sync", "phone.vault")
    assert "GitHub" in shared("list", "phone.vault").stdout
    (told,) = shared.json("revoked", "ann.vault")
    assert told["name"] == "Phone"
    assert [(one["title"], one["fields"]) for one in told["exposed"]] == [("GitHub", ["password"])]
    shared("edit", "ann.vault", "GitHub", "password=CANARY-2")
    (told,) = shared.json("revoked", "ann.vault")
    assert told["exposed"] == []
    assert "no secret that is still in use" in shared("revoked", "ann.vault").stdout


def test_by_the_beginning_of_its_id_and_as_json(shared: Shell) -> None:
    phone = next(one for one in shared.json("devices", "ann.vault") if not one["this"])
    made = json.loads(shared("revoke", "ann.vault", phone["id"][:8], "--yes", "--json").stdout)
    assert (made["name"], made["published"], made["late_edits"]) == ("Phone", True, [])


def test_removed_in_two_places_at_once(shared: Shell) -> None:
    """A folder that was parted and put together again: each half removed a device, and has the other one's key."""
    for name in ("tablet", "watch"):
        shared("join", f"{name}.vault", "shared", "--device", name.title())
        shared("sync", f"{name}.vault")
    for name in ("ann", "phone", "tablet", "watch", "ann"):
        shared("sync", f"{name}.vault")
    assert "Nothing to do" in shared("rotate", "ann.vault").stdout
    shutil.copytree("shared", "before")
    shared("revoke", "ann.vault", "Phone", "--yes")
    shutil.move("shared", "half")
    shutil.move("before", "shared")
    shared("revoke", "tablet.vault", "Watch", "--yes")
    shutil.copytree("half", "shared", dirs_exist_ok=True)
    shared("sync", "tablet.vault")
    shared("sync", "ann.vault")
    asked = shared("status", "ann.vault")
    assert "vaultsync rotate" in asked.stderr
    assert shared.json("status", "ann.vault")["needs_rotation"]
    assert "A new key has begun" in shared("rotate", "ann.vault").stdout
    for name in ("tablet", "ann"):
        shared("sync", f"{name}.vault")
        assert not shared.json("status", f"{name}.vault")["needs_rotation"]


def test_what_is_wrong_is_said_in_one_sentence(shared: Shell) -> None:
    assert "no device 'Fridge'" in shared.fails("revoke", "ann.vault", "Fridge", "--yes")
    assert "the device itself" in shared.fails("revoke", "ann.vault", "Laptop", "--yes")
    assert "--yes" in shared.fails("revoke", "ann.vault", "Phone")
    shared.env["VAULTSYNC_ACCOUNT_PASSWORD"] = "wrong"
    assert "password" in shared.fails("revoke", "ann.vault", "Phone", "--yes")
    assert len(shared.json("devices", "ann.vault")) == 2


def test_nothing_happens_when_the_person_says_no(shared: Shell) -> None:
    shared.typed = ["n"]
    assert "Nothing was changed" in shared("revoke", "ann.vault", "Phone", status=1).stdout
    assert len(shared.json("devices", "ann.vault")) == 2


def test_the_files_password_alone(shared: Shell) -> None:
    shared.env["VAULTSYNC_NEW_PASSWORD"] = "new"
    said = shared("password", "ann.vault").stdout
    assert "still takes the old password" in said
    shared.fails("list", "ann.vault")
    shared.env["VAULTSYNC_PASSWORD"] = "new"
    assert "GitHub" in shared("list", "ann.vault").stdout


def test_typed_twice_and_not_the_same(shared: Shell) -> None:
    shared.typed = ["one", "two"]
    assert "not the same" in shared.fails("password", "ann.vault")
    assert "GitHub" in shared("list", "ann.vault").stdout


def test_with_the_account_joining_takes_it(shared: Shell) -> None:
    shared.env["VAULTSYNC_NEW_PASSWORD"] = "new"
    assert shared.json("password", "ann.vault", "--account") == {
        "file": True, "account": True, "published": True, "recovery_code": None,
    }  # fmt: skip
    assert "password" in shared.fails("join", "late.vault", "shared", "--device", "Late")
    shared.env["VAULTSYNC_PASSWORD"] = "new"
    shared("join", "late.vault", "shared", "--device", "Late")


def test_what_leaked_is_replaced_and_the_new_code_shown(shared: Shell) -> None:
    shared.env["VAULTSYNC_NEW_PASSWORD"] = "new"
    old = shared.env["VAULTSYNC_CODE"]
    fresh = shared.json("password", "ann.vault", "--leaked")["recovery_code"]
    assert fresh != old
    shared.env |= {"VAULTSYNC_PASSWORD": "new"}
    assert "code" in shared.fails("join", "late.vault", "shared", "--device", "Late")
    shared.env["VAULTSYNC_CODE"] = fresh
    shared("join", "late.vault", "shared", "--device", "Late")


def test_a_new_recovery_code(shared: Shell) -> None:
    fresh = shared.json("recovery", "ann.vault")["recovery_code"]
    assert "code" in shared.fails("join", "late.vault", "shared", "--device", "Late")
    shared.env["VAULTSYNC_CODE"] = fresh
    said = shared("recovery", "ann.vault").stdout
    assert "is not shown again" in said
    assert fresh not in said

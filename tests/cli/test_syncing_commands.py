"""Where a vault syncs, on the command line: mirrors, moving, syncing no more; who was heard from, what to look at."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import vaultsync as vs
from vaultsync.cli.standing import _heard, _to_look_at
from vaultsync.vault.replication.standing import State

Shell = Any


def test_mirrors_and_moving(vault: Shell) -> None:
    assert "connect" in vault.fails("connect", "ann.vault", "spare", "--mirror")
    vault("connect", "ann.vault", "first")
    said = vault("connect", "ann.vault", "spare", "--mirror").stdout
    assert "spare is a mirror now, beside" in said
    assert vault.json("status", "ann.vault")["mirrors"] == [Path("spare").absolute().as_uri()]
    assert "mirror: " in vault("status", "ann.vault").stdout
    assert "Moved from" in vault("connect", "ann.vault", "second").stdout
    assert vault.json("status", "ann.vault")["remote"] == Path("second").absolute().as_uri()


def test_a_mirror_that_is_away_is_said(vault: Shell) -> None:
    vault("connect", "ann.vault", "first")
    vault("connect", "ann.vault", "spare", "--mirror")
    shutil.rmtree("spare")
    Path("spare").write_text("a file where a folder should be")
    done = vault("sync", "ann.vault")
    assert "Warning: the mirror file:///" in done.stderr


def test_syncing_no_more(vault: Shell) -> None:
    assert "syncs with: nowhere" in vault.fails("disconnect", "ann.vault", "--from", "first")
    assert "not connected" in vault.fails("disconnect", "ann.vault")
    vault("connect", "ann.vault", "first")
    vault("connect", "ann.vault", "spare", "--mirror")
    assert "spare" in vault.fails("disconnect", "ann.vault", "--from", "other")
    assert "syncs with file:///" in vault("disconnect", "ann.vault", "--from", "first").stdout
    assert vault.json("status", "ann.vault")["remote"] == Path("spare").absolute().as_uri()
    assert vault.json("disconnect", "ann.vault") == {"remote": None, "mirrors": [], "pending": 0}
    assert "not connected" in vault("status", "ann.vault").stdout
    assert any(Path("spare").iterdir())  # what is there stays there


def test_when_others_were_heard_from(vault: Shell) -> None:
    code = vault.json("create", "own.vault", "--device", "Laptop")["recovery_code"]
    vault("connect", "own.vault", "shared")
    vault.env["VAULTSYNC_CODE"] = code
    vault("join", "phone.vault", "shared", "--device", "Phone")
    vault("sync", "own.vault")
    said = vault("devices", "own.vault").stdout.splitlines()
    assert said[0].split("  ")[0] == "Device"
    assert "Last heard from" in said[0]
    assert "this device" in said[1]
    assert "a moment ago" in said[2]
    assert "Last heard from Phone a moment ago" in vault("status", "own.vault").stdout

    day = 86_400_000
    phone = vs.DeviceInfo("0" * 64, "Phone", False, None, None, None, None, day)
    assert _heard(phone, 4 * day) == "3 days ago"
    assert _heard(phone, 0) == "by a clock that is off"


def test_what_there_is_to_look_at() -> None:
    finding = vs.Finding(vs.FindingKind.ROLLED_BACK, b"x" * 32, 4, device="Phone")
    now = vs.SyncStatus(
        State.UP_TO_DATE, "file:///x", True, 0, None, findings=(finding,), quarantined=2, moved_to="https://ann:pw@host"
    )
    told = _to_look_at(now, {"Old phone": 1})
    assert told[0].startswith("Phone's edit 4 went missing from the remote")
    assert "https://ann:…@host" in told[1]  # no password
    assert "2 objects" in told[2]
    assert told[3] == "1 edit of “Old phone” arrived after it was removed: `vaultsync revoked` lists them"
    assert _to_look_at(vs.SyncStatus(State.UP_TO_DATE, None, True, 0, None), {}) == []

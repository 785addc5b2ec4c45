"""Every mistake a person can make: one sentence, a status, no traceback, nothing half done."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Shell = Any
OLD = ("--schema-version", "2", "--platform", "android")


def test_passwords_and_codes(vault: Shell) -> None:
    code = vault.json("create", "other.vault")["recovery_code"]
    vault("connect", "other.vault", "shared")
    vault.env["VAULTSYNC_PASSWORD"] = "wrong"
    assert "password" in vault.fails("list", "ann.vault")
    vault.env["VAULTSYNC_CODE"] = code
    assert "password does not open" in vault.fails("join", "b.vault", "shared")
    vault.env["VAULTSYNC_PASSWORD"] = "pw"
    vault.env["VAULTSYNC_CODE"] = "not a code"
    assert "recovery code" in vault.fails("join", "b.vault", "shared")
    last = "0" if code[-1] != "0" else "1"
    vault.env["VAULTSYNC_CODE"] = code[:-1] + last
    assert "misspelt" in vault.fails("join", "b.vault", "shared")
    vault.env["VAULTSYNC_CODE"] = vault.json("create", "third.vault")["recovery_code"]
    assert "answers to that recovery code" in vault.fails("join", "b.vault", "shared")
    vault.env["VAULTSYNC_CODE"] = code
    assert "not there" in vault.fails("join", "b.vault", "nowhere")
    assert not Path("b.vault").exists()
    for name in ("VAULTSYNC_PASSWORD", "VAULTSYNC_CODE"):
        vault.env[name] = None
    assert "VAULTSYNC_CODE" in vault.fails("join", "b.vault", "shared")
    assert "VAULTSYNC_PASSWORD" in vault.fails("list", "ann.vault")
    vault.env["VAULTSYNC_PASSWORD"] = ""
    assert "empty" in vault.fails("list", "ann.vault")
    assert "nofile" in vault.fails("list", "ann.vault", "--password-file", "nofile")


def test_files_that_are_no_vault(vault: Shell) -> None:
    assert "no vault at" in vault.fails("list", "nope.vault")
    Path("junk").write_text("hello")
    assert "not a vault" in vault.fails("list", "junk")
    assert "folder" in vault.fails("list", ".")
    vault.env["VAULTSYNC_PASSWORD"] = None
    vault.typed = ["never asked for"]
    assert "not a vault" in vault.fails("list", "junk")
    assert vault.asked == []
    vault.env["VAULTSYNC_PASSWORD"] = "pw"
    assert "already" in vault.fails("create", "ann.vault")
    assert "already" in vault.fails("join", "ann.vault", "shared")
    assert "no folder" in vault.fails("create", "nodir/x.vault")


def test_a_damaged_vault(vault: Shell, sample: Callable[[int], Path]) -> None:
    sample(60)
    vault("import", "ann.vault", "bitwarden.json")
    data = bytearray(Path("ann.vault").read_bytes())
    for i in range(len(data) // 4, len(data)):
        data[i] ^= 0x55
    Path("ann.vault").write_bytes(data)
    said = vault.fails("list", "ann.vault")
    assert "damaged" in said
    assert "doctor" in said
    report = vault("doctor", "ann.vault", status=1).stdout
    assert "lost:" in report
    assert "whole:" in report


def test_a_vault_of_which_entries_can_still_be_read(vault: Shell, sample: Callable[[int], Path]) -> None:
    """Entries lie in a place of their own beside the recorded changes: a person gets at the passwords, and is told."""
    (entry,) = [one["id"] for one in vault.json("list", "ann.vault")]
    sample(60)
    vault("import", "ann.vault", "bitwarden.json")
    with contextlib.closing(sqlite3.connect("ann.vault")) as file, file:
        assert file.execute("UPDATE journal SET sealed = zeroblob(length(sealed))").rowcount > 0
    for words in (["list"], ["show", entry], ["status"], ["notices"]):
        read = vault(words[0], "ann.vault", *words[1:], "--json")
        assert json.loads(read.stdout) is not None
        assert "damaged" in read.stderr
        assert "doctor" in read.stderr
    for words in (["edit", entry, "username=bob"], ["history", entry]):
        said = vault.fails(words[0], "ann.vault", *words[1:])
        assert "cannot be read" in said
        assert "doctor" in said
    assert vault.json("show", "ann.vault", entry)["fields"]["username"] == "ann"
    assert "lost:" in vault("doctor", "ann.vault", status=1).stdout


def test_a_damaged_vault_is_healed(vault: Shell, sample: Callable[[int], Path]) -> None:
    sample(60)
    vault("connect", "ann.vault", "shared")
    vault("import", "ann.vault", "bitwarden.json")
    vault("sync", "ann.vault")
    before = vault.json("list", "ann.vault")
    data = bytearray(Path("ann.vault").read_bytes())
    for i in range(len(data) // 2, len(data) // 2 + 8192):
        data[i] ^= 0x55
    Path("ann.vault").write_bytes(data)
    healed = vault.json("doctor", "ann.vault", "--heal")
    assert healed["healed"]
    assert not healed["lost"]
    assert Path(healed["aside"]).exists()
    assert vault.json("doctor", "ann.vault")["healthy"]
    assert vault.json("list", "ann.vault") == before


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_a_folder_that_is_not_writable(vault: Shell) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            folder.parent.stat()
            os.seteuid(65534)
        try:
            assert "not writable" in vault.fails("create", str(folder / "x.vault"))
        finally:
            if root:
                os.seteuid(0)
        (folder / "file").touch() if root else None
        blocked = Path("blocked")
        blocked.write_text("a file where a folder should be")
        vault.fails("connect", "ann.vault", str(blocked))
        assert vault.json("status", "ann.vault")["remote"] is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("cut.json", '{"encrypted": false, "folders": [],\n "items": [\n {"type": 1,', "line 3"),
        ("other.txt", "a shopping list", "not an export"),
        ("empty.json", "", "empty"),
        ("quote.csv", 'name,url,username,password\na,b,c,d\n"x', "line 3"),
        ("sealed.json", '{"encrypted": true, "items": []}', "encrypted"),
    ],
)
def test_malformed_exports(vault: Shell, name: str, text: str, expected: str) -> None:
    Path(name).write_text(text)
    said = vault.fails("import", "ann.vault", name)
    assert expected in said
    assert name in said
    assert len(vault.json("list", "ann.vault")) == 1


def test_exports_that_are_not_there(vault: Shell) -> None:
    assert "no such file" in vault.fails("import", "ann.vault", "nope.json")
    assert "folder" in vault.fails("import", "ann.vault", ".")
    Path("x.json").write_text("[]")
    assert "no import format" in vault.fails("import", "ann.vault", "x.json", "--format", "frob")
    assert "already" in vault.fails("export", "ann.vault", "x.json")
    assert "cannot be written" in vault.fails("export", "ann.vault", "nodir/x.json")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("add", "logn", "title=x"), "Did you mean 'login'"),
        (("add", "login", "titel=x"), "Did you mean 'title'"),
        (("add", "login", "titel"), "Did you mean 'title'"),
        (("add", "wifi_note", "title=x"), "retired"),
        (("add", "login", "security_question=x"), "retired"),
        (("add", "login", "favorite=perhaps"), "favorite=yes"),
        (("add", "login", "password_changed=yesterday"), "2027-01-31"),
        (("add", "document", "attachment=x"), "attached file"),
        (("add", "login", "title+=x"), "one value"),
        (("add", "login", "title=x", "title=y"), "2 times"),
        (("add", "login", "tags=x", "tags+=y"), "at once"),
        (("add", "login", "tags+="), "nothing to add"),
        (("add", "login", "a b"), "not a field"),
        (("add", "login", "notes@=nofile"), "nofile"),
        (("add", "login", "password"), "password@=FILE"),
        (("edit", "Nobody", "title=x"), "no entry"),
        (("edit", "GitHub"), "nothing to change"),
        (("edit", "GitHub", "passwrd=x"), "Did you mean 'password'"),
        (("show", "GitHub", "--field", "nope"), "nope"),
        (("show", "GitHub", "--field", "password"), "--reveal"),
        (("restore", "GitHub"), "not in the trash"),
        (("restore", "GitHub", "--revision", "ffff"), "revision"),
        (("delete",), "which entry"),
        (("purge", "GitHub"), "--yes"),
        (("add", "login"), "at least one field"),
        (("list", "--type", "frob"), "There are:"),
        (("list", "--status", "frob"), "--status is one of"),
        (("list", "--sort", "frob"), "--sort is one of"),
        (("list", "--schema-version", "9"), "versions 1 to 4"),
        (("list", "--platform", "amiga"), "platform is one of"),
        (("list", "--schema", "nothing"), "MODULE:NAME"),
        (("list", "--schema", "no_such_module:x"), "no module"),
        (("list", "--schema", "json:x"), "has no 'x'"),
        (("list", "--schema", "json:dumps"), ""),
        (("sync",), "not connected"),
        (("connect", "ftp://files.example"), "unknown kind of remote"),
        (("connect", "http://127.0.0.1:9"), "does not answer"),
        (("connect", "file://elsewhere/x"), "another computer"),
    ],
)
def test_mistakes(vault: Shell, words: tuple[str, ...], expected: str) -> None:
    assert expected in vault.fails(words[0], "ann.vault", *words[1:])
    assert [e["title"] for e in vault.json("list", "ann.vault")] == ["GitHub"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("frob",), "No such command"),
        (("list", "--frob"), "No such option"),
        (("list",), "which vault"),
        (("list", "ann.vault", "--limit", "many"), "--limit"),
        (("add", "ann.vault"), "TYPE is missing"),
        (("sync", "ann.vault", "extra"), "extra"),
    ],
)
def test_misuse_is_status_two_and_names_the_help(vault: Shell, words: tuple[str, ...], expected: str) -> None:
    said = vault.fails(*words, status=2)
    assert expected in said
    assert "--help" in said.splitlines()[-1]


def test_what_must_not_be_edited_here(vault: Shell) -> None:
    vault("edit", "ann.vault", "GitHub", "passkeys=demo")
    said = vault.fails("edit", "ann.vault", "GitHub", "username=x", *OLD)
    assert "passkeys" in said
    vault("add", "ann.vault", "ssh_key", "title=Key")
    assert "no entry" in vault.fails("edit", "ann.vault", "Key", "title=x", *OLD)


def test_something_unexpected_says_so_and_no_more(vault: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    import vaultsync as vs

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("CANARY inside")

    monkeypatch.setattr(vs.Vault, "open", broken)
    said = vault.fails("list", "ann.vault")
    assert "RuntimeError" in said
    assert "CANARY" not in said
    vault.outputs.clear()
    from typer.testing import CliRunner

    from vaultsync.cli.app import app

    result = CliRunner().invoke(app, ["list", "ann.vault", "--debug"], env={"VAULTSYNC_PASSWORD": "pw"})
    assert "Traceback" in result.stderr
    assert result.exit_code == 1

"""What commands do, as a person or a script sees it."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vaultsync as vs
from vaultsync.cli import session
from vaultsync.cli.app import app
from vaultsync.cli.session import sync_quietly
from vaultsync.crypto.primitives import WEAK_FOR_TESTS
from vaultsync.vault.environment import Environment

CODE = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5})+")
OLD = ("--schema-version", "2", "--platform", "android")
WEAK = Environment(argon2=WEAK_FOR_TESTS, weak_keys=True)
Shell = Any
ENTRY_KEYS = {
    "id", "type", "type_label", "status", "title", "created", "modified", "fields", "retired", "masked", "missing",
    "writable", "reason", "source", "conflicts",
}  # fmt: skip


def open_vault(path: str, version: int = 4) -> vs.Vault:
    from vaultsync.presets.passwords import passwords

    return vs.Vault.open(path, schema=passwords(version), password="pw", background=False, environment=WEAK)


def test_create_shows_a_recovery_code_that_lets_another_device_in(shell: Shell) -> None:
    code = CODE.search(shell("create", "ann.vault").stdout)
    assert code
    shell("connect", "ann.vault", "shared")
    shell.env["VAULTSYNC_CODE"] = code[0].lower()
    shell("join", "phone.vault", "shared", "--device", "Phone", *OLD)
    assert next(d["name"] for d in shell.json("devices", "phone.vault", *OLD)) == "Phone"
    assert len(shell.json("devices", "phone.vault", *OLD)) == 2


def test_a_typed_password_is_typed_twice_and_hidden(shell: Shell) -> None:
    shell.env["VAULTSYNC_PASSWORD"] = None
    shell.typed = ["one", "two"]
    assert "not the same" in shell.fails("create", "ann.vault")
    assert not Path("ann.vault").exists()
    shell.typed = ["one", "one"]
    shell("create", "ann.vault")
    shell.typed = ["one"]
    shell("list", "ann.vault")
    assert all(hidden for _, hidden in shell.asked)


def test_a_password_from_a_file(vault: Shell) -> None:
    vault.env["VAULTSYNC_PASSWORD"] = "wrong"
    Path("pw.txt").write_text("pw\nand more\n")
    vault("list", "ann.vault", "--password-file", "pw.txt")
    vault("list", "ann.vault", "--password-file", "-", stdin="pw\n")


def test_the_vault_from_the_environment(vault: Shell, sample: Callable[[int], Path]) -> None:
    vault.env["VAULTSYNC_VAULT"] = "ann.vault"
    sample(3)
    vault("import", "bitwarden.json")
    vault("add", "login", "title=B", "username=b")
    vault("edit", "GitHub", "username=c")
    assert vault.json("show", "GitHub")["fields"]["username"] == "c"
    vault("delete", "GitHub", "B")
    vault("delete", "ann.vault", "Home Router", status=1)  # the vault all the same, and no such entry
    assert len(vault.json("list", "ann.vault", "--status", "trashed")) == 2
    assert "ENTRY is missing" in vault.fails("show", status=2)


def test_show_masks_and_reveals(vault: Shell) -> None:
    assert "CANARY" not in vault("show", "ann.vault", "GitHub").output
    assert "CANARY-1" in vault("show", "ann.vault", "GitHub", "--reveal").stdout
    assert vault("show", "ann.vault", "GitHub", "--field", "password", "--reveal").stdout == "CANARY-1\n"
    assert vault.json("show", "ann.vault", "GitHub")["fields"]["password"] is None
    assert vault.json("show", "ann.vault", "GitHub", "--reveal")["fields"]["password"] == "CANARY-1"


def test_json_has_stable_keys(vault: Shell) -> None:
    (entry,) = vault.json("list", "ann.vault")
    assert entry.keys() == ENTRY_KEYS
    assert entry["masked"] == ["password"]
    assert vault.json("status", "ann.vault").keys() == {
        "path", "device", "schema", "version", "release", "platform", "counts", "remote", "auto_sync", "pending",
        "last_sync_ms", "mirrors", "moved_to", "waiting", "checkpoint_ms", "quarantined", "findings", "late_edits",
        "needs_rotation", "devices",
    }  # fmt: skip
    assert vault.json("connect", "ann.vault", "r").keys() == {
        "sent", "received", "entries", "bytes_sent", "bytes_received", "seconds", "complete", "waiting", "quarantined",
        "findings",
    }  # fmt: skip
    keys = {"healthy", "lost", "whole", "details", "remote", "drift", "checkpoint_ms"}
    assert vault.json("doctor", "ann.vault").keys() == keys
    (device,) = vault.json("devices", "ann.vault")
    assert device.keys() == {"id", "name", "this", "app", "version", "release", "platform", "heard", "arrived"}
    assert vault.json("notices", "ann.vault") == []
    assert vault.json("history", "ann.vault", "GitHub")[0].keys() == {
        "id", "event", "device", "version", "time", "before", "after", "masked",
    }  # fmt: skip


def test_every_kind_of_field(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = [
        vs.Field("title", vs.text),
        vs.Field("pin", vs.secret),
        vs.Field("count", vs.number),
        vs.Field("when", vs.instant),
        vs.Field("good", vs.flag),
        vs.Field("labels", vs.tags),
        vs.Field("parts", vs.items(vs.text)),
        vs.Field("sizes", vs.items(vs.number)),
        vs.Field("body", vs.note),
    ]
    (shell.folder / "own_schema.py").write_text("import vaultsync as vs\nSCHEMA = None\n")
    import sys
    import types

    module = types.ModuleType("own_schema")
    module.SCHEMA = vs.Schema("own", version=1, types=[vs.EntryType("thing", fields=fields)])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_schema", module)
    shell.env["VAULTSYNC_SCHEMA"] = "own_schema:SCHEMA"
    shell("create", "own.vault")
    (shell.folder / "lines").write_text("one\ntwo, too\n")
    shell.typed = ["s3cret"]
    shell(
        "add", "own.vault", "thing", "title=a = b", "pin", "count=3", "when=2027-01-31T09:00+01:00", "good=yes",
        "labels=x, y", "parts=p,q", "parts=r", "sizes=1.5", "sizes=2", "body@=lines",
    )  # fmt: skip
    shell.typed = []
    assert shell.json("show", "own.vault", "a = b", "--reveal")["fields"] == {
        "title": "a = b", "pin": "s3cret", "count": 3, "when": "2027-01-31T08:00:00Z", "good": True,
        "labels": ["x", "y"], "parts": ["p,q", "r"], "sizes": [1.5, 2], "body": "one\ntwo, too",
    }  # fmt: skip
    shell(
        "edit", "own.vault", "a = b", "labels+=z", "labels-=x", "parts+@=lines", "parts-=r", "good=", "sizes=", "pin="
    )
    after = shell.json("show", "own.vault", "a = b", "--reveal")["fields"]
    assert after["labels"] == ["y", "z"]
    assert after["parts"] == ["p,q", "one", "two, too"]
    assert not {"good", "sizes", "pin"} & after.keys()
    shell("edit", "own.vault", "a = b", "body@=-", "count=0.5", stdin="from\nstdin\n")
    after = shell.json("show", "own.vault", "a = b")["fields"]
    assert (after["body"], after["count"]) == ("from\nstdin", 0.5)


def test_deleting_restoring_and_forgetting(vault: Shell) -> None:
    vault("delete", "ann.vault", "GitHub")
    assert vault.json("list", "ann.vault") == []
    vault("restore", "ann.vault", "GitHub")
    vault("edit", "ann.vault", "GitHub", "username=other")
    added, *_ = vault.json("history", "ann.vault", "GitHub")
    vault("restore", "ann.vault", "GitHub", "--revision", added["id"][:8])
    assert vault.json("show", "ann.vault", "GitHub")["fields"]["username"] == "ann"
    vault.typed = ["n"]
    vault.fails("purge", "ann.vault", "GitHub")
    vault.typed = ["y"]
    vault("purge", "ann.vault", "GitHub")
    vault.typed = []
    (gone,) = vault.json("list", "ann.vault", "--status", "all", "--reveal")
    assert gone["fields"] == {}


def test_entries_by_id_prefix_and_title(vault: Shell) -> None:
    vault("add", "ann.vault", "login", "title=Same", "username=one")
    vault("add", "ann.vault", "login", "title=Same", "username=two")
    said = vault.fails("edit", "ann.vault", "same", "username=x")
    assert "2 entries answer to 'same'" in said
    assert "one" in said
    assert "two" in said
    ids = {e["fields"]["username"]: e["id"] for e in vault.json("list", "ann.vault", "--search", "same")}
    printed = [line.split()[0] for line in said.splitlines()[1:]]
    assert sorted(next(i for i in ids.values() if i.startswith(p)) for p in printed) == sorted(ids.values())
    vault("edit", "ann.vault", printed[0].lower(), "username=x")
    vault("delete", "ann.vault", ids["two"])
    vault("show", "ann.vault", "Same")  # only one is not in the trash


def test_lists_filter_sort_and_say_what_is_not_listed(vault: Shell, sample: Callable[[int], Path]) -> None:
    sample(80)
    vault("import", "ann.vault", "bitwarden.json")
    with open_vault("ann.vault") as opened:
        view = opened.view()
    listed = vault("list", "ann.vault", "-n", "5")
    assert len(listed.stdout.splitlines()) == 6
    assert f"5 of {len(view)}" in listed.stderr
    assert f"{len(view.trash)} in the trash" in listed.stderr
    assert len(vault("list", "ann.vault", "--all").stdout.splitlines()) == len(view) + 1
    for type_name in ("card", "ssh_key"):
        wanted = [e for e in view if e.type == type_name]
        assert len(vault.json("list", "ann.vault", "--type", type_name)) == len(wanted)
    assert len(vault.json("list", "ann.vault", "--tag", "work")) == 1
    assert [e["id"] for e in vault.json("list", "ann.vault", "--sort", "created")] == [e.id for e in view]
    by_title = [e["title"].casefold() for e in vault.json("list", "ann.vault")]
    assert by_title == sorted(by_title)
    assert len(vault.json("list", "ann.vault", "--status", "trashed")) == len(view.trash)


def test_importing_twice_adds_nothing_twice(vault: Shell, sample: Callable[[int], Path]) -> None:
    sample(30)
    first, second = (vault.json("import", "ann.vault", "bitwarden.json") for _ in range(2))
    assert len(first["added"]) == 30
    assert second["added"] == []
    assert len(second["already_there"]) == 30


def test_an_export_holds_everything_and_only_its_owner_reads_it(vault: Shell) -> None:
    assert vault.json("export", "ann.vault", "out.json")["entries"] == 1
    assert Path("out.json").stat().st_mode & 0o077 == 0
    assert json.loads(Path("out.json").read_text())["entries"][0]["fields"]["password"] == "CANARY-1"


def test_an_export_takes_attached_files_along_into_a_folder_of_its_own(vault: Shell) -> None:
    assert vault.json("export", "ann.vault", "out.json", "--attachments", "files")["entries"] == 1
    assert Path("files").is_dir()
    Path("files", "mine").write_text("mine")
    assert "no empty folder" in vault.fails("export", "ann.vault", "again.json", "--attachments", "files")
    assert not Path("again.json").exists()


def test_edits_sync_by_themselves_once_connected(vault: Shell) -> None:
    code = vault.json("create", "other.vault")["recovery_code"]
    vault("add", "other.vault", "ssh_key", "title=Server")
    vault("connect", "other.vault", "shared")
    vault("add", "other.vault", "login", "title=Later", "reprompt=yes")
    assert vault.json("status", "other.vault")["pending"] == 0
    vault.env["VAULTSYNC_CODE"] = code
    vault("join", "phone.vault", "shared", *OLD)
    assert [e["title"] for e in vault.json("list", "phone.vault", *OLD)] == ["Later"]
    listed = vault("list", "phone.vault", *OLD)
    assert "flagged" in listed.stdout
    assert "1 hidden" in listed.stderr
    (hidden, flagged) = vault.json("notices", "phone.vault", *OLD)
    assert (hidden["kind"], flagged["kind"]) == ("hidden", "flagged")
    assert "3.0" in vault("show", "phone.vault", "Later", *OLD).stdout
    vault("connect", "other.vault", "shared", "--no-auto-sync")
    vault("edit", "other.vault", "Later", "username=me")
    assert vault.json("status", "other.vault")["pending"] == 1
    vault("sync", "other.vault", "--auto-sync")
    vault("sync", "phone.vault", *OLD)
    assert vault.json("show", "phone.vault", "Later", *OLD)["fields"]["username"] == "me"


def test_a_remote_that_is_away_is_a_warning_after_an_edit(vault: Shell) -> None:
    vault("connect", "ann.vault", "shared")
    Path("shared").rename("gone")
    result = vault("edit", "ann.vault", "GitHub", "username=b")
    assert "Warning: saved here, but not synced" in result.stderr
    assert vault.json("show", "ann.vault", "GitHub")["fields"]["username"] == "b"
    assert "not there" in vault.fails("sync", "ann.vault")
    vault("doctor", "ann.vault", status=1)
    Path("gone").rename("shared")
    vault("doctor", "ann.vault")


def test_a_remote_that_hangs_does_not_hang_an_edit(capsys: pytest.CaptureFixture[str]) -> None:
    class Hanging:
        status = type("S", (), {"remote": "file:///x", "auto_sync": True})()
        let_go = threading.Event()

        def sync(self, progress: Any) -> None:
            self.let_go.wait(20)

    hanging: Any = Hanging()
    started = time.monotonic()
    assert sync_quietly(hanging, patience=0.2) is None
    assert time.monotonic() - started < 5
    assert "did not answer" in capsys.readouterr().err
    closed = []
    hanging.close = lambda: closed.append(1)
    with session.closing(hanging):
        pass
    assert not closed  # closing would wait for the sync
    hanging.let_go.set()


def test_conflicts_are_shown_and_masked(vault: Shell) -> None:
    code = vault.json("create", "other.vault", "--device", "Desk")["recovery_code"]
    vault("add", "other.vault", "login", "title=X", "username=a", "password=CANARY-2")
    vault("connect", "other.vault", "shared", "--no-auto-sync")
    vault.env["VAULTSYNC_CODE"] = code
    vault("join", "b.vault", "shared", "--device", "Pocket")
    vault("sync", "b.vault", "--no-auto-sync")
    vault("edit", "other.vault", "X", "username=desk", "password=CANARY-3")
    vault("edit", "b.vault", "X", "username=pocket", "password=CANARY-4")
    for path in ("other.vault", "b.vault", "other.vault"):
        vault("sync", path)
    shown = vault("show", "other.vault", "X").stdout
    assert "Lost against a concurrent edit" in shown
    assert "CANARY" not in shown
    with open_vault("other.vault") as opened:
        (entry,) = opened.view().entries
        losers = {name: losers[0].value for name, losers in entry.conflicts.items()}
    assert losers["username"] in shown.split("Lost against")[1]
    assert losers["password"] in vault("show", "other.vault", "X", "--reveal").stdout


def test_what_drives_a_terminal_is_taken_out(vault: Shell) -> None:
    vault("add", "ann.vault", "login", "title=\x1b[31m[bold]evil[/]\u202e", "username=a\rb", "notes=x\x07")
    output = (
        vault("list", "ann.vault").output
        + vault("show", "ann.vault", vault.json("list", "ann.vault", "--search", "evil")[0]["id"]).output
    )
    assert "[bold]evil[/]" in output
    assert not {"\x1b", "\r", "\x07", "\u202e"} & set(output)


@pytest.mark.parametrize("canary", ["CANARY-1"])
def test_no_secret_appears_without_reveal(vault: Shell, canary: str) -> None:
    vault(
        "add",
        "ann.vault",
        "login",
        "title=Two",
        f"password={canary}",
        f"passkeys={canary}",
        f"custom_secret={canary}",
        f"totp={canary}",
    )
    vault("edit", "ann.vault", "GitHub", f"totp={canary}")
    vault("edit", "ann.vault", "GitHub", f"password={canary}x", "favorite=maybe", status=1)
    vault("edit", "ann.vault", "GitHub", f"password+={canary}", status=1)
    vault("edit", "ann.vault", "GitHub", f"password={canary}", f"password={canary}", status=1)
    vault("edit", "ann.vault", "GitHub", f"passwrd={canary}", status=1)
    for words in (
        ("list",), ("list", "--all"), ("list", "--json"), ("list", "--search", canary), ("show", "GitHub"),
        ("show", "Two"), ("show", "Two", "--json"), ("history", "GitHub"), ("history", "Two", "--json"), ("status",),
        ("notices",), ("devices",), ("doctor",), ("export", "x.json"), ("add", "login", "title=Three", "--json"),
        ("edit", "Two", "username=q", "--json"),
    ):  # fmt: skip
        vault(words[0], "ann.vault", *words[1:])
    vault.fails("show", "ann.vault", "Two", "--field", "passkeys")
    assert [output for output in vault.outputs if canary in output] == []
    assert canary in vault("history", "ann.vault", "Two", "--reveal").output


def test_help_of_every_command(shell: Shell) -> None:
    from typer.main import get_command

    names = get_command(app).list_commands(None)  # type: ignore[attr-defined, arg-type]
    assert {"create", "join", "import", "list", "demo", "schema", "purge"} <= set(names)
    for name in names:
        text = shell(name, "--help").stdout
        assert f"vaultsync {name}" in text
        assert "session" not in text.lower().replace("sessions", "")
    everything = shell("--help").stdout
    assert all(name in everything for name in names)
    assert shell().stdout.strip() == everything.strip()
    assert shell("--version").stdout == f"vaultsync {vs.__version__}\n"


def test_schema(shell: Shell) -> None:
    assert "passkeys" in shell("schema", "login").stdout
    assert "passkeys" not in shell("schema", "login", *OLD).stdout
    assert {t["name"] for t in shell.json("schema", *OLD)["types"]} >= {"login", "wifi_note"}

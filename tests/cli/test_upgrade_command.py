"""``vaultsync upgrade``: look, save, convert and delete, and never by accident."""

from __future__ import annotations

import json
import sys
import types

import pytest

import vaultsync as vs
from tests.cli.conftest import Shell

V = "ann.vault"
OLD = ("--schema-version", "1")

SCHEMA = vs.Schema(
    "acme",
    version=2,
    platform="linux",
    releases={1: "1.0", 2: "2.0"},
    types=[
        vs.EntryType("note", label="Note", fields=[vs.Field("title", vs.text)]),
        vs.EntryType("fax", label="Fax", until=2, fields=[vs.Field("title", vs.text), vs.Field("code", vs.secret)]),
        vs.EntryType("memo", label="Memo", until=2, fields=[vs.Field("title", vs.text)], converts=vs.Convert("page")),
        vs.EntryType("page", label="Page", since=2, fields=[vs.Field("title", vs.text, since=2)]),
    ],
)


@pytest.fixture
def filled(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A vault of release 1.0 with two Faxes, a Memo and a Note."""
    module = types.ModuleType("acme_schema")
    module.SCHEMA = SCHEMA  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_schema", module)
    shell.env["VAULTSYNC_SCHEMA"] = "acme_schema:SCHEMA"
    made = shell.json("create", V, "--device", "Laptop", *OLD)
    shell.env["VAULTSYNC_CODE"] = made["recovery_code"]
    shell("add", V, "fax", "title=Office", "code=CANARY-1", *OLD)
    shell("add", V, "fax", "title=Home", "code=CANARY-2", *OLD)
    shell("add", V, "memo", "title=Shopping", *OLD)
    shell("add", V, "note", "title=Kept", *OLD)
    return shell


def titles(shell: Shell, status: str) -> set[str]:
    return {entry["title"] for entry in shell.json("list", V, "--status", status)}


def test_nothing_to_do(filled: Shell) -> None:
    assert filled("upgrade", V, "--dry-run", *OLD).stdout.startswith("Nothing to upgrade")
    assert filled("upgrade", V, *OLD).stdout.startswith("Nothing to upgrade")
    assert filled.json("upgrade", V, *OLD) == {"changed": 0}


def test_the_dry_run_is_a_table_with_the_titles_of_what_would_go(filled: Shell) -> None:
    result = filled("upgrade", V, "--dry-run")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "Type Entries What becomes of them Other devices"
    assert "Fax (fax) 2 can only be deleted" in lines
    assert "Memo (memo) 1 become Page (page)" in lines
    assert lines[lines.index("2 entries of type Fax would be deleted:") + 1 :][:2] == ["Office", "Home"]
    assert "CANARY" not in result.output
    assert titles(filled, "archived") == {"Office", "Home", "Shopping"}, "nothing was done"


def test_the_dry_run_for_programs(filled: Shell) -> None:
    found = filled.json("upgrade", V, "--dry-run")
    assert (found["convert"], found["delete"], found["stay"]) == (1, 2, 0)
    by_type = {each["type"]: each for each in found["types"]}
    assert by_type["memo"]["to"] == "page"
    assert len(by_type["fax"]["delete"]) == 2
    assert [each["type"] for each in filled.json("upgrade", V, "--dry-run", "--type", "fax")["types"]] == ["fax"]


def test_what_no_export_holds_is_not_deleted(filled: Shell) -> None:
    message = filled.fails("upgrade", V, "--yes")
    assert message == (
        "Error: 2 entries of type Fax would be deleted, and no export holds them as they are now: "
        "save with --export FILE first, or add --discard.\n"
    )
    assert titles(filled, "archived") == {"Office", "Home", "Shopping"}


def test_save_then_upgrade(filled: Shell) -> None:
    result = filled("upgrade", V, "--export", "saved.json")
    assert "2 entries saved to saved.json." in result.stdout
    assert "CANARY" not in result.output
    saved = json.loads((filled.folder / "saved.json").read_text())
    assert {entry["fields"].get("title") or entry["retired"]["title"] for entry in saved["entries"]} == {
        "Office",
        "Home",
    }
    assert "there is a file" in filled.fails("upgrade", V, "--export", "saved.json")

    assert "3 entries upgraded." in filled("upgrade", V, "--yes").stdout
    assert titles(filled, "trashed") == {"Office", "Home"}
    assert titles(filled, "shown") == {"Kept", "Shopping"}
    assert titles(filled, "archived") == set()


def test_one_type_and_nothing_to_save_of_it(filled: Shell) -> None:
    assert "nothing to save" in filled("upgrade", V, "--type", "memo", "--export", "none.json").stdout
    assert not (filled.folder / "none.json").exists()
    assert filled.json("upgrade", V, "--type", "memo", "--yes") == {"changed": 1}
    assert titles(filled, "archived") == {"Office", "Home"}
    assert "are archived here; there are of fax" in filled.fails("upgrade", V, "--type", "memo", "--yes")


def test_it_asks_and_no_answer_is_no(filled: Shell) -> None:
    assert "nothing was done" in filled.fails("upgrade", V, "--discard")
    filled.typed = ["n"]
    assert "nothing was done" in filled.fails("upgrade", V, "--discard")
    filled.typed = ["y"]
    filled("upgrade", V, "--discard")
    asked, _ = filled.asked[-1]
    assert "Fax: 2 entries can only be deleted" in asked
    assert "Memo: 1 entry will become Page" in asked
    assert "without having been saved" in asked
    assert titles(filled, "trashed") == {"Office", "Home"}


@pytest.mark.parametrize(
    "words", [("--dry-run", "--discard"), ("--dry-run", "--export", "x"), ("--export", "x", "--discard")]
)
def test_contradictions(filled: Shell, words: tuple[str, ...]) -> None:
    filled.fails("upgrade", V, *words, status=2)


def test_what_other_devices_lose_is_in_the_table(filled: Shell) -> None:
    remote = (filled.folder / "shared").as_uri()
    filled("connect", V, remote)
    filled("join", "phone.vault", remote, "--device", "Phone", *OLD)
    filled("sync", V)
    lines = [" ".join(line.split()) for line in filled("upgrade", V, "--dry-run").stdout.splitlines()]
    assert "Fax (fax) 2 can only be deleted deleted on Phone too, where they can still be edited" in lines
    assert "Memo (memo) 1 become Page (page) Phone will stop showing it" in lines

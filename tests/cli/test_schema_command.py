"""``vaultsync schema``: the timeline as text and as a picture, and what lies between two versions."""

from __future__ import annotations

import io
import re
import sys
import types
from xml.etree import ElementTree

import pytest

import vaultsync as vs
from tests.cli.conftest import Shell

SVG = "{http://www.w3.org/2000/svg}"

SCHEMA = vs.Schema(
    "acme <&>",
    version=12,
    platform="linux",
    releases={9: "9.2", 10: "10.0", 12: "12.0"},
    types=[
        vs.EntryType(
            "login",
            label="Login",
            fields=[
                vs.Field("title", vs.text),
                vs.Field("email", vs.text, until=10),
                vs.Field("hint", vs.text, until=12),
                vs.Field("emails", vs.items(vs.text), since=10),
                vs.Field("category", vs.text, since=10, platforms={"macos", "windows"}),
                vs.Field("passkey", vs.secret, since=12, critical="write"),
            ],
            lenses=[vs.wrap("email", "emails", since=10)],
        ),
        vs.EntryType(
            "memo",
            label="Memo",
            until=12,
            fields=[vs.Field("title", vs.text), vs.Field("body", vs.text)],
            converts=vs.Convert("page", lenses=[vs.rename("body", "words")]),
        ),
        vs.EntryType("fax", label="Fax", until=12, fields=[vs.Field("title", vs.text)]),
        vs.EntryType(
            "page", label="Page", since=12, fields=[vs.Field(n, vs.text, since=12) for n in ("title", "words")]
        ),
    ],
)


@pytest.fixture
def acme(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    module = types.ModuleType("acme_schema")
    module.SCHEMA = SCHEMA  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_schema", module)
    shell.env["VAULTSYNC_SCHEMA"] = "acme_schema:SCHEMA"
    return shell


def test_the_timeline_of_an_applications_own_schema(acme: Shell) -> None:
    lines = acme("schema").stdout.splitlines()
    assert lines[0] == "acme <&>, seen from 12.0 on Linux"
    heads = lines[2].split()
    assert heads == ["1", "9.2", "10.0", "12.0"]
    rows: dict[str, str] = {}
    for row in filter(None, lines[3:]):
        rows.setdefault(" ".join(row.split()[:2]), row)
    at = {name: lines[2].index(name) for name in heads}

    def sign(row: str, name: str) -> str:
        return rows[row][at[name] : at[name] + 1]

    assert (sign("title text", "1"), sign("Login (login)", "1")) == ("●", "●")
    assert (sign("email text", "1"), sign("email text", "9.2"), sign("email text", "10.0")) == ("●", "─", "▶")
    assert rows["email text"].endswith("→ emails (wrap)")
    assert (sign("hint text", "12.0"), rows["hint text"][-15:]) == ("○", "retired in 12.0")
    assert sign("emails items(text)", "9.2") == " "
    assert sign("emails items(text)", "10.0") == "●"
    assert rows["category text"].endswith("on macOS and Windows")
    assert rows["passkey secret"].endswith("needed to edit an entry that holds it")
    assert rows["Memo (memo)"].endswith("→ page (conversion)")
    assert rows["body text"].endswith("→ page.words (rename)")
    assert rows["Fax (fax)"].endswith("retired in 12.0")


def test_the_timeline_of_the_built_in_schema(shell: Shell) -> None:
    text = shell("schema").stdout
    assert "Wi-Fi note (wifi_note)" in text
    assert "→ exp_month and exp_year (split)" in text
    assert shell("schema", "--schema-version", "2").stdout.startswith("passwords, seen from 2.0 on ")


def test_the_picture_is_well_formed_and_says_the_same(acme: Shell) -> None:
    assert "Drawn into out.svg." in acme("schema", "--svg", "out.svg").stdout
    root = ElementTree.parse(acme.folder / "out.svg").getroot()  # noqa: S314 - our own file
    assert root.tag == f"{SVG}svg"
    texts = [element.text for element in root.iter(f"{SVG}text")]
    for expected in ("acme <&>", "9.2", "12.0", "Login (login)", "emails", "→ emails (wrap)", "retired in 12.0"):
        assert expected in texts
    width, height = (float(root.get(name) or 0) for name in ("width", "height"))
    for element in root.iter(f"{SVG}text"):
        room = 0 if element.get("text-anchor") == "middle" else 6 * len(element.text or "")
        assert 0 <= float(element.get("x") or -1) + room <= width
        assert 0 <= float(element.get("y") or -1) <= height
    assert "there is a file" in acme.fails("schema", "--svg", "out.svg")
    assert "cannot be written" in acme.fails("schema", "--svg", "no/folder/out.svg")
    acme("schema", "memo", "--svg", "memo.svg")
    assert "Fax" not in (acme.folder / "memo.svg").read_text()
    assert "Page (page)" in (acme.folder / "memo.svg").read_text(), "what it became is in the picture"


def test_two_versions_compared(acme: Shell) -> None:
    lines = [" ".join(line.split()) for line in acme("schema", "--compare", "9.2@android", "12").stdout.splitlines()]
    assert lines[0] == "From 9.2 on android to 12.0 on linux"
    for expected in (
        "Memo (memo) converted page",
        "Fax (fax) retired",
        "Page (page) added",
        "login.email converted emails",
        "login.hint retired",
        "login.passkey field shown, but not editable",
        "Memo (memo) entries hidden",
    ):
        assert expected in lines
    found = acme.json("schema", "--compare", "9", "12")
    assert {"type": "memo", "label": "Memo", "change": "converted", "to": "page", "keeps_old": False} in found["types"]
    assert {each["effect"] for each in found["unseen"]} >= {"hidden", "locked"}
    assert "Nothing changes." in acme("schema", "--compare", "12", "12.0").stdout


def test_fields_of_one_type_as_of_a_version(acme: Shell) -> None:
    assert "passkey" in acme("schema", "login").stdout
    assert "passkey" not in acme("schema", "login", "--schema-version", "10").stdout
    (login,) = acme.json("schema", "login")["types"]
    assert {field["name"]: field["until"] for field in login["fields"]}["hint"] == 12


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("nonsense",), 1, "no entry type 'nonsense'"),
        (("page", "--schema-version", "9"), 1, "no entry type 'page'"),
        (("--compare", "8", "13"), 1, "versions from 1 to 12 (released: 9.2, 10.0 and 12.0)"),
        (("--compare", "9", "12@amiga"), 1, "platform is one of"),
        (("--compare", "9"), 2, ""),
        (("login", "--compare", "9", "12"), 2, "leave TYPE out"),
        (("--svg", "x.svg", "--json"), 2, "ask for one"),
    ],
)
def test_mistakes(acme: Shell, words: tuple[str, ...], status: int, says: str) -> None:
    assert says in acme.fails("schema", *words, status=status)


def test_a_terminal_that_has_only_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaultsync.cli import timeline

    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    timeline.draw(timeline.timeline(SCHEMA, ["login"]), release="12.0", where="Linux")
    terminal.seek(0)
    text = terminal.read()
    assert "-> emails (wrap)" in text
    assert re.search(r"email  text +[*]-+> +-> emails", text)
    assert re.search(r"hint  text +[*]-+o[.]+  retired", text)

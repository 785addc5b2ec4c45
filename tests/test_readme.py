"""The README is run: its Python block as it stands, and its commands are those that the package has."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import typer

import vaultsync as vs
from vaultsync.cli.app import app
from vaultsync.testing import memory_vault

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text]
    assert len(found) == 1, f"one {language} block with {containing!r} is expected"
    return str(found[0])


def test_the_example_runs_and_says_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"remote": (tmp_path / "remote").as_uri()}
    exec(block("python", "vs.Vault.create"), names)  # noqa: S102
    laptop, phone = names["laptop"], names["phone"]
    assert isinstance(laptop, vs.Vault)
    assert isinstance(phone, vs.Vault)
    try:
        code, password, notice = capsys.readouterr().out.splitlines()
        assert code == laptop.recovery_code
        assert password == "n3w"
        assert notice.startswith("1 entry can't be shown here: 1 Scan needs 2.0 or later")
    finally:
        laptop.close()
        phone.close()


def test_the_rehearsal_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    example = block("python", "vs.Vault.create")
    exec(example[: example.index("laptop = ")], names)  # noqa: S102 - the schema that it declares
    exec(block("python", "rehearse(schema"), names)  # noqa: S102
    assert "50 histories" in capsys.readouterr().out


def test_the_asyncio_example_runs() -> None:
    names: dict[str, object] = {}
    example = block("python", "vs.Vault.create")
    exec(example[: example.index("laptop = ")], names)  # noqa: S102 - the schema that it declares
    exec(block("python", "vs.aio"), names)  # noqa: S102
    schema, follow = names["schema"], names["follow"]
    assert isinstance(schema, vs.Schema)
    assert callable(follow)
    with memory_vault(schema) as vault:
        assert asyncio.run(follow(vault)) == (vs.EventKind.EDITED, True)


def test_the_commands_exist() -> None:
    """With the options that are named beside them."""
    shown = block("sh", "vaultsync create")
    for text in re.findall(r"vaultsync \w+[^\n;#]*", shown):
        words = text.split()
        command = typer.main.get_command(app).get_command(None, words[1])  # type: ignore[attr-defined]
        assert command is not None, text
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, text


def test_names_in_the_text_exist() -> None:
    for name in re.findall(r"`vault\.(\w+)", README):
        assert hasattr(vs.Vault, name), name
    for name in re.findall(r"`view\.(\w+)", README):
        assert hasattr(vs.View, name), name
    for name in re.findall(r"`entry\.(\w+)", README):
        assert hasattr(vs.Entry, name), name


def test_ci_runs_exactly_the_test_command() -> None:
    section = README.split("<!-- test-command -->")[1].split("<!-- end -->")[0]
    assert "python -m pytest" in section
    assert "<!-- test-command -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target

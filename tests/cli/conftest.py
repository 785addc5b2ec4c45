"""Commands run in this process, on vaults whose keys are cheap to derive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vaultsync.cli import asking, session
from vaultsync.cli.app import app
from vaultsync.crypto.primitives import WEAK_FOR_TESTS
from vaultsync.importers.sample import write_bitwarden
from vaultsync.vault.environment import Environment

WEAK = Environment(argon2=WEAK_FOR_TESTS, weak_keys=True)


@dataclass
class Shell:
    """Runs commands in ``folder``; ``typed`` answers prompts in order (empty: there is no terminal)."""

    folder: Path
    typed: list[str] = field(default_factory=list)
    asked: list[tuple[str, bool]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    env: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, *words: str, status: int = 0, stdin: str | None = None) -> Any:
        result = CliRunner().invoke(app, list(words), env={"VAULTSYNC_PASSWORD": "pw"} | self.env, input=stdin)
        self.outputs.append(result.output)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").stdout)

    def fails(self, *words: str, status: int = 1) -> str:
        """The one sentence on stderr; nothing on stdout."""
        result = self(*words, status=status)
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert lines[0].startswith("Error: ")
        assert lines[0][-1] in ".?:!…"
        if status == 1:
            assert len(lines) == 1 or lines[0].endswith(":")
        return str(result.stderr)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "EXTRA", {"environment": WEAK})
    for name in ("VAULT", "PASSWORD", "CODE", "SCHEMA", "SCHEMA_VERSION", "PLATFORM"):
        monkeypatch.delenv(f"VAULTSYNC_{name}", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(asking, "can_ask", lambda: bool(shell.typed))
    real = asking.ask

    def ask(what: str, *, hidden: bool, instead: str) -> str:
        if not shell.typed:
            return real(what, hidden=hidden, instead=instead)
        shell.asked.append((what, hidden))
        return shell.typed.pop(0)

    monkeypatch.setattr(asking, "ask", ask)
    monkeypatch.setattr("vaultsync.cli.fields.ask", ask)
    return shell


@pytest.fixture
def vault(shell: Shell) -> Shell:
    """A shell with ``ann.vault`` in its folder, and in it one login."""
    shell("create", "ann.vault", "--device", "Laptop")
    shell("add", "ann.vault", "login", "title=GitHub", "username=ann", "password=CANARY-1", "tags=work")
    return shell


@pytest.fixture
def sample(shell: Shell) -> Callable[[int], Path]:
    def write(items: int) -> Path:
        path = shell.folder / "bitwarden.json"
        write_bitwarden(path, items)
        return path

    return write

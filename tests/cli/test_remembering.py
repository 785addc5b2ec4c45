"""`vaultsync remember`: commands that do not ask, with a real keyring that keeps its keys in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backends.fail
import pytest
from keyrings.alt.file import PlaintextKeyring


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[None]:
    before, backend = keyring.get_keyring(), PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")  # type: ignore[misc]
    keyring.set_keyring(backend)
    yield
    keyring.set_keyring(before)


@pytest.mark.usefixtures("kept")
def test_commands_do_not_ask_once_the_vault_is_remembered(shell) -> None:
    shell("create", "a.vault")
    shell("remember", "a.vault")
    shell.env["VAULTSYNC_PASSWORD"] = None
    shell("add", "a.vault", "login", "title=Bank")
    assert [entry["title"] for entry in shell.json("list", "a.vault")] == ["Bank"]
    assert shell.asked == []
    assert "ask for the password again" in shell("forget", "a.vault").output
    assert "no terminal" in shell.fails("list", "a.vault")
    shell.typed += ["pw"]
    assert "no key" in shell("forget", "a.vault").output
    assert shell.asked


@pytest.mark.usefixtures("kept")
def test_a_system_without_keyring_is_told_in_one_sentence(shell) -> None:
    shell("create", "a.vault")
    keyring.set_keyring(keyring.backends.fail.Keyring())
    assert "no keyring" in shell.fails("remember", "a.vault")
    shell("list", "a.vault")

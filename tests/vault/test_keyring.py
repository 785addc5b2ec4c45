"""Opening without a password, by a key in a real keyring: one that keeps it in a file."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backends.fail
import pytest
from keyrings.alt.file import PlaintextKeyring

import vaultsync as vs
from vaultsync.errors import ExtraMissing, KeyringFailed, VaultNotFound, WrongPassword
from vaultsync.testing import environment
from vaultsync.vault.keyring import keyring_key

SCHEMA = vs.Schema(
    "notes", version=1, platform="linux", types=[vs.EntryType("note", fields=[vs.Field("title", vs.text)])]
)
WORLD = environment("keyring")
PASSWORD = "correct horse battery staple"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """The file in which the keyring keeps its secrets."""
    before, backend = keyring.get_keyring(), PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")  # type: ignore[misc]
    keyring.set_keyring(backend)
    yield tmp_path / "keyring.cfg"
    keyring.set_keyring(before)
    gc.collect()


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[vs.Vault]:
    made = vs.Vault.create(tmp_path / "a.vault", schema=SCHEMA, password=PASSWORD, environment=WORLD)
    yield made
    made.close()


def reopened(path: Path, key: bytes | None) -> list[str]:
    with vs.Vault.open(path, schema=SCHEMA, key=key, environment=WORLD, background=False) as vault:
        return [entry["title"] for entry in vault.view()]


def test_a_remembered_vault_opens_by_the_keyring_and_by_the_password(
    vault: vs.Vault, tmp_path: Path, kept: Path
) -> None:
    vault.add("note", title="kept")
    assert keyring_key(tmp_path / "a.vault") is None
    assert not vault.remembered
    vault.remember()
    assert vault.remembered
    vault.add("note", title="and edited on")
    vault.close()
    key = keyring_key(tmp_path / "a.vault")
    assert key is not None
    assert reopened(tmp_path / "a.vault", key) == ["kept", "and edited on"]
    with vs.Vault.open(tmp_path / "a.vault", schema=SCHEMA, password=PASSWORD, environment=WORLD) as again:
        assert again.remembered
        again.lock()
        again.unlock(key=keyring_key(again.path))
        assert len(again.view()) == 2
    assert PASSWORD not in kept.read_text()


def test_forgetting_takes_the_key_from_the_file_and_from_the_keyring(
    vault: vs.Vault, tmp_path: Path, kept: Path
) -> None:
    vault.remember()
    key = keyring_key(tmp_path / "a.vault")
    before = kept.read_text()
    assert vault.forget()
    assert not vault.forget()
    assert not vault.remembered
    assert kept.read_text() != before
    vault.close()
    assert keyring_key(tmp_path / "a.vault") is None
    with pytest.raises(WrongPassword):
        reopened(tmp_path / "a.vault", key)


def test_remembering_again_replaces_the_key(vault: vs.Vault, tmp_path: Path, kept: Path) -> None:
    vault.remember()
    first = keyring_key(tmp_path / "a.vault")
    vault.remember()
    second = keyring_key(tmp_path / "a.vault")
    assert first != second
    assert kept.read_text().count("\n[") <= 1
    vault.close()
    with pytest.raises(WrongPassword):
        reopened(tmp_path / "a.vault", first)
    assert reopened(tmp_path / "a.vault", second) == []


def test_changing_the_password_ends_it(vault: vs.Vault, tmp_path: Path, kept: Path) -> None:
    vault.remember()
    key = keyring_key(tmp_path / "a.vault")
    vault.change_password(PASSWORD, "another one")
    assert not vault.remembered
    vault.add("note", title="after")
    vault.close()
    assert keyring_key(tmp_path / "a.vault") is None
    with pytest.raises(WrongPassword):
        reopened(tmp_path / "a.vault", key)


def test_another_object_on_the_file_works_on_when_a_key_comes_and_goes(
    vault: vs.Vault, tmp_path: Path, kept: Path
) -> None:
    """Nothing was sealed anew: it has nothing to complain of."""
    with vs.Vault.open(tmp_path / "a.vault", schema=SCHEMA, password=PASSWORD, environment=WORLD) as other:
        vault.remember()
        other.add("note", title="one")
        vault.forget()
        other.add("note", title="two")
    assert len(vault.view()) == 2


def test_what_was_deleted_or_spoilt_in_the_keyring_is_no_key(vault: vs.Vault, tmp_path: Path, kept: Path) -> None:
    vault.remember()
    text = kept.read_text()
    kept.write_text(text.split("=")[0] + "= bm9uc2Vuc2U=\n")
    assert keyring_key(tmp_path / "a.vault") is None
    kept.unlink()
    assert keyring_key(tmp_path / "a.vault") is None
    vault.forget()


def test_a_system_without_keyring(vault: vs.Vault, tmp_path: Path, kept: Path) -> None:
    keyring.set_keyring(keyring.backends.fail.Keyring())
    with pytest.raises(KeyringFailed, match="by password"):
        vault.remember()
    assert not vault.remembered
    vault.add("note", title="unharmed")


def test_the_extra_is_named_where_it_is_missing(vault: vs.Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    with pytest.raises(ExtraMissing, match=r"vaultsync\[keyring\]"):
        vault.remember()


def test_a_path_without_vault(tmp_path: Path) -> None:
    with pytest.raises(VaultNotFound):
        keyring_key(tmp_path / "none.vault")

"""The generated export: always the same, believable, and imported whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vaultsync.importers import Parsed, parse
from vaultsync.importers.sample import bitwarden_export, bitwarden_text, write_bitwarden


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    assert bitwarden_text(30, seed=7) == bitwarden_text(30, seed=7) != bitwarden_text(30, seed=8)
    write_bitwarden(tmp_path / "x.json", 30, seed=7)
    assert (tmp_path / "x.json").read_bytes() == bitwarden_text(30, seed=7)


@pytest.mark.parametrize("items", [0, 1, 6, 500])
def test_everything_of_it_is_imported(items: int, sound: Callable[[Parsed], Parsed]) -> None:
    parsed = sound(parse(bitwarden_text(items)))
    assert len(parsed.records) == items
    assert not parsed.problems
    assert not any(record.kept for record in parsed.records if not record.trashed)


def test_a_small_one_shows_every_type() -> None:
    types = [record.type for record in parse(bitwarden_text(6)).records]
    assert sorted(types) == ["bank_account", "card", "identity", "login", "secure_note", "ssh_key"]


def test_a_large_one_has_of_everything() -> None:
    records = parse(bitwarden_text(800)).records
    types = Counter(record.type for record in records)
    assert 0.6 < types["login"] / 800 < 0.8
    fields = Counter(name for record in records for name in record.values)
    assert {"totp", "passkeys", "password_history", "custom", "custom_secret", "folder", "favorite", "reprompt"} <= set(
        fields
    )
    assert any(record.trashed for record in records)


def test_it_is_a_document_of_its_own_each_time() -> None:
    one = bitwarden_export(3)
    one["items"][0]["name"] = "changed"
    assert bitwarden_export(3)["items"][0]["name"] != "changed"

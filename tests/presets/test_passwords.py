"""The preset's timeline says what it is meant to show: something new, something retired, something for some devices
only."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vaultsync.errors import SchemaError
from vaultsync.presets.passwords import NEWEST, RELEASES, SCHEMA, passwords
from vaultsync.testing import MemoryRemote, memory_vault
from vaultsync.view.entry import Status


def active(version: int, platform: str) -> set[str]:
    schema = passwords(version, platform)
    return {name for name in schema.types if schema.active(name)}


def writable(version: int, platform: str, kind: str) -> set[str]:
    schema = passwords(version, platform)
    return {field.name for field in schema.fields_here(kind) if not schema.retired(field)}


def test_the_newest_is_the_default() -> None:
    assert SCHEMA.name == "passwords"
    assert SCHEMA.version == NEWEST == max(RELEASES)
    assert passwords() == SCHEMA
    assert passwords(platform="ios").version == NEWEST
    assert passwords(2).release(2) == "2.0"


def test_types_over_time() -> None:
    first = {"login", "secure_note", "card", "identity", "wifi_note"}
    assert active(1, "ios") == active(1, "macos") == first
    assert active(2, "macos") == first | {"document"}
    assert active(2, "android") == first, "documents are for computers"
    assert active(3, "android") == first - {"wifi_note"} | {"wifi", "ssh_key"}
    assert active(4, "android") == active(3, "android") | {"passkey", "bank_account"}
    assert SCHEMA.known("wifi_note") is not None, "retired, never removed"


def test_fields_over_time() -> None:
    assert "totp" not in writable(1, "web", "login")
    assert {"totp", "custom", "custom_secret", "folder"} <= writable(2, "web", "login")
    assert "security_answer" in writable(2, "web", "login")
    assert "security_answer" not in writable(3, "web", "login")
    assert "passkeys" in writable(4, "web", "login") - writable(3, "web", "login")
    assert "auto_type" in writable(4, "windows", "login")
    assert "auto_type" not in writable(4, "macos", "login")


def test_wifi_notes_become_networks_and_stay_notes_for_older_versions() -> None:
    remote = MemoryRemote()
    with (
        memory_vault(passwords(4, "linux"), remote=remote, device="Laptop") as laptop,
        memory_vault(passwords(2, "android"), joins=laptop, device="Phone") as phone,
    ):
        note = phone.add("wifi_note", title="Cabin", network="Fritz", wifi_password="wpa", notes="On the fridge")
        phone.sync()
        laptop.sync()
        assert laptop.view()[note.id].status is Status.ARCHIVED
        assert str(laptop.upgrade_plan()) == "Wi-Fi note: 1 entry will become Wi-Fi network"
        laptop.upgrade_plan().apply()
        found = laptop.update(note.id, ssid="Fritz 7590")
        assert (found.type, found["password"], found["notes"]) == ("wifi", "wpa", "On the fridge")
        laptop.sync()
        phone.sync()
        assert (phone.view()[note.id].type, phone.view()[note.id]["network"]) == ("wifi_note", "Fritz 7590")


def test_when_a_card_expires_was_one_field() -> None:
    remote = MemoryRemote()
    with (
        memory_vault(passwords(4, "linux"), remote=remote, device="Laptop") as laptop,
        memory_vault(passwords(1, "android"), joins=laptop, device="Phone") as phone,
    ):
        card = laptop.add("card", title="Visa", exp_month="7", exp_year="2030")
        laptop.sync()
        phone.sync()
        assert phone.view()[card.id]["expiry"] == "7/2030"
        assert phone.view()[card.id].status is Status.COMPLETE
        phone.update(card.id, expiry="7/2034")
        phone.sync()
        laptop.sync()
        assert (laptop.view()[card.id]["exp_month"], laptop.view()[card.id]["exp_year"]) == ("7", "2034")


def test_what_is_critical() -> None:
    critical = {field.name for kind in SCHEMA.types.values() for field in kind.fields if field.critical}
    assert critical == {"passkeys"}


def test_secrets_are_of_a_secret_kind() -> None:
    secrets = {
        "password", "totp", "card_number", "card_code", "pin", "ssn", "private_key", "passkeys", "password_history",
        "iban", "custom_secret", "account_number", "security_answer", "wifi_password",
    }  # fmt: skip
    kinds = {field.name: field.kind for kind in SCHEMA.types.values() for field in kind.fields}
    assert all(kinds[name].is_secret for name in secrets)


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was(version: int) -> None:
    with pytest.raises(SchemaError):
        passwords(version)


def test_an_unknown_platform() -> None:
    with pytest.raises(SchemaError):
        passwords(platform="amiga")


def test_importing_builds_nothing() -> None:
    code = (
        "import sys, vaultsync; assert 'vaultsync.presets.passwords' not in sys.modules;"
        "import vaultsync.presets.passwords as p; assert p._newest.cache_info().currsize == 0;"
        "p.SCHEMA; assert p._newest.cache_info().currsize == 1; assert p.SCHEMA is p.passwords()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError):
        _ = sys.modules["vaultsync.presets.passwords"].NOTHING

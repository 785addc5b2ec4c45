"""What reaches a device by a checkpoint alone after a device was removed: what that one could read, and its late edits,
are told as they are where envelopes came one by one."""

from __future__ import annotations

import pytest

from tests.vault.test_revocation import SCHEMA, Home, sync, titles
from vaultsync import limits
from vaultsync.testing import memory_vault
from vaultsync.vault.vault import Vault


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(limits, "CHECKPOINT_AFTER_ENVELOPES", 10)
    monkeypatch.setattr(limits, "CATCH_UP_ENVELOPES", 6)
    return Home()


def edits(vault: Vault, name: str, many: int) -> None:
    for number in range(many):
        vault.add("login", title=f"{name} {number}", password="p")
        vault.sync()


@pytest.mark.parametrize("spoilt", [0, 2])
def test_what_an_unaware_device_sealed_is_exposed_when_a_checkpoint_brings_it(home: Home, spoilt: int) -> None:
    """The tablet writes under the old key, hears, writes under the new one, and makes a checkpoint of both. Envelopes
    that are gone make the list longer, never shorter."""
    phone, tablet = home.device("Phone"), home.device("Tablet")
    sync(home.laptop, phone, tablet)
    hidden = dict(home.remote.objects)
    home.revoke(home.laptop, phone)
    withheld = {name: home.remote.objects.pop(name) for name in set(home.remote.objects) - set(hidden)}
    edits(tablet, "unaware", 6)
    home.remote.objects |= withheld
    tablet.sync()
    edits(tablet, "aware", 6)
    assert any("/ckpt/" in name for name in home.remote.objects)
    chain = tablet._works.identity.chain.id.hex()
    mine = sorted(name for name in home.remote.objects if f"/env/{chain}" in name)
    for name in mine[-2 : -2 - spoilt : -1]:
        del home.remote.objects[name]
    report = home.laptop.sync()
    assert report.checkpoints == 1
    told = {one.entry["title"] for one in home.laptop.revocations[0].exposed}
    unaware = {f"unaware {number}" for number in range(6)}
    assert unaware <= told
    assert spoilt > 0 or told == unaware
    (fresh,) = {entry.id for entry in home.laptop.view() if entry["title"] == "unaware 3"}
    home.laptop.update(fresh, password="changed")
    assert "unaware 3" not in {one.entry["title"] for one in home.laptop.revocations[0].exposed}


def test_a_newcomer_who_begins_with_a_checkpoint_is_told_the_same(home: Home) -> None:
    phone = home.device("Phone")
    sync(home.laptop, phone)
    edits(home.laptop, "shared", 8)
    sync(phone)
    home.revoke(home.laptop, phone)
    edits(home.laptop, "later", 8)
    new = memory_vault(SCHEMA, joins=home.laptop, device="New")
    assert len(titles(new)) == 16
    told = {one.entry["title"] for one in new.revocations[0].exposed}
    assert told == {f"shared {number}" for number in range(8)}
    new.close()


def test_late_edits_are_listed_when_a_checkpoint_brings_them(home: Home) -> None:
    """The tablet had the phone's last edits when it heard of the removal, the laptop had not."""
    phone, tablet = home.device("Phone"), home.device("Tablet")
    sync(home.laptop, phone, tablet)
    edits(phone, "known", 2)
    home.laptop.sync()
    edits(phone, "late", 4)
    tablet.sync()
    hidden = {name for name in home.remote.objects if f"/env/{phone._works.identity.chain.id.hex()}" in name}
    away = {name: home.remote.objects.pop(name) for name in sorted(hidden)[-4:]}
    home.revoke(home.laptop, phone)
    home.remote.objects |= away
    edits(tablet, "tablet", 12)
    for name in sorted(away)[1:-1]:
        home.remote.objects.pop(name, None)  # so that nothing but the checkpoint brings them
    home.laptop.sync()
    assert {f"late {number}" for number in range(4)} <= set(titles(home.laptop))
    (told,) = home.laptop.revocations
    assert {late.revision.after["title"] for late in told.late_edits} == {f"late {number}" for number in range(4)}
    assert home.laptop.undo(told.late_edits) == ()
    assert not any(title.startswith("late") for title in titles(home.laptop))

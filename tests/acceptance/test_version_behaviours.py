"""What people may rely on when their devices run different releases, one sentence a test.

The application is `world.SCHEMA`: in 10.0 Passkeys and the emails of a Login are new, Wi-Fi notes became Wi-Fi
networks, Fax numbers and the hint of a Login are no longer supported; Scans and auto-type are for computers.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vaultsync as vs
from tests.acceptance.world import LATEST, PREVIOUS, World, contents, eventually, sync


def test_vaults_made_before_the_upgrade_work_after_it(world: World) -> None:
    device = world.device("Laptop", PREVIOUS)
    github = device.add("login", title="GitHub", password="s3cret", hint="the usual")
    number = device.add("fax", title="Office", fax_number="+49 30 1")
    before = contents(device)

    device = world.update_app(device, LATEST)

    assert device.view()[github.id].status is vs.Status.COMPLETE
    assert device.view()[github.id]["password"] == "s3cret"
    assert device.view()[number.id].status is vs.Status.ARCHIVED
    assert device.view()[number.id]["fax_number"] == "+49 30 1"
    assert contents(device).keys() == before.keys()
    assert device.update(github, password="n3w", emails=["ann@example.org"])["password"] == "n3w"
    assert device.add("passkey", title="GitHub").status is vs.Status.COMPLETE


def test_devices_on_different_versions_sync(world: World) -> None:
    latest, previous = world.device("Laptop", LATEST), world.device("Phone", PREVIOUS)

    from_latest = latest.add("login", title="From 10.0")
    from_previous = previous.add("login", title="From 9.2")

    eventually(lambda: from_latest.id in previous.view() and from_previous.id in latest.view())
    assert previous.view()[from_latest.id]["title"] == "From 10.0"
    assert latest.view()[from_previous.id]["title"] == "From 9.2"
    latest.update(from_previous.id, title="Edited with 10.0")
    eventually(lambda: previous.view()[from_previous.id]["title"] == "Edited with 10.0")


def test_a_type_or_property_may_exist_on_desktop_only(world: World) -> None:
    desktop, phone = world.device("Laptop", platform="macos"), world.device("Phone", platform="ios")

    document = desktop.add("scan", title="Passport")
    github = desktop.add("login", title="GitHub", auto_type="{USER}{TAB}{PASS}")

    eventually(lambda: document.id in phone.view() and github.id in phone.view())
    assert phone.view()[document.id].status is vs.Status.HIDDEN
    with pytest.raises(vs.UnknownType):
        phone.add("scan", title="No scans here")
    seen = phone.view()[github.id]
    assert seen["title"] == "GitHub"
    assert list(seen.missing) == ["auto_type"]
    with pytest.raises(vs.UnknownField):
        phone.update(github.id, auto_type="x")
    hidden = next(str(notice) for notice in phone.view().notices if notice.kind.value == "hidden")
    assert "1 Scan is available on Linux, macOS and Windows (Laptop can open it)" in hidden
    assert desktop.view()[github.id]["auto_type"] == "{USER}{TAB}{PASS}"


def test_an_entry_of_a_new_type_is_available_on_devices_with_the_latest_version(world: World) -> None:
    laptop, tablet = world.device("Laptop", LATEST), world.device("Tablet", LATEST, "ios")

    key = laptop.add("passkey", title="GitHub")

    eventually(lambda: key.id in tablet.view())
    assert tablet.view()[key.id].status is vs.Status.COMPLETE
    assert tablet.view()[key.id]["title"] == "GitHub"


def test_an_entry_of_a_new_type_is_not_available_on_previous_ones(world: World) -> None:
    laptop, phone = world.device("Laptop", LATEST), world.device("Phone", PREVIOUS)

    key = laptop.add("passkey", title="GitHub")

    eventually(lambda: key.id in phone.view())
    hidden = phone.view()[key.id]
    assert hidden.status is vs.Status.HIDDEN
    assert key.id not in [entry.id for entry in phone.view().entries]
    assert hidden.title is None
    assert "GitHub" not in f"{hidden!r} {hidden}"
    with pytest.raises(vs.UnknownType):
        phone.add("passkey", title="No passkeys here")


def test_the_previous_version_shows_the_number_of_entries_it_cannot_show(world: World) -> None:
    laptop, phone = world.device("Laptop", LATEST), world.device("Phone", PREVIOUS)

    for number in range(3):
        laptop.add("passkey", title=f"Passkey {number}")

    eventually(lambda: len(phone.view().hidden) == 3)
    (notice,) = phone.view().notices
    assert notice.count == 3
    assert str(notice).startswith("3 entries can't be shown here: 3 Passkeys need 10.0 or later (Laptop can open them)")


def test_and_warns_that_some_data_of_an_entry_cannot_be_displayed(world: World) -> None:
    laptop, phone = world.device("Laptop", LATEST), world.device("Phone", PREVIOUS)

    github = laptop.add("login", title="GitHub", emails=["ann@example.org"])

    eventually(lambda: github.id in phone.view())
    seen = phone.view()[github.id]
    assert seen.status is vs.Status.FLAGGED
    assert seen.missing["emails"].release == "10.0"
    (notice,) = phone.view().notices
    assert str(notice).startswith(
        "Some data of 1 entry can't be shown here: Emails of 1 Login needs 10.0 or later (Laptop can show it), "
        "last edited on Laptop with 10.0."
    )
    phone.update(github.id, username="ann")
    assert str(phone.view().notices[0]).endswith(", last edited on Phone with 9.2, which does not know Emails.")
    assert "ann@example.org" not in f"{seen!r} {seen} {seen.missing} {notice}"


def test_an_entry_of_a_type_no_longer_supported_is_archived(world: World) -> None:
    previous, latest = world.device("Phone", PREVIOUS), world.device("Laptop", LATEST)

    number = previous.add("fax", title="Office", fax_number="+49 30 1")

    eventually(lambda: number.id in latest.view())
    seen = latest.view()[number.id]
    assert seen.status is vs.Status.ARCHIVED
    assert [entry.id for entry in latest.view().archived] == [number.id]
    assert seen["fax_number"] == "+49 30 1", "it can be read"
    with pytest.raises(vs.NotEditable):
        latest.update(number.id, title="x")
    with pytest.raises(vs.UnknownType):
        latest.add("fax", title="x")
    (notice,) = latest.view().notices
    assert str(notice).startswith("1 entry is of a type that is no longer supported: 1 Fax number (retired in 10.0).")


def test_archived_entries_sync_between_devices_of_the_previous_version(world: World) -> None:
    phone, tablet = world.device("Phone", PREVIOUS), world.device("Tablet", PREVIOUS)
    laptop = world.device("Laptop", LATEST)
    number = phone.add("fax", title="Office", fax_number="+49 30 1")
    eventually(lambda: number.id in laptop.view() and number.id in tablet.view())
    assert laptop.view()[number.id].status is vs.Status.ARCHIVED

    tablet.update(number.id, fax_number="+49 30 2")

    eventually(lambda: phone.view()[number.id]["fax_number"] == "+49 30 2")
    assert phone.view()[number.id].status is vs.Status.COMPLETE
    eventually(lambda: laptop.view()[number.id]["fax_number"] == "+49 30 2")
    assert laptop.view()[number.id].status is vs.Status.ARCHIVED


def test_on_update_archived_entries_can_be_converted_or_deleted(world: World) -> None:
    device, other = world.device("Laptop", PREVIOUS), world.device("Tablet", LATEST)
    home = device.add("wifi_note", title="Home", network="Fritz", wifi_password="wpa")
    number = device.add("fax", title="Office", fax_number="+49 30 1")
    device = world.update_app(device, LATEST)
    assert {entry.id for entry in device.view().archived} == {home.id, number.id}

    plan = device.upgrade_plan()

    assert (plan.convert, plan.delete) == (1, 1)
    assert "Wi-Fi note: 1 entry will become Wi-Fi network" in str(plan)
    assert "Fax number: 1 entry can only be deleted" in str(plan)
    plan.apply(discard=True)
    converted = device.view()[home.id]
    assert (converted.type, converted.status) == ("wifi", vs.Status.COMPLETE)
    assert (converted["title"], converted["ssid"], converted["password"]) == ("Home", "Fritz", "wpa")
    assert device.view()[number.id].status is vs.Status.TRASHED
    assert len(device.view().archived) == 0
    eventually(lambda: contents(other) == contents(device))


def test_after_a_chance_to_save_them(world: World, tmp_path: Path) -> None:
    device = world.device("Laptop", PREVIOUS)
    number = device.add("fax", title="Office", fax_number="+49 30 1")
    device = world.update_app(device, LATEST)

    plan = device.upgrade_plan()
    with pytest.raises(vs.ExportFirst, match="1 entry of type Fax number would be deleted"):
        plan.apply()
    assert device.view()[number.id].status is vs.Status.ARCHIVED, "nothing was deleted"

    saved = tmp_path / "saved.json"
    assert plan.export(saved) == 1
    plan.apply()

    assert device.view()[number.id].status is vs.Status.TRASHED
    (entry,) = json.loads(saved.read_text())["entries"]
    assert entry["id"] == number.id
    assert entry["fields"] | entry.get("retired", {}) == {"title": "Office", "fax_number": "+49 30 1"}


def test_archived_entries_do_not_count_towards_limits(world: World) -> None:
    device = world.device("Laptop", PREVIOUS)
    device.quota = vs.Quota(max_entries=2)
    device.add("fax", title="Office")
    device.add("login", title="GitHub")
    with pytest.raises(vs.QuotaExceeded):
        device.add("login", title="One too many")

    device = world.update_app(device, LATEST)
    device.quota = vs.Quota(max_entries=2)

    assert (len(device.view().archived), device.view().counted) == (1, 1)
    device.add("login", title="Now it fits")
    with pytest.raises(vs.QuotaExceeded, match=r"holds 2 .* limit is 2"):
        device.add("login", title="One too many")


def test_a_retired_field_syncs_between_latest_and_previous(world: World) -> None:
    phone, laptop = world.device("Phone", PREVIOUS), world.device("Laptop", LATEST)
    tablet = world.device("Tablet", PREVIOUS)

    github = phone.add("login", title="GitHub", hint="the usual")

    eventually(lambda: github.id in laptop.view() and github.id in tablet.view())
    assert laptop.view()[github.id].retired["hint"] == "the usual"
    assert laptop.view()[github.id].status is vs.Status.COMPLETE
    tablet.update(github.id, hint="the other one")
    eventually(lambda: laptop.view()[github.id].retired.get("hint") == "the other one")
    laptop.update(github.id, username="ann")
    eventually(lambda: phone.view()[github.id].get("username") == "ann")
    assert phone.view()[github.id]["hint"] == "the other one", "an edit by the latest version leaves it"


def test_and_a_retired_field_can_be_edited_only_in_the_previous(world: World) -> None:
    phone, laptop = world.device("Phone", PREVIOUS), world.device("Laptop", LATEST)
    github = phone.add("login", title="GitHub", hint="the usual")
    eventually(lambda: github.id in laptop.view())

    with pytest.raises(vs.RetiredField):
        laptop.update(github.id, hint="new")
    with pytest.raises(vs.RetiredField):
        laptop.add("login", title="x", hint="new")
    assert "hint" not in laptop.view()[github.id].writable

    assert "hint" in phone.view()[github.id].writable
    assert phone.update(github.id, hint="new")["hint"] == "new"
    eventually(lambda: laptop.view()[github.id]["hint"] == "new")


def test_an_edit_on_a_previous_version_leaves_everything_it_does_not_know_as_it_was(world: World) -> None:
    laptop = world.device("Laptop", LATEST, automatic=False)
    phone = world.device("Phone", PREVIOUS, "ios", automatic=False)
    github = laptop.add(
        "login", title="GitHub", emails=["a@example.org", "b@example.org"], auto_type="{USER}", tags={"work"}
    )
    before = dict(github.raw)
    sync(laptop, phone)

    phone.update(github.id, title="GitHub (work)", password="n3w", tags=vs.add("phone"), hint="the usual")
    sync(phone, laptop)

    after = laptop.view()[github.id]
    assert after["emails"] == ("a@example.org", "b@example.org")
    assert after["auto_type"] == "{USER}"
    assert (after["title"], after["password"], after["tags"]) == ("GitHub (work)", "n3w", {"work", "phone"})
    written = {key for key in after.raw if after.raw.get(key) != before.get(key)}
    assert {key for key in written if not key.startswith("$edited/")} == {"title", "password", "tags/phone", "hint"}
    assert before.keys() <= after.raw.keys(), "nothing that was stored is gone"

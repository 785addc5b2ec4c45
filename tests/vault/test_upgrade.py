"""Upgrading a device: the dry run, saving, converting and deleting, whoever else is at work meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vaultsync as vs
from vaultsync.document.engine import Edit
from vaultsync.testing import MemoryRemote, environment
from vaultsync.testing.vaults import KEY, PASSWORD, URL
from vaultsync.vault import upgrade
from vaultsync.vault.works import LAST_VERSION

OLD, NEW, NEWER = 1, 2, 3


def field(name: str, since: int = 1, kind: Any = vs.text, **more: Any) -> vs.Field:
    return vs.Field(name, kind, since=since, **more)


MEMO = vs.EntryType(
    "memo",
    label="Memo",
    until=NEW,
    fields=[field("title"), field("body"), field("place")],
    converts=vs.Convert(to="page", lenses=[vs.rename("body", "words")], keep_old=True),
)
NOTE = vs.EntryType(
    "wifi_note",
    label="Wi-Fi note",
    until=NEW,
    fields=[field("title"), field("network"), field("pass", kind=vs.secret)],
    converts=vs.Convert(to="wifi", lenses=[vs.rename("network", "ssid")]),
)
FAX = vs.EntryType("fax", label="Fax number", until=NEW, fields=[field("title"), field("code", kind=vs.secret)])
TELEX = vs.EntryType("telex", label="Telex", until=NEW, fields=[field("title")])
SCHEMA = vs.Schema(
    "acme",
    version=NEW,
    platform="linux",
    types=[
        vs.EntryType("login", label="Login", fields=[field("title")]),
        MEMO,
        NOTE,
        FAX,
        TELEX,
        vs.EntryType("page", label="Page", since=NEW, fields=[field("title", NEW), field("words", NEW)]),
        vs.EntryType("wifi", label="Wi-Fi network", since=NEW, fields=[field("title", NEW), field("ssid", NEW)]),
    ],
    releases={OLD: "1.0", NEW: "2.0", NEWER: "3.0"},
)


class World:
    """Vaults of one person on a remote in memory. They sync when told to and can be opened at another version."""

    def __init__(self, folder: Path, schema: vs.Schema) -> None:
        self.folder, self.schema, self.remote = folder, schema, MemoryRemote()
        self.code = ""
        self.vaults: list[vs.Vault] = []
        self.opened = 0

    def device(self, name: str, version: int = OLD, platform: str = "linux") -> vs.Vault:
        schema, path, world = self.schema.at(version, platform), self.folder / name, environment(name)
        if self.code:
            vault = vs.Vault.join(
                path, URL, schema=schema, password=PASSWORD, code=self.code, key=KEY, device=name, environment=world,
                opener=lambda url: self.remote, background=False,
            )  # fmt: skip
        else:
            vault = vs.Vault.create(path, schema=schema, password=PASSWORD, key=KEY, device=name, environment=world)
            self.code = vault.recovery_code or ""
            vault.auto_sync = False
            vault.connect(URL, remote=self.remote)
        self.vaults.append(vault)
        self.sync()
        return vault

    def at(self, vault: vs.Vault, version: int, schema: vs.Schema | None = None) -> vs.Vault:
        """The same file, opened with another release."""
        vault.close()
        self.opened += 1
        again = vs.Vault.open(
            vault.path,
            schema=(schema or self.schema).at(version, vault.schema.platform),
            key=KEY,
            environment=environment(f"{vault.path} {self.opened}"),
            opener=lambda url: self.remote,
            background=False,
        )
        self.vaults[self.vaults.index(vault)] = again
        return again

    def sync(self, *vaults: vs.Vault) -> None:
        for vault in (vaults or tuple(self.vaults)) * 2:
            vault.sync()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, SCHEMA)
    yield world
    for vault in world.vaults:
        vault.close()


def filled(vault: vs.Vault) -> dict[str, str]:
    """Two entries of each retired type and a login; name -> id."""
    made = {"login": vault.add("login", title="GitHub").id}
    for n in (1, 2):
        made[f"memo{n}"] = vault.add("memo", title=f"Memo {n}", body=f"words {n}").id
        made[f"note{n}"] = vault.add("wifi_note", title=f"Wi-Fi {n}", network=f"Fritz {n}", **{"pass": "wpa"}).id
        made[f"fax{n}"] = vault.add("fax", title=f"Fax {n}", code=f"CODE-{n}").id
    made["telex"] = vault.add("telex", title="Telex 1").id
    return made


def statuses(vault: vs.Vault, ids: dict[str, str]) -> dict[str, str]:
    view = vault.view()
    return {name: f"{view[entry_id].type} {view[entry_id].status.value}" for name, entry_id in ids.items()}


def stored(vault: vs.Vault) -> dict[str, dict[str, Any]]:
    return {entry_id: dict(raw) for entry_id, raw in vault._ledger.engine.read_all()}


# ---- the dry run --------------------------------------------------------------------------------------------------
def test_a_plan_names_what_will_be_converted_and_what_can_only_be_deleted(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    assert not laptop.upgrade_plan()
    assert str(laptop.upgrade_plan()).startswith("Nothing to upgrade")
    laptop = world.at(laptop, NEW)
    before = stored(laptop)

    plan = laptop.upgrade_plan()

    assert plan
    assert [each.type for each in plan.types] == ["fax", "memo", "telex", "wifi_note"]
    fax, memo, telex, note = plan.types
    assert (set(fax.delete), fax.convert, fax.to) == ({ids["fax1"], ids["fax2"]}, (), None)
    assert (set(memo.convert), memo.delete, memo.to_label, memo.keeps_old) == (
        {ids["memo1"], ids["memo2"]}, (), "Page", True,
    )  # fmt: skip
    assert (telex.delete, note.to, note.keeps_old) == ((ids["telex"],), "wifi", False)
    assert (plan.convert, plan.delete, plan.stay) == (4, 3, 0)
    assert str(plan).splitlines() == [
        "Fax number: 2 entries can only be deleted",
        "Memo: 2 entries will become Page",
        "Telex: 1 entry can only be deleted",
        "Wi-Fi note: 2 entries will become Wi-Fi network",
    ]
    assert stored(laptop) == before, "a dry run writes nothing"
    assert "CODE" not in f"{plan} {plan!r}"


def test_a_plan_names_the_devices_that_lose_sight(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    filled(laptop)
    world.device("Phone", OLD, "android")
    world.device("Tablet", NEW, "ios")
    laptop = world.at(laptop, NEW)
    world.sync()

    fax, memo, telex, note = laptop.upgrade_plan().types

    assert note.blind == ("Phone",)
    assert memo.blind == (), "older devices go on reading what is kept in their terms"
    assert (fax.bereft, telex.bereft) == (("Phone",), ("Phone",)), "the Tablet has it archived, as this device has"
    assert str(note) == "Wi-Fi note: 2 entries will become Wi-Fi network (Phone will stop showing them)"
    assert str(telex) == "Telex: 1 entry can only be deleted (on Phone too, where it can still be edited)"
    laptop.upgrade_plan().apply(discard=True)
    world.sync()
    (phone,) = [vault for vault in world.vaults if vault.path.endswith("Phone")]
    assert {entry.type for entry in phone.view().hidden} == {"wifi"}
    assert {entry.type for entry in phone.view().entries} == {"login", "memo"}


def test_entries_that_another_device_has_to_deal_with_stay_archived(world: World) -> None:
    """What this device cannot convert is not on that account something that can only be deleted."""
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    with laptop._ledger.write() as transaction:  # as a newer version writes them
        transaction.commit(
            [
                Edit("entries", ids["note1"], "seal", "x"),
                Edit("entries", ids["note1"], "$critical/seal", "write"),
                Edit("entries", ids["fax1"], "seal", "x"),
                Edit("entries", ids["fax1"], "$critical/seal", "write"),
                Edit("entries", ids["memo1"], "$type", "novel"),
                Edit("entries", ids["memo1"], "$face/memo", True),
            ]
        )
    laptop = world.at(laptop, NEW)

    plan = laptop.upgrade_plan()

    by_type = {each.type: each for each in plan.types}
    assert by_type["wifi_note"].stay == (ids["note1"],), "locked by what a newer version stored"
    assert by_type["fax"].stay == (ids["fax1"],)
    assert by_type["memo"].stay == (ids["memo1"],), "converted further than this version knows"
    assert "Fax number: 1 entry can only be deleted; 1 entry stays archived" in str(plan)
    plan.apply(discard=True)
    assert {entry.id for entry in laptop.view().archived} == {ids["note1"], ids["fax1"], ids["memo1"]}


def test_a_target_on_other_platforms_is_left_to_these(tmp_path: Path) -> None:
    desktop = {"windows", "macos", "linux"}
    paper = vs.EntryType("paper", until=NEW, fields=[field("title")], converts=vs.Convert(to="scan"))
    scan = vs.EntryType("scan", since=NEW, platforms=desktop, fields=[field("sheets", NEW)])
    world = World(tmp_path, vs.Schema("acme", version=NEW, platform="linux", types=[paper, scan]))
    phone = world.device("Phone", OLD, "ios")
    entry = phone.add("paper", title="Contract")
    laptop = world.device("Laptop", NEW, "linux")
    phone = world.at(phone, NEW)
    try:
        assert not phone.upgrade_plan()
        assert str(phone.upgrade_plan()) == "Paper: 1 entry stays archived"
        plan = laptop.upgrade_plan()
        assert plan.types[0].convert == (entry.id,)
        assert plan.types[0].blind == ("Phone",)
    finally:
        phone.close()
        laptop.close()


def test_an_entry_on_which_a_lens_breaks_stays_archived(tmp_path: Path) -> None:
    lens = vs.convert("age", "years", get=int, back=str, lossy=True)
    person = vs.EntryType("person", until=NEW, fields=[field("age")], converts=vs.Convert("human", lenses=[lens]))
    human = vs.EntryType("human", since=NEW, fields=[field("years", NEW, vs.number)])
    world = World(tmp_path, vs.Schema("acme", version=NEW, platform="linux", types=[person, human]))
    vault = world.device("Laptop", OLD)
    fits, odd = vault.add("person", age="42"), vault.add("person", age="forty-two")
    vault = world.at(vault, NEW)
    try:
        (plan,) = vault.upgrade_plan().types
        assert (plan.convert, plan.delete, plan.stay) == ((fits.id,), (), (odd.id,))
        assert vault.upgrade_plan().apply() == 1
        assert vault.view()[fits.id]["years"] == 42
        assert vault.view()[odd.id]["age"] == "forty-two"
        assert vault.view()[odd.id].status is vs.Status.ARCHIVED
    finally:
        vault.close()


# ---- saving -------------------------------------------------------------------------------------------------------
def test_deleting_needs_an_export_and_says_so(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    laptop = world.at(laptop, NEW)
    plan, before = laptop.upgrade_plan(), stored(laptop)

    with pytest.raises(vs.ExportFirst) as caught:
        plan.apply()
    assert str(caught.value) == (
        "2 entries of type Fax number would be deleted, and no export holds them as they are now: "
        "export the plan first, or apply it with discard=True"
    )
    with pytest.raises(
        vs.ExportFirst, match=r"^1 entry of type Telex would be deleted, and no export holds it as it is"
    ):
        plan.apply(["telex"])
    assert stored(laptop) == before, "refused as a whole: nothing was converted either"

    assert plan.export(tmp_path / "saved.json") == 3
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert {entry["id"] for entry in saved["entries"]} == {ids["fax1"], ids["fax2"], ids["telex"]}
    assert any("CODE-1" in json.dumps(entry) for entry in saved["entries"]), "secrets too"
    assert (tmp_path / "saved.json").stat().st_mode & 0o777 == 0o600
    assert plan.apply() == 7
    assert statuses(laptop, ids) == {
        "login": "login complete", "memo1": "page complete", "memo2": "page complete", "note1": "wifi complete",
        "note2": "wifi complete", "fax1": "fax trashed", "fax2": "fax trashed", "telex": "telex trashed",
    }  # fmt: skip
    assert laptop.view()[ids["memo1"]]["words"] == "words 1"
    assert laptop.view()[ids["note1"]]["ssid"] == "Fritz 1"
    assert laptop.view()[ids["note1"]].retired["pass"] == "wpa", "what the new type has no place for is kept"


def test_a_plan_is_not_applied_inside_a_batch(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    filled(laptop)
    laptop = world.at(laptop, NEW)
    plan, before = laptop.upgrade_plan(), stored(laptop)
    with pytest.raises(vs.UsageError, match=r"outside of vault\.batch"), laptop.batch():
        plan.apply(discard=True)
    assert stored(laptop) == before


def test_a_receipt_is_in_the_vault_and_counts_on_every_device(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    filled(laptop)
    desk = world.device("Desk", NEW)
    laptop = world.at(laptop, NEW)
    laptop.upgrade_plan().export(tmp_path / "saved.json")
    laptop = world.at(laptop, NEW)
    assert laptop.upgrade_plan().apply(["telex"]) == 1, "a receipt outlives the plan"
    world.sync()
    assert desk.upgrade_plan().apply(["fax"]) == 2


def test_an_export_that_fails_leaves_no_receipt(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    filled(laptop)
    laptop = world.at(laptop, NEW)
    plan = laptop.upgrade_plan()
    (tmp_path / "there").write_text("something")
    with pytest.raises(vs.VaultExists):
        plan.export(tmp_path / "there")
    with pytest.raises(vs.StoreFailed):
        plan.export(tmp_path / "no folder" / "x.json")
    with pytest.raises(vs.ExportFirst):
        plan.apply()
    assert (tmp_path / "there").read_text() == "something"


def test_nothing_to_save_is_no_file(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    laptop.add("memo", title="Memo", body="words")
    laptop = world.at(laptop, NEW)
    assert laptop.upgrade_plan().export(tmp_path / "saved.json") == 0
    assert not (tmp_path / "saved.json").exists()
    assert laptop.upgrade_plan().apply() == 1, "conversions need no export"


def test_an_entry_edited_after_the_export_is_not_deleted_unsaved(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    phone = world.device("Phone", OLD)
    laptop = world.at(laptop, NEW)
    plan = laptop.upgrade_plan()
    plan.export(tmp_path / "saved.json")

    phone.update(ids["fax1"], title="Still in use")
    world.sync()

    with pytest.raises(vs.ExportFirst):
        plan.apply()
    with pytest.raises(vs.ExportFirst):
        laptop.upgrade_plan().apply()
    assert laptop.view()[ids["fax1"]].status is vs.Status.ARCHIVED
    again = laptop.upgrade_plan()
    again.export(tmp_path / "saved again.json")
    assert "Still in use" in (tmp_path / "saved again.json").read_text()
    again.apply()
    assert laptop.view()[ids["fax1"]].status is vs.Status.TRASHED


def test_an_edit_that_the_deleter_had_not_seen_wins(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    phone = world.device("Phone", OLD)
    laptop = world.at(laptop, NEW)
    plan = laptop.upgrade_plan()
    plan.export(tmp_path / "saved.json")

    phone.update(ids["fax1"], title="Still in use")  # not synced yet
    plan.apply()
    world.sync()

    assert statuses(laptop, {"fax1": ids["fax1"], "fax2": ids["fax2"]}) == {
        "fax1": "fax archived",
        "fax2": "fax trashed",
    }
    assert phone.view()[ids["fax1"]].status is vs.Status.COMPLETE
    assert laptop.view()[ids["fax1"]]["title"] == "Still in use"
    assert laptop.view()[ids["fax1"]]["code"] == "CODE-1"


def test_an_edit_that_arrives_between_the_check_and_the_delete_wins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    phone = world.device("Phone", OLD)
    laptop = world.at(laptop, NEW)
    phone.update(ids["fax1"], title="Just now")
    phone.sync()
    plan, deletes = laptop.upgrade_plan(), []
    real = laptop._desk.delete

    def delete(entry: Any) -> None:
        if not deletes:
            laptop.sync()  # the background thread may do this at any time
        deletes.append(entry)
        real(entry)

    monkeypatch.setattr(laptop._desk, "delete", delete)
    plan.apply(["fax"], discard=True)
    assert len(deletes) == 2
    assert laptop.view()[ids["fax1"]].status is vs.Status.ARCHIVED
    assert laptop.view()[ids["fax1"]]["title"] == "Just now"
    assert laptop.view()[ids["fax2"]].status is vs.Status.TRASHED


def test_discarding_deletes_unsaved_and_into_the_trash(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    laptop = world.at(laptop, NEW)
    assert laptop.upgrade_plan().apply(["fax"], discard=True) == 2
    assert laptop.view()[ids["fax1"]].status is vs.Status.TRASHED
    restored = laptop.restore(ids["fax1"])
    assert restored.status is vs.Status.ARCHIVED
    assert restored["code"] == "CODE-1"


def test_what_was_deleted_by_hand_meanwhile_needs_no_new_export(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    laptop = world.at(laptop, NEW)
    plan = laptop.upgrade_plan()
    plan.export(tmp_path / "saved.json")
    laptop.delete(ids["fax1"])
    assert plan.apply(["fax"]) == 1
    assert laptop.view()[ids["fax2"]].status is vs.Status.TRASHED


# ---- some now, some later -------------------------------------------------------------------------------------------
def test_one_type_now_and_another_later(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    laptop = world.at(laptop, NEW)
    plan = laptop.upgrade_plan()

    assert plan.apply(["memo"]) == 2
    assert statuses(laptop, ids)["memo1"] == "page complete"
    assert statuses(laptop, ids)["note1"] == "wifi_note archived"
    assert plan.export(tmp_path / "telex.json", ["telex"]) == 1
    assert plan.apply(["telex", "wifi_note"]) == 3
    with pytest.raises(vs.ExportFirst):
        plan.apply(["fax"])
    assert plan.apply(["memo"]) == 0, "done already"
    left = laptop.upgrade_plan()
    assert [each.type for each in left.types] == ["fax"]
    with pytest.raises(vs.UnknownType, match="nothing for memo, nonsense; it has fax"):
        left.apply(["memo", "nonsense"])
    with pytest.raises(vs.UnknownType):
        left.export(tmp_path / "x", ["nonsense"])


def test_until_somebody_applies_it_everything_stays_and_syncs(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    phone = world.device("Phone", OLD)
    laptop = world.at(laptop, NEW)
    laptop.upgrade_plan()
    phone.update(ids["note1"], network="Other")
    world.sync()
    assert laptop.view()[ids["note1"]]["network"] == "Other"
    assert statuses(laptop, ids)["note1"] == "wifi_note archived"
    assert statuses(phone, ids)["fax1"] == "fax complete"


# ---- others at work -------------------------------------------------------------------------------------------------
def test_two_devices_run_the_plan_at_once(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    desk = world.device("Desk", NEW)
    laptop = world.at(laptop, NEW)
    world.sync()
    plans = laptop.upgrade_plan(), desk.upgrade_plan()
    assert str(plans[0]) == str(plans[1])
    for number, plan in enumerate(plans):
        plan.export(tmp_path / f"saved{number}.json")
        assert plan.apply() == 7

    world.sync()

    assert stored(laptop) == stored(desk)
    assert statuses(laptop, ids) == statuses(desk, ids)
    assert sorted(set(statuses(desk, ids).values())) == [
        "fax trashed", "login complete", "page complete", "telex trashed", "wifi complete",
    ]  # fmt: skip
    assert laptop.view()[ids["note1"]].conflicts == {}
    assert not laptop.upgrade_plan()
    assert plans[0].apply() == 0


def test_a_plan_that_somebody_else_ran_first_does_nothing(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    desk = world.device("Desk", NEW)
    laptop = world.at(laptop, NEW)
    late = desk.upgrade_plan()
    laptop.upgrade_plan().apply(discard=True)
    world.sync()
    before = stored(desk)
    assert late.apply() == 0, "nothing is left to delete, so nothing has to be saved"
    assert stored(desk) == before
    assert statuses(desk, ids)["fax1"] == "fax trashed"


def test_an_old_device_editing_meanwhile(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    phone = world.device("Phone", OLD)
    laptop = world.at(laptop, NEW)

    phone.update(ids["note1"], network="Moved")
    phone.update(ids["memo1"], body="new words")
    added = phone.add("wifi_note", title="Cabin", network="Cabin")
    laptop.upgrade_plan().apply(discard=True)
    world.sync()

    seen = laptop.view()
    assert (seen[ids["note1"]].type, seen[ids["note1"]]["ssid"]) == ("wifi", "Moved")
    assert seen[ids["memo1"]]["words"] == "new words"
    assert seen[added.id].status is vs.Status.ARCHIVED, "the next plan's"
    assert laptop.upgrade_plan().types[0].convert == (added.id,)


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "not kept"])
def test_converted_entries_on_old_devices(world: World, keep: bool) -> None:
    kind, text, face = ("memo", "words", "body") if keep else ("wifi_note", "ssid", "network")
    laptop = world.device("Laptop", OLD)
    entry = laptop.add(kind, title="Old", **{face: "one"})
    phone = world.device("Phone", OLD)
    laptop = world.at(laptop, NEW)
    laptop.upgrade_plan().apply()
    laptop.update(entry.id, **{text: "two"})
    world.sync()

    seen = phone.view()[entry.id]
    if not keep:
        assert seen.status is vs.Status.HIDDEN
        assert "1 Wi-Fi network needs 2.0 or later (Laptop can open it)" in str(phone.view().notices[0])
        with pytest.raises(vs.NotEditable):
            phone.update(entry.id, network="three")
        return
    assert (seen.type, seen.status, seen["body"]) == ("memo", vs.Status.COMPLETE, "two")
    phone.update(entry.id, body="three")
    world.sync()
    assert laptop.view()[entry.id]["words"] == "three"
    assert laptop.view()[entry.id].type == "page"


def test_a_deleted_entry_is_not_converted_and_converted_when_it_is_back(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    laptop.delete(ids["note1"])
    laptop = world.at(laptop, NEW)
    plan = laptop.upgrade_plan()
    assert {each.type: each.convert for each in plan.types}["wifi_note"] == (ids["note2"],)
    plan.apply(["wifi_note"])
    assert laptop.view()[ids["note1"]].type == "wifi_note"
    laptop.restore(ids["note1"])
    assert laptop.upgrade_plan().apply(["wifi_note"]) == 1


def chained(tmp_path: Path, *, end: bool) -> World:
    """slip (1) -> memo (2) -> page (3); with ``end`` the last one is retired too, and nothing follows."""
    first, second, third = [field("title")], [field("title", 2), field("body", 2)], [field("title", 3)]
    types = [
        vs.EntryType("slip", label="Slip", until=2, fields=first, converts=vs.Convert("memo", keep_old=True)),
        vs.EntryType("memo", label="Memo", since=2, until=3, fields=second, converts=vs.Convert("page")),
        vs.EntryType("page", label="Page", since=3, until=4 if end else None, fields=third),
    ]
    return World(tmp_path, vs.Schema("acme", version=4, platform="linux", types=types))


def test_three_versions_and_one_device_converts_further_than_another(tmp_path: Path) -> None:
    world = chained(tmp_path, end=False)
    oldest = world.device("Phone", 1)
    ids = [oldest.add("slip", title=f"Slip {n}").id for n in range(3)]
    middle, newest = world.device("Tablet", 2), world.device("Laptop", 4)
    try:
        plan = newest.upgrade_plan()
        assert str(plan) == "Slip: 3 entries will become Page", "the Phone has its slips, the Tablet has them archived"
        assert middle.upgrade_plan().apply() == 3
        assert plan.apply() == 3
        middle.update(ids[0], body="written as a memo")
        oldest.update(ids[1], title="written as a slip")
        world.sync()

        assert [newest.view()[entry_id].type for entry_id in ids] == ["page"] * 3
        assert newest.view()[ids[0]].retired["body"] == "written as a memo"
        assert [newest.view()[entry_id]["title"] for entry_id in ids] == ["Slip 0", "written as a slip", "Slip 2"]
        assert [oldest.view()[entry_id].type for entry_id in ids] == ["slip"] * 3
        assert all(middle.view()[entry_id].status is not vs.Status.TRASHED for entry_id in ids)
        assert not newest.upgrade_plan()
        assert not middle.upgrade_plan(), "what is converted further is nothing that can only be deleted"
        assert stored(newest) == stored(middle) == stored(oldest)
    finally:
        for vault in world.vaults:
            vault.close()


def test_a_chain_that_ends_can_only_be_deleted(tmp_path: Path) -> None:
    world = chained(tmp_path, end=True)
    oldest = world.device("Phone", 1)
    oldest.add("slip", title="Slip")
    newest = world.device("Laptop", 4)
    try:
        assert str(newest.upgrade_plan()) == (
            "Slip: 1 entry can only be deleted (on Phone too, where it can still be edited)"
        )
    finally:
        for vault in world.vaults:
            vault.close()


# ---- long ones ------------------------------------------------------------------------------------------------------
def test_progress_and_stopping_half_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "CHUNK", 2)
    laptop = world.device("Laptop", OLD)
    with laptop.batch():
        notes = [laptop.add("wifi_note", title=f"{n}", network=f"{n}").id for n in range(5)]
        faxes = [laptop.add("fax", title=f"{n}").id for n in range(3)]
    laptop = world.at(laptop, NEW)
    heard: list[tuple[int, int]] = []

    def stop_after_two(done: int, total: int) -> bool:
        heard.append((done, total))
        return done < 4

    changed = laptop.upgrade_plan().apply(discard=True, progress=stop_after_two)

    assert heard == [(2, 8), (4, 8)]
    assert changed == 4
    view = laptop.view()
    assert [view[entry_id].type for entry_id in notes].count("wifi") == 4
    assert all(view[entry_id].status in (vs.Status.COMPLETE, vs.Status.ARCHIVED) for entry_id in notes + faxes)
    heard.clear()
    rest = laptop.upgrade_plan()
    assert (rest.convert, rest.delete) == (1, 3)
    assert rest.apply(discard=True, progress=lambda done, total: heard.append((done, total))) == 4
    assert heard == [(1, 4), (4, 4)]
    assert not laptop.upgrade_plan()


def test_an_error_in_the_caller_leaves_every_entry_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "CHUNK", 1)
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    laptop = world.at(laptop, NEW)

    def fail(done: int, total: int) -> None:
        raise RuntimeError("the window was closed")

    with pytest.raises(RuntimeError):
        laptop.upgrade_plan().apply(discard=True, progress=fail)
    assert list(statuses(laptop, ids).values()).count("page complete") == 1
    assert list(statuses(laptop, ids).values()).count("fax trashed") == 0


# ---- downgrading ----------------------------------------------------------------------------------------------------
def test_an_older_release_than_before_is_another_old_device_and_says_so(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    laptop = world.at(laptop, NEW)
    assert not [notice for notice in laptop.view().notices if notice.kind.value == "downgrade"]
    laptop.upgrade_plan().apply(discard=True)
    laptop.update(ids["memo1"], words="edited in 2.0")

    laptop = world.at(laptop, OLD)

    notice = laptop.view().notices[0]
    assert notice.kind.value == "downgrade"
    assert str(notice) == (
        "This device last used 2.0 and now runs 1.0. "
        "Nothing is lost: what needs the newer version is kept and synced, but not shown."
    )
    assert laptop.view()[ids["memo1"]]["body"] == "edited in 2.0"
    assert laptop.view()[ids["note1"]].status is vs.Status.HIDDEN
    (hidden,) = [notice for notice in laptop.view().notices if notice.kind.value == "hidden"]
    assert str(hidden).endswith("last edited on Laptop."), "not with 1.0: that is what it runs now"
    assert not laptop.upgrade_plan(), "nothing is retired here"
    laptop.update(ids["memo1"], body="edited in 1.0")
    assert laptop._ledger.state(LAST_VERSION) == b"2"
    laptop = world.at(laptop, NEW)
    assert not [notice for notice in laptop.view().notices if notice.kind.value == "downgrade"]
    assert laptop.view()[ids["memo1"]]["words"] == "edited in 1.0"


# ---- limits ---------------------------------------------------------------------------------------------------------
def test_archived_entries_do_not_count_and_what_is_over_the_limit_stays_readable(world: World) -> None:
    laptop = world.device("Laptop", OLD)
    ids = filled(laptop)
    laptop = world.at(laptop, NEW)
    laptop.quota = vs.Quota(max_entries=2)
    assert laptop.view().counted == 1
    laptop.add("login", title="fits")
    with pytest.raises(vs.QuotaExceeded, match=r"holds 2 entries that count, and its limit is 2"):
        laptop.add("login", title="one too many")

    laptop.upgrade_plan().apply(["memo", "wifi_note"])

    assert laptop.view().counted == 6, "over the limit"
    assert laptop.view()[ids["memo1"]]["words"] == "words 1"
    assert laptop.update(ids["memo1"], words="and editable")["words"] == "and editable"
    with pytest.raises(vs.QuotaExceeded, match=r"holds 6 entries .* limit is 2"):
        laptop.add("login", title="one too many")
    laptop.quota = vs.Quota(max_entries=1)
    for entry_id in [entry.id for entry in laptop.view().entries[1:]]:
        laptop.delete(entry_id)
    with pytest.raises(vs.QuotaExceeded, match=r"holds 1 entry that counts, and its limit is 1"):
        laptop.add("login", title="one too many")


# ---- a format that is not ours --------------------------------------------------------------------------------------
def test_a_vault_that_may_only_be_read_is_not_upgraded(world: World, tmp_path: Path) -> None:
    laptop = world.device("Laptop", OLD)
    filled(laptop)
    laptop = world.at(laptop, NEW)
    plan = laptop.upgrade_plan()
    with laptop._ledger.write() as transaction:
        transaction.commit([Edit("settings", "", "$format", '{"reader":1,"writer":9}')])
    with pytest.raises(vs.UpdateRequired):
        plan.apply(discard=True)
    with pytest.raises(vs.UpdateRequired):
        plan.export(tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()

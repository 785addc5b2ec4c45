"""What a person sees of sharing: conflicts, history, deletes, imports and exports, clocks that are wrong, folders that
are half written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vaultsync as vs
from vaultsync.document.engine import Edit
from vaultsync.importers.records import Record
from vaultsync.presets.passwords import passwords
from vaultsync.testing import Clock, MemoryRemote, MemoryVault, environment, memory_vault
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Status

SCHEMA = passwords(4, "linux")
CENTURY_MS = 36_525 * 86_400_000


def pair(remote: MemoryRemote | None = None, **other: Any) -> tuple[MemoryVault, MemoryVault]:
    laptop = memory_vault(SCHEMA, remote=remote or MemoryRemote(), device="Laptop")
    return laptop, memory_vault(other.pop("schema", SCHEMA), joins=laptop, device="Phone", **other)


def sync(*vaults: Vault) -> None:
    for vault in (*vaults, *vaults):
        vault.sync()


# ---- conflicts --------------------------------------------------------------------------------------------------
def test_the_loser_of_a_conflict_is_kept_with_who_and_when_and_can_be_chosen() -> None:
    laptop, phone = pair()
    entry = laptop.add("login", title="GitHub", password="old", urls=["a", "b"])
    sync(laptop, phone)
    laptop.update(entry, password="by the laptop", urls=["a1", "b"])
    phone.update(entry, password="by the phone", urls=["a2", "b"])
    sync(laptop, phone)
    winner = laptop.view()[entry.id]["password"]
    loser, name = ("by the phone", "Phone") if winner == "by the laptop" else ("by the laptop", "Laptop")
    for vault in (laptop, phone):
        (conflict,) = vault.view()[entry.id].conflicts["password"]
        assert (conflict.value, conflict.device, conflict.version) == (loser, name, 4)
        assert conflict.time is not None
        assert loser not in repr(conflict), "a secret is masked"
        assert len(vault.view()[entry.id].conflicts["urls"]) == 1
    resolved = phone.resolve(entry.id, "password", phone.view()[entry.id].conflicts["password"][0])
    assert resolved["password"] == loser
    assert "password" not in resolved.conflicts
    sync(phone, laptop)
    assert laptop.view()[entry.id]["password"] == loser
    assert dict(laptop.view()[entry.id].conflicts).keys() == {"urls"}
    phone.close()
    laptop.close()


def test_an_edit_beats_a_concurrent_delete_and_a_concurrent_clear() -> None:
    laptop, phone = pair()
    one = laptop.add("login", title="one", username="u")
    two = laptop.add("login", title="two", username="u")
    sync(laptop, phone)
    laptop.delete(one)
    laptop.update(two, username=None)
    phone.update(one, username="edited meanwhile")
    phone.update(two, username="edited meanwhile")
    sync(laptop, phone)
    for vault in (laptop, phone):
        assert vault.view()[one.id].status is Status.COMPLETE
        assert vault.view()[one.id]["username"] == "edited meanwhile"
        assert vault.view()[two.id]["username"] == "edited meanwhile"
    phone.close()
    laptop.close()


def test_a_purge_forgets_and_a_concurrent_edit_comes_back_alone() -> None:
    laptop, phone = pair()
    gone = laptop.add("login", title="gone", password="p")
    edited = laptop.add("login", title="edited", password="p")
    sync(laptop, phone)
    laptop.purge(gone)
    laptop.purge(edited)
    phone.update(edited, username="meanwhile")
    sync(laptop, phone)
    for vault in (laptop, phone):
        assert vault.view()[gone.id].status is Status.TRASHED
        assert not vault.view()[gone.id].fields
        assert vault.view()[edited.id].status is Status.COMPLETE
        assert dict(vault.view()[edited.id].fields) == {"username": "meanwhile"}
    phone.close()
    laptop.close()


def test_a_second_delete_as_seen_earlier_takes_nothing_back_from_the_first() -> None:
    """Deletes of one device add up: what the first covered stays covered when the person deletes an older picture."""
    laptop, phone = pair()
    seen_early = laptop.add("login", title="x")
    laptop.update(seen_early, title="y")
    laptop.delete(seen_early.id)
    sync(laptop, phone)
    phone.restore(seen_early.id)
    sync(phone, laptop)
    laptop.delete(seen_early)  # covers less than the first delete did
    assert laptop.view()[seen_early.id].status is Status.COMPLETE, "the restore was not seen"
    sync(laptop, phone)
    with phone._ledger.write() as transaction:  # a delete by the phone that saw only its own restore
        raw = transaction.engine.read("entries", seen_early.id) or {}
        mine = {key.removeprefix("$edited/"): value for key, value in raw.items() if phone._ledger.actor.hex() in key}
        edit = Edit("entries", seen_early.id, f"$deleted/{phone._ledger.actor.hex()}", json.dumps(mine))
        transaction.commit([edit])
    sync(phone, laptop)
    assert laptop.view()[seen_early.id].status is Status.TRASHED, "every edit was seen by one delete or another"
    phone.close()
    laptop.close()


# ---- history ----------------------------------------------------------------------------------------------------
def test_history_tells_who_what_and_when_and_restores() -> None:
    laptop, phone = pair()
    entry = laptop.add("login", title="one", password="first", tags={"a"})
    sync(laptop, phone)
    phone.update(entry, title="two", password="second", tags=vs.add("b"))
    phone.delete(entry.id)
    sync(phone, laptop)
    laptop.restore(entry.id)
    revisions = laptop.history(entry.id)
    assert [(r.event, r.device) for r in revisions] == [
        ("added", "Laptop"),
        ("edit", "Phone"),
        ("deleted", "Phone"),
        ("restored", "Laptop"),
    ]
    assert dict(revisions[1].before) == {"title": "one", "password": "first", "tags": frozenset({"a"})}
    assert dict(revisions[1].after) == {"title": "two", "password": "second", "tags": frozenset({"a", "b"})}
    assert "second" not in repr(revisions)
    assert all(r.time is not None for r in revisions[:2])
    back = laptop.restore(entry.id, revision=revisions[0].id)
    assert (back["title"], back["password"], back["tags"]) == ("one", "first", {"a"})
    assert laptop.view()[entry.id] == back
    sync(laptop, phone)
    assert phone.view()[entry.id]["title"] == "one"
    with pytest.raises(vs.EntryNotFound):
        laptop.history("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    phone.close()
    laptop.close()


# ---- in and out -------------------------------------------------------------------------------------------------
def records() -> list[Record]:
    return [
        Record("app:1", "login", {"title": "one", "password": "p1", "urls": ["u"]}, created_ms=1000, modified_ms=2000),
        Record("app:2", "login", {"title": "two", "tags": ["t"]}, created_ms=3000),
        Record("app:3", "secure_note", {"title": "three", "notes": "a\nb"}, trashed=True),
    ]


def test_importing_twice_adds_nothing_and_changes_nothing_that_was_edited_here() -> None:
    laptop, phone = pair()
    first = laptop.import_records(records())
    assert len(first.added) == 3
    one, two, three = (laptop.view()[entry_id] for entry_id in first.added)
    assert (one.created, one.modified, two.created) == (1000, 2000, 3000)
    assert three.status is Status.TRASHED
    laptop.update(one, title="edited here", password=None)
    laptop.delete(two)
    laptop.purge(three)
    before = laptop._ledger.engine.heads
    again = laptop.import_records(records())
    assert (again.added, len(again.already_there)) == ([], 3)
    assert laptop._ledger.engine.heads == before
    sync(laptop, phone)
    there = phone.import_records(records())
    assert (there.added, len(there.already_there)) == ([], 3)
    assert phone.view()[one.id]["title"] == "edited here"
    phone.close()
    laptop.close()


def test_an_export_lacks_nothing(tmp_path: Path) -> None:
    """Also on a device that understands half of it."""
    laptop, old = pair(schema=SCHEMA.at(1, "ios"))
    made = [
        laptop.add("login", title="a", password="pa", passkeys=["k1"], tags={"t"}, notes="x\ny", totp="JBSWY3DP"),
        laptop.add("passkey", title="b"),
        laptop.add("document", title="c") if "document" in laptop.schema.types else laptop.add("login", title="c"),
        laptop.add("card", title="d", card_number="4111"),
    ]
    laptop.delete(made[3].id)
    sync(laptop, old)
    for number, vault in enumerate((laptop, old)):
        path = tmp_path / f"{number}.json"
        assert vault.export(path).entries == 4
        if hasattr(path.stat(), "st_mode"):
            assert path.stat().st_mode & 0o077 == 0
        text = path.read_text(encoding="utf-8")
        for value in ("a", "pa", "k1", "t", "JBSWY3DP", "b", "c", "d", "4111"):
            assert json.dumps(value) in text or f"/{value}" in text, f"{value} is not in the export"
        with pytest.raises(vs.VaultExists):
            vault.export(path)
    old.close()
    laptop.close()


# ---- clocks -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("skew", [-CENTURY_MS, -CENTURY_MS // 2, CENTURY_MS])
def test_a_clock_that_is_wrong_by_a_century_changes_no_merge(skew: int) -> None:
    """The same history with right and wrong clocks: the same values win, the same entries are in the trash."""
    outcomes = []
    for by in (0, skew):
        clock = Clock()
        laptop = memory_vault(SCHEMA, remote=MemoryRemote(), environment=environment("laptop"))
        phone = memory_vault(SCHEMA, joins=laptop, environment=environment("phone", clock=clock))
        entry = laptop.add("login", title="one", username="u", password="p")
        gone = laptop.add("login", title="gone")
        sync(laptop, phone)
        clock.advance(by)
        phone.update(entry, username="phone", password="phone")
        laptop.update(entry, username="laptop")
        phone.delete(gone.id)
        clock.advance(-2 * by)
        new = phone.add("login", title="new")
        sync(phone, laptop)
        laptop.update(new, title="edited by the laptop")
        laptop.restore(gone.id)
        laptop.delete(gone.id)
        phone.update(new, username="edited by the phone")
        sync(phone, laptop)
        shown = []
        for vault in (laptop, phone):
            view = vault.view()
            shown.append({str(e["title"]): (dict(e.fields), e.status, sorted(e.conflicts)) for e in view})
            assert [e.id for e in view.trash] == [gone.id]
        assert shown[0] == shown[1]
        outcomes.append(shown[0])
        phone.close()
        laptop.close()
    assert outcomes[0] == outcomes[1]


# ---- folders ----------------------------------------------------------------------------------------------------
def test_a_half_written_file_in_the_folder_waits_and_is_no_damage(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    laptop = Vault.create(tmp_path / "a", schema=SCHEMA, password=PASSWORD, key=KEY, environment=environment("a"))
    laptop.auto_sync = False
    laptop.connect(shared.as_uri())
    laptop.sync()
    phone = Vault.join(
        tmp_path / "b", shared.as_uri(), schema=SCHEMA, password=PASSWORD, code=laptop.recovery_code or "", key=KEY,
        environment=environment("b"), background=False,
    )  # fmt: skip
    entry = laptop.add("login", title="arrives by pieces")
    before = {path for path in shared.rglob("*") if path.is_file()}
    laptop.sync()
    (new,) = [path for path in shared.rglob("*") if path.is_file() and path not in before]
    whole = new.read_bytes()
    for part in (0, 1, len(whole) // 2, len(whole) - 1):
        new.write_bytes(whole[:part])
        report = phone.sync()
        assert entry.id not in phone.view()
        assert not report.quarantined
        assert report.waiting
        assert phone.status.quarantined == 0
    new.write_bytes(whole)
    assert phone.sync().received == 1
    assert phone.view()[entry.id]["title"] == "arrives by pieces"
    assert (phone.status.waiting, phone.status.quarantined, phone.status.findings) == ((), 0, ())
    phone.close()
    laptop.close()


def test_old_devices_leave_alone_what_they_do_not_know() -> None:
    laptop, old = pair(schema=SCHEMA.at(1, "ios"))
    entry = laptop.add("login", title="x", totp="JBSWY3DP", password_history=["1", "2"], custom=["c"], tags={"t"})
    sync(laptop, old)
    assert old.view()[entry.id].status is Status.FLAGGED
    old.update(entry.id, title="by the old one", tags=vs.add("u"), password="p")
    sync(old, laptop)
    now = laptop.view()[entry.id]
    assert (now["title"], now["tags"], now["password"]) == ("by the old one", {"t", "u"}, "p")
    unknown = {k: v for k, v in entry.raw.items() if k.startswith(("totp", "password_history", "custom", "$schema"))}
    assert unknown.items() <= now.raw.items()
    assert "JBSWY3DP" not in repr(old.view()[entry.id].unknown)
    old.close()
    laptop.close()

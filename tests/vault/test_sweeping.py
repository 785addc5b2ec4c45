"""What nobody needs any more goes: letters of pairings that ended with their sponsor, attachments without an entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vaultsync as vs
from tests.vault.test_checkpoints import DAY, World
from vaultsync import limits
from vaultsync.errors import ObjectMissing, RemoteUnavailable, VaultExists
from vaultsync.schema.kinds import FileRef, file
from vaultsync.sync import names
from vaultsync.testing import MemoryRemote, memory_vault
from vaultsync.vault.vault import Vault


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_AFTER_ENVELOPES", 6)
    monkeypatch.setattr(limits, "ATTACHMENT_AFTER_MS", 30 * DAY)


def mailboxes(world: World) -> set[str]:
    return set(world.remote.list("mailbox/"))


def letter(world: World, mailbox: bytes, number: int) -> None:
    world.remote.put(names.letter_name(mailbox, number, bytes([number]) * 32), b"sealed")


def test_mailboxes_of_sponsors_that_never_come_back_are_swept_by_any_member() -> None:
    world = World()
    letter(world, b"a" * 16, 1)
    phone = world.device("Phone")
    phone.sync()
    for day in range(4):
        world.clock.advance(DAY + 1)
        if day == 2:
            letter(world, b"b" * 16, 1)  # of another vault in this folder, and not over
        phone.sync()
        assert len(mailboxes(world)) == 1
        assert (b"a" * 16).hex() in str(mailboxes(world)) or day >= 2
    assert (b"b" * 16).hex() in str(mailboxes(world))
    world.clock.advance(2 * DAY)
    letter(world, b"b" * 16, 2)  # it goes on: the time begins anew
    phone.sync()
    world.clock.advance(2 * DAY)
    phone.sync()
    assert len(mailboxes(world)) == 2
    world.clock.advance(2 * DAY)
    assert phone.sync().collected == 2
    assert not mailboxes(world)


def blobs(vault: Vault) -> int:
    with vault._ledger.store.read() as reading:
        return sum("/blob/" in name for name in reading.names())


def busy(world: World, *vaults: Vault) -> None:
    """Enough edits for two more checkpoints, a day apart."""
    for number in range(3):
        world.edits(vaults[0], 8, f"busy {number}")
        world.clock.advance(DAY + 1)
        for vault in vaults:
            vault.sync()


def test_an_attachment_goes_when_nothing_referred_to_it_for_the_time_and_two_checkpoints_since() -> None:
    world = World()
    laptop, phone = world.first, world.device("Phone")
    kept, gone = laptop.add("login", title="kept"), laptop.add("login", title="gone")
    laptop.attach(kept, "kept.pdf", b"kept")
    laptop.attach(gone, "gone.pdf", b"gone")
    laptop.sync()
    phone.sync()
    assert phone.read_attachment(gone.id) == b"gone"
    laptop.delete(gone.id)  # the trash refers to it
    laptop.sync()
    world.clock.advance(40 * DAY)
    busy(world, laptop, phone)
    assert world.count("blob") == 2
    laptop.purge(gone.id)
    laptop.sync()
    world.clock.advance(DAY + 1)
    laptop.sync()
    busy(world, laptop, phone)
    assert world.count("blob") == 2, "checkpoints are there, the time is not over"
    world.clock.advance(40 * DAY)
    laptop.sync()
    assert (world.count("blob"), blobs(laptop)) == (1, 1)
    assert blobs(phone) == 1, "the phone drops its copy when its own time is over"
    phone.sync()
    assert blobs(phone) == 0
    assert phone.read_attachment(kept.id) == b"kept"
    phone.sync()
    assert world.count("blob") == 1


def test_without_two_checkpoints_since_or_before_its_time_an_attachment_stays() -> None:
    """One that was put before its entry, by a device that is slow, belongs to nothing for a while."""
    world = World()
    phone = world.device("Phone")
    entry = phone.add("login", title="slow")
    phone.sync()
    world.first.sync()
    phone.attach(entry.id, "slow.pdf", b"slow")
    with phone._ledger.store.read() as reading:
        (name,) = (name for name in reading.names() if "/blob/" in name)
        held = reading.envelope(name)
    assert held is not None
    world.remote.put(name, held.data)
    world.first.sync()
    world.clock.advance(100 * DAY)
    world.first.sync()
    assert world.count("blob") == 1, "no checkpoint was written since"
    phone.sync()
    world.first.sync()
    busy(world, world.first)
    world.clock.advance(100 * DAY)
    world.first.sync()
    assert world.first.read_attachment(entry.id) == b"slow"


def test_a_vault_too_small_for_checkpoints_writes_two_when_an_attachment_waits_for_them() -> None:
    world = World()
    laptop, phone = world.first, world.device("Phone")
    entry = laptop.add("login", title="small")
    laptop.attach(entry, "large.pdf", b"large" * 1000)
    laptop.sync()
    laptop.purge(entry.id)
    for _ in range(29):
        for vault in (laptop, phone):
            vault.sync()
        world.clock.advance(DAY + 1)
    assert (world.count("ckpt"), world.count("blob")) == (0, 1)
    for _ in range(8):
        world.clock.advance(DAY + 1)
        for vault in (laptop, phone):
            vault.sync()
    assert (world.count("blob"), blobs(laptop), blobs(phone)) == (0, 0, 0)
    written = world.count("ckpt")
    assert 2 <= written <= 4
    for _ in range(5):
        world.clock.advance(DAY + 1)
        for vault in (laptop, phone):
            assert vault.sync().sent == 0
    assert world.count("ckpt") <= written, "and no more"
    late = world.device("Late")
    assert late.view().notices == phone.view().notices
    late.close()


def test_both_sides_of_a_conflict_keep_their_attachments() -> None:
    world = World()
    phone = world.device("Phone")
    entry = world.first.add("login", title="both")
    world.first.sync()
    phone.sync()
    world.first.attach(entry.id, "one.pdf", b"one")
    phone.attach(entry.id, "two.pdf", b"two")
    for vault in (world.first, phone, world.first, phone):
        vault.sync()
    world.clock.advance(DAY + 1)
    world.first.sync()
    busy(world, world.first)
    world.clock.advance(100 * DAY)
    world.first.sync()
    assert world.count("blob") == 2


# ---- taken along --------------------------------------------------------------------------------------------------
def test_an_export_takes_attachments_along_and_says_which_is_which(tmp_path: Path) -> None:
    world = World()
    for title, name in (("a", "scan.pdf"), ("b", "../..\\evil:name"), ("c", "...")):
        world.first.attach(world.first.add("login", title=title).id, name, title.encode() * 3)
    trashed = world.first.add("login", title="d")
    world.first.attach(trashed.id, "scan.pdf", b"ddd")
    world.first.delete(trashed.id)
    world.first.sync()
    phone = world.device("Phone")
    phone.export(tmp_path / "out.json", attachments=tmp_path / "files")
    rows = json.loads((tmp_path / "out.json").read_text())["entries"]
    found = {row["fields"]["title"]: row["fields"]["scan"] for row in rows}
    assert len(found) == 4
    for title, reference in found.items():
        place = (tmp_path / "files" / reference["file"]).resolve()
        assert place.is_relative_to((tmp_path / "files").resolve())
        assert place.read_bytes() == title.encode() * 3
        assert place.stat().st_mode & 0o777 == 0o600
    assert found["a"]["file"].endswith("/scan.pdf")


LATER = vs.Schema(
    "later",
    version=2,
    platform="linux",
    types=[
        vs.EntryType("login", fields=[vs.Field("title", vs.text), vs.Field("scan", vs.file, since=2)]),
        vs.EntryType(
            "document", since=2, fields=[vs.Field("body", vs.text, since=2), vs.Field("page", vs.file, since=2)]
        ),
    ],
)


def test_an_export_takes_along_what_this_version_does_not_show(tmp_path: Path) -> None:
    """Entries of a type that it does not know, known ones with a field that it does not know, and such in the trash."""
    new = memory_vault(LATER, remote=MemoryRemote(), device="Laptop")
    reference = FileRef("ab" * 32, "no file", 1, "cd" * 32, "ef" * 32)
    made = {
        "hidden": new.attach(new.add("document", body=file.encode(reference)), "../../page:1", b"hidden", field="page"),
        "flagged": new.attach(new.add("login", title="flagged"), "scan.pdf", b"flagged"),
        "trashed": new.attach(new.add("document", body="x"), "page", b"trashed"),
        "trashed too": new.attach(new.add("login", title="x"), "page", b"trashed too"),
    }
    new.delete(made["trashed"].id)
    new.delete(made["trashed too"].id)
    new.sync()
    old = memory_vault(LATER.at(1), joins=new, device="Phone")
    assert [entry.id for entry in old.view().hidden] == [made["hidden"].id]
    report = old.export(tmp_path / "out.json", attachments=tmp_path / "files")
    assert (report.entries, report.files, report.unshown, report.missing) == (4, 4, 4, 1)
    assert "4 files" in str(report)
    assert "1 file;" in str(report)
    rows = {row["id"]: row for row in json.loads((tmp_path / "out.json").read_text())["entries"]}
    for contents, entry in made.items():
        (name,) = rows[entry.id]["files"].values()
        place = (tmp_path / "files" / name).resolve()
        assert place.is_relative_to((tmp_path / "files" / entry.id).resolve())
        assert place.read_bytes() == contents.encode()
        assert place.stat().st_mode & 0o777 == 0o600
    assert new.export(tmp_path / "new.json", attachments=tmp_path / "new").unshown == 0
    old.close()
    new.close()


def test_a_file_that_is_not_shown_and_cannot_be_fetched_now_ends_the_export(tmp_path: Path) -> None:
    remote = MemoryRemote()
    new = memory_vault(LATER, remote=remote, device="Laptop")
    new.attach(new.add("document", body="x"), "page", b"contents")
    new.sync()
    old = memory_vault(LATER.at(1), joins=new, device="Phone")
    remote.present = False
    with pytest.raises(RemoteUnavailable):
        old.export(tmp_path / "out.json", attachments=tmp_path / "files")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_lacks_an_attachment_leaves_nothing_behind(tmp_path: Path) -> None:
    world = World()
    for title in "ab":
        world.first.attach(world.first.add("login", title=title).id, f"{title}.pdf", title.encode())
    world.first.sync()
    phone = memory_vault(world.first.schema, joins=world.first, device="Phone")
    world.remote.delete(sorted(world.names("blob"))[-1])
    with pytest.raises(ObjectMissing, match="has not arrived"):
        phone.export(tmp_path / "out.json", attachments=tmp_path / "files")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"mine")
    with pytest.raises(VaultExists, match="no empty folder"):
        world.first.export(tmp_path / "out.json", attachments=tmp_path / "full")
    assert not (tmp_path / "out.json").exists()

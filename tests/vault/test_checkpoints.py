"""Checkpoints end to end: written when they pay, joined from, caught up from, collected for, put back after a loss."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

import vaultsync as vs
from vaultsync import limits
from vaultsync.errors import DeviceRemoved, RemoteRefused, RemoteUnavailable
from vaultsync.remote.folder import FolderRemote
from vaultsync.sync import names
from vaultsync.testing import MemoryRemote, memory_vault
from vaultsync.testing.seeded import Clock, environment
from vaultsync.testing.vaults import PASSWORD
from vaultsync.vault.replication.checkpoints import forget, known_checkpoints, write_checkpoint
from vaultsync.vault.replication.parcels import pack_own

DAY = 24 * 3600 * 1000
SCHEMA = vs.Schema(
    "t",
    version=1,
    platform="linux",
    types=[vs.EntryType("login", label="Login", fields=[vs.Field("title", vs.text), vs.Field("scan", vs.file)])],
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds at which a test reaches a checkpoint soon."""
    monkeypatch.setattr(limits, "CHECKPOINT_AFTER_ENVELOPES", 10)
    monkeypatch.setattr(limits, "CATCH_UP_ENVELOPES", 6)


class World:
    """Devices that share a clock and a remote."""

    def __init__(self, remote: object | None = None, seed: str = "world") -> None:
        self.remote = remote if remote is not None else MemoryRemote()
        self.clock, self.seed = Clock(), seed
        self.first = self.device("Laptop")

    def device(self, name: str, remote: object | None = None) -> vs.Vault:
        world = environment(f"{self.seed}/{name}", clock=self.clock)
        if not hasattr(self, "first"):
            return memory_vault(SCHEMA, remote=self.remote, environment=world, device=name)
        return memory_vault(SCHEMA, joins=self.first, remote=remote, environment=world, device=name)

    def edits(self, vault: vs.Vault, count: int, text: str = "entry") -> None:
        """So many edits, an envelope each."""
        for number in range(count):
            vault.add("login", title=f"{text} {number}")
            vault.sync()

    def count(self, kind: str) -> int:
        return len([name for name in self.remote.list("") if f"/{kind}/" in name])

    def names(self, kind: str) -> set[str]:
        return {name for name in self.remote.list("") if f"/{kind}/" in name}


def titles(vault: vs.Vault) -> set[str]:
    return {str(entry["title"]) for entry in vault.view().entries}


def known(vault: vs.Vault) -> int:
    return len(known_checkpoints(vault._ledger))


def collected(clean: bool = True) -> World:
    """A vault of 30 envelopes of which the first ones are collected."""
    world = World()
    world.edits(world.first, 30)
    world.clock.advance(2 * DAY)
    report = world.first.sync()
    assert report.complete
    assert world.count("env") < 25
    return world


# ---- writing --------------------------------------------------------------------------------------------------------
def test_a_checkpoint_is_written_when_it_pays_and_not_before():
    world = World()
    world.edits(world.first, 8)
    assert world.count("ckpt") == 0
    world.edits(world.first, 3)
    assert world.count("ckpt") == 1
    for _ in range(5):
        world.first.sync()
    assert world.count("ckpt") == 1
    world.edits(world.first, 10)
    assert world.count("ckpt") == 2


def test_many_bytes_are_worth_a_checkpoint_too(monkeypatch: pytest.MonkeyPatch):
    world = World()
    monkeypatch.setattr(limits, "CHECKPOINT_AFTER_BYTES", 40_000)
    world.first.add("login", title="x" * 20_000)
    world.first.sync()
    assert world.count("ckpt") == 0
    world.first.add("login", title="y" * 20_000)
    world.first.sync()
    assert world.count("ckpt") == 1


def test_a_checkpoint_travels_in_parts_and_names_say_how_many(monkeypatch: pytest.MonkeyPatch):
    world = World()
    monkeypatch.setattr(limits, "CHECKPOINT_PART_BYTES", 1_000)
    world.edits(world.first, 11)
    parts = [names.parse_checkpoint(name) for name in sorted(world.names("ckpt"))]
    assert len(parts) >= 2
    assert all(part is not None and part.parts == len(parts) for part in parts)
    assert [part.part for part in parts if part] == list(range(len(parts)))
    assert titles(world.device("Phone")) == titles(world.first)


# ---- joining and catching up ----------------------------------------------------------------------------------------
def test_a_new_device_takes_the_checkpoint_and_the_tail(monkeypatch: pytest.MonkeyPatch):
    world = World()
    world.edits(world.first, 21)
    monkeypatch.setattr(limits, "CHECKPOINT_AFTER_ENVELOPES", 100)
    fetched: list[str] = []
    counting = Counting(world.remote, fetched)
    phone = world.device("Phone", counting)
    assert titles(phone) == titles(world.first)
    assert len([name for name in fetched if "/env/" in name]) < 10
    assert len([name for name in fetched if "/ckpt/" in name]) == 1
    phone.add("login", title="from the phone")
    phone.sync()
    world.first.sync()
    assert titles(phone) == titles(world.first)


def test_a_device_that_was_away_catches_up_and_keeps_what_it_did_not_send():
    world = World()
    phone = world.device("Phone")
    phone.add("login", title="written on the plane")
    world.edits(world.first, 40)
    steps: list[vs.Progress] = []
    report = phone.sync(progress=steps.append)
    assert report.received < 20
    assert report.entries >= 35
    assert any(step.bytes_to_receive for step in steps)
    assert all(step.bytes_to_receive is None or step.bytes_received <= step.bytes_to_receive for step in steps)
    world.first.sync()
    assert titles(phone) == titles(world.first)
    assert "written on the plane" in titles(world.first)
    assert phone.check().ok


def test_a_second_process_of_the_device_goes_on_with_the_merged_document():
    world = World()
    phone = world.device("Phone")
    other = vs.Vault.open(
        phone.path,
        schema=SCHEMA,
        key=bytes(range(32)),
        environment=environment("other", clock=world.clock),
        opener=lambda url: world.remote,
        background=False,
    )
    other.view()
    world.edits(world.first, 20)
    phone.sync()
    other.add("login", title="from the other process")
    assert titles(other) == titles(phone) == titles(world.first) | {"from the other process"}
    other.close()


def test_a_cut_off_fetch_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "CHECKPOINT_PART_BYTES", 300)
    world = World()
    fetched: list[str] = []
    remote = Counting(world.remote, fetched)
    phone = world.device("Phone", remote)
    world.edits(world.first, 22)
    parts, passes = 0, 0
    while titles(phone) != titles(world.first):
        remote.left = 6  # this many reads, then it is away
        passes += 1
        try:
            phone.sync()
        except RemoteUnavailable:
            assert passes < 40
        parts = len([name for name in fetched if "/ckpt/" in name])
    assert passes > 1
    assert parts == len({name for name in fetched if "/ckpt/" in name}) > 1  # none was fetched twice


class Counting:
    """A remote that notes what is read, and goes away after ``left`` reads."""

    def __init__(self, inner: MemoryRemote, fetched: list[str]) -> None:
        self.inner, self.fetched, self.left = inner, fetched, 1 << 30

    def get(self, name: str) -> bytes:
        if "/env/" in name or "/ckpt/" in name:
            self.left -= 1
            if self.left < 0:
                raise RemoteUnavailable("away")
        data = self.inner.get(name)
        self.fetched.append(name)
        return data

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


# ---- collecting -----------------------------------------------------------------------------------------------------
def test_envelopes_go_when_two_checkpoints_cover_them_and_a_day_has_passed():
    world = World()
    world.edits(world.first, 30)
    assert (world.count("env"), world.count("ckpt")) == (31, 3) or world.count("env") == 30
    before = world.count("env")
    world.clock.advance(DAY // 2)
    world.first.sync()
    assert world.count("env") == before
    world.clock.advance(DAY)
    world.first.sync()
    assert world.count("env") < before - 15
    assert world.count("ckpt") == 2  # the oldest has two newer ones
    assert world.count("roster") == 1
    assert len(list(world.remote.list("account"))) == 1
    with world.first._ledger.store.read() as reading:
        held = reading.names(names.envelopes_prefix(world.first._works.identity.vault_id))
    assert held == world.names("env")  # trimmed here likewise


def test_one_checkpoint_is_not_enough():
    world = World()
    world.edits(world.first, 12)
    world.clock.advance(10 * DAY)
    world.first.sync()
    assert world.count("ckpt") == 1
    assert world.count("env") >= 12


def test_a_device_that_verified_only_one_of_two_collects_nothing(monkeypatch: pytest.MonkeyPatch):
    world = World()
    phone = world.device("Phone")
    world.edits(world.first, 22)
    monkeypatch.setattr("vaultsync.vault.replication.covering.Covering._worth", lambda self, offer: False)
    before = world.count("env")
    phone.sync()
    world.clock.advance(10 * DAY)
    phone.sync()
    assert known(phone) <= 1
    assert world.count("env") >= before


def test_collection_is_no_error_on_a_remote_that_keeps_everything():
    class Keeps(MemoryRemote):
        asked = 0

        def delete(self, name: str) -> None:
            self.asked += 1
            raise RemoteRefused("this storage does not delete")

    world = World(Keeps())
    world.edits(world.first, 30)
    world.clock.advance(2 * DAY)
    before = world.count("env")
    assert world.first.sync().complete
    assert world.first.sync().complete
    assert world.count("env") == before
    assert world.remote.asked == 1
    assert titles(world.device("Phone")) == titles(world.first)


def test_what_another_device_collected_is_let_go_here_too():
    """The phone is always later: no checkpoint that is gone stays with it, or brings back what it ended with."""
    world = World()
    phone = world.device("Phone")
    for _ in range(6):
        world.edits(world.first, 10)
        phone.sync()
        world.clock.advance(2 * DAY)
        world.first.sync()
        phone.sync()
    for vault in (world.first, phone, world.first, phone):
        world.clock.advance(2 * DAY)
        vault.sync()
    assert known(phone) == known(world.first) == world.count("ckpt") == 2
    assert world.count("env") <= 25
    with phone._ledger.store.read() as reading:
        held = reading.names(names.envelopes_prefix(phone._works.identity.vault_id))
        parts = reading.names(names.checkpoints_prefix(phone._works.identity.vault_id))
    assert held <= world.names("env")
    assert parts == world.names("ckpt")


def test_a_device_joins_after_collection():
    world = collected()
    phone = world.device("Phone")
    assert titles(phone) == titles(world.first)
    assert phone.sync().complete
    assert world.first.sync().complete
    assert phone.check().ok


def test_a_device_that_has_everything_does_not_take_collection_for_a_loss():
    world = World()
    phone = world.device("Phone")
    world.edits(world.first, 30)
    phone.sync()
    before = known(phone)
    world.clock.advance(2 * DAY)
    world.first.sync()
    left = world.names("env")
    report = phone.sync()
    assert report.complete
    assert report.sent == 0
    assert world.names("env") == left
    assert known(phone) >= before


def test_what_is_collected_while_it_is_fetched_comes_from_the_checkpoint(monkeypatch: pytest.MonkeyPatch):
    """The listing still showed it; between listing and reading, another device collected."""
    world = World()
    monkeypatch.setattr(limits, "CATCH_UP_ENVELOPES", 1_000)  # so the phone begins with envelopes

    class Racing(Counting):
        reads = -1_000

        def get(self, name: str) -> bytes:
            if "/env/" in name:
                self.reads += 1
                if self.reads == 5:
                    world.first.sync()
            return super().get(name)

    racing = Racing(world.remote, [])
    phone = world.device("Phone", racing)
    world.edits(world.first, 30)
    world.clock.advance(2 * DAY)
    racing.reads = 0
    report = phone.sync()
    assert racing.reads > 5
    assert report.checkpoints == 1
    assert titles(phone) == titles(world.first)
    assert report.complete
    assert phone.sync().complete


def test_a_checkpoint_that_arrives_after_the_deletions_is_waited_for():
    """A program that syncs folders carried the deletions first: nothing is put back, nobody is accused."""
    world = World()
    phone = world.device("Phone")
    world.edits(world.first, 30)
    phone.sync()
    objects = world.remote.objects
    with phone._ledger.write() as transaction:  # the phone knows no checkpoint yet
        for one in known_checkpoints(phone._ledger):
            forget(transaction, one)
    phone._syncing._exchange = None
    world.clock.advance(2 * DAY)
    world.first.sync()
    held = {name: objects.pop(name) for name in sorted(world.names("ckpt"))}
    late = sorted(held)[-1]
    parsed = names.parse_checkpoint(late)
    assert parsed is not None
    objects[late.replace(f"/{parsed.part:04d}-0001-", "/0000-0002-")] = held[late]  # a beginning of one is there
    before = world.names("env")
    assert not phone.sync().findings
    assert world.names("env") == before
    objects.update(held)
    assert phone.sync().complete
    assert world.names("env") == before


# ---- losses ---------------------------------------------------------------------------------------------------------
def test_a_remote_that_lost_everything_is_filled_from_checkpoint_and_tails(tmp_path: Path):
    """The folder is deleted; the next sync heals it; a new device joins."""
    place = tmp_path / "shared"
    world = World(FolderRemote(place, create=True))
    world.edits(world.first, 30)
    world.clock.advance(2 * DAY)
    world.first.sync()
    phone = world.device("Phone")
    world.edits(phone, 3, "phone")
    world.first.sync()
    with phone._ledger.store.read() as reading:
        assert len(reading.names()) < 25
    shutil.rmtree(place)
    FolderRemote(place, create=True)
    phone.sync()
    tablet = world.device("Tablet")
    assert titles(tablet) == titles(phone) == titles(world.first)
    assert tablet.check().ok
    for vault in (phone, world.first, tablet):
        vault.sync()
        assert vault.sync().complete


def test_a_lost_checkpoint_is_put_back_by_whoever_relies_on_it():
    world = collected()
    lost = world.names("ckpt")
    for name in lost:
        world.remote.delete(name)
    world.first.sync()
    assert world.names("ckpt")
    assert world.names("ckpt") <= lost
    assert titles(world.device("Phone")) == titles(world.first)


def test_a_lost_anchor_is_put_back():
    world = collected()
    for name in sorted(world.names("env"))[:-3]:
        world.remote.delete(name)
    world.first.sync()
    assert titles(world.device("Phone")) == titles(world.first)


def test_edits_never_wait_for_a_checkpoint_to_be_verified(monkeypatch: pytest.MonkeyPatch):
    world = World()
    world.edits(world.first, 9)
    from vaultsync.vault.replication import checkpoints

    real, edited = checkpoints.inspect_apart, []

    def slow(*args: object, **options: object) -> object:
        done = threading.Event()

        def edit() -> None:
            world.first.add("login", title="meanwhile")
            done.set()

        threading.Thread(target=edit).start()
        edited.append(done.wait(5))
        return real(*args, **options)

    monkeypatch.setattr(checkpoints, "inspect_apart", slow)
    world.edits(world.first, 1)
    assert edited == [True]
    world.first.sync()
    assert titles(world.device("Phone")) == titles(world.first)


def test_an_application_without_an_interpreter_takes_no_checkpoints_and_goes_on(monkeypatch: pytest.MonkeyPatch):
    world = World()
    monkeypatch.setattr("sys.frozen", True, raising=False)
    world.edits(world.first, 12)
    assert world.count("ckpt") == 0
    assert titles(world.device("Phone")) == titles(world.first)


# ---- removed devices ------------------------------------------------------------------------------------------------
def test_checkpoints_of_a_removed_device_stop_counting_and_another_one_is_written():
    """All checkpoints are the phone's, envelopes are gone on their word, and the phone is removed."""
    world = World()
    phone = world.device("Phone")
    world.edits(phone, 30, "phone")
    world.first.sync()
    world.clock.advance(2 * DAY)
    for _ in range(2):
        phone.sync()
        world.first.sync()
    assert {one.writer for one in known_checkpoints(world.first._ledger)} == {phone._works.identity.chain.id}
    before = world.names("ckpt")
    expected = titles(world.first)
    world.first.revoke(phone.devices[0], password=PASSWORD, code=world.first.recovery_code or "")
    world.first.sync()
    assert world.names("ckpt") - before
    phone.add("login", title="after the removal")
    with pytest.raises(DeviceRemoved):
        phone.sync()
    assert titles(world.device("Tablet")) == expected


def test_a_checkpoint_with_what_a_removed_device_never_got_accepted_is_of_no_use():
    """The removed device goes on in silence, and serves it all as a checkpoint."""
    world = World()
    phone = world.device("Phone")
    world.edits(phone, 5, "phone")
    world.first.sync()
    expected = titles(world.first)
    world.first.revoke(phone.devices[0], password=PASSWORD, code=world.first.recovery_code or "")
    phone.add("login", title="after the removal")
    pack_own(
        phone._ledger,
        phone._works.identity,
        phone._works.identity.epoch_keys(),
        environment("silence", clock=world.clock),
    )
    made = write_checkpoint(phone._ledger, phone._works.identity, environment("more silence", clock=world.clock))
    assert made is not None
    with phone._ledger.store.read() as reading:
        for name in reading.names():
            if "/blob/" not in name:
                stored = reading.envelope(name)
                assert stored is not None
                world.remote.put(name, stored.data)
    for name in sorted(world.names("env"))[:4]:
        world.remote.delete(name)  # so that whoever joins looks for a checkpoint
    world.first.sync()
    assert titles(world.first) == expected
    assert known(world.first) == 0 or made.env_id not in {one.env_id for one in known_checkpoints(world.first._ledger)}
    tablet = world.device("Tablet")
    assert "after the removal" not in titles(tablet)

"""Pushing without looking: what it asks of a remote, what makes it a whole pass, and what it cannot do harm to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.vault.copies import World
from tests.vault.pushes import push
from vaultsync.crypto.envelope import peek
from vaultsync.errors import DeviceRemoved, RemoteUnavailable
from vaultsync.schema.kinds import secret, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import FaultyRemote, MemoryRemote, MemoryVault, memory_vault
from vaultsync.testing.remotes import Faults
from vaultsync.testing.vaults import PASSWORD
from vaultsync.vault.membership.revocations import Revocation
from vaultsync.vault.vault import Vault

SCHEMA = Schema(
    "notes",
    version=1,
    platform="linux",
    types=[EntryType("note", fields=[Field("title", text), Field("password", secret)])],
)


class Counting(MemoryRemote):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def put(self, name: str, data: bytes) -> None:
        self.asked.append(("put", name))
        super().put(name, data)

    def get(self, name: str) -> bytes:
        self.asked.append(("get", name))
        return super().get(name)

    def list(self, prefix: str) -> list[str]:
        self.asked.append(("list", prefix))
        return super().list(prefix)

    def while_doing(self, act: Callable[[], object]) -> list[str]:
        self.asked.clear()
        act()
        return [what for what, _ in self.asked]


class Home:
    def __init__(self) -> None:
        self.remote = Counting()
        self.laptop = memory_vault(SCHEMA, remote=self.remote, device="Laptop")
        self.phone = memory_vault(SCHEMA, joins=self.laptop, device="Phone")
        self.code = self.laptop.recovery_code or ""
        self.vaults: list[MemoryVault] = [self.laptop, self.phone]
        self.entry = self.laptop.add("note", title="GitHub", password="first")
        self.meet()

    def meet(self) -> None:
        for _ in range(2):
            for vault in self.vaults:
                vault.sync()

    def revoke(self, name: str) -> Revocation:
        gone = next(one for one in self.laptop.devices if one.name == name)
        return self.laptop.revoke(gone, password=PASSWORD, code=self.code)

    def edit(self, vault: Vault, password: str) -> None:
        vault.update(self.entry.id, password=password)

    def seen(self, vault: Vault) -> str:
        return str(vault.view()[self.entry.id]["password"])


@pytest.fixture
def home() -> Iterator[Home]:
    made = Home()
    yield made
    for vault in made.vaults:
        vault.close()


def test_an_edit_is_one_put_and_nothing_is_asked(home: Home) -> None:
    for number in range(3):
        home.edit(home.laptop, f"{number}")
        assert home.remote.while_doing(lambda: push(home.laptop)) == ["put"]
        assert home.laptop.status.pending == 0
        home.phone.sync()
        assert home.seen(home.phone) == f"{number}"
    assert home.remote.while_doing(lambda: push(home.laptop)) == [], "nothing was edited"
    home.edit(home.phone, "back")
    assert push(home.phone)
    home.laptop.sync()
    assert home.seen(home.laptop) == "back"
    assert not home.laptop.sync().findings, "what was only pushed is as expected there"


def test_an_attachment_goes_before_what_refers_to_it() -> None:
    world = World("push with an attachment", MemoryRemote())
    try:
        laptop, phone = world.found(), world.join("phone")
        entry = laptop.vault.add("thing", title="with a file")
        laptop.vault.sync()
        laptop.vault.attach(entry.id, "scan.pdf", b"scanned " * 500, field="scan")
        assert push(laptop.vault)
        phone.vault.sync()
        assert phone.vault.read_attachment(entry.id, "scan") == b"scanned " * 500
    finally:
        world.close()


def test_what_speaks_for_a_whole_pass(home: Home) -> None:
    """A first pass; one after a failure; another process of this device; an entry of the list of devices on its way."""
    laptop = home.laptop
    laptop._works.syncing.links[0].forget()
    home.edit(laptop, "after forgetting")
    assert not push(laptop)
    home.edit(laptop, "then")
    assert push(laptop)

    with laptop._ledger.store.write() as writing:  # what others commit is counted, whatever it is
        writing.set_state("elsewhere", b"sealed")
    laptop._ledger.news += 1
    home.edit(laptop, "beside another process")
    assert not push(laptop)
    assert push(laptop)

    home.edit(home.phone, "named by a frontier")
    home.phone.sync()
    laptop.sync()
    tablet = memory_vault(SCHEMA, joins=home.phone, device="Tablet")
    home.vaults.append(tablet)
    home.edit(laptop, "does not know the tablet")
    assert push(laptop), "nothing told it of the tablet"
    laptop.sync()
    home.revoke("Tablet")
    home.edit(laptop, "after a removal from here")
    assert not push(laptop), "the list of devices goes first"
    assert push(laptop)


def test_a_remote_that_fails_half_way_is_gone_through_anew(home: Home) -> None:
    faulty = FaultyRemote(home.remote, 1, Faults(lost_ack=1.0))
    exchange = home.laptop._works.syncing.links[0].exchange()
    exchange.remote = faulty
    home.edit(home.laptop, "lost")
    with pytest.raises(RemoteUnavailable):
        push(home.laptop)
    exchange.remote = home.remote
    assert not push(home.laptop), "what was put is not known"
    assert home.laptop.status.pending == 0
    home.phone.sync()
    assert home.seen(home.phone) == "lost"


# ---- what a look before would have told ------------------------------------------------------------------------
def test_a_removal_that_is_not_heard_of_is_heard_of_next_and_what_went_out_meanwhile_is_to_be_changed(
    home: Home,
) -> None:
    """The remover is told that the removed device may have read it; from the next whole pass on it cannot."""
    tablet = memory_vault(SCHEMA, joins=home.laptop, device="Tablet")
    home.vaults.append(tablet)
    home.meet()
    before = tablet._works.identity.roster.epoch
    removal = home.revoke("Phone")
    home.edit(home.laptop, "nothing that the phone knew is left")
    assert removal.exposed == ()
    between = tablet.add("note", title="Bank", password="written in the moment between")
    assert push(tablet)
    (name,) = [name for what, name in home.remote.asked[-1:] if what == "put"]
    assert peek(home.remote.objects[name])[0].epoch_id == before
    home.laptop.sync()
    assert home.laptop.view()[between.id]["password"] == "written in the moment between", "who stays loses nothing"
    (now,) = home.laptop.revocations
    assert [one.entry.id for one in now.exposed] == [between.id]
    tablet.sync()
    home.edit(tablet, "after hearing of it")
    assert push(tablet)
    (name,) = [name for what, name in home.remote.asked[-1:] if what == "put"]
    assert peek(home.remote.objects[name])[0].epoch_id == tablet._works.identity.roster.epoch != before


def test_a_removed_device_that_pushes_is_not_listened_to_and_hears_of_it_next(home: Home) -> None:
    home.revoke("Phone")
    home.edit(home.phone, "too late")
    assert push(home.phone)
    home.laptop.sync()
    assert home.seen(home.laptop) == "first"
    with pytest.raises(DeviceRemoved):
        home.phone.sync()
    home.edit(home.phone, "and later")
    with pytest.raises(DeviceRemoved):
        push(home.phone)


def test_copies_that_push_beside_each_other_are_a_fork_and_nothing_is_lost() -> None:
    world = World("copies push", MemoryRemote())
    try:
        laptop, phone = world.found(), world.join("phone")
        entry = laptop.vault.add("thing", title="GitHub")
        world.sync_all()
        copy = laptop.copy("copy")
        copy.disguise()
        for one in (laptop, copy):
            one.vault.sync()
        laptop.vault.update(entry.id, password="original")
        copy.vault.update(entry.id, count=7)
        assert push(laptop.vault)
        assert push(copy.vault), "nothing told it of the other"
        world.sync_all()
        world.check_equal("both pushed")
        shown = phone.vault.view()[entry.id]
        assert (shown["password"], shown["count"]) == ("original", 7)
    finally:
        world.close()


def test_who_hears_that_its_chain_goes_on_elsewhere_looks_before_it_sends() -> None:
    """A frontier names more of the own chain than is here: what lies there is received first, and no fork begins."""
    world = World("pushes after a backup", MemoryRemote())
    try:
        laptop, phone = world.found(), world.join("phone")
        world.sync_all()
        files = laptop.backup()
        lost = laptop.vault.add("thing", title="after the backup")
        world.sync_all()
        phone.vault.add("thing", title="built on it")
        phone.vault.sync()
        before = {name for name in world.remote.list("") if f"/{laptop.chain.hex()}/" in name}
        laptop.restore(files, mark=False)
        laptop.remote.withhold(lambda name: name in before)
        laptop.vault.sync()
        laptop.vault.add("thing", title="after it was put back")
        laptop.remote.confess()
        assert not push(laptop.vault)
        world.sync_all()
        world.check_equal("put back")
        assert {"after the backup", "built on it", "after it was put back"} <= {
            str(entry["title"]) for entry in phone.vault.view()
        }
        assert lost.id in {entry.id for entry in laptop.vault.view()}
    finally:
        world.close()

"""A vault moves to another remote: everything first, then a word that the other devices follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import vaultsync as vs
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.errors import RemoteRefused, RemoteUnavailable
from vaultsync.remote import FolderRemote
from vaultsync.sync import names
from vaultsync.testing import environment
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.replication import moving

SCHEMA = vs.Schema(
    "notes",
    version=1,
    platform="linux",
    types=[vs.EntryType("note", fields=[vs.Field("title", vs.text), vs.Field("scan", vs.file)])],
)


class World:
    """Devices that sync when told to, through folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.vaults: list[vs.Vault] = []

    def url(self, name: str) -> str:
        return (self.path / name).as_uri()

    def names(self, name: str) -> list[str]:
        return FolderRemote(self.path / name).list("")

    def create(self, name: str) -> vs.Vault:
        vault = vs.Vault.create(
            self.path / "laptop.vault", schema=SCHEMA, password=PASSWORD, key=KEY, device="Laptop",
            environment=environment("laptop"),
        )  # fmt: skip
        vault.auto_sync = False
        vault.connect(self.url(name))
        vault.sync()
        self.vaults.append(vault)
        return vault

    def join(self, device: str, name: str) -> vs.Vault:
        vault = vs.Vault.join(
            self.path / f"{device}.vault", self.url(name), schema=SCHEMA, password=PASSWORD,
            code=self.vaults[0].recovery_code, key=KEY, device=device, environment=environment(device),
            background=False,
        )  # fmt: skip
        self.vaults.append(vault)
        return vault

    def reopen(self, device: str) -> vs.Vault:
        path = self.path / f"{device}.vault"
        vault = vs.Vault.open(path, schema=SCHEMA, key=KEY, environment=environment(f"{device} 2"), background=False)
        self.vaults.append(vault)
        return vault


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for vault in made.vaults:
        vault.close()


def titles(vault: vs.Vault) -> set[str]:
    return {str(entry["title"]) for entry in vault.view()}


def moved(listed: list[str]) -> list[str]:
    return [name for name in listed if names.parse_moved(name)]


def test_everything_moves_and_the_others_follow(world: World) -> None:
    laptop = world.create("old")
    phone, tablet = world.join("phone", "old"), world.join("tablet", "old")
    entry = phone.attach(phone.add("note", title="by the phone"), "a.bin", b"never opened on the laptop")
    phone.sync()
    laptop.add("note", title="not sent yet")
    laptop.connect(world.url("new"))
    assert laptop.status.remote == world.url("new")
    old, new = world.names("old"), world.names("new")
    assert len(moved(old)) == 1
    assert {name for name in old if not names.parse_moved(name)} <= set(new), "all that was there, attachments too"
    phone.sync()
    assert phone.status.remote == world.url("new")
    assert titles(phone) == titles(laptop) == {"by the phone", "not sent yet"}
    (world.path / "old").rename(world.path / "gone")  # nobody needs it any more, but who was away
    phone.add("note", title="at the new place")
    phone.sync()
    laptop.sync()
    assert "at the new place" in titles(laptop)
    newcomer = world.join("newcomer", "new")
    assert newcomer.read_attachment(entry.id) == b"never opened on the laptop"
    assert titles(newcomer) == titles(laptop)
    (world.path / "gone").rename(world.path / "old")
    tablet.add("note", title="by the one that was away")
    tablet.sync()
    laptop.sync()
    assert titles(tablet) == titles(laptop)
    assert "by the one that was away" in titles(laptop)
    assert not [vault.status.findings for vault in world.vaults if vault.status.findings]


def test_followed_in_the_background_by_devices_that_are_open(world: World) -> None:
    import time

    laptop = world.create("old")
    phone = vs.Vault.join(
        world.path / "phone.vault", world.url("old"), schema=SCHEMA, password=PASSWORD, code=laptop.recovery_code,
        key=KEY, device="phone", environment=environment("phone"),
    )  # fmt: skip
    world.vaults.append(phone)
    laptop.auto_sync = True
    laptop.connect(world.url("new"))
    laptop.add("note", title="there")
    end = time.monotonic() + 20
    while "there" not in titles(phone):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert phone.status.remote == world.url("new")


def test_a_device_that_cannot_follow_says_where_the_vault_went(world: World) -> None:
    laptop = world.create("old")
    phone = world.join("phone", "old")
    laptop.connect(world.url("new"))
    (world.path / "new").rename(world.path / "mounted-elsewhere")
    phone.sync()
    status = phone.status
    assert (status.state, status.moved_to) == (vs.State.MOVED, world.url("new"))
    assert status.remote == world.url("old")
    assert world.url("new") in status.message
    assert "is not there" in status.message
    phone.connect(world.url("mounted-elsewhere"))  # the same place by this machine's address
    phone.sync()
    assert phone.status.state is not vs.State.MOVED
    (world.path / "mounted-elsewhere").rename(world.path / "new")
    assert not moved(world.names("new")), "which is no move"
    laptop.sync()
    assert laptop.status.remote == world.url("new")


def test_another_address_of_the_same_place_is_no_move(world: World) -> None:
    laptop = world.create("old")
    phone = world.join("phone", "old")
    (world.path / "link").symlink_to(world.path / "old")
    laptop.connect(world.url("link"))
    laptop.add("note", title="still here")
    laptop.sync()
    phone.sync()
    assert phone.status.remote == world.url("old")
    assert titles(phone) == {"still here"}
    assert not moved(world.names("old"))


def test_there_and_back_again(world: World) -> None:
    laptop = world.create("one")
    phone = world.join("phone", "one")
    laptop.connect(world.url("two"))
    laptop.connect(world.url("one"))
    laptop.add("note", title="back")
    laptop.sync()
    for _ in range(3):
        phone.sync()
    assert phone.status.remote == world.url("one"), "the old notice lies there still, and says nothing any more"
    assert titles(phone) == {"back"}


def test_two_devices_that_move_at_once_meet(world: World) -> None:
    for number in range(4):  # whose notice is larger is chance
        here = World(world.path / str(number))
        here.path.mkdir()
        laptop = here.create("old")
        phone = here.join("phone", "old")
        phone.connect(here.url("by phone"))
        with laptop._ledger.write() as transaction:  # as if neither had seen the other's: the same number
            transaction.set_state(moving.MOVED, None)
        laptop.connect(here.url("by laptop"))
        for _ in range(2):
            for vault in (laptop, phone):
                vault.add("note", title=f"{len(titles(vault))} {vault is laptop}")
                vault.sync()
        laptop.sync()
        phone.sync()
        assert laptop.status.remote == phone.status.remote
        assert titles(laptop) == titles(phone)
        for vault in here.vaults:
            vault.close()


def test_an_old_place_that_is_away_gets_its_notice_later(world: World) -> None:
    laptop = world.create("old")
    phone = world.join("phone", "old")
    (world.path / "old").rename(world.path / "away")
    laptop.connect(world.url("new"))
    (world.path / "away").rename(world.path / "old")
    assert not moved(world.names("old"))
    laptop.close()
    laptop = world.reopen("laptop")
    laptop.sync()
    assert len(moved(world.names("old"))) == 1
    phone.sync()
    assert phone.status.remote == world.url("new")


def test_who_is_no_device_of_the_vault_moves_nobody(world: World) -> None:
    """Even with the key that notices are sealed under, and the number that would count."""
    laptop = world.create("old")
    phone = world.join("phone", "old")
    member = laptop._works.identity
    thief = replace(member, keys=DeviceKeys.generate(environment("thief").entropy))
    notice = moving.announce(laptop._ledger, thief, environment("t"), world.url("trap"))
    old, trap = FolderRemote(world.path / "old"), FolderRemote(world.path / "trap", create=True)
    old.put(*moving._sealed(member, notice))
    for name in world.names("old"):
        trap.put(name, old.get(name))
    for vault in (laptop, phone, phone):
        vault.sync()
    assert {vault.status.remote for vault in (laptop, phone)} == {world.url("old")}
    assert laptop.status.moved_to is None
    own = moving.announce(laptop._ledger, member, environment("t"), world.url("trap"))
    old.put(*moving._sealed(member, own))
    phone.sync()
    assert phone.status.remote == world.url("trap"), "the same by a member is followed"


class Failing(FolderRemote):
    """Fails for good from one call on."""

    left = 10**9

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise RemoteUnavailable("cut")

    def put(self, name: str, data: bytes) -> None:
        self._step()
        super().put(name, data)

    def get(self, name: str) -> bytes:
        self._step()
        return super().get(name)

    def list(self, prefix: str) -> list[str]:
        self._step()
        return super().list(prefix)


def test_a_move_that_is_cut_anywhere_changes_nothing_and_is_finished_later(world: World) -> None:
    laptop = world.create("old")
    laptop.attach(laptop.add("note", title="x"), "a.bin", b"contents")
    laptop.sync()
    for calls in range(40):
        remote = Failing(world.path / f"new{calls}", create=True)
        remote.left = calls
        try:
            laptop.connect(world.url(f"new{calls}"), remote=remote)
        except RemoteUnavailable:
            assert laptop.status.remote == world.url("old")
            assert not moved(world.names("old")), f"cut after {calls} calls"
            laptop.sync()
        else:
            break
    assert calls > 5
    print(f"a move takes {calls} calls of the new remote")
    assert laptop.status.remote == world.url(f"new{calls}")
    with pytest.raises(RemoteRefused):
        laptop.connect((world.path / "laptop.vault").as_uri())


def test_what_checkpoints_cover_moves_and_reaches_mirrors_too(world: World) -> None:
    """Where envelopes were collected, only the checkpoints hold what they said."""
    laptop = world.create("old")
    phone = world.join("phone", "old")
    for number in range(6):
        for vault in (laptop, phone):
            vault.add("note", title=f"{number} {vault is laptop}")
            vault.sync()
        laptop.checkpoint()
    laptop.connect(world.url("mirror"), mirror=True)
    laptop.sync()
    newcomer = world.join("newcomer", "mirror")
    assert titles(newcomer) == titles(laptop)
    laptop.connect(world.url("new"))
    late = world.join("late", "new")
    phone.sync()
    assert phone.status.remote == world.url("new")
    for vault in (late, phone, newcomer, laptop):
        vault.add("note", title=f"afterwards {len(titles(vault))}")
        vault.sync()
    for vault in (late, phone, laptop, newcomer, laptop, late, phone):
        vault.sync()
    assert titles(laptop) == titles(phone) == titles(late) == titles(newcomer)
    held = [names.parse_envelope(name) for name in world.names("new")]
    print(
        len([one for one in held if one]), "envelopes,", len([n for n in world.names("new") if "/ckpt/" in n]), "parts"
    )
    assert not [str(finding) for vault in world.vaults for finding in vault.status.findings]

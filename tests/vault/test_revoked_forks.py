"""A removed device and the branches of its chain: it may write rivals of what it wrote at any later time, below its end
too. Nothing of that becomes visible; what an honest device had applied of a branch when it heard stays, everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vault.copies import Installed, World
from vaultsync.testing import MemoryRemote
from vaultsync.testing.vaults import PASSWORD


class Home(World):
    """Laptop, tablet and a phone of which there is a copy; the copy's envelopes fork the phone's chain."""

    def __init__(self, seed: str) -> None:
        super().__init__(seed, MemoryRemote())
        self.laptop, self.phone, self.tablet = self.found(), self.join("phone"), self.join("tablet")
        self.phone.vault.add("thing", title="common")
        self.phone.vault.sync()
        self.sync_all()
        self.copy = self.phone.copy("copy")
        self.copy.disguise()
        self.seen = self.laptop.remote.remember()

    def remove_phone(self) -> None:
        phone = next(device for device in self.laptop.vault.devices if device.name == "phone")
        self.laptop.vault.revoke(phone, password=PASSWORD, code=self.code)

    def write(self, one: Installed, *titles: str, blind: bool = False) -> None:
        """An envelope for each; ``blind``: who writes is shown nothing that came after the copy was made."""
        if blind:
            one.remote.roll_back(self.seen)
        for title in titles:
            one.vault.add("thing", title=title)
            one.vault.sync()

    def envelopes(self, one: Installed) -> list[str]:
        return sorted(name for name in self.remote.list("") if f"/env/{one.chain.hex()}/" in name)


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    made = Home(request.node.name)
    yield made
    made.close()


def titles(one: Installed) -> set[str]:
    return {str(entry["title"]) for entry in one.vault.view()}


@pytest.mark.parametrize("length", [1, 2, 5])
def test_p15_rivals_that_a_removed_device_writes_below_and_past_its_end_stay_unseen(home: Home, length: int) -> None:
    home.write(home.phone, "honest 1", "honest 2")
    home.sync_all()
    home.remove_phone()
    home.tablet.vault.sync()
    home.write(home.copy, *(f"stolen {number}" for number in range(length)), blind=True)
    newcomer = home.join("newcomer")
    for _ in range(3):
        for one in (home.laptop, home.tablet, newcomer):
            one.vault.sync()
    for one in (home.laptop, home.tablet, newcomer):
        assert titles(one) == {"common", "honest 1", "honest 2"}
        one.close()
        one.open()
        one.vault.sync()
        assert titles(one) == {"common", "honest 1", "honest 2"}
    home.write(home.laptop, "goes on")
    home.tablet.vault.sync()
    newcomer.vault.sync()
    assert "goes on" in titles(home.tablet) & titles(newcomer)
    assert len({one.vault._ledger.engine.heads for one in (home.laptop, home.tablet, newcomer)}) == 1


@pytest.mark.parametrize("follows", ["phone", "copy"])
@pytest.mark.parametrize("longer", ["phone", "copy"])
@pytest.mark.parametrize("builds", [True, False])
def test_p17_a_branch_that_an_honest_device_had_is_everywhere(
    home: Home, follows: str, longer: str, builds: bool
) -> None:
    """The tablet applied both before it heard, and follows one of them; the laptop, which removes, has seen one."""
    home.write(home.phone, "by the phone 1", *(["by the phone 2"] if longer == "phone" else []))
    home.laptop.vault.sync()
    if follows == "phone":
        home.tablet.vault.sync()
    phones = set(home.envelopes(home.phone))
    home.write(home.copy, "by the copy 1", *(["by the copy 2"] if longer == "copy" else []), blind=True)
    copies = set(home.envelopes(home.phone)) - phones
    home.laptop.remote.withhold(lambda name: name in copies)
    home.tablet.remote.withhold(lambda name: name in (phones - set(home.seen) if follows == "copy" else ()))
    home.tablet.vault.sync()
    home.tablet.remote.confess()
    home.tablet.vault.sync()
    every = {"common", "by the phone 1", "by the copy 1", f"by the {longer} 2"}
    assert titles(home.tablet) == every
    home.remove_phone()
    if builds:
        home.tablet.remote.withhold(lambda name: "/roster/" in name and name not in home.seen)
        home.write(home.tablet, "by the tablet")
        home.tablet.remote.confess()
        every.add("by the tablet")
    home.tablet.vault.sync()
    home.laptop.remote.confess()
    newcomer = home.join("newcomer")
    for _ in range(4):
        for one in (home.laptop, home.tablet, newcomer):
            one.vault.sync()
    for one in (home.laptop, home.tablet, newcomer):
        assert titles(one) == every
    assert len({one.vault._ledger.engine.heads for one in (home.laptop, home.tablet, newcomer)}) == 1


@pytest.mark.parametrize("length", [1, 3])
def test_p17_what_somebody_built_on_who_never_came_back_is_there(home: Home, length: int) -> None:
    """The tablet applied both branches, wrote, and was lost before it heard: its edits need what nobody named."""
    home.write(home.phone, "by the phone")
    home.laptop.vault.sync()
    home.tablet.vault.sync()
    phones = set(home.envelopes(home.phone))
    copied = [f"by the copy {number}" for number in range(length)]
    home.write(home.copy, *copied, blind=True)
    copies = set(home.envelopes(home.phone)) - phones
    home.laptop.remote.withhold(lambda name: name in copies)
    home.tablet.vault.sync()
    home.remove_phone()
    home.laptop.remote.confess()
    home.laptop.vault.sync()
    assert not titles(home.laptop).intersection(copied)
    home.write(home.copy, "stolen", blind=True)
    home.tablet.remote.withhold(lambda name: "/roster/" in name and name not in home.seen)
    home.write(home.tablet, "by the tablet")
    newcomer = home.join("newcomer")
    for _ in range(4):
        for one in (home.laptop, newcomer):
            one.vault.sync()
    for one in (home.laptop, newcomer):
        assert titles(one) == {"common", "by the phone", *copied, "by the tablet"}

"""A removed device and the branches of its chain: it may write rivals of what it wrote at any later time, below its end
too. Nothing of that becomes visible; what an honest device had applied of a branch when it heard stays, everywhere."""

from __future__ import annotations

import os
import random
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
    home.laptop.vault.sync()
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


HISTORIES = int(os.environ.get("VAULTSYNC_HISTORIES", "5"))
FIRST = int(os.environ.get("VAULTSYNC_SEED", "1"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
def test_random_histories_of_a_forked_chain_that_ends(seed: int) -> None:
    """Two files of the phone write and see each other or not, before and after the removal; laptop and tablet see what
    they are shown. What is there at the end is what one of them had when it heard, and what members wrote."""
    rng = random.Random(seed)
    home = Home(f"revoked {seed}")
    try:
        there: set[str] = set()
        number, removed = 0, False
        members = [home.laptop, home.tablet]

        def see(one: Installed, share: float) -> None:
            one.remote.confess()
            draw = rng.random()
            one.remote.withhold(
                lambda name: "/env/" in name and random.Random(f"{draw} {name.split('-')[0]}").random() > share
            )

        heard: set[Installed] = set()
        for _ in range(rng.randint(6, 16)):
            one = rng.choice([home.phone, home.copy, home.phone, home.copy, *members])
            if one in members:
                late = removed and one not in heard and rng.random() < 0.6
                see(one, rng.choice([0.5, 1.0, 1.0]))
                if late:
                    one.remote.withhold(lambda name: "/roster/" in name and name not in home.seen)
                elif removed and one not in heard:
                    there |= titles(one)  # in the next sync hearing comes before anything else
                    heard.add(one)
                if rng.random() < 0.4:
                    number += 1
                    one.vault.add("thing", title=f"member {number}")
                    there.add(f"member {number}")
                one.vault.sync()
            else:
                see(one, rng.choice([0.0, 0.6, 1.0]))
                one.remote.withhold(lambda name: "/roster/" in name and name not in home.seen)
                number += 1
                one.vault.add("thing", title=f"phone {number}")
                one.vault.sync()
            if not removed and rng.random() < 0.2:
                removed = True
                home.laptop.remote.confess()
                there |= titles(home.laptop)
                heard.add(home.laptop)
                home.remove_phone()
        if not removed:
            return
        for one in members:
            one.remote.confess()
            if one not in heard:
                there |= titles(one)
        members.append(home.join("newcomer"))
        for _ in range(5):
            for one in members:
                one.vault.sync()
        for one in members:
            assert titles(one) == there, f"seed {seed}: {one.name}"
        assert len({one.vault._ledger.engine.heads for one in members}) == 1, f"seed {seed}"
    finally:
        home.close()

"""A remote that withholds, rolls back, or shows two devices two things: noticed, said so that a person understands it,
healed, and forgotten by the status, though not by the log, when it is over.

    VAULTSYNC_CUTS=200 pytest tests/vault/test_lying_remotes.py -s      every cut of histories of 200 envelopes
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.vault.copies import Installed, World
from vaultsync.sync import FindingKind, WaitsFor
from vaultsync.testing import MemoryRemote

CUTS = int(os.environ.get("VAULTSYNC_CUTS", "12"))
STEP = int(os.environ.get("VAULTSYNC_STEP", "1" if CUTS > 12 else "4"))


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.node.name, MemoryRemote())
    yield made
    made.close()


def kinds(one: Installed) -> list[FindingKind]:
    return [finding.kind for finding in one.vault.status.findings]


def envelopes(one: Installed, chain: bytes) -> list[str]:
    """Names of a chain's envelopes, in order."""
    return sorted(name for name in one.remote.inner.list("") if f"/env/{chain.hex()}/" in name)


def write(one: Installed, count: int) -> None:
    """So many envelopes."""
    for number in range(count):
        one.vault.add("thing", title=f"{one.name} {number}")
        one.vault.sync()


def test_every_withheld_tail_is_noticed_as_soon_as_a_frontier_shows_it(world: World) -> None:
    """The phone is not shown the end of the laptop's chain; the tablet has seen it, and says so without meaning to."""
    laptop, phone, tablet = world.found(), world.join("phone"), world.join("tablet")
    laptop.vault.sync()
    noticed = 0
    for cut in range(0, CUTS, STEP):
        phone.vault.sync()
        before = len(envelopes(laptop, laptop.chain))
        write(laptop, 1 + cut % 5)
        hidden = phone.remote.withhold(lambda name: name in envelopes(laptop, laptop.chain)[before:])  # noqa: B023
        assert hidden == 1 + cut % 5
        phone.vault.sync()
        assert kinds(phone) == []  # a tail that nobody available has seen
        tablet.vault.sync()
        tablet.vault.add("thing", title=f"tablet {cut}")
        tablet.vault.sync()
        phone.vault.sync()
        assert phone.vault.status.waiting, "at first it is only late"
        for _ in range(2):
            phone.close()  # what is known of it survives
            phone.open()
            phone.vault.sync()
        (finding,) = phone.vault.status.findings
        assert (finding.kind, finding.chain, finding.seq) == (FindingKind.WITHHELD, laptop.chain, before + 1)
        assert str(finding) == (f"Laptop's edit {before + 1} was seen by tablet, and the remote does not give it out.")
        noticed += 1
        phone.remote.confess()
        phone.vault.sync()
        phone.vault.sync()
        assert kinds(phone) == []
        assert phone.vault.findings[-1].ended_ms is not None
        world.sync_all(2)
        world.check_equal(f"cut {cut}")
    assert len(phone.vault.findings) == noticed
    print(f"{noticed} withheld tails, all noticed, all healed")


def test_every_gap_in_the_middle_is_waited_for_and_no_finding(world: World) -> None:
    laptop, phone = world.found(), world.join("phone")
    first = len(envelopes(laptop, laptop.chain))
    write(laptop, CUTS)
    listed = envelopes(laptop, laptop.chain)
    for cut in range(first, first + CUTS - 2, 3):
        later = set(listed[cut + 3 :])
        phone.remote.hidden = {listed[cut]} | later
        phone.vault.sync()
        (waiting,) = phone.vault.status.waiting
        assert (waiting.reason, waiting.seq) == (WaitsFor.ENVELOPE, cut + 1)
        assert kinds(phone) == []
        phone.remote.hidden = later
        phone.vault.sync()
        assert phone.vault.status.waiting == ()
    phone.remote.confess()
    phone.vault.sync()
    world.check_equal("at the end")


def test_every_rolled_back_remote_is_noticed_and_healed(world: World) -> None:
    laptop, phone = world.found(), world.join("phone")
    laptop.vault.sync()
    states = [laptop.remote.remember()]
    for _ in range(CUTS):
        write(laptop, 1)
        phone.vault.sync()
        states.append(laptop.remote.remember())
    noticed = 0
    for cut in range(0, CUTS, STEP):
        gone = phone.remote.roll_back(states[cut])
        assert gone
        report = phone.vault.sync()
        (finding,) = report.findings
        assert finding.kind is FindingKind.ROLLED_BACK
        first = sorted(states[-1] - states[cut])[0]
        assert str(finding).startswith(f"Laptop's edit {int(first[-45:-33])} ")
        assert not phone.remote.hidden, "what it lost is put back"
        noticed += 1
        phone.vault.sync()
        assert kinds(phone) == []
    assert [finding.kind for finding in phone.vault.findings] == [FindingKind.ROLLED_BACK] * noticed
    world.check_equal("healed")
    print(f"{noticed} rolled-back remotes, all noticed, all healed")


def test_a_stubborn_remote_stays_found(world: World) -> None:
    laptop, phone = world.found(), world.join("phone")
    before = laptop.remote.remember()
    write(laptop, 3)
    phone.vault.sync()
    phone.remote.stubborn = True
    phone.remote.roll_back(before)
    for _ in range(4):
        phone.vault.sync()
        assert kinds(phone) == [FindingKind.ROLLED_BACK]
    assert len(phone.vault.findings) == 1
    phone.close()
    phone.open()
    assert kinds(phone) == [FindingKind.ROLLED_BACK], "it is remembered"
    phone.remote.confess()
    phone.vault.sync()
    phone.vault.sync()
    assert kinds(phone) == []


def test_the_list_of_devices_and_the_account_rolled_back(world: World) -> None:
    laptop, phone = world.found(), world.join("phone")
    before = phone.remote.remember()
    tablet = world.join("tablet")
    phone.vault.sync()
    phone.remote.withhold(lambda name: "/roster/" in name and name not in before)
    phone.remote.withhold(lambda name: name.startswith("account/"))
    report = phone.vault.sync()
    assert {finding.kind for finding in report.findings} >= {
        FindingKind.DEVICES_ROLLED_BACK,
        FindingKind.ACCOUNT_ROLLED_BACK,
    }
    assert str(report.findings[0]) == (
        "The remote no longer holds a part of the list of devices that it held before; it is put back from here."
    )
    assert not {name for name in phone.remote.hidden if "/roster/" in name or name.startswith("account/")}
    phone.vault.sync()
    assert kinds(phone) == []
    assert tablet.vault.view().entries == laptop.vault.view().entries


def test_two_faces_that_meet_again(world: World) -> None:
    """Each is shown its own envelopes only; nobody can tell, from inside. Then they meet, and everything is there."""
    laptop, phone = world.found(), world.join("phone")
    world.sync_all(2)
    for number in range(0, CUTS, STEP):
        for one, other in ((laptop, phone), (phone, laptop)):
            write(one, 2)
            new = set(envelopes(one, one.chain)[-2:])
            other.remote.withhold(new.__contains__)
        for one in (laptop, phone):
            one.vault.sync()
            assert FindingKind.EQUIVOCATION not in kinds(one)
        for one in (laptop, phone):
            one.remote.confess()
        world.sync_all(3)
        world.check_equal(f"meeting {number}")
        assert kinds(laptop) == kinds(phone) == []


@pytest.mark.parametrize("place", range(0, min(CUTS, 60), max(STEP, 3)))
def test_equivocation_at_every_place(place: int) -> None:
    """A copy that nothing tells from its original goes on from any place of a history: noticed, and both kept."""
    world = World(f"equivocation {place}", MemoryRemote())
    try:
        laptop, phone = world.found(), world.join("phone")
        write(laptop, place)
        copy = laptop.copy("copy")
        copy.disguise()
        laptop.vault.add("thing", title="by the original")
        copy.vault.add("thing", title="by the copy")
        ours = laptop.remote.remember()
        copy.vault.sync()
        laptop.remote.roll_back(ours)  # it packs and sends before it sees what the copy sent
        laptop.vault.sync()
        laptop.remote.confess()
        report = phone.vault.sync()
        found = [finding for finding in report.findings if finding.kind is FindingKind.EQUIVOCATION]
        assert len(found) == 1
        assert found[0].chain in laptop.vault._works.identity.own_chains
        assert "is there twice, and different" in str(found[0])
        world.sync_all(3)
        world.check_equal(f"place {place}")
        titles = {entry["title"] for entry in phone.vault.view().entries}
        assert {"by the original", "by the copy"} <= titles
        assert kinds(phone) == [], "both branches are here: it is over"
        assert FindingKind.EQUIVOCATION in [finding.kind for finding in phone.vault.findings]
    finally:
        world.close()


def test_devices_say_when_they_were_last_heard_from(world: World) -> None:
    laptop, phone = world.found(), world.join("phone")
    phone.vault.add("thing", title="hello")
    phone.vault.sync()
    laptop.vault.sync()
    world.clock.advance(3 * 86_400_000)
    (heard,) = [device for device in laptop.vault.status.devices if device.name == "phone"]
    assert heard.sentence(laptop.vault.status.taken_ms) == "Last heard from phone 3 days ago"

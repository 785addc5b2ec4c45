"""Copied vault files, restored backups, and forks of a chain: nothing lost, everybody equal, few incarnations.

VAULTSYNC_CLONES=300 pytest tests/vault/test_clones.py -k histories -s      a long run
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.vault.copies import Installed, World
from tests.vault.forks import ForkedWorld, forked, play
from vaultsync.schema.kind import add
from vaultsync.testing import MemoryRemote

HISTORIES = int(os.environ.get("VAULTSYNC_CLONES", "6"))
ALL_POINTS = bool(os.environ.get("VAULTSYNC_BACKUPS"))
DUE = datetime(2026, 1, 1, tzinfo=UTC)
SEED = int(os.environ.get("VAULTSYNC_SEED", "1"))


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.node.name, MemoryRemote())
    yield made
    made.close()


def chains(one: Installed) -> int:
    """How many incarnations this device ever had, by the list of devices."""
    identity = one.vault._works.identity
    return len(identity.roster.members[identity.keys.public.id].chains)


# ---- evidence --------------------------------------------------------------------------------------------------------
def test_a_copy_elsewhere_begins_another_incarnation_with_its_first_edit(world: World) -> None:
    laptop = world.found()
    entry = laptop.vault.add("thing", title="GitHub")
    laptop.vault.sync()
    copy = laptop.copy("copy", machine="elsewhere")
    assert copy.chain == laptop.chain  # looking changes nothing
    copy.vault.update(entry.id, password="from the copy")
    laptop.vault.update(entry.id, count=7)
    assert copy.chain != laptop.chain
    world.sync_all()
    world.check_equal("a copy on another machine")
    shown = laptop.vault.view()[entry.id]
    assert (shown["password"], shown["count"]) == ("from the copy", 7)
    assert laptop.vault.status.findings == ()
    assert chains(laptop) == 2


def test_what_a_copy_took_along_unsent_is_sent_by_both_and_there_once(world: World) -> None:
    laptop, phone = world.found(), world.join("phone")
    entry = laptop.vault.add("thing", title="GitHub")
    copy = laptop.copy("copy", machine="elsewhere")
    copy.vault.update(entry.id, password="from the copy")
    laptop.vault.update(entry.id, count=7)
    world.sync_all()
    world.check_equal("both sent the same change")
    (shown,) = phone.vault.view().entries
    assert (shown["title"], shown["password"], shown["count"]) == ("GitHub", "from the copy", 7)


@pytest.mark.parametrize("told", [True, False], ids=["told", "disguised"])
@pytest.mark.parametrize("order", ["original", "copy"])
def test_an_unsent_entry_that_two_copies_hold_is_there_once(world: World, order: str, told: bool) -> None:
    """A third copy published something else in its place, which one of the two hears of before the entry is sent."""
    laptop, phone = world.found(), world.join("phone")
    laptop.vault.add("thing", title="sent")
    world.sync_all()
    rival = laptop.copy("rival")
    rival.disguise()
    entry = laptop.vault.add("thing", title="GitHub")
    copy = laptop.copy("copy", machine="elsewhere" if told else None)
    if not told:
        copy.disguise()
    copy.vault.update(entry.id, password="from the copy", labels=add("copy"))
    laptop.vault.update(entry.id, count=7, labels=add("original"))
    before = laptop.remote.remember()
    rival.vault.add("thing", title="rival")
    rival.vault.sync()
    phone.vault.sync()
    first, second = (laptop, copy) if order == "original" else (copy, laptop)
    second.remote.roll_back(before)  # hears of the rival later
    first.vault.sync()
    second.vault.sync()
    first.vault.update(entry.id, remarks=f"of {order}")
    second.vault.update(entry.id, due=DUE)
    first.vault.sync()
    second.remote.confess()
    second.vault.sync()
    world.sync_all(5)
    world.check_equal(f"{order} first")
    for one in world.installed:
        shown = one.vault.view()[entry.id]
        assert (shown["title"], shown["password"], shown["count"]) == ("GitHub", "from the copy", 7)
        assert (shown["labels"], shown["remarks"], shown["due"]) == ({"copy", "original"}, f"of {order}", DUE)
        assert sorted(str(e["title"]) for e in one.vault.view().entries) == ["GitHub", "rival", "sent"]


def test_a_copy_on_the_same_machine_is_another_file(world: World) -> None:
    laptop = world.found()
    copy = laptop.copy("copy")
    copy.vault.add("thing", title="from the copy")
    assert copy.chain != laptop.chain


def test_renaming_and_reopening_begins_nothing(world: World) -> None:
    laptop = world.found()
    chain = laptop.chain
    for number in range(3):
        laptop.close()
        renamed = laptop.path.with_name(f"renamed-{number}.vault")
        laptop.path.rename(renamed)
        laptop.path = renamed
        laptop.open()
        laptop.vault.add("thing", title=f"{number}")
        laptop.vault.sync()
    assert laptop.chain == chain


def test_files_that_are_numbered_anew_with_every_mount_cost_few_incarnations(world: World) -> None:
    laptop = world.found()
    laptop.vault.add("thing", title="first")
    for number in range(20):
        laptop.close()
        copied = laptop.path.with_name(f"{number}.vault")
        copied.write_bytes(laptop.path.read_bytes())  # another number, and nothing else
        laptop.path = copied
        laptop.open()
        laptop.vault.add("thing", title=f"{number}")
    assert chains(laptop) <= 1 + 8


def test_a_file_put_back_is_told_by_the_mark_beside_it(world: World) -> None:
    laptop = world.found()
    files = laptop.backup()
    chain = laptop.chain
    laptop.vault.add("thing", title="lost with the disk, kept by the remote")
    laptop.vault.sync()
    laptop.restore(files, mark=True)
    laptop.vault.add("thing", title="after")
    assert laptop.chain != chain
    laptop.vault.sync()
    assert {entry["title"] for entry in laptop.vault.view().entries} == {
        "lost with the disk, kept by the remote",
        "after",
    }


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_a_mark_that_was_cut_off_is_none(world: World, kept: int) -> None:
    """It is written over where it lies: a crash may leave part of it, or of the one before behind it."""
    laptop = world.found()
    laptop.vault.add("thing", title="sent")
    laptop.vault.sync()
    chain = laptop.chain
    laptop.close()
    mark = laptop.path.with_name(laptop.path.name + "-mark")
    data = mark.read_bytes()
    mark.write_bytes(data[:kept] if kept >= 0 else data + data[-5:])
    laptop.open()
    laptop.vault.add("thing", title="after")
    assert laptop.chain == chain, "it says nothing, and so nothing against this file"
    laptop.vault.sync()
    assert len(mark.read_bytes()) == len(data), "nothing of what was there stays behind it"


# ---- restored backups ------------------------------------------------------------------------------------------------
def scenario(world: World, laptop: Installed, phone: Installed) -> Iterator[tuple[str, bool]]:
    """Steps on a laptop; each says what it wrote and whether that was sent."""
    first = laptop.vault.add("thing", title="1", labels={"a"})
    yield "1", False
    laptop.vault.sync()
    yield "", True
    with laptop.vault.batch():
        laptop.vault.add("thing", title="2", urls=("u", "v"))
        laptop.vault.update(first.id, remarks="line one\nline two")
    yield "2", False
    laptop.vault.sync()
    phone.vault.sync()
    yield "", True
    phone.vault.update(first.id, labels=add("b"))
    phone.vault.sync()
    laptop.vault.sync()
    laptop.vault.add("thing", title="3")
    yield "3", False
    laptop.vault.add("thing", title="4", password="s3cret")
    laptop.vault.sync()
    phone.vault.sync()
    yield "4", True


@pytest.mark.parametrize(
    ("how", "offline"),
    [(how, offline) for offline in (True, False) for how in ("elsewhere", "marked", "unnoticed")]
    if ALL_POINTS
    else [("unnoticed", True), ("marked", False)],
)
def test_every_backup_point(how: str, offline: bool) -> None:
    """Restored after everything: elsewhere, in its place, or so that only the remote can tell; with an edit before the
    first sync, or after it."""
    points = 0
    for point in range(0, 100, 1 if ALL_POINTS else 3):
        world = World(f"{how}/{offline}/{point}", MemoryRemote())
        try:
            laptop, phone = world.found(), world.join("phone")
            files, then, sent, unsent = laptop.backup(), set[str](), set[str](), set[str]()
            written: set[str] = set()
            steps = 0
            for title, was_sent in scenario(world, laptop, phone):
                written |= {title} - {""}
                if was_sent:
                    sent = set(written)
                if steps < point:
                    files, then = laptop.backup(), set(written)
                steps += 1
            unsent = written - sent
            if point > steps:
                break
            points += 1
            note = f"{how}, offline={offline}, point {point}"
            if how == "elsewhere":
                laptop.close()
                laptop.path = world.folder / "restored.vault"
                laptop.path.write_bytes(files["a.vault"])
                laptop.open()
            else:
                laptop.restore(files, mark=how == "marked")
            if not offline:
                laptop.vault.sync()
            laptop.vault.add("thing", title="after")
            for entry in laptop.vault.view().entries:
                if entry["title"] == "1":
                    laptop.vault.update(entry, labels=add("c"))
            world.sync_all()
            world.check_equal(note)
            for one in world.installed:
                titles = sorted(str(entry["title"]) for entry in one.vault.view().entries)
                assert titles == sorted((written - unsent) | then | {"after"}), note
                labels = {label for entry in one.vault.view().entries for label in entry.get("labels") or ()}
                assert labels >= {"a", "b"}, note
            assert chains(laptop) <= 3, note
        finally:
            world.close()
    print(f"{points} backup points, {how}")
    assert points == (7 if ALL_POINTS else 3)


def test_who_wrote_what_is_told_of_a_branch_that_was_made_anew(world: World) -> None:
    laptop, phone = world.found(), world.join("phone")
    laptop.vault.sync()
    copy = laptop.copy("copy")
    copy.disguise()
    entries = [laptop.vault.add("thing", title="by the original"), copy.vault.add("thing", title="by the copy")]
    ours = laptop.remote.remember()
    copy.vault.sync()
    laptop.remote.roll_back(ours)
    laptop.vault.sync()
    laptop.remote.confess()
    world.sync_all()
    assert phone.vault._ledger.states("fork/")
    for entry in entries:
        (revision,) = phone.vault.history(entry.id)
        assert (revision.device, revision.event) == ("laptop", "added")


def test_a_fork_below_what_checkpoints_cover_is_put_right_too(world: World) -> None:
    laptop, phone = world.found(), world.join("phone")
    for number in range(5):
        laptop.vault.add("thing", title=f"{number}")
    world.sync_all()
    copy = laptop.copy("copy")
    copy.disguise()
    laptop.vault.add("thing", title="by the original")
    copy.vault.add("thing", title="by the copy")
    ours = laptop.remote.remember()
    copy.vault.sync()
    phone.vault.sync()
    assert phone.vault.checkpoint()  # of the copy's branch
    laptop.remote.roll_back(ours)
    laptop.vault.sync()
    assert laptop.vault.checkpoint()  # of the original's
    laptop.remote.confess()
    world.sync_all()
    tablet = world.join("tablet")
    world.sync_all()
    world.check_equal("below checkpoints")
    assert len(tablet.vault.view()) == 7
    received = [one.vault.sync().received for one in world.installed]
    assert received == [0] * len(received), "nothing is fetched for ever"


# ---- forks -----------------------------------------------------------------------------------------------------------
def test_histories_of_forks_come_to_one_vault_everywhere() -> None:
    """Most of them fork; what is in `tests/vault/forks.py` holds after each."""
    grafted = branched = most = 0
    for seed in range(SEED, SEED + HISTORIES):
        world = ForkedWorld(seed)
        try:
            play(world)
            world.check(f"seed {seed}")
            made = max(map(forked, world.installed))
            grafted, branched = grafted + made, branched + bool(made)
            most = max(most, *map(chains, world.installed))
        finally:
            world.close()
    print(f"{HISTORIES} histories, {branched} with branches put right, {grafted} changes, at most {most} incarnations")
    assert branched > HISTORIES / 2

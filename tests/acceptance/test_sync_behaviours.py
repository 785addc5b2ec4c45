"""What people may rely on when they use several devices, one sentence a test."""

from __future__ import annotations

import time

import vaultsync as vs
from tests.acceptance.world import World, contents, eventually, sync


def test_an_entry_added_on_a_reaches_b_with_no_user_action(world: World) -> None:
    a, b = world.device("A"), world.device("B")

    added = a.add("login", title="GitHub", password="s3cret", tags={"work"})

    eventually(lambda: added.id in b.view())
    assert b.view()[added.id]["title"] == "GitHub"
    assert b.view()[added.id]["password"] == "s3cret"
    assert b.view()[added.id]["tags"] == {"work"}


def test_not_a_device_that_is_not_connected(world: World) -> None:
    a, b = world.device("A"), world.device("B")
    before = a.add("login", title="Before")
    eventually(lambda: before.id in b.view())
    unplugged = world.device_on_a_stick("C")  # joined from a copy of the folder, which nobody else writes to
    eventually(lambda: before.id in unplugged.view())

    added = a.add("login", title="GitHub")

    eventually(lambda: added.id in b.view())
    assert added.id not in unplugged.view()
    unplugged.sync()
    assert added.id not in unplugged.view()
    unplugged.connect(world.remote)
    eventually(lambda: added.id in unplugged.view())


def test_a_new_device_gets_everything(world: World) -> None:
    a = world.device("A")
    kept = [a.add("login", title=f"Login {n}", password=f"secret {n}", tags={"t"}) for n in range(30)]
    a.add("scan", title="Passport")
    a.add("wifi", title="Home", ssid="Fritz", password="wpa")
    a.update(kept[0], username="ann")
    a.delete(kept[1])

    b = world.device("B")

    eventually(lambda: contents(b) == contents(a))
    assert len(b.view().entries) == 31
    assert [entry.id for entry in b.view().trash] == [kept[1].id]


def test_automatic_sync_is_on_in_a_fresh_install(world: World) -> None:
    created, joined = world.device("A", automatic=None), world.device("B", automatic=None)

    assert created.auto_sync
    assert joined.auto_sync


def test_automatic_sync_can_be_turned_off(world: World) -> None:
    a, b = world.device("A"), world.device("B")

    a.auto_sync = False
    added = a.add("login", title="Only here")
    time.sleep(2.0)

    assert added.id not in b.view()
    a = world.update_app(a)
    assert not a.auto_sync, "it is remembered"


def test_and_automatic_sync_can_be_turned_on(world: World) -> None:
    a, b = world.device("A", automatic=False), world.device("B", automatic=False)
    added = a.add("login", title="Waiting")

    a.auto_sync = True
    b.auto_sync = True

    eventually(lambda: added.id in b.view())
    a = world.update_app(a)
    assert a.auto_sync, "it is remembered"


def test_manual_sync_makes_differing_devices_equal(world: World) -> None:
    a, b = world.device("A", automatic=False), world.device("B", automatic=False)
    common = a.add("login", title="Common", username="ann", tags={"old"})
    sync(a, b)
    a.add("login", title="From A")
    b.add("scan", title="From B")
    a.update(common, username="ann@a", tags=vs.add("a"))
    b.update(common.id, password="from b", tags=vs.add("b"))
    assert contents(a) != contents(b)

    report = a.sync()
    b.sync()
    a.sync()

    assert report.sent > 0
    assert contents(a) == contents(b)
    assert len(a.view()) == 3
    merged = a.view()[common.id]
    assert (merged["username"], merged["password"], merged["tags"]) == ("ann@a", "from b", {"old", "a", "b"})

"""What a user interface hears, in which order and on which thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaultsync as vs
from vaultsync.testing import MemoryRemote, environment, memory_vault
from vaultsync.testing.vaults import KEY
from vaultsync.vault.events import Bus, Event, EventKind, Pile
from vaultsync.vault.replication.standing import Progress, State, Status

SCHEMA = vs.Schema(
    "notes", version=1, platform="linux", types=[vs.EntryType("note", fields=[vs.Field("title", vs.text)])]
)
PATIENCE = 20.0


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "still not so"
        time.sleep(0.005)


def status(state: State, **more: object) -> Status:
    return Status(state, "memory://", True, 0, None, **more)  # type: ignore[arg-type]


def edited(*ids: str) -> Event:
    return Event(EventKind.EDITED, frozenset(ids))


# ---- the bus ----------------------------------------------------------------------------------------------------
def test_order_thread_and_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(lambda: None)
    seen: list[tuple[str, frozenset[str], str]] = []

    def raising(event: Event) -> None:
        seen.append(("first", event.entries, threading.current_thread().name))
        raise ValueError("a bug in an application")

    bus.subscribe(raising)
    bus.subscribe(lambda event: seen.append(("second", event.entries, threading.current_thread().name)))
    with caplog.at_level(logging.ERROR):
        for number in range(20):
            bus.tell(edited(str(number)))
        bus.close()
    assert [(who, entries) for who, entries, _ in seen] == [
        (who, frozenset([str(number)])) for number in range(20) for who in ("first", "second")
    ]
    assert {thread for *_, thread in seen} == {"vaultsync-events"}
    assert len(caplog.records) == 20


def test_unsubscribing_takes_effect_at_once_also_from_within_a_callback() -> None:
    bus = Bus(lambda: None)
    heard: list[str] = []

    def first(event: Event) -> None:
        heard.append("first")
        end_first()
        end_second()  # was not called for this event yet, and is not any more

    end_first = bus.subscribe(first)
    end_second = bus.subscribe(lambda event: heard.append("second"))
    bus.subscribe(lambda event: heard.append("third"))
    bus.tell(edited("1"))
    bus.tell(edited("2"))
    bus.close()
    assert heard == ["first", "third", "third"]


def test_one_function_may_subscribe_twice_and_each_is_ended_by_itself() -> None:
    bus, heard = Bus(lambda: None), []
    ends = [bus.subscribe(heard.append), bus.subscribe(heard.append)]
    ends[0]()
    ends[0]()
    bus.tell(edited("1"))
    bus.close()
    assert heard == [edited("1")]


def test_closing_is_told_last_and_possible_from_a_callback() -> None:
    bus, heard = Bus(lambda: None), []
    bus.subscribe(lambda event: (heard.append("event"), bus.close()), ended=lambda: heard.append("ended"))
    bus.tell(edited("1"))
    wait_for(lambda: heard[-1:] == ["ended"])
    bus.tell(edited("2"))
    bus.close()
    assert heard == ["event", "ended"]


def test_a_callback_that_hangs_does_not_keep_closing() -> None:
    bus, go = Bus(lambda: None), threading.Event()
    bus.subscribe(lambda event: go.wait(PATIENCE))
    bus.tell(edited("1"))
    started = time.monotonic()
    bus.close()
    assert time.monotonic() - started < 5
    go.set()


def test_status_is_told_only_when_it_changed() -> None:
    now = [status(State.UP_TO_DATE)]
    bus, heard = Bus(lambda: now[0]), []
    bus.subscribe(heard.append)
    for passing in range(5):  # times go on, nothing else
        now[0] = status(State.UP_TO_DATE, taken_ms=passing, since_ms=3)
        bus.tell(Event(EventKind.STATUS))
        bus.tell(edited(str(passing)))  # keeps them apart
    now[0] = status(State.OFFLINE)
    bus.tell(Event(EventKind.STATUS))
    bus.close()
    assert [event.status.state for event in heard if event.status is not None] == [State.OFFLINE]
    assert len(heard) == 6


# ---- piles ------------------------------------------------------------------------------------------------------
events = st.one_of(
    st.builds(
        Event,
        st.sampled_from([EventKind.EDITED, EventKind.MERGED, EventKind.ELSEWHERE]),
        st.frozensets(st.sampled_from("abcdef"), min_size=1, max_size=3),
        st.booleans(),
    ),
    st.builds(lambda n: Event(EventKind.PROGRESS, progress=Progress(n, 0, 0, 0)), st.integers(0, 99)),
    st.just(Event(EventKind.STATUS)),
)


@given(st.lists(events, max_size=60), st.integers(1, 8))
def test_a_pile_is_bounded_and_loses_nothing(told: list[Event], crowded: int) -> None:
    pile = Pile(crowded)
    for event in told:
        pile.add(event)
        assert len(pile) <= crowded + 5, "one of each kind beyond the crowd"
    taken = []
    while (event := pile.take()) is not None:
        taken.append(event)
    for kind in EventKind:
        was = [event for event in told if event.kind is kind]
        now = [event for event in taken if event.kind is kind]
        assert frozenset().union(*(e.entries for e in was)) == frozenset().union(*(e.entries for e in now))
        assert any(e.everything for e in was) == any(e.everything for e in now)
        assert [e.progress for e in was[-1:]] == [e.progress for e in now[-1:]], "the newest stays the newest"
    if len(told) <= crowded and all(event.entries for event in told):
        assert taken == told, "one by one while there is room"


# ---- through vaults ---------------------------------------------------------------------------------------------
def test_edits_and_merges_come_with_exactly_the_ids_that_changed() -> None:
    remote = MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=remote, device="Laptop")
    phone = memory_vault(SCHEMA, joins=laptop, device="Phone")
    laptop.sync()
    here: list[Event] = []
    there: list[Event] = []
    laptop.subscribe(here.append)
    phone.subscribe(there.append)
    one = laptop.add("note", title="1")
    with laptop.batch():
        two = laptop.add("note", title="2")
        laptop.update(one, title="1b")
    wait_for(lambda: any(e.status and e.status.state is State.MANUAL for e in tuple(here)))  # told before the pass
    laptop.sync()
    phone.sync()
    phone.close()
    laptop.close()
    assert [e.entries for e in here if e.kind is EventKind.EDITED] == [{one.id}, {one.id, two.id}]
    assert frozenset().union(*(e.entries for e in there if e.kind is EventKind.MERGED)) == {one.id, two.id}
    assert not [e for e in here if e.kind is EventKind.MERGED]
    states = [e.status.state for e in here if e.status is not None]
    assert states[-1] is State.UP_TO_DATE
    assert State.MANUAL in states, "an edit waits to be sent"
    progress = [e.progress for e in here if e.progress is not None]
    assert progress
    assert progress[-1].fraction == 1.0


def test_findings_are_told_once_and_devices_are_heard_from() -> None:
    remote = MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=remote, device="Laptop")
    phone = memory_vault(SCHEMA, joins=laptop, device="Phone")
    for number in range(3):
        phone.add("note", title=f"{number}")
        phone.sync()
    laptop.sync()
    heard: list[Event] = []
    laptop.subscribe(heard.append)
    for name in [name for name in remote.objects if "/env/" in name][:2]:
        del remote.objects[name]
    laptop.sync()
    laptop.sync()
    (device,) = laptop.status.devices
    assert device.name == "Phone"
    assert device.heard_ms is not None
    phone.close()
    laptop.close()
    findings = [event.finding for event in heard if event.finding is not None]
    assert findings
    assert len(findings) == len(set(findings)), "each once"


def test_edits_of_another_process_come_with_their_ids_soon(tmp_path: Path) -> None:
    first = vs.Vault.create(tmp_path / "v", schema=SCHEMA, key=KEY, environment=environment(1))
    second = vs.Vault.open(tmp_path / "v", schema=SCHEMA, key=KEY, environment=environment(2))
    second.view()
    heard: list[Event] = []
    second.subscribe(heard.append)
    one = first.add("note", title="by the other one")
    wait_for(lambda: bool(heard))
    two = first.add("note", title="again")
    mine = second.add("note", title="mine")  # meets the other's on the way
    wait_for(lambda: any(two.id in event.entries for event in heard))
    wait_for(lambda: any(mine.id in event.entries for event in heard))
    elsewhere = [event for event in heard if event.kind is EventKind.ELSEWHERE]
    assert frozenset().union(*(event.entries for event in elsewhere)) == {one.id, two.id}
    assert not any(event.everything for event in elsewhere)
    assert [event.entries for event in heard if event.kind is EventKind.EDITED] == [{mine.id}]
    first.close()
    second.close()


def test_settings_of_another_process_are_taken_over(tmp_path: Path) -> None:
    first = vs.Vault.create(tmp_path / "v", schema=SCHEMA, key=KEY, environment=environment(1))
    second = vs.Vault.open(tmp_path / "v", schema=SCHEMA, key=KEY, environment=environment(2))
    second.subscribe(lambda event: None)
    first.connect((tmp_path / "shared").as_uri())
    wait_for(lambda: second.status.remote is not None)
    first.auto_sync = False
    wait_for(lambda: not second.auto_sync)
    second.disconnect()
    first.add("note", title="sees it with the next edit")
    wait_for(lambda: second.status.state is State.NOT_CONNECTED)
    first.close()
    second.close()


def test_a_status_reads_as_a_sentence() -> None:
    hour = 3_600_000
    now = status(State.OFFLINE, since_ms=hour, taken_ms=3 * hour, message="the folder is not there")
    assert str(now) == "offline for 2 hours with memory://, the folder is not there"
    assert str(status(State.UP_TO_DATE, since_ms=5, taken_ms=10)) == "up to date for a moment with memory://"
    century = 36_525 * 24 * hour
    for wrong in (century, -century):  # the clock was set
        assert str(status(State.UP_TO_DATE, since_ms=0, taken_ms=wrong)) == "up to date with memory://"


def test_a_password_in_an_address_is_never_shown() -> None:
    from vaultsync.remote.address import masked

    assert masked("dav+https://ann:hunter2@host:8443/folder?a=b") == "dav+https://ann:…@host:8443/folder?a=b"
    for url in ("file:///home/ann@work/x:y@z", "https://host:8787", "s3://bucket/a?endpoint=http://127.0.0.1:9000"):
        assert masked(url) == url

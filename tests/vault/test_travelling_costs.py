"""What an edit costs on its way to another device: statements and calls are counted, never times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks import workload
from benchmarks.costs import counting
from benchmarks.peers.vaultsync_peer import PEER

EDIT, SENT, RECEIVED, IDLE = 13, 21, 16, 2
"""At most so many statements: a durable edit, a pass that sends one, one that receives one, one without news."""


class World(NamedTuple):
    """Two devices with a vault of ``n`` entries that know of each other, and a remote in memory."""

    n: int
    pair: Any
    ids: list[str]

    def counted(self, act: Callable[[], Any]) -> Counter[str]:
        with counting() as counts:
            act()
        return +counts


def world(n: int, folder: Path) -> World:
    base, joined = folder / f"base{n}", folder / f"joined{n}"
    base.mkdir()
    joined.mkdir()
    PEER.create(base, list(workload.vault(n)))()
    PEER.publish(base)
    PEER.join(base, joined).close()
    pair = PEER.pair(base, joined)
    made = World(n, pair, pair.ids())
    for number in range(3):  # what is done once is done
        pair.edit(made.ids[number], "warm")
        pair.travel(made.ids[number])
    return made


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    folder = tmp_path_factory.mktemp("worlds")
    made = world(300, folder), world(3_000, folder)
    yield made
    for one in made:
        one.pair.close()


def journey(one: World, number: int) -> tuple[Counter[str], ...]:
    """One edit from the one device to the other's view."""
    entry_id, left, right = one.ids[number], one.pair._left, one.pair._right
    password = f"number {number}"
    counts = (
        one.counted(lambda: one.pair.edit(entry_id, password)),
        one.counted(left.sync),
        one.counted(right.sync),
        one.counted(right.view),
    )
    assert one.pair.password(entry_id) == password
    return counts


def test_a_travelling_edit_costs_the_same_in_a_large_vault(worlds: tuple[World, World]) -> None:
    small, large = (journey(one, 5) for one in worlds)
    assert small == large
    edited, sent, received, shown = (counts["SQL statements"] for counts in small)
    assert edited <= EDIT
    assert sent <= SENT
    assert received <= RECEIVED
    assert shown <= 2
    assert small[2]["changes through the gate"] == 1
    assert small[3]["entries evaluated"] == 1


def test_it_costs_the_same_after_many_others(worlds: tuple[World, World]) -> None:
    one = worlds[0]
    before = journey(one, 6)
    for number in range(7, 40):
        journey(one, number)
    after = journey(one, 41)
    for early, late in zip(before, after, strict=True):
        assert late["SQL statements"] <= early["SQL statements"] + 2


def test_a_pass_without_news_asks_little(worlds: tuple[World, World]) -> None:
    for one in worlds:
        for vault in (one.pair._left, one.pair._right):
            vault.sync()
            idle = one.counted(vault.sync)
            assert idle["SQL statements"] <= IDLE
            assert idle["rows sealed"] == 0, "nothing is written"


def test_many_edits_are_read_recorded_and_applied_together(worlds: tuple[World, World]) -> None:
    one = worlds[1]
    many = one.ids[100:300]
    for number, entry_id in enumerate(many):
        one.pair.edit(entry_id, f"many {number}")
    sent = one.counted(one.pair._left.sync)
    received = one.counted(one.pair._right.sync)
    shown = one.counted(one.pair._right.view)
    assert sent["SQL statements"] <= SENT, "what was just edited is not read again"
    assert sent["rows opened: journal"] == 0
    assert received["SQL statements"] <= RECEIVED, "the changes of an envelope have one row"
    assert received["rows sealed: journal"] == 1
    assert shown["SQL statements"] <= 2
    assert shown["entries evaluated"] == len(many)
    assert one.pair.password(many[-1]) == f"many {len(many) - 1}"

"""Damaged pages: noticed or harmless, never silently something else than what was written."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vaultsync.errors import DamagedStore, StoreError, UpdateRequired, VaultNotFound
from vaultsync.store import JournalRow, LostRow, NewRow, Origin, Reading, Store, split

ROUNDS = int(os.environ.get("VAULTSYNC_DAMAGE_ROUNDS", "1"))
PAGE = 4096
ME, OTHER = b"m" * 16, b"o" * 16


def blob(number: int, size: int = 300) -> bytes:
    return random.Random(number).randbytes(size)


def make(path: Path) -> None:
    with Store.create(path, header=b"header" * 5, slots=[blob(1), blob(2)]) as store:
        for seq in range(1, 41):
            with store.write() as writing:
                writing.append(ME, seq, blob(seq + 100, 32), blob(seq, 50 + 40 * (seq % 20)))
        with store.write() as writing:
            generation = writing.put_snapshot(30, blob(7), list(split(blob(8, 150_000))))
        with store.write() as writing:
            assert writing.confirm_snapshot(generation)
            writing.packed_up_to(ME, 20)
            for seq in range(1, 41):
                writing.append(OTHER, seq, blob(seq + 500, 32), blob(seq + 600, 200), "foreign")
            for number in range(30):
                writing.set_state(f"state/{number}", blob(number + 700, 150))
                writing.put_envelope(
                    f"v/env/{number:03}", ME, number, blob(number, 32), 1, blob(number, 900), number % 2 == 0
                )
            writing.add_remote("primary")
            for number in range(0, 10, 2):
                writing.mark_delivered("primary", f"v/env/{number:03}")
            writing.quarantine("v/bad", "BadSeal", blob(9))


Probe = Callable[[Reading], Any]


def snapshot(reading: Reading) -> Any:
    found = reading.snapshot()
    if found is None:
        return None
    return found.position, found.index, list(found.segments())


PROBES: dict[str, Probe] = {
    "position": lambda r: (r.position(), r.floor(), r.weight()),
    "journal": lambda r: list(r.journal(r.floor())),
    "unpacked": lambda r: list(r.unpacked(ME)),
    "tips": lambda r: r.own_tips(),
    "snapshot": snapshot,
    "some states": lambda r: r.states("state/1"),
    "states": lambda r: r.states(),
    "state": lambda r: [r.state(f"state/{n}") for n in range(32)],
    "slots": lambda r: r.slots(),
    "undelivered": lambda r: list(r.undelivered("primary")),
    "undelivered new": lambda r: list(r.undelivered("never seen")),
    "envelopes": lambda r: list(r.envelopes()),
    "chain": lambda r: list(r.envelopes(ME, 5)),
    "names": lambda r: r.names("v/env/"),
    "quarantined": lambda r: list(r.quarantined()),
    "remotes": lambda r: r.remotes(),
    "has": lambda r: [r.has_change(blob(n + 500, 32)) for n in range(1, 41)],
    "envelope": lambda r: [r.envelope(f"v/env/{n:03}") for n in range(30)],
}


BY_INDEX = {"undelivered", "undelivered new", "envelopes", "chain", "names", "quarantined", "has", "envelope"}
"""These may miss a row when the index that leads to it is damaged (the check says so); they may not invent one."""


def explained(error: DamagedStore) -> bool:
    return bool(error.lost and error.whole)


def not_invented(name: str, seen: Any, real: Any) -> bool:
    if name == "names":
        return True  # read from an index alone; what it names is compared with what is stored under it
    return all(item in real or item in (None, False) for item in seen)


def observe(store: Store) -> dict[str, Any]:
    """Every probe's answer, or the error it raised; anything but an error of ours fails the test here."""
    seen: dict[str, Any] = {"header": store.header}
    for name, probe in PROBES.items():
        try:
            with store.read() as reading:
                seen[name] = probe(reading)
        except StoreError as error:
            seen[name] = error
    return seen


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pristine") / "ann.vault"
    make(path)
    assert not path.with_name("ann.vault-wal").exists(), "closing moves the log into the file"
    return path


@pytest.fixture(scope="module")
def written(pristine: Path) -> dict[str, Any]:
    with Store.open(pristine) as store:
        assert store.check().ok
        return observe(store)


def zeros(page: bytes, _: random.Random) -> bytes:
    return bytes(len(page))


def garbage(page: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(page))


def flips(page: bytes, rng: random.Random) -> bytes:
    changed = bytearray(page)
    for _ in range(3):
        changed[rng.randrange(len(page))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def torn(page: bytes, rng: random.Random) -> bytes:
    """The second half of an older write never arrived."""
    at = rng.randrange(1, 8) * 512
    return page[:at] + bytes(len(page) - at)


def header_flip(page: bytes, rng: random.Random) -> bytes:
    """In the b-tree header, where the number of cells is: rows vanish and SQLite may not notice."""
    changed = bytearray(page)
    changed[rng.randrange(1, 8)] ^= 1 << rng.randrange(4)
    return bytes(changed)


DAMAGES = [zeros, garbage, flips, torn, header_flip]


def damaged_copies(
    pristine: Path, folder: Path, damage: Callable[[bytes, random.Random], bytes]
) -> Iterator[tuple[str, Path]]:
    whole = pristine.read_bytes()
    path = folder / "ann.vault"
    for round_ in range(ROUNDS):
        for number in range(len(whole) // PAGE):
            rng = random.Random(f"{damage.__name__}/{round_}/{number}")
            page = whole[number * PAGE : (number + 1) * PAGE]
            for beside in folder.iterdir():
                beside.unlink()
            path.write_bytes(whole[: number * PAGE] + damage(page, rng) + whole[(number + 1) * PAGE :])
            yield f"{damage.__name__} of page {number + 1}, round {round_}", path


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_any_page_is_noticed_or_harmless(
    damage: Callable[[bytes, random.Random], bytes], pristine: Path, written: dict[str, Any], tmp_path: Path
) -> None:
    noticed = total = 0
    for where, path in damaged_copies(pristine, tmp_path, damage):
        total += 1
        try:
            store = Store.open(path)
        except (DamagedStore, VaultNotFound, UpdateRequired) as error:
            noticed += 1
            assert not isinstance(error, DamagedStore) or explained(error), where  # noqa: PT017
            continue
        with store:
            seen = observe(store)
            health = store.check()
        for name, value in seen.items():
            if isinstance(value, StoreError):
                assert isinstance(value, DamagedStore), (where, name, value)
                assert explained(value), where
                assert not health.ok, (where, name, "the check must find what a reader stumbles over")
            else:
                strictly = name not in BY_INDEX or health.ok
                assert (value == written[name]) if strictly else not_invented(name, value, written[name]), (where, name)
        noticed += not health.ok
    assert noticed > total * 0.3, "most damages should matter, or this tests nothing"


def test_everything_readable_stays_readable(pristine: Path, written: dict[str, Any], tmp_path: Path) -> None:
    """Past any one bad page, all journal rows that are not on it come out, and the others are named."""
    with Store.open(pristine) as store, store.read() as reading:
        rows = list(reading.salvage())
    assert [row.position for row in rows] == list(range(21, 81))  # own ones below the floor are kept until packed
    shortened = worst = 0
    for where, path in damaged_copies(pristine, tmp_path, zeros):
        try:
            store = Store.open(path)
        except (DamagedStore, VaultNotFound):
            continue
        with store, store.read() as reading:
            found = list(reading.salvage())
        good = [row for row in found if isinstance(row, JournalRow)]
        lost = [row for row in found if isinstance(row, LostRow)]
        assert all(row in rows for row in good), where
        assert len(good) + len(lost) == len(rows), where
        assert all((row.actor, row.seq) in {(r.actor, r.seq) for r in rows} for row in lost if row.actor), where
        shortened += bool(lost)
        worst = max(worst, len(lost) if len(lost) < len(rows) else 0)
    assert shortened >= 3
    assert worst < 25, "one page holds a few rows, not the journal"


def test_of_a_row_with_many_changes_each_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    with Store.create(path, header=b"h", slots=[b"slot"]) as store, store.write() as writing:
        for number, holds in enumerate((1, 5, 3, 1), 1):
            row = NewRow(OTHER, 10 * number, blob(number, 32), blob(700 + number, 200), holds)
            writing.append_all([row], Origin.FOREIGN)
    whole = bytearray(path.read_bytes())
    whole[whole.index(blob(702, 200)) + 5] ^= 1
    path.write_bytes(whole)
    with Store.open(path) as store, store.read() as reading:
        found = list(reading.salvage())
        assert [row.position for row in found] == [1, 2, 3, 4, 5, 6, 9, 10]
        assert [row.position for row in found if isinstance(row, LostRow)] == [2, 3, 4, 5, 6]
        assert [row.seq for row in found if isinstance(row, LostRow)] == [None] * 4 + [20]
        assert [row.position for row in reading.journal(6)] == [9, 10]
        with pytest.raises(DamagedStore):
            list(reading.journal(0))
        with pytest.raises(DamagedStore):
            list(reading.journal(7))  # the middle of a row
        assert not store.check().ok


def test_a_damaged_row_does_not_stop_writing(pristine: Path, tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    whole = bytearray(pristine.read_bytes())
    at = whole.index(blob(601 + 39, 200))  # the last foreign change
    whole[at + 5] ^= 1
    path.write_bytes(whole)
    with Store.open(path) as store:
        with store.read() as reading, pytest.raises(DamagedStore, match="damaged"):
            list(reading.journal(30))
        with store.write() as writing:
            assert writing.append(ME, 41, blob(99, 32), b"later") == 81
        with store.read() as reading:
            assert [type(row) for row in reading.salvage(79)] == [LostRow, JournalRow]
        health = store.check()
        assert [(row.position, row.actor, row.seq) for row in health.lost_changes] == [(80, OTHER, 40)]
        assert "1 recorded change of 61 cannot be read." in health.lost
        assert any("snapshot" in line for line in health.whole)


def test_what_comes_again_replaces_a_damaged_envelope(pristine: Path, tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    whole = bytearray(pristine.read_bytes())
    whole[whole.index(blob(11, 900)) + 3] ^= 1
    path.write_bytes(whole)
    with Store.open(path) as store:
        with store.read() as reading, pytest.raises(DamagedStore):
            reading.envelope("v/env/011")
        assert not store.check().ok
        with store.write() as writing:
            writing.put_envelope("v/env/011", ME, 11, blob(11, 32), 1, blob(11, 900), False)
        assert store.check().ok


def test_the_owner_reports_seals_that_do_not_open(pristine: Path) -> None:
    asked: list[str] = []

    def verify(table: str, row: tuple[Any, ...]) -> bool:
        asked.append(table)
        return not (table == "state" and row[0] == "state/7") and not (table == "journal" and row[0] == 50)

    with Store.open(pristine) as store:
        health = store.check(verify=verify)
    assert not health.ok
    assert {(bad.table, bad.key) for bad in health.unreadable} == {("state", ("state/7",)), ("journal", (50,))}
    assert set(asked) == {"journal", "segment", "index", "state", "envelope"}


def test_missing_segments_are_named_and_an_older_snapshot_stands_in(tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    with Store.create(path, header=b"", slots=[b"s"]) as store:
        with store.write() as writing:
            for seq in range(1, 11):
                writing.append(ME, seq, blob(seq, 32), b"x")
            first = writing.put_snapshot(5, b"first", [b"1", b"2"])
        with store.write() as writing:
            assert writing.confirm_snapshot(first)
            second = writing.put_snapshot(10, b"second", [b"3", b"4", b"5"])
        with store.read() as reading:
            newest = reading.snapshot()
            assert newest is not None
            assert (newest.generation, newest.index, newest.verified) == (first, b"first", True)
        damage(store, "DELETE FROM segments WHERE generation = ? AND number = 1", first)
        with store.read() as reading:
            stands_in = reading.snapshot()
            assert stands_in is not None
            assert stands_in.generation == second, "whole, though not verified yet: the owner verifies what it loads"
            broken = reading.snapshot(first)
            assert broken is not None
            assert broken.missing == (1,)
            assert broken.segment(0) == b"1"
            with pytest.raises(DamagedStore) as info:
                list(broken.segments())
            assert info.value.lost == ("Segment 1 of the snapshot cannot be read.",)
        damage(store, "DELETE FROM segments WHERE generation = ? AND number > 0", second)
        with store.read() as reading:
            nothing_whole = reading.snapshot()
            assert nothing_whole is not None
            assert nothing_whole.missing == (1,)
        with store.write() as writing, pytest.raises(DamagedStore):
            writing.confirm_snapshot(second)
        damage(store, "DELETE FROM snapshots WHERE generation > ?", 0)
        with store.read() as reading, pytest.raises(DamagedStore):
            reading.snapshot()


def damage(store: Store, sql: str, *parameters: int) -> None:
    """Remove rows behind the store's back."""
    store._outside("damaging", lambda database: len(database.rows("damaging", sql, *parameters)))


def test_rows_that_vanish_are_noticed(tmp_path: Path) -> None:
    """Also at the end of the journal and where nothing refers to them: the tally knows how many there should be."""
    path = tmp_path / "ann.vault"
    for table, probe in [
        ("journal WHERE position = 3", lambda r: list(r.journal())),
        ("journal WHERE position = 2", lambda r: list(r.unpacked(ME))),
        ("state WHERE name = 'a'", lambda r: r.state("a")),
        ("slots WHERE id = 1", lambda r: r.slots()),
        ("actors", lambda r: r.own_tip(ME)),
        ("outbox", lambda r: list(r.undelivered("primary"))),
        ("remotes", lambda r: r.remotes()),
    ]:
        with Store.create(path, header=b"", slots=[b"s", b"t"]) as store:
            with store.write() as writing:
                for seq in (1, 2, 3):
                    writing.append(ME, seq, blob(seq, 32), b"x")
                writing.set_state("a", b"1")
                writing.set_state("b", b"1")
                writing.add_remote("primary")
                writing.put_envelope("v/1", ME, 1, b"i", 1, b"d", True)
            with store.read() as reading:
                probe(reading)
            damage(store, f"DELETE FROM {table}")
            with store.read() as reading, pytest.raises(DamagedStore):
                probe(reading)
            assert not store.check().ok, table
        path.unlink()

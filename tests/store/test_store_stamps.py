"""What was read is used again exactly as long as nobody changed it: this process, another one, or a failed commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from vaultsync.store import Store, Writing
from vaultsync.store.stamps import written_by


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Store.create(tmp_path / "a.vault", header=b"h", slots=[b"slot"]).close()
    return tmp_path / "a.vault"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


def asked(store: Store, *tables: str) -> int:
    """How often a question about these tables was asked when it was put twice."""
    times = []
    for _ in range(2):
        store.recall(("count", tables), tables, lambda reading: times.append(1))
    return len(times)


def test_a_question_is_asked_again_when_one_of_its_tables_changed(store: Store) -> None:
    assert asked(store, "state") == 1
    assert asked(store, "state") == 0
    with store.write() as writing:
        writing.quarantine("x", "r", b"")
    assert asked(store, "state") == 0
    assert asked(store, "quarantine", "state") == 1
    with store.write() as writing:
        writing.set_state("x", b"1")
    assert asked(store, "state") == 1
    assert asked(store, "quarantine", "state") == 1


def test_what_another_process_changed_is_seen(store: Store, path: Path) -> None:
    with Store.open(path) as other:
        for value in (b"1", b"2", None):
            with other.write() as writing:
                writing.set_state("x", value)
            assert store.state("x") == value
            with store.write() as writing:  # an own write in between hides nothing
                writing.set_state("y", b"own")
            with other.write() as writing:
                writing.set_state("y", b"theirs")
            assert store.state("y") == b"theirs"
            assert asked(store, "envelopes") == 1, "whatever they changed"


def test_sealed_values_are_as_they_are_read(store: Store) -> None:
    assert store.state("x") is None
    for step in range(6):
        with store.write() as writing:
            writing.set_state("x", bytes([step]))
            writing.set_state(f"n{step}", b"n")
            if step > 2:
                writing.set_state(f"n{step - 1}", None)
        with store.read() as reading:
            assert store.states() == reading.states()
        assert store.states()["x"] == bytes([step])


def test_who_asks_to_be_left_alone_is_told_of_others_afterwards(store: Store, path: Path) -> None:
    with Store.open(path) as other:
        for round_ in range(3):
            theirs, own = bytes([round_, 1]), bytes([round_, 2])
            before = store.state("theirs")
            with store.still():
                with other.write() as writing:
                    writing.set_state("theirs", theirs)
                assert store.state("theirs") == before, "looked when the block began"
                with store.write() as writing:
                    assert writing.state("theirs") == theirs, "a transaction sees everything"
                    writing.set_state("own", own)
                assert store.state("own") == own, "what this process commits counts at once"
                with store.still():
                    pass
            assert store.state("theirs") == theirs, "and an own commit in between hides nothing"
            assert store.state("own") == own
            assert asked(store, "envelopes") == 1, "whatever they changed"


def test_only_the_thread_that_asked_is_left_alone(store: Store, path: Path) -> None:
    found: list[bytes | None] = []
    with Store.open(path) as other, store.still():
        with other.write() as writing:
            writing.set_state("x", b"1")
        thread = Thread(target=lambda: found.append(store.state("x")))
        thread.start()
        thread.join()
    assert found == [b"1"]


def undone(store: Store, writing: Writing) -> None:
    """Set a value, then do what is not allowed."""
    writing.set_state("x", b"2")
    with store.write():
        pass


def test_a_write_that_is_undone_changes_nothing(store: Store) -> None:
    with store.write() as writing:
        writing.set_state("x", b"1")
    assert store.state("x") == b"1"
    with pytest.raises(RuntimeError, match="open in this thread"), store.write() as writing:
        undone(store, writing)
    assert store.state("x") == b"1"


def test_inside_a_transaction_its_own_picture_counts(store: Store, path: Path) -> None:
    assert store.state("x") is None
    with store.write() as writing:
        writing.set_state("x", b"1")
        assert store.state("x") == b"1"
    with Store.open(path) as other, store.read() as reading:
        assert reading.state("x") == b"1"
        with other.write() as writing:
            writing.set_state("x", b"2")
        assert store.state("x") == b"1", "this picture is older"
    assert store.state("x") == b"2", "and was not kept"


def test_a_watch_tells_others_from_oneself(store: Store, path: Path) -> None:
    watch = store.watch()
    with store.write() as writing:
        assert watch.look(writing.commits), "nothing was looked at yet"
        writing.set_state("x", b"1")
    with store.write() as writing:
        writing.set_state("x", b"2")
    with store.write() as writing:
        assert not watch.look(writing.commits)
    with Store.open(path) as other, other.write() as writing:
        writing.set_state("x", b"3")
    with store.write() as writing:
        assert watch.look(writing.commits)
        assert not watch.look(writing.commits)


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("INSERT OR REPLACE INTO cache VALUES (?, ?)", "cache"),
        ("INSERT OR IGNORE INTO outbox (remote) SELECT ?, id FROM envelopes", "outbox"),
        ("UPDATE state SET crc = ? WHERE name = ?", "state"),
        ("DELETE FROM journal WHERE position <= ?", "journal"),
        ("SELECT name FROM envelopes", None),
    ],
)
def test_a_statement_tells_what_it_changes(sql: str, table: str | None) -> None:
    assert written_by(sql) == table

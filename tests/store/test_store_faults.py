"""A disk that fails at the n-th statement, for every n: the state is before or after, and the next write works."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vaultsync.errors import CommitUnknown, StoreBusy, StoreError, StoreFailed, VaultNotFound
from vaultsync.store import Connection, Store, connect
from vaultsync.store.connection import error_code, translate

ME = b"m" * 16


def failure(code: int, text: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


class Disk:
    """Counts the statements of every connection made through it and fails one of them, before or after it took effect.

    SQLite ends the transaction itself on most such errors; ``ends`` says whether this one did.
    """

    def __init__(self) -> None:
        self.count = 0
        self.fail_at: int | None = None
        self.only = ""
        self.after = self.ends = False
        self.code, self.text = sqlite3.SQLITE_IOERR_WRITE, "disk I/O error"
        self.statements: list[str] = []

    def connect(self, path: Path) -> Connection:
        return FailingConnection(self, connect(path))

    def arm(self, fail_at: int | None, *, only: str = "", after: bool = False, ends: bool = False) -> None:
        self.count, self.fail_at, self.only, self.after, self.ends = 0, fail_at, only, after, ends
        self.statements = []


class FailingConnection:
    def __init__(self, disk: Disk, real: Connection) -> None:
        self.disk, self.real = disk, real

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        disk = self.disk
        if not sql.startswith(disk.only):
            return self.real.execute(sql, parameters)
        disk.count += 1
        disk.statements.append(sql)
        if disk.count != disk.fail_at:
            return self.real.execute(sql, parameters)
        if disk.after:
            self.real.execute(sql, parameters).fetchall()
        elif disk.ends and self.real.in_transaction:
            self.real.execute("ROLLBACK")
        raise failure(disk.code, disk.text)

    def close(self) -> None:
        self.real.close()

    @property
    def in_transaction(self) -> bool:
        return self.real.in_transaction


Scenario = Callable[[Store, int], None]


def edit(store: Store, number: int) -> None:
    with store.write() as writing:
        for row in writing.journal(writing.floor()):
            assert row.sealed
        tip = writing.own_tip(ME)
        seq = tip.seq + 1 if tip else 1
        writing.append(ME, seq, b"%032d" % seq, b"sealed %d" % number)
        writing.set_state("heads", b"%d" % seq)
        writing.set_state(f"extra/{number}", b"x")


def snapshot(store: Store, number: int) -> None:
    with store.write() as writing:
        generation = writing.put_snapshot(writing.position(), b"index", [b"one", b"two"])
        assert writing.confirm_snapshot(generation)


def pack(store: Store, number: int) -> None:
    with store.write() as writing:
        seqs = [row.seq for row in writing.unpacked(ME)]
        writing.put_envelope(f"v/env/{number}", ME, number, b"id", 1, b"data", True)
        writing.packed_up_to(ME, seqs[-1])
        writing.mark_delivered("primary", f"v/env/{number}")


def lock_differently(store: Store, number: int) -> None:
    with store.write() as writing:
        writing.replace_slots([b"slot %d" % number, b"other"])


SCENARIOS: list[Scenario] = [edit, snapshot, pack, lock_differently]


def everything(store: Store) -> Any:
    with store.read() as reading:
        found = reading.snapshot()
        return (
            reading.position(), reading.floor(), list(reading.salvage()), reading.own_tips(), reading.states(),
            reading.slots(), list(reading.envelopes()), list(reading.undelivered("primary")),
            found and (found.generation, found.index, list(found.segments())),
        )  # fmt: skip


def prepare(path: Path, disk: Disk) -> Store:
    store = Store.create(path, header=b"h", slots=[b"s"], connect=disk.connect)
    for number in range(3):
        edit(store, number)
    return store


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(("after", "ends"), [(False, False), (False, True), (True, False)])
def test_every_statement_fails_once(scenario: Scenario, after: bool, ends: bool, tmp_path: Path) -> None:
    disk = Disk()
    reference = prepare(tmp_path / "reference.vault", disk)
    before = everything(reference)
    with reference.write() as writing:
        writing.state("a")
    disk.arm(None)
    scenario(reference, 7)
    statements = disk.count
    wanted = everything(reference)
    reference.close()
    assert statements >= 5
    start = tmp_path / "start.vault"
    prepare(start, disk).close()
    for fail_at in range(1, statements + 1):
        path = tmp_path / f"{fail_at}.vault"
        shutil.copy(start, path)
        with Store.open(path, connect=disk.connect) as store:
            with store.write() as writing:
                writing.state("a")  # both connections are open: the statements counted are the scenario's
            disk.arm(fail_at, after=after, ends=ends)
            with pytest.raises(StoreFailed) as info:
                scenario(store, 7)
            failed = disk.statements[fail_at - 1]
            disk.arm(None)
            assert (failed == "COMMIT") == isinstance(info.value, CommitUnknown), failed
            state = everything(store)
            if failed == "COMMIT" and after:
                assert state == wanted
            else:
                assert state == before, failed
                scenario(store, 7)  # trying again works on the same object
                assert everything(store) == wanted, failed
            edit(store, 8)
            assert store.check().ok
        with Store.open(path) as again, again.read() as reading:
            assert reading.state("extra/8") == b"x"


def test_after_a_failed_commit_the_store_says_whether_it_happened(tmp_path: Path) -> None:
    for after in (False, True):
        disk = Disk()
        with prepare(tmp_path / f"{after}.vault", disk) as store, Store.open(store.path) as other:
            disk.arm(1, only="COMMIT", after=after)
            with pytest.raises(CommitUnknown):
                edit(store, 9)
            disk.arm(None)
            with store.read() as reading:
                assert reading.has_change(b"%032d" % 4) == after
                assert reading.position() == 3 + after
            assert store.changed_elsewhere(), "an unknown outcome counts as news"
            assert other.changed_elsewhere()
            edit(other, 10)


def test_a_disk_that_stays_broken(tmp_path: Path) -> None:
    """Every COMMIT fails for a while, also the one that settles; reading goes on, and writing when the disk is back."""
    disk = Disk()
    with prepare(tmp_path / "ann.vault", disk) as store:
        for _ in range(3):
            for statement in ("COMMIT", "BEGIN IMMEDIATE", "INSERT INTO journal"):
                disk.arm(None)
                disk.only = statement
                disk.fail_at = 1
                with pytest.raises(StoreFailed):
                    edit(store, 9)
        disk.arm(None)
        assert everything(store)[0] == 3
        edit(store, 9)
        assert everything(store)[0] == 4


def test_nothing_is_accepted_after_a_failed_step(tmp_path: Path) -> None:
    """SQLite ended the transaction: going on would store the rest alone, each statement for itself."""
    disk = Disk()
    with prepare(tmp_path / "ann.vault", disk) as store:
        before = everything(store)
        disk.arm(1, only="INSERT INTO journal", ends=True)
        with pytest.raises(StoreFailed, match="nothing was stored"), store.write() as writing:  # noqa: PT012
            with pytest.raises(StoreFailed):
                writing.append(ME, 4, b"h" * 32, b"x")
            with pytest.raises(StoreFailed):
                writing.set_state("half", b"x")
        assert everything(store) == before


def test_a_failed_look_inside_a_write_ends_it_too(tmp_path: Path) -> None:
    disk = Disk()
    with prepare(tmp_path / "ann.vault", disk) as store:
        before = everything(store)
        disk.arm(1, only="SELECT name, sealed", ends=True)
        with pytest.raises(StoreFailed, match="nothing was stored"), store.write() as writing:  # noqa: PT012
            with pytest.raises(StoreFailed):
                writing.state("heads")
            with pytest.raises(StoreFailed):
                writing.quarantine("half", "reason", b"x")
        disk.arm(None)
        assert everything(store) == before
        with store.read() as reading:
            assert not list(reading.quarantined())


@pytest.mark.parametrize("after", [False, True])
def test_creating_fails_at_every_statement(after: bool, tmp_path: Path) -> None:
    disk = Disk()
    disk.arm(None)
    Store.create(tmp_path / "reference.vault", header=b"h", slots=[b"s"], connect=disk.connect).close()
    statements = disk.count
    path = tmp_path / "ann.vault"
    for fail_at in range(1, statements + 1):
        disk.arm(fail_at, after=after)
        with pytest.raises(StoreFailed):
            Store.create(path, header=b"h", slots=[b"s"], connect=disk.connect)
        disk.arm(None)
        try:
            store = Store.open(path)  # failed after it got its name
        except VaultNotFound:
            store = Store.create(path, header=b"h", slots=[b"s"], connect=disk.connect)
        with store:
            assert store.slots == [b"s"]
            assert store.check().ok
        path.unlink()
        assert {file.name for file in tmp_path.iterdir() if "reference" not in file.name} == {"ann.vault-lock"}


def test_reading_fails_and_goes_on(tmp_path: Path) -> None:
    disk = Disk()
    with prepare(tmp_path / "ann.vault", disk) as store:
        wanted = everything(store)
        disk.arm(None)
        everything(store)
        for fail_at in range(1, disk.count + 1):
            disk.arm(fail_at, ends=fail_at % 2 == 0)
            if disk.statements and disk.statements[-1] == "ROLLBACK":
                continue
            try:
                everything(store)
            except StoreError as error:
                assert isinstance(error, StoreFailed)  # noqa: PT017
            disk.arm(None)
            assert everything(store) == wanted


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (sqlite3.SQLITE_FULL, StoreFailed, "disk is full"),
        (sqlite3.SQLITE_READONLY, StoreFailed, "read-only"),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreFailed, "disk reported an error"),
        (sqlite3.SQLITE_CANTOPEN, StoreFailed, "could not be opened"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusy, "try again"),
        (sqlite3.SQLITE_CORRUPT_VTAB, StoreError, "damaged"),
        (sqlite3.SQLITE_IOERR_SHORT_READ, StoreError, "damaged"),
        (sqlite3.SQLITE_ERROR, StoreFailed, "refused"),
    ],
)
def test_every_code_has_its_error(code: int, kind: type[StoreError], words: str, tmp_path: Path) -> None:
    error = translate(failure(code, "whatever"), tmp_path / "ann.vault", "saving")
    assert isinstance(error, kind)
    assert words in str(error)
    assert "ann.vault" in str(error)


def test_codes_of_other_drivers_are_found() -> None:
    class ApswError(Exception):
        extendedresult = sqlite3.SQLITE_IOERR_FSYNC

    assert error_code(ApswError()) == sqlite3.SQLITE_IOERR_FSYNC
    assert error_code(MemoryError()) == sqlite3.SQLITE_NOMEM
    assert error_code(ValueError()) is None


def test_a_full_disk(tmp_path: Path) -> None:
    """A real SQLITE_FULL, by a limit on the number of pages."""
    pages: list[Connection] = []

    def small(path: Path) -> Connection:
        pages.append(connect(path))
        return pages[-1]

    with Store.create(tmp_path / "ann.vault", header=b"h", slots=[b"s"], connect=small) as store:
        edit(store, 1)
        before = everything(store)
        pages[-1].execute("PRAGMA max_page_count = 60").fetchall()
        with pytest.raises(StoreFailed, match="full"), store.write() as writing:
            writing.put_snapshot(1, b"index", [bytes(60_000)] * 20)
        assert everything(store) == before
        edit(store, 2)
        assert store.check().ok

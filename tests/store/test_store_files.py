"""The file: how it comes to be, what it refuses, who may read it, and one typed error for everything else."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from vaultsync import limits
from vaultsync.errors import (
    DamagedStore,
    StoreBusy,
    StoreFailed,
    UpdateRequired,
    VaultClosed,
    VaultExists,
    VaultNotFound,
)
from vaultsync.store import Connection, FileLock, Slot, Store, connect, files, tables

POSIX_ONLY = pytest.mark.skipif(os.name != "posix", reason="modes and fork are POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ann's ünusual #1 ?%41.vault"


def make(path: Path) -> Store:
    return Store.create(path, header=b"header", slots=[b"slot"])


def test_what_was_created_is_opened(path: Path) -> None:
    with Store.create(path, header=b"\0h", slots=[b"one", Slot("keyring", b"two")]) as store:
        assert store.slots == [b"one", b"two"]
        assert store.keyed_slots() == [Slot("password", b"one"), Slot("keyring", b"two")]
    with Store.open(path) as store:
        assert store.header == b"\0h"
        assert not store.closed
        assert store.check().ok
    assert store.closed
    store.close()
    for call in (store.changed_elsewhere, store.check, store.read().__enter__, store.write().__enter__):
        with pytest.raises(VaultClosed):
            call()


@POSIX_ONLY
def test_only_the_owner_reads_it(path: Path) -> None:
    old = os.umask(0)
    try:
        with make(path) as store:
            with store.write() as writing:
                writing.set_state("a", b"1")
            for file in path.parent.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
            assert len(list(path.parent.iterdir())) == 4
        path.chmod(0o644)
        with Store.open(path) as store:
            with store.write() as writing:
                writing.set_state("a", b"2")
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(old)


def test_the_settings_that_durability_rests_on(path: Path) -> None:
    with make(path) as store, store.write() as writing:
        writing.set_state("a", b"1")
        for database in (store._reader, store._writer):
            assert database is not None
            values = {name: database.pragma("testing", name) for name in (
                "journal_mode", "synchronous", "trusted_schema", "cell_size_check", "application_id", "user_version",
                "busy_timeout", "secure_delete", "auto_vacuum",
            )}  # fmt: skip
            assert values == {
                "journal_mode": "wal", "synchronous": 2, "trusted_schema": 0, "cell_size_check": 1,
                "application_id": tables.APPLICATION_ID, "user_version": tables.VERSION,
                "busy_timeout": limits.BUSY_SECONDS * 1000, "secure_delete": 2, "auto_vacuum": 2,
            }  # fmt: skip


# ---- creating
def test_creating_never_replaces_anything(path: Path) -> None:
    for content in (b"", b"precious"):
        path.write_bytes(content)
        with pytest.raises(VaultExists):
            make(path)
        assert path.read_bytes() == content
    path.unlink()
    path.mkdir()
    with pytest.raises(VaultExists):
        make(path)
    path.rmdir()
    path.symlink_to("nowhere")
    with pytest.raises(VaultExists):
        make(path)
    assert not (path.parent / "nowhere").exists()


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def late(temporary: Path) -> Connection:
        path.write_bytes(b"precious")
        return connect(temporary)

    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(VaultExists):
        Store.create(path, header=b"", slots=[b"s"], connect=late)
    assert path.read_bytes() == b"precious"
    assert files.leftovers(path) == []


def test_a_log_of_a_deleted_vault_is_not_replayed_into_a_new_one(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"the only copy of something")
    with pytest.raises(VaultExists, match="left of an earlier vault"):
        make(path)
    assert log.exists()


def test_creating_without_a_slot_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="slot"):
        Store.create(path, header=b"", slots=[])
    assert not path.exists()


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_creating_works_without_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def no_link(*_: object) -> None:
        raise OSError(code, "no hard links here")

    monkeypatch.setattr(os, "link", no_link)
    make(path).close()
    with pytest.raises(VaultExists):
        make(path)
    Store.open(path).close()
    assert files.leftovers(path) == []


def test_leftovers_of_killed_creations_go(path: Path) -> None:
    for name in ("abc.creating", "abc.creating-wal", "x.creating-journal"):
        path.with_name(f".{path.name}.{name}").write_bytes(b"half")
    other = path.with_name(".other.vault.abc.creating")
    other.write_bytes(b"not ours")
    path.touch()  # reserved by a creation on a disk without hard links
    make(path).close()
    assert files.leftovers(path) == []
    assert other.exists()
    # killed after the file got its name and before the temporary one went
    temporary = path.with_name(f".{path.name}.zzz.creating")
    os.link(path, temporary)
    Store.open(path).close()
    assert not temporary.exists()
    assert path.stat().st_nlink == 1


def test_a_creation_under_way_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUSY_SECONDS", 0.05)
    half = path.with_name(f".{path.name}.abc.creating")
    half.write_bytes(b"half")
    lock = FileLock(files.lock_path(path))
    assert lock.acquire()
    with pytest.raises(StoreBusy):
        make(path)
    assert files.clean(path) == 0
    assert half.exists()
    lock.release()
    make(path).close()
    assert not half.exists()


def test_two_creations_at_once_make_one_vault(path: Path) -> None:
    results: list[object] = []

    def race(number: int) -> None:
        try:
            results.append(Store.create(path, header=b"%d" % number, slots=[b"s"]))
        except VaultExists as error:
            results.append(error)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [result for result in results if isinstance(result, Store)]
    assert len(made) == 1
    assert len(results) == 4
    with Store.open(path) as store:
        assert store.header == made[0].header
    made[0].close()


# ---- refusing
def test_places_that_cannot_be(path: Path, tmp_path: Path) -> None:
    with pytest.raises(VaultNotFound, match="no vault at"):
        Store.open(path)
    assert not list(tmp_path.iterdir()), "looking leaves nothing behind"
    with pytest.raises(VaultNotFound, match="folder"):
        Store.open(tmp_path)
    with pytest.raises(StoreFailed, match="does not exist"):
        make(tmp_path / "missing" / "ann.vault")
    with pytest.raises(VaultNotFound):
        Store.open(tmp_path / "missing" / "ann.vault")
    path.write_bytes(b"a file")
    with pytest.raises(VaultNotFound):
        Store.open(path / "ann.vault")
    with pytest.raises(StoreFailed):
        make(path / "ann.vault")


def test_files_that_are_no_vault_stay_as_they_are(path: Path) -> None:
    for content in (b"", b"Dear diary", b"x" * 5000):
        path.write_bytes(content)
        with pytest.raises(VaultNotFound, match="not a vault"):
            Store.open(path)
        assert path.read_bytes() == content
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE recipes (id)")
    database.commit()
    database.close()
    before = path.read_bytes()
    with pytest.raises(VaultNotFound, match="another program"):
        Store.open(path)
    assert path.read_bytes() == before


def alter(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def test_a_newer_file_asks_for_an_update(path: Path) -> None:
    make(path).close()
    alter(path, f"PRAGMA user_version = {tables.VERSION + 1}")
    with pytest.raises(UpdateRequired):
        Store.open(path)
    alter(path, f"PRAGMA user_version = {limits.MAX_STORE_VERSION + 1}")
    with pytest.raises(DamagedStore):
        Store.open(path)


def test_a_file_that_is_updated_under_an_open_store_is_not_touched_any_more(path: Path) -> None:
    with make(path) as store:
        with store.write() as writing:
            writing.set_state("a", b"1")
        alter(path, f"PRAGMA user_version = {tables.VERSION + 1}")
        with pytest.raises(UpdateRequired), store.read() as reading:
            reading.position()
        with pytest.raises(UpdateRequired), store.write() as writing:
            writing.set_state("a", b"2")


def test_foreign_definitions_are_refused(path: Path) -> None:
    make(path).close()
    alter(path, "CREATE TRIGGER t AFTER INSERT ON journal BEGIN DELETE FROM journal; END")
    with pytest.raises(DamagedStore):
        Store.open(path)


def test_an_older_file_is_brought_forward(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mechanism, on a step of tomorrow: in one transaction, once, and the result equals a file made new."""
    make(path).close()
    tomorrow = (
        *tables.STEPS,
        (
            "CREATE TABLE pages (id INTEGER PRIMARY KEY)",
            "ALTER TABLE tally ADD COLUMN pages INTEGER NOT NULL DEFAULT 0",
        ),
    )
    broken = (*tables.STEPS, ("CREATE TABLE pages (id INTEGER PRIMARY KEY)", "CREATE TABLE pages (again)"))
    monkeypatch.setattr(tables, "STEPS", tomorrow)
    monkeypatch.setattr(tables, "VERSION", len(tomorrow))
    migrate = tables.migrate
    monkeypatch.setattr(tables, "migrate", lambda database: migrate(database, broken))
    with pytest.raises(StoreFailed):
        Store.open(path)
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (len(tomorrow) - 1,), "rolled back as a whole"
    database.close()
    monkeypatch.setattr(tables, "migrate", lambda database: migrate(database, tomorrow))
    Store.open(path).close()
    Store.open(path).close()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (len(tomorrow),)
    assert database.execute("SELECT pages FROM tally").fetchone() == (0,)
    database.close()


@POSIX_ONLY
def test_a_read_only_folder(tmp_path: Path) -> None:
    script = """
import os, sys
from vaultsync.errors import StoreFailed
from vaultsync.store import Store
if os.geteuid() == 0:  # root may write anywhere
    os.setgid(65534)
    os.setuid(65534)
def create(): Store.create(sys.argv[1] + "2", header=b"", slots=[b"s"])
def open(): Store.open(sys.argv[1])
for call in create, open:
    try:
        call()
    except StoreFailed as error:
        print("typed", error)
"""
    with tempfile.TemporaryDirectory() as folder:  # not below tmp_path, which others than root may not even enter
        path = Path(folder) / "ann.vault"
        make(path).close()
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
        Path(folder).chmod(0o755)
        assert done.stdout.count("typed") == 2, done.stdout + done.stderr
        assert "permission" in done.stdout
        assert "read-only" in done.stdout or "writable" in done.stdout
        Path(folder).chmod(0o700)
        inside = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
        if os.geteuid() == 0:  # somebody else's folder, which may not even be looked into
            assert inside.stdout.count("typed") == 2, inside.stdout + inside.stderr


# ---- being used by several
def test_busy_is_one_typed_error_and_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUSY_SECONDS", 0.1)
    with make(path) as store, Store.open(path) as other:
        with store.write() as writing:
            writing.set_state("a", b"1")
            with pytest.raises(StoreBusy), other.write():
                pass
            with other.read() as reading:  # readers do not wait
                assert reading.state("a") is None
        with other.write() as writing:
            assert writing.state("a") == b"1"


def test_a_reader_does_not_wait_for_a_thread_that_waits_for_another_process(path: Path) -> None:
    with make(path) as store, Store.open(path) as other, ExitStack() as long:
        long.enter_context(other.write()).set_state("a", b"1")
        started = threading.Event()

        def wait() -> None:
            started.set()
            with store.write() as writing:
                writing.set_state("b", b"1")

        thread = threading.Thread(target=wait)
        thread.start()
        assert started.wait(5)
        done: list[bytes | None] = []

        def look() -> None:
            with store.read() as reading:
                done.append(reading.state("a"))
            store.changed_elsewhere()

        looker = threading.Thread(target=look)
        looker.start()
        looker.join(5)
        assert done == [None], "the reader finished while the writer was waiting"
        assert thread.is_alive()
        long.close()
        thread.join(10)
        assert not thread.is_alive()


def test_a_reader_keeps_its_picture(path: Path) -> None:
    with make(path) as store, Store.open(path) as other:
        with store.read() as reading:
            with other.write() as writing:
                writing.append(b"a" * 16, 1, b"h" * 32, b"x")
            assert reading.position() == 0
            assert not store.changed_elsewhere()
            assert list(reading.journal()) == []
            with store.read() as nested:
                assert nested is reading
        assert store.changed_elsewhere()
        assert not store.changed_elsewhere()
        with pytest.raises(RuntimeError, match="over"):
            reading.position()


def test_changed_elsewhere_means_elsewhere(path: Path) -> None:
    with make(path) as store, Store.open(path) as other:
        for number in range(3):
            with store.write() as writing:
                writing.set_state("a", b"%d" % number)
            assert not store.changed_elsewhere()
            assert other.changed_elsewhere()
            with other.write() as writing:
                writing.set_state("b", b"%d" % number)
            with store.write() as writing:
                writing.set_state("c", b"%d" % number)
            assert store.changed_elsewhere()
            assert not store.changed_elsewhere()
            assert other.changed_elsewhere()
        with other.write() as writing:
            writing.state("a")  # nothing written
        assert not store.changed_elsewhere()


def test_writes_see_themselves_and_do_not_nest(path: Path) -> None:
    with make(path) as store:
        with store.write() as writing:
            writing.set_state("a", b"1")
            with store.read() as reading:
                assert reading.state("a") == b"1"
            with pytest.raises(RuntimeError, match="write transaction"), store.write():
                pass
            with pytest.raises(RuntimeError):
                store.close()
            store.changed_elsewhere()
        with pytest.raises(ZeroDivisionError), store.write() as writing:  # noqa: PT012 (the block is what is rolled back)
            writing.set_state("a", b"2")
            raise ZeroDivisionError
        with store.read() as reading:
            assert reading.state("a") == b"1"


@POSIX_ONLY
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_must_open_it_again(path: Path) -> None:
    with make(path) as store:
        context = multiprocessing.get_context("fork")
        child = context.Process(target=_in_child, args=(store,))
        child.start()
        child.join(20)
        assert child.exitcode == 7
        with store.write() as writing:
            writing.set_state("a", b"1")


def _in_child(store: Store) -> None:
    try:
        with store.read():
            os._exit(1)
    except StoreFailed:
        store.close()
        os._exit(7)


def test_the_pusher_lock_is_for_one(path: Path) -> None:
    with make(path) as store, Store.open(path) as other:
        with store.pusher_lock() as mine:
            assert mine
            with other.pusher_lock() as theirs:
                assert not theirs
            lock = store.pusher_lock()
            assert not lock.acquire(wait=0.05)
            assert not lock.held
        assert lock.acquire()
        assert not lock.acquire(), "not reentrant"
        lock.release()
        lock.release()
        script = (
            "import sys, time\nfrom vaultsync.store import Store\n"
            "lock = Store.open(sys.argv[1]).pusher_lock()\nprint(lock.acquire(), flush=True)\ntime.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "True"
            assert not lock.acquire()
            process.kill()
        assert lock.acquire(wait=5), "released when its process died"
        lock.release()


def test_old_key_slots_are_nowhere_in_the_file(path: Path) -> None:
    old = bytes(range(1, 250)) * 40  # spills over several pages
    with Store.create(path, header=b"", slots=[old, Slot("keyring", b"old keyring slot")]) as store:
        assert store.replace_slots([b"new"])
        assert store.slots == [b"new"]
        everything = path.read_bytes() + path.with_name(path.name + "-wal").read_bytes()
        assert old[:64] not in everything
        assert b"old keyring slot" not in everything
        with store.write() as writing, pytest.raises(ValueError, match="slot"):
            writing.replace_slots([])


def test_space_comes_back(path: Path) -> None:
    with make(path) as store:
        for position in range(1, 4):
            with store.write() as writing:
                writing.append(b"a" * 16, position, bytes([position]) * 32, b"x")
                generation = writing.put_snapshot(position, b"i", [os.urandom(60_000) for _ in range(20)])
            with store.write() as writing:
                assert writing.confirm_snapshot(generation)
        assert store.trim() > 1_000_000
        assert store.trim() == 0
        assert store.scrub()
        assert path.stat().st_size < 1_500_000
        assert store.check().ok


def test_the_default_factory_never_creates(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connect(path)
    assert not path.exists()

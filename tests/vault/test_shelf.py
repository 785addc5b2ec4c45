"""The shelf: reading needs no document, and what lies there is right or it is not used."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.view.test_stored import agree
from vaultsync import limits
from vaultsync.document.engine import Engine
from vaultsync.errors import EntryNotFound
from vaultsync.schema.kinds import note, secret, tags, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import MemoryRemote, environment, memory_vault
from vaultsync.testing.seeded import Clock
from vaultsync.testing.vaults import KEY
from vaultsync.vault import preparing
from vaultsync.vault import shelf as shelves
from vaultsync.vault.desk import Quota
from vaultsync.vault.vault import Vault
from vaultsync.view.picture import View

LOGIN = EntryType(
    "login",
    label="Login",
    fields=[
        Field("title", text),
        Field("password", secret),
        Field("notes", note),
        Field("labels", tags),
        Field("place", text, since=2),
        Field("site", text, since=2, platforms={"ios"}),
    ],
)
PASS = EntryType("pass", label="Pass", since=2, fields=[Field("title", text, since=2)])
OLD = EntryType("fax", label="Fax", until=2, fields=[Field("title", text)])
SCHEMA = Schema("app", version=2, platform="linux", types=[LOGIN, PASS, OLD])
SHELF = 40  # bits of the number of a row; its part is above


SEEDS = count()


def reopen(path: Path, schema: Schema = SCHEMA, seed: str = "again") -> Vault:
    world = environment(f"{seed} {next(SEEDS)}")  # two processes never draw the same random numbers
    return Vault.open(path, schema=schema, key=KEY, environment=world, background=False)


def truth(vault: Vault) -> View:
    """What evaluating the document gives."""
    picture = vault._picture
    return View.build(vault._ledger.engine.read_all(), vault.schema, picture.context)


def check(vault: Vault, *, prepared: bool | None = False) -> None:
    """The view is right; ``prepared``: whether it took the document."""
    view = vault.view()
    if prepared is not None:
        assert vault._ledger.prepared is prepared
    agree(view, truth(vault))


def fill(vault: Vault, count: int = 150) -> list[str]:
    """Entries of every kind and status."""
    ids = []
    with vault.batch():
        for number in range(count):
            entry = vault.add(
                "login", title=f"title {number}", password="p", notes="a\nb", labels={"x", f"y{number % 3}"}
            )
            ids.append(entry.id)
    vault.delete(ids[3])
    vault.purge(ids[4])
    vault.update(ids[5], password=None)
    return ids


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed vault whose shelf has a base and some records."""
    path = tmp_path / "ann.vault"
    with Vault.create(path, schema=SCHEMA, key=KEY, environment=environment("maker")) as vault:
        ids = fill(vault)
        vault.view()
        vault.update(ids[7], title="recorded")
        vault.add("pass", title="recorded too")
    return path


# ---- what needs no document ---------------------------------------------------------------------------------------
def test_reading_never_loads_the_document(path: Path, tmp_path: Path) -> None:
    with reopen(path) as vault:
        view = vault.view()
        assert len(view) == 149
        titles = {number: f"title {number}" for number in range(150) if number not in (3, 4)} | {7: "recorded"}
        assert [entry.title for entry in view] == [*titles.values(), "recorded too"]
        assert [entry["title"] for entry in view.entries[-2:]] == ["title 149", "recorded too"]
        assert len(view.search("recorded")) == 2
        assert len(view.where(type="login", labels="y1")) == 49
        assert len(view.trash) == 2
        assert view.notices == ()
        assert view.counted == 149
        vault.quota = Quota(max_entries=200)
        assert [device.name for device in vault.devices] == ["This device"]
        assert not vault.upgrade_plan()
        assert vault.export(tmp_path / "out.json").entries == 151
        assert vault.status.remote is None
        assert vault.drift == ()
        with pytest.raises(EntryNotFound):
            vault.view()["nobody"]
        assert not vault._ledger.prepared
        assert vault.view().entries[0].conflicts == {}
        assert vault._ledger.prepared  # conflicts are the document's


def test_an_edit_loads_the_document_and_the_view_goes_on(path: Path) -> None:
    with reopen(path) as vault:
        before = vault.view()
        chosen = before.entries[20]
        reads = vault._ledger.shelf.counts.rows_read
        vault.update(chosen, title="changed")
        after = vault.view()
        assert after[chosen.id].title == "changed"
        assert before[chosen.id].title == chosen.title == "title 22"
        assert after._state.table is before._state.table  # nothing was read or evaluated again
        assert vault._ledger.shelf.counts.rows_read - reads <= 4
        check(vault, prepared=True)
    with reopen(path) as vault:
        assert vault.view()[chosen.id].title == "changed"
        check(vault)


def test_another_process_is_followed_without_the_document(path: Path) -> None:
    with reopen(path, seed="reader") as reader, reopen(path, seed="writer") as writer:
        before = reader.view()
        entry = writer.add("login", title="made elsewhere")
        writer.update(before.entries[1].id, title="changed elsewhere")
        counts = reader._ledger.shelf.counts
        rows, records = counts.rows_read, counts.records_read
        after = reader.view()
        assert after[entry.id].title == "made elsewhere"
        assert after[before.entries[1].id].title == "changed elsewhere"
        assert (counts.rows_read - rows, counts.records_read - records) == (3, 2)
        check(reader)
        reader.update(entry, title="and changed here")
        assert writer.view()[entry.id].title == "and changed here"
        check(writer, prepared=True)


def test_two_processes_that_take_turns_agree(path: Path) -> None:
    rng = random.Random("turns")
    with reopen(path, seed="one") as one, reopen(path, seed="two") as two:
        for turn in range(12):
            vault = rng.choice((one, two))
            for _ in range(rng.randint(1, 3)):
                act(vault, rng)
            if rng.random() < 0.3:
                vault._picture.shelve()
            check(rng.choice((one, two)), prepared=None)
            assert one._ledger.on_shelf(), turn
    with reopen(path) as vault:
        check(vault)


def act(vault: Vault, rng: random.Random) -> None:
    """Something that a person does."""
    view = vault.view()
    every = [*view.entries, *view.trash]
    entry = rng.choice(every) if every else None
    kind = rng.choice(["add", "update", "update", "delete", "restore", "purge", "batch"])
    if kind == "add" or entry is None:
        vault.add("login", title=f"t{rng.random()}", labels={rng.choice("abc")}, notes="x\ny")
    elif kind == "update" and entry.writable:
        vault.update(entry, title=f"u{rng.random()}")
    elif kind == "delete":
        vault.delete(entry)
    elif kind == "restore":
        vault.restore(entry)
    elif kind == "purge":
        vault.purge(entry)
    else:
        with vault.batch():
            vault.add("login", title="in a batch")
            vault.add("pass" if vault.schema.version > 1 else "fax", title="in a batch")


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history_the_shelf_says_what_the_document_says(tmp_path: Path, seed: int) -> None:
    """Edits, merges, reopening, other versions and platforms in any order."""
    rng = random.Random(f"shelf {seed}")
    remote = MemoryRemote()
    phone = memory_vault(SCHEMA.at(1, "ios"), remote=remote, seed=f"phone {seed}")
    laptop = memory_vault(SCHEMA, joins=phone, seed=f"laptop {seed}")
    place = Path(laptop.path)
    versions = [SCHEMA, SCHEMA.at(1), SCHEMA.at(2, "ios"), SCHEMA]
    for turn in range(25):
        step = rng.random()
        if step < 0.5:
            act(rng.choice((laptop, phone)), rng)
        elif step < 0.75:
            phone.sync()
            laptop.sync()
            phone.sync()
        else:
            Vault.close(laptop)
            with reopen(place, rng.choice(versions), f"turn {turn}") as other:
                check(other, prepared=None)
                first = other._ledger.prepared
                if not first:
                    assert other._ledger.shelf.state is not None
            laptop.__dict__.update(reopen(place, rng.choice(versions), f"back {turn}").__dict__)
            laptop.connect("memory://", remote=remote)
            laptop.auto_sync = False
        check(rng.choice((laptop, phone)), prepared=None)
    phone.close()
    laptop.close()


# ---- other versions -----------------------------------------------------------------------------------------------
def test_another_version_evaluates_the_pages_again_and_says_how_far_it_is(path: Path) -> None:
    older = SCHEMA.at(1)
    with reopen(path, older) as vault:
        told: list[tuple[int, int]] = []
        view = vault.view(progress=lambda done, total: told.append((done, total)))
        assert told == [(0, 150), (150, 150)]
        assert [notice.count for notice in view.notices][-1] == 1
    with reopen(path, older) as vault:
        told.clear()
        vault.view(progress=lambda done, total: told.append((done, total)))
        assert told == []
        check(vault)
    with reopen(path) as vault:
        check(vault, prepared=None)  # says in the census which version it is: a change


# ---- what is damaged, old, or somebody else's ---------------------------------------------------------------------
def rows(path: Path) -> dict[int, bytes]:
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute("SELECT id, sealed FROM cache").fetchall())


def put(path: Path, changes: dict[int, bytes | None]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for number, sealed in changes.items():
            if sealed is None:
                database.execute("DELETE FROM cache WHERE id = ?", (number,))
            else:
                database.execute("INSERT OR REPLACE INTO cache VALUES (?, ?)", (number, sealed))


def flipped(sealed: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(sealed))
    return sealed[:at] + bytes([sealed[at] ^ 1 << rng.randrange(8)]) + sealed[at + 1 :]


DAMAGES: dict[str, Callable[[dict[int, bytes], int, random.Random], dict[int, bytes | None]]] = {
    "a bit": lambda rows, at, rng: {at: flipped(rows[at], rng)},
    "gone": lambda rows, at, rng: {at: None},
    "exchanged": lambda rows, at, rng: {at: rows[other := rng.choice([n for n in rows if n != at])], other: rows[at]},
    "cut off": lambda rows, at, rng: {at: rows[at][: len(rows[at]) // 2]},
    "empty": lambda rows, at, rng: {at: b""},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_row_is_noticed_and_made_anew(path: Path, damage: str) -> None:
    kept = path.read_bytes()
    whole = rows(path)
    assert {number >> SHELF for number in whole} == {shelves.LOG, shelves.COLUMNS, shelves.INDEX, shelves.PAGES}
    for at in whole:
        rng = random.Random(f"{damage} {at}")
        path.write_bytes(kept)
        put(path, DAMAGES[damage](whole, at, rng))
        with reopen(path) as vault:
            check(vault, prepared=None)
            assert vault._ledger.prepared, f"row {at} ({damage}) was used"
            check(vault, prepared=True)
            vault.view()
        with reopen(path) as vault:
            check(vault)  # it was made anew


def test_a_check_says_what_is_wrong_with_it(path: Path) -> None:
    with reopen(path) as vault:
        assert any("quick" in line for line in vault.check().whole)
    page = shelves.PAGES << SHELF | 1
    put(path, {page: b"x"})
    with reopen(path) as vault:
        health = vault.check()
        assert health.ok  # nothing is lost
        assert any("1 of its 2 pages" in line for line in health.details)
        assert vault.check().ok
        check(vault, prepared=True)


def test_an_older_shelf_put_back_is_noticed(path: Path) -> None:
    older = rows(path)
    with reopen(path) as vault:
        vault.update(vault.view().entries[0], title="newer")
        vault.delete(vault.view().entries[1])
    newer = rows(path)
    put(path, {number: older.get(number) for number in newer | older})
    with reopen(path) as vault:
        check(vault, prepared=None)
        assert vault.view().entries[0].title == "newer"


def test_an_older_page_or_record_put_back_is_noticed(path: Path) -> None:
    older = rows(path)
    with reopen(path) as vault:
        vault.update(vault.view().entries[0], title="newer")
        vault._picture.shelve()
        vault.update(vault.view().entries[0], title="newest")
    kept, newer = path.read_bytes(), rows(path)
    for at, sealed in older.items():
        path.write_bytes(kept)
        put(path, {at: sealed})
        with reopen(path) as vault:
            assert newer.get(at) != sealed
            check(vault, prepared=None)
            assert vault.view().entries[0].title == "newest"


def test_a_file_that_went_back_does_not_believe_a_shelf_from_its_future(path: Path) -> None:
    kept = path.read_bytes()
    with reopen(path) as vault:
        vault.update(vault.view().entries[0], title="never happened")
    future = rows(path)
    path.write_bytes(kept)
    with reopen(path, seed="another branch") as vault:
        vault.update(vault.view().entries[0], title="happened")  # as many changes, and other ones
    put(path, future)
    with reopen(path) as vault:
        check(vault, prepared=None)
        assert vault.view().entries[0].title == "happened"


def test_a_shelf_of_another_vault_does_not_open(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "bob.vault"
    with Vault.create(other, schema=SCHEMA, key=KEY, environment=environment("bob")) as vault:
        fill(vault)
        vault.view()
    put(path, dict.fromkeys(rows(path)) | rows(other))
    with reopen(path) as vault:
        check(vault, prepared=None)
        assert vault._ledger.prepared


def test_a_page_that_is_damaged_while_a_view_is_held_is_read_from_the_document(path: Path) -> None:
    with reopen(path) as vault:
        view = vault.view()
        put(path, {number: b"x" for number in rows(path) if number >> SHELF == shelves.PAGES})
        assert [entry["title"] for entry in view] == [entry.title for entry in view]
        check(vault, prepared=True)
    with reopen(path) as vault:
        check(vault)


# ---- views outlive it ---------------------------------------------------------------------------------------------
def test_a_view_outlives_its_base_and_its_vault(path: Path) -> None:
    with reopen(path) as vault:
        first = vault.view()
        expected = [(entry.id, dict(entry.fields)) for entry in truth(vault)]
        vault.update(first.entries[0], title="later")
        vault._picture.shelve()
        second = vault.view()
    assert [(entry.id, dict(entry.fields)) for entry in second][1:] == expected[1:]
    assert second.entries[0]["title"] == "later"
    with reopen(path) as vault:
        third = vault.view()
        with reopen(path, seed="another") as other:
            other.update(third.entries[0], title="latest")
            other._picture.shelve()
        assert [(entry.id, dict(entry.fields)) for entry in third][1:] == expected[1:]
        assert third.entries[0]["title"] == "later"
        assert vault.view().entries[0]["title"] == "latest"


def test_many_changes_make_a_new_base(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "LEAST_LOG", 10)
    monkeypatch.setattr(shelves, "LOG_SHARE", 10)
    with reopen(path) as vault:
        ids = [entry.id for entry in vault.view()]
        for number in range(40):
            vault.update(ids[number], title=f"again {number}")
            vault.view()
            assert len(vault._ledger.shelf.entries) <= 16
        check(vault, prepared=True)
    assert len([number for number in rows(path) if number >> SHELF == shelves.LOG]) < 20
    with reopen(path) as vault:
        check(vault)


def test_records_are_summed_up_and_others_follow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "MOST_LOOSE", 5)
    with reopen(path) as vault, reopen(path, seed="reader") as reader, reopen(path, seed="writer") as writer:
        for each in (vault, reader, writer):
            each.view()
        ids = [entry.id for entry in vault.view()]
        for number in range(23):
            (vault if number % 7 else writer).update(ids[number % 9], title=f"again {number}")
            if number % 4 == 0:
                table = reader.view()._state.table
                check(reader, prepared=None)
                assert reader.view()._state.table is table  # followed, not read again
        check(vault, prepared=True)
        check(writer, prepared=True)
    assert len([number for number in rows(path) if number >> SHELF == shelves.LOG]) <= 8
    with reopen(path) as vault:
        check(vault)


def test_an_old_census_row_waits_for_an_edit(path: Path) -> None:
    later = environment("later")
    assert isinstance(later.now_ms, Clock)
    later.now_ms.advance(30 * 24 * 3600 * 1000)
    with Vault.open(path, schema=SCHEMA, key=KEY, environment=later, background=False) as vault:
        check(vault)
        row = vault._ledger.section("devices")
        vault.add("login", title="an edit")
        assert vault._ledger.section("devices") != row
        check(vault, prepared=True)


def test_the_document_is_prepared_when_somebody_says_so(path: Path) -> None:
    with reopen(path) as vault:
        view = vault.view()
        assert not vault.prepared
        vault.prepare()
        assert vault.prepared
        assert vault.view()._state.table is view._state.table  # what was read stays
        vault.prepare()
        vault.update(view.entries[0], title="at once")
        check(vault, prepared=True)


@pytest.mark.parametrize(("preload", "prepared"), [(None, True), (True, True), (False, False)])
def test_a_small_vault_is_prepared_in_the_background(
    path: Path, monkeypatch: pytest.MonkeyPatch, preload: bool | None, prepared: bool
) -> None:
    monkeypatch.setattr(preparing, "DELAY", 0.0)
    world = environment("background")
    with Vault.open(path, schema=SCHEMA, key=KEY, environment=world, preload=preload) as vault:
        deadline = time.monotonic() + 20
        while vault.prepared is not prepared and time.monotonic() < deadline:
            time.sleep(0.01)
        assert vault.prepared is prepared
        check(vault, prepared=None)


def test_a_large_vault_is_not_prepared_unasked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "DELAY", 0.0)
    monkeypatch.setattr(limits, "PREPARE_BYTES", 10)
    with Vault.open(path, schema=SCHEMA, key=KEY, environment=environment("large")) as vault:
        assert not any(thread.name == "vaultsync-prepare" for thread in threading.enumerate())
        assert not vault.prepared


def test_readers_do_not_wait_for_the_document(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = threading.Event(), threading.Event()
    load = Engine.load

    def slow(snapshot: bytes | None, chunks: Any = ()) -> Engine:
        started.set()
        assert go_on.wait(30)
        return load(snapshot, chunks)

    with reopen(path) as vault:
        monkeypatch.setattr(Engine, "load", slow)
        chosen = vault.view().entries[0]
        edit = threading.Thread(target=vault.update, args=(chosen,), kwargs={"title": "waited"})
        edit.start()
        assert started.wait(30)
        assert len(vault.view()) == 149  # while the edit waits
        assert vault.view().entries[0]["title"] == chosen.title
        assert vault.view().search("title")
        go_on.set()
        edit.join()
        assert vault.view()[chosen.id].title == "waited"
        monkeypatch.undo()
        check(vault, prepared=True)


def test_an_import_is_looked_at_without_reading_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = Engine.read

    def counted(engine: Engine, section: str, entry: str | None = None) -> Any:
        read.append(section)
        return real(engine, section, entry)

    vault = Vault.create(tmp_path / "a.vault", schema=SCHEMA, key=KEY, environment=environment("bulk"))
    vault.view()  # an import looks at where entries came from
    number = shelves.LEAST_LOG + 10
    with vault.batch():
        entries = [vault.add("login", title=f"t{n}", labels={"a", f"l{n}"}, notes="one\ntwo") for n in range(number)]
        vault.delete(entries[3])
        vault.update(entries[4], title="changed")
    monkeypatch.setattr(Engine, "read", counted)
    assert vault.view()[entries[4].id].title == "changed"
    assert "entries" not in read
    check(vault, prepared=True)
    vault.close()
    check(reopen(tmp_path / "a.vault"))


def test_what_an_import_made_is_not_taken_for_what_somebody_wrote_after_it(tmp_path: Path) -> None:
    vault = Vault.create(tmp_path / "a.vault", schema=SCHEMA, key=KEY, environment=environment("bulk"))
    vault.view()
    with vault.batch():
        entries = [vault.add("login", title=f"t{n}") for n in range(shelves.LEAST_LOG + 10)]
    other = reopen(tmp_path / "a.vault")
    other.update(entries[0].id, title="by another process")
    assert vault.view()[entries[0].id].title == "by another process"
    with vault.batch():
        more = [vault.add("login", title=f"u{n}") for n in range(shelves.LEAST_LOG + 10)]
    vault.update(more[0].id, title="by an edit")
    assert vault.view()[more[0].id].title == "by an edit"
    check(vault, prepared=True)


def test_what_an_import_made_is_put_away_when_the_vault_is_closed(tmp_path: Path) -> None:
    with Vault.create(tmp_path / "a.vault", schema=SCHEMA, key=KEY, environment=environment("bulk")) as vault:
        vault.view()  # an import looks at where entries came from
        with vault.batch():
            entries = [vault.add("login", title=f"t{n}") for n in range(shelves.LEAST_LOG + 10)]
    with reopen(tmp_path / "a.vault") as vault:
        assert vault.view()[entries[7].id].title == "t7"
        assert not vault._ledger.prepared, "the next opening read the document"
        check(vault)

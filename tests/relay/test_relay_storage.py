"""The contract of a relay's database, on SQLite and on PostgreSQL: another driver is one more class here."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import server
from vaultsync.errors import StoreBusy, StoreFailed
from vaultsync.relay import storage as storage_module
from vaultsync.relay.sqlite import SqliteDriver
from vaultsync.relay.storage import Cursor, Driver, Once, Outcome, Quota, Replayed, Storage, StorageAway

QUOTA = Quota(bytes=1000, objects=5)
COUNTER = itertools.count(1)


def once() -> Once:
    return Once(next(COUNTER).to_bytes(16, "big"), 10**12)


def bucket() -> bytes:
    return os.urandom(32)


class StorageContract:
    def driver(self) -> Driver:
        raise NotImplementedError

    def play(self, scene: Callable[[Storage, list[bytes | None]], Awaitable[None]]) -> None:
        """Runs ``scene`` with an open storage and what was heard."""

        async def played() -> None:
            heard: list[bytes | None] = []
            storage = Storage(self.driver(), os.urandom)
            await storage.start(heard.append)
            try:
                await scene(storage, heard)
            finally:
                await storage.close()

        asyncio.run(played())

    def test_a_bucket_is_begun_once(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one = bucket()
            assert await storage.access(one) is None
            assert await storage.cursor(one) is None
            assert await storage.changes(one, "", None) is None
            assert (await storage.put(one, "a/1", b"x", QUOTA, once()))[0] is Outcome.NO_BUCKET
            assert await storage.delete(one, "a/1", once()) is None
            assert await storage.set_access(one, None, b"first", once())
            again = once()
            assert not await storage.set_access(one, None, b"second", again)
            assert await storage.set_access(one, b"first", b"second", again)  # one that changed nothing is not spent
            assert not await storage.set_access(one, b"first", b"third", once())
            assert await storage.access(one) == b"second"

        self.play(scene)

    def test_names_are_bound_to_their_bytes(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one = bucket()
            await storage.set_access(one, None, b"", once())
            outcome, cursor = await storage.put(one, "a/1", b"data", QUOTA, once())
            assert outcome is Outcome.STORED
            assert cursor.at == 1
            assert await storage.put(one, "a/1", b"data", QUOTA, once()) == (Outcome.SAME, cursor)
            assert (await storage.put(one, "a/1", b"date", QUOTA, once()))[0] is Outcome.TAKEN
            assert await storage.get(one, "a/1") == b"data"
            assert await storage.get(bucket(), "a/1") is None
            assert await storage.delete(one, "a/1", once()) == Cursor(cursor.born, 2)
            assert await storage.delete(one, "a/1", once()) == Cursor(cursor.born, 2)
            assert await storage.get(one, "a/1") is None
            assert (await storage.usage(one))[1:] == (0, 0)

        self.play(scene)

    def test_nothing_is_done_twice(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one, seen = bucket(), once()
            await storage.set_access(one, None, b"", seen)
            for call in (
                lambda: storage.put(one, "a/1", b"", QUOTA, seen),
                lambda: storage.delete(one, "a/1", seen),
                lambda: storage.set_access(one, b"", b"x", seen),
            ):
                with pytest.raises(Replayed):
                    await call()
            await storage.sweep(10**12 + 1)
            assert (await storage.put(one, "a/1", b"", QUOTA, seen))[0] is Outcome.STORED

        self.play(scene)

    def test_quotas(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one, two = bucket(), bucket()
            for each in (one, two):
                await storage.set_access(each, None, b"", once())
            assert (await storage.put(one, "a/1", bytes(1000), QUOTA, once()))[0] is Outcome.STORED
            assert (await storage.put(one, "a/2", b"x", QUOTA, once()))[0] is Outcome.FULL
            assert (await storage.put(one, "a/1", bytes(1000), QUOTA, once()))[0] is Outcome.SAME
            for index in range(5):
                assert (await storage.put(two, f"a/{index}", b"", QUOTA, once()))[0] is Outcome.STORED
            assert (await storage.put(two, "a/5", b"", QUOTA, once()))[0] is Outcome.FULL
            used = (await storage.usage()).bytes
            tight = Quota(10**6, 10**6, used + 10)
            assert (await storage.put(two, "b", bytes(11), tight, once()))[0] is Outcome.ALL_FULL
            assert (await storage.put(two, "b", bytes(10), tight, once()))[0] is Outcome.STORED

        self.play(scene)

    def test_an_account_place_has_one_bucket(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one, two, locator = bucket(), bucket(), os.urandom(16).hex()
            for each in (one, two):
                await storage.set_access(each, None, b"", once())
            assert await storage.claimed(locator) is None
            assert (await storage.put(one, f"account/{locator}/1", b"x", QUOTA, once()))[0] is Outcome.STORED
            assert (await storage.put(two, f"account/{locator}/2", b"x", QUOTA, once()))[0] is Outcome.CLAIMED
            assert (await storage.usage(two)).objects == 0
            assert await storage.claimed(locator) == one

        self.play(scene)

    def test_mailboxes_hold_letters_and_end(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            sponsor, mailbox, stranger = bucket(), bucket(), bucket()
            assert await storage.open_mailbox(sponsor, mailbox, b"key", 100, once()) is Outcome.NO_BUCKET
            for each in (sponsor, stranger):
                await storage.set_access(each, None, b"", once())
            assert await storage.open_mailbox(sponsor, mailbox, b"key", 100, once()) is Outcome.STORED
            assert await storage.open_mailbox(sponsor, mailbox, b"key", 900, once()) is Outcome.SAME
            assert await storage.open_mailbox(stranger, mailbox, b"key", 900, once()) is Outcome.TAKEN
            assert await storage.open_mailbox(sponsor, stranger, b"key", 100, once()) is Outcome.TAKEN
            assert await storage.access(mailbox) == b"key"
            for name in ("a/1", f"account/{'0' * 32}/1"):
                assert (await storage.put(mailbox, name, b"x", QUOTA, once()))[0] is Outcome.NO_LETTER
            wide = Quota(10**9, 10**9)
            done = [(await storage.put(mailbox, f"mailbox/{n}", b"x", wide, once()))[0] for n in range(65)]
            assert done == [Outcome.STORED] * 64 + [Outcome.FULL]
            assert (await storage.put(mailbox, "mailbox/big", bytes(1 << 20), wide, once()))[0] is Outcome.FULL
            await storage.close_mailbox(stranger, mailbox, once())
            await storage.sweep(100)
            assert (await storage.get(mailbox, "mailbox/1")) == b"x"
            await storage.sweep(101)
            assert await storage.access(mailbox) is None
            assert await storage.get(mailbox, "mailbox/1") is None
            assert (await storage.usage(mailbox)).buckets == 0
            opened = [await storage.open_mailbox(sponsor, bucket(), b"", 200, once()) for _ in range(21)]
            assert opened == [Outcome.STORED] * 20 + [Outcome.FULL]

        self.play(scene)

    def test_a_mailbox_is_closed_by_its_sponsor(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            sponsor, mailbox = bucket(), bucket()
            await storage.set_access(sponsor, None, b"", once())
            await storage.open_mailbox(sponsor, mailbox, b"key", 100, once())
            await storage.put(mailbox, "mailbox/1", b"x", QUOTA, once())
            await storage.close_mailbox(sponsor, mailbox, once())
            await self.until(lambda: storage_module.LIST + mailbox in heard)
            assert await storage.access(mailbox) is None
            assert await storage.get(mailbox, "mailbox/1") is None

        self.play(scene)

    def test_news_name_what_changed_where_that_is_little(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one = bucket()
            assert await storage.news(one, None, 3) is None
            await storage.set_access(one, None, b"", once())
            await self.until(lambda: storage_module.LIST + one in heard)
            start = (await storage.news(one, None, 3) or pytest.fail("no bucket"))[0]
            assert await storage.news(one, start, 3) == (start, None)
            for name in ("a/1", "a/2"):
                await storage.put(one, name, b"x", QUOTA, once())
            await storage.delete(one, "a/1", once())
            found = await storage.news(one, start, 3)
            assert found is not None
            cursor, changes = found
            assert changes is not None
            assert (changes.cursor, changes.added, changes.gone) == (cursor, ["a/2"], ["a/1"])
            assert await storage.news(one, start, 2) == (cursor, None)
            assert await storage.news(one, Cursor("0" * 16, 0), 3) == (cursor, None)
            assert await storage.news(one, Cursor(start.born, 99), 3) == (cursor, None)

        self.play(scene)

    def test_changes_against_a_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever lists by changes holds what whoever lists everything holds, wherever he began."""
        monkeypatch.setattr(storage_module, "GONE_KEPT", 60)

        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            draw, one, quota = random.Random(7), bucket(), Quota(10**9, 10**9)
            await storage.set_access(one, None, b"", once())
            model: set[str] = set()
            follower: set[str] = set()
            since: Cursor | None = None
            for step in range(500):
                name = f"{draw.choice(['a/b', 'a', 'a/bc', 'b'])}/{draw.randrange(30)}"
                if draw.random() < 0.5:
                    await storage.put(one, name, name.encode(), quota, once())
                    model.add(name)
                else:
                    await storage.delete(one, name, once())
                    model.discard(name)
                if draw.random() < 0.05 or step in (498, 499):
                    changes = await storage.changes(one, "a/", since)
                    assert changes is not None
                    follower = (set() if changes.whole else follower - set(changes.gone)) | set(changes.added)
                    since = changes.cursor
                    assert follower == {name for name in model if name.startswith("a/")}
            whole = await storage.changes(one, "a/b/", Cursor("0" * 16, 5))
            assert whole is not None
            assert whole.whole
            assert whole.added == sorted(name for name in model if name.startswith("a/b/"))
            early = await storage.changes(one, "", Cursor(whole.cursor.born, 0))
            assert early is not None
            assert early.whole  # what was deleted so long ago is not remembered

        self.play(scene)

    def test_changes_are_heard(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one = bucket()
            await storage.set_access(one, None, b"", once())
            await asyncio.sleep(0.05)
            heard.clear()
            await storage.put(one, "a/1", b"x", QUOTA, once())
            await self.until(lambda: one in heard)
            heard.clear()
            await storage.put(one, "a/1", b"y", QUOTA, once())  # refused: no news
            await storage.delete(one, "a/1", once())
            await self.until(lambda: one in heard)
            assert heard.count(one) == 1

        self.play(scene)

    def test_many_at_once_in_one_bucket(self) -> None:
        """Every change has a moment of its own, and the sums are right."""

        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one, quota = bucket(), Quota(10**9, 10**9)
            await storage.set_access(one, None, b"", once())
            puts = [storage.put(one, f"a/{index // 2}", b"data", quota, once()) for index in range(100)]
            done = await asyncio.gather(*puts)
            stored = [cursor.at for outcome, cursor in done if outcome is Outcome.STORED]
            assert sorted(stored) == list(range(1, 51))
            assert await storage.usage(one) == (1, 50, 200)

        self.play(scene)

    def test_a_failing_job_changes_nothing_and_harms_no_other(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one = bucket()
            await storage.set_access(one, None, b"", once())

            def bad(session: Any) -> None:
                session.change("UPDATE buckets SET objects = 77 WHERE id = ?", one)
                session.tell(one)
                raise KeyError("bug")

            good = storage.put(one, "a/1", b"x", QUOTA, once())
            results = await asyncio.gather(storage._driver.run(bad), good, return_exceptions=True)
            assert isinstance(results[0], KeyError)
            assert results[1][0] is Outcome.STORED  # type: ignore[index]
            assert (await storage.usage(one)).objects == 1

        self.play(scene)

    def test_the_secret_stays(self) -> None:
        driver = self.driver

        async def starts() -> list[bytes]:
            secrets = []
            for _ in range(2):
                storage = Storage(driver(), os.urandom)
                secrets.append(await storage.start(lambda bucket: None))
                await storage.close()
            return secrets

        one, two = asyncio.run(starts())
        assert one == two
        assert len(one) == 32

    @staticmethod
    async def until(condition: Callable[[], bool]) -> None:
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail("nothing was heard")


class TestSqlite(StorageContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "relay.db"

    def driver(self) -> Driver:
        return SqliteDriver(str(self.path))

    def test_a_second_process_is_refused(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            with pytest.raises(StoreBusy, match="PostgreSQL"):
                await Storage(self.driver(), os.urandom).start(heard.append)

        self.play(scene)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        storage = Storage(SqliteDriver(str(tmp_path / "no" / "relay.db")), os.urandom)
        with pytest.raises(StoreFailed):
            asyncio.run(storage.start(lambda bucket: None))

    def test_a_disk_that_fails_at_commit_acknowledges_nothing(self) -> None:
        broken = False

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if broken and sql == "COMMIT":
                    raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, *values)

        def connect(path: str) -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, factory=Connection)

        async def scene() -> None:
            nonlocal broken
            heard: list[bytes | None] = []
            storage = Storage(SqliteDriver(str(self.path), connect=connect), os.urandom)
            await storage.start(heard.append)
            one = bucket()
            await storage.set_access(one, None, b"", once())
            broken = True
            with pytest.raises(StorageAway):
                await storage.put(one, "a/1", b"x", QUOTA, once())
            broken = False
            assert await storage.get(one, "a/1") is None
            assert one not in heard
            assert (await storage.put(one, "a/1", b"x", QUOTA, once()))[0] is Outcome.STORED
            await storage.close()
            with pytest.raises(StorageAway):
                await storage.get(one, "a/1")

        asyncio.run(scene())

    def test_killed_in_the_middle_nothing_acknowledged_is_lost(self, tmp_path: Path) -> None:
        program = (
            "import asyncio, os, sys\n"
            "from vaultsync.relay.sqlite import SqliteDriver\n"
            "from vaultsync.relay.storage import *\n"
            "from vaultsync.relay.storage import Quota\n"
            "async def main():\n"
            "    storage = Storage(SqliteDriver(sys.argv[1]), os.urandom)\n"
            "    await storage.start(lambda bucket: None)\n"
            "    await storage.set_access(bytes(32), None, b'', Once(os.urandom(16), 1))\n"
            "    for n in range(10**6):\n"
            "        await storage.put(bytes(32), f'a/{n}', b'%d' % n, Quota(10**9, 10**9), Once(os.urandom(16), 1))\n"
            "        print(n, flush=True)\n"
            "asyncio.run(main())\n"
        )
        acknowledged = -1
        with subprocess.Popen(
            [sys.executable, "-c", program, str(self.path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                acknowledged = int(line)
                if acknowledged == 40:
                    process.kill()
        assert acknowledged >= 40

        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            for n in range(acknowledged + 1):
                assert await storage.get(bytes(32), f"a/{n}") == b"%d" % n

        self.play(scene)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    with server() as started:
        yield started


class TestPostgres(StorageContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgres: Any) -> None:
        self.server = postgres

    def driver(self) -> Driver:
        from vaultsync.relay.postgres import PostgresDriver

        return PostgresDriver(self.server.get_uri(), connections=4)

    def test_another_process_hears_of_it(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            other_heard: list[bytes | None] = []
            other = Storage(self.driver(), os.urandom)
            await other.start(other_heard.append)
            one = bucket()
            await storage.set_access(one, None, b"", once())
            await storage.put(one, "a/1", b"x", QUOTA, once())
            await self.until(lambda: one in other_heard)
            assert await other.get(one, "a/1") == b"x"
            await other.close()

        self.play(scene)

    def test_lost_connections_are_made_anew_and_everybody_is_woken(self) -> None:
        async def scene(storage: Storage, heard: list[bytes | None]) -> None:
            one = bucket()
            await storage.set_access(one, None, b"", once())
            await asyncio.sleep(0.1)
            heard.clear()
            self.server.psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vaultsync-relay';"
            )
            assert (await storage.put(one, "a/1", b"x", QUOTA, once()))[0] is Outcome.STORED
            await self.until(lambda: None in heard)  # whatever was missed meanwhile
            heard.clear()
            await storage.put(one, "a/2", b"x", QUOTA, once())
            await self.until(lambda: one in heard)

        self.play(scene)

    def test_nobody_there(self) -> None:
        from vaultsync.relay.postgres import PostgresDriver

        storage = Storage(PostgresDriver("postgresql://ann:hunter2@127.0.0.1:1/x"), os.urandom)
        with pytest.raises(StoreFailed) as caught:
            asyncio.run(storage.start(lambda bucket: None))
        assert "hunter2" not in str(caught.value)
        asyncio.run(storage.close())

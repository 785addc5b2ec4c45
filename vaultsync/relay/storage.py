"""What a relay keeps, written once for every database: buckets, objects, who claimed which account place.

The port to a database is small: ``Driver.run`` executes one job in one transaction, whole or not at all and durable
when it returns, and ``heard`` is called after a change that any process of the relay committed. A change of a bucket
takes its row first, so that within a bucket changes have one order, counted by its cursor.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from vaultsync.limits import MAX_PAIRING_BYTES

__all__ = ["Changes", "Cursor", "Driver", "Once", "Outcome", "Replayed", "Session", "Storage", "StorageAway", "Usage"]

T = TypeVar("T")
_ACCOUNT: Final = re.compile(r"account/([0-9a-f]{32})/")
_MAILBOX: Final = "mailbox/"
GONE_KEPT: Final = 20_000
"""So many changes of a bucket, or up to twice as many, are remembered with the names they deleted; whoever last listed
before that gets everything anew."""
LIST: Final = b"list"
"""What is told of a bucket when its list of members changed, or it is gone: this, and its id."""
MAILBOX_OBJECTS: Final = 64
MAILBOXES: Final = 20
"""Open at once for one bucket. Each lives for a day at most."""
_BEGIN: Final = (
    "INSERT INTO buckets (id, born, at, floor, bytes, objects, access) VALUES (?, ?, 0, 0, 0, 0, ?)"
    " ON CONFLICT DO NOTHING"
)


class StorageAway(Exception):
    """The database does not answer; nothing is known to be done. Trying again helps."""


class Replayed(Exception):
    """This very request was carried out before."""


class _Overtaken(Exception):
    """Somebody else was faster."""


class Session(Protocol):
    """One transaction. Placeholders are ``?``; bytes and integers go in and come out as themselves."""

    def rows(self, sql: str, *values: object) -> Sequence[tuple[Any, ...]]: ...
    def change(self, sql: str, *values: object) -> int:
        """How many rows were changed."""
        ...

    def tell(self, bucket: bytes) -> None:
        """Let all processes hear of a change in ``bucket``, if and when this transaction is committed."""
        ...


class Driver(Protocol):
    """A database. ``lock`` is what follows a SELECT that takes a row, ``blob`` and ``text`` are column types."""

    lock: str
    blob: str
    text: str

    async def start(self, heard: Callable[[bytes | None], None]) -> None:
        """``heard`` is called in the running loop: with a bucket, or with None when news may have been missed."""
        ...

    async def run(self, job: Callable[[Session], T]) -> T:
        """Raises what the job raises (and nothing is done), or ``StorageAway``."""
        ...

    async def close(self) -> None: ...


class Once(NamedTuple):
    """A request that must not be carried out twice. ``expires``: when it need not be remembered any more, seconds."""

    id: bytes
    expires: int


class Cursor(NamedTuple):
    """A moment in the life of a bucket. ``born`` is random: a bucket that was lost and begun anew is another."""

    born: str
    at: int

    def __str__(self) -> str:
        return f"{self.born}-{self.at}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        found = re.fullmatch(r"([0-9a-f]{16})-([0-9]{1,18})", text)
        return cls(found[1], int(found[2])) if found else None


class Outcome(Enum):
    """What became of a put."""

    STORED = "stored"
    SAME = "same"
    TAKEN = "taken"
    FULL = "full"
    ALL_FULL = "all full"
    CLAIMED = "claimed"
    NO_LETTER = "no letter"
    NO_BUCKET = "no bucket"


class Changes(NamedTuple):
    """Names put and deleted since a cursor; all names there are when ``whole``."""

    cursor: Cursor
    whole: bool
    added: list[str]
    gone: list[str]


class Usage(NamedTuple):
    """Of one bucket, or of all."""

    buckets: int
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Quota:
    """Of a bucket; ``total`` bytes of all of them, 0 for none."""

    bytes: int
    objects: int
    total: int = 0

    def of_mailbox(self) -> Quota:
        """What a mailbox may hold: a dozen letters, the longest of which has the whole list of devices."""
        return Quota(min(self.bytes, MAX_PAIRING_BYTES + (1 << 20)), min(self.objects, MAILBOX_OBJECTS), self.total)


def _tables(driver: Driver) -> list[str]:
    blob, text = driver.blob, driver.text
    return [
        f"CREATE TABLE IF NOT EXISTS meta (name {text} PRIMARY KEY, value {blob} NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS buckets (id {blob} PRIMARY KEY, born {text} NOT NULL, at BIGINT NOT NULL,"
        f" floor BIGINT NOT NULL, bytes BIGINT NOT NULL, objects BIGINT NOT NULL, access {blob} NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS mailboxes (id {blob} PRIMARY KEY, sponsor {blob} NOT NULL,"
        " expires BIGINT NOT NULL)",
        "CREATE INDEX IF NOT EXISTS mailboxes_sponsor ON mailboxes (sponsor)",
        "CREATE INDEX IF NOT EXISTS mailboxes_expires ON mailboxes (expires)",
        f"CREATE TABLE IF NOT EXISTS objects (bucket {blob} NOT NULL, name {text} NOT NULL, at BIGINT NOT NULL,"
        f" digest {blob} NOT NULL, size BIGINT NOT NULL, data {blob} NOT NULL, PRIMARY KEY (bucket, name))",
        "CREATE INDEX IF NOT EXISTS objects_at ON objects (bucket, at)",
        f"CREATE TABLE IF NOT EXISTS gone (bucket {blob} NOT NULL, at BIGINT NOT NULL, name {text} NOT NULL,"
        " PRIMARY KEY (bucket, at))",
        f"CREATE TABLE IF NOT EXISTS accounts (locator {text} PRIMARY KEY, bucket {blob} NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS spent (id {blob} PRIMARY KEY, expires BIGINT NOT NULL)",
        "CREATE INDEX IF NOT EXISTS spent_expires ON spent (expires)",
    ]


class Storage:
    """All questions a relay asks of its database. Names were checked by the caller."""

    def __init__(self, driver: Driver, entropy: Callable[[int], bytes]) -> None:
        self._driver, self._entropy = driver, entropy

    async def start(self, heard: Callable[[bytes | None], None]) -> bytes:
        """Makes the tables; the secret (32 bytes) that all processes on this database share."""

        def job(session: Session) -> bytes:
            for statement in _tables(self._driver):
                session.change(statement)
            session.change(
                "INSERT INTO meta (name, value) VALUES ('secret', ?) ON CONFLICT DO NOTHING", self._entropy(32)
            )
            return bytes(session.rows("SELECT value FROM meta WHERE name = 'secret'")[0][0])

        await self._driver.start(heard)
        return await self._driver.run(job)

    async def close(self) -> None:
        await self._driver.close()

    # ---- buckets --------------------------------------------------------------------------------------------------

    async def access(self, bucket: bytes) -> bytes | None:
        """Who may use the bucket, as stored by ``set_access``; None when there is no such bucket."""
        found = await self._driver.run(lambda s: s.rows("SELECT access FROM buckets WHERE id = ?", bucket))
        return bytes(found[0][0]) if found else None

    async def set_access(self, bucket: bytes, before: bytes | None, access: bytes, once: Once) -> bool:
        """Replace exactly ``before``; with None, begin the bucket. False when something else is there meanwhile."""

        def job(session: Session) -> None:
            _spend(session, once)
            if before is None:
                done = session.change(_BEGIN, bucket, self._entropy(8).hex(), access)
            else:
                sql = "UPDATE buckets SET access = ? WHERE id = ? AND access = ?"
                done = session.change(sql, access, bucket, before)
            if not done:
                raise _Overtaken  # undoes that the request counts as carried out
            session.tell(LIST + bucket)

        try:
            await self._driver.run(job)
        except _Overtaken:
            return False
        return True

    async def cursor(self, bucket: bytes) -> Cursor | None:
        """Now."""
        found = await self._driver.run(lambda s: s.rows("SELECT born, at FROM buckets WHERE id = ?", bucket))
        return Cursor(*found[0]) if found else None

    async def usage(self, bucket: bytes | None = None) -> Usage:
        """Of one bucket or of all."""
        where, values = ("", ()) if bucket is None else (" WHERE id = ?", (bucket,))
        sql = f"SELECT COUNT(*), COALESCE(SUM(objects), 0), COALESCE(SUM(bytes), 0) FROM buckets{where}"  # noqa: S608
        found = await self._driver.run(lambda s: s.rows(sql, *values))
        return Usage(*(int(value) for value in found[0]))

    # ---- objects --------------------------------------------------------------------------------------------------

    async def put(self, bucket: bytes, name: str, data: bytes, quota: Quota, once: Once) -> tuple[Outcome, Cursor]:
        """Store an object unless its name is taken. The cursor is the bucket's afterwards."""
        digest = hashlib.sha256(data).digest()

        def job(session: Session) -> tuple[Outcome, Cursor]:
            _spend(session, once)
            row = self._locked(session, bucket)
            if row is None:
                return Outcome.NO_BUCKET, Cursor("0" * 16, 0)
            born, at, _, used, count = row
            there = session.rows("SELECT digest FROM objects WHERE bucket = ? AND name = ?", bucket, name)
            if there:
                same = bytes(there[0][0]) == digest
                return Outcome.SAME if same else Outcome.TAKEN, Cursor(born, at)
            allowed = quota
            if session.rows("SELECT 1 FROM mailboxes WHERE id = ?", bucket):
                allowed = quota.of_mailbox()
                if not name.startswith(_MAILBOX):
                    return Outcome.NO_LETTER, Cursor(born, at)
            if used + len(data) > allowed.bytes or count >= allowed.objects:
                return Outcome.FULL, Cursor(born, at)
            if quota.total:
                total = session.rows("SELECT COALESCE(SUM(bytes), 0) FROM buckets")[0][0]
                if int(total) + len(data) > quota.total:
                    return Outcome.ALL_FULL, Cursor(born, at)
            if not self._claim(session, bucket, name):
                return Outcome.CLAIMED, Cursor(born, at)
            session.change(
                "INSERT INTO objects (bucket, name, at, digest, size, data) VALUES (?, ?, ?, ?, ?, ?)",
                *(bucket, name, at + 1, digest, len(data), data),
            )
            session.change(
                "UPDATE buckets SET at = ?, bytes = bytes + ?, objects = objects + 1 WHERE id = ?",
                *(at + 1, len(data), bucket),
            )
            session.tell(bucket)
            return Outcome.STORED, Cursor(born, at + 1)

        return await self._driver.run(job)

    async def get(self, bucket: bytes, name: str) -> bytes | None:
        """None when it is not there."""
        found = await self._driver.run(
            lambda s: s.rows("SELECT data FROM objects WHERE bucket = ? AND name = ?", bucket, name)
        )
        return bytes(found[0][0]) if found else None

    async def delete(self, bucket: bytes, name: str, once: Once) -> Cursor | None:
        """The bucket's cursor afterwards; None when there is no such bucket."""

        def job(session: Session) -> Cursor | None:
            _spend(session, once)
            row = self._locked(session, bucket)
            if row is None:
                return None
            born, at, floor, _, _ = row
            there = session.rows("SELECT size FROM objects WHERE bucket = ? AND name = ?", bucket, name)
            if not there:
                return Cursor(born, at)
            session.change("DELETE FROM objects WHERE bucket = ? AND name = ?", bucket, name)
            session.change("INSERT INTO gone (bucket, at, name) VALUES (?, ?, ?)", bucket, at + 1, name)
            session.change(
                "UPDATE buckets SET at = ?, bytes = bytes - ?, objects = objects - 1 WHERE id = ?",
                *(at + 1, there[0][0], bucket),
            )
            if at + 1 - floor > 2 * GONE_KEPT:
                floor = at + 1 - GONE_KEPT
                session.change("DELETE FROM gone WHERE bucket = ? AND at <= ?", bucket, floor)
                session.change("UPDATE buckets SET floor = ? WHERE id = ?", floor, bucket)
            session.tell(bucket)
            return Cursor(born, at + 1)

        return await self._driver.run(job)

    async def changes(self, bucket: bytes, prefix: str, since: Cursor | None) -> Changes | None:
        """Below ``prefix`` ("" or with its slash). None when there is no such bucket."""
        return await self._driver.run(lambda session: self._changes(session, bucket, prefix, since))

    def _changes(self, session: Session, bucket: bytes, prefix: str, since: Cursor | None) -> Changes | None:
        below, values = ("", ()) if not prefix else (" AND name >= ? AND name < ?", (prefix, prefix[:-1] + "0"))
        found = session.rows("SELECT born, at, floor FROM buckets WHERE id = ?", bucket)
        if not found:
            return None
        born, at, floor = found[0]
        whole = since is None or since.born != born or not floor <= since.at <= at
        after = 0 if whole or since is None else since.at
        added, gone = (
            session.rows(
                f"SELECT name FROM {table} WHERE bucket = ? AND at > ?{below} ORDER BY name",  # noqa: S608
                *(bucket, after, *values),
            )
            for table in ("objects", "gone")
        )
        names = [row[0] for row in added], [] if whole else [row[0] for row in gone]
        return Changes(Cursor(born, at), whole, *names)

    async def news(self, bucket: bytes, since: Cursor | None, most: int) -> tuple[Cursor, Changes | None] | None:
        """Where the bucket is now, and what changed since, if that is known and no more than so many names. None when
        there is no such bucket."""

        def job(session: Session) -> tuple[Cursor, Changes | None] | None:
            found = session.rows("SELECT born, at, floor FROM buckets WHERE id = ?", bucket)
            if not found:
                return None
            born, at, floor = found[0]
            if since is None or since.born != born or not max(floor, at - most) <= since.at < at:
                return Cursor(born, at), None
            return Cursor(born, at), self._changes(session, bucket, "", since)

        return await self._driver.run(job)

    async def claimed(self, locator: str) -> bytes | None:
        """The bucket that the account slots of a recovery code lie in."""
        found = await self._driver.run(lambda s: s.rows("SELECT bucket FROM accounts WHERE locator = ?", locator))
        return bytes(found[0][0]) if found else None

    async def sweep(self, now: int) -> None:
        """Forget requests that cannot come again, and mailboxes whose time is up."""

        def job(session: Session) -> None:
            session.change("DELETE FROM spent WHERE expires < ?", now)
            for row in session.rows("SELECT id FROM mailboxes WHERE expires < ?", now):
                _clear(session, row[0])

        await self._driver.run(job)

    # ---- mailboxes ------------------------------------------------------------------------------------------------

    async def open_mailbox(self, sponsor: bytes, mailbox: bytes, access: bytes, expires: int, once: Once) -> Outcome:
        """A bucket that lives until ``expires``, for a newcomer whom a member of ``sponsor`` invited. Opening one that
        is open is ``SAME``, and does not make it live longer."""

        def job(session: Session) -> Outcome:
            _spend(session, once)
            if self._locked(session, sponsor) is None:
                return Outcome.NO_BUCKET
            there = session.rows("SELECT sponsor FROM mailboxes WHERE id = ?", mailbox)
            if there:
                return Outcome.SAME if bytes(there[0][0]) == sponsor else Outcome.TAKEN
            if session.rows("SELECT COUNT(*) FROM mailboxes WHERE sponsor = ?", sponsor)[0][0] >= MAILBOXES:
                return Outcome.FULL
            if not session.change(_BEGIN, mailbox, self._entropy(8).hex(), access):
                return Outcome.TAKEN
            session.change("INSERT INTO mailboxes (id, sponsor, expires) VALUES (?, ?, ?)", mailbox, sponsor, expires)
            return Outcome.STORED

        return await self._driver.run(job)

    async def close_mailbox(self, sponsor: bytes, mailbox: bytes, once: Once) -> None:
        """With everything in it. One that is not there, or not this sponsor's, is left alone."""

        def job(session: Session) -> None:
            _spend(session, once)
            if session.rows("SELECT 1 FROM mailboxes WHERE id = ? AND sponsor = ?", mailbox, sponsor):
                _clear(session, mailbox)

        await self._driver.run(job)

    def _locked(self, session: Session, bucket: bytes) -> tuple[str, int, int, int, int] | None:
        sql = f"SELECT born, at, floor, bytes, objects FROM buckets WHERE id = ?{self._driver.lock}"  # noqa: S608
        found = session.rows(sql, bucket)
        if not found:
            return None
        born, at, floor, used, count = found[0]
        return born, at, floor, used, count

    def _claim(self, session: Session, bucket: bytes, name: str) -> bool:
        """Account slots are found by their locator alone, so a locator belongs to the bucket that used it first."""
        account = _ACCOUNT.match(name)
        if account is None:
            return True
        session.change(
            "INSERT INTO accounts (locator, bucket) VALUES (?, ?) ON CONFLICT DO NOTHING", account[1], bucket
        )
        return bytes(session.rows("SELECT bucket FROM accounts WHERE locator = ?", account[1])[0][0]) == bucket


def _spend(session: Session, once: Once) -> None:
    if not session.change(
        "INSERT INTO spent (id, expires) VALUES (?, ?) ON CONFLICT DO NOTHING", once.id, once.expires
    ):
        raise Replayed


def _clear(session: Session, mailbox: bytes) -> None:
    for table, column in (("objects", "bucket"), ("gone", "bucket"), ("buckets", "id"), ("mailboxes", "id")):
        session.change(f"DELETE FROM {table} WHERE {column} = ?", mailbox)  # noqa: S608
    session.tell(LIST + mailbox)

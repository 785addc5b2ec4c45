"""Plain sqlite3: what an application without encryption and without merging would do."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.port import Listed, Pair, Peer, nothing
from benchmarks.workload import CARD, LOGIN, NOTE, Row

_FIELDS = {
    LOGIN: ("title", "username", "password", "url", "notes", "totp", "tags"),
    NOTE: ("title", "text"),
    CARD: ("title", "holder", "number", "brand", "month", "year", "code", "pin"),
}
_TIMES = ("created", "modified")
_COLUMNS = ["id", "type", "status", *_TIMES, *dict.fromkeys(name for names in _FIELDS.values() for name in names)]
_FILE = "vault.sqlite"


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


class _Handle:
    def __init__(self, path: Path) -> None:
        self._db = _connect(path)

    def listing(self) -> list[Listed]:
        rows = self._db.execute("SELECT id, title, type, status FROM entries").fetchall()
        return list(map(Listed._make, rows))

    def read_all(self) -> list[Any]:
        return self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM entries").fetchall()

    def row(self, read: Any) -> Row:
        values = dict(zip(_COLUMNS, read, strict=True))
        row = {name: values[name] for name in ("type", *_TIMES, *_FIELDS[values["type"]])}
        if "tags" in row:
            row["tags"] = json.loads(row["tags"])
        return row

    def edit(self, entry_id: str, password: str) -> None:
        self._db.execute("UPDATE entries SET password = ? WHERE id = ?", (password, entry_id))

    def password(self, entry_id: str) -> str:
        found: str = self._db.execute("SELECT password FROM entries WHERE id = ?", (entry_id,)).fetchone()[0]
        return found

    def close(self) -> None:
        self._db.close()


class _Peer(Peer):
    name = "sqlite"
    title = "plain sqlite3"
    packages = ()
    operations = "ABCDGH"
    note = "no encryption, no merging; G copies the file"

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        with contextlib.closing(_connect(folder / _FILE)) as db:
            columns = ", ".join(f"{name} PRIMARY KEY" if name == "id" else name for name in _COLUMNS)
            db.execute(f"CREATE TABLE entries ({columns}) WITHOUT ROWID")
            marks = ", ".join("?" * len(_COLUMNS))
            db.execute("BEGIN IMMEDIATE")
            db.executemany(f"INSERT INTO entries VALUES ({marks})", map(_record, range(len(rows)), rows))
            db.execute("COMMIT")
        return nothing

    def open(self, folder: Path) -> _Handle:
        return _Handle(folder / _FILE)

    def publish(self, folder: Path) -> None:
        (folder / "remote").mkdir()
        shutil.copyfile(folder / _FILE, folder / "remote" / _FILE)

    def join(self, folder: Path, into: Path) -> _Handle:
        shutil.copyfile(folder / "remote" / _FILE, into / _FILE)
        return self.open(into)

    def pair(self, folder: Path, other: Path) -> Pair:
        raise NotImplementedError("nothing merges here")


def _record(number: int, row: Row) -> list[Any]:
    values = {**row, "id": f"{number:026d}", "status": "complete"}
    if "tags" in values:
        values["tags"] = json.dumps(values["tags"])
    return [values.get(name) for name in _COLUMNS]


PEER = _Peer()

"""KDBX 4 through pykeepass: the file that password managers share. Whole-file writes, no merging.

The derived key is given, so that no key is derived here either, except in `prepare`: pykeepass makes every new file
from an empty one that has a password.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pykeepass import PyKeePass
from pykeepass.entry import Entry
from pykeepass.pykeepass import BLANK_DATABASE_LOCATION, BLANK_DATABASE_PASSWORD

from benchmarks.peers.port import KEY, Listed, Pair, Peer, nothing
from benchmarks.workload import CARD, LOGIN, NOTE, Row

_FILE = "vault.kdbx"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CUSTOM = {LOGIN: (), NOTE: (), CARD: ("holder", "number", "brand", "month", "year", "code", "pin")}
_PROTECTED = frozenset({"number", "code", "pin"})


class _Handle:
    def __init__(self, folder: Path) -> None:
        self._file = PyKeePass(str(folder / _FILE), transformed_key=KEY)
        self._entries: dict[str, Any] | None = None

    def listing(self) -> list[Listed]:
        return [
            Listed(str(entry.uuid), entry.title, entry.get_custom_property("type"), "complete")
            for entry in self._file.entries
        ]

    def read_all(self) -> list[Any]:
        read = []
        for entry in self._file.entries:
            row = {name: getattr(entry, name) for name in ("title", "username", "password", "url", "notes", "otp")}
            read.append({**row, "tags": entry.tags, **entry.custom_properties})
        return read

    def row(self, read: Any) -> Row:
        kind = read["type"]
        row = {"type": kind, "title": read["title"], "created": int(read["created"]), "modified": int(read["modified"])}
        if kind == LOGIN:
            row |= {name: read[name] for name in ("username", "password", "url", "notes")}
            row |= {"totp": read["otp"], "tags": sorted(read["tags"])}
        elif kind == NOTE:
            row["text"] = read["notes"]
        return row | {name: read[name] for name in _CUSTOM[kind]}

    def _entry(self, entry_id: str) -> Any:
        if self._entries is None:
            self._entries = {str(entry.uuid): entry for entry in self._file.entries}
        return self._entries[entry_id]

    def edit(self, entry_id: str, password: str) -> None:
        self._entry(entry_id).password = password
        self._file.save(transformed_key=KEY)

    def password(self, entry_id: str) -> str:
        found: str = self._entry(entry_id).password
        return found

    def close(self) -> None:
        pass


class _Peer(Peer):
    name = "keepass"
    title = "pykeepass, KDBX 4"
    packages = ("pykeepass",)
    operations = "ABCD"
    note = "no merging; every edit writes the whole file; the derived key is given"

    def prepare(self) -> None:
        """Open the empty file that every new one is made from."""
        self._blank = PyKeePass(BLANK_DATABASE_LOCATION, BLANK_DATABASE_PASSWORD)

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        file = self._blank
        file.filename = str(folder / _FILE)
        group = file.root_group
        for row in rows:
            _add(file, group, row)
        file.save(transformed_key=KEY)
        return nothing

    def open(self, folder: Path) -> _Handle:
        return _Handle(folder)

    def publish(self, folder: Path) -> None:
        raise NotImplementedError("there is no sync here")

    def join(self, folder: Path, into: Path) -> _Handle:
        raise NotImplementedError("there is no sync here")

    def pair(self, folder: Path, other: Path) -> Pair:
        raise NotImplementedError("nothing merges here")


def _add(file: Any, group: Any, row: Row) -> None:
    # PyKeePass.add_entry looks for an entry of the same title first, at a cost that grows with the file.
    entry = Entry(
        title=row["title"],
        username=row.get("username", ""),
        password=row.get("password", ""),
        url=row.get("url"),
        notes=row.get("notes", row.get("text")),
        tags=row.get("tags"),
        otp=row.get("totp"),
        kp=file,
    )
    group.append(entry)
    entry.ctime = _EPOCH + timedelta(milliseconds=row["created"])
    entry.mtime = _EPOCH + timedelta(milliseconds=row["modified"])
    for name in ("type", "created", "modified"):  # KDBX keeps whole seconds
        entry.set_custom_property(name, str(row[name]))
    for name in _CUSTOM[row["type"]]:
        entry.set_custom_property(name, row[name], protect=name in _PROTECTED)


PEER = _Peer()

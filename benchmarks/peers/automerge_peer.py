"""automerge itself: the engine that VaultSync builds on, with nothing around it.

A snapshot and a log of changes in files; no encryption, no verification. This is the floor for A, C and G, and what a
list costs when the whole document has to be loaded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from automerge import core

from benchmarks.peers.files import Log, put_durably
from benchmarks.peers.port import Listed, Peer, nothing
from benchmarks.workload import LOGIN, Row

_SNAPSHOT, _LOG = "snapshot.bin", "changes.bin"
_KINDS = {str: core.ScalarType.Str, int: core.ScalarType.Int, bool: core.ScalarType.Boolean}


def _fill(document: Any, rows: Sequence[Row]) -> None:
    with document.transaction() as transaction:
        entries = transaction.put_object(core.ROOT, "entries", core.ObjType.Map)
        for number, row in enumerate(rows):
            entry = transaction.put_object(entries, f"{number:026d}", core.ObjType.Map)
            for key, value in row.items():
                if key == "tags":
                    for tag in value:
                        transaction.put(entry, f"tags/{tag}", core.ScalarType.Boolean, True)
                else:
                    transaction.put(entry, key, _KINDS[type(value)], value)


class _Document:
    def __init__(self, data: bytes) -> None:
        self.document = core.Document.load(data)
        self.entries = self.document.get(core.ROOT, "entries")[1]

    def listing(self) -> list[Listed]:
        document, entries = self.document, self.entries
        get = document.get
        ids = zip(document.keys(entries), document.values(entries), strict=True)
        return [
            Listed(entry_id, get(obj, "title")[0][1], get(obj, "type")[0][1], "complete") for entry_id, (_, obj) in ids
        ]

    def read_all(self) -> list[Any]:
        keys, values = self.document.keys, self.document.values
        return [
            {key: value[1] for key, (value, _) in zip(keys(obj), values(obj), strict=True)}
            for _, obj in values(self.entries)
        ]

    def row(self, read: Any) -> Row:
        row = {key: value for key, value in read.items() if not key.startswith("tags/")}
        if row["type"] == LOGIN:
            row["tags"] = sorted(key.removeprefix("tags/") for key in read if key.startswith("tags/"))
        return row

    def password(self, entry_id: str) -> str:
        obj = self.document.get(self.entries, entry_id)[1]
        found: str = self.document.get(obj, "password")[0][1]
        return found

    def change(self, entry_id: str, password: str) -> bytes:
        """Change a password; the bytes of the change."""
        heads = self.document.get_heads()
        obj = self.document.get(self.entries, entry_id)[1]
        with self.document.transaction() as transaction:
            transaction.put(obj, "password", core.ScalarType.Str, password)
        (change,) = self.document.get_changes(heads)
        made: bytes = change.raw_bytes
        return made

    def receive(self, changes: Sequence[bytes]) -> None:
        """Apply changes: a sync message is how the binding takes them."""
        message = b"\x42\0\0\0" + _uleb(len(changes)) + b"".join(_uleb(len(change)) + change for change in changes)
        self.document.receive_sync_message(core.SyncState(), core.Message.decode(message))


class _Handle(_Document):
    def __init__(self, folder: Path) -> None:
        super().__init__((folder / _SNAPSHOT).read_bytes() + b"".join(Log.read(folder / _LOG)))
        self._log = Log(folder / _LOG)

    def edit(self, entry_id: str, password: str) -> None:
        self._log.append(self.change(entry_id, password))

    def close(self) -> None:
        self._log.close()


class _Pair:
    """Changes go from one document to the other as they are."""

    def __init__(self, data: bytes) -> None:
        self._left, self._right = _Document(data), _Document(data)
        self._sent: list[bytes] = []

    def ids(self) -> list[str]:
        return [listed.id for listed in self._left.listing() if listed.type == LOGIN]

    def edit(self, entry_id: str, password: str) -> None:
        self._sent.append(self._left.change(entry_id, password))

    def travel(self, entry_id: str) -> tuple[int, str]:
        sent, self._sent = self._sent, []
        self._right.receive(sent)
        return sum(map(len, sent)), self._right.password(entry_id)

    def password(self, entry_id: str) -> str:
        return self._right.password(entry_id)

    def close(self) -> None:
        pass


class _Peer(Peer):
    name = "automerge"
    title = "automerge itself"
    packages = ("automerge",)
    operations = "ABCDEFGH"
    note = "no encryption, nothing signed or verified"

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        document = core.Document()
        _fill(document, rows)
        put_durably(folder / _SNAPSHOT, document.save())
        return nothing

    def open(self, folder: Path) -> _Handle:
        return _Handle(folder)

    def publish(self, folder: Path) -> None:
        (folder / "remote").mkdir()
        (folder / "remote" / _SNAPSHOT).write_bytes((folder / _SNAPSHOT).read_bytes())

    def join(self, folder: Path, into: Path) -> _Handle:
        put_durably(into / _SNAPSHOT, (folder / "remote" / _SNAPSHOT).read_bytes())
        return self.open(into)

    def pair(self, folder: Path, other: Path) -> _Pair:
        return _Pair((folder / _SNAPSHOT).read_bytes())


def _uleb(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


PEER = _Peer()

"""automerge itself: the engine that VaultSync builds on, with nothing around it.

A snapshot and a log of changes in files; no encryption, no verification. This is the floor for A, C and G, and what a
list costs when the whole document has to be loaded for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from automerge import core

from benchmarks.peers.crdt import DocumentPeer
from benchmarks.peers.files import Bare
from benchmarks.peers.port import Listed
from benchmarks.workload import LOGIN, Row

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

    def change(self, entry_id: str, password: str) -> None:
        obj = self.document.get(self.entries, entry_id)[1]
        with self.document.transaction() as transaction:
            transaction.put(obj, "password", core.ScalarType.Str, password)

    def known(self) -> Any:
        return self.document.get_heads()

    def since(self, known: Any) -> list[bytes]:
        return [change.raw_bytes for change in self.document.get_changes(known)]

    def receive(self, updates: Sequence[bytes]) -> None:
        """A sync message is how the binding takes changes."""
        message = b"\x42\0\0\0" + _uleb(len(updates)) + b"".join(_uleb(len(update)) + update for update in updates)
        self.document.receive_sync_message(core.SyncState(), core.Message.decode(message))


class _Peer(DocumentPeer):
    name = "automerge"
    title = "automerge itself"
    packages = ("automerge",)
    note = "no encryption, nothing signed or verified"
    wrapper = Bare

    def saved(self, rows: Sequence[Row]) -> bytes:
        document = core.Document()
        _fill(document, rows)
        made: bytes = document.save()
        return made

    def load(self, snapshot: bytes, updates: Sequence[bytes]) -> _Document:
        return _Document(snapshot + b"".join(updates))


def _uleb(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


PEER = _Peer()

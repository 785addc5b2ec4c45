"""pycrdt (Yjs), with AES-256-GCM around what it writes: a state, and updates appended to a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycrdt import Doc, Map

from benchmarks.peers.crdt import DocumentPeer
from benchmarks.peers.files import Sealer
from benchmarks.peers.port import Listed
from benchmarks.workload import Row


class _Document:
    def __init__(self, updates: Sequence[bytes]) -> None:
        self.document: Any = Doc()
        self.entries: Any = self.document.get("entries", type=Map)
        self.receive(updates)

    def listing(self) -> list[Listed]:
        with self.document.transaction():  # one for all, else there is one for every value
            return [
                Listed(entry_id, entry["title"], entry["type"], "complete") for entry_id, entry in self.entries.items()
            ]

    def read_all(self) -> list[Any]:
        return list(self.entries.to_py().values())

    def row(self, read: Any) -> Row:
        return {key: int(value) if isinstance(value, float) else value for key, value in read.items()}

    def password(self, entry_id: str) -> str:
        found: str = self.entries[entry_id]["password"]
        return found

    def change(self, entry_id: str, password: str) -> None:
        self.entries[entry_id]["password"] = password

    def known(self) -> Any:
        return self.document.get_state()

    def since(self, known: Any) -> list[bytes]:
        return [self.document.get_update(known)]

    def receive(self, updates: Sequence[bytes]) -> None:
        for update in updates:
            self.document.apply_update(update)


class _Peer(DocumentPeer):
    name = "pycrdt"
    title = "pycrdt (Yjs) + AES-GCM"
    packages = ("pycrdt", "cryptography")
    note = "nothing signed or verified; overwritten values are forgotten"
    wrapper = Sealer

    def saved(self, rows: Sequence[Row]) -> bytes:
        document: Any = Doc()
        entries: Any = document.get("entries", type=Map)
        with document.transaction():
            for number, row in enumerate(rows):
                entries[f"{number:026d}"] = Map(row)
        made: bytes = document.get_update()
        return made

    def load(self, snapshot: bytes, updates: Sequence[bytes]) -> _Document:
        return _Document([snapshot, *updates])


PEER = _Peer()

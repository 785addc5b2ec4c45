"""loro, with AES-256-GCM around what it writes: a snapshot, and updates appended to a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import loro

from benchmarks.peers.crdt import DocumentPeer
from benchmarks.peers.files import Sealer
from benchmarks.peers.port import Listed
from benchmarks.workload import Row


class _Document:
    def __init__(self, snapshot: bytes, updates: Sequence[bytes]) -> None:
        self.document = loro.LoroDoc()
        self.document.import_batch([snapshot, *updates]) if updates else self.document.import_(snapshot)
        self.entries: Any = self.document.get_map("entries")

    def listing(self) -> list[Listed]:
        rows = self.entries.get_deep_value()  # quicker than asking entry by entry
        return [Listed(entry_id, row["title"], row["type"], "complete") for entry_id, row in rows.items()]

    def read_all(self) -> list[Any]:
        return list(self.entries.get_deep_value().values())

    def row(self, read: Any) -> Row:
        return {key: int(value) if isinstance(value, float) else value for key, value in read.items()}

    def password(self, entry_id: str) -> str:
        found: str = self.entries.get(entry_id).container.get("password").value
        return found

    def change(self, entry_id: str, password: str) -> None:
        self.entries.get(entry_id).container.insert("password", password)
        self.document.commit()

    def known(self) -> Any:
        return self.document.oplog_vv

    def since(self, known: Any) -> list[bytes]:
        return [self.document.export(loro.ExportMode.Updates(known))]

    def receive(self, updates: Sequence[bytes]) -> None:
        for update in updates:
            self.document.import_(update)


class _Peer(DocumentPeer):
    name = "loro"
    title = "loro + AES-GCM"
    packages = ("loro", "cryptography")
    note = "nothing signed or verified"
    wrapper = Sealer

    def saved(self, rows: Sequence[Row]) -> bytes:
        document = loro.LoroDoc()
        entries = document.get_map("entries")
        for number, row in enumerate(rows):
            entry = entries.insert_container(f"{number:026d}", loro.LoroMap())
            for key, value in row.items():
                entry.insert(key, value)
        document.commit()
        made: bytes = document.export(loro.ExportMode.Snapshot())
        return made

    def load(self, snapshot: bytes, updates: Sequence[bytes]) -> _Document:
        return _Document(snapshot, updates)


PEER = _Peer()

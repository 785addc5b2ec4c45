"""loro, with AES-256-GCM around what it writes: a snapshot, and updates appended to a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import loro

from benchmarks.peers.files import Log, Sealer, put_durably
from benchmarks.peers.port import Listed, Peer, nothing
from benchmarks.workload import LOGIN, Row

_SNAPSHOT, _LOG = "snapshot.bin", "updates.bin"


class _Document:
    def __init__(self, snapshot: bytes, updates: Sequence[bytes] = ()) -> None:
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

    def change(self, entry_id: str, password: str) -> bytes:
        """Change a password; the bytes of the update."""
        before = self.document.oplog_vv
        self.entries.get(entry_id).container.insert("password", password)
        self.document.commit()
        made: bytes = self.document.export(loro.ExportMode.Updates(before))
        return made


class _Handle(_Document):
    def __init__(self, folder: Path) -> None:
        self._sealer = Sealer()
        snapshot = self._sealer.open((folder / _SNAPSHOT).read_bytes())
        super().__init__(snapshot, [self._sealer.open(sealed) for sealed in Log.read(folder / _LOG)])
        self._log = Log(folder / _LOG)

    def edit(self, entry_id: str, password: str) -> None:
        self._log.append(self._sealer.seal(self.change(entry_id, password)))

    def close(self) -> None:
        self._log.close()


class _Pair:
    def __init__(self, folder: Path) -> None:
        self._sealer = Sealer()
        snapshot = self._sealer.open((folder / _SNAPSHOT).read_bytes())
        self._left, self._right = _Document(snapshot), _Document(snapshot)
        self._known = self._left.document.oplog_vv

    def ids(self) -> list[str]:
        return [listed.id for listed in self._left.listing() if listed.type == LOGIN]

    def edit(self, entry_id: str, password: str) -> None:
        self._left.entries.get(entry_id).container.insert("password", password)
        self._left.document.commit()

    def travel(self, entry_id: str) -> tuple[int, str]:
        sealed = self._sealer.seal(self._left.document.export(loro.ExportMode.Updates(self._known)))
        self._known = self._left.document.oplog_vv
        self._right.document.import_(self._sealer.open(sealed))
        return len(sealed), self._right.password(entry_id)

    def password(self, entry_id: str) -> str:
        return self._right.password(entry_id)

    def close(self) -> None:
        pass


class _Peer(Peer):
    name = "loro"
    title = "loro + AES-GCM"
    packages = ("loro", "cryptography")
    operations = "ABCDEFGH"
    note = "nothing signed or verified"

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        document = loro.LoroDoc()
        entries = document.get_map("entries")
        for number, row in enumerate(rows):
            entry = entries.insert_container(f"{number:026d}", loro.LoroMap())
            for key, value in row.items():
                entry.insert(key, value)
        document.commit()
        put_durably(folder / _SNAPSHOT, Sealer().seal(document.export(loro.ExportMode.Snapshot())))
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
        return _Pair(folder)


PEER = _Peer()

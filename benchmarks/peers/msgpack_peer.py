"""One file of msgpack under AES-256-GCM, written whole at every edit: the simplest thing that is encrypted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack

from benchmarks.peers.files import Sealer, put_durably
from benchmarks.peers.port import Listed, Pair, Peer, nothing
from benchmarks.workload import Row

_FILE = "vault.bin"


class _Handle:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._sealer = Sealer()
        self._rows: dict[str, Row] = msgpack.unpackb(self._sealer.open(path.read_bytes()))

    def listing(self) -> list[Listed]:
        return [Listed(entry_id, row["title"], row["type"], "complete") for entry_id, row in self._rows.items()]

    def read_all(self) -> list[Any]:
        return [dict(row) for row in self._rows.values()]

    def row(self, read: Any) -> Row:
        row: Row = read
        return row

    def edit(self, entry_id: str, password: str) -> None:
        self._rows[entry_id]["password"] = password
        put_durably(self._path, self._sealer.seal(msgpack.packb(self._rows)))

    def password(self, entry_id: str) -> str:
        found: str = self._rows[entry_id]["password"]
        return found

    def close(self) -> None:
        self._rows = {}


class _Peer(Peer):
    name = "msgpack"
    title = "msgpack + AES-GCM, one file"
    packages = ("msgpack", "cryptography")
    operations = "ABCD"
    note = "no merging; every edit writes the whole file"

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        packed = msgpack.packb({f"{number:026d}": row for number, row in enumerate(rows)})
        put_durably(folder / _FILE, Sealer().seal(packed))
        return nothing

    def open(self, folder: Path) -> _Handle:
        return _Handle(folder / _FILE)

    def publish(self, folder: Path) -> None:
        raise NotImplementedError("there is no sync here")

    def join(self, folder: Path, into: Path) -> _Handle:
        raise NotImplementedError("there is no sync here")

    def pair(self, folder: Path, other: Path) -> Pair:
        raise NotImplementedError("nothing merges here")


PEER = _Peer()

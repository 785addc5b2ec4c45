"""pycrdt (Yjs), with AES-256-GCM around what it writes: a state, and updates appended to a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pycrdt import Doc, Map

from benchmarks.peers.files import Log, Sealer, put_durably
from benchmarks.peers.port import Listed, Peer, nothing
from benchmarks.workload import LOGIN, Row

_STATE, _LOG = "state.bin", "updates.bin"


class _Document:
    def __init__(self, updates: Sequence[bytes]) -> None:
        self.document: Any = Doc()
        self.entries: Any = self.document.get("entries", type=Map)
        for update in updates:
            self.document.apply_update(update)

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

    def change(self, entry_id: str, password: str) -> bytes:
        """Change a password; the bytes of the update."""
        before = self.document.get_state()
        self.entries[entry_id]["password"] = password
        made: bytes = self.document.get_update(before)
        return made


class _Handle(_Document):
    def __init__(self, folder: Path) -> None:
        self._sealer = Sealer()
        state = self._sealer.open((folder / _STATE).read_bytes())
        super().__init__([state, *map(self._sealer.open, Log.read(folder / _LOG))])
        self._log = Log(folder / _LOG)

    def edit(self, entry_id: str, password: str) -> None:
        self._log.append(self._sealer.seal(self.change(entry_id, password)))

    def close(self) -> None:
        self._log.close()


class _Pair:
    def __init__(self, folder: Path) -> None:
        self._sealer = Sealer()
        state = self._sealer.open((folder / _STATE).read_bytes())
        self._left, self._right = _Document([state]), _Document([state])
        self._known = self._left.document.get_state()

    def ids(self) -> list[str]:
        return [listed.id for listed in self._left.listing() if listed.type == LOGIN]

    def edit(self, entry_id: str, password: str) -> None:
        self._left.entries[entry_id]["password"] = password

    def travel(self, entry_id: str) -> tuple[int, str]:
        sealed = self._sealer.seal(self._left.document.get_update(self._known))
        self._known = self._left.document.get_state()
        self._right.document.apply_update(self._sealer.open(sealed))
        return len(sealed), self._right.password(entry_id)

    def password(self, entry_id: str) -> str:
        return self._right.password(entry_id)

    def close(self) -> None:
        pass


class _Peer(Peer):
    name = "pycrdt"
    title = "pycrdt (Yjs) + AES-GCM"
    packages = ("pycrdt", "cryptography")
    operations = "ABCDEFGH"
    note = "nothing signed or verified; overwritten values are forgotten"

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        document: Any = Doc()
        entries: Any = document.get("entries", type=Map)
        with document.transaction():
            for number, row in enumerate(rows):
                entries[f"{number:026d}"] = Map(row)
        put_durably(folder / _STATE, Sealer().seal(document.get_update()))
        return nothing

    def open(self, folder: Path) -> _Handle:
        return _Handle(folder)

    def publish(self, folder: Path) -> None:
        (folder / "remote").mkdir()
        (folder / "remote" / _STATE).write_bytes((folder / _STATE).read_bytes())

    def join(self, folder: Path, into: Path) -> _Handle:
        put_durably(into / _STATE, (folder / "remote" / _STATE).read_bytes())
        return self.open(into)

    def pair(self, folder: Path, other: Path) -> _Pair:
        return _Pair(folder)


PEER = _Peer()

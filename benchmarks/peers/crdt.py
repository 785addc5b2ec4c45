"""What the peers that merge have in common: a document that is loaded whole, a snapshot in a file, updates in a log.

A peer says how its document is read, changed and asked for updates; how those are kept and how they travel is the same
for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.peers.files import Log, Wrapper, put_durably
from benchmarks.peers.port import Listed, Peer, nothing
from benchmarks.workload import LOGIN, Row

__all__ = ["Document", "DocumentPeer"]

_SNAPSHOT, _LOG = "snapshot.bin", "updates.bin"


class Document(Protocol):
    """A replica in memory."""

    def listing(self) -> list[Listed]:
        """As `Handle.listing`."""
        ...

    def read_all(self) -> list[Any]:
        """As `Handle.read_all`."""
        ...

    def row(self, read: Any) -> Row:
        """As `Handle.row`."""
        ...

    def password(self, entry_id: str) -> str:
        """As `Handle.password`."""
        ...

    def change(self, entry_id: str, password: str) -> None:
        """Change a password, in memory."""
        ...

    def known(self) -> Any:
        """What it holds, in the library's own terms."""
        ...

    def since(self, known: Any) -> list[bytes]:
        """The updates that a replica which holds ``known`` lacks."""
        ...

    def receive(self, updates: Sequence[bytes]) -> None:
        """Merge them."""
        ...


class _Handle:
    """A document with the files it came from. Every edit is one update in the log."""

    def __init__(self, document: Document, log: Log, wrapper: Wrapper) -> None:
        self._document, self._log, self._wrapper = document, log, wrapper
        self.listing, self.read_all = document.listing, document.read_all
        self.row, self.password = document.row, document.password

    def edit(self, entry_id: str, password: str) -> None:
        before = self._document.known()
        self._document.change(entry_id, password)
        for update in self._document.since(before):
            self._log.append(self._wrapper.seal(update))

    def close(self) -> None:
        self._log.close()


class _Pair:
    """What is new in one document goes to the other as the library recommends: everything since the last time."""

    def __init__(self, left: Document, right: Document, wrapper: Wrapper) -> None:
        self._left, self._right, self._wrapper = left, right, wrapper
        self._known = left.known()
        self.edit, self.password = left.change, right.password

    def ids(self) -> list[str]:
        return [listed.id for listed in self._left.listing() if listed.type == LOGIN]

    def travel(self, entry_id: str) -> tuple[int, str]:
        sent = [self._wrapper.seal(update) for update in self._left.since(self._known)]
        self._known = self._left.known()
        self._right.receive([self._wrapper.open(each) for each in sent])
        return sum(map(len, sent)), self._right.password(entry_id)

    def close(self) -> None:
        pass


class DocumentPeer(Peer):
    """A peer made of documents."""

    operations = "ABCDEFGH"
    wrapper: Callable[[], Wrapper]

    def saved(self, rows: Sequence[Row]) -> bytes:
        """A new document of these entries, as the library writes it whole."""
        raise NotImplementedError

    def load(self, snapshot: bytes, updates: Sequence[bytes]) -> Document:
        """A document from what `saved` gave and what was logged since."""
        raise NotImplementedError

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        put_durably(folder / _SNAPSHOT, self.wrapper().seal(self.saved(rows)))
        return nothing

    def open(self, folder: Path) -> _Handle:
        wrapper = self.wrapper()
        snapshot = wrapper.open((folder / _SNAPSHOT).read_bytes())
        updates = [wrapper.open(each) for each in Log.read(folder / _LOG)]
        return _Handle(self.load(snapshot, updates), Log(folder / _LOG), wrapper)

    def publish(self, folder: Path) -> None:
        (folder / "remote").mkdir()
        (folder / "remote" / _SNAPSHOT).write_bytes((folder / _SNAPSHOT).read_bytes())

    def join(self, folder: Path, into: Path) -> _Handle:
        put_durably(into / _SNAPSHOT, (folder / "remote" / _SNAPSHOT).read_bytes())
        return self.open(into)

    def pair(self, folder: Path, other: Path) -> _Pair:
        wrapper = self.wrapper()
        snapshot = wrapper.open((folder / _SNAPSHOT).read_bytes())
        return _Pair(self.load(snapshot, []), self.load(snapshot, []), wrapper)

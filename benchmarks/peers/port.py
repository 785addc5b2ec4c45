"""What the benchmark asks of a library that keeps a vault. One peer a file beside this one.

A peer is used as its own documentation recommends: nested maps where it has them, incremental updates where it can
write them, its own bulk reads. What it does *not* do (encrypt, merge, verify) stands in its ``note`` and in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from benchmarks.workload import Row

__all__ = ["KEY", "Handle", "Listed", "Pair", "Peer", "nothing"]

KEY = bytes(range(32))
"""The raw key that everything encrypted is opened with: key derivation is measured apart."""


def nothing() -> None:
    """For a peer that has nothing to close."""


class Listed(NamedTuple):
    """One line of a list as a user interface shows it. A library that lists tuples of these four hands out its own."""

    id: str
    title: str
    type: str
    status: str


class Handle(Protocol):
    """An opened vault."""

    def listing(self) -> list[Any]:
        """Every entry, as a Python list of tuples: id, title, type, status (see `Listed`)."""
        ...

    def read_all(self) -> list[Any]:
        """Every value of every entry, as plain Python objects in the peer's natural form."""
        ...

    def row(self, read: Any) -> Row:
        """One element of ``read_all`` in the form of the workload. Never timed."""
        ...

    def edit(self, entry_id: str, password: str) -> None:
        """Change the password of a login. Durable when it returns."""
        ...

    def password(self, entry_id: str) -> str:
        """The password as it reads now."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Pair(Protocol):
    """Two replicas of one vault, each with everything that the other had."""

    def ids(self) -> list[str]:
        """The logins."""
        ...

    def edit(self, entry_id: str, password: str) -> None:
        """Change a password at the first replica; the second does not know yet."""
        ...

    def travel(self, entry_id: str) -> tuple[int, str]:
        """Bring what is new from the first to the second replica: (bytes on the way, password as the second shows it
        then)."""
        ...

    def password(self, entry_id: str) -> str:
        """At the second replica."""
        ...

    def close(self) -> None:
        """Let go of both."""
        ...


class Peer(Protocol):
    """A library. ``operations``: what it can do of A to H; ``packages``: the distributions it needs; ``verifies``:
    whether it finds out who wrote what."""

    name: str
    title: str
    packages: tuple[str, ...]
    operations: str
    note: str
    verifies: bool = False

    def prepare(self) -> None:
        """Whatever has to be derived before a new vault can be made. Not timed."""
        return

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        """Import everything into a new vault in an empty folder, durably, in one batch. What is returned closes it."""
        ...

    def open(self, folder: Path) -> Handle:
        """Open what ``create`` made."""
        ...

    def publish(self, folder: Path) -> None:
        """Put everything onto a remote that lies in ``folder / "remote"``. Called before ``join`` and ``pair``."""
        ...

    def join(self, folder: Path, into: Path) -> Handle:
        """A new device: a vault in the empty folder ``into``, from nothing but the remote of ``folder``."""
        ...

    def join_showing(self, folder: Path, into: Path, show: Callable[[Sequence[Any]], object]) -> Handle:
        """The same; ``show`` is given the list of everything if that can be read before the device has joined."""
        return self.join(folder, into)

    def pair(self, folder: Path, other: Path) -> Pair:
        """The published vault in ``folder`` and the one that joined in ``other``."""
        ...

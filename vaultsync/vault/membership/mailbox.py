"""The mailbox of a pairing on a remote: letters put, found, read in whatever order they fit, and cleared away.

Anybody who reaches the remote may read, write and remove what is in it; what a letter says is judged elsewhere. Number
0 marks a mailbox as closed: it is not sealed, as whoever could put it there could as well remove every letter.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable
from typing import Final

from vaultsync.crypto.letters import Letter
from vaultsync.errors import ObjectMissing, PairingFailed, Refused, RemoteError, UpdateRequired
from vaultsync.remote.port import Remote
from vaultsync.sync import names

__all__ = ["CLOSED", "Mailbox"]

CLOSED: Final = Letter(0, b"VSP closed")
_ANSWER: Final = 4
_MOST: Final = 8
"""Letters of one number that are looked at: two are usual when two devices scan one code."""
_MOST_ANSWERS: Final = 2
_SHORT_BYTES: Final = 64 << 10
"""A letter other than the answer, which holds the list of devices, is far shorter."""
_PAUSE_SECONDS: Final = 0.02


class Mailbox:
    """One side's view of it. Not thread-safe."""

    def __init__(self, remote: Remote, mailbox: bytes) -> None:
        self.prefix: Final = names.mailbox_prefix(mailbox)
        self.newer: UpdateRequired | None = None
        """Raised by a letter of a newer format that was passed over."""
        self.met = False
        """Whether a letter of the other side was ever read."""
        self._remote, self._id = remote, mailbox
        self._listed: set[str] = set()
        self._known: set[str] = set()
        self._waiting: dict[str, Letter] = {}
        self._wake = threading.Event()

    def _name(self, letter: Letter) -> str:
        return names.letter_name(self._id, letter.number, hashlib.sha256(letter.data).digest())

    def look(self, numbers: Iterable[int]) -> None:
        """Fetch the letters of these numbers that are new. Raises `RemoteError`."""
        wanted = frozenset(numbers)
        self._listed = set(self._remote.list(self.prefix))
        for name in sorted(self._listed - self._known):
            parsed = names.parse_letter(name)
            if parsed is None or parsed.mailbox != self._id or parsed.number not in wanted:
                continue
            answer = parsed.number == _ANSWER
            alike = names.letter_name(self._id, parsed.number, bytes(16))[:-32]
            seen = sum(old.startswith(alike) for old in self._known)
            if seen >= (_MOST_ANSWERS if answer else _MOST):
                continue
            try:
                data = self._remote.get(name)
            except ObjectMissing:
                continue
            if hashlib.sha256(data).digest()[:16] != parsed.digest:
                continue  # still being written: looked at again
            self._known.add(name)
            if answer or len(data) <= _SHORT_BYTES:
                self._waiting[name] = Letter(parsed.number, data)

    @property
    def closed(self) -> bool:
        """Whether the other side left the mark, as of the last look."""
        return self._name(CLOSED) in self._listed

    def read(self, receive: Callable[[bytes], object]) -> None:
        """Hand over every letter that waits, by number; one that does not fit (yet) is kept for the next time.

        Raises what ``receive`` does when it ends the pairing: `PairingFailed` and `WrongInvitation`.
        """
        again = True
        while again:
            again = False
            for name, letter in sorted(self._waiting.items()):
                try:
                    receive(letter.data)
                except PairingFailed:
                    del self._waiting[name]
                    raise
                except Refused:
                    continue
                except UpdateRequired as error:
                    self.newer = error
                    continue
                del self._waiting[name]
                self.met = again = True

    def put(self, letters: Iterable[Letter]) -> None:
        """See to it that these are there. Raises `RemoteError`."""
        for letter in letters:
            if (name := self._name(letter)) not in self._listed:
                self._remote.put(name, letter.data)

    def remove(self, letters: Iterable[Letter]) -> None:
        """Raises `RemoteError`."""
        for letter in letters:
            self._remote.delete(self._name(letter))

    def clear(self) -> None:
        """Remove everything that is in it but the mark. Raises `RemoteError`."""
        mark = self._name(CLOSED)
        for name in sorted({*self._remote.list(self.prefix), *self._known} - {mark}):
            self._remote.delete(name)

    def wait(self, seconds: float) -> None:
        """Sleep until something may have changed, at most so long. A remote that is away is waited for as well."""
        try:
            self._remote.wait(self.prefix, seconds, self._wake)
        except RemoteError:
            self._wake.wait(min(seconds, 1.0))
        with contextlib.suppress(ValueError):
            self._wake.wait(min(seconds, _PAUSE_SECONDS))  # a remote may report news all the time

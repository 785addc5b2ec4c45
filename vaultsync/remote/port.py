"""The port to a remote: six methods, and what may and may not be expected of them.

What a remote promises
    * **Write-once.** A name is bound to its bytes when it is first put. Putting the same bytes again is harmless and
      succeeds; other bytes under a name that is taken are refused. (Names contain a hash of what they hold, so honest
      devices never disagree.)
    * **Put is durable.** When ``put`` returns, the bytes survive a crash of this process and, as far as the remote can
      know, a power cut.
    * **Whole objects.** ``put`` never leaves part of an object under its final name, however it ends.

What a remote does *not* promise
    * Listings may be late and incomplete, and a listed object may not be there yet, or not any more.
    * The bytes may be truncated (a synced folder in the middle of writing) or hostile. Callers verify everything.
    * Order of arrival means nothing. (Unless the remote has an attribute ``orderly`` that is true: then a listing shows
      all that was put before it began, and what others saw and it does not show is withheld, not late.)

This module does no I/O: it is the interface and the grammar of names. Names are validated here once, so that no
implementation ever turns a hostile name into a path outside its own folder or bucket.
"""

from __future__ import annotations

import re
import threading
from typing import Final, Protocol, runtime_checkable

from vaultsync.errors import UsageError
from vaultsync.limits import MAX_OBJECT_NAME_CHARS

__all__ = ["Polled", "Remote", "check_name", "check_prefix", "is_name"]

_SEGMENT = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?"
_NAME: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,7}}")
# Segments that are legal characters but mean something to a file system or to a program that syncs folders.
_RESERVED: Final = re.compile(
    r"(?:^|/)(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.[^/]*)?(?:/|$)"  # devices on Windows, with any extension
    r"|\.(?:part|partial|tmp|crdownload)(?:/|$)"  # unfinished downloads
    r"|\.sync-conflict-"  # Syncthing's conflict copies
    r"|\.\."
)


@runtime_checkable
class Remote(Protocol):
    """A place that keeps named, immutable objects. Thread-safe; one object may be shared by all threads of a process.

    Every method may raise ``RemoteUnavailable`` (not there just now; trying again helps) and ``RemoteRefused`` (it
    answers and says no; somebody has to change something), and ``UsageError`` for a name outside the grammar.
    """

    def put(self, name: str, data: bytes) -> None:
        """Store ``data`` under ``name``, durably and whole.

        The same bytes again succeed. Other bytes under a taken name raise ``RemoteRefused`` and change nothing.
        After any error the object may or may not be there: putting again is always right.
        """
        ...

    def get(self, name: str) -> bytes:
        """The bytes under ``name``. Raises ``ObjectMissing`` when there are none (yet, or any more).

        They may be truncated or hostile; an object larger than any may be counts as missing.
        """
        ...

    def list(self, prefix: str) -> list[str]:
        """Full names of the objects below ``prefix``, sorted. ``""`` lists everything.

        A prefix is a whole number of segments, with or without the slash at its end: ``"a/b"`` and ``"a/b/"`` list
        ``a/b/c`` but neither ``a/b`` nor ``a/bc``. A prefix without objects gives an empty list, not an error.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove ``name``. Removing what is not there succeeds."""
        ...

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """Sleep until something below ``prefix`` may have changed: True.

        False when ``timeout`` seconds passed, or as soon as ``wake`` is set.
        Told apart by ``wake``, each waiter hears of every change that came after the last call that returned True to
        it, also of one that came while it was not waiting: ``wait`` then ``list`` in a loop misses nothing. The first
        call of a waiter may return True at once, and any call may return True without news. What was put through this
        very object may be left out, and so may deletions.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files. Closing twice is harmless."""
        ...


@runtime_checkable
class Polled(Protocol):
    """What a remote has besides that cannot call back: ``wait`` looks at it now and then, for a price. Times are those
    of ``time.monotonic``; a waiter is told apart by ``wake``, as in ``Remote.wait``."""

    def looked(self, prefix: str, wake: threading.Event) -> float:
        """When this waiter last looked for news below ``prefix``; -inf before it ever did."""
        ...

    def look_soon(self, prefix: str, wake: threading.Event) -> None:
        """Its next ``wait`` begins with a look, whenever one would be due."""
        ...

    def alone_in(self, prefix: str) -> None:
        """As a rule nobody else puts anything directly below ``prefix``: what is put there through this object is no
        news to those who wait on it. If somebody else does put there right before, that may go unnoticed until he puts
        again or somebody lists."""
        ...


def is_name(name: str) -> bool:
    """Whether ``name`` is a legal object name.

    One to eight segments of ``[a-z0-9._-]`` joined by ``/``, at most ``MAX_OBJECT_NAME_CHARS`` in all; a segment begins
    with a letter or digit, does not end with a dot, holds no ``..``, and is nothing that a file system or a sync
    program gives a meaning of its own (``nul``, ``x.part``, ``x.sync-conflict-…``). Lowercase only, so that file
    systems that do not tell case apart hold the same objects as those that do.
    """
    return len(name) <= MAX_OBJECT_NAME_CHARS and _NAME.fullmatch(name) is not None and _RESERVED.search(name) is None


def check_name(name: str) -> str:
    """``name`` itself; raises ``UsageError`` when it is not a legal object name."""
    if not is_name(name):
        raise UsageError(f"not an object name: {name[:80]!r} (lowercase letters, digits, '.', '_', '-', joined by '/')")
    return name


def check_prefix(prefix: str) -> str:
    """``prefix`` as ``""`` or with exactly one slash at its end; raises ``UsageError`` for an illegal prefix."""
    return check_name(prefix.removesuffix("/")) + "/" if prefix else ""

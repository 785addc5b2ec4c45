"""Suites that every implementation of a port has to pass. Subclass one, say how to open yours, and run pytest.

For a remote::

    class TestMyRemote(RemoteContract):
        def connect(self, place: Path) -> Remote:
            return MyRemote(place)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vaultsync.errors import ObjectMissing, RemoteRefused, UsageError
from vaultsync.remote.port import Remote

__all__ = ["RemoteContract"]


class RemoteContract:
    """What ``Remote`` promises. ``connect`` is called with one empty directory a test, perhaps several times.

    Two remotes made by ``connect`` with the same ``place`` must reach the same objects. ``latency`` is how many seconds
    a change may take until ``wait`` tells of it.
    """

    latency: float = 3.0

    def connect(self, place: Path) -> Remote:
        """A connection to the storage at ``place``."""
        raise NotImplementedError

    @pytest.fixture
    def remote(self, tmp_path: Path) -> Iterator[Remote]:
        """One connection."""
        remote = self.connect(tmp_path)
        yield remote
        remote.close()

    @pytest.fixture
    def other(self, tmp_path: Path, remote: Remote) -> Iterator[Remote]:
        """Another connection to the same objects."""
        other = self.connect(tmp_path)
        yield other
        other.close()

    def test_it_is_a_remote(self, remote: Remote) -> None:
        """All methods of the port are there."""
        assert isinstance(remote, Remote)

    @pytest.mark.parametrize("size", [0, 1, 255, 4096, 1 << 20])
    def test_what_was_put_is_got(self, remote: Remote, other: Remote, size: int) -> None:
        """Bytes come back as they were, through another connection too."""
        data = bytes(index % 251 for index in range(size))
        remote.put("a/b/c-1", data)
        assert remote.get("a/b/c-1") == data
        assert other.get("a/b/c-1") == data

    def test_putting_again_is_harmless(self, remote: Remote, other: Remote) -> None:
        """The same bytes under the same name, from wherever."""
        for one in (remote, other, remote):
            one.put("a/1", b"data")
        assert other.list("") == ["a/1"]
        assert other.get("a/1") == b"data"

    def test_a_taken_name_keeps_its_bytes(self, remote: Remote, other: Remote) -> None:
        """Write-once."""
        remote.put("a/1", b"data")
        with pytest.raises(RemoteRefused):
            other.put("a/1", b"date")
        assert remote.get("a/1") == b"data"

    def test_what_is_not_there_is_missing(self, remote: Remote) -> None:
        """``ObjectMissing``: for objects, and for what is only a prefix."""
        remote.put("a/b/c", b"data")
        for name in ("a/b/d", "a/b", "a/b/c/d", "x"):
            with pytest.raises(ObjectMissing):
                remote.get(name)

    def test_lists_are_sorted_full_names_below_a_prefix(self, remote: Remote) -> None:
        """Whole segments only, with or without the slash."""
        names = ["a/b-1", "a/b/1", "a/b/10", "a/b/2", "a/bc/1", "b/1", "top"]
        for name in reversed(names):
            remote.put(name, name.encode())
        assert remote.list("") == names
        assert remote.list("a/b/") == remote.list("a/b") == ["a/b/1", "a/b/10", "a/b/2"]
        assert remote.list("a") == names[:5]
        assert remote.list("nothing/here") == []

    def test_deleting(self, remote: Remote, other: Remote) -> None:
        """Once, twice, and putting again afterwards."""
        remote.put("a/1", b"one")
        remote.put("a/2", b"two")
        remote.delete("a/1")
        other.delete("a/1")
        remote.delete("never/was")
        assert other.list("") == ["a/2"]
        with pytest.raises(ObjectMissing):
            other.get("a/1")
        other.put("a/1", b"new")
        assert remote.get("a/1") == b"new"

    @pytest.mark.parametrize(
        "name",
        [
            *("", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", ".a", "a.", "-a", "A", "ä", "a b", "a\\b", "a\0b"),
            *("a\n", "c:x", "~", "a/nul", "con.txt", "a.part", "x.sync-conflict-1", "a/" * 8 + "a", "a" * 256),
        ],
    )
    def test_hostile_names_reach_nothing(self, remote: Remote, name: str) -> None:
        """``UsageError`` before anything is touched."""
        for call in (lambda: remote.put(name, b""), lambda: remote.get(name), lambda: remote.delete(name)):
            with pytest.raises(UsageError):
                call()
        if name not in ("", "a/"):
            with pytest.raises(UsageError):
                remote.list(name)
        assert remote.list("") == []

    def test_the_longest_name(self, remote: Remote) -> None:
        """Eight segments and 255 characters are legal everywhere."""
        name = "/".join(["a" * 31] * 8)
        remote.put(name, b"data")
        assert remote.list("") == [name]

    def test_many_putting_the_same_at_once(self, remote: Remote, other: Remote) -> None:
        """No put fails, nothing is torn."""
        data = bytes(200_000)
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit((remote, other)[i % 2].put, f"a/{i // 8}", data) for i in range(64)]
            for job in jobs:
                job.result()
        assert other.list("a") == [f"a/{i}" for i in range(8)]
        assert all(remote.get(name) == data for name in remote.list("a"))

    def test_waiting_hears_of_a_put(self, remote: Remote, other: Remote) -> None:
        """Within the latency, long before the timeout."""
        wake = threading.Event()
        self._drain(remote, wake)
        timer = threading.Timer(0.1, other.put, ("a/1", b"data"))
        timer.start()
        started = time.monotonic()
        assert remote.wait("a", 30.0, wake)
        assert time.monotonic() - started < self.latency
        timer.join()
        assert remote.list("a") == ["a/1"]

    def test_waiting_misses_nothing_between_list_and_wait(self, remote: Remote, other: Remote) -> None:
        """What came before ``wait`` was called is news all the same."""
        wake = threading.Event()
        for index in range(5):
            self._drain(remote, wake)
            seen = remote.list("a")
            other.put(f"a/{index}", b"data")
            assert remote.wait("a", 30.0, wake)
            assert remote.list("a") == [*seen, f"a/{index}"]

    def test_each_waiter_hears_of_it(self, remote: Remote, other: Remote) -> None:
        """One waiter being told takes nothing from another."""
        one, two = threading.Event(), threading.Event()
        self._drain(remote, one)
        self._drain(remote, two)
        other.put("a/1", b"data")
        assert remote.wait("a", 30.0, one)
        assert remote.wait("a", 30.0, two)

    def test_waiting_ends_by_timeout(self, remote: Remote) -> None:
        """False, and not much later than asked."""
        wake = threading.Event()
        self._drain(remote, wake)
        started = time.monotonic()
        assert not remote.wait("a", 0.1, wake)
        assert 0.05 < time.monotonic() - started < self.latency

    def test_waiting_ends_when_woken(self, remote: Remote) -> None:
        """At once, also when woken before."""
        wake = threading.Event()
        self._drain(remote, wake)
        timer = threading.Timer(0.1, wake.set)
        timer.start()
        started = time.monotonic()
        remote.wait("a", 30.0, wake)
        remote.wait("a", 30.0, wake)
        assert time.monotonic() - started < self.latency
        timer.join()

    def test_closing_twice_is_harmless(self, tmp_path: Path) -> None:
        """And takes nothing away."""
        remote = self.connect(tmp_path)
        remote.put("a/1", b"data")
        remote.close()
        remote.close()
        assert self.connect(tmp_path).get("a/1") == b"data"

    @staticmethod
    def _drain(remote: Remote, wake: threading.Event) -> None:
        for _ in range(100):
            if not remote.wait("a", 0.0, wake):
                return
        pytest.fail("wait reports news for ever although nothing changes")

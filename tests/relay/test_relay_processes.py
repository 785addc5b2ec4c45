"""Relay processes that are killed, several of them on one PostgreSQL, and a PostgreSQL that is killed under them.

What counts as acknowledged is what ``put`` returned for. Whoever is not answered tries again, as devices do.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("starlette", reason="the extra [relay] is not installed")

from tests.postgres import server
from tests.relay.programs import Relay
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.errors import RemoteUnavailable, VaultSyncError
from vaultsync.remote.relay import RelayRemote
from vaultsync.remote.signing import Membership, bucket_of

COUNTER = itertools.count()
PATIENT = ("--vault-rate", "100000", "--address-rate", "100000")


class Owner:
    """A vault's one device, which is its recovery identity as well: enough to put objects."""

    def __init__(self) -> None:
        key = DeviceKeys.from_bytes(hashlib.sha256(b"processes %d" % next(COUNTER)).digest()).access
        self.bucket, self.public, self.sign = bucket_of(key.public), key.public, key.sign
        self._known = Membership.edit(key.sign, key.public, 0, ())

    def membership(self) -> Membership:
        return self._known

    def remember(self, membership: Membership) -> None:
        pass


class Load:
    """Threads that put objects until they are told to stop; ``acknowledged`` is what was answered."""

    def __init__(self, urls: list[str], threads: int = 4) -> None:
        self.owner = Owner()
        self.acknowledged: dict[str, bytes] = {}
        self.refused: list[VaultSyncError] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._put, args=(urls[n % len(urls)], n), daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _put(self, url: str, who: int) -> None:
        remote, draw = RelayRemote(url, signer=self.owner), random.Random(who)
        for number in itertools.count():
            name, data = f"v/env/{who}/{number:06d}", draw.randbytes(600)
            while not self._stop.is_set():
                try:
                    remote.put(name, data)
                except RemoteUnavailable:
                    continue
                except VaultSyncError as error:
                    self.refused.append(error)
                    return
                self.acknowledged[name] = data
                break
            if self._stop.is_set():
                return

    def more(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many more were acknowledged."""
        wanted, end = len(self.acknowledged) + count, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert not self.refused
            assert time.monotonic() < end, f"{wanted - len(self.acknowledged)} are missing"
            time.sleep(0.01)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not self.refused

    def all_there(self, url: str) -> None:
        remote = RelayRemote(url, signer=self.owner)
        listed = set(remote.list("v"))
        assert self.acknowledged.keys() <= listed
        for name, data in self.acknowledged.items():
            assert remote.get(name) == data


def test_a_relay_killed_in_the_middle_of_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    relay = Relay(tmp_path, *PATIENT)
    load = Load([relay.url])
    for _ in range(3):
        load.more(60)
        relay.kill()
        relay = Relay(tmp_path, *PATIENT, port=relay.port)
    with relay:
        load.more(60)
        load.end()
        load.all_there(relay.url)


@pytest.fixture
def postgres() -> Iterator[Any]:
    with server() as started:
        yield started


@pytest.fixture
def two(postgres: Any, tmp_path: Path) -> Iterator[tuple[Relay, Relay]]:
    words = ("--database", postgres.get_uri(), *PATIENT)
    with Relay(tmp_path, *words) as one, Relay(tmp_path, *words) as other:
        yield one, other


def test_news_cross_processes(two: tuple[Relay, Relay]) -> None:
    owner = Owner()
    here, there = (RelayRemote(relay.url, signer=owner) for relay in two)
    here.put("v/a/0", b"x")
    wake = threading.Event()
    assert there.wait("v", 5.0, wake)
    assert not there.wait("v", 0.2, wake)
    took = []
    for number in range(1, 11):
        started = time.monotonic()
        here.put(f"v/a/{number}", b"x")
        assert there.wait("v", 5.0, wake)
        assert f"v/a/{number}" in there.list("v/a")
        took.append(time.monotonic() - started)
    assert sorted(took)[5] < 0.5, took


def killed(postgres: Any) -> None:
    """PostgreSQL at once, and again on the same files as soon as the system has let go of it."""
    pid, end = postgres.get_pid(), time.monotonic() + 60
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.05)
    while True:
        with contextlib.suppress(Exception):
            postgres.ensure_postgres_running()
            return
        assert time.monotonic() < end, "PostgreSQL does not start again"
        time.sleep(0.2)  # its old children may take a moment to notice that they are alone


def test_postgresql_killed_under_two_relays_loses_nothing_acknowledged(postgres: Any, two: tuple[Relay, Relay]) -> None:
    load = Load([relay.url for relay in two])
    load.more(60)
    backend = postgres.psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'vaultsync-relay' LIMIT 1;")
    os.kill(int("".join(filter(str.isdigit, backend.split("(")[0].split("-")[-1]))), signal.SIGKILL)
    load.more(60)  # its siblings were ended with it, and all connections are new ones
    killed(postgres)
    load.more(60)
    two[0].kill()  # and the other process goes on
    remote = RelayRemote(two[1].url, signer=load.owner)
    wake = threading.Event()
    assert remote.wait("v", 5.0, wake)
    load.end()
    load.all_there(two[1].url)
    for line in two[1].log.splitlines():
        assert '"event":"bug"' not in line


def test_waiters_hear_of_what_came_while_the_database_was_away(postgres: Any, two: tuple[Relay, Relay]) -> None:
    """LISTEN is deaf for a while; afterwards everybody who waits is told to look."""
    owner = Owner()
    here, there = (RelayRemote(relay.url, signer=owner) for relay in two)
    here.put("v/a/0", b"x")
    wake = threading.Event()
    assert there.wait("v", 5.0, wake)
    assert not there.wait("v", 0.2, wake)
    killed(postgres)
    end = time.monotonic() + 30
    while True:
        try:
            here.put("v/a/1", b"x")
            break
        except RemoteUnavailable:
            assert time.monotonic() < end
    heard = False
    while not heard:
        with contextlib.suppress(RemoteUnavailable):
            heard = there.wait("v", 5.0, wake)
        assert time.monotonic() < end
    assert "v/a/1" in there.list("v/a")

"""Real vaults over real servers: what automatic sync asks for, and what comes of servers that fail in every way."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

import vaultsync as vs
from tests.remote.conftest import Proxy
from vaultsync.testing import environment
from vaultsync.testing.vaults import KEY, PASSWORD

SCHEMA = vs.Schema(
    "notes", version=1, platform="linux", types=[vs.EntryType("note", fields=[vs.Field("title", vs.text)])]
)
FIRST, LAST = 0.3, 0.8
"""Seconds between looks for news here; 5 and 60 in earnest."""
SEEDS = itertools.count(1)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "still not so"
        time.sleep(0.01)


def titles(vault: vs.Vault) -> set[str]:
    return {str(entry["title"]) for entry in vault.view()}


# ---- what it costs ----------------------------------------------------------------------------------------------
def what(method: str, path: str) -> str:
    parts = urlsplit(path)
    if "list-type" in parts.query:
        return "LIST hints" if "_heads" in unquote(parse_qs(parts.query).get("prefix", [""])[0]) else "LIST"
    return f"{method} hint" if "/_heads/" in parts.path else method


def asked(proxy: Any, began: int = 0) -> list[str]:
    return [what(method, path) for method, path in proxy.seen[began:]]


def test_a_look_without_news_is_one_list_and_an_edit_two_writes(
    s3_server: Any, proxy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore", reason="needs the extra [objects]")
    from vaultsync.remote.objects import ObjectRemote, store_of

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ACCESSKEY123")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETKEY456")
    counting = proxy(s3_server.url)
    url = f"s3://bucket-0/live?endpoint={counting.url}&region=us-east-1"
    with vs.Vault.create(tmp_path / "v", schema=SCHEMA, key=KEY, environment=environment("costs")) as vault:

        def settled() -> None:
            """Until nothing but looks for news was asked for during three of them."""
            until(lambda: vault.status.pending == 0 and asked(counting)[-3:] == ["LIST hints"] * 3)

        vault.connect(url, remote=ObjectRemote(store_of(url), first=FIRST, last=LAST))
        settled()
        for number in range(2):
            began, edited = len(counting.seen), time.monotonic()
            vault.add("note", title=f"{number}")
            until(lambda: "PUT hint" in asked(counting, began))  # noqa: B023
            took = time.monotonic() - edited
            settled()
            counted = Counter(asked(counting, began))
            print(f"one edit, there after {took:.2f} s: {dict(counted)}")
            assert counted["PUT"] == counted["PUT hint"] == 1, "the envelope, and the hint of its chain"
            assert not counted["GET"], "what it wrote itself is not fetched"
            assert set(counted) == {"HEAD", "PUT", "PUT hint", "LIST hints"}, "and nothing is listed but news, as ever"
            assert took < 1.5
        began = len(counting.seen)
        with vault.batch():
            for number in range(20):
                vault.add("note", title=f"many {number}")
        settled()
        assert Counter(asked(counting, began))["PUT"] == 1, "a batch is one object"
        time.sleep(4 * LAST)  # looks become rare
        began = len(counting.seen)
        time.sleep(4 * LAST)
        idle = Counter(asked(counting, began))
        print(f"idle for {4 * LAST:g} s, looking every {LAST:g} s at last: {dict(idle)}")
        assert set(idle) == {"LIST hints"}, "one list a look, whatever is in the vault"
        assert 2 <= idle["LIST hints"] <= 6


# ---- servers that fail ------------------------------------------------------------------------------------------
class Pair:
    """A laptop behind a proxy that spoils, and a phone with a good line to the same server."""

    def __init__(self, path: Path, server: str, spoilt: Any) -> None:
        from vaultsync.remote.webdav import DavRemote

        folder = f"live-{next(SEEDS)}"
        self.spoilt = spoilt
        good = server.replace("http://", "dav+http://ann:hunter2@") + f"/{folder}"
        bad = spoilt.url.replace("http://", "dav+http://ann:hunter2@") + f"/{folder}"
        self.laptop = vs.Vault.create(
            path / "laptop", schema=SCHEMA, password=PASSWORD, key=KEY, environment=environment(next(SEEDS))
        )
        self.laptop.auto_sync = False
        self.laptop.connect(bad, remote=DavRemote(bad, create=True, first=0.1, last=0.3))
        self.laptop.sync()
        self.phone = vs.Vault.join(
            path / "phone", good, schema=SCHEMA, password=PASSWORD, code=self.laptop.recovery_code, key=KEY,
            environment=environment(next(SEEDS)), background=False,
        )  # fmt: skip
        self.laptop.sync()

    def both_edit(self, what: str) -> None:
        self.laptop.add("note", title=f"{what} by the laptop")
        self.phone.add("note", title=f"{what} by the phone")
        self.phone.sync()

    def meet(self) -> None:
        self.spoilt.faults.clear()
        self.laptop.sync()
        self.phone.sync()
        self.laptop.sync()
        assert titles(self.laptop) == titles(self.phone)
        status = self.laptop.status
        assert (status.state, status.pending, status.quarantined) == (vs.State.UP_TO_DATE, 0, 0), str(status)
        assert (status.findings, status.message) == ((), "")


@pytest.fixture(scope="module")
def pair(dav_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One for all tests here: each ends with both devices equal."""
    pytest.importorskip("httpx", reason="the extra [http] is not installed")
    proxy = Proxy(dav_server.url)
    threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:  # the pauses between tries are what other tests are about
        patch.setattr("vaultsync.remote.web.PAUSE_SECONDS", 0.02)
        made = Pair(tmp_path_factory.mktemp("pair"), dav_server.url, proxy)
    yield made
    made.phone.close()
    made.laptop.close()
    proxy.shutdown()
    proxy.server_close()


@pytest.mark.parametrize(
    ("fault", "methods", "state"),
    [
        (500, None, vs.State.OFFLINE),
        (503, None, vs.State.OFFLINE),
        ((429, {"Retry-After": "3600"}), None, vs.State.OFFLINE),
        ("cut", None, vs.State.OFFLINE),
        ("lost", ("PUT", "MOVE"), vs.State.OFFLINE),
        (401, None, vs.State.REFUSED),
        (403, ("PUT", "MOVE", "MKCOL"), vs.State.REFUSED),  # read-only
        (507, ("PUT", "MOVE"), vs.State.REFUSED),  # full
    ],
    ids=str,
)
def test_a_server_that_fails_is_a_typed_status_and_syncing_goes_on_later(
    pair: Pair, fault: Any, methods: tuple[str, ...] | None, state: vs.State
) -> None:
    pair.both_edit("one")
    pair.spoilt.matching = lambda method, path: methods is None or method in methods
    pair.spoilt.faults = [fault] * 1000
    with pytest.raises(vs.RemoteError) as raised:
        pair.laptop.sync()
    status = pair.laptop.status
    print(str(status))
    assert status.state is state
    assert status.message == str(raised.value)
    assert "hunter2" not in str(status), "no credentials in a sentence"
    assert status.pending > 0
    assert "one by the laptop" in titles(pair.laptop)
    pair.meet()


@pytest.mark.parametrize("fault", ["truncated", "slow"])
def test_bodies_that_are_cut_or_slow_do_no_harm(pair: Pair, fault: str) -> None:
    for number in range(3):
        pair.both_edit(f"{number}")
    pair.spoilt.matching = lambda method, path: method == "GET"
    pair.spoilt.pause = 0.2
    pair.spoilt.faults = [fault] * 1000
    try:
        pair.laptop.sync()
    except vs.RemoteUnavailable:
        assert pair.laptop.status.state is vs.State.OFFLINE
    assert pair.laptop.status.quarantined == 0, "what is cut off is no forgery"
    pair.meet()


def test_a_line_that_breaks_at_every_request_of_a_pass(pair: Pair) -> None:
    """Each request in turn is not answered (with its retries); then everything goes on from there."""
    for broken in itertools.count():
        pair.both_edit(f"{broken}")
        pair.spoilt.seen.clear()
        pair.spoilt.faults = [None] * broken + ["cut"] * 1000
        pair.spoilt.matching = lambda method, path: True
        try:
            pair.laptop.sync()
        except vs.RemoteUnavailable:
            assert pair.laptop.status.state is vs.State.OFFLINE
            assert len(pair.spoilt.seen) > broken
        else:
            break
        pair.meet()
    print(f"a pass that sends one and fetches one takes {broken} requests")
    assert broken >= 6
    pair.meet()


def test_by_itself_when_the_server_is_back(pair: Pair) -> None:
    pair.laptop.auto_sync = True
    until(lambda: pair.laptop.status.state is vs.State.UP_TO_DATE)
    pair.spoilt.faults = [502] * 100_000
    pair.laptop.add("note", title="while it fails")
    until(lambda: pair.laptop.status.state is vs.State.OFFLINE)
    pair.spoilt.faults.clear()
    pair.laptop.wake()
    until(lambda: pair.laptop.status.pending == 0)
    pair.laptop.auto_sync = False
    pair.phone.sync()
    assert "while it fails" in titles(pair.phone)

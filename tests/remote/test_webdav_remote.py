from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultsync.errors import ExtraMissing, ObjectMissing, RemoteRefused, RemoteUnavailable, UnsupportedRemote
from vaultsync.remote import Remote, open_remote
from vaultsync.remote.davxml import multistatus
from vaultsync.testing.contracts import RemoteContract

pytest.importorskip("httpx", reason="the extra [http] is not installed")

from vaultsync.remote.webdav import DavRemote

COUNTER = itertools.count()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultsync.remote.web.PAUSE_SECONDS", 0.02)


@pytest.fixture
def folder() -> str:
    return f"ann-{next(COUNTER)}"


def remote_at(
    server: str, folder: str, *, create: bool = True, first: float = 0.2, who: str = "ann:hunter2"
) -> DavRemote:
    url = server.replace("http://", f"dav+http://{who}@") + f"/{folder}"
    return DavRemote(url, create=create, first=first, last=2.0)


class TestWebDav(RemoteContract):
    @pytest.fixture(autouse=True)
    def _server(self, dav_server: Any, folder: str) -> None:
        self.server, self.folder = dav_server, folder

    def connect(self, place: Path) -> Remote:
        return remote_at(self.server.url, self.folder)


class TestWebDavWithoutMoving(RemoteContract):
    """A server that cannot move, and a conditional PUT that it ignores."""

    @pytest.fixture(autouse=True)
    def _server(self, dav_server: Any, folder: str, proxy: Callable[[str], Any]) -> None:
        self.server, self.folder = proxy(dav_server.url), folder
        self.server.faults = [501] * 1000
        self.server.matching = lambda method, path: method == "MOVE"

    def connect(self, place: Path) -> Remote:
        return remote_at(self.server.url, self.folder)


def test_the_beginning_of_an_object_is_waited_for_and_then_finished(
    dav_server: Any, folder: str, proxy: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without MOVE, somebody else's upload is seen while it is written; one that died is completed, never refused."""
    monkeypatch.setattr("vaultsync.remote.webdav._PAUSE", 0.01)
    server = proxy(dav_server.url)
    server.faults = [501] * 100
    server.matching = lambda method, path: method == "MOVE"
    remote = remote_at(server.url, folder)
    data = b"sealed bytes " * 1000
    remote.put("a/other", data)  # learns that the server cannot move
    for half in (data[:5000], data[:5000] + bytes(300), b""):
        remote._upload("a/1", half, "writing half of it")
        remote.put("a/1", data)
        assert remote.get("a/1") == data
    remote._upload("a/2", b"something else", "writing it")
    with pytest.raises(RemoteRefused, match="already holds something else"):
        remote.put("a/2", data)
    assert remote.get("a/2") == b"something else"


def test_a_poll_without_news_is_one_request(dav_server: Any, folder: str, proxy: Callable[[str], Any]) -> None:
    counting = proxy(dav_server.url)
    remote = remote_at(counting.url, folder, first=0.05)
    for chain in range(5):
        remote.put(f"v/env/{chain:032x}/1", b"sealed")
    wake = threading.Event()
    assert remote.wait("v", 1.0, wake)
    time.sleep(0.1)
    counting.seen.clear()
    assert not remote.wait("v", 0.0, wake)
    assert counting.methods() == ["PROPFIND"]
    counting.seen.clear()
    remote.put(f"v/env/{0:032x}/2", b"sealed")
    assert counting.methods() == ["PUT", "MOVE", "PUT"]


CALLS: dict[str, Callable[[Remote], object]] = {
    "put": lambda remote: remote.put("a/1", b"data"),
    "get": lambda remote: remote.get("a/1"),
    "list": lambda remote: remote.list(""),
    "wait": lambda remote: remote.wait("", 0.0, threading.Event()),
    "delete": lambda remote: remote.delete("a/1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
class TestFaults:
    def test_wrong_password(self, dav_server: Any, folder: str, call: Callable[[Remote], object]) -> None:
        with pytest.raises(RemoteRefused, match="password") as caught:
            call(remote_at(dav_server.url, folder, create=False, who="ann:s3cret"))
        assert "s3cret" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_nobody_there(self, folder: str, call: Callable[[Remote], object]) -> None:
        with pytest.raises(RemoteUnavailable, match="online"):
            call(remote_at("http://127.0.0.1:1", folder, create=False))

    @pytest.mark.parametrize("fault", ["cut", "lost", 500, 503, (429, {"Retry-After": "1"})])
    def test_a_hiccup_is_survived(
        self, dav_server: Any, folder: str, call: Callable[[Remote], object], proxy: Callable[[str], Any], fault: Any
    ) -> None:
        spoilt = proxy(dav_server.url)
        remote = remote_at(spoilt.url, folder)
        remote.put("a/1", b"data")
        spoilt.faults = [fault]
        call(remote)
        assert dav_server.folder.joinpath(folder, "a", "1").exists() == (call is not CALLS["delete"])

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            *((500, RemoteUnavailable), (429, RemoteUnavailable), (423, RemoteUnavailable)),
            *((507, RemoteRefused), (403, RemoteRefused), (400, RemoteRefused)),
        ],
    )
    def test_lasting_trouble_is_typed(
        self, dav_server: Any, folder: str, call: Callable[[Remote], object], proxy: Callable[[str], Any], status: int,
        kind: type[Exception],
    ) -> None:  # fmt: skip
        spoilt = proxy(dav_server.url)
        remote = remote_at(spoilt.url, folder)
        spoilt.faults = [status] * 20
        with pytest.raises(kind):
            call(remote)


@pytest.mark.parametrize("fault", ["cut", "lost"])
@pytest.mark.parametrize("at", range(4))
def test_putting_again_after_any_cut_is_right(
    dav_server: Any, folder: str, proxy: Callable[[str], Any], fault: str, at: int
) -> None:
    spoilt = proxy(dav_server.url)
    remote = remote_at(spoilt.url, folder)
    spoilt.faults = [None] * at + [fault] * 3
    try:
        remote.put("a/1", b"data")
    except RemoteUnavailable:
        spoilt.faults = []
        remote.put("a/1", b"data")
    spoilt.faults = []
    assert remote.get("a/1") == b"data"
    assert remote.list("") == ["a/1"]


def test_truncated_slow_and_endless_bodies(
    dav_server: Any, folder: str, proxy: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = proxy(dav_server.url)
    remote = remote_at(spoilt.url, folder)
    remote.put("a/1", bytes(100_000))
    spoilt.faults = ["truncated"] * 3
    with pytest.raises(RemoteUnavailable):
        remote.get("a/1")
    spoilt.faults = ["slow"]
    assert remote.get("a/1") == bytes(100_000)
    spoilt.faults = ["flood"]
    with pytest.raises(ObjectMissing):
        remote.get("a/1")
    spoilt.faults = ["truncated"] * 3
    with pytest.raises(RemoteUnavailable):
        remote.list("")


def test_a_server_that_drips(dav_server: Any, folder: str, proxy: Callable[[str], Any]) -> None:
    spoilt = proxy(dav_server.url)
    remote = remote_at(spoilt.url, folder)
    remote.put("a/1", bytes(1000))
    clock = itertools.count(step=100)
    remote._web._clock = lambda: float(next(clock))  # a hundred seconds pass at every look
    with pytest.raises(RemoteUnavailable, match="slowly"):
        remote.get("a/1")


def test_a_folder_that_is_gone_is_no_empty_remote(dav_server: Any, folder: str) -> None:
    remote = remote_at(dav_server.url, folder, create=False)
    with pytest.raises(RemoteUnavailable, match="connect"):
        remote.list("")
    with pytest.raises(RemoteRefused, match="above"):
        remote_at(dav_server.url, f"{folder}/deeper/still")
    assert remote_at(dav_server.url, folder).list("") == []


def test_what_lies_around_is_no_object_and_stale_files_go(dav_server: Any, folder: str) -> None:
    remote = remote_at(dav_server.url, folder)
    root = dav_server.folder / folder
    stale, young = root / f".~vaultsync-{0:016x}.tmp", root / f".~vaultsync-{1:016x}.tmp"
    for path in (stale, young, root / "Readme.TXT", root / "x (conflict).md"):
        path.write_bytes(b"x")
    os.utime(stale, (time.time() - 2 * 86400,) * 2)
    time.sleep(1.1)  # the server remembers directories for a second
    remote.put("top", b"1")
    assert remote.list("") == ["top"]
    assert not stale.exists()
    assert young.exists()


def test_names_with_spaces_and_signs_in_the_address(dav_server: Any) -> None:
    remote = remote_at(dav_server.url, f"my%20v%C3%A4ult%23{next(COUNTER)}")
    remote.put("a/1", b"data")
    assert remote.list("a") == ["a/1"]


def test_credentials_from_the_environment(dav_server: Any, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"dav+{dav_server.url}/{folder}"
    environment = {"VAULTSYNC_DAV_USER": "ann", "VAULTSYNC_DAV_PASSWORD": "hunter2"}
    DavRemote(url, create=True, environment=environment).put("a/1", b"data")
    with pytest.raises(RemoteRefused, match="VAULTSYNC_DAV_USER"):
        DavRemote(url, create=True, environment={})


@pytest.mark.parametrize(
    "url", ["dav+https://", "dav+https:///x", "dav+https://ann:hunter2@host/a?b", "dav+https://host:99999999/x",
            "dav+https://ann:hunter2@ho st/"]
)  # fmt: skip
def test_addresses_that_cannot_be_used(url: str) -> None:
    with pytest.raises(UnsupportedRemote) as caught:
        open_remote(url)
    assert "hunter2" not in str(caught.value)


def test_a_password_never_travels_in_the_clear() -> None:
    import httpx

    for url, kind in [
        ("dav+https://ann:hunter2@nas.example/x", httpx.BasicAuth),
        ("dav+http://ann:hunter2@nas.example/x", httpx.DigestAuth),
        ("dav+http://ann:hunter2@127.0.0.1/x", httpx.BasicAuth),
    ]:
        remote = open_remote(url)
        assert isinstance(remote, DavRemote)
        assert type(remote._web._client.auth) is kind
        assert "hunter2" not in repr(remote)


def test_without_the_extra_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'vaultsync\[http\]'"):
        open_remote("dav+https://host/x")


@given(st.binary(max_size=400) | st.text(alphabet='<>/DAV:dav"= hrefsponxml?!&;', max_size=200).map(str.encode))
def test_any_bytes_are_a_listing_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(len(found) == 5 for found in multistatus(data))


def test_bombs_are_refused() -> None:
    entity = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
    for data in (entity, b"<a>" * 10_000):
        with pytest.raises(ValueError, match=r"document types|deeply"):
            multistatus(data)

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaultsync.errors import (
    ExtraMissing,
    ObjectMissing,
    RemoteRefused,
    RemoteUnavailable,
    UnsupportedRemote,
)
from vaultsync.remote import Remote, open_remote
from vaultsync.testing.contracts import RemoteContract

pytest.importorskip("obstore", reason="the extra [objects] is not installed")

from vaultsync.remote.objects import ObjectRemote, store_of

ACCESS_KEY, SECRET_KEY = "ACCESSKEY123", "SECRETKEY456"
COUNTER = itertools.count()


@pytest.fixture
def bucket(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket; credentials are in the environment, as they are meant to be."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return f"bucket-{next(COUNTER)}"


def remote_at(server: str, bucket: str, *, first: float = 0.2, last: float = 2.0) -> ObjectRemote:
    return ObjectRemote(store_of(f"s3://{bucket}/ann/vault?endpoint={server}"), first=first, last=last)


class TestS3(RemoteContract):
    @pytest.fixture(autouse=True)
    def _server(self, s3_server: Any, bucket: str) -> None:
        self.server, self.bucket = s3_server, bucket

    def connect(self, place: Path) -> Remote:
        return remote_at(self.server.url, self.bucket)


def test_a_poll_without_news_is_one_list_and_an_edit_two_writes(
    s3_server: Any, bucket: str, proxy: Callable[[str], Any]
) -> None:
    counting = proxy(s3_server.url)
    remote = remote_at(counting.url, bucket, first=0.05, last=0.05)
    writer = remote_at(s3_server.url, bucket)
    for chain in range(30):
        for seq in range(3):
            writer.put(f"{'f' * 32}/env/{chain:032x}/{seq:012d}-{'0' * 32}", b"sealed")
    wake = threading.Event()
    assert remote.wait("f" * 32, 1.0, wake)
    counting.seen.clear()
    assert not remote.wait("f" * 32, 0.01, wake)
    assert counting.seen == []  # not due yet
    threading.Event().wait(0.06)
    assert not remote.wait("f" * 32, 0.0, wake)
    assert counting.methods() == ["GET"]  # one LIST, of hints
    counting.seen.clear()
    remote.put(f"{'f' * 32}/env/{0:032x}/000000000003-{'0' * 32}", b"sealed")
    assert counting.methods() == ["HEAD", "PUT", "PUT"]
    counting.seen.clear()
    remote.put(f"{'f' * 32}/env/{0:032x}/000000000003-{'0' * 32}", b"sealed")  # the acknowledgement was lost
    assert counting.methods() == ["HEAD", "GET", "PUT"]


def test_after_news_only_what_changed_is_listed_again(s3_server: Any, bucket: str, proxy: Callable[[str], Any]) -> None:
    counting = proxy(s3_server.url)
    remote = remote_at(counting.url, bucket, first=0.5)
    writer = remote_at(s3_server.url, bucket)
    chains = [f"v/env/{chain:032x}" for chain in range(20)]
    for chain in chains:
        writer.put(f"{chain}/000000000001", b"sealed")
    wake = threading.Event()
    assert remote.wait("v", 1.0, wake)
    for chain in chains:
        assert len(remote.list(chain)) == 1
    writer.put(f"{chains[7]}/000000000002", b"sealed")
    counting.seen.clear()
    assert remote.wait("v", 5.0, wake)
    assert [len(remote.list(chain)) for chain in chains] == [1] * 7 + [2] + [1] * 12
    assert len(counting.seen) == 2  # the look, and one directory
    assert remote.list("v") == writer.list("v")


def test_what_is_put_where_nobody_else_puts_is_no_news_to_oneself(s3_server: Any, bucket: str) -> None:
    remote, other = remote_at(s3_server.url, bucket, first=0.02, last=0.02), remote_at(s3_server.url, bucket)
    own, shared, wake = "v/env/own", "v/roster", threading.Event()
    remote.alone_in(own)

    def news() -> bool:
        remote.look_soon("v", wake)
        return remote.wait("v", 0.0, wake)

    assert remote.looked("v", wake) < 0
    assert remote.wait("v", 1.0, wake)
    assert time.monotonic() - remote.looked("v", wake) < 5
    assert not news()
    for number in range(3):
        remote.put(f"{own}/{number}", b"sealed")
        assert not news()
    remote.put(f"{shared}/1", b"sealed")
    assert news(), "others may have put there at the same time"
    other.put(f"{own}/7", b"sealed")
    assert news(), "a copy of this device"
    remote.put(f"{own}/8", b"sealed")
    other.put("v/env/other/1", b"sealed")
    assert news()
    assert not news()


def test_a_listing_of_several_pages(s3_server: Any, bucket: str) -> None:
    folder = s3_server.folder / bucket / "ann" / "vault" / "a"
    folder.mkdir(parents=True)
    for index in range(2500):
        (folder / f"{index:05d}").write_bytes(b"x")
    assert remote_at(s3_server.url, bucket).list("a") == [f"a/{index:05d}" for index in range(2500)]


def test_hints_and_foreign_files_are_no_objects(s3_server: Any, bucket: str) -> None:
    remote = remote_at(s3_server.url, bucket)
    remote.put("top", b"1")
    remote.put("a/1", b"1")
    folder = s3_server.folder / bucket / "ann" / "vault"
    (folder / "Readme.TXT").write_bytes(b"x")
    (folder / "a" / ".hidden").write_bytes(b"x")
    assert remote.list("") == ["a/1", "top"]
    assert (folder / "_heads").is_dir()


def test_what_is_too_large_counts_as_missing(s3_server: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = remote_at(s3_server.url, bucket)
    remote.put("a/1", b"12345")
    monkeypatch.setattr("vaultsync.remote.objects.MAX_ENVELOPE_BYTES", 4)
    with pytest.raises(ObjectMissing):
        remote.get("a/1")
    with pytest.raises(RemoteRefused, match="larger"):
        remote.put("a/2", b"12345")


CALLS: dict[str, Callable[[Remote], object]] = {
    "put": lambda remote: remote.put("a/1", b"data"),
    "get": lambda remote: remote.get("a/1"),
    "list": lambda remote: remote.list(""),
    "wait": lambda remote: remote.wait("", 0.0, threading.Event()),
    "delete": lambda remote: remote.delete("a/1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
class TestRefusals:
    def test_wrong_secret(
        self, s3_server: Any, bucket: str, call: Callable[[Remote], object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
        with pytest.raises(RemoteRefused, match="AWS_ACCESS_KEY_ID") as caught:
            call(remote_at(s3_server.url, bucket))
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__

    def test_nobody_there(self, bucket: str, call: Callable[[Remote], object]) -> None:
        with pytest.raises(RemoteUnavailable, match="online"):
            call(remote_at("http://127.0.0.1:1", bucket))

    @pytest.mark.parametrize("fault", ["cut", 500, 503, 429])
    def test_a_hiccup_is_survived(
        self, s3_server: Any, bucket: str, call: Callable[[Remote], object], proxy: Callable[[str], Any], fault: Any
    ) -> None:
        remote_at(s3_server.url, bucket).put("a/1", b"data")
        spoilt = proxy(s3_server.url)
        spoilt.faults = [fault]
        call(remote_at(spoilt.url, bucket))

    @pytest.mark.parametrize(
        ("status", "kind"), [(500, RemoteUnavailable), (507, RemoteRefused), (403, RemoteRefused), (501, RemoteRefused)]
    )
    def test_lasting_trouble_is_typed(
        self, s3_server: Any, bucket: str, call: Callable[[Remote], object], proxy: Callable[[str], Any], status: int,
        kind: type[Exception],
    ) -> None:  # fmt: skip
        spoilt = proxy(s3_server.url)
        spoilt.faults = [status] * 20
        with pytest.raises(kind):
            call(remote_at(spoilt.url, bucket))


@pytest.mark.parametrize("name", ["put", "list", "wait"])
def test_a_missing_bucket_says_so(s3_server: Any, bucket: str, name: str) -> None:
    with pytest.raises(RemoteRefused, match="no such bucket"):
        CALLS[name](remote_at(s3_server.url, "never-made"))
    with pytest.raises(RemoteRefused, match="no such bucket"):
        open_remote(f"s3://never-made?endpoint={s3_server.url}", create=True)


def test_a_truncated_body_is_unavailable_and_not_half_an_object(
    s3_server: Any, bucket: str, proxy: Callable[[str], Any]
) -> None:
    remote_at(s3_server.url, bucket).put("a/1", bytes(100_000))
    spoilt = proxy(s3_server.url)
    spoilt.faults = ["truncated"] * 20
    with pytest.raises(RemoteUnavailable):
        remote_at(spoilt.url, bucket).get("a/1")
    spoilt.faults = ["slow"]
    assert remote_at(spoilt.url, bucket).get("a/1") == bytes(100_000)


def test_a_key_that_may_only_read(s3_server: Any, bucket: str, proxy: Callable[[str], Any]) -> None:
    remote_at(s3_server.url, bucket).put("a/1", b"data")
    readonly = proxy(s3_server.url)
    readonly.faults = [403] * 10
    readonly.matching = lambda method, path: method in ("PUT", "DELETE", "POST")
    remote = remote_at(readonly.url, bucket)
    assert remote.get("a/1") == b"data"
    for call in (lambda: remote.put("a/2", b"data"), lambda: remote.delete("a/1")):
        with pytest.raises(RemoteRefused, match="may read and write"):
            call()
    assert remote.list("") == ["a/1"]


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("s3://key:hunter2@bucket/a", "AWS_ACCESS_KEY_ID"),
        ("s3://bucket?secret=hunter2", "AWS_ACCESS_KEY_ID"),
        ("s3://bucket?hunter2Hunter2=1", "known are endpoint"),
        ("s3://", "s3://bucket"),
        ("s3://bucket:80/", "s3://bucket"),
        ("s3://bucket?endpoint=https://ann:hunter2@host", "endpoint="),
        ("s3://bucket?endpoint=host", "endpoint="),
        ("s3://bucket?style=hunter2", "style="),
        ("s3://bucket/a#hunter2", "s3://bucket"),
        ("gs://ann:hunter2@bucket", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://container?key=hunter2", "AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, advice: str) -> None:
    with pytest.raises(UnsupportedRemote, match=advice) as caught:
        open_remote(url)
    assert "hunter2" not in str(caught.value)


def test_the_other_services_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg==")
    assert repr(open_remote("az://container/ann?account=acme")) == "ObjectRemote(Azure Blob Storage)"
    assert repr(open_remote("gs://bucket/ann")) == "ObjectRemote(Google Cloud Storage)"


def test_without_the_extra_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'vaultsync\[objects\]'"):
        open_remote("s3://bucket")

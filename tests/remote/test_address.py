from __future__ import annotations

from pathlib import Path
from urllib.request import pathname2url

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultsync.errors import RemoteUnavailable, UnsupportedRemote
from vaultsync.remote import Remote, is_name, open_remote
from vaultsync.remote.address import folder_of


@pytest.mark.parametrize(
    ("url", "windows", "folder"),
    [
        ("/mnt/usb/ann", False, "/mnt/usb/ann"),
        ("/mnt/50%20off", False, "/mnt/50%20off"),
        ("file:///mnt/usb/ann", False, "/mnt/usb/ann"),
        ("FILE:///mnt/usb", False, "/mnt/usb"),
        ("file:/mnt/usb", False, "/mnt/usb"),
        ("file://localhost/mnt/usb", False, "/mnt/usb"),
        ("file:///mnt/my%20stick/%C3%A4%25%23", False, "/mnt/my stick/ä%#"),
        ("file:///mnt/my stick", False, "/mnt/my stick"),
        ("file:///C:/Users/ann", True, "C:\\Users\\ann"),
        ("file://C:/Users/ann", True, "C:\\Users\\ann"),
        ("C:\\Users\\ann", True, "C:\\Users\\ann"),
        ("d:/Dropbox/ann", True, "d:/Dropbox/ann"),
        ("\\\\nas\\share", True, "\\\\nas\\share"),
        ("file://nas/share/ann%20b", True, "\\\\nas\\share\\ann b"),
    ],
)
def test_folders(url: str, windows: bool, folder: str) -> None:
    assert folder_of(url, windows=windows) == folder


@pytest.mark.parametrize(
    ("url", "windows", "advice"),
    [
        ("https://user:hunter2@relay.example/ann", False, "file:///"),
        ("http://relay.example", True, "relay"),
        ("s3://bucket/ann", False, "S3"),
        ("gs://bucket", False, "Google"),
        ("az://container", False, "Azure"),
        ("dav+https://cloud.example/ann", False, "WebDAV"),
        ("ftp://user:hunter2@example.org/", False, "file:///"),
        ("", False, "absolute"),
        ("usb/ann", False, "absolute"),
        ("./usb", True, "absolute"),
        ("~/ann", False, "~"),
        ("C:/Users", False, "Windows"),
        ("file:///C:/Users", False, "Windows"),
        ("file:///mnt/usb", True, "drive"),
        ("/mnt/usb", True, "absolute"),
        ("file:usb/ann", False, "file:///"),
        ("file://usb/ann", False, "three slashes"),
        ("file://", False, "root"),
        ("file:///", False, "root"),
        ("/", False, "root"),
        ("file:///mnt/a#b", False, "%23"),
        ("file:///mnt/a?b", False, "%3F"),
        ("file:///mnt/50%", False, "%25"),
        ("file:///mnt/a%00b", False, "zero"),
        ("/mnt/a\0b", False, "zero"),
    ],
)
def test_addresses_that_cannot_be_used_say_what_can(url: str, windows: bool, advice: str) -> None:
    with pytest.raises(UnsupportedRemote, match=advice) as caught:
        folder_of(url, windows=windows)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60), st.booleans())
def test_any_text_is_a_folder_or_a_typed_refusal(text: str, windows: bool) -> None:
    for url in (text, "file:" + text, "file:///" + text):
        try:
            assert folder_of(url, windows=windows)
        except UnsupportedRemote as refusal:
            assert str(refusal)  # noqa: PT017


def test_opening_creates_only_when_asked(tmp_path: Path) -> None:
    url = "file://" + pathname2url(str(tmp_path / "my stick"))
    late = open_remote(url)
    with pytest.raises(RemoteUnavailable):
        late.list("")
    remote = open_remote(url, create=True)
    assert isinstance(remote, Remote)
    remote.put("a/1", b"data")
    assert late.get("a/1") == b"data"
    assert open_remote(tmp_path / "my stick").get("a/1") == b"data"


@given(st.from_regex(r"[a-z0-9._/\-]{1,40}", fullmatch=True))
def test_no_legal_name_leaves_its_folder(name: str) -> None:
    if is_name(name):
        assert all(segment and segment[0] not in "./-" and segment[-1] != "." for segment in name.split("/"))
        assert ".." not in name

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from vaultsync import limits
from vaultsync.errors import ObjectMissing, RemoteError, RemoteRefused, RemoteUnavailable
from vaultsync.remote import FolderRemote, Remote, files
from vaultsync.remote import folder as folder_module
from vaultsync.remote.folder import MARKER
from vaultsync.testing.contracts import RemoteContract


class TestFolderRemote(RemoteContract):
    def connect(self, place: Path) -> Remote:
        return FolderRemote(place / "remote", create=True)


class TestFolderRemoteWithoutHardLinks(RemoteContract):
    """A FAT stick."""

    @pytest.fixture(autouse=True)
    def _no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))

    def connect(self, place: Path) -> Remote:
        return FolderRemote(place / "remote", create=True)


def failing(number: int) -> Any:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "stick"


@pytest.fixture
def remote(root: Path) -> FolderRemote:
    return FolderRemote(root, create=True)


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


# ---- what other programs leave in a folder ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stray",
    [
        "a/0001-ab (conflicted copy 2026-11-22)",
        "a/0001-ab (Ann's conflicted copy)",
        "a/0001-ab.sync-conflict-20261122-101500-ABCDEFG",
        "a/0001-ab.sync-conflict-20261122-101500-abcdefg",
        "a/~syncthing~0001-ab.tmp",
        "a/.syncthing.0001-ab.tmp",
        "a/0001-ab.part",
        "a/0001-ab.tmp",
        "a/0001-ab (1)",
        "a/.~vaultsync-0011223344556677.tmp",
        "a/.DS_Store",
        "a/desktop.ini ",
        "a/Thumbs.db",
        ".stfolder/marker",
        ".dropbox.cache/0001-ab",
        "a/b.part/0001",
    ],
)
def test_strays_are_never_listed(remote: FolderRemote, root: Path, stray: str) -> None:
    remote.put("a/0001-ab", b"data")
    (root / stray).parent.mkdir(parents=True, exist_ok=True)
    (root / stray).write_bytes(b"junk")
    assert remote.list("") == remote.list("a") == ["a/0001-ab"]


def test_links_pipes_and_directories_are_no_objects(remote: FolderRemote, root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not on the remote")
    (root / "a").mkdir()
    (root / "a/link").symlink_to(secret)
    (root / "a/linked").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(root / "a/pipe")
    assert remote.list("") == []
    for name in ("a/link", "a/pipe", "a/linked", "a/linked/secret2", "a"):
        with pytest.raises(ObjectMissing):
            remote.get(name)
    with pytest.raises(RemoteRefused):
        remote.put("a/link", b"x")
    assert secret.read_bytes() == b"not on the remote"


def test_an_object_too_large_to_be_one_is_missing(remote: FolderRemote, root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(limits.MAX_ENVELOPE_BYTES + 1)
    with pytest.raises(ObjectMissing):
        remote.get("huge")


# ---- half-written files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [b"", b"whol", b"whole da\0\0", bytes(10)])
def test_an_interrupted_copy_is_completed(remote: FolderRemote, root: Path, half: bytes) -> None:
    (root / "a").mkdir()
    (root / "a/1").write_bytes(half)
    assert remote.get("a/1") == half  # as it is: whoever knows the hash sees that it is not whole
    remote.put("a/1", b"whole data")
    assert remote.get("a/1") == b"whole data"


@pytest.mark.parametrize("links", [True, False])
def test_renaming_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """What the loser of a race between two processes runs into."""
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    temp, target = tmp_path / "temp", tmp_path / "target"
    for path in (temp, target):
        path.write_bytes(path.name.encode())
    assert not files.rename_new(str(temp), str(target))
    assert target.read_bytes() == b"target"


def test_no_temporary_file_stays_whatever_fails(
    remote: FolderRemote, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.put("a/0", b"data")
    before = everything(root)
    for target, name in ((os, "fsync"), (os, "link"), (files, "rename_new")):
        for number in (errno.ENOSPC, errno.EIO):
            with monkeypatch.context() as patch:
                patch.setattr(target, name, failing(number))
                with pytest.raises(RemoteError):
                    remote.put("a/1", b"data")
            assert everything(root) == before
    remote.put("a/1", b"data")
    assert remote.list("") == ["a/0", "a/1"]


def test_what_a_killed_process_left_is_swept_by_the_folders_own_clock(root: Path) -> None:
    FolderRemote(root, create=True).put("a/1", b"data")
    old, young = root / "a/.~vaultsync-00.tmp", root / "a/.~vaultsync-01.tmp"
    foreign = root / "a/.~lock.tmp"
    for path in (old, young, foreign):
        path.write_bytes(b"half")
    for path in (old, foreign):
        os.utime(path, (0, 0))
    FolderRemote(root).put("a/2", b"data")
    assert not old.exists()
    assert young.exists()
    assert foreign.exists()


# ---- presence --------------------------------------------------------------------------------------------------------


def test_a_vanished_stick_is_unavailable_and_comes_back(remote: FolderRemote, root: Path, tmp_path: Path) -> None:
    remote.put("a/1", b"data")
    root.rename(tmp_path / "pulled")
    for call in calls(remote):
        with pytest.raises(RemoteUnavailable, match="stick"):
            call()
    assert not root.exists()
    (tmp_path / "pulled").rename(root)
    assert remote.get("a/1") == b"data"


def test_an_empty_mount_point_is_never_filled(remote: FolderRemote, root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()
    for call in calls(remote):
        with pytest.raises(RemoteUnavailable, match=MARKER):
            call()
    assert list(root.iterdir()) == []


def test_only_connecting_creates(tmp_path: Path) -> None:
    remote = FolderRemote(tmp_path / "deep/down")
    with pytest.raises(RemoteUnavailable):
        remote.list("")
    assert list(tmp_path.iterdir()) == []
    FolderRemote(tmp_path / "deep/down", create=True)
    assert remote.list("") == []


def test_a_missing_drive_is_not_replaced_by_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_MOUNT_ROOTS", (str(tmp_path),))
    with pytest.raises(RemoteUnavailable, match="plug in"):
        FolderRemote(tmp_path / "STICK/ann", create=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "STICK").mkdir()
    FolderRemote(tmp_path / "STICK/ann", create=True).put("a", b"")


def test_two_devices_connecting_write_the_same_marker(root: Path, tmp_path: Path) -> None:
    FolderRemote(root, create=True)
    FolderRemote(tmp_path / "other", create=True)
    assert (root / MARKER).read_bytes() == (tmp_path / "other" / MARKER).read_bytes()


def calls(remote: FolderRemote) -> list[Any]:
    return [
        lambda: remote.put("a/2", b"data"),
        lambda: remote.get("a/1"),
        lambda: remote.list(""),
        lambda: remote.delete("a/1"),
        lambda: remote.wait("", 0.1, threading.Event()),
    ]


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_folder_says_so_and_is_readable(remote: FolderRemote, root: Path) -> None:
    remote.put("a/1", b"data")
    (root / "a").chmod(0o555)
    try:
        with pytest.raises(RemoteRefused, match="stick"):
            remote.put("a/2", b"data")
        assert remote.get("a/1") == b"data"
    finally:
        (root / "a").chmod(0o755)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_refusals_of_the_disk_name_the_folder(
    remote: FolderRemote, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_new", failing(number))
        with pytest.raises(RemoteRefused) as caught:
            remote.put("a/1", b"data")
    assert str(root) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    remote.put("a/1", b"data")


def test_a_file_in_the_place_of_a_directory_is_refused(remote: FolderRemote, root: Path) -> None:
    (root / "a").write_bytes(b"")
    with pytest.raises(RemoteRefused, match="stick"):
        remote.put("a/b/1", b"data")
    with pytest.raises(ObjectMissing):
        remote.get("a/b/1")
    remote.delete("a/b/1")
    with pytest.raises(RemoteRefused):
        FolderRemote(root / "a", create=True)


# ---- several processes -----------------------------------------------------------------------------------------------


def _put_many(root: str, start: Any, offset: int) -> None:
    remote = FolderRemote(root)
    start.wait()
    for index in range(120):
        number = (index + offset) % 120
        remote.put(f"v/env/{number % 7}/{number:04d}", number.to_bytes(2, "big") * 5000)


def test_two_processes_putting_the_same_names(remote: FolderRemote, root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    processes = [context.Process(target=_put_many, args=(str(root), start, offset)) for offset in (0, 3)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    names = remote.list("v/env")
    assert len(names) == 120
    assert all(remote.get(name) == int(name[-4:]).to_bytes(2, "big") * 5000 for name in names)
    assert everything(root) == {*names, MARKER}


# ---- waiting ---------------------------------------------------------------------------------------------------------


def told(remote: FolderRemote) -> threading.Event:
    wake = threading.Event()
    assert remote.wait("", 0, wake)
    assert not remote.wait("", 0, wake)
    return wake


def test_waiting_notices_growth_of_a_file(remote: FolderRemote, root: Path) -> None:
    remote.put("a/1", b"data")
    wake = told(remote)
    with (root / "a/1").open("ab") as file:
        file.write(b" and more")
    assert remote.wait("", 5, wake)


def test_waiting_does_not_trust_directory_times(remote: FolderRemote, root: Path) -> None:
    remote.put("a/1", b"data")
    wake = told(remote)
    before = (root / "a").stat()
    (root / "a/2").write_bytes(b"arrived")
    os.utime(root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    started = time.monotonic()
    assert remote.wait("", 10, wake)
    assert time.monotonic() - started < 3


def test_waiting_notices_times_that_go_backwards(remote: FolderRemote, root: Path) -> None:
    remote.put("a/1", b"data")
    wake = told(remote)
    remote.put("a/2", b"from the past")
    os.utime(root / "a/2", (0, 0))
    os.utime(root / "a", (0, 0))
    assert remote.wait("", 5, wake)


def test_strays_do_not_wake(remote: FolderRemote, root: Path) -> None:
    remote.put("a/1", b"data")
    wake = told(remote)
    (root / "a/.~vaultsync-00.tmp").write_bytes(b"half")
    (root / "a/1 (conflicted copy)").write_bytes(b"half")
    assert not remote.wait("", 0.6, wake)


def test_waiting_says_when_the_stick_is_pulled(remote: FolderRemote, root: Path, tmp_path: Path) -> None:
    wake = told(remote)
    timer = threading.Timer(0.1, root.rename, (tmp_path / "pulled",))
    timer.start()
    with pytest.raises(RemoteUnavailable):
        remote.wait("", 10, wake)
    timer.join()

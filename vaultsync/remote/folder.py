"""A plain folder as a remote: a USB stick, a network share, or what Dropbox, Syncthing or the like carry around.

What it guards against: a stick that is not plugged in (a file in the root, written by connecting, says that this really
is the folder: an empty mount point is never filled by mistake), half-written files, conflict copies, coarse or wrong
file times (only a *difference* ever counts), hostile names, links and pipes. It does not look into objects: that a file
is whole is decided by whoever knows what its name promises.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from vaultsync.errors import ObjectMissing, RemoteRefused, RemoteUnavailable
from vaultsync.remote import files
from vaultsync.remote.port import check_name, check_prefix, is_name

__all__ = ["MARKER", "FolderRemote"]

MARKER: Final = "VAULTSYNC.txt"
"""Its presence says that the folder is the remote. Not hidden (some programs skip that), no legal object name."""
_MARKER_TEXT: Final = (  # the same bytes everywhere: two devices connecting at once make no conflict copy
    b"Devices exchange sealed data through this folder (VaultSync).\n"
    b"Nothing in it can be read without their keys. Please do not rename or edit what is here.\n"
)
_TEMP_PREFIX: Final = ".~vaultsync-"  # Dropbox does not upload names that begin with ".~"
_TEMP_SUFFIX: Final = ".tmp"
_STALE_SECONDS: Final = 24 * 3600.0  # a temporary file this much older than a new one belongs to a process that died
_TICK_SECONDS: Final = 0.25
_FULL_SCAN_SECONDS: Final = 1.0  # for changes that leave a directory's time as it was
_SCAN_SHARE: Final = 20  # a scan that took s seconds is not repeated for 20 s: waiting costs at most 5% of a core
_MOUNT_ROOTS: Final = ("/media", "/run/media", "/mnt", "/Volumes")

_REFUSALS: Final = frozenset(
    getattr(errno, name)
    for name in ["EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "ENOTDIR", "EISDIR", "EFBIG", "ENAMETOOLONG", "ELOOP"]
    if hasattr(errno, name)  # not every system has quotas
)


class _Directory(NamedTuple):
    mtime: int
    files: frozenset[tuple[str, int, int]]  # name, size, mtime


_Picture = dict[str, _Directory]


class FolderRemote:
    """Objects as files below ``path``, one directory a segment of the name.

    ``create`` makes the folder and its marker (the folder's parents too, except where a missing one means an unmounted
    drive) and raises ``RemoteUnavailable`` or ``RemoteRefused`` when it cannot. Without it nothing is touched, and each
    call raises ``RemoteUnavailable`` while the folder, or its marker, is not there.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self._root = os.path.abspath(os.fspath(path))
        self._lock = threading.Lock()
        self._swept: set[str] = set()
        self._told: weakref.WeakKeyDictionary[threading.Event, dict[str, _Picture]] = weakref.WeakKeyDictionary()
        if create:
            self._create()

    def __repr__(self) -> str:
        return f"FolderRemote({self._root!r})"

    # ---- the port -------------------------------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """See ``Remote.put``. What holds only the beginning of ``data`` (an interrupted copy) is completed."""
        target = self._path(check_name(name))
        self._present()
        try:
            if self._settled(target, name, data):
                return
            folder = os.path.dirname(target)
            self._make_directories(folder)
            temp = os.path.join(folder, _TEMP_PREFIX + secrets.token_hex(8) + _TEMP_SUFFIX)
            try:
                written_at = files.write_new(temp, data)
                if not files.rename_new(temp, target) and not self._settled(target, name, data):
                    os.replace(temp, target)  # only ever over the beginning of the same bytes
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(temp)
            files.sync_directory(folder)
            self._sweep(folder, written_at)
        except OSError as error:
            self._fail(error, f"storing {name}")

    def get(self, name: str) -> bytes:
        """See ``Remote.get``. Links, pipes and directories under the name count as missing."""
        path = self._path(check_name(name))
        self._present()
        try:
            data = files.read_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            data = None
        except OSError as error:
            if error.errno != errno.ELOOP:
                self._fail(error, f"reading {name}")
            data = None
        if data is None:
            raise ObjectMissing(f"no object {name} in {self._root}")
        return data

    def list(self, prefix: str) -> list[str]:
        """See ``Remote.list``. Temporary files, conflict copies and other names that no object has are passed over."""
        prefix = check_prefix(prefix)
        self._present()
        try:
            return sorted(entry_name for entry_name, _ in self._walk(prefix))
        except OSError as error:
            self._fail(error, "listing")

    def delete(self, name: str) -> None:
        """See ``Remote.delete``. Empty directories stay: another process may be about to put something there."""
        path = self._path(check_name(name))
        self._present()
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
        except OSError as error:
            self._fail(error, f"deleting {name}")

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """See ``Remote.wait``. Looks at directories' times four times a second, and less often at every file's size."""
        prefix = check_prefix(prefix)
        with self._lock:
            told = self._told.setdefault(wake, {})
        end = time.monotonic() + timeout
        next_full = 0.0
        while True:
            if wake.is_set():
                return False
            self._present()
            before = told.get(prefix)
            started = time.monotonic()
            if before is None or started >= next_full or self._directories_differ(before):
                try:
                    now = self._picture(prefix)
                except OSError as error:
                    self._fail(error, "looking for news")
                finished = time.monotonic()
                next_full = finished + max(_FULL_SCAN_SECONDS, (finished - started) * _SCAN_SHARE)
                told[prefix] = now
                if before is None or _files(before) != _files(now):
                    return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            wake.wait(min(_TICK_SECONDS, left))

    def close(self) -> None:
        """See ``Remote.close``. A folder holds nothing open between calls."""

    # ---- presence and creation ------------------------------------------------------------------------------------

    def _present(self) -> None:
        """The marker decides whether this is the folder that was connected, or for example an empty mount point."""
        try:
            mode = os.stat(os.path.join(self._root, MARKER)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            there = os.path.isdir(self._root)
            what = f"has no {MARKER}" if there else "is not there"
            raise RemoteUnavailable(
                f"the folder {self._root} {what}: plug in or mount the drive, or let the sync program finish"
                + ("; to use it as a new remote, connect to it" if there else "")
            ) from None
        except OSError as error:
            self._fail(error, "opening the folder")
        if not stat.S_ISREG(mode):
            raise RemoteUnavailable(f"{MARKER} in {self._root} is no file: this is not the folder that was connected")

    def _create(self) -> None:
        missing = Path(self._root)
        while not missing.exists() and not missing.parent.exists():
            missing = missing.parent
        if not missing.exists() and _is_mount_parent(str(missing.parent)):
            raise RemoteUnavailable(
                f"{missing} is not there: plug in or mount the drive (a folder in its place would stay on this disk)"
            )
        try:
            os.makedirs(self._root, exist_ok=True)
            marker = os.path.join(self._root, MARKER)
            if not os.path.exists(marker):
                temp = os.path.join(self._root, _TEMP_PREFIX + secrets.token_hex(8) + _TEMP_SUFFIX)
                try:
                    files.write_new(temp, _MARKER_TEXT)
                    files.rename_new(temp, marker)
                finally:
                    with contextlib.suppress(OSError):
                        os.unlink(temp)
                files.sync_directory(self._root)
        except OSError as error:
            self._fail(error, "preparing the folder")

    def _fail(self, error: OSError, doing: str) -> NoReturn:
        why = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _REFUSALS or isinstance(error, FileExistsError):
            advice = {
                errno.ENOSPC: "make room there",
                getattr(errno, "EDQUOT", -1): "make room there",
                errno.EROFS: "it is read-only",
            }.get(error.errno or 0, "check the permissions of the folder")
            raise RemoteRefused(f"{doing}: the folder {self._root} refuses ({why}); {advice}") from error
        raise RemoteUnavailable(
            f"{doing}: the folder {self._root} does not answer ({why}); is the drive still there?"
        ) from error

    # ---- files ----------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return os.path.join(self._root, *name.split("/"))

    def _settled(self, path: str, name: str, data: bytes) -> bool:
        """Whether the object is stored already; raises ``RemoteRefused`` when the name holds something else."""
        try:
            there = files.read_regular(path)
        except FileNotFoundError:
            return False
        if there == data:
            return True
        if there is not None and data.startswith(there.rstrip(b"\0")):
            return False  # somebody's interrupted copy: cut short, or the right length and zeros after a power cut
        raise RemoteRefused(f"{name} in {self._root} already holds something else; nothing was changed")

    def _make_directories(self, folder: str) -> None:
        made = []
        while not os.path.isdir(folder) and folder != self._root:
            made.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(made):
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.mkdir(path)
            files.sync_directory(os.path.dirname(path))

    def _sweep(self, folder: str, now: float) -> None:
        """Remove what died processes left, once a directory. Both times come from the file system's own clock."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                ours = entry.name.startswith(_TEMP_PREFIX) and entry.name.endswith(_TEMP_SUFFIX)
                if ours and now - entry.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS:
                    os.unlink(entry.path)

    def _walk(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Objects below ``prefix`` with their directory entries. Directories that vanish meanwhile are passed over."""
        pending = [prefix]
        while pending:
            base = pending.pop()
            for entry in files.entries(self._path(base) if base else self._root):
                name = base + entry.name
                if not is_name(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(name + "/")
                elif entry.is_file(follow_symlinks=False):
                    yield name, entry

    def _picture(self, prefix: str) -> _Picture:
        """What every directory below ``prefix`` holds. A directory's time is read before its contents, never after."""
        picture: _Picture = {}
        pending = [prefix]
        while pending:
            base = pending.pop()
            path = self._path(base) if base else self._root
            mtime = files.mtime(path)
            if mtime is None:
                continue
            inside: set[tuple[str, int, int]] = set()
            for entry in files.entries(path):
                if not is_name(base + entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(base + entry.name + "/")
                    continue
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    inside.add((entry.name, found.st_size, found.st_mtime_ns))
            picture[base] = _Directory(mtime, frozenset(inside))
        return picture

    def _directories_differ(self, before: _Picture) -> bool:
        return not before or any(
            files.mtime(self._path(base) if base else self._root) != seen.mtime for base, seen in before.items()
        )


def _files(picture: _Picture) -> dict[str, frozenset[tuple[str, int, int]]]:
    return {base: directory.files for base, directory in picture.items() if directory.files}


def _is_mount_parent(path: str) -> bool:
    """Whether directories in ``path`` are usually mounted drives: /media/ann/STICK, /Volumes/STICK."""
    return path in _MOUNT_ROOTS or os.path.dirname(path) in ("/media", "/run/media")

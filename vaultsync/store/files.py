"""Files: making a vault's file in one step that a kill cannot cut in half, and the lock beside it.

A file is made under a temporary name in the same folder, synced, and only then given its name, by a hard link, which
never replaces an existing file. Whoever makes one holds the lock file, so any temporary file found under the lock was
left by a process that died; it is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from vaultsync import limits
from vaultsync.errors import StoreBusy, StoreFailed, VaultExists, VaultNotFound, VaultSyncError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FileLock", "clean", "create", "existing", "leftovers"]

_SUFFIX = ".creating"
_HELPERS = ("", "-wal", "-shm", "-journal")
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "there is no permission to write there",
    errno.ENOENT: "the folder does not exist",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def file_error(error: OSError, path: Path, doing: str) -> VaultSyncError:
    """The typed error for an operating system's refusal, in words."""
    reason = _REASONS.get(error.errno or 0, error.strerror or "the operating system refused")
    return StoreFailed(f"{doing} {path} failed: {reason}")


def lock_path(path: Path) -> Path:
    """The lock file beside a vault. It stays there, empty: removing a lock file is a race."""
    return path.with_name(path.name + "-lock")


class FileLock:
    """An exclusive lock on a file, held by at most one object on this machine and released when its process dies.

    As a context manager it tries once and gives whether it is held: ``with store.pusher_lock() as mine: …``. Not
    reentrant. A process forked while it is held shares it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self, wait: float = 0.0) -> bool:
        """Try to take it, for up to ``wait`` seconds; false when someone else has it. Raises `StoreFailed`."""
        if self._file is not None:
            return False
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise file_error(error, self._path, "locking") from error
        deadline = time.monotonic() + wait
        try:
            while not _try_lock(file):
                if time.monotonic() >= deadline:
                    os.close(file)
                    return False
                time.sleep(0.02)
        except OSError as error:
            os.close(file)
            raise file_error(error, self._path, "locking") from error
        self._file = file
        return True

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)  # closing the only descriptor releases the lock

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _try_lock(file: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock: also between two objects of one process
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EWOULDBLOCK):
            return False
        raise
    return True


def existing(path: Path) -> None:
    """Raise `VaultNotFound` unless a regular file is there; finish a creation that died after naming the file."""
    try:
        info = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise VaultNotFound(f"there is no vault at {path}") from None
    except OSError as error:
        raise file_error(error, path, "opening") from error
    if stat.S_ISDIR(info.st_mode):
        raise VaultNotFound(f"{path} is a folder, not a vault")
    if info.st_nlink > 1:
        clean(path)
    if os.name == "posix" and info.st_mode & 0o077 and info.st_uid == os.geteuid():
        with contextlib.suppress(OSError):  # a file system without modes
            path.chmod(0o600)  # the key slots can be guessed at by whoever reads them


def create(path: Path, build: Callable[[Path], None]) -> None:
    """Have ``build`` fill an empty temporary file (closed again when it returns), then give it its name, durably.

    Raises `VaultExists` when anything is there already, `StoreBusy` while another process makes the same file,
    `StoreFailed` when the folder is missing, read-only or full. Whatever happens, ``path`` is a whole vault or absent.
    """
    try:
        if not (_reserved(path) and leftovers(path)):
            _refuse_existing(path)
        if not path.parent.is_dir():
            raise StoreFailed(f"making {path} failed: the folder {path.parent} does not exist")
        lock = FileLock(lock_path(path))
        if not lock.acquire(limits.BUSY_SECONDS):
            raise StoreBusy(f"another process is making {path.name} right now; try again")
        try:
            clean(path, locked=True)
            _refuse_existing(path)
            _create(path, build)
        finally:
            lock.release()
    except OSError as error:
        raise file_error(error, path, "making") from error


def _create(path: Path, build: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent)  # mode 0600
    os.close(handle)
    temporary = Path(name)
    try:
        build(temporary)
        sync_file(temporary)
        _publish(temporary, path)
    finally:
        _remove(temporary)
    sync_folder(path.parent)


def _refuse_existing(path: Path) -> None:
    for helper in _HELPERS:
        there = path.with_name(path.name + helper)
        if os.path.lexists(there):
            # A log left by a deleted vault would be replayed into the new one; it may also be all that is left of
            # that vault.
            what = f"{there} exists" if helper == "" else f"{there} is left of an earlier vault; move it away first"
            raise VaultExists(f"nothing was made at {path}: {what}")


def _publish(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise VaultExists(f"nothing was made at {path}: {path} exists") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _publish_without_links(temporary, path)


def _publish_without_links(temporary: Path, path: Path) -> None:
    """On file systems without hard links (FAT): reserve the name by an empty file, which `clean` recognises, then
    rename."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise VaultExists(f"nothing was made at {path}: {path} exists") from None
    os.replace(temporary, path)


def _reserved(path: Path) -> bool:
    """Whether an empty file is there: beside a temporary file, it is a name that `_publish_without_links` reserved."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size == 0


def leftovers(path: Path) -> list[Path]:
    """Temporary files of creations of ``path``, whether under way or killed."""
    prefix = f".{path.name}."
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    ends = tuple(_SUFFIX + helper for helper in _HELPERS)
    return sorted(path.with_name(name) for name in names if name.startswith(prefix) and name.endswith(ends))


def clean(path: Path, *, locked: bool = False) -> int:
    """Remove what killed creations of ``path`` left behind, unless one is under way; returns how many files went."""
    lock = FileLock(lock_path(path))
    try:
        if not locked and not lock.acquire():
            return 0
    except StoreFailed:
        return 0  # a folder that cannot be written: nothing to clean there
    try:
        found = leftovers(path)
        if found and _reserved(path):
            path.unlink()
        for file in found:
            file.unlink(missing_ok=True)
        return len(found)
    except OSError:
        return 0  # tidying must not stand in the way of what was asked for
    finally:
        lock.release()


def _remove(temporary: Path) -> None:
    for helper in _HELPERS:
        with contextlib.suppress(OSError):  # recognised and removed next time
            temporary.with_name(temporary.name + helper).unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """fsync a file that no connection has open."""
    handle = os.open(path, os.O_RDWR)
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        else:
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a new name durable; where folders cannot be synced (Windows) the file system journals names itself."""
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise file_error(error, folder, "syncing") from error
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot, and say so
            raise file_error(error, folder, "syncing") from error
    finally:
        os.close(handle)

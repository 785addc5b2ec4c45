"""What a folder remote needs of files and the standard library lacks: creation that is whole and never replaces.

Every function raises ``OSError``; what that means for a remote is decided by the caller.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from vaultsync.limits import MAX_ENVELOPE_BYTES

__all__ = ["entries", "mtime", "read_regular", "rename_new", "sync_directory", "write_new"]

_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}
)


def entries(path: str) -> list[os.DirEntry[str]]:
    """What a directory holds; nothing when it is not there (any more)."""
    try:
        with os.scandir(path) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def mtime(path: str) -> int | None:
    """Modification time in nanoseconds; None when there is none to be had."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def read_regular(path: str) -> bytes | None:
    """The bytes of a regular file of a sane size; None for anything else under that name. Raises ``OSError``."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_ENVELOPE_BYTES:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_ENVELOPE_BYTES + 1)
    finally:
        os.close(descriptor)
    return data if len(data) <= MAX_ENVELOPE_BYTES else None


def write_new(path: str, data: bytes) -> float:
    """Create ``path`` with ``data``, flushed to the disk; its modification time in seconds."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)  # sealed bytes: the umask decides, as for any file that others shall sync
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
        return os.fstat(descriptor).st_mtime


def rename_new(temp: str, target: str) -> bool:
    """Give ``temp`` the name ``target`` unless that is taken (False). Never replaces anything."""
    try:
        os.link(temp, target)  # atomic, and fails when the name is taken, which a POSIX rename does not
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A FAT stick has no links. Between the check and the rename only a process that puts the same name, hence the
        # same bytes, can come.
        if os.path.lexists(target):
            return False
        os.rename(temp, target)
    return True


def sync_directory(path: str) -> None:
    """Make renames in ``path`` durable where the system knows how."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)

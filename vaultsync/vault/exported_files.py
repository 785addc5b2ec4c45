"""The attached files of an export: which there are, and the folder that they are written to."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from vaultsync.errors import StoreFailed, VaultExists
from vaultsync.schema.cells import owner
from vaultsync.schema.kinds import FileRef, file
from vaultsync.view.entry import Entry, Status

__all__ = ["Folder", "unshown_files"]


def unshown_files(entry: Entry) -> dict[str, FileRef]:
    """By stored key, the files of an entry that is hidden here, or of fields that are not known here: their kind is
    unknown, so whatever reads as a reference to a file counts as one."""
    unknown = frozenset(entry.unknown)
    found = {}
    for key, value in sorted(entry.raw.items()):
        if key.startswith("$") or not (entry.status is Status.HIDDEN or owner(key) in unknown):
            continue
        if isinstance(value, str) and value.startswith("{") and (reference := file.decode(value)) is not None:
            found[key] = reference
    return found


class Folder:
    """The attached files of one export. A file is named as it was attached, in a folder with its entry's id."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._made: list[Path] = []
        self.files: dict[str, str] = {}
        """Attachment's id -> path below the folder, with slashes."""
        try:
            if self._path.exists() and (not self._path.is_dir() or any(self._path.iterdir())):
                raise VaultExists(f"{self._path} is no empty folder: choose another one for the attachments")
            if not self._path.exists():
                self._path.mkdir(mode=0o700)
                self._made.append(self._path)
        except OSError as error:
            raise self._failed(error) from None

    def add(self, entry: Entry, reference: FileRef, read: Callable[[FileRef], bytes]) -> bool:
        """Write a file, unless it is there: whether it was not. Raises `StoreFailed`, and what ``read`` does."""
        if reference.id in self.files:
            return False
        contents = read(reference)
        name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", reference.name).strip(". ")[:100] or "file"
        place = self._path / entry.id / name
        try:
            if not place.parent.exists():
                place.parent.mkdir(mode=0o700)
                self._made.append(place.parent)
            number = 1
            while place.exists():
                number += 1
                place = place.with_name(f"{number} {name}")
            self._made.append(place)
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(contents)
        except OSError as error:
            raise self._failed(error) from None
        self.files[reference.id] = f"{entry.id}/{place.name}"
        return True

    def _failed(self, error: OSError) -> StoreFailed:
        return StoreFailed(f"the attachments cannot be written to {self._path}: {error.strerror}")

    def discard(self) -> None:
        """Take away what was written."""
        for made in reversed(self._made):
            with contextlib.suppress(OSError):
                made.rmdir() if made.is_dir() else made.unlink()

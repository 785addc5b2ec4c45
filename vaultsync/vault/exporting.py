"""Everything a vault holds as one JSON file, for a person to keep or to take elsewhere.

What this version shows is written in its own terms; what it cannot show (hidden entries, fields it does not know,
trash) is written as it is stored, so that a file made on an old device lacks nothing either.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from vaultsync.errors import StoreFailed, VaultExists
from vaultsync.schema.cells import owner
from vaultsync.schema.kinds import FileRef
from vaultsync.schema.types import Schema
from vaultsync.view.entry import Entry, Status
from vaultsync.view.picture import View

__all__ = ["EXPORT_VERSION", "export", "exported", "write_export"]

EXPORT_VERSION: Final = 1


def export(
    view: View,
    path: str | os.PathLike[str],
    *,
    now_ms: int,
    attachments: str | os.PathLike[str] | None = None,
    read: Callable[[Entry, FileRef], bytes] | None = None,
) -> int:
    """Write the file, readable by this user only; returns how many entries it holds. Never replaces a file.

    With ``attachments`` and ``read`` the attached files go into that folder, and the export names each of them.
    Raises `VaultExists` when a file is there, or the folder is not empty, `StoreFailed` when it cannot be written, and
    what ``read`` does; then nothing is left behind.
    """
    if attachments is None or read is None:
        return write_export(_every(view), view.schema, path, now_ms=now_ms)
    if os.path.lexists(path):
        raise VaultExists(f"there is a file at {os.fspath(path)} already: choose another name for the export")
    folder = _Folder(attachments)
    try:
        for entry in _every(view):
            for reference in (*entry.fields.values(), *entry.retired.values()):
                if isinstance(reference, FileRef):
                    folder.add(entry, reference, read(entry, reference))
        return write_export(_every(view), view.schema, path, now_ms=now_ms, files=folder.files)
    except BaseException:
        folder.discard()
        raise


class _Folder:
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

    def add(self, entry: Entry, reference: FileRef, contents: bytes) -> None:
        if reference.id in self.files:
            return
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

    def _failed(self, error: OSError) -> StoreFailed:
        return StoreFailed(f"the attachments cannot be written to {self._path}: {error.strerror}")

    def discard(self) -> None:
        for made in reversed(self._made):
            with contextlib.suppress(OSError):
                made.rmdir() if made.is_dir() else made.unlink()


def write_export(
    entries: Iterable[Entry],
    schema: Schema,
    path: str | os.PathLike[str],
    *,
    now_ms: int,
    files: Mapping[str, str] | None = None,
) -> int:
    """The same of some entries; ``files``: where the attachments with these ids were written."""
    place = os.fspath(path)
    document = exported(entries, schema, now_ms=now_ms, files=files)
    text = json.dumps(document, ensure_ascii=False, indent=1)
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise VaultExists(f"there is a file at {place} already: choose another name for the export") from None
    except OSError as error:
        raise StoreFailed(f"the export cannot be written to {place}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        os.unlink(place)
        raise StoreFailed(f"the export cannot be written to {place}: {error.strerror}") from None
    return len(document["entries"])


def exported(
    entries: Iterable[Entry], schema: Schema, *, now_ms: int, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The export as plain data: format, schema, and one object an entry."""
    return {
        "format": "vaultsync-export",
        "version": EXPORT_VERSION,
        "exported_ms": now_ms,
        "schema": {"name": schema.name, "version": schema.version, "platform": schema.platform},
        "entries": [_entry(entry, files or {}) for entry in entries],
    }


def _every(view: View) -> Iterator[Entry]:
    for entries in (view.entries, view.archived, view.hidden, view.trash):
        yield from entries


def _entry(entry: Entry, files: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": entry.id,
        "type": entry.type,
        "status": entry.status.value,
        "created": entry.created,
        "modified": entry.modified,
    }
    if entry.source is not None:
        made["source"] = entry.source
    if entry.status is Status.HIDDEN:
        made["stored"] = _stored(entry.raw)
        return made
    made["fields"] = _values(entry.fields, files)
    if entry.retired:
        made["retired"] = _values(entry.retired, files)
    unknown = frozenset(entry.unknown)
    if unknown:
        made["stored"] = {key: value for key, value in _stored(entry.raw).items() if owner(key) in unknown}
    return made


def _stored(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sorted(raw.items()) if not key.startswith(("$edited/", "$deleted/"))}


def _values(fields: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    return {name: _plain(value, files) for name, value in fields.items()}


def _plain(value: Any, files: Mapping[str, str]) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(item, files) for item in value]
    if isinstance(value, FileRef):
        made = {"name": value.name, "size": value.size}
        return made | {"file": files[value.id]} if value.id in files else made
    return value

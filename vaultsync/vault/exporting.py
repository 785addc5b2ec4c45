"""Everything a vault holds as one JSON file, for a person to keep or to take elsewhere.

What this version shows is written in its own terms; what it cannot show (hidden entries, fields it does not know,
trash) is written as it is stored, so that a file made on an old device lacks nothing either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from vaultsync.errors import ObjectMissing, Refused, StoreFailed, VaultExists
from vaultsync.schema.cells import owner
from vaultsync.schema.kinds import FileRef
from vaultsync.schema.types import Schema
from vaultsync.vault.exported_files import Folder, unshown_files
from vaultsync.view.entry import Entry, Status
from vaultsync.view.picture import View
from vaultsync.view.words import count

__all__ = ["EXPORT_VERSION", "ExportReport", "export", "exported", "write_export"]

EXPORT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export holds: how many entries, and how many attached files were written beside it.

    ``unshown``: those of the files that belong to entries or fields that are not shown here. ``missing``: files of such
    entries that are neither on this device nor on the remote.
    """

    entries: int
    files: int = 0
    unshown: int = 0
    missing: int = 0

    def __str__(self) -> str:
        said = [f"{count(self.entries, 'entry')} written"]
        if self.files:
            said[0] += f", with {count(self.files, 'attached file')}"
        if self.unshown:
            said.append(f"Not shown here, and under their entries' ids: {count(self.unshown, 'file')} of these")
        if self.missing:
            said.append(
                f"Not shown here, and neither on this device nor on the remote: {count(self.missing, 'file')}; "
                "the device that attached them sends them when it syncs"
            )
        return ". ".join(said) + "."


def export(
    view: View,
    path: str | os.PathLike[str],
    *,
    now_ms: int,
    attachments: str | os.PathLike[str] | None = None,
    read: Callable[[Entry, FileRef], bytes] | None = None,
) -> ExportReport:
    """Write the file, readable by this user only. Never replaces a file.

    With ``attachments`` and ``read`` the attached files go into that folder, and the export names each of them. Those
    of hidden entries and of fields that are not known here go there too, as far as they are to be had.
    Raises `VaultExists` when a file is there, or the folder is not empty, `StoreFailed` when it cannot be written, and
    what ``read`` does for a file that is shown, or that may be had later; then nothing is left behind.
    """
    if attachments is None or read is None:
        return ExportReport(write_export(_every(view), view.schema, path, now_ms=now_ms))
    if os.path.lexists(path):
        raise VaultExists(f"there is a file at {os.fspath(path)} already: choose another name for the export")
    folder = Folder(attachments)
    unshown, missing = set[str](), set[str]()
    try:
        for entry in _every(view):
            for reference in (*entry.fields.values(), *entry.retired.values()):
                if isinstance(reference, FileRef):
                    folder.add(entry, reference, partial(read, entry))
        for entry in _every(view):
            for reference in unshown_files(entry).values():
                try:
                    if folder.add(entry, reference, partial(read, entry)):
                        unshown.add(reference.id)
                except (ObjectMissing, Refused):  # what looks like a reference may be no file's
                    missing.add(reference.id)
        entries = write_export(_every(view), view.schema, path, now_ms=now_ms, files=folder.files)
        return ExportReport(entries, len(folder.files), len(unshown), len(missing))
    except BaseException:
        folder.discard()
        raise


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
        return made | _unshown(entry, files)
    made["fields"] = _values(entry.fields, files)
    if entry.retired:
        made["retired"] = _values(entry.retired, files)
    unknown = frozenset(entry.unknown)
    if unknown:
        made["stored"] = {key: value for key, value in _stored(entry.raw).items() if owner(key) in unknown}
    return made | _unshown(entry, files)


def _unshown(entry: Entry, files: Mapping[str, str]) -> dict[str, Any]:
    """Where the files of what is written as stored are: by key."""
    found = {key: files[one.id] for key, one in unshown_files(entry).items() if one.id in files} if files else {}
    return {"files": found} if found else {}


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

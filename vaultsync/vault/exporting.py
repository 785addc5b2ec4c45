"""Everything a vault holds as one JSON file, for a person to keep or to take elsewhere.

What this version shows is written in its own terms; what it cannot show (hidden entries, fields it does not know,
trash) is written as it is stored, so that a file made on an old device lacks nothing either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from vaultsync.errors import StoreFailed, VaultExists
from vaultsync.schema.cells import owner
from vaultsync.schema.kinds import FileRef
from vaultsync.schema.types import Schema
from vaultsync.view.entry import Entry, Status
from vaultsync.view.picture import View

__all__ = ["EXPORT_VERSION", "export", "exported", "write_export"]

EXPORT_VERSION: Final = 1


def export(view: View, path: str | os.PathLike[str], *, now_ms: int) -> int:
    """Write the file, readable by this user only; returns how many entries it holds. Never replaces a file.

    Raises `VaultExists` when a file is there, `StoreFailed` when it cannot be written.
    """
    return write_export(_every(view), view.schema, path, now_ms=now_ms)


def write_export(entries: Iterable[Entry], schema: Schema, path: str | os.PathLike[str], *, now_ms: int) -> int:
    """The same of some entries."""
    place = os.fspath(path)
    document = exported(entries, schema, now_ms=now_ms)
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


def exported(entries: Iterable[Entry], schema: Schema, *, now_ms: int) -> dict[str, Any]:
    """The export as plain data: format, schema, and one object an entry."""
    return {
        "format": "vaultsync-export",
        "version": EXPORT_VERSION,
        "exported_ms": now_ms,
        "schema": {"name": schema.name, "version": schema.version, "platform": schema.platform},
        "entries": [_entry(entry) for entry in entries],
    }


def _every(view: View) -> Iterator[Entry]:
    for entries in (view.entries, view.archived, view.hidden, view.trash):
        yield from entries


def _entry(entry: Entry) -> dict[str, Any]:
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
    made["fields"] = _values(entry.fields)
    if entry.retired:
        made["retired"] = _values(entry.retired)
    unknown = frozenset(entry.unknown)
    if unknown:
        made["stored"] = {key: value for key, value in _stored(entry.raw).items() if owner(key) in unknown}
    return made


def _stored(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sorted(raw.items()) if not key.startswith(("$edited/", "$deleted/"))}


def _values(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, FileRef):
        return {"name": value.name, "size": value.size}
    return value

"""What a device says about itself and its schema inside the vault: the census row and the published declarations.

Written once when something in it changed, so that a vault that is only opened and closed does not grow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from vaultsync import limits
from vaultsync.document.engine import Edit
from vaultsync.document.layout import FORMAT, FORMAT_KEY
from vaultsync.errors import SchemaError
from vaultsync.schema.published import declarations
from vaultsync.schema.types import Schema
from vaultsync.view.context import Device

__all__ = ["SCHEMA_KEY", "announcements", "check_schema", "founding"]

Section = Callable[[str], Mapping[str, Any]]
"""A flat section of the document by its name."""
SCHEMA_KEY = "$schema"
"""The key in ``settings`` that names the schema that owns the vault."""


def founding(schema: Schema) -> list[Edit]:
    """What the first device of a vault writes into its settings."""
    return [
        Edit("settings", "", FORMAT_KEY, str(FORMAT)),
        Edit("settings", "", SCHEMA_KEY, schema.name),
    ]


def check_schema(section: Section, schema: Schema) -> None:
    """Raises `SchemaError` when the vault belongs to another application's schema."""
    owner = section("settings").get(SCHEMA_KEY)
    if owner is not None and owner != schema.name:
        raise SchemaError(
            f"this vault belongs to the schema {str(owner)[:64]!r}, not to {schema.name!r}: "
            "open it with the application that made it"
        )


def announcements(section: Section, schema: Schema, row: Device, *, now_ms: int, written_ms: int | None) -> list[Edit]:
    """The declarations nobody published yet, and this device's row if it changed or is old.

    ``written_ms``: when this device last wrote its row. Published declarations are never overwritten.
    """
    published = section("schemas")
    edits = [Edit("schemas", "", name, text) for name, text in declarations(schema).items() if name not in published]
    stored = section("devices").get(row.id)
    old = written_ms is None or not 0 <= now_ms - written_ms < limits.CENSUS_REFRESH_MS
    if Device.parse(row.id, stored) != row or old:
        edits.append(Edit("devices", "", row.id, _stamped(row, now_ms)))
    return edits


def _stamped(row: Device, now_ms: int) -> str:
    """The row with the day it was written, so that a refresh is a change of its own."""
    return json.dumps(
        json.loads(row.to_json()) | {"day": now_ms // 86_400_000},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )

"""Records in a vault that is not at the preset's newest version: what has no field there becomes custom fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from vaultsync.importers.records import Problem, Record
from vaultsync.presets.custom import Custom, decode, encode
from vaultsync.schema.types import EntryType, Schema

__all__ = ["fit"]


def fit(record: Record, schema: Schema) -> tuple[Record | None, list[Problem]]:
    """The record with values only for fields that can be written at ``schema``'s version and platform.

    Values of other fields are kept as custom fields where the type has ``custom`` and ``custom_secret`` (a secret or
    unknown one hidden). Where it has not, each is a problem; None when entries of this type cannot be made there at
    all. A record that fits already is returned as it is. Never holds a value in a message.
    """
    place = record.place or record.source
    kind = schema.active(record.type)
    if kind is None:
        known = schema.types.get(record.type)
        label = known.label if known is not None else record.type
        return None, [Problem(place, f"entries of type “{label}” cannot be made in this version on this platform")]
    writable = _writable(schema, kind)
    homeless = [name for name in record.values if name not in writable]
    shown, hidden = record.values.get("custom") or (), record.values.get("custom_secret") or ()
    if not homeless or not (isinstance(shown, list | tuple) and isinstance(hidden, list | tuple)):
        return record, []  # of the wrong kind: whoever adds it says so
    values = {name: value for name, value in record.values.items() if name in writable}
    if not {"custom", "custom_secret"} <= writable:
        reason = "has no field in this version on this platform, and was left out"
        return replace(record, values=values, kept=()), [
            Problem(place, f"{name} {reason}", lost=False) for name in homeless
        ]
    fields = decode(shown, hidden)
    for name in homeless:
        field = kind.field(name)
        label, open_ = (field.label, not field.kind.is_secret) if field is not None else (name, False)
        fields += _as_custom(label, record.values[name], "text" if open_ else "hidden")
    lines, secrets = encode(fields)
    values |= {"custom": lines} | ({"custom_secret": secrets} if secrets else {})
    return replace(record, values=values, kept=(*record.kept, *homeless)), []


def _writable(schema: Schema, kind: EntryType) -> frozenset[str]:
    """The fields of a type that can be written at this version and platform."""
    known: dict[str, frozenset[str]] = schema.derived.setdefault("writable", {})
    if kind.name not in known:
        known[kind.name] = frozenset(field.name for field in schema.fields_here(kind) if not schema.retired(field))
    return known[kind.name]


def _as_custom(label: str, value: Any, kind: Any) -> Iterator[Custom]:
    if isinstance(value, bool):
        yield Custom(label, "yes" if value else "no", "yes/no")
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _as_custom(label, one, kind)
    elif isinstance(value, set | frozenset):
        yield Custom(label, ", ".join(sorted(map(str, value))), kind)
    elif isinstance(value, datetime):
        yield Custom(label, value.isoformat(), kind)
    elif value is not None:
        yield Custom(label, str(value), kind)

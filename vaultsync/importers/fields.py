"""What all parsers share about the fields of the ``passwords`` preset."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from vaultsync.limits import MAX_TAG_CHARS
from vaultsync.presets.custom import Custom, encode

__all__ = ["ARCHIVED_TAG", "host_of", "plain_text", "put_custom", "usable_tag"]

ARCHIVED_TAG: Final = "archived"
"""Other applications can put an entry away without deleting it; here it is a tag like any other."""


def put_custom(values: dict[str, Any], fields: Sequence[Custom]) -> None:
    """Writes the custom fields of an entry into its values."""
    shown, secret = encode(fields)
    if shown:
        values["custom"] = shown
    if secret:
        values["custom_secret"] = secret


def usable_tag(text: str) -> str | None:
    """The text as a tag (NFC, stripped), None when it is empty or too long for one."""
    tag = unicodedata.normalize("NFC", text).strip()
    return tag if 0 < len(tag) <= MAX_TAG_CHARS else None


def host_of(url: str) -> str | None:
    """``github.com`` of ``https://www.github.com/login``: a title for a login that has none."""
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname
    except ValueError:
        return None
    return host.removeprefix("www.") if host else None


def plain_text(value: object) -> str | None:
    """A JSON scalar as the text that a field keeps: strings as they are, numbers as they were written."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value)
    return None

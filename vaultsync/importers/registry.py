"""The formats that can be imported, how one is recognised, and the one door to all of them: ``parse``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from vaultsync.errors import ImportFailed
from vaultsync.importers.bitwarden import NAME as BITWARDEN
from vaultsync.importers.bitwarden import is_bitwarden, parse_bitwarden
from vaultsync.importers.csv_formats import CSV_FORMATS, detect_csv, parse_csv
from vaultsync.importers.reading import load, to_text
from vaultsync.importers.records import Parsed

__all__ = ["FORMATS", "Format", "detect", "parse"]


class Format(NamedTuple):
    """``name`` is what ``parse(format=…)`` and the command line take, ``label`` is for people; ``read(text, file
    name)``."""

    name: str
    label: str
    read: Callable[[str, str], Parsed]


FORMATS: Final[Mapping[str, Format]] = {
    BITWARDEN: Format(BITWARDEN, "Bitwarden (JSON)", parse_bitwarden),
    **{
        csv.name: Format(csv.name, csv.label, partial(parse_csv, format=csv))
        for csv in CSV_FORMATS
    },
}  # fmt: skip


def detect(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> str | None:
    """The name of the format that the contents (never the file's name) look like, None when they look like none.
    Raises ImportFailed when the file cannot be read as text."""
    name, data = load(source, name)
    return _detect(to_text(data, name), name)


def _detect(text: str, name: str) -> str | None:
    if is_bitwarden(text):
        return BITWARDEN
    found = detect_csv(text, name)
    return found[0].name if found else None


def parse(source: str | os.PathLike[str] | bytes, *, format: str | None = None, name: str | None = None) -> Parsed:
    """Reads an export: a path, or its bytes.

    ``format`` is one of ``FORMATS`` when its contents shall not decide; ``name`` stands for the file in messages.
    Raises ImportFailed, naming file and, where there is one, line, when the file as a whole is not what it should be;
    what is wrong with single items is in ``Parsed.problems`` and stops nothing.
    """
    if format is not None and format not in FORMATS:
        raise ImportFailed(f"there is no import format {format[:40]!r}; there are: {', '.join(FORMATS)}")
    name, data = load(source, name)
    text = to_text(data, name)
    if not text.strip():
        raise ImportFailed(f"{name}: the file is empty")
    chosen = format or _detect(text, name)
    if chosen is None:
        labels = ", ".join(entry.label for entry in FORMATS.values())
        raise ImportFailed(f"{name}: not an export of {labels}; if it is one, say which (format=…)")
    if chosen != BITWARDEN and is_bitwarden(text):
        raise ImportFailed(f"{name}: JSON, and {FORMATS[chosen].label} was expected")
    return FORMATS[chosen].read(text, name)

"""From a path or bytes to text: size, encoding, and kinds of files that are no text. Says what to do instead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vaultsync.errors import ImportFailed
from vaultsync.limits import MAX_IMPORT_BYTES

__all__ = ["load", "to_text"]

#: first bytes -> what it is and what to do
_BINARY: Final = (
    (b"PK\x03\x04", "a zip archive: unpack it and import what is inside (data.json); 1Password can export CSV"),
    (b"\x03\xd9\xa2\x9a", "a KeePass database, not an export of one"),
    (b"SQLite format 3\x00", "a SQLite database, not an export"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"%PDF", "a PDF document"),
)


def load(source: str | os.PathLike[str] | bytes, name: str | None = None) -> tuple[str, bytes]:
    """The name for messages and the bytes. Raises ImportFailed when the file cannot be read or is too large."""
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = name or "data", bytes(source)
    else:
        path = Path(source)
        name = name or path.name
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_IMPORT_BYTES + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ImportFailed(f"{name}: cannot be read: {reason}") from None
        except ValueError:  # a NUL in the path
            raise ImportFailed("the path of the file to import is not a path") from None
    if len(data) > MAX_IMPORT_BYTES:
        raise ImportFailed(f"{name}: larger than {MAX_IMPORT_BYTES >> 20} MiB, the most that is imported at once")
    return name, data


def to_text(data: bytes, name: str) -> str:
    """Decodes UTF-8 and UTF-16, with or without a byte order mark. Anything else is refused and not guessed: a guess
    would quietly change passwords. Raises ImportFailed naming the line."""
    for magic, what in _BINARY:
        if data.startswith(magic):
            raise ImportFailed(f"{name}: this is {what}")
    encoding = _encoding(data)
    try:
        text = data.decode(encoding)
        bad = -1
    except UnicodeDecodeError as error:
        bad = error.start
    if bad >= 0:  # outside the handler: the exception above holds the whole file, and must not travel on as its context
        line = 1 + data.count(b"\n", 0, bad)
        called = {"utf-8-sig": "UTF-8"}.get(encoding, "UTF-16")
        raise ImportFailed(f"{name}, line {line}: not {called} text (byte {bad + 1}); save or export the file as UTF-8")
    if text.startswith("\ufeff"):
        text = text[1:]
    return text


def _encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Both formats begin with ASCII. Two zero bytes in the same half of the first four bytes are UTF-16 without a mark.
    if len(data) >= 4 and data[0] and not data[1] and data[2] and not data[3]:
        return "utf-16-le"
    if len(data) >= 4 and data[1] and not data[0] and data[3] and not data[2]:
        return "utf-16-be"
    return "utf-8-sig"

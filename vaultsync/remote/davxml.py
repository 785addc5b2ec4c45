"""What a WebDAV server answers to PROPFIND, read without trusting it: no document types, no entities. Pure."""

from __future__ import annotations

from typing import NamedTuple, NoReturn
from xml.parsers import expat

__all__ = ["Found", "multistatus"]

_DEEPEST = 32


class Found(NamedTuple):
    """One resource. ``etag``, ``modified`` (an HTTP date) and ``size`` are "" where the server says nothing."""

    href: str
    collection: bool
    etag: str
    modified: str
    size: str


class _Reader:
    def __init__(self) -> None:
        self.found: list[Found] = []
        self._path: list[str] = []
        self._texts: dict[str, str] = {}
        self._collection = False

    def start(self, tag: str, attributes: object) -> None:
        self._path.append(tag)
        if len(self._path) > _DEEPEST:
            raise ValueError("nested too deeply")
        if tag == "DAV: response":
            self._texts, self._collection = {}, False
        elif tag == "DAV: collection" and "DAV: resourcetype" in self._path:
            self._collection = True

    def text(self, data: str) -> None:
        tag = self._path[-1] if self._path else ""
        if tag == "DAV: href" and self._path[-2:-1] != ["DAV: response"]:
            return
        self._texts[tag] = self._texts.get(tag, "") + data

    def end(self, tag: str) -> None:
        self._path.pop()
        if tag == "DAV: response":
            texts = [self._texts.get(f"DAV: {name}", "").strip() for name in _PROPERTIES]
            self.found.append(Found(texts[0], self._collection, *texts[1:]))


_PROPERTIES = ("href", "getetag", "getlastmodified", "getcontentlength")


def multistatus(data: bytes) -> list[Found]:
    """Every resource of a ``207 Multi-Status`` body. Raises ``ValueError`` for anything else."""
    reader, parser = _Reader(), expat.ParserCreate(namespace_separator=" ")

    def refuse(*_: object) -> NoReturn:
        raise ValueError("document types have no place in a listing")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML (line {error.lineno})") from None
    return reader.found

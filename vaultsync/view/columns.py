"""What lists need of all entries of a vault, whatever the schema, written down as columns."""

from __future__ import annotations

from array import array

from vaultsync.view.packed import MalformedPage, array_of, bytes_of, deflate, inflate, pack, unpack

__all__ = ["Columns", "decode_columns", "encode_columns"]


class Columns:
    """What is listed of every entry, whatever the schema: in the order of (created, id)."""

    __slots__ = ("_packed", "_sources", "created", "ids", "modified")

    def __init__(
        self, ids: list[str], created: array[int], modified: array[int], sources: dict[int, str] | bytes
    ) -> None:
        """``sources``: also as they are written down; they are read when somebody asks."""
        self.ids = ids
        self.created = created
        self.modified = modified
        self._packed = sources if isinstance(sources, bytes) else None
        self._sources = None if isinstance(sources, bytes) else sources

    @property
    def sources(self) -> dict[int, str]:
        """Row -> ``$source``, of the entries that have one. Raises `MalformedPage`."""
        if self._sources is None:
            try:
                rows, texts = unpack(inflate(self._packed or b""))
                self._sources = dict(zip(array_of("I", rows), texts, strict=True))
            except (TypeError, ValueError):
                raise MalformedPage("where entries came from cannot be read") from None
            self._packed = None
        return self._sources


def encode_columns(columns: Columns) -> bytes:
    sources = columns.sources
    return pack(
        [
            columns.ids,
            bytes_of(columns.created),
            bytes_of(columns.modified),
            deflate(pack([bytes_of(array("I", sources)), list(sources.values())])),
        ]
    )


def decode_columns(data: bytes) -> Columns:
    """Raises `MalformedPage`."""
    try:
        ids, created, modified, sources = unpack(data)
        columns = Columns(ids, array_of("q", created), array_of("q", modified), bytes(sources))
    except (TypeError, ValueError):
        raise MalformedPage("the list of entries cannot be read") from None
    if not len(columns.ids) == len(columns.created) == len(columns.modified):
        raise MalformedPage("the list of entries is not whole")
    return columns

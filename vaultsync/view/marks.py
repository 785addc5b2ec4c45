"""Marks: what a mirror writes down beside the two values it stores, for readers that know its lens and for those that
do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vaultsync.limits import MAX_VALUE_BYTES
from vaultsync.schema.cells import Raw, Scalar, canonical_json, parse_json

__all__ = ["Mark", "mark_key", "part_key"]


def mark_key(first: str) -> str:
    """Where the mark of a mirror stands, by its first new field."""
    return f"$lens/{first}"


def part_key(first: str, old: str) -> str:
    """Where the digest of one older field stands, for a mirror of several on which another mirror stands."""
    return f"$lens/{first}/{old}"


class Mark(NamedTuple):
    """``$lens/<first new field>``: what a mirror wrote down for readers that do not know it.

    Canonical JSON ``[digest, lossy, [fields], rest]``: the digest of the older value, whether ``back`` loses something
    of the newer one, every newer field, and the newer cells that stand only here (null: one that ``get`` would give and
    that is not there). ``parts``: of each older field, the digest of the value that was last written with the lens;
    empty unless another mirror stands on this one.
    """

    digest: str
    lossy: bool
    fields: tuple[str, ...]
    rest: Mapping[str, Scalar]
    parts: tuple[Scalar, ...] = ()

    @classmethod
    def parse(cls, stored: Scalar) -> Mark | None:
        """The mark, or None when it is not one. Bounded by length before anything is parsed; never raises."""
        match parse_json(stored, max_bytes=MAX_VALUE_BYTES, max_depth=2):
            case [str(digest), bool(lossy), [*fields], dict(rest)]:
                names = tuple(name for name in fields if isinstance(name, str))
                flat = not any(isinstance(value, (list, dict)) for value in rest.values())
                if flat and len(names) == len(fields):
                    return cls(digest, lossy, names, rest)
        return None

    @classmethod
    def read(cls, raw: Raw, key: str, parts: Sequence[str]) -> Mark | None:
        """The mark of an entry with the digests of its older fields, which stand in keys of their own."""
        mark = cls.parse(raw.get(key))
        return mark if mark is None or not parts else mark._replace(parts=tuple(raw.get(part) for part in parts))

    def to_json(self) -> str:
        """As it is stored."""
        return canonical_json([self.digest, self.lossy, list(self.fields), dict(self.rest)])

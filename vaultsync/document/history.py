"""What an entry has been: one revision for each change that touched it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .codec import Scalar

__all__ = ["Revision", "Written"]


class Written(NamedTuple):
    """One of several values that a key holds, and which change wrote it."""

    value: Scalar
    actor: bytes
    hash: bytes
    seq: int


class Revision(NamedTuple):
    """What one change did to an entry, as its author saw it: the keys it wrote, before and after.

    A key that is missing from ``before`` was not there, one missing from ``after`` was deleted.
    """

    hash: bytes
    actor: bytes
    seq: int
    before: Mapping[str, Scalar]
    after: Mapping[str, Scalar]

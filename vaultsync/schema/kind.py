"""What a kind is: the contract that every kind of ``kinds.py`` fulfils, and the words it uses.

A kind turns what a person hands in (``check``) into cells (``write``) and cells back into what is shown (``read``).
Stored cells come from anybody: ``read``, ``elements`` and ``fits`` are total.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from vaultsync.schema.cells import Key, Ops, Raw, Scalar

__all__ = ["Add", "Delta", "Element", "Kind", "KindMismatch", "Remove", "add", "given", "remove"]

MASK = "•••"


class KindMismatch(Exception):
    """A value does not fit a kind. Internal: who knows the place turns it into ``WrongKind``. Never holds the value."""

    def __init__(self, expected: str, given: str) -> None:
        super().__init__(f"expected {expected}, not {given}")
        self.expected = expected
        self.given = given


def given(value: object) -> str:
    """What a value is, in the words of the kinds, for messages; says nothing about its content."""
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "flag"),
        ((int, float), "number"),
        (str, "text"),
        (datetime, "instant"),
        (date, "date"),
        ((list, tuple), "list"),
        ((set, frozenset), "set"),
        (Delta, "add or remove"),
    )
    if value is None:
        return "nothing"
    return next((name for kinds, name in names if isinstance(value, kinds)), type(value).__name__)


@dataclass(frozen=True, slots=True)
class Element:
    """One tag, list item or note line as stored: its id (stable across edits and moves), value and position."""

    id: str
    value: Any
    position: str
    secret: bool = False

    def __repr__(self) -> str:
        return f"Element(id={self.id!r}, value={MASK if self.secret else repr(self.value)}, position={self.position!r})"


@dataclass(frozen=True, slots=True)
class Delta:
    """A change to a collection said outright: take ``removed`` away, then put ``added`` in (a list: at its end)."""

    added: tuple[Any, ...] = ()
    removed: tuple[Any, ...] = ()

    def __or__(self, later: Delta) -> Delta:
        """This change and then the other, as one."""
        if not isinstance(later, Delta):
            return NotImplemented
        kept = tuple(value for value in self.added if value not in later.removed)
        return Delta(kept + later.added, self.removed + later.removed)

    def __repr__(self) -> str:
        return f"<add {len(self.added)}, remove {len(self.removed)}>"  # the values may be secrets


class Add(Delta):
    """What ``add(…)`` gives."""

    __slots__ = ()


class Remove(Delta):
    """What ``remove(…)`` gives."""

    __slots__ = ()


def add(*values: Any) -> Delta:
    """Put values into a collection and say nothing about the rest of it: ``vault.update(e, tags=vs.add("home"))``."""
    return Add(added=values)


def remove(*values: Any) -> Delta:
    """Take values out of a collection (every equal item of a list): ``vs.add("a") | vs.remove("b")`` does both."""
    return Remove(removed=values)


class Kind(ABC):
    """One kind of field. Instances are immutable and equal by name."""

    __slots__ = ("has_elements", "is_collection", "is_secret", "name")

    name: str
    is_collection: bool
    """What is shown is a set or a tuple."""
    has_elements: bool
    """Stored by elements, which can be listed: collections and notes."""
    is_secret: bool
    """Masked in every repr, log and list, and never searched."""

    def __init__(
        self, name: str, *, is_collection: bool = False, has_elements: bool = False, is_secret: bool = False
    ) -> None:
        setters = {"name": name, "is_collection": is_collection, "has_elements": has_elements, "is_secret": is_secret}
        for key, value in setters.items():
            object.__setattr__(self, key, value)

    @abstractmethod
    def check(self, value: Any) -> Any:
        """The value as it will read after writing. None (clear) is fine for every kind. Raises ``KindMismatch``."""

    @abstractmethod
    def read(self, name: str, cells: Raw) -> Any:
        """What field ``name`` shows, None when it is not set. Total."""

    def elements(self, name: str, cells: Raw) -> tuple[Element, ...]:
        """The elements of field ``name`` in order; () for scalar kinds. Total."""
        return ()

    @abstractmethod
    def write(self, name: str, now: Raw, wanted: Any, *, seen: Raw | None, new_id: Callable[[], str]) -> Ops:
        """The operations that turn what the caller saw into ``wanted``, applied to what is there ``now``.

        ``seen``: the cells the caller knew (None: ``now``). Collections and notes are compared with it, so that what
        arrived meanwhile survives; a scalar is simply set. ``new_id`` gives ids for new elements
        (``[0-9A-Za-z-]{1,32}``). Raises ``KindMismatch``.
        """

    def first(self, name: str, value: Any, new_id: Callable[[], str]) -> Ops:
        """``write`` of a value that is not None where the field never was: what importing thousands of entries does."""
        return self.write(name, {}, value, seen=None, new_id=new_id)

    @abstractmethod
    def fits(self, key: Key, value: Scalar) -> bool:
        """Whether a cell of the field has this kind's shape (a null always has); else it counts as unknown. Total."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("kinds are immutable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kind) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name

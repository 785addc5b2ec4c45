"""Judging many entries: what is decided about one is decided about all of the same *form*.

A form is the keys of an entry in their order, the types of their values (and which of them are true), and its
``$type``. Where no lens computes, no mark with contents of its own is there and every field's kind asks for no more
than a type, a verdict depends on nothing else. A vault has a few forms for each kind of entry.

Forms name tags, so they live as long as the work.
"""

from __future__ import annotations

from typing import Any, Final

from vaultsync.schema.cells import Raw
from vaultsync.schema.kind import Kind
from vaultsync.schema.kinds import TagsKind
from vaultsync.schema.scalars import FlagKind, TextKind
from vaultsync.schema.types import Schema
from vaultsync.view.decide import Judgement, judge

__all__ = ["Forms"]

_PLAIN_MARKS: Final = ("$created", "$source", "$type")
_PLAIN_PREFIXES: Final = ("$edited/", "$schema/")
_MOST: Final = 4_096


class Forms:
    """For entries of one schema; not for use by several threads."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._known: dict[tuple[Any, ...], Judgement | None] = {}
        self._simple: dict[object, bool] = {}
        self.judged = 0
        """How many were looked at the long way: for tests."""

    def judge(self, raw: Raw) -> Judgement:
        """What `decide.judge` says."""
        kinds = tuple([value is True or type(value) for value in raw.values()])
        form = (raw.get("$type"), kinds, *raw)
        found = self._known.get(form)
        if found is not None:
            return found
        self.judged += 1
        made = judge(raw, self._schema)
        if form not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[form] = made if self._is_plain(raw, made) else None
        return made

    def _is_plain(self, raw: Raw, made: Judgement) -> bool:
        shape = made.shape
        if shape.fallible:
            return False
        simple = self._simple.get(shape)
        if simple is None:
            simple = self._simple[shape] = all(_asks_for_a_type(field.kind) for field in shape.known.values())
        return simple and all(key in _PLAIN_MARKS or key.startswith(_PLAIN_PREFIXES) for key in raw if key[:1] == "$")


def _asks_for_a_type(kind: Kind) -> bool:
    """Whether a value of this type fits if another one does."""
    return type(getattr(kind, "inner", kind)) in (TextKind, FlagKind, TagsKind)

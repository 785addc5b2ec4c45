"""How a value is spelt as cells when no person wrote it: what a lens computed, for devices that must agree.

Lenses work on values, without the ids and positions of items and lines. Two devices that store the same computed value
at the same time must store the same cells, so ids are made from the contents, and positions by counting:

* the id of an element is the hash of its value and of how often the same value stood before it, so that inserting one
  line of a text leaves the ids of the others as they are;
* positions step on from the middle, so that one more element at the end leaves the others where they are;
* a value that replaces one which is stored (``respell``) keeps the ids of what stays, as an edit would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

from vaultsync.schema.cells import GONE, MIDDLE, Ops, Scalar, between, canonical_json, spread
from vaultsync.schema.kind import Delta, Kind, KindMismatch
from vaultsync.schema.kinds import OLD, ItemsKind, NoteKind, ScalarKind, TagsKind, text
from vaultsync.schema.types import Field

__all__ = ["applied", "checked", "digest", "element_id", "read", "respell", "spell", "turnable"]

_STEPPED: Final = 512
"""Longer lists are spread: their stepped positions would be long."""


def element_id(value: Scalar, before: int) -> str:
    """The id of a computed element: its stored value, and how many equal ones stand before it."""
    return sha256(canonical_json([value, before]).encode()).hexdigest()[:20]


def spell(kind: Kind, name: str, value: Any) -> dict[str, Scalar]:
    """The cells of a checked value, the same on every device."""
    if value is None:
        return {}
    if isinstance(kind, ScalarKind):
        return {name: kind.encode(value)}
    if isinstance(kind, TagsKind):
        return {f"{name}/{tag}": True for tag in sorted(value)}
    stored = _elements(kind, value)
    made: dict[str, Scalar] = {}
    seen: dict[Scalar, int] = {}
    for i, (each, position) in enumerate(zip(stored, _positions(len(stored)), strict=True)):
        before = seen.get(each, 0)
        seen[each] = before + 1
        element = OLD if i == 0 and isinstance(kind, NoteKind) else element_id(each, before)
        made[name if isinstance(kind, NoteKind) and element == OLD else f"{name}/{element}"] = each
        if position != MIDDLE:
            made[f"{name}@{element}"] = position
    return made


def respell(kind: Kind, name: str, cells: Mapping[str, Scalar], value: Any) -> dict[str, Scalar]:
    """The cells after a computed value took the place of what they show; what stays keeps its ids."""
    if kind.read(name, cells) == value:
        return dict(cells)
    if value is not None and kind.read(name, cells) is None and not any(key.startswith(f"{name}@") for key in cells):
        return spell(kind, name, value)
    return applied(cells, written(kind, name, cells, value))


def written(
    kind: Kind, name: str, cells: Mapping[str, Scalar], value: Any, seen: Mapping[str, Scalar] | None = None
) -> Ops:
    """``kind.write`` with ids for new elements that are made from their values."""
    made: list[str] = []

    def new_id() -> str:
        made.append(f"new-{len(made)}")
        return made[-1]

    return renamed(name, kind.write(name, cells, value, seen=seen, new_id=new_id), frozenset(made), cells)


def renamed(name: str, ops: Ops, fresh: frozenset[str], cells: Iterable[str]) -> Ops:
    """The operations with the ids ``fresh`` replaced by ones that are made from the values written to them."""
    if not fresh:
        return ops
    start = len(name) + 1
    taken = {key[start:] for key in (*cells, *ops) if key.startswith((f"{name}/", f"{name}@"))} - fresh
    names: dict[str, str] = {}
    for key, value in ops.items():
        if key.startswith(f"{name}/") and key[start:] in fresh and value is not GONE:
            before = 0
            while (element := element_id(value, before)) in taken:
                before += 1
            taken.add(element)
            names[key[start:]] = element
    return {
        (key[:start] + names[key[start:]] if key.startswith(name) and key[start:] in names else key): value
        for key, value in ops.items()
    }


def applied(cells: Mapping[str, Scalar], ops: Ops) -> dict[str, Scalar]:
    """The cells after these operations; nulls are left out."""
    merged = {**cells, **ops}
    return {key: value for key, value in merged.items() if value is not GONE and value is not None}


def _elements(kind: Kind, value: Any) -> list[Scalar]:
    if isinstance(kind, ItemsKind):
        return [kind.inner.encode(each) for each in value]
    return list(value.split("\n"))


def _positions(count: int) -> list[str]:
    if count > _STEPPED:
        return spread(count)
    made: list[str] = []
    for _ in range(count):
        made.append(between(made[-1] if made else None, None) or MIDDLE)
    return made


# ---- values -----------------------------------------------------------------------------------------------------
def read(fields: Iterable[Field], cells: Mapping[str, Scalar]) -> dict[str, Any]:
    """What a person sees of some fields; those that are not set are absent."""
    return {f.name: value for f in fields if (value := f.kind.read(f.name, cells)) is not None}


def checked(fields: Iterable[Field], values: object) -> dict[str, Any]:
    """What a lens returned, as it will read once it is stored. Raises ``KindMismatch``."""
    if not isinstance(values, Mapping):
        raise KindMismatch("a mapping of field names to values", type(values).__name__)
    known = {field.name: field.kind for field in fields}
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise KindMismatch(f"some of {', '.join(known)}", "another field")
        if isinstance(value, Delta):
            raise KindMismatch(known[name].name, "add or remove")
        value = known[name].check(value)
        if value is not None and value != () and value != frozenset():
            made[name] = value
    return made


def digest(fields: Iterable[Field], values: Mapping[str, Any]) -> str:
    """Of what a person sees of some fields, in order: hex of the first 16 bytes of SHA-256 over the canonical JSON list
    of their values (null: not set; tags sorted, items as a list, scalars as they are stored)."""
    listed = [_json(field.kind, values.get(field.name)) for field in fields]
    return sha256(canonical_json(listed).encode()).hexdigest()[:32]


def _json(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, ScalarKind):
        return kind.encode(value)
    if isinstance(kind, ItemsKind):
        return [kind.inner.encode(each) for each in value]
    return sorted(value) if isinstance(kind, TagsKind) else value


# ---- aliases ----------------------------------------------------------------------------------------------------
def turnable(kind: Kind) -> ScalarKind | None:
    """The kind of what an alias turns one by one: the scalar itself, an item, a line; None for tags."""
    if isinstance(kind, ScalarKind):
        return kind
    if isinstance(kind, ItemsKind | NoteKind):
        return kind.inner if isinstance(kind, ItemsKind) else text
    return None

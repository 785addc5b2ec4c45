"""The rules a schema is checked against when it is declared, one function a rule; each names place and rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from vaultsync.errors import SchemaError
from vaultsync.limits import MAX_DECLARATION_BYTES
from vaultsync.schema.kind import Kind
from vaultsync.schema.kinds import ItemsKind
from vaultsync.schema.lenses import Lens

if TYPE_CHECKING:
    from vaultsync.schema.types import EntryType, Field, Schema

__all__ = ["check_schema"]


def check_schema(schema: Schema) -> None:
    """Raise ``SchemaError`` for the first rule that the declaration breaks."""
    one_kind_a_name(schema.types.values())
    for kind in schema.types.values():
        lenses_of_a_type(kind)
        if kind.converts is not None:
            conversion(kind, schema)
        small_enough(kind, schema)
    no_cycles(schema)
    one_way_in(schema)
    one_way_out(schema)


def one_kind_a_name(types: Iterable[EntryType]) -> None:
    """A field name has one kind across all types and all time: an entry may be read as several of them."""
    first: dict[str, tuple[Kind, str]] = {}
    for kind in types:
        for field in kind.fields:
            known, where = first.setdefault(field.name, (field.kind, kind.name))
            if known != field.kind:
                raise SchemaError(
                    f"type {kind.name!r}, field {field.name!r}: one kind a name: here {field.kind}, "
                    f"in type {where!r} {known}"
                )


def once(place: str, names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SchemaError(f"{place}, field {name!r}: {what} of at most one lens")
        seen.add(name)


def lenses_of_a_type(kind: EntryType) -> None:
    place = f"type {kind.name!r}"
    converting = kind.converts.lenses if kind.converts is not None else ()
    once(place, (name for lens in (*kind.lenses, *converting) for name in lens.old), "the source")
    once(place, (name for lens in kind.lenses for name in lens.new), "the target")
    for lens in kind.lenses:
        where = f"{place}, lens {'+'.join(lens.old)} -> {'+'.join(lens.new)}"
        olds, news = ends(where, lens, kind, kind)
        for field in olds:
            if lens.since is None or field.until != lens.since:
                raise SchemaError(
                    f"{where}: field {field.name!r} (until {field.until}) is retired exactly where the lens begins "
                    f"(since {lens.since})"
                )
        for field in news:
            if field.since != lens.since:
                raise SchemaError(
                    f"{where}: field {field.name!r} (since {field.since}) begins where the lens does "
                    f"(since {lens.since})"
                )


def ends(where: str, lens: Lens, old: EntryType, new: EntryType) -> tuple[list[Field], list[Field]]:
    """The fields at both ends of a lens, checked for what holds inside a type and across a conversion alike."""
    olds, news = list(members(where, lens.old, old)), list(members(where, lens.new, new))
    platforms = {places(old, field) for field in olds} | {places(new, field) for field in news}
    if len(platforms) > 1:
        raise SchemaError(f"{where}: both ends are on the same platforms")
    if lens.form == "alias" and any(field.critical for field in news):
        raise SchemaError(f"{where}: critical has no effect on an alias, which is stored under its older name")
    if lens.form == "slot":
        target = news[0].kind
        if not isinstance(target, ItemsKind) or target.inner != olds[0].kind:
            raise SchemaError(f"{where}: a slot's target is items({olds[0].kind}), not {target}")
    elif lens.form == "alias":
        alias(where, lens, olds[0].kind, news[0].kind)
    elif FILE in {field.kind.name for field in (*olds, *news)}:
        raise SchemaError(f"{where}: an attachment can only be renamed")
    return olds, news


FILE = "file"


def alias(where: str, lens: Lens, old: Kind, new: Kind) -> None:
    """Both names read the same cells, so both kinds must be stored in the same shape."""
    each = lens.each
    if each is None:
        if stored_as(old) != stored_as(new):
            raise SchemaError(f"{where}: a renamed field keeps its kind: {old} is not stored as {new} is")
        return
    if FILE in (old.name, new.name):
        raise SchemaError(f"{where}: an attachment can only be renamed")
    if each.elements and not (old.has_elements and new.has_elements):
        raise SchemaError(f"{where}: map_values is for tags, items and notes; convert changes a whole value")
    if not each.elements and (old.has_elements or new.has_elements):
        raise SchemaError(f"{where}: convert changes a whole value; map_values is for tags, items and notes")
    if shape(old) != shape(new):
        raise SchemaError(
            f"{where}: {old} and {new} are not stored in the same shape: say lossy=True, then both are stored"
        )


def stored_as(kind: Kind) -> str:
    """Kinds that are equal here hold the same cells: a secret is stored as a text is."""
    return kind.name.replace("secret", "text")


def shape(kind: Kind) -> str:
    """Scalars, items, tags and notes, whatever they hold."""
    return kind.name.partition("(")[0] if kind.has_elements else "scalar"


def places(kind: EntryType, field: Field) -> frozenset[str] | None:
    """The platforms on which a field of a type exists; None: all."""
    if kind.platforms is None or field.platforms is None:
        return kind.platforms or field.platforms
    return kind.platforms & field.platforms


def members(where: str, names: Iterable[str], kind: EntryType) -> Iterator[Field]:
    for name in names:
        field = kind.field(name)
        if field is None:
            raise SchemaError(f"{where}: type {kind.name!r} has no field {name!r}")
        yield field


def conversion(kind: EntryType, schema: Schema) -> None:
    converts = kind.converts
    if converts is None:
        return
    place = f"type {kind.name!r}, conversion to {converts.to!r}"
    if kind.until is None:
        raise SchemaError(f"{place}: only a retired type is converted; give it an until")
    target = schema.types.get(converts.to)
    if target is None:
        raise SchemaError(f"{place}: there is no such type")
    if target.since > kind.until or (target.until is not None and target.until <= kind.until):
        raise SchemaError(f"{place}: its target is alive in version {kind.until}, when the conversion begins")
    once(place, (name for lens in converts.lenses for name in lens.new), "the target")
    for lens in converts.lenses:
        where = f"{place}, lens {'+'.join(lens.old)} -> {'+'.join(lens.new)}"
        if lens.since not in (None, kind.until):
            raise SchemaError(f"{where}: it begins (since {lens.since}) where the conversion does (since {kind.until})")
        ends(where, lens, kind, target)
        for name in lens.new:
            field = target.by_name[name]
            if field.until is not None and field.until <= kind.until:
                raise SchemaError(f"{where}: field {name!r} of {target.name!r} is retired when the conversion begins")
            if max(field.since, target.since) != kind.until:
                # A version that knows the field and not the conversion would show it empty and write beside the lens.
                raise SchemaError(
                    f"{where}: field {name!r} of {target.name!r} begins in version {max(field.since, target.since)}, "
                    f"not in {kind.until} with the conversion; use a field of the same name in both types (which needs "
                    "no lens), or one that begins there"
                )
        for name in lens.old:
            if target.field(name) is not None:
                raise SchemaError(
                    f"{where}: field {name!r} is translated away, so the target has no field of that name"
                )


def small_enough(kind: EntryType, schema: Schema) -> None:
    """A type must be publishable in every version; most are far from the limit, so that only a guess is made."""
    if sum(512 + 4 * len(field.label) for field in kind.fields) > MAX_DECLARATION_BYTES:
        from vaultsync.schema.published import changed_at, declaration

        declaration(schema, kind.name, changed_at(kind)[-1])


def no_cycles(schema: Schema) -> None:
    for start in schema.types.values():
        path, kind = [start.name], start
        while kind.converts is not None:
            kind = schema.types[kind.converts.to]
            if kind.name in path:
                raise SchemaError(f"type {start.name!r}: its conversions go round: {' -> '.join([*path, kind.name])}")
            path.append(kind.name)


def one_way_in(schema: Schema) -> None:
    """Along a chain of conversions, too, a field is the target of at most one lens (the same one may be declared again
    by a type that took its fields over)."""
    for start in schema.types.values():
        sources: dict[str, tuple[str, tuple[str, ...]]] = {}
        kind: EntryType | None = start
        while kind is not None:
            converts = kind.converts
            for lens in (*kind.lenses, *(converts.lenses if converts is not None else ())):
                for name in lens.new:
                    if sources.setdefault(name, (lens.form, lens.old)) != (lens.form, lens.old):
                        place = f"type {start.name!r} with its conversions, field {name!r}"
                        raise SchemaError(f"{place}: the target of at most one lens")
            kind = schema.types[converts.to] if converts is not None else None


def one_way_out(schema: Schema) -> None:
    """A field that a lens translates away is gone for the types that its entries become: one of the same name would be
    taken for the older form, and never shown. A type that took the fields over declares the same lens again."""
    for start in schema.types.values():
        away: dict[str, Lens] = {}
        kind: EntryType | None = start
        while kind is not None:
            own = {(lens.old, lens.new) for lens in kind.lenses}
            for name, lens in away.items():
                if name in kind.by_name and (lens.old, lens.new) not in own:
                    raise SchemaError(
                        f"type {kind.name!r}, field {name!r}: entries of {start.name!r} are converted to this type, "
                        f"and {start.name!r} translates its {name!r} away (lens {lens.ends}), so this type has no "
                        "field of that name: give it another one"
                    )
            converting = kind.converts.lenses if kind.converts is not None else ()
            away |= {name: lens for lens in (*kind.lenses, *converting) for name in lens.old}
            kind = schema.types[kind.converts.to] if kind.converts is not None else None

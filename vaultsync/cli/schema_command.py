"""``vaultsync schema``: what entries may hold, how that came to be, and what lies between two versions of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vaultsync.cli.output import heading, line, note, print_json, say, table
from vaultsync.cli.session import Json, Misused, load_schema
from vaultsync.errors import StoreFailed, UnknownType, UsageError, VaultExists
from vaultsync.view.words import listing, near, platforms

if TYPE_CHECKING:
    from vaultsync.schema.compare import Comparison
    from vaultsync.schema.types import EntryType, Field, Schema

__all__ = ["COMMANDS"]


def schema(
    type: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Only this type, with its fields.", show_default=False)
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option("--schema", metavar="MODULE:NAME", envvar="VAULTSYNC_SCHEMA", help="Your application's schema."),
    ] = None,
    schema_version: Annotated[
        int | None,
        typer.Option(
            "--schema-version", metavar="N", envvar="VAULTSYNC_SCHEMA_VERSION", help="As of an older release."
        ),
    ] = None,
    platform: Annotated[
        str | None, typer.Option("--platform", metavar="P", envvar="VAULTSYNC_PLATFORM", help="On another platform.")
    ] = None,
    svg: Annotated[
        str | None,
        typer.Option("--svg", metavar="FILE", help="Draw the timeline into a new SVG file.", show_default=False),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="What B has that A has not, and what devices at A would stop seeing. A version or a release, and a "
            "platform if you like: [bold]--compare 1.0@android 4@linux[/].",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what entries may hold, and the timeline of it.

    Types and fields by version: what is new, what was retired, what became something else, what is only on some
    platforms. With TYPE: the fields of that one in this version. Needs no vault.
    """
    if sum((svg is not None, compare is not None, json and compare is None)) > 1:
        raise Misused("--svg, --compare and --json are three answers: ask for one")
    found = load_schema(schema, schema_version, platform)
    if compare is not None:
        if type is not None:
            raise Misused("--compare compares whole schemas: leave TYPE out")
        _compare(found, *compare, json=json)
        return
    if type is not None:
        _check(found, type, whole=svg is not None)
    if svg is not None:
        _draw(found, type, svg)
        return
    types = [kind for kind in found.types.values() if found.known(kind.name) and found.here(kind)]
    types = [kind for kind in types if type in (None, kind.name)]
    if json:
        print_json(_schema_json(found, types))
    elif type is None:
        from vaultsync.cli.timeline import draw, timeline

        draw(timeline(found), release=found.release(found.version), where=platforms([found.platform]))
    else:
        _fields(found, types[0])


def _check(schema: Schema, type: str, *, whole: bool) -> None:
    known = schema.types if whole else {name for name in schema.types if (k := schema.known(name)) and schema.here(k)}
    if type not in known:
        raise UnknownType(f"there is no entry type {type[:40]!r} here.{near(type, schema.types)}")


def _fields(schema: Schema, kind: EntryType) -> None:
    say(f"{schema.name} {schema.release(schema.version)} on {platforms([schema.platform])}")
    heading(f"{kind.name} ({kind.label}) {_retired(schema, kind)}".rstrip())
    table(
        ("Field", "Kind", "Label", ""),
        [(f.name, f.kind.name, f.label, _remarks(schema, f)) for f in schema.fields_here(kind)],
    )


def _retired(schema: Schema, thing: EntryType | Field) -> str:
    return f"retired in {schema.release(thing.until)}" if thing.until and schema.retired(thing) else ""


def _remarks(schema: Schema, field: Field) -> str:
    remarks = [_retired(schema, field)]
    if field.platforms:
        remarks.append(f"on {platforms(field.platforms)}")
    if field.since > 1:
        remarks.append(f"since {schema.release(field.since)}")
    return line(", ".join(remark for remark in remarks if remark))


def _schema_json(schema: Schema, types: list[EntryType]) -> dict[str, Any]:
    return {
        "name": schema.name,
        "version": schema.version,
        "release": schema.release(schema.version),
        "platform": schema.platform,
        "types": [
            {
                "name": kind.name,
                "label": kind.label,
                "since": kind.since,
                "until": kind.until,
                "retired": schema.retired(kind),
                "converts_to": kind.converts.to if kind.converts else None,
                "platforms": sorted(kind.platforms) if kind.platforms else None,
                "fields": [
                    {
                        "name": field.name,
                        "label": field.label,
                        "kind": field.kind.name,
                        "secret": field.kind.is_secret,
                        "since": field.since,
                        "until": field.until,
                        "retired": schema.retired(field),
                        "platforms": sorted(field.platforms) if field.platforms else None,
                    }
                    for field in schema.fields_here(kind)
                ],
            }
            for kind in types
        ],
    }


# ---- the picture ----------------------------------------------------------------------------------------------------
def _draw(schema: Schema, type: str | None, path: str) -> None:
    from vaultsync.cli.timeline import timeline
    from vaultsync.cli.timeline_svg import svg

    picture = svg(timeline(schema, None if type is None else _with_successors(schema, type)))
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(picture)
    except FileExistsError:
        raise VaultExists(f"there is a file at {path} already: choose another name for the picture") from None
    except OSError as error:
        raise StoreFailed(f"the picture cannot be written to {path}: {error.strerror}") from None
    say(f"Drawn into {path}.")


def _with_successors(schema: Schema, name: str) -> set[str]:
    found: set[str] = set()
    while name not in found:
        found.add(name)
        converts = schema.types[name].converts
        name = converts.to if converts is not None else name
    return found


# ---- comparing ------------------------------------------------------------------------------------------------------
def _compare(schema: Schema, a: str, b: str, *, json: bool) -> None:
    from vaultsync.schema.compare import compare

    found = compare(_place(schema, a), _place(schema, b))
    if json:
        print_json(_comparison_json(found))
        return
    say(f"From {found.a} to {found.b}")
    if found.types:
        say()
        table(
            ("Type", "", "Becomes"),
            [
                (
                    f"{each.label} ({each.type})",
                    each.change.value,
                    f"{each.to}{', still readable as before' if each.keeps_old else ''}" if each.to else "",
                )
                for each in found.types
            ],
        )
    if found.fields:
        say()
        table(
            ("Field", "", "Becomes"),
            [(f"{each.type}.{each.field}", each.change.value, listing(each.to, most=6)) for each in found.fields],
        )
    if not found.types and not found.fields:
        say("Nothing changes.")
    if found.unseen:
        say()
        say(f"What is written at {found.b}, and a device at {found.a} does not show in full:")
        table(
            ("What", "", "How it is shown there"),
            [
                (
                    f"{each.label} ({each.type})" if each.field is None else f"{each.type}.{each.field}",
                    "entries" if each.field is None else "field",
                    each.effect.value,
                )
                for each in found.unseen
            ],
        )
    else:
        note(f"A device at {found.a} shows everything that is written at {found.b}.")


def _place(schema: Schema, text: str) -> Schema:
    """``4``, ``2.0`` or ``2.0@android``: a version or what people call it, and a platform."""
    named, _, platform = text.partition("@")
    by_name = {name: version for version, name in schema.releases.items()}
    version = by_name.get(named, int(named) if named.isascii() and named.isdigit() else None)
    if version is None or not 1 <= version <= schema.version:
        there = f" (released: {listing(list(by_name), most=9)})" if by_name else ""
        raise UsageError(
            f"--compare takes two versions from 1 to {schema.version}{there}, each with @PLATFORM if you like; "
            f"not {text[:40]!r}"
        )
    return schema.at(version, platform or None)


def _comparison_json(found: Comparison) -> dict[str, Any]:
    return {
        "a": found.a,
        "b": found.b,
        "types": [
            {"type": t.type, "label": t.label, "change": t.change.value, "to": t.to, "keeps_old": t.keeps_old}
            for t in found.types
        ],
        "fields": [
            {"type": f.type, "field": f.field, "label": f.label, "change": f.change.value, "to": list(f.to)}
            for f in found.fields
        ],
        "unseen": [
            {"type": u.type, "field": u.field, "label": u.label, "effect": u.effect.name.lower(),
             "shown": u.effect.value}
            for u in found.unseen
        ],
    }  # fmt: skip


COMMANDS: Final[dict[str, Callable[..., None]]] = {"schema": schema}

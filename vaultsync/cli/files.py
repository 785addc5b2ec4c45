"""Commands that bring entries in and out, and the one that says what an entry may hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vaultsync.cli.output import block, heading, line, note, print_json, say, table, working
from vaultsync.cli.session import Json, Session, on_vault, sync_quietly
from vaultsync.errors import ImportFailed, UnknownType
from vaultsync.view.words import near, platforms

if TYPE_CHECKING:
    from vaultsync.schema.types import EntryType, Field, Schema

__all__ = ["COMMANDS"]

_IMPORT_PATIENCE: Final = 600.0
"""Seconds without progress before the sync after an import is given up: ten thousand entries take a while to seal."""


@on_vault("file")
def import_(
    session: Session,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="The export to read.", show_default=False)] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="What wrote it, such as bitwarden or chrome; told from the contents if left out.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Import what a password manager or browser exported.

    Importing the same file again adds nothing twice. Says what became of everything in the file, line by line where
    something could not be read. Delete the file afterwards: it holds every password in the clear.
    """
    name = file or ""
    if not Path(name).is_file():
        problem = "is a folder, not a file" if Path(name).is_dir() else "there is no such file"
        raise ImportFailed(f"{name}: {problem}")
    from vaultsync.importers import parse

    try:
        parsed = parse(name, format=format)  # before the password is asked for
    except ImportFailed as error:
        raise ImportFailed(str(error).replace("(format=…)", "with --format")) from None
    with session.opened() as vault:
        with working(f"Importing {parsed.items:,} items"):
            report = vault.import_records(parsed)
        sync_quietly(vault, patience=_IMPORT_PATIENCE)
        if json:
            print_json(report.to_json() | {"complete": report.complete})
            return
        say(block(str(report)))


@on_vault("file", new=False)
def export(
    session: Session,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="The file to write; none may be there.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Write everything the vault holds as JSON.

    Secrets in the clear, hidden entries and trash too; only you may read the file.
    """
    with session.opened() as vault:
        with working("Exporting"):
            count = vault.export(file or "")
        if json:
            print_json({"path": str(Path(file or "").absolute()), "entries": count})
            return
        say(f"{count:,} entries written to {file}.")
        note("It holds every secret in the clear, and only you may read it: keep it safe, or delete it soon.")


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
    json: Json = False,
) -> None:
    """Say what entries may hold: types, their fields and kinds.

    Needs no vault.
    """
    from vaultsync.cli.session import load_schema

    found = load_schema(schema, schema_version, platform)
    types = [kind for kind in found.types.values() if found.known(kind.name) and found.here(kind)]
    if type is not None:
        types = [kind for kind in types if kind.name == type]
        if not types:
            raise UnknownType(f"there is no entry type {type[:40]!r} here.{near(type, found.types)}")
    if json:
        print_json(_schema_json(found, types))
        return
    say(f"{found.name} {found.release(found.version)} on {platforms([found.platform])}")
    if type is None:
        table(
            ("Type", "Label", "Fields", ""),
            [(t.name, t.label, f"{len(found.fields_here(t))}", _retired(found, t)) for t in types],
        )
        note("`vaultsync schema TYPE` lists the fields of one.")
        return
    heading(f"{types[0].name} ({types[0].label}) {_retired(found, types[0])}".rstrip())
    table(
        ("Field", "Kind", "Label", ""),
        [(f.name, f.kind.name, f.label, _remarks(found, f)) for f in found.fields_here(types[0])],
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
                "retired": schema.retired(kind),
                "fields": [
                    {
                        "name": field.name,
                        "label": field.label,
                        "kind": field.kind.name,
                        "secret": field.kind.is_secret,
                        "since": field.since,
                        "retired": schema.retired(field),
                    }
                    for field in schema.fields_here(kind)
                ],
            }
            for kind in types
        ],
    }


COMMANDS: Final[dict[str, Callable[..., None]]] = {"import": import_, "export": export, "schema": schema}

"""Commands that bring entries in and out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from vaultsync.cli.output import line, note, print_json, say, told, working
from vaultsync.cli.session import Json, Session, on_vault, sync_quietly
from vaultsync.errors import ImportFailed

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
        for text in str(report).split("\n"):
            told(line(text))


@on_vault("file", new=False)
def export(
    session: Session,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="The file to write; none may be there.", show_default=False)
    ] = None,
    attachments: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Write attached files there, too; a new or empty folder.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write everything the vault holds as JSON.

    Secrets in the clear, hidden entries and trash too; only you may read the file.
    """
    with session.opened() as vault:
        with working("Exporting"):
            report = vault.export(file or "", attachments=attachments)
        if json:
            print_json({"path": str(Path(file or "").absolute()), **asdict(report)})
            return
        say(f"{file}{f' and {attachments}' if attachments else ''}: {report}")
        note("It holds every secret in the clear, and only you may read it: keep it safe, or delete it soon.")


COMMANDS: Final[dict[str, Callable[..., None]]] = {"import": import_, "export": export}

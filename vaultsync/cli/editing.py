"""Commands that change entries: adding, editing, deleting, restoring, forgetting them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

import vaultsync as vs
from vaultsync.cli import asking
from vaultsync.cli.output import entry_json, line, note, print_json, say
from vaultsync.cli.seeing import near_or_all
from vaultsync.cli.session import EntriesArgument, EntryArgument, FieldsArgument, Json, Session, on_vault
from vaultsync.errors import EntryNotFound, UnknownType, UsageError

__all__ = ["COMMANDS"]


@on_vault("type", "fields")
def add(
    session: Session,
    type: Annotated[
        str | None,
        typer.Argument(
            metavar="TYPE", help="Its type, such as login; `vaultsync schema` lists them.", show_default=False
        ),
    ] = None,
    fields: FieldsArgument = None,
    json: Json = False,
) -> None:
    """Add an entry.

    For example: [bold]vaultsync add ann.vault login title=GitHub username=ann password urls=github.com tags=work,dev[/]

    A field's name alone (password above) is asked for, so that a secret stays out of the shell's history.
    """
    _check_type(session.schema, type or "")
    if not fields:
        raise UsageError("an entry of what? Name at least one field, such as title=GitHub")
    values = _values(session.schema, type or "", fields or [])
    with session.editing() as vault:
        entry = vault.add(type or "", **values)
        _say_entry("Added", entry, json=json)


@on_vault("entry", "fields")
def edit(session: Session, entry: EntryArgument = None, fields: FieldsArgument = None, json: Json = False) -> None:
    """Change fields of an entry.

    For example: [bold]vaultsync edit ann.vault GitHub password tags+=home notes=[/]

    Only the fields that are named change. A name alone is asked for; FIELD= clears.
    """
    if not fields:
        raise UsageError("nothing to change: name at least one field, such as title=GitHub")
    from vaultsync.cli.finding import find

    with session.editing() as vault:
        found = find(vault.view(), entry or "")
        before = found.modified
        changed = vault.update(found, **_values(session.schema, found.type, fields))
        _say_entry("Changed" if changed.modified != before else "Nothing to change in", changed, json=json)


@on_vault("entries")
def delete(session: Session, entries: EntriesArgument = None) -> None:
    """Put entries into the trash.

    An edit made meanwhile on another device brings one back; `vaultsync restore` does too.
    """
    _each(session, entries, "Deleted", lambda vault, entry: vault.delete(entry))


@on_vault("entry")
def restore(
    session: Session,
    entry: EntryArgument = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="ID", help="Also its fields as they were then (see `vaultsync history`)."),
    ] = None,
    json: Json = False,
) -> None:
    """Take an entry out of the trash, or back to an earlier revision."""
    from vaultsync.cli.finding import find

    with session.editing() as vault:
        found = find(vault.view(), entry or "")
        chosen = None
        if revision is not None:
            ids = [one.id for one in vault.history(found.id) if one.id.startswith(revision.lower())]
            if len(ids) != 1:
                problem = "has no revision" if not ids else "has several revisions"
                raise EntryNotFound(f"{found.label} {found.id} {problem} {revision[:40]!r}; see `vaultsync history`")
            chosen = ids[0]
        elif found.status is not vs.Status.TRASHED:
            raise UsageError(f"{line(found.title or found.id)!r} is not in the trash")
        _say_entry("Restored", vault.restore(found.id, revision=chosen), json=json)


@on_vault("entries")
def purge(
    session: Session,
    entries: EntriesArgument = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete entries and forget their values for good.

    On every device. Asks first.
    """
    number = len(entries or [])
    what = "this entry" if number == 1 else f"these {number} entries"
    if number and not yes and not asking.confirm(f"Forget {what} for good?"):
        raise UsageError("nothing was forgotten; --yes does it without asking")
    _each(session, entries, "Forgotten", lambda vault, entry: vault.purge(entry))


# ---- parts ----------------------------------------------------------------------------------------------------------
def _check_type(schema: vs.Schema, name: str) -> None:
    """Before anything is asked for; what is retired or elsewhere is for the library to say."""
    if schema.known(name) is None:
        here = [kind for kind in schema.types if schema.active(kind)]
        raise UnknownType(f"there is no entry type {name[:40]!r} here.{near_or_all(name, here)}")


def _values(schema: vs.Schema, type: str, fields: list[str]) -> dict[str, Any]:
    from vaultsync.cli.fields import parse_fields, typed_secrets

    values = parse_fields(fields, schema, type)
    if sys.stderr.isatty() and (typed := typed_secrets(fields, schema)):
        names = ", ".join(f"{name}=…" for name in typed)
        note(f"The shell may remember what was typed as {names}; a name alone is asked for.")
    return values


def _say_entry(done: str, entry: vs.Entry, *, json: bool) -> None:
    if json:
        print_json(entry_json(entry, reveal=False))
    else:
        say(f"{done} {line(entry.title or 'Untitled')} ({entry.label}), {entry.id}")


def _each(session: Session, words: list[str] | None, done: str, act: Callable[[vs.Vault, vs.Entry], None]) -> None:
    """All of them or none."""
    if not words:
        raise UsageError("which entry? Give an id, the beginning of one, or an exact title")
    from vaultsync.cli.finding import find

    with session.editing() as vault:
        view = vault.view()
        found = list({entry.id: entry for entry in (find(view, word) for word in words)}.values())
        with vault.batch():
            for entry in found:
                act(vault, entry)
        for entry in found:
            say(f"{done} {line(entry.title or 'Untitled')} ({entry.label}), {entry.id}")


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "add": add,
    "edit": edit,
    "delete": delete,
    "restore": restore,
    "purge": purge,
}

"""Commands on entries: seeing, adding, changing, deleting them, and their history."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import typer

from vaultsync import Entry, Revision, Status, Vault, View
from vaultsync.cli import asking
from vaultsync.cli.fields import HELP, parse_fields, typed_secrets
from vaultsync.cli.finding import every, find, short_ids
from vaultsync.cli.output import (
    entry_json,
    heading,
    iso,
    line,
    masked_value,
    moment,
    note,
    pairs,
    plain,
    print_json,
    say,
    shown,
    table,
)
from vaultsync.cli.session import EntryArgument, Json, Reveal, Session, on_vault
from vaultsync.errors import EntryNotFound, UnknownType, UsageError
from vaultsync.schema.types import Schema
from vaultsync.view.entry import MASK
from vaultsync.view.words import near

__all__ = ["COMMANDS"]

_MOST_LISTED: Final = 100
_Fields = Annotated[list[str] | None, typer.Argument(metavar="FIELD=VALUE", help=HELP, show_default=False)]
_Entries = Annotated[
    list[str] | None,
    typer.Argument(metavar="ENTRY", help="Ids, beginnings of ids, or exact titles.", show_default=False),
]
_STATUSES: Final = ("shown", "complete", "flagged", "hidden", "archived", "trashed", "all")
_SORTS: Final = ("title", "created", "modified")


# ---- seeing ---------------------------------------------------------------------------------------------------------
@on_vault()
def list_(
    session: Session,
    type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only entries of this type.")] = None,
    search: Annotated[
        str | None,
        typer.Option("--search", "-s", metavar="TEXT", help="Only entries that hold every word (no secrets)."),
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only entries with this tag.")] = None,
    status: Annotated[
        str, typer.Option("--status", metavar="STATUS", help=f"One of {', '.join(_STATUSES)}.")
    ] = "shown",
    sort: Annotated[str, typer.Option("--sort", metavar="BY", help=f"One of {', '.join(_SORTS)}.")] = "title",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="At most so many.")] = _MOST_LISTED,
    all: Annotated[bool, typer.Option("--all", "-a", help="However many there are.")] = False,
    json: Json = False,
    reveal: Reveal = False,
) -> None:
    """List entries.

    With --json everything is listed unless --limit is given, and every field is there; secrets only with --reveal.
    """
    _one_of("--status", status, _STATUSES)
    _one_of("--sort", sort, _SORTS)
    with session.opened() as vault:
        view = vault.view()
        found = _sorted(_chosen(view, type, search, tag, status), sort)
        most = len(found) if all or (json and limit == _MOST_LISTED) else limit
        cut = found[:most]
        if json:
            print_json([entry_json(entry, reveal=reveal) for entry in cut])
            return
        short = short_ids(entry.id for entry in every(view))
        rows = [
            (
                line(e.title or "—", 60),
                _detail(e),
                e.label,
                "" if e.status is Status.COMPLETE else e.status.value,
                short[e.id],
            )
            for e in cut
        ]
        if rows:
            table(("Title", "", "Type", "Status", "Id"), rows)
        if len(cut) < len(found):
            note(f"{len(cut):,} of {len(found):,}: --all lists all of them, --search TEXT some.")
        elif not found:
            note("No entry." if search is None and type is None and tag is None else "No entry like that.")
        if status == "shown":
            _tell_hidden(view)


def _one_of(option: str, given: str, allowed: Iterable[str]) -> None:
    if given not in allowed:
        raise UsageError(f"{option} is one of {', '.join(allowed)}, not {given[:40]!r}")


def _chosen(view: View, type: str | None, search: str | None, tag: str | None, status: str) -> list[Entry]:
    if type is not None and view.schema.known(type) is None:
        known = [name for name in view.schema.types if view.schema.known(name)]
        raise UnknownType(f"there is no entry type {type[:40]!r} here.{_near_or_all(type, known)}")
    entries: Iterable[Entry]
    if status in ("shown", "complete", "flagged"):
        entries = view.search(search, type) if search is not None else view.entries
    else:
        lists = {"hidden": view.hidden, "archived": view.archived, "trashed": view.trash}
        entries = every(view) if status == "all" else lists[status]
        if search is not None:
            words = search.casefold().split()
            entries = [e for e in entries if all(word in (e.title or "").casefold() for word in words)]
    return [
        entry
        for entry in entries
        if (type is None or entry.type == type)
        and (status in ("shown", "all", "hidden", "archived", "trashed") or entry.status.value == status)
        and (tag is None or tag in entry.get("tags", ()))
    ]


def _sorted(entries: list[Entry], by: str) -> list[Entry]:
    if by == "created":
        return sorted(entries, key=lambda e: (e.created, e.id))
    if by == "modified":
        return sorted(entries, key=lambda e: (-e.modified, e.id))
    return sorted(entries, key=lambda e: ((e.title or "\U0010ffff").casefold(), e.id))


_TELLING: Final = ("username", "email", "cardholder", "ssid", "site", "bank_name", "urls", "folder")


def _detail(entry: Entry) -> str:
    """What tells two entries of one title apart; never a secret."""
    for name in _TELLING:
        value = entry.get(name)
        if value and not entry.is_secret(name):
            return line(value[0] if isinstance(value, tuple) else str(value), 40)
    return ""


def _tell_hidden(view: View) -> None:
    parts = [
        f"{len(found):,} {word}"
        for found, word in ((view.hidden, "hidden"), (view.archived, "archived"), (view.trash, "in the trash"))
        if len(found)
    ]
    if parts:
        hint = "; `vaultsync notices` tells why" if view.notices else ""
        note(f"Not listed: {', '.join(parts)}{hint}.")


@on_vault("entry")
def show(
    session: Session,
    entry: EntryArgument = None,
    field: Annotated[
        str | None, typer.Option("--field", "-f", metavar="FIELD", help="Print only the value of this field.")
    ] = None,
    json: Json = False,
    reveal: Reveal = False,
) -> None:
    """Show one entry.

    Its fields, what is missing here, and values that lost against a concurrent edit. Secrets are masked unless --reveal
    is given. For a script: [bold]vaultsync show ann.vault GitHub --field password --reveal[/]
    """
    with session.opened() as vault:
        found = find(vault.view(), entry or "")
        if field is not None:
            _show_field(found, field, json=json, reveal=reveal)
        elif json:
            print_json(entry_json(found, reveal=reveal))
        else:
            _show(found, vault, reveal=reveal)


def _show_field(entry: Entry, field: str, *, json: bool, reveal: bool) -> None:
    value = entry[field]
    if entry.is_secret(field) and not reveal and value:
        raise UsageError(f"{field} is a secret: add --reveal to print it")
    if json:
        print_json(plain(value))
    elif sys.stdout.isatty() or not isinstance(value, str):
        say(shown(value) if value not in (None, (), frozenset()) else "")
    else:
        say(value)  # into a pipe byte for byte


def _show(entry: Entry, vault: Vault, *, reveal: bool) -> None:
    heading(line(entry.title or "Untitled"))
    where = "" if entry.status is Status.COMPLETE else f", {entry.status.value}"
    say(f"{entry.label}{where} · {entry.id}")
    say(f"Created {moment(entry.created)}, modified {moment(entry.modified)}")
    rows = [(name, masked_value(entry, name, value, reveal=reveal)) for name, value in entry.fields.items()]
    rows += [
        (name, masked_value(entry, name, value, reveal=reveal) + "  (read-only: retired)")
        for name, value in entry.retired.items()
    ]
    if rows:
        say()
        pairs(rows)
    if entry.status is Status.HIDDEN:
        say()
        for notice in vault.view().notices:
            for part in notice.parts:
                if notice.kind.value == "hidden" and part.type == entry.type:
                    say(f"It can't be shown here: {line(part.text)}.")
                    return
    if missing := entry.missing:
        say()
        say("Not shown here:")
        pairs([(m.label, _need(m)) for m in missing.values()])
    if entry.status is Status.ARCHIVED:
        say()
        say("Its type is retired in this release: it can be read and exported, but not edited.")
    elif not entry.writable and entry.status is not Status.TRASHED:
        say()
        say("It can't be edited here: it holds something that this release must not change without knowing it.")
    if conflicts := entry.conflicts:
        say()
        say("Lost against a concurrent edit, and kept (set the field to settle it):")
        pairs(
            [
                (
                    name,
                    f"{MASK if loser.secret and not reveal else shown(loser.value)}  {_by(loser.device, loser.time)}",
                )
                for name, losers in conflicts.items()
                for loser in losers
            ]
        )


def _need(missing: Any) -> str:
    needs = [f"needs {missing.release} or later"] if missing.release else []
    if missing.platforms:
        from vaultsync.view.words import platforms

        needs.append(f"available on {platforms(missing.platforms)}")
    return " and ".join(needs) or "cannot be shown"


def _by(device: str | None, time: int | None) -> str:
    parts = [part for part in (line(device) if device else "", moment(time) if time else "") if part]
    return f"({', '.join(parts)})" if parts else ""


# ---- changing -------------------------------------------------------------------------------------------------------
@on_vault("type", "fields")
def add(
    session: Session,
    type: Annotated[
        str | None,
        typer.Argument(
            metavar="TYPE", help="Its type, such as login; `vaultsync schema` lists them.", show_default=False
        ),
    ] = None,
    fields: _Fields = None,
    json: Json = False,
) -> None:
    """Add an entry.

    For example: [bold]vaultsync add ann.vault login title=GitHub username=ann password urls=github.com tags=work,dev[/]

    A field's name alone (password above) is asked for, so that a secret stays out of the shell's history.
    """
    _check_type(session.schema, type or "")
    values = _values(session.schema, type or "", fields or [])
    with session.editing() as vault:
        entry = vault.add(type or "", **values)
        _say_entry("Added", entry, json=json)


@on_vault("entry", "fields")
def edit(session: Session, entry: EntryArgument = None, fields: _Fields = None, json: Json = False) -> None:
    """Change fields of an entry.

    For example: [bold]vaultsync edit ann.vault GitHub password tags+=home notes=[/]

    Only the fields that are named change. A name alone is asked for; FIELD= clears.
    """
    if not fields:
        raise UsageError("nothing to change: name at least one field, such as title=GitHub")
    with session.editing() as vault:
        found = find(vault.view(), entry or "")
        before = found.modified
        changed = vault.update(found, **_values(session.schema, found.type, fields))
        _say_entry("Changed" if changed.modified != before else "Nothing to change in", changed, json=json)


@on_vault("entries")
def delete(session: Session, entries: _Entries = None) -> None:
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
    with session.editing() as vault:
        found = find(vault.view(), entry or "")
        chosen = None
        if revision is not None:
            ids = [one.id for one in vault.history(found.id) if one.id.startswith(revision.lower())]
            if len(ids) != 1:
                problem = "has no revision" if not ids else "has several revisions"
                raise EntryNotFound(f"{found.label} {found.id} {problem} {revision[:40]!r}; see `vaultsync history`")
            chosen = ids[0]
        elif found.status is not Status.TRASHED:
            raise UsageError(f"{line(found.title or found.id)!r} is not in the trash")
        _say_entry("Restored", vault.restore(found.id, revision=chosen), json=json)


@on_vault("entries")
def purge(
    session: Session,
    entries: _Entries = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete entries and forget their values for good.

    On every device. Asks first.
    """
    if not yes and not asking.confirm(f"Forget {len(entries or [])} entries for good?"):
        raise UsageError("nothing was forgotten; --yes does it without asking")
    _each(session, entries, "Forgotten", lambda vault, entry: vault.purge(entry))


@on_vault("entry")
def history(session: Session, entry: EntryArgument = None, json: Json = False, reveal: Reveal = False) -> None:
    """Show every change of an entry: when, where, before and after."""
    with session.opened() as vault:
        found = find(vault.view(), entry or "")
        revisions = vault.history(found.id)
        if json:
            print_json([_revision_json(found, one, session.schema, reveal=reveal) for one in revisions])
            return
        for one in revisions:
            device = line(one.device) if one.device else "an unknown device"
            heading(f"{moment(one.time)}  {one.event} on {device}  [{one.id[:10]}]")
            pairs([(name, _change(one, name, session.schema, reveal=reveal)) for name in one.fields], indent=4)


def _change(revision: Revision, name: str, schema: Schema, *, reveal: bool) -> str:
    before, after = (
        _value_text(values.get(name), name, schema, reveal) for values in (revision.before, revision.after)
    )
    if name not in revision.before:
        return after
    return f"{before} → {after if name in revision.after else '(cleared)'}"


def _is_secret(name: str, schema: Schema) -> bool:
    kind = schema.kinds.get(name)
    return kind is None or kind.is_secret


def _value_text(value: object, name: str, schema: Schema, reveal: bool) -> str:
    if value is None:
        return ""
    return MASK if _is_secret(name, schema) and not reveal else shown(value).replace("\n", ", ")


def _revision_json(entry: Entry, revision: Revision, schema: Schema, *, reveal: bool) -> dict[str, Any]:
    masked = [name for name in revision.fields if _is_secret(name, schema) and not reveal]

    def values(fields: Any) -> dict[str, Any]:
        return {name: None if name in masked else plain(value) for name, value in fields.items()}

    return {
        "id": revision.id,
        "event": revision.event,
        "device": revision.device,
        "version": revision.version,
        "time": iso(revision.time),
        "before": values(revision.before),
        "after": values(revision.after),
        "masked": masked,
    }


# ---- parts ----------------------------------------------------------------------------------------------------------
def _check_type(schema: Schema, name: str) -> None:
    """Before anything is asked for; what is retired or elsewhere is for the library to say."""
    if schema.known(name) is None:
        here = [kind for kind in schema.types if schema.active(kind)]
        raise UnknownType(f"there is no entry type {name[:40]!r} here.{_near_or_all(name, here)}")


def _near_or_all(name: str, known: list[str]) -> str:
    return near(name, known) or f" There are: {', '.join(known)}."


def _values(schema: Schema, type: str, fields: list[str]) -> dict[str, Any]:
    values = parse_fields(fields, schema, type)
    if sys.stderr.isatty() and (typed := typed_secrets(fields, schema)):
        names = ", ".join(f"{name}=…" for name in typed)
        note(f"The shell may remember what was typed as {names}; a name alone is asked for.")
    return values


def _say_entry(done: str, entry: Entry, *, json: bool) -> None:
    if json:
        print_json(entry_json(entry, reveal=False))
    else:
        say(f"{done} {line(entry.title or 'Untitled')} ({entry.label}), {entry.id}")


def _each(session: Session, words: list[str] | None, done: str, act: Callable[[Vault, Entry], None]) -> None:
    """All of them or none."""
    if not words:
        raise UsageError("which entry? Give an id, the beginning of one, or an exact title")
    with session.editing() as vault:
        view = vault.view()
        found = list({entry.id: entry for entry in (find(view, word) for word in words)}.values())
        with vault.batch():
            for entry in found:
                act(vault, entry)
        for entry in found:
            say(f"{done} {line(entry.title or 'Untitled')} ({entry.label}), {entry.id}")


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "list": list_,
    "show": show,
    "add": add,
    "edit": edit,
    "delete": delete,
    "restore": restore,
    "purge": purge,
    "history": history,
}

"""Commands that show entries: lists, one entry, its history."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import typer

import vaultsync as vs
from vaultsync.cli.output import (
    entry_json,
    heading,
    iso,
    line,
    losers_of,
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
from vaultsync.errors import UnknownType, UsageError

__all__ = ["COMMANDS"]

_MOST_LISTED: Final = 100
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
    from vaultsync.cli.finding import every, short_ids

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
                "" if e.status is vs.Status.COMPLETE else e.status.value,
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


def near_or_all(name: str, known: list[str]) -> str:
    """What somebody may have meant, else everything there is."""
    from vaultsync.view.words import near

    return near(name, known) or f" There are: {', '.join(known)}."


def _chosen(view: vs.View, type: str | None, search: str | None, tag: str | None, status: str) -> list[vs.Entry]:
    if type is not None and view.schema.known(type) is None:
        known = [name for name in view.schema.types if view.schema.known(name)]
        raise UnknownType(f"there is no entry type {type[:40]!r} here.{near_or_all(type, known)}")
    entries: Iterable[vs.Entry]
    if status in ("shown", "complete", "flagged"):
        entries = view.search(search, type) if search is not None else view.entries
    else:
        lists = {"hidden": view.hidden, "archived": view.archived, "trashed": view.trash}
        from vaultsync.cli.finding import every

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


def _sorted(entries: list[vs.Entry], by: str) -> list[vs.Entry]:
    if by == "created":
        return sorted(entries, key=lambda e: (e.created, e.id))
    if by == "modified":
        return sorted(entries, key=lambda e: (-e.modified, e.id))
    return sorted(entries, key=lambda e: ((e.title or "\U0010ffff").casefold(), e.id))


_TELLING: Final = ("username", "email", "cardholder", "ssid", "site", "bank_name", "folder")


def _detail(entry: vs.Entry) -> str:
    """What tells two entries of one title apart; never a secret."""
    if entry.status is vs.Status.HIDDEN:
        return ""
    for name in _TELLING:
        value = entry.raw.get(name)  # one text as it is stored: decoding the whole of 10,000 entries takes a second
        if isinstance(value, str) and value and not entry.is_secret(name):
            return line(value, 40)
    return line(str(next(iter(entry.get("urls") or ()), "")), 40)


def _tell_hidden(view: vs.View) -> None:
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
    from vaultsync.cli.finding import find

    with session.opened() as vault:
        found = find(vault.view(), entry or "")
        if field is not None:
            _show_field(found, field, json=json, reveal=reveal)
        elif json:
            print_json(entry_json(found, reveal=reveal))
        else:
            _show(found, vault, reveal=reveal)


def _show_field(entry: vs.Entry, field: str, *, json: bool, reveal: bool) -> None:
    value = entry[field]
    if entry.is_secret(field) and not reveal and value:
        raise UsageError(f"{field} is a secret: add --reveal to print it")
    if json:
        print_json(plain(value))
    elif sys.stdout.isatty() or not isinstance(value, str):
        say(shown(value) if value not in (None, (), frozenset()) else "")
    else:
        say(value)  # into a pipe byte for byte


def _show(entry: vs.Entry, vault: vs.Vault, *, reveal: bool) -> None:
    from vaultsync.view.entry import MASK

    heading(line(entry.title or "Untitled"))
    where = "" if entry.status is vs.Status.COMPLETE else f", {entry.status.value}"
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
    if entry.status is vs.Status.HIDDEN:
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
    if entry.status is vs.Status.ARCHIVED:
        say()
        say("Its type is retired in this release: it can be read and exported, but not edited.")
    elif not entry.writable and entry.status is not vs.Status.TRASHED:
        say()
        say("It can't be edited here: it holds something that this release must not change without knowing it.")
    if conflicts := losers_of(entry):
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


@on_vault("entry")
def history(session: Session, entry: EntryArgument = None, json: Json = False, reveal: Reveal = False) -> None:
    """Show every change of an entry: when, where, before and after."""
    from vaultsync.cli.finding import find

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


def _change(revision: vs.Revision, name: str, schema: vs.Schema, *, reveal: bool) -> str:
    before, after = (
        _value_text(values.get(name), name, schema, reveal) for values in (revision.before, revision.after)
    )
    if name not in revision.before:
        return after
    return f"{before} → {after if name in revision.after else '(cleared)'}"


def _is_secret(name: str, schema: vs.Schema) -> bool:
    kind = schema.kinds.get(name)
    return kind is None or kind.is_secret


def _value_text(value: object, name: str, schema: vs.Schema, reveal: bool) -> str:
    from vaultsync.view.entry import MASK

    if value is None:
        return ""
    return MASK if _is_secret(name, schema) and not reveal else shown(value).replace("\n", ", ")


def _revision_json(entry: vs.Entry, revision: vs.Revision, schema: vs.Schema, *, reveal: bool) -> dict[str, Any]:
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


COMMANDS: Final[dict[str, Callable[..., None]]] = {"list": list_, "show": show, "history": history}

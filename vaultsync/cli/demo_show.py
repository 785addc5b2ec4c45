"""How the demo looks. Everything here is drawn from views, entries and reports that are handed in."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from vaultsync import Entry, ImportReport, Schema, Status, SyncReport, UpgradePlan, Vault, View
from vaultsync.cli.output import line
from vaultsync.view.words import count, listing, platforms

__all__ = ["Stage", "describe"]

_STYLES: Final = {
    Status.COMPLETE: "green",
    Status.FLAGGED: "yellow",
    Status.HIDDEN: "magenta",
    Status.ARCHIVED: "blue",
    Status.TRASHED: "dim",
}
_WIDEST: Final = 110
_COUNTS: Final = (
    (Status.COMPLETE, "complete"),
    (Status.FLAGGED, "flagged"),
    (Status.HIDDEN, "hidden"),
    (Status.ARCHIVED, "archived"),
    (Status.TRASHED, "in the trash"),
)
_LEGEND: Final = (
    "flagged: shown in part. hidden: counted and kept, not shown. archived: its type is retired, read-only."
)


def place(schema: Schema) -> str:
    """``release 4.0 on Windows``."""
    return f"release {schema.release(schema.version)} on {platforms([schema.platform])}"


def describe(view: View, entry_id: str) -> Text:
    """How a view shows one entry, and why not in full."""
    entry = view.get(entry_id)
    if entry is None:
        return Text("not there", style="dim")
    text = Text(entry.status.value, style=_STYLES[entry.status])
    if why := _why(view, entry):
        text.append(f": {why}", style="default")
    return text


def _why(view: View, entry: Entry) -> str:
    schema, context = view.schema, view.context
    if entry.status is Status.FLAGGED:
        return "; ".join(
            f"{missing.label} {_needs(missing.release, missing.platforms)}" for missing in entry.missing.values()
        )
    if entry.status is Status.HIDDEN:
        need = context.need_type(entry.type, entry.version, schema)
        versions = need.versions(schema)
        return _needs(context.release(versions[1], schema) if versions else None, need.elsewhere(schema))
    if entry.status is Status.ARCHIVED:
        until = schema.types[entry.type].until
        return f"retired in {schema.release(until)}" if until else "retired"
    return ""


def _needs(release: str | None, elsewhere: frozenset[str]) -> str:
    parts = [f"needs {release}"] if release else []
    parts += [f"on {platforms(elsewhere)} only"] if elsewhere else []
    return ", ".join(parts) or "can't be shown here"


class Stage:
    """Draws the story, step by step, on standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self.out = console or Console(highlight=False, markup=False, emoji=False)
        if self.out.width > _WIDEST:
            self.out.width = _WIDEST
        self._steps = 0
        self._acts: dict[str, list[str]] = {}

    # ---- parts ------------------------------------------------------------------------------------------------
    def say(self, text: str | Text = "", *, indent: int = 3, style: str = "") -> None:
        self.draw(Text(text, style=style) if isinstance(text, str) else text, indent=indent)

    def draw(self, thing: Any, *, indent: int = 3) -> None:
        self.out.print(Padding(thing, (0, 0, 0, indent), expand=False))

    def step(self, title: str) -> None:
        self._steps += 1
        self.out.print()
        head = Text.assemble((f"{self._steps}. ", "bold cyan"), (title, "bold"))
        self.out.print(head)

    def working(self, what: str) -> AbstractContextManager[Any]:
        if not (self.out.is_terminal and sys.stdout.isatty()):
            return nullcontext()
        return self.out.status(f"{what} …")

    # ---- the story --------------------------------------------------------------------------------------------
    def begin(self, newest: Schema, oldest: Schema) -> None:
        self.out.print(Rule(Text("VaultSync: one vault, two devices, two releases", style="bold"), style="cyan"))
        self.out.print()
        self.say(
            f"Ann's password manager runs as {place(newest)} on her Laptop and still as {place(oldest)} on her Phone. "
            "Both share one encrypted vault. The older release knows fewer types and fields, and must harm nothing "
            "that it does not know.",
            indent=0,
        )

    def imported(self, report: ImportReport) -> None:
        types = listing([count(number, _named(name)) for name, number in report.by_type.most_common()], most=8)
        self.say(f"{count(len(report.added), 'entry')} came in: {types}.")
        if report.trashed:
            self.say(f"{report.trashed} of them were in Bitwarden's trash, and are in this one's.")
        lost = len(report.skipped) + len(report.problems)
        self.say("Everything in the file has its place." if not lost else f"{lost} things could not be read.")

    def code(self, code: str) -> None:
        self.say(Text.assemble("Recovery code: ", (code, "bold")))

    def joined(self, view: View, sent: SyncReport) -> None:
        self.say(f"The Laptop had put {sent.bytes_sent / 1000:,.0f} kB into the folder, sealed.")
        hidden = f"; {len(view.hidden)} are of types that it doesn't know" if len(view.hidden) else ""
        self.say(f"The Phone fetched it all and shows {count(len(view), 'entry')}{hidden}.")

    def act(self, vault: Vault, did: str, entry: Entry) -> None:
        label = entry.label.lower() if entry.label.istitle() and " " not in entry.label else entry.label
        text = f"{did} {'the ' if did != 'adds' else ''}{label} “{line(entry.title or '')}”"
        self._acts.setdefault(vault.devices[0].name, []).append(text)

    def acted(self) -> None:
        table = self._columns(*self._acts, first=None)
        cells = []
        for acts in self._acts.values():
            bullets = Table.grid(padding=(0, 1, 0, 0))
            for act in acts:
                bullets.add_row("•", act)
            cells.append(bullets)
        table.add_row(*cells)
        self.draw(table)

    def synced(self, syncs: Sequence[tuple[str, SyncReport]]) -> None:
        for name, report in syncs:
            self.say(
                f"{name + ':':8}sent {report.bytes_sent:,} bytes, received {report.bytes_received:,}; "
                f"{count(report.entries, 'entry')} changed by what came in"
            )

    def side_by_side(self, laptop: View, phone: View, watched: Mapping[str, str]) -> None:
        table = self._columns(f"Laptop, {laptop.schema.release(laptop.schema.version)}",
                              f"Phone, {phone.schema.release(phone.schema.version)}", first="Entries")  # fmt: skip
        for status, words in _COUNTS:
            numbers = [_count(view, status) for view in (laptop, phone)]
            table.add_row(words, *(Text(f"{n}", style=_STYLES[status] if n else "dim") for n in numbers))
        table.add_section()
        for entry_id in watched.values():
            entry = laptop[entry_id]
            name = Text(line(entry.title or "?", 28))
            name.append(f"\n{entry.label}", style="dim")
            table.add_row(name, describe(laptop, entry_id), describe(phone, entry_id))
        self.draw(table)
        self.say(_LEGEND, style="dim")

    def told(self, laptop: View, phone: View) -> None:
        for name, view in (("Laptop", laptop), ("Phone", phone)):
            self.say(Text(f"{name}:", style="bold"))
            for notice in view.notices:
                self.say(line(str(notice)), indent=5)
            if not view.notices:
                self.say("nothing: it shows everything.", indent=5)

    def planned(self, name: str, plan: UpgradePlan) -> None:
        if plan:
            self.say(Text(f"If the {name} upgrades them (vaultsync upgrade --dry-run):", style="bold"))
            for each in plan.types:
                self.say(line(str(each)), indent=5)

    def concurrent(self, laptop: Vault, phone: Vault, watched: Mapping[str, str]) -> None:
        views = {"Laptop": laptop.view(), "Phone": phone.view()}
        self.say(Text("Both changed the same field", style="bold"))
        for name, view in views.items():
            entry = view[watched["two edits"]]
            kept = [f"{loser.value} from {loser.device}" for losers in entry.conflicts.values() for loser in losers]
            self.say(f"{name + ':':8}{entry['username']}" + (f"   (kept: {listing(kept)})" if kept else ""), indent=5)
        self.say(Text("One deleted it, the other went on using it", style="bold"))
        for name, view in views.items():
            entry = view[watched["deleted, edited"]]
            alive = "in the trash" if entry.status is Status.TRASHED else f"alive, {entry.status.value}"
            note = entry.get("notes") if entry.status is not Status.TRASHED else None
            last = str(note).split("\n")[-1] if note else ""
            self.say(f"{name + ':':8}{alive}" + (f", note: “{line(last, 40)}”" if last else ""), indent=5)
        self.say(Text("The Phone edited what it sees only in part", style="bold"))
        for name, view in views.items():
            entry = view[watched["edited in part"]]
            shown = [f"tags: {', '.join(sorted(entry['tags']))}"] if entry.get("tags") else []
            shown += [f"auto-type: {entry['auto_type']}"] if entry.get("auto_type") else []
            shown += [f"{missing.label.lower()}: {missing}" for missing in entry.missing.values()]
            self.say(f"{name + ':':8}" + ", ".join(map(line, shown)), indent=5)

    def refused(self, message: str) -> None:
        self.say(Text("The Phone must not edit a login whose passkey it doesn't know", style="bold"))
        self.say(f"Phone:  {line(message) if message else 'it was let through'}", indent=5)

    def folder(self, folder: Path, view: View) -> int:
        """Look for every title and user name of the vault in every file; returns how often one was found."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        words = {
            str(value).encode()
            for entry in view
            for value in (entry.title, entry.get("username"), entry.get("password"))
            if value and len(str(value)) >= 5
        }
        found, size = 0, 0
        for path in files:
            data = path.read_bytes() + str(path).encode()
            size += len(data)
            found += sum(word in data for word in words)
        self.say(
            f"{count(len(files), 'file')}, {size / 1000:,.0f} kB. Looked for {len(words)} titles, user names and "
            f"passwords in them: {found or 'none'} found."
        )
        return found

    def arrived(self, seconds: float | None) -> None:
        if seconds is None:
            self.say("The edit did not arrive in time: the folder is slow today.")
        else:
            self.say(f"An edit on the Phone was on the Laptop {seconds:.1f} seconds later, with nobody asking for it.")

    def end(self, seconds: float, kept: Path | None, password: str) -> None:
        self.out.print()
        self.out.print(Rule(style="cyan"))
        self.say(f"That took {seconds:.1f} seconds, with real encryption.", indent=0)
        if kept is None:
            self.say("The temporary folder is gone. Keep one to look around in: vaultsync demo --keep DIR", indent=0)
            self.say("Your own vault: vaultsync create my.vault", indent=0)
            return
        self.say(f"It is all in {kept}; the password is “{password}”. For example:", indent=0)
        self.say(f"vaultsync list {kept / 'laptop.vault'}", indent=2)
        old = "--schema-version 2 --platform android"
        self.say(f"vaultsync list {kept / 'phone.vault'} {old}", indent=2)

    # ---- tables -----------------------------------------------------------------------------------------------
    def _columns(self, left: str, right: str, *, first: str | None) -> Table:
        from rich import box

        plain = not self.out.encoding.lower().startswith("utf")
        table = Table(box=box.ASCII if plain else box.ROUNDED, border_style="dim", expand=True)
        if first is not None:
            table.add_column(first, ratio=5, overflow="fold")
        table.add_column(left, ratio=6, overflow="fold")
        table.add_column(right, ratio=6, overflow="fold")
        return table


def _named(type_name: str) -> str:
    from vaultsync.presets.passwords import passwords

    return passwords().types[type_name].label


def _count(view: View, status: Status) -> int:
    if status in (Status.COMPLETE, Status.FLAGGED):
        return sum(entry.status is status for entry in view)
    return len({Status.HIDDEN: view.hidden, Status.ARCHIVED: view.archived, Status.TRASHED: view.trash}[status])

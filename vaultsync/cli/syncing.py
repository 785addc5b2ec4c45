"""Commands about where a vault syncs, and syncing now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import vaultsync as vs
from vaultsync.cli.output import line, note, print_json, say, warn
from vaultsync.cli.session import Json, Session, on_vault, sync_with_progress
from vaultsync.cli.standing import tell_notices
from vaultsync.errors import NotConnected
from vaultsync.remote.address import masked
from vaultsync.view import words

__all__ = ["COMMANDS", "Address", "address_of"]

Address = Annotated[
    str | None,
    typer.Argument(
        metavar="ADDRESS",
        help="A folder that reaches the other devices, or https:// of a relay, s3://…, gs://…, az://…, dav+https://….",
        show_default=False,
    ),
]
_Auto = Annotated[
    bool | None,
    typer.Option(
        "--auto-sync/--no-auto-sync", help="Whether every edit syncs by itself, from now on.", show_default=False
    ),
]


def address_of(given: str | None) -> str:
    """A remote's address as the library takes it: a path becomes a ``file:`` address."""
    text = given or ""
    return Path(text).expanduser().absolute().as_uri() if _is_path(text) else text


def _is_path(text: str) -> bool:
    return "://" not in text and not text.lower().startswith("file:")


@on_vault("address")
def connect(
    session: Session,
    address: Address = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="In addition to where it syncs now: each holds everything.")
    ] = False,
    auto_sync: _Auto = None,
    json: Json = False,
) -> None:
    """Sync this vault through a folder, a relay or a store from now on.

    Any folder that reaches the other devices: of a cloud drive, a share, a USB stick. Or https://HOST of a relay
    (`vaultsync relay`), s3://…, dav+https://…. What is there is sealed; whoever keeps it can read nothing of it.
    Connected elsewhere already, the vault moves: your other devices follow by themselves. With --mirror it stays where
    it is as well.
    """
    url = address_of(address)
    with session.opened() as vault:
        there = not _is_path(address or "") or Path(address or "").expanduser().is_dir()
        before = vault.status.remote
        vault.connect(url, mirror=mirror)
        if not there:
            note(f"There was no folder {address} yet: it was made.")
        if auto_sync is not None:
            vault.auto_sync = auto_sync
        if mirror:
            head = f"{line(masked(url))} is a mirror now, beside {line(masked(before or ''))}."
        elif before is not None and before != url:
            head = f"Moved from {line(masked(before))} to {line(masked(url))}."
        else:
            head = f"Connected to {line(masked(url))}."
        _report(vault, sync_with_progress(vault), json=json, head=head)


@on_vault()
def disconnect(
    session: Session,
    address: Annotated[
        str | None,
        typer.Option("--from", metavar="ADDRESS", help="Only from this remote or mirror.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Sync no more, or no more with one remote or mirror.

    What is there stays there, for your other devices. `vaultsync connect` begins again where it ended.
    """
    with session.opened() as vault:
        given = None if address is None else address_of(address)
        there = [url for url in (vault.status.remote, *vault.mirrors) if url is not None]
        if given is not None and given not in there:
            given = next((url for url in there if masked(url) == address), given)
        if given is not None and given not in there:
            known = ", ".join(line(masked(url)) for url in there) or "nowhere"
            raise NotConnected(f"the vault does not sync with {line(masked(given))}; it syncs with: {known}")
        pending = vault.status.pending
        vault.disconnect(given)
        now = vault.status
        if json:
            print_json({"remote": now.remote, "mirrors": list(vault.mirrors), "pending": pending})
        elif now.remote is None:
            say("This vault syncs no more.")
            if pending:
                note(f"{words.count(pending, 'change')} made here reached no other device yet.")
        else:
            say(f"This vault syncs with {', '.join(line(masked(url)) for url in (now.remote, *vault.mirrors))} now.")


@on_vault()
def sync(session: Session, auto_sync: _Auto = None, json: Json = False) -> None:
    """Send what is new here, fetch what is new there."""
    with session.opened() as vault:
        if auto_sync is not None:
            vault.auto_sync = auto_sync
        _report(vault, sync_with_progress(vault), json=json)


def _report(vault: vs.Vault, report: vs.SyncReport, *, json: bool, head: str = "") -> None:
    if json:
        print_json(sync_json(report))
        return
    if head:
        say(head)
    first, *rest = str(report).split("\n")
    say(first[:1].upper() + first[1:] + ".")
    for text in rest:
        warn(text)
    for mirror in vault.status.mirrors:
        if mirror.message:
            warn(f"the mirror {masked(mirror.remote)}: {mirror.message}")
    if report.entries:
        tell_notices(vault)


def sync_json(report: vs.SyncReport) -> dict[str, Any]:
    """A report for a program."""
    return {
        "sent": report.sent,
        "received": report.received,
        "entries": report.entries,
        "bytes_sent": report.bytes_sent,
        "bytes_received": report.bytes_received,
        "seconds": round(report.seconds, 3),
        "complete": report.complete,
        "waiting": [str(one) for one in report.waiting],
        "quarantined": list(report.quarantined),
        "findings": [str(one) for one in report.findings],
    }


COMMANDS: Final[dict[str, Callable[..., None]]] = {"connect": connect, "disconnect": disconnect, "sync": sync}

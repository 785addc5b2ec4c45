"""Commands on a vault as a whole: making it, its devices, syncing, its health."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import vaultsync as vs
from vaultsync.cli import asking
from vaultsync.cli.output import (
    heading,
    iso,
    line,
    moment,
    note,
    pairs,
    print_json,
    say,
    table,
    warn,
    working,
)
from vaultsync.cli.pairing import InvitationOption, join_invited
from vaultsync.cli.session import Json, Misused, Session, closing, on_vault, sync_with_progress
from vaultsync.errors import DamagedStore, RemoteError, StoreFailed, UnsupportedRemote, VaultExists
from vaultsync.remote.address import is_exposed
from vaultsync.vault.reaching import EXPOSED
from vaultsync.vault.standing import ago
from vaultsync.vault.standing import shown as shown_address
from vaultsync.view import words

__all__ = ["COMMANDS", "address"]

_Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="What to call this device; its host name if left out."),
]
_Address = Annotated[
    str | None,
    typer.Argument(
        metavar="ADDRESS", help="A folder that reaches the other devices, or file:///its/path.", show_default=False
    ),
]
_Auto = Annotated[
    bool | None,
    typer.Option(
        "--auto-sync/--no-auto-sync", help="Whether every edit syncs by itself, from now on.", show_default=False
    ),
]


def address(text: str) -> str:
    """A remote's address as the library takes it: a path becomes a ``file:`` address."""
    if not _is_path(text):
        return text
    return Path(text).expanduser().absolute().as_uri()


def _is_path(text: str | None) -> bool:
    return text is not None and "://" not in text and not text.lower().startswith("file:")


def _device_name(given: str | None) -> str:
    return given if given is not None else platform.node() or "This device"


@on_vault(new=True)
def create(session: Session, device: _Device = None, json: Json = False) -> None:
    """Make a new vault.

    It shows the recovery code, this once. Code and password together let your other devices in (`vaultsync join`).
    Print the code or write it down: nobody can make another one, and it is stored nowhere.
    """
    _refuse_existing(session)
    password = asking.new_password(session.password_file)
    with working("Deriving keys"):
        vault = vs.Vault.create(
            session.path, schema=session.schema, password=password, device=_device_name(device), **session.more
        )
    with closing(vault):
        name = vault.devices[0].name
        if json:
            print_json({"path": vault.path, "recovery_code": vault.recovery_code, "device": name})
            return
        say(f"{session.path} is your new vault; this device is “{line(name)}”.")
        say()
        say("Your recovery code:")
        say()
        heading(f"    {vault.recovery_code}")
        say()
        say("Write it down and keep it safe: with your password it lets your other devices in.")
        say("It is not shown again.")


@on_vault("address", new=True, unless="invitation")
def join(
    session: Session,
    address: _Address = None,
    invitation: InvitationOption = None,
    device: _Device = None,
    code_file: Annotated[
        str | None,
        typer.Option(
            "--code-file",
            metavar="FILE",
            help="Read the recovery code from a file's first line. Also: VAULTSYNC_CODE.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make this device one of a vault's.

    With the vault's password and recovery code, from the folder that it syncs through; or with --invitation, approved
    on one of your devices (`vaultsync invite`).
    """
    _refuse_existing(session)
    url = _url(address) if address else None
    if invitation is not None:
        if code_file is not None:
            raise Misused("--code-file is not for --invitation")
        show = _tell_code if json else _show_code
        vault = join_invited(session, invitation, url, _device_name(device), show, **session.more)
    else:
        vault = _join_by_code(session, url, code_file, device)
    with closing(vault):
        view = vault.view()
        name = vault.devices[0].name
        if json:
            print_json({"path": vault.path, "device": name, "remote": vault.status.remote, "counts": _counts(vault)})
            return
        say(f"{session.path} is on this device now, as “{line(name)}”: {words.count(len(view), 'entry')} shown.")
        _print_notices(vault)


def _join_by_code(session: Session, url: str | None, code_file: str | None, device: str | None) -> vs.Vault:
    code = asking.recovery_code(code_file)
    password = asking.password(session.password_file)
    with working("Joining: deriving keys, fetching everything"):
        return vs.Vault.join(
            session.path,
            url,
            schema=session.schema,
            password=password,
            code=code,
            device=_device_name(device),
            background=False,
            **session.more,
        )


def _show_code(code: str) -> None:
    say("Compare these digits with the other device's:")
    say()
    heading(f"    {code}")
    say()
    sys.stdout.flush()


def _tell_code(code: str) -> None:
    note(f"Compare these digits with the other device's: {code}")


@on_vault("address")
def connect(session: Session, address: _Address = None, auto_sync: _Auto = None, json: Json = False) -> None:
    """Sync this vault through a folder, a relay or a store from now on.

    Any folder that reaches the other devices: of a cloud drive, a share, a USB stick. Or https://HOST of a relay
    (`vaultsync relay`), s3://…, dav+https://…. What is there is sealed; whoever keeps it can read nothing of it.
    """
    url = _url(address)
    if is_exposed(url):
        warn(EXPOSED)
    with session.opened() as vault:
        there = not _is_path(address) or Path(address or "").expanduser().is_dir()
        vault.connect(url)
        if not there:
            note(f"There was no folder {address} yet: it was made.")
        if auto_sync is not None:
            vault.auto_sync = auto_sync
        _report(vault, sync_with_progress(vault), json=json, head=f"Connected to {line(shown_address(url))}.")


@on_vault()
def sync(session: Session, auto_sync: _Auto = None, json: Json = False) -> None:
    """Send what is new here, fetch what is new there."""
    with session.opened() as vault:
        if auto_sync is not None:
            vault.auto_sync = auto_sync
        _report(vault, sync_with_progress(vault), json=json)


@on_vault()
def status(session: Session, json: Json = False) -> None:
    """Say what the vault holds and what waits to be sent."""
    with session.opened() as vault:
        now, schema, counts = vault.status, vault.schema, _counts(vault)
        this = vault.devices[0]
        if json:
            print_json(
                {
                    "path": vault.path,
                    "device": this.name,
                    "schema": schema.name,
                    "version": schema.version,
                    "release": schema.release(schema.version),
                    "platform": schema.platform,
                    "counts": counts,
                    "remote": now.remote,
                    "auto_sync": now.auto_sync,
                    "last_sync_ms": now.last_sync_ms,
                    "mirrors": [mirror.remote for mirror in now.mirrors],
                    "pending": now.pending,
                    "quarantined": now.quarantined,
                    "checkpoint_ms": now.checkpoint_ms,
                    "devices": len(vault.devices),
                }
            )
            return
        heading(f"{session.path}, on “{line(this.name)}”")
        shown, flagged = counts["shown"], counts["flagged"]
        rows = [
            ("Seen by", f"{schema.name} {schema.release(schema.version)} on {words.platforms([schema.platform])}"),
            ("Entries", f"{shown:,} shown" + (f", {flagged:,} of them in part" if flagged else "")),
        ]
        more = [f"{counts[name]:,} {words}" for name, words in _COUNTED if counts[name]]
        if more:
            rows.append(("", ", ".join(more)))
        rows.append(("Devices", f"{len(vault.devices)}"))
        if now.remote is None:
            rows.append(("Sync", "not connected; `vaultsync connect` names a folder"))
        else:
            rows.append(("Sync", line(shown_address(now.remote))))
            rows += [("", f"mirror: {line(shown_address(mirror.remote))}") for mirror in now.mirrors]
            waiting = f"{now.pending:,} changes to send" if now.pending else "nothing to send"
            rows.append(("", f"{waiting}; automatic sync is {'on' if now.auto_sync else 'off'}"))
            if last := ago(now.last_sync_ms, now.taken_ms):
                rows.append(("", f"last synced {last} ago"))
        if now.quarantined:
            rows.append(("", f"{now.quarantined:,} objects from there were refused"))
        pairs(rows)


_COUNTED: Final = (
    ("hidden", "hidden"),
    ("archived", "archived"),
    ("trash", "in the trash"),
)


@on_vault()
def notices(session: Session, json: Json = False) -> None:
    """Say what cannot be shown here, and what would show it."""
    with session.opened() as vault:
        found = vault.view().notices
        if not json:
            for notice in found:
                say(line(str(notice)))
            if not found:
                say("Nothing to say: this device shows everything.")
            return
        print_json(
            [
                {
                    "kind": notice.kind.value,
                    "count": notice.count,
                    "text": str(notice),
                    "parts": [
                        {
                            "count": part.count,
                            "type": part.type,
                            "type_label": part.type_label,
                            "field": part.field,
                            "field_label": part.field_label,
                            "reason": str(getattr(part.reason, "value", part.reason)),
                            "versions": list(part.versions) if part.versions else None,
                            "platforms": sorted(part.platforms),
                            "devices": list(part.devices),
                            "text": part.text,
                        }
                        for part in notice.parts
                    ],
                }
                for notice in found
            ]
        )


@on_vault()
def devices(session: Session, json: Json = False) -> None:
    """List your devices: what they run, when they were heard from."""
    with session.opened() as vault:
        found = vault.devices
        if json:
            print_json(
                [
                    {
                        "id": one.id,
                        "name": one.name,
                        "this": one.this,
                        "app": one.app,
                        "version": one.version,
                        "release": one.release,
                        "platform": one.platform,
                        "heard": iso(one.heard_ms),
                    }
                    for one in found
                ]
            )
            return
        rows = []
        for one in found:
            release = one.release or (f"version {one.version}" if one.version else "—")
            heard = "this device" if one.this else moment(one.heard_ms) if one.heard_ms else "not yet"
            rows.append(
                (
                    line(one.name),
                    line(release),
                    words.platforms([one.platform]) if one.platform else "—",
                    heard,
                    one.id[:8],
                )
            )
        table(("Device", "Release", "Platform", "Heard from", "Id"), rows)


@on_vault()
def doctor(
    session: Session,
    heal: Annotated[
        bool, typer.Option("--heal", help="Put a whole file in the place of a damaged one, with what the remote holds.")
    ] = False,
    json: Json = False,
) -> None:
    """Examine the vault's file, and whether its remote answers.

    Every page and every seal. Exit status 1 when not all is well. With --heal a damaged file is made anew from what
    can be read of it and from the remote; the damaged one is moved aside. Close the vault in other programs first.
    """
    if heal:
        healed = session.heal()
        if json:
            print_json({"healed": True, "entries": healed.entries, "lost": list(healed.lost), "aside": healed.aside})
        else:
            say(line(str(healed)))
        return
    try:
        with session.opened() as vault:
            with working("Examining the file"):
                health = vault.check()
            lost, whole, details = list(health.lost), list(health.whole), list(health.details)
            remote, checkpoint_ms = _remote_answers(vault), vault.status.checkpoint_ms
            drift = [str(one) for one in vault.drift] if not lost else []
    except DamagedStore:  # too much for opening it: what can be told without its key
        from vaultsync.vault.health import examine_file

        health = examine_file(session.path)
        lost, whole, details = list(health.lost), list(health.whole), list(health.details)
        remote, drift, checkpoint_ms = {"address": None, "answers": None, "message": ""}, [], None
    healthy = not lost and remote["answers"] is not False
    if json:
        print_json(
            {
                "healthy": healthy,
                "lost": lost,
                "whole": whole,
                "details": details,
                "remote": remote,
                "drift": drift,
                "checkpoint_ms": checkpoint_ms,
            }
        )
    else:
        heading("The vault's file is damaged." if lost else "The vault's file is whole.")
        for text in lost:
            say(f"  lost: {line(text)}")
        for text in whole:
            say(f"  whole: {line(text)}")
        if remote["answers"]:
            say(f"The remote {line(remote['address'])} answers.")
            say(_last_checkpoint(checkpoint_ms))
        elif remote["address"]:
            say(f"The remote does not answer: {line(remote['message'])}.")
        for text in drift:
            say(f"Schema: {line(text)}")
        if lost:
            say("`vaultsync doctor --heal` makes it whole again, with what another device or the remote has.")
    if not healthy:
        raise typer.Exit(1)


def _last_checkpoint(then_ms: int | None) -> str:
    """When a new device would begin with what."""
    since = ago(then_ms, int(time.time() * 1000))
    return f"The last checkpoint was verified {since} ago." if since else "No checkpoint was needed yet."


def _remote_answers(vault: vs.Vault) -> dict[str, Any]:
    url = vault.status.remote
    if url is None:
        return {"address": None, "answers": None, "message": ""}
    try:
        vault.probe()
    except (RemoteError, StoreFailed, UnsupportedRemote) as error:
        return {"address": url, "answers": False, "message": str(error)}
    return {"address": url, "answers": True, "message": ""}


# ---- parts ----------------------------------------------------------------------------------------------------------
def _url(given: str | None) -> str:
    return address(given or "")


def _refuse_existing(session: Session) -> None:
    """Before anything is asked for."""
    if os.path.lexists(session.path):
        raise VaultExists(f"there is a file at {session.path} already: choose another path, or use that vault")
    folder = Path(session.path).absolute().parent
    if not folder.is_dir():
        raise StoreFailed(f"there is no folder {folder} to put the vault in")
    if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise StoreFailed(f"the folder {folder} is not writable: the vault cannot be put there")


def _counts(vault: vs.Vault) -> dict[str, int]:
    view = vault.view()
    return {
        "shown": len(view),
        "flagged": sum(entry.status.value == "flagged" for entry in view),
        "hidden": len(view.hidden),
        "archived": len(view.archived),
        "trash": len(view.trash),
        "counted": view.counted,
    }


def _print_notices(vault: vs.Vault) -> None:
    for notice in vault.view().notices:
        note(line(str(notice)))


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
    if report.entries:
        _print_notices(vault)


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


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "create": create,
    "join": join,
    "connect": connect,
    "sync": sync,
    "status": status,
    "notices": notices,
    "devices": devices,
    "doctor": doctor,
}

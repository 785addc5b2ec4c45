"""Commands that say how a vault stands: what it holds, who shares it, what cannot be shown, whether it is well."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

import vaultsync as vs
from vaultsync.cli.output import heading, iso, line, note, pairs, print_json, say, table, told, warn, working
from vaultsync.cli.session import Json, Session, on_vault
from vaultsync.errors import DamagedStore, RemoteError, StoreFailed, UnsupportedRemote
from vaultsync.remote.address import masked
from vaultsync.view import words

__all__ = ["COMMANDS", "counts", "tell_notices"]

_COUNTED: Final = (("hidden", "hidden"), ("archived", "archived"), ("trash", "in the trash"))


def counts(vault: vs.Vault) -> dict[str, int]:
    """How many entries there are of which status."""
    view = vault.view()
    return {
        "shown": len(view),
        "flagged": sum(entry.status.value == "flagged" for entry in view),
        "hidden": len(view.hidden),
        "archived": len(view.archived),
        "trash": len(view.trash),
        "counted": view.counted,
    }


@on_vault()
def status(session: Session, json: Json = False) -> None:
    """Say what the vault holds, how syncing stands, and what there is to look at."""
    with session.opened() as vault:
        now, late = vault.status, _late(vault)
        if json:
            print_json(_status_json(vault, now, late))
            return
        heading(f"{session.path}, on “{line(vault.devices[0].name)}”")
        pairs([*_contents(vault), *_others(now), *_syncing(now)])
        for text in _to_look_at(now, late):
            warn(text)


def _status_json(vault: vs.Vault, now: vs.SyncStatus, late: dict[str, int]) -> dict[str, Any]:
    schema = vault.schema
    return {
        "path": vault.path,
        "device": vault.devices[0].name,
        "schema": schema.name,
        "version": schema.version,
        "release": schema.release(schema.version),
        "platform": schema.platform,
        "counts": counts(vault),
        "remote": now.remote,
        "auto_sync": now.auto_sync,
        "last_sync_ms": now.last_sync_ms,
        "mirrors": [mirror.remote for mirror in now.mirrors],
        "moved_to": now.moved_to,
        "pending": now.pending,
        "waiting": [str(one) for one in now.waiting],
        "quarantined": now.quarantined,
        "findings": [str(one) for one in now.findings],
        "late_edits": late,
        "needs_rotation": now.needs_rotation,
        "checkpoint_ms": now.checkpoint_ms,
        "devices": len(now.devices) + 1,
    }


def _contents(vault: vs.Vault) -> list[tuple[str, str]]:
    schema, found = vault.schema, counts(vault)
    shown, flagged = found["shown"], found["flagged"]
    parts = [f"{shown:,} shown" + (f" ({flagged:,} of them in part)" if flagged else "")]
    parts += [f"{found[name]:,} {text}" for name, text in _COUNTED if found[name]]
    return [
        ("Seen by", f"{schema.name} {schema.release(schema.version)} on {words.platforms([schema.platform])}"),
        ("Entries", ", ".join(parts)),
    ]


def _others(now: vs.SyncStatus) -> list[tuple[str, str]]:
    rows = [f"{len(now.devices) + 1}, with this one", *(line(one.sentence(now.taken_ms)) for one in now.devices)]
    return [("Devices" if i == 0 else "", text) for i, text in enumerate(rows)]


def _syncing(now: vs.SyncStatus) -> list[tuple[str, str]]:
    if now.remote is None:
        return [("Sync", "not connected: `vaultsync connect` names a folder, a relay or a store")]
    waiting = f"{words.count(now.pending, 'change')} to send" if now.pending else "nothing to send"
    last = words.ago(now.last_sync_ms, now.taken_ms)
    rows = [
        line(masked(now.remote)),
        *(f"mirror: {line(masked(mirror.remote))}" for mirror in now.mirrors),
        f"{waiting}; {f'last synced {last} ago' if last else 'not synced yet'}; "
        f"automatic sync is {'on' if now.auto_sync else 'off'}",
    ]
    return [("Sync" if i == 0 else "", text) for i, text in enumerate(rows)]


def _late(vault: vs.Vault) -> dict[str, int]:
    """Names of removed devices, and how many edits of theirs arrived late."""
    return {one.name: len(one.late_edits) for one in vault.revocations if one.late_edits}


def _to_look_at(now: vs.SyncStatus, late: dict[str, int]) -> list[str]:
    """What a person has to decide or should know."""
    found = [str(finding) for finding in now.findings]
    if now.moved_to is not None:
        found.append(f"the vault moved to {masked(now.moved_to)}, which this device cannot reach")
    if now.quarantined:
        found.append(f"{words.count(now.quarantined, 'object')} from the remote were refused: not of your devices")
    if now.needs_rotation:
        found.append(
            "devices were removed in two places at once: `vaultsync rotate` makes sure that none of them reads on"
        )
    found += [
        f"{words.count(count, 'edit')} of “{line(name)}” arrived after it was removed: `vaultsync revoked` lists them"
        for name, count in late.items()
    ]
    return found


def tell_notices(vault: vs.Vault) -> None:
    """What cannot be shown here, beside a result."""
    for notice in vault.view().notices:
        note(line(str(notice)))


@on_vault()
def notices(session: Session, json: Json = False) -> None:
    """Say what cannot be shown here, and what would show it."""
    with session.opened() as vault:
        found = vault.view().notices
        if not json:
            for notice in found:
                _say_notice(notice)
            if not found:
                schema = vault.schema
                release = f"{schema.name} {schema.release(schema.version)}"
                say(f"Nothing to say: {line(release)} on {words.platforms([schema.platform])} shows everything.")
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


def _say_notice(notice: vs.Notice) -> None:
    """A part a line, where there are several."""
    head, colon, _ = str(notice).partition(": ")
    if len(notice.parts) < 2 or not colon:
        told(line(str(notice)))
        return
    say(line(head) + ":")
    for part in notice.parts:
        told(line(part.text), indent=2)


@on_vault()
def devices(session: Session, json: Json = False) -> None:
    """List your devices: what they run, when they were last heard from."""
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
                        "arrived": one.arrived,
                    }
                    for one in found
                ]
            )
            return
        now_ms = int(time.time() * 1000)
        rows = []
        for one in found:
            release = one.release or (f"version {one.version}" if one.version else "—")
            where = words.platforms([one.platform]) if one.platform else "—"
            rows.append((line(one.name), line(release), where, _heard(one, now_ms), one.id[:8]))
        table(("Device", "Release", "Platform", "Last heard from", "Id"), rows)


def _heard(device: vs.DeviceInfo, now_ms: int) -> str:
    if device.this:
        return "this device"
    if device.heard_ms is None:
        return "not yet" if device.arrived else "never arrived"
    since = words.ago(device.heard_ms, now_ms)
    return f"{since} ago" if since else "by a clock that is off"


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
        with session.opened(examined=False) as vault:
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
        elif remote["address"] is None:
            say("It is connected to no remote: this file is the only copy that this device knows of.")
        else:
            say(
                f"The remote does not answer: {line(remote['message'])}{'' if remote['message'][-1:] in '.?!' else '.'}"
            )
        for text in drift:
            say(f"Schema: {line(text)}")
        if lost:
            say("`vaultsync doctor --heal` makes it whole again, with what another device or the remote has.")
    if not healthy:
        raise typer.Exit(1)


def _last_checkpoint(then_ms: int | None) -> str:
    """When a new device would begin with what."""
    since = words.ago(then_ms, int(time.time() * 1000))
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


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "status": status,
    "notices": notices,
    "devices": devices,
    "doctor": doctor,
}

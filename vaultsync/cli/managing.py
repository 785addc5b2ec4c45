"""Commands about who and what opens a vault: removing a device, other passwords, another recovery code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

import vaultsync as vs
from vaultsync.cli import asking
from vaultsync.cli.finding import every, short_ids
from vaultsync.cli.output import heading, iso, line, moment, note, print_json, say, table, told, warn, working
from vaultsync.cli.session import Json, Session, on_vault
from vaultsync.errors import UsageError
from vaultsync.view import words

__all__ = ["COMMANDS"]

_MOST_LISTED: Final = 50
_SHORTEST: Final = 4
_NOT_HEARD: Final = "the remote did not answer: the others hear of it when this device syncs"

_DeviceArgument = Annotated[
    str | None,
    typer.Argument(metavar="DEVICE", help="Its name, or the beginning of its id (`vaultsync devices`)."),
]
_CodeFile = Annotated[
    str | None,
    typer.Option(
        "--code-file",
        metavar="FILE",
        help="Read the recovery code from a file's first line. Also: VAULTSYNC_CODE.",
        show_default=False,
    ),
]
_AccountPassword = Annotated[
    str | None,
    typer.Option(
        "--account-password-file",
        metavar="FILE",
        help="The password that joining takes, where it is not this file's. Also: VAULTSYNC_ACCOUNT_PASSWORD.",
        show_default=False,
    ),
]


# ---- devices --------------------------------------------------------------------------------------------------------
@on_vault("device")
def revoke(
    session: Session,
    device: _DeviceArgument = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you are sure.")] = False,
    code_file: _CodeFile = None,
    account_password_file: _AccountPassword = None,
    json: Json = False,
) -> None:
    """Remove one of your devices, a lost one say.

    It cannot read what is written from now on, and what it writes is not accepted any more. What it has read it keeps:
    the list of secrets that are to be changed is shown. Takes the password and the recovery code.
    """
    if not yes and not asking.can_ask():
        raise UsageError("there is no terminal to ask on whether you are sure: add --yes")
    with session.opened() as vault:
        gone = _device(vault, device or "")
        if not yes and not asking.confirm(f"Remove “{line(gone.name)}” from the vault for good?"):
            say("Nothing was changed.")
            raise typer.Exit(1)
        code = asking.recovery_code(code_file)
        password = asking.account_password(account_password_file, session.password_file)
        with working("Removing the device"):
            made = vault.revoke(gone, password=password, code=code)
        if json:
            print_json(_revocation_json(made))
            return
        say(f"“{line(made.name)}” is none of your devices any more.")
        if not made.published:
            warn(_NOT_HEARD)
        _show(made, vault)
        note("A folder or store that it had access to goes on letting it in there: change that password, too.")


@on_vault()
def revoked(
    session: Session,
    undo: Annotated[
        str | None,
        typer.Option("--undo", metavar="DEVICE", help="Take the last edits of that device back.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Say of removed devices which secrets they could read, and which of their last edits to look at."""
    with session.editing() as vault:
        found = vault.revocations
        if undo is not None:
            late = _named(found, undo).late_edits
            left = vault.undo(late)
            say(f"{words.count(len(late) - len(left), 'edit')} taken back.")
            if left:
                note(f"{words.count(len(left), 'edit')} left as they are: changed again since, or not editable here.")
            return
        if json:
            print_json([_revocation_json(one) for one in found])
            return
        if not found:
            say("No device was removed from this vault.")
        for one in found:
            heading(f"{line(one.name)}{f', removed {moment(one.heard_ms)}' if one.heard_ms else ''}")
            _show(one, vault)


@on_vault()
def rotate(
    session: Session,
    code_file: _CodeFile = None,
    account_password_file: _AccountPassword = None,
    json: Json = False,
) -> None:
    """Begin a new key for the devices there are, when `vaultsync status` asks for it.

    It does after devices were removed in two places at once: each of them may have been given the other one's key.
    """
    with session.opened() as vault:
        if not vault.status.needs_rotation:
            if json:
                print_json({"rotated": False, "published": True})
            else:
                say("Nothing to do: no removed device has the key that is written with now.")
            return
        code = asking.recovery_code(code_file)
        password = asking.account_password(account_password_file, session.password_file)
        with working("Beginning a new key"):
            published = vault.rotate(password=password, code=code)
        if json:
            print_json({"rotated": True, "published": published})
            return
        say("A new key has begun: no removed device reads what is written from now on.")
        if not published:
            warn(_NOT_HEARD)


def _device(vault: vs.Vault, wanted: str) -> vs.DeviceInfo:
    others = [one for one in vault.devices if not one.this]
    found = [one for one in others if one.name == wanted] or [
        one for one in others if len(wanted) >= _SHORTEST and one.id.startswith(wanted.lower())
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{len(found)} devices are called {wanted[:40]!r}: give the beginning of the id")
    if any(one.this and wanted in (one.name, one.id) for one in vault.devices):
        raise UsageError("this is the device itself: remove it on another one of your devices")
    known = ", ".join(f"“{line(one.name)}”" for one in others) or "none but this one"
    raise UsageError(f"there is no device {wanted[:40]!r}; your other devices: {known}")


def _named(found: tuple[vs.Revocation, ...], wanted: str) -> vs.Revocation:
    fit = [one for one in found if one.name == wanted] or [
        one for one in found if len(wanted) >= _SHORTEST and one.device_id.startswith(wanted.lower())
    ]
    if len(fit) != 1:
        raise UsageError(f"{'no' if not fit else 'more than one'} removed device is called {wanted[:40]!r}")
    return fit[0]


def _show(made: vs.Revocation, vault: vs.Vault) -> None:
    short = short_ids(entry.id for entry in every(vault.view()))
    exposed = made.exposed
    if exposed:
        total = sum(len(one.fields) for one in exposed)
        say(f"It could read {words.count(total, 'secret')} that {'is' if total == 1 else 'are'} still in use. Change:")
        rows = [(line(one.entry.title or "—", 60), line(", ".join(one.fields)), short[one.entry.id]) for one in exposed]
        table(("Title", "Secrets", "Id"), rows[:_MOST_LISTED])
        if len(rows) > _MOST_LISTED:
            note(f"{_MOST_LISTED} of {len(rows):,}, the newest: --json lists all of them.")
    else:
        say("It could read no secret that is still in use.")
    if made.late_edits:
        say("Its last edits, which arrived here late:")
        table(
            ("When", "What", "Entry", "Fields"),
            [
                (
                    moment(late.revision.time),
                    late.revision.event,
                    short.get(late.entry_id, late.entry_id),
                    line(", ".join(late.revision.fields)),
                )
                for late in made.late_edits[:_MOST_LISTED]
            ],
        )
        note(f"Take them back with: vaultsync revoked --undo {made.device_id[:8]}")


def _revocation_json(made: vs.Revocation) -> dict[str, Any]:
    return {
        "device": made.device_id,
        "name": made.name,
        "heard": iso(made.heard_ms),
        "published": made.published,
        "exposed": [
            {"entry": one.entry.id, "title": one.entry.title, "fields": list(one.fields)} for one in made.exposed
        ],
        "late_edits": [
            {
                "entry": late.entry_id,
                "revision": late.revision.id,
                "event": late.revision.event,
                "time": iso(late.revision.time),
                "fields": list(late.revision.fields),
            }
            for late in made.late_edits
        ],
    }


# ---- passwords ------------------------------------------------------------------------------------------------------
@on_vault()
def password(
    session: Session,
    new_password_file: Annotated[
        str | None,
        typer.Option(
            "--new-password-file",
            metavar="FILE",
            help="Read the new password from a file's first line. Also: VAULTSYNC_NEW_PASSWORD.",
            show_default=False,
        ),
    ] = None,
    account: Annotated[
        bool, typer.Option("--account", help="Also for joining with the recovery code, which it then takes.")
    ] = False,
    leaked: Annotated[
        bool, typer.Option("--leaked", help="Somebody knows the old one: replace the recovery code as well.")
    ] = False,
    code_file: _CodeFile = None,
    json: Json = False,
) -> None:
    """Change the password.

    Alone: the one that opens the vault's file on this device. With --account also the one that lets devices join. With
    --leaked everything that the old one and the recovery code gave power over is replaced: you get a new code.
    """
    old = session.password()
    with_code = account or leaked
    code = asking.recovery_code(code_file) if with_code else None
    new = asking.another_password(new_password_file)
    with session.opened_by(old) as vault:
        with working("Deriving keys, sealing everything anew"):
            done = vault.change_password(old, new, code=code, leaked=leaked)
        if json:
            print_json(
                {
                    "file": done.file,
                    "account": done.account,
                    "published": done.published,
                    "recovery_code": done.recovery_code,
                }
            )
        else:
            told(str(done))
            if not done.account:
                note(f"With the code: vaultsync password {session.path} --account")
            if done.recovery_code is not None:
                _show_code(done.recovery_code)
        if done.recovery_code is not None:
            vault.recovery_code_seen()


@on_vault()
def recovery(
    session: Session,
    code_file: _CodeFile = None,
    account_password_file: _AccountPassword = None,
    json: Json = False,
) -> None:
    """Make a new recovery code; the old one has no power from then on.

    Takes the password and the old code. A code that was made and never shown, because the machine stopped, is shown.
    """
    with session.opened() as vault:
        fresh = vault.unseen_recovery_code
        if fresh is None:
            code = asking.recovery_code(code_file)
            account = asking.account_password(account_password_file, session.password_file)
            with working("Replacing the account"):
                fresh = vault.renew_recovery_code(account, code)
        if json:
            print_json({"recovery_code": fresh})
        else:
            _show_code(fresh)
        vault.recovery_code_seen()


def _show_code(code: str) -> None:
    say("Your new recovery code:")
    say()
    heading(f"    {code}")
    say()
    say("Write it down and keep it safe. The old one lets nobody in any more; this one is not shown again.")


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "revoke": revoke,
    "revoked": revoked,
    "rotate": rotate,
    "password": password,
    "recovery": recovery,
}

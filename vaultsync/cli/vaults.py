"""Commands that make a vault, and make a device one of a vault's."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

import vaultsync as vs
from vaultsync.cli import asking
from vaultsync.cli.output import heading, line, note, print_json, say, working
from vaultsync.cli.pairing import InvitationOption, join_invited
from vaultsync.cli.session import Json, Misused, Session, closing, on_vault
from vaultsync.cli.standing import counts, tell_notices
from vaultsync.cli.syncing import Address, address_of
from vaultsync.errors import StoreFailed, VaultExists
from vaultsync.view import words

__all__ = ["COMMANDS"]

_Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="What to call this device; its host name if left out."),
]


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
        say()
        note(
            f"Next: `vaultsync import {session.path} FILE` brings your entries in, `vaultsync connect {session.path} "
            "FOLDER` syncs them with your other devices."
        )


@on_vault("address", new=True, unless="invitation")
def join(
    session: Session,
    address: Address = None,
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
    url = address_of(address) if address else None
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
            print_json({"path": vault.path, "device": name, "remote": vault.status.remote, "counts": counts(vault)})
            return
        say(f"{session.path} is on this device now, as “{line(name)}”: {words.count(len(view), 'entry')} shown.")
        tell_notices(vault)


def _join_by_code(session: Session, url: str | None, code_file: str | None, device: str | None) -> vs.Vault:
    code = asking.recovery_code(code_file)
    password = asking.password(session.password_file)
    with working("Joining: deriving keys, fetching everything") as tell:
        return vs.Vault.join(
            session.path,
            url,
            schema=session.schema,
            password=password,
            code=code,
            device=_device_name(device),
            preview=lambda view: tell(f"{words.count(len(view), 'entry')} to show; verifying who wrote what"),
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


# ---- parts ----------------------------------------------------------------------------------------------------------
def _refuse_existing(session: Session) -> None:
    """Before anything is asked for."""
    if os.path.lexists(session.path):
        raise VaultExists(f"there is a file at {session.path} already: choose another path, or use that vault")
    folder = Path(session.path).absolute().parent
    if not folder.is_dir():
        raise StoreFailed(f"there is no folder {folder} to put the vault in")
    if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise StoreFailed(f"the folder {folder} is not writable: the vault cannot be put there")


COMMANDS: Final[dict[str, Callable[..., None]]] = {"create": create, "join": join}

"""``vaultsync invite`` and the newcomer's half of it, ``vaultsync join --invitation``: people compare six digits."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

import vaultsync as vs
from vaultsync.cli import asking
from vaultsync.cli.output import heading, line, note, say, warn, working
from vaultsync.cli.session import Session, on_vault, sync_quietly
from vaultsync.errors import ExtraMissing, PairingFailed, RemoteUnavailable, StoreFailed, UsageError

__all__ = ["COMMANDS", "InvitationOption", "join_invited"]

PATIENCE: Final = 120.0
"""Seconds that ``invite`` waits, after the device was let in, to hear that it has everything."""

InvitationOption = Annotated[
    str | None,
    typer.Option(
        "--invitation",
        metavar="TEXT",
        help="What `vaultsync invite` shows on one of your devices: the text, @FILE to read it from a file, - to be "
        "asked for it. ADDRESS is then only needed where the folder has another place here.",
        show_default=False,
    ),
]


@on_vault()
def invite(
    session: Session,
    minutes: Annotated[int, typer.Option("--minutes", metavar="N", help="How long it is valid.")] = 15,
    svg: Annotated[
        str | None,
        typer.Option("--svg", metavar="FILE", help="Write the QR code to a file, too.", show_default=False),
    ] = None,
) -> None:
    """Let another of your devices in, by QR code or text.

    It waits for the device and shows its name and six digits; you compare them with those on the device and say yes.
    """
    if not asking.can_ask():
        raise UsageError("there is no terminal to ask on whether the digits are the same: run it on one")
    with session.opened() as vault, vault.invite(valid_minutes=minutes) as pairing:
        _show(pairing, svg)
        note(f"It is valid for {minutes} minutes, for one device. Leave this running.")
        with working("Waiting for the device"):
            stage = _until(pairing, vs.PairingStage.COMPARING)
        if stage is not vs.PairingStage.COMPARING:
            raise PairingFailed(pairing.reason)
        say(f"“{line(pairing.device)}” asks to become one of your devices. It has to show these digits:")
        say()
        heading(f"    {_spaced(pairing.code or '')}")
        say()
        if pairing.contested:
            warn("another device answered the invitation, too")
        sys.stdout.flush()
        if not asking.confirm("Does it show the same, and shall it be let in?"):
            pairing.refuse()
            say("It was not let in.")
            raise typer.Exit(1)
        with working("Letting it in"):
            _approve(pairing)
        with working("Waiting until it has everything"):
            stage = _until(pairing, vs.PairingStage.DONE, seconds=PATIENCE)
        if stage is vs.PairingStage.DONE:
            say(f"“{line(pairing.device)}” has everything now.")
            sync_quietly(vault)  # what it says of itself, so that lists of devices know it
        else:
            say(f"“{line(pairing.device)}” is let in; it did not say yet that it has everything.")


def _show(pairing: vs.Pairing, svg: str | None) -> None:
    if svg is not None:
        try:
            data = pairing.svg().encode("utf-8")
            with open(os.open(svg, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
        except OSError as error:
            raise StoreFailed(f"cannot write {svg}: {error.strerror or error}") from None
    if sys.stdout.isatty():
        try:
            say(pairing.terminal())
        except ExtraMissing as error:
            note(str(error))
    say("Scan it with the new device, or run there:")
    say()
    say(f"vaultsync join VAULT --invitation {pairing.invitation}")
    say()
    sys.stdout.flush()


def _until(pairing: vs.Pairing, wanted: vs.PairingStage, *, seconds: float | None = None) -> vs.PairingStage:
    """Poll until that stage, a failure, or so many seconds later."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        with contextlib.suppress(RemoteUnavailable):  # it comes back, or the invitation runs out
            pairing.poll()
        if pairing.stage in (wanted, vs.PairingStage.FAILED) or (end is not None and time.monotonic() >= end):
            return pairing.stage
        pairing.wait()


def _approve(pairing: vs.Pairing) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return pairing.approve()
        except RemoteUnavailable:
            if time.monotonic() >= end:
                raise
            time.sleep(1.0)


def _spaced(code: str) -> str:
    return f"{code[:3]} {code[3:]}"


# ---- the new device -------------------------------------------------------------------------------------------------
def join_invited(
    session: Session, given: str, url: str | None, device: str, show: Callable[[str], None], **more: Any
) -> vs.Vault:
    """Join by an invitation as it was given on the command line; ``show`` prints the digits."""
    text = _text(given)
    password = asking.new_password(session.password_file)
    if sys.stderr.isatty():
        note("Asking to be let in; leave `vaultsync invite` running on the other device.")

    def show_code(code: str) -> bool:
        show(_spaced(code))
        if not asking.can_ask():
            return True  # nobody here: the person at the other device compares
        return asking.confirm("Does the other device show the same digits?")

    return vs.Vault.join(
        session.path,
        url,
        schema=session.schema,
        password=password,
        invitation=text,
        show_code=show_code,
        device=device,
        background=False,
        **more,
    )


def _text(given: str) -> str:
    if given.startswith("@"):
        return asking.read_text(given[1:], "the invitation")
    if given != "-":
        return given
    if asking.can_ask():
        return asking.ask("the invitation", hidden=False, instead="use --invitation @FILE")
    return asking.read_text("-", "the invitation")


COMMANDS: Final[dict[str, Callable[..., None]]] = {"invite": invite}

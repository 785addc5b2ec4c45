"""Secrets that a person hands to a command: from a prompt, an environment variable or a file. Never an argument, which
other users of the machine can see and the shell remembers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vaultsync.errors import UsageError, WrongCode
from vaultsync.limits import MAX_VALUE_BYTES

__all__ = [
    "PASSWORD_VARIABLE",
    "account_password",
    "another_password",
    "ask",
    "can_ask",
    "confirm",
    "must_ask",
    "new_password",
    "password",
    "read_text",
    "recovery_code",
]

PASSWORD_VARIABLE = "VAULTSYNC_PASSWORD"  # noqa: S105
NEW_PASSWORD_VARIABLE = "VAULTSYNC_NEW_PASSWORD"  # noqa: S105
ACCOUNT_PASSWORD_VARIABLE = "VAULTSYNC_ACCOUNT_PASSWORD"  # noqa: S105
CODE_VARIABLE = "VAULTSYNC_CODE"
_NO_TERMINAL = "there is no terminal to ask for {what} on: {instead}"


def can_ask() -> bool:
    """Whether there is a person to ask: a terminal, even when input comes from a pipe."""
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True


def ask(what: str, *, hidden: bool, instead: str) -> str:
    """Ask on the terminal. Raises ``UsageError``, saying what to do ``instead``, when there is none."""
    if not can_ask():
        raise UsageError(_NO_TERMINAL.format(what=what, instead=instead))
    prompt = f"{what[:1].upper()}{what[1:]}: "
    try:
        if hidden:
            import getpass

            return getpass.getpass(prompt)
        sys.stderr.write(prompt)
        sys.stderr.flush()
        if sys.stdin.isatty():
            return input()
        with open("/dev/tty", encoding="utf-8") as terminal:
            return terminal.readline().rstrip("\n")
    except EOFError:
        sys.stderr.write("\n")
        raise UsageError(f"{what} was not given") from None


def confirm(question: str) -> bool:
    """Yes or no; no without a terminal."""
    if not can_ask():
        return False
    return ask(f"{question} [y/N]", hidden=False, instead="").strip().lower() in ("y", "yes")


def read_text(path: str, what: str) -> str:
    """A file's text, ``-`` for standard input. Raises ``UsageError`` naming the file, never its contents."""
    try:
        data = sys.stdin.buffer.read(MAX_VALUE_BYTES + 1) if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {what} from {path}: {error.strerror or error}") from None
    if len(data) > MAX_VALUE_BYTES:
        raise UsageError(f"cannot read {what} from {path}: it has more than {MAX_VALUE_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"cannot read {what} from {path}: it is not UTF-8 text") from None


def first_line(path: str, what: str) -> str:
    """The first line of a file that holds one secret."""
    line = read_text(path, what).split("\n", 1)[0].rstrip("\r")
    if not line:
        raise UsageError(f"cannot read {what} from {path}: its first line is empty")
    return line


def password(file: str | None) -> str:
    """The vault's password: file, environment, prompt."""
    instead = f"set {PASSWORD_VARIABLE} or use --password-file FILE"
    return _given(file, PASSWORD_VARIABLE, "the password") or _not_empty(
        ask("password", hidden=True, instead=instead), "the password"
    )


def new_password(file: str | None) -> str:
    """A password for a new vault; one that is typed is typed twice."""
    if (given := _given(file, PASSWORD_VARIABLE, "the password")) is not None:
        return given
    instead = f"set {PASSWORD_VARIABLE} or use --password-file FILE"
    first = _not_empty(ask("new password", hidden=True, instead=instead), "the password")
    if ask("the same again", hidden=True, instead=instead) != first:
        raise UsageError("the two passwords are not the same; nothing was made")
    return first


def another_password(file: str | None) -> str:
    """What a password is changed to; one that is typed is typed twice."""
    if (given := _given(file, NEW_PASSWORD_VARIABLE, "the new password")) is not None:
        return given
    instead = f"set {NEW_PASSWORD_VARIABLE} or use --new-password-file FILE"
    first = _not_empty(ask("new password", hidden=True, instead=instead), "the new password")
    if ask("the same again", hidden=True, instead=instead) != first:
        raise UsageError("the two passwords are not the same; nothing was changed")
    return first


def account_password(file: str | None, own: str | None) -> str:
    """The password that joining takes: given for itself, else that of the vault's file where it was given, else
    asked for. ``own`` is the file with the latter."""
    what = "the account's password"
    if (given := _given(file, ACCOUNT_PASSWORD_VARIABLE, what)) is not None:
        return given
    if not must_ask(own):
        return password(own)
    instead = f"set {ACCOUNT_PASSWORD_VARIABLE} or use --account-password-file FILE"
    return _not_empty(ask("password that joining takes", hidden=True, instead=instead), what)


def recovery_code(file: str | None) -> str:
    """The recovery code of a vault: file, environment, prompt."""
    if (given := _given(file, CODE_VARIABLE, "the recovery code")) is not None:
        return given
    instead = f"set {CODE_VARIABLE} or use --code-file FILE"
    typed = ask("recovery code", hidden=False, instead=instead).strip()
    if not typed:
        raise WrongCode("no recovery code was given; `vaultsync create` showed it when the vault was made")
    return typed


def must_ask(file: str | None) -> bool:
    """Whether the password will have to be typed."""
    return file is None and PASSWORD_VARIABLE not in os.environ


def _given(file: str | None, variable: str, what: str) -> str | None:
    if file is not None:
        return first_line(file, what)
    if (value := os.environ.get(variable)) is not None:
        return _not_empty(value, f"{variable} is set, but {what}")
    return None


def _not_empty(value: str, what: str) -> str:
    if not value:
        raise UsageError(f"{what} is empty")
    return value

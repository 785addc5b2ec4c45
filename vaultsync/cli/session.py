"""What every command on a vault shares: which vault, at which release, opened with which password, and syncing after an
edit.

A command that begins with ``@on_vault`` gets a `Session` and, in its help, the options that make one.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

import vaultsync as vs
from vaultsync.cli import asking
from vaultsync.cli.output import warn, working
from vaultsync.errors import RemoteError, SchemaError, StoreBusy, UsageError, WrongPassword

__all__ = [
    "EntriesArgument",
    "EntryArgument",
    "FieldsArgument",
    "Json",
    "Misused",
    "Reveal",
    "Session",
    "VaultArgument",
    "on_vault",
    "sync_quietly",
    "sync_with_progress",
]

VAULT_VARIABLE: Final = "VAULTSYNC_VAULT"
SQLITE: Final = b"SQLite format 3\0"
DAMAGED: Final = (
    "the vault's file is damaged. What is shown was read whole, other parts cannot be. `vaultsync doctor` tells what "
    "is lost, `vaultsync doctor --heal` makes the file whole again."
)
PATIENCE: Final = 15.0
"""Seconds that a command waits, after an edit, for a remote that does not answer."""

VaultArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="VAULT", help=f"The vault's file. Left out when {VAULT_VARIABLE} is set.", show_default=False
    ),
]
EntryArgument = Annotated[
    str | None,
    typer.Argument(metavar="ENTRY", help="Its id, the beginning of its id, or its exact title.", show_default=False),
]
_FIELDS_HELP: Final = (
    "What to write: [bold]title=GitHub[/] sets a field, [bold]title=[/] clears it, [bold]password[/] alone is asked "
    "for (hidden: safest for secrets), [bold]notes@=FILE[/] reads a file (- for standard input), "
    "[bold]tags+=home[/] and [bold]tags-=work[/] change tags and lists, [bold]urls=a urls=b[/] writes a whole list, "
    "[bold]tags=home,work[/] all tags. Flags take yes or no, instants 2027-01-31 or 2027-01-31T09:00+01:00."
)
FieldsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="FIELD=VALUE", help=_FIELDS_HELP, show_default=False)
]
EntriesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ENTRY", help="Ids, beginnings of ids, or exact titles.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show secrets.")]
_PASSWORD = Annotated[
    str | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help=f"Read the password from a file's first line (- is standard input). Also: {asking.PASSWORD_VARIABLE}.",
        rich_help_panel="Opening",
        show_default=False,
    ),
]
_SCHEMA = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="MODULE:NAME",
        envvar="VAULTSYNC_SCHEMA",
        help="Your application's schema instead of the built-in one for passwords.",
        rich_help_panel="Opening",
        show_default=False,
    ),
]
_VERSION = Annotated[
    int | None,
    typer.Option(
        "--schema-version",
        metavar="N",
        envvar="VAULTSYNC_SCHEMA_VERSION",
        help="Be an older release of the application.",
        rich_help_panel="Opening",
        show_default=False,
    ),
]
_PLATFORM = Annotated[
    str | None,
    typer.Option(
        "--platform",
        metavar="P",
        envvar="VAULTSYNC_PLATFORM",
        help="Be on another platform: windows, macos, linux, android, ios, web.",
        rich_help_panel="Opening",
        show_default=False,
    ),
]
_COMMON: Final = {
    "password_file": _PASSWORD,
    "schema": _SCHEMA,
    "schema_version": _VERSION,
    "platform": _PLATFORM,
}


class Misused(UsageError):
    """The command was not written as its help says; exit status 2."""


@dataclass(frozen=True)
class Session:
    """One command on one vault."""

    path: str
    schema: vs.Schema
    password_file: str | None = None
    extra: dict[str, Any] | None = None
    """For tests: further arguments of `Vault.open`, `create` and `join`."""

    def password(self) -> str:
        return asking.password(self.password_file)

    @property
    def more(self) -> dict[str, Any]:
        return (self.extra or EXTRA) | {"app": "vaultsync command line"}

    @contextmanager
    def opened(self, *, examined: bool = True) -> Iterator[vs.Vault]:
        """The vault, closed at the end. Raises what `Vault.open` does.

        Reading goes without the document, so most commands work on a damaged file as well: that it is damaged is said
        when the command is done (``examined``, for commands that do not say it themselves).
        """
        key = self._remembered()
        if key is None and (not os.path.lexists(self.path) or asking.must_ask(self.password_file)):
            self._look()
        password = self.password() if key is None else None
        with self.opened_by(password, key) as vault:
            yield vault
            if examined and not vault.check(quick=True).ok:
                warn(DAMAGED)

    @contextmanager
    def opened_by(self, password: str | None, key: bytes | None = None) -> Iterator[vs.Vault]:
        """The same with what it opens by."""
        with working("Unlocking"):
            vault = vs.Vault.open(
                self.path, schema=self.schema, password=password, key=key, background=False, **self.more
            )
        with closing(vault):
            yield vault

    def heal(self) -> vs.Healed:
        """Put a whole file in the place of a damaged one. Raises what `Vault.heal` does."""
        key = self._remembered()
        password = self.password() if key is None else None
        more = {name: value for name, value in self.more.items() if name in ("environment", "opener")}
        with working("Healing the file"):
            return vs.Vault.heal(self.path, password=password, key=key, **more)

    def _remembered(self) -> bytes | None:
        """The key from the system's keyring, where `vaultsync remember` put one and no password is at hand."""
        if not asking.must_ask(self.password_file) or not os.path.lexists(self.path):
            return None
        with contextlib.suppress(vs.UsageError):  # no keyring, or a locked one: the password is asked for
            return vs.keyring_key(self.path)
        return None

    def _look(self) -> None:
        """Say that a file is no vault, or damaged, before a person types a password for it. No key derivation."""
        with contextlib.suppress(WrongPassword):
            vs.Vault.open(self.path, schema=self.schema, key=bytes(32), background=False, **self.more).close()

    @contextmanager
    def editing(self) -> Iterator[vs.Vault]:
        """The same, and synced once afterwards when the vault is connected and automatic sync is on."""
        with self.opened() as vault:
            yield vault
            sync_quietly(vault)


EXTRA: dict[str, Any] = {}
"""What tests hand to every vault that a command opens; empty in earnest."""


@contextmanager
def closing(vault: vs.Vault) -> Iterator[vs.Vault]:
    """Close the vault unless a sync of it hangs: what was edited is durable already."""
    try:
        yield vault
    finally:
        if not any(thread.name == _SYNC_THREAD and thread.is_alive() for thread in threading.enumerate()):
            vault.close()


_SYNC_THREAD: Final = "vaultsync-command-sync"


def sync_quietly(vault: vs.Vault, *, patience: float = PATIENCE) -> vs.SyncReport | None:
    """Push and pull once; a remote that is away, or hangs, is a warning: the next command goes on from there.

    ``patience``: seconds without progress before it is given up.
    """
    status = vault.status
    if status.remote is None or not status.auto_sync:
        return None
    try:
        return sync_with_progress(vault, patience=patience)
    except (RemoteError, StoreBusy) as error:
        warn(f"saved here, but not synced: {error}")
        return None


def sync_with_progress(vault: vs.Vault, *, patience: float | None = None) -> vs.SyncReport:
    """`Vault.sync`, showing how far it is. With ``patience`` it is given up after so many seconds without progress.

    Raises what `Vault.sync` does, and `RemoteError` when it was given up.
    """
    alive, done = threading.Event(), threading.Event()
    reports: list[vs.SyncReport] = []
    errors: list[BaseException] = []

    with working("Syncing") as tell:

        def progress(now: vs.Progress) -> None:
            alive.set()
            tell(f"Syncing: {now.sent:,} sent, {now.received:,} received")

        def run() -> None:
            try:
                reports.append(vault.sync(progress=progress))
            except BaseException as error:  # handed to the thread that waits for it
                errors.append(error)
            finally:
                done.set()
                alive.set()

        if patience is None:
            return vault.sync(progress=progress)
        threading.Thread(target=run, name=_SYNC_THREAD, daemon=True).start()
        while not done.is_set():
            if not alive.wait(patience):
                raise RemoteError(f"the remote did not answer for {patience:.0f} seconds; sync again later")
            alive.clear()
            done.wait(0.01)
    if errors:
        raise errors[0]
    return reports[0]


# ---- from arguments to a session -------------------------------------------------------------------------------------
def on_vault(
    *words: str, new: bool = False, unless: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command out of ``function(session, …)``: adds the argument VAULT and the options that open one.

    ``words`` names the arguments after VAULT, in order; the last one may take several. ``new``: the file need not be
    there. ``unless`` names the option beside which the words may be left out. Where VAULTSYNC_VAULT is set, VAULT is
    left out and the words move up.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        _, *own = signature.parameters.values()
        vault = inspect.Parameter("vault", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=VaultArgument)
        common = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in _COMMON.items()
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        several = words[-1] if words and "list" in str(signature.parameters[words[-1]].annotation) else None

        def command(**given: Any) -> None:
            schema = load_schema(given.pop("schema"), given.pop("schema_version"), given.pop("platform"))
            password_file = given.pop("password_file")
            spare = unless is not None and given[unless] is not None
            path = _arrange(given, words, several, new, spare)
            function(Session(path, schema, password_file), **given)

        parameters = [vault, *own, *common]
        command.__name__ = function.__name__
        command.__doc__ = function.__doc__
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def _arrange(given: dict[str, Any], words: tuple[str, ...], several: str | None, new: bool, spare: bool = False) -> str:
    """Take the vault's path out of the arguments, and put the others where they belong."""
    fixed = [word for word in words if word != several]
    values: list[str] = [value for name in ("vault", *fixed) if (value := given.pop(name)) is not None]
    if several is not None:
        values += given.pop(several) or []
    path = os.environ.get(VAULT_VARIABLE)
    if path is None or _begins_with_vault(values, fixed, several, new):
        if not values:
            raise Misused(f"which vault? Give its file as the first argument, or set {VAULT_VARIABLE}")
        path = values.pop(0)
    for word in fixed:
        if not values and not spare:
            raise Misused(f"{word.upper()} is missing{_WHERE.get(word, '')}")
        given[word] = values.pop(0) if values else None
    if several is not None:
        given[several] = values
    elif values:
        raise Misused(f"one argument too many: with {VAULT_VARIABLE} set, the vault's file is left out")
    return path


_WHERE: Final = {
    "entry": ": `vaultsync list` shows them",
    "type": ": `vaultsync schema` shows them",
    "device": ": `vaultsync devices` lists them",
    "address": ": the folder, relay or store that your devices share",
}


def _begins_with_vault(values: list[str], fixed: list[str], several: str | None, new: bool) -> bool:
    """With the variable set: whether the first argument names another vault all the same."""
    if several is None:
        return len(values) > len(fixed)
    if len(values) <= len(fixed) or new:
        return False
    try:
        with open(values[0], "rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False


def load_schema(place: str | None, version: int | None, platform: str | None) -> vs.Schema:
    """The schema to open a vault with, at a version and platform. Raises `SchemaError`, `UsageError`."""
    if place is None:
        from vaultsync.presets.passwords import passwords

        schema = passwords()
    else:
        schema = _imported(place)
    if version is not None and not 1 <= version <= schema.version:
        raise SchemaError(f"the schema {schema.name!r} has versions 1 to {schema.version}, not {version}")
    if version is None and platform is None:
        return schema
    return schema.at(schema.version if version is None else version, platform)


def _imported(place: str) -> vs.Schema:
    module_name, _, name = place.partition(":")
    if not module_name or not name:
        raise UsageError("--schema takes MODULE:NAME, such as myapp.schema:SCHEMA")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        raise UsageError(f"--schema {place}: there is no module {error.name!r}") from None
    except AttributeError:
        raise UsageError(f"--schema {place}: the module {module_name!r} has no {name!r}") from None
    schema = found() if callable(found) else found
    if not isinstance(schema, vs.Schema):
        raise UsageError(f"--schema {place}: that is no vaultsync.Schema")
    return schema

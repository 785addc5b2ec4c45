"""The commands put together, and the one place where an error becomes a sentence and an exit status.

0 done, 1 it could not be done, 2 the command was not written as its help says, 130 interrupted.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vaultsync.cli import (
    demo_command,
    editing,
    files,
    managing,
    pairing,
    relay_command,
    remembering,
    schema_command,
    seeing,
    standing,
    syncing,
    upgrading,
    vaults,
)
from vaultsync.cli.output import error, note, say, warnings_told
from vaultsync.cli.session import Misused
from vaultsync.errors import DamagedStore, VaultSyncError

__all__ = ["app", "run"]

_DEBUG = "--debug"


class _Commands(TyperGroup):
    """Turns whatever a command raises into a sentence on stderr."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)  # in the order in which a person needs them

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **__: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        sys.exit(self._run(words))

    def _run(self, words: list[str]) -> int:
        before = words[: words.index("--")] if "--" in words else words
        debug = _DEBUG in before
        if debug:
            words.remove(_DEBUG)
        try:
            with warnings_told():
                status = super().main(words, "vaultsync", standalone_mode=False)
            return status if isinstance(status, int) else 0
        except SystemExit as exit:  # a pipe that was closed
            return exit.code if isinstance(exit.code, int) else 1
        except (KeyboardInterrupt, typer.Abort):
            sys.stderr.write("\n")
            return 130
        except Exception as problem:
            if debug:
                traceback.print_exc()
            return _explained(problem, words)


def _explained(problem: Exception, words: list[str]) -> int:
    """Say what went wrong; returns the exit status."""
    match problem:
        case typer.TyperException():
            error(_sentence(problem.format_message()))
            status = int(problem.exit_code)
        case Misused():
            error(_sentence(str(problem)))
            status = 2
        case DamagedStore():
            error(_sentence(str(problem)) + " `vaultsync doctor` tells what is lost and what is whole.")
            status = 1
        case VaultSyncError():
            error(_sentence(str(problem)))
            status = 1
        case OSError():
            where = f"{problem.filename}: " if problem.filename else ""
            error(_sentence(f"{where}{problem.strerror or type(problem).__name__}"))
            status = 1
        case _:
            error(
                f"something went wrong inside VaultSync ({type(problem).__name__}). What was saved is safe; "
                "run it again with --debug to see where, and please report it."
            )
            status = 1
    if status == 2:
        command = next((word for word in words if word in _NAMES), None)
        note(f"See: vaultsync {command} --help" if command else "See: vaultsync --help")
    return status


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return "it could not be done."
    first, *rest = text.split("\n")
    if not rest and first[-1] not in ".!?:…":
        first += "."
    return "\n".join([first, *rest])


app = typer.Typer(
    cls=_Commands,
    name="vaultsync",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _reflowed(text: str | None) -> str:
    """A docstring as help: every paragraph one line, which the terminal breaks where it ends."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _version(wanted: bool) -> None:
    if wanted:
        from vaultsync import __version__

        say(f"vaultsync {__version__}")
        raise typer.Exit


_HELP = """One encrypted vault on all of a person's devices, across different versions of an application.

See it first: [bold]vaultsync demo[/]. Then: [bold]vaultsync create ann.vault[/], [bold]vaultsync import ann.vault
export.json[/], [bold]vaultsync connect ann.vault ~/Sync/ann[/], and on the next device [bold]vaultsync join
ann.vault ~/Sync/ann[/].

The vault's file is the first argument of every command; set VAULTSYNC_VAULT to leave it out. The password is asked
for, or taken from VAULTSYNC_PASSWORD or --password-file.
"""


@app.callback(invoke_without_command=True, help=_reflowed(_HELP))
def main(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show where an error came from (anywhere on the line).")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """The group itself: only its help is of interest."""
    if context.invoked_subcommand is None:
        if text := context.get_help():
            say(text)
        raise typer.Exit


for _panel, _module in (
    ("Vaults and syncing", vaults),
    ("Vaults and syncing", syncing),
    ("Vaults and syncing", standing),
    ("Devices and passwords", pairing),
    ("Devices and passwords", managing),
    ("Devices and passwords", remembering),
    ("Entries", seeing),
    ("Entries", editing),
    ("In and out", files),
    ("Servers", relay_command),
    ("Versions", upgrading),
    ("Versions", schema_command),
    ("See it work", demo_command),
):
    for _name, _function in _module.COMMANDS.items():
        app.command(_name, help=_reflowed(_function.__doc__), rich_help_panel=_panel)(_function)
_MODULES = (
    vaults,
    syncing,
    standing,
    pairing,
    managing,
    remembering,
    seeing,
    editing,
    files,
    relay_command,
    upgrading,
    schema_command,
    demo_command,
)
_NAMES = frozenset(name for module in _MODULES for name in module.COMMANDS)


def run(words: Sequence[str]) -> int:
    """Run one command line; returns the exit status."""
    try:
        app(list(words), prog_name="vaultsync")
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(bool(exit.code))
    return 0

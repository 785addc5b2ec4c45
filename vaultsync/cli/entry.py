"""The entry point of the command ``vaultsync``: runs it, or says what to install so that it can run."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

_NEEDED = ("typer", "rich")
_MISSING = (
    'The command line needs the extra "cli", which is not installed ({name} is missing): pip install "vaultsync[cli]"'
)


def main() -> int:
    """Run the command line with this process's arguments; returns the exit status."""
    try:
        from vaultsync.cli.app import run
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _NEEDED:
            raise
        sys.stderr.write(_MISSING.format(name=name) + "\n")
        return 1
    except KeyboardInterrupt:
        return 130
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status

"""The entry point of the command ``vaultsync``: runs it, or says what to install so that it can run."""

from __future__ import annotations

import importlib.util
import os
import sys

__all__ = ["main"]

_NEEDED = ("typer", "rich")
_MISSING = (
    'The command line needs the extra "cli", which is not installed ({name} is missing): pip install "vaultsync[cli]"'
)


def main() -> int:
    """Run the command line with this process's arguments; returns the exit status."""
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            sys.stderr.write(_MISSING.format(name=name) + "\n")
            return 1
    try:
        from vaultsync.cli.app import run
    except KeyboardInterrupt:
        return 130
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status

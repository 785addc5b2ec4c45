"""The command that shows it all: ``vaultsync demo``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

__all__ = ["COMMANDS"]


def demo(
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="DIR", help="Leave the vaults and the folder here, to look around in.", show_default=False
        ),
    ] = None,
) -> None:
    """Two devices at different releases share one vault: a story of fifteen seconds, no key pressed.

    Everything happens in a temporary folder that is removed at the end, with real vaults, real encryption and a real
    folder between them. What you see is read from the two vaults.
    """
    from vaultsync.cli.demo import run_demo

    run_demo(keep)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"demo": demo}

"""The command line: the library's API for a person at a terminal and for scripts.

::

    entry ----> app ----> vaults, seeing, editing, files, demo      the commands
                              |
                              v
                           session -> asking, fields, finding       what they share; `output` is how everything looks

Nothing here decides anything about vaults. Importing this package loads neither Typer nor Rich: ``entry`` says which
extra brings them when they are missing.
"""

from __future__ import annotations

__all__: list[str] = []

"""``python -m vaultsync`` is the command ``vaultsync``."""

from __future__ import annotations

import sys

from vaultsync.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())

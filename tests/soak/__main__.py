"""Ten devices for ten minutes, killed and held at random like the remote between them; then all must be equal, and
every edit that was acknowledged must be there.

    python -m tests.soak [--devices 10] [--seconds 600] [--remote folder|relay] [--seed X] [--keep]

``--seed`` repeats what is done when; processes take their own time, so a run is alike and not the same.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.world import FolderPlace, RelayPlace, Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--remote", choices=["folder", "relay"], default="relay")
    parser.add_argument("--pause", type=float, default=0.6, help="seconds between two edits of one device, on average")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--keep", action="store_true", help="leave the folder of the run")
    options = parser.parse_args()
    path = Path(tempfile.mkdtemp(prefix="vaultsync-soak-"))
    print(f"seed {options.seed}, in {path}", flush=True)
    place = RelayPlace(path) if options.remote == "relay" else FolderPlace(path)
    soak = Soak(path, options.devices, options.seconds, options.seed, place, options.pause)
    try:
        for what, value in soak.run().items():
            print(f"{what:16} {value}")
    except AssertionError as error:
        print(f"FAILED: {error}\nthe run is in {path}", file=sys.stderr)
        return 1
    if not options.keep:
        shutil.rmtree(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

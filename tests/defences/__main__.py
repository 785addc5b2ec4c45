"""Take each defence away on purpose, and see the tests turn red::

    python -m tests.defences                 # every defence: a table
    python -m tests.defences signature       # those whose name holds a word

The package is copied, one passage replaced, and the tests that should notice run against the copy. A defence that
nobody misses is a failure of the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.defences.catalogue import DEFENCES, Defence

ROOT = Path(__file__).parents[2]


def broken_copy(folder: Path, defence: Defence) -> None:
    for part in ("vaultsync", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    path = folder / "vaultsync" / defence.file
    source = path.read_text()
    if source.count(defence.old) != 1:
        raise SystemExit(f"{defence.name}: {defence.file} holds its passage {source.count(defence.old)} times")
    path.write_text(source.replace(defence.old, defence.new))


def missed(defence: Defence) -> str:
    """The first test that fails without it, or nothing."""
    with tempfile.TemporaryDirectory(prefix="vaultsync-defence-") as name:
        folder = Path(name)
        broken_copy(folder, defence)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "--no-header",
            "-p",
            "no:cacheprovider",
            *defence.tests.split(),
        ]
        environment = {**os.environ, "PYTHONPATH": name, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        found = re.search(r"^(?:FAILED|ERROR) (?:\S*/)?(\S+)", done.stdout, re.M)
        return found[1] if found and done.returncode == 1 else ""


def main() -> int:
    words = sys.argv[1:]
    chosen = [defence for defence in DEFENCES if not words or any(word in defence.name for word in words)]
    print("| without | turns red | seconds |\n|---|---|--:|", flush=True)
    unnoticed = 0
    for defence in chosen:
        started = time.monotonic()
        test = missed(defence)
        unnoticed += not test
        print(
            f"| {defence.name} | {f'`{test}`' if test else '**nothing**'} | {time.monotonic() - started:.0f} |",
            flush=True,
        )
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())

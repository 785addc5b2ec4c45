"""Fuzz every parser of outside bytes, guided by coverage (needs ``pip install atheris``; Linux)::

    python -m tests.fuzz                              # every target, 1,000,000 inputs each
    python -m tests.fuzz envelope-body --runs 50000   # one of them
    python -m tests.fuzz --list

Each target runs in a process of its own, from its seeds and the kept corpus. What ends it is printed and kept as
``crash-<target>`` in the current folder; run a single input again with ``--input FILE``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import corpus

RUNS = 1_000_000
SECONDS = 3_600


def child(name: str, runs: int, folder: str) -> None:
    """In a process of its own: instrument, then fuzz; never returns."""
    import atheris

    with atheris.instrument_imports(include=["vaultsync"]):
        from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    for number, seed in enumerate([*target.seeds(), *corpus.load(name)]):
        (Path(folder) / f"seed-{number}").write_bytes(seed)
    longest = max((len(seed) for seed in target.seeds()), default=64)
    options = [f"-runs={runs}", f"-max_len={min(4096, longest * 2 + 64)}", "-rss_limit_mb=2048", "-timeout=20"]
    options += [f"-max_total_time={SECONDS}", f"-artifact_prefix={folder}/crash-", "-print_final_stats=1", folder]
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


def fuzz(name: str, runs: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="vaultsync-fuzz-") as folder:
        started = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz", name, "--runs", str(runs), "--child", folder]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        seconds = time.monotonic() - started
        executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        crashes = [path for path in Path(folder).iterdir() if path.name.startswith("crash-")]
        found = [path.read_bytes() for path in Path(folder).iterdir() if not path.name.startswith("crash-")]
        fine = done.returncode == 0 and not crashes
        kept = corpus.keep(name, found) if fine else 0
        count = int(executed[1]) if executed else 0
        verdict = "nothing found" if fine else "FAILED"
        print(f"| {name} | {count:,} | {seconds:,.0f} s | {len(found)} | {kept} | {verdict} |", flush=True)
        if not fine:
            print("\n".join(done.stderr.splitlines()[-40:]))
            for path in crashes[:1]:
                Path(f"crash-{name}").write_bytes(path.read_bytes())
        return fine


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--input", type=Path, help="run one target on the bytes of a file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.child:
        child(said.targets[0], said.runs, said.child)
    from tests.fuzz.targets import TARGETS

    if said.list:
        print("\n".join(TARGETS))
        return 0
    if unknown := [name for name in said.targets if name not in TARGETS]:
        parser.error(f"no target {unknown[0]!r}; --list names them")
    if said.input:
        TARGETS[said.targets[0]](said.input.read_bytes())
        return 0
    print("| target | inputs | time | corpus | kept | |\n|---|--:|--:|--:|--:|---|", flush=True)
    failed = [name for name in said.targets or TARGETS if not fuzz(name, said.runs)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

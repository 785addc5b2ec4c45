"""``python -m benchmarks``: measure VaultSync and its peers in one run, and write what came out."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import machine, peers, report
from benchmarks.runner import Results, Runner, fsync_ms
from benchmarks.workload import SEED

OPERATIONS = "A,B,C,D,E,F,G,H"


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--n", default="1000,10000,100000", help="numbers of entries (default: %(default)s)")
    parser.add_argument("--peers", default=",".join(peers.NAMES), help="default: %(default)s")
    parser.add_argument("--operations", default=OPERATIONS, help="default: %(default)s; memory comes with B, C and D")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each operation; medians are reported")
    parser.add_argument("--edits", type=int, default=200, help="single edits that D and E take the mean of")
    parser.add_argument("--many", type=int, default=1000, help="edits that travel together in F")
    parser.add_argument("--budget", type=float, default=300, help="seconds that one run may take (default: 300)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--folder", type=Path, help="where the vaults lie meanwhile (default: the temporary files)")
    parser.add_argument("--out", type=Path, help="write the report there, the figures and plots beside it")
    parser.add_argument("--again", type=Path, metavar="JSON", help="write the report from figures measured before")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """The command."""
    arguments = _arguments(given)
    if arguments.again:
        results = Results.from_json(arguments.again.read_text())
    else:
        results = _measure(arguments)
    text = report.markdown(results)
    print(text)
    if arguments.out:
        report.write(results, text, arguments.out)
    return 0


def _measure(arguments: argparse.Namespace) -> Results:
    names = arguments.peers.split(",")
    unknown = [name for name in names if name not in peers.NAMES]
    if unknown:
        raise SystemExit(f"no peer {', '.join(unknown)}; there are {', '.join(peers.NAMES)}")
    operations = arguments.operations.upper().split(",")
    if not set(operations) <= set(OPERATIONS):
        raise SystemExit(f"operations are {OPERATIONS}")
    results = Results([int(n) for n in arguments.n.split(",")], names)
    folder = Path(tempfile.mkdtemp(prefix="vaultsync-benchmark-", dir=arguments.folder))

    def say(line: str) -> None:
        """A run takes half an hour: what was measured so far is kept, for ``--again``."""
        print(line, file=sys.stderr, flush=True)
        if arguments.out:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.with_suffix(".json").write_text(results.to_json(), encoding="utf-8")

    try:
        results.facts = machine.facts(repeat=arguments.repeat, seed=arguments.seed)
        results.facts["fsync_ms"] = fsync_ms(folder)
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".fsync-") as disk:
            results.facts["disk_fsync_ms"] = fsync_ms(Path(disk))
        results.facts["command"] = " ".join(["python -m benchmarks", *sys.argv[1:]])
        for name in names:
            if not peers.available(name):
                peer = peers.load(name)
                results.facts.setdefault("peers", {})[name] = [peer.title, peers.versions(peer), peer.note]
        runner = Runner(
            results,
            folder,
            seed=arguments.seed,
            edits=arguments.edits,
            many=arguments.many,
            repeat=arguments.repeat,
            budget=arguments.budget,
            say=say,
        )
        runner.run(operations)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


if __name__ == "__main__":
    raise SystemExit(main())

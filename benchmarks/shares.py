"""Where the time goes: each operation once under Python's profiler, by the part of the library that it is spent in.

::

    python -m benchmarks.shares --n 100000 --out benchmarks/RESULTS.md

A profiler slows Python down and what is written in C or Rust hardly: the shares of the engine, SQLite and cryptography
are larger than they look here, those of many small calls smaller. For times see `benchmarks.report`.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from benchmarks import peers, sections, workload
from benchmarks.child import OPERATIONS_RUN, Clock
from benchmarks.peers.vaultsync_peer import open_vault
from vaultsync.document.engine import Engine
from vaultsync.document.inspector import inspect
from vaultsync.document.rows import pack_rows

__all__ = ["Profiled", "apart", "measure", "shares"]

SHOWN: Final = ("B", "C", "D", "E", "F", "G verified")
"""Parts of operations, as the clock calls them."""
_LAYERS: Final = ("view", "schema", "document", "crypto", "store", "sync", "remote", "vault", "relay", "importers")
_NATIVE: Final = (
    ("sqlite3.", "SQLite"),
    ("builtins.Document", "the engine (Rust)"),
    ("_hashlib", "cryptography"),
    ("_hmac", "cryptography"),
    ("hazmat", "cryptography"),
    ("mlkem", "cryptography"),
    ("zlib", "deflate"),
    ("msgpack", "msgpack"),
    ("_msgpack", "msgpack"),
    ("_thread.lock", "waiting for another process"),
    ("select", "waiting for another process"),
    ("_queue", "waiting for another process"),
    ("posix.", "files"),
    ("_io.", "files"),
)
_Function = tuple[str, int, str]


class Profiled(Clock):
    """A clock that profiles what lies between its two looks."""

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, cProfile.Profile] = {}
        self._within = False

    def begin(self, name: str) -> Callable[[], None]:
        """See `Clock.begin`. Of parts that lie in one another the outermost is profiled."""
        end = super().begin(name)
        if self._within:
            return end
        profile = self.profiles.setdefault(name, cProfile.Profile())
        self._within = True
        profile.enable()

        def stop() -> None:
            profile.disable()
            self._within = False
            end()

        return stop


def shares(profile: cProfile.Profile) -> Counter[str]:
    """Seconds by part of the library; what belongs to none counts for whoever called it."""
    found: Counter[str] = Counter()
    stats: dict[_Function, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for function, (_, _, own, _, callers) in stats.items():
        place = _place(function)
        if place is not None:
            found[place] += own
            continue
        for caller, (_, _, spent, _) in callers.items():
            found[_place(caller) or "the rest of Python"] += spent
        if not callers:
            found["the rest of Python"] += own
    return found


def _place(function: _Function) -> str | None:
    path, _, name = function
    for start, place in _NATIVE:
        if path == "~" and start in name:
            return place
    if "cryptography" in path:
        return "cryptography"
    parts = Path(path).parts
    if "vaultsync" in parts:
        layer = parts[len(parts) - 1 - parts[::-1].index("vaultsync") + 1]
        return f"`{layer}`" if layer in _LAYERS else "the rest of Python"
    return None


def measure(n: int, folder: Path) -> dict[str, Counter[str]]:
    """The shares of every part of `SHOWN`, on a vault of ``n`` entries in ``folder``."""
    peer = peers.load(peers.VAULTSYNC)
    base, joined, scratch = folder / "base", folder / "joined", folder / "scratch"
    for each in (base, joined):
        each.mkdir()
    spec: dict[str, Any] = {"n": n, "seed": workload.SEED, "folder": str(base), "into": str(joined)}
    spec |= {"edits": 50, "many": 1_000}
    clock = Profiled()
    spec |= OPERATIONS_RUN["A"](peer, spec, clock)
    OPERATIONS_RUN["B"](peer, spec, Clock())  # the first opening after an import writes down what it finds
    for operation in ("B", "C"):
        OPERATIONS_RUN[operation](peer, spec, clock)
    OPERATIONS_RUN["publish"](peer, spec, Clock())
    OPERATIONS_RUN["G"](peer, spec, _without(clock, "G"))
    for operation in ("D", "E", "F"):
        shutil.copytree(base, scratch / "a")
        shutil.copytree(joined, scratch / "b")
        moved = spec | {"folder": str(scratch / "a"), "into": str(scratch / "b")}
        OPERATIONS_RUN[operation](peer, moved, clock)
        shutil.rmtree(scratch)
    return {part: shares(clock.profiles[part]) for part in SHOWN if part in clock.profiles}


def _without(clock: Profiled, part: str) -> Clock:
    """A clock that does not profile that part, so that the one around it is."""

    class Other(Clock):
        def begin(self, name: str) -> Callable[[], None]:
            return super().begin(name) if name == part else clock.begin(name)

    return Other()


def apart(folder: Path) -> dict[str, float]:
    """Seconds of processor time that the process needs which verifies a checkpoint, step by step; not profiled."""
    vault = open_vault(folder / "base")
    document = vault._ledger.engine.save()
    vault.close()

    def took(action: Callable[[], object]) -> float:
        began = time.process_time()
        action()
        return time.process_time() - began

    engine = Engine.load(document)
    loading = took(lambda: inspect(document, gate=False, own=True))
    return {
        "loading the document": loading,
        "reading every entry and handing it over": took(lambda: list(pack_rows(engine.read_all()))),
        "every change through the gate": took(lambda: inspect(document, gate=True, own=True)) - loading,
        "making the document again and comparing": took(lambda: inspect(document, gate=False)) - loading,
    }


def table(found: dict[str, Counter[str]], steps: dict[str, float]) -> str:
    """Per cent of each part of an operation; and the steps of verifying."""
    places = sorted({place for shares_ in found.values() for place in shares_}, key=lambda place: -_most(found, place))
    lines = ["| per cent | " + " | ".join(found) + " |", "|---|" + "--:|" * len(found)]
    for place in places:
        cells = [f"{100 * shares_[place] / (sum(shares_.values()) or 1):.0f}" for shares_ in found.values()]
        if any(cell != "0" for cell in cells):
            lines.append(f"| {place} | " + " | ".join("" if cell == "0" else cell for cell in cells) + " |")
    lines += ["", "What the process does that verifies a checkpoint, beside G (seconds of processor time):", ""]
    lines += [f"* {step}: {seconds:.1f}" for step, seconds in steps.items()]
    return "\n".join(lines)


def _most(found: dict[str, Counter[str]], place: str) -> float:
    return max(shares_[place] / (sum(shares_.values()) or 1) for shares_ in found.values())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shares", description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="number of entries (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the vaults lie meanwhile")
    parser.add_argument("--out", type=Path, help="put the table into this file of results, too")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vaultsync-shares-", dir=arguments.folder))
    try:
        text = table(measure(arguments.n, folder), apart(folder))
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
    print(text)
    if arguments.out:
        command = f"`python -m benchmarks.shares --n {arguments.n}`"
        head = f"## Where the time goes, N = {arguments.n:,}"
        sections.put(arguments.out, "shares", f"{head}\n\n{text}\n\nTo repeat: {command}")


if __name__ == "__main__":
    main()

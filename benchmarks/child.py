"""One operation of one peer in a process of its own: ``python -m benchmarks.child '{"peer": …, "operation": …}'``.

Prints one line of JSON. What is measured is the time between two looks at the clock around the operation itself;
interpreter start and imports lie before, the check that what was read is what was written lies after, and memory is
looked at in between.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks import workload

__all__ = ["OPERATIONS_RUN", "Clock", "main"]

ENOUGH = 20.0
"""Seconds after which D stops early, with fewer edits: for peers that write everything at every edit."""


class Clock:
    """Wall and processor time of named parts, in ms."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    @contextmanager
    def part(self, name: str) -> Any:
        end = self.begin(name)
        yield
        end()

    def begin(self, name: str) -> Callable[[], None]:
        """Begin a part; what is returned ends it."""
        cpu, wall = time.process_time(), time.perf_counter()

        def end() -> None:
            self.wall.setdefault(name, []).append((time.perf_counter() - wall) * 1e3)
            self.cpu.setdefault(name, []).append((time.process_time() - cpu) * 1e3)

        return end

    def summary(self) -> dict[str, Any]:
        """By part: mean, median and number of its times."""
        return {
            name: {
                "ms": _mean(times),
                "median": sorted(times)[len(times) // 2],
                "times": len(times),
                "cpu": _mean(self.cpu[name]),
            }
            for name, times in self.wall.items()
        }


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def peak_mb() -> float:
    """Peak resident memory of this process since it began, MB.

    ``getrusage`` on Linux hands on the peak of the process that started this one if that was larger, so the kernel's
    own account of this address space goes first where there is one.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def spread(ids: list[str], count: int) -> list[str]:
    """``count`` of the ids, evenly spread, beginning anew when there are fewer."""
    step = max(1, len(ids) // count)
    return [ids[number * step % len(ids)] for number in range(count)]


def size_of(folder: Path) -> int:
    """Bytes of a vault's files, without what the benchmark laid beside them."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file() and path.name != "code")


def check(right: bool, what: str) -> None:
    if not right:
        raise SystemExit(f"wrong result: {what}")


# ---- the operations ---------------------------------------------------------------------------------------------
def op_a(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Import everything in one batch, durably."""
    rows = list(workload.vault(spec["n"], spec["seed"]))
    folder = Path(spec["folder"])
    peer.prepare()
    gc.collect()
    with clock.part("A"):
        finish = peer.create(folder, rows)
    memory = peak_mb()
    with clock.part("close"):
        finish()
    return {"digest": workload.digest(rows), "bytes": size_of(folder), "rss": memory}


def op_b(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Cold: a list of everything."""
    with clock.part("B"):
        handle = peer.open(Path(spec["folder"]))
        listed = handle.listing()
    memory = peak_mb()
    check(len(listed) == spec["n"] and len({row.id for row in listed}) == spec["n"], "the list has another length")
    titles = sorted((row.title, row.type) for row in listed)
    expected = sorted((row["title"], row["type"]) for row in workload.vault(spec["n"], spec["seed"]))
    check(titles == expected, "the list shows other titles")
    handle.close()
    return {"rss": memory, "bytes": size_of(Path(spec["folder"]))}  # with what the first list leaves behind


def op_c(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Cold: every value of everything."""
    with clock.part("C"):
        handle = peer.open(Path(spec["folder"]))
        read = handle.read_all()
    memory = peak_mb()
    check(workload.digest(map(handle.row, read)) == spec["digest"], "what was read is not what was written")
    handle.close()
    return {"rss": memory}


def op_d(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Durable edits of one password, the first after a cold open apart."""
    folder = Path(spec["folder"])
    handle = peer.open(folder)
    ids = [row.id for row in handle.listing() if row.type == workload.LOGIN]
    written: dict[str, str] = {}
    for number, entry_id in enumerate(spread(ids, spec["edits"] + 1)):
        written[entry_id] = f"changed {number:06d}"
        with clock.part("D" if number else "D first"):
            handle.edit(entry_id, written[entry_id])
        if sum(clock.wall.get("D", ())) > ENOUGH * 1e3:
            break
    memory = peak_mb()
    handle.close()
    again = peer.open(folder)
    check(all(again.password(entry_id) == password for entry_id, password in written.items()), "an edit is gone")
    again.close()
    return {"rss": memory}


def op_e(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """One edit travels, over and over."""
    pair = peer.pair(Path(spec["folder"]), Path(spec["into"]))
    sizes = []
    for number, entry_id in enumerate(spread(pair.ids(), spec["edits"] + 1)):
        password = f"travels {number:06d}"
        pair.edit(entry_id, password)
        with clock.part("E" if number else "E first"):
            size, shown = pair.travel(entry_id)
        sizes.append(size)
        check(shown == password, "an edit did not arrive")
    pair.close()
    return {"bytes": _mean([float(size) for size in sizes[1:]])}


def op_f(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Many edits travel in one go."""
    pair = peer.pair(Path(spec["folder"]), Path(spec["into"]))
    ids = pair.ids()
    pair.edit(ids[-1], "first")
    pair.travel(ids[-1])  # what is loaded when it is first needed is no part of this
    written: dict[str, str] = {}
    last = ids[0]
    for number, entry_id in enumerate(spread(ids, spec["many"])):
        written[entry_id] = f"offline {number:06d}"
        pair.edit(entry_id, written[entry_id])
        last = entry_id
    with clock.part("F"):
        size, _ = pair.travel(last)
    check(all(pair.password(entry_id) == password for entry_id, password in written.items()), "an edit did not arrive")
    pair.close()
    return {"bytes": size}


def op_publish(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Prepare a remote."""
    with clock.part("publish"):
        peer.publish(Path(spec["folder"]))
    remote = Path(spec["folder"]) / "remote"
    return {"bytes": sum(path.stat().st_size for path in remote.rglob("*") if path.is_file())}


def op_g(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """A new device, from the remote to a list; and to one of which everything is verified."""
    early: list[Any] = []
    readable = clock.begin("G")

    def show(listed: Any) -> None:
        readable()
        early.append([(row.id, row.title, row.type, row.status) for row in listed])

    with clock.part("G verified") if peer.verifies else nullcontext():
        handle = peer.join_showing(Path(spec["folder"]), Path(spec["into"]), show)
        listed = handle.listing()
        if not early:
            show(listed)
    memory = peak_mb()
    check(len(listed) == spec["n"], "the list has another length")
    check(early == [[(row.id, row.title, row.type, row.status) for row in listed]], "the first list was another")
    check(workload.digest(map(handle.row, handle.read_all())) == spec["digest"], "what was read is not what was put")
    handle.close()
    return {"rss": memory}


def op_h(peer: Any, spec: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Bytes on disk after ten edits each on a tenth of the entries."""
    folder = Path(spec["folder"])
    handle = peer.open(folder)
    ids = [row.id for row in handle.listing() if row.type == workload.LOGIN]
    chosen = spread(ids, max(1, spec["n"] // 10))
    with clock.part("H"):
        for number in range(10):
            for entry_id in chosen:
                handle.edit(entry_id, f"{number} {entry_id[-12:]}")
    check(all(handle.password(entry_id).startswith("9 ") for entry_id in chosen), "an edit is gone")
    handle.close()
    return {"bytes": size_of(folder)}


OPERATIONS_RUN: dict[str, Callable[[Any, dict[str, Any], Clock], dict[str, Any]]] = {
    "A": op_a,
    "B": op_b,
    "C": op_c,
    "D": op_d,
    "E": op_e,
    "F": op_f,
    "G": op_g,
    "H": op_h,
    "publish": op_publish,
}


def main(arguments: Iterable[str]) -> None:
    """Run the operation that the first argument describes and print what was measured."""
    spec = json.loads(next(iter(arguments)))
    began = time.perf_counter()
    from benchmarks import peers

    peer = peers.load(spec["peer"])
    imports = (time.perf_counter() - began) * 1e3
    clock = Clock()
    before = peak_mb()
    found = OPERATIONS_RUN[spec["operation"]](peer, spec, clock)
    print(json.dumps({"times": clock.summary(), "imports": imports, "rss_before": before, **found}))


if __name__ == "__main__":
    main(sys.argv[1:])

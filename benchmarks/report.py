"""The report: what was to be reached and what was, every peer's figures, the machine, how to repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import plots, sections
from benchmarks.peers import VAULTSYNC
from benchmarks.runner import Results

__all__ = ["markdown", "write"]

MERGING = ("automerge", "loro", "pycrdt")
"""The peers that merge: what somebody would build on who does not use this library."""
LARGE = 100_000
"""The size that goals in milliseconds and megabytes are stated for."""
OPERATIONS = {
    "A": "import everything in one batch, durably",
    "B": "cold: a list of everything (id, title, type, status)",
    "C": "cold: every value of everything",
    "D": "one password changed, durable; mean of 200",
    "D first": "the first edit after a cold open and a list",
    "E": "one edit travels to the other device and shows there; mean of 200",
    "F": "1,000 edits made offline travel in one go",
    "G": "a new device: from what the remote holds to a readable list",
    "G verified": "the same, until it is known of everything in it who wrote it",
}
_PART_OF = {"D first": "D", "G verified": "G"}


class Goal(NamedTuple):
    """What was to be reached. ``reached`` gives text and verdict, ``None`` when it was not measured."""

    operation: str
    text: str
    reached: Callable[[Results, int], tuple[str, bool] | None]
    large_only: bool = False


# ---- figures ------------------------------------------------------------------------------------------------------
def _time(results: Results, n: int, peer: str, part: str) -> float | None:
    return results.cell(n, peer, _PART_OF.get(part, part)).time(part)


def _best(results: Results, n: int, part: str, names: tuple[str, ...] = MERGING) -> float | None:
    found = [time for name in names if (time := _time(results, n, name, part)) is not None]
    return min(found, default=None)


def _at_most_ms(part: str, most: float) -> Callable[[Results, int], tuple[str, bool] | None]:
    def reached(results: Results, n: int) -> tuple[str, bool] | None:
        ms = _time(results, n, VAULTSYNC, part)
        return None if ms is None else (f"{_ms(ms)} ms", ms <= most)

    return reached


def _at_most_times(
    part: str, factor: float, names: tuple[str, ...]
) -> Callable[[Results, int], tuple[str, bool] | None]:
    def reached(results: Results, n: int) -> tuple[str, bool] | None:
        ms, other = _time(results, n, VAULTSYNC, part), _best(results, n, part, names)
        if ms is None or other is None:
            return None
        ratio = ms / other
        text = f"{ratio:.2f} times" if ratio > 0.5 else f"{1 / ratio:.1f} times faster"
        return f"{text} ({_ms(ms)} to {_ms(other)} ms)", ratio <= factor

    return reached


def _at_most(
    operation: str, name: str, most: float, unit: str, scale: float = 1
) -> Callable[..., tuple[str, bool] | None]:
    def reached(results: Results, n: int) -> tuple[str, bool] | None:
        value = results.cell(n, VAULTSYNC, operation).value(name)
        return None if value is None else (f"{value / scale:,.0f} {unit}", value / scale <= most)

    return reached


GOALS = (
    Goal("A", "at most 1.6 times automerge itself", _at_most_times("A", 1.6, ("automerge",))),
    Goal("B", "at most 70 ms", _at_most_ms("B", 70), large_only=True),
    Goal("B", "20 times faster than the best that merges", _at_most_times("B", 1 / 20, MERGING)),
    Goal("B", "faster than plain sqlite3", _at_most_times("B", 1, ("sqlite",))),
    Goal("B", "at most 120 MB resident", _at_most("B", "rss", 120, "MB"), large_only=True),
    Goal("C", "at most 300 ms", _at_most_ms("C", 300), large_only=True),
    Goal("C", "5 times faster than the best that merges", _at_most_times("C", 1 / 5, MERGING)),
    Goal("D", "at most 1.5 ms", _at_most_ms("D", 1.5)),
    Goal("E", "at most 1.5 ms", _at_most_ms("E", 1.5)),
    Goal("E", "at most 700 bytes", _at_most("E", "bytes", 700, "bytes")),
    Goal("F", "at most 80 ms", _at_most_ms("F", 80)),
    Goal("F", "at most 40,000 bytes", _at_most("F", "bytes", 40_000, "bytes")),
    Goal("G", "at most 1.2 times automerge itself", _at_most_times("G", 1.2, ("automerge",))),
    Goal("H", "at most 60 MB after import and list", _at_most("B", "bytes", 60, "MB", 1e6), large_only=True),
)


# ---- text -----------------------------------------------------------------------------------------------------------
def markdown(results: Results) -> str:
    """The report."""
    return "\n".join([*_head(results), *_goals(results), *_tables(results), *_machine(results)]) + "\n"


def _head(results: Results) -> Iterator[str]:
    yield "# Speed and size beside the peers"
    yield ""
    yield f"One run of `{results.facts['command']}`. Every operation runs in a fresh process of its own on"
    yield "files that are in the page cache; interpreter start, imports and key derivation are left out (see the end),"
    yield "and after every run a digest over all values shows that what was read is what was written. Milliseconds are"
    yield "of this machine; what carries over to another is how many times faster or slower the peers were *in the same"
    yield "run*."
    yield ""
    yield "![time against number of entries](plots/time.svg)"
    yield ""
    yield "![memory and size against number of entries](plots/memory.svg)"
    yield ""
    for operation, words in OPERATIONS.items():
        yield f"* **{operation}**: {words}"
    yield "* **H**: bytes on disk after A and B, and after ten edits each on a tenth of the entries"
    yield "* **M**: peak resident memory of B, C and D"
    yield ""


def _goals(results: Results) -> Iterator[str]:
    yield "## What was to be reached, and what was"
    yield ""
    yield f"The goals are for N = {LARGE:,}; what smaller vaults take stands beside it."
    yield ""
    yield "| | goal | " + " | ".join(f"N = {n:,}" for n in results.sizes) + " |"
    yield "|---|---|" + "---|" * len(results.sizes)
    for goal in GOALS:
        cells = []
        for n in results.sizes:
            found = None if goal.large_only and n != LARGE else goal.reached(results, n)
            verdict = "" if found is None or n != LARGE else " ✓" if found[1] else " ✗"
            cells.append("" if found is None else f"{found[0]}{verdict}")
        if any(cells):
            at = f" (N = {LARGE:,})" if goal.large_only else ""
            yield f"| {goal.operation} | {goal.text}{at} | " + " | ".join(cells) + " |"
    yield ""


def _tables(results: Results) -> Iterator[str]:
    parts = list(OPERATIONS)
    for n in results.sizes:
        yield f"## N = {n:,}"
        yield ""
        yield "| ms | " + " | ".join(parts) + " |"
        yield "|---|" + "--:|" * len(parts)
        for name in results.names:
            cells = [_time_cell(results, n, name, part) for part in parts]
            yield f"| {_title(results, name)} | " + " | ".join(cells) + " |"
        for title, names in (
            ("best that merges", MERGING),
            ("automerge itself", ("automerge",)),
            ("sqlite3", ("sqlite",)),
        ):
            yield f"| *VaultSync to {title}* | " + " | ".join(_ratio(results, n, part, names) for part in parts) + " |"
        yield ""
        yield "| | E bytes | F bytes | H MB | H edited MB | B MB resident | C | D |"
        yield "|---|--:|--:|--:|--:|--:|--:|--:|"
        for name in results.names:
            yield f"| {_title(results, name)} | " + " | ".join(_size_cells(results, n, name)) + " |"
        yield ""
        notes = sorted(
            (f"{_title(results, name)}, {operation}: {cell.note}")
            for (size, name, operation), cell in results.cells.items()
            if size == n and cell.note and cell.note != "does not apply"
        )
        if notes:
            yield from (f"* {note}" for note in notes)
            yield ""


def _time_cell(results: Results, n: int, name: str, part: str) -> str:
    cell = results.cell(n, name, _PART_OF.get(part, part))
    times = cell.times(part, "ms")
    if not times:
        return "" if cell.note == "does not apply" else "—"
    middle, low, high = cell.time(part) or 0.0, min(times), max(times)
    text = _ms(middle)
    if high > 1.1 * low:
        text += f" ({_ms(low)}…{_ms(high)})"
    return f"**{text}**" if name == VAULTSYNC else text


def _ratio(results: Results, n: int, part: str, names: tuple[str, ...]) -> str:
    ours, other = _time(results, n, VAULTSYNC, part), _best(results, n, part, names)
    return "" if ours is None or other is None else f"*{ours / other:.2f}*"


def _size_cells(results: Results, n: int, name: str) -> Iterator[str]:
    for operation in ("E", "F"):
        value = results.cell(n, name, operation).value("bytes")
        yield "" if value is None else f"{value:,.0f}"
    for operation in ("B", "H"):
        value = results.cell(n, name, operation).value("bytes")
        yield "" if value is None else f"{value / 1e6:,.1f}"
    for operation in ("B", "C", "D"):
        value = results.cell(n, name, operation).value("rss")
        yield "" if value is None else f"{value:,.0f}"


def _machine(results: Results) -> Iterator[str]:
    facts = results.facts
    yield "## The machine, the peers, how to repeat"
    yield ""
    yield f"* {facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB; {facts['system']};"
    yield f"  CPython {facts['python']}; {facts['started']}; load before the run {facts['load_before']}; medians of"
    yield f"  {facts['repeat']} runs, in brackets the fastest and the slowest where they differ by more than a tenth;"
    yield "  peers take turns"
    yield f"* left out: starting the interpreter {facts['interpreter_ms']} ms; imports " + ", ".join(
        f"{name} {ms:.0f} ms" for name in results.names if (ms := _imports(results, name)) is not None
    )
    there, disk = facts["fsync_ms"], facts["disk_fsync_ms"]
    yield f"* contained: one durable append (write and fsync of 4 KiB) costs {there:.2f} ms where the vaults lay;"
    yield f"  on this machine's disk it costs {disk:.2f} ms, which a durable edit waits for besides"
    for title, versions, note in facts.get("peers", {}).values():
        yield f"* {title}: {versions + '; ' if versions else ''}{note}"
    yield "* closing after the import, which folds the journal into a snapshot, is no part of A: " + ", ".join(
        f"{_ms(ms)} ms at N = {n:,}" for n in results.sizes if (ms := results.cell(n, VAULTSYNC, "A").time("close"))
    )
    yield "* to repeat: `pip install '.[bench]'`, then `python -m benchmarks --out benchmarks/RESULTS.md` on a machine"
    yield "  that does nothing else; with `--folder` on a file system in memory, what the disk costs is left out"
    yield f"* the workload comes from seed {facts['seed']}: 70% logins (7 fields, one of them two tags), 20% notes"
    yield "  of 500 characters, 10% cards (8 fields)"


def _imports(results: Results, name: str) -> float | None:
    return results.cell(results.sizes[0], name, "B").value("imports")


def _title(results: Results, name: str) -> str:
    found = results.facts.get("peers", {}).get(name)
    return str(found[0]) if found else name


def _ms(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def write(results: Results, text: str, path: Path) -> None:
    """The report, the figures that it was made from, and the plots, beside each other."""
    sections.put(path, "peers", text)
    path.with_suffix(".json").write_text(results.to_json(), encoding="utf-8")
    plots.draw(results, path.parent / "plots", {name: _title(results, name) for name in results.names})

"""Plots of time, memory and size against the number of entries, both axes logarithmic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import NAMES, VAULTSYNC
from benchmarks.runner import Results

__all__ = ["draw"]

_COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#7f7f7f", "#bcbd22")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_Figure = Callable[[int, str], "float | None"]


def draw(results: Results, folder: Path, titles: dict[str, str]) -> None:
    """``time.svg`` and ``memory.svg`` in ``folder``; a word on standard error when matplotlib is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        print("no plots: matplotlib is not installed (pip install '.[bench]')", file=sys.stderr)
        return
    matplotlib.rcParams["svg.hashsalt"] = "vaultsync"  # the same figures give the same file
    folder.mkdir(parents=True, exist_ok=True)

    def time(part: str) -> _Figure:
        return lambda n, name: results.cell(n, name, part[0]).time(part)

    def value(operation: str, what: str, scale: float = 1) -> _Figure:
        def found(n: int, name: str) -> float | None:
            number = results.cell(n, name, operation).value(what)
            return None if number is None else number / scale

        return found

    times: list[tuple[str, str, _Figure]] = [
        ("A  import everything", "ms", time("A")),
        ("B  open and list", "ms", time("B")),
        ("C  open and read everything", "ms", time("C")),
        ("D  one durable edit", "ms", time("D")),
        ("D  the first after a cold open", "ms", time("D first")),
        ("E  one edit travels", "ms", time("E")),
        ("F  1,000 edits travel", "ms", time("F")),
        ("G  a new device, to a list", "ms", time("G")),
    ]
    sizes: list[tuple[str, str, _Figure]] = [
        ("M  open and list", "MB resident at the peak", value("B", "rss")),
        ("M  open and read everything", "MB resident at the peak", value("C", "rss")),
        ("M  edits", "MB resident at the peak", value("D", "rss")),
        ("H  on disk after the import", "MB", value("B", "bytes", 1e6)),
    ]
    _grid(pyplot, results, times, folder / "time.svg", titles, rows=2)
    _grid(pyplot, results, sizes, folder / "memory.svg", titles, rows=1)


def _grid(
    pyplot: Any,
    results: Results,
    panels: Sequence[tuple[str, str, _Figure]],
    path: Path,
    titles: dict[str, str],
    *,
    rows: int,
) -> None:
    columns = len(panels) // rows
    figure, axes = pyplot.subplots(rows, columns, figsize=(4 * columns, 3.4 * rows + 0.6), squeeze=False)
    handles: dict[str, Any] = {}
    for axis, (title, unit, found) in zip(axes.flat, panels, strict=True):
        for name in results.names:
            points = [(n, y) for n in results.sizes if (y := found(n, name)) is not None and y > 0]
            if points:
                ours, number = name == VAULTSYNC, NAMES.index(name)
                (line,) = axis.plot(
                    *zip(*points, strict=True),
                    color=_COLOURS[number],
                    marker=_MARKS[number],
                    markersize=7 if ours else 5,
                    linewidth=3 if ours else 1.4,
                    zorder=3 if ours else 2,
                )
                handles.setdefault(titles[name], line)
        axis.set(xscale="log", yscale="log", title=title, xlabel="entries", ylabel=unit)
        axis.set_xticks(results.sizes, [f"{n:,}" for n in results.sizes])
        axis.minorticks_off()
        axis.grid(True, which="major", color="#dddddd")
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=len(handles), frameon=False)
    figure.tight_layout(rect=(0, 0.06 if rows == 2 else 0.1, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)

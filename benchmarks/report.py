"""The report: what was to be reached and what was, every peer's figures, the machine, how to repeat."""

from __future__ import annotations

from pathlib import Path

from benchmarks.runner import Results

__all__ = ["markdown", "write"]


def markdown(results: Results) -> str:
    """The figures as text."""
    lines = []
    for n in results.sizes:
        lines += ["", f"N = {n:,}"]
        for operation in "ABCDEFGH":
            for name in results.names:
                cell = results.cells.get((n, name, operation))
                if cell is None:
                    continue
                parts = sorted({part for run in cell.runs for part in run["times"]})
                times = "  ".join(
                    f"{part} {cell.time(part):,.2f} (cpu {cell.time(part, 'cpu'):,.2f})" for part in parts
                )
                lines.append(f"  {operation} {name:<10} {times} {cell.note}")
    return "\n".join(lines)


def write(results: Results, text: str, path: Path) -> None:
    path.write_text(text)
    path.with_suffix(".json").write_text(results.to_json())

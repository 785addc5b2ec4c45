"""Running the operations: one child process each, peers in turns, a time budget that is never exceeded silently."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import peers

__all__ = ["Cell", "Results", "Runner", "fsync_ms"]

ROOT = Path(__file__).resolve().parent.parent
COLD = ("B", "C", "D", "G")
ORDER = ("A", "B", "C", "D", "publish", "G", "E", "F", "H")
_NEEDS = {"G": "publish", "E": "G", "F": "G"}


@dataclass
class Cell:
    """One peer, one size, one operation: every run of it, or why there is none."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""

    def times(self, part: str, clock: str) -> list[float]:
        """Of one part of the operation, a number a run; ``clock`` is ``ms`` (wall, mean), ``median`` or ``cpu``."""
        return [run["times"][part][clock] for run in self.runs if part in run["times"]]

    def time(self, part: str, clock: str = "ms") -> float | None:
        """The median run."""
        times = self.times(part, clock)
        return median(times) if times else None

    def value(self, name: str) -> float | None:
        """The median of something else that was measured: ``bytes``, ``rss`` (MB), ``imports`` (ms)."""
        found = [float(run[name]) for run in self.runs if name in run]
        return median(found) if found else None


@dataclass
class Results:
    """Everything that was measured, by (size, peer, operation)."""

    sizes: list[int]
    names: list[str]
    cells: dict[tuple[int, str, str], Cell] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def cell(self, n: int, peer: str, operation: str) -> Cell:
        return self.cells.setdefault((n, peer, operation), Cell())

    def to_json(self) -> str:
        cells = [
            {"n": n, "peer": peer, "operation": operation, "note": cell.note, "runs": cell.runs}
            for (n, peer, operation), cell in self.cells.items()
        ]
        return json.dumps({"facts": self.facts, "sizes": self.sizes, "peers": self.names, "cells": cells}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Results:
        data = json.loads(text)
        made = cls(data["sizes"], data["peers"], facts=data["facts"])
        for cell in data["cells"]:
            made.cells[cell["n"], cell["peer"], cell["operation"]] = Cell(cell["runs"], cell["note"])
        return made


class Runner:
    """Measures into ``results``; what lies on disk is below ``folder`` and removed as it goes."""

    def __init__(
        self,
        results: Results,
        folder: Path,
        *,
        seed: int,
        edits: int,
        many: int,
        repeat: int,
        budget: float,
        say: Callable[[str], None],
    ) -> None:
        self.results = results
        self._folder = folder
        self._given = {"seed": seed, "edits": edits, "many": many}
        self._repeat = repeat
        self._budget = budget
        self._say = say

    def run(self, operations: Sequence[str]) -> None:
        """All sizes, smallest first."""
        wanted = set(operations)
        for operation in reversed(ORDER):  # what others build on is run, reported or not
            if operation in wanted and operation in _NEEDS:
                wanted.add(_NEEDS[operation])
        wanted.add("A")
        for n in self.results.sizes:
            for operation in ORDER:
                if operation in wanted:
                    self._operation(n, operation, once=operation in ("publish", "H") or operation not in operations)
            shutil.rmtree(self._folder / str(n), ignore_errors=True)

    def _operation(self, n: int, operation: str, *, once: bool) -> None:
        for turn in range(1 if once else self._repeat):
            for name in self.results.names:
                cell = self.results.cell(n, name, operation)
                if cell.note:
                    continue
                reason = self._not(n, name, operation)
                if reason:
                    cell.note = reason
                    continue
                with self._spec(n, name, operation) as spec:
                    self._child(cell, spec)
                if cell.runs and not cell.note:
                    self._tell(n, name, operation, turn, cell)

    def _tell(self, n: int, name: str, operation: str, turn: int, cell: Cell) -> None:
        last = cell.runs[-1]
        times = ", ".join(f"{part} {time['ms']:.2f} ms (cpu {time['cpu']:.2f})" for part, time in last["times"].items())
        more = "".join(f", {key} {last[key]:,.0f}" for key in ("bytes", "rss") if key in last)
        self._say(f"{n:>7,} {operation} {name:<10} #{turn + 1}: {times}{more}")

    def _not(self, n: int, name: str, operation: str) -> str:
        """Why a peer is not asked for an operation."""
        reason = peers.available(name)
        if reason:
            return reason
        able = peers.load(name).operations
        if operation not in able and not (operation == "publish" and "G" in able):
            return "does not apply"
        if operation != "A" and not self.results.cell(n, name, "A").runs:
            return "not measured: its import was not"
        needs = _NEEDS.get(operation)
        if needs and not self.results.cell(n, name, needs).runs:
            return f"not measured: {needs} was not"
        return ""

    @contextlib.contextmanager
    def _spec(self, n: int, name: str, operation: str) -> Iterator[dict[str, Any]]:
        """Where the child finds what. Operations that write get copies, so that each begins from the same bytes."""
        home = self._folder / str(n) / name
        base, scratch, joined = home / "base", home / "scratch", home / "joined"
        spec = {"peer": name, "operation": operation, "n": n, "folder": str(base), **self._given}
        imported = self.results.cell(n, name, "A")
        if operation == "A":
            shutil.rmtree(base, ignore_errors=True)
            base.mkdir(parents=True)
        else:
            spec["digest"] = imported.runs[0]["digest"]
        if operation == "G":
            shutil.rmtree(joined, ignore_errors=True)
            joined.mkdir()
            spec["into"] = str(joined)
        if operation in ("D", "E", "F", "H"):
            shutil.copytree(base, scratch / "a")
            spec["folder"] = str(scratch / "a")
        if operation in ("E", "F"):
            shutil.copytree(joined, scratch / "b")
            spec["into"] = str(scratch / "b")
        _warm(home)
        yield spec
        shutil.rmtree(scratch, ignore_errors=True)

    def _child(self, cell: Cell, spec: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "benchmarks.child", json.dumps(spec)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self._budget, env=environment, cwd=ROOT, check=False
            )
        except subprocess.TimeoutExpired:
            cell.note = f"over the budget of {self._budget:.0f} s"
            self._say(f"{spec['n']:>7,} {spec['operation']} {spec['peer']:<10}: {cell.note}")
            return
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise SystemExit(f"{spec['peer']}, {spec['operation']} at {spec['n']:,}: {last}\n{done.stderr}")
        cell.runs.append(json.loads(done.stdout.splitlines()[-1]))


def _warm(folder: Path) -> None:
    """Have everything in the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()


def fsync_ms(folder: Path, times: int = 50) -> float:
    """What one durable append costs on the disk that is measured on, ms (median)."""
    path, found = folder / "fsync", []
    with path.open("ab") as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            found.append((time.perf_counter() - began) * 1e3)
    path.unlink()
    return median(found)

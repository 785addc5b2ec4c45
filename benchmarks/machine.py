"""The machine that was measured on, in a few facts."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["facts"]


def facts(**more: Any) -> dict[str, Any]:
    """Processor, cores, memory, system, Python, the cost of starting it, and ``more``."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(_memory() / (1 << 30), 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "interpreter_ms": round(_interpreter_ms(), 1),
        "load_before": round(os.getloadavg()[0], 2),
        **more,
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _interpreter_ms() -> float:
    found = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        found.append((time.perf_counter() - began) * 1e3)
    return median(found)

"""Counts for Prometheus, and log lines as JSON. Neither ever holds a bucket, a name, a key or an address."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["JsonLines", "Metrics", "log_request"]

_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
log: Final = logging.getLogger("vaultsync.relay")


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.received = 0
        self.sent = 0
        self.refused: Counter[str] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()

    def count(self, route: str, status: int, seconds: float) -> None:
        """``route`` is a name from the program, never a part of a path."""
        self.requests[route, status] += 1
        buckets = self._seconds.setdefault(route, [0] * (len(_BOUNDS) + 1))
        for index, bound in enumerate(_BOUNDS):
            buckets[index] += seconds <= bound
        buckets[-1] += 1
        self._sums[route] += seconds  # type: ignore[assignment]  # a Counter adds any numbers

    def text(self, gauges: Mapping[str, float]) -> str:
        """In Prometheus' text format, version 0.0.4."""
        lines = ["# TYPE vaultsync_relay_requests_total counter"]
        lines += [
            f'vaultsync_relay_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self.requests.items())
        ]
        lines.append("# TYPE vaultsync_relay_refusals_total counter")
        lines += [f'vaultsync_relay_refusals_total{{code="{c}"}} {n}' for c, n in sorted(self.refused.items())]
        for name, value in (("received", self.received), ("sent", self.sent)):
            lines += [f"# TYPE vaultsync_relay_{name}_bytes_total counter"]
            lines += [f"vaultsync_relay_{name}_bytes_total {value}"]
        lines.append("# TYPE vaultsync_relay_request_seconds histogram")
        for route, buckets in sorted(self._seconds.items()):
            name = f'vaultsync_relay_request_seconds_bucket{{route="{route}",le='
            lines += [f'{name}"{bound}"}} {count}' for bound, count in zip(_BOUNDS, buckets, strict=False)]
            lines.append(f'{name}"+Inf"}} {buckets[-1]}')
            lines.append(f'vaultsync_relay_request_seconds_sum{{route="{route}"}} {self._sums[route]}')
            lines.append(f'vaultsync_relay_request_seconds_count{{route="{route}"}} {buckets[-1]}')
        for name, gauge in sorted(gauges.items()):
            lines += [f"# TYPE vaultsync_relay_{name} gauge", f"vaultsync_relay_{name} {gauge:g}"]
        return "\n".join(lines) + "\n"


def log_request(route: str, status: int, seconds: float, received: int, sent: int, code: str) -> None:
    """One line a request that was refused or failed (at DEBUG: any): what kind it was and how it went, nothing about
    who and what. Those that went well are counted; a line each would be a tenth of the work."""
    level = logging.INFO if code else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    extra = {"route": route, "status": status, "ms": round(seconds * 1000, 1), "in": received, "out": sent}
    log.log(level, "request", extra={"said": extra | ({"code": code} if code else {})})


class JsonLines(logging.Formatter):
    """A JSON object a line. Only what this package logs as ``said`` is written besides time, level and event."""

    def __init__(self, clock: Callable[[float], str] | None = None) -> None:
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        time = self._clock(record.created) if self._clock else self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z")
        said = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            said["error"] = record.exc_info[0].__name__  # its text could hold anything
        return json.dumps(said | getattr(record, "said", {}), separators=(",", ":"))

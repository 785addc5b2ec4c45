"""The command ``vaultsync relay`` as a process of its own, to be ended in order or killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Relay:
    """What it wrote is in ``out`` (the first line) and ``log`` (all of standard error, once it has ended)."""

    def __init__(self, folder: Path, *words: str, port: int = 0) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VAULTSYNC_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vaultsync", "relay", "--port", str(port), *words],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        self.out = self.process.stdout.readline()
        found = re.search(r"https?://[^\s.]+(?:\.[^\s.]+)*", self.out)
        if found is None:
            self.kill()
            raise AssertionError(self.log)
        self.url = found[0]
        self.port = int(self.url.rsplit(":", 1)[1])

    def _read(self) -> None:
        assert self.process.stderr is not None
        self._lines.extend(self.process.stderr)

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def end(self) -> float:
        """Ask it to end; how long that took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self._gone()
        return time.monotonic() - started

    def kill(self) -> None:
        """At once, whatever it is doing."""
        self.process.kill()
        self._gone()

    def _gone(self) -> None:
        self.process.wait(30)
        self._reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

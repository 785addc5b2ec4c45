"""Having a foreign document looked at by another process, and surviving whatever that process does.

The process gets the bytes through a pipe and nothing else: no open file, no secret, no argument that says anything, an
environment with the search path of this one. It limits its own memory and time (`document.inspector`); this side
watches the clock and the size of the answer, and ends it. See `document.inspector` for what is asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vaultsync import limits
from vaultsync.document.inspector import REQUEST, Inspection, joined
from vaultsync.errors import MalformedEnvelope, VaultClosed

__all__ = ["Bounds", "InspectorUnavailable", "inspect_apart"]

_MODULE: Final = "vaultsync.document.inspector"
_TICK: Final = 0.05
_KEPT: Final = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables without which a Python may not start."""


class InspectorUnavailable(Exception):
    """No process can be started here: nothing is known of the document."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What looking at one document may take: bytes of address space, seconds of processor and of wall time."""

    memory: int
    seconds: float
    patience: float

    @classmethod
    def of(cls, size: int) -> Bounds:
        """For a document of ``size`` bytes."""
        memory = min(limits.INSPECT_BYTES + limits.INSPECT_BYTES_EACH * size, limits.MAX_INSPECT_BYTES)
        seconds = limits.INSPECT_SECONDS + limits.INSPECT_SECONDS_EACH * size / (1 << 20)
        seconds = min(seconds, limits.MAX_INSPECT_SECONDS)
        return cls(memory, seconds, 2 * seconds + 30)


def inspect_apart(
    document: bytes,
    *,
    gate: bool,
    signed: Sequence[bytes] = (),
    command: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    stop: threading.Event | None = None,
) -> Inspection:
    """What a process of its own finds in a saved document. ``signed``: the changes for which it holds others.

    ``command`` runs Python instead of ``sys.executable`` (a frozen application has none). Raises `MalformedEnvelope`
    when the process refused the document, died, hung or took too much; `InspectorUnavailable` when there is none; and
    `VaultClosed` when ``stop`` is set meanwhile.
    """
    branches = joined(signed)
    bounds = bounds or Bounds.of(len(document) + len(branches))
    process = _start(command)
    request = REQUEST.pack(bounds.memory >> 20, max(1, round(bounds.seconds)), gate, len(branches)) + branches
    feeder = threading.Thread(target=_feed, args=(process, request, document), daemon=True)
    answer: list[bytes] = []
    reader = threading.Thread(target=_read, args=(process, answer), daemon=True)
    feeder.start()
    reader.start()
    deadline = time.monotonic() + bounds.patience
    try:
        while reader.is_alive() and time.monotonic() < deadline:
            if stop is not None and stop.is_set():
                raise VaultClosed("the vault is being closed")
            reader.join(_TICK)
    finally:
        if reader.is_alive():
            process.kill()
        process.wait()
        feeder.join()
        reader.join()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
    return _understood(b"".join(answer), process.returncode)


def _start(command: Sequence[str] | None) -> subprocess.Popen[bytes]:
    if command is None:
        if getattr(sys, "frozen", False) or not sys.executable:
            raise InspectorUnavailable("this application brings no Python that could verify checkpoints")
        command = [sys.executable]
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(place) for place in sys.path if place)
    try:
        return subprocess.Popen(
            [*command, "-P", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            close_fds=True,
        )
    except OSError as error:
        raise InspectorUnavailable(f"no process could be started to verify a checkpoint: {error.strerror}") from None


def _feed(process: subprocess.Popen[bytes], request: bytes, document: bytes) -> None:
    """A process that dies early just leaves the rest unread."""
    if process.stdin is not None:
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(request)
            process.stdin.write(document)
        with contextlib.suppress(OSError):
            process.stdin.close()


def _read(process: subprocess.Popen[bytes], answer: list[bytes]) -> None:
    """At most as much as an answer may have; whoever writes more is ended."""
    size, pipe = 0, process.stdout
    while pipe is not None and (piece := os.read(pipe.fileno(), 1 << 16)):
        size += len(piece)
        if size > limits.MAX_INSPECTION_BYTES:
            answer.clear()
            process.kill()
            return
        answer.append(piece)


def _understood(answer: bytes, code: int | None) -> Inspection:
    """The answer, believed no further than its shape."""
    if code != 0:
        raise MalformedEnvelope("the checkpoint's document takes too much time or memory, or cannot be loaded at all")
    try:
        found: Any = json.loads(answer)
        if "refused" in found:
            raise MalformedEnvelope("the checkpoint's document is refused: it holds what no vault holds")
        heads = tuple(bytes.fromhex(head) for head in found["heads"])
        ends = {
            bytes.fromhex(actor): tuple((int(seq), bytes.fromhex(name)) for seq, name in places)
            for actor, places in found["ends"].items()
        }
        return Inspection(heads, ends, int(found["changes"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise MalformedEnvelope("the checkpoint's document cannot be looked at") from None

"""Having a foreign document looked at by another process, and surviving whatever that process does.

The process gets the bytes through a pipe and nothing else: no open file, no secret, no argument that says anything, an
environment with the search path of this one. It limits its own memory and time (`document.inspector`); this side
watches the clock and the size of the answer, and ends it. See `document.inspector` for what is asked.

Looking takes seconds, most of them after the document was loaded; what it shows is handed over before (`Show`).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from vaultsync import limits
from vaultsync.document.inspector import FRAME, REQUEST, Inspection, joined
from vaultsync.document.layout import FLAT_SECTIONS
from vaultsync.document.rows import RowReader, unpack_flat
from vaultsync.errors import MalformedChange, MalformedEnvelope, VaultClosed
from vaultsync.schema.cells import Raw

__all__ = ["Bounds", "InspectorUnavailable", "Show", "inspect_apart"]

Show: TypeAlias = Callable[[Mapping[str, Raw], Iterator[tuple[str, Raw]]], object]
"""Gets the flat sections of a document, and its entries (ascending ids) while they come. None of it is verified."""

_MODULE: Final = "vaultsync.document.inspector"
_TICK: Final = 0.05
_ODD: Final = "the checkpoint's document cannot be looked at"
_KEPT: Final = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables without which a Python may not start."""


class InspectorUnavailable(Exception):
    """No process can be started here: nothing is known of the document."""


class _CutOff(Exception):
    """Not all entries came: there are more than may be handed over."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What looking at one document may take: bytes of address space, seconds of processor and of wall time, and bytes
    of what it shows."""

    memory: int
    seconds: float
    patience: float
    rows: int = limits.PREVIEW_BYTES

    @classmethod
    def of(cls, size: int) -> Bounds:
        """For a document of ``size`` bytes."""
        memory = min(limits.INSPECT_BYTES + limits.INSPECT_BYTES_EACH * size, limits.MAX_INSPECT_BYTES)
        seconds = limits.INSPECT_SECONDS + limits.INSPECT_SECONDS_EACH * size / (1 << 20)
        seconds = min(seconds, limits.MAX_INSPECT_SECONDS)
        rows = min(limits.PREVIEW_BYTES + limits.PREVIEW_BYTES_EACH * size, limits.MAX_PREVIEW_BYTES)
        return cls(memory, seconds, 2 * seconds + 30, rows)


def inspect_apart(
    document: bytes,
    *,
    gate: bool,
    own: bool = False,
    signed: Sequence[bytes] = (),
    show: Show | None = None,
    command: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    stop: threading.Event | None = None,
) -> Inspection:
    """What a process of its own finds in a saved document. ``gate``: its changes are not known here; ``own``: it was
    saved here a moment ago; ``signed``: the changes for which it holds others. ``show`` is called once, in this thread
    and long before this returns, unless what it would get is too much.

    ``command`` runs Python instead of ``sys.executable`` (a frozen application has none). Raises `MalformedEnvelope`
    when the process refused the document, died, hung or took too much; `InspectorUnavailable` when there is none;
    `VaultClosed` when ``stop`` is set meanwhile; and what ``show`` does.
    """
    branches = joined(signed)
    bounds = bounds or Bounds.of(len(document) + len(branches))
    rows = bounds.rows if show is not None else 0
    process = _start(command)
    request = REQUEST.pack(bounds.memory >> 20, max(1, round(bounds.seconds)), gate, own, rows >> 20, len(branches))
    feeder = threading.Thread(target=_feed, args=(process, request + branches, document), daemon=True)
    answer: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, answer, limits.MAX_INSPECTION_BYTES + rows), daemon=True)
    feeder.start()
    reader.start()
    verdict = None
    try:
        frames = _frames(_pieces(answer, time.monotonic() + bounds.patience, stop))
        for kind, data in frames:
            if kind == b"F" and show is not None:
                with contextlib.suppress(_CutOff):
                    show(_flat(data), _entries(frames))
                show = None
            elif kind == b"V":
                verdict = data
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
    return _understood(verdict, process.returncode)


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


def _read(process: subprocess.Popen[bytes], answer: queue.SimpleQueue[bytes], most: int) -> None:
    """At most as much as an answer may have; whoever writes more is ended. The last piece is empty."""
    size, pipe = 0, process.stdout
    while pipe is not None and (piece := os.read(pipe.fileno(), 1 << 16)):
        size += len(piece)
        if size > most:
            process.kill()
            break
        answer.put(piece)
    answer.put(b"")


def _pieces(answer: queue.SimpleQueue[bytes], deadline: float, stop: threading.Event | None) -> Iterator[bytes]:
    while time.monotonic() < deadline:
        if stop is not None and stop.is_set():
            raise VaultClosed("the vault is being closed")
        try:
            piece = answer.get(timeout=_TICK)
        except queue.Empty:
            continue
        if not piece:
            return
        yield piece


def _frames(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """What was written, frame by frame. What is cut off is left out."""
    held = bytearray()
    for piece in pieces:
        held += piece
        at = 0
        while len(held) - at >= FRAME.size:
            kind, length = FRAME.unpack_from(held, at)
            end = at + FRAME.size + length
            if len(held) < end:
                break
            yield kind, bytes(held[at + FRAME.size : end])
            at = end
        del held[:at]


def _flat(data: bytes) -> Mapping[str, Raw]:
    try:
        return unpack_flat(data, FLAT_SECTIONS)
    except MalformedChange:
        raise MalformedEnvelope(_ODD) from None


def _entries(frames: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[str, Raw]]:
    reader = RowReader()
    for kind, data in frames:
        if kind == b"E":
            return
        if kind == b"C":
            raise _CutOff
        try:
            yield from reader.read(data)
        except MalformedChange:
            raise MalformedEnvelope(_ODD) from None
    raise _CutOff


def _understood(verdict: bytes | None, code: int | None) -> Inspection:
    """The verdict, believed no further than its shape."""
    if code != 0:
        raise MalformedEnvelope("the checkpoint's document takes too much time or memory, or cannot be loaded at all")
    try:
        found: Any = json.loads(verdict or b"")
        if "refused" in found:
            raise MalformedEnvelope("the checkpoint's document is refused: it holds what no vault holds")
        heads = tuple(bytes.fromhex(head) for head in found["heads"])
        ends = {
            bytes.fromhex(actor): tuple((int(seq), bytes.fromhex(name)) for seq, name in places)
            for actor, places in found["ends"].items()
        }
        return Inspection(heads, ends, int(found["changes"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise MalformedEnvelope(_ODD) from None

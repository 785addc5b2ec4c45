"""A saved document of somebody else, looked at in a process of its own: ``python -m vaultsync.document.inspector``.

Loading foreign bytes can take all memory, never end, or end the process. So it is done here first: by a process that
has nothing but a pipe, and limits on memory and time. What comes back are a few numbers and hashes; whoever asked
compares them with what the writers signed, and loads the same bytes only then.

::

    in      4 memory (MiB) | 4 processor time (s) | 1 gate | 1 own | 4 rows (MiB)
            | 4 length of all changes | [4 length | change] ... | document
    out     frame ...
    frame   1 what it is | 4 length | contents
      "F"   the flat sections (`rows`)
      "R"   entries (`rows`); any number of these
      "E"   that these were all, or "C" that there are more: nothing
      "V"   JSON {"heads": [hash], "ends": {actor: [[seq, hash], ...]}, "changes": n}, or {"refused": why}

The changes are those that were signed and for which the document holds others (`branches`): from them the others are
made again, and have to be what the document holds. ``ends`` are then what its writers must have signed for: the last
change of each actor that nobody computes, and of each of its branches.

With ``gate``, every change is taken out of the document and has to pass the gate, in causal order, as if it came into
an empty vault; what passed must have the same heads, and end the same chains. Whoever asks without it has seen all the
changes that are signed for already. Then the changes make the document again, and both have to be the same: one can
hold the right changes and show something else. Only an ``own`` document needs no more than to be loaded. The bytes are
one document chunk and nothing else: appended changes whose dependencies are missing would be loaded too, and wait
unseen.

With ``rows``, what the document shows is told first, as soon as it is loaded, which is long before the verdict: whoever
asked may look at it meanwhile, and must not believe it before. When it is more than so many MiB, the rest is left out.
"""

from __future__ import annotations

import gc
import json
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from .. import limits
from ..errors import EngineFailure, MalformedChange, MissingDependencies
from .batch import Batch
from .branches import recompute
from .codec import decode
from .columns import unsigned
from .engine import Engine
from .graph import Graph
from .layout import FLAT_SECTIONS, GENESIS, GENESIS_ACTOR, Place
from .operations import OpId
from .rows import pack_flat, pack_rows

__all__ = ["FRAME", "REQUEST", "Inspection", "inspect", "joined", "main"]

REQUEST: Final = struct.Struct(">IIBBII")
FRAME: Final = struct.Struct(">cI")
_MAGIC: Final = b"\x85\x6f\x4a\x83"
_DOCUMENT: Final = 0
_LENGTH: Final = struct.Struct(">I")


class Inspection(NamedTuple):
    """What was found: the heads, the ends of each actor's branches as (number, hash), ascending, and how many changes
    there are."""

    heads: tuple[bytes, ...]
    ends: dict[bytes, tuple[tuple[int, bytes], ...]]
    changes: int


def inspect(
    document: bytes,
    *,
    gate: bool,
    own: bool = False,
    signed: Sequence[bytes] = (),
    loaded: Callable[[Engine], object] = lambda engine: None,
) -> Inspection:
    """Look at a saved document, here and now; ``own``: one that this device saved a moment ago; ``signed``: the changes
    for which it holds others. ``loaded`` is given the document before anything of it is judged.

    Raises `MalformedChange`; and takes whatever the bytes make it take."""
    _check_frame(document)
    try:
        found = Engine.load(document)
        loaded(found)
        chunks = found.changes()
        if gate:
            heads, lasts = _gated(chunks)
            if heads != found.heads or lasts != found.lasts():
                raise MalformedChange("the document does not end where its changes do")
        if not own and not _is_made_of(chunks, document, found):
            raise MalformedChange("the document is not what its changes make")
        return Inspection(found.heads, recompute(found, [decode(chunk) for chunk in signed]), len(chunks))
    except (EngineFailure, MissingDependencies):
        raise MalformedChange("the document cannot be loaded") from None


class _EmptyVault:
    """What a batch asks of a document that holds the first change and nothing else."""

    def place(self, obj: OpId, /) -> Place | None:
        return None  # the sections are known by themselves

    def winner(self, obj: OpId, key: str, at: bytes | None = None, /) -> OpId | None:
        return None


def _gated(chunks: Iterable[bytes]) -> tuple[tuple[bytes, ...], dict[bytes, tuple[int, bytes]]]:
    """The heads and the last change of each actor, of changes that all pass the gate into an empty vault, in order."""
    graph = Graph()
    batch = Batch(graph, _EmptyVault())
    heads: set[bytes] = set()
    for chunk in (GENESIS, *chunks):
        change = decode(chunk)
        if change.hash not in graph:
            batch.admit(change, None)
            heads.add(change.hash)
            heads.difference_update(change.deps)
    return tuple(sorted(heads)), {actor: last for actor, last in graph.lasts().items() if actor != GENESIS_ACTOR}


def _is_made_of(chunks: Sequence[bytes], document: bytes, found: Engine) -> bool:
    """Whether a document is the one that its changes make, and not only one that holds them.

    The engine believes the order of a document's rows. It makes out the changes from them, whose hashes are right in
    any order; but which of two contested values is shown, and whether a key is found at all, depends on it. So the
    changes make the document again, and both must be written alike.
    """
    made = Engine.load(None, chunks).save()
    return made == document or made == found.save()  # who wrote it may have packed it more tightly


def _check_frame(document: bytes) -> None:
    try:
        length, start = unsigned(document, 9)
    except (IndexError, MalformedChange):
        length, start = -1, 0
    if document[:4] != _MAGIC or document[8:9] != bytes([_DOCUMENT]) or start + length != len(document):
        raise MalformedChange("not one saved document")


def main() -> int:
    """Answer one request from standard input on standard output."""
    source = sys.stdin.buffer
    mebibytes, seconds, gate, own, budget, length = REQUEST.unpack(source.read(REQUEST.size))
    _limit(mebibytes << 20, seconds)
    gc.disable()  # nothing that is made here is garbage before the end

    def loaded(engine: Engine) -> None:
        for kind, data in _shown(engine, budget << 20):
            _answer(kind, data)

    found: dict[str, Any]
    try:
        signed = _cut(source.read(length))
        heads, ends, changes = inspect(source.read(), gate=bool(gate), own=bool(own), signed=signed, loaded=loaded)
        rows = {actor.hex(): [[seq, name.hex()] for seq, name in places] for actor, places in ends.items()}
        found = {"heads": [head.hex() for head in heads], "ends": rows, "changes": changes}
    except MalformedChange as error:
        found = {"refused": str(error)}
    except MemoryError:
        found = {"refused": "the document takes too much memory"}
    _answer(b"V", json.dumps(found).encode())
    return 0


def _answer(kind: bytes, data: bytes) -> None:
    answer = sys.stdout.buffer
    answer.write(FRAME.pack(kind, len(data)))
    answer.write(data)
    answer.flush()


def _shown(engine: Engine, most: int) -> Iterator[tuple[bytes, bytes]]:
    """What the document shows, in frames of at most so many bytes together."""
    if not most:
        return
    flat = pack_flat({name: engine.read(name) or {} for name in FLAT_SECTIONS})
    if len(flat) > min(most, limits.MAX_PREVIEW_FLAT_BYTES):
        return
    yield b"F", flat
    for batch in pack_rows(engine.read_all()):
        if (most := most - len(batch)) < 0:
            yield b"C", b""
            return
        yield b"R", batch
    yield b"E", b""


def joined(chunks: Sequence[bytes]) -> bytes:
    """Changes as a request holds them."""
    return b"".join(part for chunk in chunks for part in (_LENGTH.pack(len(chunk)), chunk))


def _cut(data: bytes) -> list[bytes]:
    chunks, at = [], 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        chunks.append(data[at + _LENGTH.size : at + _LENGTH.size + length])
        at += _LENGTH.size + length
    return chunks


def _limit(memory: int, seconds: int) -> None:
    """Limits that hold for everything from here on. Where the system has none, the asker's clock is left."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(what)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(what, (bound, bound))
        except (ValueError, OSError):  # macOS refuses a limit on address space
            continue


if __name__ == "__main__":
    raise SystemExit(main())

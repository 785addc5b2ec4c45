"""Two documents of one vault made into one, where chains forked, or fork by this.

Neither document knows which changes of the other's stand for which. So both are taken apart where the first fork
begins, everything that was signed is placed anew (`document.transplant`), and the document that comes out holds both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vaultsync.document.branches import Apart, Part, fork_start, set_apart
from vaultsync.document.changes import Change, OpId, Scalar, chunk_hash
from vaultsync.document.codec import decode_own
from vaultsync.document.engine import Engine
from vaultsync.document.transplant import resolve
from vaultsync.errors import MissingDependencies

__all__ = ["Merged", "merge", "rivals"]


@dataclass(frozen=True)
class Merged:
    """``engine`` holds both. ``images`` stand for the changes of ``wire`` there, by the hash of what was signed."""

    engine: Engine
    images: Mapping[bytes, Change]
    wire: Mapping[bytes, Change]


class _Both:
    """What lies before every fork in either document."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def max_op(self, hash: bytes) -> int | None:
        return next((end for part in self._parts if (end := part.max_op(hash)) is not None), None)

    def value(self, obj: OpId, key: str, op: OpId) -> Scalar:
        return next((value for part in self._parts if (value := part.value(obj, key, op)) is not None), None)


def rivals(one: Engine, other: Engine) -> list[Change]:
    """Where two documents hold different changes of one actor and number, the first of each, from either."""
    found = []
    ours, theirs = one.lasts(), other.lasts()
    for actor in ours.keys() & theirs.keys():
        if other.has(ours[actor][1]) or one.has(theirs[actor][1]):
            continue
        same, apart = 0, min(ours[actor][0], theirs[actor][0])  # equal up to the one, different from the other on
        while same + 1 < apart:
            middle = (same + apart) // 2
            if one.change_at(actor, middle) == other.change_at(actor, middle):
                same = middle
            else:
                apart = middle
        for engine in (one, other):
            before = engine.own_changes(actor, apart - 1)
            found.append(decode_own(before[0]))
    return found


def merge(one: Engine, other: Engine, signed: Iterable[Change], contested: Iterable[Change]) -> Merged:
    """One document of everything. ``signed``: what either holds others for; ``contested``: from `rivals`.

    Raises `Refused` and `MissingDependencies` when they do not come to one document.
    """
    known = list({change.hash: change for change in signed}.values())
    starting = [*known, *contested]
    start = min(fork_start(engine, starting) for engine in (one, other))
    parts: list[Apart] = [set_apart(engine, known, start) for engine in (one, other)]
    wire = {**parts[0].wire, **parts[1].wire}
    below = {chunk_hash(chunk): chunk for part in parts for chunk in part.below}
    base = _Both([Part(engine, part.beyond) for engine, part in zip((one, other), parts, strict=True)])
    found = resolve(wire.values(), base)
    for error in found.refused.values():
        raise error
    if found.waiting:
        raise MissingDependencies(tuple(sorted(set().union(*found.waiting.values()))))
    engine = Engine.load(None, below.values())
    images = {image.hash: image for image in found.images.values()}
    placed: list[Change] = sorted(images.values(), key=lambda image: (image.start_op, image.hash))
    engine.apply(placed)
    return Merged(engine, found.images, wire)

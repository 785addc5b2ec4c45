"""A document that holds changes made anew, judged without anybody's word: what was signed must come to it again.

Nobody signs the changes that `transplant` makes. So whoever hands on such a document hands on, beside it, the changes
that were signed and are not in it. `recompute` makes everything again and refuses a document that holds one change more
or less. What is left to be certified are *ends*: the changes of each actor on which no other one of the same actor
builds. There is one for each branch; every signed change is an end or in the past of one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..errors import MalformedChange
from .codec import Change, OpId, Scalar, decode_own
from .engine import Engine
from .transplant import computed_actor, resolve

__all__ = ["Apart", "Part", "ends_of", "fork_start", "recompute", "set_apart"]


class Part:
    """The part of a document that lies before every fork, for `resolve`. ``beyond`` are the changes that do not."""

    def __init__(self, engine: Engine, beyond: Collection[bytes]) -> None:
        self._engine = engine
        self._beyond = beyond

    def max_op(self, hash: bytes) -> int | None:
        info = None if hash in self._beyond else self._engine.change_info(hash)
        return None if info is None else info.max_op

    def value(self, obj: OpId, key: str, op: OpId) -> Scalar:
        return self._engine.written(obj, key, op)


@dataclass(frozen=True)
class Apart:
    """A document taken apart where the first of its forks is: chunks ``below``; the changes ``beyond`` as they are in
    it; and all of ``wire``, as they were signed, those that are not in it among them. By hash."""

    below: list[bytes]
    beyond: Mapping[bytes, Change]
    wire: Mapping[bytes, Change]


def fork_start(engine: Engine, changes: Iterable[Change]) -> int:
    """Where, counted in operations, the first fork begins that changes make with a document."""
    starts = []
    for change in changes:
        rival = engine.change_at(change.actor, change.seq)
        info = None if rival is None else engine.change_info(rival)
        starts += [change.start_op] if info is None else [change.start_op, info.start_op]
    return min(starts)


def set_apart(engine: Engine, signed: Collection[Change], start: int | None = None) -> Apart:
    """Take a document apart; ``signed``: the changes for which it holds others."""
    begin = fork_start(engine, signed) if start is None else start
    below, above = engine.changes_from(begin)
    beyond = {change.hash: change for change in map(decode_own, above)}
    computed = {computed_actor(change) for change in signed}
    wire = {hash: change for hash, change in beyond.items() if change.actor not in computed}
    wire.update((change.hash, change) for change in signed)
    return Apart(below, beyond, wire)


def ends_of(
    last: Mapping[bytes, tuple[int, bytes]],
    follows: Mapping[bytes, bytes | None],
    wire: Mapping[bytes, Change],
    computed: Collection[bytes],
) -> dict[bytes, tuple[tuple[int, bytes], ...]]:
    """By actor the ends of its branches, ascending. ``last``: each actor's last change in the document; ``follows``:
    which change each of ``wire`` follows; ``computed``: actors that sign nothing."""
    followed = set(follows.values())
    ends: dict[bytes, list[tuple[int, bytes]]] = {}
    for hash, change in wire.items():
        if hash not in followed:
            ends.setdefault(change.actor, []).append((change.seq, hash))
    for actor, place in last.items():
        if actor not in computed:
            ends.setdefault(actor, [place])
    return {actor: tuple(sorted(places)) for actor, places in ends.items()}


def recompute(engine: Engine, signed: Collection[Change]) -> dict[bytes, tuple[tuple[int, bytes], ...]]:
    """By actor the ends, as (number, hash), that have to be signed for, so that everything in the document is true.

    ``signed``: the changes for which it holds others, nothing of them verified yet. Raises `MalformedChange` when the
    document is not exactly what they and its own changes come to.
    """
    if not signed:
        return {actor: (place,) for actor, place in engine.lasts().items()}
    apart = set_apart(engine, signed)
    found = resolve(apart.wire.values(), Part(engine, apart.beyond))
    if found.waiting or found.refused:
        raise MalformedChange("the document's branches do not hold what they build on")
    if found.moved != {change.hash for change in signed}:
        raise MalformedChange("other changes were left out of the document than those that lost their place")
    if {image.hash for image in found.images.values()} != apart.beyond.keys():
        raise MalformedChange("the document is not what its branches come to")
    computed = {found.images[hash].actor for hash in found.moved}
    return ends_of(engine.lasts(), found.follows, apart.wire, computed)

"""A batch of changes on its way through the gate: what is known is the document *and* the changes before in the batch.

The engine sees nothing of a batch before all of it has passed, so what the changes of the batch add to the document is
kept here meanwhile, and in the graph, from which ``undo`` takes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from ..errors import MalformedChange
from .gate import ChangeInfo, Touched, check, follows
from .graph import Graph, GraphPast
from .layout import ENTRIES, SECTION_OBJECTS, Place
from .operations import Action, Change, Op, OpId, Table

__all__ = ["Batch", "Reader"]

_ENTRIES_OBJECT = SECTION_OBJECTS[ENTRIES]


class Reader(Protocol):
    """What a batch asks of the document as it was before."""

    def place(self, obj: OpId, /) -> Place | None:
        """Which map of the layout an object is."""
        ...

    def winner(self, obj: OpId, key: str, at: bytes | None = None, /) -> OpId | None:
        """The operation whose value a key shows, now or as of one change; ``None`` if it shows none."""
        ...


def entries_made(ops: Sequence[Op]) -> Iterator[tuple[int, str]]:
    """The entries that a change makes, and the number of the operation that makes each."""
    if not isinstance(ops, Table):
        yield from ((number, op.key) for number, op in enumerate(ops) if op.obj == _ENTRIES_OBJECT)
        return
    at = 0
    for obj, count in ops.objects:
        if obj == _ENTRIES_OBJECT:
            yield from zip(range(at, at + count), ops.keys[at : at + count], strict=True)
        at += count


def overwrites(ops: Sequence[Op]) -> Iterable[tuple[OpId, ...]]:
    """What each operation overwrites, those that overwrite nothing possibly left out."""
    return (ops.preds or ()) if isinstance(ops, Table) else [op.preds for op in ops]


class Batch:
    """Implements ``gate.Known``."""

    def __init__(self, graph: Graph, reader: Reader) -> None:
        self._graph = graph
        self._reader = reader
        self._gone: set[OpId] = set()  # set by changes of the batch that overwrite it themselves: nobody else sees it
        self._added: dict[bytes, Change] = {}
        self._last: Change | None = None  # that passed
        self._winners: dict[tuple[OpId, str], OpId | None] = {}
        self.made: dict[OpId, Place] = {}
        """The entries that the batch makes."""
        self.touched: dict[tuple[str, str], frozenset[str]] = {}

    @property
    def changes(self) -> list[Change]:
        """What has passed so far, in the order it came."""
        return list(self._added.values())

    def admit(self, change: Change, actor: bytes | None) -> None:
        """Take a change into the batch, or raise what ``gate.check`` raises."""
        last = self._last
        past = self._graph.past(change.deps) if last is not None and follows(change, last) else None
        self._note(change, check(change, self, actor=actor, past=past))
        self._last = change

    def undo(self) -> None:
        """Forget the whole batch."""
        for change in reversed(self._added.values()):
            self._graph.forget_last(change.actor)

    def before(self, obj: OpId, key: str) -> OpId | None:
        """The operation whose value the key showed before the batch."""
        place = obj, key
        if place not in self._winners:
            self._winners[place] = None if obj in self.made else self._reader.winner(obj, key)
        return self._winners[place]

    def _note(self, change: Change, touched: Touched) -> None:
        start, actor, ops = change.start_op, change.actor, change.ops
        if not self._graph.add(change.hash, actor, change.seq, start, change.max_op, change.deps):
            raise MalformedChange("not the next change of its actor")
        self._added[change.hash] = change
        if not isinstance(ops, Table) or Action.MAKE_MAP in ops.actions:
            for number, entry in entries_made(ops):
                self.made[start + number, actor] = Place(ENTRIES, entry)
        for overwritten in overwrites(ops):
            for pred in overwritten:
                if pred[1] == actor and pred[0] >= start:
                    self._gone.add(pred)
        for place, keys in touched.items():
            before = self.touched.get(place)
            self.touched[place] = before | keys if before else keys

    # ---- gate.Known ---------------------------------------------------------------------------------------------
    def change(self, hash: bytes) -> ChangeInfo | None:
        return self._graph.info(hash)

    def last_seq(self, actor: bytes) -> int:
        return self._graph.last_seq(actor)

    def past(self, deps: tuple[bytes, ...]) -> GraphPast:
        return self._graph.past(deps)

    def place(self, obj: OpId) -> Place | None:
        return self.made.get(obj) or self._reader.place(obj)

    def is_value(self, obj: OpId, key: str, op: OpId) -> bool:
        holder = self._graph.holder(op)
        if holder is None:
            return False
        change = self._added.get(holder)
        if change is not None:
            made = change.ops[op[0] - change.start_op]
            return made.obj == obj and made.key == key and made.action is Action.SET and op not in self._gone
        if obj in self.made:
            return False
        return self.before(obj, key) == op or self._reader.winner(obj, key, holder) == op

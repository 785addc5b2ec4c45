"""Which keys hold more than one live value, and which operations those are.

The rule of the engine: a key holds every value that was set and not overwritten by a change that knew it; the one with
the largest operation id is shown. The engine only tells the winner, so the others are kept account of here: exactly,
change by change, as they are applied; and after a load, found again by looking at the changes that are concurrent with
others (``Graph.concurrent``), because only those can have left two values side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .codec import Action, Change, OpId
from .graph import Graph

__all__ = ["Conflicts"]

Cell = tuple[OpId, str]


class Conflicts:
    """The live operations of every key that has more than one."""

    def __init__(self) -> None:
        self._cells: dict[OpId, dict[str, set[OpId]]] = {}

    def of(self, obj: OpId, graph: Graph) -> dict[str, list[OpId]]:
        """The keys of a map that have several values: the operations, winner first.

        A value that the writer of another one knew and did not overwrite is none of them. The engine always
        overwrites; whoever leaves that out cannot pass his own earlier value off as somebody's concurrent one.
        """
        found = {}
        for key, ops in self._cells.get(obj, {}).items():
            pasts = {op: graph.past((holder,)) for op in ops if (holder := graph.holder(op)) is not None}
            apart = [op for op in ops if not any(past.covers(op) for other, past in pasts.items() if other != op)]
            if len(apart) > 1:
                found[key] = sorted(apart, reverse=True)
        return found

    def settle(self, change: Change) -> None:
        """A change that knew everything: what it writes has one value at most."""
        if self._cells:
            for op in change.ops:
                if op.obj is not None:
                    self._put(op.obj, op.key, set())

    def advance(self, changes: Iterable[Change], before: Callable[[OpId, str], OpId | None]) -> None:
        """Follow applied changes; ``before`` tells the winner of a key as it was ahead of them."""
        live: dict[Cell, set[OpId]] = {}
        for change in changes:
            for counter, op in enumerate(change.ops, change.start_op):
                if op.obj is None or op.action is Action.MAKE_MAP:
                    continue
                cell = op.obj, op.key
                ops = live.get(cell)
                if ops is None:
                    ops = live[cell] = self._live(cell, before(op.obj, op.key))
                ops.difference_update(op.preds)
                if op.action is Action.SET:
                    ops.add((counter, change.actor))
        for (obj, key), ops in live.items():
            self._put(obj, key, ops)

    def _live(self, cell: Cell, winner: OpId | None) -> set[OpId]:
        known = self._cells.get(cell[0], {}).get(cell[1])
        if known is not None:
            return set(known)
        return set() if winner is None else {winner}

    def _put(self, obj: OpId, key: str, ops: set[OpId]) -> None:
        if len(ops) > 1:
            self._cells.setdefault(obj, {})[key] = ops
        elif obj in self._cells:
            self._cells[obj].pop(key, None)
            if not self._cells[obj]:
                del self._cells[obj]

    @classmethod
    def find(cls, concurrent: Iterable[Change], winner: Callable[[OpId, str], OpId | None]) -> Conflicts:
        """The conflicts of a document, from those of its changes that are concurrent with others.

        Two live values of a key were set by concurrent changes, so both are among these, and so is the winner. One is
        no longer live if one of these overwrote it (its predecessors say so) or if a change did that is concurrent
        with nothing; such a change comes before the winner, so then the value lies in the winner's past, and ``of``
        leaves it out.
        """
        sets: dict[Cell, list[OpId]] = {}
        overwritten: set[OpId] = set()
        for change in concurrent:
            for counter, op in enumerate(change.ops, change.start_op):
                overwritten.update(op.preds)
                if op.action is Action.SET and op.obj is not None:
                    sets.setdefault((op.obj, op.key), []).append((counter, change.actor))
        found = cls()
        for (obj, key), ops in sets.items():
            several = len({actor for _, actor in ops}) > 1
            if several and winner(obj, key) in ops:
                found._put(obj, key, {op for op in ops if op not in overwritten})
        return found

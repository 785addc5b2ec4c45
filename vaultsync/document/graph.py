"""The graph of known changes: who wrote which operations, and which change lies in the past of which.

An actor's changes form a chain (each builds on the one before it: the gate sees to that), so the past of a change is
described by one number an actor, the last of its changes that belong to it: a vector clock. A change that depends only
on its own predecessor has that one's clock with its own number raised, so clocks are stored only where something else
was merged in. Every question below costs a few steps, whatever the number of changes.

Pure bookkeeping: hashes and numbers, no contents.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from .codec import OpId
from .gate import ChangeInfo

__all__ = ["Graph", "GraphPast"]


class _Chain:
    """The changes of one actor; index k holds the one with seq k + 1."""

    __slots__ = ("actor", "clocks", "concurrent", "ends", "hashes", "merges", "starts")

    def __init__(self, actor: bytes) -> None:
        self.actor = actor
        self.hashes: list[bytes] = []
        self.starts = array("q")
        self.ends = array("q")
        self.merges = array("q")  # seq of the changes that depend on more than their predecessor
        self.clocks: list[array[int]] = []  # and their clocks, by chain number
        self.concurrent: list[tuple[int, int]] = []  # ranges of seqs (first, last), ascending and apart


class GraphPast:
    """The past of a change: the part of each chain that belongs to it."""

    __slots__ = ("_base", "_graph", "_own", "_seq")

    def __init__(self, graph: Graph, base: Sequence[int], own: int, seq: int) -> None:
        self._graph = graph
        self._base = base
        self._own = own
        self._seq = seq

    def _limit(self, chain: int) -> int:
        if chain == self._own:
            return self._seq
        return self._base[chain] if chain < len(self._base) else 0

    def last_seq(self, actor: bytes) -> int:
        """The last change of that actor in this past, or 0."""
        chain = self._graph.chain_number(actor)
        return 0 if chain is None else self._limit(chain)

    def covers(self, op: OpId) -> bool:
        """Whether a change in this past holds this operation."""
        found = self._graph.locate(op)
        if found is None:
            return False
        chain, seq = found
        if chain == self._own:
            return seq <= self._seq
        return chain < len(self._base) and seq <= self._base[chain]

    def limits(self) -> array[int]:
        """The clock: the last seq of every chain, by chain number."""
        return array("q", map(self._limit, range(max(len(self._base), self._own + 1))))


class Graph:
    """Changes by hash and by place in their chain. They are added in causal order."""

    def __init__(self) -> None:
        self._chains: list[_Chain] = []
        self._numbers: dict[bytes, int] = {}
        self._where: dict[bytes, tuple[int, int]] = {}  # hash -> (chain number, seq)
        self._size = 0
        self._latest: _Chain | None = None  # to which a change was added last
        self._asked: OpId | None = None  # the operation that was located last, and where
        self._found: tuple[int, int] | None = None

    def __len__(self) -> int:
        return self._size

    def __contains__(self, hash: bytes) -> bool:
        return hash in self._where

    def chain_number(self, actor: bytes) -> int | None:
        """The number of an actor's chain, if it has written anything."""
        return self._numbers.get(actor)

    def add(self, hash: bytes, actor: bytes, seq: int, start_op: int, max_op: int, deps: Sequence[bytes]) -> bool:
        """Append a change whose dependencies are all known; ``False`` if it is not the next of its actor."""
        number = self._numbers.get(actor)
        if number is None:
            number = self._numbers[actor] = len(self._chains)
            self._chains.append(_Chain(actor))
        chain = self._chains[number]
        if seq != len(chain.hashes) + 1:
            return False
        follows = len(deps) == 1 and seq > 1 and deps[0] == chain.hashes[-1]
        if not follows:
            chain.merges.append(seq)
            chain.clocks.append(self.past(tuple(deps)).limits())
        chain.hashes.append(hash)
        chain.starts.append(start_op)
        chain.ends.append(max_op)
        self._where[hash] = (number, seq)
        self._size += 1
        self._asked = None
        if follows and self._latest is chain:  # concurrent with what its predecessor is, which was just noted
            if chain.concurrent and chain.concurrent[-1][1] == seq - 1:
                chain.concurrent[-1] = (chain.concurrent[-1][0], seq)
        else:
            self._note_concurrency(number, seq)
            self._latest = chain
        return True

    def forget_last(self, actor: bytes) -> None:
        """Undo the last ``add`` of that actor; nothing may have been built on it."""
        self._latest = self._asked = None
        chain = self._chains[self._numbers[actor]]
        if chain.merges and chain.merges[-1] == len(chain.hashes):
            chain.merges.pop()
            chain.clocks.pop()
        chain.starts.pop()
        chain.ends.pop()
        del self._where[chain.hashes.pop()]
        self._size -= 1

    # ---- questions ----------------------------------------------------------------------------------------------
    def info(self, hash: bytes) -> ChangeInfo | None:
        """What is remembered of a change."""
        where = self._where.get(hash)
        if where is None:
            return None
        number, seq = where
        chain = self._chains[number]
        return ChangeInfo(chain.actor, seq, chain.starts[seq - 1], chain.ends[seq - 1])

    def last_seq(self, actor: bytes) -> int:
        """How many changes of that actor are known."""
        number = self._numbers.get(actor)
        return 0 if number is None else len(self._chains[number].hashes)

    def lasts(self) -> dict[bytes, tuple[int, bytes]]:
        """The last change of every actor: number and hash."""
        return {chain.actor: (len(chain.hashes), chain.hashes[-1]) for chain in self._chains if chain.hashes}

    def hash_at(self, actor: bytes, seq: int) -> bytes | None:
        """The change at one place of a chain."""
        number = self._numbers.get(actor)
        if number is None or not 0 < seq <= len(self._chains[number].hashes):
            return None
        return self._chains[number].hashes[seq - 1]

    def locate(self, op: OpId) -> tuple[int, int] | None:
        """(chain number, seq) of the change that holds an operation."""
        if op is self._asked:  # whoever asks whether it is in a past asks then who holds it
            return self._found
        number = self._numbers.get(op[1])
        if number is None:
            return None
        chain = self._chains[number]
        seq = bisect_right(chain.starts, op[0])
        found = (number, seq) if seq and op[0] <= chain.ends[seq - 1] else None
        self._asked, self._found = op, found
        return found

    def holder(self, op: OpId) -> bytes | None:
        """The hash of the change that holds an operation."""
        found = self.locate(op)
        return None if found is None else self._chains[found[0]].hashes[found[1] - 1]

    def past(self, deps: tuple[bytes, ...]) -> GraphPast:
        """The past of a change with these dependencies: they and their ancestors."""
        if len(deps) == 1:
            number, seq = self._where[deps[0]]
            return GraphPast(self, self._clock(number, seq), number, seq)
        merged = array("q", bytes(8 * len(self._chains)))
        for dep in deps:
            for chain, last in enumerate(self.past((dep,)).limits()):
                if last > merged[chain]:
                    merged[chain] = last
        return GraphPast(self, merged, -1, 0)

    def _clock(self, number: int, seq: int) -> Sequence[int]:
        """The clock of a change, except for its own chain's number."""
        chain = self._chains[number]
        at = bisect_right(chain.merges, seq)
        return chain.clocks[at - 1] if at else ()

    # ---- concurrency --------------------------------------------------------------------------------------------
    def _note_concurrency(self, number: int, seq: int) -> None:
        """Remember a change that was just added, and all it is concurrent with, as concurrent."""
        limits = self._clock(number, seq)
        apart = False
        for other, chain in enumerate(self._chains):
            last = len(chain.hashes)
            limit = limits[other] if other < len(limits) else 0
            if other != number and limit < last:
                apart = True
                _extend(chain.concurrent, limit + 1, last)
        if apart:
            _extend(self._chains[number].concurrent, seq, seq)

    def concurrent(self) -> Iterator[bytes]:
        """The changes of which some other change is neither ancestor nor descendant (or slightly more of them)."""
        for chain in self._chains:
            for first, last in chain.concurrent:
                yield from chain.hashes[first - 1 : last]


def _extend(ranges: list[tuple[int, int]], first: int, last: int) -> None:
    """Add one range to ascending ranges that end no later than it does."""
    while ranges and ranges[-1][1] >= first - 1:
        before = ranges.pop()
        first, last = min(first, before[0]), max(last, before[1])
    ranges.append((first, last))

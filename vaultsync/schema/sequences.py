"""Ordered elements: how one list becomes another with as few changes as possible, and where new elements stand.

Two pure steps, both independent of how elements are spelt as cells:

``plan``   compares what the caller saw with what he wants: which elements stay, change in place, move or go, and
           what is new. Whatever he did not see is not in the plan, hence survives.
``place``  gives positions to new and moved elements among those that stay. Positions that are there are left alone,
           except that the right one of two equal neighbours moves when something must go between them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from vaultsync.limits import MAX_DIFF_CELLS
from vaultsync.schema.cells import Scalar, fill, spread

__all__ = ["Plan", "Slot", "common", "merge", "place", "plan"]


# ---- comparing --------------------------------------------------------------------------------------------------
def common(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pairs (i, j) with ``old[i] == new[j]``, ascending in both: a longest common subsequence, or a good one.

    Exact for blocks up to ``MAX_DIFF_CELLS``; larger ones are cut at values that occur once on both sides (patience
    diff), so that the time stays near linear also for long notes and for hostile ones.
    """
    pairs: list[tuple[int, int]] = []
    blocks = [(0, len(old), 0, len(new))]
    while blocks:
        a, b, c, d = blocks.pop()
        while a < b and c < d and old[a] == new[c]:
            pairs.append((a, c))
            a, c = a + 1, c + 1
        while a < b and c < d and old[b - 1] == new[d - 1]:
            b, d = b - 1, d - 1
            pairs.append((b, d))
        if a == b or c == d:
            continue
        if (b - a) * (d - c) <= MAX_DIFF_CELLS:
            pairs += [(a + i, c + j) for i, j in _exact(old[a:b], new[c:d])]
        elif anchors := _anchors(old, new, (a, b, c, d)):
            starts = [(a, c), *((i + 1, j + 1) for i, j in anchors)]
            ends = [*anchors, (b, d)]
            pairs += anchors
            blocks += [(i, k, j, m) for (i, j), (k, m) in zip(starts, ends, strict=True)]
    return sorted(pairs)


def _exact(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The longest common subsequence by the usual table; ties keep the earlier element."""
    lengths = [[0] * (len(new) + 1)]
    for value in reversed(old):
        below, row = lengths[-1], [0] * (len(new) + 1)
        for j in range(len(new) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if value == new[j] else max(below[j], row[j + 1])
        lengths.append(row)
    lengths.reverse()
    pairs, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        if old[i] == new[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _anchors(
    old: Sequence[Hashable], new: Sequence[Hashable], block: tuple[int, int, int, int]
) -> list[tuple[int, int]]:
    """Values that occur once on each side of a block, the longest ascending run of them."""
    a, b, c, d = block
    once_old, once_new = _once(old, a, b), _once(new, c, d)
    shared = [(i, once_new[value]) for value, i in once_old.items() if value in once_new]
    tails: list[int] = []  # tails[n]: the smallest j that ends an ascending run of n + 1
    ends: list[int] = []
    before: list[int] = []
    for at, (_, j) in enumerate(shared):  # ascending in i already
        n = bisect_left(tails, j)
        before.append(ends[n - 1] if n else -1)
        tails[n : n + 1], ends[n : n + 1] = [j], [at]
    run, at = [], ends[-1] if ends else -1
    while at >= 0:
        run.append(shared[at])
        at = before[at]
    return run[::-1]


def _once(values: Sequence[Hashable], start: int, end: int) -> dict[Hashable, int]:
    first: dict[Hashable, int] = {}
    twice: set[Hashable] = set()
    for i in range(start, end):
        if values[i] in first:
            twice.add(values[i])
        else:
            first[values[i]] = i
    return {value: i for value, i in first.items() if value not in twice}


# ---- planning ---------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Slot:
    """One element of the wanted list. ``id`` None: new. ``value`` is written when ``written`` is set."""

    id: str | None
    value: Scalar
    written: bool = False
    moved: bool = False


@dataclass(slots=True)
class Plan:
    """What turns the seen list into the wanted one: the wanted list by slots, and the ids of what goes."""

    wanted: list[Slot]
    removed: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.removed and not any(slot.written or slot.moved for slot in self.wanted)


def plan(seen: Sequence[tuple[str, Scalar]], wanted: Sequence[Scalar]) -> Plan:
    """Compare (id, value) pairs as seen with wanted values: same value keeps its id, also when moved; a value between
    the same neighbours replaces the one that was there."""
    slots: list[Slot | None] = [None] * len(wanted)
    pairs = common([value for _, value in seen], wanted)
    for i, j in pairs:
        slots[j] = Slot(seen[i][0], wanted[j])
    kept = {i for i, _ in pairs}
    loose: dict[Scalar, list[int]] = {}  # seen but in no pair, by value: candidates for a move
    for i in range(len(seen) - 1, -1, -1):
        if i not in kept:
            loose.setdefault(seen[i][1], []).append(i)
    for j, value in enumerate(wanted):
        if slots[j] is None and loose.get(value):
            i = loose[value].pop()
            slots[j] = Slot(seen[i][0], value, moved=True)
            kept.add(i)
    removed: list[str] = []
    starts = [(0, 0), *((i + 1, j + 1) for i, j in pairs)]
    ends = [*pairs, (len(seen), len(wanted))]
    for (a, c), (b, d) in zip(starts, ends, strict=True):
        out = [i for i in range(a, b) if i not in kept]
        into = [j for j in range(c, d) if slots[j] is None]
        for i, j in zip(out, into, strict=False):
            slots[j] = Slot(seen[i][0], wanted[j], written=True)
        removed += [seen[i][0] for i in out[len(into) :]]
    return Plan([slot or Slot(None, wanted[j], written=True) for j, slot in enumerate(slots)], removed)


# ---- placing ----------------------------------------------------------------------------------------------------
def merge(staying: Sequence[str], wanted: Sequence[str], loose: frozenset[str]) -> list[str]:
    """One order: those that stay, as they stand, and each ``loose`` one (new or moved) right after its predecessor in
    ``wanted`` (at the front when it has none that is still there)."""
    after: dict[str | None, list[str]] = {}
    anchor: str | None = None
    there = set(staying)
    for name in wanted:
        if name in loose:
            after.setdefault(anchor, []).append(name)
        elif name in there:
            anchor = name
    order = after.get(None, [])
    for name in staying:
        order.append(name)
        order += after.get(name, [])
    return order


def place(order: Sequence[str], standing: Mapping[str, str]) -> dict[str, str]:
    """Positions to write so that the elements stand in ``order`` by (position, id).

    ``standing``: the positions that are there already, ascending by (position, id) along ``order``. Touches as few of
    them as possible; all are spread anew only where no room is left.
    """
    made: dict[str, str] = {}
    run: list[str] = []
    left: str | None = None
    for name in [*order, None]:
        right = None if name is None else standing.get(name)
        if name is not None and (right is None or (run and left is not None and right <= left)):
            run.append(name)  # needs a position, or stood level with its left neighbour: moves too
            continue
        if run:
            found = fill(left, right, len(run))
            if found is None:
                return _anew(order, standing)
            made.update(zip(run, found, strict=True))
            run = []
        left = right
    return made


def _anew(order: Sequence[str], standing: Mapping[str, str]) -> dict[str, str]:
    return {name: new for name, new in zip(order, spread(len(order)), strict=True) if standing.get(name) != new}

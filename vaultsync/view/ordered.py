"""A persistent sorted map: a new version shares every chunk that did not change with the one it came from.

Keys are kept in chunks of about sqrt(N). Changing k keys copies the list of chunks and at most k chunks, so it costs
about k * sqrt(N) whatever N is; a reader of an older version never notices. Nothing here knows what it stores.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isqrt
from typing import Any, Generic, TypeVar

__all__ = ["GONE", "OrderedMap", "Removed"]

K = TypeVar("K", bound=Any)
V = TypeVar("V")

_SMALLEST = 32  # below this, splitting chunks costs more than it saves


class Removed:
    """What a key is set to when it is removed (``None`` may be a value)."""


GONE = Removed()


class OrderedMap(Generic[K, V]):
    """An immutable map in the order of its keys. Make one with :meth:`build`, derive others with :meth:`changed`."""

    __slots__ = ("_chunks", "_firsts", "_offsets", "_size")

    def __init__(self) -> None:
        self._chunks: list[Any] = []  # pairs (keys, values), or what `of_pieces` got
        self._firsts: list[K] = []  # the first key of each chunk
        self._offsets: list[int] | None = None  # entries before each chunk; computed when an index is asked for
        self._size = 0

    @classmethod
    def build(cls, items: Iterable[tuple[K, V]]) -> OrderedMap[K, V]:
        """From pairs in any order; the last of equal keys wins. O(N log N)."""
        merged = dict(items)
        keys = sorted(merged)
        return cls._of(_cut(keys, [merged[key] for key in keys], _target(len(keys))))

    @classmethod
    def _of(cls, chunks: list[tuple[list[K], list[V]]]) -> OrderedMap[K, V]:
        made = cls()
        made._chunks = chunks
        made._firsts = [keys[0] for keys, _ in chunks]
        made._size = sum(len(keys) for keys, _ in chunks)
        return made

    @classmethod
    def of_pieces(cls, chunks: list[Any], firsts: list[K], size: int) -> OrderedMap[K, V]:
        """From chunks that unpack and index like (keys, values) and may make these when asked; ``value(i)`` of one
        gives a single value. ``firsts``: the first key of each; ``size``: how many keys in all."""
        made = cls()
        made._chunks, made._firsts, made._size = chunks, firsts, size
        return made

    def with_pieces(self, change: Callable[[Any], Any]) -> OrderedMap[K, V]:
        """The same keys, every chunk replaced by what ``change`` makes of it."""
        return self.of_pieces([change(chunk) for chunk in self._chunks], self._firsts, self._size)

    @property
    def pieces(self) -> Sequence[Any]:
        """The chunks in order, as they are: pairs (keys, values), or what `of_pieces` got."""
        return self._chunks

    def changed(self, changes: Mapping[K, V | Removed]) -> OrderedMap[K, V]:
        """This map with some keys set, or removed where the value is ``GONE``. The receiver stays as it is."""
        if not changes:
            return self
        if not self._chunks:
            return self.build((key, value) for key, value in changes.items() if not isinstance(value, Removed))
        parts: dict[int, dict[K, V | Removed]] = {}
        for key, value in changes.items():
            parts.setdefault(max(bisect_right(self._firsts, key) - 1, 0), {})[key] = value
        target = _target(self._size + len(changes))
        chunks: list[tuple[list[K], list[V]]] = []
        firsts: list[K] = []
        size, done = self._size, 0
        for index in sorted(parts):
            old = self._chunks[index]
            merged = _merge(old, parts[index], target)
            chunks += self._chunks[done:index]
            firsts += self._firsts[done:index]
            chunks += merged
            firsts += [keys[0] for keys, _ in merged]
            size += sum(len(keys) for keys, _ in merged) - len(old[0])
            done = index + 1
        chunks += self._chunks[done:]
        firsts += self._firsts[done:]
        made = self.of_pieces(chunks, firsts, size)
        if len(chunks) > 4 * isqrt(made._size) + 8:  # many removals left crumbs: sweep them up, rarely
            return self._of(_cut(list(made), list(made.values()), _target(made._size)))
        return made

    def get(self, key: K, default: V | None = None) -> V | None:
        """The value under a key, or ``default``."""
        at = bisect_right(self._firsts, key) - 1
        if at < 0:
            return default
        keys = self._chunks[at][0]
        index = bisect_left(keys, key)
        return self._value(self._chunks[at], index) if index < len(keys) and keys[index] == key else default

    @staticmethod
    def _value(chunk: Any, index: int) -> V:
        found: V = chunk[1][index] if type(chunk) is tuple else chunk.value(index)
        return found

    def at(self, index: int) -> V:
        """The value at a place in the order; ``IndexError`` outside of ``-len .. len-1``."""
        if index < 0:
            index += self._size
        if not 0 <= index < self._size:
            raise IndexError("no entry at that place")
        if self._offsets is None:
            offsets, total = [], 0
            for piece in self._chunks:
                offsets.append(total)
                total += len(piece[0]) if type(piece) is tuple else piece.size
            self._offsets = offsets
        chunk = bisect_right(self._offsets, index) - 1
        return self._value(self._chunks[chunk], index - self._offsets[chunk])

    def values(self) -> Iterator[V]:
        """Every value in the order of the keys."""
        for chunk in self._chunks:
            yield from chunk[1]

    def items(self) -> Iterator[tuple[K, V]]:
        """Every pair in the order of the keys."""
        for keys, values in self._chunks:
            yield from zip(keys, values, strict=True)

    def __iter__(self) -> Iterator[K]:
        for chunk in self._chunks:
            yield from chunk[0]

    def __len__(self) -> int:
        return self._size

    def shared_with(self, other: OrderedMap[K, V]) -> tuple[int, int]:
        """How many chunks are the very same objects as the other's, and how many there are: for tests and diagnosis."""
        mine = {id(chunk) for chunk in self._chunks}
        return sum(id(chunk) in mine for chunk in other._chunks), len(self._chunks)


def _target(size: int) -> int:
    return max(_SMALLEST, isqrt(size))


def _cut(keys: list[K], values: list[V], target: int) -> list[tuple[list[K], list[V]]]:
    return [(keys[i : i + target], values[i : i + target]) for i in range(0, len(keys), target)]


def _merge(
    chunk: tuple[list[K], list[V]], changes: Mapping[K, V | Removed], target: int
) -> list[tuple[list[K], list[V]]]:
    merged: dict[K, Any] = dict(zip(*chunk, strict=True))
    for key, value in changes.items():
        if isinstance(value, Removed):
            merged.pop(key, None)
        else:
            merged[key] = value
    keys = sorted(merged)
    values = [merged[key] for key in keys]
    if len(keys) > 2 * target:
        return _cut(keys, values, target)
    return [(keys, values)] if keys else []

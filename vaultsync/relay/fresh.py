"""What was answered a moment ago, for all who ask the same: news of one edit go to every device that waits for them.

An edit of a bucket wakes all its devices, which ask what is new and then fetch it. The first asks the database, the
others share its answer; what was just stored is still in memory. Whatever is told of a bucket makes all of this
forgotten, in this process and, by the database, in the others; where that comes late, in two seconds at most.
Lives in one event loop; no locks.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

__all__ = ["Fresh"]

T = TypeVar("T")
SECONDS: Final = 2.0
_MOST_BYTES: Final = 8 << 20
_LARGEST: Final = 64 << 10
_MOST_BUCKETS: Final = 10_000
_BUCKET_BYTES: Final = 1024  # counted besides its objects


class _Known:
    def __init__(self, until: float) -> None:
        self.until = until
        self.answers: dict[object, asyncio.Task[Any]] = {}
        self.objects: dict[str, bytes] = {}


class Fresh:
    """Of one process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._held = 0

    async def answer(self, bucket: bytes, question: object, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``ask`` answers, or answered whoever asked the same since the bucket was last told of. Whoever waits to
        be told of it from before asking misses nothing: what changes after the answer is told afterwards."""
        known = self._of(bucket)
        task: asyncio.Task[T] | None = known.answers.get(question)
        if task is None:
            task = known.answers[question] = asyncio.create_task(ask())

            def done(task: asyncio.Task[T]) -> None:
                if task.cancelled() or task.exception() is not None:
                    known.answers.pop(question, None)

            task.add_done_callback(done)
        return await asyncio.shield(task)  # one who goes away leaves the others their answer

    def stored(self, bucket: bytes, name: str, data: bytes) -> None:
        """An object was stored just now."""
        if len(data) <= _LARGEST:
            known = self._of(bucket)
            if name not in known.objects:
                known.objects[name] = data
                self._held += len(data)
                self._make_room()

    def object(self, bucket: bytes, name: str) -> bytes | None:
        """The bytes, if they were stored a moment ago."""
        known = self._known.get(bucket)
        return known.objects.get(name) if known is not None and self._clock() < known.until else None

    def forget(self, bucket: bytes | None) -> None:
        """Something changed in the bucket; None: in any, perhaps."""
        if bucket is None:
            self._known.clear()
            self._held = 0
        elif (known := self._known.pop(bucket, None)) is not None:
            self._held -= _size(known)

    def _of(self, bucket: bytes) -> _Known:
        now, known = self._clock(), self._known.get(bucket)
        if known is None or now >= known.until:
            self.forget(bucket)
            known = self._known[bucket] = _Known(now + SECONDS)
            self._held += _BUCKET_BYTES
            self._make_room()
        return known

    def _make_room(self) -> None:
        while len(self._known) > 1 and (self._held > _MOST_BYTES or len(self._known) > _MOST_BUCKETS):
            _, known = self._known.popitem(last=False)
            self._held -= _size(known)


def _size(known: _Known) -> int:
    return _BUCKET_BYTES + sum(len(data) for data in known.objects.values())

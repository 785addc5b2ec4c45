"""Devices of one process that wait for news of their buckets. Lives in one event loop; no locks."""

from __future__ import annotations

import asyncio

__all__ = ["Newsroom"]


class Newsroom:
    """``waiting`` counts the devices that wait just now."""

    def __init__(self) -> None:
        self._rooms: dict[bytes, set[asyncio.Future[None]]] = {}
        self.waiting = 0
        self.closed = False

    def enter(self, bucket: bytes) -> asyncio.Future[None]:
        """Done as soon as something in the bucket changes from now on. Enter first, look at the bucket afterwards."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.closed:
            future.set_result(None)
        self._rooms.setdefault(bucket, set()).add(future)
        self.waiting += 1
        return future

    def leave(self, bucket: bytes, future: asyncio.Future[None]) -> None:
        """Whoever entered leaves, once."""
        self.waiting -= 1
        room = self._rooms[bucket]
        room.discard(future)
        if not room:
            del self._rooms[bucket]

    def tell(self, bucket: bytes | None) -> None:
        """Something changed in ``bucket``; None when any may have, after a time in which nothing could be heard."""
        rooms = self._rooms.values() if bucket is None else [self._rooms.get(bucket, set())]
        for room in rooms:
            for future in room:
                if not future.done():
                    future.set_result(None)

    def close(self) -> None:
        """Nobody is kept waiting any more."""
        self.closed = True
        self.tell(None)

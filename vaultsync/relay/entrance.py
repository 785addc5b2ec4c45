"""Who asks, and whether they may: host, rates, signature, membership; and bodies within bounds.

A relay is never trusted by devices and knows nothing about what it keeps. It keeps strangers out of a bucket.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

from starlette.requests import Request

from vaultsync.relay.access import Access
from vaultsync.relay.config import RelayConfig
from vaultsync.relay.rates import Rates
from vaultsync.relay.requests import Refusal, Signed, fields_of, length_of, read_body, refuse, signed_of
from vaultsync.relay.storage import Storage
from vaultsync.relay.tickets import Tickets

__all__ = ["NO_BUCKET", "Entrance", "bucket_in"]

_BUCKET: Final = re.compile(r"[0-9a-f]{64}")
_ACCESS_KEPT: Final = 10_000
_BODY_SECONDS: Final = 30.0
_SLOWEST_BYTES: Final = 4096.0
NO_BUCKET: Final = (404, "no-such-bucket", "there is no such bucket: begin it by sending its members")


class Entrance:
    """Of one process. Everything raises ``Refusal`` for whoever may not go on."""

    def __init__(
        self, config: RelayConfig, storage: Storage, now: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self._config, self._storage, self._now = config, storage, now
        self._by_bucket = Rates(config.bucket_rate, clock)
        self._by_address = Rates(config.address_rate, clock)
        self._names = config.known_names
        self._known: dict[bytes, Access] = {}
        self._heard = 0
        self._held = 0
        self.tickets: Tickets | None = None
        """Set when the database is open."""

    def unsigned(self, request: Request, cost: float = 1.0) -> None:
        """Anybody may ask this, but not without end."""
        self._host(request)
        wait = self._by_address.take(request.client.host if request.client else "", cost)
        if wait:
            refuse(429, "rate", "too many requests from this address", after=wait)

    def _host(self, request: Request) -> None:
        host = request.headers.get("host", "").lower()
        name = re.sub(r":[0-9]+$", "", host).strip("[]")
        if name not in self._names:
            refuse(421, "host", "this relay was not told that it has this name: start it with the names it is known by")

    async def member(self, request: Request) -> tuple[bytes, Signed]:
        """The bucket, and the request as signed by one of its members."""
        signed, bucket = self.signed(request), self.bucket(request)
        access = await self.access(bucket)
        if access is not None and signed.key not in access.members:  # let in through another process a moment ago?
            access = await self.access(bucket, fresh=True)
        if access is None:
            refuse(*NO_BUCKET)
        if signed.key not in access.members:
            self.unsigned(request)
            refuse(403, "not-a-member", "the key that signed is not a member of this bucket")
        wait = self._by_bucket.take(bucket)
        if wait:
            refuse(429, "rate", "too many requests for this bucket", after=wait)
        return bucket, signed

    def signed(self, request: Request) -> Signed:
        """Rightly signed by the key that it names, whoever that is."""
        self._host(request)
        try:
            fields = fields_of(request)
            tickets = self.tickets
            expires = tickets.expiry(bytes.fromhex(fields[2]), int(self._now())) if tickets else None
            return signed_of(request, expires, fields)
        except Refusal as refusal:
            if refusal.code != "nonce":  # which every honest device meets now and then
                self.unsigned(request)
            raise

    def bucket(self, request: Request) -> bytes:
        """The bucket in the path."""
        return bucket_in(request.path_params["bucket"])

    async def access(self, bucket: bytes, *, fresh: bool = False) -> Access | None:
        """As stored, and verified once; kept until `forget` tells that it changed, here or in another process."""
        known = None if fresh else self._known.get(bucket)
        if known is None:
            heard = self._heard
            stored = await self._storage.access(bucket)
            if stored is None:
                return None
            known = Access.read(bucket, stored)
            if heard == self._heard:  # nothing was told while we looked
                if len(self._known) >= _ACCESS_KEPT:
                    self._known.clear()
                self._known[bucket] = known
        return known

    def forget(self, bucket: bytes | None) -> None:
        """The list of a bucket changed; None: of any, perhaps."""
        self._heard += 1
        if bucket is None:
            self._known.clear()
        else:
            self._known.pop(bucket, None)

    async def body(self, request: Request, signed: Signed, most: int) -> bytes:
        """A body in memory, within what all bodies together may take, and not slower than a slow line."""
        length = length_of(request, most)
        if self._held + length > self._config.body_bytes:
            refuse(503, "crowded", "too many uploads at once", after=2.0)
        self._held += length
        try:
            async with asyncio.timeout(_BODY_SECONDS + length / _SLOWEST_BYTES):
                return await read_body(request, signed, length)
        except TimeoutError:
            raise Refusal(408, "slow", "the body came too slowly") from None
        finally:
            self._held -= length


def bucket_in(text: str) -> bytes:
    """A bucket's id, from a path."""
    if not _BUCKET.fullmatch(text):
        refuse(404, "no-such-bucket", "a bucket's id is 64 hex digits")
    return bytes.fromhex(text)

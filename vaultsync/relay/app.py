"""The relay as an ASGI application: what it answers to which request. The protocol is described in ``openapi``.

A relay is never trusted by devices and knows nothing about what it keeps. It keeps strangers out of a bucket, keeps a
name bound to its bytes, and tells all devices that wait as soon as something is new.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from vaultsync.errors import VaultSyncError
from vaultsync.limits import MAX_ACCESS_BYTES, MAX_LISTING_BYTES
from vaultsync.relay.access import Access, AccessError
from vaultsync.relay.config import RelayConfig
from vaultsync.relay.metrics import Metrics, log, log_request
from vaultsync.relay.newsroom import Newsroom
from vaultsync.relay.openapi import description
from vaultsync.relay.rates import Rates
from vaultsync.relay.requests import Refusal, Signed, fields_of, is_object_name, length_of, read_body, refuse, signed_of
from vaultsync.relay.storage import Cursor, Driver, Outcome, Quota, Replayed, Storage, StorageAway
from vaultsync.relay.tickets import Tickets

__all__ = ["Relay", "create_app"]

_BUCKET: Final = re.compile(r"[0-9a-f]{64}")
_LOCATOR: Final = re.compile(r"[0-9a-f]{32}")
_SWEEP_SECONDS: Final = 60.0
_ACCESS_KEPT: Final = 10_000
_BYTES_PER_CHECK: Final = 4096.0
_BODY_SECONDS: Final = 30.0
_SLOWEST_BYTES: Final = 4096.0
_OCTETS: Final = "application/octet-stream"
_OUTCOMES: Final[dict[Outcome, tuple[int, str, str]]] = {
    Outcome.TAKEN: (409, "taken", "the name already holds something else"),
    Outcome.FULL: (507, "quota", "the bucket holds as much as it may"),
    Outcome.ALL_FULL: (507, "full", "the relay holds as much as it may"),
    Outcome.CLAIMED: (409, "claimed", "this account place belongs to another bucket"),
    Outcome.NO_BUCKET: (404, "no-such-bucket", "there is no such bucket: begin it by sending its members"),
}


class Relay:
    """State and answers of one process."""

    def __init__(
        self,
        config: RelayConfig,
        driver: Driver,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.config, self._now, self._clock, self._entropy = config, now, clock, entropy
        self.storage = Storage(driver, entropy)
        self.news = Newsroom()
        self.metrics = Metrics()
        self._by_bucket = Rates(config.bucket_rate, clock)
        self._by_address = Rates(config.address_rate, clock)
        self._quota = Quota(config.bucket_bytes, config.bucket_objects, config.total_bytes)
        self._parsed: dict[bytes, tuple[bytes, Access]] = {}
        self._tickets: Tickets | None = None
        self._held = 0
        self.failure: VaultSyncError | None = None

    # ---- life -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Opens the database, and closes it when the last request has been answered."""
        try:
            try:
                secret = await self.storage.start(self.news.tell)
            except VaultSyncError as error:
                self.failure = error
                raise
            self._tickets = Tickets(secret, self.config.nonce_seconds, self._entropy)
            sweeper = asyncio.create_task(self._sweep())
            log.info("started")
            try:
                yield
            finally:
                self.news.close()
                sweeper.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sweeper
        finally:
            await self.storage.close()
            log.info("stopped")

    async def _sweep(self) -> None:
        while True:
            with contextlib.suppress(StorageAway):
                await self.storage.sweep(int(self._now()))
            await asyncio.sleep(_SWEEP_SECONDS)

    # ---- who asks -------------------------------------------------------------------------------------------------

    def _unsigned(self, request: Request, cost: float = 1.0) -> None:
        """Anybody may ask this, but not without end."""
        self._host(request)
        wait = self._by_address.take(request.client.host if request.client else "", cost)
        if wait:
            refuse(429, "rate", "too many requests from this address", after=wait)

    def _host(self, request: Request) -> None:
        host = request.headers.get("host", "").lower()
        name = re.sub(r":[0-9]+$", "", host).strip("[]")
        if name not in self.config.known_names:
            refuse(421, "host", "this relay was not told that it has this name: start it with the names it is known by")

    async def _member(self, request: Request) -> tuple[bytes, Signed]:
        """The bucket, and the request as signed by one of its members."""
        signed, bucket = self._signed(request), self._bucket(request)
        access = await self._access(bucket)
        if access is None:
            refuse(404, "no-such-bucket", "there is no such bucket: begin it by sending its members")
        if signed.key not in access.members:
            self._unsigned(request)
            refuse(403, "not-a-member", "the key that signed is not a member of this bucket")
        wait = self._by_bucket.take(bucket)
        if wait:
            refuse(429, "rate", "too many requests for this bucket", after=wait)
        return bucket, signed

    def _signed(self, request: Request) -> Signed:
        self._host(request)
        try:
            fields = fields_of(request)
            tickets = self._tickets
            expires = tickets.expiry(bytes.fromhex(fields[2]), int(self._now())) if tickets else None
            return signed_of(request, expires, fields)
        except Refusal as refusal:
            if refusal.code != "nonce":  # which every honest device meets now and then
                self._unsigned(request)
            raise

    def _bucket(self, request: Request) -> bytes:
        text = request.path_params["bucket"]
        if not _BUCKET.fullmatch(text):
            refuse(404, "no-such-bucket", "a bucket's id is 64 hex digits")
        return bytes.fromhex(text)

    async def _access(self, bucket: bytes) -> Access | None:
        """As stored. Signatures are verified once a process and state, not once a request."""
        stored = await self.storage.access(bucket)
        if stored is None:
            return None
        known = self._parsed.get(bucket)
        if known is None or known[0] != stored:
            if len(self._parsed) >= _ACCESS_KEPT:
                self._parsed.clear()
            known = self._parsed[bucket] = (stored, Access.read(bucket, stored))
        return known[1]

    # ---- answers --------------------------------------------------------------------------------------------------

    async def challenge(self, request: Request) -> Response:
        """A nonce to sign requests with."""
        self._unsigned(request)
        if self._tickets is None:
            raise StorageAway
        nonce = self._tickets.issue(int(self._now()))
        return JSONResponse({"nonce": nonce.hex(), "seconds": self.config.nonce_seconds})

    async def read_members(self, request: Request) -> Response:
        """The signed list of members."""
        bucket, _ = await self._member(request)
        access = await self._access(bucket)
        return Response(access.to_json() if access else b"{}", media_type="application/json")

    async def write_members(self, request: Request) -> Response:
        """Begin a bucket, add members, or (signed by the owner) replace the list."""
        signed, bucket = self._signed(request), self._bucket(request)
        self._unsigned(request)
        body = await self._body(request, signed, MAX_ACCESS_BYTES)
        self._unsigned(request, len(body) / _BYTES_PER_CHECK)  # anybody may make us verify signatures
        try:
            sent = Access.read(bucket, body)
            for _ in range(5):  # until nobody else changed it meanwhile
                before = await self._access(bucket)
                if before is None and not self.config.new_buckets:
                    refuse(403, "closed", "this relay takes no new buckets")
                after = sent if before is None else before.merged(sent)
                if signed.key not in after.members:
                    refuse(403, "not-a-member", "the key that signed is not a member of this bucket")
                stored = before.to_json() if before else None
                if after.to_json() == stored or await self.storage.set_access(
                    bucket, stored, after.to_json(), signed.once
                ):
                    return Response(after.to_json(), media_type="application/json")
        except AccessError as error:
            refuse({"signature": 403, "stale": 409}.get(error.code, 400), error.code, str(error))
        raise Refusal(503, "busy", "the list of members is being changed; try again", after=1.0)

    async def put(self, request: Request) -> Response:
        """Store an object."""
        bucket, signed = await self._member(request)
        name = self._name(request)
        data = await self._body(request, signed, self.config.object_bytes)
        self.metrics.received += len(data)
        outcome, cursor = await self.storage.put(bucket, name, data, self._quota, signed.once)
        if outcome in _OUTCOMES:
            refuse(*_OUTCOMES[outcome])
        created = outcome is Outcome.STORED
        return JSONResponse({"cursor": str(cursor), "created": created}, 201 if created else 200)

    async def get(self, request: Request) -> Response:
        """The bytes of an object."""
        bucket, _ = await self._member(request)
        return self._object(await self.storage.get(bucket, self._name(request)))

    async def delete(self, request: Request) -> Response:
        """Remove an object."""
        bucket, signed = await self._member(request)
        cursor = await self.storage.delete(bucket, self._name(request), signed.once)
        return JSONResponse({"cursor": str(cursor)})

    async def objects(self, request: Request) -> Response:
        """Names, all or those that changed since a cursor."""
        bucket, _ = await self._member(request)
        prefix, since = request.query_params.get("prefix", ""), request.query_params.get("since", "")
        if prefix and not (prefix.endswith("/") and is_object_name(prefix[:-1])):
            refuse(400, "malformed", "a prefix is a name with a slash at its end")
        return self._listing(await self.storage.changes(bucket, prefix, Cursor.parse(since)))

    async def wait(self, request: Request) -> Response:
        """Answers as soon as the bucket is not any more as it was at the cursor, or when the time is up."""
        bucket, _ = await self._member(request)
        since = Cursor.parse(request.query_params.get("since", ""))
        seconds = self._seconds(request.query_params.get("seconds", ""))
        if self.news.waiting >= self.config.max_waiting:
            refuse(503, "crowded", "too many devices are waiting here", after=5.0)
        deadline = self._clock() + seconds
        while True:
            future = self.news.enter(bucket)
            try:
                cursor = await self.storage.cursor(bucket)
                left = deadline - self._clock()
                if cursor is None or cursor != since or left <= 0 or self.news.closed:
                    break
                gone = asyncio.ensure_future(_disconnected(request))
                try:
                    await asyncio.wait({future, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    if gone.done():
                        return Response(status_code=499)
                finally:
                    gone.cancel()
            finally:
                self.news.leave(bucket, future)
        if cursor is None:
            refuse(*_OUTCOMES[Outcome.NO_BUCKET])
        return JSONResponse({"cursor": str(cursor), "news": cursor != since})

    async def account_names(self, request: Request) -> Response:
        """The account slots below a locator, for whoever knows it: a device that joins has no key yet."""
        bucket, prefix = await self._place(request)
        return self._listing(await self.storage.changes(bucket, prefix, None))

    async def account_object(self, request: Request) -> Response:
        """One account slot."""
        bucket, prefix = await self._place(request)
        name = prefix + request.path_params["leaf"]
        return self._object(await self.storage.get(bucket, name) if is_object_name(name) else None)

    async def health(self, request: Request) -> Response:
        """Whether the database answers."""
        await self.storage.cursor(bytes(32))
        return JSONResponse({"status": "closing" if self.news.closed else "ok"}, 503 if self.news.closed else 200)

    async def prometheus(self, request: Request) -> Response:
        """Counts."""
        usage = await self.storage.usage()
        gauges: dict[str, float] = {"waiting_devices": self.news.waiting, "buckets": usage.buckets}
        gauges |= {"objects": usage.objects, "stored_bytes": usage.bytes}
        return PlainTextResponse(self.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def openapi(self, request: Request) -> Response:
        """The protocol, for programs."""
        return JSONResponse(description())

    # ---- parts ----------------------------------------------------------------------------------------------------

    async def _place(self, request: Request) -> tuple[bytes, str]:
        self._unsigned(request)
        locator = request.path_params["locator"]
        if not _LOCATOR.fullmatch(locator):
            refuse(404, "missing", "a locator is 32 hex digits")
        bucket = await self.storage.claimed(locator)
        if bucket is None:
            refuse(404, "missing", "nothing is stored there")
        return bucket, f"account/{locator}/"

    async def _body(self, request: Request, signed: Signed, most: int) -> bytes:
        """A body in memory, within what all bodies together may take, and not slower than a slow line."""
        length = length_of(request, most)
        if self._held + length > self.config.body_bytes:
            refuse(503, "crowded", "too many uploads at once", after=2.0)
        self._held += length
        try:
            async with asyncio.timeout(_BODY_SECONDS + length / _SLOWEST_BYTES):
                return await read_body(request, signed, length)
        except TimeoutError:
            raise Refusal(408, "slow", "the body came too slowly") from None
        finally:
            self._held -= length

    def _name(self, request: Request) -> str:
        name = str(request.path_params["name"])
        if not is_object_name(name):
            refuse(400, "malformed", "not an object's name")
        return name

    def _object(self, data: bytes | None) -> Response:
        if data is None:
            refuse(404, "missing", "there is no such object")
        self.metrics.sent += len(data)
        return Response(data, media_type=_OCTETS)

    def _listing(self, changes: Any) -> Response:
        if changes is None:
            refuse(*_OUTCOMES[Outcome.NO_BUCKET])
        said = {"cursor": str(changes.cursor), "whole": changes.whole, "added": changes.added, "gone": changes.gone}
        body = json.dumps(said, separators=(",", ":")).encode()
        if len(body) > MAX_LISTING_BYTES:
            refuse(507, "too-many", "the bucket holds more names than can be listed")
        return Response(body, media_type="application/json")

    def _seconds(self, text: str) -> float:
        try:
            seconds = float(text or self.config.poll_seconds)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= 86_400:
            refuse(400, "malformed", "seconds= is how long to wait at most")
        return min(seconds, self.config.poll_seconds)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def create_app(
    config: RelayConfig,
    *,
    driver: Driver | None = None,
    now: Callable[[], float] = time.time,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Starlette:
    """The relay as an ASGI application; ``app.state.relay`` is its ``Relay``.

    ``driver``: another database than the one that ``config`` names. Raises ``ExtraMissing``.
    """
    relay = Relay(config, driver or driver_of(config), now=now, entropy=entropy)

    def route(path: str, **methods: Callable[[Request], Awaitable[Response]]) -> Route:
        name = "/".join(part for part in path.split("/") if part)

        async def endpoint(request: Request) -> Response:
            return await _guarded(relay, name, methods[request.method], request)

        return Route(path, endpoint, methods=list(methods))

    routes = [
        route("/health", GET=relay.health),
        route("/openapi.json", GET=relay.openapi),
        route("/v1/challenge", POST=relay.challenge),
        route("/v1/account/{locator}", GET=relay.account_names),
        route("/v1/account/{locator}/{leaf}", GET=relay.account_object),
        route("/v1/{bucket}/members", GET=relay.read_members, PUT=relay.write_members),
        route("/v1/{bucket}/news", GET=relay.wait),
        route("/v1/{bucket}/objects", GET=relay.objects),
        route("/v1/{bucket}/objects/{name:path}", GET=relay.get, PUT=relay.put, DELETE=relay.delete),
    ]
    if config.metrics:
        routes.append(route("/metrics", GET=relay.prometheus))
    app = Starlette(routes=routes, lifespan=relay.lifespan)
    app.state.relay = relay
    return app


async def _guarded(
    relay: Relay, route: str, answer: Callable[[Request], Awaitable[Response]], request: Request
) -> Response:
    """Whatever happens becomes an answer, a count and a line in the log."""
    started, code = time.perf_counter(), ""
    try:
        response = await answer(request)
    except Refusal as refusal:
        code, response = refusal.code, _refused(refusal)
    except Replayed:
        code, response = "replayed", _refused(Refusal(401, "replayed", "this request was carried out before"))
    except StorageAway:
        code, response = "away", _refused(Refusal(503, "away", "the database does not answer", after=1.0))
    except Exception:
        log.exception("bug")
        code, response = "bug", _refused(Refusal(500, "bug", "the relay failed; its log says where"))
    if code:
        relay.metrics.refused[code] += 1
    seconds = time.perf_counter() - started
    sent = len(response.body) if isinstance(response.body, bytes) else 0
    relay.metrics.count(f"{request.method} {route}", response.status_code, seconds)
    log_request(
        f"{request.method} {route}",
        response.status_code,
        seconds,
        int(request.headers.get("content-length", "0")[:12] or 0) if "content-length" in request.headers else 0,
        sent,
        code,
    )
    response.headers["cache-control"] = "no-store"
    response.headers["x-content-type-options"] = "nosniff"
    return response


def _refused(refusal: Refusal) -> Response:
    headers = {"Retry-After": str(math.ceil(refusal.after))} if refusal.after else {}
    if refusal.status in (400, 411, 413):
        headers["Connection"] = "close"  # the rest of a body that nobody reads
    return JSONResponse({"error": refusal.code, "message": str(refusal)}, refusal.status, headers)


def driver_of(config: RelayConfig) -> Driver:
    """The database that ``config`` names."""
    if config.is_postgres:
        from vaultsync.relay.postgres import PostgresDriver

        return PostgresDriver(config.database, connections=config.connections)
    from vaultsync.relay.sqlite import SqliteDriver

    return SqliteDriver(config.database)

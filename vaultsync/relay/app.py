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
from vaultsync.relay.entrance import NO_BUCKET, Entrance, bucket_in
from vaultsync.relay.fresh import Fresh
from vaultsync.relay.guard import guarded, nowhere
from vaultsync.relay.metrics import Metrics, log
from vaultsync.relay.newsroom import Newsroom
from vaultsync.relay.openapi import description
from vaultsync.relay.requests import Refusal, is_object_name, refuse
from vaultsync.relay.shortcut import Application
from vaultsync.relay.storage import LIST, Cursor, Driver, Outcome, Quota, Storage, StorageAway
from vaultsync.relay.tickets import Tickets

__all__ = ["Relay", "create_app"]

_LOCATOR: Final = re.compile(r"[0-9a-f]{32}")
_SWEEP_SECONDS: Final = 60.0
_BYTES_PER_CHECK: Final = 4096.0
_MAILBOX_SECONDS: Final = 25 * 3600
_MAILBOX_ACCESS_BYTES: Final = 4096
_NAMES_WITH_NEWS: Final = 100
_OCTETS: Final = "application/octet-stream"
_OUTCOMES: Final[dict[Outcome, tuple[int, str, str]]] = {
    Outcome.TAKEN: (409, "taken", "the name already holds something else"),
    Outcome.FULL: (507, "quota", "the bucket holds as much as it may"),
    Outcome.ALL_FULL: (507, "full", "the relay holds as much as it may"),
    Outcome.CLAIMED: (409, "claimed", "this account place belongs to another bucket"),
    Outcome.NO_LETTER: (403, "place", "a mailbox holds letters only"),
    Outcome.NO_BUCKET: NO_BUCKET,
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
        self._fresh = Fresh(clock)
        self.metrics = Metrics()
        self._entrance = Entrance(config, self.storage, now, clock)
        self._quota = Quota(config.bucket_bytes, config.bucket_objects, config.total_bytes)
        self.failure: VaultSyncError | None = None

    # ---- life -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Opens the database, and closes it when the last request has been answered."""
        try:
            try:
                secret = await self.storage.start(self._heard)
            except VaultSyncError as error:
                self.failure = error
                raise
            self._entrance.tickets = Tickets(secret, self.config.nonce_seconds, self._entropy)
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

    def _heard(self, told: bytes | None) -> None:
        if told is None or told.startswith(LIST):
            self._entrance.forget(told and told.removeprefix(LIST))
        if told is None or not told.startswith(LIST):
            self._fresh.forget(told)
            self.news.tell(told)
        else:
            self._fresh.forget(told.removeprefix(LIST))

    async def _sweep(self) -> None:
        while True:
            with contextlib.suppress(StorageAway):
                await self.storage.sweep(int(self._now()))
            await asyncio.sleep(_SWEEP_SECONDS)

    # ---- answers --------------------------------------------------------------------------------------------------

    async def challenge(self, request: Request) -> Response:
        """A nonce to sign requests with."""
        self._entrance.unsigned(request)
        if self._entrance.tickets is None:
            raise StorageAway
        nonce = self._entrance.tickets.issue(int(self._now()))
        return JSONResponse({"nonce": nonce.hex(), "seconds": self.config.nonce_seconds})

    async def read_members(self, request: Request) -> Response:
        """The signed list of members."""
        bucket, _ = await self._entrance.member(request)
        access = await self._entrance.access(bucket)
        return Response(access.to_json() if access else b"{}", media_type="application/json")

    async def write_members(self, request: Request) -> Response:
        """Begin a bucket, add members, or (signed by the owner) replace the list."""
        signed, bucket = self._entrance.signed(request), self._entrance.bucket(request)
        self._entrance.unsigned(request)
        body = await self._entrance.body(request, signed, MAX_ACCESS_BYTES)
        self._entrance.unsigned(request, len(body) / _BYTES_PER_CHECK)  # anybody may make us verify signatures
        try:
            sent = Access.read(bucket, body)
            for _ in range(5):  # until nobody else changed it meanwhile
                before = await self._entrance.access(bucket, fresh=True)
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
            refuse({"signature": 403, "stale": 409, "rival": 409}.get(error.code, 400), error.code, str(error))
        raise Refusal(503, "busy", "the list of members is being changed; try again", after=1.0)

    async def roster_names(self, request: Request) -> Response:
        """The lists of devices that are kept, for whoever is a member or was one."""
        bucket, prefix = await self._once_a_member(request)
        return self._listing(await self.storage.changes(bucket, prefix, None))

    async def roster_object(self, request: Request) -> Response:
        """One entry of a list of devices."""
        bucket, prefix = await self._once_a_member(request)
        name = prefix + request.path_params["leaf"]
        return self._object(await self.storage.get(bucket, name) if is_object_name(name) else None)

    async def _once_a_member(self, request: Request) -> tuple[bytes, str]:
        """By the body, a list of this bucket, however old, that lets in whoever signed the request."""
        signed, bucket = self._entrance.signed(request), self._entrance.bucket(request)
        self._entrance.unsigned(request)
        body = await self._entrance.body(request, signed, MAX_ACCESS_BYTES)
        self._entrance.unsigned(request, len(body) / _BYTES_PER_CHECK)
        try:
            there = signed.key in Access.read(bucket, body).members
        except AccessError as error:
            refuse(403 if error.code == "signature" else 400, error.code, str(error))
        if not there:
            refuse(403, "not-a-member", "the list that was sent does not name the key that signed")
        if not _LOCATOR.fullmatch(vault := request.path_params["vault"]):
            refuse(404, "missing", "a vault is 32 hex digits")
        return bucket, f"{vault}/roster/"

    async def open_mailbox(self, request: Request) -> Response:
        """A place where somebody who was invited, and is no member yet, can write to a member for a while."""
        sponsor, signed = await self._entrance.member(request)
        mailbox = bucket_in(request.path_params["mailbox"])
        seconds = self._number(request.query_params.get("seconds", ""), _MAILBOX_SECONDS)
        body = await self._entrance.body(request, signed, _MAILBOX_ACCESS_BYTES)
        try:
            access = Access.read(mailbox, body)
        except AccessError as error:
            refuse(403 if error.code == "signature" else 400, error.code, str(error))
        expires = int(self._now() + seconds)
        outcome = await self.storage.open_mailbox(sponsor, mailbox, access.to_json(), expires, signed.once)
        if outcome is Outcome.FULL:
            refuse(429, "mailboxes", "this bucket has as many open mailboxes as it may", after=60.0)
        if outcome in _OUTCOMES:
            refuse(*_OUTCOMES[outcome])
        return JSONResponse({"created": outcome is Outcome.STORED}, 201 if outcome is Outcome.STORED else 200)

    async def close_mailbox(self, request: Request) -> Response:
        """Remove a mailbox and the letters in it."""
        sponsor, signed = await self._entrance.member(request)
        await self.storage.close_mailbox(sponsor, bucket_in(request.path_params["mailbox"]), signed.once)
        return JSONResponse({})

    async def put(self, request: Request) -> Response:
        """Store an object."""
        bucket, signed = await self._entrance.member(request)
        name = self._name(request)
        data = await self._entrance.body(request, signed, self.config.object_bytes)
        self.metrics.received += len(data)
        outcome, cursor = await self.storage.put(bucket, name, data, self._quota, signed.once)
        if outcome in _OUTCOMES:
            refuse(*_OUTCOMES[outcome])
        created = outcome is Outcome.STORED
        if created:
            self._fresh.stored(bucket, name, data)
        return JSONResponse({"cursor": str(cursor), "created": created}, 201 if created else 200)

    async def get(self, request: Request) -> Response:
        """The bytes of an object."""
        bucket, _ = await self._entrance.member(request)
        name = self._name(request)
        return self._object(self._fresh.object(bucket, name) or await self.storage.get(bucket, name))

    async def delete(self, request: Request) -> Response:
        """Remove an object."""
        bucket, signed = await self._entrance.member(request)
        cursor = await self.storage.delete(bucket, self._name(request), signed.once)
        self._fresh.forget(bucket)
        return JSONResponse({"cursor": str(cursor)})

    async def objects(self, request: Request) -> Response:
        """Names, all or those that changed since a cursor."""
        bucket, _ = await self._entrance.member(request)
        prefix, since = request.query_params.get("prefix", ""), request.query_params.get("since", "")
        if prefix and not (prefix.endswith("/") and is_object_name(prefix[:-1])):
            refuse(400, "malformed", "a prefix is a name with a slash at its end")
        return self._listing(await self.storage.changes(bucket, prefix, Cursor.parse(since)))

    async def wait(self, request: Request) -> Response:
        """Answers as soon as the bucket is not any more as it was at the cursor, or when the time is up."""
        bucket, _ = await self._entrance.member(request)
        since = Cursor.parse(request.query_params.get("since", ""))
        seconds = self._number(request.query_params.get("seconds", ""), self.config.poll_seconds)
        if self.news.waiting >= self.config.max_waiting:
            refuse(503, "crowded", "too many devices are waiting here", after=5.0)
        deadline = self._clock() + seconds
        while True:
            future = self.news.enter(bucket)
            try:
                found = await self._fresh.answer(
                    bucket, since, lambda: self.storage.news(bucket, since, _NAMES_WITH_NEWS)
                )
                left = deadline - self._clock()
                if found is None or found[0] != since or left <= 0 or self.news.closed:
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
        if found is None:
            refuse(*_OUTCOMES[Outcome.NO_BUCKET])
        cursor, changes = found
        said = {"cursor": str(cursor), "news": cursor != since}
        return JSONResponse(said | ({"added": changes.added, "gone": changes.gone} if changes else {}))

    async def account_names(self, request: Request) -> Response:
        """The account slots below a locator, for whoever knows it: a device that joins has no key yet."""
        bucket, prefix = await self._place(request)
        return self._listing(await self.storage.changes(bucket, prefix, None), bucket=bucket.hex())

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
        self._entrance.unsigned(request)
        locator = request.path_params["locator"]
        if not _LOCATOR.fullmatch(locator):
            refuse(404, "missing", "a locator is 32 hex digits")
        bucket = await self.storage.claimed(locator)
        if bucket is None:
            refuse(404, "missing", "nothing is stored there")
        return bucket, f"account/{locator}/"

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

    def _listing(self, changes: Any, **more: str) -> Response:
        if changes is None:
            refuse(*_OUTCOMES[Outcome.NO_BUCKET])
        said = {"cursor": str(changes.cursor), "whole": changes.whole, "added": changes.added, "gone": changes.gone}
        said |= more
        body = json.dumps(said, separators=(",", ":")).encode()
        if len(body) > MAX_LISTING_BYTES:
            refuse(507, "too-many", "the bucket holds more names than can be listed")
        return Response(body, media_type="application/json")

    def _number(self, text: str, most: float) -> float:
        """``seconds=``, at most so many."""
        try:
            seconds = float(text or most)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= 86_400 * 2:
            refuse(400, "malformed", "seconds= is a number of seconds")
        return min(seconds, most)


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
            return await guarded(relay.metrics, name, methods[request.method], request)

        return Route(path, endpoint, methods=list(methods))

    routes = [
        route("/v1/{bucket}/news", GET=relay.wait),
        route("/v1/{bucket}/objects/{name:path}", GET=relay.get, PUT=relay.put, DELETE=relay.delete),
        route("/v1/{bucket}/objects", GET=relay.objects),
        route("/health", GET=relay.health),
        route("/openapi.json", GET=relay.openapi),
        route("/v1/challenge", POST=relay.challenge),
        route("/v1/account/{locator}", GET=relay.account_names),
        route("/v1/account/{locator}/{leaf}", GET=relay.account_object),
        route("/v1/{bucket}/members", GET=relay.read_members, PUT=relay.write_members),
        route("/v1/{bucket}/mailboxes/{mailbox}", PUT=relay.open_mailbox, DELETE=relay.close_mailbox),
        route("/v1/{bucket}/roster/{vault}", POST=relay.roster_names),
        route("/v1/{bucket}/roster/{vault}/{leaf}", POST=relay.roster_object),
    ]
    if config.metrics:
        routes.append(route("/metrics", GET=relay.prometheus))
    often = {("GET", False): relay.wait, ("GET", True): relay.get, ("PUT", True): relay.put}
    app = Application(
        relay.metrics, often, routes=routes, lifespan=relay.lifespan, exception_handlers={404: nowhere, 405: nowhere}
    )
    app.state.relay = relay
    return app


def driver_of(config: RelayConfig) -> Driver:
    """The database that ``config`` names."""
    if config.is_postgres:
        from vaultsync.relay.postgres import PostgresDriver

        return PostgresDriver(config.database, connections=config.connections)
    from vaultsync.relay.sqlite import SqliteDriver

    return SqliteDriver(config.database)

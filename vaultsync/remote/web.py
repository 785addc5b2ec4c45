"""HTTP as remotes need it: bounded in size and time, retried where that is harmless, failing with errors of ours only.

No redirect is followed (it could carry credentials or a signed request to somebody else), no compressed answer is asked
for or accepted (a bomb), and no message repeats an address or what a server wrote.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vaultsync.errors import ExtraMissing, RemoteError, RemoteRefused, RemoteUnavailable

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "Request", "Web", "refusal"]

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
"""Longest silence of a server that is not asked to wait for news."""
GRACE_SECONDS: Final = 60.0
SLOWEST_BYTES: Final = 4 << 10
"""A body may take ``GRACE_SECONDS`` and a second for each 4 KiB: slower is a server that holds us up, no slow line."""
TRIES: Final = 3
PAUSE_SECONDS: Final = 0.3
LONGEST_PAUSE: Final = 5.0
"""What ``Retry-After`` may ask for within one call; longer ones are left to whoever calls again later."""
_PASSING: Final = frozenset({408, 423, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Request:
    """``headers`` are made anew for every try (a signature is good for one). ``limit`` bounds the answer's body.

    ``patience``: seconds of silence allowed. Only what is ``repeatable`` is tried more than once.
    """

    method: str
    url: str
    headers: Callable[[], Mapping[str, str]] = dict
    content: bytes = b""
    limit: int = 1 << 20
    patience: float = READ_SECONDS
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """``too_large``: the body was longer than the limit and is not here."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    too_large: bool = False


class _Wires:
    """The connections of a client. Closing one does not wake a thread that reads from it; shutting its socket does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self._cut = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpcore tells of a request under way, for its ``trace`` extension."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            with self._lock:
                self._streams.add(info["return_value"])
            if self._cut:
                self.cut()

    def cut(self) -> None:
        """Whoever waits for an answer gets an error at once."""
        self._cut = True
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            with suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class Web:
    """One client; thread-safe. ``doing`` in messages says what was tried; ``whom`` what kind of server it is."""

    def __init__(
        self,
        whom: str,
        *,
        auth: Callable[[], httpx.Auth] | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: float | None = None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        try:
            import httpx  # an extra; only who talks to a server pays for it
        except ImportError:
            raise ExtraMissing(
                f"{whom} needs an optional part of this package: pip install 'vaultsync[http]'"
            ) from None
        self._httpx = httpx
        self._whom, self._clock, self._pause, self._grace = (
            whom,
            clock,
            PAUSE_SECONDS if pause is None else pause,
            grace,
        )
        self._closed = threading.Event()
        self._wires = _Wires()
        self._jitter = random.Random()  # spreads retries; decides nothing
        self._client = httpx.Client(
            auth=auth() if auth else None,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "vaultsync"},
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=30),
        )
        weakref.finalize(self, self._client.close)  # nobody has to close a remote

    def close(self) -> None:
        """Cuts what is under way. Closing twice is harmless."""
        self._closed.set()
        self._wires.cut()
        self._client.close()

    def send(self, request: Request, doing: str) -> Answer:
        """The answer, whatever its status, after retries of what passes by itself. Raises ``RemoteUnavailable`` when no
        whole answer came, and ``RemoteRefused`` for a certificate that is not trusted.
        """
        for left in reversed(range(TRIES if request.repeatable else 1)):
            try:
                answer = self._once(request, doing)
            except RemoteUnavailable:
                if not left or self._closed.is_set():
                    raise
                asked = None
            else:
                if answer.status not in _PASSING or not left:
                    return answer
                asked = _seconds(answer.headers.get("retry-after"))
            pause = self._pause * 2 ** (TRIES - 1 - left) * self._jitter.uniform(0.7, 1.3)
            if asked is not None:
                if asked > LONGEST_PAUSE:
                    return answer
                pause = max(pause, asked)
            if self._closed.wait(pause):
                raise RemoteUnavailable(f"{doing}: the connection to {self._whom} was closed")
        raise AssertionError("unreachable")  # pragma: no cover

    def _once(self, request: Request, doing: str) -> Answer:
        with self._translated(doing):
            timeout = self._httpx.Timeout(request.patience, connect=CONNECT_SECONDS, write=READ_SECONDS)
            made = self._client.build_request(
                *(request.method, request.url),
                headers=dict(request.headers()),
                content=request.content,
                timeout=timeout,
                extensions={"trace": self._wires.trace},
            )
            started = self._clock()
            answer = self._client.send(made, stream=True)
            try:
                body = self._body(answer, request, started + request.patience, doing)
            finally:
                answer.close()
        headers = {key.lower(): value for key, value in answer.headers.items()}
        return Answer(answer.status_code, headers, body or b"", too_large=body is None)

    def _body(self, answer: httpx.Response, request: Request, started: float, doing: str) -> bytes | None:
        """The whole body, None when it is longer than it may be."""
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise RemoteRefused(f"{doing}: {self._whom} sends compressed data that was not asked for")
        if request.method == "HEAD":
            return b""
        gathered = bytearray()
        for piece in answer.iter_raw():
            gathered += piece
            if len(gathered) > request.limit:
                return None
            if self._clock() - started > self._grace + len(gathered) / SLOWEST_BYTES:
                raise RemoteUnavailable(f"{doing}: {self._whom} answers too slowly to go on")
        return bytes(gathered)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except RemoteError:
            raise
        except (self._httpx.HTTPError, self._httpx.InvalidURL, self._httpx.StreamError) as error:
            if (trouble := _certificate(error)) is not None:
                raise RemoteRefused(f"{doing}: the certificate of {self._whom} is not accepted ({trouble})") from None
            raise RemoteUnavailable(
                f"{doing}: {self._whom} does not answer ({type(error).__name__}); is this computer online?"
            ) from None
        except (OSError, RuntimeError, ValueError) as error:  # a client closed under a request raises what it likes
            raise RemoteUnavailable(f"{doing}: the connection to {self._whom} ended ({type(error).__name__})") from None


def refusal(status: int, doing: str, whom: str, advice: str) -> RemoteError:
    """What a status means that the caller has no own meaning for. ``advice``: what to check when access is denied."""
    if status in (401, 403):
        return RemoteRefused(f"{doing}: {whom} refuses ({status}); {advice}")
    if status == 507:
        return RemoteRefused(f"{doing}: {whom} is full; make room there")
    if status == 413:
        return RemoteRefused(f"{doing}: {whom} takes nothing as large as this")
    if 300 <= status < 400:
        return RemoteRefused(f"{doing}: {whom} is elsewhere now ({status}); correct the address")
    if status in _PASSING or status == 409 or status >= 520:
        return RemoteUnavailable(f"{doing}: {whom} cannot do it just now ({status})")
    return RemoteRefused(f"{doing}: {whom} does not accept the request ({status}); check the address")


def _seconds(text: str | None) -> float | None:
    """``Retry-After`` in seconds. A date is not looked at: it would need two clocks that agree."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 7 else None


def _certificate(error: BaseException) -> str | None:
    """What is wrong with a certificate, in the TLS library's own words, which name no address."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            words = seen.verify_message
            clock = "; is this computer's clock right?" if "valid" in words or "expired" in words else ""
            return words.split(", certificate is")[0][:80] + clock
        seen = seen.__cause__ or seen.__context__
    return None

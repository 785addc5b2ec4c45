"""Requests to a relay: signed over a nonce of its own, sent again when that has run out, refusals as errors of ours.

This module never sees a private key: a signer is handed in.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from vaultsync.errors import RemoteRefused, RemoteUnavailable, UnsupportedRemote
from vaultsync.remote.signing import SCHEME, Signer, request_parts
from vaultsync.remote.web import READ_SECONDS, Answer, Request, Web, refusal

__all__ = ["ADVICE", "WHOM", "Link", "code_of", "said_in"]

WHOM: Final = "the relay"
ADVICE: Final = "this device is not (or no longer) a member there: join again, or let another device invite it"
_REFRESH_SHARE: Final = 0.5  # of a nonce's time, after which another one is asked for


class _Nonce(NamedTuple):
    value: bytes
    until: float


class Link:
    """To the relay at ``url``. Thread-safe. Raises ``UnsupportedRemote`` and ``ExtraMissing``."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url: Final = url
        self._root, self._host = _taken_apart(url)
        self._clock = clock
        self._web = Web(WHOM)
        self._lock = threading.Lock()
        self._nonce: _Nonce | None = None
        self._counter = 0

    def close(self) -> None:
        """Cuts what is under way. Closing twice is harmless."""
        self._web.close()

    def open(self, method: str, path: str, doing: str, *, limit: int = 1 << 20) -> Answer:
        """A request that anybody may make."""
        return self._web.send(Request(method, self._root + path, limit=limit), doing)

    def signed(
        self,
        signer: Signer,
        method: str,
        path: str,
        doing: str,
        *,
        content: bytes = b"",
        limit: int = 1 << 20,
        patience: float | None = None,
    ) -> Answer:
        """A request below the signer's bucket."""
        target = f"/v1/{signer.bucket.hex()}{path}"
        digest = hashlib.sha256(content).digest()

        def headers() -> Mapping[str, str]:
            nonce, counter = self._ticket(doing)
            signature = signer.sign("relay-request", *request_parts(nonce, counter, digest, method, self._host, target))
            said = f"key={signer.public.hex()}, nonce={nonce.hex()}, counter={counter}, body={digest.hex()}"
            return {"Authorization": f"{SCHEME} {said}, signature={signature.hex()}"}

        request = Request(method, self._root + target, headers, content, limit=limit, patience=patience or READ_SECONDS)
        for _ in range(3):
            answer = self._web.send(request, doing)
            code = code_of(answer)
            if code not in ("nonce", "replayed"):
                break
            with self._lock:  # the relay began anew, or the first try did arrive: sign once more
                self._nonce = None if code == "nonce" else self._nonce
        return answer

    def _ticket(self, doing: str) -> tuple[bytes, int]:
        """A nonce that is good, and a number that was not used with it."""
        with self._lock:
            if self._nonce is None or self._clock() > self._nonce.until:
                answer = self.expect(self.open("POST", "/v1/challenge", doing), doing, 200)
                said = said_in(answer, doing)
                value, seconds = said.get("nonce"), said.get("seconds")
                if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{80}", value):
                    raise RemoteUnavailable(f"{doing}: {WHOM} answers with something else")
                good = seconds * _REFRESH_SHARE if isinstance(seconds, int) and 0 < seconds < 86_400 else 60.0
                self._nonce, self._counter = _Nonce(bytes.fromhex(value), self._clock() + good), 0
            self._counter += 1
            return self._nonce.value, self._counter

    def expect(self, answer: Answer, doing: str, *statuses: int) -> Answer:
        """The answer, if its status is one of these. Raises ``RemoteRefused`` and ``RemoteUnavailable``."""
        if answer.too_large:
            raise RemoteRefused(f"{doing}: {WHOM} sends more than can be taken in")
        if answer.status in statuses:
            return answer
        code = code_of(answer)
        if code == "host":
            raise RemoteRefused(f"{doing}: {WHOM} was not started for this host name; correct the address or its names")
        if answer.status == 404 and code is None:
            raise RemoteRefused(f"{doing}: there is a server at the address, and it is no relay; correct the address")
        raise refusal(answer.status, doing, WHOM, ADVICE)


def said_in(answer: Answer, doing: str) -> dict[str, Any]:
    """The JSON object in an answer. Raises ``RemoteUnavailable``: a proxy's error page may be there for a moment."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise RemoteUnavailable(f"{doing}: {WHOM} answers with something else")
    return said


def code_of(answer: Answer) -> str | None:
    """The relay's own word for a refusal; None for an answer that is no refusal, or not a relay's."""
    if answer.status < 400 or len(answer.body) > 4096:
        return None
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    code = said.get("error") if isinstance(said, dict) else None
    return code if isinstance(code, str) else None


def _taken_apart(url: str) -> tuple[str, str]:
    """The relay's address without a slash at its end, and the value of the ``Host`` header."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise UnsupportedRemote("the address of a relay is https://host, or https://host:port") from None
    scheme = parts.scheme.lower()
    if not host or not re.fullmatch(r"[a-z0-9._:-]+", host) or parts.query or parts.fragment:
        raise UnsupportedRemote("the address of a relay is https://host, or https://host:port")
    if parts.username is not None or parts.password is not None:
        raise UnsupportedRemote("a relay knows no names and passwords; leave them out of the address")
    path = parts.path.rstrip("/")
    if not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*", path):
        raise UnsupportedRemote("the path of a relay's address holds letters, digits, '.', '_', '~' and '-' only")
    shown = f"[{host}]" if ":" in host else host
    if port and port != {"http": 80, "https": 443}[scheme]:
        shown = f"{shown}:{port}"
    return f"{scheme}://{shown}{path}", shown

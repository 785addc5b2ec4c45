"""From a request to who sent it: framing, sizes, rates and signature, before any body is read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, NoReturn

from starlette.requests import ClientDisconnect, Request

from vaultsync.relay.access import AccessError, check_request
from vaultsync.relay.storage import Once
from vaultsync.relay.tickets import NONCE_BYTES

__all__ = [
    "SCHEME",
    "Refusal",
    "Signed",
    "fields_of",
    "is_object_name",
    "length_of",
    "read_body",
    "refuse",
    "signed_of",
]

SCHEME: Final = "VaultSync-Ed25519"
_FIELDS: Final = re.compile(
    rf"{SCHEME} key=([0-9a-f]{{64}}), nonce=([0-9a-f]{{{2 * NONCE_BYTES}}}), counter=([0-9]{{1,15}}), "
    r"body=([0-9a-f]{64}), signature=([0-9a-f]{128})"
)
_SEGMENT: Final = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?"
_NAME: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,7}}")
MAX_NAME: Final = 255


class Refusal(Exception):
    """An answer that is a refusal: a status, a code for programs and a sentence for people."""

    def __init__(self, status: int, code: str, message: str, *, after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.code, self.after = status, code, after


def refuse(status: int, code: str, message: str, *, after: float = 0.0) -> NoReturn:
    """Raises ``Refusal``."""
    raise Refusal(status, code, message, after=after)


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that ``key`` signed; whether ``key`` may do this is another question."""

    key: bytes
    nonce: bytes
    counter: int
    body: bytes
    expires: int

    @property
    def once(self) -> Once:
        """Its identity, for what must not be done twice."""
        seen = hashlib.sha256(self.key + self.nonce + self.counter.to_bytes(8, "big"))
        return Once(seen.digest()[:16], self.expires)


def is_object_name(name: str) -> bool:
    """The grammar of the protocol: 1 to 8 segments of ``[a-z0-9._-]``, 255 characters in all."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None and ".." not in name


def signed_of(request: Request, expires: int | None, fields: re.Match[str]) -> Signed:
    """Checks the signature. ``expires``: of the nonce that ``fields`` name, None when it is not good (any more)."""
    key, nonce, body = bytes.fromhex(fields[1]), bytes.fromhex(fields[2]), bytes.fromhex(fields[4])
    if expires is None:
        refuse(401, "nonce", "the nonce is not good any more: ask for another one")
    target = request.scope["raw_path"].decode("latin-1")
    if request.scope["query_string"]:
        target += "?" + request.scope["query_string"].decode("latin-1")
    line = f"{request.method}\n{request.headers.get('host', '').lower()}\n{target}"
    try:
        check_request(key, bytes.fromhex(fields[5]), nonce, int(fields[3]), body, line)
    except AccessError as error:
        refuse(401, error.code, str(error))
    return Signed(key, nonce, int(fields[3]), body, expires)


def fields_of(request: Request) -> re.Match[str]:
    """The parts of the ``Authorization`` header."""
    header = request.headers.get("authorization", "")
    found = _FIELDS.fullmatch(header) if len(header) < 1024 else None
    if found is None:
        refuse(401, "unsigned", f"requests are signed: Authorization: {SCHEME} key=…, nonce=…, counter=…, body=…, …")
    return found


def length_of(request: Request, most: int) -> int:
    """How long the body says it is."""
    length = request.headers.get("content-length")
    if length is None or not length.isascii() or not length.isdigit() or len(length) > 12:
        refuse(411, "length", "say how long the body is")
    if int(length) > most:
        refuse(413, "too-large", f"a body has at most {most} bytes here")
    return int(length)


async def read_body(request: Request, signed: Signed, length: int) -> bytes:
    """The body, no longer than ``length`` and exactly the one that was signed."""
    gathered = bytearray()
    try:
        async for piece in request.stream():
            gathered += piece
            if len(gathered) > length:
                refuse(400, "cut", "the body is longer than it says")
    except ClientDisconnect:
        refuse(400, "cut", "the body ended early")
    if hashlib.sha256(gathered).digest() != signed.body:
        refuse(400, "cut", "the body is not the one that was signed")
    return bytes(gathered)

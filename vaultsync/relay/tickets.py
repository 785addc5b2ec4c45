"""Nonces against replay: given by the relay, good for some minutes, verified without having been stored. Pure.

A nonce is ``expiry 8 | random 16 | MAC 16``, made under a secret that all processes of one relay share. The expiry is
by the relay's clock alone: a client's clock plays no part. One nonce serves for many requests, each with a counter of
its own; what changes something is remembered by (key, nonce, counter) until the nonce has expired, so that it is done
once. What only reads may be repeated within that time: it gives sealed bytes that the first answer held already.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

__all__ = ["NONCE_BYTES", "Tickets"]

NONCE_BYTES: Final = 40


class Tickets:
    """``secret``: 32 bytes. ``now``: seconds since the epoch, whole."""

    def __init__(self, secret: bytes, seconds: int, entropy: Callable[[int], bytes]) -> None:
        self._secret, self._seconds, self._entropy = secret, seconds, entropy

    def issue(self, now: int) -> bytes:
        """A fresh nonce."""
        body = (now + self._seconds).to_bytes(8, "big") + self._entropy(16)
        return body + self._mac(body)

    def expiry(self, nonce: bytes, now: int) -> int | None:
        """Until when ``nonce`` is good; None when it is not ours or not good any more."""
        if len(nonce) != NONCE_BYTES or not hmac.compare_digest(nonce[24:], self._mac(nonce[:24])):
            return None
        until = int.from_bytes(nonce[:8], "big")
        return until if now < until <= now + 2 * self._seconds else None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, b"vaultsync/v1/relay-nonce\0" + body, "sha256")[:16]

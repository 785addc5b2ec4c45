"""Crockford's base32, for what people type or scan: no letters that look like digits, and forgiving when read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["ALPHABET", "SEPARATORS", "VALUES", "decode", "encode"]

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
VALUES: Final = {char: value for value, char in enumerate(ALPHABET)} | {"I": 1, "L": 1, "O": 0}
"""Character -> its five bits; I and L read as 1, O as 0."""
SEPARATORS: Final = frozenset(" \t\r\n-_.\u00a0\u00ad\u2010\u2011\u2012\u2013\u2014\u2212\u202f")
"""What people and messengers put between the characters."""


def encode(data: bytes) -> str:
    """Five bits a character, the last one filled up with zeros."""
    size = (len(data) * 8 + 4) // 5
    number = int.from_bytes(data, "big") << (size * 5 - len(data) * 8)
    return "".join(ALPHABET[number >> shift & 31] for shift in range(size * 5 - 5, -1, -5))


def decode(chars: Iterable[str]) -> bytes | None:
    """The reverse of :func:`encode`, of upper-case characters; None when they are no such text."""
    number = size = 0
    for char in chars:
        if (value := VALUES.get(char)) is None:
            return None
        number, size = number << 5 | value, size + 5
    spare = size % 8
    if spare >= 5 or number & ((1 << spare) - 1):
        return None
    return (number >> spare).to_bytes(size // 8, "big")

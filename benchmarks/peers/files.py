"""Files and seals that several peers share: durable writes, an append-only log, AES-256-GCM or nothing."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from benchmarks.peers.port import KEY

__all__ = ["Bare", "Log", "Sealer", "Wrapper", "put_durably"]

_LENGTH = struct.Struct("<I")


def put_durably(path: Path, data: bytes) -> None:
    """Replace a file whole: write beside it, fsync, rename."""
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


class Wrapper(Protocol):
    """What is put around bytes before they are written or sent."""

    def seal(self, data: bytes) -> bytes: ...

    def open(self, sealed: bytes) -> bytes: ...


class Bare:
    """Nothing."""

    def seal(self, data: bytes) -> bytes:
        return data

    def open(self, sealed: bytes) -> bytes:
        return sealed


class Sealer:
    """AES-256-GCM with random nonces, as anybody would put it around a library that does not encrypt."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(KEY)

    def seal(self, data: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, data, None)

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:12], sealed[12:], None)


class Log:
    """Frames appended to a file, each durable when ``append`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab")

    def append(self, data: bytes) -> None:
        self._file.write(_LENGTH.pack(len(data)) + data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    @staticmethod
    def read(path: Path) -> Iterator[bytes]:
        if not path.exists():
            return
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            yield data[at + 4 : at + 4 + length]
            at += 4 + length

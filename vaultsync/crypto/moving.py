"""A device's word that the vault lives at another address from now on, left on the remote that it left.

::

    "VSM1" | msgpack [n, author 16, address, time (ms)] | 64 Ed25519 signature of the author over vault id and all of it
    hash = SHA-256("move" label || all of it);  n = 1 + the largest n of the notices that the author knew

On a remote it is sealed under the key of an epoch, bound to vault id and hash:
``"VSN1" | epoch id 8 | salt 32 | commitment 32 | ciphertext and tag of the padded notice``. So neither a remote nor a
removed device learns the address (which may hold credentials) or the author. Only a member's word counts; of several
notices the one with the largest (n, hash) does, everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vaultsync import limits
from vaultsync.crypto import packing
from vaultsync.crypto import primitives as p
from vaultsync.crypto.keys import DeviceKeys, EpochKey
from vaultsync.crypto.packing import octets, row, uint
from vaultsync.errors import BadSeal, MalformedEnvelope, UpdateRequired, UsageError

__all__ = ["Notice", "open_notice", "seal_notice", "write_notice"]

_MAGIC: Final = b"VSM1"
_SEALED: Final = b"VSN1"
_HEAD: Final = 44
_MAX_BYTES: Final = 4_096
_SHAPE: Final = row(
    uint(limits.MAX_MOVES, 1),
    octets(16),
    lambda url: type(url) is str and url.isprintable() and 0 < len(url.encode()) <= limits.MAX_MOVE_URL_BYTES,
    uint(limits.MAX_SAFE_INT),
)


@dataclass(frozen=True, slots=True)
class Notice:
    """Number, who says so (device id), where to, when by the author's clock (ms), and the signed bytes."""

    n: int
    author: bytes
    url: str
    wall_ms: int
    data: bytes
    hash: bytes

    @property
    def rank(self) -> tuple[int, bytes]:
        """The larger one counts."""
        return self.n, self.hash


def write_notice(keys: DeviceKeys, vault_id: bytes, *, n: int, url: str, now_ms: int) -> Notice:
    """Raises `UsageError` for an address that does not fit."""
    fields = (n, keys.public.id, url, max(0, now_ms))
    if not _SHAPE(fields):
        raise UsageError(f"an address to move to has at most {limits.MAX_MOVE_URL_BYTES} printable characters")
    framed = _MAGIC + packing.pack(fields)
    data = framed + keys.sign("move-sig", vault_id, framed)
    return Notice(*fields[:2], url, fields[3], data, _hash(data))


def _hash(data: bytes) -> bytes:
    return p.sha256("move", data)


def seal_notice(notice: Notice, *, vault_id: bytes, epoch: EpochKey) -> bytes:
    """As a remote may hold it. The same bytes whenever it is sealed under one epoch."""
    salt = p.keyed_hash(epoch.key, "move-salt", notice.hash)
    context = _SEALED + epoch.id + salt + vault_id + notice.hash
    plain = packing.pad(notice.data)
    sealed = p.seal_committed(epoch.key, salt=salt, use="move-seal", context=context, plaintext=plain)
    return _SEALED + epoch.id + salt + sealed


def open_notice(
    data: bytes,
    *,
    vault_id: bytes,
    epochs: Mapping[bytes, EpochKey],
    hash: bytes,
    sign_public: Callable[[bytes], bytes],
) -> Notice:
    """Open and verify. ``sign_public`` gives the key of a member by id, and raises for anybody else.

    Raises `BadSeal` (also for an epoch that is not known here), `MalformedEnvelope`, `BadSignature`, `UpdateRequired`
    for a later format, and what ``sign_public`` raises.
    """
    if not _HEAD < len(data) <= _MAX_BYTES or data[:3] != _SEALED[:3]:
        raise MalformedEnvelope("not a sealed notice of a move, or larger than the limit")
    if data[:4] != _SEALED:
        raise UpdateRequired("a notice of a move is sealed in a newer format")
    epoch = epochs.get(data[4:12])
    if epoch is None:
        raise BadSeal("a notice of a move is sealed under a key that is not known here")
    salt, sealed = data[12:_HEAD], data[_HEAD:]
    context = data[:_HEAD] + vault_id + hash
    plain = packing.unpad(p.open_committed(epoch.key, salt=salt, use="move-seal", context=context, sealed=sealed))
    if not p.same(_hash(plain), hash):
        raise BadSeal("the sealed notice is not the one it is named as")
    if plain[:3] != _MAGIC[:3] or len(plain) <= 4 + p.SIGNATURE:
        raise MalformedEnvelope("not a notice of a move")
    if plain[:4] != _MAGIC:
        raise UpdateRequired("a notice of a move is of a newer format")
    framed, signature = plain[: -p.SIGNATURE], plain[-p.SIGNATURE :]
    fields = packing.unpack(framed[4:], max_bytes=_MAX_BYTES)
    if not _SHAPE(fields):
        raise MalformedEnvelope("the notice of a move has the wrong fields")
    n, author, url, wall_ms = fields
    p.verify(sign_public(author), signature, "move-sig", vault_id, framed)
    return Notice(n, author, url, wall_ms, plain, hash)

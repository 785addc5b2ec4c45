"""Envelope v1: the sealed, signed unit that a remote stores.

::

    0 4 "VSE1" | 4 1 suite = 1 | 5 1 kind | 6 2 flags = 0 | 8 16 vault id | 24 16 chain id | 40 8 epoch id
    48 8 seq | 56 32 id of the chain's previous envelope (zeros: the first) | 88 32 salt | 120 4 ct_len   = H, 124 bytes
    124 32 commitment | 156 ct_len ciphertext and tag of the padded body | 64 Ed25519 signature over env_id
    okm = HKDF-SHA256(epoch key, salt, "env" label || H, 76) -> key, commitment, nonce;  AAD = H || commitment
    env_id = SHA-256("env-id" label || H || commitment || ciphertext and tag)

Opening order: sizes, magic, suite, kind and flags; vault and epoch are the expected ones; signature; commitment; AEAD;
padding. The caller has looked the chain up in the roster before (for the signature's key) and parses the body after.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from vaultsync import limits
from vaultsync.crypto import packing
from vaultsync.crypto import primitives as p
from vaultsync.crypto.keys import DeviceKeys, EpochKey
from vaultsync.errors import BadSeal, MalformedEnvelope, UpdateRequired

__all__ = ["FIRST", "OVERHEAD", "Header", "Kind", "Sealed", "open_envelope", "peek", "seal"]

_MAGIC: Final = b"VSE1"
_SUITE: Final = 1
_LAYOUT: Final = struct.Struct(">4sBBH16s16s8sQ32s32sI")
_HEAD: Final = _LAYOUT.size
FIRST: Final = bytes(32)
"""``prev`` of a chain's first envelope."""
OVERHEAD: Final = _HEAD + p.COMMITMENT + p.TAG + p.SIGNATURE
"""Bytes of an envelope besides its padded body: 236."""
_SMALLEST: Final = OVERHEAD + packing.padded_size(0)


class Kind(IntEnum):
    """What an envelope carries. A roster entry is sealed otherwise (:mod:`~vaultsync.crypto.roster_entry`): 3 stays
    reserved.
    """

    CHANGES = 1
    CHECKPOINT = 2
    ROSTER = 3


@dataclass(frozen=True, slots=True)
class Header:
    """The clear part, except what sealing adds (salt and length). ``seq`` counts from 1 in its chain."""

    kind: Kind
    vault_id: bytes
    chain_id: bytes
    epoch_id: bytes
    seq: int
    prev: bytes

    def __post_init__(self) -> None:
        sizes = (len(self.vault_id), len(self.chain_id), len(self.epoch_id), len(self.prev))
        if sizes != (16, 16, 8, 32) or not 1 <= self.seq <= limits.MAX_SAFE_INT:
            raise MalformedEnvelope(
                "the envelope's header holds a field of the wrong size or a sequence number below 1"
            )


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished envelope: put ``data`` as it is, never seal the same contents again."""

    header: Header
    env_id: bytes
    data: bytes = field(repr=False)


def seal(header: Header, body: bytes, keys: DeviceKeys, epoch: EpochKey, entropy: p.Entropy) -> Sealed:
    """Seals and signs. ``keys`` must be of the device that the chain belongs to, ``epoch`` the one the header names."""
    if header.epoch_id != epoch.id:
        raise ValueError("the header names another epoch than that of the key")
    if header.kind == Kind.ROSTER:
        raise ValueError("roster entries are sealed under the roster key")
    padded = packing.pad(body)
    if OVERHEAD + len(padded) > _most(header.kind):
        raise ValueError("the body is larger than an envelope may be: pack fewer changes")
    salt = keys.salt(entropy, body)
    head = _LAYOUT.pack(
        _MAGIC,
        _SUITE,
        header.kind,
        0,
        header.vault_id,
        header.chain_id,
        header.epoch_id,
        header.seq,
        header.prev,
        salt,
        len(padded) + p.TAG,
    )
    sealed = head + p.seal_committed(epoch.key, salt=salt, use="env", context=head, plaintext=padded)
    env_id = p.sha256("env-id", sealed)
    return Sealed(header, env_id, sealed + keys.sign("env-sig", env_id))


def peek(data: bytes) -> tuple[Header, bytes]:
    """Header and id, by structure alone: nothing in them is true before :func:`open_envelope` says so.

    Raises :class:`MalformedEnvelope`, or :class:`UpdateRequired` for a format, suite, kind or flag of a later version.
    """
    if len(data) < _SMALLEST or len(data) > _most(data[5]) or data[:3] != _MAGIC[:3]:
        raise MalformedEnvelope("not an envelope, or not of a permitted size")
    magic, suite, kind, flags, vault_id, chain_id, epoch_id, seq, prev, _, ct_len = _LAYOUT.unpack_from(data)
    if magic != _MAGIC or suite != _SUITE or kind not in (Kind.CHANGES, Kind.CHECKPOINT) or flags:
        raise UpdateRequired("the envelope is of a newer format")
    if len(data) != _HEAD + p.COMMITMENT + ct_len + p.SIGNATURE:
        raise MalformedEnvelope("the envelope was cut off or extended")
    header = Header(Kind(kind), vault_id, chain_id, epoch_id, seq, prev)
    return header, p.sha256("env-id", data[: -p.SIGNATURE])


def _most(kind: int) -> int:
    """The largest envelope of a kind, in bytes."""
    return limits.MAX_CHECKPOINT_BYTES if kind == Kind.CHECKPOINT else limits.MAX_ENVELOPE_BYTES


def open_envelope(data: bytes, *, sign_public: bytes, epoch: EpochKey, vault_id: bytes) -> bytes:
    """The body of an envelope of that vault and epoch, signed by that key.

    Raises :class:`MalformedEnvelope`, :class:`UpdateRequired`, :class:`~vaultsync.errors.BadSignature`,
    :class:`~vaultsync.errors.WeakKey` and :class:`BadSeal` (also for another vault or epoch).
    """
    header, env_id = peek(data)
    if header.vault_id != vault_id or header.epoch_id != epoch.id:
        raise BadSeal("the envelope belongs to another vault or epoch")
    p.verify(sign_public, data[-p.SIGNATURE :], "env-sig", env_id)
    salt = data[88:120]
    padded = p.open_committed(epoch.key, salt=salt, use="env", context=data[:_HEAD], sealed=data[_HEAD : -p.SIGNATURE])
    return packing.unpad(padded)

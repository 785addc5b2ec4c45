"""Keys as values: a device's (or the recovery identity's) key pairs, its public half, its chains, and epoch keys.

Secrets redact their repr and refuse to be pickled or copied, so that a log line, a crash report or a worker process
does not get one by accident. Ids certify themselves: a device id is a hash of its public keys, and a chain id a hash of
the device id and a nonce, so that nobody can claim another's. See FORMAT.md, "Keys".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from vaultsync.crypto import primitives as p
from vaultsync.errors import WeakKey

__all__ = ["AccessKey", "Chain", "DeviceKeys", "DevicePublic", "EpochKey", "Secret"]

PUBLIC_BYTES: Final = 32 + p.KEM_PUBLIC + 32


class Secret:
    """Base of everything that holds key bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (secret)>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuses pickling and, because :mod:`copy` goes through here, copying."""
        raise TypeError(f"{type(self).__name__} holds secrets: it is neither pickled nor copied")


@dataclass(frozen=True, slots=True)
class DevicePublic:
    """The public keys of a member: Ed25519 (32 bytes), ML-KEM-768 || X25519 (1216), and the Ed25519 key (32) that it
    shows to relays, which learn neither of the others. Checked when made: :class:`WeakKey`.
    """

    sign: bytes
    kem: bytes
    access: bytes

    def __post_init__(self) -> None:
        p.check_sign_public(self.sign)
        p.check_kem_public(self.kem)
        p.check_sign_public(self.access)

    @property
    def id(self) -> bytes:
        """16 bytes, a hash of all keys."""
        return p.sha256("device-id", self.sign, self.kem, self.access)[:16]

    def to_bytes(self) -> bytes:
        return self.sign + self.kem + self.access

    @classmethod
    def from_bytes(cls, data: bytes) -> DevicePublic:
        if len(data) != PUBLIC_BYTES:
            raise WeakKey(f"public keys have {PUBLIC_BYTES} bytes")
        return cls(data[:32], data[32:-32], data[-32:])

    def __repr__(self) -> str:
        return f"DevicePublic({self.id.hex()})"


class Chain(NamedTuple):
    """One incarnation of a device: the 16-byte id that is its Automerge actor, and the nonce that proves it its own."""

    id: bytes
    nonce: bytes

    @classmethod
    def of(cls, device_id: bytes, nonce: bytes) -> Chain:
        return cls(p.sha256("chain-id", device_id, nonce)[:16], nonce)

    @classmethod
    def new(cls, device_id: bytes, entropy: p.Entropy) -> Chain:
        return cls.of(device_id, p.draw(entropy, 16))


class AccessKey(Secret):
    """An Ed25519 key that says to a relay who asks, and nothing else: it signs no envelope and no roster entry.

    A device's and the recovery identity's derive from their seeds, the one for the mailbox of a pairing from the
    invitation; none from an epoch, so that no rotation locks anybody out. See FORMAT.md, "Relays".
    """

    __slots__ = ("_key", "public")

    public: bytes

    def __init__(self, secret: bytes, *, context: bytes = b"") -> None:
        """``secret``: 32 bytes, a device's seed, or an invitation's key with the mailbox as ``context``."""
        self._key = p.SigningKey(p.hkdf(secret, salt=b"", use="access-key", context=context))
        self.public = self._key.public

    def sign(self, use: str, *parts: bytes) -> bytes:
        """Signature (64 bytes) over the label and the parts; all parts but the last of fixed length."""
        return self._key.sign(use, *parts)


class DeviceKeys(Secret):
    """The private keys of a device or of the recovery identity, all derived from one 32-byte seed."""

    __slots__ = ("_hedge", "_mlkem", "_seed", "_sign", "_x25519", "access", "public")

    access: AccessKey
    public: DevicePublic

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError("the seed of a device's keys has 32 bytes")
        okm = p.hkdf(seed, salt=b"", use="device-keys", length=32 + 32 + 64 + 32)
        self._seed, self._sign, self._x25519 = seed, p.SigningKey(okm[:32]), okm[32:64]
        self._mlkem, self._hedge = okm[64:128], okm[128:]
        self.access = AccessKey(seed)
        kem = p.kem_public_of(self._mlkem, self._x25519)
        self.public = DevicePublic(self._sign.public, kem, self.access.public)

    @classmethod
    def generate(cls, entropy: p.Entropy) -> DeviceKeys:
        return cls(p.draw(entropy, 32))

    def to_bytes(self) -> bytes:
        """The seed: 32 secret bytes."""
        return self._seed

    @classmethod
    def from_bytes(cls, data: bytes) -> DeviceKeys:
        return cls(data)

    def sign(self, use: str, *parts: bytes) -> bytes:
        """Signature (64 bytes) over the label and the parts; all parts but the last of fixed length."""
        return self._sign.sign(use, *parts)

    def open_grant(self, sealed: bytes, info: bytes) -> bytes:
        """What somebody sealed to this device's public key; :class:`~vaultsync.errors.BadSeal`."""
        return p.hpke_open(self._mlkem, self._x25519, sealed, info)

    def salt(self, entropy: p.Entropy, body: bytes) -> bytes:
        """32 bytes that differ for different bodies even when the machine repeats its random numbers."""
        return p.hedged_salt(self._hedge, entropy, body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceKeys) and p.same(self._seed, other._seed)

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"<DeviceKeys {self.public.id.hex()} (secret)>"


class EpochKey(Secret):
    """The key that envelopes of one epoch are sealed under. ``check`` (32 bytes) commits to it, ``id`` is 8 of them."""

    __slots__ = ("check", "key")

    key: bytes
    check: bytes

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("an epoch key has 32 bytes")
        self.key, self.check = key, p.hkdf(key, salt=b"", use="epoch-check")

    @classmethod
    def generate(cls, entropy: p.Entropy) -> EpochKey:
        return cls(p.draw(entropy, 32))

    @property
    def id(self) -> bytes:
        return self.check[:8]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EpochKey) and p.same(self.key, other.key)

    def __hash__(self) -> int:
        return hash(self.check)

    def __repr__(self) -> str:
        return f"<EpochKey {self.id.hex()} (secret)>"

"""The few cryptographic operations that everything else here is made of; the only module that imports ``cryptography``.

Nothing in it knows of vaults, chains or files. Failures are typed (:class:`BadSeal`, :class:`BadSignature`,
:class:`WeakKey`); no exception of the library below passes through. Entropy is a parameter, with one exception that the
library leaves no choice about: HPKE draws its ephemeral keys itself.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import constant_time, hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vaultsync import limits
from vaultsync.errors import BadSeal, BadSignature, UsageError, WeakKey

__all__ = [
    "COMMITMENT",
    "DEFAULT",
    "SIGNATURE",
    "TAG",
    "WEAK_FOR_TESTS",
    "Argon2Params",
    "Entropy",
    "SigningKey",
    "argon2id",
    "check_kem_public",
    "check_sign_public",
    "draw",
    "hedged_salt",
    "hkdf",
    "hpke_open",
    "hpke_seal",
    "keyed_hash",
    "label",
    "normalise_password",
    "open_aead",
    "open_committed",
    "same",
    "seal_aead",
    "seal_committed",
    "sha256",
    "verify",
]

Entropy = Callable[[int], bytes]
"""``entropy(n)`` gives n unpredictable bytes (``os.urandom`` in production, seeded in tests)."""

TAG: Final = 16
COMMITMENT: Final = 32
SIGNATURE: Final = 64
KEM_PUBLIC: Final = 1184 + 32

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ORDER_8_Y: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _ORDER_8_Y, _P - _ORDER_8_Y})
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@lru_cache(256)
def label(name: str) -> bytes:
    """The domain-separation prefix of one use of a key or hash. The closing NUL keeps one label from being another's
    prefix.
    """
    return b"vaultsync/v1/" + name.encode("ascii") + b"\0"


def draw(entropy: Entropy, size: int) -> bytes:
    """``size`` bytes from the source, refusing one that gives fewer."""
    data = entropy(size)
    if len(data) != size:
        raise RuntimeError("the entropy source gave another number of bytes than asked for")
    return data


def hedged_salt(secret: bytes, entropy: Entropy, contents: bytes) -> bytes:
    """32 bytes for one sealing. A resumed machine snapshot draws the same random bytes again: contents and a secret go
    into the salt as well, so that it repeats only for the same contents, and tells nobody that it did not.
    """
    return keyed_hash(secret, "salt", draw(entropy, 32), sha256("salt-body", contents))


def same(a: bytes, b: bytes) -> bool:
    """Equality in time independent of the contents."""
    return constant_time.bytes_eq(a, b)


# ---- hashing and key derivation ---------------------------------------------------------------------------------


def sha256(use: str, *parts: bytes) -> bytes:
    """SHA-256 of the label and the parts. Parts are not framed: all but the last must be of fixed length."""
    return hashlib.sha256(label(use) + b"".join(parts)).digest()


def keyed_hash(key: bytes, use: str, *parts: bytes) -> bytes:
    """HMAC-SHA256, framed like :func:`sha256`."""
    return hmac.digest(key, label(use) + b"".join(parts), "sha256")


def hkdf(key: bytes, *, salt: bytes, use: str, context: bytes = b"", length: int = 32) -> bytes:
    """HKDF-SHA256 with info = label || context."""
    return HKDF(hashes.SHA256(), length, salt, label(use) + context).derive(key)


@dataclass(frozen=True, slots=True)
class Argon2Params:
    """Cost of Argon2id: KiB of memory, passes over it, parallel lanes."""

    memory_kib: int
    passes: int
    lanes: int

    def raised_to(self, floor: Argon2Params) -> Argon2Params:
        """At least as much as ``floor`` in memory and in passes. Lanes change no cost, and stay."""
        return Argon2Params(max(self.memory_kib, floor.memory_kib), max(self.passes, floor.passes), self.lanes)

    def acceptable(self, *, allow_weak: bool = False) -> bool:
        """Within the bounds of :mod:`vaultsync.limits`. The one weak set is acceptable only where tests say so."""
        if self == WEAK_FOR_TESTS:
            return allow_weak
        return (
            limits.ARGON2_MIN_KIB <= self.memory_kib <= limits.ARGON2_MAX_KIB
            and 1 <= self.passes <= limits.ARGON2_MAX_PASSES
            and 1 <= self.lanes <= limits.ARGON2_MAX_LANES
        )


DEFAULT: Final = Argon2Params(256 << 10, 3, 4)
"""256 MiB, 3 passes, 4 lanes: about half a second on two cores."""
WEAK_FOR_TESTS: Final = Argon2Params(32, 1, 1)
"""Costs nothing and protects nothing. Refused unless a caller passes ``allow_weak=True``."""


def normalise_password(password: str) -> bytes:
    """NFC in UTF-8, so that the same keys pressed on two platforms are the same password.

    Raises :class:`UsageError` when it is empty, too long, or not text (lone surrogates).
    """
    if not 0 < len(password) <= limits.MAX_PASSWORD_BYTES or any("\ud800" <= char <= "\udfff" for char in password):
        raise UsageError(f"a password is text of at most {limits.MAX_PASSWORD_BYTES} bytes and not empty")
    data = unicodedata.normalize("NFC", password).encode("utf-8")
    if len(data) > limits.MAX_PASSWORD_BYTES:
        raise UsageError(f"a password is text of at most {limits.MAX_PASSWORD_BYTES} bytes and not empty")
    return data


def argon2id(
    password: bytes, *, salt: bytes, params: Argon2Params, secret: bytes | None = None, allow_weak: bool = False
) -> bytes:
    """32 bytes. The bounds are checked here too, because the library allocates whatever it is told."""
    if not params.acceptable(allow_weak=allow_weak):
        raise UsageError("the key-derivation parameters are outside the accepted bounds")
    kdf = Argon2id(
        salt=salt, length=32, iterations=params.passes, lanes=params.lanes, memory_cost=params.memory_kib, secret=secret
    )
    return kdf.derive(password)


# ---- authenticated encryption -----------------------------------------------------------------------------------


def seal_aead(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """ChaCha20-Poly1305; ciphertext and tag."""
    return ChaCha20Poly1305(key).encrypt(nonce, plaintext, aad)


def open_aead(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    """The reverse of :func:`seal_aead`; :class:`BadSeal`."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise BadSeal("the sealed bytes do not open: another key, another place, or damage") from None


def seal_committed(key: bytes, *, salt: bytes, use: str, context: bytes, plaintext: bytes) -> bytes:
    """commitment (32) || ciphertext || tag, under a key used once: derived from ``key`` with a fresh random ``salt``.

    The commitment is an output of the same derivation, so that no ciphertext opens under two keys.
    """
    okm = hkdf(key, salt=salt, use=use, context=context, length=76)
    commitment = okm[32:64]
    return commitment + seal_aead(okm[:32], okm[64:], plaintext, context + commitment)


def open_committed(key: bytes, *, salt: bytes, use: str, context: bytes, sealed: bytes) -> bytes:
    """The reverse of :func:`seal_committed`; :class:`BadSeal`, at the commitment, before anything is decrypted."""
    if len(sealed) < COMMITMENT + TAG:
        raise BadSeal("too short to be sealed bytes")
    okm = hkdf(key, salt=salt, use=use, context=context, length=76)
    commitment = sealed[:COMMITMENT]
    if not same(okm[32:64], commitment):
        raise BadSeal("sealed under another key")
    return open_aead(okm[:32], okm[64:], sealed[COMMITMENT:], context + commitment)


# ---- signatures -------------------------------------------------------------------------------------------------


class SigningKey:
    """An Ed25519 key, made of its seed (32 secret bytes) once: that takes as long as signing does."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, use: str, *parts: bytes) -> bytes:
        """A signature over the label and the parts (framed like :func:`sha256`); 64 bytes."""
        return self._key.sign(label(use) + b"".join(parts))


def verify(public: bytes, signature: bytes, use: str, *parts: bytes) -> None:
    """Raises :class:`BadSignature`, or :class:`WeakKey` for a key under which anybody can sign."""
    try:
        _verifying(public).verify(signature, label(use) + b"".join(parts))
    except InvalidSignature:
        raise BadSignature("the signature is not by the key that is named") from None


@lru_cache(4096)
def _verifying(public: bytes) -> Ed25519PublicKey:
    """The key, looked at once: a relay and a device verify by the same few keys again and again."""
    _small_order(public)
    return Ed25519PublicKey.from_public_bytes(public)


def _small_order(public: bytes) -> int:
    """The y coordinate of a canonical encoding that is not of small order; :class:`WeakKey`."""
    if len(public) != 32:
        raise WeakKey("a verification key has 32 bytes")
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    if y >= _P or y in _SMALL_ORDER_Y:
        raise WeakKey("the verification key is of small order or not in canonical form")
    return y


def check_sign_public(public: bytes) -> None:
    """Accepts an Ed25519 key for later verification: canonical, not of small order, on the curve; :class:`WeakKey`."""
    y = _small_order(public)
    square = y * y % _P
    ratio = (square - 1) * pow(_D * square + 1, -1, _P) % _P
    if pow(ratio, (_P - 1) // 2, _P) != 1:  # x**2 has no root; x = 0 is y = 1 or -1, refused above
        raise WeakKey("the verification key is not a point of the curve")


# ---- public-key encryption (HPKE, X-Wing: ML-KEM-768 with X25519) ------------------------------------------------


def kem_public_of(mlkem_seed: bytes, x25519_seed: bytes) -> bytes:
    mlkem = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed).public_key().public_bytes_raw()
    return mlkem + X25519PrivateKey.from_private_bytes(x25519_seed).public_key().public_bytes_raw()


def check_kem_public(public: bytes) -> None:
    """Accepts ML-KEM-768 key (1184) || X25519 key (32); :class:`WeakKey`.

    A small-order X25519 half does not only weaken: sealing to it fails, so one such member could block every rotation.
    """
    if len(public) != KEM_PUBLIC or int.from_bytes(public[1184:], "little") >= _P:
        raise WeakKey("an encryption key has 1216 bytes in canonical form")
    try:
        MLKEM768PublicKey.from_public_bytes(public[:1184])
        probe = X25519PrivateKey.from_private_bytes(bytes(range(32)))
        probe.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    except ValueError:
        raise WeakKey("the encryption key is of small order or not a key at all") from None


def hpke_seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """enc (1120) || ciphertext || tag. ``public`` was accepted by :func:`check_kem_public`."""
    mlkem, x25519 = MLKEM768PublicKey.from_public_bytes(public[:1184]), X25519PublicKey.from_public_bytes(public[1184:])
    return _SUITE.encrypt(plaintext, MLKEM768X25519PublicKey(mlkem, x25519), info=info)


def hpke_open(mlkem_seed: bytes, x25519_seed: bytes, sealed: bytes, info: bytes) -> bytes:
    """The reverse of :func:`hpke_seal`; :class:`BadSeal`."""
    mlkem, x25519 = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed), X25519PrivateKey.from_private_bytes(x25519_seed)
    try:
        return _SUITE.decrypt(sealed, MLKEM768X25519PrivateKey(mlkem, x25519), info=info)
    except (InvalidTag, ValueError):
        raise BadSeal("the grant does not open: not for this device, another place, or damage") from None

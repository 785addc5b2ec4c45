"""Key slots: the local key of a store, wrapped under a password or under a raw key that the platform keeps.

::

    0 4 "VSS1" | 4 1 how (1 password, 2 raw key) | 5 4 memory KiB | 9 1 passes | 10 1 lanes     (zeros for a raw key)
    11 32 salt                                                                                  = H, 43 bytes
    43 32 commitment | 75 64 ciphertext and tag of: store id 16, local key 32
    password: root = Argon2id(NFC(password), salt = HMAC(salt, H[:11]), the parameters in H);  raw key: root = it
    okm = HKDF-SHA256(root, salt, "slot" label || H, 76) -> key, commitment, nonce;  AAD = H || commitment

The slot commits to its key: a slot cannot be made to open under two passwords, so answering "wrong" tells about one
password only. The parameters are bounded before anything is allocated; changing them in the file changes the key.
"""

from __future__ import annotations

from typing import Final

from vaultsync import limits
from vaultsync.crypto import primitives as p
from vaultsync.crypto.primitives import DEFAULT, WEAK_FOR_TESTS, Argon2Params
from vaultsync.crypto.rows import LocalKey
from vaultsync.errors import BadSeal, DamagedStore, UpdateRequired, UsageError, WrongPassword

__all__ = [
    "DEFAULT",
    "WEAK_FOR_TESTS",
    "Argon2Params",
    "make_slot",
    "open_slot",
    "rewrap",
    "slot_is_for_password",
    "slot_params",
]

_MAGIC: Final = b"VSS1"
_PASSWORD: Final = 1
_RAW: Final = 2
_HEAD: Final = 43
_SIZE: Final = _HEAD + p.COMMITMENT + 48 + p.TAG


def make_slot(
    local_key: LocalKey,
    *,
    entropy: p.Entropy,
    password: str | None = None,
    raw_key: bytes | None = None,
    params: Argon2Params = DEFAULT,
    allow_weak: bool = False,
) -> bytes:
    """A slot (139 bytes) that opens with exactly one of ``password`` and ``raw_key`` (32 bytes).

    Raises :class:`UsageError` for an unusable password or key, or parameters outside the bounds.
    """
    if (password is None) == (raw_key is None):
        raise UsageError("a key slot is made for either a password or a raw key")
    if password is not None:
        if not params.acceptable(allow_weak=allow_weak):
            raise UsageError("the key-derivation parameters are outside the accepted bounds")
        costs = params.memory_kib.to_bytes(4, "big") + bytes((params.passes, params.lanes))
        head = _MAGIC + bytes((_PASSWORD,)) + costs
        head += local_key.salt(entropy, head)
        root = _from_password(p.normalise_password(password), head, params, allow_weak)
    else:
        head = _MAGIC + bytes((_RAW,)) + bytes(6)
        head += local_key.salt(entropy, head)
        root = _raw(raw_key or b"")
    return head + p.seal_committed(root, salt=head[11:], use="slot", context=head, plaintext=local_key.to_bytes())


def open_slot(
    slot: bytes,
    *,
    entropy: p.Entropy,
    password: str | None = None,
    raw_key: bytes | None = None,
    at_least: Argon2Params | None = None,
    allow_weak: bool = False,
) -> LocalKey:
    """The local key, which will draw its salts from ``entropy``. ``at_least``: the costs that were accepted last time,
    where the caller remembers them; a slot that asks for less was put back from an older file.

    Raises :class:`WrongPassword` for whatever does not open it (one error: wrong, of the other sort, damaged
    ciphertext), :class:`DamagedStore` for a slot that cannot be read or asks for costs outside the bounds, and
    :class:`UpdateRequired` for one of a newer format.
    """
    how, params = _read(slot, allow_weak)
    if how == _PASSWORD and at_least is not None and params.raised_to(at_least) != params:
        raise DamagedStore("a key slot asks for less than the key-derivation costs that this vault had")
    head = slot[:_HEAD]
    try:
        if how == _PASSWORD and password is not None:
            root = _from_password(p.normalise_password(password), head, params, allow_weak)
        elif how == _RAW and raw_key is not None:
            root = _raw(raw_key)
        else:
            raise UsageError("the slot is of the other sort")
        plain = p.open_committed(root, salt=head[11:], use="slot", context=head, sealed=slot[_HEAD:])
    except (BadSeal, UsageError):
        raise WrongPassword("the password or key does not open this vault") from None
    return LocalKey(plain[:16], plain[16:], entropy)


def rewrap(
    old_slot: bytes,
    local_key: LocalKey,
    *,
    entropy: p.Entropy,
    password: str | None = None,
    raw_key: bytes | None = None,
    params: Argon2Params = DEFAULT,
    allow_weak: bool = False,
) -> tuple[LocalKey, bytes]:
    """Changing the local password: a new key of the same store, and its slot. Every row is sealed anew under that key,
    and the slot replaced, in one transaction; then the file is purged of what it held before.

    The costs are ``params``, and never less in any part than those of ``old_slot``. Errors as for :func:`make_slot`.
    """
    if slot_is_for_password(old_slot):
        params = params.raised_to(slot_params(old_slot))
    renewed = local_key.renewed()
    slot = make_slot(renewed, entropy=entropy, password=password, raw_key=raw_key, params=params, allow_weak=allow_weak)
    return renewed, slot


def slot_params(slot: bytes) -> Argon2Params:
    """The costs that a slot asks for (zeros for a raw key). Errors as for :func:`open_slot`."""
    return _read(slot, allow_weak=True)[1]


def slot_is_for_password(slot: bytes) -> bool:
    """Whether the slot asks for a password (else a raw key). Errors as for :func:`open_slot`."""
    return _read(slot, allow_weak=True)[0] == _PASSWORD


def _read(slot: bytes, allow_weak: bool) -> tuple[int, Argon2Params]:
    if len(slot) > limits.MAX_SLOT_BYTES or len(slot) < 5 or slot[:3] != _MAGIC[:3]:
        raise DamagedStore("a key slot of the vault cannot be read")
    if slot[:4] != _MAGIC or slot[4] not in (_PASSWORD, _RAW):
        raise UpdateRequired("a key slot of this vault was written by a newer version")
    params = Argon2Params(int.from_bytes(slot[5:9], "big"), slot[9], slot[10]) if len(slot) == _SIZE else None
    if params is None or (slot[4] == _RAW and params != Argon2Params(0, 0, 0)):
        raise DamagedStore("a key slot of the vault cannot be read")
    if slot[4] == _PASSWORD and not params.acceptable(allow_weak=allow_weak):
        raise DamagedStore("a key slot asks for key-derivation costs outside the accepted bounds")
    return slot[4], params


def _from_password(password: bytes, head: bytes, params: Argon2Params, allow_weak: bool) -> bytes:
    salt = p.keyed_hash(head[11:], "slot-salt", head[:11])
    return p.argon2id(password, salt=salt, params=params, allow_weak=allow_weak)


def _raw(raw_key: bytes) -> bytes:
    if len(raw_key) != 32:
        raise UsageError("a raw key has 32 bytes")
    return raw_key

"""Account slots: what a person can come back with from nothing but password and recovery code.

::

    0 4 "VSA1" | 4 1 version = parameter set | 5 4 number n | 9 32 salt              = H, 41 bytes
    41 32 commitment | 73 ciphertext and tag of a padded body
    account key = Argon2id(NFC(password), salt from the code, the version's parameters, secret = code)
    context = H || locator;  okm = HKDF-SHA256(account key, salt, "account" label || context, 76)
        -> key, commitment, nonce;  AAD = context || commitment
    body = msgpack [recovery identity's seed 32, vault id 16, roster key 32, roster head 32]

Slots are immutable; the highest n that opens is the one that counts. The parameters belong to the version and never
come from the remote, and a slot of a version older than the code's is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vaultsync import limits
from vaultsync.crypto import packing
from vaultsync.crypto import primitives as p
from vaultsync.crypto.keys import DeviceKeys, Secret
from vaultsync.crypto.primitives import DEFAULT, WEAK_FOR_TESTS, Argon2Params
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.errors import BadSeal, MalformedEnvelope, UpdateRequired, UsageError, WrongPassword

__all__ = ["TEST_VERSION", "VERSION", "AccountContents", "AccountKey", "open_account", "seal_account", "slot_number"]

_MAGIC: Final = b"VSA1"
VERSION: Final = 1
TEST_VERSION: Final = 0
"""The weak parameter set: sealed and opened only with ``allow_weak=True``."""
_PARAMETERS: Final[Mapping[int, Argon2Params]] = {TEST_VERSION: WEAK_FOR_TESTS, VERSION: DEFAULT}
_HEAD: Final = 41
_BODY: Final = packing.row(packing.octets(32), packing.octets(16), packing.octets(32), packing.octets(32))


class AccountContents(Secret):
    """What a slot holds. ``roster_head`` (32 bytes) is an entry that the roster a joiner is shown must contain."""

    __slots__ = ("recovery", "roster_head", "roster_key", "vault_id")

    def __init__(self, recovery: DeviceKeys, vault_id: bytes, roster_key: bytes, roster_head: bytes) -> None:
        if (len(vault_id), len(roster_key), len(roster_head)) != (16, 32, 32):
            raise ValueError("a vault id has 16 bytes, a roster key and a roster head 32")
        self.recovery: DeviceKeys = recovery
        self.vault_id: bytes = vault_id
        self.roster_key: bytes = roster_key
        self.roster_head: bytes = roster_head

    def _fields(self) -> tuple[bytes, ...]:
        return (self.recovery.to_bytes(), self.vault_id, self.roster_key, self.roster_head)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccountContents) and p.same(b"".join(self._fields()), b"".join(other._fields()))

    def __hash__(self) -> int:
        return hash((self.vault_id, self.roster_head))


class AccountKey(Secret):
    """Password and code, through Argon2id once; then opens any number of slots."""

    __slots__ = ("_key", "_locator", "_version")

    def __init__(self, code: RecoveryCode, password: str, *, version: int = VERSION, allow_weak: bool = False) -> None:
        """Raises :class:`UsageError` for an unusable password, :class:`MalformedEnvelope` for a version that is weaker
        than the code was printed for.
        """
        if version < code.version and not (version == TEST_VERSION and allow_weak):
            raise MalformedEnvelope("the account slot is weaker than its recovery code allows")
        params = _PARAMETERS[version]
        secrets = code.secrets()
        self._key: bytes = p.argon2id(
            p.normalise_password(password),
            salt=secrets.salt,
            params=params,
            secret=code.to_bytes(),
            allow_weak=allow_weak,
        )
        self._locator: bytes = secrets.locator
        self._version: int = version

    def seal(self, contents: AccountContents, *, number: int, entropy: p.Entropy) -> bytes:
        """Slot ``number`` (1 and up; one more than the highest that opens)."""
        if not 1 <= number < 1 << 32:
            raise ValueError("slots are numbered from 1")
        body = packing.pad(packing.pack(contents._fields()))
        head = _MAGIC + bytes((self._version,)) + number.to_bytes(4, "big")
        head += contents.recovery.salt(entropy, head + body)
        return head + p.seal_committed(
            self._key, salt=head[9:], use="account", context=head + self._locator, plaintext=body
        )

    def open(self, data: bytes) -> AccountContents:
        """:class:`WrongPassword` when it does not open; :class:`MalformedEnvelope`, :class:`UpdateRequired` by its
        framing.
        """
        if slot_version(data) != self._version:
            raise WrongPassword("the password does not open this account")
        head = data[:_HEAD]
        try:
            body = p.open_committed(
                self._key, salt=head[9:], use="account", context=head + self._locator, sealed=data[_HEAD:]
            )
        except BadSeal:
            raise WrongPassword("the password does not open this account") from None
        fields = packing.unpack(packing.unpad(body), max_bytes=limits.MAX_SLOT_BYTES)
        if not _BODY(fields):
            raise MalformedEnvelope("the account slot holds something else than an account")
        return AccountContents(DeviceKeys.from_bytes(fields[0]), *fields[1:])


def slot_version(data: bytes) -> int:
    """The parameter set of a slot, by its framing alone."""
    if not _HEAD + p.COMMITMENT + p.TAG < len(data) <= limits.MAX_SLOT_BYTES or data[:3] != _MAGIC[:3]:
        raise MalformedEnvelope("not an account slot")
    if data[:4] != _MAGIC or data[4] not in _PARAMETERS:
        raise UpdateRequired("this account was written by a newer version")
    return data[4]


def slot_number(data: bytes) -> int:
    """The number that a slot claims (true if it opens)."""
    slot_version(data)
    return int.from_bytes(data[5:9], "big")


def seal_account(
    code: RecoveryCode,
    password: str,
    contents: AccountContents,
    *,
    number: int,
    entropy: p.Entropy,
    version: int = VERSION,
    allow_weak: bool = False,
) -> bytes:
    """One slot; see :class:`AccountKey` for several with one derivation."""
    return AccountKey(code, password, version=version, allow_weak=allow_weak).seal(
        contents, number=number, entropy=entropy
    )


def open_account(code: RecoveryCode, password: str, data: bytes, *, allow_weak: bool = False) -> AccountContents:
    """What the slot holds. :class:`WrongPassword` is the one error for every password and code that do not open it."""
    version = slot_version(data)
    try:
        key = AccountKey(code, password, version=version, allow_weak=allow_weak)
    except UsageError:
        raise WrongPassword("the password does not open this account") from None
    return key.open(data)

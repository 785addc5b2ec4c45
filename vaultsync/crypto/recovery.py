"""The recovery code: 128 random bits that a person prints once, and what is derived from them alone.

::

    30 characters of Crockford's base32 in six groups of five:  1XXXX-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX
    150 bits, big-endian:  format version 5 | random 128 | check 17
    the number they make is divisible by 131071 (2**17 - 1, a prime), and check is not 131071

A prime modulus that no power of 32 is a multiple of notices every single wrong character and every two neighbours
exchanged, for certain; anything else with probability 1 - 2**-17. The version is printed with the code, so that the
cost of the key derivation is never a remote's to choose: an account slot older than its code is refused.
"""

from __future__ import annotations

from typing import Final

from vaultsync import limits
from vaultsync.crypto import primitives as p
from vaultsync.crypto.crockford import ALPHABET, SEPARATORS, VALUES
from vaultsync.crypto.keys import Secret
from vaultsync.errors import UpdateRequired, WrongCode

__all__ = ["CODE_VERSION", "AccountSecrets", "RecoveryCode"]

CODE_VERSION: Final = 1
_CHARS: Final = 30
_MODULUS: Final = (1 << 17) - 1


class AccountSecrets(Secret):
    """What the code alone gives: where the account lies (locator, 16 bytes, not secret from the remote), the key (32)
    that claims that place, and the salt (32) of the password's derivation."""

    __slots__ = ("claim_key", "locator", "salt")

    def __init__(self, code: bytes) -> None:
        self.locator: bytes = p.hkdf(code, salt=b"", use="account-locator", length=16)
        self.claim_key: bytes = p.hkdf(code, salt=b"", use="account-claim")
        self.salt: bytes = p.hkdf(code, salt=b"", use="account-salt")


class RecoveryCode(Secret):
    """``str(code)`` is the code as printed (on purpose: it is shown once); its repr is redacted."""

    __slots__ = ("_bits", "version")

    version: int

    def __init__(self, bits: bytes, version: int = CODE_VERSION) -> None:
        if len(bits) != 16:
            raise ValueError("a recovery code holds 16 bytes")
        self._bits, self.version = bits, version

    @classmethod
    def generate(cls, entropy: p.Entropy) -> RecoveryCode:
        return cls(p.draw(entropy, 16))

    @classmethod
    def parse(cls, text: str) -> RecoveryCode:
        """Reads a code in either case, with any spaces and dashes, and I, L, O for 1, 1, 0.

        Raises :class:`WrongCode` when it is misspelt, :class:`UpdateRequired` for one of a newer version.
        """
        chars = [char for char in text[: limits.MAX_CODE_CHARS + 1].upper() if char not in SEPARATORS]
        if len(text) > limits.MAX_CODE_CHARS or len(chars) != _CHARS:
            raise WrongCode(f"a recovery code has {_CHARS} letters and digits; {len(chars)} were given")
        if any(char not in VALUES for char in chars):
            raise WrongCode("the recovery code holds a character that codes do not have")
        number = 0
        for char in chars:
            number = number << 5 | VALUES[char]
        if number % _MODULUS or number & _MODULUS == _MODULUS:
            raise WrongCode("the recovery code is misspelt: compare it with the printed one")
        version = number >> 145
        if version != CODE_VERSION:
            raise UpdateRequired("this recovery code was made by a newer version")
        return cls((number >> 17 & ((1 << 128) - 1)).to_bytes(16, "big"), version)

    def __str__(self) -> str:
        data = self.version << 128 | int.from_bytes(self._bits, "big")
        number = data << 17 | -data % _MODULUS  # 2**17 is 1 to this modulus
        chars = [ALPHABET[number >> shift & 31] for shift in range(145, -1, -5)]
        return "-".join("".join(chars[at : at + 5]) for at in range(0, _CHARS, 5))

    def to_bytes(self) -> bytes:
        """The 16 secret bytes."""
        return self._bits

    def secrets(self) -> AccountSecrets:
        """Locator, claim key and salt."""
        return AccountSecrets(self._bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecoveryCode) and p.same(self._bits, other._bits) and self.version == other.version

    def __hash__(self) -> int:
        return hash((self.version, self.secrets().locator))

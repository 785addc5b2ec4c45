"""Sealing the rows of the local store under its local key.

::

    0 1 format = 1 | 1 24 salt | 25 ciphertext and 16-byte tag
    okm = HKDF-SHA256(local key, salt, "row" label, 44) -> key 32, nonce 12
    AAD = "row" label || store id 16 || u32 length, table || u32 length, row key || u32 length, heads

    salt = first 24 of HMAC(row hedge, 32 random bytes || SHA-256(place || plaintext))

Keys and nonces never come from counters or row ids, which a copied or restored file would repeat. A row opens only in
the place it was sealed for. An older version of the *same* row is not noticed here; ``heads`` (what the row is true of)
and the journal's order are for that.
"""

from __future__ import annotations

from typing import Final

from vaultsync.crypto import primitives as p
from vaultsync.crypto.keys import Secret
from vaultsync.errors import BadSeal

__all__ = ["LocalKey"]

_FORMAT: Final = b"\x01"
_SALT: Final = 24


class LocalKey(Secret):
    """The random key of one local store, with the store's id (16 bytes) and the source of its salts."""

    __slots__ = ("_entropy", "_hedge", "_key", "store_id")

    store_id: bytes

    def __init__(self, store_id: bytes, key: bytes, entropy: p.Entropy) -> None:
        if len(store_id) != 16 or len(key) != 32:
            raise ValueError("a local key is a store id of 16 and a key of 32 bytes")
        self.store_id, self._key, self._entropy = store_id, key, entropy
        self._hedge = p.hkdf(key, salt=b"", use="row-hedge")

    @classmethod
    def generate(cls, entropy: p.Entropy) -> LocalKey:
        """A new key for a new store (with a new id)."""
        return cls(p.draw(entropy, 16), p.draw(entropy, 32), entropy)

    def renewed(self) -> LocalKey:
        """Another key for the same store: its rows keep their places, and are sealed anew."""
        return LocalKey(self.store_id, p.draw(self._entropy, 32), self._entropy)

    def to_bytes(self) -> bytes:
        """store id || key: 48 secret bytes, for the key slots."""
        return self.store_id + self._key

    def seal(self, table: str, row_key: bytes | str, plaintext: bytes, heads: bytes = b"") -> bytes:
        """``plaintext`` and 41 bytes. ``heads`` is whatever the row must go with; give the same to open it."""
        place = self._place(table, row_key, heads)
        salt = self.salt(self._entropy, place + plaintext)[:_SALT]
        key, nonce = self._derive(salt)
        return _FORMAT + salt + p.seal_aead(key, nonce, plaintext, place)

    def open(self, table: str, row_key: bytes | str, sealed: bytes, heads: bytes = b"") -> bytes:
        """The plaintext; :class:`BadSeal` for damage, another key, or a row from another place."""
        if sealed[:1] != _FORMAT or len(sealed) < 1 + _SALT + p.TAG:
            raise BadSeal("not a sealed row")
        key, nonce = self._derive(sealed[1 : 1 + _SALT])
        return p.open_aead(key, nonce, sealed[1 + _SALT :], self._place(table, row_key, heads))

    def salt(self, entropy: p.Entropy, contents: bytes) -> bytes:
        """32 bytes that differ for different contents even when the machine repeats its random numbers."""
        return p.hedged_salt(self._hedge, entropy, contents)

    def _derive(self, salt: bytes) -> tuple[bytes, bytes]:
        okm = p.hkdf(self._key, salt=salt, use="row", length=44)
        return okm[:32], okm[32:]

    def _place(self, table: str, row_key: bytes | str, heads: bytes) -> bytes:
        key = row_key.encode("utf-8") if isinstance(row_key, str) else row_key
        parts = [len(part).to_bytes(4, "big") + part for part in (table.encode("utf-8"), key, heads)]
        return p.label("row") + self.store_id + b"".join(parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalKey) and p.same(self.to_bytes(), other.to_bytes())

    def __hash__(self) -> int:
        return hash(self.store_id)

"""Invitations: what a member shows to a new device, as text or QR code, so that both find each other on a remote.

::

    "VSI" | base32 (Crockford) of: packed [1, remote's address, mailbox 16, key 32, expires (s), vault id 16 or nil]
          | first 4 of H("invitation"; all before it)

Upper case and digits only, as QR codes' compact mode has them; read in either case, with any spaces and dashes. Whoever
sees the text can answer in the new device's place, but not unnoticed: see :mod:`~vaultsync.crypto.pairing`.
"""

from __future__ import annotations

from typing import Final

from vaultsync import limits
from vaultsync.crypto import crockford, packing
from vaultsync.crypto import primitives as p
from vaultsync.crypto.keys import AccessKey, Secret
from vaultsync.errors import UpdateRequired, UsageError, WrongInvitation

__all__ = ["Invitation"]

_VERSION: Final = 1
_SHAPE: Final = packing.row(
    packing.uint(_VERSION, _VERSION),
    lambda url: type(url) is str and 0 < len(url.encode("utf-8")) <= limits.MAX_URL_BYTES and url.isprintable(),
    packing.octets(16),
    packing.octets(32),
    packing.uint(limits.MAX_SAFE_INT),
    packing.optional(packing.octets(16)),
)


class Invitation(Secret):
    """``remote``: an address; ``mailbox`` (16 bytes) names a place there, ``key`` (32) seals what is put into it until
    ``expires_ms`` (whole seconds, the inviter's clock). ``str()`` is the text to show (on purpose); the repr is
    redacted.
    """

    __slots__ = ("expires_ms", "key", "mailbox", "remote", "vault_id")

    def __init__(self, remote: str, mailbox: bytes, key: bytes, expires_ms: int, vault_id: bytes | None) -> None:
        self.remote: str = remote
        self.mailbox: bytes = mailbox
        self.key: bytes = key
        self.expires_ms: int = expires_ms // 1000 * 1000
        self.vault_id: bytes | None = vault_id
        if not _SHAPE(self._fields()):
            raise UsageError("an invitation needs a remote's address of usual length and a time to end at")

    @classmethod
    def make(cls, remote: str, *, expires_ms: int, entropy: p.Entropy, vault_id: bytes | None = None) -> Invitation:
        """A new one. With the vault's id the newcomer refuses to be led into another vault, and the text is 28
        characters longer. Raises :class:`UsageError` for an address that does not fit."""
        return cls(remote, p.draw(entropy, 16), p.draw(entropy, 32), expires_ms, vault_id)

    def access(self) -> AccessKey:
        """The key to the mailbox on a relay, which both sides have and which opens nothing else there."""
        return AccessKey(self.key, context=self.mailbox)

    def _fields(self) -> tuple[object, ...]:
        return (_VERSION, self.remote, self.mailbox, self.key, self.expires_ms // 1000, self.vault_id)

    def to_bytes(self) -> bytes:
        return packing.pack(self._fields())

    def __str__(self) -> str:
        data = self.to_bytes()
        return "VSI" + crockford.encode(data + p.sha256("invitation", data)[:4])

    @classmethod
    def parse(cls, text: str) -> Invitation:
        """Raises :class:`WrongInvitation` when it is misspelt, cut off or something else, and
        :class:`UpdateRequired` for one of a newer version. Whether it is too old is for the inviter's clock.
        """
        if len(text) > limits.MAX_INVITATION_CHARS:
            raise WrongInvitation("this is longer than an invitation can be")
        chars = [char for char in text.upper() if char not in crockford.SEPARATORS]
        if chars[:2] != ["V", "S"] or chars[2:3] not in (["I"], ["1"], ["L"]):
            raise WrongInvitation("this is no invitation: it begins with VSI")
        data = crockford.decode(chars[3:])
        if data is None or len(data) < 4 or p.sha256("invitation", data[:-4])[:4] != data[-4:]:
            raise WrongInvitation("the invitation is misspelt or incomplete: compare it, or scan it again")
        return cls.from_bytes(data[:-4])

    @classmethod
    def from_bytes(cls, data: bytes) -> Invitation:
        """What :meth:`to_bytes` gave. Raises as :meth:`parse`."""
        fields = packing.unpack(data, max_bytes=limits.MAX_INVITATION_CHARS, error=WrongInvitation)
        if type(fields) is tuple and fields and type(fields[0]) is int and fields[0] > _VERSION:
            raise UpdateRequired("this invitation was made by a newer version")
        if not _SHAPE(fields):
            raise WrongInvitation("this is no invitation")
        _, remote, mailbox, key, expires, vault_id = fields
        return cls(remote, mailbox, key, expires * 1000, vault_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Invitation) and p.same(self.to_bytes(), other.to_bytes())

    def __hash__(self) -> int:
        return hash(self.mailbox)

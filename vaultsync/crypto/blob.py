"""Attachments: contents sealed under a key of their own, which stands in the entry that refers to them.

::

    "VSF1" | committed(key 32, no salt, "blob", "VSF1" | vault id 16, padded(contents))        id = SHA-256 of all of it

The key is drawn for one file and used once, so no salt is needed. Whoever may read the entry may read the file. The id
is what the object is called: a remote cannot serve other bytes, and a file that is cut off is known as such.
"""

from __future__ import annotations

import hashlib
from typing import Final

from vaultsync import limits
from vaultsync.crypto import packing
from vaultsync.crypto import primitives as p
from vaultsync.errors import BadSeal, MalformedEnvelope, UpdateRequired

__all__ = ["blob_id", "open_blob", "seal_blob"]

_MAGIC: Final = b"VSF1"


def blob_id(sealed: bytes) -> bytes:
    """32 bytes."""
    return hashlib.sha256(sealed).digest()


def seal_blob(contents: bytes, *, vault_id: bytes, entropy: p.Entropy) -> tuple[bytes, bytes]:
    """(sealed bytes, the 32-byte key to keep). ``contents`` are at most ``limits.MAX_ATTACHMENT_BYTES``."""
    key = p.draw(entropy, 32)
    sealed = p.seal_committed(key, salt=b"", use="blob", context=_MAGIC + vault_id, plaintext=packing.pad(contents))
    return _MAGIC + sealed, key


def open_blob(sealed: bytes, key: bytes, *, vault_id: bytes) -> bytes:
    """The contents. Raises :class:`MalformedEnvelope`, :class:`UpdateRequired` and :class:`BadSeal`."""
    if len(sealed) > limits.MAX_ENVELOPE_BYTES or sealed[:3] != _MAGIC[:3]:
        raise MalformedEnvelope("not a sealed attachment, or larger than the limit")
    if sealed[:4] != _MAGIC:
        raise UpdateRequired("the attachment is sealed in a newer format")
    if len(key) != 32:
        raise BadSeal("the attachment's key has the wrong size")
    return packing.unpad(p.open_committed(key, salt=b"", use="blob", context=_MAGIC + vault_id, sealed=sealed[4:]))

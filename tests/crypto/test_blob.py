"""Sealed attachments: what opens, and that nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultsync import limits
from vaultsync.crypto.blob import blob_id, open_blob, seal_blob
from vaultsync.errors import BadSeal, MalformedEnvelope, Refused, UpdateRequired

VAULT = b"v" * 16
KEY = bytes(range(32))


def sealed(contents: bytes = b"scan") -> tuple[bytes, bytes]:
    return seal_blob(contents, vault_id=VAULT, entropy=lambda n: KEY[:n])


@given(st.binary(max_size=5000))
def test_what_was_sealed_opens(contents: bytes) -> None:
    data, key = sealed(contents)
    assert open_blob(data, key, vault_id=VAULT) == contents
    assert len(blob_id(data)) == 32


def test_golden_bytes() -> None:
    """Other implementations can check theirs against this."""
    data, key = sealed(b"VaultSync")
    assert key == KEY
    assert data[:4] == b"VSF1"
    assert blob_id(data).hex() == "e4ca6a7ead67a0c84a7db53f991f6f4f74c8ceb69a7da43a32b006af52939c46"


def test_every_flipped_bit_is_refused() -> None:
    data, key = sealed()
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Refused, UpdateRequired)):
            open_blob(bytes(broken), key, vault_id=VAULT)


def test_cut_or_extended_bytes_are_refused() -> None:
    data, key = sealed()
    for size in range(len(data)):
        with pytest.raises((Refused, UpdateRequired)):
            open_blob(data[:size], key, vault_id=VAULT)
    with pytest.raises(BadSeal):
        open_blob(data + b"\0", key, vault_id=VAULT)


def test_another_vault_or_key_is_refused() -> None:
    data, key = sealed()
    for other in (bytes(32), key[:31], b""):
        with pytest.raises(BadSeal):
            open_blob(data, other, vault_id=VAULT)
    with pytest.raises(BadSeal):
        open_blob(data, key, vault_id=bytes(16))


def test_an_oversized_object_is_refused_before_anything_is_derived() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return limits.MAX_ENVELOPE_BYTES + 1

    with pytest.raises(MalformedEnvelope):
        open_blob(Huge(b"VSF1"), KEY, vault_id=VAULT)

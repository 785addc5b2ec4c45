"""Notices that a vault moved: what is believed and what is not."""

from __future__ import annotations

import pytest

from tests.crypto.given import Seeded
from vaultsync.crypto.keys import DeviceKeys, EpochKey
from vaultsync.crypto.moving import Notice, open_notice, seal_notice, write_notice
from vaultsync.errors import BadSeal, BadSignature, MalformedEnvelope, UnknownChain, UpdateRequired, UsageError

KEYS = DeviceKeys.generate(Seeded(1))
VAULT, EPOCH = b"v" * 16, EpochKey(b"e" * 32)
URL = "s3://bücket/ann?region=eu"


def notice(n: int = 1, keys: DeviceKeys = KEYS) -> Notice:
    return write_notice(keys, VAULT, n=n, url=URL, now_ms=5)


def sealed(one: Notice, *, vault_id: bytes = VAULT, epoch: EpochKey = EPOCH) -> bytes:
    return seal_notice(one, vault_id=vault_id, epoch=epoch)


def sign_public(author: bytes) -> bytes:
    if author != KEYS.public.id:
        raise UnknownChain("not a member")
    return KEYS.public.sign


def opened(data: bytes, hash: bytes, *, vault_id: bytes = VAULT, epochs: tuple[EpochKey, ...] = (EPOCH,)) -> Notice:
    known = {epoch.id: epoch for epoch in epochs}
    return open_notice(data, vault_id=vault_id, epochs=known, hash=hash, sign_public=sign_public)


def test_there_and_back() -> None:
    one = notice()
    data = sealed(one)
    assert opened(data, one.hash) == one
    assert data == sealed(one), "the same bytes whenever it is sealed"
    assert (one.n, one.author, one.url, one.wall_ms) == (1, KEYS.public.id, URL, 5)
    assert URL.encode() not in data, "the remote does not learn where to"
    assert KEYS.public.id not in data, "nor who says so"


def test_every_changed_byte_is_noticed() -> None:
    one = notice()
    data = sealed(one)
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1
        with pytest.raises((BadSeal, MalformedEnvelope, UpdateRequired)):
            opened(bytes(changed), one.hash)
    for end in range(0, len(data), 7):
        with pytest.raises((BadSeal, MalformedEnvelope)):
            opened(data[:end], one.hash)


def test_it_belongs_to_one_vault_and_one_name() -> None:
    one, two = notice(1), notice(2)
    with pytest.raises(BadSeal):
        opened(sealed(one), one.hash, vault_id=b"w" * 16)
    with pytest.raises(BadSeal, match="not known here"):  # who was removed before
        opened(sealed(one), one.hash, epochs=(EpochKey(b"f" * 32),))
    with pytest.raises(BadSeal):
        opened(sealed(one), two.hash)


def test_only_members_are_believed() -> None:
    stranger = DeviceKeys.generate(Seeded(2))
    one = notice(keys=stranger)
    with pytest.raises(UnknownChain):
        opened(sealed(one), one.hash)
    with pytest.raises(BadSignature):  # and names a member
        open_notice(
            sealed(one),
            vault_id=VAULT,
            epochs={EPOCH.id: EPOCH},
            hash=one.hash,
            sign_public=lambda author: KEYS.public.sign,
        )


def test_a_signature_of_another_vault_says_nothing_here() -> None:
    other = write_notice(KEYS, b"w" * 16, n=1, url=URL, now_ms=5)
    with pytest.raises(BadSignature):
        opened(sealed(other), other.hash)


@pytest.mark.parametrize("url", ["", "x\ny", "x" * 1025, "ü" * 600])
def test_addresses_that_do_not_fit(url: str) -> None:
    with pytest.raises(UsageError, match="1024"):
        write_notice(KEYS, VAULT, n=1, url=url, now_ms=5)

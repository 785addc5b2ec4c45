from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from tests.crypto.given import Seeded, device
from vaultsync.crypto.account import TEST_VERSION, AccountContents, AccountKey
from vaultsync.crypto.keys import Chain, DeviceKeys, DevicePublic, EpochKey
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.crypto.rows import LocalKey
from vaultsync.errors import WeakKey

CODE = RecoveryCode.generate(Seeded("code"))
SECRETS = [
    device("a"),
    EpochKey.generate(Seeded("epoch")),
    LocalKey.generate(Seeded("local")),
    CODE,
    CODE.secrets(),
    AccountContents(device("a"), bytes(16), bytes(32), bytes(32)),
    AccountKey(CODE, "password", version=TEST_VERSION, allow_weak=True),
]


def _key_bytes(secret: object) -> list[bytes]:
    slots = [name for cls in type(secret).__mro__ for name in getattr(cls, "__slots__", ())]
    return [value for name in slots if isinstance(value := getattr(secret, name), bytes) and name not in _OPEN]


_OPEN = {"store_id", "check", "locator", "_locator", "vault_id", "roster_head"}


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: type(secret).__name__)
def test_secrets_show_nothing_in_repr_format_and_containers(secret: object) -> None:
    shown = repr(secret) + f"{[secret]!s}{secret!r}" + repr(getattr(secret, "__dict__", ""))
    assert "secret" in shown
    for key in _key_bytes(secret):
        assert key.hex() not in shown
        assert repr(key)[2:-1] not in shown
    if not isinstance(secret, RecoveryCode):  # its str is what a person prints
        assert str(secret) == repr(secret)


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: type(secret).__name__)
@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy, lambda secret: pickle.dumps([secret], 0)])
def test_secrets_are_neither_pickled_nor_copied(secret: object, take: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        take(secret)


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: type(secret).__name__)
def test_secrets_have_no_dict_to_leak_through(secret: object) -> None:
    with pytest.raises(TypeError):
        vars(secret)


def test_keys_come_back_from_their_bytes() -> None:
    keys = device("a")
    again = DeviceKeys.from_bytes(keys.to_bytes())
    assert again == keys != device("b")
    assert again.public == keys.public
    assert DevicePublic.from_bytes(keys.public.to_bytes()) == keys.public
    assert hash(again) == hash(keys)
    assert EpochKey(b"k" * 32) == EpochKey(b"k" * 32) != EpochKey(b"l" * 32)


def test_ids_are_hashes_of_what_they_name() -> None:
    a, b = device("a").public, device("b").public
    mixed = [DevicePublic(one.sign, two.kem, three.access) for one in (a, b) for two in (a, b) for three in (a, b)]
    assert len({public.id for public in mixed}) == 8
    chain = Chain.new(a.id, Seeded("chain"))
    assert Chain.of(a.id, chain.nonce) == chain
    assert Chain.of(b.id, chain.nonce).id != chain.id


def test_public_keys_are_checked_when_made() -> None:
    good = device("a").public
    with pytest.raises(WeakKey):
        DevicePublic(bytes(32), good.kem, good.access)
    with pytest.raises(WeakKey):
        DevicePublic(good.sign, good.kem[:-32] + bytes(32), good.access)
    with pytest.raises(WeakKey):
        DevicePublic(good.sign, good.kem, bytes(32))
    with pytest.raises(WeakKey):
        DevicePublic.from_bytes(good.to_bytes()[:-1])


def test_a_machine_that_repeats_its_random_numbers_does_not_repeat_a_salt() -> None:
    def stuck(size: int) -> bytes:
        return b"\7" * size

    a, b = device("a"), device("b")
    salts = {a.salt(stuck, b"one"), a.salt(stuck, b"two"), b.salt(stuck, b"one"), a.salt(Seeded("x"), b"one")}
    assert len(salts) == 4


@pytest.mark.parametrize("make", [DeviceKeys, EpochKey, lambda data: LocalKey(bytes(16), data, Seeded("x"))])
def test_keys_of_another_size_are_not_made(make: Callable[[bytes], object]) -> None:
    with pytest.raises(ValueError, match="bytes"):
        make(b"short")

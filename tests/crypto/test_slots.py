from __future__ import annotations

import pytest

from tests.crypto.given import Seeded, cuts, flips
from vaultsync import limits
from vaultsync.crypto import primitives, slots
from vaultsync.crypto.rows import LocalKey
from vaultsync.errors import DamagedStore, UpdateRequired, UsageError, WrongPassword

KEY = LocalKey.generate(Seeded("local"))
RAW = Seeded("raw")(32)
PASSWORD = "correct horse"


def password_slot(password: str = PASSWORD) -> bytes:
    return slots.make_slot(KEY, password=password, params=slots.WEAK_FOR_TESTS, entropy=Seeded("slot"), allow_weak=True)


def raw_slot() -> bytes:
    return slots.make_slot(KEY, raw_key=RAW, entropy=Seeded("slot"))


def open_password(slot: bytes, password: str = PASSWORD) -> LocalKey:
    return slots.open_slot(slot, password=password, entropy=Seeded("x"), allow_weak=True)


def test_slots_open_to_the_same_key() -> None:
    assert open_password(password_slot()) == KEY
    assert slots.open_slot(raw_slot(), raw_key=RAW, entropy=Seeded("x")) == KEY
    assert slots.slot_is_for_password(password_slot())
    assert not slots.slot_is_for_password(raw_slot())
    assert len(password_slot()) == len(raw_slot()) == 139
    assert open_password(password_slot("pässword"), "pa\u0308ssword") == KEY


@pytest.mark.parametrize("password", ["", "Correct horse", "correct horse ", "x" * 5000, "\ud800"])
def test_a_wrong_password_is_one_error(password: str) -> None:
    with pytest.raises(WrongPassword) as caught:
        open_password(password_slot(), password)
    with pytest.raises(WrongPassword) as other:
        slots.open_slot(password_slot(), raw_key=RAW, entropy=Seeded("x"), allow_weak=True)
    with pytest.raises(WrongPassword) as damaged:
        open_password(password_slot()[:-1] + b"\0")
    assert str(caught.value) == str(other.value) == str(damaged.value)


@pytest.mark.parametrize("raw", [b"", RAW[:-1], RAW + b"\0", bytes(32)])
def test_a_wrong_raw_key_is_the_same_error(raw: bytes) -> None:
    with pytest.raises(WrongPassword):
        slots.open_slot(raw_slot(), raw_key=raw, entropy=Seeded("x"))
    with pytest.raises(WrongPassword):
        slots.open_slot(raw_slot(), password="correct horse", entropy=Seeded("x"))


@pytest.mark.parametrize("kind", ["password", "raw"])
def test_every_flipped_bit_and_every_cut_is_refused_with_a_typed_error(kind: str) -> None:
    slot = password_slot() if kind == "password" else raw_slot()
    for at, broken in enumerate(flips(slot)):
        # the costs of a password slot may still be within bounds: then the key is another one
        given = {"password": PASSWORD} if kind == "password" else {"raw_key": RAW}
        with pytest.raises((WrongPassword, DamagedStore, UpdateRequired)) as caught:
            slots.open_slot(broken, entropy=Seeded("x"), allow_weak=True, **given)  # type: ignore[arg-type]
        if at >= 11 * 8:
            assert type(caught.value) is WrongPassword
    for broken in cuts(slot):
        with pytest.raises((DamagedStore, UpdateRequired)):
            open_password(broken)


@pytest.mark.parametrize(
    "costs", [(2**32 - 1, 3, 4), (limits.ARGON2_MIN_KIB - 1, 3, 4), (1 << 16, 255, 4), (1 << 16, 3, 0)]
)
def test_hostile_costs_in_a_header_are_refused_before_allocation(
    costs: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = password_slot()

    def not_reached(**_: object) -> None:
        raise AssertionError("handed to the library")

    monkeypatch.setattr(primitives, "Argon2id", not_reached)
    memory, passes, lanes = costs
    hostile = slot[:5] + memory.to_bytes(4, "big") + bytes((passes, lanes)) + slot[11:]
    with pytest.raises(DamagedStore):
        open_password(hostile)


def test_the_weak_costs_of_tests_are_refused_in_production() -> None:
    with pytest.raises(UsageError):
        slots.make_slot(KEY, password="p", params=slots.WEAK_FOR_TESTS, entropy=Seeded("x"))
    with pytest.raises(DamagedStore):
        slots.open_slot(password_slot(), password="correct horse", entropy=Seeded("x"))


def test_a_slot_is_for_exactly_one_of_password_and_key() -> None:
    for given in ({}, {"password": "p", "raw_key": RAW}, {"raw_key": b"short"}, {"password": ""}):
        with pytest.raises(UsageError):
            slots.make_slot(KEY, entropy=Seeded("x"), **given)  # type: ignore[arg-type]


def test_lower_costs_in_the_header_do_not_open_the_slot_more_cheaply() -> None:
    slot = slots.make_slot(
        KEY, password="p", params=slots.Argon2Params(limits.ARGON2_MIN_KIB + 8, 1, 1), entropy=Seeded("slot")
    )
    assert slots.open_slot(slot, password="p", entropy=Seeded("x")) == KEY
    cheaper = slot[:5] + limits.ARGON2_MIN_KIB.to_bytes(4, "big") + slot[9:]
    with pytest.raises(WrongPassword):
        slots.open_slot(cheaper, password="p", entropy=Seeded("x"))

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.given import EXAMPLES, Seeded
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.errors import UpdateRequired, WrongCode

CODES = st.binary(min_size=16, max_size=16).map(RecoveryCode)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@settings(max_examples=EXAMPLES)
@given(CODES, st.randoms(use_true_random=False))
def test_a_code_is_read_however_it_was_written(code: RecoveryCode, random: object) -> None:
    text = str(code)
    assert RecoveryCode.parse(text) == code
    assert [len(group) for group in text.split("-")] == [5] * 6
    sloppy = "".join(
        random.choice({"1": "1iIlL", "0": "0oO"}.get(char, char + char.lower()))  # type: ignore[attr-defined]
        + random.choice(["", " ", "-", "\u2013", "\u00a0", "\n"])  # type: ignore[attr-defined]
        for char in text.replace("-", "")
    )
    assert RecoveryCode.parse(sloppy) == code


@settings(max_examples=max(5, EXAMPLES // 10))
@given(CODES)
def test_every_single_wrong_character_is_noticed(code: RecoveryCode) -> None:
    text = str(code).replace("-", "")
    for at, char in enumerate(text):
        for other in ALPHABET:
            if other != char:
                with pytest.raises(WrongCode):
                    RecoveryCode.parse(text[:at] + other + text[at + 1 :])


@settings(max_examples=EXAMPLES)
@given(CODES)
def test_every_exchange_of_two_neighbours_is_noticed(code: RecoveryCode) -> None:
    text = str(code).replace("-", "")
    for at in range(29):
        swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        if swapped != text:
            with pytest.raises(WrongCode):
                RecoveryCode.parse(swapped)


@settings(max_examples=EXAMPLES * 5)
@given(st.text(max_size=60) | st.text(ALPHABET, min_size=30, max_size=30))
def test_anything_else_is_a_wrong_code_or_its_own_spelling(text: str) -> None:
    try:
        code = RecoveryCode.parse(text)
    except (WrongCode, UpdateRequired):
        return
    assert RecoveryCode.parse(str(code)) == code


@pytest.mark.parametrize("text", ["", "1", "x" * 10_000, "-" * 300, "U" * 30, "1" * 29, "1" * 31])
def test_what_cannot_be_a_code(text: str) -> None:
    with pytest.raises(WrongCode):
        RecoveryCode.parse(text)


def _spell(number: int) -> str:
    return "".join(ALPHABET[number >> shift & 31] for shift in range(145, -1, -5))


def test_there_is_one_spelling_of_the_checksum_zero() -> None:
    # data divisible by the modulus: check is 0, and all ones would be congruent to it
    data = (1 << 128) + -(1 << 128) % 131071
    code = RecoveryCode.parse(_spell(data << 17))
    assert str(code).replace("-", "") == _spell(data << 17)
    with pytest.raises(WrongCode):
        RecoveryCode.parse(_spell(data << 17 | 131071))


def test_a_code_of_a_newer_version_asks_for_an_update() -> None:
    with pytest.raises(UpdateRequired):
        RecoveryCode.parse(str(RecoveryCode(bytes(16), version=2)))


def test_what_follows_from_the_code_is_separate_and_fixed() -> None:
    secrets = RecoveryCode.generate(Seeded("code")).secrets()
    assert len(secrets.locator) == 16
    assert len({secrets.locator, secrets.claim_key[:16], secrets.salt[:16]}) == 3
    assert secrets.locator == RecoveryCode.generate(Seeded("code")).secrets().locator

from __future__ import annotations

import pytest

from tests.crypto.given import Seeded, cuts, device, flips
from vaultsync.crypto import account, primitives
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.errors import MalformedEnvelope, UpdateRequired, WrongPassword

CODE = RecoveryCode.generate(Seeded("code"))
PASSWORD = "correct horse"
CONTENTS = account.AccountContents(device("recovery"), b"v" * 16, b"k" * 32, b"h" * 32)


def sealed(number: int = 3, password: str = PASSWORD, code: RecoveryCode = CODE) -> bytes:
    return account.seal_account(
        code,
        password,
        CONTENTS,
        number=number,
        entropy=Seeded("account"),
        version=account.TEST_VERSION,
        allow_weak=True,
    )


def opened(data: bytes, password: str = PASSWORD, code: RecoveryCode = CODE) -> account.AccountContents:
    return account.open_account(code, password, data, allow_weak=True)


def test_an_account_opens_with_password_and_code() -> None:
    contents = opened(sealed())
    assert contents == CONTENTS
    assert (contents.vault_id, contents.roster_key, contents.roster_head) == (b"v" * 16, b"k" * 32, b"h" * 32)
    assert account.slot_number(sealed()) == 3
    assert len(sealed()) == 345


def test_password_and_code_are_both_needed_and_being_wrong_is_one_error() -> None:
    messages = set()
    for password, code in [("Correct horse", CODE), (PASSWORD, RecoveryCode(bytes(16))), ("", CODE), ("\ud800", CODE)]:
        with pytest.raises(WrongPassword) as caught:
            opened(sealed(), password, code)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_slot_is_bound_to_its_number() -> None:
    renumbered = sealed()[:5] + (9).to_bytes(4, "big") + sealed()[9:]
    assert account.slot_number(renumbered) == 9
    with pytest.raises(WrongPassword):
        opened(renumbered)


def test_every_flipped_bit_and_every_cut_is_refused_with_a_typed_error() -> None:
    data = sealed()
    key = account.AccountKey(CODE, PASSWORD, version=account.TEST_VERSION, allow_weak=True)
    for broken in flips(data):
        with pytest.raises((WrongPassword, MalformedEnvelope, UpdateRequired)):
            key.open(broken)
    for broken in cuts(data):
        with pytest.raises((WrongPassword, MalformedEnvelope, UpdateRequired)):
            key.open(broken)
    for broken in [b"", b"VSA1", bytes(5000)]:
        with pytest.raises(MalformedEnvelope):
            account.slot_number(broken)


def test_the_remote_has_no_say_in_the_cost_of_the_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MalformedEnvelope):
        account.AccountKey(CODE, PASSWORD, version=account.TEST_VERSION)
    assert account._PARAMETERS[account.VERSION] == primitives.DEFAULT == primitives.Argon2Params(262_144, 3, 4)

    data = sealed()

    def not_reached(**_: object) -> None:
        raise AssertionError("derived with the parameters of a weaker version")

    monkeypatch.setattr(primitives, "Argon2id", not_reached)
    with pytest.raises(MalformedEnvelope):
        account.open_account(CODE, PASSWORD, data)


def test_one_derivation_opens_every_slot_of_the_account() -> None:
    key = account.AccountKey(CODE, PASSWORD, version=account.TEST_VERSION, allow_weak=True)
    for number in (1, 2, 7):
        assert key.open(sealed(number)) == CONTENTS
        assert key.open(key.seal(CONTENTS, number=number, entropy=Seeded("other"))) == CONTENTS
    with pytest.raises(ValueError, match="numbered"):
        key.seal(CONTENTS, number=0, entropy=Seeded("other"))


def test_a_slot_of_a_later_version_asks_for_an_update() -> None:
    with pytest.raises(UpdateRequired):
        opened(b"VSA2" + sealed()[4:])
    with pytest.raises(UpdateRequired):
        opened(sealed()[:4] + b"\x02" + sealed()[5:])

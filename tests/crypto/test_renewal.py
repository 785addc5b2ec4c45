"""Changing passwords: of the account, because one wants to or because it leaked, and of the local file."""

from __future__ import annotations

import pytest

from tests.crypto.given import Seeded, device, world
from vaultsync.crypto import account, slots
from vaultsync.crypto.account import AccountContents, AccountKey
from vaultsync.crypto.keys import Chain
from vaultsync.crypto.primitives import Argon2Params
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.crypto.renewal import next_slot, renew
from vaultsync.crypto.roster import Claim, Roster
from vaultsync.crypto.rows import LocalKey
from vaultsync.errors import BadSeal, DamagedStore, UsageError, WrongPassword

W = world()
CODE = RecoveryCode.generate(Seeded("code"))
CONTENTS = AccountContents(W.recovery, W.roster.vault_id, b"k" * 32, W.first.head)


def key(password: str, code: RecoveryCode = CODE) -> AccountKey:
    return AccountKey(code, password, version=account.TEST_VERSION, allow_weak=True)


# ---- the account --------------------------------------------------------------------------------------------------


def test_a_new_password_is_a_further_slot_at_the_same_place() -> None:
    first = key("old").seal(CONTENTS, number=1, entropy=Seeded("1"))
    second = next_slot(key("new"), CONTENTS, W.roster, highest=1, entropy=Seeded("2"))
    assert account.slot_number(second) == 2
    opened = key("new").open(second)
    assert opened.recovery == W.recovery
    assert opened.roster_head == W.roster.head  # and a roster without what is known now will be refused
    with pytest.raises(WrongPassword):
        key("old").open(second)
    assert key("old").open(first) == CONTENTS  # said in the module: as long as a remote keeps it


def test_a_leaked_account_opens_to_an_identity_without_power() -> None:
    renewal = renew(CONTENTS, W.roster, entropy=Seeded("leak"))
    assert renewal.code != CODE
    assert renewal.code.secrets().locator != CODE.secrets().locator
    assert renewal.roster == W.roster.merge([renewal.entry])
    assert renewal.roster.recovery.id == renewal.contents.recovery.public.id != W.recovery.public.id
    assert renewal.contents.roster_head == renewal.roster.head
    slot = key("new", renewal.code).seal(renewal.contents, number=1, entropy=Seeded("s"))
    joined = key("new", renewal.code).open(slot)
    assert renewal.roster.epoch in renewal.roster.epoch_keys(joined.recovery)
    old = key("old").open(key("old").seal(CONTENTS, number=1, entropy=Seeded("1")))  # the thief
    assert renewal.roster.epoch not in renewal.roster.epoch_keys(old.recovery)
    with pytest.raises(UsageError):
        renewal.roster.remove(old.recovery, [W.phone.public.id], {}, entropy=Seeded("x"))
    with pytest.raises(WrongPassword):
        key("new", renewal.code).open(key("new").seal(CONTENTS, number=9, entropy=Seeded("1")))


def test_a_replaced_account_is_neither_changed_nor_replaced_again() -> None:
    renewal = renew(CONTENTS, W.roster, entropy=Seeded("leak"))
    with pytest.raises(UsageError):
        renew(CONTENTS, renewal.roster, entropy=Seeded("again"))
    with pytest.raises(UsageError):
        next_slot(key("new"), CONTENTS, renewal.roster, highest=1, entropy=Seeded("again"))
    elsewhere, _ = Roster.found(W.recovery, W.laptop, W.laptop_chain, entropy=Seeded("other vault"))
    with pytest.raises(UsageError):
        renew(CONTENTS, elsewhere, entropy=Seeded("x"))
    again = renew(renewal.contents, renewal.roster, entropy=Seeded("again"))
    assert again.roster.recovery.id not in (renewal.roster.recovery.id, W.recovery.public.id)


def test_a_device_that_was_offline_meanwhile_joins_both_worlds() -> None:
    camera = device("camera")
    chain = Chain.new(camera.public.id, Seeded("camera chain"))
    offline, _ = W.roster.add_device(W.phone, Claim.make(camera, chain, W.roster.vault_id))
    renewal = renew(CONTENTS, W.roster, entropy=Seeded("leak"))
    both = renewal.roster.merge(entry.data for entry in offline.log)
    assert camera.public.id in both.members
    made = both.grant_missing(W.phone)
    assert made is not None
    assert both.epoch in made[0].epoch_keys(camera)


# ---- the local file -----------------------------------------------------------------------------------------------

FLOOR = Argon2Params(24 << 10, 2, 1)
LOCAL = LocalKey.generate(Seeded("local"))


def local_slot(params: Argon2Params = FLOOR, **secret: str) -> bytes:
    return slots.make_slot(LOCAL, password=secret.get("password", "old"), params=params, entropy=Seeded("slot"))


def test_a_new_local_password_is_a_new_key_of_the_same_store() -> None:
    renewed, slot = slots.rewrap(local_slot(), LOCAL, password="new", params=FLOOR, entropy=Seeded("w"))
    assert renewed.store_id == LOCAL.store_id
    assert renewed != LOCAL
    assert slots.open_slot(slot, password="new", entropy=Seeded("x")) == renewed
    with pytest.raises(WrongPassword):
        slots.open_slot(slot, password="old", entropy=Seeded("x"))
    row = LOCAL.seal("t", b"1", b"plain")
    with pytest.raises(BadSeal):
        renewed.open("t", b"1", row)  # what is left of the old file opens under the old key only
    assert renewed.open("t", b"1", renewed.seal("t", b"1", b"plain")) == b"plain"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (Argon2Params(19 << 10, 1, 1), FLOOR),
        (Argon2Params(19 << 10, 3, 1), Argon2Params(24 << 10, 3, 1)),
        (Argon2Params(32 << 10, 1, 2), Argon2Params(32 << 10, 2, 2)),
    ],
)
def test_changing_a_password_never_lowers_the_costs(asked: Argon2Params, given: Argon2Params) -> None:
    _, slot = slots.rewrap(local_slot(), LOCAL, password="new", params=asked, entropy=Seeded("w"))
    assert slots.slot_params(slot) == given


def test_slot_with_lower_costs_put_back_from_an_older_file() -> None:
    cheap = local_slot(Argon2Params(19 << 10, 1, 1))
    slots.open_slot(cheap, password="old", entropy=Seeded("x"))
    for floor in (FLOOR, Argon2Params(19 << 10, 2, 1), Argon2Params(20 << 10, 1, 1)):
        with pytest.raises(DamagedStore):
            slots.open_slot(cheap, password="old", entropy=Seeded("x"), at_least=floor)
    assert slots.open_slot(local_slot(), password="old", entropy=Seeded("x"), at_least=FLOOR) == LOCAL


def test_from_a_password_to_a_raw_key_and_back() -> None:
    raw = b"r" * 32
    renewed, slot = slots.rewrap(local_slot(), LOCAL, raw_key=raw, entropy=Seeded("w"))
    assert slots.open_slot(slot, raw_key=raw, entropy=Seeded("x"), at_least=FLOOR) == renewed
    assert slots.slot_params(slot) == Argon2Params(0, 0, 0)
    _, back = slots.rewrap(slot, renewed, password="p", params=FLOOR, entropy=Seeded("w"))
    assert slots.slot_params(back) == FLOOR

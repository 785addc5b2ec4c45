"""Changing a password: of the file on this device, of the account that lets devices in, or of both.

They are two things. The *file* opens with the local password; changing it seals every row of the file anew under a new
key, in one transaction, and needs nothing else. The *account* on the remote opens with password and recovery code
together; changing it needs the code. Other devices' files keep their passwords: nobody can change these from here.

Both at once are two steps: the account's transaction stores the file's new key and slot too, and the file follows. Cut
off in between, the old password goes on opening the file, once: opening it finishes what was begun.

``rekey``  the file's next key and the slot around it, while a change of both is under way
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from vaultsync.crypto.rows import LocalKey
from vaultsync.crypto.slots import rewrap, slot_params
from vaultsync.errors import UsageError, WrongPassword
from vaultsync.store import Slot
from vaultsync.vault import unlocking
from vaultsync.vault.environment import Environment
from vaultsync.vault.ledger import KEYRING, Ledger, Transaction
from vaultsync.vault.membership.owner import Owner
from vaultsync.vault.unlocking import Secrets

__all__ = ["PasswordChange", "change_password", "resume"]

REKEY: Final = "rekey"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class PasswordChange:
    """What was changed. ``account``: whether joining with the recovery code takes the new password now.
    ``recovery_code``: a new one, to be shown once, when everything was replaced because of a leak; the older is void.
    ``published``: whether the remote has it already; if not, the next sync brings it there.
    """

    file: bool
    account: bool
    published: bool = True
    recovery_code: str | None = None

    def __str__(self) -> str:
        parts = ["This device's file opens with the new password."] if self.file else []
        if self.account:
            parts.append("Joining takes the new password and the recovery code.")
        else:
            parts.append(
                "Joining with the recovery code still takes the old password: change it there too, with the code."
            )
        if not self.published:
            parts.append("The remote does not have that yet: sync when it answers.")
        return " ".join(parts)

    def __repr__(self) -> str:
        return f"<PasswordChange: file {self.file}, account {self.account}, published {self.published}>"


def change_password(
    ledger: Ledger, owner: Owner, environment: Environment, old: str, new: str, code: str | None, *, leaked: bool
) -> PasswordChange:
    """See `Vault.change_password`."""
    if leaked and code is None:
        raise UsageError("what leaked has to be replaced as a whole: that takes the recovery code, too")
    if not new:
        raise UsageError("the new password is empty")
    slots = ledger.store.keyed_slots()
    guarded = any(slot.kind == "password" for slot in slots)
    if not guarded and code is None:
        raise UsageError("this device's file opens by a key, not by a password: only the account has one (code=)")
    if guarded:
        costs = unlocking.costs(ledger)
        unlocking.unlock((slot.data for slot in slots), Secrets(old), environment, at_least=costs)  # or nothing changes
    published, made = True, None
    following = _prepared(ledger, environment, old, new) if guarded else None

    def also(transaction: Transaction) -> None:
        if following is not None:
            transaction.set_state(REKEY, following.to_bytes())

    if leaked and code is not None:
        made, published = owner.renew(old, code, new, also=also)
    elif code is not None:
        published = owner.change_password(old, new, code, also=also)
    if following is not None:
        _change_file(ledger, following)
    return PasswordChange(guarded, code is not None, published, made)


def resume(ledger: Ledger, environment: Environment) -> bool:
    """After opening: finish a change of the password that was cut off. Whether there was one: then only the new
    password opens the file."""
    stored = ledger.state(REKEY)
    if stored is None:
        return False
    following = _Following.from_bytes(stored, environment)
    if following.key == ledger.key:  # only this note was left
        _finished(ledger, following)
        return False
    _change_file(ledger, following)
    _log.warning("a change of the password was finished that had been cut off: from now on the new one opens this file")
    return True


@dataclass(frozen=True, repr=False)
class _Following:
    """A key for the file, and the slot that the new password opens it by."""

    key: LocalKey
    slot: bytes

    def to_bytes(self) -> bytes:
        return self.key.to_bytes() + self.slot

    @classmethod
    def from_bytes(cls, data: bytes, environment: Environment) -> _Following:
        return cls(LocalKey(data[:16], data[16:48], environment.entropy), data[48:])


def _prepared(ledger: Ledger, environment: Environment, old: str, new: str) -> _Following:
    """A new key for the file, and a slot for it. The costs of deriving it never fall."""
    with ledger.lock:
        slots = [slot for slot in ledger.store.keyed_slots() if slot.kind != KEYRING]  # which is gone afterwards
        if len(slots) != 1:
            raise UsageError("this device's file opens in several ways: take the other ones away first")
        key, slot = unlocking.unlock([slots[0].data], Secrets(old), environment)
        if key != ledger.key:
            raise WrongPassword("the password or key does not open this vault")
        return _Following(
            *rewrap(
                slot,
                key,
                entropy=environment.entropy,
                password=new,
                params=environment.argon2,
                allow_weak=environment.weak_keys,
            )
        )


def _change_file(ledger: Ledger, following: _Following) -> None:
    with ledger.lock:
        ledger.rekey(following.key, [Slot("password", following.slot)])
        _finished(ledger, following)


def _finished(ledger: Ledger, following: _Following) -> None:
    unlocking.note_costs(ledger, slot_params(following.slot))
    if ledger.state(REKEY) is not None:
        with ledger.noting() as transaction:
            transaction.set_state(REKEY, None)

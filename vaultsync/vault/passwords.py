"""Changing a password: of the file on this device, of the account that lets devices in, or of both.

They are two things. The *file* opens with the local password; changing it seals every row of the file anew under a new
key, in one transaction, and needs nothing else. The *account* on the remote opens with password and recovery code
together; changing it needs the code. Other devices' files keep their passwords: nobody can change these from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from vaultsync.crypto.slots import rewrap, slot_params
from vaultsync.errors import UsageError, WrongPassword
from vaultsync.store import Slot
from vaultsync.vault import unlocking
from vaultsync.vault.environment import Environment
from vaultsync.vault.ledger import KEYRING, Ledger
from vaultsync.vault.owner import Owner
from vaultsync.vault.unlocking import Secrets

__all__ = ["PasswordChange", "change_password"]


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
    if leaked and code is not None:
        made, published = owner.renew(old, code, new)
    elif code is not None:
        published = owner.change_password(old, new, code)
    if guarded:
        _change_file(ledger, environment, old, new)
    return PasswordChange(guarded, code is not None, published, made)


def _change_file(ledger: Ledger, environment: Environment, old: str, new: str) -> None:
    """A new key for the file, and a slot for it. The costs of deriving it never fall."""
    with ledger.lock:
        slots = [slot for slot in ledger.store.keyed_slots() if slot.kind != KEYRING]  # which is gone afterwards
        if len(slots) != 1:
            raise UsageError("this device's file opens in several ways: take the other ones away first")
        key, slot = unlocking.unlock([slots[0].data], Secrets(old), environment)
        if key != ledger.key:
            raise WrongPassword("the password or key does not open this vault")
        renewed, wrapped = rewrap(
            slot,
            key,
            entropy=environment.entropy,
            password=new,
            params=environment.argon2,
            allow_weak=environment.weak_keys,
        )
        ledger.rekey(renewed, [Slot("password", wrapped)])
        unlocking.note_costs(ledger, slot_params(wrapped))

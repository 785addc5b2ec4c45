"""Changing the password of the account: because one wants another, or because somebody else knows it.

*Another one* is a further slot under the same recovery code, at the same place. The older slots go on opening with the
older password for as long as a remote keeps them: they hold the same recovery identity.

*It leaked* makes everything new: recovery identity (by a signed entry of the roster, after which the old one has no
power), epoch, recovery code, place, slot. The roster's key stays: whoever leaked it can go on reading, on a remote that
shows it, how many devices there are, with which public keys; nothing else. What to do, in this order:

1. :func:`renew` with the contents of the account, opened with password and code;
2. store the roster entry, seal slot 1 of the new contents under the new code and password, store it;
3. let the device :meth:`~vaultsync.crypto.roster.Roster.ack`, so that it stands for this renewal;
4. publish the entry, then the slot; show the new code once. The old slots may be deleted and may as well stay.

Any device that holds the old account can do it while the others are offline: they learn of it with the roster.
"""

from __future__ import annotations

from typing import NamedTuple

from vaultsync.crypto import primitives as p
from vaultsync.crypto.account import AccountContents, AccountKey
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.crypto.roster import Roster
from vaultsync.errors import UsageError

__all__ = ["Renewal", "next_slot", "renew"]


class Renewal(NamedTuple):
    """What a leak calls for: the roster with its new entry, the code to print, and what the new slot 1 holds."""

    roster: Roster
    entry: bytes
    code: RecoveryCode
    contents: AccountContents


def next_slot(key: AccountKey, contents: AccountContents, roster: Roster, *, highest: int, entropy: p.Entropy) -> bytes:
    """Slot ``highest + 1`` (``highest`` of those that are there, opened or not) for a new password.

    ``key`` is made of the same recovery code and the new password; ``contents`` are what the last slot opened to. The
    new slot names the roster's newest head. Raises :class:`UsageError` when the contents' identity is not the vault's
    any more: the account was renewed, and only its new code counts.
    """
    if contents.vault_id != roster.vault_id or contents.recovery.public.id != roster.recovery.id:
        raise UsageError("this account was replaced: use the newer recovery code")
    latest = AccountContents(contents.recovery, contents.vault_id, contents.roster_key, roster.head)
    return key.seal(latest, number=highest + 1, entropy=entropy)


def renew(contents: AccountContents, roster: Roster, *, entropy: p.Entropy) -> Renewal:
    """Replaces recovery identity, code and place. Raises :class:`UsageError` when ``contents`` were replaced."""
    if contents.vault_id != roster.vault_id or contents.recovery.public.id != roster.recovery.id:
        raise UsageError("this account was replaced already: use the newer recovery code")
    successor, code = DeviceKeys.generate(entropy), RecoveryCode.generate(entropy)
    renewed, entry = roster.renew(contents.recovery, successor, entropy=entropy)
    latest = AccountContents(successor, contents.vault_id, contents.roster_key, renewed.head)
    return Renewal(renewed, entry, code, latest)

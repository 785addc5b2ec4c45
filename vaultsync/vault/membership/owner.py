"""What only password and recovery code together may do: remove a device, begin a new epoch, replace the account.

Each begins with the newest list of devices and with opening the account, also on a device that did not make the vault.
What is decided is stored in one transaction with everything that follows from it, and published at once; when the
remote fails in between, the next sync publishes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from vaultsync.crypto.account import AccountKey
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.crypto.renewal import next_slot, renew
from vaultsync.crypto.roster import Roster
from vaultsync.errors import RemoteError, UsageError, WrongCode
from vaultsync.vault import unlocking
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import ACCOUNT, AccountSlot, Identity
from vaultsync.vault.ledger import Ledger, Transaction
from vaultsync.vault.membership import access
from vaultsync.vault.membership.account import OpenAccount, account_key, open_account
from vaultsync.vault.replication.exchange import Exchange
from vaultsync.vault.replication.hearing import applied, hear
from vaultsync.vault.replication.syncing import Syncing

__all__ = ["CODE", "Owner"]

CODE: Final = "recovery_code"
"""State: a recovery code that was made and that nobody said to have written down yet."""

Decide = Callable[[Roster, Transaction, Identity], bytes]
"""From the newest list of devices to an entry that changes it."""
Also = Callable[[Transaction], None]
"""Something that is stored with it, or not at all."""


@dataclass(frozen=True)
class _Session:
    """Password and code were right: the account, and the remote, if there is one, with nobody else at it."""

    account: OpenAccount
    code: RecoveryCode
    password: str
    exchange: Exchange | None


class Owner:
    """One vault's. Thread-safe: nobody of this device syncs meanwhile."""

    def __init__(self, ledger: Ledger, syncing: Syncing, environment: Environment) -> None:
        self._ledger, self._syncing, self._environment = ledger, syncing, environment

    # ---- devices ----------------------------------------------------------------------------------------------
    def remove(self, device: bytes, password: str, code: str) -> bool:
        """Remove a device (id) and begin an epoch that it does not get; whether it could be published at once.

        Raises `UsageError` for this device, and for one that is not in the vault, `WrongPassword`, `WrongCode`,
        `DeviceRemoved` and `RemoteError`; nothing has changed then.
        """
        with self._opened(password, code) as session:
            identity = unlocking.load_identity(self._ledger)
            if device == identity.keys.public.id:
                raise UsageError("this is the device itself: remove it on another one of your devices")
            member = identity.roster.members.get(device)
            if member is None and device in identity.roster.former:
                return True  # somebody else did, and this device has heard of it just now
            if member is None or member.recovery:
                raise UsageError("there is no device with that id in this vault")

            def decide(roster: Roster, transaction: Transaction, identity: Identity) -> bytes:
                frontier = applied(transaction.store, identity)
                recovery, entropy = session.account.contents.recovery, self._environment.entropy
                return roster.remove(recovery, [device], frontier, entropy=entropy)[1]

            return self._decide(session, decide)

    def rotate(self, password: str, code: str) -> bool:
        """Begin an epoch for the devices there are; whether it could be published at once. Raises as `remove`."""
        with self._opened(password, code) as session:
            recovery, entropy = session.account.contents.recovery, self._environment.entropy
            return self._decide(session, lambda roster, _, __: roster.rotate(recovery, entropy=entropy)[1])

    def _decide(self, session: _Session, decide: Decide) -> bool:
        """Store what ``decide`` makes, with a slot that joiners will not be shown an older list with."""
        key = account_key(session.code, session.password, self._environment)
        with self._ledger.write() as transaction:
            identity = unlocking.load_identity(self._ledger)
            entry = decide(identity.roster, transaction, identity)
            identity = hear(transaction, identity, [entry], now_ms=self._environment.now_ms())
            slot = self._next_slot(session, key, identity.roster)
            transaction.set_state(ACCOUNT, slot.to_bytes())
            listed = access.removing(self._ledger, session.account.contents.recovery, identity.roster)
            transaction.set_state(access.ACCESS, listed)
        return self._publish(session)

    def _next_slot(self, session: _Session, key: AccountKey, roster: Roster) -> AccountSlot:
        """The account's slot after the highest that there is, at the same place."""
        account = session.account
        data = next_slot(key, account.contents, roster, highest=account.highest, entropy=self._environment.entropy)
        return AccountSlot(account.slot.locator, account.highest + 1, data)

    # ---- the account ------------------------------------------------------------------------------------------
    def change_password(self, old: str, new: str, code: str, *, also: Also = lambda transaction: None) -> bool:
        """A further account slot, for the new password; the older ones are taken off the remote, as far as it does
        that. Whether it could be published at once. Raises as `remove`."""
        with self._opened(old, code) as session:
            key = account_key(session.code, new, self._environment)
            identity = unlocking.load_identity(self._ledger)
            slot = self._next_slot(session, key, identity.roster)
            with self._ledger.write() as transaction:
                transaction.set_state(ACCOUNT, slot.to_bytes())
                also(transaction)
            return self._publish(session)

    def renew(
        self, password: str, code: str, new_password: str, *, also: Also = lambda transaction: None
    ) -> tuple[str, bool]:
        """Another recovery identity, epoch, code and place of the account; the old ones have no power any more.

        Returns the new code, and whether all could be published at once. Raises as `remove`.
        """
        with self._opened(password, code) as session:
            roster = unlocking.load_identity(self._ledger).roster
            renewal = renew(session.account.contents, roster, entropy=self._environment.entropy)
            key = account_key(renewal.code, new_password, self._environment)
            data = key.seal(renewal.contents, number=1, entropy=self._environment.entropy)
            slot = AccountSlot(renewal.code.secrets().locator, 1, data)
            with self._ledger.write() as transaction:
                identity = unlocking.load_identity(self._ledger)
                identity = hear(transaction, identity, [renewal.entry], now_ms=self._environment.now_ms())
                transaction.set_state(ACCOUNT, slot.to_bytes())
                listed = access.renewed(identity.roster)
                if listed is not None:
                    transaction.set_state(access.ACCESS, listed.to_json())
                transaction.set_state(CODE, str(renewal.code).encode())
                also(transaction)
            return str(renewal.code), self._publish(session)

    # ---- parts ------------------------------------------------------------------------------------------------
    @contextmanager
    def _opened(self, password: str, code: str) -> Iterator[_Session]:
        parsed = RecoveryCode.parse(code)
        if self._syncing.url is None:  # the only device there is
            yield self._open(parsed, password, None)
            return
        with self._syncing.exclusively() as exchange:
            exchange.exchange_rosters()
            yield self._open(parsed, password, exchange)

    def _open(self, code: RecoveryCode, password: str, exchange: Exchange | None) -> _Session:
        identity = unlocking.load_identity(self._ledger)
        remote = None if exchange is None else exchange.remote
        account = open_account(remote, identity.account, code, password, self._environment)
        contents = account.contents
        if contents.vault_id != identity.vault_id:
            raise WrongCode("that recovery code belongs to another vault")
        if contents.recovery.public.id != identity.roster.recovery.id:
            raise WrongCode("this recovery code was replaced by a newer one: use that")
        return _Session(account, code, password, exchange)

    def _publish(self, session: _Session) -> bool:
        """The list of devices, then the account; then older slots go."""
        exchange = session.exchange
        if exchange is None:
            return False
        try:
            exchange.forget()
            rosters = exchange.exchange_rosters()
            rosters.put_account()
        except RemoteError:
            return False
        with contextlib.suppress(RemoteError):
            rosters.drop_slots(session.account.slot.locator)
        return True

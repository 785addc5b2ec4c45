"""Who this device is in its vault, and everything it must keep to go on being that: kept sealed in the store.

``identity``        JSON: vault id, seed of the device's keys, device name, current chain, roster key
``account``         the account slot as it lies on every remote: locator, number, bytes
``roster/<hash>``   one roster entry each, as signed
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from vaultsync.crypto.account import AccountContents
from vaultsync.crypto.keys import Chain, DeviceKeys, EpochKey
from vaultsync.crypto.roster import Claim, FalseGrant, Roster
from vaultsync.errors import DamagedStore, MalformedRoster, WrongCode
from vaultsync.vault.environment import Environment
from vaultsync.vault.ledger import INCARNATION

__all__ = ["ACCOUNT", "NO_ACCOUNT", "ROSTER", "AccountSlot", "Identity", "Rows"]

Rows = Mapping[str, bytes]
"""Names in the sealed state and their values."""

IDENTITY = "identity"
ACCOUNT = "account"
ROSTER = "roster/"
"""Prefix of the names under which roster entries are stored; their hash in hex follows."""


@dataclass(frozen=True, slots=True)
class AccountSlot:
    """The sealed account as it lies on a remote."""

    locator: bytes
    number: int
    data: bytes

    @property
    def digest(self) -> bytes:
        """The part of its name on a remote that tells whether its bytes are whole."""
        return hashlib.sha256(self.data).digest()[:16]

    def to_bytes(self) -> bytes:
        return self.locator + self.number.to_bytes(4, "big") + self.data

    @classmethod
    def from_bytes(cls, data: bytes) -> AccountSlot:
        return cls(data[:16], int.from_bytes(data[16:20], "big"), data[20:])


NO_ACCOUNT = AccountSlot(bytes(16), 0, b"")
"""Of a vault without a recovery code, or whose code was renewed on another device."""


@dataclass(frozen=True)
class Identity:
    """One device of one vault. Immutable; a new chain or roster gives a new one."""

    vault_id: bytes
    keys: DeviceKeys
    name: str
    chain: Chain
    roster_key: bytes
    account: AccountSlot
    roster: Roster

    @property
    def device_id(self) -> str:
        """Lowercase hex, as in the census."""
        return self.keys.public.id.hex()

    @property
    def incarnation(self) -> str:
        """The current chain in hex, as in ``$edited/<incarnation>``."""
        return self.chain.id.hex()

    @property
    def own_chains(self) -> list[bytes]:
        """Every chain that this device wrote, the current one last."""
        member = self.roster.members.get(self.keys.public.id)
        earlier = [] if member is None else [chain for chain in member.chains if chain != self.chain.id]
        return [*earlier, self.chain.id]

    def epoch_keys(self) -> dict[bytes, EpochKey]:
        """Every epoch key this device reaches, by epoch id. One that was granted falsely is not among them."""
        return dict(self._opened[0])

    @property
    def false_grants(self) -> tuple[FalseGrant, ...]:
        """Grants to this device that open to no key or another one, of epochs that it cannot reach otherwise."""
        return self._opened[1]

    @property
    def undisputed(self) -> tuple[FalseGrant, ...]:
        """Of these, what is to be said to the others: once of each device that gave some."""
        own = self.keys.public.id
        disputed = self.roster.disputed(own)
        known = {entry.author for entry in self.roster.log if entry.hash in disputed}
        new = {one.author: one for one in self.false_grants if one.entry not in disputed and one.author not in known}
        return tuple(new.values())

    @property
    def awaits_key(self) -> bool:
        """Whether the newest epoch's key has not reached this device: what is edited here waits for it."""
        return not self.removed and self.roster.epoch not in self._opened[0]

    @cached_property
    def _opened(self) -> tuple[dict[bytes, EpochKey], tuple[FalseGrant, ...]]:
        return self.roster.opened(self.keys)

    def has_member(self, device_id: str) -> bool:
        """Whether a device (its id in hex, or any other text) is one of the vault's now."""
        try:
            return bytes.fromhex(device_id) in self.roster.members
        except ValueError:
            return False

    # ---- making one -------------------------------------------------------------------------------------------
    @classmethod
    def found(cls, name: str, recovery: DeviceKeys, environment: Environment) -> tuple[Identity, AccountContents]:
        """The first device of a new vault; the account still has to be sealed (`with_account`)."""
        keys = DeviceKeys.generate(environment.entropy)
        chain = Chain.new(keys.public.id, environment.entropy)
        roster, _ = Roster.found(recovery, keys, chain, entropy=environment.entropy)
        roster_key = environment.entropy(32)
        contents = AccountContents(recovery, roster.vault_id, roster_key, roster.head)
        return cls(roster.vault_id, keys, name, chain, roster_key, NO_ACCOUNT, roster), contents

    @classmethod
    def added(
        cls, name: str, contents: AccountContents, account: AccountSlot, roster: Roster, environment: Environment
    ) -> Identity:
        """A further device, let in by the recovery identity that the account slot holds.

        Raises `MalformedRoster` when the roster shown lacks the entry that the account slot vouches for, `WrongCode`
        when the account was replaced.
        """
        if not roster.knows(contents.roster_head):
            raise MalformedRoster("the remote does not show the list of devices that this account was sealed with")
        if contents.recovery.public.id != roster.recovery.id:
            raise WrongCode("this recovery code was replaced by a newer one: use that, with the password of then")
        keys = DeviceKeys.generate(environment.entropy)
        chain = Chain.new(keys.public.id, environment.entropy)
        roster, _ = roster.add_device(contents.recovery, Claim.make(keys, chain, vault_id=contents.vault_id))
        return cls(contents.vault_id, keys, name, chain, contents.roster_key, account, roster)

    def with_account(self, account: AccountSlot) -> Identity:
        return replace(self, account=account)

    def with_roster(self, entries: Iterable[bytes]) -> Identity:
        return self.with_entries(self.roster.merge(entries))

    def with_entries(self, roster: Roster) -> Identity:
        """The same device, knowing this list."""
        return replace(self, roster=roster)

    @property
    def removed(self) -> bool:
        """Whether this device is none of the vault's any more."""
        return self.keys.public.id not in self.roster.members

    # ---- keeping it -------------------------------------------------------------------------------------------
    def rows(self) -> dict[str, bytes]:
        """Everything to store. Secret: to be sealed."""
        core = {
            "vault": self.vault_id.hex(),
            "seed": self.keys.to_bytes().hex(),
            "name": self.name,
            "nonce": self.chain.nonce.hex(),
            "roster_key": self.roster_key.hex(),
        }
        return {
            IDENTITY: json.dumps(core, sort_keys=True).encode(),
            ACCOUNT: self.account.to_bytes(),
            INCARNATION: self.chain.id,
            **self.roster_rows(),
        }

    def roster_rows(self) -> dict[str, bytes]:
        return {ROSTER + entry.hash.hex(): entry.data for entry in self.roster.log}

    @classmethod
    def load(cls, core: bytes | None, account: bytes | None, roster: Rows) -> Identity:
        """From stored rows. Raises `DamagedStore` when one is missing."""
        if core is None or account is None or not roster:
            raise DamagedStore(
                "this vault file lacks the keys of its device: join the vault again with the recovery code",
                lost=("the keys of this device",),
                whole=("the entries",),
            )
        stored = json.loads(core)
        keys = DeviceKeys.from_bytes(bytes.fromhex(stored["seed"]))
        vault_id = bytes.fromhex(stored["vault"])
        return cls(
            vault_id,
            keys,
            stored["name"],
            Chain.of(keys.public.id, bytes.fromhex(stored["nonce"])),
            bytes.fromhex(stored["roster_key"]),
            AccountSlot.from_bytes(account),
            Roster.load(vault_id, roster.values()),
        )

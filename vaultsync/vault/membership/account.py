"""The account on a remote: what lets a device in, and what only password and recovery code together may do.

Its slots are immutable objects at a place that the code names. The highest-numbered one that opens counts; nothing
about it is believed before it has opened. See `vaultsync.crypto.account` for what is in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from vaultsync.crypto.account import TEST_VERSION, VERSION, AccountContents, AccountKey, slot_number, slot_version
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.crypto.roster import Roster
from vaultsync.crypto.roster_entry import open_entry
from vaultsync.errors import (
    ObjectMissing,
    Refused,
    RemoteUnavailable,
    UpdateRequired,
    UsageError,
    VaultNotFound,
    WrongCode,
    WrongPassword,
)
from vaultsync.remote.port import Remote
from vaultsync.sync import names
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import AccountSlot

__all__ = ["OpenAccount", "account_key", "open_account", "read_roster", "recovery_identity", "seal_account"]

_INCOMPLETE = b""


@dataclass(frozen=True, repr=False)
class OpenAccount:
    """An account that opened. ``highest``: the largest number of its slots that are there, opened or not."""

    contents: AccountContents
    slot: AccountSlot
    highest: int


def account_key(code: RecoveryCode, password: str, environment: Environment) -> AccountKey:
    """The key of new slots. Takes half a second, on purpose."""
    weak = environment.weak_keys
    return AccountKey(code, password, version=TEST_VERSION if weak else VERSION, allow_weak=weak)


def seal_account(
    code: RecoveryCode, password: str, contents: AccountContents, number: int, environment: Environment
) -> AccountSlot:
    """The slot that a new device will be let in by, under password and recovery code together."""
    key = account_key(code, password, environment)
    return AccountSlot(code.secrets().locator, number, key.seal(contents, number=number, entropy=environment.entropy))


def recovery_identity(environment: Environment) -> DeviceKeys:
    """The keys that can add and remove devices with password and recovery code; they live in the account slot only."""
    return DeviceKeys.generate(environment.entropy)


# ---- opening ------------------------------------------------------------------------------------------------------
def open_account(
    remote: Remote | None, held: AccountSlot, code: RecoveryCode, password: str, environment: Environment
) -> OpenAccount:
    """The account of a code: the slots on the remote and the one that is ``held`` on this device.

    Raises `WrongCode` when nothing answers to the code, `WrongPassword`, `RemoteUnavailable` while the account is still
    being written, and what reading the remote raises.
    """
    locator = code.secrets().locator
    found = [] if remote is None else _served(remote, locator)
    if held.number and held.locator == locator:
        found.append(held.data)
    candidates = sorted({slot for slot in found if slot}, key=slot_number, reverse=True)
    if not candidates and _INCOMPLETE in found:
        raise RemoteUnavailable("the account on this remote is not complete yet: try again when it has synced")
    if not candidates:
        raise WrongCode("no vault on this remote answers to that recovery code: compare the code, and the address")
    contents, data = _open_first(candidates, code, password, environment)
    return OpenAccount(contents, AccountSlot(locator, slot_number(data), data), slot_number(candidates[0]))


def _served(remote: Remote, locator: bytes) -> list[bytes]:
    listed = sorted(set(remote.list(names.account_prefix(locator))), reverse=True)
    return [slot for name in listed if (slot := _fetch(remote, name)) is not None]


def _fetch(remote: Remote, name: str) -> bytes | None:
    """A slot that is whole and whose framing is right; `_INCOMPLETE` for bytes that are not (yet) those that the name
    promises, ``None`` for anything else: it is passed over."""
    if (parsed := names.parse_account(name)) is None:
        return None
    try:
        data = remote.get(name)
        if hashlib.sha256(data).digest()[:16] != parsed.digest:
            return _INCOMPLETE
        slot_version(data)
        return data
    except ObjectMissing:
        return _INCOMPLETE
    except (Refused, UpdateRequired):
        return None


def _open_first(
    candidates: Iterable[bytes], code: RecoveryCode, password: str, environment: Environment
) -> tuple[AccountContents, bytes]:
    """The first slot that opens. One derivation for all slots of a version: it takes half a second."""
    keys: dict[int, AccountKey] = {}
    for data in candidates:
        version = slot_version(data)
        if version < code.version and not (version == TEST_VERSION and environment.weak_keys):
            continue  # weaker than the code promises: a remote's doing
        try:
            if version not in keys:
                keys[version] = AccountKey(code, password, version=version, allow_weak=environment.weak_keys)
            return keys[version].open(data), data
        except (Refused, UsageError):
            continue
    raise WrongPassword("the password does not open the account of that recovery code")


# ---- joining ------------------------------------------------------------------------------------------------------
def read_roster(remote: Remote, contents: AccountContents) -> Roster:
    """The list of devices of the account's vault. Raises `VaultNotFound` when it is not there (yet), `RemoteError`."""
    entries = []
    for name in remote.list(names.roster_prefix(contents.vault_id)):
        parsed = names.parse_roster(name)
        if parsed is None:
            continue
        try:
            data = remote.get(name)
            entries.append(
                open_entry(data, vault_id=contents.vault_id, roster_key=contents.roster_key, hash=parsed.digest)
            )
        except (ObjectMissing, Refused):
            continue
    try:
        return Roster.load(contents.vault_id, entries)
    except Refused:
        raise VaultNotFound(
            "the account is on this remote, but its list of devices is not there yet: try again when it has synced"
        ) from None

"""Making, opening and joining a vault's file: key derivation, identity and store put together."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from vaultsync.crypto.account import TEST_VERSION, VERSION, AccountContents, AccountKey, slot_number, slot_version
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.crypto.roster import Roster
from vaultsync.crypto.roster_entry import open_entry
from vaultsync.crypto.rows import LocalKey
from vaultsync.crypto.slots import make_slot, open_slot
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
from vaultsync.store import Slot, Store
from vaultsync.sync import names
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import AccountSlot, Identity
from vaultsync.vault.ledger import STATE, Ledger

__all__ = ["Secrets", "create_store", "join_account", "open_store", "seal_account"]

HEADER = b"VaultSync local store 1"


@dataclass(frozen=True, repr=False)
class Secrets:
    """What a person or the platform opens a local vault with: exactly one of the two."""

    password: str | None = None
    key: bytes | None = None

    def __post_init__(self) -> None:
        if (self.password is None) == (self.key is None):
            raise UsageError("a vault is opened with either password= or key=")
        if self.key is not None and len(self.key) != 32:
            raise UsageError("key= takes 32 bytes, as kept by the platform's key store")


def create_store(
    path: str | os.PathLike[str], identity: Identity, secrets: Secrets, environment: Environment
) -> Ledger:
    """A new file with the identity in it. Raises `VaultExists`, `StoreFailed`."""
    local = LocalKey.generate(environment.entropy)
    data = make_slot(
        local,
        entropy=environment.entropy,
        password=secrets.password,
        raw_key=secrets.key,
        params=environment.argon2,
        allow_weak=environment.weak_keys,
    )
    slot = Slot("password" if secrets.password is not None else "key", data)
    rows = {name: local.seal(STATE, name, value) for name, value in identity.rows().items()}
    store = Store.create(path, header=HEADER, slots=[slot], **environment.store_options())
    try:
        with store.write() as writing:
            for name, sealed in rows.items():
                writing.set_state(name, sealed)
    except BaseException:
        store.close()
        discard(path)
        raise
    return Ledger(store, local, identity.chain.id, environment)


def open_store(path: str | os.PathLike[str], secrets: Secrets, environment: Environment) -> tuple[Ledger, Identity]:
    """An existing file. Raises `VaultNotFound`, `WrongPassword`, `DamagedStore`, `UpdateRequired`."""
    store = Store.open(path, **environment.store_options())
    try:
        local = _unlock(store.slots, secrets, environment)
        ledger = Ledger(store, local, bytes(16), environment)
        identity = load_identity(ledger)
        ledger.actor = identity.chain.id
        return ledger, identity
    except BaseException:
        store.close()
        raise


def load_identity(ledger: Ledger) -> Identity:
    """What the store says of this device now; verified again only when that changed. Raises `DamagedStore`."""
    rows = (ledger.state("identity"), ledger.state("account"), ledger.states("roster/"))
    held = _loaded.get(ledger)
    if held is None or held[0] != rows:
        held = _loaded[ledger] = (rows, Identity.load(*rows))
    return held[1]


_loaded: WeakKeyDictionary[Ledger, tuple[object, Identity]] = WeakKeyDictionary()


def discard(path: str | os.PathLike[str]) -> None:
    """Remove a vault file that was made a moment ago and never handed out."""
    for suffix in ("", "-wal", "-shm", "-lock"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.fspath(path) + suffix)


def _unlock(slots: Iterable[bytes], secrets: Secrets, environment: Environment) -> LocalKey:
    for slot in slots:
        try:
            return open_slot(
                slot,
                entropy=environment.entropy,
                password=secrets.password,
                raw_key=secrets.key,
                allow_weak=environment.weak_keys,
            )
        except WrongPassword:
            continue
    raise WrongPassword("the password or key does not open this vault")


# ---- the account --------------------------------------------------------------------------------------------------
def seal_account(
    code: RecoveryCode, password: str, contents: AccountContents, number: int, environment: Environment
) -> AccountSlot:
    """The slot that a new device will be let in by, under password and recovery code together."""
    weak = environment.weak_keys
    key = AccountKey(code, password, version=TEST_VERSION if weak else VERSION, allow_weak=weak)
    data = key.seal(contents, number=number, entropy=environment.entropy)
    return AccountSlot(code.secrets().locator, number, data)


def join_account(remote: Remote, code: RecoveryCode, password: str, name: str, environment: Environment) -> Identity:
    """Open the account on a remote and add this device to its vault.

    Raises `WrongCode` when nothing there answers to the code, `WrongPassword`, `VaultNotFound` when the account is
    there and its vault is not (yet), `RemoteUnavailable` while the account is still being written, and what reading the
    remote raises.
    """
    locator = code.secrets().locator
    listed = sorted(set(remote.list(names.account_prefix(locator))), reverse=True)
    slots = [_fetch(remote, listed_name) for listed_name in listed]
    candidates = sorted((slot for slot in slots if slot), key=slot_number, reverse=True)
    if not candidates and _INCOMPLETE in slots:
        raise RemoteUnavailable("the account on this remote is not complete yet: try again when it has synced")
    if not candidates:
        raise WrongCode("no vault on this remote answers to that recovery code: compare the code, and the address")
    contents, account = _open_slots(candidates, code, password, environment)
    return Identity.added(name, contents, account, _read_roster(remote, contents), environment)


_INCOMPLETE = b""


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


def _open_slots(
    candidates: list[bytes], code: RecoveryCode, password: str, environment: Environment
) -> tuple[AccountContents, AccountSlot]:
    """The highest-numbered slot that opens. One derivation for all slots of a version: it takes half a second."""
    keys: dict[int, AccountKey] = {}
    for data in candidates:
        version = slot_version(data)
        if version < code.version and not (version == TEST_VERSION and environment.weak_keys):
            continue  # weaker than the code promises: a remote's doing
        try:
            if version not in keys:
                keys[version] = AccountKey(code, password, version=version, allow_weak=environment.weak_keys)
            contents = keys[version].open(data)
        except (Refused, UsageError):
            continue
        return contents, AccountSlot(code.secrets().locator, slot_number(data), data)
    raise WrongPassword("the password does not open the account of that recovery code")


def _read_roster(remote: Remote, contents: AccountContents) -> Roster:
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


def recovery_identity(environment: Environment) -> DeviceKeys:
    """The keys that can add and remove devices with password and recovery code; they live in the account slot only."""
    return DeviceKeys.generate(environment.entropy)

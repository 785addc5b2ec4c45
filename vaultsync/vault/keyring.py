"""Opening a vault without typing: a key of its own for this device, kept by the operating system's keyring.

A further key slot of the file opens with 32 random bytes that lie in the keyring (Keychain, Credential Locker, Secret
Service; whatever the package ``keyring`` finds, extra ``keyring``) under the digest of that slot. Whoever may read the
keyring, which the person's login opens, may open the vault; the password goes on opening it too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Any, Final

from vaultsync.crypto.slots import make_slot
from vaultsync.errors import ExtraMissing, KeyringFailed
from vaultsync.store import Slot, Store
from vaultsync.vault.environment import REAL, Environment
from vaultsync.vault.ledger import KEYRING, Ledger

__all__ = ["forget", "is_remembered", "keyring_key", "remember"]

_SERVICE: Final = "vaultsync"


def keyring_key(path: str | os.PathLike[str], /, *, environment: Environment = REAL) -> bytes | None:
    """The key that `Vault.remember` put into the keyring for the vault file at ``path``: give it to `Vault.open` as
    ``key``. ``None`` when there is none, or it was forgotten there.

    Raises `VaultNotFound` and `DamagedStore` for the file, `ExtraMissing`, and `KeyringFailed` when the keyring is
    locked or there is none.
    """
    with Store.open(path, **environment.store_options()) as store:
        slot = _slot_of(store)
    if slot is None:
        return None
    found = _asked(lambda keyring: keyring.get_password(_SERVICE, _name(slot)))
    try:
        key = base64.b64decode(found or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == 32 else None


def remember(ledger: Ledger, environment: Environment) -> None:
    """See `Vault.remember`."""
    key = environment.entropy(32)
    slot = Slot(KEYRING, make_slot(ledger.key, entropy=environment.entropy, raw_key=key))
    _asked(lambda keyring: keyring.set_password(_SERVICE, _name(slot), base64.b64encode(key).decode()))
    before = _slot_of(ledger.store)
    kept = [other for other in ledger.store.keyed_slots() if other.kind != KEYRING]
    ledger.store.replace_slots([*kept, slot])
    if before is not None:
        _drop(before)


def forget(ledger: Ledger) -> bool:
    """See `Vault.forget`."""
    slot = _slot_of(ledger.store)
    if slot is None:
        return False
    ledger.store.replace_slots([other for other in ledger.store.keyed_slots() if other.kind != KEYRING])
    _drop(slot)
    return True


def is_remembered(ledger: Ledger) -> bool:
    """Whether the file has a slot for a key in the keyring."""
    return _slot_of(ledger.store) is not None


def _slot_of(store: Store) -> Slot | None:
    return next((slot for slot in store.keyed_slots() if slot.kind == KEYRING), None)


def _name(slot: Slot) -> str:
    return hashlib.sha256(slot.data).hexdigest()[:32]


def _drop(slot: Slot) -> None:
    """The slot is gone from the file already: what is left in the keyring opens nothing."""
    try:
        _asked(lambda keyring: keyring.delete_password(_SERVICE, _name(slot)))
    except KeyringFailed:
        return


def _asked(question: Any) -> Any:
    try:
        import keyring
        from keyring.errors import KeyringError, KeyringLocked, NoKeyringError
    except ImportError:
        raise ExtraMissing("the keyring needs an optional part: pip install 'vaultsync[keyring]'") from None
    try:
        return question(keyring)
    except NoKeyringError:
        raise KeyringFailed("this system has no keyring that could keep the key: open the vault by password") from None
    except KeyringLocked:
        raise KeyringFailed("the system's keyring is locked: unlock it, or open the vault by password") from None
    except KeyringError as error:
        raise KeyringFailed(
            f"the system's keyring failed ({type(error).__name__}): open the vault by password"
        ) from None

"""Making, opening and joining a vault's file: key derivation, identity and store put together."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from vaultsync.crypto.rows import LocalKey
from vaultsync.crypto.slots import Argon2Params, make_slot, open_slot, slot_is_for_password, slot_params
from vaultsync.errors import DamagedStore, UsageError, WrongPassword
from vaultsync.store import Slot, Store
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import STATE, Ledger
from vaultsync.vault.membership.access import ACCESS

__all__ = ["Secrets", "costs", "create_store", "discard", "load_identity", "note_costs", "open_store", "unlock"]

HEADER = b"VaultSync local store 1"
COSTS = "costs"
"""State: what deriving the key from a password costs (KiB, passes, lanes), as JSON; it never falls."""


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
    path: str | os.PathLike[str],
    identity: Identity,
    secrets: Secrets,
    environment: Environment,
    *,
    access: bytes = b"",
) -> Ledger:
    """A new file with the identity in it, and with what opens relays to it (see `vault.access`).

    Raises `VaultExists`, `StoreFailed`.
    """
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
    rows = {name: local.seal(STATE, name, value) for name, value in {**identity.rows(), ACCESS: access}.items()}
    if secrets.password is not None:
        rows[COSTS] = local.seal(STATE, COSTS, _packed(slot_params(data)))
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


def open_store(
    path: str | os.PathLike[str], secrets: Secrets, environment: Environment, *, at_least: Argon2Params | None = None
) -> tuple[Ledger, Identity]:
    """An existing file; ``at_least``: the costs that it had when this process last had it open. Raises `VaultNotFound`,
    `WrongPassword`, `DamagedStore` (for a slot that was put back with lower costs, too), `UpdateRequired`."""
    store = Store.open(path, **environment.store_options())
    try:
        local, _ = unlock(store.slots, secrets, environment, at_least=at_least)
        ledger = Ledger(store, local, bytes(16), environment)
        _check_costs(ledger)
        identity = load_identity(ledger)
        ledger.actor = identity.chain.id
        return ledger, identity
    except BaseException:
        store.close()
        raise


def costs(ledger: Ledger) -> Argon2Params | None:
    """What deriving the key from the password cost when the file was last opened; ``None`` if it opens by a key."""
    stored = ledger.state(COSTS)
    return None if stored is None else Argon2Params(*json.loads(stored))


def _check_costs(ledger: Ledger) -> None:
    """Every password slot costs what is remembered, under the key that only the right slot gives."""
    remembered = costs(ledger)
    for slot in ledger.store.slots:
        if not slot_is_for_password(slot):
            continue
        now = slot_params(slot)
        if remembered is not None and now.raised_to(remembered) != now:
            raise DamagedStore(
                "a key slot asks for less than the key-derivation costs that this vault had: somebody put an older one "
                "back. Join again from the remote, and change the password"
            )
        if now != remembered:
            note_costs(ledger, now)


def note_costs(ledger: Ledger, now: Argon2Params) -> None:
    """A slot with these was made. Killed before, the next opening notes them."""
    with ledger.noting() as transaction:
        transaction.set_state(COSTS, _packed(now))


def _packed(params: Argon2Params) -> bytes:
    return json.dumps([params.memory_kib, params.passes, params.lanes]).encode()


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
    for suffix in ("", "-wal", "-shm", "-lock", "-mark"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.fspath(path) + suffix)


def unlock(
    slots: Iterable[bytes], secrets: Secrets, environment: Environment, *, at_least: Argon2Params | None = None
) -> tuple[LocalKey, bytes]:
    """The key, and the slot that it was in. Raises `WrongPassword`, and `DamagedStore` for one that costs less than
    ``at_least``, before anything is derived."""
    for slot in slots:
        try:
            key = open_slot(
                slot,
                entropy=environment.entropy,
                password=secrets.password,
                raw_key=secrets.key,
                at_least=at_least,
                allow_weak=environment.weak_keys,
            )
        except WrongPassword:
            continue
        return key, slot
    raise WrongPassword("the password or key does not open this vault")

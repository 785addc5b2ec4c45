"""From one remote to another: attachments copied, and a signed notice left behind that other devices follow.

A move is done when everything is at the new place; only then the notice is written. Of several notices (two devices
moved at once) the largest counts everywhere; who loses hears of it: the winner leaves its notice at the loser's place
as well.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Final

from vaultsync.crypto import envelope
from vaultsync.crypto.blob import blob_id
from vaultsync.crypto.moving import Notice, open_notice, seal_notice, write_notice
from vaultsync.crypto.roster_entry import open_entry
from vaultsync.errors import (
    ObjectMissing,
    Refused,
    RemoteError,
    RemoteRefused,
    UnknownChain,
    UpdateRequired,
    UsageError,
    VaultClosed,
)
from vaultsync.remote import Remote
from vaultsync.sync import names
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Notes

__all__ = [
    "Farewells",
    "announce",
    "copy_attachments",
    "copy_rest",
    "find_notice",
    "holds_vault",
    "leave",
    "moved_rank",
    "note",
]

MOVED: Final = "moved"
"""State: number and hash (hex) of the newest notice that was followed, or written, here."""
FAREWELLS: Final = "farewells"
"""State: JSON list of [address, name, sealed notice in hex]: to be left there when that place can be reached."""
_MOST_NOTICES: Final = 64
"""Notices on one remote that are looked at, the largest first: a vault moves a few times in its life."""
_NONE: Final = (0, b"")


# ---- notices ------------------------------------------------------------------------------------------------------
def moved_rank(ledger: Ledger) -> tuple[int, bytes]:
    """The rank of the newest notice that this device acted on."""
    stored = ledger.noted(MOVED)
    if stored is None:
        return _NONE
    n, digest = json.loads(stored)
    return n, bytes.fromhex(digest)


def announce(ledger: Ledger, identity: Identity, environment: Environment, url: str) -> Notice:
    """The notice that the vault moved to ``url``; to be noted (`note`) together with the new address."""
    n, _ = moved_rank(ledger)
    return write_notice(identity.keys, identity.vault_id, n=n + 1, url=url, now_ms=environment.now_ms())


def note(transaction: Notes, notice: Notice) -> None:
    """This notice is acted on: older ones say nothing any more."""
    transaction.set_state(MOVED, json.dumps([notice.n, notice.hash.hex()]).encode())


def _sealed(identity: Identity, notice: Notice) -> tuple[str, bytes]:
    name = names.moved_name(identity.vault_id, notice.n, notice.hash)
    epochs = identity.epoch_keys()
    newest = epochs.get(identity.roster.epoch)
    if newest is None:
        raise RemoteRefused("another device has to sync once before this one can move the vault: a key is awaited")
    return name, seal_notice(notice, vault_id=identity.vault_id, epoch=newest)


def find_notice(remote: Remote, identity: Identity, after: tuple[int, bytes]) -> Notice | None:
    """The largest notice above ``after`` that a member signed. Raises `RemoteError`."""
    found = notices(remote, identity, after)
    return found[0] if found else None


def notices(remote: Remote, identity: Identity, after: tuple[int, bytes] = _NONE) -> list[Notice]:
    """Every genuine one above ``after``, the largest first. Raises `RemoteError`."""
    listed = [names.parse_moved(name) for name in remote.list(names.moved_prefix(identity.vault_id))]
    ranks = sorted({(one.n, one.digest) for one in listed if one is not None and (one.n, one.digest) > after})
    found = []
    for n, digest in reversed(ranks[-_MOST_NOTICES:]):
        notice = _read(remote, identity, n, digest)
        if notice is not None:
            found.append(notice)
    return found


def _read(remote: Remote, identity: Identity, n: int, digest: bytes) -> Notice | None:
    def sign_public(author: bytes) -> bytes:
        member = identity.roster.members.get(author)
        if member is None or member.recovery:
            raise UnknownChain("the notice of a move is not signed by a device of this vault")
        return member.public.sign

    try:
        notice = open_notice(
            remote.get(names.moved_name(identity.vault_id, n, digest)),
            vault_id=identity.vault_id,
            epochs=identity.epoch_keys(),
            hash=digest,
            sign_public=sign_public,
        )
    except (ObjectMissing, Refused, UpdateRequired):
        return None  # half written, forged, of a stranger or of a later version: looked at again with the next pass
    return notice if notice.n == n else None


def holds_vault(remote: Remote, identity: Identity) -> bool:
    """Whether this vault's list of devices is there. Raises `RemoteError`."""
    listed = [names.parse_roster(name) for name in remote.list(names.roster_prefix(identity.vault_id))]
    return any(one is not None and identity.roster.knows(one.digest) for one in listed)


def leave(
    old: Remote, new: Remote, identity: Identity, notice: Notice, reach: Callable[[str], Remote]
) -> Notice | None:
    """Put a notice onto ``old``, and where earlier or lesser ones lead; returns one that it loses against.

    Where both addresses lead to one place (a drive that is mounted elsewhere) nothing moved, and no notice stays.
    Raises `RemoteError` of the two. Another place that cannot be reached is passed over.
    """
    name, sealed = _sealed(identity, notice)
    old.put(name, sealed)
    if name in new.list(names.moved_prefix(identity.vault_id)):
        old.delete(name)
        return None
    there = notices(old, identity)
    for other in there:
        if other.rank < notice.rank and other.url != notice.url:
            with contextlib.suppress(RemoteError, UsageError):
                elsewhere = reach(other.url)
                try:
                    if holds_vault(elsewhere, identity):
                        elsewhere.put(name, sealed)
                finally:
                    elsewhere.close()
    return there[0] if there and there[0].rank > notice.rank else None


class Farewells:
    """Notices that could not be left yet, as the old place was not to be reached when the vault left it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def waiting(self) -> list[tuple[str, str, str]]:
        """Address, name and sealed notice (hex) of each."""
        stored = self._ledger.state(FAREWELLS)
        return [(url, name, sealed) for url, name, sealed in json.loads(stored)] if stored else []

    def add(self, transaction: Notes, identity: Identity, notice: Notice, url: str) -> None:
        """To be left at ``url``. What waited for that place before says nothing any more."""
        name, sealed = _sealed(identity, notice)
        rows = [row for row in self.waiting() if row[0] not in (url, notice.url)]
        transaction.set_state(FAREWELLS, json.dumps([*rows, (url, name, sealed.hex())]).encode())

    def done(self, url: str) -> None:
        """This place has its notice."""
        left = [row for row in self.waiting() if row[0] != url]
        with self._ledger.noting() as transaction:
            transaction.set_state(FAREWELLS, json.dumps(left).encode() if left else None)

    def deliver(self, reach: Callable[[str], Remote]) -> None:
        """Try each once. Raises nothing of a remote."""
        for url, name, sealed in self.waiting():
            with contextlib.suppress(RemoteError, UsageError):
                remote = reach(url)
                try:
                    remote.put(name, bytes.fromhex(sealed))
                finally:
                    remote.close()
                self.done(url)


# ---- attachments --------------------------------------------------------------------------------------------------
def copy_attachments(
    ledger: Ledger, identity: Identity, old: Remote | None, new: Remote, stop: threading.Event | None = None
) -> int:
    """Put every attachment onto ``new`` that is there on ``old`` or here; returns how many were missing.

    Those of other devices are fetched for that and not kept. What ``old`` does not serve any more is passed over: the
    device that attached it sends it. Raises `RemoteError` of ``new``, and `VaultClosed` when ``stop`` is set.
    """
    prefix = names.blob_prefix(identity.vault_id)
    with ledger.store.read() as reading:
        held = reading.names(prefix)
    served: set[str] = set()
    if old is not None:
        with contextlib.suppress(RemoteError):
            served = {name for name in old.list(prefix) if names.parse_blob(name) is not None}
    missing = sorted((held | served) - set(new.list(prefix)))
    for name in missing:
        if stop is not None and stop.is_set():
            raise VaultClosed("the vault is being closed")
        data = _attachment(ledger, old if name in served else None, name)
        if data is not None:
            new.put(name, data)
    return len(missing)


def copy_rest(identity: Identity, old: Remote, new: Remote, stop: threading.Event | None = None) -> None:
    """What else of the vault is on ``old`` and not on ``new``: what this device could not apply yet, or not read.

    What is not whole is passed over: under its name nothing else could be put any more. Raises `RemoteError` of
    ``new``, and `VaultClosed` when ``stop`` is set.
    """
    prefix = names.vault_prefix(identity.vault_id)
    try:
        there = set(old.list(prefix))
    except RemoteError:
        return
    for name in sorted(there - set(new.list(prefix))):
        if stop is not None and stop.is_set():
            raise VaultClosed("the vault is being closed")
        with contextlib.suppress(ObjectMissing):
            if names.parse_moved(name) is None and (data := _whole(old, identity, name)) is not None:
                new.put(name, data)


def _whole(old: Remote, identity: Identity, name: str) -> bytes | None:
    try:
        data = old.get(name)
        if (roster := names.parse_roster(name)) is not None:
            open_entry(data, vault_id=identity.vault_id, roster_key=identity.roster_key, hash=roster.digest)
        elif (place := names.parse_envelope(name)) is not None and envelope.peek(data)[1][:16] != place.short:
            return None
    except (RemoteError, Refused, UpdateRequired):
        return None
    return data


def _attachment(ledger: Ledger, old: Remote | None, name: str) -> bytes | None:
    with ledger.store.read() as reading:
        stored = reading.envelope(name)
    if stored is not None:
        return stored.data
    try:
        data = None if old is None else old.get(name)
    except RemoteError:
        return None
    parsed = names.parse_blob(name)
    whole = data is not None and parsed is not None and blob_id(data).startswith(parsed.id)
    return data if whole else None

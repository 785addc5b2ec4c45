"""This vault on relays: its bucket, the list of those who may use it, and how that list is kept right.

A relay keeps one bucket a vault. It belongs to the access key of the recovery identity that the vault began with, whose
signatures are only to be had where password and recovery code were just given: when a vault is made, when a device
joins by code, when one is removed. What was signed then is kept sealed in the store, so that any device can bring the
list to a relay later on. Between those moments members let each other in, by the keys that the roster names.

::

    access               the list as last signed or heard of, as it is sent to relays
    access/sent/<id>     by remote: the hash of the list that it was last seen to have
"""

from __future__ import annotations

import hashlib
from typing import Final

from vaultsync.crypto.keys import AccessKey, DeviceKeys
from vaultsync.crypto.primitives import verify
from vaultsync.crypto.roster import Roster
from vaultsync.errors import Refused, RemoteRefused
from vaultsync.remote import Remote
from vaultsync.remote.signing import AccessControlled, EditedMeanwhile, Grant, Membership, bucket_of
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger

__all__ = [
    "ACCESS",
    "DeviceSigner",
    "RecoverySigner",
    "RelayAccess",
    "founding",
    "joining",
    "removing",
    "renewing",
    "shared",
]

ACCESS: Final = "access"
_SENT: Final = "access/sent/"


# ---- what the recovery identity signs -----------------------------------------------------------------------------
def founding(recovery: DeviceKeys, roster: Roster) -> bytes:
    """The first list, of a vault that was just made: number 0, with the founding device."""
    return _signed(recovery, roster, 0).to_json()


def joining(recovery: DeviceKeys, roster: Roster, known: Membership | None) -> bytes:
    """The list for a device that joins by password and code, which ``roster`` names already.

    ``known``: what a relay has. Without it (a folder) the list is the same whoever makes it from the same roster: what
    was signed on two devices adds up. Empty for a vault whose recovery identity was replaced, where no relay is.
    """
    made = known
    if made is None:
        if recovery.access.public != owner_of(roster):
            return b""
        made = _signed(recovery, roster, len(roster.former)) if roster.former else _first(recovery, roster)
    return _let_in(made, _keys(roster), recovery.access).to_json()


def renewing(ledger: Ledger, recovery: DeviceKeys, successor: bytes, roster: Roster) -> bytes | None:
    """The list for a vault whose recovery identity, ``recovery``, was just replaced by the one with the access key
    ``successor``: to be stored as `removing` says. The bucket stays the first one's; the new one is let in as a member,
    so that whoever has the new code can join."""
    if recovery.access.public == owner_of(roster):
        known = _load(ledger)
        keys = _keys(roster) | {successor}
        return Membership.edit(
            recovery.access.sign, recovery.access.public, 1 + (known.n if known else 0), keys
        ).to_json()
    known = _load(ledger)
    return None if known is None else _let_in(known, {successor}, recovery.access).to_json()


def removing(ledger: Ledger, recovery: DeviceKeys, roster: Roster) -> bytes | None:
    """The list without those who are gone from ``roster``: to be stored as ``ACCESS`` in the transaction that stores
    their removal; it is sent with the next pass, after the roster. None where the recovery identity was replaced."""
    if recovery.access.public != owner_of(roster):
        return None
    known = _load(ledger)
    return _signed(recovery, roster, 1 + max(known.n if known else 0, len(roster.former) - 1)).to_json()


def _first(recovery: DeviceKeys, roster: Roster) -> Membership:
    """What was signed when the vault was made: Ed25519 gives the same signature again."""
    claim = roster.founding.claim
    return Membership.edit(
        recovery.access.sign, recovery.access.public, 0, [claim.public.access] if claim is not None else []
    )


def _signed(recovery: DeviceKeys, roster: Roster, n: int) -> Membership:
    return Membership.edit(recovery.access.sign, recovery.access.public, n, _keys(roster))


def _keys(roster: Roster) -> set[bytes]:
    return {member.public.access for member in roster.members.values() if not member.recovery}


def owner_of(roster: Roster) -> bytes:
    """The key that the vault's bucket belongs to, for good: of the recovery identity that the vault began with."""
    founder = roster.founding.recovery
    if founder is None:  # pragma: no cover - a first entry without one is refused
        raise RemoteRefused("the vault's list of devices names no recovery identity")
    return founder.access


# ---- what is kept -------------------------------------------------------------------------------------------------
def _load(ledger: Ledger) -> Membership | None:
    stored = ledger.state(ACCESS)
    return Membership.from_json(stored) if stored else None


def _let_in(known: Membership, keys: set[bytes], by: AccessKey) -> Membership:
    for key in sorted(keys - known.keys):
        known = known.granting(by.sign, by.public, key)
    return known


def shared(ledger: Ledger, identity: Identity) -> bytes:
    """The list for a newcomer who was invited, which ``identity``'s roster names already. Empty when none is known."""
    known = _load(ledger)
    return b"" if known is None else _granted(known, identity).to_json()


def _granted(known: Membership, identity: Identity) -> Membership:
    """With every device of the roster let in by this one."""
    return _let_in(known, _keys(identity.roster), identity.keys.access)


def _verified(found: Membership, owner: bytes) -> Membership | None:
    """What of it holds; a relay may send anything, and what is kept is shown to other relays."""
    n = found.n.to_bytes(8, "big")
    try:
        verify(owner, found.signature, "relay-edit", found.bucket, n, b"".join(found.members))
    except Refused:
        return None
    if found.owner != owner:
        return None

    def holds(one: Grant) -> bool:
        try:
            verify(one.by, one.signature, "relay-grant", found.bucket, n, one.member)
        except (Refused, ValueError):
            return False
        return True

    grants = tuple(one for one in found.grants if holds(one))
    return Membership(owner, found.n, found.members, found.signature, grants)


class RecoverySigner:
    """The recovery identity itself, for as long as it takes to join."""

    def __init__(self, recovery: DeviceKeys, bucket: bytes | None) -> None:
        """``bucket``: of the vault whose account was found, as the relay says: what is in it proves itself."""
        self.bucket: Final = bucket or bucket_of(recovery.access.public)
        self.public: Final = recovery.access.public
        self.sign: Final = recovery.access.sign
        self.known: Membership | None = None

    def membership(self) -> Membership | None:
        """See ``Signer``. Nothing: where the vault is not, it is not begun by somebody who joins it."""
        return None

    def remember(self, membership: Membership) -> None:
        """See ``Signer``."""
        self.known = _verified(membership, membership.owner) if membership.bucket == self.bucket else None


class DeviceSigner:
    """This device, with what its store knows of the list."""

    def __init__(self, ledger: Ledger, identity: Identity) -> None:
        self._ledger, self._owner = ledger, owner_of(identity.roster)
        self.bucket: Final = bucket_of(self._owner)
        self.public: Final = identity.keys.access.public
        self.sign: Final = identity.keys.access.sign

    def membership(self) -> Membership | None:
        """See ``Signer``."""
        return _load(self._ledger)

    def remember(self, membership: Membership) -> None:
        """See ``Signer``. A list with a lower number than ours is an older one; grants of one number add up."""
        found, known = _verified(membership, self._owner), _load(self._ledger)
        if found is None or (known is not None and found.n < known.n):
            return
        if known is not None and found.n == known.n and found.members == known.members:
            found = Membership(
                *(found.owner, found.n, found.members, found.signature),
                tuple(sorted({*found.grants, *known.grants})),
            )
        if found != known:
            with self._ledger.noting() as transaction:
                transaction.set_state(ACCESS, found.to_json())


# ---- keeping it right ---------------------------------------------------------------------------------------------
class RelayAccess:
    """What one exchange does about the list. Nothing, unless its remote is a relay. Not thread-safe."""

    def __init__(self, ledger: Ledger, remote: Remote, remote_id: str) -> None:
        self._ledger = ledger
        self._relay = remote if isinstance(remote, AccessControlled) else None
        self._sent = _SENT + hashlib.sha256(remote_id.encode()).hexdigest()[:32]

    def look(self, identity: Identity) -> Membership | None:
        """Before the roster is pulled: the relay's list, when it may lack somebody, or hold somebody who is gone.

        Whoever is let in is let into the list that was read *before* the roster was: a removal puts its roster entry
        first and its list afterwards, so a list that is newer than the roster makes what is granted on this one void.
        """
        if self._relay is None:
            return None
        known = _load(self._ledger)
        gone = {member.public.access for member in identity.roster.former.values() if not member.recovery}
        if known is not None and not _keys(identity.roster) - known.keys and not gone & known.keys:
            return None
        return self._relay.members()

    def publish(self, identity: Identity, seen: Membership | None) -> None:
        """After the roster was put: let in who is in the roster and not on the list, and send what was signed here."""
        if self._relay is None:
            return
        if seen is not None and (granted := _granted(seen, identity)) != seen:
            self._relay.enter(granted)
        known = _load(self._ledger)
        if known is None or self._ledger.state(self._sent) == _digest(known):
            return
        try:
            self._relay.enter(known)
        except EditedMeanwhile:
            self._give_way(self._relay.members())
        if (now := _load(self._ledger)) is not None:
            with self._ledger.noting() as transaction:
                transaction.set_state(self._sent, _digest(now))

    def _give_way(self, theirs: Membership) -> None:
        """Two lists were signed beside each other, and theirs was first: it stands, until somebody signs another."""
        with self._ledger.noting() as transaction:
            transaction.set_state(ACCESS, theirs.to_json())


def _digest(known: Membership) -> bytes:
    return hashlib.sha256(known.to_json()).digest()

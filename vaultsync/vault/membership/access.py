"""This vault on relays: its bucket, the list of those who may use it, and how that list is kept right.

A relay keeps one bucket a vault. It is named after the access key of the recovery identity that the vault began with,
and belongs to the one that counts now: each renewal in the roster hands it over. Their signatures are only to be had
where password and recovery code were just given: when a vault is made, when a device joins by code, when one is
removed, when the identity is replaced. What was signed then is kept sealed in the store, so that any device can bring
the list to a relay later on. Between those moments members let each other in, by the keys that the roster names.

Which handovers count, of those that a thief may have signed too, the roster says; a list that follows others is not
kept, and not sent on.

::

    access               the list as last signed or heard of, as it is sent to relays
    access/sent/<id>     by remote: the hash of the list that it was last seen to have
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from vaultsync.crypto.keys import AccessKey, DeviceKeys
from vaultsync.crypto.primitives import verify
from vaultsync.crypto.roster import Roster
from vaultsync.errors import Refused, RemoteRefused
from vaultsync.remote import Remote
from vaultsync.remote.signing import AccessControlled, EditedMeanwhile, Grant, Handover, Membership, Readable, bucket_of
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
    "renewed",
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
    was signed on two devices adds up.
    """
    made = known if known is not None and _follows(known, roster) else renewed(roster)
    if made is None:
        made = _signed(recovery, roster, len(roster.former)) if roster.former else _first(recovery, roster)
    return _let_in(made, _keys(roster), recovery.access).to_json()


def renewed(roster: Roster) -> Membership | None:
    """The first list of the newest recovery identity: what the roster's renewals say, with the handovers up to it.
    Signed when the identities changed hands, so that any device can bring it to any relay. None before a renewal."""
    if not roster.renewals:
        return None
    to = {public.id: public.access for entry in roster.log for public in entry.publics}
    handovers, members, edit = [], list[bytes](), b""
    for entry in roster.renewals:
        if entry.recovery is not None:
            handovers.append(Handover(entry.recovery.access, entry.handover[:64]))
            edit = entry.handover[64:]
            members = sorted(to[one.recipient] for one in entry.grants if one.recipient != entry.recovery.id)
    return Membership(owner_of(roster), 0, tuple(members), edit, (), tuple(handovers))


def removing(ledger: Ledger, recovery: DeviceKeys, roster: Roster) -> bytes:
    """The list without those who are gone from ``roster``: to be stored as ``ACCESS`` in the transaction that stores
    their removal; it is sent with the next pass, after the roster."""
    known = _current(ledger, roster)
    return _signed(recovery, roster, 1 + max(known.n if known else 0, len(roster.former) - 1)).to_json()


def _first(recovery: DeviceKeys, roster: Roster) -> Membership:
    """What was signed when the vault was made: Ed25519 gives the same signature again."""
    claim = roster.founding.claim
    return Membership.edit(
        recovery.access.sign, recovery.access.public, 0, [claim.public.access] if claim is not None else []
    )


def _signed(recovery: DeviceKeys, roster: Roster, n: int) -> Membership:
    line = renewed(roster)
    return Membership.edit(recovery.access.sign, owner_of(roster), n, _keys(roster), line.handovers if line else ())


def _keys(roster: Roster) -> set[bytes]:
    return {member.public.access for member in roster.members.values() if not member.recovery}


def owner_of(roster: Roster) -> bytes:
    """The key that names the vault's bucket, for good: of the recovery identity that the vault began with."""
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


def _follows(known: Membership, roster: Roster) -> bool:
    """Whether its handovers are those that the roster names."""
    line = renewed(roster)
    return known.owner == owner_of(roster) and known.handovers == (line.handovers if line else ())


def _current(ledger: Ledger, roster: Roster) -> Membership | None:
    """The list as this device knows it, with the handovers that the roster names."""
    known = _load(ledger)
    return known if known is not None and _follows(known, roster) else renewed(roster)


def shared(ledger: Ledger, identity: Identity) -> bytes:
    """The list for a newcomer who was invited, which ``identity``'s roster names already. Empty when none is known."""
    known = _current(ledger, identity.roster)
    return b"" if known is None else _granted(known, identity).to_json()


def _granted(known: Membership, identity: Identity) -> Membership:
    """With every device of the roster let in by this one."""
    return _let_in(known, _keys(identity.roster), identity.keys.access)


def _verified(found: Membership, owner: bytes) -> Membership | None:
    """What of it holds; a relay may send anything, and what is kept is shown to other relays."""
    n, holder = found.n.to_bytes(8, "big"), owner
    try:
        for number, one in enumerate(found.handovers, 1):
            verify(holder, one.signature, "relay-handover", found.bucket, number.to_bytes(8, "big"), one.to)
            holder = one.to
        verify(holder, found.signature, "relay-edit", found.bucket, n, b"".join(found.members))
    except Refused:
        return None
    if found.owner != owner:
        return None

    def holds(one: Grant) -> bool:
        try:
            verify(one.by, one.signature, "relay-grant", found.bucket, holder, n, one.member)
        except (Refused, ValueError):
            return False
        return True

    return replace(found, grants=tuple(one for one in found.grants if holds(one)))


def _newer(found: Membership, known: Membership | None) -> Membership | None:
    """``found`` with what ``known`` adds to it, unless it is an older one. The same holder signed both."""
    if known is None or found.n > known.n:
        return found
    if found.n < known.n:
        return None
    if found.members != known.members:
        return found
    grants = tuple(sorted({*found.grants, *known.grants}))
    return None if grants == known.grants else replace(found, grants=grants)


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
        self._renewed = renewed(identity.roster)
        self.bucket: Final = bucket_of(self._owner)
        self.public: Final = identity.keys.access.public
        self.sign: Final = identity.keys.access.sign

    def membership(self) -> Membership | None:
        """See ``Signer``. What is stored follows a roster that may be newer than the one this was made with."""
        known, line = _load(self._ledger), self._renewed
        if known is None or (line is not None and len(line.handovers) > len(known.handovers)):
            return line
        return known

    def remember(self, membership: Membership) -> None:
        """See ``Signer``. A list with a lower number than ours is an older one; grants of one number add up. One that
        follows handovers which are not known here waits for the roster that names them."""
        known, line = self.membership(), self._renewed
        ours = known.handovers if known is not None else line.handovers if line is not None else ()
        found = _verified(membership, self._owner) if membership.handovers == ours else None
        newer = found and _newer(found, known)
        if newer:
            _store(self._ledger, newer)


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
        known = _current(self._ledger, identity.roster)
        gone = {member.public.access for member in identity.roster.former.values() if not member.recovery}
        if known is not None and not _keys(identity.roster) - known.keys and not gone & known.keys:
            return None
        return self._relay.members()

    def former(self) -> Readable | None:
        """Where a device that is not let in (any more) reads the list of devices, to learn why."""
        return None if self._relay is None else self._relay.as_former()

    def publish(self, identity: Identity, seen: Membership | None) -> None:
        """After the roster was put: let in who is in the roster and not on the list, and send what was signed here."""
        if self._relay is None:
            return
        known = _current(self._ledger, identity.roster)
        found = _verified(seen, seen.owner) if seen is not None and _follows(seen, identity.roster) else None
        known = (found and _newer(found, known)) or known
        if known is not None and known != _load(self._ledger):  # by handovers that the roster did not name before
            _store(self._ledger, known)
        if found is not None and (granted := _granted(found, identity)) != found:
            self._relay.enter(granted)
        known = _load(self._ledger)
        if known is None or self._ledger.state(self._sent) == _digest(known):
            return
        try:
            self._relay.enter(known)
        except EditedMeanwhile:
            theirs = self._relay.members()
            if _follows(theirs, identity.roster):
                self._give_way(theirs)
        if (now := _load(self._ledger)) is not None:
            with self._ledger.noting() as transaction:
                transaction.set_state(self._sent, _digest(now))

    def _give_way(self, theirs: Membership) -> None:
        """Two lists were signed beside each other, and theirs was first: it stands, until somebody signs another."""
        _store(self._ledger, theirs)


def _store(ledger: Ledger, known: Membership) -> None:
    with ledger.noting() as transaction:
        transaction.set_state(ACCESS, known.to_json())


def _digest(known: Membership) -> bytes:
    return hashlib.sha256(known.to_json()).digest()

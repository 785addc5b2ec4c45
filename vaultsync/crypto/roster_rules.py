"""Who may write what into the roster: pure functions of an entry and of what was so just before it.

Nothing else may enter a decision, or two devices that know the same entries could disagree about them. What an entry
then *does*, beside others that its author had not heard of, is decided in :mod:`~vaultsync.crypto.roster_view`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from vaultsync import limits
from vaultsync.crypto.keys import DevicePublic
from vaultsync.crypto.roster_entry import Entry, Op
from vaultsync.errors import MalformedRoster, UpdateRequired

__all__ = ["Standing", "joined", "judge", "judge_first"]

_NONE: Final[frozenset[bytes]] = frozenset()
_DEVICES_ONLY: Final = frozenset((Op.CHAIN, Op.ACK))
_RECOVERY_ONLY: Final = frozenset((Op.REMOVE, Op.ROTATE, Op.RENEW))


class Standing(NamedTuple):
    """What is so just after an entry, by its ancestors and itself.

    ``recovery`` is the recovery identity's id, ``members`` holds it and the devices. ``gone`` can never be added:
    removed devices and every recovery identity there was. Epochs are named by their checks; one is ``superseded`` by
    any that came after it. ``ends`` are the removals and renewals among the ancestors, ``contested`` says that
    renewals beside each other are, ``later`` that an operation of a later version is.
    """

    n: int
    recovery: bytes
    members: frozenset[bytes]
    epochs: frozenset[bytes]
    gone: frozenset[bytes] = _NONE
    superseded: frozenset[bytes] = _NONE
    ends: frozenset[bytes] = _NONE
    contested: bool = False
    later: bool = False


def joined(standings: Iterable[Standing]) -> Standing:
    """What is so where several entries of one vault are joined (at least one), when the same removals and renewals are
    behind all of them: otherwise ``recovery``, ``members`` and ``gone`` are to be found by
    :func:`~vaultsync.crypto.roster_view.effects`.
    """
    first, *others = standings
    for other in others:
        first = Standing(
            max(first.n, other.n),
            first.recovery,
            first.members | other.members,
            first.epochs | other.epochs,
            first.gone | other.gone,
            first.superseded | other.superseded,
            first.ends | other.ends,
            first.contested or other.contested,
            first.later or other.later,
        )
    return first


def judge_first(entry: Entry, vault_id: bytes) -> Standing:
    """What is so after a first entry. Raises a :class:`~vaultsync.errors.Refused` with the reason it does not count."""
    if entry.hash[:16] != vault_id or entry.recovery is None or entry.claim is None or entry.epoch is None:
        raise MalformedRoster("the entry begins another vault")
    entry.verify(entry.recovery)
    entry.claim.verify()
    members = frozenset((entry.recovery.id, entry.claim.public.id))
    given = [(grant.check, grant.recipient) for grant in entry.grants]
    if given != sorted((entry.epoch.check, member) for member in members):
        raise MalformedRoster("the first entry does not grant its epoch to exactly its two members")
    recovery = entry.recovery.id
    return Standing(1, recovery, members, frozenset((entry.epoch.check,)), gone=frozenset((recovery,)))


def judge(entry: Entry, before: Standing, author: DevicePublic | None, vault_id: bytes) -> Standing:
    """What is so after any other entry; ``author`` is the key behind the id it names, if any member ever had that id.

    Raises a :class:`~vaultsync.errors.Refused` with the reason, or :class:`UpdateRequired` where only a later version
    can tell: it knows what an operation before this one did to the list of members.
    """
    if before.later:
        raise UpdateRequired("the entry builds on one of a later version")
    if entry.n != 1 + before.n:
        raise MalformedRoster("the entry's number does not follow its predecessors'")
    if author is None or entry.author not in before.members:
        raise MalformedRoster("the entry's author was no member at that point")
    entry.verify(author)
    if not entry.known_op:
        return before._replace(n=entry.n, later=True)
    if entry.op in (_DEVICES_ONLY if entry.author == before.recovery else _RECOVERY_ONLY):
        raise MalformedRoster("the entry is for the other sort of member to write")
    after = before._replace(n=entry.n)
    match entry.op:
        case Op.ADD:
            return _add(entry, before, after, vault_id)
        case Op.REMOVE:
            gone = frozenset(entry.removed)
            if not gone <= before.members - {before.recovery}:
                raise MalformedRoster("the entry removes somebody who is no device of the vault at that point")
            ends = before.ends | {entry.hash}
            after = after._replace(members=before.members - gone, gone=before.gone | gone, ends=ends)
            return _rotate(entry, before, after, entry.author)
        case Op.ROTATE:
            return _rotate(entry, before, after, entry.author)
        case Op.RENEW:
            return _renew(entry, before, after, vault_id)
        case Op.GRANT:
            _check_grants(entry, before.epochs, before.members)
    return after


def _add(entry: Entry, before: Standing, after: Standing, vault_id: bytes) -> Standing:
    if entry.claim is None:
        raise MalformedRoster("the entry adds nobody")
    entry.claim.verify(vault_id)
    newcomer = entry.claim.public.id
    _check_grants(entry, before.epochs, frozenset((newcomer,)))
    if newcomer in before.gone:
        raise MalformedRoster("the entry adds a device that was removed, or a recovery identity")
    if len((before.members | before.gone) - {newcomer}) > limits.MAX_MEMBERS:
        raise MalformedRoster("the vault has as many devices as it may")
    return after._replace(members=before.members | {newcomer})


def _renew(entry: Entry, before: Standing, after: Standing, vault_id: bytes) -> Standing:
    if entry.recovery is None or entry.recovery.id in before.members | before.gone:
        raise MalformedRoster("the new recovery identity is not a new one")
    entry.verify_renewal(vault_id)
    successor = entry.recovery.id
    renewed = after._replace(
        recovery=successor,
        members=before.members - {entry.author} | {successor},
        gone=before.gone | {successor},
        ends=before.ends | {entry.hash},
    )
    return _rotate(entry, before, renewed, successor)


def _rotate(entry: Entry, before: Standing, after: Standing, keeper: bytes) -> Standing:
    """A new epoch that comes after all the others, for nobody who has just gone."""
    epoch = entry.epoch
    if epoch is None or epoch.check in before.epochs:
        raise MalformedRoster("the entry's epoch is not a new one")
    if any(link.check not in before.epochs for link in epoch.links):
        raise MalformedRoster("the entry's epoch links to one that did not come before it")
    _check_grants(entry, frozenset((epoch.check,)), after.members)
    if keeper not in {grant.recipient for grant in entry.grants}:
        raise MalformedRoster("the entry's epoch is not granted to the recovery identity")
    return after._replace(epochs=before.epochs | {epoch.check}, superseded=before.superseded | before.epochs)


def _check_grants(entry: Entry, epochs: frozenset[bytes], recipients: frozenset[bytes]) -> None:
    if any(grant.recipient not in recipients or grant.check not in epochs for grant in entry.grants):
        raise MalformedRoster("the entry grants an epoch that it may not, or to somebody whom it may not")

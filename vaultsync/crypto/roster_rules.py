"""Who may write what into the roster: pure functions of an entry and of what was so just before it.

Nothing else may enter a decision, or two devices that know the same entries could disagree about them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vaultsync import limits
from vaultsync.crypto.keys import DevicePublic
from vaultsync.crypto.roster_entry import Entry, Op
from vaultsync.errors import MalformedRoster, UpdateRequired

__all__ = ["Standing", "joined", "judge", "judge_first"]


class Standing(NamedTuple):
    """What is so just after an entry, by its ancestors and itself.

    Its number, the recovery identity's id, the members' ids (that one among them), the checks of the epochs, and
    whether an operation of a later version is among them.
    """

    n: int
    recovery: bytes
    members: frozenset[bytes]
    epochs: frozenset[bytes]
    later: bool = False


def joined(standings: Iterable[Standing]) -> Standing:
    """What is so where several entries of one vault are joined (at least one)."""
    first, *others = standings
    for other in others:
        first = Standing(
            max(first.n, other.n),
            first.recovery,
            first.members | other.members,
            first.epochs | other.epochs,
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
    return Standing(1, entry.recovery.id, members, frozenset((entry.epoch.check,)))


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
    after = before._replace(n=entry.n)
    if not entry.known_op:
        return after._replace(later=True)
    if entry.claim is not None:
        entry.claim.verify(vault_id)
        newcomer = entry.claim.public.id
        if any(grant.recipient != newcomer or grant.check not in before.epochs for grant in entry.grants):
            raise MalformedRoster("the entry grants an unknown epoch, or one to somebody it does not add")
        if len(before.members) > limits.MAX_MEMBERS:
            raise MalformedRoster("the vault has as many devices as it may")
        return after._replace(members=before.members | {newcomer})
    if entry.op == Op.CHAIN and entry.author == before.recovery:
        raise MalformedRoster("the recovery identity writes no chains")
    return after

"""Epoch keys inside roster entries: grants to members, and links from a newer epoch back to older ones.

A grant is HPKE to the recipient with everything it is about in ``info``; the roster entry around it is signed. It opens
to a key that must match the epoch's 32-byte ``check``, so that nobody can give two members different keys for one
epoch. A link is the older key sealed under the newer one, never the reverse: whoever was removed before an epoch cannot
reach it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from vaultsync import limits
from vaultsync.crypto import primitives as p
from vaultsync.crypto.keys import DeviceKeys, DevicePublic, EpochKey
from vaultsync.crypto.packing import many, octets, row
from vaultsync.errors import BadSeal

__all__ = ["Epoch", "Grant", "Link", "grant", "link", "linked", "open_grant", "open_links", "reachable"]

SEALED_GRANT: Final = 1120 + 32 + p.TAG
_SEALED_LINK: Final = p.COMMITMENT + 32 + p.TAG


class Link(NamedTuple):
    """An older epoch's check (32) and its key sealed under the epoch that holds the link (80)."""

    check: bytes
    sealed: bytes


class Epoch(NamedTuple):
    """What a roster says of an epoch: its check (32) and links to the epochs before it."""

    check: bytes
    links: tuple[Link, ...] = ()

    @property
    def id(self) -> bytes:
        return self.check[:8]


class Grant(NamedTuple):
    """The key of epoch ``check[:8]`` for one member (device id, 16); ``sealed`` has 1168 bytes."""

    check: bytes
    recipient: bytes
    sealed: bytes


GRANTS: Final = many(row(octets(32), octets(16), octets(SEALED_GRANT)), limits.MAX_GRANTS, least=1)
EPOCH: Final = row(octets(32), many(row(octets(32), octets(_SEALED_LINK)), limits.MAX_ROSTER_PREV))


def _info(context: bytes, check: bytes, recipient: bytes) -> bytes:
    return p.label("grant") + context + check + recipient


def grant(epoch: EpochKey, to: DevicePublic, context: bytes) -> Grant:
    """``context`` (48 bytes) is the vault id and a digest of the entry's predecessors. Not reproducible: HPKE is
    randomised.
    """
    return Grant(epoch.check, to.id, p.hpke_seal(to.kem, epoch.key, _info(context, epoch.check, to.id)))


def open_grant(keys: DeviceKeys, given: Grant, context: bytes) -> EpochKey:
    """Raises :class:`BadSeal` when it is not for these keys, not from this place, or not the key the epoch committed
    to.
    """
    plain = keys.open_grant(given.sealed, _info(context, given.check, keys.public.id))
    return _checked(plain, given.check)


def link(newer: EpochKey, older: EpochKey) -> Link:
    """The older key sealed under the newer. Both checks are in the derivation, so the key is used for this only."""
    sealed = p.seal_committed(
        newer.key, salt=b"", use="epoch-link", context=newer.check + older.check, plaintext=older.key
    )
    return Link(older.check, sealed)


def open_links(granted: Iterable[EpochKey], epochs: Mapping[bytes, Epoch]) -> dict[bytes, EpochKey]:
    """Every epoch key reachable backwards from those granted: epoch id -> key. Raises :class:`BadSeal` for a false
    link.
    """
    keys, failure = reachable(granted, epochs)
    if failure is not None:
        raise failure
    return keys


def reachable(
    granted: Iterable[EpochKey], epochs: Mapping[bytes, Epoch]
) -> tuple[dict[bytes, EpochKey], BadSeal | None]:
    """Like :func:`open_links`, past false links: what is reached, and the reason of one that did not open."""
    keys = {key.id: key for key in granted}
    failure: BadSeal | None = None
    todo = list(keys.values())
    while todo:
        newer = todo.pop()
        for older in epochs[newer.id].links if newer.id in epochs else ():
            if older.check[:8] in keys:
                continue
            try:
                plain = p.open_committed(
                    newer.key, salt=b"", use="epoch-link", context=newer.check + older.check, sealed=older.sealed
                )
                found = keys[older.check[:8]] = _checked(plain, older.check)
            except BadSeal as error:
                failure = error
            else:
                todo.append(found)
    return keys, failure


def linked(ids: Iterable[bytes], epochs: Mapping[bytes, Epoch]) -> frozenset[bytes]:
    """The epochs (ids) that these lead back to, themselves included, if no link is false."""
    found = set(ids)
    todo = list(found)
    while todo:
        newer = todo.pop()
        fresh = {older.check[:8] for older in (epochs[newer].links if newer in epochs else ())} - found
        found |= fresh
        todo += fresh
    return frozenset(found)


def _checked(plain: bytes, check: bytes) -> EpochKey:
    if len(plain) == 32:
        key = EpochKey(plain)
        if p.same(key.check, check):
            return key
    raise BadSeal("a grant or link holds another key than the epoch committed to")

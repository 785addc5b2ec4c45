"""What an envelope says inside: packed changes, what their writer knew, and the signed tip of its chain.

::

    msgpack [1, roster_head 32, generation, frontier [[chain 16, seq, env_id 32], ...] ascending by chain,
             frontier_digest 32, count, changes, tip 64 or nil, wall_ms, group [id 16, number, total] or nil]

``changes`` is opaque here (the document layer packs and gates it). ``frontier`` holds what changed since the writer's
previous envelope, ``frontier_digest`` the whole: full frontiers would grow every envelope with the number of chains.
The tip signs the last change itself, not the envelope, and so outlives envelopes that were collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from vaultsync import limits
from vaultsync.crypto import primitives as p
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.crypto.packing import many, octets, optional, pack, row, uint, unpack
from vaultsync.errors import MalformedEnvelope, UpdateRequired

__all__ = ["Body", "Group", "decode", "encode", "frontier_digest", "sign_tip", "verify_tip"]

_VERSION: Final = 1
_NUMBER: Final = uint(limits.MAX_SAFE_INT)
_SHAPE: Final = row(
    uint(_VERSION, _VERSION),
    octets(32),
    _NUMBER,
    many(row(octets(16), uint(limits.MAX_SAFE_INT, 1), octets(32)), limits.MAX_CHAINS),
    octets(32),
    _NUMBER,
    octets(0, limits.MAX_ENVELOPE_BYTES),
    optional(octets(p.SIGNATURE)),
    _NUMBER,
    optional(row(octets(16), _NUMBER, uint(limits.MAX_SAFE_INT, 1))),
)


class Group(NamedTuple):
    """Envelopes that were one batch: id (16 bytes), number from 0, how many there are."""

    id: bytes
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class Body:
    """``frontier``: chain id -> (seq, env_id). ``count`` changes are in ``changes``. ``wall_ms`` is for people only."""

    roster_head: bytes
    generation: int
    frontier: Mapping[bytes, tuple[int, bytes]] = field(repr=False)
    frontier_digest: bytes = field(repr=False)
    count: int
    changes: bytes = field(repr=False)
    tip: bytes | None = field(repr=False)
    wall_ms: int
    group: Group | None = None


def encode(body: Body) -> bytes:
    """Raises ValueError for a body that :func:`decode` would refuse."""
    frontier = tuple((chain, seq, env_id) for chain, (seq, env_id) in sorted(body.frontier.items()))
    fields = (
        _VERSION,
        body.roster_head,
        body.generation,
        frontier,
        body.frontier_digest,
        body.count,
        body.changes,
        body.tip,
        body.wall_ms,
        None if body.group is None else tuple(body.group),
    )
    if not _SHAPE(fields) or not _in_range(body.group):
        raise ValueError("a field of the body has the wrong size or range")
    return pack(fields)


def decode(data: bytes) -> Body:
    """Raises :class:`MalformedEnvelope`, or :class:`UpdateRequired` for a later version of the body."""
    fields = unpack(data, max_bytes=limits.MAX_ENVELOPE_BYTES)
    if type(fields) is tuple and fields and type(fields[0]) is int and fields[0] > _VERSION:
        raise UpdateRequired("the envelope's contents are of a newer format")
    if not _SHAPE(fields):
        raise MalformedEnvelope("the envelope holds something else than a body")
    _, roster_head, generation, frontier, digest, count, changes, tip, wall_ms, group = fields
    group = None if group is None else Group(*group)
    if any(a[0] >= b[0] for a, b in pairwise(frontier)) or not _in_range(group):
        raise MalformedEnvelope("the envelope's frontier is out of order, or its group number out of range")
    known = {chain: (seq, env_id) for chain, seq, env_id in frontier}
    return Body(roster_head, generation, known, digest, count, changes, tip, wall_ms, group)


def _in_range(group: Group | None) -> bool:
    return group is None or group.number < group.total


def frontier_digest(frontier: Mapping[bytes, tuple[int, bytes]]) -> bytes:
    """SHA-256 of a full frontier (chain id -> (seq, env_id)), 32 bytes; the same for equal frontiers."""
    rows = (chain + seq.to_bytes(8, "big") + env_id for chain, (seq, env_id) in sorted(frontier.items()))
    return p.sha256("frontier", *rows)


def sign_tip(keys: DeviceKeys, vault_id: bytes, chain_id: bytes, seq: int, change_hash: bytes) -> bytes:
    """The writer's word that ``change_hash`` is change ``seq`` of its chain (and so, by hashes, all before it)."""
    return keys.sign("tip", vault_id, chain_id, seq.to_bytes(8, "big"), change_hash)


def verify_tip(sign_public: bytes, tip: bytes, vault_id: bytes, chain_id: bytes, seq: int, change_hash: bytes) -> None:
    """Raises :class:`~vaultsync.errors.BadSignature` or :class:`~vaultsync.errors.WeakKey`."""
    p.verify(sign_public, tip, "tip", vault_id, chain_id, seq.to_bytes(8, "big"), change_hash)

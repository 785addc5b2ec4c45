"""What a checkpoint says, and what makes it true: the document as it was, certified by its writers' own signatures.

::

    body of an envelope of kind 2: packed [1, document, tips, frontier, roster head 32, generation]
    tips      [[chain 16, change seq, change hash 32, signature 64], ...]   ascending
    frontier  [[chain 16, seq, env_id 32], ...]                             ascending; full, not only what changed
    signature = the writer's tip over vault id, chain id, change seq, change hash

    of a vault in which chains forked: packed [2, document, tips, frontier, roster head 32, generation, others, changes]
    others    [[chain 16, change seq, change hash 32, signature 64], ...]   ascending; the ends of other branches
    changes   [change, ...]   as they were signed, those for which the document holds others

Any member may write one. It is valid only if the last change of *every* actor in the document equals that actor's
signed tip: hashes commit to all ancestors, so an insider can neither forge nor drop others' changes below a tip, and of
two valid ones neither is wrong. Changes that every device computes alike have no signature: they are made again, from
those that were signed, and then the last change of every branch is signed for. The document's bytes are opaque here:
they are loaded, and their changes gated, where a bomb does no harm; what was found there is what :func:`verify` gets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

from vaultsync import limits
from vaultsync.crypto import primitives as p
from vaultsync.crypto.body import verify_tip
from vaultsync.crypto.packing import many, octets, pack, row, uint, unpack
from vaultsync.errors import MalformedEnvelope, UpdateRequired

__all__ = ["Checkpoint", "Signers", "Tip", "decode", "encode", "verify"]

_VERSION: Final = 1
_FORKED: Final = 2
_NUMBER: Final = uint(limits.MAX_SAFE_INT)
_PLACE: Final = uint(limits.MAX_SAFE_INT, 1)
_TIPS: Final = many(row(octets(16), _PLACE, octets(32), octets(p.SIGNATURE)), limits.MAX_CHAINS)
_REST: Final = (
    octets(1, limits.MAX_CHECKPOINT_BYTES),
    _TIPS,
    many(row(octets(16), _PLACE, octets(32)), limits.MAX_CHAINS),
    octets(32),
    _NUMBER,
)
_SHAPE: Final = row(uint(_VERSION, _VERSION), *_REST)
_SHAPE_FORKED: Final = row(
    uint(_FORKED, _FORKED), *_REST, _TIPS, many(octets(1, limits.MAX_CHANGE_BYTES), limits.MAX_FORKED_CHANGES, 1)
)


class Tip(NamedTuple):
    """The last change of a chain: its number there, its hash (32), and its writer's signature (64) from
    :func:`~vaultsync.crypto.body.sign_tip`."""

    seq: int
    hash: bytes
    signature: bytes


class Signers(Protocol):
    """What is asked of a roster."""

    def sign_public(self, chain_id: bytes) -> bytes:
        """The key that signs for that chain, removed or not; :class:`~vaultsync.errors.UnknownChain`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``document`` is a saved document; ``tips`` by chain; ``frontier`` by chain the last envelope that it contains.

    Of chains that forked, ``tips`` has the end of one branch, the largest by number and hash, and ``others`` those of
    the others; ``changes`` are those that were signed and for which the document holds others.
    """

    document: bytes = field(repr=False)
    tips: Mapping[bytes, Tip] = field(repr=False)
    frontier: Mapping[bytes, tuple[int, bytes]] = field(repr=False)
    roster_head: bytes
    generation: int
    others: tuple[tuple[bytes, Tip], ...] = field(default=(), repr=False)
    changes: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def ends(self) -> dict[bytes, tuple[Tip, ...]]:
        """By chain the ends of all its branches."""
        found: dict[bytes, tuple[Tip, ...]] = {chain: (tip,) for chain, tip in self.tips.items()}
        for chain, tip in self.others:
            found[chain] = (*found.get(chain, ()), tip)
        return found

    def covers(self, chain: bytes, seq: int, env_id: bytes, *, change: int) -> bool:
        """Whether that envelope, whose last change has the number ``change``, is contained: its chain's last envelope
        here is a later one or the same, and so is the last change. Meaningful only for a checkpoint that
        :func:`verify` passed; that later envelope must be known to continue this one.
        """
        last, name = self.frontier.get(chain, (0, b""))
        tip = self.tips.get(chain)
        return tip is not None and change <= tip.seq and (seq < last or (seq == last and env_id == name))


def encode(checkpoint: Checkpoint) -> bytes:
    """Raises ValueError for one that :func:`decode` would refuse."""
    forked = bool(checkpoint.changes or checkpoint.others)
    fields: tuple[object, ...] = (
        _FORKED if forked else _VERSION,
        checkpoint.document,
        tuple((chain, *tip) for chain, tip in sorted(checkpoint.tips.items())),
        tuple((chain, *place) for chain, place in sorted(checkpoint.frontier.items())),
        checkpoint.roster_head,
        checkpoint.generation,
    )
    if forked:
        fields += (tuple((chain, *tip) for chain, tip in sorted(checkpoint.others)), checkpoint.changes)
    if not (_SHAPE_FORKED if forked else _SHAPE)(fields) or not checkpoint.frontier.keys() <= checkpoint.tips.keys():
        raise ValueError("a field of the checkpoint has the wrong size or range")
    return pack(fields)


def decode(data: bytes) -> Checkpoint:
    """Raises :class:`MalformedEnvelope`, or :class:`UpdateRequired` for a later version. Nothing is verified yet."""
    fields = unpack(data, max_bytes=limits.MAX_CHECKPOINT_BYTES)
    if type(fields) is tuple and fields and type(fields[0]) is int and fields[0] > _FORKED:
        raise UpdateRequired("the checkpoint is of a newer format")
    if not _SHAPE(fields) and not _SHAPE_FORKED(fields):
        raise MalformedEnvelope("the envelope holds something else than a checkpoint")
    _, document, tips, frontier, head, generation, *forked = fields
    others, changes = forked or ((), ())
    if any(one >= other for one, other in pairwise(others)) or any(
        a[0] >= b[0] for rows in (tips, frontier) for a, b in pairwise(rows)
    ):
        raise MalformedEnvelope("the checkpoint's chains are out of order")
    signed = {chain: Tip(seq, hash_, signature) for chain, seq, hash_, signature in tips}
    places = {chain: (seq, env_id) for chain, seq, env_id in frontier}
    if not places.keys() <= signed.keys():
        raise MalformedEnvelope("the checkpoint names envelopes of a chain without its tip")
    more = tuple((chain, Tip(seq, hash_, signature)) for chain, seq, hash_, signature in others)
    return Checkpoint(document, signed, places, head, generation, more, changes)


def verify(
    checkpoint: Checkpoint, ends: Mapping[bytes, Collection[tuple[int, bytes]]], roster: Signers, vault_id: bytes
) -> None:
    """Whether the document that was found in ``checkpoint`` is what its writers signed.

    ``ends``: actor -> (number, hash) of its last change in the document, and of each other branch of it; the genesis
    change and actors whose changes were made again left out. Raises :class:`MalformedEnvelope` when a tip is missing,
    too many or another one; :class:`~vaultsync.errors.BadSignature`; and :class:`~vaultsync.errors.UnknownChain` for a
    chain that the roster does not know.
    """
    signed = checkpoint.ends
    if ends.keys() != signed.keys():
        raise MalformedEnvelope("the checkpoint is not signed for by everybody who wrote in it")
    for actor in sorted(ends):
        if sorted((tip.seq, tip.hash) for tip in signed[actor]) != sorted(ends[actor]):
            raise MalformedEnvelope("the checkpoint's document does not end where its writers say")
        for tip in signed[actor]:
            verify_tip(roster.sign_public(actor), tip.signature, vault_id, actor, tip.seq, tip.hash)

"""What a checkpoint says, and what makes it true: the document as it was, certified by its writers' own signatures.

::

    body of an envelope of kind 2: packed [1, document, tips, frontier, roster head 32, generation]
    tips      [[chain 16, change seq, change hash 32, signature 64], ...]   ascending
    frontier  [[chain 16, seq, env_id 32], ...]                             ascending; full, not only what changed
    signature = the writer's tip over vault id, chain id, change seq, change hash

Any member may write one. It is valid only if the last change of *every* actor in the document equals that actor's
signed tip: hashes commit to all ancestors, so an insider can neither forge nor drop others' changes below a tip, and of
two valid ones neither is wrong. The document's bytes are opaque here: they are loaded, and their changes gated, where a
bomb does no harm; what was found there is what :func:`verify` is given.
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
_NUMBER: Final = uint(limits.MAX_SAFE_INT)
_PLACE: Final = uint(limits.MAX_SAFE_INT, 1)
_SHAPE: Final = row(
    uint(_VERSION, _VERSION),
    octets(1, limits.MAX_CHECKPOINT_BYTES),
    many(row(octets(16), _PLACE, octets(32), octets(p.SIGNATURE)), limits.MAX_CHAINS),
    many(row(octets(16), _PLACE, octets(32)), limits.MAX_CHAINS),
    octets(32),
    _NUMBER,
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
    """``document`` is a saved document; ``tips`` by chain; ``frontier`` by chain the last envelope that it contains."""

    document: bytes = field(repr=False)
    tips: Mapping[bytes, Tip] = field(repr=False)
    frontier: Mapping[bytes, tuple[int, bytes]] = field(repr=False)
    roster_head: bytes
    generation: int

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
    fields = (
        _VERSION,
        checkpoint.document,
        tuple((chain, *tip) for chain, tip in sorted(checkpoint.tips.items())),
        tuple((chain, *place) for chain, place in sorted(checkpoint.frontier.items())),
        checkpoint.roster_head,
        checkpoint.generation,
    )
    if not _SHAPE(fields) or not checkpoint.frontier.keys() <= checkpoint.tips.keys():
        raise ValueError("a field of the checkpoint has the wrong size or range")
    return pack(fields)


def decode(data: bytes) -> Checkpoint:
    """Raises :class:`MalformedEnvelope`, or :class:`UpdateRequired` for a later version. Nothing is verified yet."""
    fields = unpack(data, max_bytes=limits.MAX_CHECKPOINT_BYTES)
    if type(fields) is tuple and fields and type(fields[0]) is int and fields[0] > _VERSION:
        raise UpdateRequired("the checkpoint is of a newer format")
    if not _SHAPE(fields):
        raise MalformedEnvelope("the envelope holds something else than a checkpoint")
    _, document, tips, frontier, head, generation = fields
    if any(a[0] >= b[0] for rows in (tips, frontier) for a, b in pairwise(rows)):
        raise MalformedEnvelope("the checkpoint's chains are out of order")
    signed = {chain: Tip(seq, hash_, signature) for chain, seq, hash_, signature in tips}
    places = {chain: (seq, env_id) for chain, seq, env_id in frontier}
    if not places.keys() <= signed.keys():
        raise MalformedEnvelope("the checkpoint names envelopes of a chain without its tip")
    return Checkpoint(document, signed, places, head, generation)


def verify(
    checkpoint: Checkpoint,
    last: Mapping[bytes, tuple[int, bytes]],
    roster: Signers,
    vault_id: bytes,
    *,
    recomputed: Collection[bytes] = (),
) -> None:
    """Whether the document that was found in ``checkpoint`` is what its writers signed.

    ``last``: actor -> (number, hash) of its last change in the document, the genesis change left out. ``recomputed``:
    actors whose changes every device computes alike, and nobody signs. Raises :class:`MalformedEnvelope` when a tip is
    missing, too many or another one; :class:`~vaultsync.errors.BadSignature`; and
    :class:`~vaultsync.errors.UnknownChain` for a chain that the roster does not know.
    """
    actors = last.keys() - set(recomputed)
    if actors != checkpoint.tips.keys():
        raise MalformedEnvelope("the checkpoint is not signed for by everybody who wrote in it")
    for actor in sorted(actors):
        tip = checkpoint.tips[actor]
        if (tip.seq, tip.hash) != last[actor]:
            raise MalformedEnvelope("the checkpoint's document does not end where its writers say")
        verify_tip(roster.sign_public(actor), tip.signature, vault_id, actor, tip.seq, tip.hash)

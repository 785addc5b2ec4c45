"""The layout of roster entries: bytes to values and back, with what can be checked of one entry alone.

::

    "VSR1" | msgpack [op, n, prev [hash 32, ...] ascending, author 16, subject] | 64 Ed25519 signature of the author
    hash = SHA-256("roster-entry" label || all of it);  n = 1 + the largest n of prev, 1 for the first
    1 create   subject = [recovery public 1280, claim, epoch, grants]     prev empty, author = recovery identity
    2 add      subject = [claim, grants]                                  author = any member
    3 chain    subject = [nonce 16]                                       author = the device whose chain it is
    4 remove   subject = [removed [id 16, ...], pins, epoch, grants]      author = the recovery identity
    5 rotate   subject = [epoch, grants]                                  author = the recovery identity
    6 ack      subject = [marks]                                          author = any device
    7 renew    subject = [public 1280, proof 64, handover 128, epoch, grants]
                                                                          author = the recovery identity that goes
    9 grant    subject = [grants]                                         author = any member
    8 is reserved; any other op is of a later version. Author and signature stand in the same place in all, so that
      they can be believed before they are understood.
    pins, marks = [[chain 16, seq, env_id 32], ...] ascending by chain;  removed ascending, too
    claim  = [public 1280, nonce 16, proof 64]: the newcomer's signature over vault id (zeros in create), public, nonce
    epoch  = [check 32, links [[check 32, sealed 80], ...]];  grants = [[check 32, recipient 16, sealed 1168], ...]
      links and grants ascending

On a remote an entry is sealed under the vault's fixed roster key, bound to vault id and entry hash:
``"VSB1" | salt 32 | commitment 32 | ciphertext and tag of the padded entry``.
Who may do what is decided in :mod:`~vaultsync.crypto.roster_rules`, not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final, NamedTuple

from vaultsync import limits
from vaultsync.crypto import packing
from vaultsync.crypto import primitives as p
from vaultsync.crypto.epochs import EPOCH, GRANTS, Epoch, Grant, Link
from vaultsync.crypto.keys import PUBLIC_BYTES, AccessKey, Chain, DeviceKeys, DevicePublic
from vaultsync.crypto.packing import many, octets, row, uint
from vaultsync.errors import BadSeal, BadSignature, MalformedRoster, UpdateRequired

__all__ = [
    "Claim",
    "Entry",
    "Mark",
    "Op",
    "build",
    "context_of",
    "decode",
    "entry_hash",
    "hand_over",
    "open_entry",
    "prove_renewal",
    "seal_entry",
]

_MAGIC: Final = b"VSR1"
_SEALED_MAGIC: Final = b"VSB1"
_NO_VAULT: Final = bytes(16)
_CLAIM: Final = row(octets(PUBLIC_BYTES), octets(16), octets(p.SIGNATURE))


class Op(IntEnum):
    """What an entry does. Other codes, and ``CHECKPOINTER``, belong to later versions."""

    CREATE = 1
    ADD = 2
    CHAIN = 3
    REMOVE = 4
    ROTATE = 5
    ACK = 6
    RENEW = 7
    CHECKPOINTER = 8
    GRANT = 9


_MARKS: Final = many(row(octets(16), uint(limits.MAX_SAFE_INT, 1), octets(32)), limits.MAX_CHAINS)
_SUBJECTS: Final[dict[int, packing.Check]] = {
    Op.CREATE: row(octets(PUBLIC_BYTES), _CLAIM, EPOCH, GRANTS),
    Op.ADD: row(_CLAIM, GRANTS),
    Op.CHAIN: row(octets(16)),
    Op.REMOVE: row(many(octets(16), limits.MAX_REMOVED, least=1), _MARKS, EPOCH, GRANTS),
    Op.ROTATE: row(EPOCH, GRANTS),
    Op.ACK: row(_MARKS),
    Op.RENEW: row(octets(PUBLIC_BYTES), octets(p.SIGNATURE), octets(2 * p.SIGNATURE), EPOCH, GRANTS),
    Op.GRANT: row(GRANTS),
}
_FRAME: Final = row(
    uint(255, 1),
    uint(limits.MAX_ROSTER_ENTRIES, 1),
    many(octets(32), limits.MAX_ROSTER_PREV),
    octets(16),
    lambda subject: True,
)


class Mark(NamedTuple):
    """A place in a chain: everything up to envelope ``seq`` (from 1), whose id is ``env_id`` (32 bytes)."""

    chain: bytes
    seq: int
    env_id: bytes


class Claim(NamedTuple):
    """What a new device presents to be added: its public keys, its first chain, and its signature over both."""

    public: DevicePublic
    chain: Chain
    proof: bytes

    @classmethod
    def make(cls, keys: DeviceKeys, chain: Chain, vault_id: bytes = _NO_VAULT) -> Claim:
        """``chain`` is from :meth:`Chain.new` with the device's id; the vault id is missing only in its first entry."""
        proof = keys.sign("possession", vault_id, keys.public.to_bytes(), chain.nonce)
        return cls(keys.public, chain, proof)

    def verify(self, vault_id: bytes = _NO_VAULT) -> None:
        """:class:`BadSignature` unless whoever made the claim holds the signing key."""
        p.verify(self.public.sign, self.proof, "possession", vault_id, self.public.to_bytes(), self.chain.nonce)

    def fields(self) -> tuple[bytes, ...]:
        return (self.public.to_bytes(), self.chain.nonce, self.proof)

    @classmethod
    def read(cls, fields: tuple[bytes, bytes, bytes]) -> Claim:
        """From :meth:`fields`; :class:`~vaultsync.errors.WeakKey`, :class:`MalformedRoster`. The proof is not yet
        verified.
        """
        if not _CLAIM(fields):
            raise MalformedRoster("not a device's claim")
        public = DevicePublic.from_bytes(fields[0])
        return cls(public, Chain.of(public.id, fields[1]), fields[2])


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, its own form checked. What of the last nine is set follows from ``op``; nothing for a later one.

    ``marks`` are a removal's pins, or what an ack says was applied.
    """

    data: bytes = field(repr=False)
    hash: bytes
    op: int
    n: int
    prev: tuple[bytes, ...]
    author: bytes
    recovery: DevicePublic | None = None
    claim: Claim | None = None
    chain: Chain | None = None
    epoch: Epoch | None = None
    grants: tuple[Grant, ...] = ()
    removed: tuple[bytes, ...] = ()
    marks: tuple[Mark, ...] = ()
    proof: bytes = field(default=b"", repr=False)
    handover: bytes = field(default=b"", repr=False)
    """Two signatures for relays, which check them: see :func:`hand_over`."""

    @property
    def known_op(self) -> bool:
        """Whether this version understands what the entry does."""
        return self.op in _SUBJECTS

    @property
    def publics(self) -> tuple[DevicePublic, ...]:
        """The public keys that the entry brings in."""
        return tuple(filter(None, (self.recovery, self.claim and self.claim.public)))

    def verify(self, author: DevicePublic) -> None:
        """:class:`BadSignature` unless ``author`` is whom the entry names and signed it."""
        if author.id != self.author:
            raise BadSignature("the roster entry names another author")
        p.verify(author.sign, self.data[-p.SIGNATURE :], "roster-sig", self.data[: -p.SIGNATURE])

    def verify_renewal(self, vault_id: bytes) -> None:
        """:class:`BadSignature` unless whoever is the new recovery identity holds its signing key."""
        if self.recovery is None:
            raise MalformedRoster("the roster entry names no recovery identity")
        p.verify(self.recovery.sign, self.proof, "renewal", vault_id, self.author, self.recovery.to_bytes())

    def grant_context(self, vault_id: bytes) -> bytes:
        """What the entry's grants are bound to, besides epoch and recipient."""
        return context_of(vault_id, self.prev)


def context_of(vault_id: bytes, prev: tuple[bytes, ...]) -> bytes:
    """Vault id (zeros in its first entry, whose hash is the id) || digest of the predecessors: 48 bytes."""
    return (vault_id if prev else _NO_VAULT) + p.sha256("roster-prev", *prev)


def entry_hash(data: bytes) -> bytes:
    """The name of an entry: 32 bytes over all of it, signature included."""
    return p.sha256("roster-entry", data)


def prove_renewal(keys: DeviceKeys, vault_id: bytes, replaced: bytes) -> bytes:
    """The possession proof of a new recovery identity: its signature over vault, the id it replaces and its keys."""
    return keys.sign("renewal", vault_id, replaced, keys.public.to_bytes())


def hand_over(former: AccessKey, successor: AccessKey, bucket: bytes, number: int, members: Iterable[bytes]) -> bytes:
    """The vault's bucket on relays goes to ``successor``, whose first list names ``members``: two signatures.

    ``number``: 1 for the first handover of the bucket. See FORMAT.md, "On a relay".
    """
    handed = former.sign("relay-handover", bucket, number.to_bytes(8, "big"), successor.public)
    return handed + successor.sign("relay-edit", bucket, bytes(8), b"".join(sorted(members)))


def build(op: Op, *, n: int, prev: tuple[bytes, ...], author: DeviceKeys, subject: object) -> bytes:
    """Signs an entry. ``subject`` as in the module's table; ``prev`` ascending."""
    signed = _MAGIC + packing.pack((int(op), n, prev, author.public.id, subject))
    return signed + author.sign("roster-sig", signed)


def decode(data: bytes) -> Entry:
    """An entry whose form, keys and order are right; neither signature nor rights are checked yet.

    Raises :class:`MalformedRoster`, :class:`~vaultsync.errors.WeakKey`, or :class:`UpdateRequired` for a later layout.
    """
    if not 4 + p.SIGNATURE < len(data) <= limits.MAX_ROSTER_ENTRY_BYTES or data[:3] != _MAGIC[:3]:
        raise MalformedRoster("not a roster entry, or larger than the limit")
    if data[:4] != _MAGIC:
        raise UpdateRequired("a roster entry is of a newer format")
    fields = packing.unpack(data[4 : -p.SIGNATURE], max_bytes=limits.MAX_ROSTER_ENTRY_BYTES, error=MalformedRoster)
    if not _FRAME(fields):
        raise MalformedRoster("the roster entry has the wrong fields")
    op, n, prev, author, subject = fields
    if any(a >= b for a, b in pairwise(prev)) or (op == Op.CREATE) != (not prev) or (op == Op.CREATE) != (n == 1):
        raise MalformedRoster("the roster entry's predecessors are out of order, or missing, or too many")
    check = _SUBJECTS.get(op)
    if check is not None and not check(subject):
        raise MalformedRoster("the roster entry's subject has the wrong fields")
    return Entry(data, entry_hash(data), op, n, prev, author, **_subject(op, author, subject))


def _subject(op: int, author: bytes, subject: Any) -> dict[str, Any]:
    match op:
        case Op.CREATE:
            public, claim, epoch, grants = subject
            recovery, found = DevicePublic.from_bytes(public), Claim.read(claim)
            if epoch[1] or found.public.id == recovery.id:
                raise MalformedRoster("the first entry links to earlier epochs, or names one identity twice")
            return {"recovery": recovery, **_epoch(epoch), **_newcomer(found, grants)}
        case Op.ADD:
            return _newcomer(Claim.read(subject[0]), subject[1])
        case Op.CHAIN:
            return {"chain": Chain.of(author, subject[0])}
        case Op.REMOVE:
            removed, pins, epoch, grants = subject
            if any(a >= b for a, b in pairwise(removed)):
                raise MalformedRoster("the roster entry's removed devices are out of order")
            return {"removed": removed, **_marks(pins), **_epoch(epoch), **_grants(grants)}
        case Op.ROTATE:
            return {**_epoch(subject[0]), **_grants(subject[1])}
        case Op.ACK:
            return _marks(subject[0])
        case Op.RENEW:
            public, proof, handover, epoch, grants = subject
            renewed = {"recovery": DevicePublic.from_bytes(public), "proof": proof, "handover": handover}
            return {**renewed, **_epoch(epoch), **_grants(grants)}
        case Op.GRANT:
            return _grants(subject[0])
        case _:
            return {}


def _newcomer(claim: Claim, grants: tuple[tuple[bytes, bytes, bytes], ...]) -> dict[str, Any]:
    return {"claim": claim, "chain": claim.chain, **_grants(grants)}


def _grants(grants: tuple[tuple[bytes, bytes, bytes], ...]) -> dict[str, Any]:
    if any(a[:2] >= b[:2] for a, b in pairwise(grants)):
        raise MalformedRoster("the roster entry's grants are out of order")
    return {"grants": tuple(Grant(*grant) for grant in grants)}


def _epoch(epoch: tuple[bytes, tuple[tuple[bytes, bytes], ...]]) -> dict[str, Any]:
    check, links = epoch
    if any(a[0] >= b[0] for a, b in pairwise(links)):
        raise MalformedRoster("the roster entry's links are out of order")
    return {"epoch": Epoch(check, tuple(Link(*link) for link in links))}


def _marks(marks: tuple[tuple[bytes, int, bytes], ...]) -> dict[str, Any]:
    if any(a[0] >= b[0] for a, b in pairwise(marks)):
        raise MalformedRoster("the roster entry's marks are out of order")
    return {"marks": tuple(Mark(*mark) for mark in marks)}


# ---- on a remote ------------------------------------------------------------------------------------------------


def seal_entry(entry: bytes, *, vault_id: bytes, roster_key: bytes) -> bytes:
    """The entry as a remote may hold it, under the name that carries its hash.

    The same bytes whoever seals it: any device may put any entry, and a name on a remote is bound to its bytes. The
    salt repeats only for the same entry, whose sealing is then the same too.
    """
    salt = p.keyed_hash(roster_key, "salt", entry_hash(entry))
    context = _SEALED_MAGIC + salt + vault_id + entry_hash(entry)
    sealed = p.seal_committed(roster_key, salt=salt, use="roster-seal", context=context, plaintext=packing.pad(entry))
    return _SEALED_MAGIC + salt + sealed


def open_entry(data: bytes, *, vault_id: bytes, roster_key: bytes, hash: bytes) -> bytes:
    """The entry with that hash. :class:`BadSeal`, :class:`MalformedRoster`, or :class:`UpdateRequired` for a later
    seal.
    """
    if not 36 < len(data) <= limits.MAX_ROSTER_ENTRY_BYTES * 2 or data[:3] != _SEALED_MAGIC[:3]:
        raise MalformedRoster("not a sealed roster entry, or larger than the limit")
    if data[:4] != _SEALED_MAGIC:
        raise UpdateRequired("a roster entry is sealed in a newer format")
    salt, sealed = data[4:36], data[36:]
    context = _SEALED_MAGIC + salt + vault_id + hash
    entry = packing.unpad(
        p.open_committed(roster_key, salt=salt, use="roster-seal", context=context, sealed=sealed), MalformedRoster
    )
    if not p.same(entry_hash(entry), hash):
        raise BadSeal("the sealed roster entry is not the one it is named as")
    return entry

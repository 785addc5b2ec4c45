"""Parcels: own changes into sealed envelopes, and fetched envelopes back into verified changes.

Packing happens once. An envelope gets its number and predecessor, is sealed and stored in one transaction, and only
then put anywhere; whatever fails afterwards, the same bytes are put again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vaultsync import limits
from vaultsync.crypto import body as bodies
from vaultsync.crypto import envelope
from vaultsync.crypto.body import Body
from vaultsync.crypto.keys import EpochKey
from vaultsync.crypto.revocation import Statement, check_epoch
from vaultsync.document.changes import Change, pack, unpack_changes
from vaultsync.errors import MalformedEnvelope, UnknownChain
from vaultsync.store import Reading
from vaultsync.sync import names
from vaultsync.sync.events import NO_ENVELOPE, Group, Tip
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.recording import GroupMark, OwnChange
from vaultsync.vault.replication.waiting import own_tips
from vaultsync.view.packed import uncollected

__all__ = [
    "HEARD",
    "SEALED",
    "Incomplete",
    "Packed",
    "Parcel",
    "held_places",
    "known_tips",
    "next_places",
    "open_parcel",
    "pack_own",
    "tips",
]

HEARD = "heard/"
"""State, by chain: when its writer sealed the last envelope that was applied here (ms, that device's clock)."""
SEALED = "sealed/"
"""State, by chain: epoch and roster head of the last envelope that was applied here."""
STATED = "stated/"
"""State, by own chain: the frontier as its last envelope stated it."""


class Incomplete(Exception):
    """The bytes are not (yet) those that the name promises: cut off, or still being written."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """An opened envelope: verified, decrypted, its changes decoded. ``data`` is what is stored and passed on."""

    name: str
    header: envelope.Header
    env_id: bytes
    body: Body
    changes: tuple[Change, ...]
    data: bytes

    @property
    def group(self) -> Group | None:
        return None if self.body.group is None else Group(*self.body.group)

    @property
    def statement(self) -> Statement:
        """What it says of other chains."""
        return Statement(self.header.chain_id, self.header.seq, self.body.roster_head, self.body.frontier)

    @property
    def sealed(self) -> tuple[bytes, bytes]:
        """Epoch, and the entry of the list of devices that its writer named: neither goes back within a chain."""
        return self.header.epoch_id, self.body.roster_head


# ---- in -----------------------------------------------------------------------------------------------------------
def open_parcel(name: str, data: bytes, identity: Identity, epochs: dict[bytes, EpochKey]) -> Parcel:
    """Verify and open what a remote served under ``name``.

    Raises `Incomplete` when the bytes are not those that the name promises, and otherwise what opening raises:
    `Refused` of some kind, or `UpdateRequired`.
    """
    place = names.parse_envelope(name)
    if place is None:
        raise MalformedEnvelope("not the name of an envelope")
    try:
        header, env_id = envelope.peek(data)
    except MalformedEnvelope:
        raise Incomplete from None
    if env_id[:16] != place.short:
        raise Incomplete
    if (header.vault_id, header.chain_id, header.seq) != (place.vault, place.chain, place.seq):
        raise MalformedEnvelope("the envelope lies under a name that is not its own")
    sign_public = identity.roster.sign_public(header.chain_id)
    epoch = epochs.get(header.epoch_id)
    if epoch is None:
        raise UnknownChain("the envelope is sealed under a key that the list of devices here does not tell yet")
    opened = envelope.open_envelope(data, sign_public=sign_public, epoch=epoch, vault_id=identity.vault_id)
    body = bodies.decode(opened)
    check_epoch(identity.roster, epoch=header.epoch_id, roster_head=body.roster_head)
    with uncollected():
        changes = tuple(unpack_changes(body.changes, max_bytes=limits.MAX_ENVELOPE_BYTES))
    _check_contents(header, body, changes, sign_public)
    return Parcel(name, header, env_id, body, changes, data)


def _check_contents(header: envelope.Header, body: Body, changes: Sequence[Change], sign_public: bytes) -> None:
    if body.count != len(changes) or any(change.actor != header.chain_id for change in changes):
        raise MalformedEnvelope("the envelope does not hold the changes that it says")
    if not changes:
        return
    if body.tip is None:
        raise MalformedEnvelope("the envelope's changes are not signed for")
    last = changes[-1]
    bodies.verify_tip(sign_public, body.tip, header.vault_id, header.chain_id, last.seq, last.hash)


# ---- out ----------------------------------------------------------------------------------------------------------
class _Part(NamedTuple):
    """Changes for one envelope, and its place in a batch that is larger than one."""

    changes: list[OwnChange]
    group: bodies.Group | None


class Packed(NamedTuple):
    """An envelope that was just stored: its bytes, and the number of the last change of ``chain`` in it."""

    name: str
    env_id: bytes
    data: bytes
    chain: bytes
    last: int


def pack_own(
    ledger: Ledger, identity: Identity, epochs: dict[bytes, EpochKey], environment: Environment
) -> list[Packed]:
    """Pack every own change that is in no envelope yet; returns the envelopes that were stored.

    Call it as the only pusher of the store. Packing and sealing happen outside the lock that edits wait for.
    """
    waiting = {chain for chain, tip in own_tips(ledger).items() if tip.packed < tip.seq}
    packed: list[Packed] = []
    for chain in identity.own_chains:  # what an earlier incarnation left comes first: the next one builds on it
        if chain not in waiting:
            continue
        with uncollected():
            packed += _pack_chain(ledger, identity, epochs.get(identity.roster.epoch), chain, environment)
    return packed


def _pack_chain(
    ledger: Ledger, identity: Identity, epoch: EpochKey | None, chain: bytes, environment: Environment
) -> list[Packed]:
    waiting = ledger.unpacked(chain)
    if not waiting:
        return []
    stated = _stated(ledger.noted(STATED + chain.hex()))
    known = known_tips(ledger, identity)
    frontier = {key: (tip.seq, tip.env_id) for key, tip in known.items() if key != chain}
    seq, prev = (known[chain].seq, known[chain].env_id) if chain in known else (0, NO_ENVELOPE)
    if epoch is None:
        return []  # the key of the newest epoch has not reached this device: the changes wait here, unsealed
    sealed = []
    for part in _parts(waiting):
        changes = [own.change for own in part.changes]
        body = Body(
            roster_head=identity.roster.head,
            generation=0,
            frontier={key: tip for key, tip in frontier.items() if stated.get(key) != tip},
            frontier_digest=bodies.frontier_digest(frontier),
            count=len(changes),
            changes=pack(changes),
            tip=bodies.sign_tip(identity.keys, identity.vault_id, chain, changes[-1].seq, changes[-1].hash),
            wall_ms=max(0, environment.now_ms()),
            group=part.group,
        )
        seq += 1
        header = envelope.Header(envelope.Kind.CHANGES, identity.vault_id, chain, epoch.id, seq, prev)
        made = envelope.seal(header, bodies.encode(body), identity.keys, epoch, environment.entropy)
        sealed.append((made, changes[-1].seq))
        prev, stated = made.env_id, frontier
    packed = []
    with ledger.noting() as transaction:
        now = transaction.store.last_place(chain, envelope.Kind.CHANGES)
        if (now[1] if now else NO_ENVELOPE) != sealed[0][0].header.prev:
            return []  # somebody packed meanwhile after all; nothing of this was stored or put anywhere
        for made, change_seq in sealed:
            name = names.envelope_name(identity.vault_id, chain, made.header.seq, made.env_id)
            transaction.store.put_envelope(
                name, chain, made.header.seq, made.env_id, envelope.Kind.CHANGES, made.data, True
            )
            transaction.store.packed_up_to(chain, change_seq)
            packed.append(Packed(name, made.env_id, made.data, chain, change_seq))
        transaction.note(STATED + chain.hex(), _stating(frontier))
    ledger.packed()
    return packed


def _parts(waiting: Sequence[OwnChange]) -> Iterator[_Part]:
    """Envelopes of about the target size. Those between which a batch was cut are one group, applied as a whole."""
    parts: list[list[OwnChange]] = [[]]
    size = 0
    for own in waiting:
        if parts[-1] and size + len(own.change.chunk) > limits.ENVELOPE_TARGET_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(own)
        size += len(own.change.chunk)
    run: list[list[OwnChange]] = []
    for part in parts:
        if run and not _cut_between(run[-1], part):
            yield from _grouped(run)
            run = []
        run.append(part)
    yield from _grouped(run)


def _cut_between(left: list[OwnChange], right: list[OwnChange]) -> bool:
    mark: GroupMark | None = left[-1].group
    return mark is not None and right[0].group is not None and right[0].group.id == mark.id


def _grouped(run: list[list[OwnChange]]) -> Iterator[_Part]:
    mark = run[0][-1].group
    for index, part in enumerate(run):
        group = bodies.Group(mark.id, index, len(run)) if len(run) > 1 and mark is not None else None
        yield _Part(part, group)


# ---- frontiers ----------------------------------------------------------------------------------------------------
def tips(reading: Reading, identity: Identity) -> dict[bytes, Tip]:
    """How far each chain of the roster is applied here. Envelopes are stored in their chain's order and without
    gaps."""
    places = ((chain, reading.last_place(chain, envelope.Kind.CHANGES)) for chain in identity.roster.writers)
    return {chain: Tip(*place) for chain, place in places if place is not None}


def known_tips(ledger: Ledger, identity: Identity) -> dict[bytes, Tip]:
    """The same as of now, read only where somebody else wrote."""
    places = ledger.store.last_places(identity.roster.writers, envelope.Kind.CHANGES)
    return {chain: Tip(*place) for chain, place in places.items()}


def held_places(reading: Reading, parcel: Parcel) -> tuple[bool, dict[bytes, frozenset[bytes]]]:
    """Whether the store holds the envelope that one follows; and by chain of its frontier the first halves of the ids
    that the store holds in the places named there."""
    vault, chain, seq, prev = parcel.header.vault_id, parcel.header.chain_id, parcel.header.seq, parcel.header.prev
    follows = seq == 1 if prev == NO_ENVELOPE else prev[:16] in _held_at(reading, vault, chain, seq - 1)
    held = {key: _held_at(reading, vault, key, at) for key, (at, _) in parcel.body.frontier.items()}
    return follows, held


def next_places(tips: Mapping[bytes, Tip], parcel: Parcel) -> tuple[bool, dict[bytes, frozenset[bytes]]] | None:
    """The same where nothing need be read for it, as of almost every envelope: it follows the last one of its chain,
    and what it names are the last ones of theirs."""
    frontier = parcel.body.frontier
    for chain, place in (*frontier.items(), (parcel.header.chain_id, (parcel.header.seq - 1, parcel.header.prev))):
        if (tip := tips.get(chain)) is None or (tip.seq, tip.env_id) != place:
            return None
    return True, {chain: frozenset((env_id[:16],)) for chain, (_, env_id) in frontier.items()}


def _held_at(reading: Reading, vault: bytes, chain: bytes, seq: int) -> frozenset[bytes]:
    found = reading.names(f"{names.chain_prefix(vault, chain)}{seq:012d}-")
    return frozenset(bytes.fromhex(name[-32:]) for name in found)


def _stated(data: bytes | None) -> dict[bytes, tuple[int, bytes]]:
    rows = json.loads(data) if data else {}
    return {bytes.fromhex(chain): (seq, bytes.fromhex(env_id)) for chain, (seq, env_id) in rows.items()}


def _stating(frontier: dict[bytes, tuple[int, bytes]]) -> bytes:
    rows = {chain.hex(): (seq, env_id.hex()) for chain, (seq, env_id) in sorted(frontier.items())}
    return json.dumps(rows).encode()

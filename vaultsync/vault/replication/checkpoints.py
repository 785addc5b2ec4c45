"""Checkpoints as this device keeps them: which it verified, what certifies the document here, and writing one.

A checkpoint is the whole document with each writer's signature over its last change. Which ones were verified here is
noted in the store, beside their sealed bytes: from these a remote that lost everything is filled again.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from vaultsync import limits
from vaultsync.crypto import body as bodies
from vaultsync.crypto import checkpoint as sealed_checkpoint
from vaultsync.crypto import envelope
from vaultsync.crypto.checkpoint import Checkpoint, Tip
from vaultsync.crypto.keys import EpochKey
from vaultsync.document.branches import recompute
from vaultsync.errors import MalformedChange, MalformedEnvelope, Refused, UpdateRequired
from vaultsync.store import Reading
from vaultsync.sync import events as ev
from vaultsync.sync import names
from vaultsync.sync.coverage import Frontier, Known, floors
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Notes, Transaction
from vaultsync.vault.replication.grafting import signed_changes
from vaultsync.vault.replication.inspection import inspect_apart
from vaultsync.vault.replication.parcels import Incomplete, Parcel, open_parcel, tips

__all__ = [
    "counting",
    "due",
    "forget",
    "known_checkpoints",
    "note",
    "parts_of",
    "remember_parcel",
    "remember_tip",
    "signed_ends",
    "with_floors",
    "write_checkpoint",
]

KNOWN: Final = "checkpoint/"
"""State, by id: a checkpoint that was verified here, and is held."""
TIP: Final = "tip/"
"""State, by chain: the last change of another device's that it signed for, as far as applied here; and by chain and
hash those that it may not follow."""
Ends: TypeAlias = Mapping[bytes, Sequence[tuple[int, bytes]]]
"""By actor the last changes of its branches (`document.branches`), as number and hash."""
_TIP: Final = struct.Struct(">Q32s64s")


# ---- which are known ------------------------------------------------------------------------------------------------
def known_checkpoints(ledger: Ledger) -> list[Known]:
    """Every checkpoint that was verified here and is held whole."""
    return ledger.parsed(KNOWN, lambda name, row: _parsed(row))


def counting(known: Iterable[Known], identity: Identity) -> list[Known]:
    """Without those of removed devices: what a removed device says of itself is not believed, so another has to stand
    for what only these hold."""
    return [one for one in known if one.writer not in identity.roster.revoked]


def note(transaction: Notes, known: Known) -> None:
    """Remember that a checkpoint was verified."""
    row = {
        "env_id": known.env_id.hex(),
        "writer": known.writer.hex(),
        "frontier": {chain.hex(): [seq, env_id.hex()] for chain, (seq, env_id) in known.frontier.items()},
        "parts": list(known.parts),
        "size": known.size,
        "since": known.since,
        "ends": {chain.hex(): [name.hex() for name in ends] for chain, ends in known.ends.items()},
    }
    transaction.set_state(KNOWN + known.env_id.hex(), json.dumps(row).encode())


def forget(transaction: Notes, known: Known) -> None:
    """Let go of a checkpoint and its bytes."""
    for name in known.parts:
        transaction.store.drop_envelope(name)
    transaction.set_state(KNOWN + known.env_id.hex(), None)


def _parsed(data: bytes) -> Known:
    row = json.loads(data)
    frontier = {bytes.fromhex(chain): (seq, bytes.fromhex(env_id)) for chain, (seq, env_id) in row["frontier"].items()}
    ids = bytes.fromhex(row["env_id"]), bytes.fromhex(row["writer"])
    ends = {bytes.fromhex(chain): tuple(map(bytes.fromhex, hashes)) for chain, hashes in row.get("ends", {}).items()}
    return Known(*ids, frontier, tuple(row["parts"]), row["size"], row["since"], ends)


def with_floors(applied: Mapping[bytes, ev.Tip], known: Iterable[Known]) -> dict[bytes, ev.Tip]:
    """How far each chain is applied, with the place up to which some verified checkpoint covers it."""
    covered = floors(known)
    return {chain: tip._replace(floor=min(tip.seq, covered.get(chain, (0, b""))[0])) for chain, tip in applied.items()}


# ---- what certifies the document here -------------------------------------------------------------------------------
def remember_tip(transaction: Transaction, chain: bytes, tip: Tip) -> None:
    """Keep the signature over the last applied change of a chain; its envelope may go one day.

    The one before stays beside it as long as the document does not show that this one follows it: chains fork.
    """
    name, engine = TIP + chain.hex(), transaction.engine
    stored = transaction.noted(name)
    if stored is not None:
        before = Tip(*_TIP.unpack(stored))
        follows = engine.has(tip.hash) and engine.change_at(chain, before.seq) == before.hash
        if before.hash != tip.hash and not (follows and before.seq <= tip.seq):
            transaction.set_state(f"{name}/{before.hash.hex()}", stored)
    transaction.note(name, _TIP.pack(*tip))


def remember_parcel(transaction: Transaction, parcel: Parcel) -> None:
    """The same from an envelope that is being applied."""
    if parcel.changes and parcel.body.tip is not None:
        last = parcel.changes[-1]
        remember_tip(transaction, parcel.header.chain_id, Tip(last.seq, last.hash, parcel.body.tip))


def signed_ends(
    ledger: Ledger, reading: Reading, identity: Identity, epochs: dict[bytes, EpochKey], ends: Ends
) -> dict[bytes, tuple[Tip, ...]] | None:
    """Every writer's word for the ends of its branches; ``None`` when somebody's is not known here."""
    found = {}
    for chain, places in ends.items():
        if identity.roster.writers.get(chain) == identity.keys.public.id:
            found[chain] = tuple(
                Tip(seq, name, bodies.sign_tip(identity.keys, identity.vault_id, chain, seq, name))
                for seq, name in places
            )
            continue
        rows = {name: ledger.unseal_state(name, row) for name, row in reading.states(TIP + chain.hex()).items()}
        kept = {(tip.seq, tip.hash): tip for row in rows.values() if row for tip in [Tip(*_TIP.unpack(row))]}
        if not kept.keys() >= set(places):
            kept |= _from_envelopes(reading, chain, identity, epochs)
        if not kept.keys() >= set(places):
            return None
        found[chain] = tuple(kept[place] for place in places)
    return found


def _from_envelopes(
    reading: Reading, chain: bytes, identity: Identity, epochs: dict[bytes, EpochKey]
) -> dict[tuple[int, bytes], Tip]:
    """What envelopes say that are still here: applied before signatures were kept apart."""
    found = {}
    for held in reading.envelopes(chain):
        try:
            parcel = open_parcel(held.name, held.data, identity, epochs)
        except (Incomplete, Refused, UpdateRequired):
            continue
        if parcel.changes and parcel.body.tip is not None:
            last = parcel.changes[-1]
            found[last.seq, last.hash] = Tip(last.seq, last.hash, parcel.body.tip)
    return found


# ---- writing one ----------------------------------------------------------------------------------------------------
def due(
    applied: Mapping[bytes, ev.Tip], known: Iterable[Known], weight: Callable[[Mapping[bytes, ev.Tip]], int]
) -> bool:
    """Whether so much is in no verified checkpoint that writing one pays. ``applied`` with floors; ``weight`` says how
    many bytes of envelopes are stored above them."""
    loose = sum(tip.seq - tip.floor for tip in applied.values())
    if loose >= limits.CHECKPOINT_AFTER_ENVELOPES:
        return True
    return bool(loose) and weight(applied) >= max([limits.CHECKPOINT_AFTER_BYTES, *(one.size for one in known)])


def write_checkpoint(
    ledger: Ledger, identity: Identity, environment: Environment, *, stop: threading.Event | None = None
) -> Known | None:
    """Make a checkpoint of everything here, have it verified, seal and store it. Edits wait only while the document is
    saved.

    ``None`` when it cannot be made now: edits are not packed yet, somebody's signature is missing, or this device
    lacks the newest key. Raises `InspectorUnavailable` when nobody can verify it; `MalformedEnvelope` when it would
    not load, and `VaultClosed`.
    """
    epochs = identity.epoch_keys()
    epoch = epochs.get(identity.roster.epoch)
    if epoch is None or identity.chain.id in identity.roster.revoked:
        return None
    with ledger.lock:
        ledger.refresh()
        engine = ledger.engine
        with ledger.store.read() as reading:
            tip = reading.own_tip(ledger.actor)
            if engine.last_seq(ledger.actor) != (tip.packed if tip else 0):
                return None
            changes = signed_changes(ledger)
            try:
                signed = signed_ends(ledger, reading, identity, epochs, recompute(engine, changes))
            except MalformedChange as error:
                raise MalformedEnvelope(f"the branches here do not come to what is here: {error}") from None
            applied = tips(reading, identity)
            last = reading.last_envelope(identity.chain.id, envelope.Kind.CHECKPOINT)
        if not signed:
            return None
        document, heads = engine.save(), engine.heads
    frontier = {chain: (at.seq, at.env_id) for chain, at in applied.items() if chain in signed}
    made = Checkpoint(
        document,
        {chain: tips[-1] for chain, tips in signed.items()},
        frontier,
        identity.roster.head,
        0,
        tuple((chain, tip) for chain, tips in sorted(signed.items()) for tip in tips[:-1]),
        tuple(change.chunk for change in changes),
    )
    found = inspect_apart(document, gate=False, own=True, signed=made.changes, command=environment.python, stop=stop)
    if found.heads != heads:
        return None
    sealed_checkpoint.verify(made, found.ends, identity.roster, identity.vault_id)
    number = 1 + (last.seq // limits.MAX_CHECKPOINT_PARTS if last else 0)
    header = envelope.Header(
        envelope.Kind.CHECKPOINT, identity.vault_id, identity.chain.id, epoch.id, number, envelope.FIRST
    )
    sealed = envelope.seal(header, sealed_checkpoint.encode(made), identity.keys, epoch, environment.entropy)
    parts = list(parts_of(identity.vault_id, sealed.env_id, identity.chain.id, frontier, sealed.data))
    known = Known(
        sealed.env_id,
        identity.chain.id,
        frontier,
        tuple(name for name, _ in parts),
        len(sealed.data),
        environment.now_ms(),
        {chain: tuple(tip.hash for tip in tips) for chain, tips in signed.items()},
    )
    with ledger.write() as transaction:
        for index, (name, data) in enumerate(parts):
            place = number * limits.MAX_CHECKPOINT_PARTS + index
            transaction.store.put_envelope(
                name, identity.chain.id, place, sealed.env_id, envelope.Kind.CHECKPOINT, data, True
            )
        note(transaction, known)
    return known


def parts_of(vault: bytes, env_id: bytes, chain: bytes, frontier: Frontier, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The objects that a sealed checkpoint travels in: names and bytes."""
    covered = sum(seq for seq, _ in frontier.values())
    pieces = [data[at : at + limits.CHECKPOINT_PART_BYTES] for at in range(0, len(data), limits.CHECKPOINT_PART_BYTES)]
    for index, piece in enumerate(pieces):
        digest = hashlib.sha256(piece).digest()[:16]
        place = names.CheckpointName(vault, covered, chain, env_id[:16], index, len(pieces), len(data), digest)
        yield names.checkpoint_name(place), piece

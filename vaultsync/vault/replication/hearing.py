"""Hearing of changes to the list of devices: one transaction in which nothing comes between knowing and saying.

When a device was removed, others must be told how far this one had applied it *before* it applies anything more. So the
entries, this device's word on how far the ended chains are applied (its ack) and the keys that somebody lacks are
stored together; all of them are published with the next exchange, before any envelope.

``removed/<device>``  JSON, for every removed device: when this one heard of it, the heads of the document then, and by
                      chain the last change that arrived later under a key which the removed device has, too
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from vaultsync.crypto.envelope import peek
from vaultsync.crypto.roster import Roster
from vaultsync.errors import UpdateRequired
from vaultsync.store import Reading
from vaultsync.vault.identity import ACCOUNT, NO_ACCOUNT, ROSTER, Identity
from vaultsync.vault.ledger import Ledger, Transaction
from vaultsync.vault.replication.grafting import SIDE
from vaultsync.vault.replication.parcels import Parcel, tips

__all__ = ["Heard", "applied", "due", "hear", "heard_of", "note_late", "note_readable"]

REMOVED: Final = "removed/"
"""Prefix of the names under which it is stored what was so when a removal was heard of; the device's id follows."""
MOST_BRANCHES: Final = 16
"""Branches of one ended chain that a device names when it hears of the end: one that forks more is up to something."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was so when this device heard of a removal. ``heads`` and ``late`` (by chain) are hashes of changes."""

    ms: int
    heads: tuple[bytes, ...]
    late: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def shared(self) -> tuple[bytes, ...]:
        """Heads of everything that the removed device may have read."""
        return tuple(sorted({*self.heads, *self.late.values()}))

    def to_bytes(self) -> bytes:
        late = {chain.hex(): change.hex() for chain, change in sorted(self.late.items())}
        return json.dumps({"ms": self.ms, "heads": [head.hex() for head in self.heads], "late": late}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Heard:
        stored = json.loads(data)
        late = {bytes.fromhex(chain): bytes.fromhex(change) for chain, change in stored["late"].items()}
        return cls(stored["ms"], tuple(map(bytes.fromhex, stored["heads"])), late)


def applied(reading: Reading, identity: Identity) -> dict[bytes, tuple[int, bytes]]:
    """How far every chain is applied here: chain -> (seq, env_id)."""
    return {chain: (tip.seq, tip.env_id) for chain, tip in tips(reading, identity).items()}


def due(identity: Identity) -> bool:
    """Whether this device has something to say or to give, though no entry is new."""
    roster, own = identity.roster, identity.keys.public.id
    return own in roster.members and (roster.ack_due(own) or roster.owes(own) or bool(identity.undisputed))


def hear(transaction: Transaction, identity: Identity, entries: Iterable[bytes], *, now_ms: int) -> Identity:
    """Store what is new of ``entries``, acknowledge what ended and give keys that are lacking; who this device is then.

    What a later version wrote keeps this one from writing; it is stored all the same.
    """
    before = identity.roster
    roster = before.merge(entries)
    for device in sorted(roster.former):
        if not roster.former[device].recovery:
            _note_removal(transaction, device, now_ms)
    if roster.recovery.id != before.recovery.id:
        transaction.set_state(ACCOUNT, NO_ACCOUNT.to_bytes())  # the slot that is held here has no power any more
    with contextlib.suppress(UpdateRequired):
        roster = _answered(roster, transaction, identity)
    for entry in roster.log:
        if not before.knows(entry.hash):
            transaction.set_state(ROSTER + entry.hash.hex(), entry.data)
    heard = identity.with_entries(roster)
    return heard if roster.recovery.id == before.recovery.id else heard.with_account(NO_ACCOUNT)


def _answered(roster: Roster, transaction: Transaction, identity: Identity) -> Roster:
    own = identity.keys.public.id
    if own not in roster.members:
        return roster
    now = identity.with_entries(roster)
    if roster.ack_due(own) or now.undisputed:
        roster, _ = roster.ack(identity.keys, applied(transaction.store, now), disputing=now.undisputed)
        for places in _other_ends(transaction.store, roster):
            roster, _ = roster.ack(identity.keys, places)
    if roster.owes(own) and (given := roster.grant_missing(identity.keys)) is not None:
        roster, _ = given
    return roster


def _other_ends(reading: Reading, roster: Roster) -> list[dict[bytes, tuple[int, bytes]]]:
    """Where the other branches of ended chains end that are applied here: an ack names one place of each chain."""
    found: list[dict[bytes, tuple[int, bytes]]] = []
    for chain, revoked in sorted(roster.revoked.items()):
        beside = map(reading.envelope, reading.names_of(chain, SIDE))
        held = [peek(stored.data) for stored in beside if stored is not None]
        followed = {header.prev for header, _ in held}
        ends = sorted((header.seq, env_id) for header, env_id in held if env_id not in followed)
        for number, place in enumerate([end for end in ends if end not in revoked.acks][-MOST_BRANCHES:]):
            if number == len(found):
                found.append({})
            found[number][chain] = place
    return found


# ---- what a removed device may have read --------------------------------------------------------------------------
def _note_removal(transaction: Transaction, device: bytes, now_ms: int) -> None:
    name = REMOVED + device.hex()
    if transaction.state(name) is None:
        transaction.set_state(name, Heard(now_ms, transaction.engine.heads).to_bytes())


def note_late(transaction: Transaction, identity: Identity, parcel: Parcel) -> None:
    """An envelope is applied: removed devices that have its key may have read it, too."""
    roster = identity.roster
    if not parcel.changes:
        return
    for device, member in roster.former.items():
        if member.recovery or parcel.header.epoch_id not in roster.reach(device):
            continue
        note_readable(transaction, device, parcel.header.chain_id, parcel.changes[-1].hash)


def note_readable(transaction: Transaction, device: bytes, chain: bytes, change: bytes) -> None:
    """A removed device may have read a chain up to that change, which arrives only now."""
    name = REMOVED + device.hex()
    if (stored := transaction.state(name)) is not None:
        heard = Heard.from_bytes(stored)
        heard.late[chain] = change
        transaction.set_state(name, heard.to_bytes())


def heard_of(ledger: Ledger, device: bytes) -> Heard | None:
    """What was so when this device heard that one was removed; ``None`` when it heard before it was a member."""
    stored = ledger.state(REMOVED + device.hex())
    return None if stored is None else Heard.from_bytes(stored)

"""What came late in a checkpoint: it holds changes and not the envelopes that they came in, so neither under which keys
these were sealed nor how far the remover of a device had got. Both are told by envelopes that still lie on the remote,
and where they were collected, by the next one that does.

Within a chain keys never go back. So the first envelope under a key that a removed device lacks ends what it may have
read: everything before is counted as read, also where nobody can look any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from vaultsync.crypto.envelope import Kind
from vaultsync.crypto.keys import EpochKey
from vaultsync.document.engine import Engine
from vaultsync.errors import ObjectMissing, Refused, UpdateRequired
from vaultsync.remote.port import Remote
from vaultsync.store import Reading
from vaultsync.sync import names
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Transaction
from vaultsync.vault.replication.hearing import note_readable
from vaultsync.vault.replication.parcels import SEALED, Incomplete, Parcel, open_parcel

__all__ = ["PINNED", "Late", "find_late", "note_found"]

PINNED: Final = "pinned/"
"""State, by chain of a removed device: the number of the last change that its remover had, where a checkpoint brought
what came after it."""


class Late(NamedTuple):
    """``read``: by removed device and chain, the number of the last change that it may have read. ``pinned``: by chain
    of a removed device, the number of the last change that its remover had."""

    read: Mapping[tuple[bytes, bytes], int]
    pinned: Mapping[bytes, int]


def find_late(
    ledger: Ledger,
    remote: Remote,
    identity: Identity,
    epochs: dict[bytes, EpochKey],
    anchors: Mapping[bytes, Parcel],
) -> Late:
    """What of the checkpoint with these anchors removed devices may have read, and what of theirs came late. Fetches a
    handful of envelopes a chain. Raises `RemoteError`."""
    reaches = {id: identity.roster.reach(id) for id, one in identity.roster.former.items() if not one.recovery}
    if not reaches:
        return Late({}, {})
    read: dict[tuple[bytes, bytes], int] = {}
    pinned: dict[bytes, int] = {}
    with ledger.store.read() as reading:
        envelopes = _Envelopes(reading, remote, identity, epochs)
        for chain, anchor in anchors.items():
            tip = reading.last_envelope(chain, Kind.CHANGES)
            after = tip.seq if tip else 0
            if anchor.header.seq <= after:
                continue
            sealed = ledger.unseal_state(SEALED + chain.hex(), reading.state(SEALED + chain.hex()))
            for device, reach in reaches.items():
                if sealed is not None and sealed[:8] not in reach:
                    continue
                first = envelopes.first(anchor, after, partial(_sealed_beyond, reach))
                read[device, chain] = anchor.changes[-1].seq if first is None else first.changes[0].seq - 1
            if (ended := identity.roster.revoked.get(chain)) is not None:
                pin = max(after, *(seq for seq, _ in ended.pins), 0)
                if pin < anchor.header.seq:
                    beyond = envelopes.first(anchor, pin, lambda one: True)
                    if beyond is not None:
                        pinned[chain] = beyond.changes[0].seq - 1
    return Late(read, pinned)


def note_found(transaction: Transaction, engine: Engine, late: Late) -> None:
    """Store it with the merged document."""
    for (device, chain), seq in late.read.items():
        if (change := engine.change_at(chain, seq)) is not None:
            note_readable(transaction, device, chain, change)
    for chain, seq in late.pinned.items():
        if transaction.state(PINNED + chain.hex()) is None:
            transaction.set_state(PINNED + chain.hex(), str(seq).encode())


def _sealed_beyond(reach: frozenset[bytes], one: Parcel) -> bool:
    return one.header.epoch_id not in reach


class _Envelopes:
    """Envelopes of chains, from here or from the remote."""

    def __init__(self, reading: Reading, remote: Remote, identity: Identity, epochs: dict[bytes, EpochKey]) -> None:
        self._reading, self._remote, self._identity, self._epochs = reading, remote, identity, epochs
        self._opened: dict[str, Parcel | None] = {}

    def first(self, anchor: Parcel, after: int, wanted: Callable[[Parcel], bool]) -> Parcel | None:
        """Of the envelopes after that number and up to the anchor the first one that is ``wanted`` and holds changes;
        all later ones are wanted, too. ``None`` when the anchor is not."""
        if not wanted(anchor):
            return None
        chain, last = anchor.header.chain_id, anchor.header.seq
        prefix = names.chain_prefix(self._identity.vault_id, chain)
        listed = sorted({*self._remote.list(prefix), *self._reading.names_of(chain, Kind.CHANGES)})
        places = [(name, at.seq) for name in listed if (at := names.parse_envelope(name)) is not None]
        between = [name for name, seq in places if after < seq < last]
        best = anchor
        while between:
            middle = len(between) // 2
            found = self._open(between[middle])
            if found is None or not found.changes:
                del between[middle]
            elif wanted(found):
                best, between = found, between[:middle]
            else:
                between = between[middle + 1 :]
        return best

    def _open(self, name: str) -> Parcel | None:
        if name not in self._opened:
            held = self._reading.envelope(name)
            try:
                data = held.data if held is not None else self._remote.get(name)
                self._opened[name] = open_parcel(name, data, self._identity, self._epochs)
            except (ObjectMissing, Incomplete, Refused, UpdateRequired):
                self._opened[name] = None
        return self._opened[name]

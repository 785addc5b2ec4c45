"""Beginning another incarnation, and the evidence on which one begins.

Two copies of a vault file must not go on writing as one chain. A copy is told from its original by where it lies: the
machine and the number of the file on its disk are kept sealed inside. A file that was put back in its place is told by
a mark beside it, which says how far it had published; and, if that went back with it, by what the remote holds.

An incarnation costs every device memory for ever, so none begins without evidence, and none before there is something
to write: looking into a backup changes nothing. A file that was renamed is where it was. Numbers of devices change when
machines start and say nothing; numbers of files change with every mount on some file systems, so that after
`MAX_INODE_MOVES` moves on one machine they say nothing there either.

``place``   JSON: machine, number of the file, and how often it began anew for its number alone
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vaultsync.crypto.keys import Chain
from vaultsync.errors import BadSeal, UpdateRequired
from vaultsync.limits import MAX_INODE_MOVES
from vaultsync.store import Reading
from vaultsync.vault.identity import IDENTITY, ROSTER, Identity
from vaultsync.vault.ledger import Ledger, Transaction

__all__ = ["Lair", "renew", "write_mark"]

PLACE: Final = "place"
MARK_SUFFIX: Final = "-mark"
_MARK: Final = "mark"


def renew(transaction: Transaction, identity: Identity, entropy: Callable[[int], bytes]) -> Identity:
    """Begin another incarnation in this transaction: announced in the list of devices, published with the next sync.

    While a newer version's entries keep this one from writing to the list, everything stays as it is.
    """
    chain = Chain.new(identity.keys.public.id, entropy)
    try:
        roster, _ = identity.roster.add_chain(identity.keys, chain)
    except UpdateRequired:
        return identity
    after = replace(identity.with_entries(roster), chain=chain)
    for entry in roster.log:
        if not identity.roster.knows(entry.hash):
            transaction.set_state(ROSTER + entry.hash.hex(), entry.data)
    transaction.set_state(IDENTITY, after.rows()[IDENTITY])
    transaction.begin_incarnation(chain.id)
    return after


# ---- where the file lies ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Place:
    machine: str
    inode: int
    moves: int = 0

    def to_bytes(self) -> bytes:
        return json.dumps([self.machine, self.inode, self.moves]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> _Place:
        return cls(*json.loads(data))

    def moved_to(self, here: _Place) -> bool:
        if self.machine and here.machine and self.machine != here.machine:
            return True
        return self.inode != here.inode and self.moves < MAX_INODE_MOVES


class Lair:
    """Where one open vault file lies. ``began`` is told who this device is when another incarnation began."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        load_identity: Callable[[], Identity],
        began: Callable[[Identity], None],
        machine: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._load_identity = load_identity
        self._began = began
        self._machine = machine
        self._settled = False

    def settle(self) -> None:
        """Before the first edit: begin another incarnation if the file is not where it was. Then costs nothing."""
        if self._settled:
            return
        ledger = self._ledger
        here = _Place(self._machine(), os.stat(ledger.store.path).st_ino)
        begun: Identity | None = None
        if not self._at_rest(here):
            with ledger.write() as transaction:
                stored = transaction.state(PLACE)
                last = None if stored is None else _Place.from_bytes(stored)
                moved = last is not None and last.moved_to(here)
                if moved or self._put_back(transaction.store):
                    identity = self._load_identity()
                    begun = renew(transaction, identity, ledger.entropy)
                    if begun is identity:
                        begun = None
                alone = moved and last is not None and last.machine == here.machine
                moves = last.moves + alone if last is not None and last.machine == here.machine else 0
                transaction.set_state(PLACE, replace(here, moves=moves).to_bytes())
        self._settled = True
        if begun is not None:
            self._began(begun)

    def _at_rest(self, here: _Place) -> bool:
        with self._ledger.store.read() as reading:
            stored = self._ledger.unseal_state(PLACE, reading.state(PLACE))
            if stored is None or self._put_back(reading):
                return False
        last = _Place.from_bytes(stored)
        return (last.machine, last.inode) == (here.machine, here.inode) or (
            last.machine == here.machine and not last.moved_to(here)
        )

    def _put_back(self, reading: Reading) -> bool:
        """Whether the mark beside the file tells of more than the file does: it is older than it was."""
        mark = _read_mark(self._ledger)
        if mark is None:
            return False
        chain, packed = mark
        tip = reading.own_tip(chain)
        return tip is None or tip.packed < packed


# ---- the mark beside the file -------------------------------------------------------------------------------------
def _mark_path(ledger: Ledger) -> str:
    return os.fspath(ledger.store.path) + MARK_SUFFIX


def write_mark(ledger: Ledger, chain: bytes, packed: int) -> None:
    """Note beside the file how far it is packed, before any of that is published. An older mark, or none, only means
    that a file put back is noticed later: so it is written over the one before, which costs a tenth of putting another
    file in its place. One that was cut off does not open, and is none."""
    sealed = ledger.key.seal(_MARK, "", json.dumps([chain.hex(), packed]).encode())
    with contextlib.suppress(OSError):  # a folder that cannot be written to: the remote tells, later
        file = os.open(_mark_path(ledger), os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            os.write(file, sealed)
            os.ftruncate(file, len(sealed))
        finally:
            os.close(file)


def _read_mark(ledger: Ledger) -> tuple[bytes, int] | None:
    try:
        data = Path(_mark_path(ledger)).read_bytes()
        chain, packed = json.loads(ledger.key.open(_MARK, "", data))
    except (OSError, BadSeal):
        return None  # none, cut off, or of another file that was here
    return bytes.fromhex(chain), packed

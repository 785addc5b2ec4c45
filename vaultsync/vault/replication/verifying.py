"""Taking somebody's checkpoint: fetched in parts, opened, looked at by another process, held against what its writers
signed, and then either noted (everything in it is here) or merged in.

Nothing of it reaches this process's engine before all of that has passed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vaultsync import limits
from vaultsync.crypto import checkpoint as sealed_checkpoint
from vaultsync.crypto import envelope
from vaultsync.crypto.checkpoint import Checkpoint
from vaultsync.crypto.keys import EpochKey
from vaultsync.crypto.revocation import Statement
from vaultsync.document.changes import Action, Change, chunk_hash
from vaultsync.document.codec import decode_own
from vaultsync.document.engine import Engine
from vaultsync.document.layout import ENTRIES, GENESIS_HASH, SECTION_OBJECTS
from vaultsync.errors import (
    MalformedEnvelope,
    MissingDependencies,
    ObjectMissing,
    Refused,
    Revoked,
    UnknownChain,
    UpdateRequired,
)
from vaultsync.remote.port import Remote
from vaultsync.schema.cells import Raw
from vaultsync.sync import events as ev
from vaultsync.sync import names
from vaultsync.sync.coverage import Known, Offer
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Transaction
from vaultsync.vault.replication.checkpoints import note, remember_tip
from vaultsync.vault.replication.ends import Ends
from vaultsync.vault.replication.grafting import FORK, keep, lost, signed_changes
from vaultsync.vault.replication.incarnation import renew
from vaultsync.vault.replication.inspection import Show, inspect_apart
from vaultsync.vault.replication.lateness import Late, find_late, note_found
from vaultsync.vault.replication.merging import Merged, merge, rivals
from vaultsync.vault.replication.parcels import HEARD, SEALED, Incomplete, Parcel, open_parcel, tips

__all__ = ["NotYet", "Taken", "Taker"]

_ATTEMPTS = 3
"""Times that a document is merged while edits go on, before they are made to wait for it."""


class NotYet(Exception):
    """Nothing is wrong with the checkpoint, but it is of no use here now: something of it has not arrived, or the list
    of devices does not tell enough. Looked at again with a later pass."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A checkpoint that was verified. ``entries``: those that merging it in touched; none where all of it was here."""

    known: Known
    entries: frozenset[str]
    merged: bool


@dataclass(frozen=True, slots=True)
class _Opened:
    header: envelope.Header
    env_id: bytes
    contents: Checkpoint


class _Rows:
    """The entries of a document as the process that looks at it hands them over, kept until it says what they are
    worth; ``show`` may look at them meanwhile."""

    def __init__(self, show: Show | None) -> None:
        self._show = show
        self.kept: dict[str, Raw] | None = None
        """All of them; None until they have come."""

    def __call__(self, flat: Mapping[str, Raw], entries: Iterator[tuple[str, Raw]]) -> None:
        kept: dict[str, Raw] = {}
        coming = _keeping(entries, kept)
        if self._show is not None:
            self._show(flat, coming)
        for _ in coming:
            pass
        self.kept = kept


def _keeping(entries: Iterator[tuple[str, Raw]], kept: dict[str, Raw]) -> Iterator[tuple[str, Raw]]:
    for entry, raw in entries:
        kept[entry] = raw
        yield entry, raw


class Taker:
    """Takes checkpoints from one remote. ``received`` is told the bytes of each object that was fetched, ``began`` who
    this device is when another incarnation began; ``show`` gets what the first checkpoint of an empty vault holds, as
    soon as it can be read and before it is verified."""

    def __init__(
        self,
        ledger: Ledger,
        remote: Remote,
        identity: Identity,
        epochs: dict[bytes, EpochKey],
        ends: Ends,
        environment: Environment,
        *,
        received: Callable[[int], None] = lambda size: None,
        stop: threading.Event | None = None,
        check: Callable[[], None] = lambda: None,
        began: Callable[[Identity], None] = lambda identity: None,
        show: Show | None = None,
    ) -> None:
        self._ledger = ledger
        self._remote = remote
        self._identity = identity
        self._epochs = epochs
        self._ends = ends
        self._environment = environment
        self._received = received
        self._stop = stop
        self._check = check
        self._began = began
        self._show = show

    def take(self, offer: Offer) -> Taken:
        """Verify a checkpoint; merge it in where it holds what is not here.

        Raises `Refused` for one that nobody should look at again, `NotYet`, `UpdateRequired`, `InspectorUnavailable`,
        `RemoteError`, `StoreError` and `VaultClosed`.
        """
        opened = self._open(offer, self._fetch(offer))
        contents = opened.contents
        self._check_removed(opened)
        known_here = all(self._knows(tip.hash) for tips in contents.ends.values() for tip in tips)
        rows = _Rows(self._show) if self._ledger.engine.heads == (GENESIS_HASH,) else None
        found = inspect_apart(
            contents.document,
            gate=not known_here,
            signed=contents.changes,
            show=rows,
            command=self._environment.python,
            stop=self._stop,
        )
        try:
            sealed_checkpoint.verify(contents, found.ends, self._identity.roster, self._identity.vault_id)
        except UnknownChain as error:
            raise NotYet(str(error)) from None
        anchors = self._anchors(contents)
        known = Known(
            opened.env_id,
            opened.header.chain_id,
            dict(contents.frontier),
            offer.parts,
            offer.size,
            self._environment.now_ms(),
            {chain: tuple(tip.hash for tip in tips) for chain, tips in contents.ends.items()},
        )
        if known_here:
            self._check_anchored(anchors, self._knows)
            with self._ledger.write() as transaction:
                self._keep_anchors(transaction.store.put_envelope, anchors)
                note(transaction, known)
            return Taken(known, frozenset(), False)
        kept = None if rows is None else rows.kept
        return Taken(known, self._merge(contents, anchors, known, kept), True)

    # ---- fetching ---------------------------------------------------------------------------------------------
    def _fetch(self, offer: Offer) -> bytes:
        """Its bytes. Every part is stored when it came, so that a cut-off fetch goes on from there."""
        pieces = []
        for index, name in enumerate(offer.parts):
            self._check()
            with self._ledger.store.read() as reading:
                held = reading.envelope(name)
            piece = held.data if held is not None else self._part(offer, index, name)
            pieces.append(piece)
            if sum(map(len, pieces)) > offer.size:
                raise MalformedEnvelope("the checkpoint is larger than its name says")
        return b"".join(pieces)

    def _part(self, offer: Offer, index: int, name: str) -> bytes:
        try:
            piece = self._remote.get(name)
        except ObjectMissing as error:
            raise NotYet(str(error)) from None
        self._received(len(piece))
        parsed = names.parse_checkpoint(name)
        if parsed is None or hashlib.sha256(piece).digest()[:16] != parsed.digest:
            raise NotYet("a part of the checkpoint is not complete yet")
        with self._ledger.store.write() as writing:
            place = limits.MAX_CHECKPOINT_PARTS + index
            writing.put_envelope(name, offer.chain, place, parsed.digest, envelope.Kind.CHECKPOINT, piece, False)
        return piece

    def _open(self, offer: Offer, data: bytes) -> _Opened:
        if len(data) != offer.size:
            raise MalformedEnvelope("the checkpoint's parts do not make up the size that its name says")
        identity = self._identity
        header, env_id = envelope.peek(data)
        if header.kind != envelope.Kind.CHECKPOINT or (header.chain_id, env_id[:16]) != (offer.chain, offer.short):
            raise MalformedEnvelope("the checkpoint lies under a name that is not its own")
        try:
            sign_public = identity.roster.sign_public(header.chain_id)
        except UnknownChain as error:
            raise NotYet(str(error)) from None
        epoch = self._epochs.get(header.epoch_id)
        if header.vault_id == identity.vault_id and epoch is None:
            raise NotYet("the checkpoint is sealed under a key that has not reached this device")
        if epoch is None:
            raise MalformedEnvelope("the checkpoint belongs to another vault")
        body = envelope.open_envelope(data, sign_public=sign_public, epoch=epoch, vault_id=identity.vault_id)
        contents = sealed_checkpoint.decode(body)
        if offer.covered != sum(seq for seq, _ in contents.frontier.values()):
            raise MalformedEnvelope("the checkpoint holds more or less than its name says")
        return _Opened(header, env_id, contents)

    # ---- judging ----------------------------------------------------------------------------------------------
    def _check_removed(self, opened: _Opened) -> None:
        """Nothing of a removed device beyond what is accepted of it."""
        roster, contents, header = self._identity.roster, opened.contents, opened.header
        if header.chain_id in roster.revoked:
            raise NotYet("the checkpoint's writer was removed: another device has to stand for what it holds")
        if roster.revoked.keys() & contents.tips.keys() - contents.frontier.keys():
            raise NotYet("the checkpoint holds what a removed device never sent")
        try:
            self._ends.check_named(
                Statement(header.chain_id, header.seq, contents.roster_head, dict(contents.frontier))
            )
        except (Revoked, UnknownChain) as error:
            raise NotYet(str(error)) from None  # what is accepted only grows

    def _anchors(self, contents: Checkpoint) -> dict[bytes, Parcel]:
        """The envelopes that the frontier names, from here or from the remote. Each says, signed by its writer, which
        change it ends with."""
        found = {}
        for chain, (seq, env_id) in contents.frontier.items():
            self._check()
            name = names.envelope_name(self._identity.vault_id, chain, seq, env_id)
            with self._ledger.store.read() as reading:
                held = reading.envelope(name)
            try:
                data = held.data if held is not None else self._remote.get(name)
                if held is None:
                    self._received(len(data))
                parcel = open_parcel(name, data, self._identity, self._epochs)
            except (ObjectMissing, Incomplete, UnknownChain, UpdateRequired) as error:
                raise NotYet(f"an envelope that the checkpoint ends with is not there: {error}") from None
            if parcel.env_id != env_id or not parcel.changes:
                raise MalformedEnvelope("the checkpoint's frontier names what its writer did not send")
            if parcel.changes[-1].seq > contents.tips[chain].seq:
                raise MalformedEnvelope("the checkpoint claims to hold more of a chain than it does")
            if chain in self._identity.roster.revoked and parcel.changes[-1].seq < contents.tips[chain].seq:
                raise NotYet("the checkpoint holds more of a removed device than its frontier names")
            found[chain] = parcel
        return found

    def _knows(self, hash: bytes) -> bool:
        """Whether a change is here, as itself or as what stands for it."""
        return self._ledger.engine.has(hash) or self._ledger.state(FORK + hash.hex()) is not None

    @staticmethod
    def _check_anchored(anchors: Mapping[bytes, Parcel], knows: Callable[[bytes], bool]) -> None:
        if not all(knows(parcel.changes[-1].hash) for parcel in anchors.values()):
            raise NotYet("the checkpoint continues another branch of a chain")

    def _keep_anchors(self, put: Callable[..., None], anchors: Mapping[bytes, Parcel]) -> None:
        """Store the anchors that came from the remote, where they continue what is stored."""
        with self._ledger.store.read() as reading:
            applied = tips(reading, self._identity)
            new = [parcel for parcel in anchors.values() if not reading.has_envelope(parcel.name)]
        for parcel in new:
            header = parcel.header
            if header.seq > applied.get(header.chain_id, ev.Tip(0, b"")).seq:
                put(parcel.name, header.chain_id, header.seq, parcel.env_id, header.kind, parcel.data, False)

    # ---- merging ----------------------------------------------------------------------------------------------
    def _merge(
        self, contents: Checkpoint, anchors: Mapping[bytes, Parcel], known: Known, rows: dict[str, Raw] | None
    ) -> frozenset[str]:
        """Make the vault's document one that holds its own and the checkpoint's changes; the entries touched.
        ``rows``: what the checkpoint holds, if it was read already."""
        loaded = Engine.load(contents.document)  # these very bytes were verified
        apart = {chunk_hash(chunk) for chunk in contents.changes}
        self._check_anchored(anchors, lambda hash: loaded.has(hash) or hash in apart)
        sent = self._sent(contents, loaded, apart)
        late = find_late(self._ledger, self._remote, self._identity, self._epochs, anchors)
        for attempt in range(_ATTEMPTS):
            try:
                if attempt == _ATTEMPTS - 1:
                    with self._ledger.lock:
                        self._ledger.refresh()
                        return self._take_over(contents, anchors, known, loaded, sent, late, rows)
                return self._take_over(contents, anchors, known, loaded, sent, late, rows)
            except MissingDependencies:
                continue  # somebody edited meanwhile: merge that in too
        raise NotYet("another program keeps editing this vault")

    def _sent(self, contents: Checkpoint, loaded: Engine, apart: Collection[bytes]) -> dict[bytes, int]:
        """Of own chains how far what is not packed here is in the checkpoint: a restored backup had sent it."""
        places = {(tip.seq, chain) for chain, tips in contents.ends.items() for tip in tips}
        found: dict[bytes, int] = {}
        with self._ledger.store.read():
            for actor in self._ledger.store.own_tips():
                for own in self._ledger.unpacked(actor):
                    hash, number = own.change.hash, own.change.seq
                    if loaded.has(hash) or hash in apart:
                        found[actor] = number
                    elif any(seq >= number for seq, chain in places if chain == actor):
                        raise NotYet("the checkpoint holds others in the place of changes that are not sent yet")
        return found

    def _take_over(
        self,
        contents: Checkpoint,
        anchors: Mapping[bytes, Parcel],
        known: Known,
        loaded: Engine,
        sent: Mapping[bytes, int],
        late: Late,
        rows: dict[str, Raw] | None,
    ) -> frozenset[str]:
        engine = self._ledger.engine
        before, heads = engine.lasts(), engine.heads
        ours = signed_changes(self._ledger)
        theirs = [decode_own(chunk) for chunk in contents.changes]
        contested, theirs_end = rivals(engine, loaded), loaded.heads
        forked = self._join(engine, loaded, [*ours, *theirs], contested) if ours or theirs or contested else None
        merged = self._extend(engine, loaded) if forked is None else forked.engine
        data = contents.document  # verified as it is, if it holds everything
        if forked is not None or merged.heads != theirs_end:
            data, rows = merged.save(), None
            if not Engine.verify_snapshot(data, merged.heads):
                raise NotYet("what the checkpoint and this device hold together cannot be saved")
        touched = frozenset(merged.entry_ids()) if forked else _touched(merged, heads if before else ())
        mine = frozenset(self._identity.own_chains)
        with self._ledger.take_over(merged, data, of=heads, rows=rows) as transaction:
            self._keep_anchors(transaction.store.put_envelope, anchors)
            for chain, tips in contents.ends.items():
                for tip in tips:
                    if chain not in mine and not engine.has(tip.hash):
                        remember_tip(transaction, chain, tip)
            for chain, parcel in anchors.items():
                if parcel.changes[-1].seq > before.get(chain, (0, b""))[0]:
                    transaction.set_state(SEALED + chain.hex(), b"".join(parcel.sealed))
                    transaction.set_state(HEARD + chain.hex(), str(parcel.body.wall_ms).encode())
            note_found(transaction, merged, late)
            note(transaction, known)
            if forked is not None:
                keep(transaction, forked.images, forked.wire, {})
            identity = self._renewed(transaction, sent)
        if identity is not self._identity:
            self._identity = identity
            self._began(identity)
        return touched

    def _extend(self, engine: Engine, loaded: Engine) -> Engine:
        """The checkpoint's document with what is only here."""
        try:
            loaded.apply([chunk for chunk in engine.changes() if not loaded.has(chunk_hash(chunk))])
        except Refused as error:
            raise NotYet(f"the checkpoint and this device hold what does not fit together: {error}") from None
        return loaded

    def _join(self, engine: Engine, loaded: Engine, signed: list[Change], contested: list[Change]) -> Merged:
        """Both documents, where chains forked."""
        try:
            return merge(engine, loaded, signed, contested)
        except (Refused, MissingDependencies) as error:
            raise NotYet(f"the checkpoint and this device hold branches that do not fit together: {error}") from None

    def _renewed(self, transaction: Transaction, sent: Mapping[bytes, int]) -> Identity:
        """Who this device is afterwards: another incarnation, where what it wrote last is not the last of its chain."""
        for chain, seq in sent.items():
            transaction.store.packed_up_to(chain, seq)
        if not lost(transaction, self._identity.chain.id):
            return self._identity
        return renew(transaction, self._identity, self._ledger.entropy)


def _touched(merged: Engine, before: Sequence[bytes]) -> frozenset[str]:
    """The entries to which changes write that are not in the past of ``before``."""
    if not before:
        return frozenset(merged.entry_ids())
    entries = set()
    section = SECTION_OBJECTS[ENTRIES]
    for chunk in merged.changes(before):
        for op in decode_own(chunk).ops:
            if op.obj == section and op.action is Action.MAKE_MAP:
                entries.add(op.key)
            elif op.obj is not None and (place := merged.place(op.obj)) is not None and place.entry:
                entries.add(place.entry)
    return frozenset(entries)

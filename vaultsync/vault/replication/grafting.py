"""Forked chains in a vault: the document holds what `vaultsync.document.transplant` makes of them.

What was signed is kept beside the document where the document holds something else for it. Most envelopes have nothing
to do with a fork and go straight in. The others are placed together with everything that a fork concerns; where that
takes something out of the document again, the document is made anew and takes the place of the journal.

``fork/<hash>``   a change that the document holds another one for: that one's hash, and the change as it was signed
``grafted``       JSON: the actors that stand for others' in the document, in hex, and whose place they take
``sides``         JSON, by chain: the envelopes (number, id) of branches that are not the one followed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vaultsync.document.branches import Apart, Part, fork_start, set_apart
from vaultsync.document.changes import Change
from vaultsync.document.codec import decode_own
from vaultsync.document.engine import Engine
from vaultsync.document.transplant import Resolution, resolve
from vaultsync.errors import MissingDependencies
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Transaction
from vaultsync.vault.replication.incarnation import renew

__all__ = ["FORK", "SIDE", "Grafts", "Unsent", "grafted_actors", "keep", "lost", "signed_changes"]

FORK: Final = "fork/"
GRAFTED: Final = "grafted"
SIDES: Final = "sides"
SIDE: Final = 129
"""Kind, in the store, of an envelope on a branch that is not followed; on remotes it is one like any other."""


class Unsent(Exception):
    """Others stand in the place of own changes that are in no envelope yet. Those are packed first, as a branch: what
    another copy of this file may publish too has to be the same change wherever it comes from."""


@dataclass(frozen=True, slots=True)
class _Signed:
    """A change as it was signed, and the hash of what the document holds for it."""

    change: Change
    image: bytes


class Grafts:
    """The forks that one exchange knows. It is the only writer of them while it holds the pusher's lock."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._signed: dict[bytes, _Signed] = {}
        self._versions: frozenset[bytes] = frozenset()  # of changes, as somebody had them who knew less
        self._looked: tuple[int, frozenset[bytes]] = 0, frozenset()
        self.sides: dict[bytes, dict[bytes, int]] = {}

    def load(self) -> None:
        """From the store."""
        self._signed = _stored(self._ledger)
        sides = self._ledger.state(SIDES)
        self.sides = {
            bytes.fromhex(chain): {bytes.fromhex(env_id): seq for seq, env_id in places}
            for chain, places in (json.loads(sides) if sides else {}).items()
        }

    def knows(self, hash: bytes) -> bool:
        """Whether a change is in the document, as itself or as something else."""
        return self._ledger.engine.has(hash) or hash in self._signed or hash in self._versions

    def unknown(self, hashes: Iterable[bytes]) -> set[bytes]:
        """Those that `knows` says no of."""
        return self._ledger.engine.lacks(hashes) - self._signed.keys() - self._versions

    def forked(self, chain: bytes) -> bool:
        """Whether a chain is known here to have several branches."""
        return chain in self.sides or any(signed.change.actor == chain for signed in self._signed.values())

    def explain(self, missing: frozenset[bytes]) -> list[bytes]:
        """Of hashes that envelopes wait for those that are known after all, if under other names."""
        found = [hash for hash in missing if self.knows(hash)]
        looked = len(self._signed), missing
        if found or not missing or not self._signed or looked == self._looked:
            return found
        self._looked = looked
        engine = self._ledger.engine
        apart = self._apart(engine, ())
        self._versions |= resolve(apart.wire.values(), Part(engine, apart.beyond), wanted=missing).versions
        return [hash for hash in missing if self.knows(hash)]

    def needed(self, changes: Sequence[Change], missing: frozenset[bytes]) -> frozenset[bytes]:
        """Of changes that are not here those that envelopes wait for, under their own name or that of what would stand
        for them here."""
        fresh = [change for change in changes if not self.knows(change.hash)]
        if not fresh:
            return frozenset()
        engine = self._ledger.engine
        apart = self._apart(engine, fresh)
        images = resolve(apart.wire.values(), Part(engine, apart.beyond)).images
        return frozenset(
            change.hash
            for change in fresh
            if change.hash in missing or (change.hash in images and images[change.hash].hash in missing)
        )

    def take(self, transaction: Transaction, identity: Identity, changes: Sequence[Change], chain: bytes) -> Identity:
        """Let the changes of one unit in, all or none; who this device is afterwards.

        Raises `Refused`, `MissingDependencies` and `Unsent`; what is kept here is not to be relied on then before
        `load`.
        """
        engine = transaction.engine
        self._published(transaction, chain, changes)
        lacking = engine.lacks(change.hash for change in changes) - self._signed.keys()
        fresh = [change for change in changes if change.hash in lacking]
        if self._plain(engine, fresh):
            transaction.apply(changes if not self._signed else fresh, actor=chain)
        else:
            self._graft(transaction, fresh)
        if lost(transaction, identity.chain.id):
            identity = renew(transaction, identity, self._ledger.entropy)
        return identity

    def beside(self, transaction: Transaction, chain: bytes, places: Mapping[bytes, int]) -> None:
        """Note envelopes (id -> number) of a branch that is not followed."""
        self.sides.setdefault(chain, {}).update(places)
        rows = {
            key.hex(): [[seq, env_id.hex()] for env_id, seq in branch.items()] for key, branch in self.sides.items()
        }
        transaction.set_state(SIDES, json.dumps(rows).encode())

    # ---- what is to be done -----------------------------------------------------------------------------------
    def _plain(self, engine: Engine, fresh: Sequence[Change]) -> bool:
        """Whether these go in as they are, or are refused as they would be without any fork."""
        coming: set[bytes] = set()
        contested = {(signed.change.actor, signed.change.seq) for signed in self._signed.values()}
        lasts = {actor: engine.last_seq(actor) for actor in {change.actor for change in fresh}}
        for change in fresh:
            if change.seq <= lasts[change.actor] or (change.actor, change.seq) in contested:
                return False
            if self._signed and not all(engine.has(dep) or dep in coming for dep in change.deps):
                return False
            coming.add(change.hash)
        return True

    def _published(self, transaction: Transaction, chain: bytes, changes: Sequence[Change]) -> None:
        """Own changes that come back from a remote are not packed again: a restored backup finds what it had sent."""
        tip = transaction.store.own_tip(chain)
        if tip is None or tip.packed == tip.seq:
            return
        known = [change.seq for change in changes if transaction.engine.has(change.hash)]
        if known and max(known) > tip.packed:
            transaction.store.packed_up_to(chain, min(max(known), tip.seq))

    # ---- doing it ---------------------------------------------------------------------------------------------
    def _graft(self, transaction: Transaction, fresh: Sequence[Change]) -> None:
        engine = transaction.engine
        if self._unsent(transaction, fresh):
            raise Unsent
        apart = self._apart(engine, fresh)
        beyond = apart.beyond
        found = resolve(apart.wire.values(), Part(engine, beyond))
        self._check(found, fresh)
        after = {image.hash: image for image in found.images.values()}
        added = sorted((after[hash] for hash in after.keys() - beyond.keys()), key=_causal)
        if beyond.keys() <= after.keys():
            transaction.apply(added)
        else:
            kept = [change.chunk for hash, change in beyond.items() if hash in after]
            renewed = Engine.load(None, [*apart.below, *kept])
            renewed.apply(added)
            transaction.replace(renewed)
        self._signed |= keep(transaction, found.images, apart.wire, self._signed)

    @staticmethod
    def _unsent(transaction: Transaction, fresh: Sequence[Change]) -> bool:
        """Whether any of these stands in the place of an own change that is in no envelope yet."""
        tips = {tip.actor: tip for tip in transaction.store.own_tips()}
        return any(
            (tip := tips.get(change.actor)) is not None and tip.packed < change.seq <= tip.seq for change in fresh
        )

    def _apart(self, engine: Engine, fresh: Sequence[Change]) -> Apart:
        """The document where the first of the forks begins, with changes that come in."""
        signed = [one.change for one in self._signed.values()]
        found = set_apart(engine, signed, fork_start(engine, [*fresh, *signed]))
        return replace(found, wire={**found.wire, **{change.hash: change for change in fresh}})

    @staticmethod
    def _check(found: Resolution, fresh: Sequence[Change]) -> None:
        coming = {change.hash for change in fresh}
        for change in fresh:
            if change.hash in found.refused:
                raise found.refused[change.hash]
        missing = {dep for change in fresh for dep in found.waiting.get(change.hash, ()) if dep not in coming}
        if missing:
            raise MissingDependencies(tuple(sorted(missing)))


def lost(transaction: Transaction, chain: bytes) -> bool:
    """Whether the last change of this incarnation is not the last of its chain in the document."""
    tip = transaction.store.own_tip(chain)
    last = transaction.engine.last_seq(chain)
    if tip is None:
        return last > 0
    return last != tip.seq or not transaction.engine.has(tip.hash)


def keep(
    transaction: Transaction,
    images: Mapping[bytes, Change],
    wire: Mapping[bytes, Change],
    before: Mapping[bytes, _Signed],
) -> dict[bytes, _Signed]:
    """Store of ``wire`` what the document holds others for; returns what is new."""
    stored = transaction.state(GRAFTED)
    actors: dict[str, str] = json.loads(stored) if stored else {}
    new = {}
    for hash, image in images.items():
        if image.hash == hash:
            continue
        actors[image.actor.hex()] = wire[hash].actor.hex()
        if hash not in before or before[hash].image != image.hash:
            new[hash] = _Signed(wire[hash], image.hash)
            transaction.set_state(FORK + hash.hex(), image.hash + wire[hash].chunk)
    if actors:
        transaction.set_state(GRAFTED, json.dumps(actors).encode())
    return new


def _stored(ledger: Ledger) -> dict[bytes, _Signed]:
    return dict(ledger.parsed(FORK, lambda name, row: (bytes.fromhex(name), _Signed(decode_own(row[32:]), row[:32]))))


def signed_changes(ledger: Ledger) -> list[Change]:
    """The changes for which the document holds others, as they were signed."""
    return [one.change for one in _stored(ledger).values()]


def grafted_actors(state: Callable[[str], bytes | None]) -> dict[bytes, bytes]:
    """Actors that stand for others' in the document, and whose place they take."""
    stored = state(GRAFTED)
    return {bytes.fromhex(one): bytes.fromhex(of) for one, of in (json.loads(stored) if stored else {}).items()}


def _causal(change: Change) -> tuple[int, bytes]:
    return change.start_op, change.hash

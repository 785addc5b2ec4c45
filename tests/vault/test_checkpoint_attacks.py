"""Checkpoints made by a member that does not follow the rules, and by whoever can write to the remote.

Named by attack. Whatever is served, the device that reads it refuses with a reason, keeps what it has, and syncs on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Callable

import pytest

import vaultsync as vs
from vaultsync import limits
from vaultsync.crypto import checkpoint as crypto
from vaultsync.crypto import envelope
from vaultsync.crypto.body import sign_tip
from vaultsync.crypto.checkpoint import Checkpoint, Tip
from vaultsync.document.branches import recompute
from vaultsync.document.changes import chunk_hash, encode
from vaultsync.document.codec import decode_own
from vaultsync.document.engine import Engine
from vaultsync.errors import Refused, UnknownChain
from vaultsync.testing import MemoryRemote, memory_vault
from vaultsync.testing.seeded import Clock, environment
from vaultsync.vault.replication.checkpoints import known_checkpoints, parts_of, signed_ends
from vaultsync.vault.replication.parcels import tips

SCHEMA = vs.Schema(
    "t", version=1, platform="linux", types=[vs.EntryType("login", label="Login", fields=[vs.Field("title", vs.text)])]
)
CHANGES = 200


class Insider:
    """A vault of two devices. The second one makes checkpoints as it likes, with its own keys; the victim joins later
    or was away."""

    def __init__(self, edits: int, seed: str) -> None:
        self.remote, self.clock = MemoryRemote(), Clock()
        world = environment(f"{seed}/laptop", clock=self.clock)
        self.laptop = memory_vault(SCHEMA, remote=self.remote, environment=world, device="Laptop")
        self.insider = self.device("Insider", seed)
        self.victim = self.device("Victim", seed)
        entry = self.laptop.add("login", title="t")
        for number in range(edits):
            self.laptop.update(entry.id, title=f"t{number}")
            if number % 10 == 9:
                self.laptop.sync()
        self.laptop.sync()
        self.insider.add("login", title="of the insider")
        self.insider.sync()
        self.seed = seed

    def device(self, name: str, seed: str) -> vs.Vault:
        return memory_vault(
            SCHEMA, joins=self.laptop, environment=environment(f"{seed}/{name}", clock=self.clock), device=name
        )

    def honest(self) -> Checkpoint:
        ledger, identity = self.insider._ledger, self.insider._works.identity
        with ledger.store.read() as reading:
            ends = signed_ends(ledger, reading, identity, identity.epoch_keys(), recompute(ledger.engine, ()))
            applied = tips(reading, identity)
        assert ends is not None
        signed = {chain: tips_of[-1] for chain, tips_of in ends.items()}
        frontier = {chain: (tip.seq, tip.env_id) for chain, tip in applied.items() if chain in signed}
        return Checkpoint(ledger.engine.save(), signed, frontier, identity.roster.head, 0)

    def sealed(self, made: Checkpoint, **header: object) -> tuple[envelope.Sealed, list[tuple[str, bytes]]]:
        identity = self.insider._works.identity
        epoch = identity.epoch_keys()[identity.roster.epoch]
        head = envelope.Header(
            envelope.Kind.CHECKPOINT, identity.vault_id, identity.chain.id, epoch.id, 1, envelope.FIRST
        )
        head = dataclasses.replace(head, **header)  # type: ignore[arg-type]
        entropy = environment(self.seed + repr(made.frontier) + str(len(made.document))).entropy
        sealed = envelope.seal(head, crypto.encode(made), identity.keys, epoch, entropy)
        return sealed, list(parts_of(identity.vault_id, sealed.env_id, identity.chain.id, made.frontier, sealed.data))

    def serve(self, made: Checkpoint, **header: object) -> None:
        for name, data in self.sealed(made, **header)[1]:
            self.remote.put(name, data)


def titles(vault: vs.Vault) -> set[str]:
    return {str(entry["title"]) for entry in vault.view().entries}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Insider:
    monkeypatch.setattr(limits, "CATCH_UP_ENVELOPES", 2)
    return Insider(30, "insider")


def refused(world: Insider) -> None:
    """The victim set something aside, and has everything all the same, from the envelopes."""
    report = world.victim.sync()
    assert report.received >= 3
    assert titles(world.victim) == titles(world.laptop) | titles(world.insider)
    assert not known_checkpoints(world.victim._ledger)
    with world.victim._ledger.store.read() as reading:
        assert any("/ckpt/" in name for name in reading.quarantined_names())
    again = world.victim.sync()
    assert again.bytes_received == 0  # it is not fetched again


def test_an_honest_checkpoint_is_taken(world: Insider):
    world.serve(world.honest())
    report = world.victim.sync()
    assert report.received < 3
    assert titles(world.victim) == titles(world.laptop) | titles(world.insider)
    assert len(known_checkpoints(world.victim._ledger)) == 1


def forged_chain(chunks: list[bytes], at: int, key: str | None = None) -> list[bytes]:
    """The history with change ``at`` altered (its last value, or the one of ``key``) and everything after it made anew
    upon it."""
    moved: dict[bytes, bytes] = {}
    made = []
    for index, chunk in enumerate(chunks):
        change = decode_own(chunk)
        ops = list(change.ops)
        if index == at:
            last = max(n for n, op in enumerate(ops) if op.action != 0 and key in (None, op.key))
            ops[last] = ops[last]._replace(value="forged") if ops[last].action == 1 else ops[last]._replace(key="x")
        deps = tuple(sorted(moved.get(dep, dep) for dep in change.deps))
        new = encode(change.actor, change.seq, change.start_op, deps, ops)
        moved[change.hash] = chunk_hash(new)
        made.append(new)
    return made


def test_p16_insider_forges_any_change_of_a_200_change_history(monkeypatch: pytest.MonkeyPatch):
    """With a document that really loads, and really passes the gate: what gives it away are the tips."""
    world = Insider(CHANGES, "forger")
    honest, identity = world.honest(), world.insider._works.identity
    chunks = Engine.load(honest.document).changes()
    own = identity.chain.id
    count = 0
    for at in range(1, len(chunks)):
        victim = decode_own(chunks[at]).actor
        if victim == own:
            continue  # whoever forges its own history signs for it
        forged = Engine.load(None, forged_chain(chunks, at))
        last = forged.lasts()
        signed = {
            chain: Tip(seq, name, sign_tip(identity.keys, identity.vault_id, chain, seq, name))
            for chain, (seq, name) in last.items()
        }
        for with_tips in (honest.tips, signed):
            with pytest.raises(Refused):
                crypto.verify(
                    dataclasses.replace(honest, document=forged.save(), tips=with_tips),
                    recompute(forged, ()),
                    identity.roster,
                    identity.vault_id,
                )
        count += 1
    assert count >= CHANGES


def test_p16_insider_drops_the_end_of_a_history_at_any_change(monkeypatch: pytest.MonkeyPatch):
    world = Insider(CHANGES, "dropper")
    honest, identity = world.honest(), world.insider._works.identity
    chunks = Engine.load(honest.document).changes()
    for at in range(2, len(chunks)):
        cut = Engine.load(None, chunks[:at])
        with pytest.raises(Refused):
            crypto.verify(
                dataclasses.replace(honest, document=cut.save()), recompute(cut, ()), identity.roster, identity.vault_id
            )


def _forged_document(world: Insider, honest: Checkpoint) -> Checkpoint:
    chunks = Engine.load(honest.document).changes()
    return dataclasses.replace(honest, document=Engine.load(None, forged_chain(chunks, len(chunks) // 2)).save())


def _dropped(world: Insider, honest: Checkpoint) -> Checkpoint:
    return dataclasses.replace(honest, document=Engine.load(None, Engine.load(honest.document).changes()[:-5]).save())


def _orphans(world: Insider, honest: Checkpoint) -> Checkpoint:
    return dataclasses.replace(honest, document=honest.document + Engine.load(honest.document).changes()[-1])


def _garbage(world: Insider, honest: Checkpoint) -> Checkpoint:
    return dataclasses.replace(honest, document=random.Random(1).randbytes(5_000))


def _frontier_too_far(world: Insider, honest: Checkpoint) -> Checkpoint:
    """It really holds less than its frontier names: whoever believed that would never ask for the rest."""
    chunks = Engine.load(honest.document).changes()
    less = Engine.load(None, chunks[: len(chunks) // 2])
    writers = {vault._works.identity.chain.id: vault for vault in (world.laptop, world.insider, world.victim)}
    signed = {}
    for chain, (seq, name) in less.lasts().items():
        writer = writers[chain]._works.identity  # its tip of that moment, which came by in an envelope
        signed[chain] = Tip(seq, name, sign_tip(writer.keys, writer.vault_id, chain, seq, name))
    frontier = {chain: place for chain, place in honest.frontier.items() if chain in signed}
    return Checkpoint(less.save(), signed, frontier, honest.roster_head, 0)


def _foreign_anchor(world: Insider, honest: Checkpoint) -> Checkpoint:
    """The frontier of one chain names the envelope of another."""
    laptop, own = world.laptop._works.identity.chain.id, world.insider._works.identity.chain.id
    return dataclasses.replace(honest, frontier={**honest.frontier, laptop: honest.frontier[own]})


def _foreign_tip(world: Insider, honest: Checkpoint) -> Checkpoint:
    laptop, own = world.laptop._works.identity.chain.id, world.insider._works.identity.chain.id
    return dataclasses.replace(honest, tips={**honest.tips, laptop: honest.tips[own]})


@pytest.mark.parametrize("attack", [_forged_document, _dropped, _orphans, _garbage, _frontier_too_far, _foreign_tip])
def test_insider_serves(world: Insider, attack: Callable[[Insider, Checkpoint], Checkpoint]):
    world.serve(attack(world, world.honest()))
    refused(world)


def test_insider_names_an_anchor_that_does_not_exist(world: Insider):
    """Perhaps it is only late: the checkpoint is of no use, and nothing else changes."""
    world.serve(_foreign_anchor(world, world.honest()))
    world.victim.sync()
    assert titles(world.victim) == titles(world.laptop) | titles(world.insider)
    assert not known_checkpoints(world.victim._ledger)


def test_insider_writes_in_anothers_name(world: Insider):
    """A header with the laptop's chain, signed with the insider's key."""
    made = world.honest()
    identity, laptop = world.insider._works.identity, world.laptop._works.identity.chain.id
    sealed, _ = world.sealed(made, chain_id=laptop)
    for name, data in parts_of(identity.vault_id, sealed.env_id, laptop, made.frontier, sealed.data):
        world.remote.put(name, data)
    refused(world)


def test_a_checkpoint_of_another_vault(world: Insider):
    """Served by the remote under names of this one."""
    other = Insider(12, "another vault")
    made = other.honest()
    sealed, _ = other.sealed(made)
    identity = world.insider._works.identity
    for name, data in parts_of(identity.vault_id, sealed.env_id, identity.chain.id, made.frontier, sealed.data):
        world.remote.put(name, data)
    world.victim.sync()
    assert titles(world.victim) == titles(world.laptop) | titles(world.insider)
    assert not known_checkpoints(world.victim._ledger)


def test_an_epoch_that_nobody_granted(world: Insider):
    made = world.honest()
    with pytest.raises(ValueError, match="epoch"):
        world.sealed(made, epoch_id=bytes(8))
    _, parts = world.sealed(made)
    (name, data), *_ = parts
    swapped = data[:40] + bytes(8) + data[48:]
    env_id = envelope.peek(swapped)[1]
    identity = world.insider._works.identity
    for name, data in parts_of(identity.vault_id, env_id, identity.chain.id, made.frontier, swapped):
        world.remote.put(name, data)
    world.victim.sync()
    assert titles(world.victim) == titles(world.laptop) | titles(world.insider)
    assert not known_checkpoints(world.victim._ledger)


def test_any_byte_changed_and_any_part_swapped(world: Insider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "CHECKPOINT_PART_BYTES", 900)
    _, parts = world.sealed(world.honest())
    rng = random.Random(3)
    for number in range(12):
        for name in [name for name in world.remote.objects if "/ckpt/" in name]:
            del world.remote.objects[name]
        served = dict(parts)
        name = rng.choice(sorted(served))
        if number % 3 == 0:
            other = rng.choice(sorted(set(served) - {name}))
            served[name], served[other] = served[other], served[name]
        elif number % 3 == 1:
            at = rng.randrange(len(served[name]))
            served[name] = served[name][:at] + bytes([served[name][at] ^ 1]) + served[name][at + 1 :]
        else:
            served[name] = served[name][: rng.randrange(len(served[name]))]
        world.remote.objects.update(served)
        world.victim.sync()
        assert not known_checkpoints(world.victim._ledger)
    assert titles(world.victim) == titles(world.laptop) | titles(world.insider)
    world.remote.objects.update(dict(parts))  # complete at last


def test_hundreds_of_checkpoints_that_are_none(world: Insider):
    """Whoever may write to the remote makes names up. A pass looks at a few, and goes on."""
    identity = world.insider._works.identity
    for number in range(300):
        data = hashlib.sha256(str(number).encode()).digest() * 20
        frontier = {bytes(16): (1_000_000 + number, bytes(32))}
        for name, piece in parts_of(
            identity.vault_id, hashlib.sha256(data).digest(), identity.chain.id, frontier, data
        ):
            world.remote.put(name, piece)
    report = world.victim.sync()
    assert titles(world.victim) == titles(world.laptop) | titles(world.insider)
    assert report.bytes_received < 100_000


def test_a_tip_of_a_chain_that_nobody_announced():
    world = Insider(3, "unannounced")
    honest, identity = world.honest(), world.insider._works.identity
    stranger = bytes(range(16))
    more = dataclasses.replace(honest, tips={**honest.tips, stranger: Tip(1, bytes(32), bytes(64))})
    last = {**recompute(Engine.load(honest.document), ()), stranger: ((1, bytes(32)),)}
    with pytest.raises(UnknownChain):
        crypto.verify(more, last, identity.roster, identity.vault_id)

from __future__ import annotations

import dataclasses
import hashlib
import random
from typing import NamedTuple

import pytest

from tests.crypto.given import Seeded, cuts, flips, world
from vaultsync.crypto import body, packing
from vaultsync.crypto.checkpoint import Checkpoint, Tip, decode, encode, verify
from vaultsync.crypto.keys import Chain
from vaultsync.errors import BadSignature, MalformedEnvelope, UnknownChain, UpdateRequired

W = world()
VAULT = W.roster.vault_id
SECOND = Chain.new(W.phone.public.id, Seeded("second chain"))
ROSTER, _ = W.roster.add_chain(W.phone, SECOND)
WRITERS = {W.laptop_chain.id: W.laptop, W.phone_chain.id: W.phone, SECOND.id: W.phone}


class Change(NamedTuple):
    """As much of a change as matters: its hash commits to everything before it."""

    actor: bytes
    seq: int
    deps: tuple[bytes, ...]
    text: str

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(repr(tuple(self)).encode()).digest()


def history(count: int = 200) -> list[Change]:
    rng, made = random.Random(1), list[Change]()
    for at in range(count):
        actor = rng.choice(sorted(WRITERS))
        mine = [change.hash for change in made if change.actor == actor][-1:]
        deps = tuple(sorted({*mine, *(change.hash for change in rng.sample(made, min(2, len(made))))}))
        made.append(Change(actor, 1 + sum(change.actor == actor for change in made), deps, f"text {at}"))
    return made


HISTORY = history()


def last_of(changes: list[Change]) -> dict[bytes, tuple[tuple[int, bytes]]]:
    """What a reader finds in a document: one branch of each chain."""
    return {change.actor: ((change.seq, change.hash),) for change in sorted(changes, key=lambda change: change.seq)}


def certified(changes: list[Change]) -> Checkpoint:
    tips = {
        actor: Tip(seq, name, body.sign_tip(WRITERS[actor], VAULT, actor, seq, name))
        for actor, ((seq, name),) in last_of(changes).items()
    }
    frontier = {actor: (seq, hashlib.sha256(actor).digest()) for actor, ((seq, _),) in last_of(changes).items()}
    return Checkpoint(b"saved document", tips, frontier, ROSTER.head, 3)


def rebuilt(changes: list[Change], at: int, change: Change | None) -> list[Change]:
    """The history with one change replaced or left out, and everything after it moved onto the new hashes: a document
    with a dependency missing does not load at all."""
    moved: dict[bytes, bytes] = {}
    gone = {changes[at].hash} if change is None else set()
    result = []
    for index, old in enumerate(changes):
        new = change if index == at else old
        if new is None:
            continue
        new = new._replace(deps=tuple(sorted(moved.get(dep, dep) for dep in new.deps if dep not in gone)))
        moved[old.hash] = new.hash
        result.append(new)
    return result


def test_a_checkpoint_there_and_back_is_verified_by_its_writers_tips() -> None:
    checkpoint = certified(HISTORY)
    assert decode(encode(checkpoint)) == checkpoint
    verify(checkpoint, last_of(HISTORY), ROSTER, VAULT)
    assert "saved" not in repr(checkpoint)


def test_p16_checkpoint_that_forges_any_change_below_a_tip_is_refused() -> None:
    checkpoint = certified(HISTORY)
    for at, change in enumerate(HISTORY):
        with pytest.raises(MalformedEnvelope):
            verify(checkpoint, last_of(rebuilt(HISTORY, at, change._replace(text="forged"))), ROSTER, VAULT)


def test_p16_checkpoint_that_drops_any_change_below_a_tip_is_refused() -> None:
    checkpoint = certified(HISTORY)
    for at in range(len(HISTORY)):
        with pytest.raises(MalformedEnvelope):
            verify(checkpoint, last_of(rebuilt(HISTORY, at, None)), ROSTER, VAULT)
        with pytest.raises(MalformedEnvelope):
            verify(checkpoint, last_of(HISTORY[:at]), ROSTER, VAULT)


def test_insider_signs_the_tip_of_another_chain() -> None:
    checkpoint, last = certified(HISTORY), last_of(HISTORY)
    actor = W.laptop_chain.id
    ((seq, _),) = last[actor]
    forged_hash = hashlib.sha256(b"forged").digest()
    for keys, signed in ((W.phone, (VAULT, actor, seq)), (W.laptop, (bytes(16), actor, seq))):
        tip = Tip(seq, forged_hash, body.sign_tip(keys, *signed, forged_hash))
        forged = dataclasses.replace(checkpoint, tips={**checkpoint.tips, actor: tip})
        with pytest.raises(BadSignature):
            verify(forged, {**last, actor: ((seq, forged_hash),)}, ROSTER, VAULT)
    swapped = {**checkpoint.tips, actor: checkpoint.tips[SECOND.id]}
    with pytest.raises((BadSignature, MalformedEnvelope)):
        verify(dataclasses.replace(checkpoint, tips=swapped), last, ROSTER, VAULT)


def test_a_tip_missing_too_many_or_of_nobody() -> None:
    checkpoint, last = certified(HISTORY), last_of(HISTORY)
    fewer = {actor: tip for actor, tip in checkpoint.tips.items() if actor != SECOND.id}
    with pytest.raises(MalformedEnvelope):
        verify(dataclasses.replace(checkpoint, tips=fewer), last, ROSTER, VAULT)
    with pytest.raises(MalformedEnvelope):
        verify(checkpoint, {actor: at for actor, at in last.items() if actor != SECOND.id}, ROSTER, VAULT)
    with pytest.raises(UnknownChain):
        verify(checkpoint, last, W.roster, VAULT)


def test_every_branch_of_a_forked_chain_is_signed_for() -> None:
    checkpoint, last = certified(HISTORY), last_of(HISTORY)
    actor, other = W.laptop_chain.id, hashlib.sha256(b"the other branch").digest()
    ((seq, name),) = last[actor]
    ends = {**last, actor: ((seq, other), (seq, name))}
    tip = Tip(seq, other, body.sign_tip(W.laptop, VAULT, actor, seq, other))
    forked = dataclasses.replace(checkpoint, others=((actor, tip),), changes=(b"as it was signed",))
    assert decode(encode(forked)) == forked
    verify(forked, ends, ROSTER, VAULT)
    with pytest.raises(MalformedEnvelope):
        verify(forked, last, ROSTER, VAULT)
    with pytest.raises(MalformedEnvelope):
        verify(checkpoint, ends, ROSTER, VAULT)
    stolen = tip._replace(signature=body.sign_tip(W.phone, VAULT, actor, seq, other))
    with pytest.raises(BadSignature):
        verify(dataclasses.replace(forked, others=((actor, stolen),)), ends, ROSTER, VAULT)


def test_a_checkpoint_of_a_removed_devices_changes_is_still_verified() -> None:
    removed, _ = ROSTER.remove(W.recovery, [W.phone.public.id], {}, entropy=Seeded("removal"))
    verify(certified(HISTORY), last_of(HISTORY), removed, VAULT)


def test_what_a_checkpoint_covers() -> None:
    checkpoint = certified(HISTORY)
    chain = W.laptop_chain.id
    (seq, env_id), tip = checkpoint.frontier[chain], checkpoint.tips[chain]
    assert checkpoint.covers(chain, seq, env_id, change=tip.seq)
    assert checkpoint.covers(chain, seq - 1, bytes(32), change=tip.seq - 1)
    assert not checkpoint.covers(chain, seq, bytes(32), change=tip.seq)
    assert not checkpoint.covers(chain, seq + 1, env_id, change=tip.seq)
    assert not checkpoint.covers(chain, seq, env_id, change=tip.seq + 1)  # claims an envelope whose changes it lacks
    assert not checkpoint.covers(bytes(16), 1, env_id, change=1)


def test_every_flipped_bit_and_every_cut_is_malformed_or_does_not_verify() -> None:
    checkpoint, last = certified(HISTORY), last_of(HISTORY)
    data = encode(checkpoint)
    for broken in (*flips(data), *cuts(data)):
        try:
            read = decode(broken)
        except (MalformedEnvelope, UpdateRequired):
            continue
        assert len(broken) == len(data)
        if read.tips != checkpoint.tips:
            with pytest.raises((BadSignature, MalformedEnvelope)):
                verify(read, last, ROSTER, VAULT)


def test_hostile_contents_and_later_versions() -> None:
    _, *rest = packing.unpack(encode(certified(HISTORY)), max_bytes=1 << 20)
    with pytest.raises(UpdateRequired):
        decode(packing.pack((3, *rest)))
    document, tips, frontier, head, generation = rest
    for fields in (
        (b"", tips, frontier, head, generation),
        (document, tips[::-1], frontier, head, generation),
        (document, tips[:1] * 2, frontier[:1], head, generation),
        (document, tips, frontier[::-1], head, generation),
        (document, tips[1:], frontier, head, generation),
        (document, tips, frontier, head[1:], generation),
        (document, tips, frontier, head, -1),
        (document, tips, frontier, head),
    ):
        with pytest.raises(MalformedEnvelope):
            decode(packing.pack((1, *fields)))
    with pytest.raises(ValueError, match="checkpoint"):
        encode(dataclasses.replace(certified(HISTORY), tips={}))

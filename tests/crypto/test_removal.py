"""Removing, rotating, renewing, acknowledging: what each may do, and what they amount to beside each other."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.given import EXAMPLES, Seeded, cuts, device, flips, world
from vaultsync import limits
from vaultsync.crypto.epochs import grant, link
from vaultsync.crypto.keys import Chain, DeviceKeys, EpochKey
from vaultsync.crypto.roster import Roster
from vaultsync.crypto.roster_entry import Claim, Mark, Op, build, context_of, decode, entry_hash, prove_renewal
from vaultsync.errors import (
    BadSeal,
    BadSignature,
    MalformedRoster,
    Refused,
    UnknownChain,
    UpdateRequired,
    UsageError,
    VaultSyncError,
    WeakKey,
)

W = world()
STRANGER, NEW_RECOVERY, OTHER_RECOVERY, TABLET = map(device, ("stranger", "new recovery", "other recovery", "tablet"))
TABLET_CHAIN = Chain.new(TABLET.public.id, Seeded("tablet chain"))
R3, ADD_TABLET = W.roster.add_device(W.laptop, Claim.make(TABLET, TABLET_CHAIN, W.roster.vault_id))
"""Laptop (founder), phone and tablet."""
NOTHING: dict[bytes, tuple[int, bytes]] = {}


def without(
    roster: Roster, *gone: DeviceKeys, author: DeviceKeys = W.recovery, seed: str = "", **applied: int
) -> Roster:
    chains = {"phone": W.phone_chain.id, "tablet": TABLET_CHAIN.id, "laptop": W.laptop_chain.id}
    frontier = {chains[name]: (seq, bytes([seq]) * 32) for name, seq in applied.items()}
    ids = [keys.public.id for keys in gone]
    return roster.remove(author, ids, frontier, entropy=Seeded(f"epoch {seed}{len(roster.log)}"))[0]


def both(one: Roster, *others: Roster) -> Roster:
    return one.merge(entry.data for other in others for entry in other.log)


def newcomer(roster: Roster, sponsor: DeviceKeys, name: str) -> tuple[Roster, DeviceKeys]:
    keys = device(name)
    claim = Claim.make(keys, Chain.new(keys.public.id, Seeded(f"chain of {name}")), roster.vault_id)
    return roster.add_device(sponsor, claim)[0], keys


def written(op: Op, author: DeviceKeys, subject: object, on: Roster = R3) -> bytes:
    return build(op, n=on.log[-1].n + 1, prev=on.heads, author=author, subject=subject)


def reason(entry: bytes, roster: Roster = R3) -> VaultSyncError:
    after = roster.merge([entry])
    assert (after.log, after.members, after.epoch) == (roster.log, roster.members, roster.epoch)
    return after.refused[entry_hash(entry)]


def new_epoch(*to: DeviceKeys, on: Roster = R3, epoch: EpochKey | None = None) -> tuple[object, object]:
    epoch = epoch or EpochKey.generate(Seeded("an epoch"))
    context = context_of(on.vault_id, on.heads)
    links = tuple(sorted(tuple(link(epoch, key)) for key in on.epoch_keys(W.recovery).values()))
    return (epoch.check, links), tuple(sorted(tuple(grant(epoch, keys.public, context)) for keys in to))


REST = (W.recovery, W.laptop, TABLET)


# ---- what each does ---------------------------------------------------------------------------------------------


def test_p15_a_removed_device_is_no_member_and_has_no_key_of_the_new_epoch() -> None:
    after = without(R3, W.phone, phone=4)
    assert set(after.members) == {keys.public.id for keys in REST}
    assert set(after.former) == {W.phone.public.id}
    assert after.device_of(W.phone_chain.id).id == W.phone.public.id  # its envelopes can still be verified
    assert after.epoch != R3.epoch
    for keys in REST:
        assert set(after.epoch_keys(keys)) == {R3.epoch, after.epoch}
    assert set(after.epoch_keys(W.phone)) == {R3.epoch}
    end = after.revoked[W.phone_chain.id]
    assert end.pins == {(4, bytes([4]) * 32)}
    assert (end.acks, end.removals, end.device) == (frozenset(), {after.head}, W.phone.public.id)
    assert not after.needs_rotation
    assert not after.ungranted


def test_p9_the_previous_key_is_sealed_under_the_new_one_and_never_the_reverse() -> None:
    after = without(without(R3, W.phone), TABLET)
    first, second, third = R3.epoch, decode(after.log[-2].data).epoch, decode(after.log[-1].data).epoch
    assert second is not None
    assert third is not None
    assert [older.check[:8] for older in second.links] == [first]
    assert [older.check[:8] for older in third.links] == [second.id]
    assert set(after.epoch_keys(TABLET)) == {first, second.id}
    assert after.came_before(first, third.id)
    assert after.came_before(second.id, third.id)
    assert not after.came_before(third.id, second.id)


def test_rotating_alone_changes_the_epoch_and_nobody() -> None:
    after, _ = R3.rotate(W.recovery, entropy=Seeded("rotation"))
    assert after.members == R3.members
    assert after.epoch != R3.epoch
    assert all(set(after.epoch_keys(keys)) == {R3.epoch, after.epoch} for keys in (W.phone, W.laptop, TABLET))


def test_every_remaining_device_owes_one_ack_and_is_heard() -> None:
    after = without(R3, W.phone, phone=4)
    assert [after.ack_due(keys.public.id) for keys in (W.laptop, TABLET, W.phone, W.recovery)] == [
        True,
        True,
        False,
        False,
    ]
    acked, entry = after.ack(W.laptop, {W.phone_chain.id: (6, b"6" * 32), TABLET_CHAIN.id: (9, b"9" * 32)})
    assert decode(entry).marks == (Mark(W.phone_chain.id, 6, b"6" * 32),)  # only of chains that ended
    assert acked.revoked[W.phone_chain.id].acks == {(6, b"6" * 32)}
    assert not acked.ack_due(W.laptop.public.id)
    assert acked.ack_due(TABLET.public.id)
    nothing, entry = acked.ack(TABLET, NOTHING)
    assert decode(entry).marks == ()
    assert not nothing.ack_due(TABLET.public.id)
    assert nothing.revoked == acked.revoked


def test_a_renewed_recovery_identity_loses_all_power() -> None:
    after, entry = R3.renew(W.recovery, NEW_RECOVERY, entropy=Seeded("renewal"))
    assert after.recovery.id == NEW_RECOVERY.public.id
    assert W.recovery.public.id in after.former
    assert set(after.epoch_keys(W.recovery)) == {R3.epoch}  # the thief reads nothing new
    for keys in (NEW_RECOVERY, W.laptop, W.phone, TABLET):
        assert set(after.epoch_keys(keys)) == {R3.epoch, after.epoch}
    for what in (
        lambda: after.remove(W.recovery, [W.phone.public.id], NOTHING, entropy=Seeded("x")),
        lambda: after.rotate(W.recovery, entropy=Seeded("x")),
        lambda: after.renew(W.recovery, OTHER_RECOVERY, entropy=Seeded("x")),
        lambda: newcomer(after, W.recovery, "puppet"),
    ):
        with pytest.raises(UsageError):
            what()
    assert set(without(after, W.phone, author=NEW_RECOVERY).former) == {W.recovery.public.id, W.phone.public.id}
    assert decode(entry).recovery == NEW_RECOVERY.public


# ---- who may not, named by attack ---------------------------------------------------------------------------------


@pytest.mark.parametrize("author", [W.laptop, W.phone, STRANGER], ids=["founder", "member", "stranger"])
def test_only_the_recovery_identity_removes_rotates_and_renews(author: DeviceKeys) -> None:
    epoch = new_epoch(W.recovery, author)
    renewal = (
        *(author.public.to_bytes(), prove_renewal(author, R3.vault_id, author.public.id), bytes(128)),
        *new_epoch(author),
    )
    for op, subject in (
        (Op.REMOVE, ((TABLET.public.id,), (), *epoch)),
        (Op.ROTATE, epoch),
        (Op.RENEW, renewal),
    ):
        assert isinstance(reason(written(op, author, subject)), MalformedRoster)
    for call in (
        lambda: R3.remove(author, [TABLET.public.id], NOTHING, entropy=Seeded("x")),
        lambda: R3.rotate(author, entropy=Seeded("x")),
    ):
        with pytest.raises(UsageError):
            call()


def test_the_recovery_identity_acks_nothing_and_nobody_removes_it_or_a_stranger() -> None:
    assert isinstance(reason(written(Op.ACK, W.recovery, ((),))), MalformedRoster)
    for gone in (W.recovery, STRANGER):
        subject = ((gone.public.id,), (), *new_epoch(*REST))
        assert isinstance(reason(written(Op.REMOVE, W.recovery, subject)), MalformedRoster)
        with pytest.raises(UsageError):
            without(R3, gone)
    with pytest.raises(UsageError):
        without(R3)


def test_grant_of_the_new_epoch_to_the_removed_device() -> None:
    subject = ((W.phone.public.id,), (), *new_epoch(*REST, W.phone))
    assert isinstance(reason(written(Op.REMOVE, W.recovery, subject)), MalformedRoster)
    after = without(R3, W.phone)
    context = context_of(after.vault_id, after.heads)
    late = (tuple(grant(after.epoch_keys(W.laptop)[after.epoch], W.phone.public, context)),)
    assert isinstance(reason(written(Op.GRANT, W.laptop, (late,), on=after), after), MalformedRoster)


def test_new_epoch_that_is_old_unlinked_or_kept_from_its_keeper() -> None:
    old = next(iter(R3.epoch_keys(W.recovery).values()))
    (check, links), grants = new_epoch(*REST, W.phone)
    unknown = ((check, (*links, (b"\xff" * 32, bytes(80)))), grants)
    for subject in (new_epoch(*REST, epoch=old), unknown, new_epoch(W.laptop, W.phone)):
        assert isinstance(reason(written(Op.ROTATE, W.recovery, subject)), MalformedRoster)
    other = new_epoch(*REST)[0], new_epoch(*REST, epoch=EpochKey.generate(Seeded("another")))[1]
    assert isinstance(reason(written(Op.ROTATE, W.recovery, other)), MalformedRoster)


def test_renewal_without_possession_or_to_somebody_who_is_there() -> None:
    def renewal(successor: DeviceKeys, proof: bytes) -> bytes:
        epoch = new_epoch(successor, W.laptop, W.phone, TABLET)
        return written(Op.RENEW, W.recovery, (successor.public.to_bytes(), proof, bytes(128), *epoch))

    old = W.recovery.public.id
    good = prove_renewal(NEW_RECOVERY, R3.vault_id, old)
    assert R3.merge([renewal(NEW_RECOVERY, good)]).recovery.id == NEW_RECOVERY.public.id
    for proof in (
        bytes(64),
        prove_renewal(STRANGER, R3.vault_id, old),
        prove_renewal(NEW_RECOVERY, bytes(16), old),
        prove_renewal(NEW_RECOVERY, R3.vault_id, STRANGER.public.id),
    ):
        assert isinstance(reason(renewal(NEW_RECOVERY, proof)), BadSignature)
    for there in (W.phone, W.recovery):
        entry = renewal(there, prove_renewal(there, R3.vault_id, old))
        assert isinstance(reason(entry), MalformedRoster)
    weak = b"\1" + bytes(31) + NEW_RECOVERY.public.to_bytes()[32:]
    entry = written(Op.RENEW, W.recovery, (weak, good, bytes(128), *new_epoch(W.laptop)))
    assert isinstance(reason(entry), WeakKey)


def test_lists_twice_or_out_of_order() -> None:
    a, b = sorted((W.phone.public.id, TABLET.public.id))
    marks = ((b"a" * 16, 1, bytes(32)), (b"b" * 16, 1, bytes(32)))
    for removed in ((b, a), (a, a)):
        entry = written(Op.REMOVE, W.recovery, (removed, (), *new_epoch(W.recovery, W.laptop)))
        assert isinstance(reason(entry), MalformedRoster)
    for wrong in (marks[::-1], marks[:1] * 2, ((b"a" * 16, 0, bytes(32)),), ((b"a" * 16, 1, bytes(31)),)):
        assert isinstance(reason(written(Op.ACK, W.laptop, (wrong,))), MalformedRoster)
    (check, links), grants = new_epoch(*REST)
    for epoch in ((check, links * 2), (check, (*links, (bytes(32), bytes(80))))):
        assert isinstance(reason(written(Op.ROTATE, W.recovery, (epoch, grants))), MalformedRoster)


def test_removed_device_comes_back_under_its_old_keys() -> None:
    after = without(R3, W.phone)
    claim = Claim.make(W.phone, Chain.new(W.phone.public.id, Seeded("back")), after.vault_id)
    with pytest.raises(MalformedRoster):
        after.add_device(W.laptop, claim)
    beside, _ = R3.add_device(W.laptop, claim)
    assert W.phone.public.id not in both(after, beside).members


def test_a_false_link_takes_nothing_with_it_but_what_is_behind_it() -> None:
    epoch = EpochKey.generate(Seeded("honest epoch"))
    context = context_of(R3.vault_id, R3.heads)
    grants = tuple(sorted(tuple(grant(epoch, keys.public, context)) for keys in (*REST, W.phone)))
    false = ((epoch.check, ((next(iter(R3.epoch_keys(W.phone).values())).check, bytes(80)),)), grants)
    after = R3.merge([written(Op.ROTATE, W.recovery, false)])
    assert set(after.epoch_keys(W.phone)) == {R3.epoch, epoch.id}
    added, keys = newcomer(after, W.laptop, "camera")
    assert set(added.epoch_keys(keys)) == {epoch.id}


# ---- beside each other --------------------------------------------------------------------------------------------


def test_backdated_sock_puppet_of_a_removed_device_goes_with_it() -> None:
    removal = without(R3, W.phone)
    puppet, keys = newcomer(R3, W.phone, "puppet")
    second, more = newcomer(puppet, keys, "puppet of the puppet")
    after = both(removal, second)
    assert not {keys.public.id, more.public.id} & set(after.members)
    ended = after.former[more.public.id].chains[0]
    assert after.revoked[ended].removals == {removal.head}
    assert after.revoked[ended].pins == frozenset()
    for thief in (keys, more, W.phone):
        assert after.epoch not in after.epoch_keys(thief)
        with pytest.raises(UsageError):
            after.add_chain(thief, Chain.new(thief.public.id, Seeded("x")))
    # what the person paired through the phone can be let in again by somebody else
    again, _ = after.add_device(W.laptop, Claim.make(keys, Chain.new(keys.public.id, Seeded("again")), after.vault_id))
    assert keys.public.id in again.members
    assert ended in again.revoked  # its own puppet is still out
    assert not set(again.members[keys.public.id].chains) & set(again.revoked)
    assert again.epoch in again.epoch_keys(keys)


def test_device_that_the_remover_had_heard_of_stays() -> None:
    added, keys = newcomer(R3, W.phone, "camera")
    after = without(added, W.phone)
    assert keys.public.id in after.members
    assert after.epoch in after.epoch_keys(keys)


def test_entries_that_a_removed_device_backdates_have_no_effect() -> None:
    removal = without(R3, W.phone, TABLET)
    chained, _ = R3.add_chain(W.phone, Chain.new(W.phone.public.id, Seeded("backdated")))
    acked, _ = without(R3, TABLET).ack(W.phone, {TABLET_CHAIN.id: (99, b"9" * 32)})
    after = both(removal, chained, acked)
    assert after.revoked[TABLET_CHAIN.id].acks == frozenset()
    assert {after.device_of(chain).id for chain in after.revoked} == {W.phone.public.id, TABLET.public.id}
    assert entry_hash(chained.log[-1].data) in after.void


def test_ack_from_before_the_removal_names_nothing() -> None:
    early = R3.merge([written(Op.ACK, W.laptop, (((W.phone_chain.id, 10**6, b"!" * 32),),))])
    after = without(early, W.phone, phone=2)
    assert after.revoked[W.phone_chain.id].acks == frozenset()
    beside = both(early, without(R3, W.phone, phone=2))
    assert beside.revoked[W.phone_chain.id].acks == frozenset()
    assert beside.ack_due(W.laptop.public.id)


def test_pin_and_ack_for_the_chain_of_another_device_name_nothing() -> None:
    subject = ((W.phone.public.id,), ((TABLET_CHAIN.id, 3, bytes(32)),), *new_epoch(*REST))
    after = R3.merge([written(Op.REMOVE, W.recovery, subject)])
    assert set(after.revoked) == {W.phone_chain.id}
    assert after.revoked[W.phone_chain.id].pins == frozenset()
    assert without(after, TABLET).revoked[TABLET_CHAIN.id].pins == frozenset()


def test_a_device_added_beside_a_removal_gets_the_keys_it_lacks_from_any_member() -> None:
    added, keys = newcomer(R3, W.laptop, "camera")
    after = both(without(R3, W.phone), added)
    assert keys.public.id in after.members
    assert after.ungranted == {keys.public.id}
    assert after.epoch not in after.epoch_keys(keys)
    assert after.grant_missing(W.phone) is None
    given = after.grant_missing(TABLET)
    assert given is not None
    assert given[0].epoch_keys(keys).keys() == given[0].epoch_keys(W.laptop).keys()
    assert not given[0].ungranted
    assert given[0].grant_missing(TABLET) is None


def test_a_device_that_has_the_current_key_gets_those_of_epochs_beside_it_too() -> None:
    """One device was removed twice, beside each other, and only one of the removers knew of the newcomer. What others
    wrote in the other's epoch waits for its key, although that epoch is not the one that counts."""
    for number in range(20):
        added, keys = newcomer(R3, W.laptop, f"camera {number}")
        after = both(without(R3, W.phone), without(added, W.phone))
        if not after.ungranted:
            break
    else:
        raise AssertionError("unlikely")
    lacking = after.epoch_keys(W.laptop).keys() - after.epoch_keys(keys).keys()
    assert lacking
    assert after.owes(W.laptop.public.id)
    assert after.owes(TABLET.public.id)
    assert not after.owes(keys.public.id)
    given = after.grant_missing(TABLET)
    assert given is not None
    assert given[0].epoch_keys(keys).keys() == given[0].epoch_keys(W.laptop).keys()
    assert not given[0].owes(TABLET.public.id)
    assert not given[0].owes(W.laptop.public.id)


def test_removals_beside_each_other_ask_for_a_rotation() -> None:
    after = both(without(R3, W.phone), without(R3, TABLET))
    assert set(after.members) == {W.recovery.public.id, W.laptop.public.id}
    assert after.needs_rotation  # of the two new epochs each was granted to one who is out
    rotated, _ = after.rotate(W.recovery, entropy=Seeded("again"))
    assert not rotated.needs_rotation
    for thief in (W.phone, TABLET):
        assert rotated.epoch not in rotated.epoch_keys(thief)
    assert set(rotated.epoch_keys(W.laptop)) == {epoch.id for epoch in [entry.epoch for entry in rotated.log] if epoch}


def test_of_epochs_beside_each_other_the_one_that_only_members_hold_is_current() -> None:
    for seed in range(4):  # whatever their hashes
        rotation, _ = R3.rotate(W.recovery, entropy=Seeded(f"rotation {seed}"))
        removal = without(R3, W.phone, seed=str(seed))
        after = both(rotation, removal)
        assert after.epoch == removal.epoch
        assert not after.needs_rotation
        assert not after.came_before(rotation.epoch, removal.epoch)


def test_the_same_device_removed_twice_keeps_what_either_named() -> None:
    after = both(without(R3, W.phone, phone=2), without(R3, W.phone, phone=5))
    assert after.revoked[W.phone_chain.id].pins == {(2, bytes([2]) * 32), (5, bytes([5]) * 32)}
    assert not after.needs_rotation


# ---- renewals beside what the thief does --------------------------------------------------------------------------


def test_thief_of_the_recovery_identity_removes_adds_and_rotates_beside_the_renewal() -> None:
    renewed, _ = R3.renew(W.recovery, NEW_RECOVERY, entropy=Seeded("renewal"))
    thief_removes = without(R3, W.laptop, W.phone)
    thief_adds, puppet = newcomer(R3, W.recovery, "puppet")
    thief_rotates, _ = R3.rotate(W.recovery, entropy=Seeded("thief's"))
    after = both(renewed, thief_removes, thief_adds, thief_rotates)
    assert set(after.members) == set(renewed.members)
    assert after.epoch == renewed.epoch
    assert after.former[puppet.public.id].chains[0] in after.revoked
    assert set(after.revoked) == set(after.former[puppet.public.id].chains)
    assert after.ack_due(W.laptop.public.id)
    later = without(after, TABLET, author=NEW_RECOVERY)  # and the new one goes on, past epochs it cannot read
    assert later.epoch in later.epoch_keys(W.laptop)


def test_epoch_of_a_thief_is_never_current_even_where_no_epoch_is_clean() -> None:
    renewed, _ = R3.renew(W.recovery, NEW_RECOVERY, entropy=Seeded("renewal"))
    honest = both(*(without(renewed, gone, author=NEW_RECOVERY) for gone in (W.phone, TABLET)))
    assert honest.needs_rotation
    thief = R3
    for step in range(8):
        thief, _ = thief.rotate(W.recovery, entropy=Seeded(f"thief {step}"))
    assert both(honest, thief).epoch == honest.epoch


@pytest.mark.parametrize("seed", range(6))
def test_thief_renews_later_from_an_earlier_state(seed: int) -> None:
    honest, _ = R3.renew(W.recovery, NEW_RECOVERY, entropy=Seeded("renewal"))
    honest, _ = honest.ack(W.laptop, NOTHING)
    thief = W.first  # backdated as far as can be, or with a longer history of its own
    for step in range(seed):
        thief, _ = thief.rotate(W.recovery, entropy=Seeded(f"step {step}"))
        thief, _ = newcomer(thief, W.recovery, f"puppet {step}")
    thief, _ = thief.renew(W.recovery, OTHER_RECOVERY, entropy=Seeded(f"thief {seed}"))
    for step in range(seed):
        thief, _ = thief.ack(device(f"puppet {step}"), NOTHING)
    for order in permutations((honest, thief, R3)):
        after = both(*order)
        assert after.recovery.id == NEW_RECOVERY.public.id
        assert after.lost_renewals == (next(e.hash for e in thief.log if e.op == Op.RENEW),)
        assert OTHER_RECOVERY.public.id not in after.members


def test_renewals_beside_each_other_are_resolved_alike_everywhere() -> None:
    one, _ = R3.renew(W.recovery, NEW_RECOVERY, entropy=Seeded("one"))
    two, _ = R3.renew(W.recovery, OTHER_RECOVERY, entropy=Seeded("two"))
    undecided = both(one, two)
    assert undecided == both(two, one)
    assert undecided.recovery.id == both(two, one).recovery.id
    for roster, voters in ((one, (W.phone,)), (two, (TABLET, W.laptop))):
        for keys in voters:
            roster, _ = roster.ack(keys, NOTHING)
            undecided = both(undecided, roster)
    assert undecided.recovery.id == OTHER_RECOVERY.public.id
    assert len(undecided.lost_renewals) == 1
    for keys in (W.laptop, W.phone, TABLET, OTHER_RECOVERY):
        assert undecided.epoch in undecided.epoch_keys(keys)
    assert undecided.epoch not in undecided.epoch_keys(NEW_RECOVERY)


def test_a_device_that_heard_of_both_renewals_first_stands_for_neither() -> None:
    one, _ = R3.renew(W.recovery, NEW_RECOVERY, entropy=Seeded("one"))
    two, _ = R3.renew(W.recovery, OTHER_RECOVERY, entropy=Seeded("two"))
    undecided = both(one, two)
    after = undecided
    for keys in (W.laptop, W.phone, TABLET):
        after, _ = after.ack(keys, NOTHING)
    assert after.recovery.id == undecided.recovery.id


# ---- later versions, sizes ----------------------------------------------------------------------------------------


def test_insider_blocks_the_roster_with_an_unknown_operation_and_is_removed_beside_it() -> None:
    blocked = R3.merge([written(99, W.phone, None)])  # type: ignore[arg-type]
    assert blocked.needs_update
    with pytest.raises(UpdateRequired):
        without(blocked, TABLET)
    after = without(blocked, W.phone)
    assert not after.needs_update
    acked, _ = after.ack(W.laptop, NOTHING)
    assert not acked.needs_update


def test_more_branches_than_one_entry_may_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ROSTER_PREV", 3)
    removal = without(R3, W.phone)
    branches = [removal]
    for step in range(6):
        branches.append(removal.add_chain(W.laptop, Chain.new(W.laptop.public.id, Seeded(f"branch {step}")))[0])
    added, keys = newcomer(removal, TABLET, "camera")
    wide = both(*branches, added)
    assert len(wide.heads) == 7
    acked, entry = wide.ack(keys, NOTHING)
    assert len(decode(entry).prev) == 3
    assert not acked.ack_due(keys.public.id)
    for _ in range(4):
        acked, _ = acked.ack(W.laptop, NOTHING)
    assert len(acked.heads) == 1


@pytest.mark.parametrize("op", ["remove", "rotate", "ack", "renew", "grant"])
def test_every_damaged_byte_of_an_entry_is_refused(op: str) -> None:
    added, _ = newcomer(R3, W.laptop, "camera")
    roster = both(without(R3, W.phone, phone=3), added)
    make = {
        "remove": lambda: roster.remove(W.recovery, [TABLET.public.id], NOTHING, entropy=Seeded("x")),
        "rotate": lambda: roster.rotate(W.recovery, entropy=Seeded("x")),
        "ack": lambda: roster.ack(W.laptop, {W.phone_chain.id: (6, b"6" * 32)}),
        "renew": lambda: roster.renew(W.recovery, NEW_RECOVERY, entropy=Seeded("x")),
        "grant": lambda: roster.grant_missing(W.laptop),
    }
    made = make[op]()
    assert made is not None
    entry = made[1]
    step = max(1, len(entry) // 300)
    broken = [one for at, one in enumerate(flips(entry, every_bit=False)) if at % step == 0]
    if op == "ack":
        broken = [*flips(entry), *cuts(entry)]
    for data in broken:
        after = roster.merge([data])
        assert after.log == roster.log
        assert after.needs_update or after.awaited or isinstance(after.refused[entry_hash(data)], Refused)


def test_naming_an_entry_that_is_not_here_is_waiting() -> None:
    after = without(R3, W.phone)
    for call in (lambda: after.aware(bytes(32), W.phone_chain.id), lambda: after.superseded(bytes(32))):
        with pytest.raises(UnknownChain):
            call()
    assert after.aware(after.head, W.phone_chain.id)
    assert not after.aware(R3.head, W.phone_chain.id)
    assert not after.aware(after.head, TABLET_CHAIN.id)
    assert after.superseded(after.head) == {R3.epoch}
    assert after.superseded(R3.head) == frozenset()


def test_grants_that_do_not_open_are_noticed_only_where_nothing_leads_to_the_current_epoch() -> None:
    context = context_of(b"elsewhere vault!", R3.heads)
    lying = (tuple(grant(next(iter(R3.epoch_keys(W.laptop).values())), TABLET.public, context)),)
    after = R3.merge([written(Op.GRANT, W.laptop, (lying,))])
    assert set(after.epoch_keys(TABLET)) == {R3.epoch}
    epoch = EpochKey.generate(Seeded("e"))
    wrong = tuple(sorted(tuple(grant(epoch, keys.public, context)) for keys in (*REST, W.phone)))
    after = R3.merge([written(Op.ROTATE, W.recovery, ((epoch.check, ()), wrong))])
    with pytest.raises(BadSeal):
        after.epoch_keys(TABLET)


# ---- converging ---------------------------------------------------------------------------------------------------


def _act(rng: random.Random, roster: Roster, actor: DeviceKeys, recoveries: list[DeviceKeys], step: str) -> Roster:
    """One thing that somebody with password and code, on that device, might do; or nothing where it is not allowed."""
    owner = next((keys for keys in recoveries if keys.public.id == roster.recovery.id), None)
    devices = [id for id, member in roster.members.items() if not member.recovery]
    try:
        match rng.randrange(7):
            case 0:
                return roster.add_chain(actor, Chain.new(actor.public.id, Seeded(step)))[0]
            case 1:
                return newcomer(roster, actor, f"n{step}")[0]
            case 2 if owner and len(devices) > 1:
                return roster.remove(owner, [rng.choice(devices)], NOTHING, entropy=Seeded(step))[0]
            case 3 if owner:
                return roster.rotate(owner, entropy=Seeded(step))[0]
            case 4 if owner and rng.random() < 0.5:
                recoveries.append(device(f"r{step}"))
                return roster.renew(owner, recoveries[-1], entropy=Seeded(step))[0]
            case 5:
                return roster.ack(actor, dict.fromkeys(roster.writers, (3, b"3" * 32)))[0]
            case _:
                made = roster.grant_missing(actor)
                return made[0] if made else roster
    except UsageError:
        return roster


def _says(roster: Roster) -> tuple[object, ...]:
    return (
        roster,
        dict(roster.members),
        dict(roster.former),
        dict(roster.revoked),
        roster.void,
        roster.epoch,
        roster.needs_rotation,
        roster.ungranted,
        roster.lost_renewals,
        roster.head,
    )


@settings(max_examples=max(10, EXAMPLES // 4), deadline=None)
@given(st.integers(0, 2**32))
def test_p7_concurrent_rosters_and_epochs_converge_and_every_member_reaches_every_key(seed: int) -> None:
    rng = random.Random(seed)
    actors = [W.laptop, W.phone, TABLET]
    replicas = {keys.public.id: R3 for keys in actors}
    recoveries = [W.recovery]
    for step in range(rng.randrange(2, 8)):
        actor = rng.choice(actors)
        mine = replicas[actor.public.id]
        if rng.random() < 0.3:
            mine = both(mine, rng.choice(list(replicas.values())))
        replicas[actor.public.id] = _act(rng, mine, actor, recoveries, f"{seed}/{step}")
    entries = [entry.data for replica in replicas.values() for entry in replica.log]
    whole = Roster.load(R3.vault_id, entries)
    assert not whole.refused
    for _ in range(3):
        rng.shuffle(entries)
        cut = rng.randrange(len(entries))
        assert _says(Roster(R3.vault_id).merge(entries[:cut]).merge(entries[cut:])) == _says(whole)
    owner = next(keys for keys in recoveries if keys.public.id == whole.recovery.id)
    if whole.needs_rotation:
        whole, _ = whole.rotate(owner, entropy=Seeded(f"{seed}/last"))
    assert not whole.needs_rotation
    for keys in (*[one for one in actors if one.public.id in whole.members], owner):
        made = whole.grant_missing(keys)
        whole = made[0] if made else whole
    assert not whole.ungranted
    for keys in (*actors, *recoveries):
        assert (whole.epoch in whole.epoch_keys(keys)) == (keys.public.id in whole.members)

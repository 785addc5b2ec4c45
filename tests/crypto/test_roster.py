from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.given import EXAMPLES, THOROUGH, Seeded, cuts, device, flips, world
from vaultsync.crypto import packing, roster_entry, roster_rules
from vaultsync.crypto.epochs import grant
from vaultsync.crypto.keys import Chain, DeviceKeys, EpochKey
from vaultsync.crypto.roster import Roster
from vaultsync.crypto.roster_entry import Claim, Op, build, context_of, decode, entry_hash
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
CREATE, ADD = W.entries
STRANGER = device("stranger")
TABLET = device("tablet")
TABLET_CHAIN = Chain.new(TABLET.public.id, Seeded("tablet chain"))


def claim(keys: DeviceKeys = TABLET, chain: Chain = TABLET_CHAIN, vault_id: bytes = W.roster.vault_id) -> Claim:
    return Claim.make(keys, chain, vault_id)


def grants(roster: Roster, *to: DeviceKeys, epoch: EpochKey = W.epoch) -> tuple[tuple[bytes, ...], ...]:
    context = context_of(roster.vault_id, roster.heads)
    return tuple(sorted(tuple(grant(epoch, keys.public, context)) for keys in to))


def written(
    op: int,
    author: DeviceKeys,
    subject: object,
    *,
    on: Roster = W.roster,
    n: int | None = None,
    prev: tuple[bytes, ...] = (),
) -> bytes:
    """An entry as an attacker with ``author``'s keys can write it: any contents, correctly signed."""
    return build(op, n=on.log[-1].n + 1 if n is None else n, prev=prev or on.heads, author=author, subject=subject)  # type: ignore[arg-type]


def reason(entry: bytes, roster: Roster = W.roster) -> VaultSyncError:
    """Why the roster refuses the entry; nothing else of it may have changed."""
    after = roster.merge([entry])
    assert (after.log, after.members, after.heads) == (roster.log, roster.members, roster.heads)
    return after.refused[entry_hash(entry)]


# ---- what a roster says -----------------------------------------------------------------------------------------


def test_a_vault_is_founded_and_devices_and_chains_are_added() -> None:
    assert set(W.roster.members) == {W.recovery.public.id, W.laptop.public.id, W.phone.public.id}
    assert W.roster.recovery.id == W.recovery.public.id
    assert W.roster.vault_id == entry_hash(CREATE)[:16]
    assert W.roster.head == entry_hash(ADD)
    assert W.roster.heads == (entry_hash(ADD),)
    assert W.roster.device_of(W.phone_chain.id).id == W.phone.public.id
    assert W.roster.sign_public(W.laptop_chain.id) == W.laptop.public.sign
    later, entry = W.roster.add_chain(W.phone, Chain.new(W.phone.public.id, Seeded("second")))
    assert len(later.members[W.phone.public.id].chains) == 2
    assert W.roster.merge([entry]) == later != W.roster
    assert not later.members[W.recovery.public.id].chains
    with pytest.raises(UnknownChain):
        W.roster.device_of(b"?" * 16)


def test_every_member_reaches_the_epoch_key_and_nobody_else() -> None:
    for keys in (W.recovery, W.laptop, W.phone):
        assert W.roster.epoch_keys(keys) == {W.roster.epoch: W.epoch}
    assert W.first.epoch_keys(W.phone) == {}
    assert W.roster.epoch_keys(STRANGER) == {}


def test_the_recovery_identity_can_add_a_device() -> None:
    later, _ = W.roster.add_device(W.recovery, claim())
    assert later.epoch_keys(TABLET) == {W.roster.epoch: W.epoch}


def test_entries_wait_for_what_they_build_on() -> None:
    waiting = Roster(W.roster.vault_id).merge([ADD])
    assert waiting.awaited == {entry_hash(CREATE)}
    assert not waiting.members
    assert waiting.merge([CREATE]) == W.roster
    assert not waiting.merge([CREATE]).awaited
    with pytest.raises(MalformedRoster):
        Roster.load(W.roster.vault_id, [ADD])


def test_a_joiner_can_ask_for_the_head_that_its_account_named() -> None:
    assert W.roster.knows(entry_hash(ADD))
    assert not W.first.knows(entry_hash(ADD))  # a remote that serves an older roster


# ---- order does not matter --------------------------------------------------------------------------------------


def _history(rng: random.Random) -> list[bytes]:
    """Entries as three devices write them that hear of each other now and then, bad and later ones between."""
    replicas = dict.fromkeys((W.laptop, W.phone, W.recovery), W.roster)
    everything = list(W.entries)
    for step in range(rng.randrange(2, 9)):
        author = rng.choice(list(replicas))
        roster = replicas[author]
        what = rng.randrange(10)
        if what < 4 and author is not W.recovery and not roster.needs_update:
            roster, entry = roster.add_chain(author, Chain.new(author.public.id, Seeded(f"{step}{rng.random()}")))
        elif what < 6 and not roster.needs_update:
            keys = device(rng.choice("xyz"))
            new = Chain.new(keys.public.id, Seeded(f"{step}{rng.random()}"))
            roster, entry = roster.add_device(author, Claim.make(keys, new, roster.vault_id))
            replicas.setdefault(keys, roster)
        elif what == 6:
            entry = written(rng.choice([Op.CHECKPOINTER, 99]), author, None, on=roster)
        elif what == 7:
            entry = written(Op.CHAIN, STRANGER, (bytes(16),), on=roster)
        elif what == 8:
            entry = written(Op.CHAIN, author, (rng.randbytes(16),), on=roster, n=rng.randrange(1, 12))
            if rng.random() < 0.5:  # and something built on it
                everything.append(entry)
                entry = written(Op.CHAIN, author, (rng.randbytes(16),), on=roster, prev=(entry_hash(entry),), n=9)
        else:
            other = rng.choice(list(replicas.values()))
            replicas[author] = roster.merge(entry.data for entry in other.log)
            continue
        everything.append(entry)
        replicas[author] = roster.merge([entry])
    return everything


def _says(roster: Roster) -> tuple[object, ...]:
    refused = {name: (type(error), str(error)) for name, error in roster.refused.items()}
    return (roster, dict(roster.members), roster.head, roster.heads, roster.needs_update, roster.awaited, refused)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 2**32))
def test_equal_sets_of_entries_give_equal_rosters_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    entries = _history(rng)
    whole = Roster.load(W.roster.vault_id, entries)
    for _ in range(4):
        shuffled = entries + rng.choices(entries, k=3)
        rng.shuffle(shuffled)
        piecewise = Roster(W.roster.vault_id)
        while shuffled:
            cut = rng.randrange(1, len(shuffled) + 1)
            piecewise, shuffled = piecewise.merge(shuffled[:cut]), shuffled[cut:]
        assert _says(piecewise) == _says(whole)


def test_one_device_added_by_two_others_at_once_is_one_device() -> None:
    one, first = W.roster.add_device(W.laptop, claim())
    two, second = W.roster.add_device(W.phone, claim())
    both = one.merge([second])
    assert both == two.merge([first])
    assert both.members[TABLET.public.id].chains == (TABLET_CHAIN.id,)
    assert both.heads == tuple(sorted((entry_hash(first), entry_hash(second))))
    joined, entry = both.add_chain(TABLET, Chain.new(TABLET.public.id, Seeded("next")))
    assert decode(entry).prev == both.heads
    assert joined.heads == (entry_hash(entry),)


def test_where_branches_join_what_either_said_holds() -> None:
    other = device("other")
    other_claim = claim(other, Chain.new(other.public.id, Seeded("other chain")))
    one, _ = W.roster.add_device(W.laptop, claim())
    two, _ = W.roster.add_device(W.phone, other_claim)
    two, _ = two.add_chain(W.phone, Chain.new(W.phone.public.id, Seeded("longer")))  # the branches differ in length
    both = one.merge(entry.data for entry in two.log)
    for keys in (TABLET, other):
        joined, entry = both.add_chain(keys, Chain.new(keys.public.id, Seeded("joined")))
        assert decode(entry).n == 5
        assert not joined.refused
    unknown = written(Op.CHECKPOINTER, W.recovery, None)
    beside = both.merge([unknown])
    prev = tuple(sorted((*both.heads, entry_hash(unknown))))
    held = written(Op.CHAIN, W.phone, (bytes(16),), prev=prev, n=5)
    assert beside.merge([held]).log == beside.log
    assert not beside.merge([held]).refused


def test_joining_does_not_depend_on_the_order() -> None:
    def some(*names: bytes) -> frozenset[bytes]:
        return frozenset(names)

    a = roster_rules.Standing(2, b"r", some(b"r", b"a"), some(b"1"), gone=some(b"x"), superseded=some(b"0"))
    b = roster_rules.Standing(7, b"r", some(b"r", b"b"), some(b"2"), ends=some(b"e"), contested=True, later=True)
    members, epochs = some(b"r", b"a", b"b"), some(b"1", b"2")
    both = roster_rules.Standing(7, b"r", members, epochs, some(b"x"), some(b"0"), some(b"e"), True, True)
    assert roster_rules.joined([a, b]) == roster_rules.joined([b, a]) == both


# ---- forged entries, named by attack ----------------------------------------------------------------------------


def test_stranger_adds_itself() -> None:
    entry = written(Op.ADD, STRANGER, (claim().fields(), grants(W.roster, TABLET)))
    assert isinstance(reason(entry), MalformedRoster)


def test_signature_by_another_member_than_the_author() -> None:
    entry = written(Op.CHAIN, W.phone, (bytes(16),))
    forged = entry[:-64] + W.laptop.sign("roster-sig", entry[:-64])
    assert isinstance(reason(forged), BadSignature)


def test_sponsor_swaps_the_keys_in_a_claim() -> None:
    public, nonce, proof = claim().fields()
    swapped = (STRANGER.public.to_bytes(), nonce, proof)
    entry = written(Op.ADD, W.laptop, (swapped, grants(W.roster, STRANGER)))
    assert isinstance(reason(entry), BadSignature)
    mixed = (
        public[:32] + STRANGER.public.to_bytes()[32:],
        nonce,
        proof,
    )  # another's encryption key
    recipient = roster_entry.DevicePublic.from_bytes(mixed[0]).id
    sealed = tuple(grants(W.roster, STRANGER)[0])
    entry = written(Op.ADD, W.laptop, (mixed, ((sealed[0], recipient, sealed[2]),)))
    assert isinstance(reason(entry), BadSignature)


def test_claim_replayed_from_another_vault() -> None:
    elsewhere = claim(vault_id=b"elsewhere vault!")
    entry = written(Op.ADD, W.laptop, (elsewhere.fields(), grants(W.roster, TABLET)))
    assert isinstance(reason(entry), BadSignature)
    with pytest.raises(BadSignature):
        W.roster.add_device(W.laptop, elsewhere)


def test_claim_with_another_chain_than_was_signed() -> None:
    public, _, proof = claim().fields()
    entry = written(Op.ADD, W.laptop, ((public, bytes(16), proof), grants(W.roster, TABLET)))
    assert isinstance(reason(entry), BadSignature)


def test_device_announces_the_chain_of_another() -> None:
    # a chain id is a hash of its owner's id and a nonce: the same nonce gives the thief another chain
    stolen, _ = W.roster.add_chain(W.laptop, Chain.of(W.laptop.public.id, W.phone_chain.nonce))
    assert stolen.device_of(W.phone_chain.id).id == W.phone.public.id
    with pytest.raises(UsageError):
        W.roster.add_chain(W.laptop, W.phone_chain)


def test_grant_to_somebody_who_is_not_added() -> None:
    entry = written(Op.ADD, W.laptop, (claim().fields(), grants(W.roster, TABLET, STRANGER)))
    assert isinstance(reason(entry), MalformedRoster)


def test_grant_of_an_epoch_that_the_roster_does_not_know() -> None:
    own = EpochKey.generate(Seeded("attacker's epoch"))
    entry = written(Op.ADD, W.laptop, (claim().fields(), grants(W.roster, TABLET, epoch=own)))
    assert isinstance(reason(entry), MalformedRoster)


def test_grant_that_holds_another_key_is_noticed_by_the_newcomer() -> None:
    lying = EpochKey.generate(Seeded("attacker's epoch"))
    lying.check = W.epoch.check
    entry = written(Op.ADD, W.laptop, (claim().fields(), grants(W.roster, TABLET, epoch=lying)))
    with pytest.raises(BadSeal):
        W.roster.merge([entry]).epoch_keys(TABLET)


def test_grant_copied_from_another_entry() -> None:
    _, entry = W.roster.add_device(W.laptop, claim())
    copied = tuple(tuple(given) for given in decode(entry).grants)
    later, _ = W.roster.add_chain(W.laptop, Chain.new(W.laptop.public.id, Seeded("more")))
    moved = written(Op.ADD, W.laptop, (claim().fields(), copied), on=later)
    with pytest.raises(BadSeal):
        later.merge([moved]).epoch_keys(TABLET)


def test_author_who_was_no_member_at_that_point() -> None:
    later, _ = W.roster.add_device(W.laptop, claim())
    backdated = written(Op.CHAIN, TABLET, (bytes(16),))  # beside its own adding, not after it
    assert isinstance(reason(backdated, later), MalformedRoster)


@pytest.mark.parametrize("n", [1, 2, 4, 10_000])
def test_number_that_does_not_follow(n: int) -> None:
    data = written(Op.CHAIN, W.phone, (bytes(16),), n=n)
    assert isinstance(reason(data), MalformedRoster)


def test_entry_built_on_a_refused_one() -> None:
    bad = written(Op.CHAIN, STRANGER, (bytes(16),))
    child = written(Op.CHAIN, W.phone, (bytes(16),), prev=(entry_hash(bad),), n=4)
    joined = W.roster.merge([child])
    assert joined.awaited == {entry_hash(bad)}
    joined = joined.merge([bad])
    assert isinstance(joined.refused[entry_hash(child)], MalformedRoster)
    assert joined.log == W.roster.log


def test_recovery_identity_writes_a_chain() -> None:
    assert isinstance(reason(written(Op.CHAIN, W.recovery, (bytes(16),))), MalformedRoster)


def test_second_founding_entry() -> None:
    _, other = Roster.found(W.recovery, W.laptop, W.laptop_chain, entropy=Seeded("again"))
    assert isinstance(reason(other), MalformedRoster)
    with pytest.raises(MalformedRoster):
        Roster.load(W.roster.vault_id, [other])


def _founding(**changes: object) -> bytes:
    """A founding entry with parts replaced, signed by the recovery identity."""
    context = context_of(b"", ())
    given = tuple(sorted(tuple(grant(W.epoch, keys.public, context)) for keys in (W.recovery, W.laptop)))
    parts = {
        "recovery": W.recovery.public.to_bytes(),
        "claim": Claim.make(W.laptop, W.laptop_chain).fields(),
        "epoch": (W.epoch.check, ()),
        "grants": given,
    } | changes
    return build(Op.CREATE, n=1, prev=(), author=W.recovery, subject=tuple(parts.values()))


def test_founding_entry_without_possession_or_with_other_grants() -> None:
    fine = _founding()
    Roster.load(entry_hash(fine)[:16], [fine])
    claim = Claim.make(W.laptop, W.laptop_chain).fields()
    own = tuple(grants(W.first, W.laptop))
    for changes in (
        {"claim": (STRANGER.public.to_bytes(), *claim[1:])},
        {"claim": Claim.make(W.recovery, Chain.new(W.recovery.public.id, Seeded("c"))).fields()},
        {"claim": (*claim[:2], bytes(64))},
        {"grants": own},
        {"epoch": (EpochKey.generate(Seeded("x")).check, ())},
        {"epoch": (W.epoch.check, ((bytes(32), bytes(80)),))},
        {"recovery": STRANGER.public.to_bytes()},
    ):
        data = _founding(**changes)
        with pytest.raises(MalformedRoster):
            Roster.load(entry_hash(data)[:16], [data])


def test_founding_entry_in_the_name_of_another() -> None:
    fine = _founding()
    op, n, prev, _, subject = packing.unpack(fine[4:-64], max_bytes=1 << 20)
    signed = b"VSR1" + packing.pack((op, n, prev, STRANGER.public.id, subject))
    data = signed + W.recovery.sign("roster-sig", signed)
    refused = Roster(entry_hash(data)[:16]).merge([data]).refused
    assert isinstance(refused[entry_hash(data)], BadSignature)


WEAK = {"identity": b"\1" + bytes(31), "order 4": bytes(32), "not canonical": b"\xee" + b"\xff" * 30 + b"\x7f"}


@pytest.mark.parametrize("name", WEAK)
def test_small_order_keys_are_never_members(name: str) -> None:
    public, nonce, proof = claim().fields()
    for weak in (WEAK[name] + public[32:], public[:-32] + WEAK[name]):
        assert isinstance(reason(written(Op.ADD, W.laptop, ((weak, nonce, proof), grants(W.roster, TABLET)))), WeakKey)
        data = _founding(recovery=weak)
        with pytest.raises(WeakKey):
            decode(data)


def test_predecessors_twice_out_of_order_or_none() -> None:
    a, b = sorted((entry_hash(CREATE), entry_hash(ADD)))
    for prev in ((a, a), (b, a)):
        assert isinstance(reason(written(Op.CHAIN, W.phone, (bytes(16),), prev=prev)), MalformedRoster)
    rootless = build(Op.CHAIN, n=1, prev=(), author=W.phone, subject=(bytes(16),))
    assert isinstance(reason(rootless), MalformedRoster)


def test_too_many_devices_and_too_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_rules.limits, "MAX_MEMBERS", 2)
    with pytest.raises(MalformedRoster):
        W.roster.add_device(W.laptop, claim())
    monkeypatch.setattr(roster_rules.limits, "MAX_ROSTER_ENTRIES", 2)
    entry = written(Op.CHAIN, W.phone, (bytes(16),))
    with pytest.raises(MalformedRoster):
        W.roster.merge([entry])


# ---- later versions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [Op.CHECKPOINTER, 10, 255])
def test_an_operation_of_a_later_version_by_a_member_asks_for_an_update(op: int) -> None:
    entry = written(op, W.recovery, ("anything", {"at": b"all"}))
    later = W.roster.merge([entry])
    assert later.needs_update
    assert not later.refused
    assert later.members == W.roster.members
    for change in (lambda: later.add_chain(W.phone, Chain.new(W.phone.public.id, Seeded("x"))),):
        with pytest.raises(UpdateRequired):
            change()


def test_what_is_built_on_a_later_operation_is_held_and_not_refused() -> None:
    unknown = written(Op.CHECKPOINTER, W.recovery, None)
    built = written(Op.CHAIN, W.phone, (bytes(16),), prev=(entry_hash(unknown),), n=4)
    by_whom_it_may_have_added = written(Op.CHAIN, STRANGER, (bytes(16),), prev=(entry_hash(built),), n=5)
    later = W.roster.merge([by_whom_it_may_have_added, built, unknown])
    assert later.needs_update
    assert not later.refused
    assert not later.awaited
    assert later.members == W.roster.members


def test_a_later_operation_by_a_stranger_is_refused() -> None:
    assert isinstance(reason(written(99, STRANGER, None)), MalformedRoster)
    entry = written(99, W.phone, None)
    assert isinstance(reason(entry[:-1] + bytes((entry[-1] ^ 1,))), BadSignature)
    assert isinstance(reason(written(0, W.phone, None)), MalformedRoster)


def test_a_later_layout_asks_for_an_update() -> None:
    later = W.roster.merge([b"VSR2" + bytes(200)])
    assert later.needs_update
    assert later.log == W.roster.log
    with pytest.raises(UpdateRequired):
        decode(b"VSR2" + bytes(200))


def test_only_members_write_and_only_with_the_epoch_key() -> None:
    with pytest.raises(UsageError):
        W.roster.add_chain(STRANGER, Chain.new(STRANGER.public.id, Seeded("x")))
    with pytest.raises(UsageError):
        W.roster.add_device(STRANGER, claim())


# ---- damage -----------------------------------------------------------------------------------------------------


def _all_refused(entries: Iterable[bytes], roster: Roster) -> None:
    for broken in entries:
        after = roster.merge([broken])
        assert after.log == roster.log
        assert after.needs_update or after.awaited or isinstance(after.refused[entry_hash(broken)], Refused)


def test_every_flipped_bit_of_a_chain_entry_is_refused() -> None:
    entry = written(Op.CHAIN, W.phone, (bytes(16),))
    _all_refused(flips(entry), W.roster)


def test_flipped_bits_of_an_add_entry_are_refused() -> None:
    _all_refused(flips(ADD, every_bit=THOROUGH), W.first)


def test_flipped_bits_of_a_founding_entry_are_refused() -> None:
    for at, broken in enumerate(flips(CREATE, every_bit=THOROUGH)):
        if THOROUGH or at % 4 == 0:
            # an attacker who also chooses the vault's id gains nothing: signature and possession do not hold
            with pytest.raises((Refused, UpdateRequired)):
                Roster.load(entry_hash(broken)[:16], [broken])
        assert entry_hash(broken)[:16] != W.roster.vault_id
    with pytest.raises(MalformedRoster):
        Roster.load(W.roster.vault_id, [broken])


def test_every_cut_of_a_chain_entry_is_refused() -> None:
    entry = written(Op.CHAIN, W.phone, (bytes(16),))
    _all_refused(cuts(entry), W.roster)


def test_hostile_packing_inside_a_signed_entry_is_a_typed_refusal() -> None:
    for payload in (b"", b"\xc1", b"\x91" * 500, b"\xdd\xff\xff\xff\xff", packing.pack((3, 3, (), b"", ())), b"\x05"):
        signed = b"VSR1" + payload
        assert isinstance(reason(signed + W.phone.sign("roster-sig", signed)), MalformedRoster)


@settings(max_examples=EXAMPLES * 5)
@given(st.binary(max_size=300).map(lambda tail: b"VSR1" + tail) | st.binary(max_size=300))
def test_arbitrary_bytes_are_a_typed_refusal(data: bytes) -> None:
    with pytest.raises((Refused, UpdateRequired)):
        decode(data)


# ---- on a remote ------------------------------------------------------------------------------------------------

ROSTER_KEY = b"r" * 32


def _sealed() -> bytes:
    return roster_entry.seal_entry(ADD, vault_id=W.roster.vault_id, roster_key=ROSTER_KEY)


def _open(data: bytes, **changes: bytes) -> bytes:
    given = {"vault_id": W.roster.vault_id, "roster_key": ROSTER_KEY, "hash": entry_hash(ADD)} | changes
    return roster_entry.open_entry(data, **given)


def test_a_sealed_entry_opens_only_as_what_it_is_named() -> None:
    assert _open(_sealed()) == ADD
    for changes in ({"vault_id": bytes(16)}, {"roster_key": bytes(32)}, {"hash": entry_hash(CREATE)}):
        with pytest.raises(BadSeal):
            _open(_sealed(), **changes)


def test_two_devices_put_the_same_bytes_under_one_name() -> None:
    assert _sealed() == _sealed()
    assert _sealed() != roster_entry.seal_entry(ADD, vault_id=W.roster.vault_id, roster_key=bytes(32))


def test_every_flipped_bit_and_every_cut_of_a_sealed_entry_is_refused() -> None:
    sealed = _sealed()
    for broken in flips(sealed):
        with pytest.raises((Refused, UpdateRequired)):
            _open(broken)
    for broken in cuts(sealed):
        with pytest.raises((Refused, UpdateRequired)):
            _open(broken)


def test_a_keyholder_cannot_seal_another_entry_under_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_entry, "entry_hash", lambda data: entry_hash(ADD))
    lying = roster_entry.seal_entry(CREATE, vault_id=W.roster.vault_id, roster_key=ROSTER_KEY)
    monkeypatch.undo()
    with pytest.raises(BadSeal):
        _open(lying)

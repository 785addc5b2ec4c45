"""What checkpoints mean for syncing, as pure decisions."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultsync import limits
from vaultsync.sync import names
from vaultsync.sync.coverage import Known, Numbers, Offer, collectible, floors, offers, situation, superseded
from vaultsync.sync.events import Tip

VAULT, ANN, BOB = b"v" * 16, b"a" * 16, b"b" * 16


def env(chain: bytes, seq: int) -> str:
    return names.envelope_name(VAULT, chain, seq, hashlib.sha256(chain + bytes([seq % 256])).digest())


def part(covered: int, index: int = 0, count: int = 1, *, digest: bytes = bytes(16), size: int = 100) -> str:
    return names.checkpoint_name(names.CheckpointName(VAULT, covered, ANN, bytes(16), index, count, size, digest))


def known(number: int, **places: int) -> Known:
    frontier = {name.encode() * 16: (seq, bytes(32)) for name, seq in places.items()}
    return Known(bytes([number]) * 32, ANN, frontier, (part(number),), 100, 0)


def test_names_of_parts_there_and_back_and_what_none_can_be():
    name = part(7, 1, 3, digest=b"d" * 16)
    assert names.parse(name) == names.CheckpointName(VAULT, 7, ANN, bytes(16), 1, 3, 100, b"d" * 16)
    assert len(part(10**12 - 1, 63, 64)) <= limits.MAX_OBJECT_NAME_CHARS
    for wrong in (name.replace("/0001-0003-", "/0003-0003-"), name.replace("-0003-", "-9999-"), name[:-1], name + "0"):
        assert names.parse_checkpoint(wrong) is None


def test_only_whole_sets_are_offered_the_fullest_first():
    whole = [part(5), *(part(9, index, 2) for index in range(2))]
    found, more = offers(VAULT, [*whole, part(7, 0, 2), "nonsense", part(5)])
    assert [offer.covered for offer in found] == [9, 5]
    assert more
    assert offers(VAULT, whole)[1] is False


def test_a_part_that_is_there_twice_makes_no_offer():
    assert offers(VAULT, [part(5), part(5, digest=b"x" * 16)]) == ([], True)


def test_a_flood_of_names_is_bounded():
    found, _ = offers(VAULT, [part(number) for number in range(1_000)])
    assert [offer.covered for offer in found] == list(range(999, 999 - limits.MAX_CHECKPOINTS_LOOKED_AT, -1))


@pytest.mark.parametrize(
    ("tip", "listed", "lost", "gap", "behind"),
    [
        (Tip(0, b""), [], False, False, 0),
        (Tip(0, b""), [1, 2, 3], False, False, 3),
        (Tip(0, b""), [3, 4], False, True, 2),
        (Tip(3, b""), [1, 2, 3], False, False, 0),
        (Tip(3, b""), [1, 3], True, False, 0),
        (Tip(3, b"", 2), [2, 3], False, False, 0),
        (Tip(3, b"", 3), [], False, False, 0),
        (Tip(3, b"", 3), [3, 5], False, True, 1),
        (Tip(3, b""), [], True, False, 0),
    ],
)
def test_what_a_listing_says(tip: Tip, listed: list[int], lost: bool, gap: bool, behind: int):
    now = situation({ANN: tip}, {ANN: [env(ANN, seq) for seq in listed]})
    assert (bool(now.lost), bool(now.gaps), now.behind) == (lost, gap, behind)


@given(st.lists(st.tuples(st.lists(st.integers(1, 9)), st.integers(0, 9), st.integers(0, 9)), max_size=6), st.data())
def test_a_listing_after_others_says_what_it_would_alone(listings, data):
    numbers, listed = Numbers(), []
    for new, seq, floor in listings:
        kept = listed if data.draw(st.booleans()) else data.draw(st.lists(st.sampled_from([*listed, "other"])))
        listed = sorted({*kept, *(env(ANN, at) for at in new)})
        if data.draw(st.booleans()):  # another one of that number
            listed.append(names.envelope_name(VAULT, ANN, max(new, default=1), bytes(32)))
        applied = {ANN: Tip(seq, b"", min(seq, floor))}
        held = {place.seq for name in listed if (place := names.parse_envelope(name)) is not None}
        found = situation(applied, {ANN: listed}, numbers=numbers)
        assert (ANN in found.lost) == any(at not in held for at in range(applied[ANN].floor + 1, seq + 1))
        beyond = {at for at in held if at > seq}
        assert found.behind == len(beyond)
        assert (ANN in found.gaps) == (bool(beyond) and seq + 1 not in beyond)


def test_what_was_not_sent_yet_is_not_lost():
    assert not situation({ANN: Tip(2, b"")}, {ANN: [env(ANN, 1)]}, [env(ANN, 2)]).lost


def test_a_checkpoint_is_taken_when_it_is_cheaper_or_needed():
    many = limits.CATCH_UP_ENVELOPES
    one = {BOB: Tip(1, b"")}
    behind = situation(one, {ANN: [env(ANN, seq) for seq in range(1, many + 1)]})
    small = Offer(many + 1, ANN, bytes(16), many * limits.CATCH_UP_BYTES, ())
    assert behind.wants(small, one)
    assert not behind.wants(small._replace(size=small.size + 1), one)
    assert not behind.wants(small._replace(covered=many), one)
    assert not behind.wants(small, {BOB: Tip(2, b"")})
    gap = situation({}, {ANN: [env(ANN, 2)]})
    assert gap.wants(small._replace(size=1 << 40), {})


def test_who_has_nothing_takes_a_checkpoint_of_the_larger_part():
    behind = situation({}, {ANN: [env(ANN, seq) for seq in range(1, 15)]})
    large = Offer(8, ANN, bytes(16), 8 * limits.ENVELOPE_TARGET_BYTES, ())
    assert behind.wants(large, {})
    assert not behind.wants(large._replace(size=large.size + 1), {})
    assert not behind.wants(large._replace(covered=7), {})
    assert not behind.wants(large, {BOB: Tip(1, b"")})
    assert not situation({}, {}).wants(large, {})


PLACES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=5)


@given(PLACES)
def test_what_is_collectible_is_covered_twice_and_no_anchor(places):
    all_known = [known(number, a=a, b=b) for number, (a, b) in enumerate(places, 1)]
    for chain in (ANN, BOB):
        going = list(collectible(all_known, all_known, chain, [env(chain, seq) for seq in range(1, 15)]))
        for seq in range(1, 15):
            covering = [one for one in all_known if one.frontier[chain][0] >= seq]
            anchor = any(one.frontier[chain][0] == seq for one in all_known)
            assert (env(chain, seq) in going) == (len(covering) >= 2 and not anchor)


@given(PLACES)
def test_what_is_superseded_leaves_two_that_hold_all_of_it(places):
    all_known = [known(number, a=a, b=b) for number, (a, b) in enumerate(places, 1)]
    gone = superseded(all_known)
    left = [one for one in all_known if one not in gone]
    for one in gone:
        assert sum(other.covers(one.frontier) for other in left) >= 2
    assert floors(left) == floors(all_known)  # nothing stops being covered

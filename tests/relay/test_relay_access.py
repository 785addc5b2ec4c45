from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.crypto.keys import DeviceKeys
from vaultsync.relay.access import Access, AccessError, bucket_of
from vaultsync.relay.rates import Rates
from vaultsync.relay.tickets import Tickets
from vaultsync.remote import signing
from vaultsync.remote.signing import Membership

PEOPLE = [DeviceKeys.from_bytes(hashlib.sha256(bytes([n])).digest()) for n in range(7)]
OWNER, OTHERS = PEOPLE[0], PEOPLE[1:]
BUCKET = bucket_of(OWNER.public.sign)


def test_both_sides_mean_the_same() -> None:
    """Client and relay write the layouts down separately; these values are the protocol's."""
    assert signing.bucket_of(OWNER.public.sign) == BUCKET
    assert bucket_of(bytes(32)).hex() == hashlib.sha256(b"vaultsync/v1/relay-bucket\0" + bytes(32)).hexdigest()
    made = Membership.edit(OWNER.sign, OWNER.public.sign, 3, [p.public.sign for p in OTHERS[:2]])
    made = made.granting(OTHERS[0].sign, OTHERS[0].public.sign, OTHERS[3].public.sign)
    read = Access.read(BUCKET, made.to_json())
    assert read.to_json() == made.to_json()
    assert Membership.from_json(read.to_json()) == made
    assert read.members == {OWNER.public.sign, *made.keys}


@given(st.data())
@settings(max_examples=60)
def test_members_are_who_a_chain_of_grants_reaches(data: st.DataObject) -> None:
    """Against a plain search: whatever grants there are, in whatever order, by members or not."""
    listed = data.draw(st.sets(st.sampled_from(OTHERS), max_size=2))
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(OTHERS)), max_size=8))
    made = Membership.edit(OWNER.sign, OWNER.public.sign, 1, [one.public.sign for one in listed])
    halves = [made, made]
    for index, (by, member) in enumerate(pairs):
        halves[index % 2] = halves[index % 2].granting(by.sign, by.public.sign, member.public.sign)
        made = made.granting(by.sign, by.public.sign, member.public.sign)
    reached = {OWNER, *listed}
    while more := {member for by, member in pairs if by in reached and member not in reached}:
        reached |= more
    assert Access.read(BUCKET, made.to_json()).members == {one.public.sign for one in reached}
    one, two = (Access.read(BUCKET, half.to_json()) for half in halves)
    assert one.merged(two).members == two.merged(one).members


def test_the_higher_edit_stands_and_grants_end_with_theirs() -> None:
    old = Membership.edit(OWNER.sign, OWNER.public.sign, 1, [OTHERS[0].public.sign, OTHERS[1].public.sign])
    old = old.granting(OTHERS[0].sign, OTHERS[0].public.sign, OTHERS[2].public.sign)
    new = Membership.edit(OWNER.sign, OWNER.public.sign, 2, [OTHERS[1].public.sign])
    one, two = Access.read(BUCKET, old.to_json()), Access.read(BUCKET, new.to_json())
    assert one.merged(two) == two == two.merged(one)
    assert two.members == {OWNER.public.sign, OTHERS[1].public.sign}
    carried = json.loads(new.to_json()) | {"grants": json.loads(old.to_json())["grants"]}
    assert Access.read(BUCKET, json.dumps(carried).encode()).members == two.members
    other = Membership.edit(OWNER.sign, OWNER.public.sign, 2, [])
    with pytest.raises(AccessError, match="meanwhile"):
        two.merged(Access.read(BUCKET, other.to_json()))


def handed(members: list[DeviceKeys], *to: DeviceKeys, first: DeviceKeys = OWNER, n: int = 0) -> Membership:
    """The list of the last of ``to``, after handovers from one to the next."""
    made, holder = [], first
    for number, one in enumerate(to, 1):
        parts = BUCKET, number.to_bytes(8, "big"), one.public.sign
        made.append(signing.Handover(one.public.sign, holder.sign("relay-handover", *parts)))
        holder = one
    keys = [one.public.sign for one in members]
    return Membership.edit(holder.sign, OWNER.public.sign, n, keys, tuple(made))


def test_after_a_handover_the_former_owner_has_no_say() -> None:
    """Whatever number the former owner counts up to, and whatever is granted on one of the older lists."""
    phone, tablet, successor, thief = OTHERS[:4]
    old = Membership.edit(OWNER.sign, OWNER.public.sign, 2**53 - 1, [phone.public.sign, tablet.public.sign])
    new = handed([tablet], successor)
    one, two = Access.read(BUCKET, old.to_json()), Access.read(BUCKET, new.to_json())
    assert one.merged(two) == two == two.merged(one)
    assert two.members == {successor.public.sign, tablet.public.sign}
    assert two.holder == successor.public.sign
    for by in (OWNER, tablet):  # the former owner lets nobody in, nor does what a member signed for the older list
        bent = old.granting(by.sign, by.public.sign, thief.public.sign).grants
        said = [{name: getattr(one, name).hex() for name in ("member", "by", "signature")} for one in bent]
        carried = json.loads(new.to_json()) | {"grants": said}
        try:
            assert thief.public.sign not in Access.read(BUCKET, json.dumps(carried).encode()).members
        except AccessError as error:
            assert error.code == "signature"  # noqa: PT017
    forged = Membership.edit(OWNER.sign, OWNER.public.sign, 9, [thief.public.sign], new.handovers)
    with pytest.raises(AccessError):
        Access.read(BUCKET, forged.to_json())
    again = handed([phone], successor, OTHERS[4])
    assert two.merged(Access.read(BUCKET, again.to_json())).holder == OTHERS[4].public.sign


def test_handovers_beside_each_other_and_circles() -> None:
    honest, thief = (Access.read(BUCKET, handed([], *to).to_json()) for to in (OTHERS[:1], OTHERS[1:4]))
    for one, other in ((honest, thief), (thief, honest)):  # a longer line does not make it better
        with pytest.raises(AccessError) as refused:
            one.merged(other)
        assert refused.value.code == "rival"
    for line in ([OTHERS[0], OWNER], [OWNER], [OTHERS[0], OTHERS[1], OTHERS[0]]):
        with pytest.raises(AccessError):
            Access.read(BUCKET, handed([], *line).to_json())
    for to in ([OTHERS[0]], [OTHERS[0], OTHERS[1]]):  # by somebody who never had it
        with pytest.raises(AccessError):
            Access.read(BUCKET, handed([], *to, first=OTHERS[5]).to_json())
    said = json.loads(handed([], OTHERS[0], OTHERS[1]).to_json())
    said["handovers"].reverse()
    with pytest.raises(AccessError):
        Access.read(BUCKET, json.dumps(said).encode())


def test_every_changed_byte_of_a_statement_is_noticed() -> None:
    made = handed([OTHERS[0]], OTHERS[2], n=1)
    made = made.granting(OTHERS[0].sign, OTHERS[0].public.sign, OTHERS[1].public.sign)
    good = made.to_json()
    before = Access.read(BUCKET, good).members
    for index in range(len(good)):
        bent = good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :]
        try:
            assert Access.read(BUCKET, bent).members <= before
        except AccessError:
            continue


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["owner", "n", "members", "signature", "grants", "handovers"]), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(AccessError):
        Access.read(BUCKET, data)


@pytest.mark.parametrize("key", ["00" * 32, "01" + "00" * 31, "ff" * 32, "AA" * 32, "zz" * 32, "", None, 5, ["aa"]])
def test_weak_and_malformed_keys(key: Any) -> None:
    said = json.loads(Membership.edit(OWNER.sign, OWNER.public.sign, 0, []).to_json())
    for place in ({"owner": key}, {"members": [key]}, {"signature": key}):
        with pytest.raises(AccessError):
            Access.read(BUCKET, json.dumps(said | place).encode())


def test_too_many_members() -> None:
    said = json.loads(Membership.edit(OWNER.sign, OWNER.public.sign, 0, []).to_json())
    said["members"] = [OTHERS[0].public.sign.hex()] * 600
    with pytest.raises(AccessError):
        Access.read(BUCKET, json.dumps(said).encode())


def test_nonces_expire_by_the_relays_clock_and_are_nobody_elses() -> None:
    tickets, other = Tickets(bytes(32), 600, lambda n: b"r" * n), Tickets(b"x" * 32, 600, lambda n: b"r" * n)
    nonce = tickets.issue(1000)
    assert tickets.expiry(nonce, 1000) == tickets.expiry(nonce, 1599) == 1600
    assert tickets.expiry(nonce, 1600) is None
    assert tickets.expiry(nonce, 399) is None  # from a future that our clock has not seen
    assert other.expiry(nonce, 1000) is None
    for index in range(len(nonce)):
        assert tickets.expiry(nonce[:index] + bytes([nonce[index] ^ 1]) + nonce[index + 1 :], 1000) is None
    assert tickets.expiry(nonce[:-1], 1000) is None


def test_rates_refill() -> None:
    now = [0.0]
    rates = Rates(2.0, lambda: now[0])
    assert [rates.take("a") for _ in range(20)] == [0.0] * 20
    assert rates.take("a") == pytest.approx(0.5)
    assert rates.take("b") == 0.0
    now[0] += 0.5
    assert rates.take("a") == 0.0
    assert rates.take("a") > 0
    now[0] += 10**6
    assert [rates.take("a") > 0 for _ in range(21)] == [False] * 20 + [True]

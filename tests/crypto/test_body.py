from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.given import EXAMPLES, device
from vaultsync.crypto import body as bodies
from vaultsync.crypto.body import Body, Group, decode, encode, frontier_digest, sign_tip, verify_tip
from vaultsync.crypto.packing import pack, unpack
from vaultsync.errors import BadSignature, MalformedEnvelope, UpdateRequired

NUMBERS = st.integers(0, 2**53)
HASHES = st.binary(min_size=32, max_size=32)
IDS = st.binary(min_size=16, max_size=16)
FRONTIERS = st.dictionaries(IDS, st.tuples(st.integers(1, 2**53), HASHES), max_size=5)
GROUPS = st.none() | st.tuples(IDS, st.integers(0, 9), st.integers(10, 99)).map(lambda group: Group(*group))
TIPS = st.none() | st.binary(min_size=64, max_size=64)
BODIES = st.builds(Body, HASHES, NUMBERS, FRONTIERS, HASHES, NUMBERS, st.binary(max_size=300), TIPS, NUMBERS, GROUPS)
BODY = Body(bytes(32), 0, {bytes(16): (1, bytes(32))}, bytes(32), 1, b"changes", bytes(64), 5, Group(bytes(16), 0, 2))


@settings(max_examples=EXAMPLES)
@given(BODIES)
def test_what_was_encoded_is_what_is_decoded(body: Body) -> None:
    assert decode(encode(body)) == body


WRONG = {
    "roster head": (1, bytes(31)),
    "generation": (2, -1),
    "generation as a flag": (2, True),
    "frontier as bytes": (3, b""),
    "frontier row": (3, ((bytes(16), 1),)),
    "frontier seq 0": (3, ((bytes(16), 0, bytes(32)),)),
    "frontier twice": (3, ((bytes(16), 1, bytes(32)), (bytes(16), 2, bytes(32)))),
    "frontier order": (3, ((b"b" * 16, 1, bytes(32)), (b"a" * 16, 2, bytes(32)))),
    "frontier too long": (3, tuple((at.to_bytes(16, "big"), 1, bytes(32)) for at in range(4097))),
    "digest": (4, "0" * 32),
    "count": (5, None),
    "changes as text": (6, "changes"),
    "tip": (7, bytes(63)),
    "wall": (8, 2**53 + 1),
    "group number": (9, (bytes(16), 2, 2)),
    "group of none": (9, (bytes(16), 0, 0)),
    "group id": (9, (bytes(15), 0, 2)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_of_the_wrong_shape_is_refused(name: str) -> None:
    fields = list(unpack(encode(BODY), max_bytes=1 << 20))
    at, value = WRONG[name]
    fields[at] = value
    with pytest.raises(MalformedEnvelope):
        decode(pack(fields))


def test_more_or_fewer_fields_are_refused_and_a_later_version_waits() -> None:
    fields = unpack(encode(BODY), max_bytes=1 << 20)
    for wrong in (fields[:-1], (*fields, None), (), (0, *fields[1:]), ("1", *fields[1:]), (True, *fields[1:]), 1, None):
        with pytest.raises(MalformedEnvelope):
            decode(pack(wrong))
    for later in ((2, *fields[1:]), (2,), (255, "anything", {})):
        with pytest.raises(UpdateRequired):
            decode(pack(later))


@pytest.mark.parametrize(
    "change", [{"tip": b""}, {"wall_ms": -1}, {"group": Group(bytes(16), 3, 3)}, {"roster_head": b""}]
)
def test_what_would_be_refused_is_not_encoded(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="size or range"):
        encode(dataclasses.replace(BODY, **change))  # type: ignore[arg-type]


def test_the_repr_does_not_show_the_changes() -> None:
    assert "changes" not in repr(BODY)


def test_a_tip_says_one_thing_of_one_chain() -> None:
    keys, said = device("a"), (b"v" * 16, b"c" * 16, 4, b"h" * 32)
    tip = sign_tip(keys, *said)
    verify_tip(keys.public.sign, tip, *said)
    for other in [
        (b"w" * 16, *said[1:]),
        (said[0], b"d" * 16, *said[2:]),
        (*said[:2], 5, said[3]),
        (*said[:3], b"i" * 32),
    ]:
        with pytest.raises(BadSignature):
            verify_tip(keys.public.sign, tip, *other)
    with pytest.raises(BadSignature):
        verify_tip(device("b").public.sign, tip, *said)


@settings(max_examples=EXAMPLES)
@given(FRONTIERS, FRONTIERS)
def test_digests_are_equal_exactly_for_equal_frontiers(a: dict, b: dict) -> None:  # type: ignore[type-arg]
    assert frontier_digest(a) == frontier_digest(dict(reversed(a.items())))
    assert (frontier_digest(a) == frontier_digest(b)) == (a == b)


def test_the_limits_of_packing_hold_a_full_frontier() -> None:
    full = {at.to_bytes(16, "big"): (1, bytes(32)) for at in range(bodies.limits.MAX_CHAINS)}
    assert decode(encode(dataclasses.replace(BODY, frontier=full))).frontier == full

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.given import EXAMPLES, cuts
from vaultsync.crypto.packing import pack, pad, padded_size, unpack, unpad
from vaultsync.errors import MalformedEnvelope, MalformedRoster

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=40) | st.binary(max_size=40)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5).map(tuple) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
).filter(lambda value: _depth(value) <= 8)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, tuple) else 0


@settings(max_examples=EXAMPLES)
@given(VALUES)
def test_what_was_packed_is_what_is_unpacked(value: object) -> None:
    assert unpack(pack(value), max_bytes=1 << 20) == value


@settings(max_examples=EXAMPLES * 10)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_with_one_error_or_are_the_only_encoding(data: bytes) -> None:
    try:
        value = unpack(data, max_bytes=60)
    except MalformedEnvelope:
        return
    assert pack(value) == data


def test_the_refusal_does_not_carry_what_was_decoded() -> None:
    with pytest.raises(MalformedEnvelope) as caught:
        unpack(b"\xa6secret\x01", max_bytes=60)  # the library's own exception holds the decoded part
    assert caught.value.__context__ is None
    assert "secret" not in repr(caught.value)


@settings(max_examples=EXAMPLES * 2)
@given(VALUES, st.data())
def test_a_changed_byte_is_refused_or_another_canonical_value(value: object, data: st.DataObject) -> None:
    packed = bytearray(pack(value))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        changed = unpack(bytes(packed), max_bytes=1 << 20)
    except MalformedEnvelope:
        return
    assert pack(changed) == packed


HOSTILE = {
    "nothing": b"",
    "trailing bytes": b"\x01\x02",
    "cut list": b"\x92\x01",
    "reserved byte": b"\xc1",
    "integer not minimal": b"\xcd\x00\x01",
    "text not minimal": b"\xda\x00\x01a",
    "bytes not minimal": b"\xc5\x00\x01a",
    "list not minimal": b"\xdc\x00\x01\x01",
    "map not minimal": b"\xde\x00\x01\xa1a\x01",
    "float": b"\xcb" + bytes(8),
    "not a number": b"\xcb\x7f\xf8" + bytes(6),
    "extension": b"\xd4\x05\x00",
    "timestamp": b"\xd6\xff" + bytes(4),
    "duplicate key": b"\x82\xa1a\x01\xa1a\x02",
    "keys out of order": b"\x82\xa1b\x01\xa1a\x02",
    "bytes as key": b"\x81\xc4\x01a\x01",
    "integer as key": b"\x81\x01\x01",
    "list as key": b"\x81\x91\x01\x01",
    "text not UTF-8": b"\xa1\xff",
    "surrogate": b"\xa3\xed\xa0\x80",
    "nine levels": b"\x91" * 9 + b"\x01",
    "1,023 levels": b"\x91" * 1023 + b"\x01",
    "100,000 levels": b"\x91" * 100_000 + b"\x01",
    "lying list": b"\xdd\xff\xff\xff\xff",
    "lying map": b"\xdf\xff\xff\xff\xff",
    "lying text": b"\xdb\xff\xff\xff\xff",
    "lying bytes": b"\xc6\xff\xff\xff\xff",
    "too many items": b"\xdc\x10\x01" + b"\x01" * 4097,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_msgpack(name: str) -> None:
    with pytest.raises(MalformedRoster):
        unpack(HOSTILE[name], max_bytes=1 << 20, error=MalformedRoster)


def test_the_library_alone_would_pass_several_of_these() -> None:
    for name in ("integer not minimal", "duplicate key", "not a number", "keys out of order"):
        msgpack.unpackb(HOSTILE[name])


def test_size_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgpack, "unpackb", None)
    with pytest.raises(MalformedEnvelope):
        unpack(bytes(11), max_bytes=10)


def test_nested_lying_lengths_do_not_take_memory() -> None:
    # every level claims as many items as are allowed: 1,024 levels of 32 KiB, and not 1,024 times the input
    bomb = b"\xdc\x0f\xff" * 340_000
    tracemalloc.start()
    try:
        with pytest.raises(MalformedEnvelope):
            unpack(bomb, max_bytes=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [1.5, {1: 2}, {b"a": 1}, {1, 2}, bytearray(b"x"), object(), 2**64])
def test_what_the_format_lacks_is_not_packed(value: object) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        pack(value)


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=3000))
def test_padding_is_taken_off_again(body: bytes) -> None:
    padded = pad(body)
    assert unpad(padded) == body
    assert len(padded) == padded_size(len(body) + 4) >= 256


def test_padded_sizes_are_few_and_cost_little() -> None:
    sizes = [padded_size(size) for size in range(1, 20_000)]
    assert sizes == sorted(sizes)
    assert all(padded_size(size) == size for size in set(sizes))
    assert all(padded <= max(256, size * 1.12) for size, padded in enumerate(sizes, 1))
    assert len(set(sizes)) < 110


def test_padding_that_says_anything_is_refused() -> None:
    padded = pad(b"body" * 100)
    for at in range(404, len(padded)):
        with pytest.raises(MalformedEnvelope):
            unpad(padded[:at] + b"\1" + padded[at + 1 :])
    for broken in cuts(padded):
        with pytest.raises(MalformedEnvelope):
            unpad(broken)
    with pytest.raises(MalformedEnvelope):
        unpad(b"\xff\xff\xff\xff" + bytes(252))
    with pytest.raises(MalformedEnvelope):
        unpad(bytes(4) + bytes(508))  # nothing in 512 bytes: the padded size of nothing is 256

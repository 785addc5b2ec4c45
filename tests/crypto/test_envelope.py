from __future__ import annotations

import dataclasses
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.given import EXAMPLES, Seeded, cuts, device, flips
from vaultsync.crypto import envelope, packing, primitives
from vaultsync.crypto.body import Body, encode, frontier_digest, sign_tip
from vaultsync.crypto.envelope import Header, Kind, open_envelope, peek, seal
from vaultsync.crypto.keys import EpochKey
from vaultsync.errors import BadSeal, BadSignature, MalformedEnvelope, Refused, UpdateRequired, WeakKey

KEYS = device("laptop")
EPOCH = EpochKey.generate(Seeded("epoch"))
VAULT = b"v" * 16
HEADER = Header(Kind.CHANGES, VAULT, b"c" * 16, EPOCH.id, 7, b"p" * 32)


def sealed(body: bytes = b"body", header: Header = HEADER) -> bytes:
    return seal(header, body, KEYS, EPOCH, Seeded("envelope")).data


def opened(data: bytes) -> bytes:
    return open_envelope(data, sign_public=KEYS.public.sign, epoch=EPOCH, vault_id=VAULT)


def resigned(data: bytes) -> bytes:
    """What an insider can do: any bytes with a valid signature of the chain's device."""
    return data[:-64] + KEYS.sign("env-sig", primitives.sha256("env-id", data[:-64]))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=3000), st.integers(1, 2**53), st.sampled_from([Kind.CHANGES, Kind.CHECKPOINT]))
def test_what_was_sealed_is_what_opens(body: bytes, seq: int, kind: Kind) -> None:
    header = dataclasses.replace(HEADER, seq=seq, kind=kind)
    done = seal(header, body, KEYS, EPOCH, Seeded("envelope"))
    assert peek(done.data) == (header, done.env_id)
    assert opened(done.data) == body
    assert len(done.data) == envelope.OVERHEAD + packing.padded_size(len(body) + 4)


def test_an_envelope_of_one_edit_fits_700_bytes() -> None:
    frontier = {b"f" * 16: (12, b"e" * 32)}
    tip = sign_tip(KEYS, VAULT, b"c" * 16, 7, b"h" * 32)
    body = Body(b"r" * 32, 0, frontier, frontier_digest(frontier), 1, b"x" * 180, tip, 1_790_000_000_000)
    assert len(sealed(encode(body))) <= 640
    assert len(sealed(encode(dataclasses.replace(body, frontier={})))) <= 600


@pytest.mark.parametrize("size", [0, 180, 300, 900, 2000])
def test_every_flipped_bit_is_refused(size: int) -> None:
    for broken in flips(sealed(b"b" * size)):
        with pytest.raises((Refused, UpdateRequired)):
            opened(broken)


def test_every_bit_that_an_insider_flips_and_signs_is_refused() -> None:
    # the signature holds here, so this is the commitment's, the cipher's and the header's binding at work
    data = sealed()
    for broken in flips(data[:-64]):
        with pytest.raises((BadSeal, MalformedEnvelope, UpdateRequired)):
            opened(resigned(broken + data[-64:]))


@pytest.mark.parametrize("size", [0, 900])
def test_truncation_and_extension_at_every_offset_are_refused(size: int) -> None:
    for broken in cuts(sealed(b"b" * size)):
        with pytest.raises((MalformedEnvelope, UpdateRequired)):
            opened(broken)


FIELDS = {
    "kind": {"kind": Kind.CHECKPOINT},
    "vault": {"vault_id": b"w" * 16},
    "chain": {"chain_id": b"d" * 16},
    "seq": {"seq": 8},
    "prev": {"prev": b"q" * 32},
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_swapped_header_field_is_refused_even_when_signed(field: str) -> None:
    ours = sealed()
    other = sealed(header=dataclasses.replace(HEADER, **FIELDS[field]))  # type: ignore[arg-type]
    assert other != ours
    grafted = other[:88] + ours[88:]  # the other's header before our sealed bytes
    with pytest.raises(BadSignature if field != "vault" else BadSeal):
        opened(grafted)
    with pytest.raises(BadSeal):
        opened(resigned(grafted))


def test_a_swapped_epoch_is_refused() -> None:
    other = EpochKey.generate(Seeded("other epoch"))
    data = sealed()
    with pytest.raises(BadSeal):
        open_envelope(data, sign_public=KEYS.public.sign, epoch=other, vault_id=VAULT)
    renamed = resigned(data[:40] + other.id + data[48:])
    with pytest.raises(BadSeal):
        open_envelope(renamed, sign_public=KEYS.public.sign, epoch=other, vault_id=VAULT)
    with pytest.raises(BadSeal):
        opened(renamed)


def test_an_envelope_of_another_vault_is_refused() -> None:
    with pytest.raises(BadSeal):
        open_envelope(sealed(), sign_public=KEYS.public.sign, epoch=EPOCH, vault_id=b"w" * 16)


def test_an_envelope_signed_by_another_device_is_refused() -> None:
    with pytest.raises(BadSignature):
        open_envelope(sealed(), sign_public=device("phone").public.sign, epoch=EPOCH, vault_id=VAULT)
    with pytest.raises(WeakKey):
        open_envelope(sealed(), sign_public=b"\1" + bytes(31), epoch=EPOCH, vault_id=VAULT)


def test_the_signature_is_checked_before_the_key_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_reached(*_: object, **__: object) -> bytes:
        raise AssertionError("the epoch key was used on unsigned bytes")

    monkeypatch.setattr(primitives, "open_committed", not_reached)
    broken = sealed()
    with pytest.raises(BadSignature):
        opened(broken[:-1] + bytes((broken[-1] ^ 1,)))


def test_padding_that_says_anything_is_refused_even_when_sealed_and_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "pad", lambda body: (len(body).to_bytes(4, "big") + body).ljust(256, b"\1"))
    data = sealed()
    monkeypatch.undo()
    with pytest.raises(MalformedEnvelope):
        opened(data)


@pytest.mark.parametrize(
    ("at", "value"), [(3, b"2"), (4, b"\2"), (5, b"\3"), (5, b"\4"), (5, b"\0"), (6, b"\1"), (7, b"\1")]
)
def test_a_later_format_suite_kind_or_flag_waits_for_an_update(at: int, value: bytes) -> None:
    data = sealed()
    with pytest.raises(UpdateRequired):
        peek(data[:at] + value + data[at + 1 :])


def test_lying_sizes_and_sequence_number_zero_are_refused() -> None:
    data = sealed()
    for length in (0, 16, 271, 273, 2**32 - 1):
        with pytest.raises(MalformedEnvelope):
            peek(data[:120] + struct.pack(">I", length) + data[124:])
    for seq in (0, 2**53 + 1, 2**64 - 1):
        with pytest.raises(MalformedEnvelope):
            peek(data[:48] + struct.pack(">Q", seq) + data[56:])


@settings(max_examples=EXAMPLES * 5)
@given(st.binary(max_size=700) | st.binary(max_size=700).map(lambda tail: b"VSE1\1\1\0\0" + tail))
def test_arbitrary_bytes_are_a_typed_refusal(data: bytes) -> None:
    with pytest.raises((Refused, UpdateRequired)):
        opened(data)


def test_too_large_is_refused_unread_and_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope.limits, "MAX_ENVELOPE_BYTES", 1000)
    with pytest.raises(MalformedEnvelope):
        peek(b"VSE1" + bytes(997))
    with pytest.raises(ValueError, match="larger"):
        sealed(bytes(900))


def test_callers_cannot_seal_under_an_epoch_the_header_does_not_name_or_a_roster_entry() -> None:
    with pytest.raises(ValueError, match="epoch"):
        seal(HEADER, b"", KEYS, EpochKey.generate(Seeded("other")), Seeded("x"))
    with pytest.raises(ValueError, match="roster"):
        sealed(header=dataclasses.replace(HEADER, kind=Kind.ROSTER))
    with pytest.raises(MalformedEnvelope):
        dataclasses.replace(HEADER, prev=b"short")


def test_a_repeated_random_source_does_not_reuse_a_key() -> None:
    one, two = sealed(b"one"), sealed(b"two")
    assert one[88:120] != two[88:120]
    assert sealed(b"one") == one

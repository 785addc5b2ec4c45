from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from tests.crypto.given import Seeded, cuts, device, flips
from vaultsync import limits
from vaultsync.crypto import primitives as p
from vaultsync.errors import BadSeal, BadSignature, UsageError, WeakKey

PRIME = 2**255 - 19
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
SMALL_ORDER_NOT_CANONICAL = [
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]
SMALL_ORDER_X25519 = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


# ---- verification keys ------------------------------------------------------------------------------------------


def test_the_library_accepts_a_forgery_under_a_small_order_key() -> None:
    # the reason for the next test; if it ever fails, the library has begun to refuse such keys itself
    identity = bytes.fromhex(SMALL_ORDER[0])
    Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), b"anything at all")


@pytest.mark.parametrize("key", SMALL_ORDER + SMALL_ORDER_NOT_CANONICAL)
def test_small_order_verification_keys_are_refused_where_accepted_and_where_used(key: str) -> None:
    with pytest.raises(WeakKey):
        p.check_sign_public(bytes.fromhex(key))
    with pytest.raises(WeakKey):
        p.verify(bytes.fromhex(key), bytes.fromhex(SMALL_ORDER[0]) + bytes(32), "env-sig", b"anything at all")


@pytest.mark.parametrize("y", range(19))
def test_every_encoding_above_the_prime_is_refused(y: int) -> None:
    for sign in (0, 1 << 255):
        with pytest.raises(WeakKey):
            p.check_sign_public((PRIME + y | sign).to_bytes(32, "little"))


def test_what_is_no_point_of_the_curve_is_refused_and_real_keys_are_not() -> None:
    refused = 0
    for y in range(2, 60):
        try:
            p.check_sign_public(y.to_bytes(32, "little"))
        except WeakKey:
            refused += 1
    assert 15 < refused < 45  # about half of all y have no x
    for name in "abcdefgh":
        p.check_sign_public(device(name).public.sign)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_of_another_size_are_refused(size: int) -> None:
    with pytest.raises(WeakKey):
        p.check_sign_public(b"\2" * size)
    with pytest.raises(WeakKey):
        p.check_kem_public(b"\2" * size)


@pytest.mark.parametrize("key", SMALL_ORDER_X25519)
def test_small_order_encryption_keys_are_refused(key: str) -> None:
    kem = device("a").public.kem
    p.check_kem_public(kem)
    with pytest.raises(WeakKey):
        p.check_kem_public(kem[:1184] + bytes.fromhex(key))


def test_an_encryption_key_with_coefficients_out_of_range_is_refused() -> None:
    with pytest.raises(WeakKey):
        p.check_kem_public(b"\xff" * 1184 + device("a").public.kem[1184:])


def test_signatures_do_not_move_between_uses_keys_or_messages() -> None:
    a, b = device("a"), device("b")
    signature = a.sign("tip", b"message")
    p.verify(a.public.sign, signature, "tip", b"message")
    for public, use, message in [
        (b.public.sign, "tip", b"message"),
        (a.public.sign, "env-sig", b"message"),
        (a.public.sign, "tip", b"massage"),
    ]:
        with pytest.raises(BadSignature):
            p.verify(public, signature, use, message)
    for broken in [*flips(signature), *cuts(signature)]:
        with pytest.raises(BadSignature):
            p.verify(a.public.sign, broken, "tip", b"message")


def test_no_label_is_a_prefix_of_another() -> None:
    labels = [p.label(name) for name in ("env", "env-id", "env-sig", "row", "roster", "roster-sig", "account")]
    assert not any(a != b and b.startswith(a) for a in labels for b in labels)


# ---- commitment -------------------------------------------------------------------------------------------------


def _mac_key(key: bytes, nonce: bytes) -> tuple[int, int]:
    block = Cipher(algorithms.ChaCha20(key, bytes(4) + nonce), None).encryptor().update(bytes(32))
    return int.from_bytes(block[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF, int.from_bytes(
        block[16:], "little"
    )


def _opens_under_both(first: tuple[bytes, bytes], second: tuple[bytes, bytes], aad: bytes) -> bytes:
    """One ciphertext with one tag for two (key, nonce): Poly1305 is linear, so one free block is enough."""
    prime = 2**130 - 5
    macs = [_mac_key(*first), _mac_key(*second)]
    for attempt in range(1000):
        fixed = attempt.to_bytes(16, "big")
        lengths = len(aad).to_bytes(8, "little") + (32).to_bytes(8, "little")
        blocks = [aad[at : at + 16].ljust(16, b"\0") for at in range(0, len(aad), 16)] + [fixed, None, lengths]
        sums = []
        for r, _ in macs:
            total = sum(
                (int.from_bytes(block, "little") + 2**128) * pow(r, len(blocks) - at, prime)
                for at, block in enumerate(blocks)
                if block is not None
            )
            sums.append(total % prime)
        factor = pow(pow(macs[0][0], 2, prime) - pow(macs[1][0], 2, prime), -1, prime)
        for carry in range(-4, 5):
            free = (sums[1] - sums[0] + macs[1][1] - macs[0][1] + carry * 2**128) * factor % prime
            if not 2**128 <= free < 2**129:
                continue
            tags = {
                ((total + free * pow(r, 2, prime)) % prime + s) % 2**128
                for total, (r, s) in zip(sums, macs, strict=True)
            }
            if len(tags) == 1:
                return fixed + (free - 2**128).to_bytes(16, "little") + tags.pop().to_bytes(16, "little")
    raise AssertionError("no such ciphertext was found")


def test_a_ciphertext_that_opens_under_two_keys_is_refused_at_the_commitment(monkeypatch: pytest.MonkeyPatch) -> None:
    salt, context = b"s" * 32, b"context"
    derived = [p.hkdf(bytes((k,)) * 32, salt=salt, use="slot", context=context, length=76) for k in (1, 2)]
    commitment = derived[0][32:64]
    aad = context + commitment
    sealed = _opens_under_both(*((okm[:32], okm[64:]) for okm in derived), aad)  # type: ignore[misc]
    for okm in derived:  # the bare cipher opens it under both
        assert len(p.open_aead(okm[:32], okm[64:], sealed, aad)) == 32
    p.open_committed(b"\1" * 32, salt=salt, use="slot", context=context, sealed=commitment + sealed)

    def not_reached(*_: object) -> bytes:
        raise AssertionError("decrypted before the commitment was checked")

    monkeypatch.setattr(p, "open_aead", not_reached)
    with pytest.raises(BadSeal):
        p.open_committed(b"\2" * 32, salt=salt, use="slot", context=context, sealed=commitment + sealed)


# ---- key derivation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        p.Argon2Params(2**32 - 1, 3, 4),
        p.Argon2Params(limits.ARGON2_MAX_KIB + 1, 3, 4),
        p.Argon2Params(limits.ARGON2_MIN_KIB - 1, 3, 4),
        p.Argon2Params(1 << 16, limits.ARGON2_MAX_PASSES + 1, 4),
        p.Argon2Params(1 << 16, 0, 4),
        p.Argon2Params(1 << 16, 3, limits.ARGON2_MAX_LANES + 1),
        p.Argon2Params(1 << 16, 3, 0),
        p.WEAK_FOR_TESTS,
    ],
)
def test_costs_outside_the_bounds_are_refused_before_the_library_sees_them(
    params: p.Argon2Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_reached(**_: object) -> None:
        raise AssertionError("handed to the library, which allocates what it is told")

    monkeypatch.setattr(p, "Argon2id", not_reached)
    with pytest.raises(UsageError):
        p.argon2id(b"password", salt=bytes(32), params=params)


def test_passwords_are_the_same_however_they_were_composed() -> None:
    assert p.normalise_password("pässword") == p.normalise_password("pa\u0308ssword")


@pytest.mark.parametrize("password", ["", "x" * 4097, "ä" * 2049, "a\ud800b"])
def test_unusable_passwords_are_a_usage_error_that_does_not_hold_them(password: str) -> None:
    with pytest.raises(UsageError) as caught:
        p.normalise_password(password)
    assert not password or password not in repr(caught.value)
    assert caught.value.__context__ is None


def test_a_source_that_gives_too_little_is_not_used() -> None:
    with pytest.raises(RuntimeError):
        p.draw(lambda size: b"x" * (size - 1), 16)


def test_grants_open_only_for_their_recipient_and_their_info() -> None:
    a, b = device("a"), device("b")
    sealed = p.hpke_seal(a.public.kem, b"k" * 32, b"info")
    assert len(sealed) == 1168
    assert a.open_grant(sealed, b"info") == b"k" * 32
    for keys, info in [(b, b"info"), (a, b"other"), (a, b"")]:
        with pytest.raises(BadSeal):
            keys.open_grant(sealed, info)
    for broken in [*flips(sealed, every_bit=False), sealed[:-1], sealed + b"\0", b"", sealed[:1120]]:
        with pytest.raises(BadSeal):
            a.open_grant(broken, b"info")


def test_seeded_entropy_repeats() -> None:
    assert Seeded("x")(32) == Seeded("x")(32) != Seeded("y")(32)

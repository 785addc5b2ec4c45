from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.given import EXAMPLES, Seeded, cuts, flips
from vaultsync.crypto.rows import LocalKey
from vaultsync.errors import BadSeal

KEY = LocalKey.generate(Seeded("local"))


@settings(max_examples=EXAMPLES)
@given(
    st.text(max_size=20), st.binary(max_size=20) | st.text(max_size=20), st.binary(max_size=500), st.binary(max_size=70)
)
def test_a_row_opens_in_its_place(table: str, row_key: bytes | str, plaintext: bytes, heads: bytes) -> None:
    sealed = KEY.seal(table, row_key, plaintext, heads)
    assert KEY.open(table, row_key, sealed, heads) == plaintext
    assert len(sealed) == len(plaintext) + 41


PLACES = st.tuples(st.text("ab", max_size=2), st.binary(max_size=2), st.binary(max_size=2))


@settings(max_examples=EXAMPLES)
@given(PLACES, PLACES)
def test_a_row_moved_to_another_place_is_refused(
    here: tuple[str, bytes, bytes], there: tuple[str, bytes, bytes]
) -> None:
    # short parts of a tiny alphabet: ("ab", b"") and ("a", b"b") must be two places
    sealed = KEY.seal(here[0], here[1], b"row", here[2])
    if here == there:
        assert KEY.open(there[0], there[1], sealed, there[2]) == b"row"
    else:
        with pytest.raises(BadSeal):
            KEY.open(there[0], there[1], sealed, there[2])


@pytest.mark.parametrize(
    "place",
    [
        ("journal", b"1", b""),
        ("journa", b"lab", b""),
        ("journal", b"", b"ab"),
        ("journal", b"a", b"b"),
        ("", b"journalab", b""),
    ],
)
def test_parts_of_a_place_do_not_run_into_each_other(place: tuple[str, bytes, bytes]) -> None:
    sealed = KEY.seal("journal", b"ab", b"row")
    with pytest.raises(BadSeal):
        KEY.open(place[0], place[1], sealed, place[2])


def test_a_row_of_another_store_is_refused_even_under_the_same_key() -> None:
    other = LocalKey(bytes(16), KEY.to_bytes()[16:], Seeded("x"))
    with pytest.raises(BadSeal):
        other.open("journal", b"1", KEY.seal("journal", b"1", b"row"))


@pytest.mark.parametrize("size", [0, 1, 100])
def test_every_flipped_bit_and_every_cut_is_refused(size: int) -> None:
    sealed = KEY.seal("journal", b"1", b"r" * size, b"heads")
    for broken in [*flips(sealed), *cuts(sealed)]:
        with pytest.raises(BadSeal):
            KEY.open("journal", b"1", broken, b"heads")


def test_a_machine_that_repeats_its_random_numbers_does_not_repeat_a_salt() -> None:
    stuck = LocalKey(KEY.store_id, KEY.to_bytes()[16:], lambda size: b"\7" * size)
    rows = [stuck.seal("t", b"k", b"one"), stuck.seal("t", b"k", b"two"), stuck.seal("t", b"l", b"one")]
    assert len({row[1:25] for row in rows}) == 3


def test_sealing_the_same_row_twice_gives_other_bytes() -> None:
    assert KEY.seal("journal", b"1", b"row") != KEY.seal("journal", b"1", b"row")

"""Packs: what goes in comes out, small, and hostile packs cost little."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.document.model import ACTORS, ANN, BOB, EXAMPLES, IDS, exact, histories, merge_all, play
from vaultsync.document.changes import decode, pack, unpack, unpack_changes
from vaultsync.document.columns import to_unsigned
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.layout import GENESIS
from vaultsync.errors import MalformedChange

many = settings(max_examples=EXAMPLES or 150, deadline=None)
ROOM = 1 << 24


def thousand_edits() -> list[bytes]:
    rng = random.Random(7)
    letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789!-+?"
    ids = [f"01HZY{n:021d}" for n in range(2000)]
    engine = Engine.new()
    fields = ("title", "username", "password", "url")
    engine.commit(ANN, [Edit("entries", i, f, "v") for i in ids for f in (*fields, f"$edited/{ANN.hex()}")])
    out = []
    for n in range(1000):
        entry = rng.choice(ids)
        secret = "".join(rng.choices(letters, k=20))
        edits = [Edit("entries", entry, rng.choice(fields), secret)]
        edits.append(Edit("entries", entry, f"$edited/{BOB.hex()}", 1_790_000_000_000 + 977 * n))
        out += [change.chunk for change in engine.commit(BOB, edits)]
    return out


@given(histories)
@many
def test_unpack_is_the_inverse_of_pack(history):
    devices, _ = play(history)
    merge_all(devices)
    for actor in ACTORS:
        chunks = devices[0].own_changes(actor, 0)
        data = pack(chunks)
        assert unpack(data, max_bytes=ROOM) == chunks
        assert exact(unpack_changes(data, max_bytes=ROOM)) == exact([decode(chunk) for chunk in chunks])
        assert len(data) <= sum(map(len, chunks)) + 1 + 3 * len(chunks)


def test_changes_that_are_no_chain_come_back_all_the_same():
    _, made = play([("write", n % 3, [Edit("entries", IDS[n % 4], "title", f"t{n}")]) for n in range(9)])
    chunks = [GENESIS, *(change.chunk for change in made), made[0].chunk]
    assert unpack(pack(chunks), max_bytes=ROOM) == chunks
    assert unpack(pack([]), max_bytes=ROOM) == []


def test_a_thousand_edits_fit_into_36_kb_and_one_hardly_grows():
    chunks = thousand_edits()
    data = pack(chunks)
    assert unpack(data, max_bytes=ROOM) == chunks
    assert len(data) <= 36_000
    assert len(pack(chunks[:1])) <= len(chunks[0]) + 4


def test_values_are_sent_untouched():
    """Sizes must not tell what values have in common: equal values and different ones pack to the same length."""
    sizes = set()
    for texts in (["s" * 20] * 50, [f"{n:020d}" for n in range(50)], ["secret" * 3 + f"{n:02d}" for n in range(50)]):
        engine = Engine.new()
        engine.commit(ANN, [Edit("entries", IDS[0], "password", "p")])
        chunks = []
        for n, text in enumerate(texts):
            engine.commit(ANN, [Edit("entries", IDS[0], "password", f"other{n}")])
            chunks += [change.chunk for change in engine.commit(BOB, [Edit("entries", IDS[0], "password", text)])]
        sizes.add(len(pack(chunks)))
        assert len(chunks) == 50
    assert len(sizes) == 1


@given(st.data())
@settings(max_examples=EXAMPLES or 400, deadline=None)
def test_a_garbled_pack_is_refused_or_gives_changes(data):
    garbled = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(garbled) - 1))
        garbled[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        changes = unpack_changes(bytes(garbled), max_bytes=ROOM)
    except MalformedChange:
        return
    assert [decode(change.chunk) for change in changes] == changes


@given(st.binary(max_size=200), st.sampled_from([b"", b"\0", b"\1", b"\1\1\5\1\x10" + BOB]))
@settings(max_examples=EXAMPLES or 400, deadline=None)
def test_arbitrary_bytes_are_refused_or_give_changes(data, head):
    try:
        changes = unpack_changes(head + data, max_bytes=ROOM)
    except MalformedChange:
        return
    assert [decode(change.chunk) for change in changes] == changes


def test_more_than_allowed_is_refused():
    chunks = thousand_edits()[:50]
    data = pack(chunks)
    with pytest.raises(MalformedChange):
        unpack(data, max_bytes=sum(map(len, chunks)) - 1)
    with pytest.raises(MalformedChange):
        unpack(bytes([0]) + b"".join(to_unsigned(len(c)) + c for c in chunks), max_bytes=2_000)
    with pytest.raises(MalformedChange):
        unpack(b"\7" + data[1:], max_bytes=ROOM)


PACKED = pack(thousand_edits()[:6])


def test_a_pack_whose_columns_end_too_soon_is_malformed():
    """An insider's pack that names more rows than it has: every byte in turn made a small length."""
    packed = pack(thousand_edits()[:12])
    assert packed[0] == 1, "in columns"
    for at in range(1, len(packed)):
        for length in (0, 1, 3):
            with suppress(MalformedChange):
                unpack(packed[:at] + bytes((length,)) + packed[at + 1 :], max_bytes=ROOM)

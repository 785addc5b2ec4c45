"""What is fixed for ever: the first change. And ids and the format's version."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultsync.document.engine import Engine
from vaultsync.document.layout import (
    FORMAT,
    GENESIS,
    GENESIS_HASH,
    SECTION_OBJECTS,
    SECTIONS,
    Format,
    is_entry_id,
    new_ulid,
    parse_format,
    writable_format,
)
from vaultsync.errors import UpdateRequired


def test_the_first_change_never_changes():
    assert GENESIS_HASH.hex() == "1afc8ec6e235af16e6c8f21ac400561f0ccd6b6363c7b4382af6ba55a7bfb9db"
    assert sha256(GENESIS).hexdigest() == "811ccd2d507c616394e2e13d6a05077fe5b474c0a0781f4a56fe33d7adc07f38"


def test_a_new_vault_is_the_first_change_and_nothing_else():
    engine = Engine.new()
    assert engine.heads == (GENESIS_HASH,)
    assert engine.changes() == [GENESIS]
    assert engine.entry_ids() == []
    assert {section: engine.read(section) for section in SECTIONS[1:]} == {section: {} for section in SECTIONS[1:]}
    assert Engine.load(engine.save()).heads == engine.heads


def test_sections_are_where_the_gate_believes_them():
    engine = Engine.new()
    for section, obj in SECTION_OBJECTS.items():
        assert engine.place(obj) == (section, "")


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_a_ulid_holds_its_time_and_entropy(now, seed):
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    made = new_ulid(now, lambda n: seed[:n])
    assert is_entry_id(made)
    number = 0
    for letter in made:
        number = number << 5 | alphabet.index(letter)
    assert number == now << 80 | int.from_bytes(seed)


def test_ulids_sort_by_time():
    ids = [new_ulid(now, lambda n, now=now: bytes([255 - now % 256]) * n) for now in range(1, 2000, 7)]
    assert ids == sorted(ids)


@given(st.text(max_size=30))
def test_only_ulids_are_entry_ids(text):
    assert not is_entry_id(text)


def test_the_format_decides_who_may_read_and_write():
    assert writable_format(None)
    assert writable_format(str(FORMAT))
    assert not writable_format("1.2")
    for newer in ("2.2", "2.1", "x", "", "1", "1.1.1", "01.1", 5, True, 1.1):
        with pytest.raises(UpdateRequired):
            writable_format(newer)


@given(st.integers(0, 999_999), st.integers(0, 999_999))
def test_a_format_is_read_as_it_was_written(reader, writer):
    assert parse_format(str(Format(reader, writer))) == Format(reader, writer)

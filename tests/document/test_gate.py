"""Changes that only an attacker (or a broken device) would make, each refused by name and with nothing applied."""

from __future__ import annotations

import zlib
from hashlib import sha256

import pytest

from tests.document.model import (
    ANN,
    BOB,
    EVE,
    IDS,
    SETTINGS_OBJECT,
    delete,
    everything,
    forge,
    make,
    put,
)
from vaultsync.document.changes import decode, encode
from vaultsync.document.columns import to_unsigned, unsigned
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.layout import GENESIS, GENESIS_ACTOR, GENESIS_HASH, SECTION_OBJECTS
from vaultsync.errors import MalformedChange, MissingDependencies
from vaultsync.limits import MAX_FLAT_KEY_CHARS, MAX_KEY_CHARS, MAX_OP_COUNTER, MAX_VALUE_BYTES

ENTRIES = SECTION_OBJECTS["entries"]


@pytest.fixture
def engine() -> Engine:
    """Ann's vault: one entry (made by op 5) with title (6) and password (7), then password again (8)."""
    engine = Engine.new()
    engine.commit(ANN, [Edit("entries", IDS[0], "title", "t"), Edit("entries", IDS[0], "password", "p")])
    engine.commit(ANN, [Edit("entries", IDS[0], "password", "q")])
    return engine


ENTRY, TITLE, OLD_PASSWORD, PASSWORD = (5, ANN), (6, ANN), (7, ANN), (8, ANN)


def first_of_eve(engine: Engine, *ops, **more) -> bytes:
    return forge(*ops, **{"start": 9, "deps": engine.heads, **more})


def refused(engine: Engine, reason: str, *chunks: bytes, actor: bytes | None = None) -> None:
    before = engine.heads, everything(engine), engine.save()
    with pytest.raises(MalformedChange, match=reason):
        engine.apply(list(chunks), actor=actor)
    assert (engine.heads, everything(engine), engine.save()) == before
    assert not engine.dirty
    engine.commit(BOB, [Edit("entries", IDS[0], "title", "still works")])


def reframed(contents: bytes, kind: int = 1) -> bytes:
    """A chunk around these contents with the right checksum."""
    raw = contents if kind == 1 else zlib.decompressobj(-15).decompress(contents)
    checksum = sha256(b"\x01" + to_unsigned(len(raw)) + raw).digest()[:4]
    return b"\x85\x6f\x4a\x83" + checksum + bytes((kind,)) + to_unsigned(len(contents)) + contents


def contents_of(chunk: bytes) -> bytes:
    at = 9
    while chunk[at] > 127:
        at += 1
    return chunk[at + 1 :]


def test_an_honest_change_passes(engine):
    chunk = first_of_eve(engine, put(ENTRY, "title", "u", TITLE), put(ENTRY, "note", "n"), make(IDS[1]))
    touched = engine.apply([chunk], actor=EVE).touched
    assert touched == {("entries", IDS[0]): {"title", "note"}, ("entries", IDS[1]): frozenset()}


# ---- places -----------------------------------------------------------------------------------------------------
def test_writing_to_the_root(engine):
    refused(engine, "root", first_of_eve(engine, put(None, "evil")))


def test_a_second_genesis_by_another_actor(engine):
    refused(engine, "root", forge(make("entries", None), start=1, deps=()))


def test_another_change_by_the_actor_of_the_genesis(engine):
    refused(engine, "actor that no device", first_of_eve(engine, put(ENTRY, "a"), actor=GENESIS_ACTOR, seq=2))


def test_the_genesis_again_is_nothing_new(engine):
    assert engine.apply([GENESIS]).known == 1


@pytest.mark.parametrize("obj", [(99, ANN), (5, BOB), (9, GENESIS_ACTOR), (0, ANN)])
def test_an_unknown_object(engine, obj):
    refused(engine, "cannot know", first_of_eve(engine, put(obj, "title")))


@pytest.mark.parametrize("obj", [(None, ANN), (None, EVE)])
def test_an_object_without_a_number(engine, obj):
    """Found by fuzzing: such a change could be encoded, and stopped the device that received it."""
    refused(engine, "no whole operation", first_of_eve(engine, put(obj, "title")))


def test_an_operation_without_a_key(engine):
    refused(engine, "no whole operation", first_of_eve(engine, put(ENTRY, None)))


def test_overwriting_what_has_no_number(engine):
    contents = contents_of(first_of_eve(engine, put(ENTRY, "title", "u", TITLE)))
    assert contents.endswith(b"\x7f\x06"), "the last column: one number"
    refused(engine, "garbled", reframed(contents[:-2] + b"\0\1"))


def test_overwriting_somebody_elses_value_in_an_entry_that_the_same_change_makes(engine):
    """Found by fuzzing: the engine was asked for an object that it does not have, and failed."""
    refused(engine, "no value of its key", first_of_eve(engine, make(IDS[1]), put((9, EVE), "title", "u", TITLE)))


@pytest.mark.parametrize("pred", [(1, GENESIS_ACTOR), (4, GENESIS_ACTOR), ENTRY])
def test_overwriting_what_is_older_than_the_entry(engine, pred):
    refused(engine, "no value of its key", first_of_eve(engine, put(ENTRY, "title", "u", pred)))


def test_a_value_used_as_an_object(engine):
    refused(engine, "cannot know", first_of_eve(engine, put(TITLE, "title")))


def test_an_object_that_a_later_operation_makes(engine):
    refused(engine, "cannot know", first_of_eve(engine, put((10, EVE), "title"), make(IDS[1])))


def test_an_object_that_is_known_here_but_not_in_the_past_of_the_change(engine):
    refused(engine, "cannot know", forge(put(ENTRY, "title"), start=5, deps=[GENESIS_HASH]))


def test_a_map_in_an_entry(engine):
    refused(engine, "only scalars belong", first_of_eve(engine, make("nested", ENTRY)))


def test_a_map_in_a_flat_section(engine):
    refused(engine, "only scalars belong", first_of_eve(engine, make("nested", SETTINGS_OBJECT)))


def test_a_scalar_among_the_entries(engine):
    refused(engine, "among the entries", first_of_eve(engine, put(ENTRIES, IDS[1], "x")))


def test_deleting_an_entry(engine):
    refused(engine, "among the entries", first_of_eve(engine, delete(ENTRIES, IDS[0], ENTRY)))


def test_making_an_entry_over_another(engine):
    refused(engine, "over another", first_of_eve(engine, make(IDS[0], ENTRIES, ENTRY)))


@pytest.mark.parametrize("entry", ["", "x", "../../etc", IDS[0].lower(), IDS[0] + "0", "8" + IDS[0][1:], IDS[0] + "\n"])
def test_an_entry_id_that_is_no_ulid(engine, entry):
    refused(engine, "not a ULID", first_of_eve(engine, make(entry)))


# ---- keys and values --------------------------------------------------------------------------------------------
def test_an_empty_key(engine):
    refused(engine, "key is empty", first_of_eve(engine, put(ENTRY, "")))


def test_keys_that_are_too_long(engine):
    engine.apply([first_of_eve(engine, put(ENTRY, "k" * MAX_KEY_CHARS))])
    refused(engine, "longer", forge(put(ENTRY, "k" * (MAX_KEY_CHARS + 1)), seq=2, start=10, deps=engine.heads))
    following = engine.change_info(engine.heads[0]).max_op + 1
    long = put(SETTINGS_OBJECT, "k" * (MAX_FLAT_KEY_CHARS + 1))
    refused(engine, "longer", forge(long, seq=2, start=following, deps=engine.heads))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite(engine, number):
    refused(engine, "not finite", first_of_eve(engine, put(ENTRY, "pin", number)))


def test_a_value_larger_than_allowed(engine):
    refused(engine, "value is larger", first_of_eve(engine, put(ENTRY, "note", "x" * (MAX_VALUE_BYTES + 1))))


@pytest.mark.parametrize("kind", [3, 7, 8, 9, 10, 15])  # unsigned, bytes, counter, timestamp, unknown
def test_kinds_that_a_vault_does_not_hold(engine, kind):
    contents = contents_of(first_of_eve(engine, put(ENTRY, "pin", 5)))
    as_int, as_kind = bytes((0x7F, 1 << 4 | 4)), bytes((0x7F, *to_unsigned(1 << 4 | kind)))
    assert contents.count(as_int) == 1
    refused(engine, "kind that a vault does not hold", reframed(contents.replace(as_int, as_kind)))


@pytest.mark.parametrize("action", [2, 4, 5, 6, 7, 99])  # list, text, increment, table, mark, unknown
def test_actions_that_a_vault_does_not_know(engine, action):
    honest = first_of_eve(engine, make(IDS[1]))
    contents = contents_of(honest)
    at = contents.index(IDS[1].encode()) + 27  # behind the key: no insertions; then the action
    assert contents[at : at + 2] == b"\x7f\x00"
    refused(engine, "garbled", reframed(contents[: at + 1] + bytes((action,)) + contents[at + 2 :]))


def test_an_integer_beyond_64_bits(engine):
    refused(engine, "out of range|too long|canonical", first_of_eve(engine, put(ENTRY, "pin", 1 << 63)))
    refused(engine, "out of range|too long|canonical", first_of_eve(engine, put(ENTRY, "pin", -(1 << 70))))


def test_a_deletion_with_a_value(engine):
    refused(engine, "deletion with a value", first_of_eve(engine, delete(ENTRY, "title", TITLE)._replace(value="x")))


# ---- what is overwritten ----------------------------------------------------------------------------------------
def test_deleting_nothing(engine):
    refused(engine, "deletion of nothing", first_of_eve(engine, delete(ENTRY, "title")))


@pytest.mark.parametrize(
    "pred", [PASSWORD, ENTRY, (99, ANN), (6, BOB), (1, GENESIS_ACTOR)], ids=["key", "map", "future", "actor", "section"]
)
def test_overwriting_what_is_no_value_of_the_key(engine, pred):
    refused(engine, "no value of its key|cannot know", first_of_eve(engine, put(ENTRY, "title", "x", pred)))


def test_overwriting_what_was_overwritten_is_allowed(engine):
    """Harmless. And the value that its author knew and left is not passed off as a concurrent one."""
    assert engine.conflicts(IDS[0]) == {}
    engine.apply([first_of_eve(engine, put(ENTRY, "password", "x", OLD_PASSWORD))])
    for each in (engine, Engine.load(engine.save())):
        assert each.read("entries", IDS[0])["password"] == "x"
        assert each.conflicts(IDS[0]) == {}
    engine.commit(ANN, [Edit("entries", IDS[0], "password", "y")])  # overwrites both of them
    other = Engine.new()
    other.apply(engine.changes())


def test_overwriting_a_deletion(engine):
    engine.commit(ANN, [Edit("entries", IDS[0], "gone", 1)])  # 9
    engine.apply([first_of_eve(engine, delete(ENTRY, "gone", (9, ANN)), start=10)])
    chunk = forge(put(ENTRY, "gone", 2, (10, EVE)), seq=2, start=11, deps=engine.heads)
    refused(engine, "no value of its key", chunk)


def test_overwriting_a_value_that_its_own_change_had_replaced(engine):
    """Nobody ever saw it, so nobody can name it, whatever else has arrived at the one who checks."""
    two = first_of_eve(engine, put(ENTRY, "n", 1), put(ENTRY, "n", 2, (9, EVE)))
    evil = forge(put(ENTRY, "n", 3, (9, EVE)), seq=2, start=11, deps=[decode(two).hash])
    refused(engine, "no value of its key", two, evil)
    other = Engine.new()
    other.apply(engine.changes()[1:3])
    other.apply([two])
    refused(other, "no value of its key", evil)


def test_ignoring_a_value_of_the_same_change(engine):
    refused(engine, "ignores the value", first_of_eve(engine, put(ENTRY, "n", 1), put(ENTRY, "n", 2)))


def test_overwriting_one_thing_twice(engine):
    refused(engine, "named twice", first_of_eve(engine, put(ENTRY, "title", "x", TITLE, TITLE)))


def test_overwriting_out_of_order(engine):
    both = first_of_eve(engine, put(ENTRY, "password", "x", OLD_PASSWORD, PASSWORD))
    contents = contents_of(both)
    in_order, out_of_order = b"\x7e\x07\x01", b"\x7e\x08\x7f"  # counters as differences: 7, 8 and 8, 7
    assert contents.count(in_order) == 1
    refused(engine, "canonical", reframed(contents.replace(in_order, out_of_order)))


def test_overwriting_what_is_not_in_the_past_of_the_change(engine):
    old = engine.changes()[1]
    chunk = forge(put(ENTRY, "password", "x", PASSWORD), start=8, deps=[decode(old).hash])
    refused(engine, "past|cannot know", chunk)


def test_overwriting_a_later_operation_of_itself(engine):
    refused(engine, "cannot know", first_of_eve(engine, put(ENTRY, "n", 1, (10, EVE)), put(ENTRY, "n", 2)))


# ---- order ------------------------------------------------------------------------------------------------------
def test_an_unknown_dependency_is_waiting_and_no_offence(engine):
    before = engine.save()
    with pytest.raises(MissingDependencies) as caught:
        engine.apply([first_of_eve(engine, put(ENTRY, "title"), deps=[*engine.heads, b"\x55" * 32])])
    assert caught.value.hashes == (b"\x55" * 32,)
    assert engine.save() == before
    assert not engine.dirty


def test_a_gap_in_the_chain(engine):
    refused(engine, "not the next", first_of_eve(engine, put(ENTRY, "n"), seq=2))


def test_two_changes_at_one_place_of_the_chain(engine):
    """Equivocation, or a restored backup."""
    engine.apply([first_of_eve(engine, put(ENTRY, "n", 1))])
    other = forge(put(ENTRY, "n", 2), seq=1, start=9, deps=[decode(engine.changes()[2]).hash])
    refused(engine, "not the next", other)


def test_a_change_that_does_not_build_on_its_actors_last(engine):
    """Two changes of one actor that do not know each other would hand out the same operation ids twice."""
    engine.apply([first_of_eve(engine, put(ENTRY, "n", 1))])
    beside = forge(put(ENTRY, "m", 2), seq=2, start=9, deps=[decode(engine.changes()[2]).hash])
    refused(engine, "does not build on", beside)


@pytest.mark.parametrize("start", [1, 8, 10, MAX_OP_COUNTER - 1])
def test_operation_counters_that_do_not_follow(engine, start):
    refused(engine, "do not continue", first_of_eve(engine, put(ENTRY, "n", 1), start=start))


def test_a_counter_that_would_stop_all_writing(engine):
    refused(engine, "out of range", first_of_eve(engine, put(ENTRY, "n", 1), start=(1 << 32) - 2))


def test_sequence_number_nought(engine):
    refused(engine, "out of range", first_of_eve(engine, put(ENTRY, "n", 1), seq=0))


def test_a_change_on_the_wrong_chain(engine):
    refused(engine, "another actor", first_of_eve(engine, put(ENTRY, "n", 1)), actor=BOB)


@pytest.mark.parametrize("actor", [b"", b"x", b"x" * 15, b"x" * 17])
def test_actors_of_another_length(engine, actor):
    refused(engine, "actor that no device", first_of_eve(engine, put(ENTRY, "n", 1), actor=actor))


def test_a_dependency_named_twice(engine):
    refused(engine, "twice|canonical", first_of_eve(engine, put(ENTRY, "n", 1), deps=[*engine.heads, *engine.heads]))


def test_no_dependencies_at_all(engine):
    refused(engine, "cannot know", forge(put(ENTRY, "n", 1), start=1, deps=()))


# ---- bytes ------------------------------------------------------------------------------------------------------
def test_a_time_and_a_message(engine):
    """Nothing reads them, and this library writes none."""
    contents = contents_of(first_of_eve(engine, put(ENTRY, "n", 1)))
    at = 1 + 32 + 1 + 16 + 2
    assert contents[at : at + 2] == b"\0\0"
    refused(engine, "time or a message", reframed(contents[:at] + b"\5\0" + contents[at + 2 :]))
    refused(engine, "time or a message", reframed(contents[:at] + b"\0\1x" + contents[at + 2 :]))


def test_a_deflated_change_is_refused_unopened(engine):
    contents = contents_of(first_of_eve(engine, put(ENTRY, "n", "x" * 500)))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    refused(engine, "deflated", reframed(deflate.compress(contents) + deflate.flush(), kind=2))


def test_a_wrong_checksum(engine):
    chunk = bytearray(first_of_eve(engine, put(ENTRY, "n", 1)))
    chunk[5] ^= 1
    refused(engine, "checksum", bytes(chunk))


def test_every_way_of_cutting_a_change_short(engine):
    chunk = first_of_eve(engine, put(ENTRY, "n", 1))
    contents = contents_of(chunk)
    for end in range(len(chunk)):
        with pytest.raises(MalformedChange):
            engine.apply([chunk[:end]])
    for end in range(len(contents)):
        with pytest.raises(MalformedChange):
            engine.apply([reframed(contents[:end])])
    refused(engine, "cut short|canonical", reframed(contents + b"\0"))
    refused(engine, "cut short|follows", chunk + b"\0")


def test_numbers_in_more_bytes_than_needed(engine):
    contents = contents_of(first_of_eve(engine, put(ENTRY, "n", 1)))
    assert contents[0] == 1
    refused(engine, "canonical", reframed(b"\x81\x00" + contents[1:]))


@pytest.mark.parametrize("more", [1, 2, 5])
def test_a_length_in_more_bytes_than_needed(engine, more):
    """The length stands outside of the contents, but is hashed with them: the engine took it and gave the change
    another hash, so whoever received it had to load the document anew."""
    contents = contents_of(first_of_eve(engine, put(ENTRY, "n", 1)))
    length = to_unsigned(len(contents))
    longer = length[:-1] + bytes((length[-1] | 128, *[128] * (more - 1), 0))
    assert unsigned(longer, 0) == (len(contents), len(length) + more)
    body = b"\x01" + longer + contents
    refused(engine, "canonical", b"\x85\x6f\x4a\x83" + sha256(body).digest()[:4] + body)


def test_a_document_chunk(engine):
    refused(engine, "not a change", engine.save())


def test_more_operations_than_a_change_may_have(engine):
    with pytest.raises(MalformedChange, match="too many cells"):
        decode(encode(EVE, 1, 9, engine.heads, [put(ENTRY, "n", None)] * 20_001))


def test_a_number_of_eleven_bytes(engine):
    contents = contents_of(first_of_eve(engine, put(ENTRY, "n", 1)))
    refused(engine, "too long", reframed(b"\xff" * 10 + b"\x01" + contents[1:]))


def test_a_float_of_another_length(engine):
    contents = contents_of(first_of_eve(engine, put(ENTRY, "n", 1.5)))
    whole = bytes((0x7F, *to_unsigned(8 << 4 | 5)))
    assert contents.count(whole) == 1
    longer = bytes((0x7F, *to_unsigned(9 << 4 | 5)))
    refused(engine, "canonical", reframed(contents.replace(whole, longer)))

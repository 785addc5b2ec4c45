"""What was measured about the binding and is relied on, so that a newer one shows at once where it differs.

Facts that kill a process or a document are in ``test_hostile.py``, in a process of their own.
"""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256

import pytest
from automerge.core import ROOT, Document, Message, ObjType, ScalarType, SyncState

from tests.document.model import ANN, BOB
from vaultsync.document.binding import object_id, op_id
from vaultsync.document.codec import Action, Op, encode
from vaultsync.document.columns import to_unsigned
from vaultsync.document.layout import GENESIS, GENESIS_ACTOR, GENESIS_HASH, SECTION_OBJECTS, SECTIONS


def put(document, obj, key, value, kind=ScalarType.Str):
    with document.transaction() as transaction:
        transaction.put(obj, key, kind, value)


def raw_changes(document, have=()):
    return [change.raw_bytes for change in document.get_changes(list(have))]


def receive(document, chunks):
    message = b"\x42\0\0\0" + to_unsigned(len(chunks)) + b"".join(to_unsigned(len(c)) + c for c in chunks)
    document.receive_sync_message(SyncState(), Message.decode(message))


@pytest.fixture
def document():
    document = Document.load(GENESIS)
    document.set_actor(ANN)
    with document.transaction() as transaction:
        entry = transaction.put_object(document.get(ROOT, "entries")[1], "E", ObjType.Map)
        transaction.put(entry, "a", ScalarType.Str, "1")
    return document


def entry_of(document):
    return document.get(document.get(ROOT, "entries")[1], "E")[1]


def test_the_same_operations_give_the_same_bytes():
    document = Document(GENESIS_ACTOR)
    with document.transaction() as transaction:
        for section in SECTIONS:
            transaction.put_object(ROOT, section, ObjType.Map)
    assert raw_changes(document) == [GENESIS]


def test_a_sync_message_carries_raw_changes(document):
    other = Document.load(GENESIS)
    receive(other, raw_changes(document)[1:])
    assert other.get_heads() == document.get_heads()


def test_receiving_is_not_atomic(document):
    """Hence the gate passes a whole batch first."""
    good = raw_changes(document)[1]
    again = encode(ANN, 1, 5, [GENESIS_HASH], [Op(SECTION_OBJECTS["settings"], "k", Action.SET, 1, ())])
    other = Document.load(GENESIS)
    with pytest.raises(Exception, match="duplicate seq"):
        receive(other, [good, again])
    assert other.get_heads() == document.get_heads()


def test_a_wrong_checksum_is_swallowed_without_a_word(document):
    """Hence the gate looks at it, and what arrived is compared with what was sent."""
    bad = bytearray(raw_changes(document)[1])
    bad[4] ^= 1
    other = Document.load(GENESIS)
    receive(other, [bytes(bad)])
    assert len(other.get_changes([])) == 1


def test_orphans_are_queued_without_a_word(document):
    """Hence missing dependencies are found before."""
    put(document, entry_of(document), "a", "2")
    other = Document.load(GENESIS)
    receive(other, raw_changes(document)[2:])
    assert len(other.get_changes([])) == 1
    receive(other, raw_changes(document)[1:2])
    assert other.get_heads() == document.get_heads()


def test_loading_takes_any_order_and_duplicates_and_refuses_a_gap(document):
    put(document, entry_of(document), "a", "2")
    chunks = raw_changes(document)
    assert Document.load(b"".join([chunks[2], chunks[0], chunks[1], chunks[2]])).get_heads() == document.get_heads()
    with pytest.raises(Exception, match=r"."):
        Document.load(chunks[0] + chunks[2])


def test_raw_bytes_are_the_uncompressed_chunk_and_hash_its_hash(document):
    put(document, entry_of(document), "long", "x" * 1000)
    change = document.get_changes([])[-1]
    assert (change.raw_bytes[8], change.bytes[8]) == (1, 2)
    assert sha256(change.raw_bytes[8:]).digest() == change.hash
    assert change.raw_bytes[4:8] == change.hash[:4]
    assert change.message in (None, "")
    assert (change.actor_id, change.seq, change.start_op, change.max_op) == (ANN, 2, 7, 7)
    assert len(change.deps) == 1


def test_get_changes_is_in_causal_order_and_after_heads_only_the_rest(document):
    heads = document.get_heads()
    put(document, entry_of(document), "a", "2")
    put(document, entry_of(document), "a", "3")
    assert [change.seq for change in document.get_changes(heads)] == [2, 3]
    seen = set()
    for change in document.get_changes([]):
        assert set(change.deps) <= seen
        seen.add(change.hash)


def test_ids_of_objects_may_be_built_with_any_hint(document):
    entry = entry_of(document)
    counter, actor = op_id(entry)
    assert (counter, actor) == (5, ANN)
    for hint in (b"\0", b"\x01", b"\x09"):
        rebuilt = object_id((counter, actor)).replace(ANN + b"\0", ANN + hint)
        assert document.get(rebuilt, "a")[0] == (ScalarType.Str, "1")
        assert document.object_type(rebuilt) == ObjType.Map
    with pytest.raises(Exception, match=r"not an object id"):
        document.object_type(object_id((99, ANN)))
    with pytest.raises(Exception, match=r"invalid obj id"):
        document.object_type(object_id((5, BOB)))


def test_get_tells_the_operation_that_wrote_a_value(document):
    assert op_id(document.get(entry_of(document), "a")[1]) == (6, ANN)
    copy = Document.load(document.save())
    copy.set_actor(BOB)
    put(copy, entry_of(copy), "a", "2")
    assert op_id(copy.get(entry_of(copy), "a")[1]) == (7, BOB)


def test_reading_at_heads_shows_what_those_changes_saw(document):
    then = document.get_heads()
    put(document, entry_of(document), "a", "2")
    assert document.get(entry_of(document), "a", then)[0][1] == "1"
    assert document.keys(entry_of(document), then) == ["a"]
    assert document.get(entry_of(document), "a", [b"\1" * 32]) is None  # unknown heads: quietly nothing
    assert document.get(entry_of(document), "a", []) is None


def test_keys_and_values_come_in_the_same_order(document):
    for key in ("z", "b", "\N{SNOWMAN}", "B"):
        put(document, entry_of(document), key, key)
    entry = entry_of(document)
    pairs = zip(document.keys(entry), document.values(entry), strict=True)
    assert all(value == document.get(entry, key)[0] for key, (value, _) in pairs)


def test_kinds_of_values(document):
    entry = entry_of(document)
    for kind, value in (
        (ScalarType.Int, -5),
        (ScalarType.F64, 1.0),
        (ScalarType.Boolean, True),
        (ScalarType.Null, None),
        (ScalarType.Str, "\0"),
    ):
        put(document, entry, "v", value, kind)
        found = document.get(entry, "v")[0]
        assert found == (kind, value)
        assert type(found[1]) is type(value)
    put(document, entry, "v", True, ScalarType.Int)
    assert document.get(entry, "v")[0] == (ScalarType.Int, 1)  # hence kinds are checked before


def test_writing_what_is_there_or_deleting_what_is_not_makes_no_change(document):
    heads = document.get_heads()
    put(document, entry_of(document), "a", "1")
    with document.transaction() as transaction:
        transaction.delete(entry_of(document), "none")
    assert document.get_heads() == heads
    put(document, entry_of(document), "f", 0.0, ScalarType.F64)
    heads = document.get_heads()
    put(document, entry_of(document), "f", -0.0, ScalarType.F64)
    assert document.get_heads() == heads  # the two zeros are equal


def test_a_transaction_that_raises_leaves_nothing(document):
    heads = document.get_heads()

    def half() -> None:
        with document.transaction() as transaction:
            entries = transaction.get(ROOT, "entries")[1]
            transaction.put(transaction.get(entries, "E")[1], "a", ScalarType.Str, "2")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        half()
    assert document.get_heads() == heads
    put(document, entry_of(document), "a", "3")


def test_an_actor_may_be_set_between_changes(document):
    put(document, entry_of(document), "a", "2")
    document.set_actor(BOB)
    put(document, entry_of(document), "a", "3")
    document.set_actor(ANN)
    put(document, entry_of(document), "a", "4")
    assert [(c.actor_id, c.seq) for c in document.get_changes([])[1:]] == [(ANN, 1), (ANN, 2), (BOB, 1), (ANN, 3)]


def test_dependencies_are_the_heads_and_the_last_own_change(document):
    """Even where that one is an ancestor of a head already: dependencies are not always the fewest possible."""
    own = document.get_heads()[0]
    document.set_actor(BOB)
    put(document, entry_of(document), "a", "2")
    heads = document.get_heads()
    document.set_actor(ANN)
    put(document, entry_of(document), "a", "3")
    assert set(document.get_changes([])[-1].deps) == {own, *heads}


def test_lone_surrogates_and_large_integers_raise(document):
    for kind, value in ((ScalarType.Str, "\ud800"), (ScalarType.Int, 1 << 63)):
        with pytest.raises((UnicodeEncodeError, OverflowError)):
            put(document, entry_of(document), "v", value, kind)


PANIC = """
import ctypes
from automerge.core import ROOT, Document, ScalarType
document = Document(b"x" * 16)
try:
    document.get(ROOT, -1)
except Exception:
    print("an ordinary exception")
except BaseException as error:
    print(type(error).__name__, type(error).__module__)
ctypes.pythonapi.Py_IncRef(ctypes.py_object(document))
"""


def test_a_panic_is_a_base_exception_of_this_name():
    """In a process of its own: it prints a trace of the engine to stderr."""
    done = subprocess.run([sys.executable, "-c", PANIC], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["PanicException", "pyo3_runtime"]

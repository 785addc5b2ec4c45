"""The engine as the rest of the package meets it."""

from __future__ import annotations

import itertools
import random
import threading

import pytest
from automerge.core import Document

from tests.document.model import ANN, BOB, EVE, IDS, everything, exact, forge, missing, put
from vaultsync.document import engine as engine_module
from vaultsync.document.changes import Action, decode, unpack_changes
from vaultsync.document.engine import DELETED, Edit, Engine
from vaultsync.document.layout import GENESIS, GENESIS_ACTOR, GENESIS_HASH
from vaultsync.errors import EngineFailure, MalformedChange, MissingDependencies, WrongKind
from vaultsync.limits import MAX_OPS_PER_CHANGE, MAX_VALUE_BYTES


def edit(key: str, value, entry: str = IDS[0]) -> Edit:
    return Edit("entries", entry, key, value)


@pytest.fixture
def ann() -> Engine:
    engine = Engine.new()
    engine.commit(ANN, [edit("title", "GitHub"), edit("password", "p0"), Edit("settings", "", "$format", "1.1")])
    return engine


# ---- committing -------------------------------------------------------------------------------------------------
def test_a_commit_is_one_change_and_says_what_it_did(ann):
    before = ann.heads
    (change,) = ann.commit(ANN, [edit("password", "p1"), edit("title", DELETED), edit("pin", 7, IDS[1])])
    assert change.deps == before
    assert ann.heads == (change.hash,)
    assert (change.actor, change.seq) == (ANN, 2)
    assert [(op.action, op.key, op.value) for op in change.ops] == [
        (Action.SET, "password", "p1"),
        (Action.DELETE, "title", None),
        (Action.MAKE_MAP, IDS[1], None),
        (Action.SET, "pin", 7),
    ]
    assert everything(ann) == {IDS[0]: {"password": "p1"}, IDS[1]: {"pin": 7}}
    assert ann.change_info(change.hash) == (ANN, 2, change.start_op, change.max_op)


def test_nothing_new_is_no_change(ann):
    heads = ann.heads
    assert ann.commit(ANN, []) == []
    assert ann.commit(ANN, [edit("title", "GitHub"), edit("none", DELETED), edit("none", DELETED, IDS[3])]) == []
    assert ann.heads == heads
    assert ann.entry_ids() == [IDS[0]]


def test_kinds_are_kept_apart(ann):
    for value in (True, 1, 1.0, False, 0, 0.0, None, -0.0, "", "1", "\0", "e\N{COMBINING ACUTE ACCENT}", 2**63 - 1):
        ann.commit(ANN, [edit("cell", value)])
        for each in (ann, Engine.load(ann.save())):
            assert exact(each.read("entries", IDS[0])["cell"]) == exact(value)


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**63) - 1, float("nan"), float("inf"), "\ud800", b"x", [1], object(), "x" * (MAX_VALUE_BYTES + 1)],
    ids=lambda value: type(value).__name__,
)
def test_what_a_vault_cannot_hold_is_refused_before_anything_happens(ann, value):
    heads = ann.heads
    with pytest.raises(WrongKind) as caught:
        ann.commit(ANN, [edit("title", "first"), edit("cell", value)])
    assert "xxxx" not in str(caught.value)
    assert ann.heads == heads
    assert not ann.dirty
    assert ann.read("entries", IDS[0])["title"] == "GitHub"


@pytest.mark.parametrize(
    "place", [("entries", "", "k"), ("settings", IDS[0], "k"), ("entries", "x", "k"), ("more", "", "k")]
)
def test_places_that_no_vault_has(ann, place):
    with pytest.raises(WrongKind):
        ann.commit(ANN, [Edit(*place, "v")])


@pytest.mark.parametrize("key", ["", "k" * 513, "\udfff"])
def test_keys_that_no_vault_has(ann, key):
    with pytest.raises(WrongKind):
        ann.commit(ANN, [edit(key, "v")])


@pytest.mark.parametrize("actor", [b"", b"x" * 15, GENESIS_ACTOR])
def test_actors_that_no_device_has(ann, actor):
    with pytest.raises(ValueError, match="actor"):
        ann.commit(actor, [edit("title", "x")])


def test_a_large_batch_is_several_changes_and_every_one_passes_the_gate(ann):
    bob = Engine.load(ann.save())
    ids = [f"01HZZ{n:021d}" for n in range(4_000)]
    edits = [edit(f"field{n}", n, entry) for entry in ids for n in range(6)]
    made = ann.commit(ANN, edits)
    assert len(made) == 2
    assert all(len(change.ops) <= MAX_OPS_PER_CHANGE for change in made)
    bob.apply([change.chunk for change in made], actor=ANN)
    assert everything(bob) == everything(ann)
    assert len(bob.read("entries", ids[2_900])) == 6


# ---- applying ---------------------------------------------------------------------------------------------------
def test_a_batch_is_applied_whole_or_not_at_all(ann):
    bob = Engine.load(ann.save())
    good = [change.chunk for n in range(5) for change in ann.commit(ANN, [edit("title", f"t{n}"), edit(f"k{n}", n)])]
    bad = forge(put(None, "evil"), start=decode(good[-1]).max_op + 1, deps=[decode(good[-1]).hash])
    waiting = forge(put(None, "evil"), deps=[b"\7" * 32])
    for place, (spoiler, error) in itertools.product(
        range(6), [(bad, MalformedChange), (waiting, MissingDependencies), (b"garbage", MalformedChange)]
    ):
        before = bob.heads, everything(bob), bob.save(), len(bob.changes())
        with pytest.raises((error, MissingDependencies)):
            bob.apply([*good[:place], spoiler, *good[place:]])
        assert (bob.heads, everything(bob), bob.save(), len(bob.changes())) == before
        assert bob.last_seq(ANN) == 1
        assert not any(bob.has(decode(chunk).hash) for chunk in good)
    applied = bob.apply(good, actor=ANN)
    assert [change.chunk for change in applied.changes] == good
    assert applied.touched == {("entries", IDS[0]): {"title", *(f"k{n}" for n in range(5))}}
    assert bob.heads == ann.heads


def test_known_changes_are_counted_and_skipped(ann):
    chunk = ann.changes()[-1]
    applied = ann.apply([chunk, GENESIS, chunk])
    assert (applied.changes, applied.touched, applied.known) == ([], {}, 3)
    bob = Engine.new()
    assert bob.apply([chunk, chunk]).known == 1


def test_missing_dependencies_are_named_and_later_all_is_well(ann):
    bob = Engine.load(ann.save())
    first, second, third = [ann.commit(ANN, [edit("title", f"t{n}")])[0] for n in range(3)]
    with pytest.raises(MissingDependencies) as caught:
        bob.apply([third.chunk])
    assert caught.value.hashes == (second.hash,)
    with pytest.raises(MissingDependencies):
        bob.apply([second.chunk, first.chunk])  # a batch comes in causal order
    bob.apply([first.chunk, second.chunk, third.chunk])
    assert bob.heads == ann.heads


def test_changes_that_were_decoded_before_are_taken_as_they_are(ann):
    bob = Engine.load(ann.save())
    (change,) = ann.commit(ANN, [edit("title", "x")])
    assert bob.apply([change]).changes == [change]
    assert unpack_changes(b"\0", max_bytes=10) == []


def test_one_id_made_on_two_devices_is_one_entry_everywhere(ann):
    """It should not happen; whichever map wins, both devices agree, and writing to the other one harms nobody."""
    bob = Engine.new()
    bob.apply(ann.changes())
    mine = ann.commit(ANN, [edit("title", "ann's", IDS[1])])
    bobs = bob.commit(BOB, [edit("title", "bob's", IDS[1])])
    more = bob.commit(BOB, [edit("pin", 1, IDS[1])])
    later = ann.commit(ANN, [edit("pin", 2, IDS[1])])
    ann.apply([change.chunk for change in bobs + more])
    bob.apply([change.chunk for change in mine])
    loaded = Engine.load(bob.save())  # knows of the shadowed map only from the change that made it
    for each in (bob, loaded):
        each.apply([change.chunk for change in later])
        assert everything(each) == everything(ann)
        assert each.heads == ann.heads


# ---- loading ----------------------------------------------------------------------------------------------------
def test_loading_needs_no_order_and_minds_no_duplicates(ann):
    snapshot = ann.save()
    tail = [ann.commit(ANN, [edit("title", f"t{n}")])[0].chunk for n in range(6)]
    shuffled = tail * 2
    random.Random(3).shuffle(shuffled)
    for loaded in (Engine.load(snapshot, shuffled), Engine.load(None, [*shuffled, *ann.changes()])):
        assert loaded.heads == ann.heads
        assert everything(loaded) == everything(ann)
        loaded.commit(BOB, [edit("title", "on top")])
        ann_too = Engine.load(ann.save())
        ann_too.apply(missing(loaded, ann_too))
        assert ann_too.heads == loaded.heads


def test_a_gap_or_garbage_is_not_loaded(ann):
    snapshot = ann.save()
    tail = [ann.commit(ANN, [edit("title", f"t{n}")])[0].chunk for n in range(3)]
    for broken in (
        (snapshot, tail[1:]),
        (snapshot[:-3], []),
        (b"not a document", []),
        (snapshot, [tail[0][:-1]]),
        (snapshot, [b"\x85"]),
        (None, tail),
    ):
        with pytest.raises(EngineFailure):
            Engine.load(*broken)
    with pytest.raises(EngineFailure, match="not that of a vault"):
        engine_module.Engine(Document())


def test_a_snapshot_is_verified_by_loading_it(ann):
    snapshot, heads = ann.save(), ann.heads
    assert Engine.verify_snapshot(snapshot, heads)
    assert not Engine.verify_snapshot(snapshot, [b"\1" * 32])
    assert not Engine.verify_snapshot(snapshot[:-1], heads)
    ann.commit(ANN, [edit("title", "later")])
    assert not Engine.verify_snapshot(snapshot, ann.heads)
    assert not Engine.verify_snapshot(ann.save(), heads)


# ---- asking -----------------------------------------------------------------------------------------------------
def test_changes_after_and_own_changes(ann):
    bob = Engine.load(ann.save())
    start = ann.heads
    bobs = bob.commit(BOB, [edit("a", 1)]) + bob.commit(BOB, [edit("a", 2)])
    anns = ann.commit(ANN, [edit("b", 1)])
    ann.apply([change.chunk for change in bobs])
    anns += ann.commit(ANN, [edit("b", 2)])
    assert {decode(chunk).hash for chunk in ann.changes(start)} == {change.hash for change in anns + bobs}
    assert ann.changes(ann.heads) == []
    assert [decode(chunk).seq for chunk in ann.own_changes(ANN, 0)] == [1, 2, 3]
    assert ann.own_changes(ANN, 1) == [change.chunk for change in anns]
    assert ann.own_changes(BOB, 1) == [bobs[1].chunk]
    assert ann.own_changes(BOB, 2) == ann.own_changes(EVE, 0) == []
    with pytest.raises(MissingDependencies):
        ann.changes([b"\1" * 32])
    assert ann.last_seq(BOB) == 2
    assert ann.last_seq(EVE) == 0


def test_large_changes_come_out_uncompressed(ann):
    (change,) = ann.commit(ANN, [edit("note", "x" * 5_000)])
    assert change.chunk[8] == 1
    for each in (ann, Engine.load(ann.save())):
        assert each.changes()[-1] == each.own_changes(ANN, 1)[0] == change.chunk


def test_reading_the_past(ann):
    then = ann.heads
    ann.commit(ANN, [edit("title", "GitLab"), edit("pin", 1, IDS[1])])
    assert ann.read_at(IDS[0], then)["title"] == "GitHub"
    assert ann.read_at(IDS[0], ann.heads)["title"] == "GitLab"
    assert ann.read_at(IDS[1], then) is None
    assert ann.read_at(IDS[0], [GENESIS_HASH]) is None
    assert ann.read_at(IDS[0], []) is None
    with pytest.raises(MissingDependencies):
        ann.read_at(IDS[0], [b"\1" * 32])
    assert ann.read("entries", IDS[4]) is None
    assert ann.conflicts(IDS[4]) == {}
    assert ann.history(IDS[4]) == []


def test_history_tells_who_did_what(ann):
    bob = Engine.load(ann.save())
    made = bob.commit(BOB, [edit("password", "p1"), edit("title", DELETED)])
    ann.apply([change.chunk for change in made])
    ann.commit(ANN, [edit("pin", 1, IDS[1])])
    first, second = ann.history(IDS[0])
    assert (first.actor, first.before, first.after) == (ANN, {}, {"title": "GitHub", "password": "p0"})
    assert (second.actor, second.hash, second.seq) == (BOB, made[0].hash, 1)
    assert second.before == {"title": "GitHub", "password": "p0"}
    assert second.after == {"password": "p1"}


# ---- failing ----------------------------------------------------------------------------------------------------
class Panicking:
    """A document whose named method fails as the binding does."""

    def __init__(self, document, method: str, error: BaseException) -> None:
        self._document, self._method, self._error = document, method, error

    def __getattr__(self, name: str):
        return self._fail if name == self._method else getattr(self._document, name)

    def _fail(self, *_):
        raise self._error


PanicException = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})


@pytest.mark.parametrize("error", [PanicException("boom"), Exception("bare"), ValueError("poisoned lock")])
@pytest.mark.parametrize("method", ["set_actor", "transaction", "get_changes", "receive_sync_message", "get_heads"])
def test_a_failure_half_way_leaves_an_engine_that_only_closes(ann, method, error):
    bob = Engine.load(ann.save())
    theirs = [change.chunk for change in bob.commit(BOB, [edit("title", "bob's")])]
    stored = ann.changes()
    ann._binding.document = Panicking(ann._binding.document, method, error)
    applies = method in ("receive_sync_message", "get_heads")
    with pytest.raises(EngineFailure):
        ann.apply(theirs) if applies else ann.commit(ANN, [edit("title", "new")])
    assert ann.dirty
    for call in (
        lambda: ann.heads,
        lambda: ann.read("entries", IDS[0]),
        lambda: ann.commit(ANN, [edit("title", "x")]),
        lambda: ann.apply(theirs),
        lambda: ann.apply([]),
        ann.save,
        ann.entry_ids,
        lambda: list(ann.read_all()),
        lambda: ann.has(GENESIS_HASH),
        lambda: ann.conflicts(IDS[0]),
        lambda: ann.history(IDS[0]),
        ann.changes,
    ):
        with pytest.raises(EngineFailure, match="loaded again"):
            call()
    ann.close()
    again = Engine.load(None, stored)
    again.apply(theirs)
    assert again.heads == bob.heads


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_an_interrupt_is_passed_on_and_still_leaves_the_engine_dirty(ann, error):
    ann._binding.document = Panicking(ann._binding.document, "transaction", error)
    with pytest.raises(type(error)):
        ann.commit(ANN, [edit("title", "new")])
    assert ann.dirty


def test_what_the_engine_swallows_is_noticed(ann):
    bob = Engine.load(ann.save())
    theirs = [change.chunk for change in bob.commit(BOB, [edit("title", "bob's")])]

    class Swallowing(Panicking):
        def __getattr__(self, name: str):
            return (lambda *_: None) if name == "receive_sync_message" else getattr(self._document, name)

    ann._binding.document = Swallowing(ann._binding.document, "", Exception())
    with pytest.raises(EngineFailure):
        ann.apply(theirs)
    assert ann.dirty


def test_a_closed_engine_says_so(ann):
    ann.close()
    ann.close()
    with pytest.raises(EngineFailure, match="closed"):
        ann.read("entries", IDS[0])


def test_threads_take_turns(ann):
    failures = []

    def work(n: int) -> None:
        try:
            for k in range(60):
                ann.commit(bytes([n]) * 16, [edit(f"k{n}", k)])
                ann.read("entries", IDS[0])
                ann.conflicts(IDS[0])
                list(ann.read_all())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(ann.changes()) == 2 + 180
    assert {key: value for key, value in ann.read("entries", IDS[0]).items() if key[0] == "k"} == {
        "k1": 59,
        "k2": 59,
        "k3": 59,
    }

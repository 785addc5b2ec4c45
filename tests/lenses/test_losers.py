"""The loser of a concurrent edit stays listed until a person decides about it: a repair, or an edit of a neighbouring
field, writes cells that nobody chose to write, and must not end a conflict on the way."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

import vaultsync as vs
from tests.lenses.histories import ENTRY, ids
from tests.rehearsal.good_schemas import GOOD, fields
from vaultsync.document.engine import DELETED, Edit, Engine
from vaultsync.schema.cells import GONE, Ops, Raw
from vaultsync.schema.types import EntryType, Schema
from vaultsync.view.context import Context
from vaultsync.view.edits import plan_add, plan_purge, plan_resolve, plan_update
from vaultsync.view.entry import Candidate, Entry, evaluate
from vaultsync.view.keeping import PREFIX, kept
from vaultsync.view.marks import Mark
from vaultsync.view.upkeep import repair

SPLIT = GOOD["split"]().schema
CHAIN = GOOD["chain"]().schema


class Device:
    """A document, a version, an incarnation: ``rank`` decides who wins."""

    def __init__(self, schema: Schema, rank: int, chunks: list[bytes] | None = None) -> None:
        self.schema, self.incarnation = schema, f"{rank:02x}" * 16
        self.engine = Engine.load(None, chunks or [])
        self.new_id = ids(f"r{rank}-")

    def rivals(self, entry_id: str = ENTRY) -> dict[str, tuple[Candidate, ...]]:
        return {
            key: tuple(Candidate(w.value, w.actor.hex(), writer=w.actor.hex(), change=w.hash.hex()) for w in every)
            for key, every in self.engine.conflicts(entry_id).items()
        }

    @property
    def raw(self) -> Raw:
        return self.engine.read("entries", ENTRY) or {}

    @property
    def entry(self) -> Entry:
        return evaluate(ENTRY, self.raw, self.schema, Context(conflicts=self.rivals))

    def commit(self, ops: Ops) -> Ops:
        edits = [Edit("entries", ENTRY, key, DELETED if value is GONE else value) for key, value in ops.items()]
        self.engine.commit(bytes.fromhex(self.incarnation), edits)
        return ops

    def write(self, **values: Any) -> Ops:
        return self.commit(
            plan_update(
                ENTRY, self.raw, self.schema, values, seen=None, incarnation=self.incarnation, now_ms=7,
                new_id=self.new_id, rivals=self.rivals,
            )
        )  # fmt: skip

    def resolve(self, name: str, choice: Any) -> Ops:
        return self.commit(
            plan_resolve(
                ENTRY, self.raw, self.schema, name, choice, rivals=self.rivals(), incarnation=self.incarnation,
                now_ms=8, new_id=self.new_id,
            )
        )  # fmt: skip

    def repair(self) -> Ops:
        return self.commit(repair(self.raw, self.schema, self.rivals))

    def losers(self) -> dict[str, set[Any]]:
        return {name: {each.value for each in found} for name, found in self.entry.conflicts.items()}


def people(schema: Schema, versions: tuple[int, ...], ranks: tuple[int, ...], **start: Any) -> list[Device]:
    maker = Device(schema, 99)
    kind = next(iter(schema.types))
    maker.commit(plan_add(schema, kind, start, incarnation=maker.incarnation, now_ms=1, new_id=maker.new_id))
    chunks = maker.engine.changes()
    return [Device(schema.at(v), rank, chunks) for v, rank in zip(versions, ranks, strict=True)]


def meet(*devices: Device, repairs: bool = True) -> None:
    """Everybody hears everything, and repairs until there is nothing to repair."""
    while True:
        for one in devices:
            for other in devices:
                one.engine.apply(other.engine.changes())
        if not repairs or not sum(bool(device.repair()) for device in devices):
            return


def everything(entry: Entry) -> str:
    listed = [conflict.value for found in entry.conflicts.values() for conflict in found]
    return " ".join(map(str, [*entry.fields.values(), *listed]))


RANKS = list(permutations((1, 2, 3)))


@pytest.mark.parametrize("ranks", RANKS)
def test_an_edit_of_the_older_form_and_two_of_the_newer_all_can_be_read(ranks: tuple[int, ...]) -> None:
    phone, desktop, laptop = people(SPLIT, (1, 2, 2), ranks, first="ann", last="lee")
    phone.write(name="kiwi8")
    desktop.write(first="date9")
    laptop.write(last="plum7")
    meet(phone, desktop, laptop)
    for device in (desktop, laptop):
        assert all(word in everything(device.entry) for word in ("kiwi8", "date9", "plum7")), device.entry
    assert desktop.entry.conflicts.keys() == laptop.entry.conflicts.keys()
    assert all(word in everything(phone.entry) for word in ("kiwi8", "date9", "plum7"))


@pytest.mark.parametrize("ranks", RANKS)
def test_edits_of_different_newer_fields_are_no_conflict(ranks: tuple[int, ...]) -> None:
    phone, desktop, laptop = people(SPLIT, (1, 2, 2), ranks, first="ann", last="lee")
    desktop.write(first="date9")
    laptop.write(last="plum7")
    meet(phone, desktop, laptop, repairs=False)
    assert desktop.losers() == {}, "not even before anybody repaired"
    meet(phone, desktop, laptop)
    assert dict(laptop.entry.fields) == {"first": "date9", "last": "plum7"}
    assert phone.entry["name"] == "date9 plum7"
    assert laptop.losers() == {}
    assert not [key for key in laptop.raw if key.startswith(PREFIX)]


def lost(ranks: tuple[int, ...] = (1, 2, 3)) -> list[Device]:
    """The phone's ``kiwi8 fig8`` lost, and a repair has overwritten the cell in which it stood."""
    devices = people(SPLIT, (1, 2, 2), ranks, first="ann", last="lee")
    phone, desktop, laptop = devices
    phone.write(name="kiwi8 fig8")
    desktop.write(first="date9")
    laptop.write(last="plum7")
    meet(*devices)
    assert laptop.losers() == {"first": {"kiwi8"}, "last": {"fig8"}}
    assert phone.losers() == {"name": {"kiwi8 fig8"}}
    assert [each.writer for each in kept(laptop.raw)] == [phone.incarnation]
    return devices


def test_an_edit_of_one_field_does_not_end_the_conflict_of_another() -> None:
    phone, desktop, laptop = lost()
    laptop.write(first="mango1")
    assert laptop.losers() == {"last": {"fig8"}}
    laptop.write(last="mango2")
    assert laptop.losers() == {}
    assert not [key for key in laptop.raw if key.startswith(PREFIX)]
    meet(phone, desktop, laptop)
    assert phone.losers() == desktop.losers() == {}


def test_an_edit_of_the_older_form_ends_it() -> None:
    phone, desktop, laptop = lost()
    phone.write(name="pear1 pear2")
    assert phone.losers() == {}
    meet(phone, desktop, laptop)
    assert laptop.losers() == desktop.losers() == {}
    assert laptop.entry["last"] == "pear2"


def test_what_was_kept_can_be_chosen() -> None:
    phone, desktop, laptop = lost()
    (conflict,) = laptop.entry.conflicts["last"]
    assert conflict.device == phone.incarnation or conflict.device is None
    laptop.resolve("last", conflict)
    assert laptop.entry["last"] == "fig8"
    assert laptop.losers() == {"first": {"kiwi8"}}
    (conflict,) = laptop.entry.conflicts["first"]
    laptop.resolve("first", conflict)
    assert laptop.losers() == {}
    meet(phone, desktop, laptop)
    assert phone.entry["name"] == "kiwi8 fig8"
    assert phone.losers() == {}
    assert not [key for key in phone.raw if key.startswith(PREFIX)]


def test_an_edit_of_a_neighbour_keeps_what_no_repair_has_kept() -> None:
    """Two people write the older and the newer form, and a third edits the other newer field when both have arrived."""
    phone, desktop, laptop = people(SPLIT, (1, 2, 2), (1, 2, 3), first="ann", last="lee")
    phone.write(name="kiwi8 fig8")
    desktop.write(first="date9")
    meet(phone, desktop, laptop)
    assert laptop.losers() == {"first": {"kiwi8"}, "last": {"fig8"}}
    laptop.write(first="mango1")
    assert laptop.losers() == {"last": {"fig8"}}
    laptop.write(first="mango2", last="mango3")
    assert laptop.losers() == {}


@pytest.mark.parametrize("ranks", RANKS)
def test_an_older_edit_that_was_taken_over_and_a_clear_beside_it(ranks: tuple[int, ...]) -> None:
    """The phone's value won, a repair fitted the mark to it; an edit that knew of neither clears the field."""
    phone, desktop, laptop = people(SPLIT, (1, 2, 2), ranks, first="mango7 kiwi8", last="date5")
    phone.write(name="date13")
    phone.write(name="plum17")
    desktop.write(first=None)
    meet(phone, laptop)
    meet(phone, desktop, laptop)
    assert "plum17" in everything(desktop.entry)


def test_devices_that_repair_at_once_keep_the_same() -> None:
    phone, desktop, laptop = people(SPLIT, (1, 2, 2), (1, 2, 3), first="ann", last="lee")
    phone.write(name="kiwi8 fig8")
    desktop.write(first="date9")
    laptop.write(last="plum7")
    meet(phone, desktop, laptop, repairs=False)
    one, two = desktop.repair(), laptop.repair()
    assert one == two
    assert any(key.startswith(PREFIX) for key in one)


def test_a_purge_forgets_it() -> None:
    phone, *_ = lost()
    assert any(key.startswith(PREFIX) for key in phone.raw)
    phone.commit(plan_purge(phone.raw, phone.incarnation))
    assert not any(key.startswith(PREFIX) for key in phone.raw)


def test_what_makes_no_sense_counts_as_absent() -> None:
    *_, laptop = lost()
    sense = dict(laptop.raw)
    nonsense: dict[str, Any] = {
        "$lost/": "x", "$lost//": 1, "$lost/a": True, "$lost/a/name": "x", "$lost/b": '["w",null,[]]',
        "$lost/c": '["w","yesterday",[]]', "$lost/c/name": "x", "$lost/d/first": "x", "$lost/e": '["w",1,[7,"x"]]',
        "$lost/f": '["w",1]', "$lost/f/name": "x", "$lost/e/first": 7,
        "$lost/e/nobody/knows": True, "$lost/e/$lens/first": "not a mark",
    }  # fmt: skip
    there, with_it = (evaluate(ENTRY, {**sense, **more}, laptop.schema, Context()).conflicts for more in ({}, nonsense))
    assert with_it == there
    assert evaluate(ENTRY, {**sense, **nonsense}, laptop.schema, Context()).status is laptop.entry.status


def test_what_stands_only_in_a_mark_that_lost_is_listed() -> None:
    """Two people say the same in the older form and something else in the newer one: only the rest differs."""
    (laptop,) = people(SPLIT, (2,), (1,), first="ann", last="lee")
    ours, theirs = (
        Mark(digest_of(laptop), True, ("first", "last"), {"first": "ann lee", "last": last}) for last in (None, "kim")
    )
    raw = {key: value for key, value in laptop.raw.items() if key not in ("first", "last")}
    raw["$lens/first"] = ours.to_json()
    rivals = {"$lens/first": (Candidate(ours.to_json()), Candidate(theirs.to_json(), "Phone", 2, 5))}
    entry = evaluate(ENTRY, raw, SPLIT, Context(conflicts=lambda _: rivals))
    assert dict(entry.fields) == {"first": "ann lee"}
    assert {name: [c.value for c in found] for name, found in entry.conflicts.items()} == {"last": ["kim"]}


def digest_of(device: Device) -> str:
    mark = Mark.parse(device.raw["$lens/first"])
    assert mark is not None
    return mark.digest


# ---- chains -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ranks", RANKS)
def test_a_part_that_was_cleared_does_not_come_back_through_a_chain(ranks: tuple[int, ...]) -> None:
    """``name`` was split, and then ``first``; between them another field became a list. Two devices of the newest
    version edit at once: the mark of the upper split has to win or lose with the older value beside it."""
    older, desktop, laptop = people(CHAIN, (2, 4, 4), ranks, given="pear3", middle="lime4", families=["lee"])
    desktop.write(families=["lee", "kim"], given="fig10")
    laptop.write(given="lime12", middle=None)
    meet(older, desktop, laptop)
    for device in (desktop, laptop):
        assert "lime4" not in everything(device.entry)
        assert all(word in everything(device.entry) for word in ("fig10", "lime12", "kim"))
    assert older.entry["first"] == desktop.entry["given"]


def over_a_join() -> Schema:
    """``first`` and ``last`` became ``name``, that ``called``, and that became three fields."""
    made = [
        *fields("first", "last", until=2), *fields("name", since=2, until=3), *fields("called", since=3, until=4),
        *fields("title", "given", "family", since=4),
    ]  # fmt: skip
    lenses = [
        vs.join(["first", "last"], "name", sep=", ", since=2),
        vs.rename("name", "called", since=3),
        vs.split("called", ["title", "given", "family"], since=4),
    ]
    return Schema("over", version=4, platform="linux", types=[EntryType("t", fields=made, lenses=lenses)])


@pytest.mark.parametrize("ahead", [0, 1, 2, 3])
@pytest.mark.parametrize("maker", [2, 4])
@pytest.mark.parametrize("ranks", [(1, 2), (2, 1)])
def test_what_two_devices_replaced_does_not_come_back_over_a_join(ranks: Any, maker: int, ahead: int) -> None:
    """One changes both fields of the join, the other one of them: of the two fields each may have won one. Also where
    one of them counts further, so that their operations do not win or lose in one piece."""
    schema = over_a_join()
    start = Device(schema.at(maker), 99)
    values = {"name": "dr, ann lee"} if maker == 2 else {"title": "dr,", "given": "ann", "family": "lee"}
    options = {"incarnation": start.incarnation, "now_ms": 1, "new_id": start.new_id}
    start.commit(plan_add(start.schema, "t", values, **options))  # type: ignore[arg-type]
    desktop, laptop = (Device(schema, rank, start.engine.changes()) for rank in ranks)
    for i in range(ahead):
        desktop.commit({"$edited/" + desktop.incarnation: i + 1})
    desktop.write(title="kiwi")
    laptop.write(given="pear")
    meet(desktop, laptop)
    for device in (desktop, laptop):
        assert dict(device.entry.fields) == {"title": "kiwi", "given": "pear", "family": "lee"}
        older = evaluate(ENTRY, device.raw, schema.at(3), Context())
        assert older["called"] == "kiwi pear lee"


def test_an_older_device_that_sets_a_value_back_is_heard_over_a_join() -> None:
    """The digest of one older field says nothing once another device has written beside it."""
    (newest,) = people(over_a_join(), (4,), (1,), title="dr,", given="ann", family="lee")
    oldest = Device(over_a_join().at(1), 2, newest.engine.changes())
    assert dict(oldest.entry.fields) == {"first": "dr", "last": "ann lee"}
    oldest.write(first="prof")
    meet(newest, oldest)
    newest.write(family="kim")
    meet(newest, oldest)
    oldest.write(first="dr")  # as it was when the newest version last wrote it
    meet(newest, oldest)
    assert newest.entry["title"] == "dr,"
    assert dict(oldest.entry.fields) == {"first": "dr", "last": "ann kim"}


def test_digests_of_older_fields_stand_before_them() -> None:
    (newest,) = people(over_a_join(), (4,), (1,), title="dr,", given="ann", family="lee")
    ops = newest.write(title="prof,", given="bea")
    told = [key for key in ops if not key.startswith(("$edited", "$schema"))]
    assert told == [
        "title", "given", "$lens/title", "name", "$lens/name", "$lens/name/first", "first", "$lens/name/last", "last",
    ]  # fmt: skip
    ops = newest.write(family="kim")
    assert "$lens/name/first" not in ops, "what a change does not write, it does not claim"
    older = Device(over_a_join().at(3), 2, newest.engine.changes())
    ops = older.write(called="a, b")
    assert "$lens/name" in ops
    assert not [key for key in ops if key.startswith("$lens/name/")], "in version 3 nothing stands on the join"


@pytest.mark.parametrize("form", ["alias", "slot"])
def test_a_mark_stands_directly_before_what_it_speaks_of(form: str) -> None:
    """Also where an alias or a slot below stores the older value under another name."""
    many = vs.items(vs.text)
    label: dict[str, Any] = {
        "get": lambda old: {"new": old["mid"]} if "mid" in old else {},
        "back": lambda new: {"mid": new["new"]} if "new" in new else {},
    }
    kind = many if form == "slot" else vs.text
    below = vs.wrap("old", "mid", since=2) if form == "slot" else vs.rename("old", "mid", since=2)
    made = [
        *fields("old", until=2), *fields("mid", kind=kind, since=2, until=3), *fields("new", kind=kind, since=3),
        *fields("name", until=2), *fields("first", "last", since=2),
    ]  # fmt: skip
    lenses = [below, vs.split("name", ["first", "last"], since=2), vs.lens("mid", "new", since=3, **label)]
    schema = Schema("order", version=3, platform="linux", types=[EntryType("t", fields=made, lenses=lenses)])
    start = {"new": ("a",) if form == "slot" else "a", "first": "b", "last": "c"}
    (laptop,) = people(schema, (3,), (1,), **start)
    ops = list(laptop.write(new=("z",) if form == "slot" else "z", first="y"))
    for mark, old in (("$lens/new", "old"), ("$lens/first", "name")):
        assert ops[ops.index(mark) + 1].partition("/")[0].partition("@")[0] in (old, "mid"), ops

"""Entries read and written through lenses: what is shown, stored, refused, told and kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import vaultsync as vs
from tests.lenses.histories import ids
from vaultsync.errors import NotEditable, RetiredField, UsageError, WrongKind
from vaultsync.schema.cells import GONE
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.context import Context, Device
from vaultsync.view.decide import Status, judge
from vaultsync.view.edits import plan_add, plan_resolve, plan_update
from vaultsync.view.entry import Candidate, Entry, evaluate
from vaultsync.view.marks import Mark
from vaultsync.view.picture import View
from vaultsync.view.upkeep import needs_upkeep, plan_convert, repair

PHONE, LAPTOP = "aa" * 16, "bb" * 16


def int_of(text: str) -> int:
    return int(text)


LOGIN = EntryType(
    "login",
    label="Login",
    fields=[
        Field("title", vs.text, until=11),
        Field("heading", vs.text, since=11),
        Field("email", vs.text, until=10),
        Field("emails", vs.items(vs.text), since=10),
        Field("name", vs.text, until=10),
        Field("first", vs.text, since=10),
        Field("last", vs.text, since=10, critical="write"),
        Field("count", vs.text, until=10),
        Field("number", vs.number, since=10, label="Number"),
        Field("memo", vs.text),
        Field("old_memo", vs.text, until=10),
        Field("scan", vs.file, until=10),
        Field("document", vs.file, since=10),
    ],
    lenses=[
        vs.rename("title", "heading", since=11),
        vs.wrap("email", "emails", since=10),
        vs.split("name", ["first", "last"], since=10),
        vs.convert("count", "number", get=int_of, back=str, since=10),
        vs.rename("scan", "document", since=10),
    ],
)
SCHEMA = Schema("acme", version=12, platform="linux", types=[LOGIN], releases={9: "9.2", 10: "10.0", 12: "12.0"})
OLD = SCHEMA.at(9)


def entry_of(raw: dict[str, Any], schema: Schema = SCHEMA, **context: Any) -> Entry:
    return evaluate("e", raw, schema, Context(**context))


def added(schema: Schema = SCHEMA, **values: Any) -> dict[str, Any]:
    return dict(plan_add(schema, "login", values, incarnation=LAPTOP, now_ms=1, new_id=ids()))  # type: ignore[arg-type]


def updated(raw: dict[str, Any], schema: Schema = SCHEMA, seen: Entry | None = None, **values: Any) -> dict[str, Any]:
    mine = PHONE if schema is OLD else LAPTOP
    ops = plan_update("e", raw, schema, values, seen=seen, incarnation=mine, now_ms=2, new_id=ids("u"))
    return after(raw, ops)


def after(raw: dict[str, Any], ops: Any) -> dict[str, Any]:
    return {key: value for key, value in {**raw, **ops}.items() if value is not GONE}


def cells(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if not key.startswith(("$", "$lens"))}


# ---- aliases and slots ------------------------------------------------------------------------------------------
def test_an_alias_is_stored_under_the_oldest_name_and_needs_no_newer_stamp() -> None:
    raw = added(heading="GitHub", number=7)
    assert cells(raw) == {"title": "GitHub", "count": "7"}
    assert [key for key in raw if key.startswith("$schema")] == ["$schema/login/1"]
    assert entry_of(raw).fields == {"heading": "GitHub", "number": 7}
    assert entry_of(raw, OLD).fields == {"title": "GitHub", "count": "7"}
    assert entry_of(raw).title == entry_of(raw, OLD).title == "GitHub"
    assert {entry_of(raw, s).status for s in (OLD, SCHEMA)} == {Status.COMPLETE}
    with pytest.raises(WrongKind, match="'number' cannot be written so: older versions have no form for it"):
        updated(raw, number=1.5)


def test_attachments_are_renamed() -> None:
    scan = vs.FileRef("ab", "scan.pdf", 3, "cd", "k")
    raw = added(document=scan)
    assert entry_of(raw)["document"] == entry_of(raw, OLD)["scan"] == scan
    assert "scan" in raw


def test_a_slots_first_element_goes_to_the_slot_only_when_the_entry_is_created() -> None:
    raw = added(emails=["a", "b"])
    assert (raw["email"], "emails/old" in raw, raw["$schema/login/10"]) == ("a", False, True)
    assert entry_of(raw)["emails"] == ("a", "b")
    assert [element.id for element in entry_of(raw).elements("emails")] == ["old", "n1"]
    emptied = updated(raw, emails=vs.remove("a"))
    assert "email" not in emptied
    assert entry_of(emptied, OLD).status is Status.FLAGGED
    again = updated(emptied, emails=["z", "b"])
    assert "email" not in again  # two devices that fill it again would collide
    assert entry_of(again)["emails"] == ("z", "b")
    old = updated(again, OLD, email="from the phone")
    assert set(entry_of(old)["emails"]) == {"z", "b", "from the phone"}
    later = updated(raw)
    assert updated(added(memo="x"), emails=["a"]).get("email") is None
    assert later == raw


def test_an_element_that_somebody_stored_in_the_lists_own_slot_does_not_come_back() -> None:
    raw = {**added(emails=["a"]), "emails/old": "hostile"}
    assert entry_of(raw)["emails"] == ("a",)
    assert "emails/old" not in updated(raw, emails=vs.add("b"))
    assert entry_of(updated(raw, emails=[]))["emails"] == ()


# ---- mirrors ----------------------------------------------------------------------------------------------------
def test_a_mirror_stores_both_sides_with_a_mark_directly_before_the_older_one() -> None:
    ops = list(plan_add(SCHEMA, "login", {"first": "Ann", "last": "Lee"}, incarnation=LAPTOP, now_ms=1, new_id=ids()))
    at = ops.index("$lens/first")
    assert ops[at + 1] == "name"
    assert {"first", "last"} == set(ops[at - 2 : at])
    raw = added(first="Ann", last="Lee")
    mark = Mark.parse(raw["$lens/first"])
    assert mark is not None
    assert (mark.lossy, mark.fields, dict(mark.rest)) == (False, ("first", "last"), {})
    assert raw["$critical/last"] == "write"
    assert entry_of(raw, OLD).fields == {"name": "Ann Lee"}
    assert "name" not in entry_of(raw).retired  # represented by its successors


def test_an_older_edit_comes_through_and_leaves_the_other_part() -> None:
    raw = added(OLD, name="Anna Maria Lee")
    assert entry_of(raw).fields == {"first": "Anna", "last": "Maria Lee"}
    raw = updated(raw, first="Anna Maria", last="Lee")
    raw = updated({k: v for k, v in raw.items() if k != "$critical/last"}, OLD, name="Anna Maria Smith")
    assert entry_of(raw).fields == {"first": "Anna Maria", "last": "Smith"}


def test_clearing_on_either_side() -> None:
    raw = added(first="Ann", last="Lee")
    cleared = updated(raw, last=None)
    assert (cleared["last"], cleared["name"]) == (None, "Ann")  # a null: knowingly empty
    assert entry_of(cleared).fields == {"first": "Ann"}
    nothing = updated(cleared, first=None)
    assert (nothing["first"], nothing["name"]) == (None, None)
    assert entry_of(nothing, OLD).fields == {}
    free = {k: v for k, v in raw.items() if k != "$critical/last"}
    assert entry_of(updated(free, OLD, name=None)).fields == {}


def test_two_devices_that_store_what_was_computed_agree() -> None:
    raw = added(OLD, name="Ann Lee")
    one, two = updated(raw, first="Eve"), updated(raw, last="Smith")
    met = {**one, **two, "first": "Eve"}  # the second mark and older value won, together
    assert entry_of(met).fields == {"first": "Eve", "last": "Smith"}
    fix = repair(met, SCHEMA)
    assert fix["name"] == "Eve Smith"
    fixed = after(met, fix)
    assert not repair(fixed, SCHEMA)
    assert entry_of(fixed).fields == {"first": "Eve", "last": "Smith"}
    assert not [key for key in fix if key.startswith(("$edited", "$deleted"))]
    dead = {**met, "$deleted/x": "{}", f"$edited/{LAPTOP}": None, f"$edited/{PHONE}": None}
    assert repair({k: v for k, v in dead.items() if v is not None}, SCHEMA) == {}
    locked = {**met, "novel": "x", "$critical/novel": "write"}
    assert repair(locked, SCHEMA) == plan_convert(locked, SCHEMA) == {}


def test_a_mark_that_is_missing_or_says_wrongly_what_is_lost_is_written_again() -> None:
    raw = added(first="Ann", last="Lee")
    mark = Mark.parse(raw["$lens/first"])
    assert mark is not None
    assert repair(raw, SCHEMA) == {}
    for wrong in (None, mark._replace(lossy=True).to_json(), "[]"):
        fix = repair({**raw, "$lens/first": wrong}, SCHEMA)
        assert fix == {"$lens/first": raw["$lens/first"]}
    lossy = added(first="Ann Maria", last="Lee")  # ``get`` of the older text gives another division
    mark = Mark.parse(lossy["$lens/first"])
    assert mark is not None
    assert mark.lossy
    assert repair({**lossy, "$lens/first": mark._replace(lossy=False).to_json()}, SCHEMA) == {
        "$lens/first": lossy["$lens/first"]
    }
    older = {k: v for k, v in lossy.items() if k != "$critical/last"}
    assert entry_of(older, OLD).status is Status.FLAGGED
    assert entry_of({k: v for k, v in raw.items() if k != "$critical/last"}, OLD).status is Status.COMPLETE


def test_retired_fields_are_not_written_and_sources_not_listed() -> None:
    raw = {**added(OLD, name="Ann Lee", email="a", title="T"), "old_memo": "kept"}
    assert entry_of(raw).retired == {"old_memo": "kept"}
    with pytest.raises(RetiredField, match="Write 'first' and 'last' instead"):
        updated(raw, name="x")


# ---- broken lenses ----------------------------------------------------------------------------------------------
def test_a_broken_lens_leaves_the_older_value_visible_and_says_which() -> None:
    raw = added(OLD, count="many", memo="m")
    entry = entry_of(raw)
    assert entry.status is Status.FLAGGED
    assert (dict(entry.fields), dict(entry.retired)) == ({"memo": "m"}, {"count": "many"})
    assert entry.missing["number"].lens == "count -> number"
    assert "translation count -> number fails" in repr(entry.missing["number"])
    assert "number" not in entry.writable
    assert "memo" in entry.writable
    with pytest.raises(NotEditable, match="its translation from 'count' fails on what is stored"):
        updated(raw, number=3)
    assert cells(updated(raw, memo="new")) == {"count": "many", "memo": "new"}
    assert repair(raw, SCHEMA) == {}
    device = Device("d", "Phone", "Acme", 9, "android", "9.2")
    (notice,) = View.build([("e", raw)], SCHEMA, Context(device_of=lambda _: device)).notices
    assert str(notice) == (
        "Some data of 1 entry can't be shown here: Number of 1 Login can't be read: the translation count -> number "
        "fails on it, and what it is made from is shown instead, last edited on Phone with 9.2, which does not know "
        "Number."
    )
    assert (notice.parts[0].lens, notice.parts[0].writers) == ("count -> number", ("Phone",))
    (without,) = View.build([("e", raw)], SCHEMA, Context()).notices
    assert "Phone" not in str(without)


BROKEN: dict[str, Any] = {
    "get raises": {"get": lambda o: 1 / 0},
    "get gives another field": {"get": lambda o: {"other": 1}},
    "get gives another kind": {"get": lambda o: {"new": 1}},
    "get gives nothing that is a mapping": {"get": lambda o: None},
    "get forgets": {"get": lambda o: {}},
    "back raises": {"back": lambda n: n["nothing"]},
    "back lies": {"back": lambda n: {"old": "always"}},
    "get stops iterating": {"get": lambda o: {"new": next(iter(()))}},
}


@pytest.mark.parametrize("name", BROKEN)
def test_whatever_a_lens_does_the_entry_stays(name: str) -> None:
    fields = [Field("old", vs.text, until=2), Field("new", vs.text, since=2), Field("title", vs.text)]
    good: dict[str, Any] = {
        "get": lambda o: {"new": o["old"]} if o else {},
        "back": lambda n: {"old": n["new"]} if n else {},
    }
    lens = vs.lens("old", "new", **{**good, **BROKEN[name]}, since=2)
    schema = Schema("s", version=2, platform="web", types=[EntryType("t", fields=fields, lenses=[lens])])
    raw: dict[str, Any] = {"$type": "t", "$schema/t/1": True, "old": "kept", "title": "T"}
    for stored in (raw, {**raw, "new": "x"}, {**raw, "new": None}):
        entry = evaluate("e", stored, schema, Context())
        assert (entry.status, entry["old"], entry.title) == (Status.FLAGGED, "kept", "T")
        assert list(entry.missing) == ["new"]
        assert repair(stored, schema) == {}
    ops = plan_update("e", raw, schema, {"title": "U"}, seen=None, incarnation="aa", now_ms=1, new_id=ids())
    assert [key for key in ops if not key.startswith("$")] == ["title"]


def test_a_lens_that_answers_differently_every_time_is_never_repaired() -> None:
    numbers = ids()
    fields = [Field("old", vs.text, until=2), Field("new", vs.text, since=2)]
    lens = vs.lens(
        "old",
        "new",
        get=lambda o: {"new": f"{o['old']} {numbers()}"} if o else {},
        back=lambda n: {"old": n["new"].split(" ")[0]} if n else {},
        since=2,
    )
    schema = Schema("s", version=2, platform="web", types=[EntryType("t", fields=fields, lenses=[lens])])
    raw = {"$type": "t", "$schema/t/1": True, "old": "a", "new": "a b"}
    assert repair(raw, schema) == {}


# ---- conflicts --------------------------------------------------------------------------------------------------
def losing(raw: dict[str, Any], **losers: Any) -> Entry:
    found = {
        key.replace("__", "/"): (Candidate(raw.get(key)), Candidate(value, "Phone", 9, 5))
        for key, value in losers.items()
    }
    return entry_of(raw, conflicts=lambda _: found)


def test_a_loser_under_an_older_name_is_listed_under_the_newer_field() -> None:
    raw = added(heading="T", emails=["a", "b"], first="Ann", last="Lee", number=3)
    lost = losing(raw, title="U", email="x", name="Ann Smith", count="4").conflicts
    assert {name: [(c.value, c.element, c.device) for c in found] for name, found in lost.items()} == {
        "heading": [("U", None, "Phone")],
        "emails": [("x", "old", "Phone")],
        "last": [("Smith", None, "Phone")],
        "number": [(4, None, "Phone")],
    }
    failed = losing(raw, count="many").conflicts  # a lens fails on it: it is listed as what it is
    assert {name: [c.value for c in found] for name, found in failed.items()} == {"count": ["many"]}
    assert losing(raw, name="Ann Lee").conflicts == {}  # it would look the same


def test_a_loser_can_be_chosen_under_the_newer_field() -> None:
    raw = added(emails=["a", "b"], first="Ann", last="Lee")
    entry = losing(raw, email="x", name="Ann Smith")

    def chosen(field: str) -> dict[str, Any]:
        (conflict,) = entry.conflicts[field]
        return plan_resolve(  # type: ignore[return-value]
            "e",
            raw,
            SCHEMA,
            field,
            conflict,
            rivals=dict.fromkeys(["email", "name"], ()),
            incarnation=LAPTOP,
            now_ms=3,
            new_id=ids("r"),
        )

    emails = chosen("emails")
    assert emails["email"] == "x"
    assert "name" not in emails
    assert entry_of(after(raw, emails))["emails"] == ("x", "b")
    last = chosen("last")
    assert (last["last"], last["name"], "email" in last) == ("Smith", "Ann Smith", False)
    (conflict,) = entry.conflicts["emails"]
    with pytest.raises(UsageError, match="belongs to field 'email'"):
        plan_resolve(
            "e",
            raw,
            SCHEMA,
            "memo",
            conflict,
            rivals={},
            incarnation=LAPTOP,
            now_ms=3,
            new_id=ids(),
        )
    same = plan_resolve(  # the winner stays: written again over the other
        "e",
        raw,
        SCHEMA,
        "emails",
        ("a", "b"),
        rivals=dict.fromkeys(["email", "$lens/first"], ()),
        incarnation=LAPTOP,
        now_ms=3,
        new_id=ids(),
    )
    assert same == {"email": "a", f"$edited/{LAPTOP}": 3}
    winner = plan_resolve(
        "e",
        raw,
        SCHEMA,
        "first",
        "Ann",
        rivals=dict.fromkeys(["name", "first", "last", "$lens/first", "title"], ()),
        incarnation=LAPTOP,
        now_ms=3,
        new_id=ids(),
    )
    assert list(winner) == ["first", "$lens/first", "name", f"$edited/{LAPTOP}"]


# ---- conversions ------------------------------------------------------------------------------------------------
WIFI_NOTE = EntryType(
    "wifi_note",
    fields=[Field("ssid", vs.text), Field("login", vs.text), Field("count", vs.text), Field("band", vs.text)],
    until=12,
    converts=vs.Convert(
        "wifi",
        [
            vs.rename("ssid", "network"),
            vs.split("login", ["first", "last"]),
            vs.convert("count", "number", get=int_of, back=str),
        ],
        keep_old=True,
    ),
)
WIFI = EntryType(
    "wifi",
    fields=[Field(n, k, since=12) for n, k in (("network", vs.text), ("first", vs.text), ("last", vs.text))]
    + [Field("number", vs.number, since=12)],
    since=11,
)
WORLD = Schema("acme", version=12, platform="linux", types=[WIFI_NOTE, WIFI])


def test_a_conversion_writes_no_field_and_is_nobodys_edit() -> None:
    raw: dict[str, Any] = {
        "$type": "wifi_note",
        "$schema/wifi_note/1": True,
        "ssid": "home",
        "login": "a b",
        "band": "5",
    }
    assert entry_of(raw, WORLD).status is Status.ARCHIVED
    ops = plan_convert(raw, WORLD)
    assert ops == {"$face/wifi_note": True, "$type": "wifi", "$schema/wifi/11": True}
    made = after(raw, ops)
    entry = entry_of(made, WORLD)
    assert (entry.type, dict(entry.fields)) == ("wifi", {"network": "home", "first": "a", "last": "b"})
    assert entry.retired == {"band": "5"}
    assert entry_of(made, WORLD.at(10)).fields == {"ssid": "home", "login": "a b", "band": "5"}
    edited = updated(made, WORLD.at(10), login="a c")
    assert entry_of(edited, WORLD)["last"] == "c"
    lost = {**made, "$type": "wifi_note"}  # a device that knew less won the race for the type
    assert entry_of(lost, WORLD).type == "wifi"
    assert repair(lost, WORLD) == {"$type": "wifi"}


def test_before_the_version_that_retires_a_type_nothing_is_converted() -> None:
    raw: dict[str, Any] = {"$type": "wifi_note", "$schema/wifi_note/1": True, "ssid": "home"}
    made = after(raw, plan_convert(raw, WORLD))
    eleven = WORLD.at(11)  # knows both types, but not yet that one becomes the other
    assert plan_convert(raw, eleven) == {}
    assert entry_of(made, eleven).type == "wifi"
    assert "ssid" in entry_of(made, eleven).missing


def test_an_entry_on_which_a_lens_fails_is_not_converted() -> None:
    raw: dict[str, Any] = {"$type": "wifi_note", "$schema/wifi_note/1": True, "count": "many"}
    assert plan_convert(raw, WORLD) == {}
    assert entry_of(raw, WORLD)["count"] == "many"


def test_types_without_lenses_share_one_shape_without_steps() -> None:
    plain = Schema("s", version=1, platform="web", types=[EntryType("t", fields=[Field("title", vs.text)])])
    a, b = (evaluate(str(i), {"$type": "t", "title": "x"}, plain, Context()) for i in range(2))
    assert a._judgement is b._judgement
    assert a._judgement.shape.steps == ()
    assert replace(Context(), census=()).device_of is None


# ---- what repairs look at -----------------------------------------------------------------------------------------
def test_entries_that_no_mirror_touches_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a merge every entry that arrived is asked for; most are of types that need no repair."""
    judged: list[Any] = []
    monkeypatch.setattr("vaultsync.view.upkeep.judge", lambda raw, schema: judged.append(raw) or judge(raw, schema))
    plain = EntryType("plain", fields=[Field("title", vs.text)])
    mixed = Schema("mixed", version=12, platform="linux", types=[WIFI_NOTE, WIFI, plain])
    assert repair({"$type": "plain", "title": "x"}, mixed) == {}
    assert repair({"$type": "nobody knows", "$face/plain": True}, mixed) == {}
    assert not judged
    for raw in ({"$type": "wifi"}, {"$type": "wifi_note"}, {"$type": "newer", "$face/wifi": True}):
        repair(raw, mixed)
    assert len(judged) == 3
    assert not needs_upkeep(Schema("s", version=1, platform="web", types=[plain]))

"""Entries: plain values, masked words, what is writable, what lost a conflict."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any

import pytest

from vaultsync.errors import UnknownField
from vaultsync.schema.kinds import FileRef, file, flag, instant, items, note, number, secret, tags, text
from vaultsync.schema.lenses import Convert
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.context import Context
from vaultsync.view.edits import plan_add
from vaultsync.view.entry import MASK, Candidate, Entry, Status, evaluate

CARD = EntryType(
    "card",
    label="Card",
    fields=[
        Field("pin", secret),
        Field("title", text),
        Field("owner_name", text),
        Field("codes", items(secret)),
        Field("emails", items(text)),
        Field("notes", note),
        Field("limit", number),
        Field("blocked", flag),
        Field("expires", instant),
        Field("tags", tags),
        Field("scan", file),
        Field("bank", text, until=2),
        Field("cvv", secret, since=9, critical="read"),
    ],
)
SLIP = EntryType("slip", label="Slip", fields=[Field("memo", text)], until=2, converts=Convert("card"))
SCHEMA = Schema("bank", version=2, platform="linux", types=[CARD, SLIP])
SCAN = FileRef(id="ab" * 16, name="Übersicht.PDF", size=3, digest="cd" * 32, key="ef" * 32)
WHEN = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PIN, CODE, FOREIGN = "p1n-9471", "c0de-5522", "f0reign-31"
VALUES: dict[str, Any] = {
    "pin": PIN, "title": "Visa", "owner_name": "Ann", "codes": [CODE], "emails": ["b@x", "a@x"], "notes": "one\ntwo",
    "limit": 2000, "blocked": False, "expires": WHEN, "tags": {"bank", "Zürich"}, "scan": SCAN,
}  # fmt: skip


def raw(**more: Any) -> dict[str, Any]:
    ids = iter(f"e{i}" for i in range(99))
    made = plan_add(SCHEMA, "card", VALUES, incarnation="aa" * 16, now_ms=1000, new_id=ids.__next__)
    return {**made, **more}


def entry(stored: dict[str, Any] | None = None, context: Context | None = None) -> Entry:
    return evaluate("01HX", raw() if stored is None else stored, SCHEMA, context or Context())


def test_values_are_plain() -> None:
    shown = entry()
    expected = {**VALUES, "codes": (CODE,), "emails": ("b@x", "a@x")}
    assert dict(shown.fields) == expected
    assert {name: shown[name] for name in expected} == expected
    assert list(shown.fields) == [f.name for f in CARD.fields if f.name in expected]
    assert [e.value for e in shown.elements("emails")] == ["b@x", "a@x"]
    assert [e.value for e in shown.elements("notes")] == ["one", "two"]
    assert shown.elements("title") == ()
    assert (shown.id, shown.type, shown.label, shown.title, shown.version) == ("01HX", "card", "Card", "Visa", 1)
    assert (shown.created, shown.modified, shown.modified_by) == (1000, 1000, "aa" * 16)
    assert "pin" in shown
    assert "cvv" not in shown


def test_what_is_not_set_and_what_does_not_exist() -> None:
    empty = entry({"$type": "card"})
    assert (empty["title"], empty["tags"], empty["emails"], empty["notes"]) == (None, frozenset(), (), None)
    assert empty.get("title", "none") == "none"
    assert dict(empty.fields) == {}
    with pytest.raises(UnknownField, match=r"no field 'titel' is shown here\. Did you mean 'title'\?"):
        empty["titel"]
    with pytest.raises(KeyError):
        empty.elements("cvv")


def test_no_word_shows_a_secret_or_anything_unknown() -> None:
    stored = raw(foreign=FOREIGN, **{"cvv": FOREIGN, "tags/" + FOREIGN: FOREIGN})
    conflicts = {
        "pin": (Candidate("x"), Candidate(PIN + "0", "Phone", 2, 5)),
        "codes/e0": (Candidate("x"), Candidate(CODE)),
    }
    for status, more in (
        (Status.FLAGGED, {}),
        (Status.HIDDEN, {"$critical/cvv": "read"}),
        (Status.TRASHED, {"$deleted/x": '{"' + "aa" * 16 + '":1000}'}),
    ):
        shown = entry({**stored, **more}, Context(conflicts=lambda _: conflicts))
        assert shown.status is status
        words = [
            repr(shown),
            str(shown),
            repr(shown.fields),
            repr(shown.retired),
            repr(shown.unknown),
            str(shown.missing),
        ]
        words += [f"{shown}", repr(dict(shown.conflicts)), repr(conflicts), str(list(shown.conflicts.values()))]
        words += [repr(e) for name in shown.fields for e in shown.elements(name)]
        for word in words:
            assert not any(hidden in word for hidden in (PIN, CODE, FOREIGN)), word
    assert repr(entry()) == "<Entry card 'Visa' complete>"
    assert f"  pin: {MASK}" in str(entry())
    assert f"'codes': {MASK}" in repr(entry().fields)


def test_a_critical_field_hides_everything_even_in_the_trash() -> None:
    for more in ({}, {"$deleted/x": '{"' + "aa" * 16 + '":1000}'}):
        shown = entry(raw(cvv="1", **{"$critical/cvv": "read"}, **more))
        assert (dict(shown.fields), dict(shown.retired), shown.title, shown.writable) == ({}, {}, None, frozenset())
        assert list(shown.unknown) == ["cvv"]
        with pytest.raises(UnknownField, match="nothing of it can be shown here"):
            shown["title"]


def test_title_prefers_title_then_name_then_the_first_text() -> None:
    assert entry({"$type": "card", "pin": "p", "owner_name": "Ann"}).title == "Ann"
    assert entry({"$type": "card", "title": "", "owner_name": "Ann"}).title == "Ann"
    both = entry(raw())
    before = both.title
    assert both.fields
    assert both.title == before


def test_retired_fields_and_leftovers_are_read_only() -> None:
    stored = raw(bank="UBS", memo="old words", **{"$schema/slip/1": True})
    shown = entry(stored)
    assert shown.status is Status.COMPLETE
    assert dict(shown.retired) == {"memo": "old words", "bank": "UBS"}
    assert shown["bank"] == "UBS"
    assert shown.writable == {f.name for f in CARD.fields} - {"bank", "cvv"}
    archived = evaluate("x", {"$type": "slip", "memo": "m"}, SCHEMA, Context())
    assert (archived.status, archived["memo"], archived.writable) == (Status.ARCHIVED, "m", frozenset())


def test_missing_says_where_it_is_known() -> None:
    shown = entry(raw(cvv="1", mystery="2", **{"$schema/card/11": True}))
    assert set(shown.missing) == {"cvv", "mystery"}
    assert shown.missing["cvv"].versions == (9, 9)
    assert shown.missing["mystery"].versions == (11, 11)
    assert repr(shown.missing["cvv"]) == "<Cvv •••• needs version 9 or later>"
    assert str(shown.unknown["mystery"]) == MASK


def test_conflicts_list_the_losers_of_what_is_shown() -> None:
    asked: list[str] = []

    def conflicts(entry_id: str) -> dict[str, tuple[Candidate, ...]]:
        asked.append(entry_id)
        return {
            "title": (Candidate("Visa"), Candidate("Visa old", "Phone", 1, 5), Candidate(7)),
            "emails/e1": (Candidate("b@x"), Candidate("c@x", "Laptop", 2, 6)),
            "notes": (Candidate("one"), Candidate("ONE")),
            "emails@e1": (Candidate("B"), Candidate("C")),
            "cvv": (Candidate("1"), Candidate("2")),
            "$type": (Candidate("card"), Candidate("slip")),
        }

    shown = entry(raw(), Context(conflicts=conflicts))
    assert shown.fields
    assert asked == []  # only who asks pays
    found = shown.conflicts
    assert asked == ["01HX"]
    assert set(found) == {"title", "emails", "notes"}
    assert [(c.value, c.device, c.version, c.time) for c in found["title"]] == [("Visa old", "Phone", 1, 5)]
    assert (found["emails"][0].value, found["emails"][0].element, found["emails"][0].key) == ("c@x", "e1", "emails/e1")
    assert found["notes"][0].value == "ONE"
    assert evaluate("x", {"$type": "zzz"}, SCHEMA, Context(conflicts=conflicts)).conflicts == {}


def test_modified_names_the_later_incarnation_deterministically() -> None:
    stored = {"$type": "card", "$created": 5, "$edited/bb": 7, "$edited/aa": 7, "$edited/cc": True, "$edited/dd": "9"}
    assert (entry(stored).modified, entry(stored).modified_by) == (7, "bb")
    assert (entry({"$type": "card", "$created": 5}).modified, entry({"$type": "card"}).modified_by) == (5, None)
    assert entry({"$type": "card", "$created": "soon"}).created == 0


def test_entries_cannot_be_changed() -> None:
    shown = entry()
    for name in ("id", "type", "status", "fields", "title", "unheard_of"):
        with pytest.raises(AttributeError):
            setattr(shown, name, "x")
    with pytest.raises(TypeError):
        shown.fields["title"] = "x"  # type: ignore[index]
    assert not hasattr(shown, "__dict__")


def test_every_public_property_is_documented() -> None:
    public = {name: thing for name, thing in vars(Entry).items() if not name.startswith("_")}
    assert all(inspect.getdoc(thing) for thing in public.values()), public

"""Comparing two places of a timeline: what people get, and what devices that stay behind stop seeing."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.schema.compare import Change, Effect, FieldChange, TypeChange, Unseen, compare
from vaultsync.schema.kinds import items, secret, text
from vaultsync.schema.lenses import Convert, Lens
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing.strategies import places, schemas

MANY = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "200")), deadline=None)


def same(*values: Any) -> Any:
    return values[0]


def lens(form: str, old: str, new: str, since: int = 10) -> Lens:
    ends = tuple(old.split()), tuple(new.split())
    return Lens(form=form, old=ends[0], new=ends[1], since=since, get=same, put=same, back=same)


LOGIN = EntryType(
    "login",
    label="Login",
    fields=[
        Field("title", text),
        Field("email", text, until=10),
        Field("emails", items(text), since=10),
        Field("user", text, until=10),
        Field("username", text, since=10),
        Field("name", text, until=10),
        Field("first", text, since=10),
        Field("last", text, since=10),
        Field("hint", text, until=12),
        Field("passkey", secret, since=12, critical="write"),
        Field("vault_key", secret, since=12, critical="read"),
        Field("colour", text, since=11),
        Field("category", text, since=10, platforms={"macos", "windows"}),
    ],
    lenses=[lens("slot", "email", "emails"), lens("alias", "user", "username"), lens("mirror", "name", "first last")],
)
WIFI_NOTE = EntryType(
    "wifi_note", label="Wi-Fi note", fields=[Field("title", text)], until=12, converts=Convert("wifi")
)
MEMO = EntryType("memo", label="Memo", fields=[], until=11, converts=Convert("wifi", keep_old=True))
FAX = EntryType("fax", label="Fax", fields=[], until=12)
WIFI = EntryType("wifi", label="Wi-Fi", fields=[Field("title", text, since=11)], since=11)
SCAN = EntryType("scan", label="Scan", fields=[], platforms={"ios"})
SCHEMA = Schema(
    "acme",
    version=12,
    platform="linux",
    types=[LOGIN, WIFI_NOTE, MEMO, FAX, WIFI, SCAN],
    releases={9: "9.2", 12: "12.0"},
)


def test_from_one_version_to_another() -> None:
    found = compare(SCHEMA.at(9), SCHEMA)
    assert set(found.types) == {
        TypeChange(Change.RETIRED, "fax", "Fax"),
        TypeChange(Change.CONVERTED, "memo", "Memo", "wifi", True),
        TypeChange(Change.ADDED, "wifi", "Wi-Fi"),
        TypeChange(Change.CONVERTED, "wifi_note", "Wi-Fi note", "wifi"),
    }
    assert FieldChange(Change.CONVERTED, "login", "name", "Name", ("first", "last")) in found.fields
    assert FieldChange(Change.CONVERTED, "login", "email", "Email", ("emails",)) in found.fields
    assert FieldChange(Change.RETIRED, "login", "hint", "Hint") in found.fields
    assert FieldChange(Change.ADDED, "login", "colour", "Colour") in found.fields
    assert not any(each.field in ("title", "category") for each in found.fields)


def test_what_the_older_device_stops_seeing() -> None:
    found = compare(SCHEMA.at(9), SCHEMA)
    assert set(found.unseen) == {
        Unseen(Effect.HIDDEN, "wifi", None, "Wi-Fi"),
        Unseen(Effect.HIDDEN, "wifi_note", None, "Wi-Fi note"),
        Unseen(Effect.FLAGGED, "login", "emails", "Emails"),
        Unseen(Effect.FLAGGED, "login", "colour", "Colour"),
        Unseen(Effect.PARTIAL, "login", "first", "First"),
        Unseen(Effect.PARTIAL, "login", "last", "Last"),
        Unseen(Effect.LOCKED, "login", "passkey", "Passkey"),
        Unseen(Effect.HIDDEN, "login", "vault_key", "Vault key"),
    }


def test_from_one_platform_to_another() -> None:
    found = compare(SCHEMA, SCHEMA.at(12, "ios"))
    assert found.types == (TypeChange(Change.ADDED, "scan", "Scan"),)
    assert found.unseen == (Unseen(Effect.HIDDEN, "scan", None, "Scan"),)
    found = compare(SCHEMA.at(12, "windows"), SCHEMA)
    assert found.fields == (FieldChange(Change.LEFT, "login", "category", "Category"),)
    assert found.unseen == ()


def test_the_report_can_be_read() -> None:
    report = str(compare(SCHEMA.at(9), SCHEMA))
    assert report.startswith("From 9.2 on linux to 12.0 on linux:\n")
    assert "  converted type memo (Memo) to wifi, still readable as before\n" in report
    assert "  converted field login.name (Name) to first, last\n" in report
    assert "a device at 9.2 on linux does not show everything" in report
    assert "  entries of wifi_note (Wi-Fi note): hidden" in report
    assert "  login.passkey (Passkey): shown, but not editable" in report
    assert str(compare(SCHEMA, SCHEMA)).endswith("nothing changes")


def test_a_chain_of_lenses_is_as_loose_as_its_loosest() -> None:
    fields = [Field("a", text, until=2), Field("b", text, since=2, until=3), Field("c", items(text), since=3)]
    lenses = [lens("alias", "a", "b", 2), lens("slot", "b", "c", 3)]
    whole = Schema("s", version=3, platform="web", types=[EntryType("t", fields=fields, lenses=lenses)])
    assert compare(whole.at(1), whole).unseen == (Unseen(Effect.FLAGGED, "t", "c", "C"),)
    assert compare(whole.at(1), whole.at(2)).unseen == ()


@MANY
@given(schemas(), st.data())
def test_comparing_is_consistent(whole: Schema, data: st.DataObject) -> None:
    a, b = data.draw(places(whole)), data.draw(places(whole))
    there, back = compare(a, b), compare(b, a)
    assert not compare(a, a)
    assert compare(a, a).unseen == ()
    gained = {each.type for each in there.types if each.change is Change.ADDED}
    lost = {each.type for each in there.types if each.change is not Change.ADDED}
    assert gained == {name for name in whole.types if b.active(name) and not a.active(name)}
    assert lost == {each.type for each in back.types if each.change is Change.ADDED}
    fields = {(each.type, each.field) for each in there.fields if each.change is Change.ADDED}
    assert fields == {(each.type, each.field) for each in back.fields if each.change is not Change.ADDED}
    for unseen in there.unseen:
        kind = whole.types[unseen.type]
        thing = kind if unseen.field is None else kind.field(unseen.field)
        assert thing is not None
        assert b.here(thing)
        assert not a.here(thing)
    assert str(there)
    if a.platform == b.platform and a.version >= b.version:
        assert there.unseen == (), "a newer device sees all that an older one writes"


@pytest.mark.parametrize("effect", Effect)
def test_effects_are_words_for_people(effect: Effect) -> None:
    assert effect.value

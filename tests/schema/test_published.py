"""Published declarations: one text for one past, drift when it was edited, and hostile ones that count as absent."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.errors import SchemaError
from vaultsync.schema.cells import canonical_json, is_name
from vaultsync.schema.kinds import items, number, text
from vaultsync.schema.lenses import Convert, Lens
from vaultsync.schema.published import Catalog, changed_at, declaration, declarations, drift, parse
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing.strategies import places, schemas

MANY = settings(max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "300")), deadline=None)


def same(*values: Any) -> Any:
    return values[0]


def wrap(form: str = "slot", rule: str = "") -> Lens:
    return Lens(form=form, old=("email",), new=("emails",), since=3, get=same, put=same, back=same, rule=rule)


def login(*more: Field, label: str = "Login", name: str = "login", lens: Lens | None = None, **rest: Any) -> EntryType:
    fields = [Field("title", text), Field("email", text, until=3), Field("emails", items(text), since=3), *more]
    return EntryType(name, label=label, fields=fields, lenses=[lens or wrap()], **rest)


def schema(*types: EntryType, version: int = 5) -> Schema:
    return Schema("acme", version=version, platform="linux", types=types)


def changed(text: str, **values: Any) -> str:
    return canonical_json(json.loads(text) | values)


# ---- writing ----------------------------------------------------------------------------------------------------
@MANY
@given(schemas(), st.data())
def test_the_same_past_is_the_same_text_from_every_later_place(whole: Schema, data: st.DataObject) -> None:
    older = data.draw(places(whole))
    newer = whole.at(data.draw(st.integers(older.version, whole.version)))
    published = declarations(older)
    assert published.items() <= declarations(newer).items()
    assert drift(newer, published) == []
    assert drift(older, declarations(newer)) == [], "what is newer than this device is not its past"
    for name, content in published.items():
        found = parse(content)
        assert found is not None
        assert canonical_json(json.loads(content)) == content
        type_name, _, version = name.partition("@")
        assert found.type == type_name
        assert int(version) in changed_at(whole.types[type_name])
        assert all(field.since <= int(version) for field in found.fields.values())
        assert all(field.until is None or field.until <= int(version) for field in found.fields.values())


@MANY
@given(schemas())
def test_between_two_published_versions_nothing_changes(whole: Schema) -> None:
    for kind in whole.types.values():
        marks = changed_at(kind)
        for version in range(kind.since, whole.version + 1):
            last = max(mark for mark in marks if mark <= version)
            assert declaration(whole, kind.name, version) == declaration(whole, kind.name, last)


def test_an_application_that_does_not_know_the_future_publishes_the_same() -> None:
    now = schema(login(Field("note_to_self", text, since=5), until=7, converts=Convert("new")), login(name="new"))
    then = schema(
        EntryType("login", label="Login", fields=[Field("title", text), Field("email", text)]),
        version=2,
    )
    assert declarations(now)["login@1"] == declarations(then)["login@1"]


def test_what_newer_versions_published_is_no_drift_of_an_older_application() -> None:
    newer = schema(login(Field("colour", text, since=4)), EntryType("card", fields=[], since=4))
    older = schema(EntryType("login", label="Login", fields=[Field("title", text), Field("email", text)]), version=2)
    assert drift(older, declarations(newer)) == []


def test_there_is_no_declaration_before_the_type() -> None:
    whole = schema(login(), EntryType("late", label="Late", fields=[], since=4))
    for name, version in (("late", 3), ("nothing", 3)):
        with pytest.raises(SchemaError):
            declaration(whole, name, version)


# ---- drift ------------------------------------------------------------------------------------------------------
def drifts(now: Schema, past: Schema) -> str:
    found = drift(now, declarations(past))
    return "\n".join(map(str, found))


def test_labels_are_no_drift() -> None:
    assert drifts(schema(login(label="Account")), schema(login())) == ""
    relabelled = login(Field("url", text, label="Web"))
    assert drifts(schema(relabelled), schema(login(Field("url", text, label="Website")))) == ""


@pytest.mark.parametrize(
    ("now", "past", "message"),
    [
        (login(Field("x", text)), login(Field("x", number)), "field x: kind is text here, was number"),
        (login(Field("x", text, since=2)), login(Field("x", text, since=3)), "field x: since is 2 here, was 3"),
        (login(Field("x", text, until=3)), login(Field("x", text)), "field x: until is 3 here, was None"),
        (login(Field("x", text, critical="read")), login(Field("x", text)), "critical is read here, was None"),
        (login(Field("x", text, platforms={"ios"})), login(Field("x", text)), "platforms is ios here, was None"),
        (login(Field("x", text)), login(), "field x was not there"),
        (login(), login(Field("x", text)), "field x is missing here"),
        (login(until=4), login(), ""),
        (login(until=5), login(until=4), "login as of version 4"),
        (login(platforms={"web"}), login(), "the type: platforms is web here, was None"),
        (login(lens=wrap("mirror")), login(), "its lenses differ"),
        (
            login(lens=wrap(rule="split:,")),
            login(lens=wrap(rule="split: ")),
            "its rule is 'split:,' here, was 'split: '",
        ),
        (login(lens=wrap(rule="mine")), login(lens=wrap()), ""),  # published before it was named
        (login(name="other"), login(), "type login is missing here"),
    ],
)
def test_an_edited_past_is_reported(now: EntryType, past: EntryType, message: str) -> None:
    report = drifts(schema(now), schema(past))
    assert message in report
    assert bool(report) == bool(message)


def test_a_published_conversion_never_changes_its_target() -> None:
    targets = [EntryType(name, fields=[]) for name in ("one", "two")]
    now, past = (schema(login(until=4, converts=Convert(to)), *targets) for to in ("two", "one"))
    assert "converted to one: a published conversion never changes its target" in drifts(now, past)
    kept = schema(login(until=4, converts=Convert("one", keep_old=True)), *targets)
    assert "its conversion differs" in drifts(kept, past)
    found = drift(schema(login(until=4), *targets), declarations(past))
    assert "never changes its target" in str(found[0])


def test_a_removed_thing_is_marked_as_removed() -> None:
    past = declarations(schema(login(Field("x", text))))
    assert [each.removed for each in drift(schema(login()), past)] == [True, True]
    assert [each.removed for each in drift(schema(login(Field("x", number))), past)] == [False, False]
    assert [each.removed for each in drift(schema(), past)] == [True, True]


# ---- reading ----------------------------------------------------------------------------------------------------
GOOD = declaration(schema(login()), "login", 3)


@MANY
@given(st.data())
def test_a_spoilt_declaration_is_absent_or_whole(data: st.DataObject) -> None:
    """Replace any one value of a good declaration by anything: parsing gives None or something of the right shape."""
    value = json.loads(GOOD)
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            spots.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(value)
    node, key = data.draw(st.sampled_from(spots))
    junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just([]) | st.just({})
    node[key] = data.draw(junk | st.lists(junk, max_size=3))
    found = parse(json.dumps(value))
    if found is not None:
        assert is_name(found.type)
        assert isinstance(found.label, str)
        assert found.label
        for field in found.fields.values():
            assert is_name(field.name)
            assert isinstance(field.kind, str)
            assert field.since >= 1
            assert field.critical in (None, "read", "write")
        hash(found.lenses)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{}",
        7,
        None,
        True,
        GOOD[:-1],
        GOOD + " " * (64 << 10),
        changed(GOOD, type="Login"),
        changed(GOOD, label=""),
        changed(GOOD, label="x" * 257),
        changed(GOOD, since=0),
        changed(GOOD, since=True),
        changed(GOOD, platforms=[]),
        changed(GOOD, fields=json.loads(GOOD)["fields"] * 2),
        changed(GOOD, more=json.loads("[" * 8 + "]" * 8)),
        "[" * 60_000,
    ],
)
def test_an_invalid_declaration_counts_as_absent(content: object) -> None:
    assert parse(content) is None
    assert Catalog({"login@3": content}).types == ()
    assert drift(schema(), {"login@3": content}) == []


def test_what_a_newer_version_added_to_the_format_is_ignored() -> None:
    assert parse(changed(GOOD, colour="red", platforms=["vision"])) is not None


def test_the_catalog_answers_for_what_is_unknown_here() -> None:
    card = EntryType(
        "card",
        label="Payment card",
        since=2,
        platforms={"ios", "web"},
        fields=[Field("pin", text, label="PIN", since=4, platforms={"ios"}), Field("number", text, since=2)],
    )
    catalog = Catalog(declarations(schema(login(), card)))
    assert catalog.types == ("card", "login")
    assert catalog.label("card") == "Payment card"
    assert catalog.versions("card") == (2, 4)
    assert catalog.since("card") == 2
    assert catalog.platforms("card") == {"ios", "web"}
    pin = catalog.field("card", "pin")
    assert pin is not None
    assert (pin.label, pin.since, pin.platforms) == ("PIN", 4, {"ios"})
    assert catalog.field("card", "cvc") is None
    assert catalog.label("passport") is None
    assert catalog.versions("passport") == ()
    assert catalog.platforms("login") is None


def test_the_newest_declaration_counts_and_a_misfiled_one_does_not() -> None:
    stored = {
        "login@3": GOOD,
        "login@10": changed(GOOD, label="Account"),
        "login@9": changed(GOOD, label="Wrong"),
        "login@09": changed(GOOD, label="Spelling"),
        "login@11": changed(GOOD, type="other", label="Misfiled"),
        "login@12": changed(GOOD, since=13, label="From the future"),
        "login@1000001": changed(GOOD, label="Too far"),
        "login": GOOD,
        "@3": GOOD,
    }
    catalog = Catalog(stored)
    assert catalog.label("login") == "Account"
    assert catalog.versions("login") == (3, 9, 10)

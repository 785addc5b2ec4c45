"""Planned edits: what is unknown survives, stamps say what is needed, nothing is written for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.view.worlds import INCARNATIONS, SOME, applied, hostile_raws, merged, new_ids, raws, schemas, values
from vaultsync.errors import NotEditable, RetiredField, UnknownField, UnknownType, UsageError, WrongKind
from vaultsync.schema.cells import GONE, canonical_json, edited, owner, trashed
from vaultsync.schema.kinds import add, items, note, number, remove, secret, tags, text
from vaultsync.schema.lenses import Convert
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.context import Context
from vaultsync.view.decide import Status, decide, judge
from vaultsync.view.edits import plan_add, plan_delete, plan_purge, plan_resolve, plan_restore, plan_update
from vaultsync.view.entry import Candidate, Conflict, evaluate

ME = INCARNATIONS[0]


def update(raw: dict[str, Any], schema: Schema, changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {"seen": None, "incarnation": ME, "now_ms": 100, "new_id": new_ids(), **more}
    return dict(plan_update("id", raw, schema, changes, **given))


@st.composite
def edits(draw: st.DrawFn, entries: st.SearchStrategy[dict[str, Any]]) -> tuple[dict[str, Any], Schema, dict[str, Any]]:
    """An entry that may be edited under a schema, and values for some of its writable fields."""
    schema, raw = draw(schemas()), draw(entries)
    if draw(st.booleans()):
        raw = {k: v for k, v in raw.items() if not k.startswith(("$deleted/", "$critical/"))}
    active = [name for name in schema.types if schema.active(name)]
    if active:
        raw["$type"] = draw(st.sampled_from(active))
    judgement = judge(raw, schema)
    assume(judgement.decision.editable)
    fields = [f for f in judgement.shape.active if draw(st.booleans())]
    return raw, schema, {f.name: draw(values(f)) for f in fields}


@SOME
@given(edits(hostile_raws()))
def test_update_touches_nothing_it_does_not_know(case: tuple[dict[str, Any], Schema, dict[str, Any]]) -> None:
    raw, schema, changes = case
    after = applied(raw, update(raw, schema, changes))
    judgement = judge(raw, schema)
    for key, value in raw.items():
        name = owner(key)
        foreign = name not in judgement.shape.known or (name not in changes)
        if key.startswith("$") and key != f"$edited/{ME}":
            foreign = not key.startswith("$critical/")
        if foreign and key != f"$edited/{ME}" and not (key.startswith("$schema/") and value is not True):
            assert key in after
            assert type(after[key]) is type(value)
            assert after[key] is value or after[key] == value


@SOME
@given(edits(raws()))
def test_update_reads_back_and_writes_nothing_twice(case: tuple[dict[str, Any], Schema, dict[str, Any]]) -> None:
    raw, schema, changes = case
    ops = update(raw, schema, changes)
    after = applied(raw, ops)
    entry = evaluate("id", after, schema, Context())
    face = entry.type
    for name, value in changes.items():
        expected = tuple(value) if isinstance(value, list) else value
        if entry.type == judge(raw, schema).decision.face:
            assert (entry.fields.get(name) or None) == (expected or None) or entry[name] == expected, (face, name)
    again = update(after, schema, changes, now_ms=200)
    assert again == {}
    if ops:
        assert edited(after)[ME] == max(100, edited(raw).get(ME, -1) + 1)
        assert list(ops)[-1] == f"$edited/{ME}"
        assert any(not key.startswith("$") for key in ops)


@SOME
@given(edits(raws()))
def test_stamps_say_what_is_needed(case: tuple[dict[str, Any], Schema, dict[str, Any]]) -> None:
    raw, schema, changes = case
    ops = update(raw, schema, changes)
    stored = {owner(k) for k, v in ops.items() if not k.startswith("$") and "@" not in k and v not in (None, GONE)}
    wanted: set[str] = set()
    for kind in judge(raw, schema).shape.line:
        for field in kind.fields:
            if field.name in stored:
                wanted.add(f"$schema/{kind.name}/{max(field.since, kind.since)}")
                assert field.critical is None or applied(raw, ops)[f"$critical/{field.name}"] == field.critical
    after = applied(raw, ops)
    assert all(after[stamp] is True for stamp in wanted)
    assert {k for k in ops if k.startswith("$schema/")} == {s for s in wanted if raw.get(s) is not True}
    assert all(ops[k] is True for k in ops if k.startswith("$schema/"))


@SOME
@given(schemas(), st.data())
def test_what_is_added_is_complete_here_and_on_the_oldest_version_that_can_read_it(
    schema: Schema, data: st.DataObject
) -> None:
    active = [name for name in schema.types if schema.active(name)]
    assume(active)
    kind = schema.types[data.draw(st.sampled_from(active))]
    fields = [f for f in schema.fields_here(kind) if not schema.retired(f)]
    given_ = {f.name: data.draw(values(f)) for f in fields}
    ops = plan_add(schema, kind.name, given_, incarnation=ME, now_ms=7, new_id=new_ids(), source="x:1", created=3)
    raw = applied({}, ops)
    entry = evaluate("id", raw, schema, Context())
    assert (entry.status, entry.type, entry.created, entry.modified, entry.source) == (
        Status.COMPLETE,
        kind.name,
        3,
        7,
        "x:1",
    )
    assert GONE not in ops.values()
    for version in range(entry.version, schema.version + 1):
        older = schema.at(version)
        if older.active(kind.name):
            assert decide(raw, older).status is Status.COMPLETE or any(
                f.platforms and f.name in entry.fields for f in kind.fields
            )


# ---- what the caller saw ------------------------------------------------------------------------------------------
LOGIN = EntryType(
    "login",
    label="Login",
    fields=[
        Field("title", text),
        Field("password", secret),
        Field("email", text, until=3),
        Field("emails", items(text), since=3),
        Field("notes", note),
        Field("pin", number),
        Field("tags", tags),
        Field("passkey", secret, since=5, critical="write"),
        Field("category", text, platforms={"macos", "windows"}),
    ],
)
OLD = EntryType("wifi_note", label="Wi-Fi note", fields=[Field("title", text)], until=3, converts=Convert("login"))
NEW = EntryType("passkey_entry", label="Passkey", fields=[Field("title", text, since=5)], since=5)
MAC = EntryType("scan", label="Scan", fields=[Field("title", text)], platforms={"macos"})
SCHEMA = Schema("acme", version=3, platform="linux", types=[LOGIN, OLD, NEW, MAC], releases={3: "3.1", 5: "5.0"})


def added(**fields: Any) -> dict[str, Any]:
    return applied({}, plan_add(SCHEMA, "login", fields, incarnation=ME, now_ms=1, new_id=new_ids()))


def test_collections_are_compared_with_what_the_caller_saw() -> None:
    raw = added(title="t", tags={"work", "home"}, emails=["a@x", "b@x"], notes="one\ntwo")
    seen = evaluate("id", raw, SCHEMA, Context())
    ids = iter(["x1", "x2", "x3"])
    elsewhere = update(
        raw, SCHEMA, {"tags": add("new"), "emails": add("c@x"), "notes": "one\ntwo\nthree"}, new_id=ids.__next__
    )
    now = applied(raw, elsewhere)
    mine = {"tags": {"work"}, "emails": ["b@x", "a@x"], "notes": "ONE\ntwo", "title": "t2"}
    after = evaluate("id", applied(now, update(now, SCHEMA, mine, seen=seen)), SCHEMA, Context())
    assert after["tags"] == {"work", "new"}
    assert set(after["emails"]) == {"a@x", "b@x", "c@x"}
    assert after["emails"].index("b@x") < after["emails"].index("a@x")
    assert after["notes"] == "ONE\ntwo\nthree"
    assert after["title"] == "t2"
    blunt = evaluate("id", applied(now, update(now, SCHEMA, mine)), SCHEMA, Context())
    assert blunt["tags"] == {"work"}
    assert blunt["emails"] == ("b@x", "a@x")


def test_deltas_and_clearing() -> None:
    raw = added(title="t", password="p", tags={"a", "b"}, emails=["x", "y", "x"])
    ops = update(raw, SCHEMA, {"tags": add("c") | remove("a"), "emails": remove("x"), "password": None})
    after = evaluate("id", applied(raw, ops), SCHEMA, Context())
    assert (after["tags"], after["emails"], after["password"]) == ({"b", "c"}, ("y",), None)
    assert ops["password"] is GONE
    assert "$schema/login/3" not in ops  # clearing and removing need no newer version


def test_a_lesson_about_booleans_and_numbers() -> None:
    raw = added(title="t", pin=1)
    assert update(raw, SCHEMA, {"pin": 1.0}) == {}
    with pytest.raises(WrongKind):
        update(raw, SCHEMA, {"pin": True})


def test_an_entry_of_another_id_is_refused() -> None:
    raw = added(title="t")
    with pytest.raises(UsageError, match="pass the one to be updated"):
        update(raw, SCHEMA, {"title": "u"}, seen=evaluate("other", raw, SCHEMA, Context()))


# ---- refusals -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"tittle": "x"},
            UnknownField,
            "Login id: 'login' has no field 'tittle'. Did you mean 'title'?",
        ),
        (
            {"zzz": "x"},
            UnknownField,
            "Login id: 'login' has no field 'zzz'. It has title, password, emails, notes, pin and tags.",
        ),
        (
            {"passkey": "s3cret"},
            UnknownField,
            "Login id: field 'passkey' exists from 5.0 on; this device runs 3.1: update the application here.",
        ),
        (
            {"category": "x"},
            UnknownField,
            "Login id: field 'category' exists only on macOS and Windows, and this is Linux: do it on one of those.",
        ),
        (
            {"email": "x"},
            RetiredField,
            "Login id: field 'email' is retired since 3.1: it can be read, not written.",
        ),
        (
            {"password": 1234},
            WrongKind,
            "Login id, field 'password': expected secret, given number (acme 3.1). Pass a str, or None to clear it.",
        ),
        (
            {"emails": "s3cret"},
            WrongKind,
            "Login id, field 'emails': expected items(text), given text (acme 3.1). "
            "Pass a list, or add(...) and remove(...).",
        ),
    ],
)
def test_refused_fields_say_what_to_do(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        update(added(title="t"), SCHEMA, changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("logn", "no entry type 'logn' is declared. Did you mean 'login'?"),
        ("zzz", "no entry type 'zzz' is declared. Known here: login."),
        (
            "passkey_entry",
            "entry type 'passkey_entry' exists from 5.0 on; this device runs 3.1: update the application here.",
        ),
        ("scan", "entry type 'scan' exists only on macOS, and this is Linux: do it on one of those."),
        (
            "wifi_note",
            "entry type 'wifi_note' is retired since 3.1: it can be read, not written. Add a 'login' instead.",
        ),
    ],
)
def test_refused_types_say_what_to_do(name: str, message: str) -> None:
    with pytest.raises(UnknownType) as caught:
        plan_add(SCHEMA, name, {}, incarnation=ME, now_ms=1, new_id=new_ids())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"$type": "login", "$deleted/x": "{}"}, "Login id is in the trash: restore it first."),
        (
            {"$type": "wifi_note", "title": "t"},
            "Wi-Fi note id is of a type that is retired since 3.1: it can be read, not written. "
            "Apply the upgrade plan to convert it, or export it.",
        ),
        ({"$type": "scan"}, "entry id can only be shown on another platform: edit it there."),
        (
            {"$type": "passkey_entry"},
            "entry id needs a newer version: update the application here, or edit it on a device that has it.",
        ),
        (
            {"$type": "login", "passkey": "s3cret", "$critical/passkey": "write"},
            "Login id holds what this version does not know ('passkey') and is marked critical: "
            "update the application here, or edit it on a device that has it.",
        ),
    ],
)
def test_what_may_not_be_edited_says_why(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(NotEditable) as caught:
        update(raw, SCHEMA, {"title": "x"})
    assert str(caught.value) == message


@SOME
@given(
    hostile_raws(),
    schemas(),
    st.sampled_from("fghinpz"),
    st.sampled_from(["x", 5, True, ["x"], {"x"}, None, 2.5, object()]),
)
def test_an_edit_is_planned_or_refused_with_one_of_our_errors(
    raw: dict[str, Any], schema: Schema, name: str, value: Any
) -> None:
    try:
        ops = update(raw, schema, {name: value})
    except (UnknownField, RetiredField, WrongKind, NotEditable):
        return
    assert decide(raw, schema).editable
    assert name in evaluate("id", raw, schema, Context()).writable
    assert all(owner(key) == name for key in ops if not key.startswith("$"))


# ---- delete, restore, purge ---------------------------------------------------------------------------------------
EDITS = st.dictionaries(st.sampled_from(INCARNATIONS), st.integers(0, 9))


def vector(edits_: dict[str, int]) -> dict[str, Any]:
    return {f"$edited/{incarnation}": when for incarnation, when in edits_.items()}


@SOME
@given(hostile_raws(), EDITS, st.sampled_from(INCARNATIONS), st.sampled_from(INCARNATIONS))
def test_a_delete_covers_exactly_what_it_saw(raw: dict[str, Any], seen: dict[str, int], who: str, editor: str) -> None:
    base = {k: v for k, v in raw.items() if not k.startswith(("$edited/", "$deleted/"))} | vector(seen)
    ops = plan_delete(base, who)
    assert ops == {f"$deleted/{who}": canonical_json(seen)}
    gone = applied(base, ops)
    assert trashed(gone)
    assert plan_delete(gone, editor) == {}
    edit = {f"$edited/{editor}": seen.get(editor, -1) + 1}
    assert not trashed(merged(base, ops, edit))  # an edit that the deleter did not see wins
    assert not trashed(merged(base, edit, ops))


@SOME
@given(hostile_raws(), st.sampled_from(INCARNATIONS), st.sampled_from(INCARNATIONS), st.integers(0, 9))
def test_a_restore_wins_over_a_concurrent_delete(raw: dict[str, Any], who: str, other: str, now: int) -> None:
    base = {k: v for k, v in raw.items() if edited(raw).get(k[8:], 0) < 2**53 - 1 or not k.startswith("$edited/")}
    base |= {f"$edited/{who}": 3}
    base = applied(base, plan_delete(base, who))
    restored = plan_restore(base, who, now)
    assert not trashed(applied(base, restored))
    assert not trashed(merged(base, restored, {f"$deleted/{other}": canonical_json(edited(base))}))
    assert not trashed(merged(base, restored, plan_purge(base, other)))
    assert plan_restore(applied(base, restored), other, now) == {}


def test_restoring_is_later_than_any_delete_that_names_me() -> None:
    raw = {"$type": "login", "$edited/aa": 3, "$deleted/bb": '{"aa":9}'}
    assert plan_restore(raw, "aa", 1) == {"$edited/aa": 10}


@SOME
@given(hostile_raws(), st.sampled_from(INCARNATIONS))
def test_purge_leaves_no_value_and_every_other_mark(raw: dict[str, Any], who: str) -> None:
    after = applied(raw, plan_purge(raw, who))
    assert all(key.startswith("$") and not key.startswith("$lens/") for key in after)
    kept = {k for k in raw if k.startswith("$") and not k.startswith("$lens/")}
    assert kept | {f"$deleted/{who}"} == set(after)
    assert trashed(after)
    assert plan_purge(after, who) == {}


def test_an_edit_made_elsewhere_brings_a_purged_entry_back_with_what_was_edited() -> None:
    raw = added(title="t", password="p")
    edit = update(raw, SCHEMA, {"password": "new"}, incarnation=INCARNATIONS[1])
    both = merged(raw, plan_purge(raw, ME), edit)
    assert decide(both, SCHEMA).status is Status.COMPLETE
    assert evaluate("id", both, SCHEMA, Context()).fields == {"password": "new"}


def test_a_delete_with_an_entry_covers_what_that_entry_showed() -> None:
    raw = added(title="t")
    seen = evaluate("id", raw, SCHEMA, Context())
    newer = applied(raw, update(raw, SCHEMA, {"title": "u"}, incarnation=INCARNATIONS[1]))
    assert trashed(applied(raw, plan_delete(raw, ME, seen=seen)))
    assert not trashed(applied(newer, plan_delete(newer, ME, seen=seen)))
    assert trashed(applied(newer, plan_delete(newer, ME)))


# ---- resolving ----------------------------------------------------------------------------------------------------
def resolve(raw: dict[str, Any], name: str, choice: Any, *keys: str) -> dict[str, Any]:
    more: dict[str, Any] = {"incarnation": ME, "now_ms": 100, "new_id": new_ids()}
    return dict(plan_resolve("id", raw, SCHEMA, name, choice, rivals=dict.fromkeys(keys, ()), **more))


def losers(raw: dict[str, Any], **candidates: tuple[Any, Any]) -> dict[str, tuple[Conflict, ...]]:
    found = {key.replace("__", "/"): (Candidate(won), Candidate(lost)) for key, (won, lost) in candidates.items()}
    return dict(evaluate("id", raw, SCHEMA, Context(conflicts=lambda _: found)).conflicts)


def test_resolving_writes_the_choice_and_overwrites_every_other_value() -> None:
    raw = added(title="won", notes="one\ntwo", emails=["a@x", "b@x"])
    title = losers(raw, title=("won", "lost"))["title"][0]
    assert resolve(raw, "title", title, "title") == {"title": "lost", f"$edited/{ME}": 100}
    assert resolve(raw, "title", "third", "title") == {"title": "third", f"$edited/{ME}": 100}
    kept = resolve(raw, "title", "won", "title", "password")  # the winner, outright: written again, so that it is alone
    assert kept == {"title": "won", f"$edited/{ME}": 100}


def test_resolving_one_line_or_item_leaves_the_others() -> None:
    raw = added(title="t", notes="one\ntwo", emails=["a@x", "b@x"])
    line = losers(raw, notes=("one", "ONE"))["notes"][0]
    assert line.element == "old"
    assert evaluate("id", applied(raw, resolve(raw, "notes", line, "notes")), SCHEMA, Context())["notes"] == "ONE\ntwo"
    key = next(k for k in raw if k.startswith("emails/") and raw[k] == "b@x")
    item = losers(raw, **{key.replace("/", "__"): ("b@x", "c@x")})["emails"][0]
    after = evaluate("id", applied(raw, resolve(raw, "emails", item, key)), SCHEMA, Context())
    assert after["emails"] == ("a@x", "c@x")


def test_resolving_is_refused_like_any_edit() -> None:
    raw = added(title="won")
    title = losers(raw, title=("won", "lost"))["title"][0]
    with pytest.raises(UsageError, match="belongs to field 'title', not 'password'"):
        resolve(raw, "password", title, "password")
    with pytest.raises(RetiredField):
        resolve(raw, "email", "x", "email")
    with pytest.raises(NotEditable):
        resolve(applied(raw, plan_delete(raw, ME)), "title", title, "title")

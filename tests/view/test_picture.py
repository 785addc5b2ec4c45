"""Views: what an update leaves behind equals what a fresh build makes, and costs what changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.view.worlds import SOME, hostile_raws, raws, schemas
from vaultsync.errors import EntryNotFound, UnknownField, UnknownType, WrongKind
from vaultsync.schema.cells import canonical_json
from vaultsync.schema.kinds import FileRef, file, instant, items, note, number, secret, tags, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view import notices as notices_module
from vaultsync.view import picture
from vaultsync.view.context import Context
from vaultsync.view.decide import Status
from vaultsync.view.entry import Entry
from vaultsync.view.forms import Forms
from vaultsync.view.ordered import GONE, OrderedMap
from vaultsync.view.picture import View


def same(a: View, b: View) -> None:
    """Two views show, count and tell the same."""
    for name in ("entries", "hidden", "archived", "trash"):
        assert list(getattr(a, name)) == list(getattr(b, name)), name
        assert getattr(a, name) == getattr(b, name)
    assert a.counted == b.counted
    assert a.notices == b.notices
    assert list(a._state.facts.items()) == list(b._state.facts.items())
    assert list(a._state.ids) == list(b._state.ids)
    assert list(a._state.foreign) == list(b._state.foreign)


IDS = st.sampled_from([f"id{i}" for i in range(8)])


@SOME
@given(
    schemas(),
    st.dictionaries(IDS, hostile_raws(), max_size=6),
    st.lists(st.dictionaries(IDS, st.none() | raws(), max_size=4), max_size=4),
)
def test_an_updated_view_equals_a_rebuilt_one(
    schema: Schema, first: dict[str, Any], rounds: list[dict[str, Any]]
) -> None:
    view, now = View.build(first.items(), schema), dict(first)
    for touched in rounds:
        before = list(view.entries), view.counted, [str(notice) for notice in view.notices]
        after = view.updated(touched)
        now = {k: v for k, v in {**now, **touched}.items() if v is not None}
        same(after, View.build(now.items(), schema))
        assert (list(view.entries), view.counted, [str(n) for n in view.notices]) == before  # a picture stays as it was
        view = after


@SOME
@given(schemas(), st.dictionaries(IDS, hostile_raws(), max_size=8))
def test_lists_partition_the_vault_in_order(schema: Schema, entries: dict[str, Any]) -> None:
    view = View.build(entries.items(), schema)
    lists = [view.entries, view.hidden, view.archived, view.trash]
    assert sorted(e.id for each in lists for e in each) == sorted(entries)
    for each in lists:
        places = [(e.created, e.id) for e in each]
        assert places == sorted(places)
        assert [each[i] for i in range(len(each))] == list(each)
        assert each[::-2] == tuple(each)[::-2]
        assert all(e in each for e in each)
    assert view.counted == sum(view[i].counted for i in entries)
    assert {e.status for e in view.entries} <= {Status.COMPLETE, Status.FLAGGED}
    assert all(i in view and view.get(i) is view[i] for i in entries)
    assert "nobody" not in view
    assert view.get("nobody") is None
    with pytest.raises(EntryNotFound, match="no entry 'nobody'"):
        view["nobody"]
    assert isinstance(repr(view) + repr(view.entries), str)
    with pytest.raises(IndexError):
        view.entries[len(view)]


# ---- what an update costs -----------------------------------------------------------------------------------------
KIND = EntryType("login", label="Login", fields=[Field("title", text), Field("new", text, since=2)])
SCHEMA = Schema("cost", version=1, platform="linux", types=[KIND])


def stored(i: int, title: str = "t") -> dict[str, Any]:
    raw: dict[str, Any] = {"$type": "login" if i % 10 else "newer", "$created": i * 7919 % 1000, "title": f"{title}{i}"}
    return raw | ({"new": "x"} if i % 3 == 0 else {})


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One word for every evaluation of an entry and for every time its facts are taken."""
    seen: list[str] = []
    judge, facts = Forms.judge, notices_module.facts

    def counting(self: Forms, raw: Any) -> Any:
        seen.append("judge")
        return judge(self, raw)

    def telling(entry: Entry, schema: Schema) -> Any:
        seen.append("facts")
        return facts(entry, schema)

    monkeypatch.setattr(Forms, "judge", counting)
    monkeypatch.setattr(picture, "facts", telling)
    return seen


@pytest.mark.parametrize("size", [1_000, 20_000])
@pytest.mark.parametrize("touched", [1, 7, 100])
def test_an_update_costs_what_it_touches(size: int, touched: int, evaluations: list[str]) -> None:
    view = View.build(((f"{i:06d}", stored(i)) for i in range(size)), SCHEMA)
    assert evaluations.count("judge") == size
    evaluations.clear()
    chosen = range(0, size, size // touched)[:touched]
    after = view.updated({f"{i:06d}": stored(i, "changed") for i in chosen})
    assert evaluations.count("judge") == touched
    assert evaluations.count("facts") == 2 * touched
    evaluations.clear()
    assert after.counted == size
    assert [notice.count for notice in after.notices] == [size // 10, len(range(3, size, 3)) - len(range(30, size, 30))]
    assert evaluations == []  # notices are summed up, not counted again
    for name in ("ids", "shown"):
        mine, theirs = getattr(after._state, name), getattr(view._state, name)
        shared, chunks = theirs.shared_with(mine)
        assert chunks - shared <= 2 * touched, name
        assert chunks <= 4 * size**0.5 + 8
    assert after._state.archived is view._state.archived
    assert view.entries[0].title == view._state.shown.at(0).title


def test_a_quiet_update_shares_everything() -> None:
    view = View.build([("a", stored(1))], SCHEMA)
    assert view.updated({})._state is view._state
    assert view.updated({}, Context())._state is view._state


# ---- the map underneath -------------------------------------------------------------------------------------------
@SOME
@given(st.lists(st.dictionaries(st.integers(0, 400), st.none() | st.integers(), max_size=120), max_size=6))
def test_an_ordered_map_is_a_sorted_dict(rounds: list[dict[int, int | None]]) -> None:
    found: OrderedMap[int, int] = OrderedMap()
    model: dict[int, int] = {}
    for changes in rounds:
        before, old = found, dict(model)
        found = found.changed({k: GONE if v is None else v for k, v in changes.items()})
        model = {k: v for k, v in {**model, **changes}.items() if v is not None}
        assert dict(before.items()) == old
        assert list(found.items()) == sorted(model.items())
        assert (len(found), [found.get(k) for k in range(401)]) == (len(model), [model.get(k) for k in range(401)])
        assert [found.at(i) for i in range(-len(found), len(found))] == 2 * list(found.values())


def test_an_ordered_map_stays_in_few_chunks_as_it_grows_and_shrinks() -> None:
    found: OrderedMap[int, int] = OrderedMap()
    for start in range(0, 20_000, 100):
        found = found.changed({k * 37 % 20_011: k for k in range(start, start + 100)})
        assert len(found._chunks) <= 4 * len(found) ** 0.5 + 8
        assert max(len(keys) for keys, _ in found._chunks) <= 2 * max(32, int(len(found) ** 0.5) + 1)
    for start in range(0, 19_900, 100):
        found = found.changed({k * 37 % 20_011: GONE for k in range(start, start + 100)})
        assert len(found._chunks) <= 4 * len(found) ** 0.5 + 8
    assert len(found) == 100


# ---- search and where ---------------------------------------------------------------------------------------------
FULL = EntryType(
    "login",
    fields=[
        Field("title", text),
        Field("password", secret),
        Field("codes", items(secret)),
        Field("emails", items(text)),
        Field("notes", note),
        Field("tags", tags),
        Field("pin", number),
        Field("scan", file),
        Field("expires", instant),
        Field("old_url", text, until=2),
    ],
)
NOTE = EntryType("memo", fields=[Field("title", text), Field("notes", note)])
LIBRARY = Schema("library", version=2, platform="linux", types=[FULL, NOTE])
SCAN = FileRef(id="ab" * 16, name="Übersicht.PDF", size=3, digest="cd" * 32, key="ef" * 32)
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
ENTRIES: dict[str, dict[str, Any]] = {
    "a": {"$type": "login", "$created": 2, "title": "GitHub", "password": "hunter2", "codes/1": "hunter3", "pin": 5,
          "tags/work": True, "tags/Straße": True, "emails/1": "ann@example.org",
          "notes": "first", "notes@old": "B", "notes/1": "second line",
          "scan": canonical_json({"id": SCAN.id, "name": SCAN.name, "size": 3, "digest": SCAN.digest, "key": SCAN.key}),
          "expires": int(WHEN.timestamp() * 1000)},
    "b": {"$type": "login", "$created": 1, "title": "Cafe\u0301", "old_url": "https://old.example",
          "secret_word": "hunter2"},
    "c": {"$type": "memo", "$created": 3, "title": "github too", "notes": ""},
    "d": {"$type": "memo", "$created": 4, "title": "github deleted", "$deleted/x": "{}"},
    "e": {"$type": "other", "$created": 5, "title": "github hidden"},
}  # fmt: skip


@pytest.fixture(scope="module")
def library() -> View:
    return View.build(ENTRIES.items(), LIBRARY)


def ids(found: tuple[Entry, ...]) -> str:
    return "".join(entry.id for entry in found)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("GITHUB", "ac"), ("git second", "a"), ("CAFÉ", "b"), ("strasse", "a"), ("ANN@", "a"), ("übersicht.pdf", "a"),
     ("old.example", "b"), ("hunter", ""), ("hunter2", ""), ("", "bac"), ("first second", "a"), ("firstsecond", "")],
)  # fmt: skip
def test_search(library: View, words: str, expected: str) -> None:
    assert ids(library.search(words)) == expected
    assert ids(library.search(words)) == expected  # and from what it remembers


def test_search_by_type(library: View) -> None:
    assert ids(library.search("git", type="memo")) == "c"
    with pytest.raises(UnknownType, match="Did you mean 'memo'"):
        library.search("git", type="memoo")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"tags": "work"}, "a"), ({"tags": {"work", "Straße"}}, "a"), ({"tags": {"work"}}, ""),
     ({"emails": "ann@example.org"}, "a"),
     ({"title": "GitHub"}, "a"), ({"title": "github"}, ""), ({"pin": 5.0}, "a"),
     ({"pin": None}, "b"), ({"tags": None}, "b"),
     ({"title": lambda t: "u" in t.lower()}, "ac"), ({"pin": lambda p: (p or 0) > 4, "tags": "work"}, "a"),
     ({"expires": WHEN}, "a"), ({"old_url": "https://old.example"}, "b"), ({"notes": "first\nsecond line"}, "a"),
     ({"type": "memo", "title": "github too"}, "c"), ({"type": "login"}, "ba"), ({}, "bac")],
)  # fmt: skip
def test_where(library: View, fields: dict[str, Any], expected: str) -> None:
    assert ids(library.where(**fields)) == expected


def test_where_refuses_what_can_never_fit(library: View) -> None:
    with pytest.raises(UnknownField, match=r"no entry type has a field 'tag'\. Did you mean 'tags'\?"):
        library.where(tag="x")
    with pytest.raises(UnknownField, match="'memo' has no field 'pin'"):
        library.where(type="memo", pin=1)
    with pytest.raises(WrongKind, match="where pin: expected number, given text"):
        library.where(pin="s3cret")
    with pytest.raises(WrongKind, match="where tags: expected one of tags, given number as a tag"):
        library.where(tags=5)

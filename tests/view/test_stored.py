"""A view of what lies evaluated in a store is the view that evaluating everything makes, in every respect."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.view.shelves import Shelf, stored
from tests.view.test_picture import ENTRIES, LIBRARY
from tests.view.worlds import SOME, hostile_raws, raws, schemas
from vaultsync.schema.kinds import items, text
from vaultsync.schema.lenses import rename, split, wrap
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view import packed
from vaultsync.view.columns import decode_columns
from vaultsync.view.context import Catalog, Context
from vaultsync.view.entry import Entry
from vaultsync.view.packed import MalformedPage, uncollected
from vaultsync.view.pages import PAGE, decode_page, encode_page
from vaultsync.view.picture import View
from vaultsync.view.stored import KEPT_PAGES, StoredEntry

IDS = st.sampled_from([f"id{i}" for i in range(8)])
PROPERTIES = sorted(
    name for name in dir(Entry) if isinstance(getattr(Entry, name), property) and not name.startswith("_")
)


def whole(raw: dict[str, Any]) -> dict[str, Any]:
    """Without what is not equal to itself."""
    return {key: value for key, value in raw.items() if value == value}


def said(entry: Entry) -> dict[str, Any]:
    """Everything public that an entry says of itself."""
    told: dict[str, Any] = {name: getattr(entry, name) for name in PROPERTIES}
    told |= {"id": entry.id, "repr": repr(entry), "str": str(entry), "hash": hash(entry)}
    told["order"] = [list(entry.fields), list(entry.retired)]
    told["elements"] = {name: entry.elements(name) for name in (*entry.fields, *entry.retired)}
    told["names"] = {name: entry.is_secret(name) for name in (*entry.fields, *entry.retired, "no such")}
    return told


def agree(a: View, b: View) -> None:
    """Two views show, count, find and tell the same."""
    for name in ("entries", "hidden", "archived", "trash"):
        mine, theirs = getattr(a, name), getattr(b, name)
        assert len(mine) == len(theirs)
        assert list(mine) == list(theirs), name
        assert mine == theirs
        assert [said(entry) for entry in mine] == [said(entry) for entry in theirs]
        assert [mine[i] for i in range(-len(mine), len(mine))] == 2 * list(theirs)
        assert mine[1::2] == theirs[1::2]
        assert all(entry in mine for entry in theirs)
        assert repr(mine) == repr(theirs)
    assert (a.counted, a.notices, len(a), repr(a)) == (b.counted, b.notices, len(b), repr(b))
    assert list(a.everything()) == list(b.everything())
    assert a.summaries == b.summaries == [(e.id, e.title, e.type, e.status) for e in a]
    told = [(e.id, e.title, e.type, e.status, e.created, e.modified, e.fields) for e in a]
    assert list(a.contents()) == list(b.contents())
    assert [(*content[:6], content.fields) for content in a.contents()] == told
    assert [(list(c.fields), repr(c)) for c in a.contents()] == [(list(c.fields), repr(c)) for c in b.contents()]
    for entry in b.everything():
        assert a[entry.id] == entry
        assert a.get(entry.id) == entry
        assert entry.id in a
    assert "nobody" not in a
    assert list(a._state.ids) == list(b._state.ids)
    for words in ("", "x", "a", "b a"):
        assert a.search(words) == b.search(words)
    for kind in a.schema.types:
        assert a.where(type=kind) == b.where(type=kind)
        for field in a.schema.types[kind].fields:
            assert a.where(type=kind, **{field.name: None}) == b.where(type=kind, **{field.name: None})


@SOME
@given(
    schemas(),
    st.dictionaries(IDS, hostile_raws().map(whole), max_size=6),
    st.lists(st.dictionaries(IDS, st.none() | raws(), max_size=4), max_size=3),
)
def test_a_stored_view_and_what_is_derived_from_it_equal_a_built_one(
    schema: Schema, first: dict[str, Any], rounds: list[dict[str, Any]]
) -> None:
    built = View.build(first.items(), schema)
    view, now = stored(built), dict(first)
    agree(view, built)
    for touched in rounds:
        after = view.updated(touched)
        agree(view, View.build(now.items(), schema))  # a picture stays as it was
        now = {k: v for k, v in {**now, **touched}.items() if v is not None}
        agree(after, View.build(now.items(), schema))
        agree(stored(after), after)  # and is written down again, half of it stored
        view = after


@SOME
@given(schemas(), st.dictionaries(IDS, hostile_raws().map(whole), max_size=6), st.data())
def test_a_new_catalog_renames_what_stored_entries_do_not_know(
    schema: Schema, entries: dict[str, Any], data: st.DataObject
) -> None:
    catalog = Catalog({"z@2": '{"name":"z"}'})
    context = Context(catalog=catalog)
    touched = data.draw(st.dictionaries(IDS, raws(), max_size=2))
    view = stored(View.build(entries.items(), schema)).updated(touched).updated({}, context)
    agree(view, View.build({**entries, **touched}.items(), schema, context))
    assert all(entry._context is context for entry in view.hidden)


PERSON = EntryType(
    "person",
    fields=[
        Field("name", text, until=2),
        Field("first", text, since=2),
        Field("last", text, since=2),
        Field("mail", text, until=2),
        Field("mails", items(text), since=2),
        Field("town", text, until=2),
        Field("city", text, since=2),
    ],
    lenses=[split("name", ("first", "last"), since=2), wrap("mail", "mails", since=2), rename("town", "city", since=2)],
)


def test_entries_behind_lenses_are_read_through_them() -> None:
    schema = Schema("people", version=2, platform="linux", types=[PERSON])
    entries = {
        "a": {"$type": "person", "$created": 1, "name": "Ann Bell", "mail": "ann@example.org", "town": "Ulm"},
        "b": {"$type": "person", "$created": 2, "first": "Bo", "mails/1": "bo@example.org", "mails@1": "U"},
    }
    view = View.build(entries.items(), schema)
    agree(stored(view), view)
    assert stored(view)["a"]["first"] == "Ann"


def test_every_kind_is_read_as_it_is() -> None:
    view = View.build(ENTRIES.items(), LIBRARY)
    agree(stored(view), view)
    assert [stored(view)[i]._table.fields(0) is not None for i in "a"] == [True]  # by the short way


def many(count: int) -> View:
    entries = {
        f"{i:06d}": {"$type": "login", "$created": i, "title": f"t{i}", "notes": "n" * (i % 7), "password": "p"}
        for i in range(count)
    }
    return View.build(entries.items(), LIBRARY)


# ---- what looking costs -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1_000, 20_000])
def test_looking_costs_the_pages_that_are_looked_at(count: int) -> None:
    view = stored(many(count))
    table = view._state.table
    assert table is not None
    pages = table.pages
    assert len(view) == view.counted == count
    assert (view.notices, len(view.summaries), view.entries[5].title) == ((), count, "t5")
    assert [entry.title for entry in view.entries[-3:]] == [f"t{i}" for i in range(count - 3, count)]
    assert pages.decoded == 0  # lists need none
    assert view.entries[count // 2]["title"] == f"t{count // 2}"
    assert pages.decoded == 1
    after = view.updated({"000003": {"$type": "login", "$created": 3, "title": "changed"}})
    assert pages.decoded == 1  # what is complete added nothing to the notices, so it need not be looked at again
    assert (after["000003"].title, view["000003"].title) == ("changed", "t3")
    shared, pieces = view._state.shown.shared_with(after._state.shown)
    assert pieces - shared <= 1 or count > 10_000  # large pieces are split once
    assert all(entry["password"] == "p" for entry in view)
    assert pages.decoded <= 2 + -(-count // PAGE)  # in order, each page once
    assert len(pages._kept) <= KEPT_PAGES


def test_titles_types_and_sums_are_the_shared_columns() -> None:
    view = stored(many(100))
    a, b = view.entries[3], view["000003"]
    assert a is not b
    assert a == b
    assert isinstance(a, StoredEntry)
    assert a.title is b.title
    assert a._judgement is b._judgement


# ---- what is damaged ----------------------------------------------------------------------------------------------
def test_a_page_that_cannot_be_read_comes_from_elsewhere() -> None:
    view = many(400)
    shelf = Shelf(view)
    asked: list[list[str]] = []

    def recover(ids: Any) -> list[Any]:
        asked.append(list(ids))
        return [view[entry_id].raw for entry_id in ids]

    shelf.pages[1] = shelf.pages[2]  # a page of as many entries, and not the right one: the owner's seal tells
    shelf.pages[2] = b"\x93"
    del shelf.pages[3]
    again = View.stored(shelf.table(view, recover))
    assert [e["title"] for e in again.entries[256:]] == [e["title"] for e in view.entries[256:]]
    assert [ids[0] for ids in asked] == ["000256", "000384"]


@SOME
@given(st.binary(max_size=40), st.integers(0, 3))
def test_bytes_that_are_no_page_raise_one_error(data: bytes, count: int) -> None:
    for read in (lambda: decode_page(data, count), lambda: decode_columns(data)):
        try:
            read()
        except MalformedPage:
            continue


@SOME
@given(st.lists(hostile_raws().map(whole), max_size=5))
def test_pages_hold_what_was_put_in(entries: list[dict[str, Any]]) -> None:
    page = decode_page(encode_page(entries), len(entries))
    assert [page.raw(i) for i in range(len(page))] == entries
    with pytest.raises(MalformedPage):
        decode_page(encode_page(entries), len(entries) + 1)


# ---- the collector ------------------------------------------------------------------------------------------------
def test_the_collector_is_as_it_was_found() -> None:
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_runs_again_after_threads_met() -> None:
    turns = threading.Barrier(4)

    def work() -> None:
        turns.wait()
        for _ in range(200):
            with uncollected():
                assert not gc.isenabled()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()
    assert packed._pauses == 0


# ---- everything at once -------------------------------------------------------------------------------------------
@SOME
@given(schemas(), st.lists(hostile_raws().map(whole) | raws(), min_size=60, max_size=150), st.integers(1, 5))
def test_contents_of_many_pages_are_the_entries_fields(schema: Schema, entries: list[Any], every: int) -> None:
    """Pages where kinds, verdicts, gaps and elements are mixed, and lists that leave some rows out."""
    built = View.build(((f"{i:04d}", raw) for i, raw in enumerate(entries)), schema)
    view = stored(built)
    expected = [(e.id, e.title, e.type, e.status, e.created, e.modified, dict(e.fields)) for e in built]
    assert list(view.contents()) == list(built.contents())
    assert [(*content[:6], dict(content.fields)) for content in view.contents()] == expected
    assert [repr(content) for content in view.contents()] == [repr(content) for content in built.contents()]
    assert [dict(entry.fields) for entry in stored(built).entries][::every] == [row[-1] for row in expected][::every]
    assert [dict(entry.retired) for entry in view.entries] == [dict(entry.retired) for entry in built.entries]


def test_contents_mask_secrets_and_cannot_be_changed() -> None:
    for view in (many(3), stored(many(3))):
        first = next(view.contents())
        assert first.fields["password"] == "p"
        assert "'p'" not in repr(first)
        with pytest.raises(TypeError):
            first.fields["title"] = "x"


def test_contents_read_each_page_once_and_leave_the_collector_alone() -> None:
    view = stored(many(10_000))
    table = view._state.table
    assert table is not None
    for content in view.contents():
        assert gc.isenabled()
        assert content.fields["password"] == "p"
    assert table.pages.decoded == -(-10_000 // PAGE)

"""Drafts: several edits of one entry become one list of operations, in an order that keeps a mark beside its value."""

from __future__ import annotations

from vaultsync.schema.cells import GONE
from vaultsync.vault.draft import Draft


def written(draft: Draft, entry: str) -> list[tuple[str, object]]:
    return list(draft._ops[entry].items())


def test_a_later_edit_replaces_an_earlier_one_and_takes_its_later_place() -> None:
    draft = Draft(lambda entry: {"title": "a", "url": "u"})
    draft.change("E", {"title": "b", "url": "v"})
    draft.change("E", {"title": "c"})
    assert written(draft, "E") == [("url", "v"), ("title", "c")]
    assert draft.raw("E") == {"title": "c", "url": "v"}


def test_a_cleared_key_is_gone_from_what_the_draft_shows() -> None:
    draft = Draft(lambda entry: {"title": "a", "url": "u"})
    draft.change("E", {"url": GONE})
    assert draft.raw("E") == {"title": "a"}


def test_a_mark_that_is_written_again_keeps_its_older_cells_right_behind_it() -> None:
    draft = Draft(lambda entry: {})
    draft.change("E", {"first": "Ann", "$lens/first": "m1", "name": "Ann Lee", "$edited/x": 1})
    draft.change("E", {"last": "Li", "$lens/first": "m2", "$edited/x": 2})
    assert written(draft, "E") == [
        ("first", "Ann"),
        ("last", "Li"),
        ("$lens/first", "m2"),
        ("name", "Ann Lee"),
        ("$edited/x", 2),
    ]


def test_older_cells_that_are_written_again_stay_where_the_later_edit_puts_them() -> None:
    draft = Draft(lambda entry: {})
    draft.change("E", {"$lens/first": "m1", "name": "Ann Lee"})
    draft.change("E", {"$lens/first": "m2", "name": "Ann Li"})
    assert written(draft, "E") == [("$lens/first", "m2"), ("name", "Ann Li")]


def test_what_was_read_of_a_new_entry_stays_as_it_was_when_the_draft_goes_on() -> None:
    draft = Draft(lambda entry: None)
    draft.create("E", {"title": "a", "url": "u"})
    read = draft.raw("E")
    draft.change("E", {"url": GONE, "title": "b"})
    assert read == {"title": "a", "url": "u"}
    assert draft.raw("E") == {"title": "b"}
    assert written(draft, "E") == [("url", GONE), ("title", "b")]

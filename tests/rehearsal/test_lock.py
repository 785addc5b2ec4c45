"""The lock: a published version is never edited, a new one only adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vaultsync as vs
from tests.rehearsal.good_schemas import fields
from vaultsync.errors import UsageError
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import RehearsalFailed, check_lock, rehearse, write_lock


def schema(version: int = 2, *, made: list[Field] | None = None, sep: str = " ", **options: Any) -> Schema:
    kind = EntryType(
        "person",
        fields=[*fields("name", until=2), *fields("first", "last", since=2), *(made or [])],
        lenses=[vs.split("name", ["first", "last"], sep=sep, since=2)],
        label=options.pop("label", None),
    )
    return Schema("people", version=version, platform="linux", types=[kind], **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "schema.lock"


def changed(schema: Schema, path: Path) -> str:
    with pytest.raises(RehearsalFailed) as caught:
        check_lock(schema, path)
    assert caught.value.kind == "lock"
    return str(caught.value)


def test_the_same_schema_gives_the_same_bytes_and_passes(path: Path) -> None:
    write_lock(schema(), path)
    first = path.read_bytes()
    check_lock(schema(), path)
    write_lock(schema(), path)
    assert path.read_bytes() == first
    locked = json.loads(first)
    assert (locked["schema"], locked["version"], sorted(locked["types"])) == ("people", 2, ["person@1", "person@2"])
    assert b"label" not in first


def test_a_new_version_passes_and_only_adds_lines(path: Path) -> None:
    write_lock(schema(), path)
    before = path.read_text().splitlines()
    newer = schema(3, made=[Field("phone", vs.text, since=3)])
    check_lock(newer, path)
    write_lock(newer, path)
    after = path.read_text().splitlines()
    gone = [line for line in before if line not in after]
    assert gone == [' "version": 2'], "a review sees what is new"


def test_labels_may_be_corrected(path: Path) -> None:
    write_lock(schema(), path)
    check_lock(schema(label="Human being"), path)


@pytest.mark.parametrize(
    ("edited", "words"),
    [
        (
            lambda: schema(made=[Field("phone", vs.text, since=1)]),
            ["person as of version 1", "field phone was not there"],
        ),
        (
            lambda: schema(made=[Field("phone", vs.text, since=2)]),
            ["person as of version 2", "field phone was not there"],
        ),
        (lambda: schema(sep="-"), ["person as of version 2", "lens name -> first+last", "split:-", "split: "]),
    ],
)
def test_an_edited_past_fails_and_is_named(path: Path, edited: Any, words: list[str]) -> None:
    write_lock(schema(), path)
    said = changed(edited(), path)
    for word in words:
        assert word in said


def test_a_field_that_changed_or_went_is_named(path: Path) -> None:
    one = Schema("s", version=1, platform="linux", types=[EntryType("card", fields=fields("pin", "title"))])
    write_lock(one, path)
    number = EntryType("card", fields=[Field("pin", vs.number), *fields("title")])
    assert "field pin: kind is number here, was text" in changed(
        Schema("s", version=1, platform="linux", types=[number]), path
    )
    gone = EntryType("card", fields=fields("title"))
    assert "field pin is missing here" in changed(Schema("s", version=1, platform="linux", types=[gone]), path)
    other = EntryType("letter", fields=fields("title"))
    said = changed(Schema("s", version=1, platform="linux", types=[other]), path)
    assert "type card is missing here" in said
    assert "letter as of version 1: nothing was published in this version" in said


def test_locks_of_others_and_of_later_versions(path: Path) -> None:
    write_lock(schema(3), path)
    assert "never go back" in changed(schema(2), path)
    with pytest.raises(UsageError, match="no lock"):
        check_lock(schema(), path.with_name("other"))
    path.write_text("{")
    with pytest.raises(UsageError, match="is no lock"):
        check_lock(schema(), path)
    path.write_text('{"format": 2, "schema": "people", "version": 1, "types": {}}')
    with pytest.raises(UsageError, match="reads"):
        check_lock(schema(), path)


def test_a_rehearsal_writes_checks_and_carries_on(path: Path) -> None:
    assert "written" in rehearse(schema(), histories=1, lock=path).lock
    assert "holds" in rehearse(schema(), histories=1, lock=path).lock
    newer = schema(3, made=[Field("phone", vs.text, since=3)])
    assert "now holds version 3" in str(rehearse(newer, histories=1, lock=path))
    with pytest.raises(RehearsalFailed, match="field phone") as caught:
        rehearse(schema(3, made=[Field("phone", vs.number, since=3)]), histories=1, lock=path)
    assert caught.value.kind == "lock"


def test_a_version_without_a_name_is_still_being_made(path: Path) -> None:
    releases = {1: "1.0", 2: "2.0"}
    draft = schema(3, made=[Field("phone", vs.text, since=3)], releases=releases)
    rehearse(draft, histories=1, lock=path)
    assert json.loads(path.read_text())["version"] == 2
    again = schema(3, made=[Field("phone", vs.number, since=3)], releases=releases)
    rehearse(again, histories=1, lock=path)
    rehearse(
        schema(3, made=[Field("phone", vs.number, since=3)], releases={**releases, 3: "3.0"}), histories=1, lock=path
    )
    assert "field phone: kind is text here, was number" in changed(draft, path)

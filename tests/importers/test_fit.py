"""Records in a vault that an older version, or another platform, has opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vaultsync.importers import Parsed, Record, fit, parse
from vaultsync.presets.custom import Custom, decode
from vaultsync.presets.passwords import NEWEST, SCHEMA, passwords

SAMPLES = Path(__file__).parent.parent / "samples"
Texts = Callable[[Record], list[str]]


@pytest.fixture(scope="module")
def parsed() -> Parsed:
    return parse(SAMPLES / "bitwarden.json")


def test_the_newest_takes_everything(parsed: Parsed) -> None:
    for record in parsed.records:
        assert fit(record, SCHEMA) == (record, [])


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
@pytest.mark.parametrize("platform", ["windows", "ios"])
def test_what_comes_out_can_be_written_there(parsed: Parsed, version: int, platform: str) -> None:
    schema = passwords(version, platform)
    for record in parsed.records:
        fitted, problems = fit(record, schema)
        kind = schema.active(record.type)
        if kind is None:
            assert fitted is None
            assert len(problems) == 1
            assert problems[0].lost
            continue
        assert fitted is not None
        here = {field.name: field for field in schema.fields_here(kind) if not schema.retired(field)}
        for name, value in fitted.values.items():
            assert here[name].kind.check(value) is not None
        gone = record.values.keys() - fitted.values.keys()
        said = {problem.reason.partition(" ")[0] for problem in problems}
        assert version > 1 or not fitted.kept
        assert said == (gone if version == 1 else set()), "version 1 has no custom fields to keep them in"


@pytest.mark.parametrize("version", [2, 3])
def test_what_has_no_field_becomes_a_custom_field(parsed: Parsed, version: int, texts: Texts) -> None:
    record = parsed.records[0]
    fitted, _ = fit(record, passwords(version, "linux"))
    assert fitted is not None
    before = {text for text in texts(record) if not text.endswith("[hidden]")}
    whole = "\n".join(texts(fitted))
    assert all(text in whole for text in before)
    fields = decode(fitted.values["custom"], fitted.values["custom_secret"])
    assert fields[: len(record.values["custom"])] == decode(record.values["custom"], record.values["custom_secret"])
    passkey = next(field for field in fields if field.name == "Passkeys")
    assert (passkey.value, passkey.kind) == (record.values["passkeys"][0], "hidden")
    assert "passkeys" in fitted.kept
    if version == 2:
        assert Custom("Ask for the password again", "yes", "yes/no") in fields
        assert Custom("Password changed", "2023-01-02T03:04:05.678000+00:00") in fields


def test_a_field_nobody_knows_is_kept_hidden() -> None:
    record = Record("acme:1", "login", {"title": "t", "shoe_size": 43, "colors": {"red", "blue"}})
    fitted, problems = fit(record, SCHEMA)
    assert fitted is not None
    assert not problems
    assert decode(fitted.values["custom"], fitted.values["custom_secret"]) == [
        Custom("shoe_size", "43", "hidden"),
        Custom("colors", "blue, red", "hidden"),
    ]


def test_a_type_nobody_knows() -> None:
    fitted, problems = fit(Record("acme:1", "spaceship", {}), SCHEMA)
    assert fitted is None
    assert str(problems[0]) == "acme:1: entries of type “spaceship” cannot be made in this version on this platform"


def test_custom_fields_of_the_wrong_kind_are_left_to_whoever_adds_them() -> None:
    record = Record("acme:1", "login", {"shoe_size": 43, "custom": "no list"})
    assert fit(record, SCHEMA) == (record, [])
    fitted, _ = fit(Record("acme:1", "login", {"shoe_size": 43, "custom": None}), SCHEMA)
    assert fitted is not None
    assert fitted.values["custom"] == ["shoe_size [hidden]"]

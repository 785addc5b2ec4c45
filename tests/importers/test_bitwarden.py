"""Bitwarden's JSON: the sample field by field, then documents of any shape, of which nothing may get lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vaultsync.errors import ImportFailed
from vaultsync.importers import Parsed, Record, parse
from vaultsync.limits import MAX_IMPORT_DEPTH, MAX_IMPORT_LEAVES, MAX_TAG_CHARS, MAX_VALUE_BYTES
from vaultsync.presets.custom import Custom, decode

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "100"))
SAMPLES = Path(__file__).parent.parent / "samples"

Sound = Callable[[Parsed], Parsed]
Texts = Callable[[Record], list[str]]


def export(*items: Any, **more: Any) -> bytes:
    return json.dumps({"encrypted": False, "folders": [], "items": list(items)} | more).encode()


def only(*items: Any, **more: Any) -> Record:
    return parse(export(*items, **more)).records[0]


def customs(record: Record) -> list[Custom]:
    return decode(record.values.get("custom", ()), record.values.get("custom_secret", ()))


# ---- the sample -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample() -> Parsed:
    return parse(SAMPLES / "bitwarden.json")


def test_the_sample_as_a_whole(sample: Parsed, sound: Sound) -> None:
    sound(sample)
    assert sample.format == "bitwarden"
    assert [record.type for record in sample.records] == [
        "login", "secure_note", "card", "identity", "ssh_key", "bank_account", "identity", "login", "login",
        "secure_note",
    ]  # fmt: skip
    assert [str(problem) for problem in sample.problems] == ["item 11: is text or a number, not an object"]
    assert any("Nothing in here" in note for note in sample.notes)


def test_a_login_in_full(sample: Parsed) -> None:
    record = sample.records[0]
    values = record.values
    assert record.source == "bitwarden:7c9e6679-7425-40de-944b-e07fc1f90001"
    assert (record.place, record.trashed) == ("item 1", False)
    assert record.created_ms == 1_612_325_106_789
    assert record.modified_ms == 1_714_642_200_000
    assert values["urls"] == ["https://github.com/login", "https://gist.github.com", r"^https://.*\.github\.io/"]
    assert values["password"] == 'correct, "horse"; battery'
    assert values["totp"].startswith("otpauth://")
    assert values["password_changed"] == datetime(2023, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert values["password_history"] == ["2023-01-02T03:04:05.678Z old one with spaces", "- 0lder"]
    assert (values["folder"], values["favorite"], values["reprompt"]) == ("Work", True, True)
    assert json.loads(values["passkeys"][0])["rpId"] == "github.com"
    assert customs(record) == [
        Custom("match for https://gist.github.com", "host"),
        Custom(r"match for ^https://.*\.github\.io/", "regular expression"),
        Custom("Customer: number", "12345678"),
        Custom("PIN", "4711", "hidden"),
        Custom("Two factor", "yes", "yes/no"),
        Custom("Newsletter", "no", "yes/no"),
        Custom("Login name", "username", "linked"),
        Custom("", "a value without a name"),
        Custom("Empty", None, "hidden"),
        Custom("login.autofillOnPageLoad", "yes", "yes/no"),
    ]
    assert record.kept == ("login.autofillOnPageLoad",)


def test_the_other_types(sample: Parsed) -> None:
    note, card, identity, ssh, bank, licence, trashed, archived, unknown = sample.records[1:]
    assert note.values["notes"] == "Front door: 9182\r\nBack door: 2819"
    assert (card.values["card_number"], card.values["exp_month"]) == ("4111111111111111", "7")
    assert (identity.values["salutation"], identity.values["region"]) == ("Dr", "BE")
    assert ssh.values["private_key"].endswith("END OPENSSH PRIVATE KEY-----\n")
    assert (bank.values["iban"], "branch_number" in bank.values) == ("DE02120300000000202051", False)
    assert licence.values["license_number"] == "B072RRE2I55"
    assert Custom("driversLicense.dateOfBirth", "1990-01-15", "hidden") in customs(licence)
    assert trashed.trashed
    assert archived.values["tags"] == {"archived"}
    assert not archived.trashed
    assert customs(unknown)[:2] == [Custom("type", "42"), Custom("hologram.angle", "45", "hidden")]


def test_an_organization(sound: Sound) -> None:
    parsed = sound(parse(SAMPLES / "bitwarden-organization.json"))
    assert parsed.records[0].values["tags"] == {"Engineering/Servers", "Marketing"}
    assert any("organizationId" in note for note in parsed.notes)
    assert any("own key" in note for note in parsed.notes)
    assert not any("aW50ZXJuYWwga2V5" in text for text in map(str, parsed.notes))


@pytest.mark.parametrize(
    ("file", "words"),
    [("bitwarden-password.json", "with a password"), ("bitwarden-account.json", "one Bitwarden account")],
)
def test_encrypted_is_refused_with_advice(file: str, words: str) -> None:
    with pytest.raises(ImportFailed, match=words) as caught:
        parse(SAMPLES / file)
    assert "export again" in str(caught.value)
    assert "2.GGGG" not in str(caught.value)


# ---- single rules ---------------------------------------------------------------------------------------------------


def test_a_bare_list_of_items() -> None:
    items = [{"object": "item", "type": 2, "name": "n", "secureNote": {"type": 0}}]
    parsed = parse(json.dumps(items).encode())
    assert parsed.records[0].type == "secure_note"
    assert not parsed.records[0].kept
    assert any("object" in note for note in parsed.notes)


def test_without_ids_the_source_comes_from_what_identifies_the_item() -> None:
    item = {"type": 1, "name": "a", "login": {"username": "u", "password": "p1", "uris": [{"uri": "https://x"}]}}
    changed = json.loads(json.dumps(item).replace("p1", "p2"))
    other = item | {"name": "b"}
    sources = [record.source for record in parse(export(item, changed, other)).records]
    assert sources[0].startswith("bitwarden:~")
    assert sources[1] == sources[0] + "#2"
    assert sources[2] not in sources[:2]
    assert "p1" not in sources[0]


def test_an_odd_id_is_hashed_and_kept() -> None:
    record = only({"type": 1, "id": "../../x y", "name": "n"})
    assert record.source.startswith("bitwarden:~")
    assert Custom("id", "../../x y") in customs(record)


def test_unknown_folders_and_collections_are_kept() -> None:
    record = only({"type": 1, "id": "1", "folderId": "F", "collectionIds": ["C", None]})
    assert customs(record) == [Custom("folderId", "F"), Custom("collectionIds.1", "C")]


def test_a_collection_name_that_is_no_tag() -> None:
    name = "x" * (MAX_TAG_CHARS + 1)
    record = only({"type": 1, "id": "1", "collectionIds": ["C"]}, collections=[{"id": "C", "name": name}])
    assert customs(record) == [Custom("collection", name)]
    assert "tags" not in record.values


def test_a_name_that_comes_twice_keeps_both_values() -> None:
    record = parse(
        b'{"items": [{"id": "1", "type": 1, "name": "a", "name": "b", "login": {"pin": 1, "pin": 2}}]}'
    ).records[0]
    assert record.values["title"] == "b"
    assert {field.value for field in customs(record)} == {"a", "1", "2"}


def test_numbers_are_kept_as_written() -> None:
    big = "9" * 5000
    record = parse(b'{"items": [{"id": "1", "type": 1, "x": 1.50, "y": %s, "z": 1e999}]}' % big.encode()).records[0]
    assert [field.value for field in customs(record)] == ["1.50", big, "1e999"]


def test_half_a_character_is_replaced_and_said() -> None:
    parsed = parse(b'{"items": [{"id": "1", "type": 1, "name": "a\\ud800b"}]}')
    assert parsed.records[0].values["title"] == "a\ufffdb"
    assert "surrogate" in parsed.problems[0].reason
    assert not parsed.problems[0].lost


def test_a_value_too_large_is_left_out_and_said() -> None:
    parsed = parse(export({"id": "1", "type": 2, "name": "n", "notes": "x" * (MAX_VALUE_BYTES + 1)}))
    assert "notes" not in parsed.records[0].values
    assert "notes" in parsed.problems[0].reason
    assert parsed.records[0].values["title"] == "n"


def test_an_item_that_cannot_be_one_stops_no_other(sound: Sound) -> None:
    deep: Any = "x"
    for _ in range(MAX_IMPORT_DEPTH + 1):
        deep = {"in": deep}
    wide = {"id": "3", "type": 1, "x": list(range(1, MAX_IMPORT_LEAVES + 2))}
    good = {"id": "2", "type": 1, "name": "good"}
    parsed = sound(parse(export(None, 5, deep, wide, good, ["a"])))
    assert [record.values["title"] for record in parsed.records] == ["good"]
    assert [problem.place for problem in parsed.problems] == ["item 1", "item 2", "item 3", "item 4", "item 6"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"items": [\n  {"id": }]}', r"x\.json, line 2, column 10: not valid JSON"),
        (b'{"items": [1, 2', r"line 1, column 16"),
        (b'{"items": [NaN]}', "NaN"),
        (b'{"vaults": {}}', "no list of items"),
        (b'{"items": {}}', "no list of items"),
        (b'{"items": [], } ', "not valid JSON"),
        (b"[" * 100_000, "nested too deeply|not valid JSON"),
    ],
)
def test_what_is_no_export(text: bytes, words: str) -> None:
    with pytest.raises(ImportFailed, match=words):
        parse(text, name="x.json")


def test_a_failure_holds_nothing_of_the_file() -> None:
    with pytest.raises(ImportFailed) as caught:
        parse(b'{"items": [{"login": {"password": "hunter2"}}')
    error: BaseException | None = caught.value
    while error is not None:  # a JSONDecodeError in the chain would hold the whole text
        assert "hunter2" not in repr(vars(error)) + repr(error.args)
        error = error.__context__ or error.__cause__


def test_reprs_hold_no_values(sample: Parsed) -> None:
    assert "horse" not in repr(sample)
    assert "4711" not in repr(sample)


# ---- documents of any shape -----------------------------------------------------------------------------------------

KEYS = [
    "id", "type", "name", "notes", "favorite", "reprompt", "fields", "login", "secureNote", "card", "identity",
    "sshKey", "bankAccount", "driversLicense", "passport", "folderId", "collectionIds", "organizationId", "key",
    "object", "passwordHistory", "creationDate", "revisionDate", "deletedDate", "archivedDate", "attachments", "uris",
    "uri", "match", "username", "password", "totp", "fido2Credentials", "passwordRevisionDate", "value", "linkedId",
    "lastUsedDate", "number", "uriChecksum", "somethingNew",
]  # fmt: skip
DATES = ["2020-01-02T03:04:05.678Z", "2020-01-02T03:04:05Z", "1969-12-31T23:59:59.999Z", "0001-01-01T00:00:00+14:00"]
STRING, INTEGER = "STRING", -1  # each becomes one of a kind, so that it can be found again

leaf = st.sampled_from([STRING, STRING, INTEGER, True, False, None, "", *DATES, *range(9), 100])
anything = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
rows = st.lists(st.dictionaries(st.sampled_from(KEYS), leaf | anything, max_size=4) | anything, max_size=3)


def like(**shapes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object that has some of these keys, mostly of the right shape, and others."""
    usual = {key: st.one_of(shape, shape, shape, anything) for key, shape in shapes.items()}
    rest = st.dictionaries(st.sampled_from(KEYS), anything, max_size=2)
    return st.tuples(rest, st.fixed_dictionaries({}, optional=usual)).map(lambda two: two[0] | two[1])


text = st.sampled_from([STRING, STRING, None, ""])
uri = like(uri=text, match=st.sampled_from([None, 0, 1, 5, 9]))
field = like(name=text, value=text | st.sampled_from(["true", "false"]), type=st.integers(0, 4), linkedId=st.just(100))
login = like(
    username=text, password=text, totp=text, uris=st.lists(uri, max_size=3) | rows, fido2Credentials=rows,
    passwordRevisionDate=st.sampled_from(DATES),
)  # fmt: skip
item = like(
    id=text, type=st.integers(0, 9), name=text, notes=text, login=login, secureNote=st.just({"type": 0}),
    favorite=st.booleans(), reprompt=st.integers(0, 2), fields=st.lists(field, max_size=3),
    passwordHistory=st.lists(like(lastUsedDate=st.sampled_from(DATES), password=text), max_size=2),
    folderId=st.sampled_from(["F1", "F2"]), collectionIds=st.lists(st.sampled_from(["C1", "C2", STRING]), max_size=3),
    card=like(number=text, code=text), identity=like(title=text, ssn=text), creationDate=st.sampled_from(DATES),
    revisionDate=st.sampled_from(DATES), deletedDate=st.sampled_from([*DATES, None]),
)  # fmt: skip
FOLDERS = [{"id": "F1", "name": "Folder one"}, {"id": "F2", "name": ""}]
COLLECTIONS = [{"id": "C1", "name": "Collection one"}, {"id": "C2", "name": "  "}]


def unique(value: Any, counter: Iterator[int]) -> Any:
    """The same shape with every placeholder replaced by something that occurs nowhere else."""
    if isinstance(value, dict):
        return {key: unique(inner, counter) for key, inner in value.items()}
    if isinstance(value, list):
        return [unique(inner, counter) for inner in value]
    if value == STRING:
        return f"tok{next(counter)}en"
    if value == INTEGER and value is not True:
        return 7_000_000 + next(counter)
    return value


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from leaves(inner, f"{path}.{number}")
    elif value is not None and value != "":
        yield path, value


def counting() -> Iterator[int]:
    return iter(range(1_000_000))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(item | anything, max_size=4))
def test_nothing_is_lost(sound: Sound, texts: Texts, shapes: list[Any]) -> None:
    items = unique(shapes, counting())
    parsed = sound(parse(export(*items, folders=FOLDERS, collections=COLLECTIONS)))
    records = {record.place: record for record in parsed.records}
    lost = {problem.place for problem in parsed.problems if problem.lost}
    notes = "\n".join(parsed.notes)
    for number, one in enumerate(items, 1):
        place = f"item {number}"
        if place in lost:
            continue
        record = records[place]
        found = "\n".join(texts(record))
        instants = {
            record.created_ms,
            record.modified_ms,
            *(v for v in record.values.values() if isinstance(v, datetime)),
        }
        for path, value in leaves(one):
            last = path.rpartition(".")[2]
            if isinstance(value, str) and value.startswith("tok"):
                assert value in found or f"“{last}”" in notes, path
            elif isinstance(value, int) and value >= 7_000_000:
                assert str(value) in found or f"“{last}”" in notes, path
            elif value in DATES:
                there = any(_same(value, instant) for instant in instants)
                assert there or value in found or f"“{last}”" in notes, path
            elif value == "F1" and path == "folderId":
                assert record.values["folder"] == "Folder one"
            elif value == "C1" and path.startswith("collectionIds."):
                assert "Collection one" in record.values["tags"]


def _same(date: str, instant: object) -> bool:
    wanted = datetime.fromisoformat(date)
    return instant == wanted or instant == (wanted - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(item, min_size=1, max_size=4))
def test_no_value_is_in_a_message(shapes: list[Any]) -> None:
    items = unique(shapes, counting())
    parsed = parse(export(*items, folders=FOLDERS, collections=COLLECTIONS))
    said = "\n".join([*map(str, parsed.problems), *parsed.notes, repr(parsed)])
    sources = "\n".join(record.source for record in parsed.records)
    for one in items:
        for path, value in leaves(one):
            if isinstance(value, str) and value.startswith("tok") and value not in sources:
                assert value not in said, path


@settings(max_examples=max(20, EXAMPLES // 3), deadline=None)
@given(st.lists(item, max_size=4), st.randoms())
def test_the_same_items_have_the_same_sources(shapes: list[Any], random: Any) -> None:
    items = unique(shapes, counting())
    first = parse(export(*items))
    again = parse(json.dumps({"items": [_shuffled(one, random) for one in items]}, indent=3).encode("utf-16"))
    assert [record.source for record in first.records] == [record.source for record in again.records]
    twice = parse(export(*items, *items))
    assert [r.source for r in twice.records[: len(items)]] == [r.source for r in first.records]
    assert len({record.source for record in twice.records}) == 2 * len(first.records)


def _shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: _shuffled(value[key], random) for key in keys}
    return [_shuffled(inner, random) for inner in value] if isinstance(value, list) else value


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.recursive(leaf | st.text() | st.floats(allow_nan=False), lambda i: st.lists(i) | st.dictionaries(st.text(), i))
)
def test_any_json_is_parsed_or_refused(sound: Sound, document: Any) -> None:
    for whole in (document, {"items": document}, {"items": [document], "folders": document, "collections": document}):
        with suppress(ImportFailed):
            sound(parse(json.dumps(whole).encode()))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_a_damaged_file_is_parsed_or_refused(sound: Sound, data: st.DataObject) -> None:
    whole = (SAMPLES / "bitwarden.json").read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 40)))
    damaged = whole[:start] + data.draw(st.binary(max_size=6)) + whole[end:]
    assume(damaged != whole)
    said = "b.json"
    try:
        sound(parse(damaged, name="b.json"))
    except ImportFailed as error:
        said = str(error)
    assert said.startswith("b.json")

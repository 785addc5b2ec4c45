"""CSV exports: the tokenizer against the standard library's, the samples, and tables of any content, of which nothing
may get lost."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.errors import ImportFailed
from vaultsync.importers import Parsed, Record, detect, parse
from vaultsync.importers.csv_formats import CSV_FORMATS, CsvFormat, bitwarden_fields, normal
from vaultsync.importers.table import rows
from vaultsync.presets.custom import Custom, decode

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "150"))
SAMPLES = Path(__file__).parent.parent / "samples"
BY_NAME = {format.name: format for format in CSV_FORMATS}

Sound = Callable[[Parsed], Parsed]
Texts = Callable[[Record], list[str]]

CHROME = "name,url,username,password,note\n"


def customs(record: Record) -> list[Custom]:
    return decode(record.values.get("custom", ()), record.values.get("custom_secret", ()))


def written(table: list[list[str]], delimiter: str = ",", end: str = "\n", *, quote_all: bool = False) -> str:
    """RFC 4180. (The standard library's writer leaves a lone carriage return without quotes.)"""

    def one(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quote_all or set(text) & set(delimiter + '"\r\n') else text

    return "".join(delimiter.join(map(one, cells)) + end for cells in table)


# ---- the tokenizer --------------------------------------------------------------------------------------------------

cell = st.text(st.sampled_from('ab,;\t"\n\r é') | st.characters(exclude_categories=["Cs"]), max_size=8)
row = st.lists(cell, min_size=1, max_size=5)


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(st.lists(row, max_size=6), st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_what_was_written_is_read(table: list[list[str]], delimiter: str, end: str, quote_all: bool) -> None:
    text = written(table, delimiter, end, quote_all=quote_all)
    found = [one.cells for one in rows(text, delimiter, "x")]
    assert found == [one for one in table if quote_all or one != [""]]
    assert found == [one for one in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if one]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(row, min_size=1, max_size=6))
def test_rows_know_their_line(table: list[list[str]]) -> None:
    text = written(table, quote_all=True)
    line = 1
    for one, cells in zip(rows(text, ",", "x"), table, strict=True):
        assert one.line == line
        line += 1 + sum(len(c.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1 for c in cells)


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(st.text(st.sampled_from('ab,"\n\r'), max_size=30))
def test_any_text_is_rows_or_refused(text: str) -> None:
    if refused(text):
        assert '"' in text
        return
    found = list(rows(text, ",", "x"))
    kept = sum(len(c) for one in found for c in one.cells)
    if not any(one.fault for one in found):
        assert kept >= sum(c in "ab" for c in text)
    assert [one.line for one in found] == sorted(one.line for one in found)


def refused(text: str) -> bool:
    try:
        list(rows(text, ",", "x"))
    except ImportFailed:
        return True
    return False


def test_a_fault_costs_its_line_only() -> None:
    parsed = parse((CHROME + 'a,u,n,"p" x,\nb,u,n,p,\n').encode())
    assert [record.values["title"] for record in parsed.records] == ["b"]
    assert str(parsed.problems[0]).startswith("line 2: text after a closing quote in column 10")
    assert parsed.problems[0].lost


def test_an_open_quote_is_refused_with_its_place() -> None:
    with pytest.raises(ImportFailed, match=r"c\.csv, line 3, column 7: a quote is opened and never closed") as caught:
        parse((CHROME + 'a,u,n,p,\nb,u,n,"s3cret,\n').encode(), name="c.csv")
    assert "s3cret" not in str(caught.value)


# ---- the samples ----------------------------------------------------------------------------------------------------


def sample(name: str, sound: Sound) -> tuple[Record, ...]:
    parsed = sound(parse(SAMPLES / name))
    assert not parsed.problems
    return parsed.records


def test_bitwarden(sound: Sound) -> None:
    mastodon, evga, bank, note = sample("bitwarden.csv", sound)
    assert (mastodon.values["folder"], mastodon.values["favorite"]) == ("Social", True)
    assert evga.values["urls"] == ["https://www.evga.com/login.asp", "https://eu.evga.com/a,b"]
    assert (evga.values["password"], evga.values["totp"]) == ('fake,"pass"word', "TOTPSEED123")
    assert evga.values["reprompt"] is True
    assert customs(bank)[:2] == [
        Custom("PIN", "1234", "hidden"),
        Custom("Answer", "a: b\nand its second line", "hidden"),
    ]
    assert bank.values["tags"] == {"archived"}
    assert (note.type, note.place) == ("secure_note", "line 7")
    assert note.values["notes"] == "This is a secure note.\n\nIt has three lines."


def test_bitwarden_of_an_organization(sound: Sound) -> None:
    twitter, runbook = sample("bitwarden-organization.csv", sound)
    assert twitter.values["tags"] == {"Social", "Marketing"}
    assert runbook.type == "secure_note"


def test_chrome(sound: Sound) -> None:
    github, example, app, older = sample("chrome.csv", sound)
    assert github.values["password"] == 'p@ss,w"ord'
    assert example.values["notes"] == "a note\nin two lines"
    assert app.values["urls"] == ["android://aGFzaA==@com.example.app/"]
    assert older.source == github.source + "#2"
    assert "older" not in older.source


def test_firefox(sound: Sound) -> None:
    wiki, router, sync = sample("firefox.csv", sound)
    assert wiki.source == "firefox:{2c1b8a40-5f1a-4b7e-9c3d-000000000001}"
    assert (wiki.created_ms, wiki.modified_ms) == (1_580_515_200_123, 1_650_000_000_456)
    assert wiki.values["password_changed"] == datetime(2022, 4, 15, 5, 20, 0, 456000, tzinfo=UTC)
    assert wiki.values["title"] == "wikipedia.org"
    assert Custom("httpRealm", "Restricted area") in customs(router)
    assert sync.values["password"] == '{"version":1,"accountData":{}}'
    assert Custom("timeCreated", "not a time") in customs(sync)


def test_1password(sound: Sound) -> None:
    spotify, packt, mail = sample("1password.csv", sound)
    assert spotify.values["tags"] == {"Music", "Fun and games"}
    assert spotify.values["favorite"] is True
    assert packt.values["tags"] == {"archived"}
    assert packt.values["totp"].startswith("otpauth://")
    assert mail.values == {"title": "GMail", "username": "ann", "password": "gmail pass", "tags": {"Mail"}}


def test_1password_7(sound: Sound) -> None:
    login, note = sample("1password-7.csv", sound)
    assert login.source == "1password:abcdefghijklmnopqrstuvwxyz"
    assert customs(login) == [Custom("Section 1: Member id", "M-1234", "hidden")]
    assert note.type == "secure_note"


def test_apple_and_lastpass(sound: Sound) -> None:
    _, bank = sample("apple.csv", sound)
    assert bank.values["notes"] == "Ask for Ben"
    login, note = sample("lastpass.csv", sound)
    assert login.values["folder"] == "Shopping\\Books"
    assert (note.type, "urls" in note.values) == ("secure_note", False)


@pytest.mark.parametrize(
    ("file", "format"),
    [
        ("bitwarden.csv", "bitwarden-csv"), ("bitwarden-organization.csv", "bitwarden-csv"), ("chrome.csv", "chrome"),
        ("firefox.csv", "firefox"), ("1password.csv", "1password"), ("1password-7.csv", "1password"), ("apple.csv",
        "apple"), ("lastpass.csv", "lastpass"), ("bitwarden.json", "bitwarden"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["as it is", "bom", "utf-16", "utf-16-le", "crlf"])
def test_formats_are_recognised_however_they_are_saved(file: str, format: str, form: str) -> None:
    data = (SAMPLES / file).read_bytes()
    if form == "crlf":
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    elif form != "as it is":
        data = data.decode().encode({"bom": "utf-8-sig"}.get(form, form))
    assert detect(data) == format
    assert [r.source for r in parse(data).records if r.type == "login"] == [
        r.source for r in parse(SAMPLES / file).records if r.type == "login"
    ]


# ---- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["", "sep=;\n", "sep=;\r\n"])
def test_semicolons(start: str) -> None:
    parsed = parse((start + "name;url;username;password\nA;https://a.example;u,v;p\n").encode())
    assert parsed.records[0].values["username"] == "u,v"
    assert parsed.records[0].place == ("line 3" if start else "line 2")


def test_columns_may_be_missing_moved_or_more() -> None:
    parsed = parse(b"Extra,password,url,username\n42,p,https://www.a.example/x,u\n,q\nz,r,https://b.example,v,beyond\n")
    first, short, long = parsed.records
    assert first.values["title"] == "a.example"
    assert customs(first) == [Custom("Extra", "42", "hidden")]
    assert short.values == {"password": "q"}
    assert customs(long) == [Custom("Extra", "z", "hidden"), Custom("column 5", "beyond", "hidden")]
    assert parsed.notes[0] == "column “Extra” has no field of its own: kept as a custom field (2 times)"


def test_a_column_that_comes_twice() -> None:
    record = parse(b"name,url,username,password,password\na,u,n,p1,p2\n").records[0]
    assert record.values["password"] == "p1"
    assert customs(record) == [Custom("password", "p2", "hidden")]


def test_without_a_header_nothing_of_the_first_row_is_said() -> None:
    for format in (None, "chrome", "1password"):
        with pytest.raises(ImportFailed) as caught:
            parse(b"https://a.example,ann,hunter2\nhttps://b.example,ben,hunter3\n", format=format)
        assert "hunter2" not in str(caught.value)


def test_the_format_can_be_said() -> None:
    data = b"title,url,username,password,notes,otpauth\na,https://a.example,u,p,n,\n"
    assert detect(data) == "apple"
    assert parse(data, format="1password").records[0].source.startswith("1password:")
    with pytest.raises(ImportFailed, match="LastPass"):
        parse(b"title,password\na,b\n", format="lastpass")
    assert parse(b"name,password\na,b\n", format="lastpass").records[0].values == {"title": "a", "password": "b"}


def test_a_changed_password_is_the_same_source() -> None:
    before, after = (parse((CHROME + f"a,https://a.example,u,{p},\n").encode()).records[0] for p in ("p1", "p2"))
    assert before.source == after.source
    assert parse((CHROME + "a,https://a.example,v,p1,\n").encode()).records[0].source != before.source


def test_notes_without_a_website_differ_by_their_text() -> None:
    head = "folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,login_totp\n"
    one, other = parse((head + ",,note,Codes,1,,,,,,\n,,note,Codes,2,,,,,,\n").encode()).records
    assert one.source.partition("#")[0] != other.source.partition("#")[0]


def test_a_tag_too_long_to_be_one_is_a_custom_field() -> None:
    record = parse(f"Title,Username,Password,Tags\na,u,p,work;{'x' * 300}\n".encode()).records[0]
    assert record.values["tags"] == {"work"}
    assert customs(record) == [Custom("Tags", "x" * 300)]


def test_a_note_with_a_password_is_a_login_that_says_so() -> None:
    head = b"folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,login_totp\n"
    parsed = parse(head + b",,note,n,,,,,,p,\n,,card,m,,,,,,,\n")
    assert [record.type for record in parsed.records] == ["login", "login"]
    assert [customs(record) for record in parsed.records] == [[Custom("type", "note")], [Custom("type", "card")]]
    assert any("type" in note for note in parsed.notes)


def test_bitwarden_fields_without_a_name() -> None:
    assert bitwarden_fields("alone\r\na: 1\r\n\r\nmore") == [
        Custom("", "alone", "hidden"),
        Custom("a", "1\n\nmore", "hidden"),
    ]


# ---- tables of any content ------------------------------------------------------------------------------------------

HEADERS = {
    "bitwarden-csv": ["folder", "collections", "favorite", "type", "name", "notes", "fields", "reprompt",
    "archivedDate",
                      "login_uri", "login_username", "login_password", "login_totp"],
    "firefox": ["url", "username", "password", "httpRealm", "formActionOrigin", "guid", "timeCreated", "timeLastUsed",
                "timePasswordChanged"],
    "lastpass": ["url", "username", "password", "totp", "extra", "name", "grouping", "fav"],
    "1password": ["Title", "Url", "Username", "Password", "OTPAuth", "Favorite", "Archived", "Tags", "Notes", "Type"],
    "chrome": ["name", "url", "username", "password", "note"],
}  # fmt: skip
usual = ["1", "0", "true", "FALSE", "login", "note", "Secure Note", "1580515200123", "2024-07-01T00:00:00Z", ""]
tricky = st.text(st.sampled_from('ab,;:\t"\n é/') | st.characters(exclude_categories=["Cs"]), max_size=10)
content = tricky | st.sampled_from([*usual, "", "http://sn", "https://a.example,https://b.example"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[str], list[list[str]]]:
    name = draw(st.sampled_from(sorted(HEADERS)))
    header = draw(
        st.permutations(HEADERS[name] + draw(st.lists(st.sampled_from(["Member", "PIN", "Extra 1"]), max_size=2)))
    )
    size = len(header) + 1
    return name, header, draw(st.lists(st.lists(content, min_size=1, max_size=size), max_size=4))


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(tables(), st.booleans())
def test_nothing_is_lost(
    sound: Sound, texts: Texts, drawn: tuple[str, list[str], list[list[str]]], said: bool
) -> None:  # fmt: skip
    name, header, table = drawn
    data = written([header, *table], quote_all=True).encode()
    parsed = sound(parse(data, format=name if said else None))
    assert parsed.format == name
    assert not parsed.problems
    meant = [cells for cells in table if any(cells)]
    assert len(parsed.records) == len(meant)
    for record, cells in zip(parsed.records, meant, strict=True):
        found = texts(record)
        for index, cell in enumerate(cells):
            meaning = BY_NAME[name].columns.get(normal(header[index])) if index < len(header) else None
            assert not cell or accounted(record, found, cell, meaning), (meaning, cell, record.values)
    again = parse(written([header, *table]).encode(), format=name)
    assert [record.source for record in again.records] == [record.source for record in parsed.records]


def accounted(record: Record, found: list[str], cell: str, meaning: str | None) -> bool:
    """Whether what a cell says can be told from the record."""
    if cell in found or not cell.strip() or (meaning == "id" and f":{cell}" in record.source):
        return True
    whole = "\n".join(found)
    match meaning:
        case "favorite" | "reprompt":
            return cell.strip().casefold() in {"0", "no", "false"} or record.values.get(meaning) is True
        case "archived":
            return cell.strip().casefold() in {"0", "no", "false"} or "archived" in record.values["tags"]
        case "type":
            return normal(cell) in {"login", "note", "securenote"}
        case "created":
            return str(record.created_ms) == cell
        case "changed":
            return str(record.modified_ms) == cell and "password_changed" in record.values
        case "url":
            return cell == "http://sn" and record.type == "secure_note"
        case "urls" | "tags" | "collections":
            import unicodedata

            parts = [part.strip() for part in unicodedata.normalize("NFC", cell.replace(";", ",")).split(",")]
            return all(part in unicodedata.normalize("NFC", whole) for part in parts)
        case "fields":
            return all(line in whole for line in cell.replace(": ", "\n", 1).split("\n"))
    return False


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(CSV_FORMATS), st.binary(max_size=60), st.text(max_size=60))
def test_any_bytes_are_parsed_or_refused(sound: Sound, format: CsvFormat, data: bytes, more: str) -> None:
    header = ",".join(HEADERS.get(format.name, ["Title", "URL", "Username", "Password", "Notes", "OTPAuth"])).encode()
    for whole in (data, more.encode("utf-8", "replace"), header + b"\n" + data, header + b"\r\n" + more.encode()):
        for said in (None, format.name):
            with suppress(ImportFailed):
                sound(parse(whole, format=said))

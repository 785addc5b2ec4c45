"""The door: paths and bytes, encodings, sizes, and files that are something else."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.errors import ImportFailed
from vaultsync.importers import FORMATS, Parsed, detect, parse, reading, records

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "300"))
SAMPLES = Path(__file__).parent.parent / "samples"
ROW = "name,url,username,password\nGrün,https://a.example,ü,pässwörd\n"


def test_paths_strings_and_bytes_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(ROW.encode())
    from_path, from_text, from_bytes = parse(path), parse(str(path)), parse(ROW.encode())
    assert from_path == from_text
    assert from_path.records == from_bytes.records
    assert (from_path.name, from_bytes.name, parse(path, name="mine").name) == ("x.csv", "data", "mine")
    assert parse(bytearray(ROW.encode())).records == from_bytes.records  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(encoding: str) -> None:
    assert parse(ROW.encode(encoding)).records[0].values["password"] == "pässwörd"


def test_another_encoding_is_not_guessed() -> None:
    with pytest.raises(ImportFailed, match=r"x, line 2: not UTF-8 text \(byte 30\)") as caught:
        parse(ROW.encode("latin-1"), name="x")
    assert caught.value.__context__ is None, "a UnicodeDecodeError would hold the whole file"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(ImportFailed, match=f"{path.name}: cannot be read"):
            parse(path)
    with pytest.raises(ImportFailed, match="not a path"):
        parse("a\0b")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04rest", "zip"), (b"SQLite format 3\x00", "SQLite"), (b"\x03\xd9\xa2\x9a", "KeePass"),
        (b"%PDF-1.7", "PDF"), (b"\x1f\x8b\x08", "gzip"), (b"", "empty"), (b" \n\n", "empty"), (b"hello world\n",
        "not an export of Bitwarden"),
    ],
)  # fmt: skip
def test_other_files_are_named(data: bytes, words: str) -> None:
    with pytest.raises(ImportFailed, match=words):
        parse(data)


def test_a_file_too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reading, "MAX_IMPORT_BYTES", len(ROW.encode()))
    path = tmp_path / "x.csv"
    path.write_bytes(ROW.encode())
    assert len(parse(path).records) == 1
    path.write_bytes(ROW.encode() + b"\n")
    for source in (path, path.read_bytes()):
        with pytest.raises(ImportFailed, match="larger than"):
            parse(source)


def test_too_many_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_IMPORT_RECORDS", 2)
    row = "a,https://a.example,u,p\n"
    head = "name,url,username,password\n"
    assert len(parse((head + row * 2).encode()).records) == 2
    with pytest.raises(ImportFailed, match="line 4: more than 2 items"):
        parse((head + row * 3).encode())
    assert len(parse(b"[{}, {}]").records) == 2
    with pytest.raises(ImportFailed, match="item 3: more than 2 items"):
        parse(b"[{}, {}, {}]")


def test_formats_can_be_listed() -> None:
    assert next(iter(FORMATS)) == "bitwarden"
    assert {"bitwarden", "bitwarden-csv", "chrome", "firefox", "1password", "apple", "lastpass"} == set(FORMATS)
    assert all(name == format.name and format.label for name, format in FORMATS.items())
    with pytest.raises(ImportFailed, match="there is no import format 'kdbx'; there are: bitwarden,"):
        parse(ROW.encode(), format="kdbx")


def test_the_wrong_format_is_refused() -> None:
    with pytest.raises(ImportFailed, match=r"JSON, and Firefox \(CSV\) was expected"):
        parse(SAMPLES / "bitwarden.json", format="firefox")
    with pytest.raises(ImportFailed, match="not valid JSON"):
        parse(SAMPLES / "firefox.csv", format="bitwarden")


def test_nobodys_file_is_nothing() -> None:
    assert detect(b"hello") is None
    assert detect(b"a,b\n1,2\n") is None


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=80) | st.text(st.sampled_from('{}[]",:\n1atrue '), max_size=40).map(str.encode))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    for format in (None, *FORMATS):
        with suppress(ImportFailed):
            assert isinstance(parse(data, format=format), Parsed)

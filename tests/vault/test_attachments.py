"""Attached files: sealed, sent before what refers to them, fetched when somebody asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import vaultsync as vs
from vaultsync.crypto.primitives import WEAK_FOR_TESTS
from vaultsync.document.engine import Edit
from vaultsync.errors import Refused
from vaultsync.presets.passwords import passwords
from vaultsync.vault.environment import Environment

CHEAP = Environment(argon2=WEAK_FOR_TESTS, weak_keys=True)
SCAN = b"%PDF-1.7 the passport of Ann Canary " * 2000


def two(tmp_path: Path) -> tuple[vs.Vault, vs.Vault]:
    url = (tmp_path / "remote").as_uri()
    first = vs.Vault.create(
        tmp_path / "a.vault", schema=passwords(4, "linux"), password="pw", device="Laptop", environment=CHEAP
    )
    first.auto_sync = False
    first.connect(url)
    first.sync()
    second = vs.Vault.join(
        tmp_path / "b.vault",
        url,
        schema=passwords(4, "macos"),
        password="pw",
        code=first.recovery_code or "",
        device="Mac",
        environment=CHEAP,
    )
    second.auto_sync = False
    return first, second


def test_a_file_reaches_another_device_and_stays_there(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    with first, second:
        entry = first.add("document", title="Passport")
        attached = first.attach(entry, "passport.pdf", SCAN)
        assert attached["attachment"].name == "passport.pdf"
        assert attached["attachment"].size == len(SCAN)
        assert first.read_attachment(entry.id) == SCAN
        first.sync()
        second.sync()
        assert second.read_attachment(entry.id) == SCAN
        for blob in (tmp_path / "remote").rglob("blob/*"):
            blob.unlink()
        assert second.read_attachment(entry.id) == SCAN, "kept on this device once it was read"


def test_contents_and_keys_are_in_no_file_in_the_clear(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    with first, second:
        reference = first.attach(first.add("document", title="Passport"), "passport.pdf", SCAN)["attachment"]
        first.sync()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"Ann Canary" not in data
            assert reference.key.encode() not in data
            assert bytes.fromhex(reference.key) not in data


def test_a_file_that_is_not_there_yet_says_so(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    with first, second:
        entry = first.attach(first.add("document", title="Passport"), "passport.pdf", SCAN)
        first.sync()
        second.sync()
        (blob,) = (tmp_path / "remote").rglob("blob/*")
        whole = blob.read_bytes()
        blob.write_bytes(whole[:-100])
        with pytest.raises(vs.ObjectMissing, match="not complete"):
            second.read_attachment(entry.id)
        blob.unlink()
        with pytest.raises(vs.ObjectMissing, match="not arrived"):
            second.read_attachment(entry.id)
        blob.write_bytes(whole)
        assert second.read_attachment(entry.id) == SCAN


def test_refusals(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    with first, second:
        login = first.add("login", title="GitHub")
        with pytest.raises(vs.UnknownField, match="no field for a file"):
            first.attach(login, "x", b"")
        with pytest.raises(vs.UnknownField, match="no file attached"):
            first.read_attachment(login)
        document = first.add("document", title="Scan")
        with pytest.raises(vs.WrongKind, match="at most 32 MB"):
            first.attach(document, "big", bytes((32 << 20) + 1))
        first.delete(document)
        with pytest.raises(vs.NotEditable):
            first.attach(document, "late", b"x", field="attachment")
        first.sync()
        assert not list((tmp_path / "remote").rglob("blob/*")), "a refused update keeps no file"


def test_a_reference_that_names_other_contents_than_it_says_is_refused(tmp_path: Path) -> None:
    """An insider's entry: digest and size of one file, place and key of another."""
    first, second = two(tmp_path)
    with first, second:
        entry = first.add("document", title="Passport")
        real = first.attach(entry, "passport.pdf", SCAN)["attachment"]
        other = first.attach(first.add("document", title="Other"), "other.pdf", b"other contents")["attachment"]
        for swapped in (
            replace(real, id=other.id, key=other.key),
            replace(real, size=real.size - 1),
            replace(real, digest=other.digest),
        ):
            with first._ledger.write() as transaction:
                cells = first._desk.schema.types["document"].fields
                kind = next(field.kind for field in cells if field.name == "attachment")
                written = kind.write("attachment", {}, swapped, seen=None, new_id=lambda: "x")
                transaction.commit([Edit("entries", entry.id, key, value) for key, value in written.items()])
            with pytest.raises(Refused, match="not the one that was attached"):
                first.read_attachment(entry.id)

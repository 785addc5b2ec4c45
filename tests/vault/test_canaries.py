"""Contents and keys lie nowhere in the clear: not in the file or its log, not on the remote, not in a temporary file,
not in what is logged, represented or raised, whatever a vault goes through.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import pickle
import stat
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaultsync as vs
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.errors import VaultSyncError
from vaultsync.testing import environment

SCHEMA = vs.Schema(
    "canaries",
    version=1,
    platform="linux",
    types=[
        vs.EntryType(
            "login",
            fields=[
                vs.Field("title", vs.text),
                vs.Field("password", vs.secret),
                vs.Field("text", vs.note),
                vs.Field("labels", vs.tags),
                vs.Field("urls", vs.items(vs.text)),
                vs.Field("pin", vs.number),
                vs.Field("scan", vs.file),
            ],
        )
    ],
)
CANARY = "Kanarienvogel"
PASSWORD, SECOND = f"{CANARY}-password-1", f"{CANARY}-password-2"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything that is logged by anybody; temporary files go where they are searched."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    root.addHandler(handler)
    caplog.set_level(logging.DEBUG)
    yield stream
    root.removeHandler(handler)


def keys_of(vault: vs.Vault) -> dict[str, bytes]:
    works = vault._works
    identity, ledger = works.identity, works.ledger
    found = {
        "device seed": identity.keys.to_bytes(),
        "local key": ledger.key.to_bytes()[16:],
        "roster key": identity.roster_key,
    }
    for epoch in identity.epoch_keys().values():
        found[f"epoch {epoch.id.hex()}"] = epoch.key
    return found


def spellings(value: bytes) -> list[bytes]:
    """As it may lie around: raw, in hex, in base64 at any of three offsets, in UTF-16."""
    encoded = [base64.b64encode(b"\0" * shift + value)[4 * (shift > 0) : -4] for shift in range(3)]
    wide = [value.decode().encode("utf-16-le")] if value.isascii() else []
    return [
        value,
        value.hex().encode(),
        value.hex().upper().encode(),
        *(part for part in encoded if len(part) > 8),
        *wide,
    ]


def search(where: str, data: bytes, secrets: dict[str, bytes]) -> None:
    for name, value in secrets.items():
        for spelling in spellings(value):
            assert spelling not in data, f"{name} lies in {where}"


def search_folder(folder: Path, secrets: dict[str, bytes]) -> int:
    searched = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            search(str(path.relative_to(folder)), path.read_bytes(), secrets)
            search("a file's name", str(path).encode(), secrets)
            searched += 1
    return searched


@pytest.mark.parametrize("spelling", spellings(CANARY.encode()))
def test_the_search_finds_what_is_there(spelling: bytes) -> None:
    with pytest.raises(AssertionError, match="lies in a planted file"):
        search("a planted file", b"before " + spelling + b" after", {"contents": CANARY.encode()})


def live(tmp_path: Path) -> tuple[dict[str, bytes], list[str]]:
    """A vault's life; returns its keys and what it said of itself on the way."""
    said: list[str] = []
    secrets: dict[str, bytes] = {}
    (tmp_path / "remote").mkdir()
    url = (tmp_path / "remote").as_uri()
    laptop = vs.Vault.create(
        tmp_path / "laptop.vault", schema=SCHEMA, password=PASSWORD, device="Laptop", environment=environment("laptop")
    )
    code = laptop.recovery_code
    assert code
    secrets |= {"recovery code": RecoveryCode.parse(code).to_bytes(), "recovery code as text": code.encode()}
    entry = laptop.add(
        "login",
        title=f"{CANARY} title",
        password=f"{CANARY} secret",
        text=f"{CANARY} line\nsecond {CANARY}",
        labels={f"{CANARY}-tag"},
        urls=[f"https://{CANARY}.example"],
        pin=314159265358979,
    )
    laptop.attach(entry.id, f"{CANARY}.pdf", f"{CANARY} contents".encode() * 20)
    other = laptop.add("login", title=f"{CANARY} to purge", password=f"{CANARY} purged")
    laptop.auto_sync = False
    laptop.connect(url)
    said.append(str(laptop.sync()))
    phone = vs.Vault.join(
        tmp_path / "phone.vault",
        url,
        schema=SCHEMA,
        password=PASSWORD,
        code=code,
        device="Phone",
        environment=environment("phone"),
        background=False,
    )
    for number, vault in enumerate((laptop, phone)):
        vault.update(entry.id, password=f"{CANARY} concurrent {number}")
    laptop.purge(other.id)
    for vault in (laptop, phone, laptop):
        said.append(str(vault.sync()))
    laptop._ledger.snapshot(at_least=1)
    for vault in (laptop, phone):
        secrets |= {f"{vault.path} {name}": key for name, key in keys_of(vault).items()}
        shown = vault.view()[entry.id]
        said += [repr(vault), str(vault.status), repr(vault.status), repr(vault.view()), repr(vault.devices)]
        said += [repr(vault.view().notices), repr(vault._works.identity), repr(vault._ledger.key)]
        said += [repr(device) for device in vault.devices] + [str(vault.check()), repr(vault._works.identity.keys)]
        secrets_of_entry = f"{shown!r} {shown.conflicts!r} {vault.history(entry.id)!r}"
        assert f"{CANARY} secret" not in secrets_of_entry
        assert f"{CANARY} concurrent" not in secrets_of_entry
    laptop.change_password(PASSWORD, SECOND, code=code)
    said.append(str(laptop.sync()))
    secrets |= {f"after the change {name}": key for name, key in keys_of(laptop).items()}
    removed = laptop.revoke(next(d.id for d in laptop.devices if not d.this), password=SECOND, code=code)
    said += [str(laptop.status), repr(removed)]
    secrets |= {f"after the removal {name}": key for name, key in keys_of(laptop).items()}
    said.append(str(laptop.sync()))
    laptop.lock()
    laptop.unlock(password=SECOND)
    laptop.close()
    phone.close()
    return secrets, said


def test_contents_and_keys_lie_nowhere_in_the_clear(tmp_path: Path, logged: io.StringIO) -> None:
    keys, said = live(tmp_path)
    secrets = keys | {"contents": CANARY.encode(), "a number": b"314159265358979"}
    assert search_folder(tmp_path, secrets) > 8
    search("the log", logged.getvalue().encode(), secrets)
    search("what it said", "\n".join(said).encode(), secrets)


@pytest.mark.skipif(os.name == "nt", reason="modes of files are POSIX's")
def test_every_file_of_a_vault_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with vs.Vault.create(
            tmp_path / "a.vault", schema=SCHEMA, password=PASSWORD, environment=environment("modes")
        ) as vault:
            entry = vault.add("login", title="x")
            vault.attach(entry.id, "a.txt", b"x" * 1000)
            vault.export(tmp_path / "export.json")
            vault._ledger.snapshot(at_least=1)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"a.vault", "a.vault-wal", "a.vault-shm", "export.json"}
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o600} == {}


def test_errors_hold_no_secret(tmp_path: Path) -> None:
    """Neither in the message, nor in the chain of causes, nor when pickled."""
    with vs.Vault.create(
        tmp_path / "a.vault", schema=SCHEMA, password=PASSWORD, environment=environment("errors")
    ) as vault:
        entry = vault.add("login", title="x", password=f"{CANARY} secret")
        vault.delete(entry.id)
        wrong = [
            lambda: vault.update(entry.id, password=f"{CANARY} new"),
            lambda: vault.add("login", password=[f"{CANARY}"]),
            lambda: vault.add("login", pin=f"{CANARY}"),
            lambda: vault.add("login", labels={f"{CANARY}" * 100}),
            lambda: vault.add("login", urls=[3, f"{CANARY}"]),
            lambda: vault.add("login", urls=f"{CANARY}"),
            lambda: vault.view().where(pin=f"{CANARY}"),
            lambda: vault.change_password(f"{CANARY} wrong", f"{CANARY} new"),
            lambda: vs.Vault.open(
                tmp_path / "a.vault", schema=SCHEMA, password=f"{CANARY} wrong", environment=environment("x")
            ),
            lambda: vs.Vault.join(
                tmp_path / "b.vault", tmp_path.as_uri(), schema=SCHEMA, password=f"{CANARY}", code=f"{CANARY}"
            ),
            lambda: vs.Vault.join(
                tmp_path / "b.vault", schema=SCHEMA, password=f"{CANARY}", invitation=f"VSI{CANARY}", show_code=print
            ),
        ]
        for number, call in enumerate(wrong):
            with pytest.raises(VaultSyncError) as raised:
                call()
            error: BaseException | None = raised.value
            told = pickle.dumps(error).decode("latin-1")
            while error is not None:
                told += "".join(traceback.format_exception_only(error)) + repr(error.args)
                error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
            assert CANARY not in told, f"call {number}"

"""``invite`` and ``join --invitation``: one side is a command, the other one the library in another thread."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vaultsync as vs
from tests.cli.conftest import WEAK, Shell
from vaultsync.presets.passwords import passwords


@pytest.fixture
def shared(vault: Shell) -> Shell:
    vault("connect", "ann.vault", "shared")
    return vault


class Phone(threading.Thread):
    def __init__(self, invitation: str) -> None:
        super().__init__(daemon=True)
        self.invitation, self.codes, self.error = invitation, [], None
        self.start()

    def run(self) -> None:
        try:
            vs.Vault.join(
                "phone.vault", invitation=self.invitation, schema=passwords(), password="pw", device="Phone",
                show_code=self.codes.append, timeout=20, background=False, environment=WEAK,
            ).close()  # fmt: skip
        except BaseException as error:
            self.error = error


@pytest.fixture
def phones(monkeypatch: pytest.MonkeyPatch) -> list[Phone]:
    """Scans every invitation that is made."""
    real, made = vs.Vault.invite, []

    def invite(self: vs.Vault, **given: Any) -> vs.Pairing:
        pairing = real(self, **given)
        made.append(Phone(pairing.invitation))
        return pairing

    monkeypatch.setattr(vs.Vault, "invite", invite)
    return made


@pytest.fixture
def sponsor(shared: Shell) -> Iterator[vs.Pairing]:
    """Approves whoever asks."""
    vault = vs.Vault.open("ann.vault", schema=passwords(), password="pw", background=False, environment=replace(WEAK))
    pairing, over = vault.invite(), threading.Event()

    def run() -> None:
        while not over.is_set():
            if pairing.poll() is vs.PairingStage.COMPARING:
                pairing.approve()
            time.sleep(0.01)

    thread = threading.Thread(target=run)
    thread.start()
    yield pairing
    over.set()
    thread.join()
    vault.close()


def mailbox() -> list[Path]:
    return [path for path in Path("shared").rglob("mailbox/**/*") if path.is_file()]


def test_invite_shows_name_and_digits_and_lets_in(shared: Shell, phones: list[Phone]) -> None:
    shared.typed = ["y"]
    shared.env["VAULTSYNC_PASSWORD"] = "pw"
    out = shared("invite", "ann.vault", "--svg", "code.svg").stdout
    (phone,) = phones
    phone.join(20)
    assert phone.error is None
    (code,) = phone.codes
    assert f"{code[:3]} {code[3:]}" in out
    assert f"--invitation {phone.invitation}" in out
    assert "has everything now" in out
    assert Path("code.svg").read_text().startswith("<svg")
    assert os.name == "nt" or Path("code.svg").stat().st_mode & 0o077 == 0
    assert len(shared.json("devices", "ann.vault")) == 2
    assert mailbox() == []


def test_saying_no_lets_nobody_in(shared: Shell, phones: list[Phone]) -> None:
    shared.typed = ["n"]
    assert "not let in" in shared("invite", "ann.vault", status=1).stdout
    phones[0].join(20)
    assert isinstance(phones[0].error, vs.PairingFailed)
    assert not Path("phone.vault").exists()
    assert len(shared.json("devices", "ann.vault")) == 1
    assert mailbox() == []


def test_invite_needs_somebody_to_ask(shared: Shell) -> None:
    assert "no terminal" in shared.fails("invite", "ann.vault")


@pytest.mark.parametrize("way", ["text", "file", "asked"])
def test_join_shows_the_digits(shared: Shell, sponsor: vs.Pairing, way: str) -> None:
    given = {"text": sponsor.invitation, "file": "@invitation.txt", "asked": "-"}[way]
    Path("invitation.txt").write_text(sponsor.invitation.lower() + "\n")
    shared.typed = [sponsor.invitation, "y"] if way == "asked" else []
    out = shared("join", "phone.vault", "--invitation", given, "--device", "Phone").stdout
    code = sponsor.code or ""
    assert f"{code[:3]} {code[3:]}" in out
    assert {one["name"] for one in shared.json("devices", "phone.vault")} == {"Laptop", "Phone"}


def test_join_by_invitation_where_the_folder_is_elsewhere(shared: Shell, sponsor: vs.Pairing) -> None:
    os.symlink("shared", "mine")
    found = shared.json("join", "phone.vault", "mine", "--invitation", sponsor.invitation)
    assert found["remote"].endswith("/mine")


def test_what_join_refuses(shared: Shell) -> None:
    assert "begins with VSI" in shared.fails("join", "phone.vault", "--invitation", "hello")
    shared.fails("join", "phone.vault", "--invitation", "hello", "--code-file", "x", status=2)
    assert "ADDRESS is missing" in shared.fails("join", "phone.vault", status=2)
    assert not Path("phone.vault").exists()

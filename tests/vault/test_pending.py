"""Requests to be let in, as an application sees them that only looks now and then; and a sponsor that dies."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.vault.test_pairing import PATIENCE, SCHEMA, Phone, laptop, mailbox
from vaultsync.errors import PairingFailed, UsageError
from vaultsync.testing import Clock, MemoryRemote, environment
from vaultsync.testing.vaults import KEY
from vaultsync.vault.membership.pairing import Pairing, Stage
from vaultsync.vault.vault import Vault


def request(vault: Vault) -> Pairing:
    end = time.monotonic() + PATIENCE
    while not (found := vault.pending):
        assert time.monotonic() < end, "nobody asks"
        time.sleep(0.005)
    (one,) = found
    return one


def settled(vault: Vault, remote: MemoryRemote) -> None:
    end = time.monotonic() + PATIENCE
    while mailbox(remote):
        assert time.monotonic() < end, "the mailbox is never cleared"
        assert vault.pending == ()
        time.sleep(0.005)


def founded(folder: Path, remote: MemoryRemote, clock: Clock) -> Vault:
    vault = Vault.create(folder / "ann.vault", schema=SCHEMA, key=KEY, environment=environment("pending", clock=clock))
    vault.auto_sync = False
    vault.connect("memory://", remote=remote)
    vault.add("note", title="first")
    return vault


def reopened(folder: Path, remote: MemoryRemote, clock: Clock, run: int) -> Vault:
    return Vault.open(
        folder / "ann.vault", schema=SCHEMA, key=KEY, environment=environment(f"run {run}", clock=clock),
        opener=lambda url: remote, background=False,
    )  # fmt: skip


def test_an_application_looks_and_approves(tmp_path: Path) -> None:
    remote = MemoryRemote()
    with laptop(remote) as vault:
        assert vault.pending == ()
        phone = Phone(tmp_path, remote, vault.invite().invitation)
        one = request(vault)
        assert (one.device, len(one.code or "")) == ("Phone", 6)
        vault.approve(one)
        with phone.done() as joined:
            assert [entry["title"] for entry in joined.view()] == ["first"]
            settled(vault, remote)
            with pytest.raises(UsageError, match="over"):
                vault.approve(one)


def test_an_application_looks_and_refuses(tmp_path: Path) -> None:
    remote = MemoryRemote()
    with laptop(remote) as vault:
        phone = Phone(tmp_path, remote, vault.invite().invitation)
        vault.refuse(request(vault))
        with pytest.raises(PairingFailed):
            phone.done()
        assert len(vault.devices) == 1


@pytest.mark.parametrize("at", ["waiting", "comparing", "answered"])
def test_a_sponsor_that_was_closed_goes_on_where_it_was(at: str, tmp_path: Path) -> None:
    """The letters that are there are the ones it goes on with: the digits stay what they were."""
    remote, clock = MemoryRemote(), Clock()
    (mine := tmp_path / "phone").mkdir()
    vault = founded(tmp_path, remote, clock)
    pairing = vault.invite()
    text, code = pairing.invitation, None
    phone = Phone(mine, remote, text)
    if at != "waiting":
        code = request(vault).code
    if at == "answered":
        vault.approve(pairing)
    vault.close()
    with reopened(tmp_path, remote, clock, 1) as again:
        if at != "answered":
            one = request(again)
            assert one.invitation == text
            assert code in (None, one.code)
            again.approve(one)
        with phone.done() as joined:
            assert code is None or phone.codes == [code]
            assert len(joined.devices) == len(again.devices) == 2
            settled(again, remote)
    with reopened(tmp_path, remote, clock, 2) as later:
        assert later.pending == ()
        assert later._ledger.states("pairing/") == {}


def test_approved_and_killed_before_it_was_sent_is_approved_once_more_without_a_second_member(tmp_path: Path) -> None:
    remote, clock = MemoryRemote(), Clock()
    (mine := tmp_path / "phone").mkdir()
    vault = founded(tmp_path, remote, clock)
    phone = Phone(mine, remote, vault.invite().invitation)
    one = request(vault)
    one._approved_ms = clock()
    one._save()
    one._add(one._inviter.claim)  # stored; and then the process dies
    vault.close()
    with reopened(tmp_path, remote, clock, 1) as again:
        again.approve(request(again))
        with phone.done():
            assert len(again.devices) == 2


def test_an_invitation_that_ended_while_the_vault_was_closed_is_swept_away(tmp_path: Path) -> None:
    remote, clock = MemoryRemote(), Clock()
    (mine := tmp_path / "phone").mkdir()
    vault = founded(tmp_path, remote, clock)
    phone = Phone(mine, remote, vault.invite(valid_minutes=1).invitation, timeout=8.0)
    request(vault)
    vault.close()
    assert mailbox(remote)
    clock.advance(120_000)
    with reopened(tmp_path, remote, clock, 1) as again:
        assert again.pending == ()
        with pytest.raises(PairingFailed):
            phone.done()
        assert again._ledger.states("pairing/") == {}
        assert mailbox(remote) == []


def test_withdrawn_after_reopening(tmp_path: Path) -> None:
    remote, clock = MemoryRemote(), Clock()
    (mine := tmp_path / "phone").mkdir()
    vault = founded(tmp_path, remote, clock)
    phone = Phone(mine, remote, vault.invite().invitation)
    request(vault)
    vault.close()
    with reopened(tmp_path, remote, clock, 1) as again:
        again.refuse(request(again))
        with pytest.raises(PairingFailed):
            phone.done()
        assert len(again.devices) == 1


def test_two_processes_do_not_go_on_with_the_same_invitation(tmp_path: Path) -> None:
    remote, clock = MemoryRemote(), Clock()
    (mine := tmp_path / "phone").mkdir()
    with founded(tmp_path, remote, clock) as vault, reopened(tmp_path, remote, clock, 1) as other:
        phone = Phone(mine, remote, vault.invite().invitation)
        assert other.pending == ()
        one = request(vault)
        assert other.pending == ()
        vault.approve(one)
        phone.done().close()
        settled(vault, remote)


def test_the_stage_is_what_it_was(tmp_path: Path) -> None:
    remote, clock = MemoryRemote(), Clock()
    vault = founded(tmp_path, remote, clock)
    assert vault.invite().stage is Stage.WAITING
    vault.close()
    with reopened(tmp_path, remote, clock, 1) as again:
        assert again.pending == ()
        assert [one.stage for one in again._works.pairings._running] == [Stage.WAITING]

"""Letting a device in by invitation, over a folder and in memory: what a person is told, and what may go wrong."""

from __future__ import annotations

import builtins
import hashlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vaultsync.errors import (
    ExtraMissing,
    NotArrived,
    NotConnected,
    PairingFailed,
    RemoteUnavailable,
    SchemaError,
    UsageError,
    VaultExists,
    WrongInvitation,
)
from vaultsync.remote import FolderRemote, Remote
from vaultsync.schema.kinds import text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.sync import names
from vaultsync.sync.report import FindingKind
from vaultsync.testing import FaultyRemote, MemoryRemote, MemoryVault, environment, memory_vault
from vaultsync.testing.remotes import Faults
from vaultsync.testing.vaults import KEY
from vaultsync.vault.membership.pairing import Pairing, Stage
from vaultsync.vault.vault import Vault

SCHEMA = Schema("notes", version=1, platform="linux", types=[EntryType("note", fields=[Field("title", text)])])
OTHER = Schema("other", version=1, platform="linux", types=[EntryType("note", fields=[Field("title", text)])])
SEEDS = iter(range(10**6))
PATIENCE = 20.0
"""Seconds after which a test that hangs fails."""


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote()


@contextmanager
def laptop(remote: Remote) -> Iterator[MemoryVault]:
    with memory_vault(SCHEMA, remote=remote, device="Laptop") as vault:
        vault.add("note", title="first")
        yield vault


class Phone:
    """A device that joins in a thread of its own."""

    def __init__(self, folder: Path, remote: Remote, invitation: str, **more: Any) -> None:
        self.codes: list[str] = []
        self.vault: Vault | None = None
        self.error: BaseException | None = None
        self._given = {"timeout": PATIENCE, "schema": SCHEMA, "show_code": self.codes.append} | more
        self._folder, self._remote, self._invitation = folder, remote, invitation
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.vault = Vault.join(
                self._folder / "phone.vault",
                invitation=self._invitation,
                key=KEY,
                device="Phone",
                environment=replace(environment(f"phone {next(SEEDS)}"), monotonic=time.monotonic),
                opener=lambda url: self._remote,
                background=False,
                **self._given,
            )
        except BaseException as error:
            self.error = error

    def done(self) -> Vault:
        self._thread.join(PATIENCE)
        if self.error is not None:
            raise self.error
        assert self.vault is not None, "still waiting"
        return self.vault


def until(pairing: Pairing, *stages: Stage, look: Callable[[], object] = lambda: None) -> Stage:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            stage = pairing.poll()
        except RemoteUnavailable:
            continue
        if stage in stages:
            return stage
        look()
        time.sleep(0.005)
    raise AssertionError(f"still {pairing.stage}")


def approve(pairing: Pairing) -> None:
    """As a person does: again, until it worked."""
    for _ in range(200):
        try:
            pairing.approve()
        except RemoteUnavailable:
            continue
        return
    raise AssertionError("the remote never answered")


def mailbox(remote: Remote) -> list[str]:
    return remote.list("mailbox")


def nothing_left(folder: Path) -> bool:
    return os.listdir(folder) == []


def paired(vault: Vault, folder: Path, remote: Remote, **more: Any) -> tuple[Vault, Phone, Pairing]:
    pairing = vault.invite()
    phone = Phone(folder, remote, pairing.invitation, **more)
    until(pairing, Stage.COMPARING)
    approve(pairing)
    joined = phone.done()
    until(pairing, Stage.DONE)
    return joined, phone, pairing


# ---- when all goes well -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_device_is_let_in_and_has_everything(kind: str, tmp_path: Path) -> None:
    remote = MemoryRemote() if kind == "memory" else FolderRemote(tmp_path / "shared", create=True)
    (mine := tmp_path / "phone").mkdir()
    with laptop(remote) as vault:
        assert mailbox(remote) == []
        pairing = vault.invite()
        assert (pairing.stage, pairing.code, pairing.device) == (Stage.WAITING, None, "")
        phone = Phone(mine, remote, pairing.invitation)
        until(pairing, Stage.COMPARING)
        assert pairing.device == "Phone"
        assert not pairing.contested
        late = vault.add("note", title="written while the codes were compared")
        pairing.approve()
        assert len(vault.devices) == 2  # at once, not with the next sync
        with phone.done() as joined:
            assert phone.codes == [pairing.code]
            assert len(pairing.code or "") == 6
            assert joined.view()[late.id]["title"] == "written while the codes were compared"
            assert {device.name for device in joined.devices} == {"Laptop", "Phone"}
            assert until(pairing, Stage.DONE) is Stage.DONE
            assert pairing.poll() is Stage.DONE
            assert mailbox(remote) == []
            joined.add("note", title="from the phone")
            joined.sync()
            vault.sync()
            assert {entry["title"] for entry in vault.view()} >= {"from the phone", "first"}
            vault.delete(late)
            vault.sync()
            joined.sync()
            assert late.id not in {entry.id for entry in joined.view()}
    with Vault.open(mine / "phone.vault", schema=SCHEMA, key=KEY, background=False, environment=environment(9),
                    opener=lambda url: remote) as again:  # fmt: skip
        assert len(again.view()) == 2


def test_the_newcomer_can_invite_and_let_in_by_code(remote: MemoryRemote, tmp_path: Path) -> None:
    """It has the account slot and the keys of the list of devices like any other."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with laptop(remote) as vault:
        joined, _, _ = paired(vault, tmp_path / "one", remote)
        with joined:
            further, _, _ = paired(joined, tmp_path / "two", remote)
            with further:
                vault.sync()
                assert len(vault.devices) == len(further.devices) == 3
                assert [entry["title"] for entry in further.view()] == ["first"]


def test_it_returns_only_when_it_has_reached_the_sponsors_frontier(remote: MemoryRemote, tmp_path: Path) -> None:
    """Whatever the sponsor sent is there, though the remote shows the last of it late."""
    late = Late(remote)
    with laptop(remote) as vault:
        pairing = vault.invite()
        phone = Phone(tmp_path, late, pairing.invitation)
        until(pairing, Stage.COMPARING)
        entry = vault.add("note", title="last")
        vault.sync()
        late.hidden = frozenset(name for name in remote.objects if "/env/" in name)
        pairing.approve()
        time.sleep(0.6)
        assert phone.vault is None
        assert pairing.poll() is Stage.ANSWERED
        late.hidden = frozenset()
        with phone.done() as joined:
            assert entry.id in {one.id for one in joined.view()}


class Late:
    """Does not show some objects yet."""

    def __init__(self, inner: MemoryRemote) -> None:
        self.inner = inner
        self.hidden: frozenset[str] = frozenset()

    def list(self, prefix: str) -> builtins.list[str]:
        return [name for name in self.inner.list(prefix) if name not in self.hidden]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize("orderly", [True, False])
def test_what_never_arrives_is_not_called_up_to_date(
    remote: MemoryRemote, tmp_path: Path, orderly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said what is missing from whom: withheld by a remote that shows all it has, else not arrived yet."""
    monkeypatch.setattr("vaultsync.vault.membership.arriving._PATIENCE", 1.0)
    late = Late(remote)
    late.orderly = orderly
    with laptop(remote) as vault:
        pairing = vault.invite()
        phone = Phone(tmp_path, late, pairing.invitation, timeout=2.0)
        until(pairing, Stage.COMPARING)
        vault.sync()
        late.hidden = frozenset(name for name in remote.objects if "/env/" in name)
        pairing.approve()
        kind = FindingKind.WITHHELD if orderly else FindingKind.NOT_ARRIVED
        for again in (False, True):
            with pytest.raises(NotArrived, match=r"everything.*edit 1 ") as told:
                opened(tmp_path, late, 1) if again else phone.done()
            (finding,) = told.value.findings
            assert (finding.kind, finding.seq, finding.teller) == (kind, 1, "the device that let this one in")
            assert again or "open it when the remote answers" in str(told.value)
        assert [(device.name == "Laptop" or not device.arrived) for device in vault.devices] == [True, True]
        late.hidden = frozenset()
        with opened(tmp_path, late, 2) as joined:
            assert [finding.kind for finding in joined.findings] == [kind]
            assert joined.findings[0].ended_ms is not None
            # it is let in already: it goes on, and nobody is added twice
            assert [entry["title"] for entry in joined.view()] == ["first"]
            joined.add("note", title="from the phone")
            joined.sync()
            vault.sync()
            assert len(vault.devices) == len(joined.devices) == 2
            assert all(device.arrived for device in (*vault.devices, *joined.devices))
            assert {entry["title"] for entry in vault.view()} == {"first", "from the phone"}
        opened(tmp_path, late, 3).close()


def opened(folder: Path, remote: Any, run: int) -> Vault:
    return Vault.open(
        folder / "phone.vault", schema=SCHEMA, key=KEY, environment=environment(f"opened {run}"),
        opener=lambda url: remote, background=False,
    )  # fmt: skip


# ---- when somebody says no, or nothing ----------------------------------------------------------------------------
def test_refused(remote: MemoryRemote, tmp_path: Path) -> None:
    with laptop(remote) as vault:
        pairing = vault.invite()
        phone = Phone(tmp_path, remote, pairing.invitation)
        until(pairing, Stage.COMPARING)
        pairing.refuse()
        with pytest.raises(PairingFailed):
            phone.done()
        assert pairing.poll() is Stage.FAILED
        assert pairing.code is None
        assert len(vault.devices) == 1
        with pytest.raises(UsageError):
            pairing.approve()
    assert nothing_left(tmp_path)
    assert mailbox(remote) == []


def test_the_newcomers_person_says_that_the_codes_differ(remote: MemoryRemote, tmp_path: Path) -> None:
    with laptop(remote) as vault, vault.invite() as pairing:
        phone = Phone(tmp_path, remote, pairing.invitation, show_code=lambda code: False)
        for _ in range(1000):
            pairing.poll()
            if phone.error is not None:
                break
            time.sleep(0.005)
        with pytest.raises(PairingFailed, match="different codes"):
            phone.done()
        assert len(vault.devices) == 1
    assert nothing_left(tmp_path)


def test_expired_by_the_sponsors_clock(remote: MemoryRemote, tmp_path: Path) -> None:
    now = [1_790_000_000_000]
    world = replace(environment("late"), now_ms=lambda: now[0])
    with memory_vault(SCHEMA, remote=remote, environment=world) as vault:
        pairing = vault.invite(valid_minutes=5)
        assert pairing.expires_ms == now[0] + 300_000
        phone = Phone(tmp_path, remote, pairing.invitation)
        until(pairing, Stage.COMPARING)
        now[0] += 300_000
        with pytest.raises(WrongInvitation):
            pairing.approve()
        until(pairing, Stage.FAILED)
        assert "too old" in pairing.reason
        with pytest.raises(PairingFailed):
            phone.done()
        assert len(vault.devices) == 1
        for wrong in (0, -1, 1441):
            with pytest.raises(UsageError):
                vault.invite(valid_minutes=wrong)
    assert nothing_left(tmp_path)
    assert mailbox(remote) == []


def test_nobody_answers(remote: MemoryRemote, tmp_path: Path) -> None:
    with laptop(remote) as vault:
        text = vault.invite().invitation
        with pytest.raises(WrongInvitation, match="nobody answers"):
            Phone(tmp_path, remote, text, timeout=0.3).done()
        remote.present = False
        with pytest.raises(RemoteUnavailable):
            Phone(tmp_path, remote, text, timeout=0.3).done()
        remote.present = True
    assert nothing_left(tmp_path)
    assert mailbox(remote) == []


def test_not_approved_in_time(remote: MemoryRemote, tmp_path: Path) -> None:
    with laptop(remote) as vault:
        pairing = vault.invite()
        phone = Phone(tmp_path, remote, pairing.invitation, timeout=1.5)
        until(pairing, Stage.COMPARING)
        with pytest.raises(PairingFailed, match="in time"):
            phone.done()
    assert nothing_left(tmp_path)


def test_an_invitation_works_once(remote: MemoryRemote, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    with laptop(remote) as vault:
        pairing = vault.invite()
        first = Phone(tmp_path / "one", remote, pairing.invitation)
        until(pairing, Stage.COMPARING)
        second = Phone(tmp_path / "two", remote, pairing.invitation)  # while the first is being compared
        with pytest.raises(PairingFailed):
            second.done()
        pairing.approve()
        with first.done():
            until(pairing, Stage.DONE)
            with pytest.raises(WrongInvitation):  # when all is over
                Phone(tmp_path / "three", remote, pairing.invitation, timeout=0.5).done()
            assert len(vault.devices) == 2
    assert nothing_left(tmp_path / "two")
    assert nothing_left(tmp_path / "three")


def test_two_at_once_are_noticed(remote: MemoryRemote, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with laptop(remote) as vault:
        pairing = vault.invite()
        phones = [Phone(tmp_path / name, remote, pairing.invitation) for name in ("one", "two")]
        while len(mailbox(remote)) < 2:
            time.sleep(0.005)
        until(pairing, Stage.COMPARING)
        assert pairing.contested
        pairing.approve()
        ends = [phone for phone in phones if not isinstance(error_of(phone), PairingFailed)]
        assert len(ends) == 1
        assert len(vault.devices) == 2
        ends[0].done().close()


def error_of(phone: Phone) -> BaseException | None:
    try:
        phone.done()
    except PairingFailed as error:
        return error
    return None


# ---- remotes that lose, repeat and reorder ------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_a_bad_remote_only_delays(seed: int, remote: MemoryRemote, tmp_path: Path) -> None:
    bad = FaultyRemote(remote, seed, Faults.all(0.1))
    with laptop(remote) as vault:
        joined, phone, pairing = paired(vault, tmp_path, bad)
        with joined:
            assert phone.codes == [pairing.code]
            assert [entry["title"] for entry in joined.view()] == ["first"]
    assert mailbox(remote) == []


def test_letters_that_get_lost_are_put_again(remote: MemoryRemote, tmp_path: Path) -> None:
    """Each letter is removed once, right after it was put."""
    chance, lost = random.Random(5), set()

    def lose() -> None:
        for name in mailbox(remote):
            if name not in lost and chance.random() < 0.7:
                lost.add(name)
                remote.delete(name)

    with laptop(remote) as vault:
        pairing = vault.invite()
        phone = Phone(tmp_path, remote, pairing.invitation)
        until(pairing, Stage.COMPARING, look=lose)
        lose()
        pairing.approve()
        lose()
        until(pairing, Stage.DONE, look=lose)
        phone.done().close()
    assert len(lost) >= 2


def test_garbage_and_copies_in_the_mailbox_change_nothing(remote: MemoryRemote, tmp_path: Path) -> None:
    with laptop(remote) as vault:
        pairing = vault.invite()
        id = pairing._inviter.invitation.mailbox
        for number in range(1, 6):
            for data in (b"", b"VSP1" + bytes((number,)) + bytes(200), b"VSP2" + bytes(200)):
                remote.put(names.letter_name(id, number, os.urandom(32)), data)  # not what the name says
        remote.put(names.letter_name(id, 1, hashlib.sha256(b"noise").digest()), b"noise")
        remote.put(names.mailbox_prefix(id) + "readme", b"?")
        phone = Phone(tmp_path, remote, pairing.invitation)
        until(pairing, Stage.COMPARING)
        pairing.approve()
        phone.done().close()
        until(pairing, Stage.DONE)
    assert mailbox(remote) == []


def test_approving_again_after_the_remote_was_away(remote: MemoryRemote, tmp_path: Path) -> None:
    with laptop(remote) as vault:
        pairing = vault.invite()
        phone = Phone(tmp_path, remote, pairing.invitation)
        until(pairing, Stage.COMPARING)
        remote.present = False
        with pytest.raises(RemoteUnavailable):
            pairing.approve()
        assert pairing.stage is Stage.COMPARING
        remote.present = True
        pairing.approve()
        phone.done().close()
        assert len(vault.devices) == 2
        with pytest.raises(UsageError):
            pairing.approve()
        with pytest.raises(UsageError):
            pairing.refuse()


# ---- who looks on -------------------------------------------------------------------------------------------------
def test_an_eavesdropper_without_the_invitation_reads_nothing(remote: MemoryRemote, tmp_path: Path) -> None:
    seen: dict[str, bytes] = {}
    with laptop(remote) as vault:
        pairing = vault.invite()
        phone = Phone(tmp_path, remote, pairing.invitation)

        def look() -> None:
            seen.update({name: remote.objects[name] for name in list(remote.objects)})

        until(pairing, Stage.COMPARING, look=look)
        look()
        pairing.approve()
        look()
        identity = vault._works.identity
        with phone.done() as joined:
            look()
            until(pairing, Stage.DONE)
            secret = [b"Phone", b"Laptop", b"first", KEY, identity.roster_key, identity.keys.to_bytes()]
            secret += [joined._works.identity.keys.to_bytes(), pairing._inviter.invitation.key]
            secret += [key.key for key in identity.epoch_keys().values()]
            secret += [member.public.to_bytes()[:32] for member in identity.roster.members.values()]
    letters = {names.parse_letter(name).number for name in seen if name.startswith("mailbox/")}
    assert letters >= {1, 2, 3, 4}
    assert all(part not in data for part in secret for data in seen.values())
    assert all((pairing.code or "").encode() not in name.encode() for name in seen)


def test_the_invitation_shows_only_where_it_is_meant_to(remote: MemoryRemote) -> None:
    with laptop(remote) as vault:
        pairing = vault.invite()
        assert pairing.invitation[8:30] not in repr(pairing) + repr(vars(pairing))
        assert pairing.svg().startswith("<svg")
        assert "\n" in pairing.terminal()
        assert pairing.svg() != vault.invite().svg()


def test_without_the_extra_the_text_is_still_there(remote: MemoryRemote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    with laptop(remote) as vault:
        pairing = vault.invite()
        assert pairing.invitation.startswith("VSI")
        with pytest.raises(ExtraMissing, match=r"pip install 'vaultsync\[qr\]'"):
            pairing.svg()


# ---- what is wrong is said by name --------------------------------------------------------------------------------
def test_wrong_texts(remote: MemoryRemote, tmp_path: Path) -> None:
    with laptop(remote) as vault:
        good = vault.invite().invitation
        for wrong in ("", "hello", good[:-1], good[:20] + ("2" if good[20] != "2" else "3") + good[21:]):
            with pytest.raises(WrongInvitation):
                Phone(tmp_path, remote, wrong).done()
    assert nothing_left(tmp_path)
    assert mailbox(remote) == []


def test_wrong_arguments(remote: MemoryRemote, tmp_path: Path) -> None:
    with laptop(remote) as vault:
        good = vault.invite().invitation
        with pytest.raises(UsageError, match="show_code"):
            Phone(tmp_path, remote, good, show_code=None).done()
        with pytest.raises(UsageError, match="recovery code"):
            Phone(tmp_path, remote, good, code=vault.recovery_code).done()
        with pytest.raises(UsageError, match="address"):
            Vault.join(tmp_path / "x.vault", schema=SCHEMA, password="pw")
        (tmp_path / "phone.vault").write_bytes(b"mine")
        with pytest.raises(VaultExists):
            Phone(tmp_path, remote, good).done()
        assert (tmp_path / "phone.vault").read_bytes() == b"mine"
    with memory_vault(SCHEMA) as alone, pytest.raises(NotConnected):
        alone.invite()


def test_the_schema_of_another_application_leaves_the_file_of_a_device_that_is_let_in(
    remote: MemoryRemote, tmp_path: Path
) -> None:
    """It is a member already. Its own application goes on with the file; or the person sees that it never arrived."""
    with laptop(remote) as vault:
        pairing = vault.invite()
        phone = Phone(tmp_path, remote, pairing.invitation, schema=OTHER)
        until(pairing, Stage.COMPARING)
        pairing.approve()
        with pytest.raises(SchemaError, match="open it with that application, or remove the device"):
            phone.done()
        vault.sync()
        assert [device.arrived for device in vault.devices] == [True, False]
        with opened(tmp_path, remote, 1) as joined:
            assert [entry["title"] for entry in joined.view()] == ["first"]
            joined.sync()
        vault.sync()
        assert [device.arrived for device in vault.devices] == [True, True]

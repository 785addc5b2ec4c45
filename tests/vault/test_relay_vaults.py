"""Vaults that sync through a relay: made, connected, joined, paired, edited on all sides, told of news at once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vaultsync as vs

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("starlette", reason="the extra [relay] is not installed")
pytest.importorskip("uvicorn", reason="the extra [relay] is not installed")

from tests.postgres import server
from tests.vault.relays import create, join, pair, running, until
from vaultsync.vault.membership import access
from vaultsync.vault.membership.access import DeviceSigner


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with running(str(tmp_path_factory.mktemp("relay") / "relay.db")) as server:
        yield [server.address]


@pytest.fixture(scope="module")
def postgres() -> Iterator[list[str]]:
    """Two relay processes' worth on one PostgreSQL: devices talk to different ones."""
    with server() as database, running(database.get_uri()) as one, running(database.get_uri()) as two:
        yield [one.address, two.address]


@pytest.fixture(params=["sqlite", "postgres"])
def urls(request: pytest.FixtureRequest) -> Iterator[str]:
    return itertools.cycle(request.getfixturevalue(request.param))


def stored_list(vault: vs.Vault) -> Any:
    return access._load(vault._ledger)


def test_a_vault_on_a_relay(urls: Iterator[str], tmp_path: Path) -> None:
    """Made offline, connected, joined by code, paired by invitation, edited everywhere; news arrive by themselves."""
    with create(tmp_path) as laptop:
        entry = laptop.add("login", title="GitHub", password="canary")
        laptop.connect(next(urls))
        laptop.sync()
        with join(tmp_path, next(urls), laptop.recovery_code) as phone:
            assert phone.view()[entry.id]["title"] == "GitHub"
            with pair(tmp_path, laptop, url=(next(urls),)) as tablet:
                assert tablet.view()[entry.id]["title"] == "GitHub"
                until(lambda: len(laptop.devices) == len(phone.devices) == 3)
                vaults = (laptop, phone, tablet)
                until(lambda: all(vault.status.state is vs.State.UP_TO_DATE for vault in vaults))
                for number, writer in enumerate(vaults):
                    title = f"title {number}"
                    writer.update(entry.id, title=title)
                    until(lambda title=title: all(v.view()[entry.id]["title"] == title for v in vaults))  # type: ignore[misc]
                for vault in vaults:
                    assert not vault.status.message
                    assert vault.sync().findings == ()


def test_news_come_within_a_second(sqlite: list[str], tmp_path: Path) -> None:
    with create(tmp_path) as laptop:
        laptop.connect(sqlite[0])
        entry = laptop.add("login", title="first")
        laptop.sync()
        with join(tmp_path, sqlite[0], laptop.recovery_code) as phone:
            until(lambda: entry.id in {one.id for one in phone.view().entries})
            time.sleep(0.5)
            took = []
            for number in range(5):
                laptop.update(entry.id, title=f"n {number}")
                took.append(until(lambda n=number: phone.view()[entry.id]["title"] == f"n {n}"))  # type: ignore[misc]
            assert sorted(took)[2] < 1.0, took


def test_the_list_reaches_a_relay_from_whichever_device_connects_first(sqlite: list[str], tmp_path: Path) -> None:
    """Devices that met on a folder: by code and by invitation. Each of them can bring the vault to a relay."""
    folder = (tmp_path / "folder").as_uri()
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(folder)
        laptop.sync()
        with join(tmp_path, folder, laptop.recovery_code) as phone, pair(tmp_path, phone) as tablet:
            for vault in (phone, tablet):
                vault.auto_sync = False
            entry = tablet.add("login", title="from the tablet")
            for first in (tablet, phone, laptop):
                first.connect(sqlite[0])
                first.sync()
            assert laptop.view()[entry.id]["title"] == "from the tablet"
            keys = {member.public.access for member in laptop._works.identity.roster.members.values()}
            owner = stored_list(laptop).owner
            assert stored_list(laptop).keys == keys - {owner}


def test_a_device_that_met_the_vault_elsewhere_is_let_in_by_any_member(sqlite: list[str], tmp_path: Path) -> None:
    folder = (tmp_path / "folder").as_uri()
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(folder)
        laptop.sync()
        with pair(tmp_path, laptop) as tablet:
            tablet.auto_sync = False
            with tablet._ledger.write() as transaction:  # as if it knew nothing of the list
                transaction.set_state(access.ACCESS, None)
            with laptop._ledger.write() as transaction:
                transaction.set_state(
                    access.ACCESS, access.Membership.from_json(laptop._ledger.state(access.ACCESS) or b"").to_json()
                )
            with pytest.raises(vs.RemoteRefused):
                tablet.connect(sqlite[0])
            laptop.connect(sqlite[0])
            laptop.sync()
            tablet.connect(sqlite[0])
            assert tablet.sync().findings == ()


def test_a_relay_that_lost_everything_is_filled_again(tmp_path: Path) -> None:
    with create(tmp_path) as laptop:
        with running(str(tmp_path / "one.db")) as server:
            laptop.connect(server.address)
            entry = laptop.add("login", title="kept")
            laptop.sync()
            port = int(server.address.rsplit(":", 1)[1])
        with pytest.raises(vs.RemoteUnavailable):
            laptop.sync()
        with running(str(tmp_path / "two.db"), port=port) as server:
            until(lambda: laptop.sync().sent >= 0 and laptop.status.pending == 0)
            with join(tmp_path, server.address, laptop.recovery_code) as phone:
                assert phone.view()[entry.id]["title"] == "kept"


def test_a_relay_that_went_back_to_an_older_backup_is_filled_up_and_not_hammered(tmp_path: Path) -> None:
    database = tmp_path / "relay.db"
    with create(tmp_path) as laptop:
        with running(str(database)) as server:
            laptop.connect(server.address)
            entry = laptop.add("login", title="before")
            until(lambda: laptop.status.pending == 0)
            port = int(server.address.rsplit(":", 1)[1])
        kept = {path: path.read_bytes() for path in tmp_path.glob("relay.db*")}
        with running(str(database), port=port) as server:
            for number in range(5):
                laptop.update(entry.id, title=f"after {number}")
                laptop.sync()
        for path in tmp_path.glob("relay.db*"):
            path.unlink()
        for path, data in kept.items():
            path.write_bytes(data)
        with running(str(database), port=port) as server:
            laptop.sync()
            time.sleep(0.5)
            requests = server.relay.metrics.requests.total()
            time.sleep(1.0)
            assert server.relay.metrics.requests.total() - requests < 10
            with join(tmp_path, server.address, laptop.recovery_code) as phone:
                until(lambda: phone.view()[entry.id]["title"] == "after 4")


def test_strangers_and_wrong_codes(sqlite: list[str], tmp_path: Path) -> None:
    from vaultsync.crypto.recovery import RecoveryCode

    with create(tmp_path) as laptop:
        laptop.connect(sqlite[0])
        laptop.sync()
        with pytest.raises(vs.WrongCode):
            join(tmp_path, sqlite[0], str(RecoveryCode(bytes(range(16)))))
        assert not (tmp_path / "Phone.vault").exists()


def test_an_invitation_is_good_for_its_mailbox_only(sqlite: list[str], tmp_path: Path) -> None:
    from vaultsync.crypto.invitation import Invitation
    from vaultsync.remote.relay import RelayRemote
    from vaultsync.vault.membership.meeting import meeting_place

    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(sqlite[0])
        laptop.sync()
        with laptop.invite() as pairing:
            place = meeting_place(RelayRemote(sqlite[0]), Invitation.parse(pairing.invitation))
            assert place.list("") == []
            for name in ("account/" + "0" * 32 + "/000001-" + "0" * 32, "a/1"):
                with pytest.raises(vs.RemoteRefused):
                    place.put(name, b"squatting")
            bucket = DeviceSigner(laptop._ledger, laptop._works.identity).bucket
            signer = place._signer  # type: ignore[attr-defined]
            signer.bucket = bucket
            for call in (lambda: place.list(""), place.members):  # type: ignore[attr-defined]
                with pytest.raises(vs.RemoteRefused):
                    call()
            pairing.refuse()
        with pytest.raises(vs.WrongInvitation, match="too old or was used"):
            vs.Vault.join(
                tmp_path / "t.vault",
                invitation=pairing.invitation,
                show_code=print,
                schema=laptop.schema,
                password="x",
                timeout=5.0,
            )


def test_plain_http_to_another_machine_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with create(tmp_path) as laptop:
        for url, warned in (("http://127.0.0.1:1", False), ("http://relay.invalid", True)):
            caplog.clear()
            with pytest.raises(vs.RemoteUnavailable):
                laptop.connect(url)
            assert ("http://" in caplog.text) is warned


def test_a_revoked_device_is_taken_off_the_list(sqlite: list[str], tmp_path: Path) -> None:
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(sqlite[0])
        laptop.sync()
        with join(tmp_path, sqlite[0], laptop.recovery_code) as phone, pair(tmp_path, laptop) as tablet:
            for vault in (laptop, phone, tablet):
                vault.auto_sync = False
                vault.sync()
            key = phone._works.identity.keys.access.public
            assert key in stored_list(laptop).keys
            phone_id = next(device.id for device in phone.devices if device.this)
            made = laptop.revoke(phone_id, password="pw", code=laptop.recovery_code or "")
            assert made.published
            laptop.sync()
            assert key not in stored_list(laptop).keys
            for _ in range(2):  # neither its old list nor anything it signs brings it in again; and it is told why
                with pytest.raises(vs.DeviceRemoved):
                    phone.sync()
            assert phone.status.state is vs.State.REMOVED
            entry = tablet.add("login", title="after")
            tablet.sync()
            laptop.sync()
            assert laptop.view()[entry.id]["title"] == "after"
            tablet.sync()  # having heard of the removal, it asks for the list
            assert key not in stored_list(tablet).keys


def test_joining_with_the_code_of_a_renewed_account(sqlite: list[str], tmp_path: Path) -> None:
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(sqlite[0])
        entry = laptop.add("login", title="kept")
        laptop.sync()
        code = laptop.recovery_code
        for number in (1, 2):
            made = laptop.change_password("pw", "pw", code=code, leaked=True)
            laptop.sync()
            with pytest.raises(vs.VaultSyncError):
                join(tmp_path / "no", sqlite[0], code)
            code = made.recovery_code
            with join(tmp_path, sqlite[0], code, f"Phone {number}") as phone:
                phone.auto_sync = False
                assert phone.view()[entry.id]["title"] == "kept"
                phone.update(entry.id, username=f"phone {number}")
                phone.sync()
            laptop.sync()
            assert laptop.view()[entry.id]["username"] == f"phone {number}"

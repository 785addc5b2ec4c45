"""Whose a vault's bucket on relays is once the recovery identity was replaced: handovers, rivals, removals after."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaultsync as vs

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("starlette", reason="the extra [relay] is not installed")
pytest.importorskip("uvicorn", reason="the extra [relay] is not installed")

from tests.postgres import server
from tests.vault.relays import create, join, pair, running
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.remote.relay import RelayRemote
from vaultsync.remote.signing import Handover, Membership, Signer, bucket_of
from vaultsync.sync.names import roster_prefix
from vaultsync.testing import environment
from vaultsync.vault.membership import access, account
from vaultsync.vault.membership.access import DeviceSigner


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def urls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[str]]:
    """One relay on SQLite, or two on one PostgreSQL, asked by turns."""
    if request.param == "sqlite":
        with running(str(tmp_path_factory.mktemp("relay") / "relay.db")) as one:
            yield itertools.cycle([one.address])
        return
    with server() as database, running(database.get_uri()) as one, running(database.get_uri()) as two:
        yield itertools.cycle([one.address, two.address])


@contextlib.contextmanager
def asking(url: str, signer: Signer) -> Iterator[RelayRemote]:
    remote = RelayRemote(url, signer=signer)
    with contextlib.closing(remote):
        yield remote


def device(vault: vs.Vault) -> DeviceSigner:
    return DeviceSigner(vault._ledger, vault._works.identity)


def holder(vault: vs.Vault) -> bytes:
    """By the roster."""
    return vault._works.identity.roster.recovery.public.access


def stored_list(vault: vs.Vault) -> Membership:
    known = access._load(vault._ledger)
    assert known is not None
    return known


def opened_by(vault: vs.Vault, code: str) -> DeviceKeys:
    """The recovery identity, as somebody gets at it who has password and code."""
    held = vault._works.identity.account
    return account.open_account(None, held, RecoveryCode.parse(code), "pw", environment(0)).contents.recovery


def test_after_a_leak_the_new_code_removes_devices_and_the_old_one_nobody(urls: Iterator[str], tmp_path: Path) -> None:
    """The bucket goes to the new recovery identity; a thief with the old code and password cannot edit the list."""
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(next(urls))
        laptop.sync()
        old_code = laptop.recovery_code or ""
        with join(tmp_path, next(urls), old_code) as phone, pair(tmp_path, laptop, url=(next(urls),)) as tablet:
            for vault in (laptop, phone, tablet):
                vault.auto_sync = False
                vault.sync()
            former = opened_by(laptop, old_code)
            new_code = laptop.change_password("pw", "new", code=old_code, leaked=True).recovery_code or ""
            phone_id = next(device.id for device in phone.devices if device.this)
            phone_key = phone._works.identity.keys.access.public
            assert laptop.revoke(phone_id, password="new", code=new_code).published
            with asking(next(urls), device(laptop)) as remote:
                listed = remote.members()
                assert phone_key not in listed.keys
                assert listed.holder == holder(laptop)
            for _ in range(2):
                with pytest.raises(vs.DeviceRemoved):
                    phone.sync()
            thief = access.RecoverySigner(former, bucket_of(former.access.public))
            for n in (listed.n + 1, 2**53 - 1):
                forged = Membership.edit(former.access.sign, former.access.public, n, [phone_key])
                with (
                    asking(next(urls), thief) as remote,
                    pytest.raises(vs.RemoteRefused, match="not"),
                ):
                    remote.enter(forged)
            entry = tablet.add("login", title="after")
            tablet.sync()
            laptop.sync()
            assert laptop.view()[entry.id]["title"] == "after"


def test_any_device_brings_the_handover_to_another_relay(urls: Iterator[str], tmp_path: Path) -> None:
    """Renewed on a folder; the device that did it is away when another one takes the vault to a relay."""
    folder = (tmp_path / "folder").as_uri()
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(folder)
        laptop.sync()
        old_code = laptop.recovery_code or ""
        with join(tmp_path, folder, old_code) as phone, pair(tmp_path, laptop) as tablet:
            for vault in (phone, tablet):
                vault.auto_sync = False
                vault.sync()
            laptop.sync()
            former = opened_by(laptop, old_code)
            new_code = laptop.change_password("pw", "new", code=old_code, leaked=True).recovery_code or ""
            laptop.sync()
            for vault in (phone, tablet):
                vault.sync()
                vault.connect(next(urls))
                vault.sync()
            assert stored_list(phone).holder == stored_list(tablet).holder == holder(laptop)
            thief = access.RecoverySigner(former, bucket_of(former.access.public))
            forged = Membership.edit(former.access.sign, former.access.public, 99, [])
            with asking(next(urls), thief) as remote, pytest.raises(vs.RemoteRefused):
                remote.enter(forged)
            laptop.connect(next(urls))
            phone_id = next(device.id for device in phone.devices if device.this)
            assert laptop.revoke(phone_id, password="new", code=new_code).published
            with pytest.raises(vs.DeviceRemoved):
                phone.sync()
            tablet.sync()


def test_a_relay_that_lost_its_data_is_told_of_the_handover(tmp_path: Path) -> None:
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        with running(str(tmp_path / "one.db")) as server:
            laptop.connect(server.address)
            laptop.sync()
            laptop.change_password("pw", "new", code=laptop.recovery_code, leaked=True)
            laptop.sync()
            port = int(server.address.rsplit(":", 1)[1])
        with running(str(tmp_path / "two.db"), port=port) as server:
            laptop.sync()
            with asking(server.address, device(laptop)) as remote:
                assert remote.members().holder == holder(laptop)


def test_a_thief_who_hands_over_first_is_told_of(tmp_path: Path) -> None:
    """What is not promised: on this relay the thief's handover stands. The vault says so, and goes on elsewhere."""
    with create(tmp_path) as laptop, running(str(tmp_path / "one.db")) as one, running(str(tmp_path / "two.db")) as two:
        laptop.auto_sync = False
        laptop.connect(one.address)
        laptop.sync()
        old_code = laptop.recovery_code or ""
        former, own = opened_by(laptop, old_code), DeviceKeys(bytes(range(32))).access
        bucket, keys = bucket_of(former.access.public), stored_list(laptop).keys
        signed = former.access.sign("relay-handover", bucket, (1).to_bytes(8, "big"), own.public)
        rival = Membership.edit(own.sign, former.access.public, 0, keys, (Handover(own.public, signed),))
        with asking(one.address, access.RecoverySigner(former, bucket)) as remote, pytest.raises(vs.RemoteRefused):
            remote.enter(rival)  # not by the former owner, whom it leaves without a say
        with asking(one.address, device(laptop)) as remote:
            remote.enter(rival)
        assert stored_list(laptop).holder == former.access.public  # not kept: the roster does not name it
        laptop.change_password("pw", "new", code=old_code, leaked=True)
        with pytest.raises(vs.RemoteRefused, match="connect to another relay"):
            laptop.sync()
        laptop.connect(two.address)
        entry = laptop.add("login", title="elsewhere")
        laptop.sync()
        assert not laptop.status.pending
        with asking(two.address, device(laptop)) as remote:
            assert remote.members().holder == holder(laptop)
        assert laptop.view()[entry.id]["title"] == "elsewhere"


def test_a_device_that_is_shut_out_and_not_removed_is_told_no_more_than_is_known(tmp_path: Path) -> None:
    """By a thief of the code: the list of devices says nothing of a removal, so nothing is said of one."""
    with create(tmp_path) as laptop, running(str(tmp_path / "relay.db")) as relay:
        laptop.auto_sync = False
        laptop.connect(relay.address)
        laptop.sync()
        former = opened_by(laptop, laptop.recovery_code or "")
        bucket = bucket_of(former.access.public)
        with asking(relay.address, access.RecoverySigner(former, bucket)) as remote:
            remote.enter(Membership.edit(former.access.sign, former.access.public, 9, []))
        with pytest.raises(vs.RemoteRefused, match="may have been removed"):
            laptop.sync()
        assert laptop.status.state is vs.State.REFUSED


def test_only_who_was_a_member_reads_the_list_of_devices(tmp_path: Path) -> None:
    with create(tmp_path) as laptop, running(str(tmp_path / "relay.db")) as relay:
        laptop.auto_sync = False
        laptop.connect(relay.address)
        laptop.sync()
        prefix = roster_prefix(laptop._works.identity.vault_id)
        stranger = access.RecoverySigner(DeviceKeys(bytes(range(32))), device(laptop).bucket)
        with asking(relay.address, device(laptop)) as remote:
            names = remote.as_former().list(prefix)
            assert names == remote.list(prefix) != []
            assert [remote.as_former().get(name) for name in names] == [remote.get(name) for name in names]
            with pytest.raises(vs.ObjectMissing):
                remote.as_former().get(prefix + "000001-" + "0" * 64)
        shown = stored_list(laptop)
        for known in (shown, Membership.edit(stranger.sign, stranger.public, 0, [stranger.public])):
            stranger.membership = lambda known=known: known  # type: ignore[method-assign,misc]
            with asking(relay.address, stranger) as remote:
                for call in (lambda: remote.as_former().list(prefix), lambda: remote.as_former().get(names[0])):
                    with pytest.raises(vs.RemoteRefused):
                        call()

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import server
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.errors import ExtraMissing, ObjectMissing, RemoteRefused, RemoteUnavailable, UnsupportedRemote
from vaultsync.remote import Remote, open_remote
from vaultsync.remote.signing import Membership
from vaultsync.testing.contracts import RemoteContract

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("starlette", reason="the extra [relay] is not installed")
pytest.importorskip("uvicorn", reason="the extra [relay] is not installed")

from vaultsync.relay import RelayConfig
from vaultsync.relay.server import RelayServer
from vaultsync.remote.relay import RelayRemote

COUNTER = itertools.count()
PATIENT = {"bucket_rate": 1e6, "address_rate": 1e6}


def keys(*seed: object) -> DeviceKeys:
    return DeviceKeys.from_bytes(hashlib.sha256(repr(seed).encode()).digest())


class Device:
    """A signer: a device of the vault whose recovery identity is ``owner``."""

    def __init__(self, owner: DeviceKeys, own: DeviceKeys, known: Membership | None) -> None:
        self.own, self.known = own, known
        self.bucket = hashlib.sha256(b"vaultsync/v1/relay-bucket\0" + owner.public.sign).digest()
        self.public = own.public.sign

    def sign(self, use: str, *parts: bytes) -> bytes:
        return self.own.sign(use, *parts)

    def membership(self) -> Membership | None:
        return self.known

    def remember(self, membership: Membership) -> None:
        self.known = membership


def founder(seed: object) -> Device:
    """The first device of a vault, with what its recovery identity signed when the vault was made."""
    owner, own = keys(seed, "owner"), keys(seed, "first")
    return Device(owner, own, Membership.edit(owner.sign, owner.public.sign, 0, [own.public.sign]))


@contextlib.contextmanager
def running(config: RelayConfig) -> Iterator[RelayServer]:
    server = RelayServer(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(500):
        if server.started or not thread.is_alive():
            break
        time.sleep(0.01)
    assert server.started
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayServer]:
    path = tmp_path_factory.mktemp("relay") / "relay.db"
    with running(RelayConfig(database=str(path), port=0, **PATIENT)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with server() as started:
        yield started.get_uri()


@pytest.fixture(scope="session")
def pair(postgres: str) -> Iterator[tuple[RelayServer, RelayServer]]:
    """Two relay processes' worth on one PostgreSQL."""
    config = RelayConfig(database=postgres, port=0, **PATIENT)
    with running(config) as one, running(config) as two:
        yield one, two


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultsync.remote.web.PAUSE_SECONDS", 0.02)


class TestRelayOnSqlite(RemoteContract):
    latency = 2.0

    @pytest.fixture(autouse=True)
    def _server(self, relay: RelayServer) -> None:
        self.url = relay.address

    def connect(self, place: Path) -> Remote:
        return open_remote(self.url, create=True, signer=founder(place))


class TestRelayOnPostgres(RemoteContract):
    """Every other connection goes to another process."""

    latency = 2.0

    @pytest.fixture(autouse=True)
    def _server(self, pair: tuple[RelayServer, RelayServer]) -> None:
        self.urls = itertools.cycle([server.address for server in pair])

    def connect(self, place: Path) -> Remote:
        return open_remote(next(self.urls), create=True, signer=founder(place))


@pytest.fixture
def device() -> Device:
    return founder(next(COUNTER))


# ---- who may do what --------------------------------------------------------------------------------------------


def test_a_device_that_joins_finds_its_account_and_enters(relay: RelayServer, device: Device) -> None:
    locator = f"{next(COUNTER):032x}"
    first = RelayRemote(relay.address, signer=device, create=True)
    first.put(f"account/{locator}/000000-{0:032x}", b"slot")
    stranger = open_remote(relay.address, create=True)
    assert stranger.list(f"account/{locator}") == [f"account/{locator}/000000-{0:032x}"]
    assert stranger.get(f"account/{locator}/000000-{0:032x}") == b"slot"
    assert stranger.list(f"account/{'e' * 32}/") == []
    with pytest.raises(ObjectMissing):
        stranger.get(f"account/{'e' * 32}/x")
    for call in (lambda: stranger.put("a/1", b""), lambda: stranger.list(""), lambda: stranger.delete("a/1")):
        with pytest.raises(RemoteRefused, match="join"):
            call()
    # What the slot gives is the recovery identity. It may read the list, and let the new device in.
    assert device.known is not None
    owner = next(seed for seed in [keys(n, "owner") for n in range(1000)] if seed.public.sign == device.known.owner)
    recovery = Device(owner, owner, None)
    known = RelayRemote(relay.address, signer=recovery).members()
    phone = Device(
        owner, keys("phone", locator), known.granting(owner.sign, owner.public.sign, keys("phone", locator).public.sign)
    )
    assert RelayRemote(relay.address, signer=phone).get(f"account/{locator}/000000-{0:032x}") == b"slot"
    assert first.members().keys == {device.public, phone.public}


def test_members_let_in_and_the_owner_sorts_out(relay: RelayServer) -> None:
    seed = next(COUNTER)
    first, owner = founder(seed), keys(seed, "owner")
    remote = RelayRemote(relay.address, signer=first, create=True)
    thief_keys, other_keys = keys(seed, "thief"), keys(seed, "other")
    assert first.known is not None
    stranger = RelayRemote(relay.address, signer=Device(owner, thief_keys, None))
    with pytest.raises(RemoteRefused, match="does not know"):
        stranger.list("")
    remote.enter(first.known.granting(first.sign, first.public, thief_keys.public.sign))
    thief = RelayRemote(relay.address, signer=Device(owner, thief_keys, None))
    thief.put("a/1", b"data")
    own_list = thief.members()
    with pytest.raises(RemoteRefused):  # a member cannot edit
        thief.enter(Membership.edit(thief_keys.sign, first.known.owner, 5, [thief_keys.public.sign]))
    edited = Membership.edit(owner.sign, owner.public.sign, own_list.n + 1, [first.public])
    remote.enter(edited)
    for call in (lambda: thief.list(""), lambda: thief.put("a/2", b""), lambda: thief.get("a/1")):
        with pytest.raises(RemoteRefused):
            call()
    # Nothing the thief signed or kept brings anybody in: not the old list, not a new grant.
    accomplice = RelayRemote(
        relay.address,
        signer=Device(
            owner, other_keys, own_list.granting(thief_keys.sign, thief_keys.public.sign, other_keys.public.sign)
        ),
    )
    with pytest.raises(RemoteRefused):
        accomplice.list("")
    forged = edited.granting(thief_keys.sign, thief_keys.public.sign, other_keys.public.sign)
    with pytest.raises(RemoteRefused):
        RelayRemote(relay.address, signer=Device(owner, other_keys, forged)).list("")
    assert remote.members() == edited
    # Two edits of one number: the second is told to read first.
    with pytest.raises(RemoteRefused, match="read it again"):
        remote.enter(Membership.edit(owner.sign, owner.public.sign, edited.n, [first.public, other_keys.public.sign]))


def test_nobody_begins_anothers_bucket(relay: RelayServer) -> None:
    seed = next(COUNTER)
    owner, squatter = keys(seed, "owner"), keys(seed, "squatter")
    claims = [
        Membership.edit(squatter.sign, squatter.public.sign, 0, [squatter.public.sign]),
        Membership.edit(squatter.sign, owner.public.sign, 0, [squatter.public.sign]),
    ]
    for claim in claims:
        with pytest.raises(RemoteRefused):
            RelayRemote(relay.address, signer=Device(owner, squatter, claim)).put("a/1", b"")


def test_an_account_place_belongs_to_whoever_used_it_first(relay: RelayServer) -> None:
    name = f"account/{next(COUNTER):032x}/000000-{0:032x}"
    RelayRemote(relay.address, signer=founder(next(COUNTER)), create=True).put(name, b"slot")
    other = RelayRemote(relay.address, signer=founder(next(COUNTER)), create=True)
    with pytest.raises(RemoteRefused, match="another vault"):
        other.put(name[:-1] + "1", b"slot")


def test_a_relay_that_lost_everything_is_begun_and_filled_again(tmp_path: Path, device: Device) -> None:
    one, two = (RelayConfig(database=str(tmp_path / name), port=0, **PATIENT) for name in ("one.db", "two.db"))
    wake = threading.Event()
    with running(one) as server:
        remote = RelayRemote(server.address, signer=device, create=True)
        remote.put("a/1", b"data")
        assert remote.list("a") == ["a/1"]
        assert remote.wait("a", 5.0, wake)
        port = int(server.address.rsplit(":", 1)[1])
    with pytest.raises(RemoteUnavailable):
        remote.list("a")
    with running(RelayConfig(database=two.database, port=port, **PATIENT)):
        assert remote.list("a") == []
        remote.put("a/1", b"data")
        assert remote.list("a") == ["a/1"]
        while not remote.wait("a", 5.0, wake):  # another life of the bucket is news
            pass


# ---- news and listings ------------------------------------------------------------------------------------------


def test_requests_are_few(relay: RelayServer, device: Device, proxy: Callable[[str], Any]) -> None:
    counting = proxy(relay.address)
    other = RelayRemote(relay.address, signer=device, create=True)
    remote = RelayRemote(counting.url, signer=device)
    for chain in range(20):
        other.put(f"v/env/{chain:032x}/1", b"sealed")
    wake = threading.Event()
    assert remote.wait("v", 5.0, wake)
    assert not remote.wait("v", 0.0, wake)  # the next request waits at the relay from now on
    time.sleep(0.3)
    counting.seen.clear()
    remote.put("v/env/x/1", b"sealed")
    assert counting.methods() == ["PUT"]
    assert not remote.wait("v", 1.0, wake)  # what we put is no news to us: the old request is answered, a new one waits
    assert len(counting.seen) <= 2
    other.put("v/env/y/1", b"sealed")
    counting.seen.clear()
    assert remote.wait("v", 5.0, wake)
    assert [len(remote.list(f"v/env/{chain:032x}")) for chain in range(20)] == [1] * 20
    assert remote.list("v/env/y") == ["v/env/y/1"]
    assert len([path for _, path in counting.seen if "/objects" in path]) == 1
    time.sleep(0.3)
    counting.seen.clear()
    assert remote.list("v/env/y") == ["v/env/y/1"]
    assert "since=" not in str(counting.seen) or len(counting.seen) <= 1


def test_listings_follow_deletes_and_come_as_changes(
    relay: RelayServer, device: Device, proxy: Callable[[str], Any]
) -> None:
    counting = proxy(relay.address)
    other, remote = RelayRemote(relay.address, signer=device, create=True), RelayRemote(counting.url, signer=device)
    for index in range(5):
        other.put(f"a/{index}", b"x")
    assert remote.list("a") == [f"a/{index}" for index in range(5)]
    other.delete("a/2")
    other.put("a/5", b"x")
    other.delete("a/5")
    other.put("a/5", b"y")
    assert remote.list("a") == ["a/0", "a/1", "a/3", "a/4", "a/5"]
    assert "since=" in counting.seen[-1][1]


def test_closing_ends_a_wait_and_shutting_down_keeps_nobody_waiting(tmp_path: Path, device: Device) -> None:
    with running(RelayConfig(database=str(tmp_path / "relay.db"), port=0, **PATIENT)) as server:
        remote = RelayRemote(server.address, signer=device, create=True)
        wake = threading.Event()
        assert remote.wait("a", 5.0, wake)
        assert not remote.wait("a", 0.3, wake)
        started = time.monotonic()
    assert time.monotonic() - started < 3
    with pytest.raises(RemoteUnavailable):  # the first answer may be the last that the relay gave
        any(remote.wait("a", 5.0, wake) for _ in itertools.repeat(None))


def certified(authority: Any, folder: Path) -> dict[str, Any]:
    """Settings of a relay with a certificate of this authority."""
    made = authority.issue_cert("localhost", "127.0.0.1")
    made.private_key_pem.write_to_path(str(folder / "key.pem"))
    for blob in made.cert_chain_pems:
        blob.write_to_path(str(folder / "cert.pem"), append=True)
    return {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}


def waiting_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vaultsync-news"]


@pytest.mark.parametrize("secure", [False, True])
def test_closing_cuts_a_request_that_waits(
    tmp_path: Path, device: Device, monkeypatch: pytest.MonkeyPatch, secure: bool
) -> None:
    """Else its thread and its place among those who wait would last until the relay answers: close to a minute."""
    config = RelayConfig(database=str(tmp_path / "relay.db"), port=0, **PATIENT)
    if secure:
        trust = pytest.importorskip("trustme", reason="trustme is not installed")
        authority = trust.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        config = dataclasses.replace(config, **certified(authority, tmp_path))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with running(config) as server:
        remote = RelayRemote(server.address, signer=device, create=True)
        wake = threading.Event()
        assert remote.wait("a", 5.0, wake)
        assert not remote.wait("a", 0.3, wake)
        assert waiting_threads()
        started = time.monotonic()
        remote.close()
        for thread in waiting_threads():
            thread.join(10)
        assert time.monotonic() - started < 2
        assert not waiting_threads()
        with pytest.raises(RemoteUnavailable):
            remote.get("a/1")


# ---- faults -----------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Remote], object]] = {
    "put": lambda remote: remote.put("a/1", b"data"),
    "get": lambda remote: remote.get("a/1"),
    "list": lambda remote: remote.list(""),
    "wait": lambda remote: remote.wait("", 5.0, threading.Event()),
    "delete": lambda remote: remote.delete("a/1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
class TestFaults:
    @pytest.mark.parametrize("fault", ["cut", "lost", 500, 503, (429, {"Retry-After": "1"}), "slow", "truncated"])
    @pytest.mark.parametrize("at", [0, 1])
    def test_a_hiccup_is_survived(
        self, relay: RelayServer, device: Device, call: Callable[[Remote], object], proxy: Callable[[str], Any],
        fault: Any, at: int,
    ) -> None:  # fmt: skip
        spoilt = proxy(relay.address)
        spoilt.pause = 0.3
        RelayRemote(relay.address, signer=device, create=True).put("a/1", b"data")
        remote = RelayRemote(spoilt.url, signer=device)
        spoilt.faults = [None] * at + [fault]
        call(remote)
        there = RelayRemote(relay.address, signer=device).list("")
        assert there == ([] if call is CALLS["delete"] else ["a/1"])

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            *(
                (500, RemoteUnavailable),
                ((429, {"Retry-After": "3600"}), RemoteUnavailable),
                ("cut", RemoteUnavailable),
            ),
            *(("truncated", RemoteUnavailable), (507, RemoteRefused), (403, RemoteRefused), (302, RemoteRefused)),
            (404, RemoteRefused),
        ],
    )
    def test_lasting_trouble_is_typed(
        self, relay: RelayServer, device: Device, call: Callable[[Remote], object], proxy: Callable[[str], Any],
        fault: Any, kind: type[Exception],
    ) -> None:  # fmt: skip
        spoilt = proxy(relay.address)
        remote = RelayRemote(spoilt.url, signer=device, create=True)
        spoilt.faults = [fault] * 30
        started = time.monotonic()
        with pytest.raises(kind):
            call(remote)
        assert time.monotonic() - started < 3

    def test_nobody_there(self, device: Device, call: Callable[[Remote], object]) -> None:
        with pytest.raises(RemoteUnavailable, match="online"):
            call(RelayRemote("http://127.0.0.1:1", signer=device))

    def test_something_that_is_no_relay(
        self, device: Device, call: Callable[[Remote], object], proxy: Callable[[str], Any]
    ) -> None:
        nothing = proxy("http://127.0.0.1:1")
        nothing.faults = [200] * 30  # an empty page
        with pytest.raises(RemoteUnavailable, match="something else"):
            call(RelayRemote(nothing.url, signer=device))


def test_an_endless_body_is_not_taken_in(relay: RelayServer, device: Device, proxy: Callable[[str], Any]) -> None:
    spoilt = proxy(relay.address)
    remote = RelayRemote(spoilt.url, signer=device, create=True)
    remote.put("a/1", b"data")
    spoilt.faults = ["flood"]
    with pytest.raises(ObjectMissing):
        remote.get("a/1")


def test_a_full_bucket_and_a_full_relay(tmp_path: Path, device: Device) -> None:
    config = RelayConfig(
        database=str(tmp_path / "relay.db"),
        port=0,
        bucket_bytes=100,
        bucket_objects=3,
        total_bytes=150,
        object_bytes=60,
        **PATIENT,
    )
    with running(config) as server:
        remote = RelayRemote(server.address, signer=device, create=True)
        remote.put("a/1", bytes(60))
        with pytest.raises(RemoteRefused, match="vault's space"):
            remote.put("a/2", bytes(60))
        with pytest.raises(RemoteRefused, match="large"):
            remote.put("a/2", bytes(61))
        remote.put("a/1", bytes(60))  # again, which takes no room
        other = RelayRemote(server.address, signer=founder(next(COUNTER)), create=True)
        other.put("a/1", bytes(60))
        with pytest.raises(RemoteRefused, match="the space"):
            other.put("a/2", bytes(40))
        remote.delete("a/1")
        for index in range(3):
            remote.put(f"b/{index}", b"x")
        with pytest.raises(RemoteRefused, match="vault's space"):
            remote.put("b/3", b"x")


def test_rates(tmp_path: Path, device: Device) -> None:
    config = RelayConfig(database=str(tmp_path / "relay.db"), port=0, bucket_rate=2.0, address_rate=1000.0)
    with running(config) as server:
        remote = RelayRemote(server.address, signer=device, create=True)
        started = time.monotonic()
        for index in range(22):
            remote.put(f"a/{index}", b"x")  # 429 and Retry-After are obeyed within a call
        assert 0.5 < time.monotonic() - started < 15


def test_a_relay_that_takes_no_new_vaults(tmp_path: Path, device: Device) -> None:
    config = RelayConfig(database=str(tmp_path / "relay.db"), port=0, new_buckets=False)
    with running(config) as server, pytest.raises(RemoteRefused, match="no new vaults"):
        RelayRemote(server.address, signer=device, create=True)


def test_no_clock_has_to_be_right(
    relay: RelayServer, device: Device, proxy: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RelayRemote(relay.address, signer=device, create=True)
    monkeypatch.setattr(relay.relay, "_now", lambda: time.time() + 100 * 365 * 86400)  # our nonce is old to it now
    remote.put("a/1", b"data")
    monkeypatch.setattr(relay.relay, "_now", lambda: 1000.0)
    assert remote.get("a/1") == b"data"


def test_a_relay_is_asked_under_its_own_name_only(relay: RelayServer, device: Device) -> None:
    """What was signed for another relay is worth nothing here, even for a relay in the middle that passes it on."""
    elsewhere = RelayRemote(relay.address, signer=device, create=True)
    elsewhere._link._host = "evil.example"
    with pytest.raises(RemoteRefused):
        elsewhere.put("a/1", b"data")
    import httpx

    assert httpx.get(f"{relay.address}/v1/{'0' * 64}/objects", headers={"Host": "evil.example"}).status_code == 421


def test_captured_requests_cannot_be_repeated(relay: RelayServer, device: Device, proxy: Callable[[str], Any]) -> None:
    import httpx

    sent: list[Any] = []
    remote = RelayRemote(relay.address, signer=device, create=True)
    remote._link._web._client.event_hooks = {"request": [sent.append]}
    remote.put("a/1", b"data")
    remote.delete("a/1")
    for request in [one for one in sent if one.method in ("PUT", "DELETE")]:
        again = httpx.request(request.method, request.url, headers=request.headers, content=request.content)
        assert again.status_code == 401
        assert again.json()["error"] == "replayed"
        bent = httpx.request(request.method, str(request.url) + "x", headers=request.headers, content=request.content)
        assert bent.status_code == 401
    assert remote.list("") == []


def test_tls_with_a_certificate_that_nobody_signed(tmp_path: Path, device: Device) -> None:
    trust = pytest.importorskip("trustme", reason="trustme is not installed")
    authority = trust.CA()
    config = RelayConfig(database=str(tmp_path / "relay.db"), port=0, **certified(authority, tmp_path))
    with running(config) as server:
        assert server.address.startswith("https://")
        with pytest.raises(RemoteRefused, match="certificate"):
            RelayRemote(server.address, signer=device, create=True)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        import httpx

        assert httpx.get(server.address + "/health", verify=context).json() == {"status": "ok"}


# ---- addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://ann:hunter2@host",
        "https://host/?hunter2",
        "https://host:99999/",
        "https://ho st",
        "http://h/%",
    ],
)
def test_addresses_that_cannot_be_used(url: str) -> None:
    with pytest.raises(UnsupportedRemote, match="relay") as caught:
        open_remote(url)
    assert "hunter2" not in str(caught.value)


def test_without_the_extra_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'vaultsync\[http\]'"):
        open_remote("https://host")

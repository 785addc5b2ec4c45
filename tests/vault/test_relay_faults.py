"""A vault whose relay fails at every message, in every way: what is raised is typed, what was edited is kept, and the
next sync that gets through completes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vaultsync as vs

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("starlette", reason="the extra [relay] is not installed")
pytest.importorskip("uvicorn", reason="the extra [relay] is not installed")

from tests.remote.conftest import Proxy
from tests.vault.relays import create, join, running

RETRYABLE: list[Any] = ["cut", "lost", "truncated", 500, (429, {"Retry-After": "60"})]
REFUSED: list[Any] = [403, 507, (301, {"Location": "http://127.0.0.1:1/"})]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultsync.remote.web.PAUSE_SECONDS", 0.005)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(str(tmp_path_factory.mktemp("relay") / "relay.db")) as server:
        yield server.address


@pytest.fixture
def proxy(relay: str) -> Iterator[Proxy]:
    one = Proxy(relay)
    threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


def trouble(vault: vs.Vault) -> vs.RemoteError | None:
    """What a sync raises."""
    try:
        vault.sync()
    except vs.RemoteError as error:
        return error
    return None


@pytest.mark.parametrize("fault", [*RETRYABLE, *REFUSED], ids=str)
def test_trouble_at_every_message(relay: str, proxy: Proxy, tmp_path: Path, fault: Any) -> None:
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(proxy.url)
        laptop.sync()
        entry = laptop.add("login", title="GitHub")
        proxy.seen.clear()
        laptop.sync()
        messages = len(proxy.seen)
        assert messages >= 3
        failed = 0
        for at in range(messages):
            laptop.update(entry.id, username=f"{at}")
            proxy.faults = [None] * at + [fault] * 3
            error = trouble(laptop)
            if error is not None:
                failed += 1
                assert type(error) is (vs.RemoteUnavailable if fault in RETRYABLE else vs.RemoteRefused), error
                assert laptop.status.message == str(error)
                assert proxy.url not in str(error)
            proxy.faults = []
            assert laptop.view()[entry.id]["username"] == f"{at}"  # usable whatever happened
            laptop.sync()
            assert laptop.status.pending == 0
            assert laptop.status.message == ""
        assert failed
        with join(tmp_path, relay, laptop.recovery_code) as phone:
            phone.auto_sync = False
            assert phone.view()[entry.id]["username"] == f"{messages - 1}"


def test_a_full_and_a_read_only_relay_keep_what_is_there_readable(tmp_path: Path) -> None:
    with running(str(tmp_path / "relay.db"), bucket_objects=12) as server, create(tmp_path) as laptop:
        laptop.auto_sync = False
        laptop.connect(server.address)
        entry = laptop.add("login", title="first")
        laptop.sync()
        with join(tmp_path, server.address, laptop.recovery_code) as phone:
            phone.auto_sync = False
            number, error = 0, None
            while error is None:
                number += 1
                laptop.update(entry.id, title=f"{number}")
                error = trouble(laptop)
            assert isinstance(error, vs.RemoteRefused)
            assert "space" in str(error)
            assert laptop.view()[entry.id]["title"] == f"{number}"
            assert laptop.status.pending == 1
            with pytest.raises(vs.RemoteRefused, match="space"):
                laptop.sync()
            error = trouble(phone)
            assert error is None or "space" in str(error)
            assert phone.view()[entry.id]["title"] != "first"  # it still receives
        server.relay._quota = type(server.relay._quota)(1 << 30, 1000)  # whoever runs it gave more
        laptop.sync()
        assert laptop.status.pending == 0


def test_clocks_that_differ_by_a_hundred_years_do_not_matter(
    relay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(tmp_path) as laptop:
        laptop.auto_sync = False
        clock: Any = laptop._environment.now_ms
        clock.advance(-50 * 365 * 86_400_000)
        laptop.connect(relay)
        entry = laptop.add("login", title="from the past")
        laptop.sync()
        clock.advance(200 * 365 * 86_400_000)
        with join(tmp_path, relay, laptop.recovery_code) as phone:
            phone.auto_sync = False
            assert phone.view()[entry.id]["title"] == "from the past"
            laptop.update(entry.id, title="from the future")
            laptop.sync()
            phone.sync()
            assert phone.view()[entry.id]["title"] == "from the future"


def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    trust = pytest.importorskip("trustme", reason="trustme is not installed")
    made = trust.CA().issue_cert("localhost", "127.0.0.1")
    made.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    made.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    files = {"certificate": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    with running(str(tmp_path / "relay.db"), **files) as server, create(tmp_path) as laptop:
        entry = laptop.add("login", title="GitHub")
        with pytest.raises(vs.RemoteRefused, match="certificate"):
            laptop.connect(server.address)
        with pytest.raises(vs.RemoteUnavailable):  # plain HTTP to a TLS port
            laptop.connect(server.address.replace("https", "http"))
        assert laptop.status.state is vs.State.NOT_CONNECTED
        assert laptop.view()[entry.id]["title"] == "GitHub"

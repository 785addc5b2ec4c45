"""The application without a network: what strangers, broken clients and operators see."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from vaultsync.errors import ExtraMissing, StoreBusy, UsageError

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("starlette", reason="the extra [relay] is not installed")

import httpx

from vaultsync.relay import RelayConfig, create_app
from vaultsync.relay.metrics import JsonLines
from vaultsync.relay.newsroom import Newsroom

BUCKET = "b" * 64


def play(config: RelayConfig, scene: Callable[[Any, Any], Awaitable[None]]) -> None:
    async def played() -> None:
        app = create_app(config)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            await scene(client, app.state.relay)

    asyncio.run(played())


@pytest.fixture
def config(tmp_path: Path) -> RelayConfig:
    return RelayConfig(database=str(tmp_path / "relay.db"), address_rate=1000.0)


def test_strangers_are_told_what_is_missing(config: RelayConfig) -> None:
    async def scene(client: Any, relay: Any) -> None:
        for method, path, status, code in [
            ("GET", f"/v1/{BUCKET}/objects", 401, "unsigned"),
            ("PUT", f"/v1/{BUCKET}/objects/a/1", 401, "unsigned"),
            ("PUT", f"/v1/{BUCKET}/members", 401, "unsigned"),
            ("GET", f"/v1/account/{'0' * 32}", 404, "missing"),
            ("GET", "/v1/account/nonsense", 404, "missing"),
            ("GET", f"/v1/account/{'0' * 32}/x", 404, "missing"),
        ]:
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["error"]) == (status, code)
        nonce = (await client.post("/v1/challenge")).json()["nonce"]
        forged = f"VaultSync-Ed25519 key={'5' * 64}, nonce={nonce}, counter=1, body={'0' * 64}, signature={'0' * 128}"
        answer = await client.get(f"/v1/{BUCKET}/objects", headers={"Authorization": forged})
        assert (answer.status_code, answer.json()["error"]) == (401, "signature")
        stale = forged.replace(nonce, "0" * 80)
        answer = await client.get(f"/v1/{BUCKET}/objects", headers={"Authorization": stale})
        assert (answer.status_code, answer.json()["error"]) == (401, "nonce")
        assert (await client.get("/health", headers={"Host": "evil.example"})).status_code == 200  # probes use any name
        answer = await client.post("/v1/challenge", headers={"Host": "evil.example"})
        assert (answer.status_code, answer.json()["error"]) == (421, "host")
        answer = await client.post("/v1/challenge", headers={"Host": "[::1]:80"})
        assert answer.status_code == 200

    play(config, scene)


def test_an_address_that_asks_without_end(tmp_path: Path) -> None:
    async def scene(client: Any, relay: Any) -> None:
        answers = [await client.post("/v1/challenge") for _ in range(12)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await client.get("/health")).status_code == 200

    play(RelayConfig(database=str(tmp_path / "relay.db"), address_rate=1.0), scene)


def test_metrics_and_logs_name_nobody(config: RelayConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vaultsync.relay")

    async def scene(client: Any, relay: Any) -> None:
        await client.get(f"/v1/{BUCKET}/objects/secret-name")
        await client.get(f"/v1/account/{'ab' * 16}")
        text = (await client.get("/metrics")).text
        assert 'vaultsync_relay_requests_total{route="GET v1/{bucket}/objects/{name:path}",status="401"} 1' in text
        assert "vaultsync_relay_waiting_devices 0" in text
        lines = [JsonLines().format(record) for record in caplog.records]
        assert any(json.loads(line).get("code") == "unsigned" for line in lines)
        for said in (text, *lines):
            for private in (BUCKET, "secret-name", "ab" * 16, "127.0.0.1"):
                assert private not in said

    play(config, scene)


def test_a_bug_shows_no_text_of_its_own(config: RelayConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.getLogger("vaultsync.relay").addHandler(handler)

    async def scene(client: Any, relay: Any) -> None:
        async def broken(locator: str) -> None:
            raise KeyError("hunter2")

        monkeypatch.setattr(relay.storage, "claimed", broken)
        answer = await client.get(f"/v1/account/{'0' * 32}")
        assert answer.status_code == 500
        assert "hunter2" not in answer.text

    try:
        play(config, scene)
    finally:
        logging.getLogger("vaultsync.relay").removeHandler(handler)
    assert "KeyError" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_the_description_tells_of_every_route(config: RelayConfig) -> None:
    async def scene(client: Any, relay: Any) -> None:
        said = (await client.get("/openapi.json")).json()
        assert said["openapi"].startswith("3.1")
        routes = {
            (route.path.replace(":path", ""), method.lower())
            for route in create_app(config).routes
            for method in route.methods
            if method != "HEAD" and route.path not in ("/openapi.json", "/metrics")
        }
        assert {(path, method) for path, of in said["paths"].items() for method in of} == routes

    play(config, scene)


def test_news_are_told_to_all_who_wait() -> None:
    async def scene() -> None:
        room = Newsroom()
        one, two, other = room.enter(b"a"), room.enter(b"a"), room.enter(b"b")
        room.tell(b"a")
        assert (one.done(), two.done(), other.done()) == (True, True, False)
        room.tell(b"nobody")
        room.tell(None)
        assert other.done()
        for name, future in ((b"a", one), (b"a", two), (b"b", other)):
            room.leave(name, future)
        assert room.waiting == 0
        assert not room._rooms
        room.close()
        assert room.enter(b"a").done()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "wrong",
    [
        {"certificate": "x"},
        {"key": "x"},
        {"port": 70000},
        {"bucket_rate": 0.0},
        {"object_bytes": 0},
        {"object_bytes": 1 << 40},
    ],
)
def test_configurations_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        RelayConfig(**wrong)


def program(tmp_path: Path, port: int = 0) -> list[str]:
    code = (
        "from vaultsync.relay import RelayConfig, serve\n"
        f"serve(RelayConfig(database={str(tmp_path / 'relay.db')!r}, port={port}),"
        " announce=lambda url: print(url, flush=True))\n"
    )
    return [sys.executable, "-c", code]


def test_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    with subprocess.Popen(program(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        assert httpx.get(url + "/health").json() == {"status": "ok"}
        with httpx.Client() as client:
            client.get(url + "/health")
            started = time.monotonic()
            for _ in range(20):
                client.get(url + "/health")
            assert time.monotonic() - started < 20 * 0.04  # what each would take if answers waited for acknowledgements
        second = subprocess.run(
            program(tmp_path), capture_output=True, text=True, timeout=30, check=False, env=dict(os.environ)
        )
        assert "StoreBusy" in second.stderr
        taken = subprocess.run(
            program(tmp_path / "other", int(url.rsplit(":", 1)[1])),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "UsageError" in taken.stderr
        process.send_signal(signal.SIGTERM)
        lines = process.stderr.read().splitlines()
        assert process.wait(20) == 0
    events = [json.loads(line)["event"] for line in lines]
    assert events[0] == "started"
    assert events[-1] == "stopped"


def test_a_database_in_use_is_told_by_its_own_error(config: RelayConfig) -> None:
    from vaultsync.relay import serve

    async def scene(client: Any, relay: Any) -> None:
        with pytest.raises(StoreBusy):
            await asyncio.to_thread(serve, RelayConfig(database=config.database, port=0), log=io.StringIO())

    play(config, scene)


def test_without_the_extra_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import vaultsync.relay

    for name in [name for name in sys.modules if name.startswith(("vaultsync.relay.app", "vaultsync.relay.server"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delattr(vaultsync.relay, "app", raising=False)
    monkeypatch.delattr(vaultsync.relay, "server", raising=False)
    with pytest.raises(ExtraMissing, match=r"pip install 'vaultsync\[relay\]'"):
        _ = vaultsync.relay.create_app

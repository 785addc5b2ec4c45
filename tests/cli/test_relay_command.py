"""``vaultsync relay``: a person's first minutes with it, its flags, and how it ends."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.relay.programs import Relay

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("starlette", reason="the extra [relay] is not installed")

import httpx

from vaultsync.cli.relay_command import size
from vaultsync.cli.session import Misused
from vaultsync.relay import RelayConfig

ANY = "0.0.0.0"  # noqa: S104
ROOT = Path(__file__).resolve().parent.parent.parent


def test_first_minutes(shell: Shell, tmp_path: Path) -> None:
    """Start it, connect a vault, join it from another device, and look at the log: it names nobody."""
    with Relay(tmp_path) as relay:
        code = shell.json("create", "ann.vault")["recovery_code"]
        shell("add", "ann.vault", "login", "title=GitHub", "password=canary")
        said = shell("connect", "ann.vault", relay.url)
        assert "Connected to" in said.stdout
        assert said.stderr == ""
        shell.env = {"VAULTSYNC_CODE": code}
        shell("join", "phone.vault", relay.url, "--device", "Phone")
        assert "GitHub" in shell("list", "phone.vault").stdout
        assert shell.json("doctor", "phone.vault")["remote"]["answers"] is True
        health = httpx.get(relay.url + "/health")
        assert health.json() == {"status": "ok"}
        metrics = httpx.get(relay.url + "/metrics").text
        assert re.search(r"^vaultsync_relay_buckets 1$", metrics, re.MULTILINE)
        relay.end()
        assert relay.process.returncode == 0
    lines = [json.loads(line) for line in relay.log.splitlines()]
    assert [lines[0]["event"], lines[-1]["event"]] == ["started", "stopped"]
    requests = [line for line in lines if line["event"] == "request"]
    assert {"route", "status", "ms", "in", "out", "time", "level"} <= requests[0].keys()
    data = (tmp_path / "relay.db").read_bytes()
    bucket = re.search(rb"account/[0-9a-f]{32}", data)
    assert bucket is not None
    for secret in ("canary", "GitHub", bucket[0].decode(), "127.0.0.1"):
        assert secret not in relay.log
    assert not re.search(r"[0-9a-f]{32}", relay.log)
    assert b"canary" not in data
    assert "does not answer" in shell("sync", "ann.vault", status=1).stderr


def test_sigterm_answers_whoever_waits(shell: Shell, tmp_path: Path) -> None:
    with Relay(tmp_path, "--log-requests") as relay:
        shell.json("create", "ann.vault")
        shell("connect", "ann.vault", relay.url)
        import vaultsync as vs
        from tests.cli.conftest import WEAK
        from vaultsync.presets.passwords import passwords

        with vs.Vault.open("ann.vault", schema=passwords(), password="pw", environment=WEAK):
            gauge = "vaultsync_relay_waiting_devices 1"
            for _ in range(200):
                if gauge in httpx.get(relay.url + "/metrics").text:
                    break
                time.sleep(0.02)
            else:
                pytest.fail("the vault does not wait for news")
            assert relay.end() < 5
    waits = [line for line in map(json.loads, relay.log.splitlines()) if str(line.get("route")).endswith("news")]
    assert waits[-1]["status"] in (200, 503)


def test_a_port_that_is_taken_and_a_file_in_use(shell: Shell, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "cannot listen" in shell.fails("relay", "--port", port)
    with Relay(tmp_path) as relay:
        words = [sys.executable, "-m", "vaultsync", "relay", "--port", "0"]
        second = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert "in use by another process" in second.stderr
        relay.end()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cert", "a.pem"], "both a certificate and its key"),
        (["--port", "70000"], "positive"),
        (["--vault-rate", "0"], "positive"),
        (["--database", "mysql://x"], "postgresql"),
        (["--object-size", "1G"], "67108864"),
        (["--cert", "no.pem", "--key", "no.pem"], "certificate"),
    ],
)
def test_flags_that_cannot_be(shell: Shell, words: list[str], said: str) -> None:
    assert said in shell.fails("relay", *words)


@pytest.mark.parametrize(
    ("text", "bytes"), [("0", 0), ("64M", 64 << 20), ("1.5 GiB", 3 << 29), ("10kb", 10240), ("1T", 1 << 40)]
)
def test_sizes(text: str, bytes: int) -> None:
    assert size(text) == bytes


@pytest.mark.parametrize("text", ["", "-1", "1X", "G", "1e3", "nan"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(Misused):
        size(text)


def test_every_flag_reaches_the_relay(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RelayConfig] = []
    monkeypatch.setattr("vaultsync.relay.server.serve", lambda config, **_: seen.append(config))
    shell.env = {"VAULTSYNC_RELAY_DATABASE": "postgresql://ann:hunter2@db/relay"}
    result = shell(
        *("relay", "--host", ANY, "--port", "8443", "--name", "a.example", "--name", "b.example"),
        *("--cert", "c.pem", "--key", "k.pem", "--forwarded-allow-ips", "10.0.0.1", "--vault-size", "2G"),
        *("--vault-objects", "5", "--total-size", "10G", "--no-new-vaults", "--object-size", "1M", "--body-size", "8M"),
        *("--vault-rate", "7", "--address-rate", "8", "--max-waiting", "9", "--poll-seconds", "10"),
        *("--grace-seconds", "11", "--connections", "12", "--no-metrics"),
    )
    assert result.stderr == ""
    assert seen == [
        RelayConfig(
            database="postgresql://ann:hunter2@db/relay",
            host=ANY,
            port=8443,
            names=("a.example", "b.example"),
            certificate="c.pem",
            key="k.pem",
            proxies="10.0.0.1",
            bucket_bytes=2 << 30,
            bucket_objects=5,
            total_bytes=10 << 30,
            object_bytes=1 << 20,
            body_bytes=8 << 20,
            new_buckets=False,
            bucket_rate=7.0,
            address_rate=8.0,
            max_waiting=9,
            poll_seconds=10.0,
            grace_seconds=11,
            connections=12,
            metrics=False,
        )
    ]
    assert "hunter2" not in repr(seen[0])
    exposed = shell("relay", "--host", ANY)
    assert "--name" in exposed.stderr
    assert "plain HTTP" in exposed.stderr


def test_connecting_over_plain_http_to_another_machine_warns(shell: Shell) -> None:
    shell.json("create", "ann.vault")
    result: Any = shell("connect", "ann.vault", "http://relay.invalid", status=1)
    assert result.stderr.count("begins with http://") == 1
    assert result.stderr.startswith("Warning: ")
    assert "does not answer" in result.stderr

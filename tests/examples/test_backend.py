"""examples/backend.py under a real uvicorn, beside another device of the same vault."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("fastapi", reason="pip install fastapi")
pytest.importorskip("uvicorn", reason="the extra [relay] is not installed")

import httpx

import vaultsync as vs
from vaultsync.testing import environment

ROOT = Path(__file__).resolve().parent.parent.parent
NOTE = vs.EntryType("note", label="Note", fields=[vs.Field("title", vs.text), vs.Field("body", vs.note)])
SCHEMA = vs.Schema("notes-example", version=1, types=[NOTE])


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[vs.Vault]:
    """Another device of the vault; the backend's file is made by joining it."""
    url = (tmp_path / "shared").as_uri()
    with vs.Vault.create(
        tmp_path / "phone.vault", schema=SCHEMA, password="pw", device="Phone", environment=environment(1)
    ) as phone:
        phone.connect(url)
        phone.sync()
        vs.Vault.join(
            tmp_path / "backend.vault", url, schema=SCHEMA, password="pw", code=phone.recovery_code, device="Backend",
            environment=environment(2), background=False,
        ).close()  # fmt: skip
        yield phone


@pytest.fixture
def url(phone: vs.Vault, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "VAULT": str(tmp_path / "backend.vault"),
        "VAULTSYNC_PASSWORD": "pw",
    }
    # The file was made with weak parameters, which only tests accept: the program itself is run as it is.
    weak = (
        "import vaultsync as vs, uvicorn; from vaultsync.testing import environment; from functools import partial;"
        "vs.Vault.open = partial(vs.Vault.open, environment=environment(3));"
        f"uvicorn.run('backend:app', port={port}, app_dir={str(ROOT / 'examples')!r}, timeout_graceful_shutdown=1)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", weak], env=environ, cwd=tmp_path, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert server.poll() is None, server.stderr and server.stderr.read().decode()
        time.sleep(0.05)
    yield address
    server.terminate()
    _, said = server.communicate(timeout=30)
    assert b"Traceback" not in said, said.decode()
    assert b"Application shutdown complete" in said


def until(holds: object) -> None:
    end = time.monotonic() + 30
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "still not so"
        time.sleep(0.02)


def test_an_ordinary_api_over_a_vault(url: str, phone: vs.Vault) -> None:
    with httpx.Client(base_url=url, timeout=30) as web:
        made = web.post("/notes", json={"title": "Milk", "body": "two\nlitres"})
        assert made.status_code == 201
        note = made.json()
        assert web.get(f"/notes/{note['id']}").json() == note
        until(lambda: note["id"] in phone.view())
        phone.update(note["id"], title="Oat milk")
        until(lambda: web.get(f"/notes/{note['id']}").json()["title"] == "Oat milk")
        assert web.patch(f"/notes/{note['id']}", json={"body": None}).json()["body"] is None
        assert [found["title"] for found in web.get("/notes", params={"search": "oat"}).json()] == ["Oat milk"]
        assert web.get("/notes/nonsense").status_code == 404
        assert web.post("/notes", json={"title": 5}).status_code == 422
        until(lambda: web.get("/status").json()["state"] == "up to date")
        assert "up to date" in web.get("/status").json()["says"]
        assert web.delete(f"/notes/{note['id']}").status_code == 204
        assert web.delete(f"/notes/{note['id']}").status_code == 404
        assert web.get("/notes").json() == []


def test_events_of_both_sides_are_streamed(url: str, phone: vs.Vault) -> None:
    with httpx.Client(base_url=url, timeout=30) as web, web.stream("GET", "/events") as stream:
        told = (json.loads(line.removeprefix("data: ")) for line in lines(stream))
        own = web.post("/notes", json={"title": "here"}).json()["id"]
        assert wait_for(told, "edited") == [own]
        other = phone.add("note", title="there").id
        assert wait_for(told, "merged") == [other]


def lines(stream: object) -> Iterator[str]:
    return (line for line in stream.iter_lines() if line.startswith("data: "))  # type: ignore[attr-defined]


def wait_for(told: Iterator[dict[str, object]], kind: str) -> object:
    return next(event["notes"] for event in told if event["kind"] == kind)

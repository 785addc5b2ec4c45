"""The published description against the relay itself: whatever is sent, the answer is one that is described."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx", reason="the extra [http] is not installed")
pytest.importorskip("starlette", reason="the extra [relay] is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from tests.vault.relays import running
from vaultsync.crypto.keys import DeviceKeys
from vaultsync.relay.openapi import description
from vaultsync.remote.signing import SCHEME, Membership, bucket_of, request_parts

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "4"))
STORED = Path(__file__).resolve().parents[2] / "docs" / "relay-openapi.json"
OWNER = DeviceKeys.from_bytes(bytes(range(32))).access
BUCKET = bucket_of(OWNER.public).hex()
LOCATOR = "ab" * 16


def test_the_description_in_the_repository_is_the_one_that_is_served() -> None:
    """Written by ``python -m vaultsync.relay.openapi > docs/relay-openapi.json``."""
    assert json.loads(STORED.read_text(encoding="utf-8")) == description()


class Signing(requests.auth.AuthBase):
    """Signs whatever is about to be sent as the bucket's owner."""

    def __init__(self, url: str) -> None:
        self.url, self.count = url, itertools.count(1)
        self.nonce = bytes.fromhex(requests.post(url + "/v1/challenge", timeout=10).json()["nonce"])

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        digest = hashlib.sha256(body.encode() if isinstance(body, str) else body).digest()
        host = self.url.split("://")[1]
        counter = next(self.count)
        parts = request_parts(self.nonce, counter, digest, request.method or "", host, request.path_url)
        said = f"key={OWNER.public.hex()}, nonce={self.nonce.hex()}, counter={counter}, body={digest.hex()}"
        signature = OWNER.sign("relay-request", *parts).hex()
        request.headers["Authorization"] = f"{SCHEME} {said}, signature={signature}"
        return request


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("openapi")
    with running(str(folder / "relay.db"), poll_seconds=0.05, object_bytes=4096, bucket_objects=40) as server:
        url = server.address
        members = Membership.edit(OWNER.sign, OWNER.public, 0, ()).to_json()
        for path, body in (
            ("members", members),
            ("objects/a/1", b"sealed"),
            (f"objects/account/{LOCATOR}/000001-{0:032x}", b"slot"),
        ):
            answer = requests.put(f"{url}/v1/{BUCKET}/{path}", data=body, auth=Signing(url), timeout=10)
            assert answer.ok, answer.text
        yield url


@pytest.fixture(scope="module")
def signing(relay: str) -> Signing:
    return Signing(relay)


SCHEMA = schemathesis.openapi.from_dict(description())
CHECKS = [
    schemathesis.checks.not_a_server_error,
    *(
        check
        for check in schemathesis.checks.CHECKS.get_all()
        if check.__name__
        in (
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
            "unsupported_method",
        )
    ),
]
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize="VAULTSYNC_EXAMPLES" not in os.environ,
)


def documented(case: Any, response: Any) -> None:
    case.validate_response(response, checks=CHECKS)


@SCHEMA.parametrize()
@BOUNDED
def test_strangers_get_documented_answers(case: Any, relay: str) -> None:
    documented(case, case.call(base_url=relay))


@SCHEMA.parametrize()
@BOUNDED
def test_members_get_documented_answers(case: Any, relay: str, signing: Signing) -> None:
    if "bucket" in case.path_parameters:
        case.path_parameters["bucket"] = BUCKET
    if "locator" in case.path_parameters:
        case.path_parameters["locator"] = LOCATOR
    documented(case, case.call(base_url=relay, auth=signing))


@pytest.mark.parametrize(
    ("method", "path", "send", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "path"),
        ("PATCH", "/health", {}, 405, "method"),
        ("GET", f"/v1/{BUCKET}/objects/A", {}, 400, "malformed"),
        ("GET", f"/v1/{BUCKET}/objects/a/../b", {}, 400, "malformed"),
        ("GET", f"/v1/{BUCKET}/objects/{'a' * 256}", {}, 400, "malformed"),
        ("GET", f"/v1/{BUCKET}/objects/a/2", {}, 404, "missing"),
        ("GET", f"/v1/{BUCKET}/objects?prefix=a", {}, 400, "malformed"),
        ("GET", f"/v1/{BUCKET}/news?seconds=soon", {}, 400, "malformed"),
        ("GET", f"/v1/{BUCKET}/news?seconds=-1", {}, 400, "malformed"),
        ("GET", f"/v1/{BUCKET}/news?seconds=nan", {}, 400, "malformed"),
        ("PUT", f"/v1/{BUCKET}/objects/a/1", {"data": b"other"}, 409, "taken"),
        ("PUT", f"/v1/{BUCKET}/objects/a/3", {"data": bytes(4097)}, 413, "too-large"),
        ("PUT", f"/v1/{BUCKET}/objects/a/3", {"data": iter([b"x"])}, 411, "length"),
        ("PUT", f"/v1/{BUCKET}/members", {"data": b"[]"}, 400, "malformed"),
        ("PUT", f"/v1/{BUCKET}/members", {"data": b"{" * 9999}, 400, "malformed"),
        ("PUT", f"/v1/{BUCKET}/mailboxes/zz", {"data": b"{}"}, 404, "no-such-bucket"),
        ("PUT", f"/v1/{BUCKET}/mailboxes/{'0' * 64}", {"data": b"{}"}, 400, "malformed"),
        (
            *("PUT", f"/v1/{BUCKET}/mailboxes/{'0' * 64}"),
            *({"data": Membership.edit(OWNER.sign, OWNER.public, 0, ()).to_json()}, 403, "signature"),
        ),
    ],
)
def test_every_fault_of_input_has_its_answer(
    relay: str, signing: Signing, method: str, path: str, send: dict[str, Any], status: int, code: str
) -> None:
    if not hasattr(send.get("data"), "__next__"):
        prepared = requests.Request(method, relay, auth=None, **send).prepare()
        prepared.url = relay + path  # as it is: no ".." taken out
        with requests.Session() as session:
            answer: Any = session.send(signing(prepared), timeout=10)
    else:
        answer = httpx.request(method, relay + path, content=send["data"], headers=_signed_headers(relay, path))
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.json()["message"]


def _signed_headers(relay: str, path: str) -> dict[str, str]:
    prepared = Signing(relay)(requests.Request("PUT", relay + path, data=b"x").prepare())
    return {"Authorization": str(prepared.headers["Authorization"])}

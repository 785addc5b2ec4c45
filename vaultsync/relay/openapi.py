"""The relay's protocol as an OpenAPI description."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

__all__ = ["description"]

_HEX: Final = {"type": "string", "pattern": "^[0-9a-f]+$"}
_ERRORS: Final = {
    400: "malformed, or a body other than the one that was signed",
    401: "unsigned, not rightly signed, signed with a nonce that is not good any more, or carried out before",
    403: "the key is not a member of the bucket",
    404: "no such bucket or object",
    405: "the path is for other methods",
    408: "the body came too slowly",
    409: "the name holds something else, or the list of members was edited meanwhile",
    411: "a body without its length",
    413: "larger than it may be",
    421: "the relay was not told that it has this name",
    429: "too many requests; Retry-After says when to come back",
    503: "not just now; try again",
    507: "full",
}


def _answer(text: str, schema: dict[str, Any] | None = None, *, octets: bool = False) -> dict[str, Any]:
    if octets:
        return {"description": text, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    return {"description": text} | ({"content": {"application/json": {"schema": schema}}} if schema else {})


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _in_path(name: str, pattern: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


def _operation(
    summary: str,
    answers: dict[int, dict[str, Any]],
    errors: tuple[int, ...],
    *,
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    signed: bool = True,
) -> dict[str, Any]:
    common = (400, 401, 403, 404, 405, 421, 429, 503) if signed else (405, 421, 429, 503)
    responses = {str(status): answer for status, answer in answers.items()}
    for status in sorted({*common, *errors}):
        responses[str(status)] = _answer(_ERRORS[status], _ref("Error"))
    made: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        made["parameters"] = parameters
    if body:
        made["requestBody"] = {"required": True, "content": body}
    if signed:
        made["security"] = [{"signature": []}]
    return made


def _schemas() -> dict[str, Any]:
    texts = {"type": "array", "items": {"type": "string"}}
    keys = {"member": _HEX, "by": _HEX, "signature": _HEX}
    grant = {"type": "object", "required": list(keys), "properties": keys}
    handed = {"to": _HEX, "signature": _HEX}
    handover = {"type": "object", "required": list(handed), "properties": handed}
    shapes: dict[str, dict[str, Any]] = {
        "Error": {"error": {"type": "string"}, "message": {"type": "string"}},
        "Nonce": {"nonce": _HEX, "seconds": {"type": "integer"}},
        "Listing": {"cursor": {"type": "string"}, "whole": {"type": "boolean"}, "added": texts, "gone": texts},
        "News": {"cursor": {"type": "string"}, "news": {"type": "boolean"}},
        "Stored": {"cursor": {"type": "string"}, "created": {"type": "boolean"}},
        "Opened": {"created": {"type": "boolean"}},
        "Removed": {"cursor": {"type": "string"}},
        "Health": {"status": {"type": "string", "enum": ["ok", "closing"]}},
        "Members": {
            "owner": _HEX,
            "n": {"type": "integer", "minimum": 0},
            "members": {"type": "array", "items": _HEX},
            "signature": _HEX,
            "grants": {"type": "array", "items": grant},
            "handovers": {"type": "array", "items": handover},
        },
    }
    made: dict[str, Any] = {
        name: {"type": "object", "required": list(of), "properties": of} for name, of in shapes.items()
    }
    made["AccountListing"] = made["Listing"] | {"properties": shapes["Listing"] | {"bucket": _HEX}}
    made["News"]["properties"] |= {"added": texts, "gone": texts}  # where they are few
    return made


def description() -> dict[str, Any]:
    """OpenAPI 3.1."""
    bucket, name = _in_path("bucket", "^[0-9a-f]{64}$"), _in_path("name", "^[a-z0-9][a-z0-9._/-]{0,254}$")
    mailbox = _in_path("mailbox", "^[0-9a-f]{64}$")
    vault = _in_path("vault", "^[0-9a-f]{32}$")
    locator, leaf = _in_path("locator", "^[0-9a-f]{32}$"), _in_path("leaf", "^[a-z0-9][a-z0-9._-]*$")
    since = _query("since", {"type": "string"}, "a cursor from an earlier answer")
    octets = {"application/octet-stream": {"schema": {"type": "string"}}}
    members = {"application/json": {"schema": _ref("Members")}}
    listing = {200: _answer("names", _ref("Listing"))}
    paths: dict[str, Any] = {
        "/health": {
            "get": _operation("Is it well", {200: _answer("yes", _ref("Health"))}, (), signed=False),
        },
        "/v1/challenge": {
            "post": _operation("A nonce", {200: _answer("a nonce", _ref("Nonce"))}, (), signed=False),
        },
        "/v1/account/{locator}": {
            "get": _operation(
                "Names of account slots, and whose they are", {200: _answer("names", _ref("AccountListing"))}, (404,),
                parameters=[locator], signed=False,
            ),
        },
        "/v1/account/{locator}/{leaf}": {
            "get": _operation(
                "An account slot", {200: _answer("its bytes", octets=True)}, (404,), parameters=[locator, leaf],
                signed=False,
            ),
        },
        "/v1/{bucket}/members": {
            "get": _operation("Who may use it", {200: _answer("signed", _ref("Members"))}, (), parameters=[bucket]),
            "put": _operation(
                "Begin a bucket, add or replace members", {200: _answer("what holds now", _ref("Members"))},
                (408, 409, 411, 413), parameters=[bucket], body=members,
            ),
        },
        "/v1/{bucket}/mailboxes/{mailbox}": {
            "put": _operation(
                "Open a mailbox for somebody who is invited",
                {200: _answer("it was open", _ref("Opened")), 201: _answer("open", _ref("Opened"))},
                (408, 409, 411, 413),
                parameters=[bucket, mailbox, _query("seconds", {"type": "number", "minimum": 0}, "how long it lives")],
                body=members,
            ),
            "delete": _operation(
                "Remove it", {200: _answer("it is not there any more", {"type": "object"})}, (),
                parameters=[bucket, mailbox],
            ),
        },
        "/v1/{bucket}/roster/{vault}": {
            "post": _operation(
                "The vault's list of devices, for members and former ones: the body is any list that names the key",
                {200: _answer("names", _ref("Listing"))}, (408, 411, 413, 507), parameters=[bucket, vault],
                body=members,
            ),
        },
        "/v1/{bucket}/roster/{vault}/{leaf}": {
            "post": _operation(
                "An entry of it", {200: _answer("its bytes", octets=True)}, (408, 411, 413),
                parameters=[bucket, vault, leaf], body=members,
            ),
        },
        "/v1/{bucket}/news": {
            "get": _operation(
                "Wait for news", {200: _answer("whether there are any", _ref("News"))}, (),
                parameters=[bucket, since, _query("seconds", {"type": "number", "minimum": 0}, "at most")],
            ),
        },
        "/v1/{bucket}/objects": {
            "get": _operation(
                "Names, or what changed", listing, (507,),
                parameters=[bucket, since, _query("prefix", {"type": "string"}, "with its slash")],
            ),
        },
        "/v1/{bucket}/objects/{name}": {
            "get": _operation("Its bytes", {200: _answer("them", octets=True)}, (), parameters=[bucket, name]),
            "put": _operation(
                "Store, once for all",
                {200: _answer("it was there", _ref("Stored")), 201: _answer("stored", _ref("Stored"))},
                (408, 409, 411, 413, 507), parameters=[bucket, name], body=octets,
            ),
            "delete": _operation(
                "Remove", {200: _answer("it is not there any more", _ref("Removed"))}, (), parameters=[bucket, name]
            ),
        },
    }  # fmt: skip
    scheme = {"type": "apiKey", "in": "header", "name": "Authorization"}
    scheme["description"] = (
        "VaultSync-Ed25519 key=…, nonce=…, counter=…, body=…, signature=…: an Ed25519 signature over "
        '"vaultsync/v1/relay-request" NUL, nonce (40 bytes), counter (8 bytes, big-endian), SHA-256 of the body, '
        "and METHOD LF host LF target"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "VaultSync relay", "version": "1", "description": "Sealed bytes, and news of them."},
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": {"signature": scheme}},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(description(), indent=1, ensure_ascii=False) + "\n")

"""Who may use a bucket, without accounts: statements signed by its owner and by those he let in. Pure.

::

    bucket   = SHA256("vaultsync/v1/relay-bucket\\0" || owner)         owner: the first recovery identity's access key
    handover = signature by the owner, or who came after him, over  bucket 32 | number 8 | successor 32
                                                                                             use "relay-handover"
    edit     = signature by the holder over  bucket 32 | n 8 | members 32 each, sorted       use "relay-edit"
    grant    = signature by the holder or a member over  bucket 32 | holder 32 | n 8 | member 32   use "relay-grant"
    request  = signature by a member over  nonce 40 | counter 8 | SHA256(body) 32 | METHOD \\n host \\n target
                                                                                             use "relay-request"

The bucket certifies its owner, so nobody can begin or take over another's; the handovers, numbered from 1, certify the
holder, who is the last of them. An edit replaces the list; the one with the higher number n stands. Grants add to the
edit they name and end with it: what a member who was left out signed, before or after, is worth nothing. So is, once
a handover is known, what those before its holder sign. Of two handovers beside each other the one that came here first
stands. All of it can be carried to another relay, or to one that lost everything, by any device.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from vaultsync.crypto.primitives import check_sign_public, sha256, verify
from vaultsync.errors import Refused
from vaultsync.limits import MAX_ACCESS_BYTES, MAX_JSON_DEPTH, MAX_MEMBERS

__all__ = ["Access", "AccessError", "Grant", "Handover", "bucket_of", "check_request"]

_MAX_N: Final = 2**53


class AccessError(Exception):
    """A statement that does not hold; ``code`` is what the client is told."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Grant(NamedTuple):
    """``by`` lets ``member`` in; keys of 32 bytes, a signature of 64."""

    member: bytes
    by: bytes
    signature: bytes


class Handover(NamedTuple):
    """To a key of 32 bytes; a signature of 64 by the one before."""

    to: bytes
    signature: bytes


def bucket_of(owner: bytes) -> bytes:
    """The id, 32 bytes, of the bucket that belongs to this key."""
    return sha256("relay-bucket", owner)


def check_request(key: bytes, signature: bytes, nonce: bytes, counter: int, body: bytes, line: str) -> None:
    """``body``: its SHA-256. ``line``: method, host and target, joined by newlines. Raises ``AccessError``."""
    _check(key, signature, "relay-request", nonce, counter.to_bytes(8, "big"), body, line.encode())


def _check(key: bytes, signature: bytes, use: str, *parts: bytes) -> None:
    try:
        verify(key, signature, use, *parts)
    except (Refused, ValueError):
        raise AccessError("signature", "the signature is not by the key that is named") from None


@dataclass(frozen=True, slots=True)
class Access:
    """A verified state of the list. ``members`` holds the holder too."""

    bucket: bytes
    owner: bytes
    n: int
    edited: tuple[bytes, ...]
    signature: bytes
    grants: tuple[Grant, ...]
    handovers: tuple[Handover, ...]
    members: frozenset[bytes] = field(compare=False)

    @property
    def holder(self) -> bytes:
        """Whose edits count."""
        return self.handovers[-1].to if self.handovers else self.owner

    @classmethod
    def read(cls, bucket: bytes, data: bytes) -> Access:
        """From JSON, as clients send and get it; everything in it is verified. Raises ``AccessError``.

        A grant whose giver is not let in by the rest is left out: it proves nothing.
        """
        if len(data) > MAX_ACCESS_BYTES or data.count(b"{") > MAX_MEMBERS + MAX_JSON_DEPTH:
            raise AccessError("malformed", "the list of members is longer than one may be")
        try:
            said = json.loads(data)
            owner, n = _key(said["owner"]), said["n"]
            edited = tuple(_key(member) for member in said["members"])
            signature = _hex(said["signature"], 64)
            grants = [Grant(_key(one["member"]), _key(one["by"]), _hex(one["signature"], 64)) for one in said["grants"]]
            handovers = tuple(Handover(_key(one["to"]), _hex(one["signature"], 64)) for one in said["handovers"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AccessError("malformed", "not a list of members") from None
        if type(n) is not int or not 0 <= n < _MAX_N or list(edited) != sorted(set(edited)):
            raise AccessError("malformed", "not a list of members: numbers count up, keys are sorted")
        if len(edited) + len(grants) + len(handovers) > MAX_MEMBERS:
            raise AccessError("malformed", f"a bucket has at most {MAX_MEMBERS} members")
        if len({owner, *(one.to for one in handovers)}) <= len(handovers):
            raise AccessError("malformed", "a bucket is never handed over to one who had it before")
        if bucket_of(owner) != bucket:
            raise AccessError("signature", "the bucket does not belong to this owner")
        holder = owner
        for number, one in enumerate(handovers, 1):
            _check(holder, one.signature, "relay-handover", bucket, number.to_bytes(8, "big"), one.to)
            holder = one.to
        _check(holder, signature, "relay-edit", bucket, n.to_bytes(8, "big"), b"".join(edited))
        return cls(bucket, owner, n, edited, signature, (), handovers, frozenset((holder, *edited)))._with(grants)

    def _with(self, grants: Iterable[Grant]) -> Access:
        """With these grants and no others."""
        members, left, kept = {self.holder, *self.edited}, sorted(set(grants)), []
        about = (self.bucket, self.holder, self.n.to_bytes(8, "big"))
        while True:
            usable = [grant for grant in left if grant.by in members and grant.member not in members]
            if not usable:
                break
            for grant in usable:
                left.remove(grant)
                if grant.member not in members:
                    _check(grant.by, grant.signature, "relay-grant", *about, grant.member)
                    members.add(grant.member)
                    kept.append(grant)
        return replace(self, grants=tuple(sorted(kept)), members=frozenset(members))

    def merged(self, other: Access) -> Access:
        """What holds when both are known. Raises ``AccessError`` for two different edits of one number, and for
        handovers beside each other."""
        if self.handovers != other.handovers:
            fewer, more = sorted((self, other), key=lambda one: len(one.handovers))
            if [one.to for one in fewer.handovers] != [one.to for one in more.handovers[: len(fewer.handovers)]]:
                raise AccessError("rival", "the bucket was handed over to somebody else already")
            if len(fewer.handovers) < len(more.handovers):
                return more
        if self.n != other.n:
            return self if self.n > other.n else other
        if self.edited != other.edited:
            raise AccessError(
                "stale", "the owner has edited the list meanwhile: read it, and edit that with a higher n"
            )
        if len(self.edited) + len({*self.grants, *other.grants}) > MAX_MEMBERS:
            raise AccessError("malformed", f"a bucket has at most {MAX_MEMBERS} members")
        return self._with((*self.grants, *other.grants))

    def to_json(self) -> bytes:
        """The same for the same state."""
        said: dict[str, Any] = {
            "owner": self.owner.hex(),
            "n": self.n,
            "members": [member.hex() for member in self.edited],
            "signature": self.signature.hex(),
            "grants": [{name: value.hex() for name, value in grant._asdict().items()} for grant in self.grants],
            "handovers": [{"to": one.to.hex(), "signature": one.signature.hex()} for one in self.handovers],
        }
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _hex(text: Any, size: int) -> bytes:
    if not isinstance(text, str) or len(text) != 2 * size or text != text.lower() or not text.isalnum():
        raise ValueError("not lowercase hex of the right length")
    return bytes.fromhex(text)


def _key(text: Any) -> bytes:
    key = _hex(text, 32)
    try:
        check_sign_public(key)
    except Refused as error:
        raise ValueError(str(error)) from None
    return key

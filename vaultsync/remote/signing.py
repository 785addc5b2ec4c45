"""What a device signs for a relay: requests, and statements about who may use a bucket. Keys stay with the caller.

A relay has no accounts. A bucket's id is the hash of its first owner's key (the recovery identity's). An owner hands
the bucket over to the one who replaces it; the last of them, the holder, signs lists of members; members let others in.
Any device can carry all that to another relay. The layouts, byte for byte::

    bucket   = SHA256("vaultsync/v1/relay-bucket" NUL owner)
    handover = sign("relay-handover", bucket 32, number 8 from 1, successor 32)     by the owner, or who came after him
    edit     = sign("relay-edit",    bucket 32, n 8, members 32 each, sorted)       by the holder
    grant    = sign("relay-grant",   bucket 32, holder 32, n 8, member 32)          by the holder or a member
    request  = sign("relay-request", nonce 40, counter 8, SHA256(body) 32, METHOD LF host LF target)

``sign(use, *parts)`` is an Ed25519 signature, 64 bytes, over ``"vaultsync/v1/" use NUL`` and the parts. An edit
replaces the list and of one holder's the higher n stands; a grant adds to the edit with its n and ends with it. What
a former owner signs once his successor is known is worth nothing. The target begins at
``/v1/``, whatever stands before it in the relay's address.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, runtime_checkable

from vaultsync.errors import RemoteRefused, UsageError
from vaultsync.limits import MAX_MEMBERS
from vaultsync.remote.port import Remote

__all__ = [
    "SCHEME",
    "AccessControlled",
    "EditedMeanwhile",
    "Grant",
    "Handover",
    "Membership",
    "NotAMember",
    "Readable",
    "RivalThere",
    "Sign",
    "Signer",
    "UnknownThere",
    "bucket_of",
    "request_parts",
]

SCHEME: Final = "VaultSync-Ed25519"
Sign = Callable[..., bytes]
"""``sign(use, *parts)``: a device's or the recovery identity's own ``DeviceKeys.sign``."""


class EditedMeanwhile(RemoteRefused):
    """The list of members on the relay is another one of the same number: read it, and base the next one on that."""


class NotAMember(RemoteRefused):
    """The relay lets this device not in (any more). Why, only the vault's own list of devices can say."""


class RivalThere(RemoteRefused):
    """The relay follows another handover of the bucket: whoever had the older recovery identity was there first."""


class UnknownThere(RemoteRefused):
    """The relay does not know the bucket, or the key is not on its list; and there is nothing to tell it."""


class Signer(Protocol):
    """Who talks to a relay. ``bucket`` and ``public`` have 32 bytes."""

    @property
    def bucket(self) -> bytes:
        """The bucket that is meant."""
        ...

    @property
    def public(self) -> bytes:
        """The Ed25519 key that ``sign`` signs with."""
        ...

    def sign(self, use: str, *parts: bytes) -> bytes:
        """64 bytes."""
        ...

    def membership(self) -> Membership | None:
        """What this device last knew of the bucket's members, to begin the bucket with where it does not exist (any
        more). None when it knows nothing."""
        ...

    def remember(self, membership: Membership) -> None:
        """The relay's state of it, after it was read or changed."""
        ...


def bucket_of(owner: bytes) -> bytes:
    """The bucket, 32 bytes, that belongs to this key."""
    return hashlib.sha256(b"vaultsync/v1/relay-bucket\0" + owner).digest()


def request_parts(nonce: bytes, counter: int, body: bytes, method: str, host: str, target: str) -> tuple[bytes, ...]:
    """What is signed of a request, after its use. ``body``: its SHA-256; ``target``: path and query as sent."""
    return nonce, counter.to_bytes(8, "big"), body, f"{method}\n{host.lower()}\n{target}".encode()


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """``by`` let ``member`` in."""

    member: bytes
    by: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Handover:
    """The bucket goes ``to`` this key; signed by the one before."""

    to: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Membership:
    """A signed list of members and what was granted since. Checked by the relay, which is the one to rely on it.

    ``owner``: the first one. ``handovers`` lead from him to the `holder`, who signed the list.
    """

    owner: bytes
    n: int
    members: tuple[bytes, ...]
    signature: bytes
    grants: tuple[Grant, ...] = ()
    handovers: tuple[Handover, ...] = ()

    @classmethod
    def edit(
        cls, sign: Sign, owner: bytes, n: int, members: Iterable[bytes], handovers: tuple[Handover, ...] = ()
    ) -> Membership:
        """The holder's list number ``n`` (from 0; later ones replace earlier ones). ``sign`` is the holder's."""
        listed = tuple(sorted(set(members)))
        if len(listed) > MAX_MEMBERS or any(len(key) != 32 for key in (owner, *listed)):
            raise UsageError(f"a list of members holds at most {MAX_MEMBERS} keys of 32 bytes")
        signature = sign("relay-edit", bucket_of(owner), n.to_bytes(8, "big"), b"".join(listed))
        return cls(owner, n, listed, signature, (), handovers)

    def granting(self, sign: Sign, by: bytes, member: bytes) -> Membership:
        """With ``member`` let in by ``by``, a member or the holder, whose ``sign`` this is."""
        if len(member) != 32:
            raise UsageError("a member's key has 32 bytes")
        signature = sign("relay-grant", self.bucket, self.holder, self.n.to_bytes(8, "big"), member)
        return replace(self, grants=tuple(sorted({*self.grants, Grant(member, by, signature)})))

    @property
    def bucket(self) -> bytes:
        """The bucket it is about."""
        return bucket_of(self.owner)

    @property
    def holder(self) -> bytes:
        """The key that signs lists."""
        return self.handovers[-1].to if self.handovers else self.owner

    @property
    def keys(self) -> frozenset[bytes]:
        """Who is in, the holder not counted."""
        return frozenset((*self.members, *(grant.member for grant in self.grants)))

    def to_json(self) -> bytes:
        """As a relay takes it."""
        said: dict[str, Any] = {
            "owner": self.owner.hex(),
            "n": self.n,
            "members": [member.hex() for member in self.members],
            "signature": self.signature.hex(),
            "grants": [
                {"member": one.member.hex(), "by": one.by.hex(), "signature": one.signature.hex()}
                for one in self.grants
            ],
            "handovers": [{"to": one.to.hex(), "signature": one.signature.hex()} for one in self.handovers],
        }
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Membership:
        """Shapes only; raises ``RemoteRefused``."""
        try:
            said = json.loads(data)
            grants = tuple(
                Grant(bytes.fromhex(one["member"]), bytes.fromhex(one["by"]), bytes.fromhex(one["signature"]))
                for one in said["grants"]
            )
            members = tuple(bytes.fromhex(member) for member in said["members"])
            handovers = tuple(
                Handover(bytes.fromhex(one["to"]), bytes.fromhex(one["signature"])) for one in said["handovers"]
            )
            owner, signature = bytes.fromhex(said["owner"]), bytes.fromhex(said["signature"])
            made = cls(owner, said["n"], members, signature, grants, handovers)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RemoteRefused("the relay sends a list of members that is none") from None
        many = len(members) + len(grants) + len(handovers) > MAX_MEMBERS
        if type(made.n) is not int or not 0 <= made.n < 2**53 or many:
            raise RemoteRefused("the relay sends a list of members that is none")
        return made


class Readable(Protocol):
    """Part of a remote. See ``Remote``."""

    def get(self, name: str) -> bytes: ...

    def list(self, prefix: str) -> list[str]: ...


@runtime_checkable
class AccessControlled(Remote, Protocol):
    """A remote that keeps a list of who may use it: a relay. See ``RelayRemote`` for what each call raises."""

    def members(self) -> Membership:
        """The list as the relay has it."""
        ...

    def enter(self, membership: Membership) -> Membership:
        """Send signed statements; what holds afterwards."""
        ...

    def account_bucket(self, locator: bytes) -> bytes | None:
        """The bucket that the account slots at this place lie in, as the relay says; None when there are none."""
        ...

    def as_former(self) -> Readable:
        """The vault's list of devices, which is shown to those who were members once, too."""
        ...

    def at(self, signer: Signer | None) -> AccessControlled:
        """The same relay, for somebody else. Closed by itself."""
        ...

    def open_mailbox(self, membership: Membership, seconds: float) -> None:
        """A bucket of its own for the owner of ``membership``, which ends after ``seconds``."""
        ...

    def close_mailbox(self, mailbox: bytes) -> None:
        """With everything in it."""
        ...

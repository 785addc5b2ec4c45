"""Letters of a pairing: their layouts, how they are sealed, and what both sides do alike. What is said in which order,
and why, is in :mod:`~vaultsync.crypto.pairing`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple

from vaultsync import limits
from vaultsync.crypto import packing
from vaultsync.crypto import primitives as p
from vaultsync.crypto.epochs import SEALED_GRANT
from vaultsync.crypto.invitation import Invitation
from vaultsync.crypto.keys import PUBLIC_BYTES, DeviceKeys, Secret
from vaultsync.crypto.packing import many, octets, row, uint
from vaultsync.crypto.roster import Frontier
from vaultsync.errors import BadSeal, MalformedEnvelope, PairingFailed, UpdateRequired

__all__ = ["ANSWER", "OPENING", "Letter", "Party", "Stage", "Welcome", "commitment", "digest", "letter_number"]

_MAGIC: Final = b"VSP1"
_HEAD: Final = 37
OPENING: Final = row(
    octets(PUBLIC_BYTES),
    octets(16),
    lambda name: type(name) is str and len(name) <= limits.MAX_DEVICE_NAME_CHARS and name.isprintable(),
)
_FRONTIER: Final = many(row(octets(16), uint(limits.MAX_SAFE_INT, 1), octets(32)), limits.MAX_CHAINS)
_BODIES: Final = {
    1: row(uint(1, 1), octets(32)),
    2: row(uint(2, 2), octets(32), octets(32), octets(16), octets(PUBLIC_BYTES), octets(32)),
    3: row(uint(3, 3), octets(32), octets(32), OPENING, octets(p.SIGNATURE)),
    4: row(uint(4, 4), octets(SEALED_GRANT), octets(0, limits.MAX_PAIRING_BYTES), octets(p.SIGNATURE)),
    5: row(uint(5, 5), octets(32)),
}
ANSWER: Final = row(
    octets(16),
    octets(32),
    many(octets(1, limits.MAX_ROSTER_ENTRY_BYTES), limits.MAX_ROSTER_ENTRIES, least=1),
    octets(16),
    uint((1 << 32) - 1),
    octets(0, limits.MAX_SLOT_BYTES),
    _FRONTIER,
    octets(0, limits.MAX_ACCESS_BYTES),
)


class Stage(Enum):
    """How far a pairing is. ``COMPARING``: the code is to be shown, and compared by the person."""

    WAITING = "waiting for the other device"
    COMPARING = "comparing the code"
    ANSWERED = "let in"
    DONE = "both know"
    FAILED = "failed"


class Letter(NamedTuple):
    """What is to be in the mailbox: number (1 to 5) and bytes."""

    number: int
    data: bytes


class Welcome(Secret):
    """What the sponsor hands over: the roster's key and entries (the newcomer's ADD among them), the account slot as it
    lies on every remote, how far the sponsor has applied every chain, its own included, and what opens relays to the
    vault's devices (``access``, as it is sent there; empty when the sponsor has nothing of the sort).
    """

    __slots__ = ("access", "account", "entries", "frontier", "locator", "number", "roster_key", "vault_id")

    def __init__(
        self,
        vault_id: bytes,
        roster_key: bytes,
        entries: tuple[bytes, ...],
        *,
        locator: bytes,
        number: int,
        account: bytes,
        frontier: Frontier,
        access: bytes = b"",
    ) -> None:
        self.access: bytes = access
        self.vault_id: bytes = vault_id
        self.roster_key: bytes = roster_key
        self.entries: tuple[bytes, ...] = entries
        self.locator: bytes = locator
        self.number: int = number
        self.account: bytes = account
        self.frontier: dict[bytes, tuple[int, bytes]] = dict(frontier)

    def fields(self) -> tuple[object, ...]:
        frontier = tuple((chain, seq, env_id) for chain, (seq, env_id) in sorted(self.frontier.items()))
        account = (self.locator, self.number, self.account)
        return (self.vault_id, self.roster_key, self.entries, *account, frontier, self.access)


def letter_number(data: bytes) -> int:
    """The number that a letter claims. :class:`MalformedEnvelope`, or :class:`UpdateRequired` for a later layout."""
    if not _HEAD < len(data) <= limits.MAX_PAIRING_BYTES or data[:3] != _MAGIC[:3]:
        raise MalformedEnvelope("not a letter of a pairing, or larger than the limit")
    if data[:4] != _MAGIC:
        raise UpdateRequired("the other device pairs in a newer format")
    if data[4] not in _BODIES:
        raise MalformedEnvelope("not a letter of a pairing")
    return data[4]


class Party:
    """What both sides do alike: writing and reading letters, and the code."""

    stage: Stage

    def __init__(self, invitation: Invitation, keys: DeviceKeys, entropy: p.Entropy) -> None:
        self.invitation: Final = invitation
        self.stage = Stage.WAITING
        self._keys, self._entropy = keys, entropy
        self._bodies: dict[int, bytes] = {}
        self._outbox: dict[int, bytes] = {}
        self._transcript: bytes | None = None

    @property
    def outbox(self) -> tuple[Letter, ...]:
        """Everything that this side has to have in the mailbox. Putting it again is harmless."""
        return tuple(Letter(number, data) for number, data in sorted(self._outbox.items()))

    @property
    def code(self) -> str | None:
        """Six digits for the person to compare; None before there are any, and after a failure."""
        if self._transcript is None or self.stage is Stage.FAILED:
            return None
        return f"{int.from_bytes(p.sha256('pair-code', self._transcript), 'big') % 1_000_000:06d}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.stage.value} (secret)>"

    def _write(self, number: int, *fields: object) -> None:
        body = packing.pack((number, *fields))
        head = _MAGIC + bytes((number,))
        head += p.hedged_salt(self.invitation.key, self._entropy, head + body)
        context = head + self.invitation.mailbox
        sealed = p.seal_committed(
            self.invitation.key, salt=head[5:], use="pair", context=context, plaintext=packing.pad(body)
        )
        self._bodies[number], self._outbox[number] = body, head + sealed

    def _read(self, data: bytes, mine: tuple[int, ...]) -> tuple[int, bytes, Any]:
        """Number, body and fields of the other's letter. Raises what is wrong with it; nothing has changed then."""
        number = letter_number(data)
        if number in mine:
            raise BadSeal("the letter is one of this device's own")
        head = data[:_HEAD]
        padded = p.open_committed(
            self.invitation.key,
            salt=head[5:],
            use="pair",
            context=head + self.invitation.mailbox,
            sealed=data[_HEAD:],
        )
        body = packing.unpad(padded)
        fields = packing.unpack(body, max_bytes=limits.MAX_PAIRING_BYTES)
        if not _BODIES[number](fields):
            raise MalformedEnvelope("the letter holds something else than its number says")
        return number, body, fields

    def _fail(self, why: str) -> PairingFailed:
        self.stage = Stage.FAILED
        return PairingFailed(f"{why}: begin anew, with a new invitation")

    def _settle(self, nonce: bytes) -> bytes:
        """The transcript, once the commitment is open."""
        invited = p.sha256("pair-invitation", self.invitation.to_bytes())
        self._transcript = p.sha256("pair-transcript", invited, digest(self._bodies[1]), digest(self._bodies[2]), nonce)
        return self._transcript


def digest(body: bytes) -> bytes:
    return p.sha256("pair-body", body)


def commitment(nonce: bytes, opening: tuple[object, ...]) -> bytes:
    return p.sha256("pair-commitment", nonce, packing.pack(opening))

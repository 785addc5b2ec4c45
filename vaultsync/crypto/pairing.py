"""Pairing: two state machines that let a device into a vault through a mailbox that anybody may read and write.

::

    letter   "VSP1" | number 1 | salt 32 | committed(invitation's key, salt, "pair", first 37 | mailbox, padded(body))
    1 ->     packed [1, commitment 32]           commitment = H("pair-commitment"; nonce 32, packed opening)
    <- 2     packed [2, H(body 1), nonce 32, vault id 16, sponsor's public 1280, roster head 32]
    3 ->     packed [3, H(body 2), nonce 32, opening, proof 64]     opening = [public 1280, nonce of chain 16, name]
    <- 4     packed [4, HPKE(newcomer, answer key) 1168, committed(answer key, "", "pair-answer", transcript, padded(
             packed [vault id 16, roster key 32, roster entries, locator 16, number, account slot, frontier, access]))],
             signature of the sponsor over transcript, both]             (signature last)
    5 ->     packed [5, transcript 32]
    transcript = H("pair-transcript"; H("pair-invitation"; invitation), H(body 1), H(body 2), commitment's nonce)
    code       = H("pair-code"; transcript) as a number, modulo 1,000,000

Odd numbers are the newcomer's letters, even ones the sponsor's. Every letter is made once and put again as it is, so
dropped, repeated and reordered ones change nothing.

What the six digits are for: whoever can read the invitation (a remote that was told it, somebody behind the camera) can
play sponsor to the newcomer and newcomer to the sponsor. Both screens then show different codes, but for one chance
in a million a try, and there is one try an invitation: each side fixes what it puts into the code before it learns the
other's part, and nothing after the commitment is free (a name or a signature would be: so the commitment covers all of
the opening, and the proof is not part of the code). The person must compare on *both* sides: the sponsor lets in only
after :meth:`Inviter.approve`, the newcomer believes nothing before :meth:`Joiner.confirm`. Then the answer is for the
keys that were compared, signed by the keys that were compared; the invitation's key alone opens none of it.

No I/O, no clock, no randomness of its own. The newcomer's machine lives in one process; the sponsor's can be written
down and gone on with.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from vaultsync import limits
from vaultsync.crypto import packing
from vaultsync.crypto import primitives as p
from vaultsync.crypto.invitation import Invitation
from vaultsync.crypto.keys import Chain, DeviceKeys, DevicePublic
from vaultsync.crypto.letters import (
    ANSWER,
    OPENING,
    Letter,
    Party,
    Stage,
    Welcome,
    commitment,
    digest,
    letter_number,
)
from vaultsync.crypto.roster import Claim, Frontier, Roster
from vaultsync.errors import BadSeal, Refused, UpdateRequired, UsageError, WrongInvitation

__all__ = ["Inviter", "Joined", "Joiner", "Letter", "Stage", "Welcome", "lacking", "letter_number"]


class Joined(NamedTuple):
    """What a newcomer has afterwards. It is up to date only when :func:`lacking` of the frontier is empty."""

    roster: Roster
    welcome: Welcome


def lacking(frontier: Frontier, applied: Frontier) -> dict[bytes, int]:
    """By chain, up to which envelope something named in ``frontier`` is not applied yet."""
    return {chain: seq for chain, (seq, _) in frontier.items() if applied.get(chain, (0, b""))[0] < seq}


def _answer_info(transcript: bytes) -> bytes:
    return p.label("pair-answer") + transcript


class Inviter(Party):
    """The sponsor's side. Feed it every letter that the mailbox holds, put its :attr:`outbox`, show :attr:`code`, and
    when the person says that both codes are equal: add :attr:`claim` to the roster, store that, and :meth:`approve`.
    """

    claim: Claim | None
    """Who wants to be let in, once known; proven to hold its keys."""
    name: str
    """What the newcomer calls itself."""
    contested: bool
    """Somebody else answered the invitation, too: of two, the first is talked to. Say so beside the code."""

    def __init__(self, invitation: Invitation, keys: DeviceKeys, roster: Roster, *, entropy: p.Entropy) -> None:
        """``keys``: this device's, a member of ``roster``. Raises :class:`UsageError` when it is none."""
        super().__init__(invitation, keys, entropy)
        if keys.public.id not in roster.members or invitation.vault_id not in (None, roster.vault_id):
            raise UsageError("only a member of the vault invites into it")
        self._roster: Final = roster
        self.claim, self.name, self.contested = None, "", False

    def receive(self, data: bytes, *, now_ms: int) -> bool:
        """Take in a letter; whether anything changed. Repeated letters change nothing.

        Raises :class:`PairingFailed` when the pairing is over, :class:`WrongInvitation` when it came too late, and
        another :class:`Refused` or :class:`UpdateRequired` for a letter to be passed over: nothing has changed then.
        """
        number, body, fields = self._read(data, mine=(2, 4))
        if number in self._bodies or self.stage is Stage.FAILED:
            self.contested |= number == 1 and self._bodies.get(1, body) != body
            return False
        if number == 5:
            return self._receipt(fields)
        self._in_time(now_ms)
        if number == 1:
            self._bodies[1] = body
            nonce, head = p.draw(self._entropy, 32), self._roster.head
            public = self._keys.public.to_bytes()
            self._write(2, digest(body), nonce, self._roster.vault_id, public, head)
        else:
            self._open(body, fields)
        return True

    def _open(self, body: bytes, fields: Any) -> None:
        _, offer, nonce, opening, proof = fields
        if 2 not in self._bodies:
            raise BadSeal("the letter answers one that was not written")
        if offer != digest(self._bodies[2]):
            raise self._fail("the new device answers somebody else")
        committed = packing.unpack(self._bodies[1], max_bytes=limits.MAX_SLOT_BYTES)[1]
        if not p.same(commitment(nonce, opening), committed):
            raise self._fail("the new device is not the one that answered first")
        try:
            claim = Claim.read((*opening[:2], proof))
            claim.verify(self._roster.vault_id)
        except Refused:
            raise self._fail("the new device does not hold the keys that it shows") from None
        self._bodies[3] = body
        self.claim, self.name, self.stage = claim, opening[2], Stage.COMPARING
        self._settle(nonce)

    def approve(self, welcome: Welcome, *, now_ms: int) -> None:
        """The person says that both codes are equal; afterwards the answer is in :attr:`outbox`.

        Raises :class:`UsageError` when there is nothing to approve or ``welcome`` does not name the newcomer, and
        :class:`WrongInvitation` when it took too long.
        """
        if self.stage is not Stage.COMPARING or self.claim is None or self._transcript is None:
            raise UsageError("no device waits to be let in")
        self._in_time(now_ms)
        fields = welcome.fields()
        if not ANSWER(fields) or self.claim.public.id not in Roster.load(welcome.vault_id, welcome.entries).members:
            raise UsageError("the new device has to be added to the vault before it is let in")
        key = p.draw(self._entropy, 32)
        sealed = p.seal_committed(
            key, salt=b"", use="pair-answer", context=self._transcript, plaintext=packing.pad(packing.pack(fields))
        )
        wrapped = p.hpke_seal(self.claim.public.kem, key, _answer_info(self._transcript))
        self._write(4, wrapped, sealed, self._keys.sign("pair-answer", self._transcript, wrapped, sealed))
        self.stage = Stage.ANSWERED

    def refuse(self) -> None:
        """The person says that the codes differ, or wants nobody let in any more: the invitation is void."""
        self.stage = Stage.FAILED

    def to_bytes(self) -> bytes:
        """Everything that another process needs to go on. Secret: to be sealed."""
        return packing.pack(
            (
                self.invitation.to_bytes(),
                tuple(sorted(self._bodies.items())),
                tuple(sorted(self._outbox.items())),
                self.stage.name,
                self.contested,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes, keys: DeviceKeys, roster: Roster, *, entropy: p.Entropy) -> Inviter:
        """What :meth:`to_bytes` gave, of the same device. Raises :class:`UsageError` as the constructor does."""
        invitation, bodies, outbox, stage, contested = packing.unpack(data, max_bytes=limits.MAX_PAIRING_BYTES * 2)
        self = cls(Invitation.from_bytes(invitation), keys, roster, entropy=entropy)
        self._bodies, self._outbox = dict(bodies), dict(outbox)
        if 3 in self._bodies:
            _, _, nonce, opening, proof = packing.unpack(self._bodies[3], max_bytes=limits.MAX_SLOT_BYTES)
            self.claim, self.name = Claim.read((*opening[:2], proof)), opening[2]
            self._settle(nonce)
        self.stage, self.contested = Stage[stage], contested
        return self

    def _receipt(self, fields: Any) -> bool:
        if self.stage is not Stage.ANSWERED or self._transcript is None or not p.same(fields[1], self._transcript):
            raise BadSeal("the receipt is for another pairing")
        self.stage = Stage.DONE
        return True

    def _in_time(self, now_ms: int) -> None:
        if now_ms >= self.invitation.expires_ms:
            self.stage = Stage.FAILED
            raise WrongInvitation("the invitation is too old: make a new one")


class Joiner(Party):
    """The newcomer's side. Put its :attr:`outbox`, feed it every letter, show :attr:`code`, and when the person says
    that both codes are equal, :meth:`confirm`. What it joined is in :attr:`joined` once it is confirmed and answered.
    """

    joined: Joined | None

    def __init__(
        self, invitation: Invitation, keys: DeviceKeys, chain: Chain, name: str, *, entropy: p.Entropy
    ) -> None:
        """``keys`` and ``chain``: new ones, made for this. Raises :class:`UsageError` for a name that is too long."""
        super().__init__(invitation, keys, entropy)
        self._nonce: Final = p.draw(entropy, 32)
        self._chain: Final = chain
        self._opening: Final = (keys.public.to_bytes(), chain.nonce, name)
        if not OPENING(self._opening):
            raise UsageError(f"a device's name has at most {limits.MAX_DEVICE_NAME_CHARS} characters")
        self.joined = None
        self._confirmed = False
        self._sponsor: DevicePublic | None = None
        self._welcome: Welcome | None = None
        self._write(1, commitment(self._nonce, self._opening))

    def receive(self, data: bytes) -> bool:
        """Take in a letter; whether anything changed. Repeated letters change nothing. Errors as for the inviter's."""
        number, body, fields = self._read(data, mine=(1, 3, 5))
        if self.stage is Stage.FAILED:
            return False
        if number in self._bodies:
            if number == 2 and self._bodies[2] != body:
                raise self._fail("two devices claim to have made the invitation")
            return False
        if number == 2:
            self._offered(body, fields)
        else:
            self._answered(body, fields)
        return True

    def _offered(self, body: bytes, fields: Any) -> None:
        _, answered, _, vault_id, public, _ = fields
        if answered != digest(self._bodies[1]):
            raise self._fail("another device has used the invitation")
        if self.invitation.vault_id not in (None, vault_id):
            raise self._fail("the invitation was made for another vault")
        try:
            self._sponsor = DevicePublic.from_bytes(public)
        except Refused:
            raise self._fail("the other device shows keys that nobody may have") from None
        self._bodies[2] = body
        proof = Claim.make(self._keys, self._chain, vault_id).proof
        self._write(3, digest(body), self._nonce, self._opening, proof)
        self._settle(self._nonce)
        self.stage = Stage.COMPARING

    def _answered(self, body: bytes, fields: Any) -> None:
        _, wrapped, sealed, signature = fields
        if self._transcript is None or self._sponsor is None:
            raise BadSeal("the answer came before the question")
        p.verify(self._sponsor.sign, signature, "pair-answer", self._transcript, wrapped, sealed)
        try:
            key = self._keys.open_grant(wrapped, _answer_info(self._transcript))
            padded = p.open_committed(key, salt=b"", use="pair-answer", context=self._transcript, sealed=sealed)
            answer = packing.unpack(
                packing.unpad(padded), max_bytes=limits.MAX_PAIRING_BYTES, max_items=limits.MAX_ROSTER_ENTRIES
            )
        except Refused:
            raise self._fail("the other device's answer does not open") from None
        if not ANSWER(answer):
            raise self._fail("the other device's answer is not one")
        vault_id, roster_key, entries, locator, number, account, frontier, access = answer
        places = {chain: (seq, env_id) for chain, seq, env_id in frontier}
        self._bodies[4] = body
        self._welcome = Welcome(
            *(vault_id, roster_key, entries),
            locator=locator,
            number=number,
            account=account,
            frontier=places,
            access=access,
        )
        self._join()

    def confirm(self) -> None:
        """The person says that both codes are equal. Raises :class:`UsageError` when no code was shown yet."""
        if self.code is None:
            raise UsageError("there is no code to compare yet")
        self._confirmed = True
        self._join()

    def refuse(self) -> None:
        """The person says that the codes differ: nothing of this pairing is used."""
        self.stage, self._welcome = Stage.FAILED, None

    def _join(self) -> None:
        if not self._confirmed or self._welcome is None or self.joined is not None or self._transcript is None:
            return
        welcome = self._welcome
        _, _, _, vault_id, sponsor, head = packing.unpack(self._bodies[2], max_bytes=limits.MAX_SLOT_BYTES)
        try:
            roster = Roster.load(vault_id, welcome.entries)
            reached = roster.epoch in roster.epoch_keys(self._keys)
        except (Refused, UpdateRequired):
            raise self._fail("the other device hands over a broken list of devices") from None
        mine = roster.members.get(self._keys.public.id)
        if (
            welcome.vault_id != vault_id
            or not roster.knows(head)
            or DevicePublic.from_bytes(sponsor).id not in roster.members
            or mine is None
            or self._chain.id not in mine.chains
            or not reached
        ):
            raise self._fail("the list of devices that was handed over is not the one that was promised")
        self.joined = Joined(roster, welcome)
        self._write(5, self._transcript)
        self.stage = Stage.DONE

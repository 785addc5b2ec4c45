"""Pairing by invitation, over any remote: the sponsor's side as an object to poll, the newcomer's as one call.

::

    sponsor: vault.invite() -> Pairing                    newcomer: Vault.join(path, invitation=text, …) -> receive
        shows the text or QR code                  ->         reads it, opens the remote that it names
        poll()                         <- mailbox ->          asks to be let in
        shows name and code                                   shows the code
        approve(): list of devices stored, put, sent ->       stores it, fetches up to the sponsor's frontier
        poll(): clears the mailbox                 <-         says so

What the letters hold, and why both people must compare the codes, is in `vaultsync.crypto.pairing`; here is the I/O.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple

from vaultsync.crypto.invitation import Invitation
from vaultsync.crypto.keys import Chain, DeviceKeys
from vaultsync.crypto.letters import Letter, Stage
from vaultsync.crypto.pairing import Inviter, Joiner, Welcome
from vaultsync.crypto.roster import Claim, Frontier
from vaultsync.crypto.roster_entry import entry_hash
from vaultsync.errors import (
    NotConnected,
    PairingFailed,
    RemoteError,
    RemoteUnavailable,
    UsageError,
    WrongInvitation,
)
from vaultsync.remote.port import Remote
from vaultsync.remote.signing import UnknownThere
from vaultsync.vault import unlocking
from vaultsync.vault.catching_up import applied_here, insist
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import ROSTER, AccountSlot, Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership import qr
from vaultsync.vault.membership.access import shared
from vaultsync.vault.membership.mailbox import CLOSED, Mailbox
from vaultsync.vault.membership.meeting import Meeting
from vaultsync.vault.replication.syncing import Syncing

__all__ = ["PAIRING", "Newcomer", "Pairing", "Stage", "ask_in"]

PAIRING: Final = "pairing/"
"""Prefix of the names under which running invitations are stored; the mailbox in hex follows."""
_MOST_MINUTES: Final = 24 * 60
_GRACE_MS: Final = 24 * 3_600_000
"""How long an answer waits for a device that was let in and never said that it has everything."""
_WAIT_SECONDS: Final = 2.0
_RECEIPT: Final = 5
_RECEIPT_SECONDS: Final = 3.0
_TOO_OLD: Final = "the invitation is too old: make a new one"


class Pairing:
    """An invitation, and how far it is. From ``vault.invite()``; thread-safe. When the vault is closed, or its process
    dies, it waits in the store: ``vault.pending`` of the vault that is opened again goes on with it.

    Call `poll` every second or so (`wait` sleeps in between). At ``Stage.COMPARING`` show `device` and `code`; when the
    person says that the new device shows the same six digits, `approve`, else `refuse`. Then poll on until
    ``Stage.DONE``: the new device has everything. As a context manager it is closed at the end.
    """

    def __init__(
        self,
        ledger: Ledger,
        syncing: Syncing,
        environment: Environment,
        *,
        valid_minutes: float = 15,
        stored: bytes | None = None,
        kept: bool = True,
    ) -> None:
        """``stored``: one that is gone on with; ``kept``: whether to store it. Raises `NotConnected`, and `UsageError`
        for times and addresses that do not fit into an invitation."""
        if not 0 < valid_minutes <= _MOST_MINUTES:
            raise UsageError("an invitation is valid for up to a day: valid_minutes takes up to 1440")
        url, remote = syncing.url, syncing.remote
        if url is None or remote is None:
            raise NotConnected("the two devices meet on the vault's remote: connect the vault to one first")
        identity = unlocking.load_identity(ledger)
        self._approved_ms: int | None = None
        if stored is None:
            expires_ms = environment.now_ms() + int(valid_minutes * 60_000)
            invitation = Invitation.make(
                url, expires_ms=expires_ms, entropy=environment.entropy, vault_id=identity.vault_id
            )
            self._inviter = Inviter(invitation, identity.keys, identity.roster, entropy=environment.entropy)
        else:
            approved = int.from_bytes(stored[:8], "big")
            self._approved_ms = approved or None
            self._inviter = Inviter.from_bytes(stored[8:], identity.keys, identity.roster, entropy=environment.entropy)
            invitation = self._inviter.invitation
        self.name: Final = PAIRING + invitation.mailbox.hex()
        """Where it is kept in the store."""
        self._meeting = Meeting(remote, invitation)
        self._box = Mailbox(self._meeting.remote, invitation.mailbox)
        self._ledger, self._syncing, self._environment = ledger, syncing, environment
        self._lock = threading.RLock()
        self._kept, self._saved = kept, stored
        self._cleared = False
        self.reason = ""
        """Why it failed, for a person; empty while it did not."""
        self._save()
        with contextlib.suppress(RemoteUnavailable):  # the next poll tries again
            self._meeting.open(environment.now_ms())

    def _save(self) -> None:
        """Before anything is put that follows from it: another process goes on with the same letters."""
        now = (self._approved_ms or 0).to_bytes(8, "big") + self._inviter.to_bytes()
        if self._kept and now != self._saved:
            with self._ledger.write() as transaction:
                transaction.set_state(self.name, now)
            self._saved = now

    @property
    def over(self) -> bool:
        """Whether nothing is left to do for it, here or on the remote."""
        return self._cleared

    # ---- seeing -----------------------------------------------------------------------------------------------
    @property
    def invitation(self) -> str:
        """The text to hand to the new device. Whoever reads it can ask to be let in, but not without `approve`."""
        return str(self._inviter.invitation)

    @property
    def expires_ms(self) -> int:
        """Until when somebody may be let in, by this device's clock."""
        return self._inviter.invitation.expires_ms

    def svg(self, *, scale: int = 4) -> str:
        """The invitation as a QR code, an SVG document. Raises `ExtraMissing` without the extra ``qr``."""
        return qr.svg(self.invitation, scale=scale)

    def terminal(self) -> str:
        """The invitation as a QR code of block characters. Raises `ExtraMissing` without the extra ``qr``."""
        return qr.terminal(self.invitation)

    @property
    def stage(self) -> Stage:
        """As of the last `poll`."""
        return self._inviter.stage

    @property
    def code(self) -> str | None:
        """Six digits, once known: to be shown, and compared with what the new device shows."""
        return self._inviter.code

    @property
    def device(self) -> str:
        """What the new device calls itself; empty until one asked to be let in."""
        return self._inviter.name

    @property
    def contested(self) -> bool:
        """Another device answered the invitation, too: the first is talked to. Say so beside the code."""
        return self._inviter.contested

    def __repr__(self) -> str:
        return f"<Pairing: {self.stage.value}>"

    # ---- going on ---------------------------------------------------------------------------------------------
    def poll(self) -> Stage:
        """Take in what came, put what is to be there, clear away what is over; returns the stage.

        Raises `RemoteError` while the remote does not answer: poll again.
        """
        with self._lock:
            if self._cleared:
                return self.stage
            try:
                self._check_time()
                if self.stage is not Stage.FAILED:
                    self._meeting.open(self._environment.now_ms())
                    self._box.look((1, 3, _RECEIPT))
                    self._box.read(lambda data: self._inviter.receive(data, now_ms=self._environment.now_ms()))
                    self._save()
                    self._box.put(self._inviter.outbox)
            except UnknownThere as error:
                raise self._meeting.lost(error) from None
            except (PairingFailed, WrongInvitation) as error:
                self.reason = str(error)
            unheard = self.stage is Stage.ANSWERED and self._environment.now_ms() >= self.expires_ms + _GRACE_MS
            if unheard or self.stage in (Stage.DONE, Stage.FAILED):
                self._clear()
            return self.stage

    def wait(self, seconds: float = _WAIT_SECONDS) -> None:
        """Sleep until there may be something to poll for."""
        self._box.wait(seconds)

    def approve(self) -> None:
        """The person says that both codes are equal: the device is stored and put into the list of devices, what is new
        here is sent, and the device is told.

        Raises `UsageError` when nobody waits, `WrongInvitation` when it took too long, and `RemoteError` or `StoreBusy`
        when it could not be sent now: approve again, which adds nothing twice.
        """
        with self._lock:
            claim = self._inviter.claim
            if claim is None or self.stage is not Stage.COMPARING:
                raise UsageError("no device waits to be let in")
            self._check_time()
            now = self._approved_ms = self._approved_ms or self._environment.now_ms()
            self._save()
            self._add(claim)
            self._syncing.relearn()
            self._syncing.run()
            self._inviter.approve(self._welcome(), now_ms=now)
            self._save()
            with contextlib.suppress(RemoteError):  # the next poll puts it
                self._box.put(self._inviter.outbox)

    def _check_time(self) -> None:
        late = self._environment.now_ms() >= self.expires_ms and self._approved_ms is None
        if late and self.stage in (Stage.WAITING, Stage.COMPARING):
            self._inviter.refuse()
            self.reason = _TOO_OLD
            raise WrongInvitation(_TOO_OLD)

    def _add(self, claim: Claim) -> None:
        identity = unlocking.load_identity(self._ledger)
        if claim.public.id in identity.roster.members:
            return
        _, data = identity.roster.add_device(identity.keys, claim)
        with self._ledger.noting() as transaction:
            transaction.set_state(ROSTER + entry_hash(data).hex(), data)

    def _welcome(self) -> Welcome:
        identity = unlocking.load_identity(self._ledger)
        return Welcome(
            identity.vault_id,
            identity.roster_key,
            tuple(entry.data for entry in identity.roster.log),
            locator=identity.account.locator,
            number=identity.account.number,
            account=identity.account.data,
            frontier=applied_here(self._ledger, identity),
            access=shared(self._ledger, identity),
        )

    def refuse(self) -> None:
        """The person says that the codes differ, or wants nobody let in any more. Raises `UsageError` when the device
        was let in already."""
        with self._lock:
            if self.stage in (Stage.ANSWERED, Stage.DONE):
                raise UsageError("the device was let in already: it is one of the vault's devices now")
            if self.stage is not Stage.FAILED:
                self._inviter.refuse()
                self._save()
                self.reason = "refused on this device"
            with contextlib.suppress(RemoteError):  # the next poll tries again
                self._clear()

    def close(self) -> None:
        """End it: refused when nobody was let in yet. An answer that was not fetched yet stays for its device."""
        with self._lock:
            if self.stage in (Stage.WAITING, Stage.COMPARING):
                self.refuse()

    def __enter__(self) -> Pairing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _clear(self) -> None:
        if self._cleared:
            return
        told = self.stage is Stage.FAILED and self._box.met
        if told:
            self._box.put((CLOSED,))  # taken away by the device that it is for
        with contextlib.suppress(UnknownThere):  # gone is as good as empty
            self._box.clear()
            if not told:
                self._meeting.end()
        self._meeting.close()
        self._cleared = True
        if self._kept:
            with self._ledger.write() as transaction:
                transaction.set_state(self.name, None)


# ---- the newcomer -------------------------------------------------------------------------------------------------
class Newcomer(NamedTuple):
    """Let in: who this device is, what opens relays to it, how far it has to fetch, and the call that tells the sponsor
    that it did."""

    identity: Identity
    access: bytes
    frontier: Frontier
    finish: Callable[[], None]


def ask_in(
    remote: Remote,
    invitation: Invitation,
    name: str,
    environment: Environment,
    *,
    show_code: Callable[[str], object],
    deadline: float,
) -> Newcomer:
    """Ask to be let in, and wait for it until ``deadline`` (of the environment's monotonic clock, seconds).

    ``show_code`` is called once, and may return ``False``: the codes differ. Raises `WrongInvitation` when nobody
    answers, `PairingFailed` when it is refused, not approved in time or somebody else uses the invitation,
    `UpdateRequired`, `RemoteError`. This device's letters are gone from the mailbox then.
    """
    keys = DeviceKeys.generate(environment.entropy)
    chain = Chain.new(keys.public.id, environment.entropy)
    joiner = Joiner(invitation, keys, chain, name, entropy=environment.entropy)
    box = Mailbox(remote, invitation.mailbox)
    try:
        _converse(joiner, box, environment, show_code, deadline)
    except BaseException:
        with contextlib.suppress(RemoteError):
            box.remove((*joiner.outbox, *((CLOSED,) if box.closed else ())))
        raise
    if joiner.joined is None:  # pragma: no cover - _converse returns when it is set
        raise PairingFailed("the pairing did not end: begin anew, with a new invitation")
    roster, welcome = joiner.joined
    account = AccountSlot(welcome.locator, welcome.number, welcome.account)
    identity = Identity(welcome.vault_id, keys, name, chain, welcome.roster_key, account, roster)

    def finish() -> None:
        receipt = [letter for letter in joiner.outbox if letter.number == _RECEIPT]
        with contextlib.suppress(RemoteError):  # the sponsor then only does not hear that all went well
            insist(lambda: box.put(receipt), environment, deadline=environment.monotonic() + _RECEIPT_SECONDS)

    return Newcomer(identity, welcome.access, welcome.frontier, finish)


def _converse(
    joiner: Joiner, box: Mailbox, environment: Environment, show_code: Callable[[str], object], deadline: float
) -> None:
    away: RemoteUnavailable | None = None
    shown = False
    while True:
        try:
            box.look((2, 4))
            box.read(joiner.receive)
            box.put(_unfinished(joiner))
            away = None
        except RemoteUnavailable as error:
            away = error
        if joiner.joined is None and box.closed:
            raise PairingFailed("the other device did not let this one in: begin anew, with a new invitation")
        if not shown and (code := joiner.code) is not None and _asked(joiner, box):
            shown = True
            if show_code(code) is False:
                joiner.refuse()
                raise PairingFailed("the two devices showed different codes: begin anew, with a new invitation")
            joiner.confirm()
        if joiner.joined is not None:
            return
        left = deadline - environment.monotonic()
        if left <= 0:
            raise _late(joiner, box, away)
        box.wait(min(left, _WAIT_SECONDS))


def _unfinished(joiner: Joiner) -> list[Letter]:
    return [letter for letter in joiner.outbox if letter.number != _RECEIPT]


def _asked(joiner: Joiner, box: Mailbox) -> bool:
    """Whether the letter that gives the sponsor the code is in the mailbox: a person compares while this waits."""
    try:
        box.put(_unfinished(joiner))
    except RemoteUnavailable:
        return False
    return True


def _late(joiner: Joiner, box: Mailbox, away: RemoteUnavailable | None) -> Exception:
    if box.newer is not None:
        return box.newer
    if joiner.stage is not Stage.WAITING:
        return PairingFailed("the other device did not let this one in in time: begin anew, with a new invitation")
    if away is not None:
        return away
    return WrongInvitation(
        "nobody answers this invitation: it is too old or was used already, or the other device does not reach the "
        "remote. Make a new one there"
    )

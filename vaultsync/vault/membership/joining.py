"""How a device gets into a vault: by password and recovery code, or by an invitation; and what it fetches first.

Nothing is written to the remote, but where a relay has to let the device in, before everything was fetched: the vault
may belong to another schema, or to a newer format.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from vaultsync.crypto.invitation import Invitation
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.errors import NotArrived, RemoteUnavailable, WrongInvitation
from vaultsync.remote import Remote
from vaultsync.remote.signing import AccessControlled, UnknownThere
from vaultsync.vault import unlocking
from vaultsync.vault.catching_up import fetch_up_to
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import NO_ACCOUNT, Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership import access, account, arriving
from vaultsync.vault.membership.meeting import meeting_place
from vaultsync.vault.membership.pairing import Newcomer, ask_in
from vaultsync.vault.replication.exchange import Exchange
from vaultsync.vault.replication.inspection import Show
from vaultsync.vault.unlocking import Secrets

_KEPT: Final = "This device is let in and its file is there: open it when the remote answers, and it goes on"

__all__ = ["Arrival", "by_code", "by_invitation"]


class Arrival(NamedTuple):
    """A new file with an identity in it, and what is left to do: ``fetch`` everything, then ``finish``. ``fetch`` gets
    who may look at what comes before it is verified.

    ``deadline``: until when a remote that is away is waited for, of the environment's monotonic clock.
    """

    ledger: Ledger
    remote: Remote
    url: str
    deadline: float
    fetch: Callable[[Show | None], None]
    finish: Callable[[], None]


def by_code(
    path: str | os.PathLike[str],
    remote: Remote,
    url: str,
    code: RecoveryCode,
    name: str,
    secrets: Secrets,
    *,
    password: str,
    environment: Environment,
) -> Arrival:
    """With the account that lies on the remote. Raises what `account.open_account` and `create_store` do, and
    `VaultNotFound` while the list of devices is not there yet. ``remote`` is closed then."""
    inner: Remote | None = None
    try:
        opened = account.open_account(remote, NO_ACCOUNT, code, password, environment)
        recovery, known = opened.contents.recovery, None
        if isinstance(remote, AccessControlled):
            signer = access.RecoverySigner(recovery, remote.account_bucket(opened.slot.locator))
            inner = remote.at(signer)
            inner.members()
            roster = account.read_roster(inner, opened.contents)
            if signer.known is not None and signer.known.owner == access.owner_of(roster):
                known = signer.known
        else:
            roster = account.read_roster(remote, opened.contents)
        identity = Identity.added(name, opened.contents, opened.slot, roster, environment)
        listed = access.joining(recovery, identity.roster, known)
        ledger = unlocking.create_store(path, identity, secrets, environment, access=listed)
        arriving.begun(ledger, url, {})  # killed before it is connected, it goes on when it is opened
    except BaseException:
        remote.close()
        raise
    finally:
        if inner is not None:
            inner.close()
    own = _own(remote, ledger, identity)
    load = partial(unlocking.load_identity, ledger)

    def fetch(show: Show | None) -> None:
        Exchange(ledger, own, url, environment, load_identity=load, show=show).run(receive_only=True)

    return Arrival(ledger, own, url, 0.0, fetch, lambda: None)


def by_invitation(
    path: str | os.PathLike[str],
    remote: Remote,
    url: str,
    invitation: Invitation,
    name: str,
    secrets: Secrets,
    *,
    show_code: Callable[[str], object],
    deadline: float,
    environment: Environment,
) -> Arrival:
    """Let in by a device that shows the invitation. Raises what `ask_in` and `create_store` do; ``remote`` is closed
    then."""
    place = meeting_place(remote, invitation)

    def leave() -> None:
        if place is not remote:
            place.close()

    try:
        let_in = _asked(place, invitation, name, environment, show_code, deadline)
        ledger = unlocking.create_store(path, let_in.identity, secrets, environment, access=let_in.access)
        arriving.begun(ledger, url, let_in.frontier)
    except BaseException:
        leave()
        remote.close()
        raise
    own = _own(remote, ledger, let_in.identity)

    def fetch(show: Show | None) -> None:
        try:
            fetch_up_to(ledger, own, url, environment, let_in.frontier, deadline=deadline, show=show)
        except NotArrived as error:
            raise NotArrived(f"{str(error).rstrip('.')}. {_KEPT}", error.findings) from None
        except RemoteUnavailable as error:
            raise RemoteUnavailable(f"{error}. {_KEPT}") from None

    def finish() -> None:
        let_in.finish()
        leave()

    return Arrival(ledger, own, url, deadline, fetch, finish)


def _asked(
    place: Remote,
    invitation: Invitation,
    name: str,
    environment: Environment,
    show_code: Callable[[str], object],
    deadline: float,
) -> Newcomer:
    try:
        return ask_in(place, invitation, name, environment, show_code=show_code, deadline=deadline)
    except UnknownThere:
        raise WrongInvitation(
            "the relay knows nothing of this invitation: it is too old or was used already. Make a new one"
        ) from None


def _own(remote: Remote, ledger: Ledger, identity: Identity) -> Remote:
    """The remote as this device, which is a member now, asks it."""
    if not isinstance(remote, AccessControlled):
        return remote
    own = remote.at(access.DeviceSigner(ledger, identity))
    remote.close()
    return own

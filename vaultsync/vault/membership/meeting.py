"""Where the two devices of a pairing meet. On most remotes: in the vault's own place. On a relay, which lets nobody but
a vault's devices into its bucket: in a mailbox, a bucket of its own whose key both sides derive from the invitation.

The sponsor, a member, opens the mailbox; the relay bounds what it may hold, and removes it when its time is up. Whoever
sees the invitation can read, write and remove letters there, as on any remote, and nothing else.
"""

from __future__ import annotations

from typing import Final

from vaultsync.crypto.invitation import Invitation
from vaultsync.errors import RemoteUnavailable
from vaultsync.remote import Remote
from vaultsync.remote.signing import AccessControlled, Membership, UnknownThere, bucket_of

__all__ = ["Meeting", "meeting_place"]

_GRACE_SECONDS: Final = 3600.0
"""How long an answer may lie there after the invitation has ended: somebody was let in at the last moment."""


class _MailboxSigner:
    """Who has the invitation."""

    def __init__(self, invitation: Invitation) -> None:
        key = invitation.access()
        self.bucket: Final = bucket_of(key.public)
        self.public: Final = key.public
        self.sign: Final = key.sign

    def membership(self) -> Membership | None:
        """See ``Signer``. Nothing: only a member of the vault's bucket opens a mailbox."""
        return None

    def remember(self, membership: Membership) -> None:
        """See ``Signer``."""


def meeting_place(remote: Remote, invitation: Invitation) -> Remote:
    """The remote to find the letters on: ``remote`` itself, or the mailbox on its relay (closed by itself)."""
    return remote.at(_MailboxSigner(invitation)) if isinstance(remote, AccessControlled) else remote


class Meeting:
    """The sponsor's side of it. Not thread-safe."""

    def __init__(self, remote: Remote, invitation: Invitation) -> None:
        self.remote: Final = meeting_place(remote, invitation)
        self._relay = remote if isinstance(remote, AccessControlled) else None
        self._invitation = invitation
        self._open = False

    def open(self, now_ms: int) -> None:
        """See to it that the place is there. Raises `RemoteError`."""
        if self._relay is None or self._open:
            return
        key = self._invitation.access()
        left = max(0.0, (self._invitation.expires_ms - now_ms) / 1000)
        self._relay.open_mailbox(Membership.edit(key.sign, key.public, 0, ()), left + _GRACE_SECONDS)
        self._open = True

    def lost(self, error: UnknownThere) -> RemoteUnavailable:
        """The relay forgot the place: it is opened again. Returns what to raise meanwhile."""
        self._open = False
        return RemoteUnavailable(str(error))

    def end(self) -> None:
        """Nobody needs the place any more. Raises `RemoteError`."""
        if self._relay is not None:
            self._relay.close_mailbox(bucket_of(self._invitation.access().public))

    def close(self) -> None:
        """Let go of the connection."""
        if self._relay is not None:
            self.remote.close()

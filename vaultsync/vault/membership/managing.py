"""The part of a vault's public face that is about its devices and secrets: who is in, who goes, what opens it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vaultsync.errors import UsageError
from vaultsync.vault.lifecycle import Lifecycle
from vaultsync.vault.membership.devices import DeviceInfo, devices
from vaultsync.vault.membership.owner import CODE, Owner
from vaultsync.vault.membership.pairing import Pairing
from vaultsync.vault.membership.passwords import PasswordChange, change_password
from vaultsync.vault.membership.revocations import LateEdit, Revocation, revocations, undo

__all__ = ["Managing"]


class Managing(Lifecycle):
    """A vault as one of a person's devices. `Vault` is one."""

    @property
    def _owner(self) -> Owner:
        works = self._works
        return Owner(works.ledger, works.syncing, self._environment)

    # ---- devices ----------------------------------------------------------------------------------------------
    @property
    def devices(self) -> tuple[DeviceInfo, ...]:
        """The person's devices, this one first."""
        self._check_open()
        works = self._works
        works.picture.current()
        return devices(works.identity, works.picture.context.census, works.ledger)

    def invite(self, *, valid_minutes: float = 15) -> Pairing:
        """Let another device in without the recovery code: show the result's text or QR code there, see `Pairing`.

        Raises `NotConnected` when the vault has no remote for the two to meet on.
        """
        self._check_open()
        return self._works.pairings.begin(valid_minutes)

    @property
    def pending(self) -> tuple[Pairing, ...]:
        """Devices that ask to be let in: each with `device`, its name, and `code`, six digits that the person compares
        with those on the device; then `approve` or `refuse`.

        Looks into the mailboxes of every invitation that is not over, those of an earlier run included; a remote that
        does not answer has nothing to say.
        """
        self._check_open()
        return self._works.pairings.tend()

    def approve(self, request: Pairing, /) -> None:
        """Let a device of `pending` in: the person says that both show the same digits. Raises as `Pairing.approve`,
        and `UsageError` for a request that is over."""
        self._check_open()
        self._works.pairings.find(request).approve()

    def refuse(self, request: Pairing, /) -> None:
        """Do not let a device of `pending` in; the invitation is void."""
        self._check_open()
        self._works.pairings.find(request).refuse()

    def revoke(self, device: DeviceInfo | str, /, *, password: str, code: str) -> Revocation:
        """Remove a device: it cannot read what is written from now on, and nothing it writes is accepted any more.

        Takes the account's password and the recovery code, on any of the person's devices. What the device has read it
        keeps: the result says which secrets to change, and which of its last edits to look at. A folder or object store
        does not know devices: change its credentials, too, if the device had them.

        Raises `UsageError` for this device itself and for an unknown id, `WrongPassword`, `WrongCode`, `RemoteError`
        and `StoreBusy`; then nothing has changed.
        """
        self._check_open()
        device_id = device if isinstance(device, str) else device.id
        published = self._owner.remove(_id(device_id), password, code)
        made = next(one for one in self.revocations if one.device_id == device_id)
        return replace(made, published=published)

    @property
    def revocations(self) -> tuple[Revocation, ...]:
        """Every device that was removed, on whichever device that was done, the last one first."""
        self._check_open()
        self._works.picture.current()
        return revocations(self._works)

    def undo(self, edits: Iterable[LateEdit], /) -> tuple[LateEdit, ...]:
        """Take back edits that `Revocation.late_edits` lists, as ordinary edits in one batch. Returns those that were
        left as they are: changed again since, or not editable here."""
        self._check_open()
        works = self._works
        newest_first = sorted(edits, key=lambda one: -(one.revision.time or 0))
        return undo(newest_first, works.desk)

    def rotate(self, *, password: str, code: str) -> bool:
        """Begin a new key for the devices there are; asked for by ``status.needs_rotation``. Returns whether the remote
        has it already. Raises as `revoke`."""
        self._check_open()
        return self._owner.rotate(password, code)

    # ---- passwords --------------------------------------------------------------------------------------------
    def change_password(
        self, old: str, new: str, /, *, code: str | None = None, leaked: bool = False
    ) -> PasswordChange:
        """Another password. Without ``code`` for this device's file alone: joining by recovery code goes on taking the
        old one. With the recovery ``code`` the account takes the new password, too.

        With ``leaked`` everything that the old password and code gave power over is replaced: the result holds a new
        recovery code, and the old one lets nobody in and removes nobody any more. Other devices go on working; their
        files keep their passwords.

        Raises `WrongPassword`, `WrongCode`, `UsageError`, with ``code`` also `RemoteError`; then nothing has changed.
        """
        self._check_open()
        works = self._works
        made = change_password(works.ledger, self._owner, self._environment, old, new, code, leaked=leaked)
        if made.recovery_code is not None:
            self.recovery_code = made.recovery_code
        return made

    def renew_recovery_code(self, password: str, code: str, /) -> str:
        """A new recovery code, to be shown once; the old one has no power from then on. Raises as `change_password`."""
        self._check_open()
        self.recovery_code, _ = self._owner.renew(password, code, password)
        return self.recovery_code

    @property
    def unseen_recovery_code(self) -> str | None:
        """A renewed recovery code that nobody confirmed to have written down (`recovery_code_seen`): it survives a
        crash between being made and being shown. ``None`` when there is none."""
        self._check_open()
        stored = self._works.ledger.state(CODE)
        return None if stored is None else stored.decode()

    def recovery_code_seen(self) -> None:
        """The person has written the new recovery code down: forget it here."""
        self._check_open()
        with self._works.ledger.noting() as transaction:
            transaction.set_state(CODE, None)
        self.recovery_code = None


def _id(device_id: str) -> bytes:
    try:
        return bytes.fromhex(device_id)
    except ValueError:
        raise UsageError("there is no device with that id in this vault") from None

"""Taking a vault from one remote to another, and going after a device that did."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from vaultsync.crypto.moving import Notice
from vaultsync.errors import RemoteError, StoreBusy, UsageError
from vaultsync.remote import Remote
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger, Notes
from vaultsync.vault.replication.links import Link
from vaultsync.vault.replication.moving import (
    Farewells,
    announce,
    copy_attachments,
    copy_rest,
    find_notice,
    holds_vault,
    leave,
    moved_rank,
    note,
)

if TYPE_CHECKING:
    from vaultsync.vault.replication.syncing import Syncing

__all__ = ["Mover"]

_PATIENCE: Final = 30.0
"""Seconds to wait for a pass of another thread or process of this device."""


class Mover:
    """The moves of one vault's syncing."""

    def __init__(
        self, syncing: Syncing, ledger: Ledger, environment: Environment, identity: Callable[[], Identity]
    ) -> None:
        self.elsewhere: tuple[Notice, str] | None = None
        """Where the vault moved, and why it is not followed there."""
        self._syncing = syncing
        self._ledger = ledger
        self._environment = environment
        self._identity = identity
        self._farewells = Farewells(ledger)

    def connect(self, url: str, remote: Remote) -> None:
        """Another primary remote for a vault that has one. Nothing changed when it raises."""
        if self.elsewhere is not None:  # it moved there already, and has another address here
            self._arrive(url, remote, self.elsewhere[0])
        else:
            self._move(url, remote)

    def _move(self, url: str, remote: Remote) -> None:
        syncing = self._syncing
        syncing.pause()
        old, new = syncing.links[0], syncing.make_link(url, remote)
        try:
            with syncing.turn(_PATIENCE) as mine:
                if not mine:
                    raise StoreBusy("another program is syncing this vault: try again in a moment")
                self._bring_everything(old, new, remote)
        except BaseException:
            if url not in syncing.settings.urls:
                with self._ledger.store.write() as writing:
                    writing.forget_remote(url)
            syncing.start()
            raise
        notice = announce(self._ledger, self._identity(), self._environment, url)

        def also(transaction: Notes) -> None:
            note(transaction, notice)
            self._farewells.add(transaction, self._identity(), notice, old.url)

        syncing.use(syncing.settings.moved(url), {url: remote}, also=also, keep=old)
        larger = None
        try:
            larger = leave(old.remote, remote, self._identity(), notice, syncing.open_at_address)
            self._farewells.done(old.url)
        except (RemoteError, UsageError):
            pass  # what was to be left waits until that place can be reached
        finally:
            old.close()
        if larger is not None:
            self.follow(larger)

    def _bring_everything(self, old: Link, new: Link, remote: Remote) -> None:
        source = None
        with contextlib.suppress(RemoteError, UsageError):  # moving away from a place that is gone is possible
            old.forget()
            old.run(None)
            source = old.remote
        self._syncing.lacks_everything(new.url)
        copy_attachments(self._ledger, self._identity(), source, remote)
        new.run(None)
        if source is not None:
            copy_rest(self._identity(), source, remote)

    # ---- following --------------------------------------------------------------------------------------------
    def look(self, link: Link) -> Notice | None:
        """After a pass with the primary remote: whether another device moved the vault. Costs one listing."""
        if link not in self._syncing.links[:1]:
            return None
        with contextlib.suppress(RemoteError):
            notice = find_notice(link.remote, self._identity(), moved_rank(self._ledger))
            if notice is None:
                self.elsewhere = None
            if self._farewells.waiting():
                self._farewells.deliver(self._syncing.open_at_address)
            return notice
        return None

    def follow(self, notice: Notice) -> None:
        """Go where the notice says, or remember why not."""
        try:
            remote = self._syncing.open_at_address(notice.url)
            there = holds_vault(remote, self._identity())
        except (RemoteError, UsageError) as error:
            self.elsewhere = (notice, str(error))
            return
        if there:
            self._arrive(notice.url, remote, notice)
        else:
            remote.close()
            self.elsewhere = (notice, "nothing of this vault is to be seen there")

    def _arrive(self, url: str, remote: Remote, notice: Notice) -> None:
        syncing = self._syncing
        syncing.lacks_everything(url)
        syncing.use(syncing.settings.moved(url), {url: remote}, also=lambda transaction: note(transaction, notice))

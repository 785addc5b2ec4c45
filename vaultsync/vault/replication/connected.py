"""The part of a vault's public face that is about its remotes: where it syncs, when, and how that stands."""

from __future__ import annotations

from collections.abc import Callable

from vaultsync.remote import Remote
from vaultsync.sync.report import Finding, SyncReport
from vaultsync.vault.lifecycle import Lifecycle
from vaultsync.vault.replication.standing import Progress, Status
from vaultsync.vault.replication.syncing import Syncing

__all__ = ["Connected"]


class Connected(Lifecycle):
    """A vault as a replica. `Vault` is one."""

    @property
    def _syncing(self) -> Syncing:
        return self._works.syncing

    def connect(self, url: str, /, *, remote: Remote | None = None, mirror: bool = False) -> None:
        """Sync with this remote from now on: ``file:///path`` of any folder, ``https://`` of a relay, ``s3://``,
        ``gs://``, ``az://`` or ``dav+https://``. With ``mirror`` in addition to the one there is: each holds
        everything, and one that works keeps this device going.

        Raises `UnsupportedRemote`, `ExtraMissing`, `RemoteError`, and `NotConnected` for a mirror of nothing.
        """
        self._check_open()
        self._syncing.connect(url, remote, mirror=mirror)

    def disconnect(self, url: str | None = None, /) -> None:
        """Sync no more, or no more with one remote or mirror; what is there stays there. Raises `NotConnected`."""
        self._check_open()
        self._syncing.disconnect(url)

    @property
    def mirrors(self) -> tuple[str, ...]:
        """Addresses of the remotes that the vault syncs with besides ``status.remote``."""
        return self._syncing.mirrors

    def sync(self, *, progress: Callable[[Progress], None] | None = None) -> SyncReport:
        """One exchange with every remote now, whether or not automatic sync is on. A remote that fails is told in
        ``status`` as long as another one works. Raises `NotConnected`, `RemoteError`, `StoreBusy`."""
        self._check_open()
        self._syncing.progress = progress or (lambda _: None)
        return self._syncing.run()

    def wake(self) -> None:
        """The network may be back (a hint of the platform, the application came to the front): a remote that was away
        is tried at once. Returns at once, does nothing while automatic sync is off, and cannot be called too often."""
        self._check_open()
        self._syncing.wake()

    def checkpoint(self) -> bool:
        """Sync, and write a checkpoint of everything, whether it pays yet or not (it is done by itself when it does);
        ``False`` when that is not possible just now. Raises `NotConnected`, `RemoteError`, `StoreBusy`."""
        self._check_open()
        return self._syncing.checkpoint()

    def probe(self) -> None:
        """Ask the remote for something small, and exchange nothing. Raises `NotConnected` and `RemoteError` when it
        does not answer as it should."""
        self._check_open()
        self._syncing.probe()

    @property
    def auto_sync(self) -> bool:
        """Whether edits are pushed and news pulled by themselves. On in a new vault; what is set is remembered."""
        return self._syncing.auto

    @auto_sync.setter
    def auto_sync(self, on: bool) -> None:
        self._check_open()
        self._syncing.auto = on

    @property
    def status(self) -> Status:
        """How syncing stands, for a user interface."""
        self._check_open()
        return self._syncing.status

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was ever noticed about remotes and devices, the newest last; `status` has what lasts."""
        self._check_open()
        return self._syncing.findings.all()

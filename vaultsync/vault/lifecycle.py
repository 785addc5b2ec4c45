"""Open, locked or closed: what there is of a vault at which time, and how it gets from one to the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from vaultsync.crypto.slots import Argon2Params
from vaultsync.errors import UsageError, VaultClosed, VaultLocked
from vaultsync.vault import unlocking
from vaultsync.vault.desk import Quota
from vaultsync.vault.environment import Environment
from vaultsync.vault.events import Bus, Event, EventKind
from vaultsync.vault.identity import Identity
from vaultsync.vault.keyring import forget, is_remembered, remember
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.locking import AutoLock
from vaultsync.vault.membership import passwords
from vaultsync.vault.replication.standing import Status
from vaultsync.vault.unlocking import Secrets
from vaultsync.vault.works import Works

__all__ = ["Lifecycle"]


class _Build(Protocol):
    """Puts the parts of an open vault together."""

    def __call__(self, ledger: Ledger, identity: Identity, *, bus: Bus) -> Works: ...


class Lifecycle:
    """The part of a vault's public face that is about the object itself. Everything that holds keys or contents is in
    its `Works`, which go when it is locked or closed; subscribers, quota and what it is called stay."""

    def __init__(self, ledger: Ledger, identity: Identity, environment: Environment, build: _Build) -> None:
        self.recovery_code: str | None = None
        """The code that, with the password, lets another device in. Set only on the object that `Vault.create`
        returned: show it once, have it printed, keep it nowhere."""
        self._path = ledger.store.path
        self._vault_id = identity.vault_id
        self._environment = environment
        self._bus = Bus(self._status_told, self._look)
        self._closed = False
        self._costs: Argon2Params | None = None  # of the password, while it is locked
        self._latch = threading.Lock()  # of locking, unlocking and closing
        self._auto_lock = AutoLock(self.lock, environment)
        self._quota = Quota()
        self._build = build
        self._open_works: Works | None = build(ledger, identity, bus=self._bus)

    @property
    def path(self) -> str:
        """Of the vault's file."""
        return str(self._path)

    @property
    def locked(self) -> bool:
        """Whether `lock` was called, or the time of `auto_lock_seconds` is over."""
        return self._open_works is None and not self._closed

    def lock(self) -> None:
        """Let go of the keys, the document and every view held here, and stop syncing, until `unlock`.

        What was edited is durable already; a batch that is open in another thread fails when it ends. Views and entries
        that the application still holds are its own to drop. Subscribers stay and hear of it. Locking twice is
        harmless.
        """
        with self._latch:
            works, self._open_works = self._open_works, None
            if works is None:
                return
            self._quota, self.recovery_code = works.desk.quota, None
            self._costs = unlocking.costs(works.ledger)
            works.close()
        self._bus.tell(Event(EventKind.LOCKED))

    def unlock(self, *, password: str | None = None, key: bytes | None = None) -> None:
        """Open a locked vault again, as `open` does, and raises what that raises. Harmless when it is not locked."""
        with self._latch:
            if self._closed:
                raise VaultClosed("this vault object was closed: open the vault again")
            if self._open_works is not None:
                return
            secrets = Secrets(password, key)
            ledger, identity = unlocking.open_store(self._path, secrets, self._environment, at_least=self._costs)
            try:
                passwords.resume(ledger, self._environment)
                if identity.vault_id != self._vault_id:
                    raise UsageError(f"{self._path.name} is another vault than the one that was locked: open it anew")
                works = self._build(ledger, identity, bus=self._bus)
            except BaseException:
                ledger.close()
                raise
            works.desk.quota = self._quota
            self._open_works = works
            works.syncing.start()
        self._auto_lock.touch()
        self._bus.tell(Event(EventKind.UNLOCKED))

    @property
    def remembered(self) -> bool:
        """Whether the file opens with a key from the system's keyring, too."""
        self._check_open()
        return is_remembered(self._ledger)

    def remember(self) -> None:
        """Let this device open the file without the password: the operating system's keyring keeps a key for it, see
        `keyring_key`. Changing the password ends it. Raises `ExtraMissing`, `KeyringFailed`, `StoreFailed`."""
        self._check_open()
        remember(self._ledger, self._environment)

    def forget(self) -> bool:
        """Take that key away again, from the file and from the keyring; ``False`` when there was none."""
        self._check_open()
        return forget(self._ledger)

    @property
    def auto_lock_seconds(self) -> float | None:
        """Lock by itself when nothing was asked of this object for so long (time in a batch is use, syncing is not).

        ``None``, the default, is never. Not stored: the application sets it when it opens the vault.
        """
        return self._auto_lock.after

    @auto_lock_seconds.setter
    def auto_lock_seconds(self, seconds: float | None) -> None:
        self._check_open()
        self._auto_lock.after = seconds

    @property
    def _works(self) -> Works:
        if (works := self._open_works) is not None:
            return works
        if self._closed:
            raise VaultClosed("this vault object was closed: open the vault again")
        raise VaultLocked("this vault is locked: unlock it with the password or key")

    @property
    def _ledger(self) -> Ledger:
        return self._works.ledger

    def subscribe(
        self, callback: Callable[[Event], object], /, *, ended: Callable[[], object] = lambda: None
    ) -> Callable[[], None]:
        """Hear of edits, merges, status, progress and findings; the returned function ends it. See `Event`.

        Callbacks run in order on one thread of the library's own, under no lock, so they may use the vault. One that
        raises is logged and called again next time; a slow one delays only later events, of which some are then joined.
        After unsubscribing, also from within a callback, no call begins. ``ended()`` is called after the last event
        when the vault is closed.
        """
        self._check_open()
        return self._bus.subscribe(callback, ended)

    def _status_told(self) -> Status | None:
        works = self._open_works
        return None if works is None else works.syncing.status

    def _look(self) -> None:
        if (works := self._open_works) is not None:
            works.look_elsewhere()

    def close(self) -> None:
        """Stop syncing and let go of the file. What was edited is durable already."""
        self._auto_lock.stop()
        with self._latch:
            self._closed = True
            works, self._open_works = self._open_works, None
            if works is not None:
                works.close()
        self._bus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Vault {self._path.name!r}{' (closed)' if self._closed else ' (locked)' if self.locked else ''}>"

    def _check_open(self) -> None:
        """Raises `VaultClosed` and `VaultLocked`; every use of the vault comes by here."""
        self._works  # noqa: B018 - raises
        self._auto_lock.touch()

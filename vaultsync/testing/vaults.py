"""Vaults for tests: real ones on a real SQLite file, made in a few milliseconds and gone when they are closed."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from vaultsync.errors import UsageError
from vaultsync.remote.port import Remote
from vaultsync.schema.types import Schema
from vaultsync.testing import seeded
from vaultsync.vault.environment import Environment
from vaultsync.vault.vault import Vault
from vaultsync.view.picture import View

__all__ = ["KEY", "PASSWORD", "MemoryVault", "memory_vault", "scratch_folder"]

PASSWORD: Final = "correct horse battery staple"
"""The password of every vault that is made here."""
KEY: Final = bytes(range(32))
"""The raw key that opens the local file of every vault that is made here."""
URL: Final = "memory://"

_numbers = count(1)


def scratch_folder() -> Path:
    """A new folder in memory where the system has such a place (tmpfs), else among the temporary files."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder made there is private
    usable = sys.platform == "linux" and memory.is_dir() and os.access(memory, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="vaultsync-", dir=memory if usable else None))


class MemoryVault(Vault):
    """A `Vault` whose file lives in a scratch folder and is removed by `close`, or when nobody holds the vault."""

    _remove: weakref.finalize[[], Any] | None = None
    _world: tuple[Remote | None, Environment] | None = None

    def close(self) -> None:
        super().close()
        if self._remove is not None:
            self._remove()


def memory_vault(
    schema: Schema,
    *,
    seed: int | str | None = None,
    device: str = "This device",
    remote: Remote | None = None,
    joins: Vault | None = None,
    preview: Callable[[View], object] | None = None,
    environment: Environment | None = None,
) -> MemoryVault:
    """A vault with no key-derivation cost, in a temporary file that `close` removes.

    ``seed`` makes ids, keys and times replay (default: a fresh one a call; two devices need two). With ``remote``, a
    `MemoryRemote` say, the vault is connected to it and syncs when told to: ``vault.sync()``. ``joins`` makes it one
    more device of a vault made here that is connected: what that one knows is synced first, then fetched::

        laptop = memory_vault(schema, remote=MemoryRemote(), device="Laptop")
        phone = memory_vault(schema.at(3, "ios"), joins=laptop, device="Phone")

    ``preview`` is that of `Vault.join`.
    """
    world = environment if environment is not None else _environment(seed)
    folder = scratch_folder()
    vault: Vault
    path = folder / "memory.vault"
    try:
        if joins is None:
            vault = MemoryVault.create(
                path, schema=schema, password=PASSWORD, key=KEY, device=device, environment=world
            )
            vault.auto_sync = False
            if remote is not None:
                vault.connect(URL, remote=remote)
        else:
            remote = _shared(joins, remote)
            joins.sync()
            vault = MemoryVault.join(
                path,
                URL,
                schema=schema,
                password=PASSWORD,
                code=joins.recovery_code or "",
                preview=preview,
                key=KEY,
                device=device,
                environment=world,
                opener=_opener(remote),
                background=False,
            )
            vault.recovery_code = joins.recovery_code
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not isinstance(vault, MemoryVault):  # pragma: no cover - create and join make what they are called on
        raise TypeError(type(vault).__name__)
    vault._world = (remote, world)
    vault._remove = weakref.finalize(vault, partial(shutil.rmtree, folder, ignore_errors=True))
    return vault


def _environment(seed: int | str | None) -> Environment:
    return seeded.environment(f"{os.getpid()}/{next(_numbers)}" if seed is None else seed)


def _shared(joins: Vault, remote: Remote | None) -> Remote:
    """The remote that the earlier vault is connected to."""
    found = joins._world[0] if isinstance(joins, MemoryVault) and joins._world else None
    if remote is not None:
        return remote
    if found is None:
        raise UsageError("joins= takes a vault that was made by memory_vault(…, remote=…)")
    return found


def _opener(remote: Remote) -> Any:
    return lambda url: remote

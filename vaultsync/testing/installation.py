"""One simulated device: a file, a clock and randomness of its own, up to two processes that have the file open."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.document.engine import Engine
from vaultsync.remote.port import Remote
from vaultsync.schema.types import Schema
from vaultsync.testing.seeded import Clock, environment
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.environment import Environment
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Entry

__all__ = ["URL", "Installation"]

URL = "memory://simulated"


class Installation:
    """Runs ``schema``. ``vaults`` are the open processes, none when it is closed; ``made`` whether the file exists."""

    def __init__(self, name: str, seed: str, schema: Schema, remote: Remote, folder: Path) -> None:
        self.name = name
        self.schema = schema
        self.folder = folder / name
        self.folder.mkdir()
        self.vaults: list[Vault] = []
        self.made = False
        self.clock = Clock()
        self.handles: dict[str, tuple[Entry, int]] = {}
        """What the person looked at earlier, with the acts known then."""
        self._remote = remote
        self._seed = seed
        self._processes = 0

    @property
    def path(self) -> Path:
        return self.folder / "simulated.vault"

    @property
    def place(self) -> tuple[int, str]:
        return self.schema.version, self.schema.platform

    def __str__(self) -> str:
        return f"{self.name.partition(' ')[0]} (v{self.schema.version} {self.schema.platform})"

    def _environment(self) -> Environment:
        self._processes += 1
        return environment(f"{self._seed}/{self.name}/{self._processes}", clock=self.clock)

    # ---- files and processes ----------------------------------------------------------------------------------
    def found(self) -> str:
        """Make the vault; returns its recovery code."""
        vault = Vault.create(
            self.path, schema=self.schema, password=PASSWORD, key=KEY, device=self.name, environment=self._environment()
        )
        vault.auto_sync = False
        vault.connect(URL, remote=self._remote)
        self.vaults, self.made = [vault], True
        code = vault.recovery_code or ""
        RecoveryCode.parse(code)
        return code

    def join(self, code: str) -> None:
        """Become one more device of the vault on the remote."""
        vault = Vault.join(
            self.path,
            URL,
            schema=self.schema,
            password=PASSWORD,
            code=code,
            key=KEY,
            device=self.name,
            environment=self._environment(),
            opener=lambda url: self._remote,
            background=False,
        )
        self.vaults, self.made = [vault], True

    def open(self) -> Vault:
        """One more process on the file."""
        vault = Vault.open(
            self.path,
            schema=self.schema,
            key=KEY,
            environment=self._environment(),
            opener=lambda url: self._remote,
            background=False,
        )
        self.vaults.append(vault)
        return vault

    def close(self, vault: Vault, *, snapshot: bool = False) -> None:
        if snapshot:
            vault._ledger.snapshot(at_least=1)
        self.vaults.remove(vault)
        vault.close()

    def close_all(self) -> None:
        for vault in list(self.vaults):
            self.close(vault)

    # ---- looking ----------------------------------------------------------------------------------------------
    def any_vault(self, rng: random.Random) -> Vault:
        """One of the open processes, up to date with the others."""
        vault = rng.choice(self.vaults)
        vault.view()
        return vault

    @property
    def vault(self) -> Vault:
        """The first process, up to date with the others."""
        self.vaults[0].view()
        return self.vaults[0]

    @staticmethod
    def engine(vault: Vault) -> Engine:
        return vault._ledger.engine

    def files(self) -> Iterator[Path]:
        yield from sorted(path for path in self.folder.rglob("*") if path.is_file())

    def remove(self) -> None:
        self.close_all()
        shutil.rmtree(self.folder, ignore_errors=True)

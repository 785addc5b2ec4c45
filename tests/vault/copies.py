"""Vault files that are copied, put back and opened again, as people and backup tools do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from vaultsync.remote.port import Remote
from vaultsync.schema.kinds import file, flag, instant, items, note, number, secret, tags, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import Clock, environment
from vaultsync.testing.remotes import LyingRemote
from vaultsync.testing.vaults import KEY, PASSWORD, scratch_folder
from vaultsync.vault.vault import Vault

SCHEMA = Schema(
    "everything",
    version=1,
    platform="linux",
    types=[
        EntryType(
            "thing",
            fields=[
                Field("title", text),
                Field("password", secret),
                Field("remarks", note),
                Field("labels", tags),
                Field("urls", items(text)),
                Field("count", number),
                Field("pinned", flag),
                Field("due", instant),
                Field("scan", file),
            ],
        )
    ],
)


class Installed:
    """One vault file, open or closed. ``machine`` is what the computer under it says its name is."""

    def __init__(self, world: World, name: str, path: Path, machine: str = "here") -> None:
        self.world = world
        self.name = name
        self.path = path
        self.machine = machine
        self.opened = 0
        self.vault: Any = None
        self.remote = LyingRemote(world.remote)

    def _environment(self) -> Any:
        self.opened += 1
        seed = f"{self.world.seed}/{self.name}/{self.opened}"
        made = environment(seed, clock=self.world.clock)
        return type(made)(
            **{**{f: getattr(made, f) for f in made.__dataclass_fields__}, "machine": lambda: self.machine}
        )

    def open(self) -> Vault:
        self.vault = Vault.open(
            self.path,
            schema=SCHEMA,
            key=KEY,
            environment=self._environment(),
            opener=lambda url: self.remote,
            background=False,
        )
        return self.vault

    def close(self) -> None:
        if self.vault is not None:
            self.vault.close()
            self.vault = None

    # ---- copies -----------------------------------------------------------------------------------------------
    def backup(self) -> dict[str, bytes]:
        """The vault's files as a backup tool finds them while the vault is closed."""
        self.close()
        files = {
            path.name: path.read_bytes()
            for path in self.path.parent.iterdir()
            if path.name.startswith(self.path.name) and not path.name.endswith("-lock")
        }
        self.open()
        return files

    def restore(self, files: dict[str, bytes], *, mark: bool) -> Vault:
        """Put the file back where it was, as the same file of the disk: with the mark that is beside it now, or with
        that of then."""
        self.close()
        self.path.write_bytes(files[self.path.name])
        beside = self.path.with_name(self.path.name + "-mark")
        if not mark:
            old = files.get(beside.name)
            if old is not None:
                beside.write_bytes(old)
            elif beside.exists():
                beside.unlink()
        return self.open()

    def copy(self, name: str, *, machine: str | None = None) -> Installed:
        """A copy of the file elsewhere, opened there; this one goes on."""
        files = self.backup()
        twin = Installed(self.world, name, self.world.folder / name / self.path.name, machine or self.machine)
        twin.path.parent.mkdir()
        for file_name, data in files.items():
            twin.path.with_name(file_name).write_bytes(data)
        twin.opened = 1_000 * (1 + len(self.world.installed))
        twin.open()
        self.world.installed.append(twin)
        return twin

    def disguise(self) -> None:
        """Make the file believe that it always lay here: for copies that nothing tells from their original."""
        ledger = self.vault._ledger
        with ledger.write() as transaction:
            transaction.set_state("place", None)
        beside = self.path.with_name(self.path.name + "-mark")
        if beside.exists():
            beside.unlink()
        self.close()
        self.open()

    @property
    def chain(self) -> bytes:
        chain: bytes = self.vault._ledger.actor
        return chain


class World:
    """Devices of one vault on one remote."""

    def __init__(self, seed: str, remote: Remote) -> None:
        self.seed = seed
        self.remote = remote
        self.clock = Clock()
        self.folder = scratch_folder()
        self.installed: list[Installed] = []

    def found(self, name: str = "laptop") -> Installed:
        one = self._installed(name)
        one.vault = Vault.create(
            one.path, schema=SCHEMA, password=PASSWORD, key=KEY, device=name, environment=one._environment()
        )
        self.code = one.vault.recovery_code
        one.vault.auto_sync = False
        one.vault.connect("memory://", remote=one.remote)
        one.vault.sync()
        return one

    def join(self, name: str) -> Installed:
        one = self._installed(name)
        one.vault = Vault.join(
            one.path,
            "memory://",
            schema=SCHEMA,
            password=PASSWORD,
            code=self.code,
            key=KEY,
            device=name,
            environment=one._environment(),
            opener=lambda url: one.remote,
            background=False,
        )
        return one

    def _installed(self, name: str) -> Installed:
        one = Installed(self, name, self.folder / name / "a.vault")
        one.path.parent.mkdir()
        self.installed.append(one)
        return one

    def sync_all(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            for one in self.installed:
                one.vault.sync()

    def close(self) -> None:
        for one in self.installed:
            one.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what must be so at the end ---------------------------------------------------------------------------
    def check_equal(self, note: str) -> None:
        heads = {one.vault._ledger.engine.heads for one in self.installed}
        assert len(heads) == 1, f"{note}: different documents"
        views = [[(e.id, e.status, dict(e.fields)) for e in one.vault.view().entries] for one in self.installed]
        assert all(view == views[0] for view in views), note
        for one in self.installed:
            assert one.vault.check().ok, f"{note}: {one.name}: {one.vault.check().lost}"
            status = one.vault.status
            assert (status.quarantined, status.pending) == (0, 0), f"{note}: {one.name}: {status}"
            assert status.waiting == (), f"{note}: {one.name}: {status.waiting}"

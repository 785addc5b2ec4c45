"""Random lives of devices that share a remote on which checkpoints are written and envelopes collected.

Edits, syncs that are cut off, objects that get lost, days that pass, devices that stay away for weeks, join late or
come back. At the end everybody syncs: all show the same, and every acknowledged edit is there. A failure prints its
seed; ``VAULTSYNC_EXAMPLES=500`` plays more of them.
"""

from __future__ import annotations

import os
import random

import pytest

import vaultsync as vs
from vaultsync import limits
from vaultsync.errors import RemoteUnavailable
from vaultsync.testing import Faults, FaultyRemote, MemoryRemote, memory_vault
from vaultsync.testing.seeded import Clock, environment

SCHEMA = vs.Schema(
    "t", version=1, platform="linux", types=[vs.EntryType("login", label="Login", fields=[vs.Field("title", vs.text)])]
)
DAY = 24 * 3600 * 1000
SEEDS = range(max(3, int(os.environ.get("VAULTSYNC_EXAMPLES", "0")) // 10))
STEPS = 60


class Life:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.shared = MemoryRemote()
        self.clock = Clock()
        self.edits = 0
        self.expected: set[str] = set()
        self.remotes: list[FaultyRemote] = []
        self.vaults: list[vs.Vault] = []
        self.collected = 0
        self.join()

    def join(self) -> None:
        number = len(self.vaults)
        faulty = FaultyRemote(self.shared, self.seed * 100 + number, Faults())
        world = environment(f"{self.seed}/{number}", clock=self.clock)
        if not self.vaults:
            vault = memory_vault(SCHEMA, remote=faulty, environment=world, device="device 0")
        else:
            first = self.vaults[0]
            self.calm(0)
            vault = memory_vault(SCHEMA, joins=first, remote=faulty, environment=world, device=f"device {number}")
        self.remotes.append(faulty)
        self.vaults.append(vault)

    def calm(self, number: int) -> None:
        self.remotes[number].calm()

    def edit(self) -> None:
        vault = self.rng.choice(self.vaults)
        for _ in range(self.rng.randint(1, 4)):
            self.edits += 1
            vault.add("login", title=f"edit {self.edits}")
            self.expected.add(f"edit {self.edits}")
            if self.rng.random() < 0.7:
                self.sync(self.vaults.index(vault))

    def sync(self, number: int) -> None:
        before = len([name for name in self.shared.objects if "/env/" in name])
        if self.rng.random() < 0.2:
            self.remotes[number].faults = Faults.all(0.03)
        try:
            self.vaults[number].sync()
        except RemoteUnavailable:
            pass
        finally:
            self.calm(number)
        self.collected += max(0, before - len([name for name in self.shared.objects if "/env/" in name]))

    def lose(self) -> None:
        """The remote loses something that is no roster entry and no account: a person deleted files."""
        names = sorted(name for name in self.shared.objects if "/env/" in name or "/ckpt/" in name)
        for name in self.rng.sample(names, min(len(names), self.rng.randint(1, 5))):
            del self.shared.objects[name]

    def step(self) -> None:
        what = self.rng.random()
        if what < 0.55:
            self.edit()
        elif what < 0.80:
            self.sync(self.rng.randrange(len(self.vaults)))
        elif what < 0.90:
            self.clock.advance(self.rng.choice([DAY // 3, 2 * DAY, 30 * DAY]))
        elif what < 0.94:
            self.lose()
        elif len(self.vaults) < 4:
            self.join()

    def settle(self) -> None:
        for number in range(len(self.vaults)):
            self.calm(number)
        for _ in range(4):
            for number in range(len(self.vaults)):
                self.sync(number)
        self.join()  # and somebody who only ever sees what is left
        for _ in range(2):
            for vault in self.vaults:
                vault.sync()


def titles(vault: vs.Vault) -> set[str]:
    return {str(entry["title"]) for entry in vault.view().entries}


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_everybody_agrees(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "CHECKPOINT_AFTER_ENVELOPES", 12)
    monkeypatch.setattr(limits, "CATCH_UP_ENVELOPES", 6)
    print(f"seed {seed}")
    life = Life(seed)
    for _ in range(STEPS):
        life.step()
    life.settle()
    for number, vault in enumerate(life.vaults):
        assert titles(vault) == life.expected, f"seed {seed}, device {number}"
        assert vault._ledger.engine.heads == life.vaults[0]._ledger.engine.heads
        assert not vault.sync().waiting, f"seed {seed}, device {number}"
    print(f"{life.edits} edits, {len(life.vaults)} devices, {life.collected} envelopes collected")

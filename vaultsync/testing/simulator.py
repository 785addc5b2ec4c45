"""Devices of one person at several versions, offline and online, over a remote that misbehaves: checked against the
truth.

::

    python -m vaultsync.testing.simulator SEED [STEPS]     tells the story of one history, and fails if it failed

Up to six real vaults on real files share one remote that loses, delays, repeats and truncates. A history is a number of
random *acts* (`ACTS`): edits of every kind, batches, syncs, devices that close, reopen, upgrade, join late or are used
by two processes, clocks that jump. `Truth` is kept beside them and never asked of them. After every act the checks of
``checks`` hold; at the end everything is synced and every device must know and show everything.

New entries are of types that no lens or conversion touches: what is checked here is the vault, the document and the
remote, cell by cell. Histories of all types, with lenses, conversions, upgrades and downgrades of real vaults, are
played by ``rehearsal.vaults`` (``tests/properties/test_vault_lens_histories.py``), whose truth knows several forms of a
fact.

Everything comes from one seed: what is drawn, the faults, clocks and keys; only what the cryptographic library draws
itself does not, and nothing depends on that. A failure names the seed and tells the story.
A new feature adds its acts to `ACTS`, and to `Truth` whatever follows from them.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from vaultsync.errors import RemoteError, UsageError, VaultNotFound, WrongCode
from vaultsync.schema.types import Schema
from vaultsync.testing import checks, invention
from vaultsync.testing.installation import Installation
from vaultsync.testing.pen import Pen
from vaultsync.testing.remotes import Faults, FaultyRemote, MemoryRemote
from vaultsync.testing.truth import Truth
from vaultsync.testing.vaults import scratch_folder
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Status
from vaultsync.view.picture import View

__all__ = ["ACTS", "SimulationFailed", "World", "simulate"]

NAMES: Final = ("Laptop", "Phone", "Tablet", "Desktop", "Watch", "Kiosk")
CENTURY_MS: Final = 36_525 * 86_400_000
MOST_ENTRIES: Final = 8


class SimulationFailed(AssertionError):
    """A history broke a promise. The message tells which, how to see it again, and what every device did."""

    def __init__(self, world: World, error: BaseException) -> None:
        super().__init__(
            f"{type(error).__name__}: {error}\n\nseed {world.seed}{world.replay}\n\n" + "\n".join(world.story)
        )
        self.seed = world.seed


class World:
    """One history. ``story`` is what happened so far, for a reader; ``tally`` counts it."""

    def __init__(
        self,
        seed: int | str,
        schema: Schema,
        *,
        devices: int = 6,
        platforms: tuple[str, ...] = invention.PLATFORMS,
        faults: Faults | None = None,
    ) -> None:
        self.seed = seed
        self.replay = ""
        """How to see this history again, for the message of a failure."""
        self.schema = schema
        self.platforms = platforms
        self.truth = Truth()
        self.story: list[str] = []
        self.tally: Counter[str] = Counter()
        self.memory = MemoryRemote()
        self.remote = FaultyRemote(self.memory, random.Random(f"{seed}/faults").getrandbits(32))
        self.faults = faults
        self.folder = scratch_folder()
        self.most_devices = devices
        self.devices: list[Installation] = []
        self.code = ""
        self.pen = Pen(self.truth, self.tell)

    def tell(self, *words: object) -> None:
        self.story.append(f"{len(self.story):3} " + " ".join(str(word) for word in words))

    # ---- devices ----------------------------------------------------------------------------------------------
    def begin(self, rng: random.Random) -> None:
        """The first device founds the vault and puts it on the remote."""
        first = self._installation(rng)
        faults = self.faults or Faults.all(rng.choice([0.0, 0.01, 0.03, 0.1]))
        self.remote.faults = Faults()
        self.code = first.found()
        self.pen.upkeep(first)
        self.tell(first, "founds the vault")
        first.vault.sync()
        self.most_devices = min(self.most_devices, rng.choice((2, 3, 3, 4, 4, 5, 6)))
        for _ in range(rng.randint(0, self.most_devices - 1)):
            self.join(self._installation(rng))
        self.remote.faults = faults

    def _installation(self, rng: random.Random) -> Installation:
        schema = self.schema.at(rng.randint(1, self.schema.version), rng.choice(self.platforms))
        name = f"{NAMES[len(self.devices)]} {invention.MARKER}"
        device = Installation(name, str(self.seed), schema, self.remote, self.folder)
        self.devices.append(device)
        return device

    @property
    def open_devices(self) -> list[Installation]:
        return [device for device in self.devices if device.vaults]

    def someone(self, rng: random.Random) -> tuple[Installation, Vault]:
        """An open device and one of its processes; opens one when all are closed."""
        if not self.open_devices:
            device = rng.choice([device for device in self.devices if device.made])
            self._open(device)
        device = rng.choice(self.open_devices)
        return device, device.any_vault(rng)

    def _open(self, device: Installation) -> None:
        device.open()
        self.pen.upkeep(device)

    def join(self, device: Installation) -> bool:
        """Try to become one more device; what a remote that misbehaves makes of it may be tried again."""
        try:
            device.join(self.code)
        except (RemoteError, VaultNotFound, WrongCode) as error:
            checks.require(not list(device.files()), device, "left files behind:", list(device.files()))
            self.tell(device, "cannot join:", type(error).__name__)
            return False
        self.pen.upkeep(device)
        self.tell(device, "joins")
        return True

    # ---- running ----------------------------------------------------------------------------------------------
    def step(self, rng: random.Random) -> None:
        """One random act and the checks after it."""
        name = rng.choices(list(ACTS), weights=[weight for weight, _ in ACTS.values()])[0]
        self.tally[f"act {name}"] += 1
        ACTS[name][1](self, rng)

    def settle(self) -> None:
        """Everything is synced over a remote that behaves; then everything must be known and shown everywhere."""
        self.remote.calm()
        self.tell("the remote behaves from here on; everybody syncs")
        for device in self.devices:
            if not device.made:
                checks.require(self.join(device), device, "cannot join a remote that behaves")
            elif not device.vaults:
                self._open(device)
        for _ in range(2 * len(self.devices) + 4):
            reports = [device.vault.sync() for device in self.devices]
            if not any(report.sent or report.received for report in reports):
                break
        else:
            raise AssertionError("the devices never come to rest")
        self.check_end()

    def check_end(self) -> None:
        for device in self.devices:
            checks.check_settled(device)
            checks.check_knows_all(device, self.truth)
            checks.check_incremental(device.vault)
        checks.check_agreement(self.devices, self.truth)
        stored = checks.raws(self.devices[0].vault)
        checks.check_stored(stored, self.truth)
        context = self.devices[0].vault.view().context
        for version in range(1, self.schema.version + 1):
            for platform in self.platforms:
                view = View.build(stored.items(), self.schema.at(version, platform), context)
                checks.check_shown(view, self.truth, self.tally)
        self.check_secrecy()

    def check_secrecy(self) -> None:
        """No plaintext in any file of a device, log and helper files included, nor in any object of the remote."""
        files = [(str(path), path.read_bytes()) for device in self.devices for path in device.files()]
        checks.check_no_plaintext([*files, *self.memory.objects.items()], NAMES)

    def close(self) -> None:
        for device in self.devices:
            with suppress(Exception):
                device.close_all()
        shutil.rmtree(self.folder, ignore_errors=True)


# ---- acts -------------------------------------------------------------------------------------------------------
def _edits(kind: str) -> Callable[[World, random.Random], None]:
    """An act of a person on one entry, by whichever device."""

    def act(world: World, rng: random.Random) -> None:
        device, vault = world.someone(rng)
        if kind == "add" and len(world.truth.entries) >= MOST_ENTRIES:
            return
        world.pen.edit(rng, device, vault, kind)

    return act


def _batch(world: World, rng: random.Random) -> None:
    device, vault = world.someone(rng)
    world.pen.batch(rng, device, vault)


def _look(world: World, rng: random.Random) -> None:
    """A person looks at an entry, and may edit what was seen much later."""
    device, vault = world.someone(rng)
    known = world.truth.known_to(device.engine(vault).has)
    view = vault.view()
    for entry in [*view.entries, *view.trash]:
        if rng.random() < 0.5:
            device.handles[entry.id] = (entry, known)


def _sync(world: World, rng: random.Random) -> None:
    device, vault = world.someone(rng)
    try:
        report = vault.sync()
        world.tell(device, "syncs:", f"{report.sent} sent, {report.received} received, {len(report.waiting)} waiting")
        for finding in report.findings:
            world.tally[f"finding {finding.kind.name}"] += 1
            world.tell("   found:", finding)
    except RemoteError as error:
        world.tell(device, "syncs and fails:", error)
    checks.require(not vault.status.quarantined, device, "set aside what an honest device sent")
    checks.check_incremental(vault)
    checks.check_agreement(world.devices, world.truth)


def _join(world: World, rng: random.Random) -> None:
    waiting = [device for device in world.devices if not device.made]
    if len(world.devices) < world.most_devices:
        world.join(world._installation(rng))
    elif waiting:
        world.join(waiting[0])


def _close(world: World, rng: random.Random) -> None:
    device, vault = world.someone(rng)
    snapshot = rng.random() < 0.5
    device.close(vault, snapshot=snapshot)
    world.tell(device, "closes", "after a snapshot" if snapshot else "")


def _reopen(world: World, rng: random.Random) -> None:
    """A closed device opens, perhaps at a newer version; an open one gets a second process."""
    made = [device for device in world.devices if device.made and len(device.vaults) < 2]
    if not made:
        return
    device = rng.choice(made)
    if not device.vaults and rng.random() < 0.4:
        version = rng.randint(device.schema.version, world.schema.version)
        device.schema = world.schema.at(version, device.schema.platform)
    world._open(device)
    world.tell(device, "opens", "in a second process" if len(device.vaults) > 1 else "")


def _clock(world: World, rng: random.Random) -> None:
    device = rng.choice(world.devices)
    by = rng.choice([-CENTURY_MS, CENTURY_MS, rng.randint(-10_000, 10_000), 86_400_000 * 8])
    device.clock.advance(by)
    world.tell(device, "has its clock set by", by, "ms")


def _lose(world: World, rng: random.Random) -> None:
    """The remote loses an envelope; whoever has it puts it back."""
    names = sorted(name for name in world.memory.objects if "/env/" in name)
    if names:
        name = rng.choice(names)
        del world.memory.objects[name]
        world.tell("the remote loses", name[33:].partition("-")[0])


def _history(world: World, rng: random.Random) -> None:
    """The history of an entry can be told, and its newest revision is what stands when nobody wrote meanwhile."""
    device, vault = world.someone(rng)
    entries = list(vault.view().entries)
    if entries:
        entry = rng.choice(entries)
        revisions = vault.history(entry.id)
        checks.require(bool(revisions), device, "has no history of", entry.id)
        checks.require(revisions[0].event == "added", device, "history begins with", revisions[0].event)


ACTS: dict[str, tuple[int, Callable[[World, random.Random], None]]] = {
    "add": (14, _edits("add")),
    "update": (34, _edits("update")),
    "delete": (6, _edits("delete")),
    "restore": (5, _edits("restore")),
    "purge": (2, _edits("purge")),
    "resolve": (4, _edits("resolve")),
    "batch": (5, _batch),
    "look": (4, _look),
    "sync": (40, _sync),
    "join": (8, _join),
    "close": (4, _close),
    "open": (6, _reopen),
    "clock": (2, _clock),
    "lose": (2, _lose),
    "history": (2, _history),
}
"""Name -> how often, and the act."""


# ---- one history ------------------------------------------------------------------------------------------------
def simulate(
    seed: int | str,
    *,
    steps: int = 60,
    schema: Schema | None = None,
    choices: random.Random | None = None,
    platforms: tuple[str, ...] = invention.PLATFORMS,
    faults: Faults | None = None,
    story: Callable[[str], Any] | None = None,
) -> Counter[str]:
    """One history from a seed; returns what it consisted of. Raises `SimulationFailed`.

    ``schema``: a timeline at its newest version (default: from the seed, the preset for passwords or an invented one).
    ``choices`` draws the acts instead of the seed: Hypothesis's ``randoms()``, say.
    """
    rng = choices if choices is not None else random.Random(seed)
    world = World(seed, schema or timeline(seed), platforms=platforms, faults=faults)
    if choices is None and schema is None:
        world.replay = f"; to see it again:\n    python -m vaultsync.testing.simulator {seed} {steps}"
    try:
        world.begin(rng)
        for _ in range(steps):
            world.step(rng)
        world.settle()
    except Exception as error:
        raise SimulationFailed(world, error) from error
    finally:
        world.close()
        if story is not None:
            story("\n".join(world.story))
    world.tally["devices"] += len(world.devices)
    world.tally["acts known to the truth"] += len(world.truth.acts)
    world.tally["trashed at the end"] += sum(
        world.truth.status(entry, world.schema) is Status.TRASHED for entry in world.truth.entries
    )
    return world.tally


def timeline(seed: int | str) -> Schema:
    """The schema of a history: the preset for passwords, or for two seeds of three an invented one."""
    rng = random.Random(f"{seed}/schema")
    if rng.random() < 1 / 3:
        from vaultsync.presets.passwords import passwords

        return passwords(platform=invention.PLATFORMS[0])
    return invention.invent_schema(rng)


def main(arguments: list[str]) -> int:
    """The command of the module."""
    if not 1 <= len(arguments) <= 2:
        raise UsageError("python -m vaultsync.testing.simulator SEED [STEPS]")
    seed, steps = arguments[0], int(arguments[1]) if len(arguments) > 1 else 60
    out = sys.stdout.write
    try:
        tally = simulate(int(seed) if seed.lstrip("-").isdigit() else seed, steps=steps, story=lambda s: out(s + "\n"))
    except SimulationFailed as failed:
        out(f"\n{failed.args[0].partition(chr(10) * 2)[0]}\n\n")
        raise
    out("\n" + "; ".join(f"{name} {count}" for name, count in sorted(tally.items())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

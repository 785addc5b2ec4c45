"""Random histories of a family of devices that are removed, by anybody, at any time, over a remote that shows each of
them what it likes: rosters and envelopes late, in any order, or not at all.

    VAULTSYNC_HISTORIES=1000 pytest tests/properties/test_revocation_histories.py      the documented run
    VAULTSYNC_ORDERS=1 pytest …                                      every order of six events, not every 72nd

What must hold, whatever happens:

* nothing is un-applied: what a device shows, it goes on showing;
* no honest change is lost: what devices wrote that are in the vault at the end, everybody has at the end;
* all that are in the vault at the end agree: entries, document, list of devices;
* nothing of a removed device is visible that no honest one had applied when it heard of the removal;
* no removed device can open what is written at the end.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import pytest

from tests.vault.pushes import push
from vaultsync.errors import DeviceRemoved, ObjectMissing, UsageError
from vaultsync.schema.kinds import text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import Clock, MemoryRemote, environment
from vaultsync.testing.vaults import KEY, PASSWORD, scratch_folder
from vaultsync.vault.environment import Environment
from vaultsync.vault.vault import Vault

ORDERS = int(os.environ.get("VAULTSYNC_ORDERS", "72"))
HISTORIES = int(os.environ.get("VAULTSYNC_HISTORIES", "12"))
FIRST = int(os.environ.get("VAULTSYNC_SEED", "1"))
SCHEMA = Schema(
    "notes",
    version=1,
    platform="linux",
    types=[EntryType("note", fields=[Field("title", text), Field("body", text)])],
)
MOST = 5


class Window:
    """What one device gets to see of the remote: names that were delivered to it, and its own."""

    def __init__(self, remote: MemoryRemote) -> None:
        self.remote, self.shown = remote, set[str]()

    def put(self, name: str, data: bytes) -> None:
        self.remote.put(name, data)
        self.shown.add(name)

    def get(self, name: str) -> bytes:
        if name not in self.shown:
            raise ObjectMissing(f"no object {name}")
        return self.remote.get(name)

    def list(self, prefix: str) -> list[str]:
        return [name for name in self.remote.list(prefix) if name in self.shown]

    def delete(self, name: str) -> None:
        self.remote.delete(name)

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        return False

    def close(self) -> None:
        pass


@dataclass
class Device:
    vault: Vault
    window: Window
    name: str
    thief: bool = False
    told: bool = False
    """It knows that it was removed."""
    lost: bool = False
    """Nobody ever sees it again: what it sent has to do."""
    shows: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    """What it wrote and a remote has."""

    @property
    def id(self) -> bytes:
        return self.vault._works.identity.keys.public.id


class History:
    def __init__(self, seed: int, folder: Path, *, joins: int | None = None) -> None:
        self.rng = random.Random(seed)
        self.seed, self.folder = seed, folder
        self.clock = Clock()
        self.remote = MemoryRemote()
        self.devices: list[Device] = []
        self.author: dict[str, bytes] = {}
        self.witnessed: set[str] = set()
        """Titles that an honest device showed while it had not heard that their author was removed."""
        self.written = 0
        window = Window(self.remote)
        founder = Vault.create(
            folder / "0", schema=SCHEMA, password=PASSWORD, key=KEY, device="0", environment=self.world("0")
        )
        self.code = founder.recovery_code or ""
        founder.auto_sync = False
        founder.connect("memory://", remote=window)
        self.devices.append(Device(founder, window, "0"))
        self.sync(self.devices[0], all=True)
        for _ in range(self.rng.randrange(1, 3) if joins is None else joins):
            self.join()

    def world(self, name: str) -> Environment:
        return environment(f"{self.seed}/{name}", clock=self.clock)

    # ---- what happens -----------------------------------------------------------------------------------------
    def join(self) -> None:
        name, window = str(len(self.devices)), Window(self.remote)
        window.shown |= self.remote.objects.keys()
        made = Vault.join(
            self.folder / name, "memory://", schema=SCHEMA, password=PASSWORD, code=self.code, key=KEY, device=name,
            environment=self.world(name), opener=lambda url: window, background=False,
        )  # fmt: skip
        self.devices.append(Device(made, window, name))
        self.note(self.devices[-1])

    def deliver(self, device: Device, *, all: bool = False) -> None:
        hidden = sorted(self.remote.objects.keys() - device.window.shown)
        if device.thief:
            hidden = [name for name in hidden if "/roster/" not in name]
        if not all:
            if self.rng.random() < 0.3:  # a remote that shows everything but who was removed
                hidden = [name for name in hidden if "/roster/" not in name]
            elif self.rng.random() < 0.2:
                hidden = [name for name in hidden if "/roster/" in name]
            if self.rng.random() < 0.4:
                hidden = [name for name in hidden if self.rng.random() < 0.6]
        device.window.shown |= set(hidden)

    def sync(self, device: Device, *, all: bool = False) -> None:
        self.deliver(device, all=all)
        try:
            if all or self.rng.random() < 0.6 or not push(device.vault):  # without a look, whatever there is to see
                device.vault.sync()
            if not device.vault.status.pending:
                device.sent = {title for title in device.shows if self.author[title] == device.id}
        except DeviceRemoved:
            device.told = True
        self.note(device)

    def note(self, device: Device) -> None:
        titles = {entry["title"] for entry in device.vault.view()}
        assert device.shows <= titles, f"device {device.name} un-applied {device.shows - titles}"
        device.shows = titles
        if device.thief or device.told:
            return
        former = device.vault._works.identity.roster.former
        self.witnessed |= {title for title in titles if self.author[title] not in former}

    def edit(self, device: Device) -> None:
        view = device.vault.view()
        if len(view) and self.rng.random() < 0.4:
            device.vault.update(self.rng.choice(view.entries), body=f"{self.rng.random()}")
            return
        self.written += 1
        title = f"{self.written} by {device.name}"
        self.author[title] = device.id
        device.vault.add("note", title=title)
        device.shows.add(title)
        if not device.thief and not device.told:
            self.witnessed.add(title)

    def revoke(self, device: Device) -> None:
        others = [one for one in device.vault.devices if not one.this]
        if not others:
            return
        gone = self.rng.choice(others)
        if self.rng.random() < 0.5:
            self.last_moment(device, next(one for one in self.devices if one.id.hex() == gone.id))
        else:
            self.deliver(device)
        try:
            device.vault.revoke(gone, password=PASSWORD, code=self.code)
        except DeviceRemoved:
            device.told = True
        except UsageError as error:
            raise AssertionError(f"{error}") from error
        self.note(device)
        for one in self.devices:
            if one.id.hex() == gone.id and not device.told and self.rng.random() < 0.5:
                one.thief = True  # it hears nothing of it, and writes on

    def last_moment(self, remover: Device, gone: Device) -> None:
        """The device that goes has just written something that a third one has built on, and the remover has not."""
        others = [one for one in self.devices if one not in (remover, gone) and not (one.thief or one.told or one.lost)]
        if gone.told or gone.lost or not others:
            return
        witness = self.rng.choice(others)
        for device in (gone, witness):
            self.sync(device, all=True)
            if device.told:
                return
            self.edit(device)
            self.sync(device)
        if self.rng.random() < 0.4 and len(others) > 1:
            witness.lost = True

    def run(self) -> None:
        for _ in range(self.rng.randrange(10, 30)):
            device = self.rng.choice([one for one in self.devices if not one.lost])
            alive = [one for one in self.devices if not (one.told or one.thief or one.lost)]
            match self.rng.randrange(20):
                case 0 | 1 if device in alive and len(alive) > 1:
                    self.revoke(device)
                case 2 if len(self.devices) < MOST:
                    self.join()
                case number if number < 11:
                    self.edit(device)
                case _:
                    self.sync(device)
        self.finish()

    # ---- the end ----------------------------------------------------------------------------------------------
    def finish(self) -> None:
        for device in self.devices:
            if device.thief:
                self.sync(device)
        for _ in range(4):
            for device in self.devices:
                if not (device.thief or device.told or device.lost):
                    self.sync(device, all=True)
        left = [device for device in self.devices if not (device.thief or device.told or device.lost)]
        if not left:
            return  # everybody was removed by somebody: there is nobody to agree
        if left[0].vault.status.needs_rotation:
            left[0].vault.rotate(password=PASSWORD, code=self.code)
        for _ in range(3):
            for device in left:
                self.sync(device, all=True)
        self.check(left)

    def check(self, left: list[Device]) -> None:
        members = left[0].vault._works.identity.roster.members
        assert {device.id for device in left} <= members.keys()
        honest = {title for title, author in self.author.items() if author in {device.id for device in left}}
        honest |= {title for one in self.devices if one.lost and one.id in members for title in one.sent}
        states = [self.state(device) for device in left]
        for device, state in zip(left, states, strict=True):
            assert honest <= device.shows, f"honest changes are lost on {device.name}: {honest - device.shows}"
            assert device.shows <= self.witnessed, f"nobody had seen {device.shows - self.witnessed}"
            assert state == states[0], f"devices {left[0].name} and {device.name} differ"
            assert not device.vault.status.pending, device.name
            assert not device.vault.status.waiting, (device.name, device.vault.status.waiting)
            for told in device.vault.revocations:
                assert told.exposed == ()
                assert {late.revision.device for late in told.late_edits} <= {told.name}
        roster = left[0].vault._works.identity.roster
        assert not roster.needs_rotation
        for device in self.devices:
            if device.id not in members:
                keys = roster.epoch_keys(device.vault._works.identity.keys)
                assert roster.epoch not in keys, f"the removed device {device.name} can read on"

    def state(self, device: Device) -> object:
        entries = {entry.id: dict(entry.fields) for entry in device.vault.view()}
        return entries, device.vault._works.ledger.engine.heads, device.vault._works.identity.roster.heads

    def close(self) -> None:
        for device in self.devices:
            device.vault.close()


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
def test_random_histories_of_removals(seed: int) -> None:
    folder = scratch_folder()
    history: History | None = None
    try:
        history = History(seed, folder)
        history.run()
    finally:
        print(f"VAULTSYNC_SEED={seed} VAULTSYNC_HISTORIES=1")  # shown when it fails
        if history is not None:
            history.close()
        shutil.rmtree(folder, ignore_errors=True)


EVENTS = ("x writes", "x writes again", "a syncs", "b syncs", "b writes", "a removes x")


@pytest.mark.parametrize("order", list(permutations(range(len(EVENTS))))[::ORDERS])
def test_every_order_of_six_events_around_a_removal(order: tuple[int, ...]) -> None:
    """Whoever writes sends it at once, and everybody sees the whole remote but x, which never hears of its removal."""
    folder = scratch_folder()
    history = History(0, folder, joins=2)
    a, b, x = history.devices
    for device in (a, b, x, a, b, x):
        history.sync(device, all=True)
    x.thief = True
    try:
        for number in order:
            match EVENTS[number]:
                case "a syncs" | "b syncs":
                    history.sync(a if number == 2 else b, all=True)
                case "a removes x":
                    a.vault.revoke(x.id.hex(), password=PASSWORD, code=history.code)
                    history.note(a)
                case _:
                    writer = b if number == 4 else x
                    history.edit(writer)
                    history.sync(writer, all=True)
        history.finish()
    finally:
        print(" > ".join(EVENTS[number] for number in order))
        history.close()
        shutil.rmtree(folder, ignore_errors=True)

"""Histories in which chains fork, replayable from a seed, and an account of what must be there at the end.

A *fact* is one value that somebody wrote. Who wrote it knew other facts: those that the vault showed, and what their
writers knew. So it is known of every fact whether somebody overwrote or deleted it knowingly; all others must be there.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tests.vault.copies import Installed, World
from tests.vault.pushes import push
from vaultsync.document.engine import Engine
from vaultsync.testing import MemoryRemote
from vaultsync.view.entry import Status

_SCALARS = ("title", "password", "count", "due", "scan")
_PARTS = ("remarks", "urls", "labels")
_DAY = 24 * 3600 * 1000
_DUE = datetime(2026, 1, 1, tzinfo=UTC)


class Fact(NamedTuple):
    """One value of a field, or one line, item or tag of it; ``past``: the facts of that entry that its writer knew."""

    number: int
    entry: str
    field: str
    value: Any
    past: frozenset[int]


class Account:
    """What was written and deleted, and by whom knowing what."""

    def __init__(self) -> None:
        self.facts: dict[str, list[Fact]] = {}
        self.deletions: dict[str, list[frozenset[int]]] = {}
        self.restored: set[str] = set()
        self.count = 0

    def known(self, one: Installed, entry: Any) -> frozenset[int]:
        """Numbers of the facts that this device knows of an entry that it shows."""
        found: set[int] = set()
        for fact in self.facts.get(entry.id, ()):
            if shows(entry, fact):
                found |= {fact.number} | fact.past
        return frozenset(found)

    def number(self) -> int:
        self.count += 1
        return self.count

    def wrote(self, entry_id: str, field: str, value: Any, number: int, past: frozenset[int]) -> None:
        self.facts.setdefault(entry_id, []).append(Fact(number, entry_id, field, value, past))

    def live(self, entry_id: str) -> list[Fact]:
        """The facts that nobody overwrote who knew them."""
        facts = self.facts[entry_id]
        return [
            fact
            for fact in facts
            if fact.field in _PARTS
            or not any(fact.field == other.field and fact.number in other.past for other in facts)
        ]

    def trashed(self, entry_id: str) -> bool | None:
        """Whether an entry must be in the trash; ``None`` where that depends on what was restored when."""
        seen = self.deletions.get(entry_id, [])
        if not {fact.number for fact in self.facts[entry_id]} <= frozenset[int]().union(*seen):
            return False
        return None if entry_id in self.restored else bool(seen)


def shows(entry: Any, fact: Fact) -> bool:
    """Whether a fact is shown, if as one of several values that were written at once."""
    shown, field = entry.fields.get(fact.field), fact.field
    parts = (shown or "").split("\n") if field == "remarks" else (shown or ()) if field in _PARTS else (shown,)
    return fact.value in parts or fact.value in [one.value for one in entry.conflicts.get(field, ())]


class ForkedWorld(World):
    """Devices and copies on islands: what is put on one is not seen on another before somebody travels."""

    def __init__(self, seed: int, *, checkpoints: bool = False) -> None:
        super().__init__(f"forks {seed}", MemoryRemote())
        self.checkpoints = checkpoints
        """Whether devices write checkpoints, let days pass, and join late; bounds are the caller's."""
        self.rng = random.Random(seed)
        self.account = Account()
        self.owner: dict[str, Installed] = {}
        self.island: dict[Installed, int] = {}
        self.rolled: dict[Installed, set[str]] = {}
        self.split = False

    # ---- what a device sees -----------------------------------------------------------------------------------
    def hide(self, one: Installed, late: float = 0.0) -> None:
        """What the remote withholds from it now."""
        one.remote.confess()
        gone = self.rolled.get(one, set())
        island = self.island.get(one, 0)
        draw = self.rng.random()  # names hold hashes of keys that no seed makes: places decide what is late

        def which(name: str) -> bool:
            if "/env/" not in name and "/ckpt/" not in name:
                return False
            owner = self.owner.get(name)
            away = self.split and owner is not None and self.island.get(owner, 0) != island
            place = f"{draw}/{name.split('-')[0]}/{owner.name if owner else ''}"
            return away or name in gone or random.Random(place).random() < late

        one.remote.withhold(which)

    def sync(self, one: Installed, late: float = 0.0, *, looks: bool = True) -> Any:
        """``looks``: else it pushes without a look, whatever there is to see, if that may be."""
        self.hide(one, late)
        before = set(self.remote.list(""))
        report = one.vault.sync() if looks or not push(one.vault) else None
        for name in set(self.remote.list("")) - before:
            self.owner[name] = one
        return report

    def mend(self) -> None:
        """Everybody may see everything."""
        self.split = False
        self.rolled.clear()

    # ---- what devices do --------------------------------------------------------------------------------------
    def write(self, one: Installed, *, new: bool = False) -> None:
        """A fact: of a field of any kind, of an entry that is shown or of a new one."""
        rng, account, view = self.rng, self.account, one.vault.view()
        number = account.number()
        entry = rng.choice(view.entries) if view.entries and not new and rng.random() < 0.75 else None
        field = rng.choice((*_SCALARS, *_PARTS))
        past: frozenset[int] = frozenset()
        if entry is None:
            entry = one.vault.add("thing", title=f"title {number}", pinned=bool(number % 2))
            account.wrote(entry.id, "title", f"title {number}", number, past)
            if rng.random() < 0.6:
                return
            number = account.number()
        past = account.known(one, entry)
        account.wrote(entry.id, field, self._put(one, entry, field, number), number, past)

    @staticmethod
    def _put(one: Installed, entry: Any, field: str, number: int) -> Any:
        if field == "scan":
            return one.vault.attach(entry, f"scan {number}", f"contents {number}".encode(), field="scan")["scan"]
        value: Any = {
            "title": f"title {number}",
            "password": f"secret {number}",
            "count": number,
            "due": _DUE + timedelta(minutes=number),
            "remarks": f"line {number}",
            "urls": f"https://{number}.example",
            "labels": f"label {number}",
        }[field]
        shown = entry.fields.get(field)
        written = value
        if field == "remarks":
            written = f"{shown}\n{value}" if shown else value
        elif field == "urls":
            written = (*(shown or ()), value)
        elif field == "labels":
            written = frozenset({*(shown or ()), value})
        one.vault.update(entry, **{field: written})
        return value

    def remove(self, one: Installed) -> None:
        """Put an entry into the trash, or take one out of it."""
        view = one.vault.view()
        if view.trash and self.rng.random() < 0.4:
            entry = one.vault.restore(self.rng.choice(view.trash).id)
            self.account.restored.add(entry.id)
            number, past = self.account.number(), self.account.known(one, entry)
            self.account.wrote(entry.id, "labels", self._put(one, entry, "labels", number), number, past)
        elif view.entries:
            entry = self.rng.choice(view.entries)
            self.account.deletions.setdefault(entry.id, []).append(self.account.known(one, entry))
            one.vault.delete(entry)

    def clone(self, of: Installed) -> Installed:
        """A copy that nothing tells from its original, on an island of its own."""
        if self.rng.random() < 0.3:
            self.write(of)  # the copy takes it along unsent
        twin = of.copy(f"copy {len(self.installed)}")
        twin.disguise()
        self.island[twin] = 1 + max(self.island.values(), default=0)
        return twin

    def lose_copies(self) -> int:
        """Some copies publish what they have and are never seen again; how many."""
        copies = [one for one in self.installed if one.name.startswith("copy") and self.rng.random() < 0.6]
        for one in copies:
            self.sync(one)
            self.installed.remove(one)
            one.close()
        return len(copies)

    def go_back(self, one: Installed) -> None:
        """A backup put back, and a remote that does not show what the lost future sent."""
        files = one.backup()
        for _ in range(self.rng.randint(1, 2)):
            self.write(one)
        before = set(self.remote.list(""))
        self.sync(one)
        self.rolled.setdefault(one, set()).update(set(self.remote.list("")) - before)
        one.restore(files, mark=False)

    # ---- the end ----------------------------------------------------------------------------------------------
    def settle(self, note: str, rounds: int = 10) -> int:
        """Everybody syncs with everything in sight until nobody has anything to do; how many rounds that took."""
        self.mend()
        for done in range(rounds):
            reports = [self.sync(one) for one in self.installed]
            if not any(report.sent or report.received or report.checkpoints for report in reports):
                return done
        raise AssertionError(f"{note}: syncing does not come to an end: {reports}")

    def check(self, note: str) -> None:
        """One vault everywhere, nothing lost, every file loads and saves, and it can be written to."""
        self.settle(note)
        self.check_equal(note)
        self._check_account(note)
        if self.checkpoints:
            assert self.rng.choice(self.installed).vault.checkpoint(), f"{note}: no checkpoint is written"
            self.settle(note)
            for _ in range(3):
                self.clock.advance(2 * _DAY)
                self.settle(note)
            late = self.join("late")
            self.settle(note)
            assert late.vault._ledger.engine.heads == self.installed[0].vault._ledger.engine.heads
        one = self.rng.choice(self.installed)
        for entry in one.vault.view().trash:
            one.vault.restore(entry.id)
            self.account.restored.add(entry.id)
        self.write(one, new=True)
        self.settle(note)
        self.check_equal(note)
        for other in self.installed:
            other.close()
            other.open()
            engine = other.vault._ledger.engine
            assert Engine.verify_snapshot(engine.save(), engine.heads), f"{note}: {other.name} cannot be saved"
        self.settle(note)
        self.check_equal(note)
        self._check_account(note)

    def _check_account(self, note: str) -> None:
        view = self.installed[0].vault.view()
        for entry_id, facts in self.account.facts.items():
            entry = view[entry_id]
            expected = self.account.trashed(entry_id)
            status = Status.TRASHED if expected else Status.COMPLETE
            assert expected is None or entry.status is status, f"{note}: {entry_id} is {entry.status}: {facts}"
            if entry.status is Status.TRASHED:
                continue
            for fact in self.account.live(entry_id):
                assert shows(entry, fact), f"{note}: lost: {fact}"
        for entry in view.entries:
            scan = entry.fields.get("scan")
            if scan is not None:
                for one in self.installed:
                    assert one.vault.read_attachment(entry.id).startswith(b"contents"), note


def forked(one: Installed) -> int:
    """How many changes this vault holds others for."""
    return len(one.vault._ledger.states("fork/"))


def play(world: ForkedWorld) -> None:
    """One history of one or several forks, with no end yet."""
    rng = world.rng
    laptop, phone = world.found(), world.join("phone")
    for _ in range(rng.randint(1, 3)):
        world.write(rng.choice([laptop, phone]))
    for one in (laptop, phone, laptop):
        world.sync(one)
    tablet = world.join("tablet") if rng.random() < 0.3 else None
    for round_ in range(rng.choice([1, 1, 2])):
        rivals = _part(world, [one for one in world.installed if one is not tablet], first=not round_)
        for one in world.installed:
            world.island.setdefault(one, rng.randint(0, max(world.island.values(), default=0)))
        world.split = True
        wander(world, rng.randint(0, 3))
        rng.shuffle(rivals)
        for one in rivals:  # both write and both publish
            world.write(one)
            world.sync(one, looks=rng.random() < 0.6)
        wander(world, rng.randint(2, 8))
        if rng.random() < 0.2 and len(world.installed) < 6:  # a fork on a branch of a fork
            twin = rng.choice(rivals)
            other = world.clone(twin)
            for one in (twin, other):
                world.write(one)
                world.sync(one)
            wander(world, rng.randint(0, 3))
        world.mend()
        wander(world, rng.randint(2, 8), late=True)


def _part(world: ForkedWorld, among: list[Installed], *, first: bool) -> list[Installed]:
    """Copies are made, or a backup is put back; who will write and publish beside whom."""
    rng, rivals = world.rng, []
    for _ in range(rng.choice([1, 1, 1, 2]) if first else 1):
        of = rng.choice(among[:2] if first else among)
        if rng.random() < 0.25:
            world.go_back(of)
            rivals.append(of)
        elif len(world.installed) < 6:
            rivals += [of, world.clone(of)]
    return rivals


def wander(world: ForkedWorld, steps: int, *, late: bool = False) -> None:
    """Devices write, delete and sync as it comes."""
    rng = world.rng
    for _ in range(steps):
        one, roll = rng.choice(world.installed), rng.random()
        if world.checkpoints and rng.random() < 0.25:
            world.clock.advance(2 * _DAY)
            world.sync(one)
            one.vault.checkpoint()
            world.sync(one)
        elif roll < 0.4:
            world.write(one)
        elif roll < 0.52:
            world.remove(one)
        else:
            world.sync(one, rng.choice([0.0, 0.4, 0.7]) if late else 0.0, looks=rng.random() < 0.6)

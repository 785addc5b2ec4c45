"""Writing random histories: who takes part, and what a person on some device might do next."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from vaultsync.schema.cells import trashed
from vaultsync.schema.types import EntryType, Schema
from vaultsync.testing.rehearsal.device import Device
from vaultsync.testing.rehearsal.script import Cast, Script, Step
from vaultsync.testing.rehearsal.stage import Stage
from vaultsync.testing.rehearsal.values import Inventor, Source
from vaultsync.testing.rehearsal.watch import lenses_of
from vaultsync.testing.rehearsal.world import World
from vaultsync.view.decide import conversion, primary
from vaultsync.view.entry import Status

__all__ = ["Author", "changed_versions", "platforms_that_matter"]


def changed_versions(schema: Schema) -> tuple[int, ...]:
    """Every version up to the schema's at which something changed, and its own."""
    marks = {1, schema.version}
    for kind in schema.types.values():
        marks |= {kind.since, kind.until or 1}
        for field in kind.fields:
            marks |= {field.since, field.until or 1}
    return tuple(sorted(mark for mark in marks if mark <= schema.version))


def platforms_that_matter(schema: Schema) -> tuple[str, ...]:
    """One platform of each group on which the same types and fields exist; the schema's own first."""
    things: list[Any] = [*schema.types.values(), *(f for kind in schema.types.values() for f in kind.fields)]
    sets = sorted({thing.platforms for thing in things if thing.platforms is not None}, key=sorted)
    found: dict[tuple[bool, ...], str] = {}
    for platform in (schema.platform, "windows", "macos", "linux", "android", "ios", "web"):
        found.setdefault(tuple(platform in each for each in sets), platform)
    return tuple(found.values())


class Author:
    """Writes one history from a seed, step by step, looking at what the devices show."""

    def __init__(
        self,
        stage: Stage,
        rng: random.Random,
        versions: Sequence[int],
        platforms: Sequence[str],
        values: Mapping[str, Source],
    ) -> None:
        self.rng = rng
        self.stage = stage
        self.versions = versions
        self.inventor = Inventor(stage.schema, rng, values)
        newest, older = max(versions), [version for version in versions if version < max(versions)]
        home = rng.choice(platforms)
        places = [(newest, home), (newest, home)]
        for _ in range(rng.choice((0, 1, 1, 2) if not older else (1, 1, 2, 2))):
            places.append((rng.choice(older) if older and rng.random() < 0.85 else newest, rng.choice(platforms)))
        self.cast = Cast(tuple(places))
        self.world = World(stage, self.cast)
        self.steps: list[Step] = []
        self.interesting = {f.name for kind in stage.schema.types.values() for f in kind.fields if self._moves(f.name)}

    def _moves(self, name: str) -> bool:
        return self.stage.families[name].form != "plain"

    @property
    def script(self) -> Script:
        """What was written so far."""
        return Script(self.cast, tuple(self.steps))

    def write(self) -> World:
        """The whole history, played as it is written. Raises ``Found``."""
        rng = self.rng
        for _ in range(rng.choice((1, 1, 2))):
            self._add()
        for _ in range(rng.randint(5, 10)):
            self._next()
        return self.world

    def _play(self, step: Step) -> bool:
        self.steps.append(step)
        return self.world.perform(step)

    # ---- what might happen --------------------------------------------------------------------------------------
    def _add(self) -> None:
        """A new entry, on an older device more often than not, and usually everybody hears of it at once."""
        rng, number = self.rng, len(self.world.entries)
        device = rng.choice(self.world.devices[2:] * 3 + self.world.devices)
        types = [kind for kind in self.stage.schema.types.values() if device.schema.active(kind.name)]
        if not types:
            return
        weights = [6 if self._is_moving(kind) else 1 for kind in types]
        kind = rng.choices(types, weights)[0]
        fields = [f for f in device.schema.fields_here(kind) if not device.schema.retired(f)]
        moving = [f for f in fields if f.name in self.interesting]
        chosen = {f.name: f for f in moving if rng.random() < 0.85}
        chosen |= {f.name: f for f in rng.sample(fields, min(len(fields), rng.randint(1, 2)))}
        values = {name: self.inventor.write(name, field.kind, None) for name, field in chosen.items()}
        values = {name: value for name, value in values.items() if value is not None}
        if self._play(Step("add", device.number, number, type=kind.name, values=values)):
            for other in self.world.devices:
                if other is not device and rng.random() < 0.8:
                    self._play(Step("sync", other.number, number, other=device.number))

    def _is_moving(self, kind: EntryType) -> bool:
        return bool(lenses_of(kind)) or any(
            other.converts is not None and other.converts.to == kind.name for other in self.stage.schema.types.values()
        )

    def _next(self) -> None:
        rng, world = self.rng, self.world
        device = rng.choice(world.devices)
        there = [number for number in world.entries if device.raw(number) is not None]
        roll = rng.random()
        if roll < 0.33 or not there:
            other = rng.choice([each for each in world.devices if each is not device])
            self._play(Step("sync", device.number, other=other.number))
            return
        number = rng.choice(there)
        raw = device.raw(number) or {}
        if trashed(raw):
            if roll < 0.8:
                self._play(Step("restore", device.number, number))
        elif roll < 0.36:
            self._play(Step("purge" if roll < 0.34 else "delete", device.number, number))
        elif roll < 0.39 and device.schema.version < max(self.versions) and device.number > 1:
            newer = [version for version in self.versions if version > device.schema.version]
            self._play(Step("update", device.number, number, version=rng.choice(newer)))
        elif roll < 0.62 and conversion(device.schema, primary(raw, device.schema)) is not None:
            self._play(Step("convert", device.number, number))
        else:
            self._edit(device, number)

    def _edit(self, device: Device, number: int) -> None:
        rng, entry = self.rng, device.entry(number)
        if entry.status is Status.HIDDEN:
            return
        names = sorted(entry.writable)
        if not names:
            return
        weights = [5 if name in self.interesting else 1 for name in names]
        chosen = {*rng.choices(names, weights, k=rng.choice((1, 1, 1, 2)))}
        values = {}
        for name in sorted(chosen):
            kind = entry._kind(name)
            values[name] = self.inventor.write(name, kind, entry.get(name))
            if kind.name in ("text", "secret") and rng.random() < 0.04:
                values[name] = self._elsewhere(name, entry) or values[name]
        self._play(Step("set", device.number, number, values=values))

    def _elsewhere(self, name: str, entry: Any) -> str | None:
        """The same value in two fields, as people have it; not within a family, where it could not be told apart."""
        mine = self.stage.families[name]
        same = [
            value
            for other, value in entry.fields.items()
            if isinstance(value, str) and self.stage.families[other] is not mine
        ]
        return self.rng.choice(same) if same and name not in self.inventor.values else None

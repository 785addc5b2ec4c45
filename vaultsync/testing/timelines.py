"""Whole timelines with lenses, from a seed: every form of lens and of conversion, in chains over two to four versions.

``invent_timeline(random.Random(7))`` gives a schema as an application might come to have one: fields are renamed,
wrapped, split, joined, spelt otherwise and enriched, types are retired and converted (more than once, old kept or not),
fields come, go, exist on one platform only or are critical. It is always valid, and its lenses keep their laws on the
values that it says are written into its fields: what fails in a rehearsal of it is a fault of this library.

    python -m vaultsync.testing.timelines 7             the timeline of a seed, rehearsed as in the tests
    python -m vaultsync.testing.timelines 7 1 --vaults  one history of it, with real vaults
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vaultsync.errors import UsageError
from vaultsync.schema import kinds
from vaultsync.schema.kind import Kind
from vaultsync.schema.lenses import Convert, Lens
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing.rehearsal.author import Author, changed_versions
from vaultsync.testing.rehearsal.failure import Found, RehearsalFailed
from vaultsync.testing.rehearsal.finale import Finale
from vaultsync.testing.rehearsal.runner import _Rehearsal
from vaultsync.testing.rehearsal.script import Step
from vaultsync.testing.timeline_lenses import OPERATIONS, Family, Part, Source, Workshop, source_of

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "PLATFORMS",
    "Timeline",
    "TimelineFailed",
    "describe",
    "invent_timeline",
    "rehearse_timeline",
    "timelines",
    "vault_histories",
]

PLATFORMS: Final = ("linux", "ios")
_KINDS: Final[tuple[Kind, ...]] = (
    *(kinds.text,) * 5, kinds.secret, kinds.secret, kinds.number, kinds.number, kinds.tags, kinds.tags,
    kinds.items(kinds.text), kinds.items(kinds.text), kinds.note, kinds.note, kinds.flag, kinds.instant, kinds.file,
    kinds.items(kinds.number),
)  # fmt: skip


@dataclass(frozen=True)
class Timeline:
    """A schema at its newest version. ``values`` and ``leftovers``: as ``rehearse`` takes them. ``operations``: what
    its lenses and conversions are made of."""

    schema: Schema
    values: Mapping[str, Source]
    leftovers: frozenset[str]
    operations: tuple[str, ...]


def invent_timeline(rng: random.Random, *, name: str = "invented") -> Timeline:
    """A timeline of two to four versions."""
    return _Maker(rng).make(name)


def timelines() -> SearchStrategy[Timeline]:
    """The same for Hypothesis, which draws every choice."""
    from hypothesis import strategies as st

    return st.builds(invent_timeline, st.randoms(use_true_random=False, note_method_calls=False))


def describe(schema: Schema) -> str:
    """A timeline in a few lines, for a failure."""
    lines = []
    for kind in schema.types.values():
        lines.append(f"  {kind.name} {_span(kind)}")
        lines += [
            f"    {each.name}: {each.kind} {_span(each)}" + (f", critical={each.critical}" if each.critical else "")
            for each in kind.fields
        ]
        lines += [f"    {lens!r} {lens.rule}" for lens in kind.lenses]
        if (converts := kind.converts) is not None:
            lines.append(f"    becomes {converts.to}, {'also' if converts.keep_old else 'no longer'} {kind.name}")
            lines += [f"      {lens!r} {lens.rule}" for lens in converts.lenses]
    return "\n".join(lines)


def _span(thing: EntryType | Field) -> str:
    end = "" if thing.until is None else f" until {thing.until}"
    where = "" if thing.platforms is None else f" on {', '.join(sorted(thing.platforms))}"
    return f"since {thing.since}{end}{where}"


# ---- rehearsing -------------------------------------------------------------------------------------------------
class TimelineFailed(AssertionError):
    """A rehearsal of an invented timeline failed. ``found``: how; ``seed``: which timeline and histories."""

    def __init__(self, seed: int | str, schema: Schema, found: RehearsalFailed, again: str) -> None:
        self.seed = seed
        self.found = found
        story = str(found).partition("to see it again:")[0].rstrip()
        super().__init__(
            f"{story}\n\nin the timeline of seed {seed}:\n{describe(schema)}\n\nto see it again:\n    {again}"
        )


def rehearse_timeline(seed: int | str, histories: int = 5, *, timeline: Timeline | None = None) -> Counter[str]:
    """Random histories over the timeline of a seed (or the one given); returns what they consisted of.

    As ``rehearse``, with devices that change their version in both directions. Raises ``TimelineFailed``.
    """
    made = timeline or invent_timeline(random.Random(f"{seed}/timeline"))
    platforms = PLATFORMS if any(_placed(made.schema)) else PLATFORMS[:1]
    rehearsal = _Wandering(made.schema, changed_versions(made.schema), platforms, made.values, made.leftovers)
    try:
        for number in range(histories):
            rehearsal.history(f"{seed}/{number}", number + 1)
    except RehearsalFailed as found:
        again = f"python -m vaultsync.testing.timelines {seed} {histories}"
        again = again if timeline is None else "the test that drew it"
        raise TimelineFailed(seed, made.schema, found, again) from None
    rehearsal.tally["histories"] = histories
    rehearsal.tally.update(f"lens {each}" for each in made.operations)
    return rehearsal.tally


def vault_histories(seed: int | str, histories: int = 1, *, timeline: Timeline | None = None) -> Counter[str]:
    """The same histories with real vaults on a remote in memory (see ``rehearsal.vaults``)."""
    from vaultsync.testing.rehearsal.vaults import play_with_vaults

    made = timeline or invent_timeline(random.Random(f"{seed}/timeline"))
    platforms = PLATFORMS if any(_placed(made.schema)) else PLATFORMS[:1]
    rehearsal = _Wandering(made.schema, changed_versions(made.schema), platforms, made.values, made.leftovers)
    tally: Counter[str] = Counter()
    for number in range(histories):
        author = _Traveller(
            rehearsal.stage, random.Random(f"{seed}/{number}"), rehearsal.versions, platforms, made.values
        )
        author.write()
        tally += play_with_vaults(rehearsal.stage, author.script, f"{seed}/{number}", made.leftovers)
    return tally


def _placed(schema: Schema) -> list[bool]:
    things: list[EntryType | Field] = [*schema.types.values()]
    things += [each for kind in schema.types.values() for each in kind.fields]
    return [thing.platforms is not None for thing in things]


class _Traveller(Author):
    """Writes histories in which devices are also put back to an older version, and forward again. The first two stay:
    they are of one version and platform, the newest."""

    def _next(self) -> None:
        rng, device = self.rng, self.rng.choice(self.world.devices)
        others = [version for version in self.versions if version != device.schema.version]
        if device.number > 1 and others and rng.random() < 0.12:
            self._play(Step("update", device.number, version=rng.choice(others)))
            return
        super()._next()


class _Wandering(_Rehearsal):
    """A rehearsal written by a traveller."""

    def history(self, seed: str, number: int) -> None:
        """One history; raises ``RehearsalFailed``."""
        author = _Traveller(self.stage, random.Random(seed), self.versions, self.platforms, self.values)
        try:
            world = author.write()
            Finale(world, self.leftovers).run()
        except Found as found:
            world, again = self.play(author.script)  # once more, with the conflicts that people saw and overwrote
            if again is None and found.kind not in ("lost", "law"):
                again = found
            if again is not None:
                raise self.failed(author.script, again, world.story, seed, number) from None
        for step in author.steps:
            self.tally[f"act {step.kind}"] += 1
        before = [version for version, _ in author.cast.places]
        for step in author.steps:
            if step.kind == "update":
                self.tally["act upgrade" if step.version > before[step.device] else "act downgrade"] += 1
                before[step.device] = step.version
        self.tally.update(world.tally)


# ---- what is being made -----------------------------------------------------------------------------------------
@dataclass(eq=False)
class _Type:
    name: str
    since: int
    platforms: str | None
    until: int | None = None
    parts: list[Part] = field(default_factory=list)
    lenses: list[Lens] = field(default_factory=list)
    converts: Convert | None = None

    def alive(self) -> list[Part]:
        return [part for part in self.parts if part.until is None]

    def lacks(self, name: str) -> bool:
        return all(part.name != name for part in self.parts)

    def made(self) -> EntryType:
        return EntryType(
            self.name,
            fields=[part.made() for part in self.parts],
            since=self.since,
            until=self.until,
            platforms=None if self.platforms is None else {self.platforms},
            lenses=self.lenses,
            converts=self.converts,
        )


class _Maker(Workshop):
    """Makes one timeline, version by version."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.types: list[_Type] = []
        self.leftovers: set[str] = set()
        self.done: list[str] = []

    def make(self, name: str) -> Timeline:
        rng, last = self.rng, self.rng.randint(2, 4)
        for _ in range(rng.choice((1, 1, 2))):
            self.new_type(1)
        for version in range(2, last + 1):
            self.version(version)
        kinds_of = {part.name: part.kind for kind in self.types for part in kind.parts}
        for field_name, family in self.families.items():
            source = source_of(kinds_of[field_name], family.flags)
            if source is not None:
                self.values.setdefault(field_name, source)
        releases = {n: f"{n}.0" for n in range(1, last + 1) if rng.random() < 0.4}
        schema = Schema(
            name, version=last, platform=PLATFORMS[0], types=[each.made() for each in self.types], releases=releases
        )
        return Timeline(schema, self.values, frozenset(self.leftovers), tuple(self.done))

    def version(self, version: int) -> None:
        rng = self.rng
        living = [kind for kind in self.types if kind.until is None]
        if rng.random() < 0.35:
            self.retire(rng.choice(living), version)
        if rng.random() < 0.2:
            self.new_type(version)
        for kind in living:
            if kind.until is None:
                for _ in range(rng.choice((1, 1, 2, 3))):
                    self.evolve(kind, version)

    # ---- types ------------------------------------------------------------------------------------------------
    def new_type(self, version: int) -> _Type:
        rng = self.rng
        where = rng.choice(PLATFORMS) if self.types and rng.random() < 0.15 else None
        made = _Type(f"t{len(self.types)}", version, where)
        self.types.append(made)
        self.part(made, kinds.text, version)
        for _ in range(rng.randint(2, 4)):
            there = rng.choice(PLATFORMS) if where is None and rng.random() < 0.12 else None
            critical = rng.choice(("write", "write", "read")) if version > 1 and rng.random() < 0.15 else None
            self.part(made, rng.choice(_KINDS), version, there, critical)
        return made

    def part(
        self, kind: _Type, of: Kind, version: int, platforms: str | None = None, critical: str | None = None
    ) -> Part:
        made = Part(f"f{len(self.families)}", of, version, platforms, critical)
        self.families[made.name] = family = Family()
        family.names.add(made.name)
        kind.parts.append(made)
        return made

    def retire(self, kind: _Type, version: int) -> None:
        """A type ends: converted to a new one, to another that is there, or (rarely) not at all."""
        rng, roll = self.rng, self.rng.random()
        others = [
            other for other in self.types if other is not kind and other.until is None
            and other.platforms == kind.platforms and other.since < version
        ]  # fmt: skip
        kind.until = version
        if roll < 0.1 and len([each for each in self.types if each.until is None]):
            self.done.append("retire type")
            return
        if roll < 0.35 and others:
            target = rng.choice(others)
        else:
            target = _Type(f"t{len(self.types)}", version, kind.platforms)
            self.types.append(target)
        made: list[Lens] = []
        for part in kind.alive():
            self.carry(part, kind, target, version, made)
        if not target.parts:
            self.part(target, kinds.text, version)
        if rng.random() < 0.4:
            self.part(target, rng.choice(_KINDS), version)
        kind.converts = Convert(target.name, made, keep_old=rng.random() < 0.5)
        self.done.append(f"conversion, old {'kept' if kind.converts.keep_old else 'gone'}")

    def carry(self, part: Part, kind: _Type, target: _Type, version: int, made: list[Lens]) -> None:
        """What becomes of one field in a conversion: it stays, is dropped, or goes through a lens to a new field, not
        to one that was there: an older device that knows it and not the conversion writes beside the lens."""
        roll, used = self.rng.random(), {name for lens in made for name in lens.old}
        if part.name in used:
            return
        if roll < 0.3:
            same = Part(part.name, part.kind, version, part.platforms, part.critical)
            target.parts.append(same)
            return
        if roll < 0.37 and len(kind.alive()) > 1:
            self.leftovers.add(f"{kind.name}.{part.name}")
            self.done.append("leftover")
            return
        partners = [each for each in kind.alive() if each is not part and each.name not in used]
        partners = [each for each in partners if target.lacks(each.name)]
        made.append(self.lens([part, *partners], target, version, None))

    # ---- fields -----------------------------------------------------------------------------------------------
    def evolve(self, kind: _Type, version: int) -> None:
        """One change of a type."""
        rng, roll = self.rng, self.rng.random()
        parts = [part for part in kind.alive() if part.since < version]
        if roll < 0.15 or not parts:
            there = rng.choice(PLATFORMS) if kind.platforms is None and rng.random() < 0.2 else None
            critical = rng.choice(("write", "write", "read")) if rng.random() < 0.25 else None
            self.part(kind, rng.choice(_KINDS), version, there, critical)
            return
        part = rng.choice(parts)
        if roll < 0.22 and len(parts) > 1:
            part.until = version
            self.done.append("retire field")
            return
        others = [other for other in parts if other is not part]
        kind.lenses.append(self.lens([part, *others], kind, version, version))

    def lens(self, parts: list[Part], target: _Type, version: int, since: int | None) -> Lens:
        """A lens over the first part, and the others if it needs them, to new fields of ``target``."""
        rng, part = self.rng, parts[0]
        choices = [(each, made.weight) for each, made in OPERATIONS.items() if made.fits(self, part, parts)]
        what = rng.choices([each for each, _ in choices], [weight for _, weight in choices])[0]
        self.done.append(what)

        def new(kind: Kind) -> Part:
            return self.part(target, kind, version, part.platforms)

        olds, news, made = OPERATIONS[what].make(self, parts, new, since)
        if since is not None:
            for old in olds:
                old.until = since
        self.link([each.name for each in olds], [each.name for each in news])
        return made


# ---- the command ------------------------------------------------------------------------------------------------
def main(arguments: list[str]) -> int:
    """Show the timeline of a seed, and rehearse it."""
    with_vaults = "--vaults" in arguments
    arguments = [each for each in arguments if each != "--vaults"]
    if not 1 <= len(arguments) <= 2:
        raise UsageError("python -m vaultsync.testing.timelines SEED [HISTORIES] [--vaults]")
    seed, histories = arguments[0], int(arguments[1]) if len(arguments) > 1 else 1 if with_vaults else 5
    sys.stdout.write(describe(invent_timeline(random.Random(f"{seed}/timeline")).schema) + "\n\n")
    tally = (vault_histories if with_vaults else rehearse_timeline)(seed, histories)
    sys.stdout.write("; ".join(f"{name} {count}" for name, count in sorted(tally.items())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``rehearse``: random histories of the application's own schema, and the shortest story of what goes wrong."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaultsync.errors import UsageError
from vaultsync.schema.types import Schema
from vaultsync.testing.rehearsal.author import Author, changed_versions, platforms_that_matter
from vaultsync.testing.rehearsal.failure import Found, RehearsalFailed
from vaultsync.testing.rehearsal.families import families
from vaultsync.testing.rehearsal.finale import Finale
from vaultsync.testing.rehearsal.lock import keep_lock
from vaultsync.testing.rehearsal.report import Report, figures
from vaultsync.testing.rehearsal.script import Script
from vaultsync.testing.rehearsal.shrink import shrink
from vaultsync.testing.rehearsal.stage import Stage
from vaultsync.testing.rehearsal.values import Source
from vaultsync.testing.rehearsal.watch import Watch, watched
from vaultsync.testing.rehearsal.world import World

__all__ = ["assert_rehearsed", "rehearse"]


def rehearse(
    schema: Schema,
    versions: Iterable[int] | None = None,
    platforms: Iterable[str] | None = None,
    histories: int = 200,
    seed: int | str | None = None,
    *,
    values: Mapping[str, Source] | None = None,
    leftovers: Iterable[str] = (),
    lock: str | os.PathLike[str] | None = None,
) -> Report:
    """Let devices at several versions of *your* schema live through random histories; ``RehearsalFailed`` with a short
    story if they hurt each other's data.

    ``versions``: those that take part (None: every one at which something changed); two devices always run the newest
    of them. ``platforms``: None for one of each group that differs. ``seed``: None for another one each time; a failure
    names the one that replays it. ``values``: field name -> a list of values (elements of a collection, lines of a
    note), or a function of a ``random.Random``, where invented ones are not what your application writes.
    ``leftovers``: fields (``"type.field"``) that a conversion drops and is meant to. ``lock``: the file that remembers
    what was published: written when missing, checked and carried on otherwise (see ``write_lock``).

    Raises ``UsageError`` for versions or platforms that the schema does not have.
    """
    every = tuple(sorted(set(versions))) if versions is not None else changed_versions(schema)
    where = tuple(platforms) if platforms is not None else platforms_that_matter(schema)
    if not every or not where or every[0] < 1 or every[-1] > schema.version:
        raise UsageError(f"rehearse: versions are some of 1 to {schema.version}, platforms at least one")
    told = keep_lock(schema, Path(lock)) if lock is not None else ""
    rehearsal = _Rehearsal(schema, every, where, dict(values or {}), frozenset(leftovers))
    base, first = _seed(seed)
    began = time.perf_counter()
    for number in range(histories):
        rehearsal.history(f"{base}/{first + number}", number + 1)
    seconds = time.perf_counter() - began
    tally = rehearsal.tally
    return Report(
        schema.name,
        f"{base}/{first}",
        histories,
        seconds,
        every,
        where,
        figures(tally),
        tally["repairs"],
        tally["conversions"],
        {int(name[7:]): count for name, count in tally.items() if name.startswith("rounds ")},
        {name[8:]: count for name, count in tally.items() if name.startswith("refused ")},
        told,
    )


def assert_rehearsed(schema: Schema, **options: Any) -> Report:
    """``rehearse`` for a test of your suite; the environment scales and replays it::

    def test_versions_do_not_hurt_each_other():
        assert_rehearsed(acme.SCHEMA, lock="schema.lock")

    VAULTSYNC_HISTORIES=50000 pytest -k versions        the long run
    VAULTSYNC_SEED=1f3a/17 VAULTSYNC_HISTORIES=1 pytest -k versions
    """
    if histories := os.environ.get("VAULTSYNC_HISTORIES"):
        options["histories"] = int(histories)
    if seed := os.environ.get("VAULTSYNC_SEED"):
        options["seed"] = seed
    return rehearse(schema, **options)


def _seed(seed: int | str | None) -> tuple[str, int]:
    """The base of a seed and the number of its first history."""
    if seed is None:
        return f"{random.SystemRandom().getrandbits(32):x}", 0
    base, slash, first = str(seed).rpartition("/")
    return (base, int(first)) if slash and first.isdigit() else (str(seed), 0)


class _Rehearsal:
    """What the histories of one call share."""

    def __init__(
        self,
        schema: Schema,
        versions: Sequence[int],
        platforms: Sequence[str],
        values: Mapping[str, Source],
        leftovers: frozenset[str],
    ) -> None:
        self.versions = versions
        self.platforms = platforms
        self.values = values
        self.leftovers = leftovers
        self.tally: Counter[str] = Counter()
        watch = Watch()
        self.stage = Stage(watched(schema, watch), watch, families(schema, values))

    def history(self, seed: str, number: int) -> None:
        """One history; raises ``RehearsalFailed``."""
        author = Author(self.stage, random.Random(seed), self.versions, self.platforms, self.values)
        try:
            world = author.write()
            Finale(world, self.leftovers).run()
        except Found as found:
            script = author.script
            world, again = self.play(script)  # once more, with the conflicts that people saw and overwrote
            if again is None and found.kind != "lost":  # what is fickle may behave now; what was lost was in sight
                again = found
            if again is not None:
                raise self.failed(script, again, world.story, seed, number) from None
        else:
            if any(name.startswith("unlisted") for name in world.tally):
                world, _ = self.play(author.script)  # some of it may have been listed, and overwritten in sight
        self.tally.update(world.tally)

    def play(self, script: Script) -> tuple[World, Found | None]:
        """A script from its beginning, and what is found; None: nothing."""
        world = World(self.stage, script.cast, conflicts=True)
        try:
            for step in script.steps:
                world.perform(step)
            Finale(world, self.leftovers).run()
        except Found as found:
            return world, found
        return world, None

    def failed(self, script: Script, found: Found, story: list[str], seed: str, number: int) -> RehearsalFailed:
        """The shortest story of a failure."""
        kind, subject = found.kind, found.subject

        def same(other: Script) -> bool:
            again = self.play(other)[1]
            return again is not None and (again.kind, again.subject) == (kind, subject)

        small = shrink(script, same, given=self.values)
        world, again = self.play(small)
        if again is not None:
            found, story = again, world.story
        versions = tuple(sorted({version for version, _ in small.cast.places}))
        return RehearsalFailed(
            kind,
            subject,
            found.text,
            story=[*story, *found.shows],
            seed=seed,
            histories=number,
            versions=versions,
        )

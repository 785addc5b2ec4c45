"""What all histories of one rehearsal share: the watched timeline at every place, its families, and the check that no
lens raises, misfits, breaks a law or changes its mind on what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vaultsync.schema.cells import Raw
from vaultsync.schema.types import Schema
from vaultsync.testing.rehearsal.device import Look
from vaultsync.testing.rehearsal.failure import Found
from vaultsync.testing.rehearsal.families import Family
from vaultsync.testing.rehearsal.laws import broken_law
from vaultsync.testing.rehearsal.watch import Watch
from vaultsync.view.chain import only

__all__ = ["Stage"]


class Stage:
    """What all histories of one rehearsal share: the watched timeline at every place, and its families."""

    def __init__(self, schema: Schema, watch: Watch, families: Mapping[str, Family]) -> None:
        self.schema = schema
        self.watch = watch
        self.families = families
        self._places: dict[tuple[int, str], Schema] = {}
        self._lawful: set[Any] = set()

    def at(self, version: int, platform: str) -> Schema:
        """The timeline as one device has it; the same object each time."""
        place = (version, platform)
        if place not in self._places:
            self._places[place] = self.schema.at(version, platform)
        return self._places[place]

    def forms(self, names: Iterable[str], schema: Schema) -> dict[Family, tuple[str, ...]]:
        """The families of these fields, each with what a device knows of its lenses."""
        found = {}
        for family in {self.families[name] for name in names if name in self.families}:
            found[family] = tuple(
                lens.ends for lens in family.lenses if all(self._begun(name, schema) for name in lens.new)
            )
        return found

    @staticmethod
    def _begun(name: str, schema: Schema) -> bool:
        return any((field := kind.field(name)) is not None and schema.here(field) for kind in schema.types.values())

    def check_laws(self, look: Look) -> None:
        """Every law of every lens on the way to what is shown, on what is stored."""
        shape = look.entry._judgement.shape
        if not shape.fallible or look.lawful:
            return
        climbed = look.climbed
        if climbed.broken:
            step = min(climbed.broken.values(), key=shape.steps.index)
            self.accuse(step, climbed.levels[-1])
        for i, step in enumerate(climbed.steps):
            if not step.mirrored:
                continue
            old = step.old_values(only(climbed.levels[i], step.lens.old))
            new = step.new_values(only(climbed.levels[i + 1], step.lens.new))
            question = (id(step), *sorted(old.items()), "", *sorted(new.items()))
            if question not in self._lawful:
                if (trouble := broken_law(step, old, new, self.watch)) is not None:
                    raise Found(
                        "law", trouble.ends, f"lens {trouble.ends} breaks its law {trouble.law}: {trouble.text}"
                    )
                self._lawful.add(question)
        self.check_watch()
        look.lawful = True

    def accuse(self, step: Any, level: Raw) -> None:
        """Tell what a lens does wrong that the library cannot read with."""
        old = step.old_values(only(level, step.lens.old))
        raised, recent = self.watch.raised.get(step.lens.ends), self.watch.recent(step.lens.ends)
        trouble = broken_law(step, old, None, self.watch)
        text = trouble.text if trouble is not None else raised or recent
        law = trouble.law if trouble is not None else "put is total" if raised else "back(put(new, old)) == old"
        self.check_watch()
        raise Found("law", step.lens.ends, f"lens {step.lens.ends} breaks its law {law}: {text}")

    def forget(self) -> None:
        """Check every law again."""
        self._lawful.clear()

    def check_watch(self) -> None:
        """Whether a function of the user's answered one question in two ways."""
        if self.watch.troubles:
            trouble = self.watch.troubles[0]
            self.watch.troubles.clear()
            raise Found("law", trouble.ends, f"lens {trouble.ends} breaks its law: {trouble.law}: {trouble.text}")

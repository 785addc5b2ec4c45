"""What a rehearsal found out that is no fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FormFigures", "Report"]


@dataclass(frozen=True)
class FormFigures:
    """One form of lens: ``histories`` in which something was written through it, how many of them ended with something
    ``moved`` to conflicts, and the words that were followed: ``clean`` ones, ``contested`` ones, and how many of those
    were ``unlisted``, overwritten by a concurrent write of an older form and listed nowhere."""

    histories: int
    moved: int
    unlisted: int
    clean: int
    contested: int

    @property
    def share(self) -> float:
        """The share of histories in which something had to move."""
        return self.moved / self.histories if self.histories else 0.0


@dataclass(frozen=True)
class Report:
    """The result of a rehearsal that passed. ``rounds``: how many rounds of repairs it took to come to rest, and how
    often; ``refused``: values that a lens had no older form for, by lens (the person is told, nothing is stored);
    ``lock`` says what became of the lock."""

    schema: str
    seed: str
    histories: int
    seconds: float
    versions: tuple[int, ...]
    platforms: tuple[str, ...]
    forms: Mapping[str, FormFigures]
    repairs: int
    conversions: int
    rounds: Mapping[int, int]
    refused: Mapping[str, int] = field(default_factory=dict)
    lock: str = ""

    def __str__(self) -> str:
        pace = f"{self.histories / self.seconds:.0f} a second" if self.seconds else ""
        where = f", platforms {', '.join(self.platforms)}" if len(self.platforms) > 1 else ""
        lines = [
            f"{self.schema}: {self.histories} histories rehearsed in {self.seconds:.1f} s ({pace}), "
            f"versions {', '.join(map(str, self.versions))}{where}, seed {self.seed}"
        ]
        for form, figures in self.forms.items():
            lines.append(
                f"  {form}: {figures.histories} histories, something moved to conflicts in {figures.share:.1%}; "
                f"{figures.clean + figures.contested} words followed, {figures.contested} of them contested"
                + (f", {figures.unlisted} overwritten by another form and listed nowhere" if figures.unlisted else "")
            )
        rounds = ", ".join(f"{count} after {number}" for number, count in sorted(self.rounds.items()))
        lines.append(f"  repairs {self.repairs}, conversions {self.conversions}; at rest (rounds): {rounds}")
        lines += [f"  refused through {ends}: {count} values" for ends, count in sorted(self.refused.items())]
        return "\n".join([*lines, *([f"  {self.lock}"] if self.lock else [])])


def figures(tally: Counter[str]) -> dict[str, FormFigures]:
    """By form, as far as it took part."""
    return {
        form: FormFigures(
            tally[f"histories {form}"],
            tally[f"moved {form}"],
            tally[f"unlisted {form}"],
            tally[f"clean {form}"],
            tally[f"contested {form}"],
        )
        for form in ("plain", "alias", "slot", "mirror")
        if tally[f"histories {form}"]
    }

"""Reading through lenses: from the cells that are stored to those that this version shows.

Theory. The lenses between the oldest representation of an entry and the one that this version shows form a chain,
oldest first. *Level* 0 is what is stored under the oldest names; level i is what the entry looks like after the first i
lenses; the last level is shown. Each lens takes its older fields out of a level and puts its newer ones in:

``alias``    renames the cells, and may spell each value otherwise
``slot``     the older cell becomes the element ``old`` of the list; the other elements are stored under the list's name
``mirror``   a newer cell reads as it is stored (a stored null is knowingly empty), else as the mark's rest has it, else
             as ``get`` of the older value gives it. That stands if ``back`` of it is the older value, or if the mark
             says that it was written with this older value; otherwise ``put`` brings the older value in.

A lens that raises, returns what does not fit, or breaks its law on what is stored is *broken*: the level keeps its
older fields, and its newer ones are missing. Lens functions are the user's: any ``Exception`` of theirs means that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vaultsync.schema.cells import Raw, Scalar, owner, split_key
from vaultsync.schema.kind import Kind
from vaultsync.schema.kinds import OLD, ScalarKind
from vaultsync.schema.lenses import Lens
from vaultsync.schema.spelling import checked, digest, read, respell, spell, turnable
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.marks import Mark, mark_key, part_key

__all__ = ["Broken", "Cells", "Climb", "Step", "climb", "holding", "make_steps", "only", "stored_cells"]

Cells = dict[str, Scalar]
"""Cells of any fields, without ``$`` keys. In what is stored, a null is knowingly empty; in a level there are none."""


class Broken(Exception):
    """A lens fails on what it was given. Internal; says which, never on what."""

    def __init__(self, step: Step) -> None:
        super().__init__(f"lens {step.lens.ends} fails")
        self.step = step


class Step:
    """One lens of a chain, with the fields at its ends."""

    __slots__ = ("_plain_news", "_plain_olds", "fallible", "lens", "mark", "mirrored", "news", "olds", "parts")

    def __init__(self, lens: Lens, olds: Iterable[Field], news: Iterable[Field]) -> None:
        self.lens = lens
        self.olds = tuple(olds)
        self.news = tuple(news)
        self.mirrored = lens.form == "mirror"
        self.fallible = self.mirrored or lens.each is not None
        """Whether it calls functions that are not ours."""
        self.mark = mark_key(lens.new[0])
        self.parts: tuple[str, ...] = ()
        """Where the digest of each older field stands; only of several, and where another mirror stands on this one."""
        self._plain_olds = all(isinstance(field.kind, ScalarKind) for field in self.olds)
        self._plain_news = all(isinstance(field.kind, ScalarKind) for field in self.news)

    def __repr__(self) -> str:
        return f"<Step {self.lens!r}>"

    # ---- the user's functions, never trusted ------------------------------------------------------------------
    def get(self, old: Mapping[str, Any]) -> dict[str, Any]:
        """``get`` of values, checked."""
        return self._call(self.lens.get, self.news, dict(old))

    def back(self, new: Mapping[str, Any]) -> dict[str, Any]:
        """``back`` of values, checked."""
        return self._call(self.lens.back, self.olds, dict(new))

    def put(self, new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
        """``put`` of values, checked, and the law with it."""
        made = self._call(self.lens.put, self.news, dict(new), dict(old))
        if self.back(made) != old:
            raise Broken(self)
        return made

    def lawful(self, old: Mapping[str, Any]) -> dict[str, Any]:
        """``get`` of values that ``back`` undoes."""
        made = self.get(old)
        if self.back(made) != old:
            raise Broken(self)
        return made

    def _call(self, function: Callable[..., object], fields: tuple[Field, ...], *values: object) -> dict[str, Any]:
        try:
            return checked(fields, function(*values))
        except Exception as error:  # anything: the function is not ours
            raise Broken(self) from error

    # ---- values and cells -------------------------------------------------------------------------------------
    def old_cells(self, cells: Mapping[str, Scalar]) -> Cells:
        """The cells of the older fields."""
        names = self.lens.old
        return {name: cells[name] for name in names if name in cells} if self._plain_olds else only(cells, names)

    def new_cells(self, cells: Mapping[str, Scalar]) -> Cells:
        """The cells of the newer fields."""
        names = self.lens.new
        return {name: cells[name] for name in names if name in cells} if self._plain_news else only(cells, names)

    def old_values(self, cells: Mapping[str, Scalar]) -> dict[str, Any]:
        """What a person sees of the older fields."""
        return read(self.olds, cells)

    def part_digests(self, old: Mapping[str, Any]) -> tuple[str, ...]:
        """The digests that stand at ``parts``."""
        return tuple(digest((field,), old) for field in self.olds) if self.parts else ()

    @property
    def marks(self) -> tuple[str, ...]:
        """Every key that says what the newer cells were written with; none unless it is a mirror."""
        return (self.mark, *self.parts) if self.mirrored else ()

    def new_values(self, cells: Mapping[str, Scalar]) -> dict[str, Any]:
        """What a person sees of the newer fields."""
        return read(self.news, cells)

    def spelt(self, values: Mapping[str, Any]) -> Cells:
        """The cells of computed newer values."""
        return {key: v for f in self.news for key, v in spell(f.kind, f.name, values.get(f.name)).items()}

    def turned(self, cells: Mapping[str, Scalar], *, up: bool) -> Cells:
        """An alias: the cells under the other name, ids and places kept, each value spelt in the other way."""
        (source,), (target,) = (self.olds, self.news) if up else (self.news, self.olds)
        each = self.lens.each
        start = len(source.name)
        if each is None:
            return {target.name + key[start:]: value for key, value in cells.items()}
        there, undo = (each.get, each.back) if up else (each.back, each.get)
        made: Cells = {}
        for key, value in cells.items():
            rest = key[start:]
            if rest.startswith("@"):
                made[target.name + rest] = value
            elif value is True and turnable(source.kind) is None:  # a tag is its key
                made[f"{target.name}/{self._turn(rest[1:], there, undo, source.kind, target.kind)}"] = True
            else:
                made[target.name + rest] = self._turn(value, there, undo, source.kind, target.kind)
        if len(made) != len(cells):
            raise Broken(self)  # two tags became one
        return made

    def _turn(
        self,
        value: Scalar,
        there: Callable[[Any], Any],
        undo: Callable[[Any], Any],
        source: Kind,
        target: Kind,
    ) -> Scalar:
        """One value spelt in the other way, if that can be undone."""
        inner, outer = turnable(source), turnable(target)
        stored: Scalar
        try:
            if inner is None or outer is None:  # tags
                (made,) = target.check([there(value)])
                (again,) = source.check([undo(made)])
                good, stored = again == value, made
            else:
                shown = inner.decode(value)
                made = outer.check(there(shown))
                good, stored = inner.check(undo(made)) == shown, outer.encode(made)
        except Exception as error:  # anything: the functions are not ours
            raise Broken(self) from error
        if not good or made is None:
            raise Broken(self)
        return stored


def make_steps(schema: Schema, line: tuple[EntryType, ...]) -> tuple[Step, ...]:
    """The chain of a lineage of types: the lenses of each, then those of its conversion into the next."""
    steps: list[Step] = []
    reached: set[str] = set()

    def add(lens: Lens, old: EntryType, new: EntryType) -> None:
        olds = [field for name in lens.old if (field := old.field(name)) is not None and schema.here(field)]
        news = [field for name in lens.new if (field := new.field(name)) is not None and schema.here(field)]
        # One that a type took over from the type it came from was passed already.
        if len(olds) == len(lens.old) and len(news) == len(lens.new) and not reached.intersection(lens.new):
            steps.append(Step(lens, olds, news))
            reached.update(lens.new)

    for i, kind in enumerate(line):
        begun = [lens for lens in kind.lenses if lens.since is not None and lens.since <= schema.version]
        for lens in sorted(begun, key=lambda lens: (lens.since, lens.new)):
            add(lens, kind, kind)
        if i + 1 < len(line) and kind.converts is not None:
            for lens in kind.converts.lenses:
                add(lens, kind, line[i + 1])
    for i, step in enumerate(steps):
        if step.mirrored and len(step.olds) > 1 and _is_stood_on(step, steps[i + 1 :]):
            step.parts = tuple(part_key(step.lens.new[0], name) for name in step.lens.old)
    return tuple(steps)


def _is_stood_on(step: Step, above: Sequence[Step]) -> bool:
    """Whether another mirror makes something of what this one gives, be it through aliases and slots."""
    names = set(step.lens.new)
    for each in above:
        if not names.isdisjoint(each.lens.old):
            if each.mirrored:
                return True
            names.update(each.lens.new)
    return False


def holding(step: Step, below: Sequence[Step], old: str | None = None) -> list[str]:
    """The fields under whose names the older fields of a mirror, or one of them, are stored: aliases and slots below it
    hand them on, another mirror stores them itself."""
    found = list(step.lens.old) if old is None else [old]
    for each in reversed(below):
        if not each.mirrored and each.lens.new[0] in found:
            found.append(each.lens.old[0])
    return found


class Climb(NamedTuple):
    """What a chain makes of one entry: the steps that work and the levels below and above each of them, and the fields
    that a broken lens would have given."""

    steps: list[Step]
    levels: list[Cells]
    broken: dict[str, Step]
    stored: Cells

    @property
    def top(self) -> Cells:
        """The cells that this version shows."""
        return self.levels[-1]


def climb(raw: Raw, known: Mapping[str, Field], steps: Collection[Step]) -> Climb:
    """Every level of an entry. ``known``: all fields of its lineage that are here. Total."""
    stored = stored_cells(raw, known)
    targets = {name for step in steps for name in step.lens.new}
    ground: Cells = {key: value for key, value in stored.items() if value is not None and owner(key) not in targets}
    levels, kept, broken = [ground], list[Step](), dict[str, Step]()
    for step in steps:
        lens, below = step.lens, levels[-1]
        try:
            if not broken.keys().isdisjoint(lens.old):
                raise Broken(step)
            old = step.old_cells(below)
            above = show(step, old, stored, raw)
        except Broken:
            broken.update(dict.fromkeys(lens.new, step))
            continue
        kept.append(step)
        level = below | above
        for key in old:
            del level[key]
        levels.append(level)
    return Climb(kept, levels, broken, stored)


def show(step: Step, old: Cells, stored: Cells, raw: Raw) -> Cells:
    """The newer cells of one lens over the older ones. Raises ``Broken``."""
    lens = step.lens
    if lens.form == "alias":
        return step.turned(old, up=True)
    if lens.form == "slot":
        slot = f"{lens.new[0]}/{OLD}"
        above: Cells = {k: v for k, v in step.new_cells(stored).items() if v is not None and k != slot}
        if old:
            above[slot] = old[lens.old[0]]
        return above
    values = step.old_values(old)
    mark = Mark.read(raw, step.mark, step.parts)
    new = merged(step, values, stored, mark)
    shown = step.new_values(new)
    if step.back(shown) == values or is_fresh(step, values, mark):
        return new
    wanted = step.put(shown, values)
    return {
        key: value
        for field in step.news
        for key, value in respell(field.kind, field.name, only(new, (field.name,)), wanted.get(field.name)).items()
    }


def merged(step: Step, old: Mapping[str, Any], stored: Cells, mark: Mark | None) -> Cells:
    """The newer cells of a mirror before anybody asks whether they still stand. Raises ``Broken``."""
    cells = step.spelt(step.lawful(old)) | rest_of(step, mark) | step.new_cells(stored)
    return {key: value for key, value in cells.items() if value is not None}


def rest_of(step: Step, mark: Mark | None) -> Cells:
    """The cells that stand only in the mark, as far as they fit."""
    if mark is None or not mark.rest:
        return {}
    fields = {field.name: field for field in step.news}
    return stored_cells(mark.rest, fields)


def is_fresh(step: Step, old: Mapping[str, Any], mark: Mark | None) -> bool:
    """Whether nobody without the lens has written the older value since the newer one was written.

    Under another mirror that is asked of each older field: of two concurrent edits each may have won one of them.
    """
    if mark is None:
        return False
    return mark.digest == digest(step.olds, old) or (bool(mark.parts) and mark.parts == step.part_digests(old))


# ---- cells ------------------------------------------------------------------------------------------------------
def stored_cells(raw: Raw, known: Mapping[str, Field]) -> Cells:
    """The cells of known fields that fit their kind, nulls among them."""
    found: Cells = {}
    for key, value in raw.items():
        if key.startswith("$") or (split := split_key(key)) is None:
            continue
        if (field := known.get(split.name)) is not None and field.kind.fits(split, value):
            found[key] = value
    return found


def only(cells: Mapping[str, Scalar], names: Collection[str]) -> Cells:
    """The cells of some fields."""
    return {key: value for key, value in cells.items() if owner(key) in names}

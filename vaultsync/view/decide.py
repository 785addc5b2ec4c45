"""What the local schema makes of one stored entry: exactly one status, whatever the bytes say.

The order of the decision is the design's: trashed, hidden, archived, flagged, complete. It is total: a key or mark that
makes no sense counts as absent (``$`` keys) or as unknown data (everything else), never as an error, because what is
stored comes from other devices, newer applications and, at worst, from somebody hostile.

Not here: values (``entry.py``), writing (``edits.py``), sentences (``notices.py``).
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from itertools import takewhile
from typing import Final, NamedTuple

from vaultsync.limits import MAX_NAME_CHARS
from vaultsync.schema.cells import Key, Raw, faces, is_name, owner, split_key, stamps, trashed
from vaultsync.schema.lenses import Convert
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.chain import Climb, Step, climb, make_steps
from vaultsync.view.marks import Mark

__all__ = [
    "Decision",
    "Judgement",
    "Mark",
    "Reason",
    "Shape",
    "Status",
    "conversion",
    "decide",
    "judge",
    "lineage",
    "primary",
    "shape_named",
    "shape_of",
]


class Status(Enum):
    """What this device can do with an entry; exactly one applies."""

    COMPLETE = "complete"
    FLAGGED = "flagged"
    HIDDEN = "hidden"
    ARCHIVED = "archived"
    TRASHED = "trashed"


class Reason:
    """Why an entry is hidden."""

    VERSION: Final = "version"
    PLATFORM: Final = "platform"
    CRITICAL: Final = "critical"


class Decision(NamedTuple):
    """The verdict on one entry.

    ``face`` is the type it is read as (None: none is known here), ``reason`` says why it is hidden, ``missing`` names
    what is set and not shown, ``counted`` whether it counts for the quota, ``locked`` whether an unknown critical field
    forbids every edit, repair and conversion here.
    """

    status: Status
    face: str | None
    reason: str | None = None
    missing: tuple[str, ...] = ()
    editable: bool = False
    counted: bool = False
    locked: bool = False


class Shape:
    """What a lineage of types looks like at this version and platform; one object for all entries of it."""

    __slots__ = (
        "_place",
        "active",
        "computed",
        "direct",
        "fallible",
        "known",
        "line",
        "past",
        "plain",
        "secret",
        "slotted",
        "steps",
        "titles",
    )

    def __init__(self, schema: Schema, line: tuple[EntryType, ...]) -> None:
        self._place = (tuple(kind.name for kind in line), schema.version, schema.platform)
        self.line = line
        """The types the entry was converted through, oldest first; the last one is shown. Empty: none is known here."""
        self.known: dict[str, Field] = {f.name: f for kind in line for f in kind.fields if schema.here(f)}
        self.plain = {name: (Key(name, "", ""), field.kind) for name, field in self.known.items()}
        shown = line[-1].fields if line else ()
        self.active = tuple(f for f in shown if schema.here(f) and not schema.retired(f))
        """The fields that can be read and written, in the order of the declaration."""
        names = {f.name for f in self.active}
        self.past = tuple(f for f in self.known.values() if f.name not in names)
        """Known fields that are only read: retired, or left over from an earlier type."""
        self.secret = frozenset(name for name, field in self.known.items() if field.kind.is_secret)
        texts = [f.name for f in self.active if f.kind.name == "text"]
        self.titles = tuple(sorted(texts, key=lambda name: (name != "title", name != "name")))  # stable beyond that
        """Where a title may stand, the best place first; never a secret."""
        self.steps = make_steps(schema, line)
        """The lenses between what is stored and what is shown, oldest first."""
        computed = {name for step in self.steps for name in step.lens.new}
        self.direct = tuple(takewhile(lambda name: name not in computed, self.titles))
        """The best places of a title, as far as they are stored as they are shown."""
        self.fallible = any(step.fallible for step in self.steps)
        """Whether reading calls functions that are not ours, which may fail."""
        self.slotted = self._above({step.lens.new[0] for step in self.steps if step.lens.form == "slot"})
        """Lists whose first element goes into a slot when the entry is created."""
        self.computed = self._above({name for step in self.steps if step.mirrored for name in step.lens.new})
        """Fields whose elements are named by their values."""

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Shape) and self._place == other._place and self.line == other.line

    def __hash__(self) -> int:
        return hash(self._place)

    def _above(self, names: set[str]) -> frozenset[str]:
        """These fields and their aliases."""
        for step in self.steps:
            if step.lens.form == "alias" and step.lens.old[0] in names:
                names.add(step.lens.new[0])
        return frozenset(names)

    def climb(self, raw: Raw) -> Climb:
        """Every level of an entry of this shape."""
        return climb(raw, self.known, self.steps)

    def made_by(self, name: str) -> Step:
        """The lens that gives a field."""
        return next(step for step in self.steps if name in step.lens.new)

    def reaching(self, name: str) -> tuple[str, ...]:
        """A shown field and all that stand for it on the levels below, marks among them, in the order of writing."""
        found, wanted = [name], {name}
        for step in reversed(self.steps):
            if not wanted.isdisjoint(step.lens.new):
                wanted.update(step.lens.old)
                found += [*step.marks, *step.lens.old]
        return tuple(found)


class Judgement(NamedTuple):
    """A decision with what it was taken from, for the entry, the notices and the planning of edits."""

    decision: Decision
    primary: str  # the primary type as stored; "" when there is no usable one
    shape: Shape
    unknown: frozenset[str]  # set here, and not known or not fitting their kind
    broken: frozenset[str]  # targets of lenses that break on what is stored
    readable: frozenset[str]  # every type the entry can be read as somewhere
    withheld: bool  # an unknown field is critical="read": nothing of it may be shown, not even from the trash

    @property
    def visible(self) -> bool:
        """Whether this device may and can show fields of it, be it from the trash."""
        return bool(self.shape.line) and not self.withheld


def owner_of(key: str) -> str:
    """The field that a key belongs to; total, and never longer than a name (unknown shapes have an owner too)."""
    return owner(key)[:MAX_NAME_CHARS] or "?"


def primary(raw: Raw, schema: Schema) -> str:
    """``$type``, moved on along the conversions whose stamp is there.

    Two devices that convert from different versions race on ``$type``, and the one that got less far may win.
    ``""`` when there is no usable ``$type``.
    """
    name = raw.get("$type")
    if not isinstance(name, str) or not is_name(name):
        return ""
    if (converts := conversion(schema, name)) is None:
        return name  # the usual case, without reading the stamps
    stamped = stamps(raw)
    while converts is not None and converts.to in stamped and schema.known(converts.to) is not None:
        name = converts.to
        converts = conversion(schema, name)
    return name


def conversion(schema: Schema, name: str) -> Convert | None:
    """What this version converts a type into: nothing before the version that retires it."""
    kind = schema.known(name)
    return kind.converts if kind is not None and schema.retired(kind) else None


def lineage(raw: Raw, schema: Schema, face: str) -> tuple[EntryType, ...]:
    """The types an entry was converted through, oldest first and ``face`` last, as far as they are declared here.

    Stamps are never removed, so they tell an entry that was converted from one that was made as the newer type.
    """
    newest = schema.known(face)
    if newest is None:
        return ()
    line, sources = [newest], _converted_to(schema)
    if face in sources:
        stamped = stamps(raw)
        while before := next((t for t in sources.get(line[0].name, ()) if t.name in stamped and t not in line), None):
            line.insert(0, before)
    return tuple(line)


@lru_cache(maxsize=1024)
def _readable(kept: frozenset[str], first: str) -> frozenset[str]:
    """The types an entry can be read as: the primary one and every face that conversions kept."""
    return (kept | {first}) - {""}


@lru_cache(maxsize=1024)
def _standing(schema: Schema, readable: frozenset[str], first: str) -> tuple[str | None, bool, bool, bool]:
    """Of an entry readable as these types: the face, whether it is retired, whether any type is known here, and whether
    it counts for the quota while it is not deleted (not if it is readable only as types retired here)."""
    known = {name: kind for name in readable if (kind := schema.known(name)) is not None}
    retired = {name for name, kind in known.items() if schema.retired(kind)}
    here = {name for name, kind in known.items() if schema.here(kind)}

    def newest(names: set[str]) -> str | None:
        return max(names, key=lambda name: (name == first, known[name].since, name), default=None)

    face = newest(here - retired) or newest(here & retired)
    return face, face in retired, bool(known), not known or len(retired) < len(known)


def _converted_to(schema: Schema) -> dict[str, tuple[EntryType, ...]]:
    """Type name -> the types that are converted to it here, in an order that every device agrees on."""
    if (made := schema.derived.get("sources")) is not None:
        found: dict[str, tuple[EntryType, ...]] = made
        return found
    found = {}
    for name, kind in sorted(schema.types.items()):
        if (converts := conversion(schema, name)) is not None:
            found[converts.to] = (*found.get(converts.to, ()), kind)
    schema.derived["sources"] = found
    return found


def shape_of(raw: Raw, schema: Schema, face: str) -> Shape:
    """What an entry looks like, read as a type; of nothing when that is not known here."""
    return shape_named(tuple(kind.name for kind in lineage(raw, schema, face)), schema)


def shape_named(line: tuple[str, ...], schema: Schema) -> Shape:
    """The same of a lineage that was found before, by the names of its types. ``KeyError`` for one not declared."""
    shapes: dict[tuple[str, ...], Shape] = schema.derived.setdefault("shapes", {})
    if (found := shapes.get(line)) is None:
        found = shapes[line] = Shape(schema, tuple(schema.types[name] for name in line))
    return found


def decide(raw: Raw, schema: Schema) -> Decision:
    """The one status of an entry under the local schema. Total and deterministic: any mapping of scalars will do."""
    return judge(raw, schema).decision


def judge(raw: Raw, schema: Schema) -> Judgement:
    """:func:`decide`, with what the decision was taken from."""
    marks = " ".join([key for key in raw if key.startswith("$")])  # most entries carry neither faces nor deletes
    first = primary(raw, schema)
    readable = _readable(faces(raw) if "$face/" in marks else frozenset(), first)
    face, archived, known_here, counts = _standing(schema, readable, first)
    shape = shape_of(raw, schema, face or "")
    unknown, covered = _unknown(raw, shape)
    broken = frozenset(shape.climb(raw).broken) if shape.fallible else frozenset[str]()
    critical = {raw.get(f"$critical/{name}") for name in unknown} if unknown else set()
    dead = "$deleted/" in marks and trashed(raw)
    withheld, locked = "read" in critical, bool(critical & {"read", "write"})
    counted = counts and not dead
    missing = tuple(sorted((unknown - covered) | broken))
    reason = None
    if dead:
        status = Status.TRASHED
    elif face is None:
        status, reason = Status.HIDDEN, Reason.PLATFORM if known_here else Reason.VERSION
    elif withheld:
        status, reason = Status.HIDDEN, Reason.CRITICAL
    elif archived:
        status = Status.ARCHIVED
    else:
        status = Status.FLAGGED if missing else Status.COMPLETE
    editable = status in (Status.COMPLETE, Status.FLAGGED) and not locked
    verdict = Decision(status, face, reason, missing, editable, counted, locked)
    return _shared(Judgement(verdict, first, shape, unknown, broken, readable, withheld))


@lru_cache(maxsize=4096)
def _shared(judgement: Judgement) -> Judgement:
    """The same object for equal judgements: a vault holds a hundred thousand entries and a handful of these."""
    return judgement


def _unknown(raw: Raw, shape: Shape) -> tuple[frozenset[str], frozenset[str]]:
    """Names that are set and not known here, and names that a lossless mirror covers.

    Set: a value that is not null, or a place in a mark's rest. Positions never count. A key that does not fit the kind
    of its field counts as unknown too, critical mark and all: a later version may have found a use for that shape.
    """
    unknown: set[str] = set()
    covered: set[str] = set()
    known, plain = shape.known, shape.plain
    for key, value in raw.items():
        if value is None:
            continue
        if (at := plain.get(key)) is not None:  # the usual case first
            if not at[1].fits(at[0], value):
                unknown.add(key)
        elif key.startswith("$"):
            if key.startswith("$lens/") and (mark := Mark.parse(value)) is not None:
                unknown.update(name for cell in mark.rest if (name := owner_of(cell)) not in known)
                if not mark.lossy:
                    covered.update(mark.fields)
        elif (split := split_key(key)) is None:
            unknown.add(owner_of(key))
        elif split.sep != "@" and ((field := known.get(split.name)) is None or not field.kind.fits(split, value)):
            unknown.add(split.name)
    return frozenset(unknown), frozenset(covered)

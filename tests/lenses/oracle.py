"""The rules of versions written down a second time, as plainly as possible: what the package must agree with.

One entry is a flat dict of scalars; nothing is cached, bounded or shared, and types and fields are the package's own
declarations. Only what a lens means for cells is taken from the package (``lensed``), since ids of computed elements
are a matter of spelling; what is stored, shown, written, repaired and converted is decided here.

Vocabulary: *cells* are cell -> value without nulls; a *level* is the cells after the first i lenses of a chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from vaultsync.schema.cells import GONE, is_position, split_key
from vaultsync.schema.kind import KindMismatch
from vaultsync.schema.lenses import Lens as Declared
from vaultsync.schema.spelling import checked, read, respell, spell
from vaultsync.schema.types import EntryType, Schema

Raw = dict[str, Any]
Cells = dict[str, Any]
MIDDLE = "U"


class Refused(Exception):
    """The write is not allowed here."""


class Broken(Exception):
    """A lens breaks its law on the stored values."""


@dataclass(frozen=True)
class Lens:
    """A lens of cells. ``lower(new, old)``: the older cells for newer ones, spelt over the older ones there are."""

    form: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    get: Callable[[Cells], Cells]
    put: Callable[[Cells, Cells], Cells]
    back: Callable[[Cells], Cells]
    lower: Callable[[Cells, Cells], Cells]
    parted: bool = False  # of several older fields, with a mirror on it: each of them has a digest of its own

    def part(self, old: str) -> str:
        return f"$lens/{self.new[0]}/{old}"


def lensed(lens: Declared, schema: Schema) -> Lens:
    """A declared lens as one of cells."""
    fields = {f.name: f for kind in schema.types.values() for f in kind.fields}
    olds, news = [fields[n] for n in lens.old], [fields[n] for n in lens.new]
    old, new = lens.old[0], lens.new[0]
    if lens.form == "alias":

        def move(cells: Cells, source: str, to: str, turn: Callable[[Any], Any]) -> Cells:
            return {to + k[len(source) :]: v if part(k)[1] == "@" or v is True else turn(v) for k, v in cells.items()}

        each = lens.each
        up = lambda c: move(c, old, new, each.get if each else lambda v: v)  # noqa: E731
        down = lambda c: move(c, new, old, each.back if each else lambda v: v)  # noqa: E731
        return Lens("alias", lens.old, lens.new, up, lambda _, o: up(o), down, lambda n, _: down(n))
    if lens.form == "slot":
        slot = f"{new}/old"
        into = lambda o: {slot: o[old]} if old in o else {}  # noqa: E731
        out = lambda n: {old: n[slot]} if slot in n else {}  # noqa: E731
        keep = lambda n, o: {**{k: v for k, v in n.items() if k != slot}, **into(o)}  # noqa: E731
        return Lens("slot", lens.old, lens.new, into, keep, out, lambda n, _: out(n))

    def fitting(some: Any, values: Any) -> Any:
        try:
            return checked(some, values)
        except KindMismatch as error:
            raise Broken(lens.new) from error

    def spelt(some: Any, values: Any) -> Cells:
        good = fitting(some, values)
        return {k: v for f in some for k, v in spell(f.kind, f.name, good.get(f.name)).items()}

    def over(some: Any, cells: Cells, values: Any) -> Cells:
        good = fitting(some, values)
        return {k: v for f in some for k, v in respell(f.kind, f.name, only(cells, {f.name}), good.get(f.name)).items()}

    return Lens(
        "mirror",
        lens.old,
        lens.new,
        lambda o: spelt(news, lens.get(read(olds, o))),
        lambda n, o: over(news, n, lens.put(read(news, n), read(olds, o))),
        lambda n: spelt(olds, lens.back(read(news, n))),
        lambda n, o: over(olds, o, lens.back(read(news, n))),
    )


# ---- cells ------------------------------------------------------------------------------------------------------
def part(key: str) -> tuple[str, str, str]:
    split = split_key(key)
    assert split is not None, key
    return split


def owner(key: str) -> str:
    return part(key)[0]


def only(cells: Raw, names: Any) -> Cells:
    return {k: v for k, v in cells.items() if k[0] != "$" and owner(k) in names}


def without(cells: Cells, names: Any) -> Cells:
    return {k: v for k, v in cells.items() if owner(k) not in names}


def overlay(under: Cells, over: Raw) -> Cells:
    return {k: v for k, v in {**under, **over}.items() if v is not None}


def plain(cells: Cells) -> dict[str, Any]:
    """What a person sees: scalars, sorted tags, items in order."""
    out: dict[str, Any] = {}
    for key in sorted(k for k in cells if part(k)[1] != "@"):
        name, sep, element = part(key)
        if not sep:
            out[name] = cells[key]
        else:
            at = cells.get(f"{name}@{element}", MIDDLE)
            order = ("", element) if cells[key] is True else (at if is_position(at) else MIDDLE, element)
            out.setdefault(name, []).append((order, cells[key]))
    return {n: [(o[1] if v is True else v) for o, v in sorted(x)] if isinstance(x, list) else x for n, x in out.items()}


def same(a: Cells, b: Cells) -> bool:
    return plain(a) == plain(b)


def digest(lens: Lens, cells: Cells) -> str:
    return digest_of(lens.old, cells)


def digest_of(names: Iterable[str], cells: Cells) -> str:
    values = plain(cells)
    text = json.dumps([values.get(name) for name in names], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def apply(raw: Raw, ops: Raw) -> Raw:
    return {k: v for k, v in {**raw, **ops}.items() if v is not GONE}


def differs(raw: Raw, key: str, value: Any) -> bool:
    if value is GONE:
        return key in raw
    return key not in raw or type(raw[key]) is not type(value) or raw[key] != value


# ---- marks ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Mark:
    of: str
    lossy: bool
    fields: tuple[str, ...]
    rest: Cells = field(default_factory=dict)

    @staticmethod
    def read(raw: Raw, lens: Lens) -> Mark | None:
        text = raw.get(f"$lens/{lens.new[0]}")
        return Mark.parse(text) if text else None

    @staticmethod
    def parse(text: str) -> Mark:
        of, lossy, names, rest = json.loads(text)
        return Mark(of, lossy, tuple(names), rest)

    def __str__(self) -> str:
        made = [self.of, self.lossy, self.fields, self.rest]
        return json.dumps(made, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# ---- chains -----------------------------------------------------------------------------------------------------
def stamps(raw: Raw) -> set[str]:
    return {k.split("/")[1] for k in raw if k.startswith("$schema/")}


def converts(schema: Schema, name: str) -> Any:
    kind = schema.known(name)
    return kind.converts if kind and schema.retired(kind) else None


def primary(raw: Raw, schema: Schema) -> str:
    name, seen = raw["$type"], stamps(raw)
    while (c := converts(schema, name)) and schema.known(c.to) and c.to in seen:
        name = c.to
    return name


def lineage(raw: Raw, schema: Schema, face: str) -> list[EntryType]:
    line, seen = [schema.types[face]], stamps(raw)
    while before := next(
        (
            t
            for t in schema.types.values()
            if (c := converts(schema, t.name)) and c.to == line[0].name and t.name in seen
        ),
        None,
    ):
        line.insert(0, before)
    return line


def chain(raw: Raw, schema: Schema, face: str) -> tuple[list[Lens], list[EntryType]]:
    line = lineage(raw, schema, face)
    steps: list[Lens] = []
    for i, kind in enumerate(line):
        for lens in sorted(kind.lenses, key=lambda each: each.since):
            ends = [kind.by_name[n] for n in (*lens.old, *lens.new)]
            if lens.since <= schema.version and all(schema.here(f) for f in ends):
                steps.append(lensed(lens, schema))
        if i + 1 < len(line):
            steps += [lensed(lens, schema) for lens in kind.converts.lenses]
    return [replace(lens, parted=parted(lens, steps[i + 1 :])) for i, lens in enumerate(steps)], line


def parted(lens: Lens, above: list[Lens]) -> bool:
    if lens.form != "mirror" or len(lens.old) == 1:
        return False
    made = set(lens.new)
    for each in above:
        if made & set(each.old):
            if each.form == "mirror":
                return True
            made |= set(each.new)
    return False


def climb(raw: Raw, schema: Schema, face: str) -> tuple[list[Lens], list[Cells], set[str]]:
    steps, line = chain(raw, schema, face)
    targets = {n for s in steps for n in s.new}
    names = {f.name for t in line for f in t.fields if schema.here(f)} - targets
    levels: list[Cells] = [overlay({}, only(raw, names))]
    broken: set[str] = set()
    kept = []
    for lens in steps:
        cells = levels[-1]
        try:
            if broken & set(lens.old):
                raise Broken
            above = show(lens, only(cells, lens.old), raw)
        except Broken:
            broken |= set(lens.new)
            continue
        kept.append(lens)
        levels.append({**without(cells, lens.old), **above})
    return kept, levels, broken


def lawful(lens: Lens, old: Cells, new: Cells) -> Cells:
    if not same(lens.back(new), old):
        raise Broken(lens.new)
    return new


def translate(lens: Lens, old: Cells) -> Cells:
    try:
        return lawful(lens, old, lens.get(old))
    except (ValueError, TypeError, KeyError) as error:
        raise Broken(lens.new) from error


def merged(lens: Lens, old: Cells, raw: Raw) -> Cells:
    mark, base = Mark.read(raw, lens), translate(lens, old)
    return overlay(overlay_nulls(base, mark.rest if mark else {}), only(raw, lens.new))


def overlay_nulls(under: Cells, over: Cells) -> Cells:
    return {**under, **over}


def fresh(lens: Lens, old: Cells, raw: Raw) -> bool:
    mark = Mark.read(raw, lens)
    if mark is None:
        return False
    won_in_parts = lens.parted and all(raw.get(lens.part(name)) == digest_of([name], old) for name in lens.old)
    return mark.of == digest(lens, old) or won_in_parts


def show(lens: Lens, old: Cells, raw: Raw) -> Cells:
    if lens.form != "mirror":
        above = translate(lens, old)
        slot = f"{lens.new[0]}/old"
        others = {k: v for k, v in only(raw, lens.new).items() if v is not None and k != slot}
        return {**others, **above} if lens.form == "slot" else above
    new = merged(lens, old, raw)
    if same(lens.back(new), old) or fresh(lens, old, raw):
        return new
    return lawful(lens, old, lens.put(new, old))


# ---- writing ----------------------------------------------------------------------------------------------------
def settle(raw: Raw, steps: list[Lens], levels: list[Cells], top: int, want: Cells, force: bool = False) -> Raw:
    groups: dict[str, Raw] = {}

    def emit(key: str, value: Any, group: str) -> None:
        if differs(raw, key, value):
            groups.setdefault(group, {})[key] = value

    paired: set[str] = set()

    def nothing(key: str) -> Any:
        return None if owner(key) in paired else GONE

    for i in range(top - 1, -1, -1):
        lens, before = steps[i], only(levels[i + 1], steps[i].new)
        after, old = only(want, lens.new), only(levels[i], lens.old)
        want = without(want, lens.new)
        if before == after and not (force and i == top - 1):
            want |= old
            continue
        if lens.form != "mirror":
            low = lens.back(after)
            if lens.form == "alias" and not same(lens.get(low), after):
                raise Refused(lens.new[0])
            if lens.form == "slot":
                for key in sorted(before | after):
                    if part(key)[1:] != ("/", "old") and before.get(key) != after.get(key):
                        emit(key, after.get(key, nothing(key)), owner(key))
                if f"{lens.new[0]}/old" in raw:
                    emit(f"{lens.new[0]}/old", GONE, lens.new[0])
            want |= low
            continue
        low = lens.lower(after, old)
        base, have, rest = translate(lens, low), only(raw, lens.new), {}
        for key in sorted(before | after | have | base):
            value, changed = after.get(key), before.get(key) != after.get(key)
            if changed:
                emit(key, value, owner(key))
            elif key in have and have[key] != value:
                emit(key, GONE, owner(key))
                have.pop(key)
            if not changed and key not in have and base.get(key) != value:
                if value is None and part(key)[1]:  # a computed element that was replaced: its own cell says so
                    emit(key, None, owner(key))
                else:
                    rest[key] = value
        paired |= set(lens.old)
        for below in reversed(steps[:i]):  # under which names the older value is stored
            if below.form != "mirror" and below.new[0] in paired:
                paired.add(below.old[0])
        mark = Mark(digest(lens, low), not same(base, after), lens.new, rest)
        emit(f"$lens/{lens.new[0]}", str(mark), "$" + lens.old[0])
        for name in lens.old if lens.parted else ():  # written with the field; one that is of another value goes
            key, of, changed = lens.part(name), digest_of([name], low), only(low, {name}) != only(old, {name})
            emit(key, of if changed or raw.get(key) == of else GONE, key)
        want |= low
    for key in sorted(levels[0] | want):
        if key not in want or differs(levels[0], key, want[key]):
            emit(key, want.get(key, nothing(key)), owner(key))
    order: Raw = {}
    for i, lens in reversed(list(enumerate(steps))):
        for name in lens.new:
            order |= groups.pop(name, {})
        if lens.form != "mirror":
            continue
        order |= groups.pop("$" + lens.old[0], {})
        for some in [[name] for name in lens.old if lens.parted] + [list(lens.old)]:
            stored = list(some)  # under which names the older value is stored: aliases and slots hand it on
            for below in reversed(steps[:i]):
                if below.form != "mirror" and below.new[0] in stored:
                    stored.append(below.old[0])
            if lens.parted and len(some) == 1:
                order |= groups.pop(lens.part(some[0]), {})
            for name in stored:
                order |= groups.pop(name, {})
    for name in sorted(groups):
        order |= groups[name]
    return order


def write(raw: Raw, schema: Schema, change: Raw) -> Raw:
    """A person's edit of shown cells (None clears), without ``$edited``."""
    verdict = decide(raw, schema)
    if not verdict.editable:
        raise Refused(verdict.status)
    steps, levels, broken = climb(raw, schema, verdict.face)
    fields = {f.name: f for f in schema.types[verdict.face].fields if schema.here(f)}
    for name in {owner(k) for k in change}:
        if name not in fields or schema.retired(fields[name]) or name in broken:
            raise Refused(name)
    ops = settle(raw, steps, levels, len(steps), overlay(levels[-1], change))
    return sign(ops, raw, schema, verdict.face)


def sign(ops: Raw, raw: Raw, schema: Schema, face: str) -> Raw:
    for kind in lineage(raw, schema, face):
        for f in kind.fields:
            stored = (
                k for k, v in ops.items() if k[0] != "$" and part(k)[1] != "@" and v is not None and v is not GONE
            )
            if any(owner(k) == f.name for k in stored):
                ops = ops | {f"$schema/{kind.name}/{max(f.since, kind.since)}": True}
                if f.critical:
                    ops |= {f"$critical/{f.name}": f.critical}
    return {k: v for k, v in ops.items() if differs(raw, k, v)}


# ---- repair and conversion --------------------------------------------------------------------------------------
def repair(raw: Raw, schema: Schema) -> Raw:
    if trashed(raw) or (verdict := decide(raw, schema)).face is None or verdict.locked:
        return {}
    ops: Raw = {}
    if raw["$type"] != (name := primary(raw, schema)):
        ops["$type"] = name
    for _ in range(100):
        now = apply(raw, ops)
        steps, levels, _ = climb(now, schema, verdict.face)
        wrong = next(
            (
                i
                for i, lens in enumerate(steps)
                if lens.form == "mirror" and off(lens, only(levels[i], lens.old), only(levels[i + 1], lens.new), now)
            ),
            None,
        )
        if wrong is None:
            return {k: v for k, v in ops.items() if differs(raw, k, v)}
        try:
            fix = settle(now, steps, levels, wrong + 1, levels[wrong + 1], force=True)
        except Broken:
            return {}
        assert fix, "a repair that changes nothing"
        ops |= fix
    raise AssertionError("repair does not come to rest")


def off(lens: Lens, old: Cells, new: Cells, raw: Raw) -> bool:
    have, mark = only(raw, lens.new), Mark.read(raw, lens)
    if not have and not (mark and mark.rest):
        return False
    try:
        low = lens.back(new)
        lossy = not same(lens.get(low), new)
    except Broken:
        return False
    return (fresh(lens, old, raw) and not same(low, old)) or mark is None or mark.lossy != lossy


def convert(raw: Raw, schema: Schema) -> Raw:
    if trashed(raw) or decide(raw, schema).locked:
        return {}
    ops: Raw = {}
    name = primary(raw, schema)
    while (c := converts(schema, name)) and schema.known(c.to):
        more = {f"$face/{name}": True} if c.keep_old else {}
        more |= {"$type": c.to, f"$schema/{c.to}/{schema.types[c.to].since}": True}
        if climb(apply(raw, ops | more), schema, c.to)[2]:
            break
        ops, name = ops | more, c.to
    ops |= repair(apply(raw, ops), schema)
    return {k: v for k, v in ops.items() if differs(raw, k, v)}


# ---- delete and view --------------------------------------------------------------------------------------------
def trashed(raw: Raw) -> bool:
    vectors = [json.loads(v) for k, v in raw.items() if k.startswith("$deleted/")]
    edits = {k[8:]: v for k, v in raw.items() if k.startswith("$edited/")}
    return bool(vectors) and all(any(v.get(i, -1) >= n for v in vectors) for i, n in edits.items())


@dataclass(frozen=True)
class Decision:
    status: str
    face: str | None
    reason: str | None = None
    missing: tuple[str, ...] = ()
    editable: bool = False
    counted: bool = False
    locked: bool = False


def decide(raw: Raw, schema: Schema) -> Decision:
    first = primary(raw, schema)
    readable = {first} | {k[6:] for k in raw if k.startswith("$face/")}
    known = {t: kind for t in readable if (kind := schema.known(t))}
    retired = {t for t, kind in known.items() if schema.retired(kind)}
    here = {t for t, kind in known.items() if schema.here(kind)}

    def best(names: set[str]) -> str | None:
        return max(names, key=lambda t: (t == first, known[t].since, t), default=None)

    face = best(here - retired) or best(here & retired)
    own: set[str] = set()
    broken: set[str] = set()
    if face:
        own = {f.name for t in lineage(raw, schema, face) for f in t.fields if schema.here(f)}
        broken = climb(raw, schema, face)[2]
    marks = [Mark.parse(v) for k, v in raw.items() if k.startswith("$lens/") and k.count("/") == 1]
    unknown = {owner(k) for k, v in raw.items() if k[0] != "$" and part(k)[1] != "@" and v is not None} - own
    unknown |= {owner(c) for mark in marks for c in mark.rest} - own
    covered = {n for mark in marks if not mark.lossy for n in mark.fields}
    missing = tuple(sorted((unknown - covered) | broken))
    critical = {raw.get(f"$critical/{n}") for n in unknown}
    counted = not trashed(raw) and not (known and set(known) == retired)
    verdict = Decision("complete", face, None, missing, False, counted, bool(critical & {"read", "write"}))
    if trashed(raw):
        return replace(verdict, status="trashed")
    if face is None:
        return replace(verdict, status="hidden", reason="platform" if known else "version")
    if "read" in critical:
        return replace(verdict, status="hidden", reason="critical")
    if face in retired:
        return replace(verdict, status="archived")
    return replace(verdict, status="flagged" if missing else "complete", editable=not verdict.locked)


def shown(raw: Raw, schema: Schema) -> Cells:
    """The cells of the face that this version shows."""
    face = decide(raw, schema).face
    if face is None:
        return {}
    names = {f.name for f in schema.types[face].fields if schema.here(f)}
    return only(climb(raw, schema, face)[1][-1], names)

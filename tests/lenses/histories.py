"""Random histories of devices on several versions, on the real document engine, checked against causal truth.

Truth is kept beside the devices: every act of a person names the facts it set or removed, and every device knows which
acts it has seen. A fact whose last act saw all other acts on it must be shown at the end by every version that can show
it. Losses are counted apart:

clean       nobody concurrently wrote a cell that holds the same fact
contested   a coarser cell (an older representation) that holds it was written concurrently: the last writer wins

Checked in every history besides: reading one's own writes, no divergence, repairs at rest after two rounds, neither
repairs nor conversions ever write ``$edited`` or ``$deleted`` or change what is in the trash, ``back`` of what the
newer version shows is what the older one shows, an entry is flagged exactly where the newest version shows something
that does not follow from what this one shows, and what is trashed is what everybody's acts say.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.lenses import oracle
from tests.lenses.forms import JOIN, OVER, SLOT, Form, facts, in_order, words
from vaultsync.document.engine import DELETED, Edit, Engine
from vaultsync.schema.cells import GONE, Ops, Raw, owner, trashed
from vaultsync.schema.types import Schema
from vaultsync.view.chain import only
from vaultsync.view.context import Context
from vaultsync.view.decide import Status, judge
from vaultsync.view.edits import plan_add, plan_delete, plan_purge, plan_restore, plan_update
from vaultsync.view.entry import Entry, evaluate
from vaultsync.view.upkeep import plan_convert, repair

ENTRY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
ANY = frozenset("*")


def ids(prefix: str = "n") -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers)}"


class Device:
    """One installation: a document with one entry, a local schema, an incarnation, and the acts it has seen."""

    def __init__(self, number: int, schema: Schema, chunks: list[bytes], seed: int) -> None:
        self.schema = schema
        self.actor = random.Random(f"{seed} {number}").randbytes(16)
        self.engine = Engine.load(None, chunks)
        self.saw: set[int] = set()
        self.repairs = 0
        self.new_id = ids(f"d{number}-")

    @property
    def incarnation(self) -> str:
        return self.actor.hex()

    @property
    def raw(self) -> Raw:
        return self.engine.read("entries", ENTRY) or {}

    @property
    def entry(self) -> Entry:
        return evaluate(ENTRY, self.raw, self.schema, Context())

    def commit(self, ops: Ops) -> bool:
        edits = [Edit("entries", ENTRY, key, DELETED if value is GONE else value) for key, value in ops.items()]
        return bool(edits and self.engine.commit(self.actor, edits))

    def repair(self) -> bool:
        before = self.raw
        ops = repair(before, self.schema)
        upkeep_only(before, ops)
        self.repairs += bool(ops)
        return self.commit(ops)

    def merge(self, other: Device) -> None:
        self.engine.apply(other.engine.changes())
        self.saw |= other.saw


def upkeep_only(before: Raw, ops: Ops) -> None:
    """A repair or a conversion is nobody's edit."""
    assert not [key for key in ops if key.startswith(("$edited", "$deleted"))]
    assert not ops or not trashed(before)
    assert all(key not in before or before[key] is not value for key, value in ops.items())


@dataclass(frozen=True)
class Act:
    """What a person did. ``extent``: every fact held by the fields that it wrote."""

    id: int
    saw: frozenset[int]
    facts: dict[str, str | None]
    extent: frozenset[str]
    kind: str = "edit"

    def concurrent(self, other: Act) -> bool:
        return self.id not in other.saw and other.id not in self.saw and self.id != other.id


@dataclass(frozen=True)
class Setup:
    """Who takes part. ``compare``: also ask the oracle about every state."""

    form: Form
    versions: tuple[int, ...]
    deletes: bool = False
    clears: float = 0.25
    repair: float = 1.0
    compare: bool = False
    schemas: dict[int, Schema] = field(default_factory=dict)

    @property
    def converting(self) -> bool:
        return len(self.form.types) > 1


def schemas(setup: Setup) -> dict[int, Schema]:
    if not setup.schemas:
        setup.schemas.update({version: setup.form.schema(version) for version in {1, *setup.versions}})
    return setup.schemas


# ---- one edit ---------------------------------------------------------------------------------------------------
Planned = tuple[dict[str, Any], dict[str, str | None], frozenset[str]]


def edit(setup: Setup, device: Device, serial: int, rng: random.Random) -> Planned:
    """One random edit in the terms of what this device shows: (values, facts, extent)."""
    form, entry = setup.form, device.entry
    version = device.schema.version
    if not setup.converting and (name := form.lists.get(version)):
        return edit_list(setup, entry, name, serial, rng)
    values: dict[str, Any] = {name: entry[name] for name in entry.writable}
    where = form.cells[entry.type if setup.converting else version]
    fact = rng.choice(sorted(where))
    if form is SLOT and values.get("email"):
        fact = values["email"].split("~")[0]
        where = {fact: "email"}
    key = next((k for k, v in values.items() if f"{fact}~" in f"{v}".lower()), where[fact])
    if key == "users":
        return edit_users(setup, values["users"] or (), fact, serial, rng)
    text = facts({key: values[key]}) if values.get(key) else {}
    held = frozenset({*text, *(f for f, k in where.items() if k == key)})
    clear = fact in text and rng.random() < setup.clears
    if form is OVER and version < 4:
        held |= frozenset(where)  # each field below the join is another form of every part above it
    text.pop(fact, None)
    if not clear:
        text[fact] = f"{fact}~{serial}"
    value: str | None
    if form is JOIN and version > 1:
        value = text.get("f", "") + (", " + text["g"] if "g" in text else "") or None
    else:
        value = " ".join(in_order(text)) or None
    if form.name == "alias" and version > 1 and value:
        value = value.upper()
    return {key: value}, {fact: None if clear else f"{fact}~{serial}"}, held


def edit_list(setup: Setup, entry: Entry, name: str, serial: int, rng: random.Random) -> Planned:
    """Elements that are facts: in a set, in a list, or in one text with commas, where everything is one cell."""
    now = entry[name]
    clear = rng.random() < setup.clears
    if setup.form is SLOT:
        return edit_slot(list(now), name, serial, rng, clear)
    loud = str.upper if setup.form.name == "items alias" and name == "terms" else str
    whole = ANY if name == "line" else frozenset()
    here = sorted(now.split(",") if now else ()) if name == "line" else list(now)
    if here and clear:
        gone = rng.choice(sorted(here))
        here = [each for each in here if each != gone]
        said: dict[str, str | None] = {gone.lower(): None}
    else:
        here.insert(rng.randint(0, len(here)), loud(f"t{serial}"))
        said = {f"t{serial}": f"t{serial}"}
    wanted: Any = here if isinstance(now, tuple) else set(here)
    if name == "line":
        wanted = ",".join(sorted(here) if setup.form.name == "tags mirror" else here) or None
    return {name: wanted}, said, whole | frozenset(said)


def edit_slot(now: list[str], name: str, serial: int, rng: random.Random, clear: bool) -> Planned:
    if now and (clear or rng.random() < 0.6):
        at = rng.randrange(len(now))
        who = now[at].split("~")[0]
        word = None if clear else f"{who}~{serial}"
        now[at : at + 1] = [] if word is None else [word]
        return {name: now}, {who: word}, frozenset({who})
    now.insert(rng.randint(0, len(now)), f"e{serial}~{serial}")
    return {name: now}, {f"e{serial}": f"e{serial}~{serial}"}, frozenset({f"e{serial}"})


def edit_users(setup: Setup, now: tuple[str, ...], fact: str, serial: int, rng: random.Random) -> Planned:
    """The slot of a converted type. Emptied, it stays so: what is added then is another fact."""
    at = next((i for i, each in enumerate(now) if each.startswith(f"{fact}~")), None)
    items = list(now)
    if at is None:
        items.append(f"e{serial}~{serial}")
        return {"users": items}, {f"e{serial}": f"e{serial}~{serial}"}, frozenset({f"e{serial}"})
    word = None if rng.random() < setup.clears else f"{fact}~{serial}"
    items[at : at + 1] = [] if word is None else [word]
    return {"users": items}, {fact: word}, frozenset({fact})


# ---- one history ------------------------------------------------------------------------------------------------
class History:
    """One random history: ``run`` raises ``AssertionError`` where something does not hold, and counts the rest."""

    def __init__(self, setup: Setup, seed: int) -> None:
        self.setup, self.seed = setup, seed
        self.rng = random.Random(seed)
        self.out: Counter[str] = Counter()
        known = schemas(setup)
        first = min(setup.versions)
        origin = known[1 if 1 in setup.versions or setup.converting else first]
        maker = Device(-1, origin, [], seed)
        start = setup.form.start if origin.version == 1 else started(setup.form, known[1], origin)
        made = plan_add(origin, setup.form.first, start, incarnation=maker.incarnation, now_ms=1, new_id=maker.new_id)
        maker.commit(made)
        chunks = maker.engine.changes()
        self.devices = [Device(i, known[v], chunks, seed) for i, v in enumerate(setup.versions)]
        self.acts = [Act(0, frozenset(), dict(facts(start)), frozenset(facts(start)))]
        for device in self.devices:
            device.saw = {0}

    def run(self) -> Counter[str]:
        for _ in range(self.rng.randint(4, 12)):
            device = self.rng.choice(self.devices)
            if self.setup.compare:
                compare(device.raw, device.schema)
            self.step(device)
        self.out["repairs before the end"] = sum(device.repairs for device in self.devices)
        self.rest()
        Check(self).run()
        return self.out

    def step(self, device: Device) -> None:
        rng, raw, roll, serial = self.rng, device.raw, self.rng.random(), len(self.acts)
        if roll < 0.35:
            device.merge(rng.choice([other for other in self.devices if other is not device]))
            if rng.random() < self.setup.repair:
                device.repair()
        elif trashed(raw):
            if self.setup.deletes and roll < 0.8:
                device.commit(plan_restore(raw, device.incarnation, serial))
                self.act(device, {}, frozenset(), "restore")
        elif roll > 0.8 and (ops := plan_convert(raw, device.schema)):
            upkeep_only(raw, ops)
            device.commit(ops)
            self.out["conversions"] += 1
        elif self.setup.deletes and roll < 0.5:
            kind = rng.choice(("delete", "purge"))
            there = facts({k: v for k, v in raw.items() if not k.startswith("$") and isinstance(v, str)})
            there |= {k.split("/")[1]: "" for k, v in raw.items() if v is True and not k.startswith("$")}
            plan = plan_delete if kind == "delete" else plan_purge
            device.commit(plan(raw, device.incarnation))
            self.act(device, dict.fromkeys(there) if kind == "purge" else {}, frozenset(), kind)
        elif judge(raw, device.schema).decision.editable:
            self.write(device, serial)

    def act(self, device: Device, said: dict[str, str | None], extent: frozenset[str], kind: str = "edit") -> None:
        made = Act(len(self.acts), frozenset(device.saw), said, extent | frozenset(said), kind)
        self.acts.append(made)
        device.saw.add(made.id)

    def write(self, device: Device, serial: int) -> None:
        values, said, extent = edit(self.setup, device, serial, self.rng)
        before = device.entry
        ops = plan_update(
            ENTRY,
            before.raw,
            device.schema,
            values,
            seen=before,
            incarnation=device.incarnation,
            now_ms=serial,
            new_id=device.new_id,
        )
        device.commit(ops)
        after = device.entry
        ((name, wanted),) = values.items()
        kept = {k: v for k, v in before.fields.items() if k != name}
        assert {k: v for k, v in after.fields.items() if k != name} == kept, ("others stay", self.seed, values)
        assert after.get(name) == before._kind(name).check(wanted or None), ("read your write", self.seed, values)
        if self.setup.compare:
            compare_write(before, after, ops)
        self.act(device, said, extent)

    def rest(self) -> None:
        """Everybody merges and repairs until nothing changes: at most two rounds of repairs."""
        start = sum(device.repairs for device in self.devices)
        rounds = 0
        while True:
            for _ in range(2):
                for a in self.devices:
                    for b in self.devices:
                        if a is not b:
                            a.merge(b)
            if not sum(device.repair() for device in self.devices):
                break
            rounds += 1
            assert rounds <= 2, ("repairs rest after two rounds", self.seed)
        self.out[f"rounds to rest {rounds}"] += 1
        self.out["repairs at the end"] = sum(device.repairs for device in self.devices) - start
        assert len({repr(sorted(device.raw.items())) for device in self.devices}) == 1, ("diverged", self.seed)


def started(form: Form, oldest: Schema, origin: Schema) -> dict[str, Any]:
    """What an entry made by the oldest version looks like to another one."""
    raw = plan_add(oldest, form.first, form.start, incarnation="00" * 16, now_ms=1, new_id=ids())
    entry = evaluate(ENTRY, raw, origin, Context())
    return dict(entry.fields)


# ---- what must hold at the end ----------------------------------------------------------------------------------
class Check:
    """The state that everybody has in the end, against the truth."""

    def __init__(self, history: History) -> None:
        self.setup, self.seed, self.acts, self.out = history.setup, history.seed, history.acts, history.out
        self.raw = history.devices[0].raw
        self.schemas = list({d.schema.version: d.schema for d in history.devices}.values())
        self.entries = {s.version: evaluate(ENTRY, self.raw, s, Context()) for s in self.schemas}

    def run(self) -> None:
        deletes = [a for a in self.acts if a.kind in ("delete", "purge")]
        others = [a for a in self.acts if a.kind in ("edit", "restore")]
        dead = bool(deletes) and all(any(a.id in d.saw for d in deletes) for a in others)
        assert trashed(self.raw) == dead, ("trash", self.seed)
        if dead:
            self.out["trashed"] += 1
            return
        for schema in self.schemas:
            self.lenses_agree(schema)
            self.flag_is_right(schema)
            seen = [word.split("~")[0] for word in words(self.entries[schema.version].fields)]
            self.out["shown twice"] += len(seen) != len(set(seen))
        for fact in sorted({f for a in self.acts for f in a.facts}):
            self.fact(fact)

    def fact(self, fact: str) -> None:
        mine = [a for a in self.acts if fact in a.facts]
        last = next((a for a in mine if all(b.id in a.saw for b in mine if b is not a)), None)
        if last is None:
            self.out["same-fact races"] += 1
            return
        rivals = [
            b
            for b in self.acts
            if b.concurrent(last) and b.kind == "edit" and (b.extent & last.extent or "*" in b.extent | last.extent)
        ]
        label = "contested" if rivals else "clean"
        purges = [a for a in self.acts if a.kind == "purge"]
        if not rivals and any(p.concurrent(b) for p in purges for b in self.acts if b.kind == "edit"):
            label = "purged meanwhile"
        self.out[f"facts {label}"] += 1
        for schema in self.schemas:
            entry = self.entries[schema.version]
            if entry.status is Status.HIDDEN or not self.shows(schema, entry, fact):
                continue
            if facts({**entry.fields, **entry.retired}).get(fact) != last.facts[fact]:
                what = "came back" if last.facts[fact] is None else "lost"
                self.out[f"{what} {label}"] += 1
                self.out.setdefault(f"example {what} {label}", self.seed)
                return  # once a fact, however many versions miss it

    def shows(self, schema: Schema, entry: Entry, fact: str) -> bool:
        if self.setup.converting:
            return fact in self.setup.form.cells[entry.type] or (entry.type == "c" and fact.startswith("e"))
        if self.setup.form is SLOT:
            return schema.version > 1 or fact == "old"
        return True

    def lenses_agree(self, schema: Schema) -> None:
        """``back`` of what the newer fields show is what the older ones show."""
        judgement = judge(self.raw, schema)
        climbed = judgement.shape.climb(self.raw)
        assert not climbed.broken, ("broken", self.seed)
        for i, step in enumerate(climbed.steps):
            old = step.old_values(only(climbed.levels[i], step.lens.old))
            new = step.new_values(only(climbed.levels[i + 1], step.lens.new))
            if step.mirrored:
                assert step.back(new) == old, ("back", self.seed, step, new, old)

    def flag_is_right(self, schema: Schema) -> None:
        """Flagged exactly where the newest version shows something that does not follow from what this one shows."""
        entry, top = self.entries[schema.version], max(self.schemas, key=lambda s: s.version)
        if entry.status in (Status.HIDDEN, Status.ARCHIVED):
            self.out[f"{entry.status.value} at {schema.version}"] += 1
            return
        assert entry.status in (Status.COMPLETE, Status.FLAGGED), ("status", self.seed)
        self.out[f"flagged at {schema.version}"] += entry.status is Status.FLAGGED
        if self.setup.converting:
            return
        again = plan_add(schema, entry.type, entry.fields, incarnation="ff" * 16, now_ms=1, new_id=ids())
        follows = evaluate(ENTRY, again, top, Context()).fields == self.entries[top.version].fields
        if (entry.status is Status.FLAGGED) == follows:
            self.out[f"flag wrong at {schema.version}: {'noise' if follows else 'silent'}"] += 1
            self.out.setdefault("example flag", self.seed)


# ---- the oracle -------------------------------------------------------------------------------------------------
def compare(raw: Raw, schema: Schema) -> None:
    """Decision, shown cells, repair and conversion as the oracle has them."""
    mine, theirs = judge(raw, schema).decision, oracle.decide(dict(raw), schema)
    assert (mine.status.value, *mine[1:]) == (
        theirs.status,
        theirs.face,
        theirs.reason,
        theirs.missing,
        theirs.editable,
        theirs.counted,
        theirs.locked,
    )
    if mine.face is not None:
        names = {f.name for f in schema.fields_here(mine.face)}
        assert only(judge(raw, schema).shape.climb(raw).top, names) == oracle.shown(dict(raw), schema)
    fix, other = repair(raw, schema), oracle.repair(dict(raw), schema)
    assert fix == other
    assert list(plan_convert(raw, schema).items()) == list(oracle.convert(dict(raw), schema).items())


def compare_write(before: Entry, after: Entry, ops: Ops) -> None:
    """The operations of an edit, and their order, as the oracle has them."""
    schema, names = before._schema, {f.name for f in before._schema.fields_here(before.type)}
    old, new = (only(e._judgement.shape.climb(e.raw).top, names) for e in (before, after))
    change = {key: new.get(key) for key in {*old, *new} if old.get(key) != new.get(key)}
    change = {key: change[key] for key in sorted(change)}
    theirs = oracle.write(dict(before.raw), schema, change)
    mine = {key: value for key, value in ops.items() if not key.startswith("$edited/")}
    assert mine == theirs
    assert order_of(mine) == order_of(theirs)


def order_of(ops: Ops) -> list[str]:
    """Fields and marks in the order in which they are written."""
    keys = [key for key in ops if not key.startswith(("$schema/", "$critical/"))]
    return list(dict.fromkeys(key if key.startswith("$") else owner(key) for key in keys))

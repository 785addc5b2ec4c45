"""Planning what an edit writes: operations on one entry, in order, from what a person wants and what is stored.

Nothing is written here. Everything that can be wrong with an edit is found here, before a transaction begins, and said
in words that name entry, field, kinds, version and what to do. No message holds a value.

An edit writes the cells that change, the stamps of what it stores, and ``$edited``. It never touches a field that this
version does not know. What changes nothing plans nothing, not even ``$edited``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from vaultsync.errors import NotEditable, RetiredField, UnknownField, UnknownType, UsageError, WrongKind
from vaultsync.schema.cells import (
    GONE,
    Ops,
    Raw,
    Scalar,
    deleted,
    edited,
    next_edit,
    owner,
    split_key,
    trashed,
    vector_json,
)
from vaultsync.schema.kind import Kind, KindMismatch
from vaultsync.schema.kinds import OLD, ItemsKind, NoteKind, TagsKind
from vaultsync.schema.spelling import applied, renamed
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.chain import Broken
from vaultsync.view.decide import Judgement, Reason, Shape, Status, judge
from vaultsync.view.entry import Conflict, Entry
from vaultsync.view.keeping import PREFIX, keep
from vaultsync.view.losers import Candidates, Rivals, alone
from vaultsync.view.settle import differs, settle
from vaultsync.view.template import signs, template_of
from vaultsync.view.words import listing, near, platforms

__all__ = ["plan_add", "plan_delete", "plan_purge", "plan_resolve", "plan_restore", "plan_update"]

Values = Mapping[str, Any]


def plan_add(
    schema: Schema,
    type: str,
    values: Values,
    *,
    incarnation: str,
    now_ms: int,
    new_id: Callable[[], str],
    source: str | None = None,
    created: int | None = None,
) -> Ops:
    """The operations that make a new entry; values of None are left out.

    ``created``: ms since the epoch, where an imported entry brings its own. Raises ``UnknownType``, ``UnknownField``,
    ``RetiredField``, ``WrongKind``.
    """
    kind = schema.active(type)
    if kind is None:
        _refuse_type(schema, type)
    ops: Ops = {"$type": type, "$created": now_ms if created is None else created}
    ops[f"$schema/{type}/{kind.since}"] = True
    if source is not None:
        ops["$source"] = source
    template = template_of(schema, kind)
    cells = None if template is None else template.fill(values, new_id)
    if cells is None:
        judgement, place = judge(_stored(ops), schema), f"new {kind.label}"
        fields = _fields(schema, kind, values, place)
        cells = _Pen({}, judgement, schema, place, new_id, creating=True).write(fields, values, None)
        cells |= _sign(cells, {}, (kind,))
    return ops | cells | _touch({}, incarnation, now_ms)


def plan_update(
    entry_id: str,
    raw: Raw,
    schema: Schema,
    values: Values,
    *,
    seen: Entry | None,
    incarnation: str,
    now_ms: int,
    new_id: Callable[[], str],
    rivals: Rivals = alone,
) -> Ops:
    """The operations of a person's edit; {} when nothing changes. None clears a field.

    Collections and notes are compared with what ``seen`` showed (None: what is stored), so that what arrived meanwhile
    survives. ``rivals``: the values that stand side by side in the entry; those under fields that are not edited stay
    listed. Raises ``NotEditable``, ``UnknownField``, ``RetiredField``, ``WrongKind``.
    """
    judgement = judge(raw, schema)
    if not judgement.decision.editable:
        _refuse_edit(entry_id, judgement, schema)
    if seen is not None and seen.id != entry_id:
        raise UsageError(f"entry {entry_id}: the entry handed in is {seen.id}; pass the one to be updated")
    face = judgement.shape.line[-1]
    place = f"{face.label} {entry_id}"
    fields = _fields(schema, face, values, place)
    _refuse_broken(fields, judgement, place)
    cells = _Pen(raw, judgement, schema, place, new_id).write(fields, values, seen)
    if not cells:
        return {}
    losers = _keep(judgement.shape, raw, cells, rivals, values)
    return cells | _sign(cells, raw, judgement.shape.line) | losers | _touch(raw, incarnation, now_ms)


def plan_delete(raw: Raw, incarnation: str, *, seen: Entry | None = None) -> Ops:
    """A delete covers the edits that the deleter saw: those of ``seen``, without one all that are known now. One made
    elsewhere meanwhile wins. {} if it is trashed already."""
    if trashed(raw):
        return {}
    mine = f"$deleted/{incarnation}"
    covered = dict(edited(raw if seen is None else seen.raw))
    for earlier in deleted({mine: raw.get(mine)}):  # what this device deleted before stays covered
        for who, count in earlier.items():
            covered[who] = max(count, covered.get(who, count))
    return _changes({mine: vector_json({f"$edited/{who}": count for who, count in covered.items()})}, raw)


def plan_resolve(
    entry_id: str,
    raw: Raw,
    schema: Schema,
    name: str,
    choice: Any,
    *,
    rivals: Candidates,
    incarnation: str,
    now_ms: int,
    new_id: Callable[[], str],
) -> Ops:
    """Settle a field: write ``choice`` (a ``Conflict``, or a value) over every concurrent value of its keys.

    ``rivals``: the entry's keys that hold several values, with these. Those that ``choice`` leaves as they are are
    written again as they read now, which overwrites the others. Always an edit, even when the winner is chosen. Raises
    as ``plan_update``.
    """
    judgement = judge(raw, schema)
    shape = judgement.shape
    if isinstance(choice, Conflict) and owner(choice.key) not in shape.reaching(name):
        raise UsageError(f"entry {entry_id}: the chosen value belongs to field {owner(choice.key)!r}, not {name!r}")
    alone = isinstance(choice, Conflict) and choice.element is not None  # one item or line: the others stay
    value = None if alone else choice.value if isinstance(choice, Conflict) else choice
    ops = plan_update(  # the refusals are the same: not editable, unknown, retired
        entry_id, raw, schema, {name: value}, seen=None, incarnation=incarnation, now_ms=now_ms, new_id=new_id
    )
    ops.pop(f"$edited/{incarnation}", None)
    if alone:
        place = f"{shape.line[-1].label} {entry_id}"
        cells = _Pen(raw, judgement, schema, place, new_id).put(_element(shape.known[name].kind, name, choice))
        ops = cells | _sign(cells, raw, shape.line)
    forced: Ops = {}
    for place in shape.reaching(name):
        for key in sorted(rivals):
            if place == (key if key.startswith("$") else owner(key)) and key not in ops:
                forced[key] = raw.get(key, GONE)
    if alone and not shape.steps:  # also when it reads so already: the others are overwritten
        forced[choice.key] = choice.stored
    ops = forced | ops
    return ops | keep(shape, raw, ops, rivals, {name}) | _touch(raw, incarnation, now_ms)


def _keep(shape: Shape, raw: Raw, ops: Ops, rivals: Rivals, over: Values) -> Ops:
    """Losers under fields that are not edited: only a mirror writes what nobody chose to write."""
    mirrored = any(key.startswith("$lens/") for key in ops)
    if not mirrored and not any(key.startswith(PREFIX) for key in raw):
        return {}
    return keep(shape, raw, ops, rivals() if mirrored else {}, over.keys())


def _element(kind: Kind, name: str, choice: Conflict) -> Ops:
    """The cell of one tag, item or line of a shown field."""
    if isinstance(kind, TagsKind):
        return {f"{name}/{choice.element}": True}
    stored: Scalar = kind.inner.encode(choice.value) if isinstance(kind, ItemsKind | NoteKind) else choice.stored
    return {name if isinstance(kind, NoteKind) and choice.element == OLD else f"{name}/{choice.element}": stored}


def plan_restore(raw: Raw, incarnation: str, now_ms: int) -> Ops:
    """An edit that no delete known here covers. {} if the entry is not in the trash."""
    if not trashed(raw):
        return {}
    covered = max((vector.get(incarnation, -1) for vector in deleted(raw)), default=-1)
    return {f"$edited/{incarnation}": max(next_edit(raw, incarnation, now_ms), covered + 1)}


def plan_purge(raw: Raw, incarnation: str) -> Ops:
    """Everything that holds values goes, known here or not; the other ``$`` keys stay, so that an edit made elsewhere
    meanwhile finds its entry. Counts as a delete."""
    ops: Ops = {key: GONE for key in raw if not key.startswith("$") or key.startswith(("$lens/", PREFIX))}
    return ops | _changes({f"$deleted/{incarnation}": vector_json(raw)}, raw)


# ---- the parts of an edit ---------------------------------------------------------------------------------------
class _Pen:
    """Turns what a person wants of shown fields into operations on what is stored, for one edit."""

    def __init__(
        self,
        raw: Raw,
        judgement: Judgement,
        schema: Schema,
        place: str,
        new_id: Callable[[], str],
        *,
        creating: bool = False,
    ) -> None:
        self.raw = raw
        self.shape: Shape = judgement.shape
        self.schema = schema
        self.place = place
        self.new_id = new_id
        self.creating = creating
        self.climbed = self.shape.climb(raw) if self.shape.steps else None

    def write(self, fields: list[Field], values: Values, seen: Entry | None) -> Ops:
        """What changes when these fields get these values."""
        now = self.raw if self.climbed is None else self.climbed.top
        known = None if seen is None else seen._cells()
        ops: Ops = {}
        for field in fields:
            before = None if known is None else _cells(known, field.name)
            try:
                ops |= self.cells(field, values[field.name], _cells(now, field.name), before)
            except KindMismatch as error:
                hint = _HINTS.get(field.kind.name.partition("(")[0], "")
                raise WrongKind(
                    f"{self.place}, field {field.name!r}: expected {error.expected}, given {error.given} "
                    f"({self.schema.name} {self.schema.release(self.schema.version)}).{hint}"
                ) from None
        return self.put(ops)

    def cells(self, field: Field, value: Any, now: Raw, seen: Raw | None) -> Ops:
        """The cells of one field, as this version shows them, that change."""
        made: list[str] = []

        def new_id() -> str:
            made.append(self.new_id())
            return made[-1]

        if self.creating and field.name in self.shape.slotted and isinstance(field.kind, ItemsKind):
            # Older devices show what is in the slot. Only here: two devices that fill an emptied one would collide.
            return field.kind.write(field.name, now, value, seen=seen, new_id=new_id, first_id=OLD)
        ops = field.kind.write(field.name, now, value, seen=seen, new_id=new_id)
        return renamed(field.name, ops, frozenset(made), now) if field.name in self.shape.computed else ops

    def put(self, ops: Ops) -> Ops:
        """From shown cells down to the stored ones; only what differs from what is stored."""
        if self.climbed is not None:
            try:
                ops = settle(self.raw, self.climbed, applied(self.climbed.top, ops))
            except Broken as broken:
                step = broken.step
                names = listing([repr(name) for name in step.lens.new])
                raise WrongKind(
                    f"{self.place}: {names} cannot be written so: older versions have no form for it "
                    f"(lens {step.lens.ends}, {self.schema.name} {self.schema.release(self.schema.version)})."
                ) from None
        return _changes(ops, self.raw)


def _stored(ops: Ops) -> Raw:
    return {key: value for key, value in ops.items() if value is not GONE}


_HINTS = {
    "tags": " Pass a set of texts, or add(...) and remove(...).",
    "items": " Pass a list, or add(...) and remove(...).",
    "instant": " Pass a datetime with a time zone.",
    "text": " Pass a str, or None to clear it.",
    "secret": " Pass a str, or None to clear it.",
    "note": " Pass a str, or None to clear it.",
    "number": " Pass an int or a finite float, or None to clear it.",
    "flag": " Pass True or False, or None to clear it.",
}


def _cells(raw: Raw, name: str) -> Raw:
    """Every cell of a field, fitting or not: ids and positions in use must not be taken again."""
    return {key: value for key, value in raw.items() if owner(key) == name}


def _changes(ops: Ops, raw: Raw) -> Ops:
    """Only what differs from what is stored."""
    return {key: value for key, value in ops.items() if differs(raw, key, value)}


def _sign(cells: Ops, raw: Raw, line: tuple[EntryType, ...]) -> Ops:
    """Stamps and critical marks of what is stored: the version that each type of the lineage needs for it."""
    stored = {
        split.name
        for key, value in cells.items()
        if value is not None and value is not GONE and (split := split_key(key)) is not None and split.sep != "@"
    }
    ops: Ops = {}
    for kind in line:
        for field in kind.fields:
            if field.name in stored:
                ops |= signs(kind, field)
    return _changes(ops, raw)


def _touch(raw: Raw, incarnation: str, now_ms: int) -> Ops:
    return {f"$edited/{incarnation}": next_edit(raw, incarnation, now_ms)}


# ---- refusals ---------------------------------------------------------------------------------------------------
def _fields(schema: Schema, kind: EntryType, values: Values, place: str) -> list[Field]:
    """The fields that are given, in the order of the declaration, all of them writable here."""
    for name in values:
        field = kind.field(name)
        if field is None:
            known = [f.name for f in schema.fields_here(kind) if not schema.retired(f)]
            hint = near(name, known) or f" It has {listing(known, most=12)}."
            raise UnknownField(f"{place}: {kind.name!r} has no field {name!r}.{hint}")
        if not schema.here(field):
            raise UnknownField(f"{place}: field {name!r} {_not_here(field, schema)}")
        if schema.retired(field):
            raise RetiredField(f"{place}: field {name!r} {_retired(field, schema)}{_successor(kind, name, schema)}")
    return [field for field in kind.fields if field.name in values]


def _refuse_broken(fields: list[Field], judgement: Judgement, place: str) -> None:
    for field in fields:
        if field.name in judgement.broken:
            step = judgement.shape.made_by(field.name)
            olds = listing([repr(name) for name in step.lens.old])
            raise NotEditable(
                f"{place}: field {field.name!r} can't be written: its translation from {olds} fails on what is stored "
                f"(lens {step.lens.ends}). {olds} can still be read here, and edited where it is not retired."
            )


def _not_here(thing: EntryType | Field, schema: Schema) -> str:
    """Why a declared type or field is not here, and what to do."""
    if thing.since > schema.version:
        here = schema.release(schema.version)
        return f"exists from {schema.release(thing.since)} on; this device runs {here}: update the application here."
    where = platforms(thing.platforms or ())
    return f"exists only on {where}, and this is {platforms([schema.platform])}: do it on one of those."


def _retired(thing: EntryType | Field, schema: Schema) -> str:
    since = schema.release(thing.until) if thing.until is not None else "an earlier version"
    return f"is retired since {since}: it can be read, not written."


def _successor(kind: EntryType, name: str, schema: Schema) -> str:
    for lens in kind.lenses:
        if name in lens.old and lens.since is not None and lens.since <= schema.version:
            return f" Write {listing([repr(new) for new in lens.new])} instead."
    return ""


def _refuse_type(schema: Schema, name: str) -> NoReturn:
    kind = schema.types.get(name)
    if kind is None:
        known = [t for t in schema.types if schema.active(t)]
        hint = near(name, known) or (f" Known here: {listing(sorted(known), most=12)}." if known else "")
        raise UnknownType(f"no entry type {name!r} is declared.{hint}")
    if not schema.here(kind):
        raise UnknownType(f"entry type {name!r} {_not_here(kind, schema)}")
    instead = f" Add a {kind.converts.to!r} instead." if kind.converts is not None else ""
    raise UnknownType(f"entry type {name!r} {_retired(kind, schema)}{instead}")


def _refuse_edit(entry_id: str, judgement: Judgement, schema: Schema) -> NoReturn:
    decision = judgement.decision
    label = judgement.shape.line[-1].label if judgement.shape.line else "entry"
    if decision.status is Status.TRASHED:
        why = "is in the trash: restore it first."
    elif decision.status is Status.ARCHIVED:
        retired = _retired(judgement.shape.line[-1], schema)
        why = f"is of a type that {retired} Apply the upgrade plan to convert it, or export it."
    elif decision.reason == Reason.PLATFORM:
        why = "can only be shown on another platform: edit it there."
    elif decision.reason == Reason.VERSION:
        why = "needs a newer version: update the application here, or edit it on a device that has it."
    else:  # an unknown critical field, whether it hides the entry or only locks it
        names = listing([repr(name) for name in sorted(judgement.unknown)])
        why = (
            f"holds what this version does not know ({names}) and is marked critical: "
            "update the application here, or edit it on a device that has it."
        )
    raise NotEditable(f"{label} {entry_id} {why}")

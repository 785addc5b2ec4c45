"""What devices put right by themselves: repairs of mirrors after a merge, and conversions of retired types.

Neither is an edit of a person: no ``$edited``, no ``$deleted`` is written, nothing in the trash and nothing that an
unknown critical field locks is touched. Both are pure and deterministic, so that two devices that do the same work at
the same time write the same.
"""

from __future__ import annotations

from typing import Final

from vaultsync.schema.cells import GONE, Ops, Raw, faces, trashed
from vaultsync.schema.types import Schema
from vaultsync.view.chain import Broken, Climb, Step, is_fresh, only, rest_of
from vaultsync.view.decide import Judgement, conversion, judge, shape_of
from vaultsync.view.keeping import keep
from vaultsync.view.losers import Rivals, alone
from vaultsync.view.marks import Mark
from vaultsync.view.settle import differs, settle

__all__ = ["needs_upkeep", "plan_convert", "repair"]

_MOST_REPAIRS: Final = 100
"""Of one entry at once. A chain needs one for each mirror; more means that a lens answers as it likes."""


def needs_upkeep(schema: Schema) -> bool:
    """Whether :func:`repair` may ever find anything: some type is converted, or has a mirror."""
    return bool(_moving(schema))


def _moving(schema: Schema) -> frozenset[str]:
    """The types whose entries may need a repair: they are converted, or a mirror stands between what is stored and what
    is shown of them, be it one of a type that they were converted from."""
    if (made := schema.derived.get("moving")) is not None:
        found: frozenset[str] = made
        return found
    moving = {name for name in schema.types if conversion(schema, name) is not None}
    ahead = [kind for kind in schema.types.values() if any(lens.form == "mirror" for lens in kind.lenses)]
    for name in moving:
        converts = schema.types[name].converts
        if converts is not None and any(lens.form == "mirror" for lens in converts.lenses):
            ahead.append(schema.types[name])
    while ahead:
        kind = ahead.pop()
        moving.add(kind.name)
        if kind.converts is not None:
            ahead.append(schema.types[kind.converts.to])
    schema.derived["moving"] = frozenset(moving)
    return _moving(schema)


def _concerned(raw: Raw, schema: Schema) -> bool:
    """Whether an entry is, or can be read as, one of these; most are not, which is told without judging them."""
    moving = _moving(schema)
    return bool(moving) and (raw.get("$type") in moving or not moving.isdisjoint(faces(raw)))


def repair(raw: Raw, schema: Schema, rivals: Rivals = alone) -> Ops:
    """What a device that knows the lenses writes soon after a merge; {} when everything fits, which it does at the
    latest after every device repaired twice.

    Mirrors whose two sides are both of now and do not agree (concurrent edits of newer fields met), marks that are
    missing or say wrongly whether something is lost, and a ``$type`` that lost a race against an earlier conversion.
    """
    if not _concerned(raw, schema):
        return {}
    judgement = judge(raw, schema)
    ops = _repair(raw, schema, judgement)
    return ops | keep(judgement.shape, raw, ops, rivals()) if ops else ops


def _repair(raw: Raw, schema: Schema, judgement: Judgement) -> Ops:
    shape, decision = judgement.shape, judgement.decision
    if decision.face is None or decision.locked or trashed(raw):
        return {}
    ops: Ops = {}
    if judgement.primary and raw.get("$type") != judgement.primary:
        ops["$type"] = judgement.primary
    if not any(step.mirrored for step in shape.steps):
        return ops
    for _ in range(_MOST_REPAIRS):
        now = _after(raw, ops)
        climbed = shape.climb(now)
        wrong = next(
            (i for i, step in enumerate(climbed.steps) if step.mirrored and _is_off(step, climbed, i, now)), None
        )
        if wrong is None:
            return {key: value for key, value in ops.items() if differs(raw, key, value)}
        try:
            fix = settle(now, climbed, climbed.levels[wrong + 1], top=wrong + 1, force=True)
        except Broken:
            return {}
        if not fix:
            return {}
        for key in fix:  # a later operation takes a later place: marks stay beside their older values
            ops.pop(key, None)
        ops |= fix
    return {}


def _is_off(step: Step, climbed: Climb, i: int, raw: Raw) -> bool:
    """Whether a mirror has to be written again. Not when its lens answers differently to the same question."""
    mark = Mark.read(raw, step.mark, step.parts)
    if not only(climbed.stored, step.lens.new) and not rest_of(step, mark):
        return False  # nobody stored anything newer
    old = step.old_values(only(climbed.levels[i], step.lens.old))
    new = step.new_values(only(climbed.levels[i + 1], step.lens.new))
    try:
        low = step.back(new)
        given = step.get(low)
        if step.back(new) != low or step.get(low) != given:
            return False
    except Broken:
        return False
    if low != old and is_fresh(step, old, mark):
        return True
    return mark is None or mark.lossy != (given != new)


def plan_convert(raw: Raw, schema: Schema, rivals: Rivals = alone) -> Ops:
    """Every conversion that this version knows of the primary type of an entry, then what :func:`repair` finds.

    Writes ``$type``, the stamp and, where the old type is kept, its face, and no field: two devices that convert at
    once, and an edit meanwhile, cannot collide. An entry on which a lens of the
    way is broken stays what it is: readable in full.
    """
    judgement = judge(raw, schema)
    if judgement.decision.locked or trashed(raw):
        return {}
    ops: Ops = {}
    name = judgement.primary
    while (converts := conversion(schema, name)) is not None and schema.known(converts.to) is not None:
        more: Ops = {f"$face/{name}": True} if converts.keep_old else {}
        name = converts.to
        more |= {"$type": name, f"$schema/{name}/{schema.types[name].since}": True}
        now = _after(raw, ops | more)
        if shape_of(now, schema, name).climb(now).broken:
            break
        ops |= more
    return {
        key: value
        for key, value in (ops | repair(_after(raw, ops), schema, rivals)).items()
        if differs(raw, key, value)
    }


def _after(raw: Raw, ops: Ops) -> Raw:
    return {key: value for key, value in {**raw, **ops}.items() if value is not GONE}

"""The laws of one lens, on one older and one newer value, and alone on many generated ones: ``check_lens``."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from vaultsync.schema.kind import Kind
from vaultsync.schema.lenses import Lens
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing.rehearsal.failure import RehearsalFailed
from vaultsync.testing.rehearsal.shrink import smaller
from vaultsync.testing.rehearsal.values import Inventor, Source, show
from vaultsync.testing.rehearsal.watch import Trouble, Watch, watched_lens
from vaultsync.view.chain import Broken, Step

__all__ = ["broken_law", "check_lens"]


def broken_law(step: Step, old: Mapping[str, Any], new: Mapping[str, Any] | None, watch: Watch) -> Trouble | None:
    """The first law that a lens breaks on these values; ``new`` None: only what follows from ``old``."""
    ends = step.lens.ends

    def said(law: str, text: str) -> Trouble:
        return Trouble(ends, law, text)

    def failed(law: str, what: str) -> Trouble:
        raised = watch.raised.pop(ends, None)
        return said(law, raised or f"{what} does not fit its fields")

    watch.raised.pop(ends, None)
    if step.lens.form == "slot" or (step.lens.form == "alias" and step.lens.each is None):
        return None
    if step.lens.form == "alias":
        return _alias_law(step, old, watch)
    try:
        made = step.get(old)
    except Broken:
        return failed("get is total", f"get({{{show(old)}}})")
    try:
        again = step.back(made)
    except Broken:
        return failed("back is total", f"back({{{show(made)}}})")
    if again != old:
        return said("back(get(old)) == old", f"of {{{show(old)}}}, get gives {{{show(made)}}}, back {{{show(again)}}}")
    if new is None:
        return None
    try:
        low = step.back(new)
    except Broken:
        return failed("back is total", f"back({{{show(new)}}})")
    put: Mapping[str, Any] = {}
    for target, law in ((low, "put(new, back(new)) == new"), (old, "back(put(new, old)) == old")):
        try:
            put = step._call(step.lens.put, step.news, dict(new), dict(target))
            again = step.back(put)
        except Broken:
            return failed("put is total", f"put({{{show(new)}}}, {{{show(target)}}})")
        if again != target or (target is low and put != new):
            text = f"put({{{show(new)}}}, {{{show(target)}}}) gives {{{show(put)}}}, and back of that {{{show(again)}}}"
            return said(law if again == target else "back(put(new, old)) == old", text)
    return None


def _alias_law(step: Step, old: Mapping[str, Any], watch: Watch) -> Trouble | None:
    """An alias spells value by value; ``back`` undoes ``get``."""
    ends = step.lens.ends
    try:
        made = step.get(old)
        again = step.back(made)
    except Broken:
        raised = watch.raised.pop(ends, None)
        return Trouble(ends, "get and back are total", raised or f"get({{{show(old)}}}) does not fit its field")
    if again != old:
        text = f"of {{{show(old)}}}, get gives {{{show(made)}}}, back {{{show(again)}}}"
        return Trouble(ends, "back(get(old)) == old", text)
    (before,), (after,) = old.values() or [None], made.values() or [None]
    if isinstance(before, frozenset) and isinstance(after, frozenset) and len(before) != len(after):
        return Trouble(ends, "back(get(old)) == old", f"get makes one tag of two: {show(before)} gives {show(after)}")
    return None


def check_lens(
    lens: Lens,
    kinds: Mapping[str, Kind],
    *,
    values: Mapping[str, Source] | None = None,
    examples: int = 200,
    seed: int | str = 0,
) -> None:
    """The laws of one lens on generated values; ``RehearsalFailed`` with a small counterexample.

    ``kinds``: the kind of each field at its ends. ``values``: field -> where its values come from, as in ``rehearse``.
    Of an alias (``rename``, a lossless ``convert``), values that the newer side cannot hold are not its fault: writing
    one is refused.
    """
    watch, rng = Watch(), random.Random(f"{seed}")
    old_fields = [Field(name, kinds[name]) for name in lens.old]
    new_fields = [Field(name, kinds[name]) for name in lens.new]
    step = Step(watched_lens(lens, watch), old_fields, new_fields)
    schema = Schema("lens", version=1, types=[EntryType("lens", fields=[*old_fields, *new_fields])])
    inventor = Inventor(schema, rng, values or {})
    if lens.rule.startswith("join:"):
        inventor.joined.update(lens.old)
    for _ in range(examples):
        old, new = _invent(inventor, old_fields), _invent(inventor, new_fields)
        if rng.random() < 0.5 and (made := _got(step, _invent(inventor, old_fields))) is not None:
            new = made  # values that come from the older side fit together
        trouble = _trouble(step, old, new, watch)
        if trouble is None:
            continue
        law = trouble.law
        for _ in range(200):
            for one, other in _simpler(old, new, values or {}):
                found = _trouble(step, one, other, watch)
                if found is not None and found.law == law:
                    old, new, trouble = one, other, found
                    break
            else:
                break
        raise RehearsalFailed("law", lens.ends, f"lens {lens.ends} breaks its law {law}: {trouble.text}")


def _invent(inventor: Inventor, fields: list[Field]) -> dict[str, Any]:
    made = {f.name: inventor.write(f.name, f.kind, None) for f in fields if inventor.rng.random() < 0.9}
    checked = {f.name: f.kind.check(made[f.name]) for f in fields if made.get(f.name) is not None}
    return {name: value for name, value in checked.items() if value not in ((), frozenset())}


def _got(step: Step, old: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return step.get(old)
    except Broken:
        return None


def _trouble(step: Step, old: Mapping[str, Any], new: Mapping[str, Any], watch: Watch) -> Trouble | None:
    watch.troubles.clear()
    found = broken_law(step, old, new, watch)
    return watch.troubles[0] if watch.troubles else found


def _simpler(
    old: dict[str, Any], new: dict[str, Any], given: Mapping[str, Source]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [*((one, new) for one in smaller(old, given)), *((old, one) for one in smaller(new, given))]

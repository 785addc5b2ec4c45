"""The laws of one lens on one older and one newer value, with words for what it did. (``check_lens`` of
``vaultsync.testing`` tries a lens alone, on many values.)"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaultsync.testing.rehearsal.values import show
from vaultsync.testing.rehearsal.watch import Trouble, Watch
from vaultsync.view.chain import Broken, Step

__all__ = ["broken_law"]


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

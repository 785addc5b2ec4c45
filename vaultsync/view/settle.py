"""Writing through lenses: from what a level should show down to what is stored under the oldest names.

Theory. The lenses are gone through from the newest down. An alias hands its cells on under the older name. A slot hands
on the element that is in it and stores the others. A mirror stores the cells that were changed, puts what ``get`` of
the older value would not give into its mark, and hands on ``back`` of the newer value.

The order of the operations is fixed, and every mark stands directly before the older cells that it belongs to:
operations that are adjacent in one change win or lose against a concurrent change together. A change does not write
what it leaves as it was, though: where a mirror stands on one of several older fields, each of these has its digest
directly before it, too.
"""

from __future__ import annotations

from vaultsync.limits import MAX_VALUE_BYTES
from vaultsync.schema.cells import GONE, Gone, Ops, Raw, Scalar, owner, split_key
from vaultsync.schema.kinds import OLD
from vaultsync.schema.spelling import digest, respell
from vaultsync.view.chain import Broken, Cells, Climb, Step, holding, only
from vaultsync.view.marks import Mark

__all__ = ["differs", "settle"]


def differs(raw: Raw, key: str, value: Scalar | Gone) -> bool:
    """Whether an operation changes what is stored; 1, 1.0 and True are not the same."""
    if value is GONE:
        return key in raw
    return key not in raw or type(raw[key]) is not type(value) or raw[key] != value


def settle(raw: Raw, climbed: Climb, want: Cells, *, top: int | None = None, force: bool = False) -> Ops:
    """The operations that make level ``top`` (None: the highest) read ``want``.

    ``force`` writes the highest lens again although nothing changed: a repair. Raises ``Broken`` when a lens has no
    older form for what is wanted.
    """
    return _Settling(raw, climbed, len(climbed.steps) if top is None else top, force).settle(dict(want))


class _Settling:
    """One run of ``settle``: operations gathered by the field they belong to, marks with the older fields."""

    def __init__(self, raw: Raw, climbed: Climb, top: int, force: bool) -> None:
        self.raw = raw
        self.climbed = climbed
        self.top = top
        self.force = force
        self.groups: dict[str, Ops] = {}
        self.paired: set[str] = set()
        """Older fields that are written together with a mark: emptied, they are null, so that they race as one."""

    def emit(self, key: str, value: Scalar | Gone, group: str) -> None:
        if differs(self.raw, key, value):
            self.groups.setdefault(group, {})[key] = value

    def nothing(self, key: str) -> Gone | None:
        return None if owner(key) in self.paired else GONE

    def settle(self, want: Cells) -> Ops:
        steps, levels = self.climbed.steps, self.climbed.levels
        for i in range(self.top - 1, -1, -1):
            step = steps[i]
            before, after = only(levels[i + 1], step.lens.new), only(want, step.lens.new)
            old = only(levels[i], step.lens.old)
            want = {key: value for key, value in want.items() if owner(key) not in step.lens.new}
            if before == after and not (self.force and i == self.top - 1):
                want |= old
            elif step.lens.form == "alias":
                want |= step.turned(after, up=False)
            elif step.lens.form == "slot":
                want |= self.slot(step, before, after)
            else:
                want |= self.mirror(step, before, after, old)
        ground = levels[0]
        for key in sorted(ground.keys() | want.keys()):
            if key not in want or differs(ground, key, want[key]):
                self.emit(key, want.get(key, self.nothing(key)), owner(key))
        return self.ordered()

    def slot(self, step: Step, before: Cells, after: Cells) -> Cells:
        """The elements outside of the slot are stored here; the one in it goes on under the older name."""
        name, slot = step.lens.new[0], f"{step.lens.new[0]}/{OLD}"
        for key in sorted(before.keys() | after.keys()):
            if key != slot and before.get(key) != after.get(key):
                self.emit(key, after.get(key, self.nothing(key)), name)
        if slot in self.raw:
            self.emit(slot, GONE, name)  # nobody stores it there; it must not come back when the slot is emptied
        return {step.lens.old[0]: after[slot]} if slot in after else {}

    def mirror(self, step: Step, before: Cells, after: Cells, old: Cells) -> Cells:
        """Store what was changed, write the mark, hand on the older value."""
        shown = step.new_values(after)
        low = step.back(shown)
        given = step.lawful(low)
        base = step.spelt(given)
        have = only(self.climbed.stored, step.lens.new)
        rest: dict[str, Scalar] = {}
        for key in sorted({*before, *after, *have, *base}):
            value = after.get(key)
            if before.get(key) != value:
                self.emit(key, value, owner(key))
                continue
            if key in have and have[key] != value:
                self.emit(key, GONE, owner(key))  # outdated, not changed by the caller: a deletion loses to any edit
                del have[key]
            if key not in have and base.get(key) != value:
                if value is None and split_key(key).sep:  # type: ignore[union-attr]
                    self.emit(key, None, owner(key))
                else:
                    rest[key] = value
        self.paired.update(holding(step, self.climbed.steps[: self.climbed.steps.index(step)]))
        mark = Mark(digest(step.olds, low), given != shown, step.lens.new, rest).to_json()
        if len(mark.encode()) > MAX_VALUE_BYTES:
            raise Broken(step)
        self.emit(step.mark, mark, _beside(step))
        lower: Cells = {}
        for i, field in enumerate(step.olds):
            have = only(old, (field.name,))
            made = respell(field.kind, field.name, have, low.get(field.name))
            lower |= made
            if step.parts:
                self.part(step.parts[i], digest((field,), low), written=made != have)
        return lower

    def part(self, key: str, value: str, *, written: bool) -> None:
        """The digest of one older field is written with it. Otherwise one that is of another value goes: it would be
        believed once an older device happens to write that value again. A deletion loses to a concurrent edit of it."""
        self.emit(key, value if written or self.raw.get(key) == value else GONE, key)

    def ordered(self) -> Ops:
        """From the newest lens down: its newer cells, its mark, and directly after it the cells that hold the older
        value, whichever lens below stores them."""
        steps, order = self.climbed.steps, dict[str, Scalar | Gone]()
        for i in range(len(steps) - 1, -1, -1):
            step = steps[i]
            for name in step.lens.new:
                order |= self.groups.pop(name, {})
            if step.mirrored:
                order |= self.groups.pop(_beside(step), {})
                for part, old in zip(step.parts, step.lens.old, strict=False):
                    for name in (part, *holding(step, steps[:i], old)):
                        order |= self.groups.pop(name, {})
                for name in holding(step, steps[:i]):
                    order |= self.groups.pop(name, {})
        for name in sorted(self.groups):
            order |= self.groups[name]
        return order


def _beside(step: Step) -> str:
    """The group of a mark: no field's name."""
    return "$" + step.lens.old[0]

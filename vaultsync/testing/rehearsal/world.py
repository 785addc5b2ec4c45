"""Playing a script: devices do what it says, and after each step what can be told at once is checked.

* what a person wrote reads so afterwards, and nothing else of the entry changed;
* an edit leaves what its device does not know byte for byte as it was;
* no lens raises, misfits, breaks a law or changes its mind on what is stored;
* repairs and conversions are nobody's edit; nothing raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from vaultsync.errors import WrongKind
from vaultsync.schema.cells import GONE, Ops, Raw, owner, trashed
from vaultsync.schema.kind import Kind
from vaultsync.testing.rehearsal.device import Device, Look, entry_id
from vaultsync.testing.rehearsal.failure import Found
from vaultsync.testing.rehearsal.families import Family
from vaultsync.testing.rehearsal.script import Cast, Step
from vaultsync.testing.rehearsal.stage import Stage
from vaultsync.testing.rehearsal.truth import Act, Truth, Word
from vaultsync.testing.rehearsal.values import elements_of, show, words_of
from vaultsync.view.chain import Broken
from vaultsync.view.decide import conversion, shape_of
from vaultsync.view.edits import plan_add, plan_delete, plan_purge, plan_restore, plan_update
from vaultsync.view.entry import Entry
from vaultsync.view.upkeep import plan_convert, repair

__all__ = ["World", "writable"]

_MOST_ROUNDS = 6


class World:
    """One history while it is played. ``conflicts``: keep account of what people see listed there, which is slow."""

    def __init__(self, stage: Stage, cast: Cast, *, conflicts: bool = False) -> None:
        self.stage = stage
        self.cast = cast
        self.watch_conflicts = conflicts
        self.truth = Truth()
        self.tally: Counter[str] = Counter()
        self.story: list[str] = []
        shared: dict[Any, Look] = {}
        self.devices = [Device(i, stage.at(*place), shared) for i, place in enumerate(cast.places)]
        self.entries: dict[int, str] = {}
        if conflicts:  # a history that is played again, to see what goes wrong
            stage.watch.forget()
            stage.forget()

    def name(self, device: Device) -> str:
        """``Phone 9``."""
        return self.cast.label(device.number, device.schema.version)

    def label(self, number: int) -> str:
        """What a story calls an entry."""
        kind = self.entries[number]
        same = [n for n, other in self.entries.items() if other == kind]
        return kind if len(same) < 2 else f"{kind} {same.index(number) + 1}"

    def _sentence(self, values: Mapping[str, Any], number: int) -> str:
        """``email to 'a'``; which entry where there are several."""
        of = f" of {self.label(number)}" if len(self.entries) > 1 else ""
        return " and ".join(f"{name}{of} to {show(value)}" for name, value in values.items())

    # ---- steps ------------------------------------------------------------------------------------------------
    def perform(self, step: Step) -> bool:
        """One step, with its checks; False if there was nothing to do. Raises ``Found``."""
        device = self.devices[step.device]
        told = len(self.story)
        try:
            done: bool = getattr(self, f"_{step.kind}")(device, step)
            if done and step.kind != "update":
                self._look(device, step.entry)
        except Found:
            raise
        except Exception as error:
            if len(self.story) == told:
                self.story.append(f"{self.name(device)}: {step.kind}")
            text = f"{step.kind} on {self.name(device)} raises {type(error).__name__}: {error}"
            raise Found("view", f"{step.kind} {type(error).__name__}", text) from error
        return done

    def _look(self, device: Device, number: int) -> None:
        if device.raw(number) is not None:
            self.stage.check_laws(device.look(number))
            entry = device.entry(number)
            _ = entry.fields, entry.retired, entry.missing, repr(entry)

    def _add(self, device: Device, step: Step) -> bool:
        kind = device.schema.active(step.type)
        if kind is None or step.entry in self.entries:
            return False
        values = self._fitting(device, kind.name, step.values)
        self.entries[step.entry] = kind.name
        self.story.append(f"{self.name(device)} adds {self.label(step.entry)} with {show(values)}")
        try:
            ops = plan_add(
                device.schema,
                kind.name,
                values,
                incarnation=device.incarnation,
                now_ms=self._now(),
                new_id=device.new_id,
            )
        except WrongKind as error:
            self._refused(error, device)
            self.story.pop()
            del self.entries[step.entry]
            return False
        changes = device.commit(step.entry, ops)
        self.stage.check_laws(device.look(step.entry))
        after = device.entry(step.entry)
        said: dict[Word, bool | None] = {}
        self._twice(after)
        for name, value in values.items():
            said |= self._said(name, device.schema.kinds[name], None, value, ())
        self._record(device, "add", step.entry, changes, values, said)
        self._reads(device, after, values)
        return True

    def _fitting(self, device: Device, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of fields that are written here, as they will read."""
        found, schema = {}, device.schema
        for name, value in values.items():
            field = schema.types[kind].field(name)
            if field is not None and schema.here(field) and not schema.retired(field):
                found[name] = field.kind.check(value)
        return found

    def _set(self, device: Device, step: Step) -> bool:
        if device.raw(step.entry) is None:
            return False
        before = device.entry(step.entry)
        values = writable(before, step.values)
        if not values:
            return False
        self.story.append(f"{self.name(device)} sets {self._sentence(values, step.entry)}")
        try:
            ops = plan_update(
                before.id,
                before.raw,
                device.schema,
                values,
                seen=before,
                incarnation=device.incarnation,
                now_ms=self._now(),
                new_id=device.new_id,
                rivals=lambda: device.candidates(before.id),
            )
        except WrongKind as error:
            self._refused(error, device)
            self.story.pop()
            return False
        if not ops:
            self._reads(device, before, values)
            self.story.pop()
            return False
        said: dict[Word, bool | None] = {}
        listed = self._listed(device.alone(step.entry)) if self.watch_conflicts else {}
        for name, value in values.items():
            family = self.stage.families[name]
            said |= self._said(name, before._kind(name), before.get(name), value, listed.get(family, ()))
        changes = device.commit(step.entry, ops)
        self.stage.check_laws(device.look(step.entry))
        after = device.entry(step.entry)
        self._untouched(device, before, after)
        self._twice(after)
        self._record(device, "set", step.entry, changes, values, said)
        self._reads(device, after, values, before)
        return True

    def _delete(self, device: Device, step: Step) -> bool:
        return self._remove(device, step, "deletes")

    def _purge(self, device: Device, step: Step) -> bool:
        return self._remove(device, step, "purges")

    def _remove(self, device: Device, step: Step, word: str) -> bool:
        raw = device.raw(step.entry)
        if raw is None or (trashed(raw) and step.kind == "delete"):
            return False
        plan = plan_delete if step.kind == "delete" else plan_purge
        changes = device.commit(step.entry, plan(raw, device.incarnation))
        if not changes:
            return False
        self.story.append(f"{self.name(device)} {word} {self.label(step.entry)}")
        self._record(device, step.kind, step.entry, changes, {}, {}, raw if step.kind == "purge" else {})
        return True

    def _restore(self, device: Device, step: Step) -> bool:
        raw = device.raw(step.entry)
        if raw is None or not trashed(raw):
            return False
        changes = device.commit(step.entry, plan_restore(raw, device.incarnation, self._now()))
        self.story.append(f"{self.name(device)} restores {self.label(step.entry)}")
        self._record(device, "restore", step.entry, changes, {}, {})
        return True

    def _convert(self, device: Device, step: Step) -> bool:
        raw = device.raw(step.entry)
        if raw is None:
            return False
        ops = plan_convert(raw, device.schema, lambda: device.candidates(entry_id(step.entry)))
        self._stuck(device, raw, ops)
        if not ops:
            return False
        self.story.append(f"{self.name(device)} converts {self.label(step.entry)} to {ops.get('$type', 'what it was')}")
        self._upkeep(device, step.entry, raw, ops, "convert")
        self.tally["conversions"] += 1
        return True

    def _stuck(self, device: Device, raw: Raw, ops: Ops) -> None:
        """A conversion that is not made although there is one: a lens on the way is broken."""
        after = {key: value for key, value in {**raw, **ops}.items() if value is not GONE}
        verdict = device.look_at(after).entry.decision
        converts = conversion(device.schema, str(after.get("$type")))
        if converts is None or verdict.locked or trashed(raw):
            return
        stamp = f"$schema/{converts.to}/{device.schema.types[converts.to].since}"
        self.story.append(f"{self.name(device)} cannot convert it to {converts.to}")
        self.stage.check_laws(device.look_at({**after, "$type": converts.to, stamp: True}))
        self.story.pop()

    def _update(self, device: Device, step: Step) -> bool:
        if step.version == device.schema.version:
            return False
        self.story.append(f"{self.name(device)} is updated to {step.version}")
        device.schema = self.stage.at(step.version, device.schema.platform)
        for number in self.entries:
            self._look(device, number)
        return True

    def _sync(self, device: Device, step: Step) -> bool:
        other = self.devices[step.other]
        if device is other or not other.saw & ~device.saw:
            return False
        self.story.append(f"{self.name(device)} syncs with {self.name(other)}")
        for number in self._learn(device, other.saw):
            self._look(device, number)
            self.repair(device, number)
        return True

    def _learn(self, device: Device, saw: int) -> list[int]:
        new = saw & ~device.saw
        return sorted(device.learn(act for act in self.truth.acts if act.bit & new))

    # ---- what everything is made of -----------------------------------------------------------------------------
    def _now(self) -> int:
        return 1_000 + len(self.truth.acts)

    def _record(
        self,
        device: Device,
        kind: str,
        number: int,
        changes: list[Any],
        values: Mapping[str, Any],
        said: Mapping[Word, bool | None],
        wrote: Iterable[str] = (),
    ) -> None:
        names = {*values, *(owner(key) for key in wrote if not key.startswith("$"))}
        forms = self.stage.forms(names, device.schema)
        place = (device.schema.version, device.schema.platform)
        act = Act(
            len(self.truth.acts), device.saw, kind, number, device.number, place, changes, forms, said, dict(values)
        )
        self.truth.record(act)
        device.saw |= act.bit

    def repair(self, device: Device, number: int) -> bool:
        """What a device does by itself after a merge."""
        raw = device.raw(number)
        if raw is None:
            return False
        look = device.look(number)
        if look.repairs is None:
            look.repairs = repair(raw, device.schema)
        if not look.repairs:
            return False
        ops = repair(raw, device.schema, lambda: device.candidates(entry_id(number)))
        self._upkeep(device, number, raw, ops, "repair")
        self.tally["repairs"] += 1
        return True

    def _upkeep(self, device: Device, number: int, raw: Raw, ops: Ops, kind: str) -> None:
        personal = [key for key in ops if key.startswith(("$edited", "$deleted"))]
        if personal or trashed(raw):
            raise Found("trash", kind, f"a {kind} is nobody's edit, and writes {personal} into {self.label(number)}")
        changes = device.commit(number, ops)
        if changes:
            self._record(device, kind, number, changes, {}, {}, ops)
        if kind == "repair":
            self.stage.check_laws(device.look(number))

    def _said(self, name: str, kind: Kind, before: Any, after: Any, listed: Iterable[str]) -> dict[Word, bool | None]:
        """What a write says about the words that it changes."""
        family = self.stage.families[name]
        if family.opaque:
            return {}
        old, new = elements_of(kind, before), elements_of(kind, after)
        twice = [each for each, times in new.items() if times > 1]
        self.truth.doubled.update((family, word) for word in words_of(tuple(twice), numbers=family.numbers))
        taken = words_of(tuple((old - new).elements()), numbers=family.numbers)
        put = words_of(tuple((new - old).elements()), numbers=family.numbers)
        left = words_of(after, numbers=family.numbers)
        said: dict[Word, bool | None] = {(family, word): word not in left or None for word in taken}
        said = {word: False if gone else None for word, gone in said.items()}
        said |= {(family, word): False for word in listed if word not in left}
        return said | {(family, word): True for word in put}

    def _twice(self, entry: Entry) -> None:
        """Words that stand in two fields of one family: which of them an older form holds, nobody can tell."""
        seen: set[Word] = set()
        for name, value in (*entry.fields.items(), *entry.retired.items()):
            family = self.stage.families[name]
            mine = {(family, word) for word in words_of(value, numbers=family.numbers)}
            self.truth.doubled |= seen & mine
            seen |= mine

    def _listed(self, entry: Entry) -> dict[Family, set[str]]:
        """The words that a person can see only among the conflicts, by family."""
        found: dict[Family, set[str]] = {}
        for name, conflicts in entry.conflicts.items():
            for conflict in conflicts:
                found.setdefault(self.stage.families[name], set()).update(words_of(conflict.value))
        for name, value in (*entry.fields.items(), *entry.retired.items()):
            found.get(self.stage.families[name], set()).difference_update(words_of(value))
        return found

    # ---- checks of one step -------------------------------------------------------------------------------------
    def _reads(self, device: Device, after: Entry, values: Mapping[str, Any], before: Entry | None = None) -> None:
        """What was written reads so, and the other fields as before."""
        for name, value in values.items():
            wanted = value if value not in ((), frozenset()) else None
            if after.get(name) != wanted:
                text = f"{self.name(device)} set {name} to {show(value)} and shows {show(after.get(name))}"
                raise Found("unwritten", name, text)
        for name in before.fields if before is not None else ():
            if before is not None and name not in values and after.get(name) != before[name]:
                text = (
                    f"{self.name(device)} set {' and '.join(values)}, and {name} changed from {show(before[name])} to "
                    f"{show(after.get(name))}"
                )
                raise Found("unwritten", name, text, *_shown(self.name(device), after))
        for name in after.fields if before is not None else ():
            if before is not None and name not in values and name not in before.fields:
                text = f"{self.name(device)} set {' and '.join(values)}, and {name} appeared: {show(after[name])}"
                raise Found("unwritten", name, text, *_shown(self.name(device), after))

    def _untouched(self, device: Device, before: Entry, after: Entry) -> None:
        """What a device does not know is byte for byte as it was."""
        known = shape_of(before.raw, device.schema, before.decision.face or "").known
        for key, value in before.raw.items():
            name = owner(key)
            if not key.startswith("$") and name not in known and after.raw.get(key, "gone") != value:
                text = f"{self.name(device)} does not know {name} and its edit changed it"
                raise Found("unknown", name, text)

    def _refused(self, error: WrongKind, device: Device) -> None:
        """A value that a lens has no older form for. Said to the person who writes it, so nothing is lost; but if a
        function raises or gives what does not fit, it is not total."""
        cause = error.__context__
        if not isinstance(cause, Broken):
            raise error
        step = cause.step
        self.tally[f"refused {step.lens.ends}"] += 1
        self.stage.check_watch()
        raised = self.stage.watch.raised.pop(step.lens.ends, None)
        if raised is None and not step.mirrored:
            return
        law = "back is total" if raised else "back(get(old)) == old for every older form"
        text = raised or self.stage.watch.recent(step.lens.ends)
        raise Found("law", step.lens.ends, f"lens {step.lens.ends} breaks its law {law}: {text}")

    # ---- the end ------------------------------------------------------------------------------------------------
    def rest(self) -> int:
        """Everybody syncs with everybody and repairs, until nobody has anything to repair; how many rounds it took."""
        for rounds in range(_MOST_ROUNDS):
            everything = (1 << len(self.truth.acts)) - 1
            for device in self.devices:
                for number in self._learn(device, everything):
                    self._look(device, number)
            repaired = [self.repair(device, number) for number in self.entries for device in self.devices]
            if not any(repaired):
                return rounds
        raise Found("unrest", "repairs", f"repairs do not come to rest: after {_MOST_ROUNDS} rounds there are more")


def writable(entry: Entry, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values that somebody wants to write those that this version lets him, as they will read."""
    return {
        name: None if value is None else entry._kind(name).check(value)
        for name, value in wanted.items()
        if name in entry.writable
    }


def _shown(who: str, entry: Entry) -> list[str]:
    return [f"{who} shows {show(entry.fields)}" + (f"; read-only {show(entry.retired)}" if entry.retired else "")]

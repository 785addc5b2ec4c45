"""The hand of a simulated person: random edits through the public API, each checked at once and recorded as truth."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vaultsync.document.codec import decode_own
from vaultsync.schema.cells import GONE, Raw, owner
from vaultsync.testing import checks
from vaultsync.testing.installation import Installation
from vaultsync.testing.invention import invent_edit, outcome, plain_types
from vaultsync.testing.truth import Act, Cell, Fact, Truth
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Entry

__all__ = ["Pen"]


class _Undone(Exception):
    """Raised inside a batch on purpose."""


class Pen:
    """Edits on any device. ``tell`` writes the story."""

    def __init__(self, truth: Truth, tell: Callable[..., None]) -> None:
        self.truth = truth
        self._tell = tell
        self._serial = 0

    # ---- one edit ---------------------------------------------------------------------------------------------
    def edit(self, rng: random.Random, device: Installation, vault: Vault, kind: str) -> None:
        """One edit, if there is something to edit that way."""
        if (edit := self._choose(rng, device, vault, kind, set())) is None:
            return
        moment = _Moment(self.truth, device, vault)
        edit.run()
        self._record(device, vault, moment, [edit])

    def batch(self, rng: random.Random, device: Installation, vault: Vault) -> None:
        """Several edits of different entries in one batch, which may be given up."""
        undone = rng.random() < 0.25
        moment, used, made = _Moment(self.truth, device, vault), set[str](), list[_Edit]()
        try:
            with vault.batch():
                for _ in range(rng.randint(2, 5)):
                    kind = rng.choice(["add", "update", "update", "delete", "restore"])
                    if (edit := self._choose(rng, device, vault, kind, used)) is not None:
                        edit.run()
                        used.add(edit.entry_id)
                        made.append(edit)
                if undone:
                    raise _Undone
        except _Undone:
            self._tell(device, f"gives up a batch of {len(made)}")
            checks.require(moment.heads == device.engine(vault).heads, device, "wrote a batch that was given up")
            checks.check_incremental(vault)
            return
        self._tell(device, f"writes a batch of {len(made)}:")
        self._record(device, vault, moment, made)

    def upkeep(self, device: Installation) -> None:
        """What the library itself just wrote: knowing it is part of knowing everything."""
        vault = device.vaults[-1]
        engine = device.engine(vault)
        written = engine.own_changes(vault._ledger.actor, 0)
        change = decode_own(written[-1]).hash if written else b""
        if written and not any(act.change == change for act in self.truth.acts):
            saw = self.truth.known_to(engine.has)
            self.truth.record(Act(len(self.truth.acts), device.name, "upkeep", "", change, saw))

    def _choose(
        self, rng: random.Random, device: Installation, vault: Vault, kind: str, used: set[str]
    ) -> _Edit | None:
        view = vault.view()
        self._serial += 1
        if kind == "add":
            return self._new(rng, vault)
        lists: dict[str, Iterable[Entry]] = {
            "update": (entry for entry in view.entries if entry.writable),
            "delete": [*view.entries, *view.hidden, *view.archived],
            "restore": view.trash,
            "purge": [*view.entries, *view.hidden, *view.trash],
            "resolve": (entry for entry in view.entries if entry.writable & entry.conflicts.keys()),
        }
        candidates = [entry for entry in lists[kind] if entry.id not in used]
        if not candidates:
            return None
        entry = rng.choice(candidates)
        handle: tuple[Entry, int] | None = None
        if rng.random() < 0.3 and kind in ("update", "delete"):
            handle = device.handles.get(entry.id)
        if kind == "update":
            return self._update(rng, vault, entry, handle)
        if kind == "resolve":
            return self._resolve(rng, vault, entry)
        return self._simple(vault, kind, entry, handle)

    def _new(self, rng: random.Random, vault: Vault) -> _Edit | None:
        schema = vault.schema
        types = [name for name in plain_types(schema) if schema.active(name)]
        if not types:
            return None
        name = rng.choice(types)
        fields = [field for field in schema.fields_here(name) if not schema.retired(field)]
        chosen = rng.sample(fields, rng.randint(0, min(4, len(fields))))
        values = {field.name: invent_edit(rng, field.kind, self._serial, None) for field in chosen}
        wanted = {field.name: outcome(field.kind, values[field.name], None) for field in chosen}
        edit = _Edit("add", "", lambda: vault.add(name, **values), tuple(values), wanted)
        edit.type = name
        return edit

    def _update(self, rng: random.Random, vault: Vault, entry: Entry, handle: tuple[Entry, int] | None) -> _Edit:
        seen = handle[0] if handle else entry
        kinds = {field.name: field.kind for field in vault.schema.fields_here(entry.type)}
        names = rng.sample(sorted(entry.writable), rng.randint(1, min(3, len(entry.writable))))
        shown = {name: seen.get(name) for name in names}
        values = {name: invent_edit(rng, kinds[name], self._serial, shown[name]) for name in names}
        wanted = {name: outcome(kinds[name], values[name], shown[name]) for name in names}
        given: Entry | str = seen if handle or rng.random() < 0.7 else entry.id
        if handle:
            wanted = {name: value for name, value in wanted.items() if not kinds[name].has_elements}
        edit = _Edit("update", entry.id, lambda: vault.update(given, **values), tuple(names), wanted)
        edit.stale = handle is not None
        return edit

    def _resolve(self, rng: random.Random, vault: Vault, entry: Entry) -> _Edit:
        name = rng.choice(sorted(entry.writable & entry.conflicts.keys()))
        choice = rng.choice(entry.conflicts[name])
        edit = _Edit("resolve", entry.id, lambda: vault.resolve(entry.id, name, choice), (name,), {})
        edit.chosen = (Fact(entry.id, name, choice.element or ""), choice.value)
        return edit

    def _simple(self, vault: Vault, kind: str, entry: Entry, handle: tuple[Entry, int] | None) -> _Edit:
        target: Entry | str = handle[0] if handle else entry.id
        edit = _Edit(kind, entry.id, lambda: getattr(vault, kind)(target), (), {})
        edit.covers = handle[1] if handle else None
        return edit

    # ---- recording --------------------------------------------------------------------------------------------
    def _record(self, device: Installation, vault: Vault, moment: _Moment, edits: list[_Edit]) -> None:
        """Check each edit against what was there before, and write the acts down."""
        engine = device.engine(vault)
        heads = engine.heads
        view = vault.view()
        changed = heads != moment.heads
        checks.require(not changed or len(heads) == 1, device, "has several heads after an edit")
        for edit in edits:
            before, after = moment.raw(edit.entry_id), checks.entry_before(vault, edit.entry_id)
            if before == after and edit.kind != "resolve":
                self._tell(device, f"would {edit.kind} {edit.entry_id[-4:]}, and nothing changes")
                continue
            checks.require(changed, device, "changed an entry without a change")
            incarnation = vault._ledger.actor.hex()
            checks.check_footprint(edit.kind, before, after, edit.names, incarnation)
            now = view[edit.entry_id]
            edit.check(now)
            act = self._act(device, vault, moment, edit, heads[0], now)
            self.truth.record(act)
            stale = " as seen earlier" if edit.stale or edit.covers is not None else ""
            said = [fact.field + (f"/{fact.element[-4:]}" if fact.element else "") for fact in act.facts]
            self._tell(device, f"{edit.kind} {edit.entry_id[-4:]}{stale}", *said, f"(act {act.number})")
        checks.check_incremental(vault)

    def _act(self, device: Installation, vault: Vault, moment: _Moment, edit: _Edit, change: bytes, now: Entry) -> Act:
        number = len(self.truth.acts)
        before = moment.raw(edit.entry_id)
        cells: dict[Cell, Any] = {
            Cell(edit.entry_id, key): now.raw.get(key, GONE)
            for key in sorted({*before, *now.raw})
            if not key.startswith("$") and not _equal(before, now.raw, key)
        }
        old, new = moment.facts(edit.entry_id), checks.facts_shown(now)
        facts: dict[Fact, Any] = {f: new.get(f) for f in sorted({*old, *new}) if old.get(f) != new.get(f)}
        if edit.kind == "purge":
            facts = dict.fromkeys(self.truth.standing(edit.entry_id, moment.known))
        elif edit.kind in ("delete", "restore"):
            checks.require(not cells, device, edit.kind, "changed values:", sorted(cells))
            facts = {}
        elif edit.kind == "resolve":
            (name,) = edit.names
            said = self.truth.standing(edit.entry_id, moment.known)
            facts |= {f: new.get(f) for f, values in said.items() if f.field == name and len(values) > 1}
            cells |= {
                Cell(edit.entry_id, key): now.raw.get(key, GONE)
                for key in moment.conflicting(edit.entry_id)
                if owner(key) == name
            }
            checks.require(not now.conflicts.get(name), device, "resolved a conflict that is still there")
        saw = moment.known
        for act in self.truth.acts:  # earlier ones of the same batch
            saw |= act.bit if act.change == change else 0
        covers = (saw if edit.covers is None else edit.covers) if edit.kind in ("delete", "purge") else 0
        return Act(
            number,
            device.name,
            edit.kind,
            edit.entry_id,
            change,
            saw,
            covers,
            facts,
            cells,
            edit.type,
        )


def _equal(before: Raw, after: Raw, key: str) -> bool:
    if (key in before) != (key in after):
        return False
    return type(before[key]) is type(after[key]) and before[key] == after[key]


class _Moment:
    """A device just before an edit."""

    def __init__(self, truth: Truth, device: Installation, vault: Vault) -> None:
        engine = device.engine(vault)
        self.heads = engine.heads
        self.known = truth.known_to(engine.has)
        self._raws = checks.raws(vault)
        self._facts = {entry_id: checks.facts_shown(vault.view()[entry_id]) for entry_id in self._raws}
        self._conflicting = {entry_id: tuple(engine.conflicts(entry_id)) for entry_id in self._raws}

    def raw(self, entry_id: str) -> Raw:
        return self._raws.get(entry_id, {})

    def facts(self, entry_id: str) -> Mapping[Fact, Any]:
        return self._facts.get(entry_id, {})

    def conflicting(self, entry_id: str) -> tuple[str, ...]:
        return self._conflicting.get(entry_id, ())


class _Edit:
    """An edit that was drawn: how to make it, and what must show afterwards."""

    def __init__(
        self,
        kind: str,
        entry_id: str,
        make: Callable[[], Entry | None],
        names: tuple[str, ...],
        wanted: Mapping[str, Any],
    ) -> None:
        self.kind = kind
        self.entry_id = entry_id
        self.names = names
        self.stale = False
        self.type = ""
        self.covers: int | None = None
        self.chosen: tuple[Fact, Any] | None = None
        self._make = make
        self._wanted = wanted

    def run(self) -> None:
        made = self._make()
        if made is not None:
            self.entry_id = made.id
            self.check(made)

    def check(self, now: Entry) -> None:
        """A person reads what was written."""
        for name, value in self._wanted.items():
            shown = now.get(name)
            empty = value in (None, (), frozenset()) and shown in (None, (), frozenset())
            checks.require(empty or shown == value, f"{self.kind} wrote {name} and reads", shown, "instead of", value)
        if self.chosen is not None:
            fact, value = self.chosen
            shown = checks.facts_shown(now).get(fact)
            checks.require(shown == value, "resolve chose", value, "and reads", shown)

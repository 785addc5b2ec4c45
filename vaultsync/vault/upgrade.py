"""Upgrading: what this version would convert or delete of what it no longer supports, and doing it on request.

Until somebody asks, entries of retired types stay archived and go on syncing. A plan is a dry run; making one writes
nothing. What can only be deleted has to be exported first: the export leaves a receipt in the vault, and a receipt
covers entries only as they were when they were saved, so that what an old device edits meanwhile is not deleted
unsaved.

An entry *can only be deleted* when its type is retired here and no conversion leads on. Not because this device cannot
convert it: one that is locked by a newer version, that is converted already further than this version knows, whose
target lives on other platforms, or on which a lens breaks stays archived, for another device or another version.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vaultsync.document.engine import Edit
from vaultsync.errors import ExportFirst, SchemaError, UnknownType, UpdateRequired, UsageError
from vaultsync.schema.cells import GONE, Ops, Raw, canonical_json
from vaultsync.schema.types import EntryType, Schema
from vaultsync.vault.desk import Desk
from vaultsync.vault.exporting import write_export
from vaultsync.vault.ledger import Ledger
from vaultsync.view.context import Device
from vaultsync.view.decide import Status, decide
from vaultsync.view.entry import Entry
from vaultsync.view.keeping import PREFIX
from vaultsync.view.picture import View
from vaultsync.view.upkeep import plan_convert
from vaultsync.view.words import count, listing

__all__ = ["TypePlan", "UpgradePlan", "make_plan"]

RECEIPT: Final = "$export/"
"""Prefix of the receipts in ``settings``: the type and the digest of what was saved follow."""
CHUNK: Final = 500
"""Entries converted in one transaction: between two the caller hears of progress, and may stop."""

Told = Callable[[int, int], bool | None]
"""``(entries dealt with, entries in all)``; returns False to stop."""


@dataclass(frozen=True, slots=True)
class TypePlan:
    """What becomes of the entries of one retired type. Entries are named by id, devices by name.

    ``convert``: become entries of type ``to``. ``delete``: can only be deleted. ``stay``: neither can be done on this
    device, they stay archived. ``keeps_old``: older devices go on reading converted entries in their own terms.
    ``blind``: the person's other devices that stop seeing what is converted; ``bereft``: those that still show in full
    what is deleted, and lose it with this one.
    """

    type: str
    label: str
    to: str | None
    to_label: str | None
    keeps_old: bool
    convert: tuple[str, ...]
    delete: tuple[str, ...]
    stay: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    bereft: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = []
        if some := len(self.convert):
            who = f" ({listing(self.blind)} will stop showing {_them(some)})" if self.blind else ""
            parts.append(f"{count(some, 'entry')} will become {self.to_label}{who}")
        if some := len(self.delete):
            who = (
                f" (on {listing(self.bereft)} too, where {'it' if some == 1 else 'they'} can still be edited)"
                if self.bereft
                else ""
            )
            parts.append(f"{count(some, 'entry')} can only be deleted{who}")
        if some := len(self.stay):
            parts.append(f"{count(some, 'entry')} {'stays' if some == 1 else 'stay'} archived")
        return f"{self.label}: {'; '.join(parts)}"


class UpgradePlan:
    """A dry run; `export` and `apply` act. A plan is of a moment: what changes afterwards is looked at again then."""

    def __init__(self, desk: Desk, ledger: Ledger, view: Callable[[], View], types: Sequence[TypePlan], now_ms: int):
        self._desk = desk
        self._ledger = ledger
        self._view = view
        self._now_ms = now_ms
        self.types: tuple[TypePlan, ...] = tuple(types)
        """What becomes of each retired type that has entries, by name."""

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.convert or self.delete)

    @property
    def convert(self) -> int:
        """How many entries would be converted."""
        return sum(len(plan.convert) for plan in self.types)

    @property
    def delete(self) -> int:
        """How many entries can only be deleted."""
        return sum(len(plan.delete) for plan in self.types)

    @property
    def stay(self) -> int:
        """How many entries would stay archived."""
        return sum(len(plan.stay) for plan in self.types)

    def __str__(self) -> str:
        return "\n".join(map(str, self.types)) or "Nothing to upgrade: no entries are of a type that is retired here."

    def __repr__(self) -> str:
        return f"<UpgradePlan converts {self.convert}, deletes {self.delete}, leaves {self.stay}>"

    def export(self, path: str | os.PathLike[str], types: Iterable[str] | None = None) -> int:
        """Save every entry that would be deleted as it is now, secrets in the clear, and record receipts; returns how
        many. When there is none, no file is written.

        Raises `VaultExists`, `StoreFailed` and `UpdateRequired`; then no receipt is recorded.
        """
        self._check_writable()
        chosen = [plan for plan in self._chosen(types) if plan.delete]
        view = self._view()
        entries = [entry for plan in chosen for entry in _there(plan, view)]
        if not entries:
            return 0
        write_export(entries, view.schema, path, now_ms=self._now_ms)
        value = json.dumps({"ms": self._now_ms, "n": len(entries)})
        receipts = [Edit("settings", "", _receipt(plan, view), value) for plan in chosen]
        with self._ledger.write() as transaction:
            transaction.commit(receipts)
        return len(entries)

    def check(self, types: Iterable[str] | None = None) -> None:
        """Raise `ExportFirst` when `apply` would: something would be deleted that no export holds as it is now."""
        for plan in self._chosen(types):
            if plan.delete:
                self._seen(plan, discard=False)

    def apply(
        self,
        types: Iterable[str] | None = None,
        *,
        discard: bool = False,
        progress: Told | None = None,
    ) -> int:
        """Convert, and delete (into the trash) what can only be deleted; returns how many entries were changed.

        ``types``: only these, the others stay archived. ``progress(done, total)`` is called between transactions; when
        it returns ``False`` the rest stays archived (every entry is whole, converted or not). Raises `ExportFirst`
        before anything is changed when something would be deleted that no export holds as it is now, unless
        ``discard``; `UnknownType`, `UpdateRequired`; `UsageError` inside a batch: a plan works in steps of its own.

        A second device may do the same at the same time. What somebody edits meanwhile is converted with the edit, and
        not deleted.
        """
        self._check_writable()
        if self._desk.in_batch:
            raise UsageError("an upgrade plan is applied in steps of its own: apply it outside of vault.batch()")
        chosen = self._chosen(types)
        deleting = [plan for plan in chosen if plan.delete]
        converting = [entry_id for plan in chosen for entry_id in plan.convert]
        for plan in deleting:
            self._seen(plan, discard=discard)
        total = len(converting) + sum(len(plan.delete) for plan in deleting)
        done = changed = 0
        for start in range(0, len(converting), CHUNK):
            part = converting[start : start + CHUNK]
            changed += len(self._desk.upkeep(part, plan_convert))
            done += len(part)
            if progress is not None and progress(done, total) is False:
                return changed
        for plan in deleting:
            seen = self._seen(plan, discard=discard)
            with self._desk.batch():  # all of a type or nothing: an export covers them together
                for entry in seen:
                    self._desk.delete(entry)
            changed += len(seen)
            done += len(plan.delete)
            if progress is not None and progress(done, total) is False:
                return changed
        return changed

    def _check_writable(self) -> None:
        if self._desk.read_only:
            raise UpdateRequired(
                "a newer version of the application changed this vault's format: update to change it here"
            )

    def _chosen(self, types: Iterable[str] | None) -> list[TypePlan]:
        if types is None:
            return list(self.types)
        wanted = {types} if isinstance(types, str) else set(types)
        known = {plan.type for plan in self.types}
        if unknown := sorted(wanted - known):
            raise UnknownType(
                f"the plan has nothing for {', '.join(unknown)}; it has {', '.join(sorted(known)) or 'nothing at all'}"
            )
        return [plan for plan in self.types if plan.type in wanted]

    def _seen(self, plan: TypePlan, *, discard: bool) -> list[Entry]:
        """The entries to delete as they are now: a delete covers what was seen, so that an edit that arrives between
        looking and deleting wins. Raises `ExportFirst`."""
        view = self._view()
        there = _there(plan, view)
        if there and not discard and _receipt(plan, view) not in self._ledger.section("settings"):
            raise ExportFirst(
                f"{count(len(there), 'entry')} of type {plan.label} would be deleted, and no export holds "
                f"{'it as it is' if len(there) == 1 else 'them as they are'} now: "
                "export the plan first, or apply it with discard=True"
            )
        return there


def make_plan(
    desk: Desk,
    ledger: Ledger,
    schema: Schema,
    view: Callable[[], View],
    census: Iterable[Device],
    this: str,
    now_ms: int,
) -> UpgradePlan:
    """What upgrading the archived entries of ``view`` would do."""
    sight = _Sight(schema, [device for device in census if device.id != this])
    by_type: dict[str, list[Entry]] = {}
    for entry in view().archived:
        by_type.setdefault(entry.type, []).append(entry)
    plans = [_type_plan(schema.types[name], entries, schema, sight) for name, entries in sorted(by_type.items())]
    return UpgradePlan(desk, ledger, view, plans, now_ms)


def _type_plan(kind: EntryType, entries: list[Entry], schema: Schema, sight: _Sight) -> TypePlan:
    convert, delete, stay = [], [], []
    blind: set[str] = set()
    bereft: set[str] = set()
    for entry in entries:
        end = _end(entry, schema)
        ops: Ops = {}
        if end is not None and not schema.retired(end):
            ops = plan_convert(entry.raw, schema)
        after = {key: value for key, value in {**entry.raw, **ops}.items() if value is not GONE}
        if ops and decide(after, schema).status in (Status.COMPLETE, Status.FLAGGED):
            convert.append(entry.id)
            blind |= sight.of(entry.raw) - sight.of(after)
        elif end is not None and schema.retired(end):
            delete.append(entry.id)
            bereft |= sight.of(entry.raw, editable=True)
        else:
            stay.append(entry.id)
    to = _last(kind, schema) if convert else None
    return TypePlan(
        kind.name,
        kind.label,
        to.name if to else None,
        to.label if to else None,
        bool(kind.converts and kind.converts.keep_old),
        tuple(convert),
        tuple(delete),
        tuple(stay),
        tuple(sorted(blind)),
        tuple(sorted(bereft)),
    )


def _end(entry: Entry, schema: Schema) -> EntryType | None:
    """The type that an entry ends as along the conversions that this version knows; None where that is not ours to
    say: its primary type is of a newer version, or it is locked."""
    if entry.decision.locked:
        return None
    kind = schema.known(entry._judgement.primary)
    return None if kind is None else _last(kind, schema)


def _last(kind: EntryType, schema: Schema) -> EntryType:
    while schema.retired(kind) and kind.converts is not None and (after := schema.known(kind.converts.to)) is not None:
        kind = after
    return kind


class _Sight:
    """Which of the person's other devices show an entry. What decides it are a few keys, the same in most entries."""

    def __init__(self, schema: Schema, devices: Iterable[Device]) -> None:
        self._places: list[tuple[str, Schema | None]] = []
        for device in devices:
            if device.version > schema.version:
                self._places.append((device.name, None))  # it knows more than we do
                continue
            try:
                self._places.append((device.name, schema.at(device.version, device.platform)))
            except SchemaError:
                continue  # a platform that nobody here has heard of
        self._known: dict[tuple[frozenset[tuple[str, object]], bool], frozenset[str]] = {}

    def of(self, raw: Raw, *, editable: bool = False) -> frozenset[str]:
        """Their names; with ``editable`` only those where its type is not retired."""
        telling = {key: value for key, value in raw.items() if key.startswith(("$type", "$schema/", "$face/"))}
        place = (frozenset(telling.items()), editable)
        if place not in self._known:
            blind = {Status.HIDDEN} | ({Status.ARCHIVED} if editable else set())
            self._known[place] = frozenset(
                name
                for name, there in self._places
                if (not editable if there is None else decide(telling, there).status not in blind)
            )
        return self._known[place]


def _there(plan: TypePlan, view: View) -> list[Entry]:
    """What is still to be deleted: not what was deleted, or converted by a newer version, meanwhile."""
    found = (view.get(entry_id) for entry_id in plan.delete)
    return [entry for entry in found if entry is not None and entry.status is Status.ARCHIVED]


def _receipt(plan: TypePlan, view: View) -> str:
    """The key of the receipt for these entries with these contents, whoever counts them and whatever was deleted since
    the plan was made."""
    rows = {entry_id: _contents(view[entry_id].raw) for entry_id in plan.delete}
    return f"{RECEIPT}{plan.type}/{hashlib.sha256(canonical_json(rows).encode()).hexdigest()[:32]}"


def _contents(raw: Raw) -> Mapping[str, object]:
    return {key: value for key, value in raw.items() if not key.startswith("$") or key.startswith(("$lens/", PREFIX))}


def _them(number: int) -> str:
    return "it" if number == 1 else "them"

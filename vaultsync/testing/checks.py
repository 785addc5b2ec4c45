"""What must hold of simulated devices, whatever happened: each check raises ``AssertionError`` with what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from vaultsync.document.layout import ENTRIES
from vaultsync.schema.cells import Raw, owner
from vaultsync.schema.types import Schema
from vaultsync.testing.installation import Installation
from vaultsync.testing.invention import MARKER
from vaultsync.testing.truth import Fact, Truth
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Entry, Status
from vaultsync.view.picture import View

__all__ = [
    "check_agreement",
    "check_footprint",
    "check_incremental",
    "check_no_plaintext",
    "check_settled",
    "check_shown",
    "check_stored",
    "facts_shown",
]

_PLAIN = [MARKER.encode(), MARKER.encode("utf-16-le"), MARKER.encode("utf-16-be"), b"$edited/", b"$schema/"]


def require(holds: bool, *words: object) -> None:
    if not holds:
        raise AssertionError(" ".join(str(word) for word in words))


def raws(vault: Vault) -> dict[str, Raw]:
    """Every entry as it is stored."""
    return dict(Installation.engine(vault).read_all())


def facts_shown(entry: Entry | None) -> dict[Fact, Any]:
    """What an entry says here, fact by fact; nothing of an entry that is not visible."""
    found: dict[Fact, Any] = {}
    if entry is None:
        return found
    for name in (*entry.fields, *entry.retired):
        if elements := entry.elements(name):
            found |= {Fact(entry.id, name, element.id): element.value for element in elements}
        else:
            found[Fact(entry.id, name)] = entry[name]
    return found


# ---- after one act ----------------------------------------------------------------------------------------------
def check_footprint(kind: str, before: Raw, after: Raw, names: Iterable[str], incarnation: str) -> None:
    """An act touches the fields it names and the bookkeeping of its own, nothing else."""
    changed = {key for key in {*before, *after} if before.get(key, owner) != after.get(key, owner)}
    data = {key for key in changed if not key.startswith("$")}
    if kind == "purge":
        left = [key for key in after if not key.startswith("$")]
        require(not left, "a purge leaves values behind:", left)
    else:
        strange = {key for key in data if owner(key) not in set(names)}
        require(not strange, f"{kind} of {sorted(names)} changed other fields:", sorted(strange))
    mine = {"delete": "$deleted/", "purge": "$deleted/"}.get(kind, "$edited/") + incarnation
    allowed = ("$schema/", "$critical/") if kind in ("update", "add", "resolve") else ()
    founding = {"$type", "$created"} if kind == "add" else set()
    for key in changed - data - founding:
        require(key == mine or key.startswith(allowed or "\0"), f"{kind} changed {key}")
        require(key in after, f"{kind} removed {key}")


def check_incremental(vault: Vault) -> None:
    """The view that grew with the edits is the view that is built from nothing."""
    view = vault.view()
    built = View.build(Installation.engine(vault).read_all(), view.schema, view.context)
    for name in ("entries", "hidden", "archived", "trash"):
        require(getattr(view, name) == getattr(built, name), f"incremental and rebuilt views differ in {name}")
    require(view.counted == built.counted, "incremental and rebuilt views count", view.counted, built.counted)
    require(view.notices == built.notices, "incremental and rebuilt notices:", view.notices, built.notices)


# ---- between devices --------------------------------------------------------------------------------------------
def check_agreement(devices: Iterable[Installation], truth: Truth) -> None:
    """Equal knowledge gives equal documents; with equal version and platform, equal views."""
    by_knowledge: dict[int, Installation] = {}
    by_place: dict[tuple[int, tuple[int, str]], Installation] = {}
    for device in devices:
        if not device.vaults:
            continue
        vault = device.vault
        known = truth.known_to(Installation.engine(vault).has)
        other = by_knowledge.setdefault(known, device)
        if other is not device:
            _same_documents(device, other)
        twin = by_place.setdefault((known, device.place), device)
        if twin is not device:
            _same_views(device, twin)


def _same_documents(one: Installation, other: Installation) -> None:
    a, b = one.vault, other.vault
    require(Installation.engine(a).heads == Installation.engine(b).heads, "different heads:", one, other)
    left, right = raws(a), raws(b)
    require(left == right, "equal heads, different entries:", one, other, left, right)
    for section in ("schemas", "devices", "settings"):
        rows = [Installation.engine(vault).read(section) for vault in (a, b)]
        require(rows[0] == rows[1], "equal heads, different", section, one, other)


def _same_views(one: Installation, other: Installation) -> None:
    a, b = one.vault.view(), other.vault.view()
    for name in ("entries", "hidden", "archived", "trash"):
        left, right = [_picture(e) for e in getattr(a, name)], [_picture(e) for e in getattr(b, name)]
        require(left == right, "different views:", name, one, other, left, right)
    require(a.counted == b.counted, "different counts:", one, a.counted, other, b.counted)
    require(_notices(a) == _notices(b), "different notices:", one, a.notices, other, b.notices)


def _picture(entry: Entry) -> tuple[Any, ...]:
    shown = (dict(entry.fields), dict(entry.retired), sorted(entry.missing), sorted(entry.writable))
    return entry.id, entry.status, entry.type, entry.version, entry.counted, entry.created, entry.modified, *shown


def _notices(view: View) -> list[tuple[Any, ...]]:
    """Without the names of devices: each device leaves itself out. Without what it ran before: that is its own."""
    every = [n for n in view.notices if n.kind.value != "downgrade"]
    return [(n.kind, n.count, n.type_label, n.versions, n.platforms) for n in every]


# ---- against the truth ------------------------------------------------------------------------------------------
def check_stored(stored: Mapping[str, Raw], truth: Truth) -> None:
    """Every cell holds one of its last words byte for byte, and no cell holds anything else."""
    require(set(stored) == set(truth.entries), "entries:", sorted(stored), "instead of", sorted(truth.entries))
    for entry_id, raw in stored.items():
        data = {key: value for key, value in raw.items() if not key.startswith("$")}
        wanted = truth.cells(entry_id)
        require(set(data) == set(wanted), entry_id, "has cells", sorted(data), "instead of", sorted(wanted))
        for key, value in data.items():
            fits = any(type(value) is type(one) and value == one for one in wanted[key])
            require(fits, entry_id, key, "holds", repr(value), "instead of one of", wanted[key])


def check_shown(view: View, truth: Truth, tally: Counter[str] | None = None) -> None:
    """What a view shows is what was said last, by the schema it has; losers of contested facts are conflicts."""
    schema = view.schema
    for entry_id in truth.entries:
        entry = view[entry_id]
        status = truth.status(entry_id, schema)
        require(entry.status is status, entry_id, "is", entry.status, "instead of", status, "at", schema)
        require(entry.counted == truth.counted(entry_id, schema), entry_id, "counted:", entry.counted, schema)
        if status in (Status.HIDDEN, Status.TRASHED):
            require(status is Status.TRASHED or not (entry.fields or entry.retired), entry_id, "is hidden and shown")
            continue
        _check_values(entry, truth, schema, tally)


def _check_values(entry: Entry, truth: Truth, schema: Schema, tally: Counter[str] | None) -> None:
    here = {field.name: field for field in schema.fields_here(truth.entries[entry.id])}
    wanted = {fact: values for fact, values in truth.standing(entry.id).items() if fact.field in here}
    shown = facts_shown(entry)
    for fact in sorted({*wanted, *shown}):
        kind = "clean" if truth.is_clean(fact) else "contested"
        if tally is not None:
            tally[f"{kind} facts"] += 1
        require(fact in shown, kind, "fact is lost:", fact, wanted.get(fact), "at", schema)
        require(fact in wanted, kind, "fact came back:", fact, shown[fact], "at", schema)
        require(shown[fact] in wanted[fact], kind, "fact reads", shown[fact], "not", wanted[fact], fact)
    conflicts = entry.conflicts
    for fact, values in wanted.items():
        if here[fact.field].kind.name == "tags":
            continue
        kept = [c.value for c in conflicts.get(fact.field, ()) if (c.element or "") == fact.element]
        lost = [value for value in values if value != shown[fact] and value not in kept]
        require(not lost, "losers are not among the conflicts:", fact, lost, conflicts)
        made_up = [value for value in kept if value not in values]
        require(not made_up, "conflicts that nobody made:", fact, made_up)


# ---- at the end -------------------------------------------------------------------------------------------------
def check_settled(device: Installation) -> None:
    """Nothing waits, nothing is set aside, everything is sent."""
    status = device.vault.status
    require(status.pending == 0, device, "has to send:", status)
    require(not status.waiting, device, "waits:", *status.waiting)
    require(status.quarantined == 0, device, "has quarantined", status.quarantined)


def check_no_plaintext(objects: Iterable[tuple[str, bytes]], names: Iterable[str]) -> None:
    """No value, no device's name and no key of the layout can be read from any byte that was stored or sent."""
    needles = [*_PLAIN, *(name.encode() for name in names)]
    for place, data in objects:
        for needle in needles:
            require(needle not in data, place, "holds in the clear:", needle)


def check_knows_all(device: Installation, truth: Truth) -> None:
    """Everything that was acknowledged anywhere is here."""
    known = truth.known_to(Installation.engine(device.vault).has)
    missing = [act for act in truth.acts if not act.bit & known]
    require(not missing, device, "lacks", [(act.number, act.device, act.kind) for act in missing])


def entry_before(vault: Vault, entry_id: str) -> Raw:
    """An entry as it is stored, {} if there is none."""
    return Installation.engine(vault).read(ENTRIES, entry_id) or {}

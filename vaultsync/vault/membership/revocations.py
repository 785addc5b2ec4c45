"""What follows from removing a device, for the person: what it could read, and what came of it at the last moment.

Both are worked out when asked for, on any device, from what was stored when this one heard of the removal: they shrink
as passwords are changed and edits undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from vaultsync.crypto import envelope
from vaultsync.document.changes import Action, Change
from vaultsync.document.codec import decode_own
from vaultsync.document.engine import Engine
from vaultsync.document.layout import ENTRIES, SECTION_OBJECTS
from vaultsync.errors import MissingDependencies, Refused, UpdateRequired
from vaultsync.sync import names
from vaultsync.vault.desk import Desk
from vaultsync.vault.provenance import Revision
from vaultsync.vault.replication.hearing import heard_of
from vaultsync.vault.replication.lateness import PINNED
from vaultsync.vault.replication.parcels import Incomplete, open_parcel
from vaultsync.vault.works import Works
from vaultsync.view.entry import Entry, Status, evaluate

__all__ = ["Exposure", "LateEdit", "Revocation", "revocations", "undo"]


@dataclass(frozen=True, slots=True)
class Exposure:
    """An entry that a removed device could read: ``fields`` are those of its secrets that are still what they were."""

    entry: Entry
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LateEdit:
    """An edit of a removed device that another one had when hearing of the removal, and the remover had not."""

    entry_id: str
    revision: Revision


@dataclass(frozen=True)
class Revocation:
    """A device that was removed. ``heard_ms``: when this device heard of it (``None``: before it was in the vault).

    ``published`` is false only on the object that `Vault.revoke` returned while the remote did not answer: others hear
    of the removal with the next sync.
    """

    device_id: str
    name: str
    heard_ms: int | None
    published: bool
    _works: Works = field(repr=False, compare=False)

    @cached_property
    def exposed(self) -> tuple[Exposure, ...]:
        """Entries with secrets that the device could read and that were not changed since, newest first. Whatever was
        sealed under a key that it had counts, whether or not it ever fetched it."""
        works = self._works
        with works.ledger.lock:
            view = works.picture.current()
            heard = heard_of(works.ledger, bytes.fromhex(self.device_id))
            engine = works.ledger.engine
            heads = None if heard is None or set(heard.shared) == set(engine.heads) else heard.shared
            every = (entry for entries in (view.entries, view.archived, view.hidden, view.trash) for entry in entries)
            found = [Exposure(entry, kept) for entry in every if (kept := _kept(entry, heads, engine, works))]
        return tuple(sorted(found, key=lambda one: (-one.entry.modified, one.entry.id)))

    @cached_property
    def late_edits(self) -> tuple[LateEdit, ...]:
        """Edits of the device past what the remover had of it, newest first. `Vault.undo` takes them back."""
        works = self._works
        works.picture.current()
        with works.ledger.lock:
            hashes = _late_changes(works, bytes.fromhex(self.device_id))
            entries = {entry for change in hashes.values() for entry in _touched(change, works.ledger.engine)}
            wanted = {hash.hex() for hash in hashes}
            found = [
                LateEdit(entry, revision)
                for entry in sorted(entries)
                for revision in works.provenance.history(entry, works.schema)
                if revision.id in wanted and revision.event != "upkeep"
            ]
        order = {hash.hex(): number for number, hash in enumerate(hashes)}
        return tuple(sorted(found, key=lambda late: (-order[late.revision.id], late.entry_id)))

    def __str__(self) -> str:
        secrets = sum(len(one.fields) for one in self.exposed)
        parts = [f"{self.name} was removed"]
        if secrets:
            parts.append(f"it could read {secrets:,} secrets that are still in use: change them")
        if self.late_edits:
            parts.append(f"{len(self.late_edits):,} of its edits arrived late: look at them")
        return "; ".join(parts)


def revocations(works: Works) -> tuple[Revocation, ...]:
    """Every device that was removed, the one heard of last first."""
    roster = works.identity.roster
    found = []
    for device, member in roster.former.items():
        if member.recovery:
            continue
        heard = heard_of(works.ledger, device)
        ms = None if heard is None else heard.ms
        found.append(Revocation(device.hex(), works.device_name(device), ms, True, works))
    return tuple(sorted(found, key=lambda one: (-(one.heard_ms or 0), one.name, one.device_id)))


# ---- what it could read -------------------------------------------------------------------------------------------
def _kept(entry: Entry, heads: tuple[bytes, ...] | None, engine: Engine, works: Works) -> tuple[str, ...]:
    """Secret fields of an entry that hold what they held at ``heads`` (``None``: now)."""
    secret = [name for name in (*entry.fields, *entry.retired) if entry.is_secret(name)]
    unknown = [name for name in entry.unknown if name not in secret]
    if heads is None or not (secret or unknown):
        return tuple(sorted(secret + unknown))
    try:
        raw = engine.read_at(entry.id, heads)
    except MissingDependencies:  # a file that was restored: it does not know what was so then
        return tuple(sorted(secret + unknown))
    if raw is None:
        return ()
    then = evaluate(entry.id, raw, works.schema, works.picture.context)
    known = {*then.fields, *then.retired}
    same = [name for name in secret if name in known and then.get(name) == entry.get(name)]
    for name in unknown:
        keys = [key for key in entry.raw if key == name or key.startswith((f"{name}/", f"{name}@"))]
        if any(raw.get(key) == entry.raw[key] for key in keys):
            same.append(name)
    return tuple(sorted(same))


# ---- what came late -----------------------------------------------------------------------------------------------
def _late_changes(works: Works, device: bytes) -> dict[bytes, Change]:
    """Its changes past the pins of its removals, by hash, in the order of its chains."""
    identity, found = works.identity, {}
    epochs = identity.epoch_keys()
    for chain, ended in sorted(identity.roster.revoked.items()):
        if ended.device != device:
            continue
        pinned = max((seq for seq, _ in ended.pins), default=0)
        with works.ledger.store.read() as reading:
            for stored in reading.envelopes(chain, after=pinned):
                if stored.kind != envelope.Kind.CHANGES or names.parse_envelope(stored.name) is None:
                    continue
                try:
                    parcel = open_parcel(stored.name, stored.data, identity, epochs)
                except (Refused, UpdateRequired, Incomplete):
                    continue
                found.update({change.hash: change for change in parcel.changes})
        known = works.ledger.state(PINNED + chain.hex())
        if known is not None:  # what came in a checkpoint
            chunks = works.ledger.engine.own_changes(chain, int(known))
            found.update({change.hash: change for change in map(decode_own, chunks)})
    return found


def _touched(change: Change, engine: Engine) -> set[str]:
    """Ids of the entries that a change writes to."""
    found = set()
    for op in change.ops:
        if op.obj == SECTION_OBJECTS[ENTRIES] and op.action is Action.MAKE_MAP:
            found.add(op.key)
        elif op.obj is not None and (place := engine.place(op.obj)) is not None and place.section == ENTRIES:
            found.add(place.entry)
    return {entry for entry in found if entry}


# ---- taking it back -----------------------------------------------------------------------------------------------
def undo(edits: Iterable[LateEdit], desk: Desk) -> tuple[LateEdit, ...]:
    """Take edits back as ordinary edits, in one batch, the last one first. Returns those that stay as they are: changed
    again since, or not to be edited here."""
    left = []
    with desk.batch():
        for edit in edits:
            entry = desk.view().get(edit.entry_id)
            if entry is None or not _taken_back(edit.revision, entry, desk):
                left.append(edit)
    return tuple(left)


def _taken_back(revision: Revision, entry: Entry, desk: Desk) -> bool:
    trashed = entry.status is Status.TRASHED
    match revision.event:
        case "added" | "restored":
            if not trashed and entry.modified == revision.time:
                desk.delete(entry.id)
                return True
            return trashed
        case "deleted":
            if trashed:
                desk.restore(entry.id)
            return True
    if trashed and revision.event == "purged":
        entry = desk.restore(entry.id)
    changed = [name for name in revision.fields if revision.before.get(name) != revision.after.get(name)]
    back = [name for name in changed if name in entry.writable and entry.get(name) == _after(revision, name, entry)]
    if back:
        desk.update(entry.id, {name: revision.before.get(name) for name in back})
    return len(back) == len(changed)


def _after(revision: Revision, name: str, entry: Entry) -> object:
    """What the field showed just after; an empty collection where the revision says nothing."""
    if name in revision.after:
        return revision.after[name]
    value = entry.get(name)
    return value if isinstance(value, (tuple, frozenset)) and not value else None

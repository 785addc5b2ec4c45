"""Whose hand wrote what: incarnations as devices, conflicting values and history in a person's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from vaultsync.document.engine import Engine
from vaultsync.document.engine import Revision as StoredRevision
from vaultsync.document.layout import ENTRIES
from vaultsync.errors import EntryNotFound, UnknownChain
from vaultsync.schema.types import Schema
from vaultsync.vault.identity import Identity
from vaultsync.view.context import Context, Device
from vaultsync.view.entry import Candidate, Entry, Fields, evaluate

__all__ = ["Provenance", "Revision"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of an entry, as it looks here.

    ``device`` is the name of the device that wrote it (``None`` when it cannot be told), ``time`` ms since the epoch
    by that device's clock (``None`` for changes no person made), ``before`` and ``after`` the shown values of the
    fields it changed; their repr masks secrets. ``id`` names the revision for `Vault.restore`.
    """

    id: str
    device: str | None
    version: int | None
    time: int | None
    before: Mapping[str, object] = field(repr=True)
    after: Mapping[str, object] = field(repr=True)
    event: str = "edit"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that this revision changed."""
        return tuple(dict.fromkeys([*self.before, *self.after]))


class Provenance:
    """Answers who wrote something, from roster and census."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        identity: Callable[[], Identity],
        context: Callable[[], Context],
        everybody: Callable[[], Iterable[Device]],
        stands_for: Callable[[bytes], bytes] = lambda actor: actor,
    ) -> None:
        """``everybody``: the census rows of devices that were removed included. ``stands_for``: for an actor that no
        device announced the one whose changes it holds, made anew."""
        self._engine = engine
        self._identity = identity
        self._context = context
        self._everybody = everybody
        self._stands_for = stands_for

    def device(self, actor: bytes) -> Device | None:
        """The census row of the device whose incarnation ``actor`` is; ``None`` when roster or census do not tell."""
        roster = self._identity().roster
        try:
            member = roster.device_of(actor if actor in roster.writers else self._stands_for(actor))
        except UnknownChain:
            return None
        wanted = member.id.hex()
        return next((device for device in self._everybody() if device.id == wanted), None)

    def device_named(self, incarnation: str) -> Device | None:
        """The same by the incarnation's name in an entry (hex), which may be anything."""
        try:
            return self.device(bytes.fromhex(incarnation))
        except ValueError:
            return None

    def name(self, actor: bytes) -> str | None:
        device = self.device(actor)
        return None if device is None else device.name

    def candidates(self, entry_id: str) -> dict[str, tuple[Candidate, ...]]:
        """Every key of an entry with more than one value: all of them, the winner first."""
        engine = self._engine()
        found: dict[str, tuple[Candidate, ...]] = {}
        for key, written in engine.conflicts(entry_id).items():
            candidates = []
            for one in written:
                device = self.device(one.actor)
                then = engine.read_at(entry_id, [one.hash]) or {}
                time = then.get(f"$edited/{one.actor.hex()}")
                candidates.append(
                    Candidate(
                        one.value,
                        device.name if device else None,
                        device.version if device else None,
                        time if isinstance(time, int) else None,
                        one.actor.hex(),
                        one.hash.hex(),
                    )
                )
            found[key] = tuple(candidates)
        return found

    def history(self, entry_id: str, schema: Schema) -> tuple[Revision, ...]:
        """Every change of an entry, oldest first. Raises `EntryNotFound`."""
        engine = self._engine()
        if engine.read(ENTRIES, entry_id) is None:
            raise EntryNotFound(f"there is no entry {entry_id!r} in this vault")
        return tuple(self._revision(entry_id, revision, engine, schema) for revision in engine.history(entry_id))

    def as_of(self, entry_id: str, revision_id: str, schema: Schema) -> Entry:
        """The entry as the author of a revision saw it just after writing. Raises `EntryNotFound`."""
        raw = self._engine().read_at(entry_id, [bytes.fromhex(revision_id)])
        if raw is None:
            raise EntryNotFound(f"entry {entry_id!r} did not exist at revision {revision_id[:12]}")
        return evaluate(entry_id, raw, schema, self._context())

    def _revision(self, entry_id: str, stored: StoredRevision, engine: Engine, schema: Schema) -> Revision:
        after = self.as_of(entry_id, stored.hash.hex(), schema)
        full_before = {key: value for key, value in after.raw.items() if key not in stored.after} | dict(stored.before)
        before = evaluate(entry_id, full_before, schema, self._context())
        device = self.device(stored.actor)
        time = stored.after.get(f"$edited/{stored.actor.hex()}")
        changed = [
            name
            for name in dict.fromkeys([*before.fields, *before.retired, *after.fields, *after.retired])
            if before.get(name) != after.get(name)
        ]
        return Revision(
            stored.hash.hex(),
            device.name if device else None,
            device.version if device else None,
            time if isinstance(time, int) else None,
            _chosen(before, changed),
            _chosen(after, changed),
            _event(stored),
        )


def _chosen(entry: Entry, names: list[str]) -> Fields:
    values = {name: entry.get(name) for name in names if entry.get(name) is not None}
    return Fields.of(values, frozenset(name for name in values if entry.is_secret(name)))


def _event(stored: StoredRevision) -> str:
    """What the revision was: added, deleted, purged, restored, edit, or upkeep (no person's doing)."""
    if "$type" in stored.after and "$type" not in stored.before:
        return "added"
    keys = {*stored.before, *stored.after}
    if any(key.startswith("$deleted/") for key in keys):
        purged = any(not key.startswith("$") and key not in stored.after for key in stored.before)
        return "purged" if purged else "deleted"
    if any(key.startswith("$edited/") for key in keys):
        return "edit" if any(not key.startswith("$") for key in keys) else "restored"
    return "upkeep"

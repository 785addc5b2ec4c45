"""Healing a damaged file: a new one, made of what can be read of it and of what the remote holds, takes its place.

What is sealed proves itself, so envelopes and checkpoints that are still readable count like those of the remote: they
are shown to an ordinary exchange beside them, which verifies and applies as always. The device goes on under a new
incarnation, for nobody can tell what the damaged file had numbered already. Changes of its own that are in no envelope
anywhere are recorded anew, as far as they are readable. The damaged file is moved aside, never deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vaultsync.crypto.envelope import Kind
from vaultsync.crypto.keys import Chain
from vaultsync.crypto.roster_entry import open_entry
from vaultsync.crypto.rows import LocalKey
from vaultsync.document.changes import Action, Change, OpId
from vaultsync.document.codec import encode
from vaultsync.document.edits import DELETED, Edit
from vaultsync.document.engine import Engine
from vaultsync.document.layout import ENTRIES, SECTION_OBJECTS
from vaultsync.errors import (
    BadSeal,
    DamagedStore,
    MalformedChange,
    MissingDependencies,
    ObjectMissing,
    Refused,
    RemoteRefused,
    StoreBusy,
    UpdateRequired,
)
from vaultsync.remote import Remote
from vaultsync.store import Envelope as Stored
from vaultsync.store import FileLock, Origin, Salvaged, Store, salvage
from vaultsync.sync import names
from vaultsync.vault import unlocking
from vaultsync.vault.attachments import BLOB
from vaultsync.vault.environment import Environment
from vaultsync.vault.health import examine
from vaultsync.vault.identity import ACCOUNT, IDENTITY, ROSTER, Identity
from vaultsync.vault.ledger import STATE, Ledger
from vaultsync.vault.loading import own_changes
from vaultsync.vault.replication.exchange import Exchange
from vaultsync.vault.replication.syncsettings import REMOTE

__all__ = ["Healed", "heal"]

_LEFT: Final = (
    "place",
    "fork/",
    "grafted",
    "sides",
    "checkpoint/",
    "tip/",
    "heard/",
    "sealed/",
    "stated",
    "collected/",
    "said",
    ROSTER,
    IDENTITY,
    ACCOUNT,
)
"""State that says what the damaged file held: found anew."""
_HERE: Final = "damaged file"
_JOIN: Final = "move the file away and join the vault again, with an invitation or the recovery code"


@dataclass(frozen=True, slots=True)
class Healed:
    """What became of a damaged file. ``entries`` are in the new one; ``recorded`` own changes were recorded anew;
    ``lost`` says in sentences what could not be had from anywhere; ``aside`` is where the damaged file went."""

    entries: int
    recorded: int
    lost: tuple[str, ...]
    aside: str

    def __str__(self) -> str:
        parts = [f"The vault is whole again: {self.entries:,} entries."]
        if self.recorded:
            parts.append(f"{self.recorded:,} changes that were not sent yet were kept.")
        parts += [f"Lost: {sentence}" for sentence in self.lost]
        return " ".join([*parts, f"The damaged file was moved to {self.aside}."])


def heal(
    path: str | os.PathLike[str],
    secrets: unlocking.Secrets,
    environment: Environment,
    opener: Callable[[str], Remote],
) -> Healed:
    """Put a whole file in the place of a damaged one. Nobody may have it open.

    Raises `DamagedStore` when the keys of this device cannot be read any more, `WrongPassword`, `VaultNotFound`,
    `StoreBusy`, `StoreFailed`, and `RemoteError` when the vault's remote cannot be asked: the file is then as it was.
    """
    place = Path(path).absolute()
    lock = FileLock(place.with_name(place.name + "-lock"))
    if not lock.acquire(1.0):
        raise StoreBusy(f"{place.name} is in use by another program: close it there first")
    fresh = place.with_name(place.name + ".healing")
    try:
        unlocking.discard(fresh)
        found = _salvaged(place, environment)
        key, _ = unlocking.unlock([slot.data for slot in found.slots], secrets, environment)
        state = _opened_state(found, key)
        remote = _remote(state, opener)
        try:
            healed = _rebuild(fresh, found, key, state, remote, environment)
        finally:
            if remote is not None:
                remote[1].close()
        aside = _exchange_files(place, fresh)
        return replace(healed, aside=aside.name)
    finally:
        unlocking.discard(fresh)
        lock.release()


# ---- what is left ---------------------------------------------------------------------------------------------------
def _salvaged(place: Path, environment: Environment) -> Salvaged:
    try:
        found = salvage(place, **environment.store_options())
    except DamagedStore:
        found = Salvaged()
    if not found.slots:
        raise _hopeless()
    return found


def _hopeless() -> DamagedStore:
    return DamagedStore(
        f"the keys of this device cannot be read any more, so that nothing else in the file can be: {_JOIN}",
        lost=("the keys of this device", "changes that were not synced"),
        whole=("everything that was synced: the remote and other devices have it",),
    )


def _opened_state(found: Salvaged, key: LocalKey) -> dict[str, bytes]:
    state = {}
    for name, sealed in found.state.items():
        with contextlib.suppress(BadSeal):
            state[name] = key.open(STATE, name, sealed)
    if IDENTITY not in state:
        raise _hopeless()
    return state


def _remote(state: dict[str, bytes], opener: Callable[[str], Remote]) -> tuple[str, Remote] | None:
    stored = state.get(REMOTE)
    url = json.loads(stored).get("url") if stored else None
    return None if url is None else (url, opener(url))


def _identity(state: dict[str, bytes], remote: Remote | None, environment: Environment) -> Identity:
    """This device with a chain of its own from now on."""
    rows = {name: data for name, data in state.items() if name.startswith(ROSTER)}
    core = json.loads(state[IDENTITY])
    vault, roster_key = bytes.fromhex(core["vault"]), bytes.fromhex(core["roster_key"])
    for name in remote.list(names.roster_prefix(vault)) if remote is not None else ():
        parsed = names.parse_roster(name)
        if parsed is not None and ROSTER + parsed.digest.hex() not in rows:
            with contextlib.suppress(Refused, UpdateRequired):
                data = open_entry(remote.get(name), vault_id=vault, roster_key=roster_key, hash=parsed.digest)  # type: ignore[union-attr]
                rows[ROSTER + parsed.digest.hex()] = data
    try:
        before = Identity.load(state[IDENTITY], state.get(ACCOUNT, bytes(20)), rows)
    except Refused:
        raise DamagedStore(
            f"the list of the vault's devices cannot be read any more, and the remote does not have it: {_JOIN}",
            lost=("the list of devices",),
        ) from None
    chain = Chain.new(before.keys.public.id, environment.entropy)
    roster, _ = before.roster.add_chain(before.keys, chain)
    return replace(before, chain=chain, roster=roster)


# ---- the new file ---------------------------------------------------------------------------------------------------
def _rebuild(
    fresh: Path,
    found: Salvaged,
    key: LocalKey,
    state: dict[str, bytes],
    remote: tuple[str, Remote] | None,
    environment: Environment,
) -> Healed:
    identity = _identity(state, remote[1] if remote else None, environment)
    store = Store.create(fresh, header=unlocking.HEADER, slots=found.slots, **environment.store_options())
    ledger = Ledger(store, key, identity.chain.id, environment)
    try:
        with ledger.write() as transaction:
            for name, value in {**state, **identity.rows()}.items():
                if not name.startswith(_LEFT) or name in identity.rows():
                    transaction.set_state(name, value)
            for held in found.envelopes:
                if held.kind == BLOB:
                    transaction.store.put_envelope(
                        held.name, held.chain, held.seq, held.env_id, held.kind, held.data, held.own
                    )
        url = remote[0] if remote else _HERE
        both = _Both(remote[1] if remote else None, found.envelopes)
        Exchange(ledger, both, url, environment, load_identity=lambda: unlocking.load_identity(ledger)).run(
            receive_only=True
        )
        recorded, lost = _record_anew(ledger, found)
        _owe(ledger, remote, url, identity)
        health = examine(ledger)
        if not health.ok:
            raise DamagedStore(f"the vault could not be healed: {health.lost[0]}", lost=tuple(health.lost))
        return Healed(len(ledger.engine.entry_ids()), recorded, tuple(lost), "")
    finally:
        ledger.close()


def _owe(ledger: Ledger, remote: tuple[str, Remote] | None, url: str, identity: Identity) -> None:
    """What only the damaged file had, the remote lacks."""
    with ledger.store.read() as reading:
        here = reading.names(names.envelopes_prefix(identity.vault_id))
    there = set(remote[1].list(names.envelopes_prefix(identity.vault_id))) if remote else set()
    with ledger.store.write() as writing:
        if remote is None:
            writing.forget_remote(url)
            return
        for name in sorted(here - there):
            writing.mark_undelivered(url, name)


def _record_anew(ledger: Ledger, found: Salvaged) -> tuple[int, list[str]]:
    """Own changes that are in the damaged file and in no envelope: their edits become edits of the new incarnation."""
    changes = []
    for row in sorted((row for row in found.journal if row.origin is Origin.OWN), key=lambda row: row.position):
        with contextlib.suppress(DamagedStore, MalformedChange):
            changes += [own.change for own in own_changes(ledger.key, row)]
    engine = ledger.engine
    new = [change for change in changes if not engine.has(change.hash)]
    gone = sum(max(0, tip.seq - engine.last_seq(tip.actor)) for tip in found.actors) - len(new)
    kept = _remade(new, ledger)
    made: dict[OpId, str] = {
        (counter, change.actor): op.key
        for change in new[:kept]
        for counter, op in enumerate(change.ops, change.start_op)
        if op.action is Action.MAKE_MAP
    }
    for change in new[kept:]:
        edits = list(_edits(change, ledger.engine, made))
        gone += None in edits
        with ledger.write() as transaction:
            transaction.commit([edit for edit in edits if edit is not None])
    if gone > 0:
        many = f"{gone:,} changes of this device that were" if gone > 1 else "One change of this device that was"
        return len(new), [f"{many} sent nowhere, or not completely readable."]
    if "actors" in found.lost:
        return len(new), ["Changes of this device that were sent nowhere may be missing: their number is lost as well."]
    return len(new), []


def _remade(new: list[Change], ledger: Ledger) -> int:
    """Make these changes again under the new incarnation, one for one: they stay concurrent with what was concurrent,
    so that what others wrote meanwhile is a conflict and not overwritten. How many, from the first on; one whose past
    is not whole ends it, and is recorded as an edit of now."""
    names: dict[bytes, bytes] = {}
    actors: dict[OpId, bytes] = {}
    own = ledger.actor
    for number, change in enumerate(new):
        deps = {names.get(dep, dep) for dep in change.deps}
        deps |= {names[new[number - 1].hash]} if number else set()
        if not all(map(ledger.engine.has, deps)):
            return number
        actors |= {(change.start_op + at, change.actor): own for at in range(len(change.ops))}
        ops = [
            op._replace(
                obj=None if op.obj is None else (op.obj[0], actors.get(op.obj, op.obj[1])),
                preds=tuple((pred[0], actors.get(pred, pred[1])) for pred in op.preds),
            )
            for op in change.ops
        ]
        chunk = encode(own, number + 1, change.start_op, sorted(deps), ops)
        try:
            with ledger.write() as transaction:
                (made,) = transaction.record_anew([chunk]).changes
        except (Refused, MissingDependencies):
            return number
        names[change.hash] = made.hash
    return len(new)


def _edits(change: Change, engine: Engine, made: dict[OpId, str]) -> Iterator[Edit | None]:
    """What a change did, as edits; ``None`` for an operation on an entry that nobody knows any more."""
    flat = {obj: section for section, obj in SECTION_OBJECTS.items() if section != ENTRIES}
    for counter, op in enumerate(change.ops, change.start_op):
        if op.action is Action.MAKE_MAP:
            made[counter, change.actor] = op.key
            continue
        value = DELETED if op.action is Action.DELETE else op.value
        if op.obj in flat:
            yield Edit(flat[op.obj], "", op.key, value)
            continue
        known = None if op.obj is None or op.obj in made else engine.place(op.obj)
        entry = made.get(op.obj, known.entry if known else "") if op.obj is not None else ""
        yield Edit(ENTRIES, entry, op.key, value) if entry else None


class _Both:
    """A remote together with what the damaged file still holds; only read from."""

    def __init__(self, remote: Remote | None, held: Iterable[Stored]) -> None:
        self._remote = remote
        self._held = {one.name: one.data for one in held if one.kind in (Kind.CHANGES, Kind.CHECKPOINT)}

    def list(self, prefix: str) -> list[str]:
        there = [] if self._remote is None else self._remote.list(prefix)
        return sorted({*there, *(name for name in self._held if name.startswith(prefix))})

    def get(self, name: str) -> bytes:
        held = self._held.get(name)
        if held is None and self._remote is not None:
            return self._remote.get(name)
        if held is None:
            raise ObjectMissing(f"no object {name}")
        return held

    def put(self, name: str, data: bytes) -> None:
        raise RemoteRefused("nothing is sent while a file is healed")

    def delete(self, name: str) -> None:
        raise RemoteRefused("nothing is deleted while a file is healed")

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        return False

    def close(self) -> None:
        """The remote belongs to whoever opened it."""


# ---- changing places ------------------------------------------------------------------------------------------------
def _exchange_files(place: Path, fresh: Path) -> Path:
    """The damaged file and what belongs to it get out of the way, the new one takes its name."""
    number = 1
    aside = place.with_name(f"{place.name}.damaged")
    while os.path.lexists(aside):
        number += 1
        aside = place.with_name(f"{place.name}.damaged-{number}")
    for helper in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(place.with_name(place.name + helper), aside.with_name(aside.name + helper))
    os.replace(place, aside)
    os.replace(fresh, place)
    return aside

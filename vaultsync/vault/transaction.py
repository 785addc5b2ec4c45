"""One write: changes of the document and rows beside it that are stored together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from vaultsync.crypto.rows import LocalKey
from vaultsync.document.changes import Change
from vaultsync.document.engine import Applied, Edit, Edits, Engine
from vaultsync.document.layout import ENTRIES
from vaultsync.errors import EngineFailure
from vaultsync.schema.cells import Raw
from vaultsync.store import NewRow, Origin, Writing
from vaultsync.vault.recording import GroupMark, OwnChange, record, runs, together
from vaultsync.vault.touches import Touches

__all__ = ["INCARNATION", "JOURNAL", "STATE", "Notes", "Transaction"]

# What a row is sealed for: the names of the tables as far as the seals are concerned.
JOURNAL = "journal"
STATE = "state"

INCARNATION = "incarnation"
"""State: the actor under which this device writes now (16 bytes). Any process of the device may begin another."""


class Keeper(Protocol):
    """What a transaction asks of the ledger."""

    key: LocalKey
    actor: bytes
    entropy: Callable[[int], bytes]

    def unseal_state(self, name: str, sealed: bytes | None) -> bytes | None: ...

    def unsealed(self, name: str, sealed: bytes | None) -> bytes | None: ...

    def know(self, name: str, sealed: bytes, value: bytes) -> None: ...

    def adopt(self, engine: Engine) -> None: ...

    def fold(self, writing: Writing, engine: Engine) -> bool: ...


class Notes:
    """One durable unit of rows beside the document."""

    def __init__(self, ledger: Keeper, writing: Writing) -> None:
        self._ledger = ledger
        self.store = writing

    def set_state(self, name: str, value: bytes | None) -> None:
        """Store a value under a name, sealed (``None`` removes it)."""
        self.store.set_state(name, None if value is None else self._ledger.key.seal(STATE, name, value))

    def state(self, name: str) -> bytes | None:
        return self._ledger.unseal_state(name, self.store.state(name))

    def noted(self, name: str) -> bytes | None:
        """The same of what is looked at again and again and holds no secret: see `Ledger.noted`."""
        return self._ledger.unsealed(name, self.store.state(name))

    def note(self, name: str, value: bytes) -> None:
        """Store such a value, unless that is what is stored."""
        if self.noted(name) != value:
            sealed = self._ledger.key.seal(STATE, name, value)
            self.store.set_state(name, sealed)
            self._ledger.know(name, sealed, value)


class Transaction(Notes):
    """One durable unit: changes of the document and rows of the store that commit together or not at all."""

    def __init__(self, ledger: Keeper, writing: Writing, engine: Engine, *, quiet: bool = False) -> None:
        """``quiet``: nobody wrote since the ledger's lock was taken, so that what was read under it still stands."""
        super().__init__(ledger, writing)
        self.quiet = quiet
        self.engine = engine
        self.made: dict[str, Raw] = {}
        """Entries that this transaction made, as they are: whoever knows them spares reading them again."""
        self.actor = ledger.actor
        self.touches = Touches()
        self.changes: list[Change] = []
        self.own: list[OwnChange] = []
        """Those of them that are this device's."""
        self.replaced = False

    def commit(self, edits: Sequence[Edit | Edits]) -> list[Change]:
        """Write edits as changes of this device's incarnation; none when every value is already there."""
        changes = self.engine.commit(self.actor, edits)
        if changes:
            self._record(changes, Origin.OWN, self._ledger.entropy(16) if len(changes) > 1 else None)
            for edit in edits:
                if edit.section == ENTRIES:
                    self.touches.entries.add(edit.entry)
                else:
                    self.touches.flat = True
        return changes

    def apply(self, chunks: Sequence[bytes | Change], *, actor: bytes | None = None) -> Applied:
        """Gate and apply changes from outside, all or none. Raises `Refused` and `MissingDependencies`."""
        applied = self.engine.apply(chunks, actor=actor)
        self._record(applied.changes, Origin.FOREIGN)
        self.touches.add(applied.touched)
        return applied

    def record_anew(self, chunks: Sequence[bytes]) -> Applied:
        """Changes that this device made before and nobody has, remade under its present actor, with what they depend
        on as it was. All or none; raises as `apply`."""
        applied = self.engine.apply(chunks, actor=self.actor)
        self._record(applied.changes, Origin.OWN)
        self.touches.add(applied.touched)
        return applied

    def begin_incarnation(self, actor: bytes) -> None:
        """From here on this device writes under another actor."""
        self.set_state(INCARNATION, actor)
        self.actor = actor

    def replace(self, engine: Engine, written: Sequence[Change] = ()) -> None:
        """Go on with another document than the journal's: a snapshot of it takes the journal's place. ``written``:
        changes in it that this device made just now. Raises `EngineFailure`."""
        self.replaced = True
        self.engine = engine
        self._ledger.adopt(engine)
        # A row of no meaning, gone with the next statement: others see by its number that they have to load anew.
        self.store.append(self._ledger.entropy(16), 1, self._ledger.entropy(32), b"", Origin.FOREIGN)
        if not self._ledger.fold(self.store, engine):
            raise EngineFailure("the document with its branches put right cannot be stored")
        self._record(written, Origin.OWN)
        self.touches.everything = True

    def _record(self, changes: Sequence[Change], origin: Origin, group: bytes | None = None) -> None:
        self.changes += changes  # before any of them is stored: the document has moved on, whatever the disk says
        rows: list[NewRow] = []
        if origin is Origin.FOREIGN:
            for run in runs(changes):
                self._add_row(rows, run[-1], record(run[-1].chunk) if len(run) == 1 else together(run), len(run))
        else:
            for index, change in enumerate(changes):
                mark = None if group is None else GroupMark(group, index, len(changes))
                self.own.append(OwnChange(change, mark))
                self._add_row(rows, change, record(change.chunk, mark))
        if rows:
            self.store.append_all(rows, origin)

    def _add_row(self, rows: list[NewRow], last: Change, data: bytes, holds: int = 1) -> None:
        sealed = self._ledger.key.seal(JOURNAL, last.hash, data)
        rows.append(NewRow(last.actor, last.seq, last.hash, sealed, holds))

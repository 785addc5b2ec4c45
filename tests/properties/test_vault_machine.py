"""One vault through its public API against plain dicts: any order of edits, batches, reopening at any version, by two
objects on one file, which is what two processes of a device are.

    VAULTSYNC_EXAMPLES=2000 pytest tests/properties/test_vault_machine.py      a long run
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vaultsync.errors import EntryNotFound, NotEditable, RetiredField, UnknownField, UnknownType
from vaultsync.presets.passwords import passwords
from vaultsync.schema.kind import Kind
from vaultsync.schema.types import Schema
from vaultsync.testing import Clock, checks, environment, strategies
from vaultsync.testing.invention import plain_types
from vaultsync.testing.vaults import KEY, scratch_folder
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Status

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "20"))


class GivenUp(Exception):
    """Raised inside a batch."""


@dataclass
class Row:
    """One entry as the model knows it: what every version together would show."""

    type: str
    values: dict[str, Any] = field(default_factory=dict)
    trashed: bool = False


def normal(kind: Kind, value: Any) -> Any:
    """The value as it reads after writing; None when nothing is set."""
    if value is None:
        return None
    cells = kind.write("f", {}, value, seen=None, new_id=strategies.counting_ids())
    return kind.read("f", {key: cell for key, cell in cells.items() if isinstance(cell, (str, int, float, bool))})


def status(row: Row, schema: Schema) -> Status:
    """By the order of the design, from declarations alone."""
    if row.trashed:
        return Status.TRASHED
    kind = schema.types[row.type]
    unknown = [one for name in row.values if (one := kind.field(name)) is not None and not schema.here(one)]
    if not schema.here(kind) or any(one.critical == "read" for one in unknown):
        return Status.HIDDEN
    if schema.retired(kind):
        return Status.ARCHIVED
    return Status.FLAGGED if unknown else Status.COMPLETE


def editable(row: Row, schema: Schema) -> bool:
    kind = schema.types[row.type]
    unknown = [one for name in row.values if (one := kind.field(name)) is not None and not schema.here(one)]
    return status(row, schema) in (Status.COMPLETE, Status.FLAGGED) and not any(one.critical for one in unknown)


class VaultMachine(RuleBasedStateMachine):
    """``vaults``: two objects on one file, each at a version and platform of its own."""

    timelines: st.SearchStrategy[Schema] = strategies.schemas()
    platforms = strategies.PLATFORMS

    def __init__(self) -> None:
        super().__init__()
        self.folder = scratch_folder()
        self.path = self.folder / "machine.vault"
        self.clock = Clock()
        self.opened = 0
        self.vaults: list[Vault] = []
        self.model: dict[str, Row] = {}

    @initialize(data=st.data())
    def found(self, data: st.DataObject) -> None:
        self.schema = data.draw(self.timelines)
        world = environment("founder", clock=self.clock)
        Vault.create(self.path, schema=self.schema, key=KEY, environment=world).close()
        self.vaults = [self._open(self._place(data)) for _ in range(2)]

    def _place(self, data: st.DataObject) -> Schema:
        return data.draw(strategies.places(self.schema, self.platforms))

    def _open(self, schema: Schema) -> Vault:
        self.opened += 1
        world = environment(f"process {self.opened}", clock=self.clock)
        return Vault.open(self.path, schema=schema, key=KEY, environment=world)

    def teardown(self) -> None:
        for vault in self.vaults:
            vault.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- edits ------------------------------------------------------------------------------------------------
    def _someone(self, data: st.DataObject) -> Vault:
        return self.vaults[data.draw(st.integers(0, 1), label="process")]

    def _an_entry(self, data: st.DataObject) -> str | None:
        return data.draw(st.sampled_from(sorted(self.model)), label="entry") if self.model else None

    def _add(self, data: st.DataObject, vault: Vault) -> None:
        schema = vault.schema
        name = data.draw(st.sampled_from(plain_types(schema)), label="type")
        if schema.active(name) is None:
            with pytest.raises(UnknownType):
                vault.add(name, title="x")
            return
        values = data.draw(strategies.values_of(schema, name))
        entry = vault.add(name, **values)
        assert entry.id not in self.model
        row = self.model[entry.id] = Row(name)
        self._written(row, values)

    def _written(self, row: Row, values: dict[str, Any]) -> None:
        kinds = {one.name: one.kind for one in self.schema.types[row.type].fields}
        for name, value in values.items():
            read = normal(kinds[name], value)
            row.values.pop(name, None)
            if read is not None:
                row.values[name] = read

    def _update(self, data: st.DataObject, vault: Vault) -> None:
        if (entry_id := self._an_entry(data)) is None:
            with pytest.raises(EntryNotFound):
                vault.update("01ARZ3NDEKTSV4RRFFQ69G5FAV", title="x")
            return
        row, schema = self.model[entry_id], vault.schema
        declared = schema.types[row.type].fields
        chosen = data.draw(st.lists(st.sampled_from(declared), unique=True, min_size=1, max_size=3), label="fields")
        values = {one.name: data.draw(st.none() | strategies.values_for(one.kind)) for one in chosen}
        given = vault.view()[entry_id] if data.draw(st.booleans(), label="as seen") else entry_id
        if not editable(row, schema):
            with pytest.raises(NotEditable):
                vault.update(given, **values)
        elif any(not schema.here(one) or schema.retired(one) for one in chosen):
            with pytest.raises((UnknownField, RetiredField)):
                vault.update(given, **values)
        else:
            vault.update(given, **values)
            self._written(row, values)

    def _delete(self, data: st.DataObject, vault: Vault) -> None:
        if (entry_id := self._an_entry(data)) is not None:
            vault.delete(entry_id)
            self.model[entry_id].trashed = True

    def _restore(self, data: st.DataObject, vault: Vault) -> None:
        if (entry_id := self._an_entry(data)) is not None:
            vault.restore(entry_id)
            self.model[entry_id].trashed = False

    def _purge(self, data: st.DataObject, vault: Vault) -> None:
        if (entry_id := self._an_entry(data)) is not None:
            vault.purge(entry_id)
            self.model[entry_id].trashed, self.model[entry_id].values = True, {}

    def _any_edit(self, data: st.DataObject, vault: Vault) -> None:
        edits: list[Callable[[st.DataObject, Vault], None]] = [
            self._add, self._update, self._update, self._delete, self._restore, self._purge,
        ]  # fmt: skip
        data.draw(st.sampled_from(edits), label="edit")(data, vault)

    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        self._add(data, self._someone(data))

    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        self._any_edit(data, self._someone(data))

    @rule(data=st.data(), given_up=st.booleans(), nested=st.booleans())
    def batch(self, data: st.DataObject, given_up: bool, nested: bool) -> None:
        vault, before = self._someone(data), copy.deepcopy(self.model)
        try:
            with vault.batch():
                for _ in range(data.draw(st.integers(0, 4), label="edits")):
                    self._any_edit(data, vault)
                self._check(vault)
                if nested:
                    with vault.batch():
                        self._any_edit(data, vault)
                if given_up:
                    raise GivenUp
        except GivenUp:
            self.model = before

    # ---- the file ---------------------------------------------------------------------------------------------
    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        """One object closes and opens again, at any version and platform."""
        index = data.draw(st.integers(0, 1), label="process")
        self.vaults[index].close()
        self.vaults[index] = self._open(self._place(data))

    @rule(data=st.data())
    def snapshot(self, data: st.DataObject) -> None:
        vault = self._someone(data)
        vault.view()
        vault._ledger.snapshot(at_least=1)

    @rule(by=st.sampled_from([-(10**12), -1000, 10**9, 10**12]))
    def set_the_clock(self, by: int) -> None:
        self.clock.advance(by)

    @precondition(lambda self: bool(self.model))
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        vault, entry_id = self._someone(data), data.draw(st.sampled_from(sorted(self.model)))
        assert vault.history(entry_id)[0].event == "added"

    # ---- what must hold ---------------------------------------------------------------------------------------
    @invariant()
    def both_show_the_model(self) -> None:
        for vault in self.vaults:
            self._check(vault)
            checks.check_incremental(vault)
        if self.vaults:
            one, two = self.vaults
            assert one._ledger.engine.heads == two._ledger.engine.heads
            assert len(one._ledger.engine.heads) == 1, "one device never disagrees with itself"

    def _check(self, vault: Vault) -> None:
        view, schema = vault.view(), vault.schema
        lists = [*view.entries, *view.hidden, *view.archived, *view.trash]
        assert sorted(entry.id for entry in lists) == sorted(self.model)
        for entry_id, row in self.model.items():
            entry = view[entry_id]
            wanted = status(row, schema)
            assert entry.status is wanted, (entry_id, row)
            assert not entry.conflicts
            if wanted in (Status.COMPLETE, Status.FLAGGED, Status.ARCHIVED):
                here = {one.name for one in schema.fields_here(row.type)}
                shown = {**entry.fields, **entry.retired}
                assert shown == {name: value for name, value in row.values.items() if name in here}
            assert bool(entry.writable) == (editable(row, schema) and _some_field(row, schema))


def _some_field(row: Row, schema: Schema) -> bool:
    return any(not schema.retired(one) for one in schema.fields_here(row.type))


class PasswordsMachine(VaultMachine):
    """The same over the preset for passwords."""

    timelines = st.just(passwords(4, "linux"))
    platforms = ("linux", "ios")


TestVault = VaultMachine.TestCase
TestPasswords = PasswordsMachine.TestCase
for _case in (TestVault, TestPasswords):
    _case.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        database=None,
    )
del _case

"""What an edit, a merge, a view, a sync and an opening cost is counted, and does not depend on how much there is."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vaultsync.document.engine import Edit
from vaultsync.schema.kinds import secret, tags, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.store import Connection, connect
from vaultsync.testing import MemoryRemote, environment
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.vault import Vault
from vaultsync.view import entry as entry_module
from vaultsync.view.forms import Forms

LOGIN = EntryType("login", fields=[Field("title", text), Field("password", secret), Field("labels", tags)])
SCHEMA = Schema("costs", version=1, platform="linux", types=[LOGIN])
SIZES = (2_000, int(os.environ.get("VAULTSYNC_ENTRIES", "20000")))
"""The smaller one has more pages than are fetched at once by whoever goes through them in order."""


class Meter:
    """Counts statements by their first word, evaluations, and rows of the shelf."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def connect(self, path: Path) -> Connection:
        return _Counted(self, connect(path))


class _Counted:
    def __init__(self, meter: Meter, real: Connection) -> None:
        self._meter, self._real = meter, real

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        self._meter.seen[sql.split()[0]] += 1
        self._meter.seen["bytes bound"] += sum(len(each) for each in parameters if isinstance(each, bytes)) // 2_000
        return self._real.execute(sql, parameters)

    def close(self) -> None:
        self._real.close()

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction


def filled(path: Path, count: int, remote: MemoryRemote) -> Vault:
    """A closed vault of ``count`` entries, and another device of it, in sync."""
    vault = Vault.create(path, schema=SCHEMA, key=KEY, password=PASSWORD, environment=environment(f"filled {count}"))
    vault.auto_sync = False
    vault.connect("memory://", remote=remote)
    vault.sync()
    phone = Vault.join(
        path.with_name(f"phone {count}.vault"), "memory://", schema=SCHEMA, password=PASSWORD, key=KEY,
        code=vault.recovery_code or "", environment=environment("phone"), opener=lambda url: remote, background=False,
    )  # fmt: skip
    rng = random.Random(count)
    actor = vault._ledger.actor.hex()
    with vault._ledger.write() as transaction:
        edits = []
        for number in range(count):
            entry_id = f"01{number:024d}"
            cells = {
                "$type": "login",
                "$created": number,
                "$schema/login/1": True,
                f"$edited/{actor}": number,
                "title": f"title {rng.random()}",
                "password": f"{rng.random()}",
                "labels/x": True,
            }
            edits += [Edit("entries", entry_id, key, value) for key, value in cells.items()]
        transaction.commit(edits)
    vault.sync()
    phone.sync()
    phone.view()
    vault.sync()
    vault.view()
    vault._ledger.snapshot(at_least=1)
    vault.close()
    return phone


def measured(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    remote = MemoryRemote()
    path = folder / f"{count}.vault"
    phone = filled(path, count, remote)
    meter = Meter()
    judge = entry_module.judge

    def judging(raw: Any, schema: Schema) -> Any:
        meter.seen["judge"] += 1
        return judge(raw, schema)

    judge_form = Forms.judge

    def judging_form(forms: Forms, raw: Any) -> Any:
        meter.seen["judge"] += 1
        return judge_form(forms, raw)

    monkeypatch.setattr(entry_module, "judge", judging)
    monkeypatch.setattr(Forms, "judge", judging_form)
    world = replace(environment("measured"), connect=meter.connect)
    costs: dict[str, Counter[str]] = {}

    def took(name: str, vault: Vault) -> None:
        table = vault.view()._state.table
        assert table is not None
        counts = vault._ledger.shelf.counts
        meter.seen |= Counter({"pages": table.pages.decoded, "read": counts.rows_read, "written": counts.rows_written})
        costs[name] = meter.seen - base
        base.update(meter.seen - base)

    base: Counter[str] = Counter()
    vault = Vault.open(path, schema=SCHEMA, key=KEY, environment=world, background=False, opener=lambda url: remote)
    view = vault.view()
    assert len(view) == count
    took("open", vault)
    chosen = view.entries[count // 2]
    assert chosen["title"]
    took("look", vault)
    assert not vault._ledger.prepared
    vault.update(chosen, title="loads the document")
    took("first", vault)
    vault.update(view.entries[7], title="edited")
    took("edit", vault)
    vault.add("login", title="added")
    took("add", vault)
    with vault.batch():
        for entry in view.entries[100:110]:
            vault.update(entry, title="of a batch")
    took("batch", vault)
    vault.sync()
    took("sync", vault)
    there = phone.view().entries
    for entry in there[200:210]:
        phone.update(entry, title="from the phone")
    phone.sync()
    vault.sync()
    assert vault.view()[there[205].id].title == "from the phone"
    took("merge", vault)
    vault.close()
    phone.close()
    return costs


def test_costs_do_not_depend_on_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (measured(tmp_path, size, monkeypatch) for size in SIZES)
    for name in small:
        if name in ("open", "first"):
            for what in ("judge", "pages", "read", "written"):
                assert small[name][what] == large[name][what], (name, what)
        else:
            assert small[name] == large[name], name
    assert small["open"]["judge"] == small["open"]["pages"] == 0
    assert small["edit"]["written"] == 1
    assert small["edit"]["judge"] <= 3
    assert small["batch"]["judge"] <= 30

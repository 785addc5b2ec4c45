"""What opening refuses, and in which words: damage, newer formats, other applications' vaults."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from vaultsync.document.engine import Edit
from vaultsync.errors import (
    DamagedStore,
    SchemaError,
    StoreError,
    UpdateRequired,
    VaultClosed,
    VaultNotFound,
)
from vaultsync.schema.kinds import secret, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import MemoryRemote, MemoryVault, environment, memory_vault
from vaultsync.testing.vaults import KEY
from vaultsync.vault.vault import Vault

FIELDS = [Field("title", text), Field("password", secret)]
SCHEMA = Schema("notes", version=1, platform="linux", types=[EntryType("note", fields=FIELDS)])
OTHER = Schema("other", version=1, platform="linux", types=[EntryType("note", fields=FIELDS)])


def make(path: Path, entries: int = 20, *, snapshot: bool = False) -> dict[str, str]:
    with Vault.create(path, schema=SCHEMA, key=KEY, environment=environment("made")) as vault:
        made = {vault.add("note", title=f"entry {n}", password="p" * 200).id: f"entry {n}" for n in range(entries)}
        if snapshot:
            assert vault._ledger.snapshot(at_least=1)
        made[vault.add("note", title="last").id] = "last"
    return made


def open_again(path: Path, schema: Schema = SCHEMA) -> Vault:
    return Vault.open(path, schema=schema, key=KEY, environment=environment("again"), background=False)


def write_format(vault: Vault, text: str) -> None:
    """As a future version would."""
    with vault._ledger.write() as transaction:
        transaction.commit([Edit("settings", "", "$format", text)])


# ---- whose vault ------------------------------------------------------------------------------------------------
def test_another_applications_vault(tmp_path: Path) -> None:
    make(tmp_path / "v")
    before = (tmp_path / "v").read_bytes()
    with pytest.raises(SchemaError, match="belongs to the schema 'notes', not to 'other'"):
        open_again(tmp_path / "v", OTHER)
    assert (tmp_path / "v").read_bytes() == before
    open_again(tmp_path / "v").close()


# ---- formats ----------------------------------------------------------------------------------------------------
def test_a_newer_reader_is_required(tmp_path: Path) -> None:
    make(tmp_path / "v")
    with open_again(tmp_path / "v") as vault:
        write_format(vault, "2.2")
    with pytest.raises(UpdateRequired, match="Update"):
        open_again(tmp_path / "v")


def test_a_newer_writer_is_required_and_everything_can_be_read(tmp_path: Path) -> None:
    made = make(tmp_path / "v")
    with open_again(tmp_path / "v") as vault:
        write_format(vault, "1.2")
    with open_again(tmp_path / "v", SCHEMA.at(1, "ios")) as vault:
        assert {entry.id: entry["title"] for entry in vault.view()} == made
        heads = vault._ledger.engine.heads
        entry = vault.view().entries[0]
        for edit in (
            lambda: vault.add("note", title="x"),
            lambda: vault.update(entry, title="x"),
            lambda: vault.delete(entry),
            lambda: vault.restore(entry),
            lambda: vault.purge(entry),
            lambda: vault.resolve(entry, "title", "x"),
        ):
            with pytest.raises(UpdateRequired):
                edit()
            with pytest.raises(UpdateRequired), vault.batch():
                edit()
        assert vault._ledger.engine.heads == heads, "not even the census is written"


@pytest.mark.parametrize("newer", ["1.2", "2.2", "9", "a.b"])
def test_a_newer_format_that_arrives_while_the_vault_is_open(newer: str) -> None:
    """Another device was updated: from then on this one must not write."""
    laptop = memory_vault(SCHEMA, remote=MemoryRemote())
    phone = memory_vault(SCHEMA, joins=laptop)
    entry = phone.add("note", title="x")
    write_format(laptop, newer)
    laptop.sync()
    phone.sync()
    with pytest.raises(UpdateRequired):
        phone.update(entry, title="y")
    with pytest.raises(UpdateRequired), phone.batch():
        phone.add("note", title="z")
    assert phone.view()[entry.id]["title"] == "x"
    phone.close()
    laptop.close()


def test_the_next_format_written_by_another_process_of_this_device(tmp_path: Path) -> None:
    make(tmp_path / "v")
    with open_again(tmp_path / "v") as one, open_again(tmp_path / "v") as two:
        write_format(one, "1.2")
        with pytest.raises(UpdateRequired):
            two.add("note", title="x")


# ---- damage -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("snapshot", [False, True], ids=["journal", "snapshot"])
def test_damage_anywhere_is_told_and_never_shown_as_data(tmp_path: Path, snapshot: bool) -> None:
    """A page is overwritten, for many pages: the vault opens with everything in it, or says what is lost and whole."""
    path = tmp_path / "v"
    made = make(path, 40, snapshot=snapshot)
    whole = path.read_bytes()
    rng = random.Random(7)
    told: list[StoreError] = []
    unhurt = 0
    for page in sorted(rng.sample(range(len(whole) // 4096), min(24, len(whole) // 4096))):
        damaged = bytearray(whole)
        at = page * 4096 + rng.randrange(100, 3900)
        damaged[at : at + 64] = rng.randbytes(64)
        path.write_bytes(damaged)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        try:
            with open_again(path) as vault:
                assert {entry.id: entry["title"] for entry in vault.view()} == made
                vault.add("note", title="still writable")
                unhurt += 1
        except StoreError as error:
            told.append(error)
    print(f"{len(told)} damages told, {unhurt} hit nothing that was needed")
    assert told
    for damage in told:
        assert isinstance(damage, DamagedStore), f"{damage!r}"
        assert damage.lost, "it says what is lost"
        assert damage.whole, "and what is whole"


@pytest.mark.parametrize("part", [0.9, 0.5, 0.1])
@pytest.mark.parametrize("unit", [4096, 1])
def test_a_file_that_is_cut_off(tmp_path: Path, part: float, unit: int) -> None:
    path = tmp_path / "v"
    make(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part) // unit * unit | (unit == 1)])
    with pytest.raises(DamagedStore) as caught:
        open_again(path)
    assert caught.value.lost


@pytest.mark.parametrize("contents", [b"", b"a letter to my bank" * 500])
def test_a_file_that_is_no_vault(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "v").write_bytes(contents)
    with pytest.raises(VaultNotFound, match="is not a vault"):
        open_again(tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == contents


def test_check_lists_what_is_lost(tmp_path: Path) -> None:
    """The journal row of one change is damaged under a vault that is open: check says so and goes on."""
    path = tmp_path / "v"
    make(path)
    vault = open_again(path)
    assert vault.check().ok
    other = sqlite3.connect(path)
    assert other.execute("UPDATE journal SET sealed = zeroblob(length(sealed)) WHERE seq = 5").rowcount == 1
    other.commit()
    other.close()
    health = vault.check()
    assert not health.ok
    assert health.lost
    vault.close()


# ---- closed -----------------------------------------------------------------------------------------------------
def test_a_closed_vault_says_so() -> None:
    vault: MemoryVault = memory_vault(SCHEMA)
    entry = vault.add("note", title="x")
    view = vault.view()
    vault.close()
    vault.close()
    assert view[entry.id]["title"] == "x", "a view outlives its vault"
    for use in (
        vault.view,
        lambda: vault.add("note", title="y"),
        lambda: vault.update(entry, title="y"),
        lambda: vault.delete(entry),
        lambda: vault.history(entry.id),
        vault.sync,
        lambda: vault.status,
        vault.batch,
        lambda: vault.connect("memory://", remote=MemoryRemote()),
    ):
        with pytest.raises(VaultClosed):
            use()


def test_entropy_that_repeats_itself_does_not_lose_entries(tmp_path: Path) -> None:
    """A virtual machine that was copied draws the same bytes twice: ids are not created twice in one vault."""
    with Vault.create(tmp_path / "v", schema=SCHEMA, key=KEY, environment=environment("same")) as vault:
        first = vault.add("note", title="first")
    with Vault.open(tmp_path / "v", schema=SCHEMA, key=KEY, environment=environment("same")) as vault:
        second = vault.add("note", title="second")
        assert second.id != first.id
        assert sorted(str(entry["title"]) for entry in vault.view()) == ["first", "second"]

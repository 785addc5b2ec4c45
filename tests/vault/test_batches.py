"""Batches: one atomic, durable change, however large, on the device that wrote it and on those that receive it."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from vaultsync.errors import EntryNotFound, QuotaExceeded, RemoteUnavailable, WrongKind
from vaultsync.schema.kinds import note, tags, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import MemoryRemote, environment, memory_vault
from vaultsync.testing.vaults import KEY
from vaultsync.vault.desk import Quota
from vaultsync.vault.vault import Vault

FIELDS = [Field("title", text), Field("body", note), Field("labels", tags)]
SCHEMA = Schema("notes", version=1, platform="linux", types=[EntryType("note", fields=FIELDS)])


class Broken(Exception):
    """Raised in the middle of a batch."""


def test_a_batch_sees_its_own_writes_and_is_undone_as_a_whole() -> None:
    with memory_vault(SCHEMA) as vault:
        kept = vault.add("note", title="kept", labels={"a"})
        heads, view = vault._ledger.engine.heads, vault.view()
        with pytest.raises(Broken), vault.batch():  # noqa: PT012 - the block is what is tested
            made = vault.add("note", title="new")
            vault.update(made, title="newer", labels={"x"})
            vault.update(kept, title="changed")
            vault.delete(kept.id)
            assert vault.view()[made.id]["title"] == "newer"
            assert [entry.id for entry in vault.view().trash] == [kept.id]
            with vault.batch():
                vault.restore(kept)
                assert vault.view()[kept.id]["title"] == "changed"
            raise Broken
        assert vault._ledger.engine.heads == heads
        assert vault.view().entries == view.entries
        assert made.id not in vault.view()


def test_an_edit_that_is_refused_in_a_batch_takes_nothing_else_with_it() -> None:
    with memory_vault(SCHEMA) as vault:
        with vault.batch():
            one = vault.add("note", title="one")
            with pytest.raises(WrongKind):
                vault.update(one, title=5)
            with pytest.raises(EntryNotFound):
                vault.update("01ARZ3NDEKTSV4RRFFQ69G5FAV", title="x")
            vault.update(one, title="two")
        assert [entry["title"] for entry in vault.view()] == ["two"]


def test_other_threads_see_nothing_of_an_open_batch() -> None:
    with memory_vault(SCHEMA) as vault:
        seen: list[int] = []

        def look() -> None:
            seen.append(len(vault.view()))
            vault.add("note", title="from the other thread")

        with vault.batch():
            vault.add("note", title="in the batch")
            thread = threading.Thread(target=look)
            thread.start()
            thread.join(20)
            assert not thread.is_alive(), "a batch holds no lock"
        assert seen == [0]
        assert len(vault.view()) == 2


def test_a_batch_on_what_another_process_changed_meanwhile(tmp_path: Path) -> None:
    """The batch's own fields win, the other's stay; a delete that did not see the other's edit does not cover it."""
    path = tmp_path / "v"
    Vault.create(path, schema=SCHEMA, key=KEY, environment=environment(1)).close()
    one = Vault.open(path, schema=SCHEMA, key=KEY, environment=environment(2))
    two = Vault.open(path, schema=SCHEMA, key=KEY, environment=environment(3))
    entry, other = one.add("note", title="x", labels={"a"}), one.add("note", title="y")
    with one.batch():
        one.update(entry, labels={"a", "b"})
        one.delete(other)
        two.update(entry.id, title="meanwhile", labels={"a", "c"})
        two.update(other.id, title="meanwhile")
    for vault in (one, two):
        assert vault.view()[entry.id]["title"] == "meanwhile"
        assert vault.view()[entry.id]["labels"] == {"a", "b", "c"}
        assert [e.id for e in vault.view().trash] == []
    one.close()
    two.close()


@pytest.fixture(scope="module")
def large() -> MemoryRemote:
    """A remote with one batch of more than 20,000 operations on it, and what it consists of."""
    remote = MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=remote, seed="large laptop")
    remote.code = laptop.recovery_code  # type: ignore[attr-defined]
    phone = memory_vault(SCHEMA, joins=laptop, seed="large phone")
    filler = "\n".join(f"line {n} " + "ü" * 300 for n in range(30))
    with laptop.batch():
        ids = [laptop.add("note", title=f"{n}", body=filler, labels={"batch"}).id for n in range(700)]
    chunks = laptop._ledger.engine.own_changes(laptop._ledger.actor, 0)
    assert len(chunks) > 3, "one batch became several changes"
    laptop.sync()
    remote.laptop, remote.phone, remote.ids = laptop, phone, ids  # type: ignore[attr-defined]
    yield remote  # type: ignore[misc]
    phone.close()
    laptop.close()


def test_a_large_batch_is_several_changes_and_several_envelopes(large: MemoryRemote) -> None:
    laptop = large.laptop  # type: ignore[attr-defined]
    with laptop._ledger.store.read() as reading:
        own = [envelope for envelope in reading.envelopes(laptop._ledger.actor) if envelope.own]
    print(f"{len(own)} envelopes of {[len(envelope.data) for envelope in own]} bytes")
    assert len(own) >= 3


def test_a_large_batch_is_applied_as_a_whole_or_not_at_all(large: MemoryRemote, tmp_path: Path) -> None:
    """Its envelopes arrive in any order and one by one: nothing of it is seen before all are there."""
    laptop, ids = large.laptop, large.ids  # type: ignore[attr-defined]
    whole = dict(large.objects)
    names = sorted(name for name in whole if f"/env/{laptop._ledger.actor.hex()}" in name)
    group = names[-3:]
    rng = random.Random(5)
    arriving = MemoryRemote()
    arriving.objects = {name: data for name, data in whole.items() if name not in group}
    late = Vault.join(
        tmp_path / "late.vault", "memory://",
        schema=SCHEMA, password="correct horse battery staple", code=laptop.recovery_code,
        key=KEY, environment=environment("late"), opener=lambda url: arriving, background=False,
    )  # fmt: skip
    assert len(late.view()) == 0
    rng.shuffle(group)
    for count, name in enumerate(group):
        assert len(late.view()) == 0, f"{count} of {len(group)} envelopes show something already"
        assert late.status.waiting or not count
        cut = whole[name]
        arriving.objects[name] = cut[: len(cut) // 2]  # half written first
        late.sync()
        assert len(late.view()) == 0
        arriving.objects[name] = cut
        late.sync()
    assert {entry.id for entry in late.view()} == set(ids)
    assert (late.status.quarantined, late.status.waiting) == (0, ())
    assert late.check().ok
    late.close()


def test_a_pull_that_is_cut_off_in_a_large_batch_shows_nothing_of_it(large: MemoryRemote) -> None:
    phone, ids = large.phone, large.ids  # type: ignore[attr-defined]
    real, calls = large.get, 0

    def failing(name: str) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RemoteUnavailable("cut off")
        return real(name)

    large.get = failing  # type: ignore[method-assign]
    with pytest.raises(RemoteUnavailable):
        phone.sync()
    assert len(phone.view()) == 0
    phone.sync()
    assert {entry.id for entry in phone.view()} == set(ids)


# ---- quota ------------------------------------------------------------------------------------------------------
def test_the_quota_counts_in_batches_too() -> None:
    with memory_vault(SCHEMA) as vault:
        assert vault.quota.max_entries is None
        vault.quota = Quota(max_entries=3)
        vault.add("note", title="1")
        with pytest.raises(QuotaExceeded, match="its limit is 3"), vault.batch():  # noqa: PT012
            for n in range(2, 6):
                vault.add("note", title=f"{n}")
        assert vault.view().counted == 1
        gone = vault.add("note", title="2")
        vault.add("note", title="3")
        with pytest.raises(QuotaExceeded):
            vault.add("note", title="4")
        vault.delete(gone)
        with vault.batch():
            vault.add("note", title="4")
            with pytest.raises(QuotaExceeded):
                vault.add("note", title="5")
        assert vault.view().counted == 3
        vault.restore(gone)  # a quota never keeps anybody from his own data
        assert vault.view().counted == 4


def test_what_arrives_is_never_refused_for_a_quota() -> None:
    laptop = memory_vault(SCHEMA, remote=MemoryRemote())
    phone = memory_vault(SCHEMA, joins=laptop)
    phone.quota = Quota(max_entries=1)
    for n in range(3):
        laptop.add("note", title=f"{n}")
    laptop.sync()
    phone.sync()
    assert phone.view().counted == 3
    phone.close()
    laptop.close()

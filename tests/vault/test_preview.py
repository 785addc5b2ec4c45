"""Joining shows what is there before it is verified: all of it, in memory alone, and nothing of it stays that does not
hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import vaultsync as vs
from tests.vault.test_checkpoint_attacks import SCHEMA, Insider, forged_chain
from vaultsync import limits
from vaultsync.document.codec import decode_own
from vaultsync.document.engine import Engine
from vaultsync.document.layout import ENTRIES
from vaultsync.errors import SchemaError
from vaultsync.testing import memory_vault
from vaultsync.testing.seeded import environment
from vaultsync.testing.vaults import KEY, PASSWORD, URL

EDITS = 60


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Insider:
    monkeypatch.setattr(limits, "CATCH_UP_ENVELOPES", 2)
    monkeypatch.setattr(limits, "ENVELOPE_TARGET_BYTES", 1 << 30)  # a checkpoint is worth fetching for who has nothing
    return Insider(EDITS, "preview")


class Seen:
    def __init__(self) -> None:
        self.views: list[vs.View] = []

    def __call__(self, view: vs.View) -> None:
        self.views.append(view)

    @property
    def only(self) -> vs.View:
        (view,) = self.views
        return view


def join(world: Insider, seen: object, schema: vs.Schema = SCHEMA) -> vs.Vault:
    return memory_vault(
        schema,
        joins=world.laptop,
        preview=seen,
        environment=environment("late"),
        device="Late",  # type: ignore[arg-type]
    )


def rows(view: vs.View) -> list[tuple[object, ...]]:
    return [(entry.id, entry.type, entry.status, dict(entry.fields)) for entry in view.entries]


def test_what_joining_shows_is_what_is_joined(world: Insider) -> None:
    world.laptop.delete(world.laptop.add("login", title="in the trash").id)
    world.laptop.sync()
    world.insider.sync()
    world.serve(world.honest())
    seen = Seen()
    late = join(world, seen)
    assert rows(seen.only) == rows(late.view()) == rows(world.laptop.view())
    assert len(seen.only.trash) == len(late.view().trash) == 1
    assert [str(notice) for notice in seen.only.notices] == [str(notice) for notice in late.view().notices]
    assert {device.name for device in seen.only.context.census} == {"Laptop", "Insider", "Victim"}


def test_it_knows_what_was_written_after_the_checkpoint_only_at_the_end(world: Insider) -> None:
    world.serve(world.honest())
    world.laptop.add("login", title="later")
    seen = Seen()
    late = join(world, seen)
    assert "later" not in {entry["title"] for entry in seen.only.entries}
    assert "later" in {entry["title"] for entry in late.view().entries}
    assert rows(late.view()) == rows(world.laptop.view())


def test_a_forged_checkpoint_is_shown_and_nothing_of_it_stays(world: Insider) -> None:
    """The window that a preview opens, and that it closes: the member that wrote the checkpoint is believed so long."""
    honest = world.honest()
    chunks = Engine.load(honest.document).changes()
    at = max(n for n, chunk in enumerate(chunks) if any(op.key == "title" for op in decode_own(chunk).ops))
    hostile = Engine.load(None, forged_chain(chunks, at, "title"))
    world.serve(dataclasses.replace(honest, document=hostile.save()))
    seen = Seen()
    late = join(world, seen)
    assert "forged" in {entry["title"] for entry in seen.only.entries}
    assert rows(late.view()) == rows(world.laptop.view())
    assert "forged" not in {entry["title"] for entry in late.view().entries}
    with late._ledger.store.read() as reading:
        assert any("/ckpt/" in name for name in reading.quarantined_names())


def test_a_small_vault_comes_at_once_and_shows_nothing_before(world: Insider) -> None:
    seen = Seen()
    late = join(world, seen)
    assert not seen.views
    assert rows(late.view()) == rows(world.laptop.view())


def test_another_applications_vault_shows_nothing(world: Insider) -> None:
    world.serve(world.honest())
    seen = Seen()
    with pytest.raises(SchemaError):
        join(world, seen, vs.Schema("other", version=1, platform="linux", types=list(SCHEMA.types.values())))
    assert not seen.views


def test_whoever_looks_and_fails_joins_nothing(world: Insider, tmp_path: Path) -> None:
    world.serve(world.honest())

    def fail(view: vs.View) -> None:
        raise ZeroDivisionError

    path = tmp_path / "late.vault"
    with pytest.raises(ZeroDivisionError):
        vs.Vault.join(
            path,
            URL,
            schema=SCHEMA,
            password=PASSWORD,
            code=world.laptop.recovery_code,
            key=KEY,
            environment=environment("late"),
            opener=lambda url: world.remote,
            background=False,
            preview=fail,
        )
    assert not list(tmp_path.iterdir())


def test_what_came_is_not_read_again(world: Insider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries that were handed over are the first view's; only what came after the checkpoint is read."""
    for number in range(40):
        world.laptop.add("login", title=f"n{number}")
    world.laptop.sync()
    world.insider.sync()
    world.serve(world.honest())
    entry = world.laptop.add("login", title="later")
    late, wanted = join(world, None), rows(world.laptop.view())
    read: list[str] = []
    real, everything = Engine.read, Engine.read_all

    def counting(self: Engine, section: str, name: str = "") -> object:
        if section == ENTRIES:
            read.append(name)
        return real(self, section, name)

    monkeypatch.setattr(Engine, "read", counting)
    monkeypatch.setattr(Engine, "read_all", lambda self: pytest.fail("everything is read") or everything(self))
    assert rows(late.view()) == wanted
    assert read == [entry.id]
    late.update(entry.id, title="now")
    assert late.view()[entry.id]["title"] == "now"

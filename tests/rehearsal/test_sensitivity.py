"""The rehearsal measures what it says: a library that is broken on purpose is noticed, by the check meant for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import vaultsync as vs
from tests.rehearsal.good_schemas import GOOD, fields
from vaultsync.schema.cells import GONE, owner
from vaultsync.schema.types import EntryType, Schema
from vaultsync.testing import RehearsalFailed, rehearse
from vaultsync.testing.rehearsal import finale, world
from vaultsync.view.entry import Entry
from vaultsync.view.picture import View


def fails(schema: Schema, **options: Any) -> RehearsalFailed:
    with pytest.raises(RehearsalFailed) as caught:
        rehearse(schema, histories=200, seed="sensitive", **options)
    return caught.value


def added() -> Schema:
    """A field that an older version does not know."""
    kind = EntryType("card", fields=[*fields("title"), *fields("pin", since=2)])
    return Schema("added", version=2, platform="linux", types=[kind])


def wrapped(function: Callable[..., Any], change: Callable[[dict[str, Any], Any], None], at: int) -> Any:
    """A plan that does something more; ``at``: which argument is what is stored."""

    def plan(*args: Any, **options: Any) -> Any:
        ops = dict(function(*args, **options))
        if ops:
            change(ops, args[at])
        return ops

    return plan


def test_an_edit_that_touches_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def clean(ops: dict[str, Any], raw: Any) -> None:
        ops |= {key: GONE for key in raw if owner(key) == "pin" and "title" in ops}

    monkeypatch.setattr(world, "plan_update", wrapped(world.plan_update, clean, 1))
    assert fails(added()).kind in ("unknown", "unwritten")


def test_an_edit_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(ops: dict[str, Any], raw: Any) -> None:
        ops.pop("last", None)

    monkeypatch.setattr(world, "plan_update", wrapped(world.plan_update, drop, 1))
    assert fails(GOOD["split"]().schema).kind == "unwritten"


def test_a_repair_that_throws_newer_values_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(ops: dict[str, Any], raw: Any) -> None:
        ops |= {key: GONE for key in raw if owner(key) == "first"}
        ops["name"] = "nobody"

    monkeypatch.setattr(world, "repair", wrapped(world.repair, drop, 0))
    assert fails(GOOD["split"]().schema).kind in ("lost", "unrest")


def test_losers_that_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Entry, "conflicts", property(lambda self: {}))
    failed = fails(GOOD["rename"]().schema)
    assert failed.kind == "lost"
    assert "nor lists it among the conflicts" in failed.text


def test_a_repair_that_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(10**6))
    monkeypatch.setattr(world, "repair", lambda raw, schema, *_: {"$lens/first": f"[{next(numbers)}]"})
    assert fails(GOOD["split"]().schema).kind == "unrest"


def test_a_repair_that_is_somebodys_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    def sign(ops: dict[str, Any], raw: Any) -> None:
        ops["$edited/" + "ff" * 16] = 1

    monkeypatch.setattr(world, "repair", wrapped(world.repair, sign, 0))
    assert fails(GOOD["split"]().schema).kind == "trash"


def test_a_delete_that_covers_what_it_did_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(raw: Any, incarnation: str) -> dict[str, Any]:
        everybody = ",".join(f'"{f"{i:02x}" * 16}":9999' for i in range(1, 7))
        return {f"$deleted/{incarnation}": "{" + everybody + "}"}

    monkeypatch.setattr(world, "plan_delete", blind)
    assert fails(added()).kind == "trash"


def test_a_view_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(self: Entry) -> Any:
        raise RuntimeError("no luck")

    monkeypatch.setattr(Entry, "missing", property(raises))
    failed = fails(added())
    assert failed.kind == "view"
    assert "RuntimeError: no luck" in failed.text


def test_notices_that_miscount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(View, "notices", property(lambda self: ()))
    assert fails(added()).kind == "notice"


def test_a_version_that_calls_complete_what_it_cannot_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Entry, "status", property(lambda self: finale.Status.COMPLETE))
    monkeypatch.setattr(finale.Finale, "notices", lambda self: None)
    assert fails(added()).kind == "notice"


def test_twins_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that depends on who looks."""
    fields_of = Entry.fields.fget  # type: ignore[attr-defined]
    looks: dict[int, int] = {}

    def shown(self: Entry) -> Any:
        first = looks.setdefault(id(self._context), len(looks)) % 2 == 0
        return fields_of(self) if first else {**fields_of(self), "title": "mine"}

    monkeypatch.setattr(Entry, "fields", property(shown))
    assert fails(added()).kind in ("disagree", "unwritten")


def test_cleared_values_that_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit that should clear a field does not."""

    def keep(ops: dict[str, Any], raw: Any) -> None:
        if ops.get("pin") is GONE:
            del ops["pin"]

    monkeypatch.setattr(world, "plan_update", wrapped(world.plan_update, keep, 1))
    monkeypatch.setattr(world.World, "_reads", lambda *args: None)
    assert fails(added()).kind in ("came back", "lost")


def test_a_conversion_that_drops_a_field_can_be_meant() -> None:
    old = EntryType(
        "wifi_note", fields=fields("ssid", "band"), until=2, converts=vs.Convert("wifi", [vs.rename("ssid", "network")])
    )
    new = EntryType("wifi", fields=fields("network", since=2), since=2)
    schema = Schema("meant", version=2, platform="linux", types=[old, new])
    assert fails(schema).subject == "wifi_note.band"
    assert rehearse(schema, histories=50, seed="meant", leftovers=["wifi_note.band"]).conversions

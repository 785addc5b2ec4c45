"""Histories over generated timelines with real vaults: lenses, conversions, upgrades, downgrades and the repairs that a
vault makes by itself, over a remote in memory.

    pytest tests/properties/test_vault_lens_histories.py                               50 histories
    VAULTSYNC_HISTORIES=2000 pytest tests/properties/test_vault_lens_histories.py      as many as that
    VAULTSYNC_SEED=12345 pytest tests/properties/test_vault_lens_histories.py          others

Checked at the end of each as ``test_lens_histories`` checks it of bare documents: ``back`` of what the newer version
shows is what the older one shows, nothing vanishes that is not listed, and nobody has anything left to repair.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

import vaultsync as vs
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing.timelines import Timeline, vault_histories

HISTORIES = int(os.environ.get("VAULTSYNC_HISTORIES", "50"))
SEED = int(os.environ.get("VAULTSYNC_SEED", "1"))
CHUNK = 50


@pytest.mark.parametrize("first", range(SEED, SEED + HISTORIES, CHUNK))
def test_histories_with_vaults(first: int) -> None:
    tally: Counter[str] = Counter()
    for seed in range(first, first + CHUNK):
        tally += vault_histories(seed)
    print(f"seeds {first} on:", "; ".join(f"{name} {count}" for name, count in sorted(tally.items())))
    acts = ("add", "set", "sync", "delete", "convert", "update")
    assert [act for act in acts if not tally[f"act {act}"]] == []
    for what in ("upgrades", "downgrades", "conversions", "repairs"):
        assert tally[what], what
    assert tally["clean mirror"] > 100
    assert not any(tally[f"unlisted {form}"] for form in ("plain", "alias", "slot"))


# ---- they can fail ----------------------------------------------------------------------------------------------
def _no_repairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultsync.vault.works.needs_upkeep", lambda schema: False)


def _downgrades_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that was put back to an older version drops what it does not know."""
    from vaultsync.view.edits import plan_update as real

    def plan(entry_id, raw, schema, values, **options):  # type: ignore[no-untyped-def]
        known = {field.name for kind in schema.types.values() for field in kind.fields if schema.here(field)}
        ops = real(entry_id, raw, schema, values, **options)
        return ops | {key: "tidied" for key in raw if key.partition("/")[0] not in known and key[0] != "$"}

    monkeypatch.setattr("vaultsync.vault.desk.plan_update", plan)


@pytest.mark.parametrize("breakage", [_no_repairs, _downgrades_forget])
def test_a_broken_promise_is_seen(breakage, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    breakage(monkeypatch)
    kind = EntryType(
        "person",
        fields=[
            Field("note", vs.text), Field("name", vs.text, until=2), Field("first", vs.text, since=2),
            Field("last", vs.text, since=2),
        ],
        lenses=[vs.split("name", ["first", "last"], since=2)],
    )  # fmt: skip
    people = Timeline(Schema("people", version=2, platform="linux", types=[kind]), {}, frozenset(), ("split",))
    with pytest.raises(AssertionError, match=r"seed \d+/\d+; to see it again"):
        vault_histories(SEED, 40, timeline=people)

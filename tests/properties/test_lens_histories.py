"""Random histories over generated schemas: every form of lens and of conversion, devices that go to newer and older
versions, always two of the newest.

    pytest tests/properties/test_lens_histories.py                               700 histories over 140 timelines
    VAULTSYNC_HISTORIES=50000 pytest tests/properties/test_lens_histories.py     as many as that
    VAULTSYNC_SEED=12345 pytest tests/properties/test_lens_histories.py          others (seeds are counted up from it)

What is checked, in every history, is said in ``vaultsync.testing.rehearsal``: devices of one version and platform show
the same; ``back`` of what a newer version shows is what an older one shows; no word that nobody knowingly removed or
overwrote vanishes, except losers of one key that are listed in ``conflicts``; what a device does not know stays as it
was; views and notices hold together. A failure prints its timeline, the shortest story and the command that tells it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import vaultsync as vs
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing.timeline_lenses import OPERATIONS
from vaultsync.testing.timelines import (
    Timeline,
    TimelineFailed,
    describe,
    invent_timeline,
    rehearse_timeline,
    timelines,
)

HISTORIES = int(os.environ.get("VAULTSYNC_HISTORIES", "700"))
SEED = int(os.environ.get("VAULTSYNC_SEED", "1"))
EACH = 5
"""Histories a timeline."""
DRAWN = HISTORIES // 100
"""Timelines that Hypothesis draws; two histories each."""
CHUNK = 20
LAST = SEED + max(CHUNK, (HISTORIES - 2 * DRAWN) // EACH)


@pytest.mark.parametrize("first", range(SEED, LAST, CHUNK))
def test_histories_over_generated_timelines(first: int) -> None:
    tally: Counter[str] = Counter()
    for seed in range(first, min(first + CHUNK, LAST)):
        tally += rehearse_timeline(seed, EACH)
    print(figures(first, tally))
    assert tally["clean mirror"] + tally["clean alias"] + tally["clean slot"] > 20
    assert not any(tally[f"unlisted {form}"] for form in ("plain", "alias", "slot"))


@settings(
    max_examples=max(1, DRAWN), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, database=None
)
@given(timelines())
def test_histories_over_drawn_timelines(timeline: Timeline) -> None:
    """The same with timelines that Hypothesis makes small when they fail."""
    rehearse_timeline(len(timeline.operations), 2, timeline=timeline)


def figures(first: int, tally: Counter[str]) -> str:
    """What the histories from a seed consisted of, and how often something had to move."""
    shares = [
        f"{form}: in {tally[f'moved {form}']} of {tally[f'histories {form}']} histories something moved to "
        f"conflicts, {tally[f'unlisted {form}']} of {tally[f'contested {form}'] + tally[f'clean {form}']} words "
        "overwritten by an older form"
        for form in ("plain", "alias", "slot", "mirror")
    ]
    acts = ", ".join(f"{name[4:]} {count}" for name, count in sorted(tally.items()) if name.startswith("act "))
    return "\n".join([f"seeds {first} on: {tally['histories']} histories; {acts}; repairs {tally['repairs']}", *shares])


# ---- the timelines themselves -----------------------------------------------------------------------------------
def test_every_operation_and_act_takes_place() -> None:
    """Also in chains, and in every form."""
    operations: Counter[str] = Counter()
    chains = conversions = 0
    for seed in range(SEED, SEED + 200):
        timeline = invent_timeline(random.Random(f"{seed}/timeline"))
        operations.update(timeline.operations)
        targets = {name for kind in timeline.schema.types.values() for lens in kind.lenses for name in lens.new}
        chains += any(targets & set(lens.old) for kind in timeline.schema.types.values() for lens in kind.lenses)
        ends = {kind.converts.to for kind in timeline.schema.types.values() if kind.converts}
        conversions += any(kind.converts and kind.name in ends for kind in timeline.schema.types.values())
        assert 2 <= timeline.schema.version <= 4
    more = {"conversion, old kept", "conversion, old gone", "leftover", "retire type", "retire field"}
    assert {*OPERATIONS, *more} - operations.keys() == set()
    assert chains > 20
    assert conversions > 3, "A -> B -> C"
    tally: Counter[str] = Counter()
    for seed in range(SEED, SEED + 20):
        tally += rehearse_timeline(seed, 3)
    acts = ("add", "set", "sync", "delete", "restore", "convert", "upgrade", "downgrade")
    assert [act for act in acts if not tally[f"act {act}"]] == []
    assert tally["repairs"]


REPLAY = """
import sys
from vaultsync.testing.timelines import main
main([sys.argv[1], "3"])
"""


def test_a_seed_replays_in_any_process() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", REPLAY, str(SEED)],
            capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": hashes},
        ).stdout
        for hashes in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1]
    assert describe(invent_timeline(random.Random(f"{SEED}/timeline")).schema) in told[0]


def test_what_is_hidden_for_a_critical_field_disagrees_with_nobody() -> None:
    """An older device that must not show an entry shows none of its fields: that is no disagreement."""
    kind = EntryType(
        "t0",
        fields=[
            Field("old", vs.text, until=2), Field("new", vs.text, since=2),
            Field("seal", vs.text, since=2, critical="read"),
        ],
        lenses=[vs.rename("old", "new", since=2)],
    )  # fmt: skip
    schema = Schema("sealed", version=2, platform="linux", types=[kind])
    rehearse_timeline("sealed", 30, timeline=Timeline(schema, {}, frozenset(), ("rename",)))


# ---- they can fail ----------------------------------------------------------------------------------------------
def _rest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing forgets what only the mark knows."""
    import vaultsync.view.settle as settle

    real = settle.Mark
    monkeypatch.setattr(settle, "Mark", lambda digest, lossy, names, rest: real(digest, lossy, names, {}))


def _no_repairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultsync.testing.rehearsal.world.repair", lambda raw, schema, *_: {})


def _older_edits_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark is taken to be of now, whatever it says."""
    monkeypatch.setattr("vaultsync.view.chain.is_fresh", lambda step, old, mark: mark is not None)


def _a_slot_is_stored_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The element that a slot holds is not handed on."""
    import vaultsync.view.settle as settle

    monkeypatch.setattr(settle._Settling, "slot", lambda self, step, before, after: {})


def _unknown_is_tidied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit that tidies what it does not know."""
    import vaultsync.testing.rehearsal.world as world

    real: Any = world.plan_update

    def tidy(entry_id: str, raw: Any, schema: Schema, values: Any, **options: Any) -> Any:
        ops = real(entry_id, raw, schema, values, **options)
        known = {field.name for kind in schema.types.values() for field in kind.fields if schema.here(field)}
        return ops | {key: "tidied" for key in raw if key.partition("/")[0] not in known and key[0] != "$"}

    monkeypatch.setattr(world, "plan_update", tidy)


@pytest.mark.parametrize(
    "breakage", [_rest_is_dropped, _no_repairs, _older_edits_are_ignored, _a_slot_is_stored_beside,
                 _unknown_is_tidied],
)  # fmt: skip
def test_a_broken_promise_is_seen(breakage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    breakage(monkeypatch)
    with pytest.raises(TimelineFailed) as failed:
        _rehearse(120)
    assert f"python -m vaultsync.testing.timelines {failed.value.seed} {EACH}" in str(failed.value)


def _rehearse(many: int) -> None:
    for seed in range(SEED, SEED + many):
        rehearse_timeline(seed, EACH)


# ---- found ------------------------------------------------------------------------------------------------------
def test_additions_to_a_mirrored_list_at_the_same_time() -> None:
    """Two devices of the newest version each add an element, one of which says more than its older form.

    That the bare element was replaced by the fuller one is a fact of its own: it must not go with a mark that loses.
    """
    from vaultsync.view.context import Context
    from vaultsync.view.edits import plan_add, plan_update
    from vaultsync.view.entry import evaluate

    def put(now: Any, cells: Any) -> Any:
        left, made = list(now.get("new", ())), []
        for element in cells.get("old", ()):
            same = next((each for each in left if each.partition("#")[0] == element), element)
            if same in left:
                left.remove(same)
            made.append(same)
        return {"new": tuple(made)}

    lens = vs.lens(
        "old",
        "new",
        get=lambda cells: {"new": cells["old"]} if "old" in cells else {},
        back=lambda cells: {"old": tuple(each.partition("#")[0] for each in cells["new"])} if "new" in cells else {},
        put=put,
        since=2,
        rule="labelled",
    )
    many = vs.items(vs.text)
    kind = EntryType("t", fields=[Field("old", many, until=2), Field("new", many, since=2)], lenses=[lens])
    schema = Schema("lists", version=2, platform="linux", types=[kind])
    options: dict[str, Any] = {"now_ms": 1, "new_id": lambda: "x"}
    base = dict(plan_add(schema, "t", {}, incarnation="00" * 16, **options))
    merged: dict[str, Any] = dict(base)
    for device, value in (("01", "mango382616798#mango920091775"), ("02", "kiwi322927236")):  # the second one wins
        ops = plan_update("0" * 26, base, schema, {"new": (value,)}, seen=None, incarnation=device * 16, **options)
        merged |= ops
    shown = evaluate("0" * 26, merged, schema, Context())["new"]
    assert sorted(shown) == ["kiwi322927236", "mango382616798#mango920091775"]


@pytest.mark.parametrize("form", ["alias", "mirror"])
def test_a_conversion_onto_a_field_that_was_there_before_is_refused(form: str) -> None:
    """A version that knows the target type and field but not the conversion would show the field empty, let a person
    write it, and newer versions would show what the lens gives: the write in no field and no conflict."""

    def turned(source: str, target: str) -> Any:
        return lambda cells: {target: cells[source]} if source in cells else {}

    lens = vs.rename("x", "y") if form == "alias" else vs.lens("x", "y", get=turned("x", "y"), back=turned("y", "x"))
    old = EntryType("a", fields=[Field("x", vs.text)], until=2, converts=vs.Convert("b", [lens]))
    with pytest.raises(vs.SchemaError, match="begins in version 1, not in 2 with the conversion"):
        Schema("s", version=2, platform="linux", types=[old, EntryType("b", fields=[Field("y", vs.text)])])


def test_an_older_value_that_is_emptied_under_an_aliass_name() -> None:
    """It is null there, too: a deletion would lose where its mark wins, and what was cleared would come back."""
    rehearse_timeline(1533, 5)


def test_a_loser_under_what_a_conversion_left_behind_is_listed() -> None:
    """Read-only, and a person may still want to know."""
    rehearse_timeline(1953, 5)


def test_a_split_over_a_join() -> None:
    """Two devices edit different parts at the same time. One changes both fields of the join, the other one of them:
    the first field is then one device's and the second the other's, and no part that was replaced comes back."""
    rehearse_timeline(1087, 5)

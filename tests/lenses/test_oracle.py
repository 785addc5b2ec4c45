"""The package against the rules written down plainly: the same decisions, values, operations and order of them."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lenses.forms import FORMS, Form, conversion
from tests.lenses.histories import History, Setup, compare, ids
from vaultsync.schema.cells import GONE
from vaultsync.view.context import Context
from vaultsync.view.edits import plan_update
from vaultsync.view.entry import evaluate
from vaultsync.view.upkeep import plan_convert, repair

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "60"))
HISTORIES = int(os.environ.get("VAULTSYNC_HISTORIES", "12"))
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
ALL = {**FORMS, "converted": conversion(True, False), "converted too": conversion(False, True)}


@pytest.mark.parametrize("name", ALL)
def test_histories_agree_with_the_oracle(name: str) -> None:
    form = ALL[name]
    versions = (1, 2, 3, 3) if len(form.types) > 1 else (1, 2, max({*form.cells, *form.lists}))
    for seed in range(HISTORIES):
        History(Setup(form, versions, deletes=seed % 3 == 0, compare=True, repair=0.5), seed).run()


# ---- entries that no history would leave ------------------------------------------------------------------------
TEXTS = ("a", "b", "a b", "a b c", "a, b", ", b", "a,b", "b,a,c", "")


@st.composite
def strange(draw: st.DrawFn, form: Form) -> dict[str, Any]:
    """Cells under any names of a form, with nulls, positions and marks of other states."""
    kind = form.types[0].name if len(form.types) == 1 else draw(st.sampled_from([t.name for t in form.types]))
    raw: dict[str, Any] = {"$type": kind}
    for name in draw(st.sets(st.sampled_from([t.name for t in form.types]))) | {kind}:
        raw[f"$schema/{name}/{next(t.since for t in form.types if t.name == name)}"] = True
    for name in draw(st.sets(st.sampled_from([t.name for t in form.types]), max_size=1)):
        raw[f"$face/{name}"] = True
    for t in form.types:
        for field in t.fields:
            if not draw(st.booleans()):
                continue
            if field.kind.name == "tags":
                tags = draw(st.sets(st.sampled_from(["x", "y", "z"])))
                raw |= {f"{field.name}/{tag}": draw(st.sampled_from([True, None])) for tag in tags}
            elif field.kind.is_collection:
                for element in draw(st.sets(st.sampled_from(["1", "2", "old"]))):
                    raw[f"{field.name}/{element}"] = draw(st.sampled_from(["v", "w", None]))
                    if draw(st.booleans()):
                        raw[f"{field.name}@{element}"] = draw(st.sampled_from(["B", "U", "k"]))
            else:
                raw[field.name] = draw(st.sampled_from([*TEXTS, None]))
    if draw(st.integers(0, 5)) == 0:
        raw |= {"$edited/aa": 1, "$deleted/aa": draw(st.sampled_from(['{"aa":1}', "{}"]))}
    return raw


def edited(raw: dict[str, Any], form: Form, rng: random.Random) -> dict[str, Any]:
    """The same after an edit by some version: so marks come from what a version really writes."""
    schema = form.schema(rng.randint(1, 4))
    entry = evaluate("e", raw, schema, Context())
    names = sorted(entry.writable)
    if not names:
        return raw
    name = rng.choice(names)
    kind = entry._kind(name).name
    value: Any = rng.choice(["q", "q r", "q,r"])
    if kind == "tags":
        value = {rng.choice("xyq")}
    elif kind.startswith("items"):
        value = [rng.choice("vwq") for _ in range(rng.randint(0, 3))]
    if form.name in ("alias", "items alias"):  # its newer values are in capitals
        value = value.upper() if isinstance(value, str) else [each.upper() for each in value]
        if schema.version == 1:
            value = value.lower() if isinstance(value, str) else [each.lower() for each in value]
    return after(raw, entry, {name: rng.choice([value, None])})


def after(raw: dict[str, Any], entry: Any, values: dict[str, Any]) -> dict[str, Any]:
    schema = entry._schema
    ops = plan_update("e", raw, schema, values, seen=entry, incarnation="bb", now_ms=5, new_id=ids())
    return {key: value for key, value in {**raw, **ops}.items() if value is not GONE}


@pytest.mark.parametrize("name", ALL)
@MANY
@given(st.data())
def test_strange_entries_agree_with_the_oracle(name: str, data: st.DataObject) -> None:
    form = ALL[name]
    raw = data.draw(strange(form))
    rng = data.draw(st.randoms(use_true_random=False))
    for _ in range(data.draw(st.integers(0, 2))):
        raw = edited(raw, form, rng)  # type: ignore[arg-type]
        there = sorted(k for k in raw if not k.startswith(("$schema", "$type")))
        if there and data.draw(st.booleans()):  # a device without the lens, or a cell that lost a race
            gone = data.draw(st.sampled_from(there))
            raw = {k: v for k, v in raw.items() if k != gone}
    for version in (1, 2, 3, 4):
        compare(raw, form.schema(version))


@pytest.mark.parametrize("name", ALL)
@MANY
@given(st.data())
def test_a_repair_is_at_rest_and_shows_the_same(name: str, data: st.DataObject) -> None:
    form = ALL[name]
    raw, schema = data.draw(strange(form)), form.schema(data.draw(st.integers(1, 4)))
    before = evaluate("e", raw, schema, Context())
    for plan in (repair, plan_convert):
        ops = plan(raw, schema)
        assert plan(raw, schema) == ops
        fixed = {key: value for key, value in {**raw, **ops}.items() if value is not GONE}
        assert not repair(fixed, schema)
        assert not plan_convert(fixed, schema) or plan is repair
        if plan is repair:
            now = evaluate("e", fixed, schema, Context())
            assert (now.fields, now.retired) == (before.fields, before.retired)
            assert (now.counted, now.status is before.status) == (before.counted, True) or before.missing

"""What is decided about many entries, form by form, is what is decided about each."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.view.test_stored import whole
from tests.view.worlds import hostile_raws, raws, schemas
from vaultsync.schema import kinds
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.decide import judge
from vaultsync.view.forms import Forms

SOME = settings(
    max_examples=int(os.environ.get("VAULTSYNC_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
VALUES = st.sampled_from(["", "x", "login", "U", 1, 0, -5, 2.5, True, False, None, "read", "write", '{"a":1}'])


@st.composite
def variants(draw: Any) -> list[dict[str, Any]]:
    """Entries, and the same keys with other values: some of the same type, some not."""
    found = []
    for raw in draw(st.lists(hostile_raws().map(whole) | raws(), min_size=1, max_size=6)):
        found.append(dict(raw))
        for _ in range(draw(st.integers(0, 3))):
            other = dict(raw)
            for key in draw(st.lists(st.sampled_from(sorted(other)), max_size=3)) if other else ():
                other[key] = draw(VALUES)
            found.append(other)
    return draw(st.permutations(found))


@SOME
@given(schemas(), variants())
def test_forms_judge_as_each_is_judged(schema: Schema, entries: list[dict[str, Any]]) -> None:
    forms = Forms(schema)
    for raw in [*entries, *entries]:
        assert forms.judge(raw) == judge(raw, schema), raw


def test_entries_of_one_form_are_judged_once_and_those_whose_values_count_each() -> None:
    schema = Schema(
        "t",
        version=1,
        platform="linux",
        types=[
            EntryType("plain", label="P", fields=[Field("title", kinds.text), Field("tags", kinds.tags)]),
            EntryType("timed", label="T", fields=[Field("title", kinds.text), Field("due", kinds.instant)]),
        ],
    )
    forms = Forms(schema)
    for number in range(50):
        raw = {"$type": "plain", "$created": number, "$schema/plain/1": True, "title": f"{number}", "tags/a": True}
        assert forms.judge(raw).decision.status.value == "complete"
    assert forms.judged == 1
    for number in range(50):
        forms.judge({"$type": "timed", "title": f"{number}", "due": number})
    assert forms.judged == 51
    for _ in range(50):
        forms.judge({"$type": "plain", "title": "x", "$deleted/a": "{}"})
    assert forms.judged == 101

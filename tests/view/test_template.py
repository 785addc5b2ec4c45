"""Templates: the short way of planning a new entry gives what the long way gives, or leaves it to that."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import vaultsync as vs
from vaultsync.schema.kind import KindMismatch
from vaultsync.testing import strategies
from vaultsync.view import edits
from vaultsync.view.template import template_of


def ids() -> Callable[[], str]:
    numbers = count()
    return lambda: f"id{next(numbers)}"


KINDS = (vs.text, vs.secret, vs.note, vs.number, vs.flag, vs.instant, vs.tags, vs.items(vs.text), vs.items(vs.number))
LINES = st.text(alphabet=st.sampled_from("ab\n ä\ud800"), max_size=8)
VALUES = st.one_of(
    LINES,
    st.lists(LINES, max_size=3),
    st.frozensets(LINES, max_size=3),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes(timezones=st.sampled_from([None])),
    st.builds(lambda a, b: vs.add(*a) | vs.remove(*b), st.lists(LINES, max_size=3), st.lists(LINES, max_size=3)),
    st.just(object()),
)


@given(st.sampled_from(KINDS), VALUES)
def test_the_first_value_of_a_field_is_written_as_any_other(kind: Any, value: Any) -> None:
    def outcome(write: Callable[[], Any]) -> Any:
        try:
            return list(write().items())
        except KindMismatch as mismatch:
            return mismatch.expected, mismatch.given

    expected = outcome(lambda: kind.write("f", {}, value, seen=None, new_id=ids()))
    assert outcome(lambda: kind.first("f", value, ids())) == expected


@given(st.data())
def test_a_new_entry_is_planned_the_same_with_a_template_and_without(data: st.DataObject) -> None:
    schema = data.draw(strategies.schemas())
    active = [name for name in schema.types if schema.active(name)]
    if not active:
        return
    name = data.draw(st.sampled_from(sorted(active)))
    values = data.draw(strategies.values_of(schema, name)) | data.draw(
        st.dictionaries(
            st.sampled_from(["no_such_field", *(f.name for f in schema.types[name].fields)]), VALUES, max_size=1
        )
    )

    def plan() -> Any:
        try:
            ops = edits.plan_add(
                schema, name, values, incarnation="a" * 32, now_ms=9, new_id=ids(), source="x:1", created=3
            )
        except vs.VaultSyncError as error:
            return type(error), str(error)
        return list(ops.items())

    made = plan()
    schema.derived["templates"] = dict.fromkeys(schema.types)  # nobody has one
    assert plan() == made


def test_types_with_lenses_have_no_template_and_others_have_one() -> None:
    plain = vs.EntryType("plain", label="Plain", fields=[vs.Field("title", vs.text)])
    fields = [vs.Field("old", vs.text, until=2), vs.Field("new", vs.text, since=2)]
    seen = vs.EntryType("seen", label="Seen", fields=fields, lenses=[vs.rename("old", "new", since=2)])
    schema = vs.Schema("s", version=2, platform="linux", types=[plain, seen])
    assert template_of(schema, plain) is not None
    assert template_of(schema, plain) is template_of(schema, plain)
    assert template_of(schema, seen) is None

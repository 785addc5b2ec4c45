"""Custom fields as lines: nothing is lost on the way there and back, and what people write by hand is read sensibly."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vaultsync.presets.custom import Custom, decode, encode, join_history, split_history

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "400"))

# Mostly the characters that mean something in a line.
tricky = st.text(st.sampled_from("\\: []\nabé") | st.characters(exclude_categories=["Cs"]), max_size=12)
names = tricky | st.sampled_from(
    ["[hidden]", "x [hidden]", "x [yes/no]", "[text]", "a:", "a: ", ": ", "\\", "a\\: b", ""]
)
fields = st.one_of(
    st.builds(Custom, names, st.none() | tricky, st.sampled_from(["text", "hidden", "linked"])),
    st.builds(Custom, names, st.sampled_from(["yes", "no", None]), st.just("yes/no")),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(fields, max_size=6))
@example([Custom("a", "1", "hidden"), Custom("a", "2", "hidden"), Custom("a", None, "hidden")])
@example([Custom("", None), Custom("", "", "hidden"), Custom("", None, "linked")])
def test_round_trip(given_fields: list[Custom]) -> None:
    assert decode(*encode(given_fields)) == given_fields


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(fields, max_size=6))
def test_hidden_values_are_in_secrets_only(given_fields: list[Custom]) -> None:
    hidden = [Custom(f"n{i}", f"s3cret-{i}", "hidden") for i in range(3)]
    shown, secret = encode([*given_fields, *hidden])
    assert not any("s3cret-" in line for line in shown)
    assert sum("s3cret-" in line for line in secret) == 3
    assert all(line for line in shown + secret), "an empty line looks like a cleared item"


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(tricky, max_size=5), st.lists(tricky, max_size=5))
def test_any_lines_are_read_and_no_secret_is_left_out(custom: list[str], secret: list[str]) -> None:
    found = decode(custom, secret)
    assert len(custom) <= len(found) <= len(custom) + len(secret)
    values = [field.value for field in decode([], secret)]
    left = [field.value for field in found if field.kind == "hidden"]
    for value in values:
        assert value in left
        left.remove(value)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("Member number: 42", Custom("Member number", "42")),
        ("https://example.org: x: y", Custom("https://example.org", "x: y")),
        ("just words", Custom("just words", None)),
        ("Paid [yes/no]: no", Custom("Paid", "no", "yes/no")),
        ("trailing \\", Custom("trailing \\", None)),
    ],
)
def test_as_people_write_them(line: str, field: Custom) -> None:
    assert decode([line])[0] == field


def test_a_hidden_value_is_not_in_the_repr() -> None:
    assert "4711" not in repr(Custom("PIN", "4711", "hidden"))
    assert "ann" in repr(Custom("Name", "ann"))


@given(st.none() | st.datetimes().map(lambda d: d.isoformat() + "Z"), st.text())
def test_history_lines(when: str | None, password: str) -> None:
    assert split_history(join_history(when, password)) == (when, password)


@given(st.text())
def test_history_lines_by_hand(line: str) -> None:
    when, password = split_history(line)
    assert password in line
    assert when is None or when in line

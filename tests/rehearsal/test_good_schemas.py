"""Ten good schemas are not accused.

``VAULTSYNC_HISTORIES=50000 python -m pytest tests/rehearsal/test_good_schemas.py`` is the long run.
"""

from __future__ import annotations

import os

import pytest

import vaultsync as vs
from tests.rehearsal.good_schemas import GOOD, fields
from vaultsync.errors import UsageError
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import assert_rehearsed, rehearse
from vaultsync.testing.rehearsal.author import changed_versions, platforms_that_matter

HISTORIES = int(os.environ.get("VAULTSYNC_HISTORIES", "200"))


@pytest.mark.parametrize("name", GOOD)
def test_a_good_schema_is_not_accused(name: str) -> None:
    good = GOOD[name]()
    report = rehearse(good.schema, histories=HISTORIES, seed=f"good {name}", **good.options)
    assert report.histories == HISTORIES
    assert max(report.rounds) <= 2
    for form, figures in report.forms.items():
        assert figures.histories, form
        if form != "mirror":
            assert figures.contested == 0, "nothing but a mirror is ever contested"
    assert f"{HISTORIES} histories" in str(report)


def test_there_are_enough_of_them() -> None:
    assert len(GOOD) >= 10


def test_another_seed_each_time_and_the_same_for_the_same() -> None:
    schema = GOOD["split"]().schema
    one, two = rehearse(schema, histories=20), rehearse(schema, histories=20)
    assert one.seed != two.seed
    again = rehearse(schema, histories=20, seed=one.seed)
    assert (again.forms, again.repairs, again.rounds) == (one.forms, one.repairs, one.rounds)


def test_the_environment_scales_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULTSYNC_HISTORIES", "3")
    monkeypatch.setenv("VAULTSYNC_SEED", "abc/7")
    report = assert_rehearsed(GOOD["rename"]().schema)
    assert (report.histories, report.seed) == (3, "abc/7")


def test_versions_and_platforms_that_take_part() -> None:
    kind = EntryType(
        "card",
        fields=[*fields("title"), Field("scan", vs.text, since=3, until=7, platforms={"ios", "android"})],
    )
    schema = Schema("cards", version=9, platform="linux", types=[kind])
    assert changed_versions(schema) == (1, 3, 7, 9)
    first, second = platforms_that_matter(schema)
    assert first == "linux"
    assert second in ("ios", "android")
    report = rehearse(schema, versions=[3, 7], platforms=["ios"], histories=5)
    assert (report.versions, report.platforms) == ((3, 7), ("ios",))
    for wrong in ([10], [0], []):
        with pytest.raises(UsageError):
            rehearse(schema, versions=wrong)


def test_values_come_from_where_they_are_said_to() -> None:
    """A lens that is total only on what the application writes."""
    made = [*fields("size", until=2), *fields("length", kind=vs.number, since=2)]
    lens = vs.convert("size", "length", get=float, back=lambda n: f"{n:g}", since=2)
    schema = Schema("sizes", version=2, platform="linux", types=[EntryType("thing", fields=made, lenses=[lens])])
    report = rehearse(
        schema,
        histories=30,
        seed="values",
        values={"size": lambda rng: str(rng.randrange(100)), "length": list(range(100))},
    )
    assert report.histories == 30

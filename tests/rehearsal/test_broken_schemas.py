"""Every seeded defect is found within 200 histories, and told in a story that can be read."""

from __future__ import annotations

import re

import pytest

from tests.rehearsal.broken_schemas import BROKEN, sound
from vaultsync.testing import RehearsalFailed, rehearse

LINE = re.compile(
    r"(Laptop|Desktop|Phone|Tablet) \d+ "
    r"(adds|sets|deletes|restores|purges|converts|cannot convert|is updated to|syncs with|shows) .+"
    r"|Everybody syncs with everybody"
)


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("seed", ["one", "two"])
def test_a_defect_is_found_and_told(name: str, seed: str) -> None:
    broken = BROKEN[name]()
    with pytest.raises(RehearsalFailed) as caught:
        rehearse(broken.schema, histories=200, seed=seed, **broken.options)
    failed = caught.value
    assert failed.histories <= 200
    assert failed.kind in broken.kinds
    assert broken.subject in str(failed)
    assert 1 <= len(failed.story) <= 8, failed.story
    assert all(LINE.fullmatch(line) for line in failed.story), failed.story
    assert failed.seed in str(failed)


def test_there_are_enough_of_them() -> None:
    assert len(BROKEN) >= 10


def test_what_the_defects_share_is_sound() -> None:
    report = rehearse(sound(), histories=100, seed="sound")
    assert report.histories == 100


@pytest.mark.parametrize("name", ["lossy_back", "conversion_drops", "no_room_for_a_day"])
def test_a_seed_replays_the_same_story(name: str) -> None:
    broken = BROKEN[name]()
    stories = []
    for seed, histories in (("one", 200), ("one", 200)):
        with pytest.raises(RehearsalFailed) as caught:
            rehearse(broken.schema, histories=histories, seed=seed, **broken.options)
        stories.append((caught.value.story, caught.value.text, caught.value.seed))
    assert stories[0] == stories[1]
    with pytest.raises(RehearsalFailed) as caught:
        rehearse(broken.schema, histories=1, seed=stories[0][2], **broken.options)
    assert (caught.value.story, caught.value.text, caught.value.seed) == stories[0]


def test_the_story_of_a_value_that_does_not_fit() -> None:
    """Golden: what a person reads."""
    broken = BROKEN["not_total"]()
    with pytest.raises(RehearsalFailed) as caught:
        rehearse(broken.schema, histories=200, seed="golden")
    lines = re.sub(r"[a-z]+\d+", "kiwi1", str(caught.value)).splitlines()
    assert re.fullmatch(r"lens age -> years breaks its law get is total: get\(.*\) raises ValueError: .*", lines[0])
    assert lines[1] == ""
    assert re.fullmatch(r"  1\. (Phone|Tablet) 1 adds person with age '.*'", lines[2])
    assert lines[-2].startswith("in age -> years, versions 1, 2; history ")
    assert lines[-1].startswith("to see it again: rehearse(schema, seed='golden/")

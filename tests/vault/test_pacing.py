"""When passes are due, as a pure function of what happened: quick, patient, and never a hammer."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultsync.vault.replication.pacing import (
    APART,
    DEBOUNCE,
    FIRST_RETRY,
    FOLLOW,
    HASTE,
    HEARD,
    HURRIES,
    LAST_RETRY,
    LONGEST_DEBOUNCE,
    REGAIN,
    Pace,
)


def even(low: float, high: float) -> float:
    return 1.0


def reached(now: float = 0.0) -> Pace:
    pace = Pace(even)
    pace.began()
    pace.succeeded(now)
    return pace


def away(now: float = 0.0, failures: int = 1) -> Pace:
    pace = Pace(even)
    for _ in range(failures):
        pace.began()
        pace.failed(now)
    return pace


def test_a_new_one_is_due_and_one_that_was_reached_only_when_something_happens() -> None:
    assert Pace().left(123.0) == 0
    assert reached().left(1e9) is None


def test_an_edit_is_pushed_after_a_moment_and_a_stream_of_edits_is_not_put_off() -> None:
    pace = reached()
    pace.edited(10.0)
    assert pace.left(10.0) == pytest.approx(DEBOUNCE)
    now = 10.0
    while pace.left(now) != 0:
        now += 0.01
        pace.edited(now)  # somebody types
    assert 10.0 + LONGEST_DEBOUNCE - 0.02 <= now <= 10.0 + LONGEST_DEBOUNCE + 0.02
    assert now < 11.0, "within a second of the first edit"


def test_an_edit_during_a_pass_asks_for_another() -> None:
    pace = reached()
    pace.began()
    pace.edited(5.0)
    pace.succeeded(6.0)
    assert pace.left(6.0) == 0


def test_pauses_double_up_to_the_last() -> None:
    pace, pauses = Pace(even), []
    for _ in range(9):
        pace.began()
        pace.failed(0.0)
        pauses.append(pace.left(0.0))
    assert pauses == [FIRST_RETRY * 2**n for n in range(6)] + [LAST_RETRY] * 3
    pace.succeeded(0.0)
    pace.began()
    pace.failed(0.0)
    assert pace.left(0.0) == FIRST_RETRY, "a success begins anew"


def test_pauses_are_spread() -> None:
    pauses = set()
    for _ in range(20):
        pace = Pace()
        pace.began()
        pace.failed(0.0)
        pauses.add(pace.left(0.0))
    assert len(pauses) > 10
    assert all(0.7 * FIRST_RETRY <= pause <= 1.3 * FIRST_RETRY for pause in pauses if pause is not None)


def test_what_suggests_a_return_makes_an_attempt_at_once() -> None:
    for suggest in (Pace.edited, Pace.hint):
        pace = away(0.0, failures=9)
        assert pace.left(30.0) == 30.0
        suggest(pace, 30.0)
        assert pace.left(30.0) == 0
        just_failed = away(0.0, failures=9)
        suggest(just_failed, 0.5)
        assert just_failed.left(0.5) == pytest.approx(HASTE - 0.5), "but not right after the last one"


def test_after_a_hint_the_pauses_are_short_again() -> None:
    pace = away(0.0, failures=9)
    pace.hint(100.0)
    pace.began()
    pace.failed(100.0)
    assert pace.left(100.0) == 2 * FIRST_RETRY


def test_a_remote_that_reports_news_all_the_time_is_not_asked_all_the_time() -> None:
    pace = reached(10.0)
    pace.news(10.0)
    assert pace.left(10.0) is not None
    assert abs((pace.left(10.0) or 0) - APART) < 1e-6


SUGGESTIONS: dict[str, Callable[[Pace, float], None]] = {"edited": Pace.edited, "hint": Pace.hint}


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from(sorted(SUGGESTIONS))), min_size=1, max_size=200),
    st.floats(0.7, 1.3),
)
def test_a_remote_that_is_away_is_never_hammered(said: list[tuple[float, str]], spread: float) -> None:
    """However often somebody edits or hints: a pause between attempts, and few in any span of time."""
    pace, now, attempts = Pace(lambda low, high: spread), 0.0, []
    for after, what in said:
        end = now + after
        while (left := pace.left(now)) is not None and now + left <= end:
            now += left
            attempts.append(now)
            pace.began()
            pace.failed(now)
        now = end
        SUGGESTIONS[what](pace, now)
        left = pace.left(now)
        assert left is not None
        assert left <= LAST_RETRY * 1.3, "an attempt is always to come"
    gaps = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert all(gap >= 0.7 * FIRST_RETRY - 1e-6 for gap in gaps)
    # Each hurried attempt may be followed by the short pauses of a beginning, about six to a minute.
    hurried = HURRIES + now / REGAIN
    assert len(attempts) <= 8 + 6 * hurried


# ---- pushing without looking -----------------------------------------------------------------------------------
def edited(pace: Pace, now: float) -> float:
    """An edit; when the attempt for it is due."""
    pace.edited(now)
    left = pace.left(now)
    assert left is not None
    return now + left


def test_own_edits_alone_are_pushed_while_it_was_just_heard_that_nothing_is_new() -> None:
    pace = reached(100.0)
    assert pace.pushes(edited(pace, 101.0))
    pace.began()
    pace.pushed(102.0)
    pace.heard(108.0)
    assert pace.pushes(edited(pace, 108.0 + HEARD - LONGEST_DEBOUNCE))
    assert not pace.pushes(108.0 + HEARD + 0.01), "nothing was heard for too long"
    pace.heard(90.0)
    assert pace.pushes(108.0), "what was heard earlier takes nothing back"


@pytest.mark.parametrize("suggests", [Pace.news, Pace.hint, Pace.busy, Pace.failed], ids=lambda one: one.__name__)
def test_whatever_suggests_news_makes_the_next_attempt_a_whole_pass(suggests: Callable[[Pace, float], None]) -> None:
    pace = reached(100.0)
    pace.edited(100.0)
    suggests(pace, 100.0)
    pace.edited(100.0)
    pace.heard(101.0)
    assert not pace.pushes(101.0), "also when it is heard afterwards that nothing else came"
    pace.began()
    pace.succeeded(102.0)
    pace.edited(102.0)
    assert pace.pushes(102.5)


def test_what_is_said_during_a_pass_is_for_the_next() -> None:
    pace = reached(100.0)
    pace.edited(100.0)
    pace.began()
    pace.news(100.5)
    pace.pushed(101.0)
    assert not pace.pushes(101.0)


def test_a_whole_pass_follows_the_pushes_whatever_happens() -> None:
    pace, now = reached(0.0), 0.0
    while True:
        pace.heard(now)
        now = edited(pace, now)
        if not pace.pushes(now):
            break
        pace.began()
        pace.pushed(now)
    assert FOLLOW <= now <= FOLLOW + 1, "edits without end"
    pace = reached(0.0)
    pace.began()
    pace.pushed(1.0)
    assert pace.left(FOLLOW) is None
    assert pace.left(1.0 + FOLLOW) == 0, "and no edit any more"
    assert not pace.pushes(1.0 + FOLLOW)
    pace.began()
    pace.succeeded(2.0 + FOLLOW)
    assert pace.left(1e9) is None

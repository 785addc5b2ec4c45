"""Waiting for news, without a network: what a waiter is told, and how often the relay is asked."""

from __future__ import annotations

import threading

from vaultsync.remote.relay_news import Change, News, within

BORN = "0123456789abcdef"


def cursor(at: int, born: str = BORN) -> str:
    return f"{born}-{at}"


def test_a_relay_that_went_back_is_news_once_and_is_not_hammered() -> None:
    asked: list[str] = []
    answers = {"": cursor(9), cursor(9): cursor(5)}
    never = threading.Event()

    def fetch(since: str) -> Change:
        asked.append(since)
        if since not in answers:
            never.wait(5.0)
        return Change(since, answers.get(since, since))

    news, wake = News(fetch), threading.Event()
    assert news.wait(5.0, wake) == Change("", cursor(9))
    assert news.wait(5.0, wake) == Change(cursor(9), cursor(5))
    assert news.wait(0.3, wake) is None
    assert asked == ["", cursor(9), cursor(5)]
    never.set()


def test_what_came_with_news_is_used_only_where_nothing_is_missing() -> None:
    change = Change(cursor(3), cursor(6), [], [])
    assert [within(cursor(at), change) for at in range(2, 8)] == [False, True, True, True, True, False]
    assert not within(cursor(4, "f" * 16), change)
    assert not within("", change)
    assert not within(cursor(4), Change("", cursor(6), [], []))

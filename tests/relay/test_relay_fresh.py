"""What one relay process remembers for a moment: shared answers, objects just stored, and when they are forgotten."""

from __future__ import annotations

import asyncio
import random

import pytest

from vaultsync.relay.fresh import SECONDS, Fresh

ONE, TWO = b"1" * 32, b"2" * 32


def test_those_who_ask_the_same_share_one_answer_until_something_changes() -> None:
    now, asked = [0.0], []

    async def scene() -> None:
        fresh = Fresh(lambda: now[0])

        async def ask() -> int:
            asked.append(None)
            count = len(asked)
            await asyncio.sleep(0.01)
            return count

        async def told(bucket: bytes = ONE, question: str = "a") -> int:
            return await fresh.answer(bucket, question, ask)

        assert await asyncio.gather(*(told() for _ in range(5))) == [1] * 5
        assert await told() == 1
        assert [await told(TWO), await told(question="b"), await told()] == [2, 3, 1]
        fresh.forget(ONE)
        assert [await told(), await told(TWO)] == [4, 2]
        fresh.forget(None)
        assert [await told(), await told(TWO)] == [5, 6]
        now[0] += SECONDS
        assert await told() == 7
        early = asyncio.create_task(told(question="c"))
        await asyncio.sleep(0)
        fresh.forget(ONE)  # while the first is being asked: who comes later asks anew
        assert [await told(question="c"), await early] == [9, 8]

    asyncio.run(scene())


def test_who_goes_away_and_what_fails_leave_the_others_their_answer() -> None:
    async def scene() -> None:
        fresh, failing = Fresh(lambda: 0.0), [True]

        async def ask() -> str:
            await asyncio.sleep(0.01)
            if failing[0]:
                raise LookupError
            return "good"

        tasks = [asyncio.create_task(fresh.answer(ONE, "a", ask)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        for task in tasks[1:]:
            with pytest.raises(LookupError):
                await task
        failing[0] = False
        assert await fresh.answer(ONE, "a", ask) == "good"  # a failure is not remembered

    asyncio.run(scene())


@pytest.mark.parametrize("seed", range(5))
def test_memory_is_bounded_and_counted_right(seed: int) -> None:
    draw, now = random.Random(seed), [0.0]
    fresh = Fresh(lambda: now[0])
    for number in range(3000):
        bucket = bytes([draw.randrange(40)]) * 32
        match draw.randrange(8):
            case 0:
                fresh.forget(bucket if draw.random() < 0.9 else None)
            case 1:
                now[0] += draw.random()
            case _:
                data = draw.randbytes(draw.choice((10, 5_000, 60_000, 70_000)))
                fresh.stored(bucket, f"a/{number}", data)
                assert fresh.object(bucket, f"a/{number}") == (data if len(data) <= 64 << 10 else None)
        held = sum(1024 + sum(map(len, known.objects.values())) for known in fresh._known.values())
        assert held == fresh._held <= (8 << 20) + (1 << 20), seed

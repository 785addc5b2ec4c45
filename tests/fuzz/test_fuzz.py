"""A seeded share of fuzzing for every run: seeds, kept corpus and mutations of both end as contents or a named error.

The guided runs, a million inputs a target, are ``python -m tests.fuzz``. More here: ``VAULTSYNC_EXAMPLES=20000``.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS, Target

NUMBER = int(os.environ.get("VAULTSYNC_EXAMPLES", "150"))
EDGES = [0, 1, 0x7F, 0x80, 0xFE, 0xFF, 0xC0, 0xC1, 0xC4, 0xD9, 0xDF]


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.choice(EDGES)
            case 2:
                del data[at : at + rng.choice([1, 2, 8, 64])]
            case 3:
                data[at:at] = bytes(rng.choice(EDGES) for _ in range(rng.choice([1, 2, 4, 8])))
            case 4:
                other = rng.choice(seeds)
                start = rng.randrange(len(other) + 1)
                data[at : at + 8] = other[start : start + rng.choice([4, 8, 32])]
            case 5:
                data[at:at] = data[at : at + rng.choice([1, 8, 64])] * rng.choice([1, 2, 9])
            case _:
                data = data[: len(data) - rng.choice([0, 1, 4, 32])]
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_outside_bytes_end_as_contents_or_as_a_named_error(target: Target) -> None:
    seeds = [*target.seeds(), *corpus.load(target.name), b""]
    for seed in seeds:
        target(seed)
    for number in range(NUMBER):
        rng = random.Random(f"{target.name}/{number}")
        data = mutated(rng, seeds)
        try:
            target(data)
        except Exception as error:
            pytest.fail(f"{target.name}/{number}: {type(error).__name__}: {error}\n{data.hex()}")


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_a_seed_is_read(target: Target) -> None:
    """Else the fuzzer would knock at a closed door."""
    assert target.seeds()
    read = 0
    for seed in target.seeds():
        try:
            target.run(seed)
            read += 1
        except target.raises:
            pass
    assert read

"""The graph against plain sets of ancestors."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.document.model import EXAMPLES
from vaultsync.document.graph import Graph

ACTORS = [bytes([n]) * 16 for n in range(4)]


class World:
    """A random graph: every change builds on some heads of what its actor has seen, and on its actor's last one."""

    def __init__(self, rng: random.Random, size: int) -> None:
        self.order: list[bytes] = []
        self.past: dict[bytes, set[bytes]] = {}  # ancestors, itself included
        self.actor: dict[bytes, int] = {}
        self.ops: dict[bytes, range] = {}
        self.deps: dict[bytes, tuple[bytes, ...]] = {}
        seen: list[set[bytes]] = [set() for _ in ACTORS]
        for n in range(size):
            actor = rng.randrange(len(ACTORS))
            if rng.random() < 0.4:
                seen[actor] |= seen[rng.randrange(len(ACTORS))]
            hash = n.to_bytes(32)
            heads = {h for h in seen[actor] if not any(h in self.past[o] and h != o for o in seen[actor])}
            mine = [h for h in self.order if self.actor[h] == actor]
            deps = heads | set(mine[-1:])
            start = max((self.ops[d].stop for d in deps), default=1)
            self.order.append(hash)
            self.actor[hash] = actor
            self.deps[hash] = tuple(sorted(deps))
            self.ops[hash] = range(start, start + rng.randint(1, 4))
            self.past[hash] = {hash}.union(*(self.past[d] for d in deps))
            seen[actor] |= self.past[hash]

    def add(self, graph: Graph, hash: bytes) -> None:
        mine = [h for h in self.order if self.actor[h] == self.actor[hash]]
        ops = self.ops[hash]
        seq = mine.index(hash) + 1
        assert graph.add(hash, ACTORS[self.actor[hash]], seq, ops.start, ops.stop - 1, self.deps[hash])

    def check(self, graph: Graph, known: list[bytes], rng: random.Random) -> None:
        assert len(graph) == len(known)
        for deps in [(h,) for h in known] + [tuple(rng.sample(known, min(len(known), 2))) for _ in range(5)]:
            ancestors = set().union(*(self.past[d] for d in deps))
            past = graph.past(deps)
            for number, actor in enumerate(ACTORS):
                assert past.last_seq(actor) == sum(self.actor[h] == number for h in ancestors)
            for hash in known:
                for counter in self.ops[hash]:
                    op = (counter, ACTORS[self.actor[hash]])
                    assert graph.holder(op) == hash
                    assert past.covers(op) == (hash in ancestors)
        apart = {h for h in known if any(h not in self.past[o] and o not in self.past[h] for o in known)}
        assert apart <= set(graph.concurrent())


@given(st.integers(0, 1 << 32), st.integers(1, 14))
@settings(max_examples=EXAMPLES or 150, deadline=None)
def test_pasts_and_concurrency(seed, size):
    rng = random.Random(seed)
    world = World(rng, size)
    graph = Graph()
    for hash in world.order:
        world.add(graph, hash)
    world.check(graph, world.order, rng)
    apart = {h for h in world.order if any(h not in world.past[o] and o not in world.past[h] for o in world.order)}
    assert set(graph.concurrent()) == apart


@given(st.integers(0, 1 << 32), st.integers(1, 12))
@settings(max_examples=EXAMPLES or 150, deadline=None)
def test_forgetting_undoes_adding(seed, size):
    rng = random.Random(seed)
    world = World(rng, size)
    graph = Graph()
    kept = rng.randint(0, size)
    for hash in world.order:
        world.add(graph, hash)
    for hash in reversed(world.order[kept:]):
        graph.forget_last(ACTORS[world.actor[hash]])
    if kept:
        world.check(graph, world.order[:kept], rng)
    for hash in world.order[kept:]:
        assert hash not in graph
        world.add(graph, hash)
    world.check(graph, world.order, rng)


def test_what_is_not_known():
    graph = Graph()
    assert graph.info(b"x" * 32) is None
    assert graph.holder((1, ACTORS[0])) is None
    assert graph.last_seq(ACTORS[0]) == 0
    assert graph.hash_at(ACTORS[0], 1) is None
    assert not graph.add(b"x" * 32, ACTORS[0], 2, 1, 1, ())
    assert graph.add(b"x" * 32, ACTORS[0], 1, 5, 6, ())
    assert [graph.holder((n, ACTORS[0])) for n in (4, 5, 6, 7)] == [None, b"x" * 32, b"x" * 32, None]
    assert graph.hash_at(ACTORS[0], 0) is None

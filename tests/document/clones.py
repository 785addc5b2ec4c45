"""Made-up histories of devices of which some are copies of others, on the document alone.

A `Replica` is what one installation has: the changes it has verified (its wire) and the document that they come to.
Edits are written as a vault writes them: cells of every kind of field, ``$edited``, and deletions that cover what was
seen. `World` remembers every value that was written under a key that nobody else writes, and which edits
each deletion saw.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence

from vaultsync.document.changes import Change, OpId, Scalar, decode
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.layout import ENTRIES, GENESIS_HASH, new_ulid
from vaultsync.document.transplant import Resolution, resolve


class Beginning:
    """The base of a whole history: the first change of every vault."""

    def max_op(self, hash: bytes) -> int | None:
        return 4 if hash == GENESIS_HASH else None

    def value(self, obj: OpId, key: str, op: OpId) -> Scalar:
        raise AssertionError("nothing lies before the first change")


def actor_of(name: str, life: int) -> bytes:
    return hashlib.sha256(f"{name}/{life}".encode()).digest()[:16]


class Replica:
    def __init__(self, name: str, actor: bytes, wire: dict[bytes, Change]) -> None:
        self.name = name
        self.actor = actor
        self.lives = 0
        self.wire = dict(wire)
        self.last: Change | None = max(
            (c for c in wire.values() if c.actor == actor), key=lambda c: c.seq, default=None
        )
        self.resolution: Resolution
        self.engine: Engine
        self.rebuild()

    def rebuild(self) -> None:
        self.resolution = resolve(self.wire.values(), Beginning())
        self.engine = Engine.new()
        images = {image.hash: image for image in self.resolution.images.values()}
        ordered = sorted(images.values(), key=lambda change: (change.start_op, change.hash))
        self.engine.apply(ordered)  # through the gate
        if self.last is not None and self.engine.own_changes(self.actor, self.last.seq - 1) != [self.last.chunk]:
            self.renew()  # what it wrote last is made anew, or somebody else went on after it

    def renew(self) -> None:
        self.lives += 1
        self.actor, self.last = actor_of(self.name, self.lives), None

    def write(self, edits: Sequence[Edit]) -> bytes:
        (change,) = self.engine.commit(self.actor, edits)
        self.last = self.wire[change.hash] = decode(change.chunk)
        if self.resolution.waiting:
            self.rebuild()  # a copy may have written the very same, and others have built on it
        return change.hash

    def pull(self, other: Replica, rng: random.Random | None = None) -> None:
        """Everything that the other has, or with ``rng`` a part of it, in no order."""
        new = [hash for hash in other.wire if hash not in self.wire]
        if not new:
            return
        if rng is not None:
            new = rng.sample(new, rng.randint(1, len(new)))
        self.wire.update({hash: other.wire[hash] for hash in new})
        self.rebuild()


class World:
    """One history from a seed. ``told``: (entry, key) -> value, of keys that are written once. ``edits``: entry -> the
    changes that edited it. ``seen``: entry -> for each deletion of it, the changes that its author saw."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = 1_000
        self.told: dict[tuple[str, str], Scalar] = {}
        self.count = 0
        self.edits: dict[str, set[bytes]] = {}
        self.seen: dict[str, list[set[bytes]]] = {}
        founder = Replica("founder", actor_of("founder", 0), {})
        for _ in range(self.rng.randint(1, 4)):
            self.add(founder)
        self.replicas = [founder]

    # ---- acts -------------------------------------------------------------------------------------------------
    def now(self) -> int:
        self.clock += self.rng.randint(1, 3)
        return self.clock

    def _edited(self, replica: Replica, entry: str) -> Edit:
        key = f"$edited/{replica.actor.hex()}"
        before = (replica.engine.read(ENTRIES, entry) or {}).get(key)
        own = before if isinstance(before, int) else 0
        return Edit(ENTRIES, entry, key, max(self.now(), own + 1))

    def _cells(self) -> list[tuple[str, Scalar]]:
        """Cells of one field of some kind, under keys that nobody else writes."""
        self.count += 1
        n = self.count
        return self.rng.choice(
            [
                [(f"text{n}", f"text {n}")],
                [(f"secret{n}", f"s3cret {n}\0é")],
                [(f"note{n}", f"line {n}"), (f"note{n}/a1", f"second {n}"), (f"note{n}@a1", "V")],
                [("tags/" + f"tag {n}", True)],
                [(f"items/i{n}", f"item {n}"), (f"items@i{n}", "c")],
                [(f"number{n}", n), (f"float{n}", n + 0.5)],
                [(f"flag{n}", n % 2 == 0), (f"null{n}", None)],
                [(f"instant{n}", 1_700_000_000_000 + n)],
                [(f"file{n}", json.dumps([f"scan{n}.pdf", n]))],
            ]
        )

    def add(self, replica: Replica) -> None:
        entry = new_ulid(self.now(), self.rng.randbytes)
        self._write(replica, entry, [("$type", "login"), ("$created", self.now()), *self._cells()])

    def _write(self, replica: Replica, entry: str, cells: Sequence[tuple[str, Scalar]]) -> None:
        edits = [Edit(ENTRIES, entry, key, value) for key, value in cells]
        self._note(entry, replica.write([*edits, self._edited(replica, entry)]))
        self.told.update({(entry, key): value for key, value in cells})

    def edit(self, replica: Replica) -> None:
        entries = replica.engine.entry_ids()
        roll = self.rng.random()
        if not entries or roll < 0.25:
            self.add(replica)
        elif roll < 0.75:
            self._write(replica, self.rng.choice(entries), self._cells())
        elif roll < 0.85:  # everybody writes this one
            entry = self.rng.choice(entries)
            shared = Edit(ENTRIES, entry, "shared", f"{self.now()}")
            self._note(entry, replica.write([shared, self._edited(replica, entry)]))
        elif roll < 0.92:
            self.delete(replica, self.rng.choice(entries))
        else:
            replica.write([Edit("settings", "", f"setting{self.now()}", self.clock)])

    def delete(self, replica: Replica, entry: str) -> None:
        row = replica.engine.read(ENTRIES, entry) or {}
        vector = {key.removeprefix("$edited/"): value for key, value in row.items() if key.startswith("$edited/")}
        text = json.dumps(vector, sort_keys=True, separators=(",", ":"))
        knows = replica.wire.keys() - replica.resolution.waiting.keys()  # what waits is not seen
        if row.get(f"$deleted/{replica.actor.hex()}") != text:  # else it was deleted just so before
            replica.write([Edit(ENTRIES, entry, f"$deleted/{replica.actor.hex()}", text)])
        self.seen.setdefault(entry, []).append(knows)

    def _note(self, entry: str, hash: bytes) -> None:
        self.edits.setdefault(entry, set()).add(hash)

    def trashed(self, entry: str) -> bool:
        """Whether some deletion saw each of its edits."""
        seen = self.seen.get(entry, [])
        return bool(seen) and all(any(edit in knows for knows in seen) for edit in self.edits[entry])

    # ---- copies and meetings ----------------------------------------------------------------------------------
    def copy(self, replica: Replica, name: str) -> None:
        """A copy of the file that goes on under the same actor."""
        self.replicas.append(Replica(name, replica.actor, replica.wire))

    def join(self, name: str) -> None:
        self.replicas.append(Replica(name, actor_of(name, 0), self.rng.choice(self.replicas).wire))

    def meet(self, *, whole: bool = False) -> None:
        one, other = self.rng.sample(self.replicas, 2)
        one.pull(other, None if whole else self.rng)

    def settle(self) -> None:
        for _ in range(2):
            for one in self.replicas:
                for other in self.replicas:
                    one.pull(other)


def play(seed: int) -> World:
    """A history with one to three copies of some devices, and others that build on what any of them wrote."""
    world = World(seed)
    rng = world.rng
    for number in range(rng.randint(0, 2)):
        world.join(f"before {number}")
    for _ in range(rng.randint(0, 4)):
        world.edit(rng.choice(world.replicas))
    for number in range(rng.choice([1, 1, 1, 2, 2, 3])):
        world.copy(rng.choice(world.replicas), f"copy {number}")
    for number in range(rng.randint(0, 2)):
        world.join(f"after {number}")
    for _ in range(rng.randint(4, 24)):
        if rng.random() < 0.6 or len(world.replicas) < 2:
            world.edit(rng.choice(world.replicas))
        else:
            world.meet(whole=rng.random() < 0.7)
    return world

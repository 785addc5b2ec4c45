"""Transplanting: what becomes of a branch when two clones of one device both wrote.

An engine holds one chain of changes an actor. When two copies of a vault file both went on, there are two: one actor,
one number, two changes. All of them were signed and all of them hold somebody's edits. So everybody keeps one of the
branches as it is and makes the other anew under another actor, together with whatever was built on it::

    C1 -- C2 -- C3  -- C4            kept: of two with one number, the smaller hash
            `-- C3' -- C4'           made anew as T1 - T2, T an actor named after C3'
                  `-- Z7             and so, after it, is the other device's change that knew C3'

A change that is made anew keeps its operations one for one. Only names change: of its actor, of its dependencies, of
the operations that it refers to, and, on the losing branch itself, of the incarnation in ``$edited/`` and ``$deleted/``
keys, so that the two branches' edits of one entry stay two edits; deletions that saw them are told of it in their
vectors.

`resolve` is a pure function of the changes that are known, so everybody who knows the same ones makes the same bytes.
Who knows less may keep another branch for a while, and others may have built on what it made meanwhile. What would have
been made knowing less is therefore made too when a change needs it (a choice of branches at every fork says all of what
somebody may have known), and such a change is carried over like any other. Nothing here needs the engine.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice, product
from typing import Final, NamedTuple, Protocol

from ..errors import MalformedChange
from ..limits import MAX_FORK_STATES, MAX_VECTOR_BYTES
from .codec import Action, Change, Op, OpId, Scalar, decode_own, encode

__all__ = ["Base", "Resolution", "computed_actor", "resolve"]

_LABEL: Final = b"vaultsync/v1/transplant\0"
_EDITED, _DELETED = "$edited/", "$deleted/"


class Base(Protocol):
    """The part of the document that lies before every fork, or beside all of them."""

    def max_op(self, hash: bytes, /) -> int | None:
        """Counter of the last operation of a change of that part; ``None`` for a change that is not in it."""
        ...

    def value(self, obj: OpId, key: str, op: OpId, /) -> Scalar:
        """What an operation of that part wrote."""
        ...


class _Target(NamedTuple):
    """Under which actor, and as which of its changes, a change is made anew."""

    actor: bytes
    seq: int


class _Place(NamedTuple):
    """Where branches part: the changes of one actor and number that follow the same one of it (``b""``: the base's)."""

    actor: bytes
    seq: int
    after: bytes


class _Edit(NamedTuple):
    """A time of editing that stands under one incarnation's key and was written under another's; ``before``: the value
    that it followed there."""

    obj: OpId
    old: str
    new: str
    value: int
    before: int | None

    def after(self, earlier: _Edit) -> _Edit:
        """From the name that it has in another version to the one that it has here."""
        return self._replace(old=earlier.new, before=self.before if earlier.new == self.old else None)


def _as_written(change: Change) -> tuple[_Edit, ...]:
    """The times of editing of a change under its own name."""
    name = change.actor.hex()
    return tuple(
        _Edit(op.obj, name, name, op.value, None)
        for op in change.ops
        if op.obj is not None and op.key == _EDITED + name and type(op.value) is int
    )


@dataclass(frozen=True)
class Resolution:
    """What the known changes come to.

    ``images``: each of them by its hash, and the change that stands for it in the document (most often itself).
    ``waiting``: those that cannot be placed yet, and the dependencies that are missing. ``refused``: those that no
    device of ours can have made. ``contested``: actors of which there are several branches. ``versions``: the hashes of
    everything that stood or stands for one of them, as far as it was looked at. ``follows``: by hash the change of the
    same actor that each one follows, ``b""`` for one of the base, ``None`` while its past is not known.
    """

    images: Mapping[bytes, Change]
    waiting: Mapping[bytes, frozenset[bytes]]
    refused: Mapping[bytes, MalformedChange]
    contested: frozenset[bytes]
    versions: frozenset[bytes]
    follows: Mapping[bytes, bytes | None]

    @property
    def moved(self) -> frozenset[bytes]:
        """The changes that the document holds another change for."""
        return frozenset(hash for hash, image in self.images.items() if image.hash != hash)


def resolve(
    changes: Iterable[Change],
    base: Base,
    *,
    wanted: Collection[bytes] = (),
) -> Resolution:
    """Place every one of ``changes`` in one document, after or beside ``base``.

    ``changes``: all known ones that are not in the base, as their writers made them. ``wanted``: hashes that others
    depend on; if they are versions of known changes, they are found.
    """
    world = _World({change.hash: change for change in changes}, base)
    while True:
        known = len(world.versions)
        done = world.place(world.choices())
        if (done.waiting or not world.versions.keys() >= set(wanted)) and world.forks():
            for choice in world.states():
                world.place(choice)
        if len(world.versions) == known:
            return Resolution(
                done.images,
                {hash: frozenset(missing) for hash, missing in done.waiting.items()},
                done.refused,
                frozenset(place.actor for place in world.forks()),
                frozenset(world.versions),
                {hash: world.before(change) for hash, change in world.wire.items()},
            )


def computed_actor(change: Change) -> bytes:
    """The actor under which a run is made anew that begins with this change."""
    return sha256(_LABEL + change.actor + change.hash).digest()[:16]


@dataclass
class _Pass:
    """One way of placing everything: by one choice at every fork."""

    images: dict[bytes, Change] = field(default_factory=dict)  # wire hash -> what stands for it
    waiting: dict[bytes, set[bytes]] = field(default_factory=dict)
    refused: dict[bytes, MalformedChange] = field(default_factory=dict)
    roots: dict[bytes, bytes] = field(default_factory=dict)  # of those made anew: where their run began
    lost: set[bytes] = field(default_factory=set)  # runs that lost their place to another branch
    edits: dict[bytes, tuple[_Edit, ...]] = field(default_factory=dict)
    moved: dict[bytes, frozenset[bytes]] = field(default_factory=dict)


class _World:
    """Every change that anybody may refer to: as made, and as made anew under some knowledge."""

    def __init__(self, wire: dict[bytes, Change], base: Base) -> None:
        self.wire = wire
        self.base = base
        self.origin = {hash: hash for hash in wire}  # any version of a change -> the one that was made first
        self.versions: dict[bytes, Change] = dict(wire)
        self.edits: dict[bytes, tuple[_Edit, ...]] = {}  # of those made anew, by their hash
        self._order = sorted(wire.values(), key=lambda change: (change.start_op, change.hash))
        self._at: dict[tuple[bytes, int], list[Change]] = {}
        for change in self._order:
            self._at.setdefault((change.actor, change.seq), []).append(change)
        self._contested = {actor for (actor, _), changes in self._at.items() if len(changes) > 1}

    # ---- forks ------------------------------------------------------------------------------------------------
    def _places(self) -> dict[_Place, list[bytes]]:
        places: dict[_Place, list[bytes]] = {}
        for (actor, seq), changes in self._at.items():
            for change in changes:
                before = self.before(change)
                if before is not None:
                    places.setdefault(_Place(actor, seq, before), []).append(change.hash)
        return places

    def forks(self) -> dict[_Place, list[bytes]]:
        """Where branches part, with the first change of each."""
        return {place: hashes for place, hashes in self._places().items() if len(hashes) > 1}

    def choices(self) -> dict[_Place, bytes]:
        """At every place the branch that is kept, knowing all that is known."""
        return {place: min(hashes) for place, hashes in self._places().items()}

    def states(self) -> Iterable[dict[_Place, bytes]]:
        """Every choice that somebody may have made who knew less."""
        forks, all_ = self.forks(), self.choices()
        for picked in islice(product(*forks.values()), MAX_FORK_STATES):
            yield all_ | dict(zip(forks, picked, strict=True))

    def before(self, change: Change) -> bytes | None:
        """The change of the same actor that this one follows; ``b""`` for one of the base, ``None`` while its past is
        not known."""
        candidates = self._at.get((change.actor, change.seq - 1))
        if not candidates:
            return b""
        direct = [candidate.hash for candidate in candidates if candidate.hash in change.deps]
        if direct:
            return direct[0]
        if change.actor not in self._contested:
            return candidates[0].hash
        past = self.past(change)
        return next((candidate.hash for candidate in candidates if candidate.hash in past), None)

    def past(self, change: Change) -> set[bytes]:
        """The ancestors of a change beyond the base, as far as they are known."""
        found: set[bytes] = set()
        stack = list(change.deps)
        while stack:
            hash = stack.pop()
            if hash not in found and hash in self.versions:
                found.add(hash)
                stack += self.versions[hash].deps
        return found

    # ---- placing ----------------------------------------------------------------------------------------------
    def place(self, choice: Mapping[_Place, bytes]) -> _Pass:
        done = _Pass()
        left: Sequence[Change] = self._order
        while left:
            later = []
            for change in left:
                missing = self._missing(change, choice, done)
                if missing:
                    later.append(change)
                    done.waiting[change.hash] = missing
                    continue
                done.waiting.pop(change.hash, None)
                try:
                    self._place(change, choice, done)
                except MalformedChange as error:
                    done.refused[change.hash] = error
            if len(later) == len(left):
                break
            left = later
        return done

    def _missing(self, change: Change, choice: Mapping[_Place, bytes], done: _Pass) -> set[bytes]:
        needed = set(change.deps)
        before = self.before(change)
        if before is None or _Place(change.actor, change.seq, before) not in choice:
            return {dep for dep in needed if dep not in self.origin} or needed
        if before:
            needed.add(before)
        return {
            dep
            for dep in needed
            if (self.origin[dep] not in done.images if dep in self.origin else self.base.max_op(dep) is None)
        }

    def _image(self, hash: bytes, done: _Pass) -> Change | None:
        """What stands for any version of a change; ``None`` for one of the base."""
        origin = self.origin.get(hash)
        return None if origin is None else done.images[origin]

    def _place(self, change: Change, choice: Mapping[_Place, bytes], done: _Pass) -> None:
        hash = change.hash
        images = [self._image(dep, done) for dep in change.deps]
        deps = tuple(sorted({i.hash if i else dep for i, dep in zip(images, change.deps, strict=True)}))
        before = self.before(change) or b""
        chosen = choice[_Place(change.actor, change.seq, before)] == hash
        follows = not before or done.images[before].hash == before
        if chosen and follows and set(deps) == set(change.deps):
            done.images[hash] = change
            return
        if chosen and not follows:
            root, last = done.roots[before], done.images[before]
            target = _Target(last.actor, last.seq + 1)
        else:
            root, target = hash, _Target(computed_actor(change), 1)
        if before and before not in change.deps and before not in self.past(change):
            raise MalformedChange("a change that does not build on its actor's previous one")
        done.roots[hash] = root
        lost = not chosen or (root in done.lost)
        if lost:
            done.lost.add(root)
        self._make(change, target, deps, done, rename=lost)

    # ---- making anew ------------------------------------------------------------------------------------------
    def _moved(self, hash: bytes, done: _Pass) -> frozenset[bytes]:
        """Of a version of a change: it and its ancestors as far as something else stands for them."""
        order, stack = [], [hash]
        while stack:  # no recursion: branches may be long
            one = stack.pop()
            if one in done.moved or one not in self.versions:
                continue
            todo = [dep for dep in self.versions[one].deps if dep in self.versions and dep not in done.moved]
            if todo:
                stack += [one, *todo]
            else:
                order.append(one)
                above = [done.moved[dep] for dep in self.versions[one].deps if dep in done.moved]
                image = self._image(one, done)
                own = frozenset([one]) if image is not None and image.hash != one else frozenset[bytes]()
                done.moved[one] = own.union(*above)
        return done.moved.get(hash, frozenset())

    def _make(self, change: Change, target: _Target, deps: tuple[bytes, ...], done: _Pass, *, rename: bool) -> None:
        ends = [
            end
            for dep in deps
            if (end := self.versions[dep].max_op if dep in self.versions else self.base.max_op(dep)) is not None
        ]
        moved = frozenset[bytes]().union(*(self._moved(dep, done) for dep in change.deps))
        maker = _Maker(self, change, target, max(ends, default=0) + 1, moved, done, rename=rename)
        ops = maker.ops()
        image = decode_own(encode(target.actor, target.seq, maker.start_op, deps, ops))
        self.versions[image.hash], self.origin[image.hash] = image, change.hash
        done.images[change.hash] = image
        done.edits[change.hash] = self.edits[image.hash] = tuple(maker.edits)


class _Maker:
    """Makes one change anew."""

    def __init__(
        self,
        world: _World,
        change: Change,
        target: _Target,
        start_op: int,
        moved: Collection[bytes],
        done: _Pass,
        *,
        rename: bool,
    ) -> None:
        self._world = world
        self._change = change
        self._target = target
        self.start_op = start_op
        self._done = done
        self._rename = rename
        self._old, self._new = change.actor.hex(), target.actor.hex()
        self._runs: dict[bytes, list[tuple[Change, Change]]] = {}
        self._past_edits: list[_Edit] = []
        for hash in sorted(moved, key=lambda one: (world.versions[one].start_op, one)):
            version, origin = world.versions[hash], world.origin[hash]
            self._runs.setdefault(version.actor, []).append((version, done.images[origin]))
            written = _as_written(world.wire[origin])
            pairs = zip(world.edits.get(hash, written), done.edits.get(origin, written), strict=True)
            self._past_edits += [edit.after(earlier) for earlier, edit in pairs if earlier.new != edit.new]
        self.edits: list[_Edit] = []

    def ops(self) -> list[Op]:
        made: list[Op] = []
        for op in self._change.ops:
            obj = None if op.obj is None else self._id(op.obj)
            key = self._key(op.key)
            preds = [self._id(pred) for pred in op.preds if self._key_at(pred, op.key, made) == key]
            if op.action is Action.DELETE and not preds:
                raise MalformedChange("a deletion of nothing")
            value = op.value
            if obj is not None:
                if op.key == _EDITED + self._old and type(value) is int:
                    self._note_edit(obj, op, key, value)
                if key.startswith(_DELETED) and isinstance(value, str):
                    value = self._vector(obj, value)
            made.append(Op(obj, key, op.action, value, tuple(sorted(preds))))
        return made

    def _key(self, key: str) -> str:
        if self._rename:
            for prefix in (_EDITED, _DELETED):
                if key == prefix + self._old:
                    return prefix + self._new
        return key

    # ---- names of operations ----------------------------------------------------------------------------------
    def _own(self, op: OpId) -> bool:
        return op[1] == self._change.actor and op[0] >= self._change.start_op

    def _run(self, op: OpId) -> tuple[Change, Change] | None:
        return next((pair for pair in self._runs.get(op[1], ()) if pair[0].start_op <= op[0] <= pair[0].max_op), None)

    def _id(self, op: OpId) -> OpId:
        """The same operation as it is called in the document."""
        if self._own(op):
            return self.start_op + op[0] - self._change.start_op, self._target.actor
        pair = self._run(op)
        return op if pair is None else (pair[1].start_op + op[0] - pair[0].start_op, pair[1].actor)

    def _key_at(self, op: OpId, key: str, made: Sequence[Op]) -> str:
        """The key that an overwritten operation stands under in the document. (It once stood under ``key``.)"""
        if self._own(op):
            at = op[0] - self._change.start_op
            return made[at].key if at < len(made) else key
        pair = self._run(op)
        return key if pair is None else pair[1].ops[op[0] - pair[0].start_op].key

    # ---- times of editing, and deletions that saw them --------------------------------------------------------
    def _note_edit(self, obj: OpId, op: Op, key: str, value: int) -> None:
        before = None
        for pred in op.preds if key != op.key else ():
            if not self._own(pred) and self._run(pred) is None and op.obj is not None:
                found = self._value(op.obj, op.key, pred)
                before = found if type(found) is int else None
        self.edits.append(_Edit(obj, self._old, key.removeprefix(_EDITED), value, before))

    def _value(self, obj: OpId, key: str, op: OpId) -> Scalar:
        past: set[bytes] | None = None
        for change in self._world.wire.values():
            if change.actor == op[1] and change.start_op <= op[0] <= change.max_op:
                past = self._world.past(self._change) if past is None else past
                if change.hash in past:
                    return change.ops[op[0] - change.start_op].value
        return self._world.base.value(obj, key, op)

    def _vector(self, obj: OpId, text: str) -> str:
        """A deletion's vector with the edits that it saw under the names that they have now."""
        seen = [edit for edit in (*self._past_edits, *self.edits) if edit.obj == obj and edit.old != edit.new]
        if not seen or len(text) > MAX_VECTOR_BYTES:
            return text
        try:
            vector = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if not isinstance(vector, dict) or not all(type(count) is int for count in vector.values()):
            return text
        named = dict(vector)
        for old in {edit.old: None for edit in seen if edit.value <= vector.get(edit.old, edit.value - 1)}:
            named.pop(old)
        for edit in seen:
            count = vector.get(edit.old)
            if count is None or count < edit.value:
                continue  # looked away before that was written
            named[edit.new] = max(edit.value, named.get(edit.new, edit.value))
            if edit.before is not None:
                named[edit.old] = max(min(count, edit.before), named.get(edit.old, edit.before))
        return json.dumps(named, sort_keys=True, separators=(",", ":"))

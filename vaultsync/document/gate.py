"""The gate: what a decoded change has to fulfil before the engine may see it.

The engine accepts changes that later make a document unloadable, panics on others, and trusts every counter. So a
change from outside is held against what is known of the document, and only one that this library could have made
passes:

* its dependencies are known; it is the next of its actor's chain, and its own predecessor lies in its past;
* its operation counters begin right after the largest one of its dependencies;
* it writes only into the four sections or into an entry, makes maps only as new entries, and holds scalars only;
* what it overwrites is a value that some change *in its past* left in the same map under the same key.

"In its past" matters: whether a change passes is then a function of the change and its ancestors, the same on every
device, whatever else each of them has received already.

Pure: what is known comes through ``Known``. Nothing here decides between concurrent values; that is the engine's.

The rules stand in ``_touches``, operation by operation. Nearly all changes make entries and fill them, or write keys
over values that are known; ``_touches_plainly`` looks at those by column, and never refuses: whatever is not plain goes
the long way, which says what is wrong with it, or that nothing is. So it has to hold that *what passes there passes
here, and touches the same*. ``tests/document/test_plainly.py`` tries that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple, Protocol, TypeAlias

from ..errors import MalformedChange, MissingDependencies
from ..limits import MAX_FLAT_KEY_CHARS, MAX_KEY_CHARS, MAX_OP_COUNTER
from .layout import ENTRIES, GENESIS_ACTOR, GENESIS_HASH, SECTION_OBJECTS, SECTIONS, Place, is_entry_id
from .operations import Action, Change, Op, OpId, Table

__all__ = ["ChangeInfo", "Known", "Past", "Touched", "check", "first_change_touches", "follows"]

Touched: TypeAlias = Mapping[tuple[str, str], frozenset[str]]
"""(section, entry id or "") -> the keys that were written there; none for an entry that was only made."""

_PLACES = {obj: Place(section) for section, obj in SECTION_OBJECTS.items()}
_ENTRIES_OBJECT = SECTION_OBJECTS[ENTRIES]
_NO_KEYS: frozenset[str] = frozenset()


class ChangeInfo(NamedTuple):
    """What is remembered of a known change."""

    actor: bytes
    seq: int
    start_op: int
    max_op: int


class Past(Protocol):
    """The ancestors of a change: its dependencies, theirs, and so on."""

    def last_seq(self, actor: bytes) -> int:
        """The last change of that actor among them, or 0."""
        ...

    def covers(self, op: OpId) -> bool:
        """Whether one of them holds this operation."""
        ...


class Known(Protocol):
    """What the gate asks of a document."""

    def change(self, hash: bytes, /) -> ChangeInfo | None:
        """A known change by its hash."""
        ...

    def last_seq(self, actor: bytes, /) -> int:
        """How many changes of that actor are known."""
        ...

    def past(self, deps: tuple[bytes, ...], /) -> Past:
        """The past of a change with these dependencies, all known."""
        ...

    def place(self, obj: OpId, /) -> Place | None:
        """Which map of the layout an object is."""
        ...

    def is_value(self, obj: OpId, key: str, op: OpId, /) -> bool:
        """Whether a known change left, with this operation, a value in that object under that key."""
        ...


def first_change_touches() -> Touched:
    """What the first change of a vault touches: the sections, and no key in them."""
    return {(section, ""): frozenset() for section in SECTIONS}


def check(change: Change, known: Known, *, actor: bytes | None = None, past: Past | None = None) -> Touched:
    """Which places and keys a change writes, if it may be applied to the document that ``known`` describes.

    ``actor``: whose change it has to be, where that is known (the chain of the envelope that carried it). ``past``: its
    past, if it `follows` the change that passed last.
    Raises ``MalformedChange``; ``MissingDependencies`` when the change waits for others, which says nothing bad of it.
    """
    if change.hash == GENESIS_HASH:
        return first_change_touches()
    if actor is not None and change.actor != actor:
        raise MalformedChange("a change by another actor than the chain it came on")
    if past is None:
        past = _check_order(change, known)
    ops = change.ops
    touched = _touches_plainly(change, ops, known, past) if isinstance(ops, Table) else None
    return _touches(change, known, past) if touched is None else touched


def _touches_plainly(change: Change, table: Table, known: Known, past: Past) -> Touched | None:
    """What a change touches that passes and writes every key once, with new values; ``None`` if it might not pass, or
    is of another kind. Keys are compared in sets, so nobody's own earlier value is to be looked for."""
    keys, actions, values, preds = table.keys, table.actions, table.values, table.preds
    longest = max(map(len, keys))
    if longest > MAX_KEY_CHARS or not all(keys):
        return None
    for value in values:
        if type(value) is float and not isfinite(value):
            return None
    start, actor = change.start_op, change.actor
    places: dict[OpId, Place] = {}
    touched: dict[tuple[str, str], frozenset[str]] = {}
    at = makes = 0
    for obj, count in table.objects:
        place = places.get(obj)
        if place is None:
            place = _PLACES.get(obj) or known.place(obj)
            if place is None or not past.covers(obj):
                return None
            places[obj] = place
        end = at + count
        if obj == _ENTRIES_OBJECT:
            for number in range(at, end):
                made = Place(ENTRIES, keys[number])
                if (
                    actions[number] is not Action.MAKE_MAP
                    or values[number] is not None
                    or (preds is not None and preds[number])
                    or made in touched
                    or not is_entry_id(made.entry)
                ):
                    return None
                places[start + number, actor] = made
                touched[made] = _NO_KEYS
            makes += count
        else:
            before = touched.get(place, _NO_KEYS)
            names = before.union(keys[at:end])
            if len(names) != len(before) + count or (longest > MAX_FLAT_KEY_CHARS and not place.entry):
                return None
            touched[place] = names
            if preds is not None:
                for key, overwritten in zip(keys[at:end], preds[at:end], strict=True):
                    if overwritten and not _all_known(change, obj, key, overwritten, known, past):
                        return None
        at = end
    return touched if actions.count(Action.SET) + makes == len(keys) else None


def _all_known(change: Change, obj: OpId, key: str, preds: Sequence[OpId], known: Known, past: Past) -> bool:
    """Whether these are, in order, known values of that key, and the change made neither them nor their map."""
    start, own = change.start_op, change.actor
    if obj[1] == own and obj[0] >= start:
        return False
    last: OpId | None = None
    for pred in preds:
        if (
            (pred[1] == own and pred[0] >= start)
            or (last is not None and pred <= last)
            or not past.covers(pred)
            or not known.is_value(obj, key, pred)
        ):
            return False
        last = pred
    return True


def _touches(change: Change, known: Known, past: Past) -> Touched:
    """The rules, operation by operation."""
    made: dict[OpId, Place] = {}
    places: dict[OpId, Place] = {}
    keys: dict[tuple[str, str], set[str]] = {}
    own: dict[tuple[OpId, str], OpId | None] = {}  # what this change itself has set so far
    for number, op in enumerate(change.ops):
        obj = op.obj
        if obj is None:
            raise MalformedChange("only the first change of a vault writes to the root")
        place = places.get(obj)
        if place is None:
            place = places[obj] = made.get(obj) or _known_place(obj, known, past)
        if place.section == ENTRIES and not place.entry:
            entry = _check_made_entry(op)
            made[change.start_op + number, change.actor] = Place(ENTRIES, entry)
            keys.setdefault((ENTRIES, entry), set())
            continue
        _check_written(op, MAX_KEY_CHARS if place.entry else MAX_FLAT_KEY_CHARS)
        earlier = own.get((obj, op.key))
        if earlier is not None and earlier not in op.preds:
            raise MalformedChange("an operation ignores the value that its own change has set")
        own[obj, op.key] = (change.start_op + number, change.actor) if op.action is Action.SET else None
        if op.preds:
            _check_preds(change, op, earlier, known, past)
        keys.setdefault(place, set()).add(op.key)
    return {place: frozenset(names) for place, names in keys.items()}


def follows(change: Change, last: Change) -> bool:
    """Whether a change is the next one on its actor's chain after ``last``, which has just passed, and builds on
    nothing else. All that ``_check_order`` asks holds then: the actor is one that passed, the only dependency is known
    and the last of the chain, and so is what comes before it; counters go on."""
    return (
        change.deps == (last.hash,)
        and change.actor == last.actor
        and change.seq == last.seq + 1
        and change.start_op == last.max_op + 1
        and change.max_op <= MAX_OP_COUNTER
        and last.actor != GENESIS_ACTOR
    )


def _check_order(change: Change, known: Known) -> Past:
    """Whether the change continues its chain and the operation counters of its dependencies; its past."""
    if len(change.actor) != len(GENESIS_ACTOR) or change.actor == GENESIS_ACTOR:
        raise MalformedChange("a change by an actor that no device has")
    deps = change.deps
    if len(deps) > 1 and len(set(deps)) != len(deps):
        raise MalformedChange("a change names a dependency twice")
    before = [known.change(dep) for dep in deps]
    if None in before:
        raise MissingDependencies(tuple([dep for dep, info in zip(deps, before, strict=True) if info is None]))
    if change.start_op != max([info.max_op for info in before if info], default=0) + 1:
        raise MalformedChange("operation counters do not continue those of the dependencies")
    if change.max_op > MAX_OP_COUNTER:
        raise MalformedChange("operation counters are out of range")
    if change.seq != known.last_seq(change.actor) + 1:
        raise MalformedChange("not the next change of its actor")
    past = known.past(change.deps)
    if past.last_seq(change.actor) != change.seq - 1:
        raise MalformedChange("a change that does not build on its actor's previous one")
    return past


def _known_place(obj: OpId, known: Known, past: Past) -> Place:
    place = _PLACES.get(obj)
    if place is None:
        place = known.place(obj)
    if place is None or not past.covers(obj):
        raise MalformedChange("an operation on an object that its change cannot know")
    return place


def _check_made_entry(op: Op) -> str:
    if op.action is not Action.MAKE_MAP or op.value is not None:
        raise MalformedChange("among the entries, maps are made and nothing else")
    if op.preds:
        raise MalformedChange("an entry is made over another")
    if not is_entry_id(op.key):
        raise MalformedChange("an entry's id is not a ULID")
    return op.key


def _check_written(op: Op, max_chars: int) -> None:
    if op.action is Action.MAKE_MAP:
        raise MalformedChange("a map is made where only scalars belong")
    if not 0 < len(op.key) <= max_chars:
        raise MalformedChange("a key is empty or longer than allowed")
    if op.action is Action.DELETE:
        if op.value is not None:
            raise MalformedChange("a deletion with a value")
        if not op.preds:
            raise MalformedChange("a deletion of nothing")
    elif type(op.value) is float and not isfinite(op.value):
        raise MalformedChange("a number that is not finite")


def _check_preds(change: Change, op: Op, own: OpId | None, known: Known, past: Past) -> None:
    if any(a >= b for a, b in zip(op.preds, op.preds[1:], strict=False)):
        raise MalformedChange("what an operation overwrites is out of order or named twice")
    new = op.obj is not None and op.obj[1] == change.actor and op.obj[0] >= change.start_op  # made by this very change
    for pred in op.preds:
        counter, actor = pred
        if actor == change.actor and counter >= change.start_op:
            if pred != own:
                raise MalformedChange("an operation overwrites what it cannot know")
        elif op.obj is None or new or not past.covers(pred) or not known.is_value(op.obj, op.key, pred):
            raise MalformedChange("an operation overwrites what is no value of its key in its past")

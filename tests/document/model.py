"""What the tests of the document share: a replay model of a vault, histories of several devices, forged changes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from vaultsync.document.changes import Action, Change, Op, OpId, Scalar, encode
from vaultsync.document.engine import DELETED, Edit, Engine
from vaultsync.document.layout import GENESIS_HASH, SECTION_OBJECTS

ENTRIES_OBJECT = SECTION_OBJECTS["entries"]
SETTINGS_OBJECT = SECTION_OBJECTS["settings"]
ANN, BOB, EVE = (bytes([n]) * 16 for n in (0xA1, 0xB2, 0xE5))
ACTORS = (ANN, BOB, EVE)
IDS = tuple(f"01HZY{n:021d}" for n in range(1, 6))
EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "0"))


class Model:
    """The whole rule of merging: a key holds its not-overwritten sets; the largest operation id is shown."""

    def __init__(self) -> None:
        self.cells: dict[tuple[OpId, str], dict[OpId, Scalar]] = {}
        self.maps: dict[str, set[OpId]] = {}

    def replay(self, changes: Iterable[Change]) -> Model:
        for change in changes:
            for counter, op in enumerate(change.ops, change.start_op):
                if op.obj is None:
                    continue
                if op.action is Action.MAKE_MAP:
                    self.maps.setdefault(op.key, set()).add((counter, change.actor))
                    continue
                cell = self.cells.setdefault((op.obj, op.key), {})
                for pred in op.preds:
                    cell.pop(pred, None)
                if op.action is Action.SET:
                    cell[counter, change.actor] = op.value
        return self

    def row(self, obj: OpId) -> dict[str, Scalar]:
        return {key: cell[max(cell)] for (of, key), cell in self.cells.items() if of == obj and cell}

    def entries(self) -> dict[str, dict[str, Scalar]]:
        return {entry: self.row(max(objs)) for entry, objs in self.maps.items()}

    def conflicts(self, entry: str) -> dict[str, list[tuple[Scalar, bytes]]]:
        obj = max(self.maps[entry])
        return {
            key: [(cell[op], op[1]) for op in sorted(cell, reverse=True)]
            for (of, key), cell in self.cells.items()
            if of == obj and len(cell) > 1
        }


def exact(value: Any) -> Any:
    """Rows and values such that ``True``, ``1`` and ``1.0`` (and ``0.0`` and ``-0.0``) differ."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [exact(item) for item in value]
    return (type(value).__name__, repr(value))


def everything(engine: Engine) -> dict[str, dict[str, Scalar]]:
    return dict(engine.read_all())


def shown_conflicts(engine: Engine, entry: str) -> dict[str, list[tuple[Scalar, bytes]]]:
    return {key: [(w.value, w.actor) for w in many] for key, many in engine.conflicts(entry).items()}


# ---- random histories -------------------------------------------------------------------------------------------
texts = st.text(st.characters(codec="utf-8"), max_size=12)
scalars = st.one_of(
    texts,
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
keys = st.sampled_from([*["title", "password"] * 4, "tags/work", "$edited/a1", "\N{SNOWMAN}", "a" * 300, "\0"])
entry_edits = st.builds(
    Edit, st.just("entries"), st.sampled_from([*IDS[:1] * 6, *IDS]), keys, scalars | st.just(DELETED)
)
flat_edits = st.builds(
    Edit, st.sampled_from(["schemas", "devices", "settings"]), st.just(""), keys.map(lambda k: k[:99]), scalars
)
edits = st.lists(st.one_of(entry_edits, entry_edits, entry_edits, flat_edits), min_size=1, max_size=5)
writes = st.tuples(st.just("write"), st.integers(0, 2), edits)
syncs = st.tuples(st.just("sync"), st.integers(0, 2), st.integers(0, 2))
histories = st.lists(st.one_of(writes, writes, syncs), min_size=1, max_size=14)


def missing(source: Engine, target: Engine) -> list[bytes]:
    """The chunks that ``target`` lacks, in causal order."""
    from vaultsync.document.changes import chunk_hash

    return [chunk for chunk in source.changes() if not target.has(chunk_hash(chunk))]


def play(history: Sequence[tuple[str, int, Any]]) -> tuple[list[Engine], list[Change]]:
    """Three devices that write and sync. Also all changes that were made, in an order that respects causality.

    The first device keeps account of conflicts from the start, the others find them when they are first asked.
    """
    devices = [Engine.new() for _ in ACTORS]
    devices[0].conflicts(IDS[0])
    made: list[Change] = []
    for what, device, rest in history:
        if what == "write":
            made += devices[device].commit(ACTORS[device], rest)
        else:
            devices[rest].apply(missing(devices[device], devices[rest]))
    return devices, made


def merge_all(devices: Sequence[Engine]) -> None:
    for source, target in itertools.chain(
        itertools.pairwise(devices), itertools.pairwise(reversed(devices)), itertools.pairwise(devices)
    ):
        target.apply(missing(source, target))


# ---- forged changes ---------------------------------------------------------------------------------------------
def put(obj: OpId | None, key: str, value: Scalar = "x", *preds: OpId) -> Op:
    return Op(obj, key, Action.SET, value, preds)


def delete(obj: OpId | None, key: str, *preds: OpId) -> Op:
    return Op(obj, key, Action.DELETE, None, preds)


def make(key: str, obj: OpId | None = ENTRIES_OBJECT, *preds: OpId) -> Op:
    return Op(obj, key, Action.MAKE_MAP, None, preds)


def forge(*ops: Op, actor: bytes = EVE, seq: int = 1, start: int = 5, deps: Sequence[bytes] = (GENESIS_HASH,)) -> bytes:
    """A canonical change that need not make any sense."""
    return encode(actor, seq, start, deps, ops)

"""What a foreign saved document can do to the process that looks at it, and what it cannot do to this one."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.document.model import EXAMPLES, histories, merge_all, play
from tests.document.mutations import mutate_meaning, world
from tests.document.tables import OpRow, columns, op_columns, op_rows, rebuilt
from vaultsync import limits
from vaultsync.document.branches import recompute
from vaultsync.document.changes import Change, encode
from vaultsync.document.codec import decode_literally, decode_own
from vaultsync.document.engine import Edit, Engine
from vaultsync.document.inspector import Inspection, inspect
from vaultsync.errors import EngineFailure, MalformedChange, MalformedEnvelope, MissingDependencies, VaultClosed
from vaultsync.schema.cells import Raw
from vaultsync.vault.replication.inspection import Bounds, InspectorUnavailable, inspect_apart

ANN, BOB = b"a" * 16, b"b" * 16
ENTRY = "01HZY000000000000000000001"
SMALL = Bounds(256 << 20, 2, 6)
VERDICT = """frame(b'V', b'{"heads": [], "ends": {}, "changes": 1}')"""
TALKS = """
import msgpack, struct, sys
sys.stdin.buffer.read()
out = sys.stdout.buffer
def frame(kind, data): out.write(struct.pack('>cI', kind, len(data)) + data)
def flat(): frame(b'F', msgpack.packb({'settings': {}, 'devices': {}, 'schemas': {}}))
"""


def title(text: str) -> Edit:
    return Edit("entries", ENTRY, "title", text)


def two_writers(count: int = 20) -> Engine:
    engine = Engine.new()
    for number in range(count):
        engine.commit((ANN, BOB)[number % 2], [title(f"t{number}")])
    return engine


def talking(folder: Path, script: str) -> list[str]:
    """A process in the place of the one that looks, that says what ``script`` does."""
    program = folder / "inspector.py"
    program.write_text(TALKS + script)
    return [sys.executable, "-c", f"exec(open({str(program)!r}).read())"]


@pytest.mark.parametrize("gate", [True, False])
def test_what_is_found_is_what_is_there(gate):
    engine = two_writers()
    found = inspect_apart(engine.save(), gate=gate)
    assert (found.heads, found.ends, found.changes) == (engine.heads, recompute(engine, ()), 21)


def test_a_bomb_of_half_a_megabyte_costs_a_process_and_nothing_here():
    head, changes, ops, rest = columns(two_writers(1).save())
    assert rebuilt(head, changes, ops, rest) == two_writers(1).save()
    deflater = zlib.compressobj(9, wbits=-15)
    bomb = deflater.compress(bytes(1 << 29)) + deflater.flush()
    blown = rebuilt(head, changes, [(spec | 8, bomb) if spec == 86 else (spec, data) for spec, data in ops], rest)
    assert len(blown) < 1 << 20
    began = time.monotonic()
    with pytest.raises(MalformedEnvelope, match=r"time or memory|refused"):
        inspect_apart(blown, gate=False, bounds=SMALL)
    assert time.monotonic() - began < 20


def test_changes_that_wait_unseen_behind_a_document_are_refused():
    """The engine loads appended changes whose dependencies are missing, and says nothing of them."""
    other = two_writers()
    orphan = other.changes()[-1]
    document = two_writers(4).save()
    Engine.load(document + orphan)  # so it does
    for hostile in (document + orphan, document + document, orphan, b"", document[:-1], document + b"\0"):
        with pytest.raises(MalformedChange):
            inspect(hostile, gate=True)
    with pytest.raises(MalformedEnvelope):
        inspect_apart(document + orphan, gate=False)


def misplaced() -> bytes:
    """An insider's document: every change is well signed for, and one of them makes a map where none belongs."""
    good = Engine.new()
    good.commit(ANN, [title("t")])
    change: Change = decode_own(good.changes()[-1])
    moved = [op._replace(key="not a ulid") if op.action == 0 else op for op in change.ops]
    bad = encode(change.actor, change.seq, change.start_op, change.deps, moved)
    return Engine.load(None, [bad]).save()


def test_changes_that_the_engine_takes_and_the_gate_does_not_are_refused():
    with pytest.raises(MalformedChange):
        inspect(misplaced(), gate=True)
    with pytest.raises(MalformedEnvelope):
        inspect_apart(misplaced(), gate=True)


def test_mutated_documents_are_refused_or_are_the_document():
    document, seed = two_writers().save(), 20261122
    print(f"seed {seed}")
    rng, engine = random.Random(seed), two_writers()
    for _ in range(200):
        body = bytearray(document[10:])
        for _ in range(rng.randint(1, 3)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        framed = document[8:10] + bytes(body)
        hostile = document[:4] + hashlib.sha256(framed).digest()[:4] + framed
        try:
            found = inspect(hostile, gate=True)
        except MalformedChange:
            continue
        if found.ends == recompute(engine, ()):
            assert found.heads == engine.heads
            assert found.changes == 21


# ---- rows in another order --------------------------------------------------------------------------------------
def contested() -> Engine:
    """Two values of one key, one of them shown; and one that was overwritten by both of two."""
    base = Engine.new()
    base.commit(ANN, [title("base"), Edit("entries", ENTRY, "n", 1), Edit("entries", ENTRY, "a", True)])
    ann, bob = Engine.load(base.save()), Engine.load(base.save())
    ann.commit(ANN, [title("by ann")])
    bob.commit(BOB, [title("by bob"), Edit("entries", ENTRY, "n", 2)])
    ann.apply(bob.changes())
    ann.commit(ANN, [Edit("entries", ENTRY, "n", 3)])
    return ann


def reordered(document: bytes, order: Callable[[list[OpRow]], list[OpRow]]) -> bytes:
    head, changes, ops, rest = columns(document)
    rows = op_rows(ops)
    assert rebuilt(head, changes, op_columns(rows), rest) == document
    return rebuilt(head, changes, op_columns(order(rows)), rest)


def test_p16_a_document_that_shows_another_of_two_contested_values():
    """Every change is signed for and passes the gate, the heads are the right ones: what differs is the order in which
    the document keeps two values, and with it which of them everybody sees who joins from it."""
    engine = contested()
    forged = reordered(engine.save(), lambda rows: [*rows[:-2], rows[-1], rows[-2]])
    shown = Engine.load(forged)
    assert shown.heads == engine.heads
    assert (shown.read("entries", ENTRY) or {})["title"] != (engine.read("entries", ENTRY) or {})["title"]
    for gate in (True, False):
        with pytest.raises(MalformedChange):
            inspect(forged, gate=gate)


def test_p16_rows_in_any_order_but_their_own_are_refused():
    document, engine = contested().save(), contested()
    rows = len(op_rows(columns(document)[2]))
    loaded = 0
    for first in range(rows):
        for second in range(first):

            def swap(order: list[OpRow], first: int = first, second: int = second) -> list[OpRow]:
                order[first], order[second] = order[second], order[first]
                return order

            forged = reordered(document, swap)
            loaded += _loads(forged)
            with pytest.raises(MalformedChange):
                inspect(forged, gate=True)
    assert loaded >= 5  # it is not the engine that refuses these
    assert inspect(document, gate=True).heads == engine.heads


def test_p16_what_overwrote_a_value_in_another_order_is_refused():
    def turn(rows: list[OpRow]) -> list[OpRow]:
        return [dataclasses.replace(row, followers=row.followers[::-1]) for row in rows]

    forged = reordered(contested().save(), turn)
    assert forged != contested().save()
    with pytest.raises(MalformedChange):
        inspect(forged, gate=True)


def _loads(document: bytes) -> bool:
    try:
        Engine.load(document).close()
    except EngineFailure:
        return False
    return True


# ---- as if the changes had made a second document ---------------------------------------------------------------
def in_two_engines(document: bytes, batch: int) -> Inspection:
    """What `inspect` has to find: every change the long way through the gate, and applied, a few at a time."""
    try:
        found = Engine.load(document)
        made = Engine.new()
        chunks = found.changes()
        for start in range(0, len(chunks), batch):
            changes = [decode_literally(chunk) for chunk in chunks[start : start + batch]]
            made.apply([change._replace(ops=tuple(change.ops)) for change in changes])
        if made.heads != found.heads or made.lasts() != found.lasts():
            raise MalformedChange("the document is not what its changes make")
    except (EngineFailure, MissingDependencies):
        raise MalformedChange("the document cannot be loaded") from None
    assert dict(made.read_all()) == dict(found.read_all())
    return Inspection(found.heads, recompute(found, ()), len(chunks))


def outcome(way: Callable[..., Inspection], *arguments: Any, **more: Any) -> Inspection | str:
    try:
        return way(*arguments, **more)
    except MalformedChange as error:
        return str(error)


@given(histories, st.integers(1, 4))
@settings(max_examples=EXAMPLES or 60, deadline=None)
def test_one_engine_finds_what_two_would(history, batch):
    devices, _ = play(history)
    merge_all(devices)
    document = devices[0].save()
    found = outcome(inspect, document, gate=True)
    assert isinstance(found, Inspection)
    assert found == outcome(in_two_engines, document, batch)


def test_one_engine_refuses_what_two_would():
    """Documents of changes that the engine takes, and of which the gate refuses many."""
    counts: Counter[str] = Counter()
    number = EXAMPLES or 600
    for seed in range(max(3, number // 1_000)):
        rng = random.Random(seed)
        made, top = world(seed)
        for _ in range(number // max(3, number // 1_000)):
            try:
                hostile = mutate_meaning(rng, rng.choice(top), rng.choice(made[1:]))
                document = Engine.load(None, [*(c.chunk for c in [*made, *top[:2]]), hostile]).save()
            except (ValueError, TypeError, AttributeError, EngineFailure):
                continue
            found = outcome(inspect, document, gate=True)
            assert found == outcome(in_two_engines, document, rng.randint(1, 20)), hostile.hex()
            counts["refused" if isinstance(found, str) else "found"] += 1
    print(dict(counts))
    assert min(counts["refused"], counts["found"]) > number // 20


def test_a_document_is_made_again_in_one_go_and_an_own_one_is_not(monkeypatch: pytest.MonkeyPatch):
    """Counted: one document is loaded, one made of all changes together; nothing is fed to any."""
    engine, loaded = two_writers(), []
    real = Engine.load
    monkeypatch.setattr(Engine, "load", lambda data, chunks=(): (loaded.append(data), real(data, chunks))[1])
    monkeypatch.setattr(Engine, "apply", None)
    document = engine.save()
    assert inspect(document, gate=True).heads == engine.heads
    assert loaded == [document, None]
    assert inspect(document, gate=False, own=True).heads == engine.heads
    assert loaded == [document, None, document]


@pytest.mark.parametrize(
    "script",
    [
        "import time; time.sleep(60)",
        "print('no frame')",
        "frame(b'V', b'not json')",
        "frame(b'V', b'[' * 100000)",
        """frame(b'V', b'{"heads": [1], "ends": {}, "changes": 1}')""",
        "frame(b'?', b'')",
        "out.write(struct.pack('>cI', b'V', 1 << 30))",
        "import os; os.kill(os.getpid(), 9)",
        "import os\nwhile True: os.write(1, bytes(1 << 16))",
        "raise SystemExit(3)",
        f"{VERDICT}; out.flush(); raise SystemExit(3)",
    ],
)
def test_a_process_that_hangs_dies_or_talks_nonsense(tmp_path: Path, script: str):
    began = time.monotonic()
    with pytest.raises(MalformedEnvelope):
        inspect_apart(bytes(1 << 20), gate=True, command=talking(tmp_path, script), bounds=Bounds(1 << 30, 5, 3))
    assert time.monotonic() - began < 15


# ---- what it shows meanwhile ----------------------------------------------------------------------------------------
class Shown:
    """Takes what is shown, as far as it comes."""

    def __init__(self) -> None:
        self.flat: Mapping[str, Mapping[str, object]] | None = None
        self.rows: list[tuple[str, Mapping[str, object]]] = []
        self.whole = False

    def __call__(self, flat: Mapping[str, Raw], entries: Iterator[tuple[str, Raw]]) -> None:
        self.flat = flat
        for row in entries:
            self.rows.append(row)
        self.whole = True


def many(count: int) -> Engine:
    engine = Engine.new()
    for number in range(count):
        entry = f"01HZY{number:021d}"
        engine.commit(ANN, [Edit("entries", entry, "title", f"t{number}"), Edit("entries", entry, f"n{number % 7}", 1)])
    engine.commit(BOB, [Edit("settings", "", "quota", 3), Edit("devices", "", "aa", "{}")])
    return engine


@pytest.mark.parametrize("count", [0, 1, 2_500])
def test_a_document_is_shown_whole_and_as_it_is(count: int):
    engine, shown = many(count), Shown()
    assert inspect_apart(engine.save(), gate=True, show=shown).heads == engine.heads
    assert shown.whole
    assert shown.rows == list(engine.read_all())
    assert shown.flat == {name: engine.read(name) for name in ("schemas", "devices", "settings")}


def test_it_is_shown_before_it_is_judged_and_refused_all_the_same():
    shown = Shown()
    with pytest.raises(MalformedEnvelope):
        inspect_apart(misplaced(), gate=True, show=shown)
    assert shown.whole
    assert [entry for entry, _ in shown.rows] == ["not a ulid"]


def test_what_is_too_much_to_show_is_judged_without():
    engine, shown = many(12_000), Shown()
    found = inspect_apart(engine.save(), gate=False, show=shown, bounds=Bounds(1 << 30, 60, 60, rows=1 << 19))
    assert found.heads == engine.heads
    assert not shown.whole
    assert len(shown.rows) < 12_000


def test_whoever_looks_may_stop_and_may_fail():
    engine = many(2_500)
    assert inspect_apart(engine.save(), gate=True, show=lambda flat, entries: next(entries)).heads == engine.heads

    def fail(flat: object, entries: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        inspect_apart(engine.save(), gate=True, show=fail)


@pytest.mark.parametrize(
    "script",
    [
        "frame(b'F', b'nonsense')",
        "frame(b'F', msgpack.packb({'settings': {}}))",
        "frame(b'F', msgpack.packb({'settings': {}, 'devices': {1: 2}, 'schemas': {}}))",
        "flat(); frame(b'R', b'')",
        "flat(); frame(b'R', msgpack.packb([[['a']], [['id', 1, 2]]]))",
        "flat(); frame(b'R', msgpack.packb([[['a']], [['id', 0, [2]]]]))",
        "flat(); frame(b'R', msgpack.packb([[['a']], [['id', 0, 1], ['id', 0, 1]]]))",
    ],
)
def test_rows_that_are_no_rows(tmp_path: Path, script: str):
    with pytest.raises(MalformedEnvelope):
        inspect_apart(b"", gate=True, command=talking(tmp_path, f"{script}; {VERDICT}"), show=Shown())


def test_a_verdict_is_enough(tmp_path: Path):
    """What the nonsense above is said with, saying sense."""
    shown = Shown()
    rows = "flat(); frame(b'R', msgpack.packb([[['a']], [['id', 0, 1]]]))"
    command = talking(tmp_path, f"{rows}; frame(b'E', b''); {VERDICT}")
    assert inspect_apart(b"", gate=True, command=command, show=shown).changes == 1
    assert (shown.rows, shown.whole) == ([("id", {"a": 1})], True)
    with pytest.raises(MalformedEnvelope):
        inspect_apart(b"", gate=True, command=talking(tmp_path, f"{rows}; {VERDICT}"), show=Shown())


def test_no_process_means_nothing_is_known():
    with pytest.raises(InspectorUnavailable):
        inspect_apart(b"", gate=True, command=["/nonexistent/python"])


def test_closing_ends_the_process():
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    began = time.monotonic()
    with pytest.raises(VaultClosed):
        inspect_apart(b"", gate=True, command=sleeper, stop=stop)
    assert time.monotonic() - began < 10


def test_the_process_inherits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No open file, no variable, no argument that says anything: only the pipe."""
    monkeypatch.setenv("VAULTSYNC_PASSWORD", "canary")
    kept = (tmp_path / "open").open("w")
    report = tmp_path / "report"
    look = (
        "import os, sys\n"
        "fds = [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2 "
        "and os.path.exists(f'/proc/self/fd/{n}')]\n"
        f"open({str(report)!r}, 'w').write(repr((fds, dict(os.environ), sys.argv)))"
    )
    with pytest.raises(MalformedEnvelope):
        inspect_apart(b"canary", gate=True, command=[sys.executable, "-c", look])
    kept.close()
    said = report.read_text()
    assert "canary" not in said
    assert str(tmp_path / "open") not in said


def test_bounds_grow_with_the_document_and_end():
    assert Bounds.of(0).memory == limits.INSPECT_BYTES
    most = Bounds(limits.MAX_INSPECT_BYTES, limits.MAX_INSPECT_SECONDS, 1830.0, limits.MAX_PREVIEW_BYTES)
    assert Bounds.of(1 << 30) == most

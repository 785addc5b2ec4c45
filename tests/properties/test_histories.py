"""Random histories of up to six devices over a remote that misbehaves, checked against the truth.

    pytest tests/properties                                                  300 histories
    VAULTSYNC_HISTORIES=10000 pytest tests/properties/test_histories.py      as many as that
    VAULTSYNC_SEED=12345 pytest tests/properties/test_histories.py           others (seeds are counted up from it)

A failure prints its seed and the command that tells its story. Entries are of types that no lens touches: those that
lenses or conversions do are played by test_vault_lens_histories.py, with real vaults, too.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaultsync.schema.types import Schema
from vaultsync.testing import strategies
from vaultsync.testing.pen import Pen
from vaultsync.testing.simulator import ACTS, SimulationFailed, simulate
from vaultsync.vault.desk import Desk
from vaultsync.vault.draft import Draft

HISTORIES = int(os.environ.get("VAULTSYNC_HISTORIES", "300"))
SEED = int(os.environ.get("VAULTSYNC_SEED", "1"))
INVENTED = HISTORIES // 5
"""Histories over the schemas of ``strategies``, whose acts Hypothesis draws and shrinks."""
CHUNK = 20
STEPS = 40


@pytest.mark.parametrize("first", range(SEED, SEED + HISTORIES - INVENTED, CHUNK))
def test_histories_from_seeds(first: int) -> None:
    """Preset and invented timelines."""
    tally: Counter[str] = Counter()
    last = min(first + CHUNK, SEED + HISTORIES - INVENTED)
    for seed in range(first, last):
        tally += simulate(seed, steps=STEPS)
    print(f"seeds {first} to {last - 1}:", "; ".join(f"{name} {count}" for name, count in sorted(tally.items())))
    assert tally["clean facts"] > 100
    assert tally["act sync"] > 100


@settings(
    max_examples=max(1, INVENTED),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    database=None,
)
@given(
    schema=strategies.schemas(),
    choices=st.randoms(use_true_random=False, note_method_calls=False),
    seed=st.integers(0, 2**32),
)
def test_histories_over_generated_schemas(schema: Schema, choices: random.Random, seed: int) -> None:
    """Every kind of field; few steps, so that what fails can be made small."""
    simulate(seed, steps=20, schema=schema, choices=choices, platforms=strategies.PLATFORMS)


# ---- the simulator itself ---------------------------------------------------------------------------------------
REPLAY = """
import sys
from vaultsync.testing.simulator import simulate
stories = []
simulate(int(sys.argv[1]), story=stories.append)
sys.stdout.write(stories[0])
"""


def test_a_seed_replays_in_any_process() -> None:
    """Down to ids, counts and faults, whatever the order of hashes in that process."""
    told = [
        subprocess.run(
            [sys.executable, "-c", REPLAY, str(SEED)],
            capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": hashes},
        ).stdout
        for hashes in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1]
    assert len(told[0].splitlines()) > 20


def test_every_act_takes_place() -> None:
    tally: Counter[str] = Counter()
    for seed in range(SEED, SEED + 8):
        tally += simulate(seed)
    assert {name for name in ACTS if not tally[f"act {name}"]} == set()
    assert tally["contested facts"], "devices edit the same thing"


# Each of these breaks a promise on purpose: a simulator that does not see it checks nothing.
def _drop_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update that writes one field less."""
    real = Draft.change

    def change(self: Draft, entry_id: str, ops: dict[str, object]) -> None:
        data = [key for key in ops if not key.startswith("$")]
        return real(self, entry_id, {k: v for k, v in ops.items() if k != data[-1]} if data[1:] else ops)  # type: ignore[arg-type]

    monkeypatch.setattr(Draft, "change", change)


def _touch_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit that tidies up what it does not know."""
    real = Draft.change

    def change(self: Draft, entry_id: str, ops: dict[str, object]) -> None:
        raw = self.raw(entry_id)
        extra = {key: "tidied" for key in raw if key.startswith("f5") and key not in ops}
        return real(self, entry_id, {**ops, **extra} if ops else ops)  # type: ignore[arg-type]

    monkeypatch.setattr(Draft, "change", change)


def _delete_covers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultsync.view.edits.vector_json", lambda raw: "{}")


def _delete_covers_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultsync.view.decide.trashed", lambda raw: any(k.startswith("$deleted/") for k in raw))


def _stale_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that forgets what a merge touched."""
    from vaultsync.vault.ledger import Touches

    monkeypatch.setattr(Touches, "add", lambda self, touched: None)


def _plain_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaultsync.crypto.rows import LocalKey

    real = LocalKey.seal

    def seal(self: LocalKey, table: str, row: bytes | str, plain: bytes, heads: bytes = b"") -> bytes:
        return real(self, table, row, plain, heads) + (plain if table == "journal" else b"")

    monkeypatch.setattr(LocalKey, "seal", seal)


def _unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that forgets to send some of what it wrote."""
    import vaultsync.vault.replication.outgoing as outgoing

    real = outgoing.pack_own
    calls = iter(range(10**9))
    monkeypatch.setattr(outgoing, "pack_own", lambda *args: real(*args) if next(calls) < 12 else [])


def _leaky_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is given up and written all the same."""
    from contextlib import contextmanager

    real = Desk.batch

    @contextmanager
    def batch(self: Desk):  # type: ignore[no-untyped-def]
        stopped: list[BaseException] = []
        with real(self):
            try:
                yield
            except Exception as error:
                stopped.append(error)
        if stopped:
            raise stopped[0]

    monkeypatch.setattr(Desk, "batch", batch)


@pytest.mark.parametrize(
    "breakage",
    [
        _drop_a_field, _touch_unknown, _delete_covers_nothing, _delete_covers_all, _stale_views, _plain_rows, _unsent,
        _leaky_batch,
    ],
)  # fmt: skip
def test_a_broken_promise_is_seen(breakage: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(breakage)
    breakage(monkeypatch)
    with pytest.raises(SimulationFailed, match="founds the vault") as failed:
        _simulate(12)
    assert f"python -m vaultsync.testing.simulator {failed.value.seed}" in str(failed.value)


def test_a_truth_that_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown and was never said is as wrong as what was said and is not shown."""
    real = Pen._act
    monkeypatch.setattr(Pen, "_act", lambda self, *args: replace(real(self, *args), facts={}, cells={}))
    with pytest.raises(SimulationFailed):
        _simulate(3)


def _simulate(histories: int) -> None:
    for seed in range(SEED, SEED + histories):
        simulate(seed)

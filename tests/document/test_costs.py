"""What an edit costs does not depend on how large the vault is: calls into the engine are counted, not timed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.document.model import ANN, BOB, IDS
from vaultsync.document.changes import decode
from vaultsync.document.engine import DELETED, Edit, Engine


class Counting:
    """A document that counts the calls and how much the answers of ``get_changes`` hold."""

    def __init__(self, document) -> None:
        self._document = document
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str):
        method = getattr(self._document, name)

        def counted(*arguments):
            self.calls[name] += 1
            result = method(*arguments)
            if name == "get_changes":
                self.calls["changes"] += len(result)
            if name in ("keys", "values"):
                self.calls["cells"] += len(result)
            return result

        return counted


def vault(entries: int) -> Engine:
    engine = Engine.new()
    ids = [*IDS, *(f"01HZZ{n:021d}" for n in range(entries))]
    engine.commit(ANN, [Edit("entries", entry, key, "v") for entry in ids for key in ("title", "password")])
    for n in range(entries // 10):
        engine.commit(ANN, [Edit("entries", ids[n], "title", f"t{n}")])
    return engine


def calls(entries: int) -> dict[str, Counter[str]]:
    engine = vault(entries)
    other = Engine.load(engine.save())
    other.apply([change.chunk for change in engine.commit(ANN, [Edit("entries", IDS[4], "x", 1)])])  # builds the index
    other.conflicts(IDS[0])
    (theirs,) = engine.commit(ANN, [Edit("entries", IDS[0], "password", "p"), Edit("entries", IDS[1], "x", 2)])
    counted = {}
    for name, act in {
        "commit": lambda: other.commit(BOB, [Edit("entries", IDS[0], "password", "q"), Edit("settings", "", "s", 1)]),
        "apply": lambda: other.apply([theirs.chunk], actor=ANN),
        "delete": lambda: other.commit(BOB, [Edit("entries", IDS[0], "password", DELETED)]),
        "read": lambda: other.read("entries", IDS[0]),
        "has": lambda: (other.has(theirs.hash), other.last_seq(ANN), other.heads, other.change_info(theirs.hash)),
        "conflicts": lambda: other.conflicts(IDS[0]),
        "read_at": lambda: other.read_at(IDS[0], theirs.deps),
        "own": lambda: other.own_changes(BOB, 1),
    }.items():
        document = other._binding.document
        other._binding.document = counting = Counting(document)
        act()
        other._binding.document = document
        counted[name] = counting.calls
    return counted


def test_no_call_depends_on_the_size_of_the_vault():
    small, large = calls(20), calls(400)
    assert small == large
    assert not small["has"]
    assert sum(small["commit"].values()) <= 8
    assert sum(small["apply"].values()) <= 12
    assert small["apply"]["receive_sync_message"] == 1


@pytest.mark.parametrize("entries", [20, 200])
def test_a_thousand_changes_are_one_message(entries):
    engine = vault(entries)
    other = Engine.load(engine.save())
    made = [c for n in range(200) for c in engine.commit(ANN, [Edit("entries", IDS[n % 5], "password", f"{n}")])]
    other.apply([made[0].chunk])
    document = other._binding.document
    other._binding.document = counting = Counting(document)
    other.apply([change.chunk for change in made[1:]])
    other._binding.document = document
    assert counting.calls["receive_sync_message"] == 1
    assert counting.calls["get"] <= 5  # one look at each cell; the rest is known from the batch
    assert decode(made[-1].chunk).hash in other.heads

"""The benchmarks measure what they say, on vaults of fifty entries: that the results are right, never how fast."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import costs, peers, report, sections, shares, workload
from benchmarks.child import OPERATIONS_RUN, Clock
from benchmarks.runner import Results

N = 50
INSTALLED = [name for name in peers.NAMES if peers.available(name) is None]


def test_the_workload_is_as_described_and_comes_from_its_seed():
    rows = list(workload.vault(1000))
    assert Counter(row["type"] for row in rows) == {workload.LOGIN: 700, workload.NOTE: 200, workload.CARD: 100}
    logins = [row for row in rows if row["type"] == workload.LOGIN]
    assert all(40 <= len(row["notes"]) <= 80 and len(row["tags"]) == 2 for row in logins)
    assert 55 < sum(len(row["notes"]) for row in logins) / len(logins) < 65
    assert {len(row["text"]) for row in rows if row["type"] == workload.NOTE} == {500}
    assert all(len(row) == 11 for row in rows if row["type"] == workload.CARD)
    assert rows == list(workload.vault(1000))
    assert rows[:10] != list(workload.vault(10, seed=2))


def test_the_digest_depends_on_every_value_and_on_no_order():
    rows = list(workload.vault(20))
    digest = workload.digest(rows)
    assert workload.digest(reversed(rows)) == digest
    for number, row in enumerate(rows):
        for key in row:
            changed = {**row, key: [*row[key], "x"] if key == "tags" else f"{row[key]}x"}
            assert workload.digest([*rows[:number], changed, *rows[number + 1 :]]) != digest


@pytest.mark.parametrize("name", peers.NAMES)
def test_a_peer_reads_what_it_wrote(name: str, tmp_path: Path):
    if name not in INSTALLED:
        pytest.skip(peers.available(name) or "")
    peer, rows = peers.load(name), list(workload.vault(N))
    base, joined = tmp_path / "base", tmp_path / "joined"
    base.mkdir()
    joined.mkdir()
    peer.prepare()
    peer.create(base, rows)()
    handle = peer.open(base)
    listed = handle.listing()
    assert sorted((row.title, row.type) for row in listed) == sorted((row["title"], row["type"]) for row in rows)
    assert workload.digest(map(handle.row, handle.read_all())) == workload.digest(rows)
    login = next(row.id for row in listed if row.type == workload.LOGIN)
    handle.edit(login, "changed")
    handle.close()
    again = peer.open(base)
    assert again.password(login) == "changed"
    again.close()
    if "G" not in peer.operations:
        return
    peer.publish(base)
    other = peer.join(base, joined)
    assert len(other.listing()) == N
    other.close()
    if "E" in peer.operations:
        pair = peer.pair(base, joined)
        (first, second, *_) = pair.ids()
        pair.edit(first, "one")
        size, shown = pair.travel(first)
        assert shown == "one"
        assert size > 0
        pair.edit(first, "two")
        pair.edit(second, "three")
        assert pair.travel(second)[1] == "three"
        assert pair.password(first) == "two"
        pair.close()


def test_the_command_measures_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "RESULTS.md"
    given = [
        "--n",
        str(N),
        "--peers",
        "vaultsync,sqlite",
        "--repeat",
        "1",
        "--folder",
        str(tmp_path),
        "--out",
        str(out),
    ]
    assert command.main(given) == 0
    results = Results.from_json(out.with_suffix(".json").read_text())
    for operation in "ABGE":  # E needs a second device, which G makes
        assert len(results.cell(N, peers.VAULTSYNC, operation).runs) == 1, operation
    assert results.cell(N, "sqlite", "E").note == "does not apply"
    assert results.cell(N, peers.VAULTSYNC, "E").value("bytes") > 300
    text = out.read_text()
    assert "at most 700 bytes" in text
    assert report.markdown(results).strip() in text
    assert not list(tmp_path.glob("vaultsync-benchmark-*"))
    capsys.readouterr()


def test_every_operation_checks_itself(tmp_path: Path):
    peer = peers.load(peers.VAULTSYNC)
    base, joined = tmp_path / "base", tmp_path / "joined"
    base.mkdir()
    joined.mkdir()
    spec = {"n": N, "seed": workload.SEED, "folder": str(base), "into": str(joined), "edits": 3, "many": 20}
    clock = Clock()
    spec |= OPERATIONS_RUN["A"](peer, spec, clock)
    for operation in ("B", "C", "publish", "G", "D", "F", "H"):
        OPERATIONS_RUN[operation](peer, spec, clock)
    times = clock.summary()
    assert {"A", "B", "C", "D", "D first", "F", "G", "H"} <= set(times)
    assert times["D"]["times"] == 3


def test_what_cannot_be_measured_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(peers._MODULES, "loro", "no_such_module")
    out = tmp_path / "RESULTS.md"
    given = ["--n", str(N), "--peers", "loro,msgpack", "--operations", "B", "--repeat", "1", "--out", str(out)]
    assert command.main([*given, "--folder", str(tmp_path), "--budget", "0.001"]) == 0
    text = out.read_text()
    assert "loro, A: not installed" in text
    assert "A: over the budget of 0 s" in text
    assert "B: not measured: its import was not" in text
    capsys.readouterr()


def test_a_wrong_result_ends_the_run(tmp_path: Path):
    rows = list(workload.vault(N))
    peer = peers.load("msgpack")
    peer.create(tmp_path, rows)
    spec = {"n": N, "seed": workload.SEED, "folder": str(tmp_path), "digest": workload.digest(rows[:-1])}
    with pytest.raises(SystemExit, match="what was read is not what was written"):
        OPERATIONS_RUN["C"](peer, spec, Clock())


def test_costs_count_what_happens_and_put_everything_back(tmp_path: Path):
    from vaultsync.crypto.rows import LocalKey

    before = LocalKey.seal
    found = costs.measure(N, tmp_path)
    assert LocalKey.seal is before
    assert found["edit"]["SQL statements"] > 0
    assert found["edit"]["rows sealed"] >= 1
    assert found["one edit travels"]["changes through the gate"] == 1
    assert found["12 edits travel"]["changes through the gate"] == 12
    assert "edit" in costs.table({N: found})
    json.dumps(found)


def test_results_of_several_commands_stand_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "RESULTS.md"
    sections.put(path, "costs", "counts 1")
    sections.put(path, "peers", "# Title\n\ntimes 1\n")
    sections.put(path, "costs", "counts \\1 2")
    text = path.read_text()
    assert text.index("times 1") < text.index("counts \\1 2")
    assert "counts 1" not in text
    assert text.count("<!-- costs -->") == 1
    sections.put(path, "peers", "# Title\n\ntimes 2")
    assert "times 1" not in path.read_text()
    assert "counts \\1 2" in path.read_text()


def test_shares_account_for_all_the_time_and_name_who_took_it(tmp_path: Path):
    found = shares.measure(N, tmp_path)
    assert list(found) == list(shares.SHOWN)
    for part, by_place in found.items():
        assert sum(by_place.values()) > 0, part
    assert found["B"]["SQLite"] > 0
    assert found["F"]["`document`"] > found["C"]["`document`"]
    assert found["D"]["waiting for another process"] < 0.05 * sum(found["D"].values())
    steps = shares.apart(tmp_path)
    assert len(steps) == 4
    assert all(step in shares.table(found, steps) for step in steps)


def test_a_part_within_a_part_is_the_outer_ones(tmp_path: Path):
    clock = shares.Profiled()
    with clock.part("outer"):
        with clock.part("inner"):
            sorted(range(10_000))
        sorted(range(10_000))
    assert set(clock.summary()) == {"outer", "inner"}
    assert clock.profiles.keys() == {"outer"}
    assert sum(shares.shares(clock.profiles["outer"]).values()) > 0

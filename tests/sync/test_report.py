from __future__ import annotations

import pytest

from vaultsync.sync import Finding, FindingKind, SyncReport, Waiting, WaitsFor

CHAIN = b"\xab" * 16


@pytest.mark.parametrize("kind", FindingKind)
def test_a_finding_is_a_sentence(kind: FindingKind) -> None:
    unknown, known = str(Finding(kind, CHAIN, 7)), str(Finding(kind, CHAIN, 7, device="Phone", teller="Tablet"))
    assert unknown[0].isupper()
    assert unknown.endswith((".", "here."))
    if "list of devices" not in unknown and "password" not in unknown:
        assert unknown.startswith("The unknown device abababab's edit 7 ")
        assert known.startswith("Phone's edit 7 ")
        assert "{" not in known


@pytest.mark.parametrize("reason", WaitsFor)
def test_waiting_is_a_sentence(reason: WaitsFor) -> None:
    assert str(Waiting(reason, CHAIN, 7, behind=1)).startswith("1 envelope of chain abababab from 7 on: waiting for ")


def test_a_report_reads_well() -> None:
    assert str(SyncReport(seconds=0.04)) == "nothing new, 0.0 s"
    finding, waiting = Finding(FindingKind.WITHHELD, CHAIN, 2), Waiting(WaitsFor.UPDATE, CHAIN, 3, behind=4)
    report = SyncReport(1, 12, 1, 620, 48_000, 0.31, (waiting,), ("name",), (finding,))
    assert str(report).splitlines() == [
        "sent 1 envelope (620 B), received 12 envelopes (48 kB), 1 entry touched, 0.3 s",
        f"waiting: {waiting}",
        "set aside: 1 object",
        f"found: {finding}",
    ]
    assert not report.complete
    assert SyncReport(3, 4).complete


def test_reports_add_up_and_waiting_is_as_of_the_end() -> None:
    finding, waiting = Finding(FindingKind.WITHHELD, CHAIN, 2), Waiting(WaitsFor.UPDATE, CHAIN, 3)
    first = SyncReport(1, 2, 3, 4, 5, 0.5, (waiting,), ("a",), (finding,))
    second = SyncReport(1, 1, 1, 1, 1, 0.25, (), ("a", "b"), (finding,))
    assert first + second == SyncReport(2, 3, 4, 5, 6, 0.75, (), ("a", "b"), (finding,))

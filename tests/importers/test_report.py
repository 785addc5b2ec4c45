"""What an import says it did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vaultsync.importers import ImportReport, Parsed, Problem, Record, parse

SAMPLES = Path(__file__).parent.parent / "samples"
PLAIN = [
    path for path in sorted(SAMPLES.iterdir()) if path.name not in ("bitwarden-password.json", "bitwarden-account.json")
]


def applied(parsed: Parsed) -> ImportReport:
    """As a vault applies records: the first is there already, the second cannot be added."""
    report = ImportReport.of(parsed)
    for number, record in enumerate(parsed.records):
        if number == 0:
            report.already(record, "entry-0")
        elif number == 1:
            report.skip(record, "there is no such type here")
        else:
            report.add(record, f"entry-{number}")
    return report


def test_every_record_is_counted_once() -> None:
    parsed = parse(SAMPLES / "bitwarden.json")
    report = applied(parsed)
    lost = sum(problem.lost for problem in report.problems)
    assert len(report.added) + len(report.already_there) + len(report.skipped) + lost == parsed.items
    assert report.by_type.total() == len(report.added)
    assert not report.complete
    assert report.trashed == 1


def test_as_a_person_reads_it() -> None:
    lines = str(applied(parse(SAMPLES / "bitwarden.json"))).split("\n")
    assert lines[0] == (
        "bitwarden.json: 8 entries added (1 bank account, 1 card, 2 identities, 2 logins, 1 secure note, 1 ssh key), "
        "1 of them in the trash"
    )
    assert lines[1] == "1 was already there and not changed"
    assert lines[2].startswith("11 values without a field kept as custom fields: driversLicense.")
    assert "not imported: item 11: is text or a number, not an object" in lines
    assert "not imported: item 2: there is no such type here" in lines


def test_as_a_program_reads_it() -> None:
    whole = json.loads(json.dumps(applied(parse(SAMPLES / "bitwarden.json")).to_json()))
    assert whole["format"] == "bitwarden"
    assert whole["already_there"] == ["entry-0"]
    assert whole["skipped"] == [{"place": "item 2", "reason": "there is no such type here", "lost": True}]
    assert whole["kept_as_custom"]["hologram.angle"] == 1
    assert whole["problems"][0]["place"] == "item 11"


def test_an_application_brings_its_own_records() -> None:
    report = ImportReport()
    record = Record("acme:1", "login", {"title": "x"})
    report.add(record, "E1")
    report.skip(Record("acme:2", "login", {}), "it is empty")
    report.problem("acme:1", "half of it is missing")
    assert str(report).split("\n") == [
        "import: 1 entry added (1 login)",
        "not imported: acme:2: it is empty",
        "imported in part: acme:1: half of it is missing",
    ]
    assert ImportReport().complete
    assert ImportReport(problems=[Problem("x", "y", lost=False)]).complete is False


def test_a_long_list_is_cut() -> None:
    report = ImportReport()
    for number in range(30):
        report.skip(Record(f"acme:{number}", "x", {}), "no such type")
    assert str(report).endswith("not imported: … and 10 more")
    assert len(report.to_json()["skipped"]) == 30


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_no_report_holds_a_secret(path: Path) -> None:
    parsed = parse(path)
    said = str(applied(parsed)) + json.dumps(applied(parsed).to_json()) + repr(parsed)
    hidden = {"password", "totp", "card_number", "card_code", "ssn", "private_key", "iban", "pin", "notes"}
    for record in parsed.records:
        for name in hidden & record.values.keys():
            assert record.values[name] not in said.replace(record.source, ""), name
        for name in ("custom_secret", "password_history", "passkeys"):
            for line in record.values.get(name, ()):
                value = line.partition(": ")[2] or line.partition(" ")[2]
                assert len(value) < 3 or value not in said, name

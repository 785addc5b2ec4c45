"""Applying records from elsewhere: one batch, nothing twice, nothing that was edited here overwritten."""

from __future__ import annotations

from collections.abc import Iterable

from vaultsync.errors import RetiredField, UnknownField, UnknownType, WrongKind
from vaultsync.importers.fit import fit
from vaultsync.importers.records import Parsed, Record
from vaultsync.importers.report import ImportReport
from vaultsync.schema.types import Schema
from vaultsync.vault.desk import Desk

__all__ = ["import_records"]


def import_records(desk: Desk, schema: Schema, records: Parsed | Iterable[Record]) -> ImportReport:
    """Add every record that no entry came from yet; the report accounts for each. Atomic: all of it or, when it raises
    (`QuotaExceeded`, `StoreFailed`), none."""
    report = ImportReport.of(records) if isinstance(records, Parsed) else ImportReport()
    there = desk.sources()
    with desk.batch():
        for record in records.records if isinstance(records, Parsed) else records:
            if (known := there.get(record.source)) is not None:
                report.already(record, known)
                continue
            fitted, problems = fit(record, schema)
            for problem in problems:
                if fitted is not None:
                    report.problem(problem.place, problem.reason)
            if fitted is None:
                report.skip(record, problems[0].reason)
                continue
            entry_id = _add(desk, fitted, report)
            if entry_id is not None:
                there[record.source] = entry_id
    return report


def _add(desk: Desk, record: Record, report: ImportReport) -> str | None:
    try:
        entry_id = desk.create(
            record.type,
            record.values,
            source=record.source,
            created=record.created_ms,
            modified=record.modified_ms if record.modified_ms is not None else record.created_ms,
        )
    except (UnknownType, UnknownField, RetiredField, WrongKind) as error:
        report.skip(record, str(error))
        return None
    if record.trashed:
        desk.delete(entry_id)
    report.add(record, entry_id)
    return entry_id

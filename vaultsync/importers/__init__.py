"""Bringing entries in from elsewhere.

``parse`` reads an export of a password manager or browser and gives neutral ``Record`` objects for the ``passwords``
preset, with an account of everything else in the file. Applications with data of their own make records themselves.
Nothing here opens a vault: ``vault.import_records`` applies records and fills an ``ImportReport``.
"""

from __future__ import annotations

from vaultsync.importers.fit import fit
from vaultsync.importers.records import Parsed, Problem, Record
from vaultsync.importers.registry import FORMATS, Format, detect, parse
from vaultsync.importers.report import ImportReport

__all__ = ["FORMATS", "Format", "ImportReport", "Parsed", "Problem", "Record", "detect", "fit", "parse"]

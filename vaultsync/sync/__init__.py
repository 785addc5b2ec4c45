"""Deciding what to exchange with a remote: names, the core, reports. No I/O, no clock, no randomness in here."""

from __future__ import annotations

from vaultsync.sync.core import Core
from vaultsync.sync.report import Finding, FindingKind, SyncReport, Waiting, WaitsFor

__all__ = ["Core", "Finding", "FindingKind", "SyncReport", "Waiting", "WaitsFor"]

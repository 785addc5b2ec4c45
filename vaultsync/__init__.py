"""VaultSync: one encrypted vault on all of a person's devices, across different versions of your application.

::

    import vaultsync as vs

    login = vs.EntryType("login", label="Login", fields=[vs.Field("title", vs.text), vs.Field("password", vs.secret)])
    schema = vs.Schema("acme-pass", version=1, types=[login])
    with vs.Vault.create("ann.vault", schema=schema, password="correct horse") as vault:
        vault.add("login", title="GitHub", password="s3cret")
        vault.connect("file:///mnt/usb/ann")

The guide is README.md; the decisions behind it are in ``docs/adr``.
"""

from __future__ import annotations

from vaultsync.errors import (
    AlreadyStored,
    BadSeal,
    BadSignature,
    CommitUnknown,
    Compacted,
    DamagedStore,
    EngineFailure,
    EntryNotFound,
    ExportFirst,
    ExtraMissing,
    ForkedChain,
    ImportFailed,
    MalformedChange,
    MalformedEnvelope,
    MalformedRoster,
    MissingDependencies,
    NotConnected,
    NotEditable,
    ObjectMissing,
    QuotaExceeded,
    Refused,
    RemoteError,
    RemoteRefused,
    RemoteUnavailable,
    RetiredField,
    SchemaError,
    StoreBusy,
    StoreError,
    StoreFailed,
    UnknownChain,
    UnknownField,
    UnknownType,
    UnsupportedRemote,
    UpdateRequired,
    UsageError,
    VaultClosed,
    VaultExists,
    VaultNotFound,
    VaultSyncError,
    WeakKey,
    WrongCode,
    WrongKind,
    WrongPassword,
)
from vaultsync.importers import ImportReport, Record
from vaultsync.schema.compare import Comparison, compare
from vaultsync.schema.kind import add, remove
from vaultsync.schema.kinds import FileRef, file, flag, instant, items, note, number, secret, tags, text
from vaultsync.schema.published import Drift
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.sync.report import Finding, FindingKind, SyncReport, Waiting
from vaultsync.vault.desk import Quota
from vaultsync.vault.devices import DeviceInfo
from vaultsync.vault.events import Event, EventKind
from vaultsync.vault.exchange import Progress
from vaultsync.vault.provenance import Revision
from vaultsync.vault.syncing import State
from vaultsync.vault.syncing import Status as SyncStatus
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Conflict, Entry, Status
from vaultsync.view.notices import Notice
from vaultsync.view.picture import View

__version__ = "0.1.0"

__all__ = [
    "AlreadyStored",
    "BadSeal",
    "BadSignature",
    "CommitUnknown",
    "Compacted",
    "Comparison",
    "Conflict",
    "DamagedStore",
    "DeviceInfo",
    "Drift",
    "EngineFailure",
    "Entry",
    "EntryNotFound",
    "EntryType",
    "Event",
    "EventKind",
    "ExportFirst",
    "ExtraMissing",
    "Field",
    "FileRef",
    "Finding",
    "FindingKind",
    "ForkedChain",
    "ImportFailed",
    "ImportReport",
    "MalformedChange",
    "MalformedEnvelope",
    "MalformedRoster",
    "MissingDependencies",
    "NotConnected",
    "NotEditable",
    "Notice",
    "ObjectMissing",
    "Progress",
    "Quota",
    "QuotaExceeded",
    "Record",
    "Refused",
    "RemoteError",
    "RemoteRefused",
    "RemoteUnavailable",
    "RetiredField",
    "Revision",
    "Schema",
    "SchemaError",
    "State",
    "Status",
    "StoreBusy",
    "StoreError",
    "StoreFailed",
    "SyncReport",
    "SyncStatus",
    "UnknownChain",
    "UnknownField",
    "UnknownType",
    "UnsupportedRemote",
    "UpdateRequired",
    "UsageError",
    "Vault",
    "VaultClosed",
    "VaultExists",
    "VaultNotFound",
    "VaultSyncError",
    "View",
    "Waiting",
    "WeakKey",
    "WrongCode",
    "WrongKind",
    "WrongPassword",
    "add",
    "compare",
    "file",
    "flag",
    "instant",
    "items",
    "note",
    "number",
    "remove",
    "secret",
    "tags",
    "text",
]

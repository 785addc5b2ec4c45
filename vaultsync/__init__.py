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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaultsync.errors import (
    AlreadyStored,
    BadSeal,
    BadSignature,
    CommitUnknown,
    Compacted,
    DamagedStore,
    DeviceRemoved,
    EngineFailure,
    EntryNotFound,
    ExportFirst,
    ExtraMissing,
    ForkedChain,
    ImportFailed,
    KeyringFailed,
    MalformedChange,
    MalformedEnvelope,
    MalformedRoster,
    MissingDependencies,
    NotArrived,
    NotConnected,
    NotEditable,
    ObjectMissing,
    PairingFailed,
    QuotaExceeded,
    Refused,
    RemoteError,
    RemoteRefused,
    RemoteUnavailable,
    RetiredField,
    Revoked,
    SchemaError,
    StaleEpoch,
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
    VaultLocked,
    VaultNotFound,
    VaultSyncError,
    WeakKey,
    WrongCode,
    WrongInvitation,
    WrongKind,
    WrongPassword,
)

if TYPE_CHECKING:
    from vaultsync.importers import ImportReport, Record
    from vaultsync.schema.compare import Comparison, compare
    from vaultsync.schema.kind import add, remove
    from vaultsync.schema.kinds import FileRef, file, flag, instant, items, note, number, secret, tags, text
    from vaultsync.schema.lenses import Convert, convert, join, lens, map_values, rename, split, wrap
    from vaultsync.schema.published import Drift as SchemaDrift
    from vaultsync.schema.types import EntryType, Field, Schema
    from vaultsync.sync.report import Finding, FindingKind, SyncReport, Waiting
    from vaultsync.vault import aio
    from vaultsync.vault.desk import Quota
    from vaultsync.vault.events import Event, EventKind
    from vaultsync.vault.exporting import ExportReport
    from vaultsync.vault.healing import Healed
    from vaultsync.vault.keyring import keyring_key
    from vaultsync.vault.membership.devices import DeviceInfo
    from vaultsync.vault.membership.pairing import Pairing
    from vaultsync.vault.membership.pairing import Stage as PairingStage
    from vaultsync.vault.membership.passwords import PasswordChange
    from vaultsync.vault.membership.revocations import Exposure, LateEdit, Revocation
    from vaultsync.vault.provenance import Revision
    from vaultsync.vault.replication.standing import MirrorStatus, Progress, State
    from vaultsync.vault.replication.standing import Status as SyncStatus
    from vaultsync.vault.upgrade import TypePlan, UpgradePlan
    from vaultsync.vault.vault import Vault
    from vaultsync.view.entry import Conflict, Entry, Status
    from vaultsync.view.notices import Notice
    from vaultsync.view.picture import Content, Summary, View

__version__ = "0.1.0"

# Everything else is loaded when it is first asked for: declaring a schema or catching an error must not cost the
# start-up of the document engine, of SQLite and of OpenSSL.
_HOMES = {
    "vaultsync.schema.compare": ("Comparison", "compare"),
    "vaultsync.view.entry": ("Conflict", "Entry", "Status"),
    "vaultsync.vault.membership.devices": ("DeviceInfo",),
    "vaultsync.schema.published": ("SchemaDrift",),
    "vaultsync.schema.types": ("EntryType", "Field", "Schema"),
    "vaultsync.vault.healing": ("Healed",),
    "vaultsync.vault.events": ("Event", "EventKind"),
    "vaultsync.vault.exporting": ("ExportReport",),
    "vaultsync.schema.kinds": (
        "FileRef",
        "file",
        "flag",
        "instant",
        "items",
        "note",
        "number",
        "secret",
        "tags",
        "text",
    ),
    "vaultsync.sync.report": ("Finding", "FindingKind", "SyncReport", "Waiting"),
    "vaultsync.importers": ("ImportReport", "Record"),
    "vaultsync.view.notices": ("Notice",),
    "vaultsync.vault.desk": ("Quota",),
    "vaultsync.vault.keyring": ("keyring_key",),
    "vaultsync.vault.membership.pairing": ("Pairing", "PairingStage"),
    "vaultsync.vault.membership.passwords": ("PasswordChange",),
    "vaultsync.vault.provenance": ("Revision",),
    "vaultsync.vault.membership.revocations": ("Exposure", "LateEdit", "Revocation"),
    "vaultsync.vault.replication.standing": ("MirrorStatus", "Progress", "State", "SyncStatus"),
    "vaultsync.vault.upgrade": ("TypePlan", "UpgradePlan"),
    "vaultsync.vault.vault": ("Vault",),
    "vaultsync.view.picture": ("Content", "Summary", "View"),
    "vaultsync.schema.kind": ("add", "remove"),
    "vaultsync.schema.lenses": ("Convert", "convert", "join", "lens", "map_values", "rename", "split", "wrap"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_RENAMED = {"SyncStatus": "Status", "PairingStage": "Stage", "SchemaDrift": "Drift"}  # of several, or too short here


def __getattr__(name: str) -> Any:
    if name == "aio":
        return import_module("vaultsync.vault.aio")
    if (home := _HOME_OF.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "AlreadyStored",
    "BadSeal",
    "BadSignature",
    "CommitUnknown",
    "Compacted",
    "Comparison",
    "Conflict",
    "Content",
    "Convert",
    "DamagedStore",
    "DeviceInfo",
    "DeviceRemoved",
    "EngineFailure",
    "Entry",
    "EntryNotFound",
    "EntryType",
    "Event",
    "EventKind",
    "ExportFirst",
    "ExportReport",
    "Exposure",
    "ExtraMissing",
    "Field",
    "FileRef",
    "Finding",
    "FindingKind",
    "ForkedChain",
    "Healed",
    "ImportFailed",
    "ImportReport",
    "KeyringFailed",
    "LateEdit",
    "MalformedChange",
    "MalformedEnvelope",
    "MalformedRoster",
    "MirrorStatus",
    "MissingDependencies",
    "NotArrived",
    "NotConnected",
    "NotEditable",
    "Notice",
    "ObjectMissing",
    "Pairing",
    "PairingFailed",
    "PairingStage",
    "PasswordChange",
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
    "Revocation",
    "Revoked",
    "Schema",
    "SchemaDrift",
    "SchemaError",
    "StaleEpoch",
    "State",
    "Status",
    "StoreBusy",
    "StoreError",
    "StoreFailed",
    "Summary",
    "SyncReport",
    "SyncStatus",
    "TypePlan",
    "UnknownChain",
    "UnknownField",
    "UnknownType",
    "UnsupportedRemote",
    "UpdateRequired",
    "UpgradePlan",
    "UsageError",
    "Vault",
    "VaultClosed",
    "VaultExists",
    "VaultLocked",
    "VaultNotFound",
    "VaultSyncError",
    "View",
    "Waiting",
    "WeakKey",
    "WrongCode",
    "WrongInvitation",
    "WrongKind",
    "WrongPassword",
    "add",
    "aio",
    "compare",
    "convert",
    "file",
    "flag",
    "instant",
    "items",
    "join",
    "keyring_key",
    "lens",
    "map_values",
    "note",
    "number",
    "remove",
    "rename",
    "secret",
    "split",
    "tags",
    "text",
    "wrap",
]

"""Every error that reaches a user of VaultSync, one tree, split by whose fault it is and by whether trying again helps.

::

    VaultSyncError
    ├── UsageError                 the caller's: the same call will fail again until it is changed
    │   ├── SchemaError            a declaration contradicts itself, or another schema owns the vault
    │   ├── UnknownType            the local schema declares no such type
    │   ├── UnknownField           the type has no such field here
    │   ├── RetiredField           the field is read-only since some version
    │   ├── WrongKind              a value does not fit the declared kind
    │   ├── NotEditable            the entry is hidden, archived, trashed or locked by a critical field
    │   ├── EntryNotFound          there is no entry with that id (also a KeyError)
    │   ├── QuotaExceeded          the vault holds as many counted entries as it may
    │   ├── ExportFirst            an upgrade would delete what was never saved
    │   ├── WrongPassword          the password or key does not open this vault
    │   ├── WrongCode              the recovery code is misspelt or belongs to another vault
    │   ├── WrongInvitation        the invitation is misspelt, too old or already used
    │   ├── VaultExists            a file is already there
    │   ├── VaultNotFound          no vault is there
    │   ├── VaultClosed            the object was closed
    │   │   └── VaultLocked        it was locked: unlock it
    │   ├── NotConnected           there is no remote to sync with
    │   ├── UnsupportedRemote      the address names no kind of remote known here
    │   ├── ImportFailed           a file to import cannot be read, and where
    │   ├── KeyringFailed          the system's keyring is locked, or there is none
    │   └── ExtraMissing           an optional part of the package is not installed
    ├── UpdateRequired             a newer application wrote this: update, nothing is wrong with the data
    ├── DeviceRemoved              this device was removed from the vault: what is on it stays readable, that is all
    ├── StoreError                 the local file's
    │   ├── DamagedStore           some of it cannot be read; says what is lost and what is whole
    │   ├── StoreBusy              another process held the lock for too long; try again
    │   ├── StoreFailed            the disk refused (full, read-only, I/O error); nothing was half done; try again
    │   │   └── CommitUnknown      the last step of a write failed: it is stored whole or not at all, look which
    │   ├── AlreadyStored          the same change, chain number or object name is there, with other contents
    │   └── Compacted              the asked-for part of the journal is in a snapshot now: load that
    ├── RemoteError                the remote's; local data is safe, syncing goes on later by itself
    │   ├── RemoteUnavailable      not there just now; try again
    │   │   └── NotArrived         it answers, and does not show everything that another device had; says what
    │   ├── RemoteRefused          it answers, and says no (read-only, no permission, full)
    │   └── ObjectMissing          an object that was listed or named is not there
    ├── Refused                    what somebody else sent was not accepted; the reason for a quarantine
    │   ├── MalformedChange        a change chunk breaks the format, the layout or the order
    │   ├── MalformedEnvelope      sizes, magic, suite, padding or contents of sealed bytes are off
    │   ├── MalformedRoster        a roster entry breaks the format or its own rules
    │   ├── BadSignature           not signed by whom it claims
    │   ├── BadSeal                does not open under the key it names
    │   ├── UnknownChain           nobody in the roster writes this chain
    │   ├── ForkedChain            another envelope already has its place in the chain, or it follows none known here
    │   ├── Revoked                past the end at which a removed device's chain is accepted
    │   ├── StaleEpoch             sealed under an older key than its writer had
    │   ├── PairingFailed          what came through an invitation's mailbox contradicts itself: begin anew
    │   └── WeakKey                a small-order or non-canonical public key
    ├── MissingDependencies        a change waits for others that have not arrived yet; nothing is wrong with it
    └── EngineFailure              the document engine failed; the vault reloads it from what is stored

No message holds a secret: not a value of an entry, not a password, not key bytes.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AlreadyStored",
    "BadSeal",
    "BadSignature",
    "CommitUnknown",
    "Compacted",
    "DamagedStore",
    "DeviceRemoved",
    "EngineFailure",
    "EntryNotFound",
    "ExportFirst",
    "ExtraMissing",
    "ForkedChain",
    "ImportFailed",
    "KeyringFailed",
    "MalformedChange",
    "MalformedEnvelope",
    "MalformedRoster",
    "MissingDependencies",
    "NotArrived",
    "NotConnected",
    "NotEditable",
    "ObjectMissing",
    "PairingFailed",
    "QuotaExceeded",
    "Refused",
    "RemoteError",
    "RemoteRefused",
    "RemoteUnavailable",
    "RetiredField",
    "Revoked",
    "SchemaError",
    "StaleEpoch",
    "StoreBusy",
    "StoreError",
    "StoreFailed",
    "UnknownChain",
    "UnknownField",
    "UnknownType",
    "UnsupportedRemote",
    "UpdateRequired",
    "UsageError",
    "VaultClosed",
    "VaultExists",
    "VaultLocked",
    "VaultNotFound",
    "VaultSyncError",
    "WeakKey",
    "WrongCode",
    "WrongInvitation",
    "WrongKind",
    "WrongPassword",
]


class VaultSyncError(Exception):
    """The root of every error that this package raises on purpose."""


class UsageError(VaultSyncError):
    """The call cannot succeed as it was made."""


class SchemaError(UsageError):
    """A declaration contradicts itself or its own past; the message names type, field and rule."""


class UnknownType(UsageError):
    """The local schema declares no such entry type at its version and platform."""


class UnknownField(UsageError, KeyError):
    """The entry's type has no such field at this version and platform (also a KeyError: ``entry["nope"]``)."""

    __str__ = Exception.__str__


class RetiredField(UsageError):
    """The field is retired here: it is synced and shown, and edited only by versions that still have it."""


class WrongKind(UsageError):
    """A value does not fit its field's kind; names entry, field, expected and given kind, never the value."""


class NotEditable(UsageError):
    """The entry may not be edited here: hidden, archived, trashed, or an unknown critical field is set."""


class EntryNotFound(UsageError, KeyError):
    """There is no entry with this id in the vault."""

    __str__ = Exception.__str__  # KeyError would show the repr of the message


class QuotaExceeded(UsageError):
    """Adding would take the vault over its limit of counted entries."""


class ExportFirst(UsageError):
    """Something would be deleted that was not saved: export the plan, or pass ``discard=True``."""


class WrongPassword(UsageError):
    """The password (or raw key) does not open this vault. Deliberately the same for every way of being wrong."""


class WrongCode(UsageError):
    """The recovery code is misspelt (checksum), or no vault on this remote answers to it."""


class WrongInvitation(UsageError):
    """The invitation is misspelt, incomplete, too old or already used: ask the other device for a new one."""


class VaultExists(UsageError):
    """A file is already at the path where a vault was to be made; nothing was changed."""


class VaultNotFound(UsageError):
    """No vault is at that path or on that remote."""


class VaultClosed(UsageError):
    """The vault object was closed; open it again."""


class VaultLocked(VaultClosed):
    """The vault was locked, by hand or after a time without use. Unlock it with the password or key."""


class NotConnected(UsageError):
    """Syncing needs a remote: call ``vault.connect(url)`` once."""


class UnsupportedRemote(UsageError):
    """The address does not name a kind of remote that is available here."""


class ImportFailed(UsageError):
    """A file to import could not be read as what it claims to be; names the file and the line."""


class KeyringFailed(UsageError):
    """The operating system's keyring is locked, refuses, or is not there: open the vault by password."""


class ExtraMissing(UsageError):
    """An optional dependency is not installed; the message holds the pip command."""


class UpdateRequired(VaultSyncError):
    """Written by a newer format than this version reads. Nothing is damaged: update the application."""


class DeviceRemoved(VaultSyncError):
    """One of the person's other devices removed this one from the vault. What is stored here can be read and exported;
    nothing is sent or received any more."""


class StoreError(VaultSyncError):
    """The local file could not be used."""


class DamagedStore(StoreError):
    """Part of the local file cannot be read. ``lost`` and ``whole`` describe, for a person, what is and is not
    affected."""

    def __init__(self, message: str, *, lost: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.lost = lost
        self.whole = whole


class StoreBusy(StoreError):
    """Another process kept the vault locked for longer than the limit; trying again helps."""


class StoreFailed(StoreError):
    """The operating system refused a read or write; the transaction was not applied, or its outcome was verified."""


class CommitUnknown(StoreFailed):
    """COMMIT itself failed, so the whole transaction is stored or none of it: look for the change before doing it
    again."""


class AlreadyStored(StoreError):
    """A change with this hash or (actor, seq), or an object with this name, is stored already and is not the same."""


class Compacted(StoreError):
    """Rows of the journal after this position were replaced by a snapshot: load the snapshot and go on from there."""


class RemoteError(VaultSyncError):
    """Talking to the remote failed. The local vault is complete and usable without it."""


class RemoteUnavailable(RemoteError):
    """The remote is not reachable just now; trying again later helps."""


class NotArrived(RemoteUnavailable):
    """The remote answers, and does not show everything that the device had which let this one in. ``findings``
    (`Finding`) say of each device what is missing: withheld by a remote that shows all it has, or not arrived yet."""

    def __init__(self, message: str, findings: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings


class RemoteRefused(RemoteError):
    """The remote answered and refused: read-only, no permission, or full. Somebody has to change something there."""


class ObjectMissing(RemoteError):
    """The remote does not hold the named object (yet, or any more)."""


class Refused(VaultSyncError):
    """Bytes from outside were not accepted. They are set aside with this reason; nothing else is affected."""


class MalformedChange(Refused):
    """A change chunk is not canonical, not of this vault's layout, or out of order."""


class MalformedEnvelope(Refused):
    """Sealed bytes whose framing, padding or contents break the format."""


class MalformedRoster(Refused):
    """A roster entry that breaks its format or claims what its author may not do."""


class BadSignature(Refused):
    """The signature is not by the key that the roster names."""


class BadSeal(Refused):
    """The ciphertext does not open under the key it names (commitment or tag)."""


class UnknownChain(Refused):
    """The envelope's chain belongs to no device in the roster as known here."""


class ForkedChain(Refused):
    """A genuine envelope that does not continue its chain as applied here: its author's chain has two branches."""


class Revoked(Refused):
    """A genuine envelope of a removed device, past everything that the others had of it when they heard of the
    removal."""


class StaleEpoch(Refused):
    """An envelope sealed under an older key than its writer is known to have had."""


class PairingFailed(Refused):
    """The messages of a pairing contradict each other: somebody else uses the invitation. Begin anew with another
    one."""


class WeakKey(Refused):
    """A public key that must not be trusted: small order, or not in canonical form."""


class MissingDependencies(VaultSyncError):
    """A change builds on others that are not known here yet. Try again when they are: ``hashes`` names them."""

    def __init__(self, hashes: tuple[bytes, ...]) -> None:
        super().__init__(f"waits for {len(hashes)} changes that have not arrived")
        self.hashes = hashes


class EngineFailure(VaultSyncError):
    """The document engine raised or panicked. The document in memory is discarded and rebuilt from the store."""

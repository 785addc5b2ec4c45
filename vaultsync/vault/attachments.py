"""Attachments: files beside the document, sealed one by one, sent once and fetched when somebody opens them."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from vaultsync import limits
from vaultsync.crypto.blob import blob_id, open_blob, seal_blob
from vaultsync.errors import (
    BadSeal,
    NotConnected,
    ObjectMissing,
    Refused,
    UnknownField,
    UsageError,
    WrongKind,
)
from vaultsync.schema.kinds import FileRef, file
from vaultsync.schema.types import Field, Schema
from vaultsync.store import Writing
from vaultsync.sync import names
from vaultsync.vault.desk import Desk
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.view.entry import Entry

__all__ = ["BLOB", "attach", "read_attachment"]

BLOB: Final = 16
"""The kind under which a sealed attachment is kept among the envelopes; on no envelope's header."""


class Source(Protocol):
    """Where an attachment is fetched from that is not on this device."""

    def fetch(self, name: str) -> bytes:
        """The object under a name. Raises `NotConnected`, `ObjectMissing`, `RemoteError`."""
        ...


def attach(
    desk: Desk,
    ledger: Ledger,
    identity: Identity,
    environment: Environment,
    entry: Entry,
    name: str,
    data: bytes,
    field: str | None,
) -> Entry:
    """Seal and store ``data``, and let the entry's file field refer to it. Refused, nothing is kept."""
    if len(data) > limits.MAX_ATTACHMENT_BYTES:
        raise WrongKind(
            f"{entry.label} {entry.id}: an attachment has at most {limits.MAX_ATTACHMENT_BYTES >> 20} MB, "
            f"this one has {len(data) / (1 << 20):.1f}"
        )
    chosen = _field(desk.schema, entry, field)
    sealed, key = seal_blob(data, vault_id=identity.vault_id, entropy=environment.entropy)
    name_there = names.blob_name(identity.vault_id, blob_id(sealed))
    digest = hashlib.sha256(data).hexdigest()
    reference = FileRef(id=blob_id(sealed).hex(), name=name, size=len(data), digest=digest, key=key.hex())
    return desk.update(entry, {chosen: reference}, also=lambda writing: _keep(writing, ledger, name_there, sealed))


def _keep(writing: Writing, ledger: Ledger, name: str, sealed: bytes) -> None:
    last = writing.last_envelope(ledger.actor, BLOB)
    seq = last.seq + 1 if last else 1
    writing.put_envelope(name, ledger.actor, seq, blob_id(sealed), BLOB, sealed, True)


def _field(schema: Schema, entry: Entry, field: str | None) -> str:
    kind = schema.types.get(entry.type)
    fields: list[Field] = [f for f in schema.fields_here(kind) if f.kind == file] if kind else []
    if field is not None:
        return field
    active = [f.name for f in fields if not schema.retired(f)]
    if not active:
        raise UnknownField(f"{entry.label} {entry.id}: entries of this type have no field for a file here")
    if len(active) > 1:
        raise UsageError(f"{entry.label} {entry.id}: say which field takes the file: {', '.join(active)}")
    return active[0]


def read_attachment(ledger: Ledger, identity: Identity, source: Source, entry: Entry, reference: FileRef) -> bytes:
    """The contents, from this device or else from the remote. Raises `ObjectMissing` while no device sent them yet,
    `NotConnected`, `RemoteError`, and `Refused` when what the remote serves is not that file."""
    blob = bytes.fromhex(reference.id)
    try:
        name = names.blob_name(identity.vault_id, blob)
    except UsageError:
        raise BadSeal(f"{entry.label} {entry.id}: the reference to its file is damaged") from None
    with ledger.store.read() as reading:
        held = reading.envelope(name)
    if held is not None:
        return _opened(held.data, reference, identity)
    try:
        sealed = source.fetch(name)
    except NotConnected:
        raise NotConnected(
            f"the file {reference.name!r} is not on this device: connect the vault to fetch it"
        ) from None
    except ObjectMissing:
        raise ObjectMissing(
            f"the file {reference.name!r} has not arrived on the remote yet: the device that attached it sends it "
            "when it syncs"
        ) from None
    if blob_id(sealed) != blob:
        raise ObjectMissing(f"the file {reference.name!r} is not complete on the remote yet: try again in a moment")
    contents = _opened(sealed, reference, identity)
    with ledger.store.write() as writing:
        writing.put_envelope(name, bytes(16), 0, blob, BLOB, sealed, False)
    return contents


def _opened(sealed: bytes, reference: FileRef, identity: Identity) -> bytes:
    try:
        key = bytes.fromhex(reference.key)
    except ValueError:
        key = b""
    contents = open_blob(sealed, key, vault_id=identity.vault_id)
    if hashlib.sha256(contents).hexdigest() != reference.digest or len(contents) != reference.size:
        raise Refused(f"the file {reference.name!r} is not the one that was attached")
    return contents

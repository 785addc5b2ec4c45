"""The vault: what applications hold. Everything it does is done elsewhere; here it is put together.

::

    Vault -----> Works                the parts below, and what one does when another has news
    Desk ------> Ledger ------> Engine (document) + Store (journal)
    Picture ---> Ledger               what the local schema makes of it
    Syncing ---> Exchange --> Core    what is exchanged with the remote, and when
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from vaultsync import limits
from vaultsync.crypto.invitation import Invitation
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.errors import (
    RemoteError,
    SchemaError,
    UnknownField,
    UpdateRequired,
    UsageError,
    VaultExists,
)
from vaultsync.importers.records import Parsed, Record
from vaultsync.importers.registry import parse
from vaultsync.importers.report import ImportReport
from vaultsync.remote import Remote
from vaultsync.schema.kinds import FileRef
from vaultsync.schema.published import Drift
from vaultsync.schema.types import Schema
from vaultsync.vault import census, unlocking
from vaultsync.vault.attachments import attach, read_attachment
from vaultsync.vault.catching_up import insist
from vaultsync.vault.desk import Desk, Quota
from vaultsync.vault.environment import REAL, Environment
from vaultsync.vault.exporting import ExportReport, export
from vaultsync.vault.healing import Healed, heal
from vaultsync.vault.health import Health, examine
from vaultsync.vault.identity import Identity
from vaultsync.vault.importing import import_records
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.membership import access, account, arriving, passwords
from vaultsync.vault.membership.joining import by_code, by_invitation
from vaultsync.vault.membership.managing import Managing
from vaultsync.vault.picture import Picture
from vaultsync.vault.preview import Preview
from vaultsync.vault.provenance import Revision
from vaultsync.vault.replication.connected import Connected
from vaultsync.vault.replication.reaching import reach
from vaultsync.vault.unlocking import Secrets
from vaultsync.vault.upgrade import UpgradePlan, make_plan
from vaultsync.vault.works import Works
from vaultsync.view.entry import Conflict, Entry
from vaultsync.view.picture import View

__all__ = ["Vault"]


class Vault(Managing, Connected):
    """One vault on this device. Thread-safe; a context manager closes it. Make one by `create`, `open` or `join`.

    Edits are durable when they return. Reading never waits for a remote.
    """

    def __init__(
        self,
        ledger: Ledger,
        identity: Identity,
        schema: Schema,
        environment: Environment,
        *,
        app: str = "",
        opener: Callable[[str], Remote] = reach,
        background: bool = True,
    ) -> None:
        """For `create`, `open` and `join`."""
        self.schema = schema
        build = partial(Works, schema=schema, environment=environment, app=app, opener=opener, background=background)
        super().__init__(ledger, identity, environment, build)

    # ---- making, opening, joining -----------------------------------------------------------------------------
    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        /,
        *,
        schema: Schema,
        password: str | None = None,
        key: bytes | None = None,
        device: str = "This device",
        app: str = "",
        environment: Environment = REAL,
    ) -> Vault:
        """A new, empty vault in a new file, with this device as its first.

        ``password`` guards the local file and, together with ``recovery_code``, lets further devices in. With ``key``
        (32 bytes kept by the platform) the file opens by the key instead; without a password the vault then has no
        recovery code. Takes about a second: deriving keys is slow on purpose.

        Raises `VaultExists`, `StoreFailed`, `UsageError`.
        """
        secrets = Secrets(password if key is None else None, key)
        _refuse_existing(path)
        recovery = account.recovery_identity(environment)
        identity, contents = Identity.found(_device_name(device), recovery, environment)
        code = RecoveryCode.generate(environment.entropy) if password is not None else None
        if code is not None and password is not None:
            identity = identity.with_account(account.seal_account(code, password, contents, 1, environment))
        listed = access.founding(recovery, identity.roster)
        ledger = unlocking.create_store(path, identity, secrets, environment, access=listed)
        vault = _made(path, ledger, lambda: cls._founded(ledger, identity, schema, environment, app))
        vault.recovery_code = None if code is None else str(code)
        return vault

    @classmethod
    def _founded(cls, ledger: Ledger, identity: Identity, schema: Schema, environment: Environment, app: str) -> Vault:
        with ledger.write() as transaction:
            transaction.commit(census.founding(schema))
        return cls(ledger, identity, schema, environment, app=app)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        /,
        *,
        schema: Schema,
        password: str | None = None,
        key: bytes | None = None,
        app: str = "",
        environment: Environment = REAL,
        opener: Callable[[str], Remote] = reach,
        background: bool = True,
        preload: bool | None = None,
    ) -> Vault:
        """An existing vault. Automatic sync begins when the vault is connected and it was not turned off; never with
        ``background=False``, for a program that is over in a moment and calls `sync` itself.

        Reading is quick at once; the first edit waits for the document (`prepare`). With ``preload`` that is loaded in
        the background soon after; without it (``False``) only when needed; left out, a small vault's is and a large
        one's is not, since nothing else runs while it is loaded.

        Raises `VaultNotFound`, `WrongPassword`, `SchemaError` (another application's vault), `UpdateRequired` (a newer
        format), `DamagedStore` (says what is lost and what is whole), `StoreFailed`, and `RemoteError` for a file whose
        device was let in and has not fetched everything yet.
        """
        ledger, identity = unlocking.open_store(path, Secrets(password, key), environment)
        try:
            passwords.resume(ledger, environment)
            left = arriving.resume(ledger, opener, environment)
            identity = identity if left is None else unlocking.load_identity(ledger)
            vault = cls(ledger, identity, schema, environment, app=app, opener=opener, background=background)
            if left is not None:
                vault._syncing.connect(*left)
                arriving.arrived(ledger)
        except BaseException:
            ledger.close()
            raise
        vault._syncing.start()
        vault._works.preparation.begin(preload if background or preload else False)
        return vault

    @classmethod
    def join(
        cls,
        path: str | os.PathLike[str],
        url: str | None = None,
        /,
        *,
        schema: Schema,
        password: str | None = None,
        code: str | None = None,
        invitation: str | None = None,
        show_code: Callable[[str], object] | None = None,
        preview: Callable[[View], object] | None = None,
        timeout: float = 900.0,
        key: bytes | None = None,
        device: str = "This device",
        app: str = "",
        environment: Environment = REAL,
        opener: Callable[[str], Remote] = reach,
        background: bool = True,
    ) -> Vault:
        """Add this device to a vault that is on a remote, and fetch everything.

        With the vault's password and recovery ``code``: ``url`` is the remote. The local file opens with the same
        password, or with ``key``.

        Or with an ``invitation`` that another device shows (`invite`): ``url`` is only needed where its remote has
        another address here. ``password`` (or ``key``) is for the local file. ``show_code`` gets six digits, once, for
        the person to compare with the other device's; it may return ``False`` when they differ. Blocks until the other
        device approved and everything that it had is here, at most ``timeout`` seconds.

        Verifying a large vault takes longer than reading it. ``preview`` gets a view of it as soon as it can be read,
        in the thread that joins: to look at, and to be shown as not verified yet. One device of the vault stands for
        it; that all of it was signed by its writers is known when this method returns, and what did not hold is not in
        the vault then. It shows the entries as of the last checkpoint, and is not called where there is none: a small
        vault comes at once.

        Raises `WrongCode`, `WrongPassword`, `VaultNotFound`, `VaultExists`, `SchemaError`, `UnsupportedRemote`,
        `RemoteError`, and for invitations `WrongInvitation` and `PairingFailed`; then no file is left behind, except of
        a device that was let in by invitation when the remote failed (`NotArrived`: or lacks something), or that
        belongs to another application: `open` goes on with that.
        """
        secrets = Secrets(password if key is None else None, key)
        name = _device_name(device)
        if invitation is not None:
            if code is not None or show_code is None:
                raise UsageError("with invitation= comes show_code=, to show six digits with; and no recovery code")
            invited = Invitation.parse(invitation)
            _refuse_existing(path)
            url, until = url or invited.remote, environment.monotonic() + timeout
            arrival = by_invitation(
                *(path, opener(url), url, invited, name, secrets),
                show_code=show_code,
                deadline=until,
                environment=environment,
            )
        elif url is None or code is None or password is None:
            raise UsageError("joining takes the remote's address, password= and code=, or invitation=")
        else:
            parsed = RecoveryCode.parse(code)
            _refuse_existing(path)
            arrival = by_code(
                *(path, opener(url), url, parsed, name, secrets), password=password, environment=environment
            )
        ledger, remote = arrival.ledger, arrival.remote

        def make() -> Vault:
            arrival.fetch(
                None if preview is None else Preview(schema, partial(unlocking.load_identity, ledger), preview)
            )
            identity = unlocking.load_identity(ledger)
            vault = cls(ledger, identity, schema, environment, app=app, opener=opener, background=background)
            insist(lambda: vault._syncing.connect(arrival.url, remote), environment, deadline=arrival.deadline)
            arriving.arrived(ledger)
            # From here on others may have heard of this device: a remote that fails now only means it is offline.
            with contextlib.suppress(RemoteError):
                vault._syncing.run()
            return vault

        vault = _made(path, ledger, make, keep=invitation is not None)
        arrival.finish()
        return vault

    @property
    def _desk(self) -> Desk:
        return self._works.desk

    @property
    def _picture(self) -> Picture:
        return self._works.picture

    @staticmethod
    def heal(
        path: str | os.PathLike[str],
        /,
        *,
        password: str | None = None,
        key: bytes | None = None,
        environment: Environment = REAL,
        opener: Callable[[str], Remote] = reach,
    ) -> Healed:
        """Put a whole file in the place of a damaged one, from what of it can be read and what its remote holds. Close
        the vault first, everywhere. The damaged file is moved aside; this device goes on as a new incarnation.

        Raises `DamagedStore` when not even this device's keys can be read (join anew), `WrongPassword`,
        `VaultNotFound`, `StoreBusy`, `RemoteError`, `StoreFailed`; then the file is as it was.
        """
        return heal(path, Secrets(password, key), environment, opener)

    # ---- seeing -----------------------------------------------------------------------------------------------
    def view(self, *, progress: Callable[[int, int], object] | None = None) -> View:
        """An immutable picture of the vault as of now; inside a batch with the batch's own edits.

        Usually read as it was evaluated before, in the blink of an eye. The first time under another version of the
        schema every entry is evaluated again: ``progress(done, total)`` is told how far that is.
        """
        self._check_open()
        return self._desk.view(progress)

    def history(self, entry_id: str) -> tuple[Revision, ...]:
        """Every change of an entry, oldest first: who, when, which fields, before and after. Raises `EntryNotFound`."""
        self._check_open()
        with self._ledger.lock:
            self._picture.current()
            return self._works.provenance.history(entry_id, self.schema)

    @property
    def prepared(self) -> bool:
        """Whether the next edit can be written at once. Reading never waits for that."""
        return self._works.ledger.prepared

    def prepare(self) -> None:
        """Have everything in memory that an edit needs: once after opening, and at a moment of the application's
        choosing, because nothing else of the program runs meanwhile (about 20 ms a thousand entries). An edit does it
        otherwise. Raises `DamagedStore`."""
        self._check_open()
        self._works.ledger.prepare()

    @property
    def drift(self) -> tuple[Drift, ...]:
        """Where the local schema contradicts what was published: somebody edited the past."""
        self._picture.current()
        return self._picture.context.drift

    # ---- edits ------------------------------------------------------------------------------------------------
    def batch(self) -> AbstractContextManager[None]:
        """``with vault.batch():`` makes everything inside one atomic, durable change, undone if the block raises.

        The block sees its own edits and holds no lock; nested batches join the outer one.
        """
        self._check_open()
        return self._batch(self._desk)

    @contextlib.contextmanager
    def _batch(self, desk: Desk) -> Iterator[None]:
        with self._auto_lock.held(), desk.batch():
            yield

    def add(self, type: str, /, **values: Any) -> Entry:
        """A new entry. Raises `UnknownType`, `UnknownField`, `RetiredField`, `WrongKind`, `QuotaExceeded`."""
        self._check_open()
        return self._desk.add(type, values)

    def update(self, entry: Entry | str, /, **values: Any) -> Entry:
        """Change fields; ``None`` clears one. Given an `Entry`, collections and notes are compared with what it
        showed, so that what arrived meanwhile survives; `add` and `remove` say outright what to change in a
        collection.

        Raises `EntryNotFound`, `UnknownField`, `RetiredField`, `WrongKind`, `NotEditable`.
        """
        self._check_open()
        return self._desk.update(entry, values)

    def delete(self, entry: Entry | str, /) -> None:
        """Into the trash. Covers what was seen (given an `Entry`: what that showed): a concurrent edit brings it
        back."""
        self._check_open()
        self._desk.delete(entry)

    def restore(self, entry: Entry | str, /, *, revision: str | None = None) -> Entry:
        """Out of the trash; with ``revision`` (from `history`) also every writable field as it was then."""
        self._check_open()
        if revision is None:
            return self._desk.restore(entry)
        entry_id = entry if isinstance(entry, str) else entry.id
        then = self._works.provenance.as_of(entry_id, revision, self.schema)
        with self.batch():
            restored = self._desk.restore(entry_id)
            values = {name: then.get(name) for name in sorted(restored.writable)}
            return self._desk.update(entry_id, values)

    def purge(self, entry: Entry | str, /) -> None:
        """Delete and forget every value. Edited elsewhere meanwhile, it comes back with what was edited."""
        self._check_open()
        self._desk.purge(entry)

    def resolve(self, entry: Entry | str, field: str, choice: Conflict | Any, /) -> Entry:
        """Settle a conflict: ``choice`` is one of ``entry.conflicts[field]`` or the value to keep."""
        self._check_open()
        return self._desk.resolve(entry, field, choice)

    @property
    def quota(self) -> Quota:
        """How many entries may be kept. Not stored: the application sets it when it opens the vault."""
        return self._desk.quota

    @quota.setter
    def quota(self, quota: Quota) -> None:
        self._desk.quota = quota

    # ---- attachments ------------------------------------------------------------------------------------------
    def attach(self, entry: Entry | str, name: str, data: bytes, /, *, field: str | None = None) -> Entry:
        """Attach a file (at most 32 MB) to an entry's field of kind ``file``: durable, sealed, sent with the next sync.

        ``field`` may be left out when there is one. Raises `UnknownField`, `WrongKind`, `NotEditable`.
        """
        self._check_open()
        seen = self._desk.view()[entry] if isinstance(entry, str) else entry
        return attach(self._desk, self._ledger, self._works.identity, self._environment, seen, name, data, field)

    def read_attachment(self, entry: Entry | str, field: str | None = None, /) -> bytes:
        """The contents of an attached file, fetched from the remote when it is not on this device yet.

        Raises `UnknownField` when nothing is attached, `ObjectMissing`, `NotConnected`, `RemoteError`, `Refused`.
        """
        self._check_open()
        seen = self._desk.view()[entry] if isinstance(entry, str) else entry
        references = {name: value for name, value in seen.fields.items() if isinstance(value, FileRef)}
        chosen = field if field is not None else next(iter(references), "")
        if chosen not in references:
            raise UnknownField(f"{seen.label} {seen.id} has no file attached{f' in {field!r}' if field else ''}")
        return read_attachment(self._ledger, self._works.identity, self._syncing, seen, references[chosen])

    # ---- upgrading --------------------------------------------------------------------------------------------
    def upgrade_plan(self) -> UpgradePlan:
        """What could be done with the entries of types that are retired here: a dry run, see `UpgradePlan`.

        Until somebody applies a plan, they stay archived and go on syncing.
        """
        self._check_open()
        self._picture.current()
        census_rows, now = self._picture.context.census, self._environment.now_ms()
        return make_plan(
            self._desk, self._ledger, self.schema, self.view, census_rows, self._works.identity.device_id, now
        )

    # ---- in and out -------------------------------------------------------------------------------------------
    def import_file(self, path: str | os.PathLike[str], /, *, format: str | None = None) -> ImportReport:
        """Import another application's export. Importing it again adds nothing twice. Raises `ImportFailed`."""
        return self.import_records(parse(path, format=format))

    def import_records(self, records: Parsed | Iterable[Record], /) -> ImportReport:
        """Import records as one batch, ``created`` and ``modified`` kept; one that is there (by ``source``) is left
        alone."""
        self._check_open()
        return import_records(self._desk, self.schema, records)

    def export(
        self, path: str | os.PathLike[str], /, *, attachments: str | os.PathLike[str] | None = None
    ) -> ExportReport:
        """Write everything, secrets in the clear, as JSON that only this user may read.

        Attached files are only named in it. With ``attachments``, a new or empty folder, they are written there, those
        of entries and fields that are not shown here too; those that are not on this device are fetched, and the JSON
        says which file is which.

        Raises `VaultExists` when there is a file, `StoreFailed` when it cannot be written, and for attachments what
        `read_attachment` does; then nothing is left behind.
        """
        self._check_open()

        def read(entry: Entry, reference: FileRef) -> bytes:
            return read_attachment(self._ledger, self._works.identity, self._syncing, entry, reference)

        now = self._environment.now_ms()
        return export(self.view(), path, now_ms=now, attachments=attachments, read=read)

    # ---- the file ---------------------------------------------------------------------------------------------
    def check(self, *, quick: bool = False) -> Health:
        """Examine the file: every page, every seal, every reference. Reports; never raises for damage.

        ``quick`` takes a fortieth of the time: it leaves out whether the document can be put together from its parts.
        """
        self._check_open()
        return examine(self._ledger, quick=quick)


def _device_name(name: str) -> str:
    stripped = name.strip()
    if not 0 < len(stripped) <= limits.MAX_DEVICE_NAME_CHARS:
        raise UsageError(f"a device's name has 1 to {limits.MAX_DEVICE_NAME_CHARS} characters")
    return stripped


def _refuse_existing(path: str | os.PathLike[str]) -> None:
    """Before keys are derived, which takes a second; creating the file checks again."""
    if os.path.lexists(path):
        raise VaultExists(f"there is a file at {os.fspath(path)} already: choose another path, or open it")


def _made(path: str | os.PathLike[str], ledger: Ledger, make: Callable[[], Vault], *, keep: bool = False) -> Vault:
    """What ``make`` gives; when it raises, the file that was created a moment ago goes again. With ``keep`` it stays:
    its device is a member already, when only the remote failed, or another application or version has to open it."""
    try:
        return make()
    except BaseException as error:
        ledger.close()
        if not (keep and isinstance(error, (RemoteError, SchemaError, UpdateRequired))):
            unlocking.discard(path)
        if keep and isinstance(error, SchemaError):
            raise SchemaError(
                f"{error}. The device is let in and its file is there: open it with that application, or remove the "
                "device on another one"
            ) from None
        raise

"""The desk: where a person's edits are planned and written, one by one or in batches.

An edit is planned against the newest state under the ledger's lock and written in the same transaction. In a batch the
caller's code runs without any lock: its edits are gathered in a draft that only the batch's own thread sees, and
written in one transaction when the block ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from vaultsync.document.layout import ENTRIES, FORMAT_KEY, new_ulid, writable_format
from vaultsync.errors import QuotaExceeded, UpdateRequired
from vaultsync.schema.cells import Ops, Raw
from vaultsync.schema.types import Schema
from vaultsync.store import Writing
from vaultsync.vault.draft import Draft
from vaultsync.vault.environment import Environment
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.picture import Picture, Progress
from vaultsync.view.edits import plan_add, plan_delete, plan_purge, plan_resolve, plan_restore, plan_update
from vaultsync.view.entry import Entry, evaluate
from vaultsync.view.losers import Candidates, Rivals
from vaultsync.view.picture import View
from vaultsync.view.words import count

__all__ = ["Desk", "Quota"]

_ELEMENT_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Quota:
    """How many entries the application lets a person keep. ``None`` is no limit.

    Only entries that count are counted: neither deleted, nor readable only as types that are retired here.
    """

    def __init__(self, max_entries: int | None = None) -> None:
        if max_entries is not None and (isinstance(max_entries, bool) or max_entries < 0):
            raise ValueError("a quota is a number of entries, 0 or more")
        self.max_entries = max_entries

    def __repr__(self) -> str:
        return f"Quota(max_entries={self.max_entries})"


class Desk:
    """Edits on one vault. Thread-safe; each thread has its own batch."""

    def __init__(
        self,
        ledger: Ledger,
        schema: Schema,
        picture: Picture,
        environment: Environment,
        written: Callable[[frozenset[str]], None],
        rivals: Callable[[str], Candidates],
    ) -> None:
        """``written`` is told the ids of the entries that a transaction changed, after it is durable, under no lock."""
        self._ledger = ledger
        self.schema = schema
        self._picture = picture
        self._environment = environment
        self._written = written
        self._rivals = rivals
        self._local = threading.local()
        self.quota = Quota()

    # ---- batches ----------------------------------------------------------------------------------------------
    @property
    def _batch(self) -> Draft | None:
        draft: Draft | None = getattr(self._local, "draft", None)
        return draft

    @property
    def in_batch(self) -> bool:
        """Whether this thread is inside a batch."""
        return self._batch is not None

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Everything inside is one atomic, durable change; nothing of it happened when the block raises."""
        if self._batch is not None:
            yield  # nested batches join
            return
        self._ledger.settle()
        draft = self._local.draft = Draft(self._stored, self._ledger.actor.hex())
        try:
            yield
        finally:
            self._local.draft = None
        self._write(draft)

    @contextmanager
    def _editing(self) -> Iterator[Draft]:
        """The batch of this thread, or a draft of one edit that is written at the end of the block."""
        if (draft := self._batch) is not None:
            if not draft.checked:
                self._check_writable()
                draft.checked = True
            yield draft
            return
        self._ledger.prepare()
        self._check_writable()
        with self._ledger.lock:
            self._ledger.refresh()
            self._ledger.settle()
            draft = Draft(self._stored, self._ledger.actor.hex())
            yield draft
            touched = self._commit(draft, just_planned=True)
        self._tell(touched)

    def _write(self, draft: Draft) -> None:
        if draft:
            self._ledger.prepare()
            with self._ledger.lock:
                touched = self._commit(draft)
            self._tell(touched)

    def _commit(self, draft: Draft, *, just_planned: bool = False) -> frozenset[str]:
        """``just_planned``: under the lock that is still held, after a `refresh`."""
        if not draft:
            return frozenset()
        with self._ledger.write() as transaction:
            self._check_writable()  # again, now that nobody else can write
            incarnation = transaction.actor.hex()
            stands = just_planned and transaction.quiet
            changes = transaction.commit(draft.edits(transaction.engine, incarnation, stands=stands))
            if incarnation == draft.incarnation:
                transaction.made.update(draft.raws if stands else {new: draft.raw(new) for new in draft.added})
            for store in draft.also:
                store(transaction.store)
        return frozenset(draft.raws) if changes else frozenset()

    def _tell(self, touched: frozenset[str]) -> None:
        if touched:
            self._written(touched)

    def _stored(self, entry_id: str) -> Raw | None:
        return self._ledger.engine.read(ENTRIES, entry_id)

    @property
    def read_only(self) -> bool:
        """Whether a newer version raised the format of the vault so that this one may only read it. Any device may do
        that at any time. Raises `UpdateRequired` when it may not even be read."""
        return not writable_format(self._ledger.section("settings").get(FORMAT_KEY))

    def _check_writable(self) -> None:
        if self.read_only:
            raise UpdateRequired(
                "a newer version of the application changed this vault's format: update to edit it here"
            )

    def sources(self) -> dict[str, str]:
        """``$source`` -> entry id of every imported entry, whatever its status."""
        view = self.view()
        every = (entry for entries in (view.entries, view.archived, view.hidden, view.trash) for entry in entries)
        return {entry.source: entry.id for entry in every if entry.source is not None}

    # ---- seeing -----------------------------------------------------------------------------------------------
    def view(self, progress: Progress | None = None) -> View:
        """The current view; inside a batch with the batch's own edits."""
        view = self._picture.current(progress)
        draft = self._batch
        return view if draft is None or not draft else view.updated(draft.raws)

    def _entry(self, entry_id: str, raw: Raw) -> Entry:
        return evaluate(entry_id, raw, self.schema, self._picture.context)

    # ---- edits ------------------------------------------------------------------------------------------------
    def add(
        self,
        type: str,
        values: Mapping[str, Any],
        *,
        source: str | None = None,
        created: int | None = None,
        modified: int | None = None,
    ) -> Entry:
        """A new entry; ``created`` and ``modified`` (ms) are those of an imported one, else now."""
        with self._editing() as draft:
            entry_id = self._create(draft, type, values, source, created, modified)
            return self._entry(entry_id, draft.raw(entry_id))

    def create(
        self,
        type: str,
        values: Mapping[str, Any],
        *,
        source: str | None = None,
        created: int | None = None,
        modified: int | None = None,
    ) -> str:
        """`add` for who needs nothing but the new entry's id."""
        with self._editing() as draft:
            return self._create(draft, type, values, source, created, modified)

    def _create(
        self,
        draft: Draft,
        type: str,
        values: Mapping[str, Any],
        source: str | None,
        created: int | None,
        modified: int | None,
    ) -> str:
        now = self._environment.now_ms()
        made = now if created is None else created
        entry_id = new_ulid(made, self._environment.entropy)
        self._check_quota(draft)
        ops = plan_add(
            self.schema,
            type,
            values,
            incarnation=self._ledger.actor.hex(),
            now_ms=now if modified is None else modified,
            new_id=self._element_id,
            source=source,
            created=made,
        )
        draft.create(entry_id, ops)
        return entry_id

    def update(
        self, entry: Entry | str, values: Mapping[str, Any], *, also: Callable[[Writing], None] | None = None
    ) -> Entry:
        """Write what the caller changed, against what the caller saw; ``also`` stores rows in the same transaction."""
        entry_id = entry if isinstance(entry, str) else entry.id
        with self._editing() as draft:
            ops = plan_update(
                entry_id,
                draft.raw(entry_id),
                self.schema,
                values,
                seen=None if isinstance(entry, str) else entry,
                incarnation=self._ledger.actor.hex(),
                now_ms=self._environment.now_ms(),
                new_id=self._element_id,
                rivals=partial(self._rivals, entry_id),
            )
            draft.change(entry_id, ops)
            if also is not None:
                draft.also.append(also)
            return self._entry(entry_id, draft.raw(entry_id))

    def delete(self, entry: Entry | str) -> None:
        """Into the trash; covers the edits that the caller saw."""
        entry_id = entry if isinstance(entry, str) else entry.id
        with self._editing() as draft:
            seen = None if isinstance(entry, str) else entry
            draft.change(entry_id, plan_delete(draft.raw(entry_id), self._ledger.actor.hex(), seen=seen))

    def restore(self, entry: Entry | str) -> Entry:
        """Out of the trash."""
        entry_id = entry if isinstance(entry, str) else entry.id
        with self._editing() as draft:
            ops = plan_restore(draft.raw(entry_id), self._ledger.actor.hex(), self._environment.now_ms())
            draft.change(entry_id, ops)
            return self._entry(entry_id, draft.raw(entry_id))

    def purge(self, entry: Entry | str) -> None:
        """Delete and forget the values."""
        entry_id = entry if isinstance(entry, str) else entry.id
        with self._editing() as draft:
            draft.change(entry_id, plan_purge(draft.raw(entry_id), self._ledger.actor.hex()))

    def resolve(self, entry: Entry | str, field: str, choice: Any) -> Entry:
        """Write the chosen value over every value that concurrent edits left; counts as an edit even if it is the
        winner."""
        entry_id = entry if isinstance(entry, str) else entry.id
        with self._editing() as draft:
            raw = draft.raw(entry_id)
            now = self._environment.now_ms()
            ops = plan_resolve(
                entry_id,
                raw,
                self.schema,
                field,
                choice,
                rivals=self._rivals(entry_id),
                incarnation=self._ledger.actor.hex(),
                now_ms=now,
                new_id=self._element_id,
            )
            draft.change(entry_id, ops)
            return self._entry(entry_id, draft.raw(entry_id))

    def upkeep(self, entry_ids: Iterable[str], plan: Callable[[Raw, Schema, Rivals], Ops]) -> frozenset[str]:
        """Operations that no person asked for (repairs, conversions), in one transaction; returns what they touched.

        Planned under the lock on what is stored, so that they never meet an edit half way. Not an edit: nobody's
        ``$edited`` moves.
        """
        if self.read_only:
            return frozenset()
        with self._ledger.lock:
            self._ledger.refresh()
            self._ledger.settle()
            draft = Draft(self._stored, self._ledger.actor.hex())
            for entry_id in entry_ids:
                draft.change(entry_id, plan(draft.raw(entry_id), self.schema, partial(self._rivals, entry_id)))
            touched = self._commit(draft)
        self._tell(touched)
        return touched

    # ---- parts ------------------------------------------------------------------------------------------------
    def _check_quota(self, draft: Draft) -> None:
        limit = self.quota.max_entries
        if limit is None:
            return
        view = self.view()
        if view.counted >= limit:
            raise QuotaExceeded(
                f"this vault holds {count(view.counted, 'entry')} that {'counts' if view.counted == 1 else 'count'}, "
                f"and its limit is {limit:,}: delete some, or raise the limit"
            )

    def _element_id(self) -> str:
        """Ids of list items and note lines: 60 random bits."""
        number = int.from_bytes(self._environment.entropy(8), "big")
        return "".join(_ELEMENT_ALPHABET[number >> shift & 31] for shift in range(0, 60, 5))

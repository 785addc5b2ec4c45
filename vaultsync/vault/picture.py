"""The current view of a vault, brought up to date by what changed and by nothing else."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from vaultsync.errors import StoreError
from vaultsync.schema.cells import Raw
from vaultsync.schema.published import Catalog, drift
from vaultsync.schema.types import Schema
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.pages import BasePages
from vaultsync.vault.shelf import Base
from vaultsync.view.columns import Columns
from vaultsync.view.context import Context, Device
from vaultsync.view.entry import Candidate, evaluate_all
from vaultsync.view.index import Index, columns_of, evaluation, index_of
from vaultsync.view.packed import MalformedPage, uncollected
from vaultsync.view.pages import PAGE, Cuts, encode_page
from vaultsync.view.picture import View
from vaultsync.view.stored import Table

__all__ = ["Picture", "Progress"]

Progress = Callable[[int, int], object]
"""``(entries dealt with, entries in all)``."""
_EVERY = 1_000
"""Entries between two calls of a progress function."""
T = TypeVar("T")


class Picture:
    """Holds one immutable `View`; `current` derives the next one when the ledger saw changes."""

    def __init__(
        self,
        ledger: Ledger,
        schema: Schema,
        *,
        device_id: str,
        last_version: int | None,
        conflicts: Callable[[str], Mapping[str, Sequence[Candidate]]],
        device_of: Callable[[str], Device | None],
        present: Callable[[str], bool],
    ) -> None:
        """``present``: whether a device (id in hex) of the census is one of the vault's now."""
        self._ledger = ledger
        self._schema = schema
        self._present = present
        self._devices_changed = False
        self.everybody: tuple[Device, ...] = ()
        """The census with the devices that were removed."""
        self._view: View | None = None
        self._pages: weakref.WeakSet[BasePages] = weakref.WeakSet()
        self._evaluation = evaluation(schema)
        self._stored_schemas: Mapping[str, object] = {}
        self.context = Context(
            this_device=device_id, last_version=last_version, conflicts=conflicts, device_of=device_of
        )
        """What the view knows besides the entries."""

    def current(self, progress: Progress | None = None) -> View:
        """The view as of now, with what other processes of this device wrote. Loads the document only where the
        shelf is of no use; ``progress(done, total)`` is told while entries are evaluated in bulk."""
        with self._ledger.lock:
            self._ledger.refresh()
            touches = self._ledger.take_touches()
            if self._view is None or touches.everything:
                self._read_context()
                self._view = self._shelved(progress) or self._evaluated(progress)
            elif touches or self._devices_changed:
                if touches.flat or self._devices_changed:
                    self._read_context()
                with uncollected():
                    raws = {entry_id: self._ledger.entry(entry_id) for entry_id in touches.entries}
                    self._view = self._view.updated(raws, self.context)
                self._ledger.forget_made()
            self._devices_changed = False
            if self._ledger.prepared and (self._ledger.shelf.heavy or not self._ledger.on_shelf()):
                self._shelve()
            return self._view

    def _evaluated(self, progress: Progress | None) -> View:
        """Everything, out of the document."""
        items: Iterable[tuple[str, Raw]] = self._ledger.rows()
        if progress is not None:
            items = _counted(items, len(self._ledger.engine.entry_ids()), progress)
        with uncollected():
            view = View.build(items, self._schema, self.context)
        self._ledger.forget_made()
        return view

    # ---- the shelf ------------------------------------------------------------------------------------------------
    def _shelved(self, progress: Progress | None) -> View | None:
        """Everything, from the shelf; None when that is of no use."""
        ledger, shelf = self._ledger, self._ledger.shelf
        if not ledger.on_shelf() or shelf.generation is None or shelf.state is None:
            return None
        try:
            with ledger.store.read() as reading:
                columns = shelf.columns(reading)
                index = shelf.index(reading, self._evaluation, self._schema)
            if index is None:
                index = self._indexed(columns, progress)
            view = self._stored_view(shelf.generation, shelf.heads, columns, index)
        except MalformedPage:
            shelf.spoil()
            return None
        return view.updated(shelf.entries, self.context) if shelf.entries else view

    def _indexed(self, columns: Columns, progress: Progress | None) -> Index:
        """What the local schema makes of entries that were evaluated for another one."""
        ledger, generation = self._ledger, self._ledger.shelf.generation or b""
        pages = BasePages(ledger, generation, (), columns)
        items: Iterable[tuple[str, Raw]] = zip(columns.ids, map(pages.raw, range(len(columns.ids))), strict=True)
        if progress is not None:
            items = _counted(items, len(columns.ids), progress)
        index = index_of(evaluate_all(items, self._schema, self.context), self._schema)
        with contextlib.suppress(StoreError), ledger.store.write() as writing:
            if ledger.shelf.holds(writing, generation):
                with writing.optional():
                    ledger.shelf.put_index(writing, self._evaluation, index)
        return index

    def put_away(self) -> None:
        """Write down what an import made that nobody looked at yet, while it is at hand: whoever opens the vault next
        would have to read all of it from the document."""
        with self._ledger.lock:
            if self._view is not None and self._ledger.made_at_hand:
                self.current()

    def shelve(self) -> None:
        """Write everything down as it is now, and go on from what was written."""
        with self._ledger.lock:
            self.current()
            self._shelve()

    def _shelve(self) -> None:
        view, ledger = self._view, self._ledger
        if view is None:
            return
        state = ledger.state_now()
        try:
            with uncollected():
                entries = list(view.everything())
                columns, index = columns_of(entries), index_of(entries, self._schema)
        except MalformedPage:
            return  # holds what no page can: it stays in memory
        rows = range(0, len(entries), PAGE)
        cuts: Cuts = {}
        pages = (encode_page([entry.raw for entry in entries[row : row + PAGE]], columns, row, cuts) for row in rows)
        with uncollected():
            generation = ledger.shelve(Base(columns, index, self._evaluation, pages), state)
        if generation is not None:
            self._view = self._stored_view(generation, state.heads, columns, index)

    def _stored_view(self, generation: bytes, heads: tuple[bytes, ...], columns: Columns, index: Index) -> View:
        pages = BasePages(self._ledger, generation, heads, columns)
        self._pages.add(pages)
        return View.stored(Table(columns, index, pages, self._schema, self.context))

    def close(self) -> None:
        """The file is about to be closed. Views that somebody holds stay whole."""
        self._view = None
        for pages in list(self._pages):
            pages.hold()

    def devices_changed(self) -> None:
        """The list of devices changed: the next picture tells of those that are in the vault then."""
        self._devices_changed = True

    def _read_context(self) -> None:
        """Published declarations and the census. The catalog object stays the same while the declarations do: a new one
        makes the view look at everything that it cannot name."""
        schemas = self._ledger.section("schemas")
        if schemas != self._stored_schemas:
            self._stored_schemas = schemas
            self.context = replace(self.context, catalog=Catalog(schemas), drift=tuple(drift(self._schema, schemas)))
        rows = self._ledger.section("devices")
        census = tuple(device for name, row in sorted(rows.items()) if (device := Device.parse(name, row)) is not None)
        self.everybody = census
        self.context = replace(self.context, census=tuple(device for device in census if self._present(device.id)))


def _counted(items: Iterable[T], total: int, progress: Progress) -> Iterator[T]:
    """The same items, telling how far it is."""
    for done, item in enumerate(items):
        if done % _EVERY == 0:
            progress(done, total)
        yield item
    progress(total, total)

"""The current view of a vault, brought up to date by what changed and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from vaultsync.document.engine import Engine
from vaultsync.document.layout import ENTRIES
from vaultsync.schema.published import Catalog, drift
from vaultsync.schema.types import Schema
from vaultsync.vault.ledger import Ledger
from vaultsync.view.context import Context, Device
from vaultsync.view.entry import Candidate
from vaultsync.view.picture import View

__all__ = ["Picture"]


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
        self._stored_schemas: Mapping[str, object] = {}
        self.context = Context(
            this_device=device_id, last_version=last_version, conflicts=conflicts, device_of=device_of
        )
        """What the view knows besides the entries."""

    def current(self) -> View:
        """The view as of now, with what other processes of this device wrote."""
        with self._ledger.lock:
            self._ledger.refresh()
            engine = self._ledger.engine
            touches = self._ledger.take_touches()
            if self._view is None or touches.everything:
                self._read_context(engine)
                self._view = View.build(engine.read_all(), self._schema, self.context)
            elif touches or self._devices_changed:
                if touches.flat or self._devices_changed:
                    self._read_context(engine)
                raws = {entry_id: engine.read(ENTRIES, entry_id) for entry_id in touches.entries}
                self._view = self._view.updated(raws, self.context)
            self._devices_changed = False
            return self._view

    def devices_changed(self) -> None:
        """The list of devices changed: the next picture tells of those that are in the vault then."""
        self._devices_changed = True

    def _read_context(self, engine: Engine) -> None:
        """Published declarations and the census. The catalog object stays the same while the declarations do: a new one
        makes the view look at everything that it cannot name."""
        schemas = engine.read("schemas") or {}
        if schemas != self._stored_schemas:
            self._stored_schemas = schemas
            self.context = replace(self.context, catalog=Catalog(schemas), drift=tuple(drift(self._schema, schemas)))
        rows = engine.read("devices") or {}
        census = tuple(device for name, row in sorted(rows.items()) if (device := Device.parse(name, row)) is not None)
        self.everybody = census
        self.context = replace(self.context, census=tuple(device for device in census if self._present(device.id)))

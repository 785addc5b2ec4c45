"""What a new device may show while it joins: the entries of a large vault, seconds before the last of them is verified.

The process that looks at a checkpoint hands its entries over as soon as it has them (`replication.inspection`), and
takes much longer to tell whether everything in it was signed for and keeps the rules. A preview is a view of those
entries. It is signed by one device that is in the vault, which wrote the checkpoint, and by nobody else yet. It lives
in memory alone: nothing of it is stored, can be edited, or is part of the vault until the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn

from vaultsync.errors import EngineFailure, SchemaError
from vaultsync.schema.cells import Raw
from vaultsync.schema.published import Catalog, drift
from vaultsync.schema.types import Schema
from vaultsync.vault.census import check_schema
from vaultsync.vault.identity import Identity
from vaultsync.vault.membership.devices import census_rows
from vaultsync.vault.provenance import Provenance
from vaultsync.view.context import Context
from vaultsync.view.packed import uncollected
from vaultsync.view.picture import View

__all__ = ["Preview"]


class Preview:
    """Makes one view and hands it to ``tell``. Of another schema's vault it shows nothing: joining says why."""

    def __init__(self, schema: Schema, load_identity: Callable[[], Identity], tell: Callable[[View], object]) -> None:
        self._schema: Final = schema
        self._load_identity = load_identity
        self._tell = tell

    def __call__(self, flat: Mapping[str, Raw], entries: Iterator[tuple[str, Raw]]) -> None:
        """Told the flat sections and all entries, unverified, while they come. Raises what ``tell`` does."""
        try:
            check_schema(flat.__getitem__, self._schema)
        except SchemaError:
            return
        context = self._context(flat)
        with uncollected():
            view = View.build(entries, self._schema, context)
        self._tell(view)

    def _context(self, flat: Mapping[str, Raw]) -> Context:
        identity = self._load_identity()
        everybody = tuple(census_rows(flat["devices"]))
        made: Context
        provenance = Provenance(_no_document, lambda: identity, lambda: made, lambda: everybody)
        made = Context(
            catalog=Catalog(flat["schemas"]),
            census=tuple(device for device in everybody if identity.has_member(device.id)),
            this_device=identity.device_id,
            drift=tuple(drift(self._schema, flat["schemas"])),
            device_of=provenance.device_named,
        )
        return made


def _no_document() -> NoReturn:
    raise EngineFailure("a preview has no document")  # it asks who wrote something, never for a history

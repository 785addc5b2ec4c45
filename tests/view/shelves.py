"""Views out of a store, without a store: what is written down of a view is read back as bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vaultsync.schema.cells import Raw
from vaultsync.view.columns import decode_columns, encode_columns
from vaultsync.view.index import columns_of, decode_index, encode_index, index_of
from vaultsync.view.pages import PAGE, encode_page
from vaultsync.view.picture import View
from vaultsync.view.stored import Pages, Table


class Shelf:
    """The bytes that a view was written down as."""

    def __init__(self, view: View) -> None:
        entries = list(view.everything())
        columns = columns_of(entries)
        self.columns = encode_columns(columns)
        self.index = encode_index(index_of(entries, view.schema))
        self.pages = [
            encode_page([entry.raw for entry in entries[start : start + PAGE]], columns, start)
            for start in range(0, len(entries), PAGE)
        ]

    def table(self, like: View, recover: Callable[[Sequence[str]], Sequence[Raw]] | None = None) -> Table:
        """What a process reads from them that has the schema and context of another view."""
        columns = decode_columns(self.columns)
        index = decode_index(self.index, like.schema)
        pages = Pages(columns, self.fetch, recover or (lambda ids: []))
        return Table(columns, index, pages, like.schema, like.context)

    def fetch(self, number: int, many: int) -> dict[int, bytes]:
        return {at: self.pages[at] for at in range(number, number + many) if at < len(self.pages)}


def stored(view: View) -> View:
    """The same view, as another process reads it."""
    return View.stored(Shelf(view).table(view))

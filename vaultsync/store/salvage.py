"""Reading what can still be read of a damaged file, past every page that cannot.

Nothing here trusts the file: no count, no index alone, no definition. Every row that comes out carries the checksum
that it was written with; whatever does not is left behind. The file is only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vaultsync.errors import DamagedStore, StoreError, UpdateRequired, VaultNotFound
from vaultsync.store import tables
from vaultsync.store.connection import Connect, Database, connect
from vaultsync.store.journal import as_holds
from vaultsync.store.rows import Envelope, JournalRow, Slot, Tip

__all__ = ["Salvaged", "salvage"]

_DOING: Final = "reading what is left of the vault"
_MOST: Final = 1 << 20
"""Rows of one table, so that a b-tree that points into itself ends."""


@dataclass
class Salvaged:
    """Rows that are as they were written. ``lost``: tables of which some could not be read, perhaps none of them."""

    header: bytes | None = None
    slots: list[Slot] = field(default_factory=list)
    state: dict[str, bytes] = field(default_factory=dict)
    actors: list[Tip] = field(default_factory=list)
    journal: list[JournalRow] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)


def salvage(path: Path, connect: Connect = connect) -> Salvaged:
    """What is left of a vault's file. Raises `DamagedStore` when not even its beginning can be read, `VaultNotFound`,
    `UpdateRequired` and `StoreFailed`."""
    database = Database.open(path, connect)
    try:
        try:
            tables.identify(database)
        except (VaultNotFound, UpdateRequired):
            raise
        except DamagedStore:
            pass  # perhaps only its version
        found = Salvaged()
        for row in _rows(database, found, "header", "id", "id, data, crc"):
            if tables.checksum("header", row[1]) == row[2]:
                found.header = bytes(row[1])
        for row in _checked(database, found, "slots", "id", "id, kind, data"):
            found.slots.append(Slot(row[1], bytes(row[2])))
        for row in _checked(database, found, "state", "name", "name, sealed"):
            found.state[row[0]] = bytes(row[1])
        for row in _checked(database, found, "actors", "actor", "actor, last_seq, last_hash, packed"):
            found.actors.append(Tip(*row))
        for row in _checked(database, found, "journal", "position", "position, actor, seq, hash, own, sealed"):
            position, actor, seq, name, own, sealed = row
            found.journal.append(JournalRow(position, actor, seq, name, sealed, *as_holds(own)))
        for row in _envelopes(database, found):
            found.envelopes.append(Envelope(row[0], row[1], row[2], row[3], row[4], bool(row[5]), row[6]))
        return found
    finally:
        database.rollback()
        database.close()


def _checked(database: Database, found: Salvaged, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
    for row in _rows(database, found, table, key, f"{columns}, crc"):
        if tables.checksum(table, *row[:-1]) == row[-1]:
            yield tuple(row[:-1])
        else:
            found.lost.add(table)


def _envelopes(database: Database, found: Salvaged) -> Iterator[tuple[Any, ...]]:
    """Their rows are keyed by a number that their checksum leaves out."""
    columns = "name, chain, seq, env_id, kind, own, data"
    for row in _rows(database, found, "envelopes", "id", f"id, {columns}, crc"):
        if tables.checksum("envelopes", *row[1:-1]) == row[-1]:
            yield tuple(row[1:-1])
        else:
            found.lost.add("envelopes")


def _rows(database: Database, found: Salvaged, table: str, key: str, columns: str) -> Iterator[Any]:
    """From the first row up to one that cannot be read, and from the last one down to one; between the two, numbers are
    tried one by one."""
    low, high = None, None
    seen: set[Any] = set()
    for order, comparison in (("ASC", ">"), ("DESC", "<")):
        at: Any = None
        for _ in range(_MOST):
            where = "" if at is None else f"WHERE {key} {comparison} ?"
            query = f"SELECT {key}, {columns} FROM {table} NOT INDEXED {where} ORDER BY {key} {order} LIMIT 1"  # noqa: S608
            try:
                row = database.row(_DOING, query, *(() if at is None else (at,)))
            except StoreError:
                found.lost.add(table)
                break
            if row is None or row[0] in seen:
                if order == "ASC" and row is None:
                    return
                break
            at = row[0]
            seen.add(at)
            yield row[1:]
        low, high = (0 if at is None else at, high) if order == "ASC" else (low, at)
    if isinstance(low, int) and isinstance(high, int):
        for number in range(low + 1, min(high, low + _MOST)):
            try:
                row = database.row(_DOING, f"SELECT {columns} FROM {table} NOT INDEXED WHERE {key} = ?", number)  # noqa: S608
            except StoreError:
                continue
            if row is not None:
                yield row

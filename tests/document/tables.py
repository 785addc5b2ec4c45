"""Saved documents taken apart down to their rows, and put together again in any order: what nobody's engine writes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from vaultsync.document.columns import (
    read_runs,
    read_string,
    signed,
    steps,
    summed,
    to_signed,
    to_unsigned,
    unsigned,
    write_runs,
    write_string,
)

Table = list[tuple[int, bytes]]
"""Columns: (specification, bytes)."""


@dataclass(frozen=True)
class OpRow:
    """One operation as a document keeps it; numbers of actors, not actors."""

    object: tuple[int | None, int | None]  # actor, counter
    key: str
    id: tuple[int, int]  # actor, counter
    action: int
    meta: int
    value: bytes
    followers: tuple[tuple[int, int], ...]  # the operations that overwrote it


def chunk(kind: int, contents: bytes) -> bytes:
    framed = bytes([kind]) + to_unsigned(len(contents)) + contents
    return b"\x85\x6f\x4a\x83" + hashlib.sha256(framed).digest()[:4] + framed


def columns(document: bytes) -> tuple[bytes, Table, Table, bytes]:
    """A saved document taken apart: what comes before the columns, those of changes and operations, and the rest."""
    _, start = unsigned(document, 9)
    body, at = document[start:], 0
    count, at = unsigned(body, at)
    for _ in range(count):
        length, at = unsigned(body, at)
        at += length
    count, at = unsigned(body, at)
    at += 32 * count
    head, shapes = body[:at], []
    for _ in range(2):
        count, at = unsigned(body, at)
        shape = []
        for _ in range(count):
            spec, at = unsigned(body, at)
            length, at = unsigned(body, at)
            shape.append((spec, length))
        shapes.append(shape)
    tables = []
    for shape in shapes:
        table = []
        for spec, length in shape:
            table.append((spec, body[at : at + length]))
            at += length
        tables.append(table)
    return head, tables[0], tables[1], body[at:]


def rebuilt(head: bytes, changes: Table, ops: Table, rest: bytes) -> bytes:
    body = head
    for table in (changes, ops):
        body += to_unsigned(len(table)) + b"".join(to_unsigned(s) + to_unsigned(len(data)) for s, data in table)
    return chunk(0, body + b"".join(data for table in (changes, ops) for _, data in table) + rest)


def op_rows(ops: Table) -> list[OpRow]:
    """The rows of a small document, of which no column is deflated."""
    data = dict(ops)
    size = len(read_runs(data[0x42], 1 << 20, unsigned, exactly=False))

    def cells(spec: int, count: int = size) -> list[int | None]:
        return read_runs(data.get(spec, b""), count, unsigned)

    keys = read_runs(data[0x15], size, read_string)
    ids = zip(cells(0x21), summed(read_runs(data[0x23], size, signed)), strict=True)
    counts = cells(0x80)
    many = sum(count or 0 for count in counts)
    followers = list(zip(cells(0x81, many), summed(read_runs(data.get(0x83, b""), many, signed)), strict=True))
    made, value_at, follower_at = [], 0, 0
    columns_ = zip(cells(0x1), cells(0x2), keys, ids, cells(0x42), cells(0x56), counts, strict=True)
    for actor, counter, key, op, action, meta, count in columns_:
        length, next_ = (meta or 0) >> 4, follower_at + (count or 0)
        value = data.get(0x57, b"")[value_at : value_at + length]
        made.append(OpRow((actor, counter), key, op, action, meta, value, tuple(followers[follower_at:next_])))
        value_at, follower_at = value_at + length, next_
    return made


def op_columns(rows: Sequence[OpRow]) -> Table:
    """The columns of rows in this order."""
    followers = [one for row in rows for one in row.followers]
    made = [
        (0x1, write_runs([row.object[0] for row in rows], to_unsigned)),
        (0x2, write_runs([row.object[1] for row in rows], to_unsigned)),
        (0x15, write_runs([row.key for row in rows], write_string)),
        (0x21, write_runs([row.id[0] for row in rows], to_unsigned)),
        (0x23, write_runs(steps(row.id[1] for row in rows), to_signed)),
        (0x34, to_unsigned(len(rows))),
        (0x42, write_runs([row.action for row in rows], to_unsigned)),
        (0x56, write_runs([row.meta for row in rows], to_unsigned)),
        (0x57, b"".join(row.value for row in rows)),
        (0x80, write_runs([len(row.followers) for row in rows], to_unsigned)),
        (0x81, write_runs([actor for actor, _ in followers], to_unsigned)),
        (0x83, write_runs(steps(counter for _, counter in followers), to_signed)),
    ]
    return [(spec, data) for spec, data in made if data]

"""Numbers and run-length coded columns of the Automerge binary format, version 1.

A column is a sequence of runs: a signed count and one cell that stands that often; or minus a count and that many
different cells; or 0, a count, and nothing, for that many nulls. The canonical form has the longest runs possible, so
there is one way to write a list of cells; ``write_runs`` writes it. Readers are lenient about that and strict about
sizes: who reads bytes from outside writes them again and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from ..errors import MalformedChange

__all__ = [
    "read_runs",
    "read_string",
    "signed",
    "steps",
    "summed",
    "to_signed",
    "to_unsigned",
    "unsigned",
    "write_runs",
    "write_string",
]

_SMALL = [bytes((number,)) for number in range(128)]


# ---- numbers ----------------------------------------------------------------------------------------------------
def to_unsigned(number: int) -> bytes:
    """Unsigned LEB128."""
    if 0 <= number < 128:
        return _SMALL[number]
    if 0 <= number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    if 0 <= number < 1 << 21:  # operations of all but huge vaults
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def to_signed(number: int) -> bytes:
    """Signed LEB128."""
    if -64 <= number < 64:
        return _SMALL[number & 127]
    if -(1 << 13) <= number < 1 << 13:
        return bytes((number & 127 | 128, number >> 7 & 127))
    if -(1 << 20) <= number < 1 << 20:
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14 & 127))
    out = bytearray()
    while not -64 <= number < 64:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number & 127)
    return bytes(out)


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned LEB128 number at ``at`` and where it ends; at most ten bytes are read."""
    number = data[at]
    if number < 128:
        return number, at + 1
    byte = data[at + 1]
    if byte < 128:
        return (number & 127) | byte << 7, at + 2
    number = (number & 127) | (byte & 127) << 7
    at += 2
    for shift in range(14, 64, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise MalformedChange("a number is too long")


def signed(data: bytes, at: int) -> tuple[int, int]:
    """The signed LEB128 number at ``at`` and where it ends; at most ten bytes are read."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return (number - (128 << shift) if byte & 64 else number), at
    raise MalformedChange("a number is too long")


# ---- columns ----------------------------------------------------------------------------------------------------
def read_runs(
    data: bytes, most: int, read: Callable[[bytes, int], tuple[Any, int]], *, exactly: bool = True
) -> list[Any]:
    """The cells of a run-length coded column, ``None`` for a null: at most ``most``, or else exactly that many.

    An absent column stands for nulls. Whether the runs are the shortest possible is not looked at here: encoding the
    result again shows it.
    """
    if not data:
        return [None] * most if exactly else []
    if len(data) == 2 and data[1] < 64 and read is not read_string:  # most columns of most changes: one small number
        if data[0] == 0x7F and (most == 1 or not exactly):
            return [data[1]]
        if data[0] == 0x02 and most >= 2 and (most == 2 or not exactly):
            return [data[1]] * 2
    cells: list[Any] = []
    at, end = 0, len(data)
    while at < end:
        run, at = signed(data, at)
        if run == 0:
            nulls, at = unsigned(data, at)
            run, again = nulls, None
        elif run > 0:
            again, at = read(data, at)
        if not 0 < abs(run) <= most - len(cells):
            raise MalformedChange("a column holds too many cells")
        if run > 0:
            cells += [again] * run
            continue
        for _ in range(-run):
            cell, at = read(data, at)
            cells.append(cell)
    if at != end or (exactly and len(cells) != most):
        raise MalformedChange("a column is cut short")
    return cells


def write_runs(cells: Sequence[Any], write: Callable[[Any], bytes]) -> bytes:
    """A run-length coded column in canonical form; empty when every cell is null."""
    if len(cells) == 1:
        return b"" if cells[0] is None else b"\x7f" + write(cells[0])
    if len(cells) == 2 and None not in cells:
        first, second = cells
        return b"\x02" + write(first) if first == second else b"\x7e" + write(first) + write(second)
    out: list[bytes] = []
    lone: list[Any] = []

    def flush() -> None:
        if lone:
            out.append(to_signed(-len(lone)))
            out.extend(map(write, lone))
            lone.clear()

    written = False
    for cell, group in groupby(cells):
        run = sum(1 for _ in group)
        written = written or cell is not None
        if cell is None:
            flush()
            out.append(b"\0" + to_unsigned(run))
        elif run == 1:
            lone.append(cell)
        else:
            flush()
            out.append(to_signed(run) + write(cell))
    flush()
    return b"".join(out) if written else b""


def summed(steps: Iterable[int]) -> list[int]:
    """The numbers of which ``steps`` are the differences, from zero."""
    out = []
    total = 0
    for step in steps:
        total += step
        out.append(total)
    return out


def steps(numbers: Iterable[int]) -> list[int]:
    """The differences of consecutive numbers, from zero."""
    out = []
    last = 0
    for number in numbers:
        out.append(number - last)
        last = number
    return out


def read_string(data: bytes, at: int) -> tuple[str, int]:
    length, at = unsigned(data, at)
    return data[at : at + length].decode(), at + length


def write_string(text: str) -> bytes:
    data = text.encode()
    return to_unsigned(len(data)) + data

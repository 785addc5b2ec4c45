"""Reading a change in one pass, and seeing while reading that it is canonical.

`codec.decode_literally` reads leniently, writes what it read, and compares: a proof that needs no thought, and costs
three times what reading costs. Nearly every change can be proved while it is read, as there is one way to write a
list of cells and one way to write a number:

* a number ends with a byte that is needed: the last of several is not 0 (of signed ones: it says more than the sign);
* a run of equal cells has two or more, different ones stand in one run, and no two neighbours are equal; so no other
  runs have the same cells;
* there are only the columns that have to be there, ascending, and they fill what is left;
* dependencies and actors ascend, and every actor is named by an operation;
* a text is UTF-8, and every byte of the values belongs to one.

Nothing is refused here. `read` gives the change, or ``None`` for whatever is wrong, too large, or only unusual (an
operation on the root, say), and then the literal way decides and says why. So one thing has to hold: *what is read here
is read the same, and not refused, by the literal way.* ``tests/document/test_canonical.py`` tries that.
"""

from __future__ import annotations

from hashlib import sha256
from struct import error as StructError

from ..errors import MalformedChange
from ..limits import (
    MAX_ACTORS_PER_CHANGE,
    MAX_CHANGE_BYTES,
    MAX_DEPS_PER_CHANGE,
    MAX_OP_COUNTER,
    MAX_OPS_PER_CHANGE,
    MAX_PREDS_PER_CHANGE,
    MAX_VALUE_BYTES,
)
from .columns import read_runs, signed, summed, to_signed, to_unsigned, unsigned, write_runs
from .operations import Action, Change, OpId, Scalar, Table, read_value, value_bytes

__all__ = ["read", "read_time"]

_FRAME = b"\x85\x6f\x4a\x83"
_VALUE_META, _VALUE, _PRED_ACTOR, _PRED_COUNTER = 86, 87, 113, 115
_ALWAYS = (1, 2, 21, 52, 66, 86, 112)  # object (actor, counter), key, insert, action, type of value, predecessors
_LAYOUTS = {
    bytes(sorted({*_ALWAYS, *values, *preds}))
    for values in ((), (_VALUE,))
    for preds in ((), (_PRED_ACTOR, _PRED_COUNTER))
}
_ONE = 0x7F  # the count of a run of one lone cell
_ACTIONS = {int(action): action for action in Action}
_STR, _INT, _F64, _TIME = 6, 4, 8 << 4 | 5, 6 << 4 | 4  # types, in the last four bits, the last two with their sizes
_SCALARS: dict[int, Scalar] = {0: None, 1: False, 2: True}


class _UnusualError(Exception):
    """Left to the literal way."""


def read(chunk: bytes) -> Change | None:
    """The change in a chunk that is canonical and as nearly all are; ``None`` for any other."""
    try:
        return _read(chunk)
    except (_UnusualError, MalformedChange, IndexError, KeyError, ValueError, StructError):
        return None


def _read(chunk: bytes) -> Change:
    if chunk[:4] != _FRAME or chunk[8] != 1 or len(chunk) > MAX_CHANGE_BYTES:
        raise _UnusualError
    length, at = _number(chunk, 9)
    if at + length != len(chunk):
        raise _UnusualError
    digest = sha256(chunk[8:]).digest()
    if digest[:4] != chunk[4:8]:
        raise _UnusualError
    count, at = _number(chunk, at)
    if not count <= MAX_DEPS_PER_CHANGE:
        raise _UnusualError
    deps = tuple([chunk[k : k + 32] for k in range(at, at + 32 * count, 32)])
    if count > 1 and list(deps) != sorted(deps):
        raise _UnusualError
    at += 32 * count
    length, at = _number(chunk, at)
    actors = [chunk[at : at + length]]
    seq, at = _number(chunk, at + length)
    start_op, at = _number(chunk, at)
    if chunk[at : at + 2] != b"\0\0":
        raise _UnusualError
    count, at = _number(chunk, at + 2)
    if count:
        at = _read_others(chunk, at, count, actors)
    table = _table(_columns(chunk, at), actors)
    if not seq or not start_op or start_op + len(table.keys) > MAX_OP_COUNTER:
        raise _UnusualError
    return Change(digest, deps, actors[0], seq, start_op, table, chunk)


def _read_others(chunk: bytes, at: int, count: int, actors: list[bytes]) -> int:
    if count > MAX_ACTORS_PER_CHANGE:
        raise _UnusualError
    last = None
    for _ in range(count):
        length, at = _number(chunk, at)
        other = chunk[at : at + length]
        if (last is not None and other <= last) or other == actors[0]:
            raise _UnusualError
        actors.append(other)
        last = other
        at += length
    return at


def _columns(chunk: bytes, at: int) -> dict[int, bytes]:
    """The columns by their number: a layout that has to be, and nothing behind it."""
    count = chunk[at]
    heads = chunk[at + 1 : at + 1 + 2 * count]
    if heads.isascii():  # numbers of one byte, as in small changes
        specs, lengths = heads[::2], list(heads[1::2])
        at += 1 + 2 * count
    else:
        specs, lengths = b"", []
        at += 1
        for _ in range(count):
            specs += chunk[at : at + 1]  # one above 127 is of no layout
            length, at = _number(chunk, at + 1)
            lengths.append(length)
    if specs not in _LAYOUTS or len(lengths) != count or not all(lengths):
        raise _UnusualError
    columns = {}
    for spec, length in zip(specs, lengths, strict=True):
        columns[spec] = chunk[at : at + length]
        at += length
    if at != len(chunk):
        raise _UnusualError
    return columns


def _table(columns: dict[int, bytes], actors: list[bytes]) -> Table:
    runs = _runs(columns[66], MAX_OPS_PER_CHANGE)
    actions: list[Action] = []
    for action, times in runs:
        actions += [_ACTIONS[action]] * times
    count = len(actions)
    if columns[52] != to_unsigned(count):
        raise _UnusualError
    objects, used = _objects(_runs(columns[1], count), _runs(columns[2], count), count, actors)
    keys = _keys(columns[21], count)
    values = _values(_cells(columns[_VALUE_META], count), columns.get(_VALUE, b""))
    counts = _runs(columns[112], count)
    if _PRED_ACTOR in columns:
        preds = _preds(counts, columns, count, actors, used)
    elif counts == [(0, count)]:
        preds = None
    else:
        raise _UnusualError
    if not used.issuperset(range(1, len(actors))):
        raise _UnusualError
    return Table(objects, keys, actions, values, preds)


# ---- numbers and runs -------------------------------------------------------------------------------------------
def _number(data: bytes, at: int) -> tuple[int, int]:
    number = data[at]
    if number < 128:
        return number, at + 1
    number, end = unsigned(data, at)
    if not data[end - 1]:
        raise _UnusualError
    return number, end


def _count(data: bytes, at: int) -> tuple[int, int]:
    """The signed count at the beginning of a run."""
    head = data[at]
    if head < 128:
        return head if head < 64 else head - 128, at + 1
    head, end = signed(data, at)
    if to_signed(head) != data[at:end]:
        raise _UnusualError
    return head, end


def _runs(data: bytes, most: int) -> list[tuple[int, int]]:
    """The runs of a column of numbers, no nulls among them, as (cell, how often): neighbours differ."""
    if len(data) == 2 and (cell := data[1]) < 128:  # the whole column of most changes
        head = data[0]
        if head == _ONE:
            return [(cell, 1)]
        if 1 < head < 64 and head <= most:
            return [(cell, head)]
    found: list[tuple[int, int]] = []
    at, end, left, last, lone = 0, len(data), most, -1, False
    while at < end:
        head = data[at]
        if head < 64:
            at += 1
        else:
            head, at = _count(data, at)
        if head > 1:
            cell = data[at]
            at += 1
            if cell > 127:
                cell, at = _number(data, at - 1)
            if cell == last or head > left:
                raise _UnusualError
            found.append((cell, head))
            left -= head
            last, lone = cell, False
        elif head < 0 and not lone and -head <= left:
            for _ in range(-head):
                cell = data[at]
                at += 1
                if cell > 127:
                    cell, at = _number(data, at - 1)
                if cell == last:
                    raise _UnusualError
                found.append((cell, 1))
                last = cell
            left += head
            lone = True
        else:
            raise _UnusualError
    return found


def _cells(data: bytes, count: int) -> list[int]:
    """The cells of a column of exactly ``count`` numbers, no nulls among them. Most stand alone."""
    cells: list[int] = []
    append = cells.append
    at, end, last, lone = 0, len(data), -1, False
    while at < end:
        head, at = _count(data, at)
        if head > 1:
            cell, at = _number(data, at)
            if cell == last or head > count - len(cells):
                raise _UnusualError
            cells += [cell] * head
            last, lone = cell, False
        elif head < 0 and not lone and -head <= count - len(cells):
            for _ in range(-head):
                cell = data[at]
                at += 1
                if cell > 127:
                    more = data[at]
                    at += 1
                    if 0 < more < 128:
                        cell += (more << 7) - 128
                    else:
                        cell, at = _number(data, at - 2)
                if cell == last:
                    raise _UnusualError
                append(cell)
                last = cell
            lone = True
        else:
            raise _UnusualError
    if len(cells) != count:
        raise _UnusualError
    return cells


# ---- columns ----------------------------------------------------------------------------------------------------
def _objects(
    named: list[tuple[int, int]], counters: list[tuple[int, int]], count: int, actors: list[bytes]
) -> tuple[list[tuple[OpId, int]], set[int]]:
    """Runs of operations in one object, and the actors that their ids name."""
    objects: list[tuple[OpId, int]] = []
    append = objects.append
    following = iter(named)
    if len(named) == len(counters) == 1:
        ((number, times),), ((counter, both),) = named, counters
        if times != count or both != count:
            raise _UnusualError
        return [((counter, actors[number]), count)], {number}
    number = left = total = 0
    for counter, times in counters:
        while times:
            if not left:
                number, left = next(following, (0, 0))
                if not left:
                    raise _UnusualError
            both = times if times < left else left
            append(((counter, actors[number]), both))
            times -= both
            left -= both
            total += both
    if left or total != count or next(following, None) is not None:
        raise _UnusualError
    return objects, {number for number, _ in named}


def _keys(data: bytes, count: int) -> list[str]:
    """The keys; equal ones are one object."""
    text = data.decode("latin-1")  # a character a byte: what is ASCII needs no decoding of its own
    keys: list[str] = []
    append = keys.append
    shared: dict[str, str] = {}
    share = shared.setdefault
    at, end, last, lone = 0, len(data), None, False
    while at < end:
        head, at = _count(data, at)
        if not head or head == 1 or abs(head) > count - len(keys) or (head < 0 and lone):
            raise _UnusualError
        lone = head < 0
        for _ in range(-head if lone else 1):
            length = data[at]
            at += 1
            if length > 127:
                length, at = _number(data, at - 1)
            key = text[at : at + length]
            if not key.isascii():
                key = data[at : at + length].decode()
            at += length
            if key == last:
                raise _UnusualError
            last = share(key, key)
            append(last)
        if not lone:
            keys += [last] * (head - 1)  # type: ignore[list-item]
    if at != end or len(keys) != count:
        raise _UnusualError
    return keys


def _values(metas: list[int], raw: bytes) -> list[Scalar]:
    """The values, of the types and sizes that ``metas`` says."""
    if max(metas) >> 4 > MAX_VALUE_BYTES:
        raise _UnusualError
    text = raw.decode("latin-1")
    values: list[Scalar] = []
    append = values.append
    at = 0
    for meta in metas:
        kind = meta & 15
        if kind == _STR:
            end = at + (meta >> 4)
            string = text[at:end]
            append(string if string.isascii() else raw[at:end].decode())
            at = end
        elif meta < 3:
            append(_SCALARS[meta])
        elif meta == _TIME and (number := read_time(raw[at : at + 6])):
            append(number)
            at += 6
        elif kind == _INT or meta == _F64:
            end = at + (meta >> 4)
            value = read_value(kind, raw[at:end])
            if value_bytes(kind, value) != raw[at:end]:
                raise _UnusualError
            append(value)
            at = end
        else:
            raise _UnusualError
    if at != len(raw):
        raise _UnusualError
    return values


def read_time(raw: bytes) -> int:
    """An integer of six bytes whose last is neither 0 nor negative (a time in milliseconds, till 3084), or else 0."""
    n = int.from_bytes(raw, "little")
    if n & 0x808080808080 != 0x8080808080 or not 0 < n >> 40 < 64:
        return 0
    low = n & 0x7F | n >> 1 & 0x3F80 | n >> 2 & 0x1FC000
    return low | n >> 3 & 0xFE00000 | n >> 4 & 0x7F0000000 | n >> 5 & 0x3F800000000


def _preds(
    counts: list[tuple[int, int]], columns: dict[int, bytes], count: int, actors: list[bytes], used: set[int]
) -> list[tuple[OpId, ...]]:
    """What each operation overwrites. These columns are written again: they are short, or there are other costs."""
    total = sum(number * times for number, times in counts)
    if not 0 < total <= MAX_PREDS_PER_CHANGE:
        raise _UnusualError
    named = _cells(columns[_PRED_ACTOR], total)
    data = columns[_PRED_COUNTER]
    if total == 1 and data[0] == _ONE:
        distances = [signed(data, 1)[0]]
        if to_signed(distances[0]) != data[1:]:
            raise _UnusualError
    else:
        distances = read_runs(data, total, signed)
        if None in distances or write_runs(distances, to_signed) != data:
            raise _UnusualError
    flat = [(counter, actors[number]) for counter, number in zip(summed(distances), named, strict=True)]
    used.update(named)
    preds: list[tuple[OpId, ...]] = []
    at = 0
    for number, times in counts:
        if number == 0:
            preds += [()] * times
            continue
        for _ in range(times):
            of_one = tuple(flat[at : at + number])
            if number > 1 and list(of_one) != sorted(of_one):
                raise _UnusualError
            preds.append(of_one)
            at += number
    if len(preds) != count:
        raise _UnusualError
    return preds

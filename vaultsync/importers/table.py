"""CSV as password managers write it (RFC 4180, and what spreadsheets make of it).

The standard library's reader is not used: it has a global limit on the size of a field, drops what follows a closing
quote, and knows the line on which a row ends, not the one on which it starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from vaultsync.errors import ImportFailed

__all__ = ["Row", "rows", "split_directive"]

DELIMITERS: Final = (",", ";", "\t")
_QUOTED: Final = re.compile(r'"((?:[^"]++|"")*+)"')
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_DIRECTIVE: Final = re.compile(r"sep=(.)[ \t]*(?:\r\n|\r|\n|$)")


class Row(NamedTuple):
    """One row: the line on which it starts (1 is the first), its cells, and the column of a fault (0: none)."""

    line: int
    cells: list[str]
    fault: int = 0


def split_directive(text: str) -> tuple[str | None, int, int]:
    """A first line ``sep=;`` as spreadsheets write it: the delimiter, where the table starts, and on which line."""
    if match := _DIRECTIVE.match(text):
        return match.group(1), match.end(), 2
    return None, 0, 1


def rows(text: str, delimiter: str, name: str, start: int = 0, line: int = 1) -> Iterator[Row]:
    """The rows that are not blank. Text behind a closing quote makes a row with a ``fault``; what is left of its line
    is skipped. Raises ImportFailed for a quote that is never closed: where the next row starts cannot be known then."""
    plain = re.compile(rf"[^{re.escape(delimiter)}\r\n]*+")
    size, here = len(text), start
    while here < size:
        first, begin, cells, fault = line, here, [], 0
        while True:
            if text.startswith('"', here):
                match = _QUOTED.match(text, here)
                if match is None:
                    where = f"{name}, line {line}, column {_column(text, here)}"
                    raise ImportFailed(f"{where}: a quote is opened and never closed")
                cell = match.group(1)
                cells.append(cell.replace('""', '"') if '"' in cell else cell)
                line += _lines_in(cell)
            else:
                match = plain.match(text, here)
                if match is None:  # cannot happen: the pattern matches nothing at all, too
                    break
                cells.append(match.group())
            here = match.end()
            if here < size and text[here] == delimiter:
                here += 1
                continue
            break
        if here < size and text[here] not in "\r\n":
            fault = _column(text, here)
            rest = _LINE_END.search(text, here)
            here = rest.start() if rest else size
        if end := _LINE_END.match(text, here):
            here = end.end()
        line += 1
        if fault or len(cells) > 1 or cells[0] or text.startswith('"', begin):
            yield Row(first, cells, fault)


def _lines_in(cell: str) -> int:
    if "\r" in cell:
        return len(_LINE_END.findall(cell))
    return cell.count("\n")


def _column(text: str, at: int) -> int:
    return at - max(text.rfind("\n", 0, at), text.rfind("\r", 0, at))

"""How everything looks: results on stdout, everything else (errors, warnings, progress) on stderr.

Text of entries comes from other devices, so nothing of it reaches a terminal before ``line`` took out what could drive
the terminal. Rich is loaded when something is to be drawn, not before.
"""

from __future__ import annotations

import json
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    import vaultsync as vs

__all__ = [
    "block", "console", "entry_json", "error", "heading", "iso", "line", "losers_of", "moment", "note", "plain",
    "print_json", "say", "shown", "table", "told", "warn", "warnings_told", "working",
]  # fmt: skip


@cache
def _console(file: object, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)


def console(*, stderr: bool = False) -> Console:
    """Rich's console for one of the two streams, as they are now."""
    return _console(sys.stderr if stderr else sys.stdout, stderr)


def line(text: str, most: int | None = None) -> str:
    """Text fit for one line of a terminal: no control or formatting characters, at most ``most`` characters."""
    kept = text if text.isprintable() else "".join(c if c.isprintable() else "�" if c != "\n" else " " for c in text)
    return kept if most is None or len(kept) <= most else kept[: most - 1] + "…"


def block(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(line(one) for one in text.split("\n"))


# ---- streams --------------------------------------------------------------------------------------------------------
def say(text: str = "") -> None:
    """One line of a result."""
    sys.stdout.write(text + "\n")


def told(text: str, *, indent: int = 0) -> None:
    """A sentence of a result: on a terminal it is broken between words, elsewhere it is one line."""
    if sys.stdout.isatty():
        pad = " " * indent
        text = textwrap.fill(text, console().width, initial_indent=pad, subsequent_indent=pad + "  ")
        say(text)
    else:
        say(" " * indent + text)


def heading(text: str) -> None:
    """A line of a result that stands out on a terminal."""
    if sys.stdout.isatty():
        console().print(text, style="bold", overflow="fold")
    else:
        say(text)


def note(text: str) -> None:
    """Something worth knowing that is no result."""
    _tell(text, "dim")


def warn(text: str) -> None:
    """Something went wrong that did not stop the command."""
    _tell(f"Warning: {text}", "yellow")


def error(text: str) -> None:
    """Why the command failed."""
    _tell(f"Error: {text}", "red")


class _Told(logging.Handler):
    """Without a handler, logging writes bare lines of its own among ours."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(line(record.getMessage()))


@contextmanager
def warnings_told() -> Iterator[None]:
    """What the library warns its application of is told like every other warning, once."""
    logger, handler = logging.getLogger("vaultsync"), _Told(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _tell(text: str, style: str) -> None:
    text = block(text)
    if sys.stderr.isatty():
        console(stderr=True).print(text, style=style)
    else:
        sys.stderr.write(text + "\n")


def print_json(value: Any) -> None:
    """For a program: indented UTF-8, keys in the order in which they are documented."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Say on a terminal that something takes a while; the function that is given changes the words."""
    if not sys.stderr.isatty():
        yield lambda words: None
        return
    with console(stderr=True).status(f"{what} …") as status:
        yield lambda words: status.update(f"{words} …")


# ---- values ---------------------------------------------------------------------------------------------------------
def iso(ms: int | None) -> str | None:
    """Milliseconds since the epoch as ISO 8601 in UTC, for programs."""
    when = _when(ms)
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(ms: int | None) -> str:
    """The same for a person: to the minute, on this machine's clock."""
    when = _when(ms)
    return "—" if when is None else _local(when).strftime("%Y-%m-%d %H:%M")


def _when(ms: int | None) -> datetime | None:
    try:
        return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _local(when: datetime) -> datetime:
    try:
        return when.astimezone()
    except (ValueError, OverflowError, OSError):
        return when


def plain(value: Any) -> Any:
    """A field's value as JSON has it."""
    from vaultsync.schema.kinds import FileRef

    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case frozenset():
            return sorted(value)
        case tuple():
            return [plain(one) for one in value]
        case FileRef():
            return {"name": value.name, "size": value.size}
    return value


def shown(value: Any) -> str:
    """A field's value for a person, possibly of several lines."""
    from vaultsync.schema.kinds import FileRef

    match value:
        case bool():
            return "yes" if value else "no"
        case datetime():
            return _local(value).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
        case frozenset():
            return ", ".join(line(one) for one in sorted(value))
        case tuple():
            return "\n".join(shown(one) for one in value)
        case FileRef():
            return f"{line(value.name)} ({value.size:,} bytes)"
        case None:
            return "—"
    return block(str(value))


def entry_json(entry: vs.Entry, *, reveal: bool, whole: bool = True) -> dict[str, Any]:
    """One entry for a program. A secret that is not revealed is null in ``fields`` and named in ``masked``."""
    made: dict[str, Any] = {
        "id": entry.id,
        "type": entry.type,
        "type_label": entry.label,
        "status": entry.status.value,
        "title": entry.title,
        "created": iso(entry.created),
        "modified": iso(entry.modified),
    }
    if not whole:
        return made
    masked = [name for name in (*entry.fields, *entry.retired) if entry.is_secret(name) and not reveal]

    def values(fields: Any) -> dict[str, Any]:
        return {name: None if name in masked else plain(value) for name, value in fields.items()}

    return made | {
        "fields": values(entry.fields),
        "retired": values(entry.retired),
        "masked": masked,
        "missing": [
            {
                "field": missing.name,
                "label": missing.label,
                "release": missing.release,
                "versions": list(missing.versions) if missing.versions else None,
                "platforms": sorted(missing.platforms),
            }
            for missing in entry.missing.values()
        ],
        "writable": sorted(entry.writable),
        "reason": entry.reason,
        "source": entry.source,
        "conflicts": {
            name: [
                {
                    "value": plain(loser.value) if reveal or not loser.secret else None,
                    "masked": loser.secret and not reveal,
                    "device": loser.device,
                    "version": loser.version,
                    "time": iso(loser.time),
                }
                for loser in losers
            ]
            for name, losers in losers_of(entry).items()
        },
    }


def losers_of(entry: vs.Entry) -> Mapping[str, tuple[vs.Conflict, ...]]:
    """``entry.conflicts``; nothing where the file is too damaged to tell, which every command says at its end."""
    from vaultsync.errors import DamagedStore

    try:
        return entry.conflicts
    except DamagedStore:
        return {}


def masked_value(entry: vs.Entry, name: str, value: Any, *, reveal: bool) -> str:
    """A field's value for a person, masked when it is a secret that is not to be revealed."""
    from vaultsync.view.entry import MASK

    if entry.is_secret(name) and not reveal:
        return "\n".join([MASK] * len(value)) if isinstance(value, tuple) else MASK
    return shown(value)


# ---- tables ---------------------------------------------------------------------------------------------------------
def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, give: int = 0) -> None:
    """Aligned columns without rules. On a terminal column ``give`` shrinks so that rows fit; elsewhere nothing is cut.

    Written for ten thousand rows: Rich's own table takes seconds for these.
    """
    from rich.cells import cell_len, set_cell_size

    widths = [max(cell_len(head), *(cell_len(row[i]) for row in rows), 0) for i, head in enumerate(heads)]
    terminal = sys.stdout.isatty()
    if terminal:
        over = sum(widths) + 2 * (len(widths) - 1) - console().width
        for column in (give, *(i for i in range(len(widths)) if i != give)):
            if over <= 0:
                break
            cut = min(over, max(0, widths[column] - (12 if column == give else 8)))
            widths[column] -= cut
            over -= cut

    def cells(row: Sequence[str]) -> str:
        made = []
        for text, width in zip(row, widths, strict=True):
            have = len(text) if text.isascii() else cell_len(text)
            if have > width:
                made.append(set_cell_size(text, width - 1).rstrip() + "…")
                have = cell_len(made[-1])
            else:
                made.append(text)
            made.append(" " * (width - have + 2))
        return "".join(made).rstrip()

    heading(cells(heads))
    sys.stdout.write("".join(cells(row) + "\n" for row in rows))


def pairs(rows: Sequence[tuple[str, str]], *, indent: int = 2) -> None:
    """Names and values below each other; values of several lines stay aligned."""
    from rich.cells import cell_len

    width = max((cell_len(name) for name, _ in rows), default=0)
    for name, value in rows:
        first, *rest = value.split("\n")
        say(f"{' ' * indent}{name}{' ' * (width - cell_len(name))}  {first}".rstrip())
        for more in rest:
            say(f"{' ' * (indent + width + 2)}{more}".rstrip())

"""CSV exports: which column of which application means what, and how a row becomes a record of the ``passwords``
preset.

Rows have no ids (except Firefox's guid and old 1Password's UUID), so their source is a digest of title, website and
user name; for a row that has neither website nor user name, of title and notes. It leaves the password out on
purpose: a row whose password changed since it was imported is *already there* and changes nothing. Two rows of one
identity are both imported.

A column that no field is made for becomes a custom field, hidden: what it holds is unknown, and unknown values are
masked everywhere in this library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vaultsync.errors import ImportFailed
from vaultsync.importers.fields import ARCHIVED_TAG, host_of, put_custom, usable_tag
from vaultsync.importers.records import Collector, Parsed, Record, instant, instant_ms, is_plain_id, shown, source_of
from vaultsync.importers.table import DELIMITERS, Row, rows, split_directive
from vaultsync.presets.custom import Custom

__all__ = ["CSV_FORMATS", "CsvFormat", "detect_csv", "parse_csv"]

_LINES: Final = re.compile(r"\r?\n")
_SPLIT_URLS: Final = re.compile(r",(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_LASTPASS_NOTE: Final = "http://sn"
_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no"})
_MAX_MS: Final = 253_402_300_800_000  # the year 10000


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """One application's CSV. ``columns`` maps a header (letters and digits of it, lower case) to what it means:

    ``title username password totp notes url tags folder favorite reprompt type id`` speak for themselves; ``urls``
    several in one cell, ``collections`` tags between commas, ``fields`` Bitwarden's custom fields, ``created
    changed`` milliseconds, ``archived`` a flag or a date, ``text`` a custom field known to be no secret. ``needs``:
    of each group one must be there.
    """

    name: str
    label: str
    columns: Mapping[str, str]
    needs: tuple[frozenset[str], ...]
    recognised: Callable[[frozenset[str]], bool]


def _any_of(*names: str) -> Callable[[frozenset[str]], bool]:
    return lambda headers: bool(headers & set(names))


_LOGIN: Final = {"title": "title", "url": "url", "username": "username", "password": "password"}
_APPLE: Final = {**_LOGIN, "notes": "notes", "otpauth": "totp"}
_ONLY_1PASSWORD: Final = frozenset({"otpauth", "archived", "archivedstatus", "notesplain"})
_ONLY_FIREFOX: Final = frozenset({"httprealm", "formactionorigin", "formsubmiturl", "guid", "timecreated"})

CSV_FORMATS: Final = (
    CsvFormat(
        "bitwarden-csv",
        "Bitwarden (CSV)",
        {
            "folder": "folder", "collections": "collections", "favorite": "favorite", "type": "type", "name": "title",
            "notes": "notes", "fields": "fields", "reprompt": "reprompt", "archiveddate": "archived",
            "loginuri": "urls", "loginusername": "username", "loginpassword": "password", "logintotp": "totp",
        },
        (frozenset({"title"}),),
        _any_of("loginuri", "loginpassword"),
    ),
    CsvFormat(
        "firefox",
        "Firefox (CSV)",
        {
            "url": "url", "hostname": "url", "username": "username", "password": "password", "httprealm": "text",
            "formactionorigin": "text", "formsubmiturl": "text", "guid": "id", "timecreated": "created",
            "timelastused": "text", "timepasswordchanged": "changed",
        },
        (frozenset({"url"}), frozenset({"password"})),
        lambda headers: "password" in headers and bool(headers & {"url", "hostname"}) and bool(headers & _ONLY_FIREFOX),
    ),
    CsvFormat(
        "lastpass",
        "LastPass (CSV)",
        {
            "url": "url", "username": "username", "password": "password", "totp": "totp", "extra": "notes",
            "name": "title", "grouping": "folder", "fav": "favorite",
        },
        (frozenset({"title"}), frozenset({"password"})),
        lambda headers: {"url", "password", "name"} <= headers and bool(headers & {"grouping", "extra"}),
    ),
    CsvFormat(
        "apple",
        "Apple Passwords, Safari (CSV)",
        _APPLE,
        (frozenset({"title"}), frozenset({"password"})),
        lambda headers: headers == _APPLE.keys(),
    ),
    CsvFormat(
        "1password",
        "1Password (CSV)",
        {
            **_APPLE, "website": "url", "urls": "urls", "websites": "urls", "onetimepassword": "totp",
            "favorite": "favorite", "favoritestatus": "favorite", "archived": "archived", "archivedstatus": "archived",
            "tags": "tags", "notesplain": "notes", "uuid": "id", "type": "type", "vault": "text", "scope": "text",
            "autosubmit": "text",
        },
        (frozenset({"title"}),),
        lambda headers: "title" in headers and ({"username", "password"} <= headers or bool(headers & _ONLY_1PASSWORD)),
    ),
    CsvFormat(
        "chrome",
        "Chrome, Edge, Brave, Opera (CSV)",
        {"name": "title", "url": "url", "username": "username", "password": "password", "note": "notes",
         "notes": "notes"},
        (frozenset({"url", "title"}), frozenset({"password"})),
        lambda headers: {"url", "username", "password"} <= headers,
    ),
)  # fmt: skip


def normal(header: str) -> str:
    """A header as ``columns`` has it: ``login_uri``, ``One-time password`` -> ``loginuri``, ``onetimepassword``."""
    return "".join(c for c in header.casefold() if c.isalnum())


def detect_csv(text: str, name: str, only: CsvFormat | None = None) -> tuple[CsvFormat, str] | None:
    """The format whose header the first row is, and the delimiter; None when it is nobody's."""
    given, start, line = split_directive(text)
    for delimiter in (given,) if given else DELIMITERS:
        try:
            head = next(rows(text, delimiter, name, start, line), None)
        except ImportFailed:
            continue
        if head is None or head.fault:
            continue
        headers = frozenset(normal(cell) for cell in head.cells)
        for format in (only,) if only else CSV_FORMATS:
            if format.recognised(headers) or (only and not _missing(format, headers)):
                return format, delimiter
    return None


def _missing(format: CsvFormat, headers: frozenset[str]) -> list[str]:
    means = {format.columns[header] for header in headers if header in format.columns}
    return [" or ".join(sorted(group)) for group in format.needs if not group & means]


def parse_csv(text: str, name: str, format: CsvFormat) -> Parsed:
    """Every row of ``text``. Raises ImportFailed when its header lacks what the format needs, or a quote never
    closes."""
    found = detect_csv(text, name, format)
    if found is None:
        # Never the header itself: in a file without one, the first row is somebody's password.
        raise ImportFailed(
            f"{name}, line 1: no header of {format.label}; it needs a column for "
            + " and ".join(_missing(format, frozenset()))
        )
    delimiter = found[1]
    _, start, line = split_directive(text)
    table = rows(text, delimiter, name, start, line)
    head = next(table)
    collect = Collector(name, format.name)
    columns = _Columns(format, head.cells)
    for row in _items(table, collect):
        if record := _record(row, columns, collect):
            collect.record(record)
    if columns.saw_fields:
        collect.note("Bitwarden's CSV does not tell which custom fields were hidden, so all are; its JSON does")
    repeated = sum("#" in record.source for record in collect.records)
    if repeated:
        collect.note(f"{repeated} of the rows repeat title, website and user name of an earlier one; all are imported")
    return collect.parsed()


def _items(table: Iterator[Row], collect: Collector) -> Iterator[Row]:
    for row in table:
        if collect.full:
            raise ImportFailed(f"{collect.name}, line {row.line}: more than {collect.items:,} items; split the file")
        if row.fault:
            reason = f"text after a closing quote in column {row.fault}; a quote inside a value is written twice"
            collect.lost(f"line {row.line}", reason)
        elif any(row.cells):
            yield row


class _Columns:
    """What each column means in this file. The first column of a meaning has it; a second one is kept as a custom
    field."""

    def __init__(self, format: CsvFormat, header: Sequence[str]) -> None:
        self.format = format
        self.header = [cell.strip() for cell in header]
        self.means: list[str | None] = []
        self.saw_fields = False
        for cell in self.header:
            meaning = format.columns.get(normal(cell))
            taken = meaning in self.means and meaning != "text"
            self.means.append(None if taken else meaning)

    def title(self, index: int) -> str:
        return (self.header[index] if index < len(self.header) else "") or f"column {index + 1}"

    def split(self, cells: Sequence[str]) -> tuple[dict[str, str], list[tuple[int, bool]]]:
        """Cells by meaning, and the columns that are custom fields with whether they are known to be no secret."""
        known: dict[str, str] = {}
        others: list[tuple[int, bool]] = []
        for index, cell in enumerate(cells):
            meaning = self.means[index] if index < len(self.means) else None
            if not cell:
                continue
            if meaning is None or meaning == "text":
                others.append((index, meaning == "text"))
            else:
                known[meaning] = cell
        return known, others


class _Draft:
    """One row on its way to a record. What a reader cannot make sense of goes back to be a custom field."""

    def __init__(self, row: Row, columns: _Columns) -> None:
        self.cells, others = columns.split(row.cells)
        self.values: dict[str, Any] = {}
        self.extra: list[tuple[str, str, bool]] = [(columns.title(i), row.cells[i], plain) for i, plain in others]
        self.fields: list[Custom] = []
        self.tags: set[str] = set()
        self._columns = columns

    def take(self, meaning: str) -> str | None:
        return self.cells.pop(meaning, None)

    def back(self, meaning: str, cell: str, *, plain: bool = True) -> None:
        index = self._columns.means.index(meaning)
        self.extra.append((self._columns.title(index), cell, plain))

    def flag(self, meaning: str) -> bool:
        cell = self.take(meaning)
        if cell is None or cell.strip().casefold() in _FALSE:
            return False
        if cell.strip().casefold() in _TRUE:
            return True
        self.back(meaning, cell)
        return False

    def moment(self, meaning: str) -> int | None:
        cell = self.take(meaning)
        if cell is None:
            return None
        if cell.isascii() and cell.isdigit() and len(cell) < 16 and 0 < int(cell) < _MAX_MS:
            return int(cell)
        self.back(meaning, cell)
        return None

    def tag(self, meaning: str, parts: Sequence[str]) -> None:
        for part in parts:
            if (tag := usable_tag(part)) is not None:
                self.tags.add(tag)
            elif part.strip():
                self.back(meaning, part)


def _record(row: Row, columns: _Columns, collect: Collector) -> Record | None:
    draft = _Draft(row, columns)
    cells, values = draft.cells, draft.values
    identity = [cells.get("title"), cells.get("url", cells.get("urls")), cells.get("username")]
    if not any(identity[1:]):
        identity.append(cells.get("notes"))
    known_id = draft.take("id")
    source = source_of(columns.format.name, known_id, identity)
    if known_id is not None and not is_plain_id(known_id):
        draft.back("id", known_id)  # the source holds a digest of it only

    kind = _type(draft, collect)
    for meaning in ("title", "username", "password", "totp", "notes", "folder"):
        if cell := draft.take(meaning):
            values[meaning] = cell
    urls = [cell] if (cell := draft.take("url")) else []
    urls += [part for part in _SPLIT_URLS.split(draft.take("urls") or "") if part]
    if urls and not (kind == "secure_note" and urls == [_LASTPASS_NOTE]):
        values["urls"] = urls
    if "title" not in values and urls and (host := host_of(urls[0])):
        values["title"] = host
    for meaning in ("favorite", "reprompt"):
        if draft.flag(meaning):
            values[meaning] = True
    _labels(draft)
    if cell := draft.take("fields"):
        columns.saw_fields = True
        draft.fields += bitwarden_fields(cell)
    created, changed = draft.moment("created"), draft.moment("changed")
    if changed is not None:
        values["password_changed"] = instant(changed)
    for title, _, _ in draft.extra:
        collect.note(f"column {shown(title)} has no field of its own: kept as a custom field")
    extra = [Custom(title, cell, "text" if plain else "hidden") for title, cell, plain in draft.extra]
    put_custom(values, draft.fields + extra)
    if draft.tags:
        values["tags"] = draft.tags
    kept = tuple(title for title, _, _ in draft.extra)
    return Record(source, kind, values, created, changed, False, f"line {row.line}", kept)


def _type(draft: _Draft, collect: Collector) -> str:
    """A secure note when the row says so and holds nothing that only a login can keep."""
    cell = draft.take("type")
    named = normal(cell or "")
    lastpass_note = draft.cells.get("url") == _LASTPASS_NOTE
    is_note = named in {"note", "securenote"} or lastpass_note
    holds_login = bool(draft.cells.keys() & {"username", "password", "totp", "urls"}) or (
        "url" in draft.cells and not lastpass_note
    )
    if cell is not None and (named not in {"login", "note", "securenote"} or (is_note and holds_login)):
        draft.back("type", cell)
        collect.note("a row's type is not one that this format usually has: kept as a custom field")
    return "secure_note" if is_note and not holds_login else "login"


def _labels(draft: _Draft) -> None:
    """Tags from tags and collections, and from being archived, which is a state of the entry in other applications."""
    if cell := draft.take("tags"):
        draft.tag("tags", cell.split(";" if ";" in cell else ","))
    if cell := draft.take("collections"):
        draft.tag("collections", cell.split(","))
    if cell := draft.take("archived"):
        if cell.strip().casefold() in _FALSE:
            return
        if cell.strip().casefold() in _TRUE:
            draft.tags.add(ARCHIVED_TAG)
            return
        if instant_ms(cell) is not None:
            draft.tags.add(ARCHIVED_TAG)
        draft.back("archived", cell)


def bitwarden_fields(cell: str) -> list[Custom]:
    """``name: value`` lines; a line without a name goes on with the value before it."""
    found: list[Custom] = []
    for line in _LINES.split(cell):
        name, colon, value = line.partition(": ")
        if colon:
            found.append(Custom(name, value, "hidden"))
        elif found and found[-1].value is not None:
            found[-1] = found[-1]._replace(value=f"{found[-1].value}\n{line}")
        else:
            found.append(Custom("", line, "hidden"))
    return found

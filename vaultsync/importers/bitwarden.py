"""Bitwarden's unencrypted JSON export, of a person or an organization (also what ``bw list items`` prints).

Every value of an item is taken out of a copy of it as it finds its field; whatever is left over in the end becomes
custom fields named by their path (``login.autofillOnPageLoad``), hidden unless known to be harmless. So a newer
Bitwarden loses nothing here. Only what is of no use outside Bitwarden (``INTERNAL``) is not kept, and the notes say
so.

==========================  =========================================================================================
folder                      ``folder``; collections are tags
a URI's match type          custom field "match for <uri>", with the name that Bitwarden shows for it
passwordHistory             ``password_history``, one line each: date, space, password
fido2Credentials            ``passkeys``, each as canonical JSON
creationDate, revisionDate  the record's times
deletedDate, archivedDate   the record is ``trashed``; the tag "archived"
==========================  =========================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vaultsync.errors import ImportFailed
from vaultsync.importers.bitwarden_names import FIELD_KINDS, HARMLESS, INTERNAL, MATCHES, SHAPES, TYPES, Shape
from vaultsync.importers.fields import ARCHIVED_TAG, host_of, plain_text, put_custom, usable_tag
from vaultsync.importers.json_text import called, leaves, load, take_text, unusable
from vaultsync.importers.records import Collector, Parsed, Record, instant, instant_ms, is_plain_id, shown, source_of
from vaultsync.presets.custom import Custom, join_history

__all__ = ["NAME", "is_bitwarden", "parse_bitwarden"]

NAME: Final = "bitwarden"


def is_bitwarden(text: str) -> bool:
    """Whether the text is JSON at all: of the formats known here only Bitwarden's is."""
    return text.lstrip(" \t\r\n")[:1] in ("{", "[")


def parse_bitwarden(text: str, name: str) -> Parsed:
    """Every item of the export. Raises ImportFailed when it is encrypted, not JSON (with line and column), or another
    application's JSON."""
    document = load(text, name)
    if isinstance(document, list):
        document = {"items": document}
    items = document.get("items") if isinstance(document, dict) else None
    if isinstance(document, dict) and (document.get("encrypted") is True or "encKeyValidation_DO_NOT_EDIT" in document):
        how = "with a password" if document.get("passwordProtected") else "for one Bitwarden account"
        raise ImportFailed(
            f"{name}: this export is encrypted {how}, and only Bitwarden can open it; export again with the "
            "file format “.json” (not “.json (Encrypted)”), import that, and delete the file afterwards"
        )
    if not isinstance(items, list):
        raise ImportFailed(f"{name}: JSON, but no Bitwarden export: it has no list of items")
    collect = Collector(name, NAME)
    folders, collections = _names(document, "folders", collect), _names(document, "collections", collect)
    for number, item in enumerate(items, 1):
        place = f"item {number}"
        if collect.full:
            raise ImportFailed(f"{name}, {place}: more than {collect.items:,} items; split the export")
        if not isinstance(item, dict):
            collect.lost(place, f"is {called(item)}, not an object")
        elif reason := unusable(item):
            collect.lost(place, reason)
        else:
            collect.record(_Item(item, place, collect, folders, collections).record())
    for key in sorted(document.keys() - {"encrypted", "items", "folders", "collections"}):
        collect.note(f"{shown(key)} of the export is not imported")
    _unused(folders, "folder", collect)
    _unused(collections, "collection", collect)
    return collect.parsed()


class _Name:
    """A folder's or collection's name, and whether an item was in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.used = False


def _names(document: dict[str, Any], key: str, collect: Collector) -> dict[str, _Name]:
    found: dict[str, _Name] = {}
    rows = document.get(key)
    if rows is not None and not isinstance(rows, list):
        collect.problem(key, "is not a list; ignored")
        rows = None
    for number, row in enumerate(rows or (), 1):
        place = f"{key}, number {number}"
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("name"), str):
            collect.problem(place, "has no id and name; ignored")
            continue
        if row["id"] in found:
            collect.problem(place, "has the id of an earlier one; ignored")
            continue
        found[row["id"]] = _Name(row["name"])
        for other in sorted(row.keys() - {"id", "name"}):
            if row[other] not in (None, "", [], {}):
                collect.note(f"{shown(other)} of {key} is not imported")
    return found


def _unused(names: dict[str, _Name], what: str, collect: Collector) -> None:
    for name in names.values():
        if not name.used:
            collect.note(f"the {what} {shown(name.text)} holds no item: not imported")


class _Item:
    """One item on its way to a record: ``data`` shrinks as values find their fields."""

    def __init__(
        self,
        item: dict[str, Any],
        place: str,
        collect: Collector,
        folders: dict[str, _Name],
        collections: dict[str, _Name],
    ) -> None:
        self.data = dict(item)
        self.place = place
        self.collect = collect
        self.folders = folders
        self.collections = collections
        self.values: dict[str, Any] = {}
        self.custom: list[Custom] = []
        self.tags: set[str] = set()
        self.rest: list[tuple[str, Any]] = []

    def record(self) -> Record:
        data, values = self.data, self.values
        identity = take_text(data, "id")
        if identity is not None and not is_plain_id(identity):
            self.custom.append(Custom("id", identity))  # the source holds a digest of it only
        shape_name = self._shape()
        shape = SHAPES[shape_name]
        self._take(data, {"name": "title", "notes": "notes"})
        self._body(shape_name, shape)
        self._own_fields()
        self._history()
        self._place()
        if isinstance(data.get("favorite"), bool) and data.pop("favorite"):
            values["favorite"] = True
        if type(data.get("reprompt")) is int and data["reprompt"] in (0, 1) and data.pop("reprompt"):
            values["reprompt"] = True
        created, modified = self._moment("creationDate"), self._moment("revisionDate")
        trashed = data.get("deletedDate") not in (None, "", False)
        if data.get("archivedDate") not in (None, "", False):
            self.tags.add(ARCHIVED_TAG)
        if data.get("attachments"):
            self.collect.note("an item has attachments, which are not in this file: attach them again by hand")
        kept = self._left_over()
        put_custom(values, self.custom)
        if self.tags:
            values["tags"] = self.tags
        fallback = [shape.type, values.get("title"), values.get("username"), *values.get("urls", ())]
        if shape.type == "secure_note":
            fallback.append(values.get("notes"))
        if "title" not in values and (host := host_of(next(iter(values.get("urls", ())), ""))):
            values["title"] = host
        source = source_of(NAME, identity, () if identity else fallback)
        return Record(source, shape.type, values, created, modified, trashed, self.place, kept)

    def _shape(self) -> str:
        number = self.data.get("type")
        if type(number) is int and number in TYPES:
            del self.data["type"]
            return TYPES[number]
        for name in SHAPES:
            if isinstance(self.data.get(name), dict):
                if type(number) is int and name in ("bankAccount", "driversLicense", "passport"):
                    del self.data["type"]
                return name
        self.collect.note("an item of an unknown type is kept as a secure note, its values as hidden custom fields")
        return "secureNote"

    def _take(self, data: dict[str, Any], fields: Mapping[str, str]) -> None:
        for key, name in fields.items():
            if name not in self.values and (text := take_text(data, key)) is not None:
                self.values[name] = text

    def _body(self, name: str, shape: Shape) -> None:
        body = self.data.get(name)
        if not isinstance(body, dict):
            return
        body = self.data[name] = dict(body)
        if name == "login":
            self._login(body)
        elif name == "secureNote" and type(body.get("type")) is int and body["type"] == 0:
            del body["type"]  # the only kind of secure note there is
        self._take(body, shape.fields)

    def _login(self, body: dict[str, Any]) -> None:
        urls: list[str] = []
        for path, row in self._rows(body, "uris", "login."):
            if isinstance(row, str):
                if row:
                    urls.append(row)
                continue
            match = row.get("match")
            uri = take_text(row, "uri")
            if uri is not None:
                urls.append(uri)
                if type(match) is int and 0 <= match < len(MATCHES):
                    del row["match"]
                    self.custom.append(Custom(f"match for {uri}", MATCHES[match]))
            self.rest.append((path, row))
        if not urls and (uri := take_text(body, "uri")) is not None:
            urls.append(uri)
        if urls:
            self.values["urls"] = urls
        passkeys = []
        for path, row in self._rows(body, "fido2Credentials", "login."):
            if isinstance(row, str):
                self.rest.append((path, row))
            elif row:
                passkeys.append(json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
        if passkeys:
            self.values["passkeys"] = passkeys
        changed = body.get("passwordRevisionDate")
        if isinstance(changed, str) and (ms := instant_ms(changed)) is not None:
            del body["passwordRevisionDate"]
            self.values["password_changed"] = instant(ms)

    def _rows(self, data: dict[str, Any], key: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(path, row) of a list, each row a dict of its own to take from, or a string. Other rows are left over."""
        found = data.get(key)
        if not isinstance(found, list):
            return
        del data[key]
        for number, row in enumerate(found, 1):
            path = f"{prefix}{key}.{number}"
            if isinstance(row, dict):
                yield path, dict(row)
            elif isinstance(row, str):
                yield path, row
            else:
                self.rest.append((path, row))

    def _own_fields(self) -> None:
        for path, row in self._rows(self.data, "fields"):
            if isinstance(row, str):
                self.rest.append((path, row))
                continue
            kind, value = row.get("type"), row.get("value")
            if value is not None and plain_text(value) is None:
                self.rest.append((path, row))
                continue
            name = take_text(row, "name") or ""
            row.pop("value", None)
            text = None if value is None else plain_text(value)
            if type(kind) is int and kind in FIELD_KINDS:
                del row["type"]
                self.custom += FIELD_KINDS[kind](name, text, row)
            elif name or text is not None:
                self.custom.append(Custom(name, text, "hidden"))
            self.rest.append((path, row))

    def _history(self) -> None:
        lines = []
        for path, row in self._rows(self.data, "passwordHistory"):
            if isinstance(row, str):
                self.rest.append((path, row))
                continue
            password = take_text(row, "password")
            if password is not None:
                when = row.get("lastUsedDate")
                if when is None or (isinstance(when, str) and when != "-" and not any(c.isspace() for c in when)):
                    row.pop("lastUsedDate", None)
                    lines.append(join_history(when or None, password))
                else:
                    lines.append(join_history(None, password))
            self.rest.append((path, row))
        if lines:
            self.values["password_history"] = lines

    def _place(self) -> None:
        folder = self.data.get("folderId")
        if isinstance(folder, str) and folder in self.folders:
            del self.data["folderId"]
            self.folders[folder].used = True
            if self.folders[folder].text:
                self.values["folder"] = self.folders[folder].text
        ids = self.data.get("collectionIds")
        if not isinstance(ids, list):
            return
        unknown = []
        for one in ids:
            found = self.collections.get(one) if isinstance(one, str) else None
            if found is None:
                unknown.append(one)
                continue
            found.used = True
            if (tag := usable_tag(found.text)) is not None:
                self.tags.add(tag)
            elif found.text:
                self.custom.append(Custom("collection", found.text))
        self.data["collectionIds"] = unknown

    def _moment(self, key: str) -> int | None:
        value = self.data.get(key)
        if isinstance(value, str) and (ms := instant_ms(value)) is not None:
            del self.data[key]
            return ms
        return None

    def _left_over(self) -> tuple[str, ...]:
        kept: list[str] = []
        for path, value in leaves([*self.data.items(), *self.rest]):
            last = path.rpartition(".")[2] if path.startswith("login.uris.") else path
            if last in INTERNAL:
                self.collect.note(f"{shown(last)}, {INTERNAL[last]}, is of no use elsewhere: not kept")
                continue
            if isinstance(value, bool):
                self.custom.append(Custom(path, "yes" if value else "no", "yes/no"))
            else:
                harmless = path.partition(".")[0] in HARMLESS
                self.custom.append(Custom(path, plain_text(value), "text" if harmless else "hidden"))
            kept.append(path)
        return tuple(kept)

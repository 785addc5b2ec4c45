"""``field=value`` on a command line, by the field's kind.

=================  ====================================================================================================
``title=GitHub``   sets it; a list once for every item (``urls=a urls=b``), tags with commas (``tags=home,work``)
``title=``         clears it
``tags+=home``     adds to tags or a list, ``tags-=work`` takes away
``password``       a bare name is asked for on the terminal, hidden when it is a secret
``notes@=FILE``    reads it from a file, ``-`` for standard input (a list: one item a line); ``urls+@=FILE`` adds those
=================  ====================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from vaultsync import add, remove
from vaultsync.cli.asking import ask, read_text
from vaultsync.errors import UnknownField, UsageError, WrongKind
from vaultsync.schema.kind import Delta, Kind
from vaultsync.schema.kinds import ItemsKind
from vaultsync.schema.types import EntryType, Schema
from vaultsync.view.words import near

__all__ = ["looks_like_field", "parse_fields", "typed_secrets"]

_ASSIGNMENT: Final = re.compile(r"([a-z][a-z0-9_]*)([+-]?)(@?)=(.*)", re.DOTALL)
_BARE: Final = re.compile(r"[a-z][a-z0-9_]*")
_FLAGS: Final = dict.fromkeys(("yes", "true", "on", "1"), True) | dict.fromkeys(("no", "false", "off", "0"), False)


class _Word(NamedTuple):
    """One argument: the field, "", "+" or "-", and its texts; ``typed`` when they stood on the command line."""

    name: str
    sign: str
    texts: list[str]
    typed: bool


def looks_like_field(word: str) -> bool:
    """Whether an argument assigns to a field."""
    return _ASSIGNMENT.fullmatch(word) is not None


def typed_secrets(words: Iterable[str], schema: Schema) -> list[str]:
    """The secret fields whose values stand on the command line, where the shell remembers them."""
    found = []
    for word in words:
        match = _ASSIGNMENT.fullmatch(word)
        if match and not match[3] and match[4] and (kind := schema.kinds.get(match[1])) and kind.is_secret:
            found.append(match[1])
    return list(dict.fromkeys(found))


def parse_fields(words: Iterable[str], schema: Schema, type_name: str) -> dict[str, Any]:
    """Values as ``vault.add`` and ``vault.update`` take them. Raises ``UsageError``, ``UnknownField``, ``WrongKind``;
    no message holds a value."""
    kind = schema.types.get(type_name)
    found: dict[str, list[_Word]] = {}
    for word in words:
        part = _word(word, schema, kind)
        found.setdefault(part.name, []).append(part)
    return {name: _value(name, parts, schema, kind) for name, parts in found.items()}


def _word(word: str, schema: Schema, type: EntryType | None) -> _Word:
    match = _ASSIGNMENT.fullmatch(word)
    if match is None:
        if not _BARE.fullmatch(word):
            raise UsageError(
                f"not a field: {word[:40]!r}. Write field=value, or a field's name alone to be asked for it"
            )
        kind = _kind(word, schema, type)
        label = _label(word, type)
        hint = f"write {word}@=FILE, or {word}@=- for standard input"
        return _Word(word, "", [ask(label, hidden=kind.is_secret, instead=hint)], False)
    name, sign, file, text = match.groups()
    kind = _kind(name, schema, type)
    if not file:
        if kind.name == "tags":
            texts = [tag for part in text.split(",") if (tag := part.strip())]
        else:
            texts = [text] if text else []
        return _Word(name, sign, texts, True)
    content = read_text(text, name)
    if kind.is_collection:
        return _Word(name, sign, [one.rstrip("\r") for one in content.split("\n") if one.strip()], False)
    return _Word(name, sign, [content.removesuffix("\n").removesuffix("\r")], False)


def _kind(name: str, schema: Schema, type: EntryType | None) -> Kind:
    """The kind of a field that this version has for this type; also of a retired one: the library says that better."""
    here = {field.name: field.kind for field in (schema.fields_here(type) if type is not None else ())}
    if name in here:
        return here[name]
    if type is not None and type.field(name) is None:
        raise UnknownField(f"{type.label} has no field {name!r}.{near(name, here)}")
    return schema.kinds[name] if name in schema.kinds else _unknown(name, schema)


def _unknown(name: str, schema: Schema) -> Kind:
    raise UnknownField(f"no entry type has a field {name!r}.{near(name, schema.kinds)}")


def _label(name: str, type: EntryType | None) -> str:
    field = type.field(name) if type is not None else None
    return field.label if field is not None else name


def _value(name: str, parts: list[_Word], schema: Schema, type: EntryType | None) -> Any:
    kind = _kind(name, schema, type)
    signs = {part.sign for part in parts}
    if not kind.is_collection:
        if signs != {""}:
            raise UsageError(f"{name} is one value: write {name}=VALUE; += and -= are for tags and lists")
        if len(parts) > 1:
            raise UsageError(f"{name} is given {len(parts)} times, and it is one value")
        return _scalar(name, kind, parts[0].texts[0]) if parts[0].texts else None
    if "" in signs and len(signs) > 1:
        raise UsageError(f"{name} is set and changed at once: write either {name}= or {name}+= and {name}-=")
    inner = kind.inner if isinstance(kind, ItemsKind) else kind
    values = [(part.sign, [_scalar(name, inner, text) for text in part.texts]) for part in parts]
    if signs == {""}:
        return [value for _, texts in values for value in texts] or None
    change = Delta()
    for sign, texts in values:
        if not texts:
            raise UsageError(f"{name}{sign}= says nothing to {'add' if sign == '+' else 'take away'}")
        change = change | (add(*texts) if sign == "+" else remove(*texts))
    return change


def _scalar(name: str, kind: Kind, text: str) -> Any:
    match kind.name:
        case "number":
            return _number(name, text)
        case "flag":
            if (value := _FLAGS.get(text.strip().lower())) is None:
                raise WrongKind(f"{name} is a flag: write {name}=yes or {name}=no")
            return value
        case "instant":
            return _instant(name, text)
        case "file":
            raise WrongKind(f"{name} is an attached file, which the command line cannot write yet")
    return text


def _number(name: str, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise WrongKind(f"{name} is a number: write {name}=12 or {name}=0.5") from None


def _instant(name: str, text: str) -> datetime:
    """ISO 8601; without a zone it is this machine's."""
    if text.strip().lower() == "now":
        return datetime.now().astimezone()
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise WrongKind(
            f"{name} is a point in time: write {name}=2027-01-31, {name}=2027-01-31T09:00+01:00 or {name}=now"
        ) from None

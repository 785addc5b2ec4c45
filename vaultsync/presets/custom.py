"""Custom fields: what a person (or another password manager) added to an entry beyond the fields of its type.

Entries have declared fields only, so the preset keeps custom fields in two of them: ``custom``, a list of text that
people can read and search, and ``custom_secret``, a list of secrets. One line a field, in the order in which they
were made::

    custom                          custom_secret
    Recovery email: ann@example.org
    PIN [hidden]                    PIN: 4711
    Member [yes/no]: yes
    Login name [linked]: username

A hidden field leaves its name in ``custom``, which keeps the order and shows people that there is one; its value is in
``custom_secret`` only. ``encode`` and ``decode`` lose nothing: in a name, a backslash, a colon before white space and a
``[`` are written with a backslash before them, so the first bare ``": "`` ends the name. Nothing is escaped in a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

__all__ = ["Custom", "CustomKind", "decode", "encode", "join_history", "split_history"]

CustomKind = Literal["text", "hidden", "yes/no", "linked"]
_KINDS: Final[tuple[CustomKind, ...]] = ("text", "hidden", "yes/no", "linked")
_ESCAPE: Final = re.compile(r"\\|\[|:(?=\s|$)")
_UNESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_NAME_END: Final = re.compile(r"((?:[^\\:]|\\.|:(?! ))*+)(?:: (.*))?", re.DOTALL)
_MARKER: Final = re.compile(r"(?:^| )\[(text|hidden|yes/no|linked)\]$")


class Custom(NamedTuple):
    """One custom field. ``value`` is None when it has none, ``"yes"`` or ``"no"`` for a ``yes/no``, the name of the
    field it follows for a ``linked`` one."""

    name: str
    value: str | None
    kind: CustomKind = "text"

    def __repr__(self) -> str:
        shown = "•••" if self.kind == "hidden" and self.value is not None else repr(self.value)
        return f"Custom({self.name!r}, {shown}, {self.kind!r})"


def encode(fields: Iterable[Custom]) -> tuple[list[str], list[str]]:
    """The lines of ``custom`` and of ``custom_secret`` that stand for ``fields``."""
    shown: list[str] = []
    secret: list[str] = []
    for field in fields:
        name = _ESCAPE.sub(r"\\\g<0>", field.name)
        if field.kind == "hidden":
            shown.append(_head(name, "hidden"))
            secret.append(_line(name, field.value))
        elif field.kind == "text":
            shown.append(_line(name, field.value))
        else:
            head = _head(name, field.kind)
            shown.append(head if field.value is None else f"{head}: {field.value}")
    return shown, secret


def _head(name: str, kind: CustomKind) -> str:
    return f"{name} [{kind}]" if name else f"[{kind}]"


def _line(name: str, value: str | None) -> str:
    if value is None:
        return name or "[text]"  # an empty line would look like an item that was cleared
    return f"{name}: {value}"


def decode(custom: Iterable[str], custom_secret: Iterable[str] = ()) -> list[Custom]:
    """The custom fields in their order. Total: any lines give fields, and no secret line is left out. A hidden name
    whose secret is gone has the value None; a secret without a name in ``custom`` comes last."""
    secrets = [_parse(line) for line in custom_secret]
    waiting: dict[str, list[int]] = {}
    for index in range(len(secrets) - 1, -1, -1):
        waiting.setdefault(secrets[index].name, []).append(index)
    used: set[int] = set()
    found: list[Custom] = []
    for line in custom:
        field = _parse(line)
        if field.kind == "hidden" and waiting.get(field.name):
            index = waiting[field.name].pop()
            used.add(index)
            field = Custom(field.name, secrets[index].value, "hidden")
        found.append(field)
    rest = (Custom(secret.name, secret.value, "hidden") for index, secret in enumerate(secrets) if index not in used)
    return [*found, *rest]


def _parse(line: str) -> Custom:
    match = _NAME_END.match(line)
    head, value = (match.group(1), match.group(2)) if match else (line, None)
    if match is not None and match.end() != len(line):  # a lone backslash at the end, by hand: all is name
        head, value = line, None
    kind: CustomKind = "text"
    if marker := _MARKER.search(head):
        kind = next(k for k in _KINDS if k == marker.group(1))
        head = head[: marker.start()]
    return Custom(_UNESCAPE.sub(r"\1", head), value, kind)


def join_history(when: str | None, password: str) -> str:
    """A line of ``password_history``: when it was last used (as it was written, or ``-``), a space, the password."""
    return f"{(when or '-').replace(' ', 'T')} {password}"


def split_history(line: str) -> tuple[str | None, str]:
    """The date (None when unknown) and the password of a line that ``join_history`` wrote; total."""
    when, space, password = line.partition(" ")
    if not space:
        return None, line
    return (None if when == "-" else when), password

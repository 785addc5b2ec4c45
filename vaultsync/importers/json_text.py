"""JSON from outside: read with every number as it was written and no name lost, bounded, and taken apart.

Nothing here raises or keeps a JSONDecodeError: it holds the whole text, secrets and all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from vaultsync.errors import ImportFailed
from vaultsync.importers.fields import plain_text
from vaultsync.limits import MAX_IMPORT_DEPTH, MAX_IMPORT_LEAVES

__all__ = ["called", "leaves", "load", "take_text", "unusable"]


def load(text: str, name: str) -> Any:
    failure = ""
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_refuse, parse_float=str, parse_int=_integer)
    except json.JSONDecodeError as error:
        failure = f"{name}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
    except _Constant:
        failure = f"{name}: not valid JSON: NaN and Infinity are no JSON numbers"
    except RecursionError:
        failure = f"{name}: nested too deeply to be an export"
    raise ImportFailed(failure)  # outside the handler: a JSONDecodeError holds the whole file


class _Constant(Exception):
    pass


def _refuse(constant: str) -> Any:
    raise _Constant


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 19 else digits


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. A name that comes twice is kept twice: the last one counts, as everywhere, the earlier ones are left
    over."""
    made = dict(pairs)
    if len(made) < len(pairs):
        made, repeats = {}, 1
        for key, value in pairs:
            if key in made:
                repeats += 1
                made[f"{key} (repeated {repeats})"] = made.pop(key)
            made[key] = value
    return made


def called(value: object) -> str:
    names = {bool: "a boolean", int: "a number", str: "text or a number", list: "a list", type(None): "null"}
    return names[type(value)]


def unusable(item: dict[str, Any]) -> str | None:
    """Why an item cannot be what it claims to be; the rest of the parser recurses freely."""
    leaves, level = 0, [*item.values()]
    for _ in range(MAX_IMPORT_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
            else:
                leaves += 1
        if leaves + len(inner) > MAX_IMPORT_LEAVES:
            return f"holds more than {MAX_IMPORT_LEAVES:,} values"
        if not inner:
            return None
        level = inner
    return f"is nested more than {MAX_IMPORT_DEPTH} levels deep"


def take_text(data: dict[str, Any], key: str) -> str | None:
    """Takes a text or number out of ``data``; None (and nothing taken) when it is another thing, None when it is
    empty."""
    value = data.get(key)
    if isinstance(value, bool) or (value is not None and not isinstance(value, str | int)):
        return None
    data.pop(key, None)
    return None if value is None or value == "" else plain_text(value)


def leaves(pairs: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """(path, scalar) of everything that holds something. The depth was checked before."""
    for path, value in pairs:
        if isinstance(value, dict):
            yield from leaves([(f"{path}.{key}", inner) for key, inner in value.items()])
        elif isinstance(value, list):
            yield from leaves([(f"{path}.{number}", inner) for number, inner in enumerate(value, 1)])
        elif value is not None and value != "":
            yield path, value

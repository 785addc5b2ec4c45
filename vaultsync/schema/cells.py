"""Cells: the flat keys and scalars an entry is stored as, and the few formats that live inside them.

Theory. An entry is one map of scalars. Its keys are::

    <field>             a scalar value                        title
    <field>/<element>   a tag (True), a list item, a line     tags/work   emails/7
    <field>@<element>   the position of an item or line       emails@7
    $<…>                bookkeeping                           $edited/<incarnation>

Whoever holds a device of the vault may write any scalar under any key, so everything that *reads* here is total and
bounded: what does not parse counts as absent. What *we* write is canonical: equal things are equal bytes.

Does not know kinds, schemas or lenses.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from vaultsync.limits import (
    MAX_JSON_DEPTH,
    MAX_NAME_CHARS,
    MAX_POSITION_CHARS,
    MAX_SAFE_INT,
    MAX_VALUE_BYTES,
    MAX_VECTOR_BYTES,
    MAX_VERSION,
)

__all__ = [
    "GONE",
    "MIDDLE",
    "Gone",
    "Key",
    "Ops",
    "Raw",
    "Scalar",
    "between",
    "canonical_json",
    "criticals",
    "deleted",
    "edited",
    "faces",
    "fill",
    "is_name",
    "is_position",
    "next_edit",
    "normalise_number",
    "owner",
    "parse_json",
    "split_key",
    "spread",
    "stamps",
    "storable",
    "trashed",
    "vector_json",
]


class Gone(Enum):
    """The type of ``GONE``: an enumeration of one, so that type checkers narrow on ``value is GONE``."""

    GONE = "GONE"

    def __repr__(self) -> str:
        return "GONE"


GONE: Final = Gone.GONE
"""In operations: delete the key. Not ``None``, which is a stored null."""

Scalar: TypeAlias = str | int | float | bool | None
Raw: TypeAlias = Mapping[str, Scalar]
Ops: TypeAlias = dict[str, Scalar | Gone]


# ---- keys -------------------------------------------------------------------------------------------------------
class Key(NamedTuple):
    """A data key taken apart: ``sep`` is "" (a value), "/" (an element's value) or "@" (an element's position)."""

    name: str
    sep: str
    element: str


_NAME = rf"[a-z][a-z0-9_]{{0,{MAX_NAME_CHARS - 1}}}"
_is_name = re.compile(_NAME).fullmatch
_split = re.compile(rf"({_NAME})(?:([/@])(.*))?", re.DOTALL).fullmatch


def is_name(text: object) -> bool:
    """Whether this may name a type or a field."""
    return isinstance(text, str) and _is_name(text) is not None


def split_key(key: str) -> Key | None:
    """Take a data key apart at its first separator (tags may hold both); None for what is none of ours."""
    match = _split(key)
    return None if match is None else Key(match[1], match[2] or "", match[3] or "")


def owner(key: str) -> str:
    """The part before the first separator: the field a data key belongs to. Total: unknown shapes have an owner too."""
    slash, at = key.find("/"), key.find("@")
    ends = [i for i in (slash, at) if i >= 0]
    return key[: min(ends)] if ends else key


# ---- positions --------------------------------------------------------------------------------------------------
MIDDLE: Final = "U"
"""How the position of an element without a (valid) position reads."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_BASE: Final = len(_DIGITS)
_is_position = re.compile(rf"[0-9A-Za-z]{{1,{MAX_POSITION_CHARS}}}").fullmatch


def is_position(value: object) -> bool:
    """Whether a stored value is a position; anything else reads as ``MIDDLE``."""
    return isinstance(value, str) and _is_position(value) is not None


def between(left: str | None, right: str | None) -> str | None:
    """A position strictly between two (None: an open end), or None when there is no room within the length limit.

    Open ends are stepped, not halved: a list that only grows at its end gains a character in 61 additions, not in 6.
    """
    if left is None and right is None:
        return MIDDLE
    if left is None:
        made = _below(right or "")
    elif right is None:
        made = _above(left)
    else:
        made = _amid(left, right) if left < right else None
    return made if made is not None and len(made) <= MAX_POSITION_CHARS else None


def _above(left: str) -> str:
    for i, digit in enumerate(left):
        if digit != "z":
            return left[:i] + _DIGITS[_VALUE[digit] + 1]
    return left + "1"


def _below(right: str) -> str | None:
    for i, digit in enumerate(right):
        if digit == "0":
            continue
        if len(right) > i + 1:
            return right[: i + 1]
        return right[:i] + (_DIGITS[_VALUE[digit] - 1] if digit != "1" else "0z")
    return None  # nothing but zeros: nothing is below


def _amid(left: str, right: str) -> str | None:
    """Between two texts, ``left < right``: keep what they share, then halve the first digits that differ."""
    at = 0
    while at < len(right) and (left[at] if at < len(left) else "0") == right[at]:
        at += 1
    if at == len(right):
        return None  # right is left followed by zeros: the same fraction
    low = _VALUE[left[at]] if at < len(left) else 0
    high = _VALUE[right[at]]
    if high - low > 1:
        return right[:at] + _DIGITS[(low + high) // 2]
    if len(right) > at + 1:
        return right[: at + 1]
    # Adjacent digits: go on inside left's digit, anywhere above the rest of left.
    tail = left[at + 1 :]
    for i, digit in enumerate(tail):
        if digit != "z":
            return right[:at] + _DIGITS[low] + tail[:i] + _DIGITS[(_VALUE[digit] + _BASE) // 2]
    return right[:at] + _DIGITS[low] + tail + MIDDLE


def spread(count: int) -> list[str]:
    """``count`` positions in order, evenly spaced and as short as that allows; one is ``MIDDLE``."""
    if count == 1:
        return [MIDDLE]
    width = 1
    while _BASE**width <= 2 * count:  # leave room on both sides of each
        width += 1
    made = []
    for i in range(1, count + 1):
        value, digits = i * _BASE**width // (count + 1), ""
        for _ in range(width):
            value, digit = divmod(value, _BASE)
            digits = _DIGITS[digit] + digits
        made.append(digits.rstrip("0"))
    return made


def fill(left: str | None, right: str | None, count: int) -> list[str] | None:
    """``count`` positions in order strictly between two; None when there is no room (the caller spreads all anew)."""
    if count <= 0:
        return []
    if left is None and right is None:
        return spread(count)
    middle = between(left, right)
    if middle is None or count == 1:
        return None if middle is None else [middle]
    if right is None:  # everything that starts with a step above left is above left
        made = [middle + tail for tail in spread(count)]
        return made if max(map(len, made)) <= MAX_POSITION_CHARS else None
    lower = fill(left, middle, (count - 1) // 2) if left is not None else []
    upper = fill(middle, right, count - 1 - (len(lower) if lower else 0))
    return None if lower is None or upper is None else [*lower, middle, *upper]


# ---- values -----------------------------------------------------------------------------------------------------
def storable(text: str) -> bool:
    """Whether the engine can hold this text: no lone surrogates, at most ``MAX_VALUE_BYTES`` in UTF-8."""
    if text.isascii():
        return len(text) <= MAX_VALUE_BYTES
    try:
        return len(text.encode()) <= MAX_VALUE_BYTES
    except UnicodeEncodeError:
        return False


def normalise_number(value: int | float) -> int | float:
    """The one stored form of a number: Int when integral and within 2**53, else F64. ``ValueError``: not finite."""
    if isinstance(value, int) and abs(value) <= MAX_SAFE_INT:
        return int(value)
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("not a finite number") from error
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return int(number) if number.is_integer() and abs(number) <= MAX_SAFE_INT else number


def _normal(obj: object) -> object:
    if obj is None or isinstance(obj, str | bool):
        return obj
    if isinstance(obj, int | float):
        return normalise_number(obj)
    if isinstance(obj, Mapping):
        if not all(isinstance(key, str) for key in obj):
            raise TypeError("keys of canonical JSON are text")
        return {key: _normal(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_normal(value) for value in obj]
    raise TypeError(f"no JSON form: {type(obj).__name__}")


def canonical_json(obj: object) -> str:
    """One text for equal things: sorted keys, no spaces, no escapes beyond JSON's own, numbers normalised.

    Raises ``TypeError`` for what is no JSON and ``ValueError`` for numbers that are not finite and lone surrogates.
    """
    text = json.dumps(_normal(obj), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if not text.isascii():
        text.encode()  # UnicodeEncodeError is a ValueError
    return text


_strings = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _too_deep(text: str, limit: int) -> bool:
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    for char in _strings.sub("", text):
        if char in "[{":
            depth += 1
            if depth > limit:
                return True
        elif char in "]}":
            depth -= 1
    return False


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse("not finite")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _refuse("a key twice")


def parse_json(text: object, *, max_bytes: int, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """Parse JSON from a cell that anyone may have written; None for whatever is not clean, small and flat enough.

    Size and depth are checked before parsing. Refused too: NaN and infinities, a key twice, lone surrogates.
    """
    if not isinstance(text, str) or len(text) > max_bytes:
        return None
    try:
        if not text.isascii() and len(text.encode()) > max_bytes:
            return None
        if _too_deep(text, max_depth):
            return None
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique)
        if "\\u" in text:
            canonical_json(value)
    except (ValueError, RecursionError):
        return None
    return value


# ---- edits and deletes ------------------------------------------------------------------------------------------
def _count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_SAFE_INT


def edited(raw: Raw) -> dict[str, int]:
    """The ``$edited`` vector: incarnation -> when it last edited (ms)."""
    marks = [key for key in raw if key[:8] == "$edited/"]  # asked of every entry: usually one
    return {key[8:]: value for key in marks if isinstance(value := raw[key], int) and _count(value)}


def next_edit(raw: Raw, incarnation: str, now_ms: int) -> int:
    """What an edit of this incarnation writes: later than its own last edit, whatever the clock says."""
    return max(now_ms, edited(raw).get(incarnation, -1) + 1)


def _vector(value: Scalar) -> dict[str, int] | None:
    found = parse_json(value, max_bytes=MAX_VECTOR_BYTES, max_depth=1)
    return found if isinstance(found, dict) and all(map(_count, found.values())) else None


def deleted(raw: Raw) -> list[dict[str, int]]:
    """The edits that each delete saw; a vector that does not parse counts as absent, so that the entry stays."""
    found = (_vector(value) for key, value in raw.items() if key.startswith("$deleted/"))
    return [vector for vector in found if vector is not None]


def vector_json(raw: Raw) -> str:
    """What a delete writes: the ``$edited`` vector as it is now."""
    return canonical_json(edited(raw))


def trashed(raw: Raw) -> bool:
    """Some delete exists and every edit is covered by some delete."""
    vectors = deleted(raw)
    if not vectors:
        return False
    return all(any(vector.get(inc, -1) >= when for vector in vectors) for inc, when in edited(raw).items())


# ---- marks that say what an entry is ----------------------------------------------------------------------------
def stamps(raw: Raw) -> dict[str, tuple[int, ...]]:
    """``$schema/<type>/<n>``: type -> the versions of it whose things the entry holds, ascending."""
    found: dict[str, list[int]] = {}
    for key, value in raw.items():
        if key.startswith("$schema/") and value is True:
            name, _, number = key[8:].partition("/")
            if is_name(name) and number.isascii() and number.isdigit() and len(number) < 8 and number[0] != "0":
                version = int(number)
                if version <= MAX_VERSION:
                    found.setdefault(name, []).append(version)
    return {name: tuple(sorted(versions)) for name, versions in found.items()}


def faces(raw: Raw) -> frozenset[str]:
    """``$face/<type>``: the types it is readable as besides its primary one."""
    return frozenset(k[6:] for k, v in raw.items() if k.startswith("$face/") and v is True and is_name(k[6:]))


def criticals(raw: Raw) -> dict[str, str]:
    """``$critical/<field>``: field -> "read" or "write", as stored with the field."""
    return {
        key[10:]: value
        for key, value in raw.items()
        if key.startswith("$critical/") and isinstance(value, str) and value in ("read", "write")
    }

"""English for counts, lists, platforms and devices: the small words of notices and errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

__all__ = ["ago", "clean", "count", "listing", "named", "near", "platforms", "plural"]

_PLATFORMS = {
    "windows": "Windows",
    "macos": "macOS",
    "linux": "Linux",
    "android": "Android",
    "ios": "iOS",
    "web": "the web",
}
_SHOWN_CHARS = 80
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))
_CENTURY_SECONDS: Final = 36_525 * 86_400


def plural(word: str) -> str:
    """``Passkey`` -> ``Passkeys``, ``Identity`` -> ``Identities``, ``Address`` -> ``Addresses``."""
    low = word.lower()
    if low.endswith("y") and low[-2:-1] not in ("a", "e", "i", "o", "u", ""):
        return word[:-1] + "ies"
    if low.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"


def count(number: int, word: str) -> str:
    """``1 entry``, ``3 entries``, ``1,200 Logins``."""
    return f"{number:,} {word if number == 1 else plural(word)}"


def listing(words: Sequence[str], *, most: int = 3) -> str:
    """``a``, ``a and b``, ``a, b and c``; beyond ``most`` the rest is counted: ``a, b, c and 4 more``."""
    if len(words) > most + 1:
        words = [*words[:most], f"{len(words) - most} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def platforms(names: Iterable[str]) -> str:
    """``macOS and Windows``, in the order of what people read."""
    return listing(sorted((_PLATFORMS.get(name, name) for name in names), key=str.lower), most=6)


def named(name: str) -> str:
    """What a type or field without a label is called: ``wifi_note`` -> ``Wifi note``."""
    text = clean(name).replace("_", " ").strip()
    return text[:1].upper() + text[1:] if text else "Unnamed"


def near(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'title' or 'titles'?``, or nothing when nothing known is close."""
    close = get_close_matches(word, sorted(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def clean(text: str) -> str:
    """Text from another device, fit for one line of a sentence: printable and short."""
    kept = "".join(c if c.isprintable() else " " for c in text[: 4 * _SHOWN_CHARS]).strip()
    return kept if len(kept) <= _SHOWN_CHARS else kept[: _SHOWN_CHARS - 1] + "…"


def ago(then_ms: int | None, now_ms: int) -> str:
    """``3 minutes``; nothing for what is unknown, in the future, or so long ago that a clock must be wrong."""
    if then_ms is None or not 0 <= (seconds := (now_ms - then_ms) // 1000) < _CENTURY_SECONDS:
        return ""
    for length, unit in _UNITS:
        if seconds >= length:
            return count(seconds // length, unit)
    return "a moment"

"""The workload: ``vault(n)``, a vault as people have them, the same bytes from the same seed.

70% logins (title, username, password, url, notes of about 60 characters, one-time-code secret, 2 tags), 20% notes
(title, 500 characters of text), 10% cards (8 short fields), each with the times when it was made and last changed.
Words repeat as words do; passwords, secrets and numbers are random and do not compress.
"""

from __future__ import annotations

import hashlib
import json
import random
import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

__all__ = ["CARD", "LOGIN", "NOTE", "SEED", "Row", "digest", "row_digest", "vault"]

SEED = 1
LOGIN, NOTE, CARD = "login", "secure_note", "card"
Row: TypeAlias = dict[str, Any]
"""One entry: ``type``, ``created`` and ``modified`` (ms) and the fields of its type. Tags are a sorted list of text."""

_START_MS = 1_600_000_000_000
_SPAN_MS = 160_000_000_000
_SECRET = string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_{|}~"
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TAGS = ("work", "home", "family", "bank", "shop", "travel", "mail", "games", "school", "health", "old", "shared")
_SYLLABLES = (
    "ba",
    "co",
    "da",
    "el",
    "fi",
    "go",
    "ha",
    "in",
    "jo",
    "ka",
    "lu",
    "mo",
    "ne",
    "or",
    "pi",
    "ra",
    "so",
    "tu",
)


def vault(n: int, seed: int = SEED) -> Iterator[Row]:
    """``n`` entries in a shuffled order of types; of every ten, seven are logins, two notes, one a card."""
    rng = random.Random(f"vault/{seed}")
    words = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(2000)]
    kinds: list[str] = []
    for _ in range(n):
        if not kinds:
            kinds = [LOGIN] * 7 + [NOTE] * 2 + [CARD]
            rng.shuffle(kinds)
        yield _ENTRY[kinds.pop()](rng, words)


def _times(rng: random.Random) -> Row:
    created = _START_MS + rng.randrange(_SPAN_MS)
    return {"created": created, "modified": created + rng.randrange(_SPAN_MS)}


def _text(rng: random.Random, words: list[str], size: int) -> str:
    """Words up to exactly ``size`` characters."""
    text = ""
    while len(text) < size:
        text += rng.choice(words) + " "
    return text[: size - 1] + "."


def _login(rng: random.Random, words: list[str]) -> Row:
    site = rng.choice(words) + rng.choice(words)
    return {
        "type": LOGIN,
        "title": site.capitalize(),
        "username": f"{rng.choice(words)}.{rng.choice(words)}@example.com",
        "password": "".join(rng.choices(_SECRET, k=rng.randint(14, 24))),
        "url": f"https://{site}.example/{rng.choice(words)}",
        "notes": _text(rng, words, rng.randint(40, 80)),
        "totp": "".join(rng.choices(_BASE32, k=32)),
        "tags": sorted(rng.sample(_TAGS, 2)),
        **_times(rng),
    }


def _note(rng: random.Random, words: list[str]) -> Row:
    return {"type": NOTE, "title": _text(rng, words, 24), "text": _text(rng, words, 500), **_times(rng)}


def _card(rng: random.Random, words: list[str]) -> Row:
    return {
        "type": CARD,
        "title": f"{rng.choice(words).capitalize()} card",
        "holder": f"{rng.choice(words)} {rng.choice(words)}".title(),
        "number": "".join(rng.choices(string.digits, k=16)),
        "brand": rng.choice(("Visa", "Mastercard", "Maestro")),
        "month": f"{rng.randint(1, 12):02}",
        "year": str(rng.randint(2026, 2034)),
        "code": "".join(rng.choices(string.digits, k=3)),
        "pin": "".join(rng.choices(string.digits, k=4)),
        **_times(rng),
    }


_ENTRY = {LOGIN: _login, NOTE: _note, CARD: _card}


# ---- was what was read what was written? ------------------------------------------------------------------------
def row_digest(row: Mapping[str, Any]) -> int:
    """A number that depends on every value of an entry."""
    canonical = json.dumps(dict(row), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(canonical.encode()).digest())


def digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """One digest over all values of all entries, in whatever order they come."""
    return f"{sum(map(row_digest, rows)) % (1 << 256):064x}"

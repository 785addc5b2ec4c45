"""One file of results that several commands write, each its own section, at different times."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["ORDER", "put"]

ORDER: Final = ("peers", "profile", "shares", "relay", "relay-postgresql", "costs")
"""The sections as they stand in the file. The profile is written by hand: what goals that were missed are made of."""


def put(path: Path, name: str, text: str) -> None:
    """Replace one section of the file, or add it where it belongs; the others stay as they are."""
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    found = {
        each: match[1].strip()
        for each in ORDER
        if (match := re.search(rf"<!-- {each} -->\n(.*?)<!-- end of {each} -->", stored, re.DOTALL))
    }
    found[name] = text.strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = [f"<!-- {each} -->\n{found[each]}\n<!-- end of {each} -->\n" for each in ORDER if each in found]
    path.write_text("\n".join(whole), encoding="utf-8")

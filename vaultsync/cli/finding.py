"""Which entry a person means: its id, the beginning of its id, or its exact title."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import vaultsync as vs
from vaultsync.cli.output import line
from vaultsync.errors import EntryNotFound, UsageError
from vaultsync.view.words import near

__all__ = ["every", "find", "short_ids"]

_SHORTEST = 6
_MOST_SHOWN = 8


def every(view: vs.View) -> Iterator[vs.Entry]:
    """All entries of a view, whatever their status."""
    for entries in (view.entries, view.archived, view.hidden, view.trash):
        yield from entries


def find(view: vs.View, wanted: str) -> vs.Entry:
    """The entry that ``wanted`` names. Raises ``EntryNotFound``, and ``UsageError`` listing candidates when it names
    several. An exact title beats one in other case, what is not in the trash beats what is."""
    whole = view.get(wanted.upper())
    if isinstance(whole, vs.Entry):
        return whole
    entries = list(every(view))
    folded = wanted.casefold()
    titled = [entry for entry in entries if (title := entry.title) is not None and title.casefold() == folded]
    exact = [entry for entry in titled if entry.title == wanted]
    prefixed = [e for e in entries if e.id.startswith(wanted.upper())] if len(wanted) >= _SHORTEST else []
    for found in (exact, titled, prefixed):
        living = [entry for entry in found if entry.status.value != "trashed"]
        chosen = living or found
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            raise UsageError(_ambiguous(wanted, chosen, entries))
    titles = {entry.title for entry in entries if entry.title}
    hint = near(wanted, titles) if len(titles) <= 20_000 else ""
    raise EntryNotFound(f"no entry has the id or title {line(wanted, 60)!r}.{line(hint, 200)}")


def _ambiguous(wanted: str, found: Sequence[vs.Entry], entries: Iterable[vs.Entry]) -> str:
    short = short_ids(entry.id for entry in entries)
    lines = [f"{len(found)} entries answer to {line(wanted, 60)!r}; use the beginning of an id:"]
    for entry in found[:_MOST_SHOWN]:
        user = "" if entry.status.value == "hidden" else entry.get("username") or entry.get("email") or ""
        more = f", {line(str(user), 30)}" if user else ""
        lines.append(f"  {short[entry.id]}  {line(entry.title or entry.label, 40)} ({entry.label}{more})")
    if len(found) > _MOST_SHOWN:
        lines.append(f"  … and {len(found) - _MOST_SHOWN} more")
    return "\n".join(lines)


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Every id with the shortest beginning, of 6 characters at least, that no other one has."""
    ordered = sorted(ids)
    made = {}
    for i, one in enumerate(ordered):
        most = _SHORTEST
        for other in (ordered[i - 1] if i else "", ordered[i + 1] if i + 1 < len(ordered) else ""):
            shared = 0
            while shared < min(len(one), len(other)) and one[shared] == other[shared]:
                shared += 1
            most = max(most, shared + 1)
        made[one] = one[:most]
    return made

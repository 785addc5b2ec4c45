"""What checkpoints mean for syncing: which to fetch, what they explain, what may go. Pure: no I/O, no clock.

An envelope is *covered* by a verified checkpoint when its chain's place in the checkpoint's frontier is its own or a
later one. Covered envelopes need not be anywhere, with one exception: the **anchor**, the very envelope that a
frontier names. A frontier is what the checkpoint's writer claims; the anchor is signed by the chain's own writer and
says which change it ended with, so whoever has it knows that the checkpoint really holds everything up to there.
Anchors stay for as long as their checkpoint.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from vaultsync import limits
from vaultsync.sync import names
from vaultsync.sync.events import Tip

__all__ = [
    "Frontier",
    "Known",
    "Numbers",
    "Offer",
    "Situation",
    "collectible",
    "floors",
    "offers",
    "situation",
    "superseded",
]

Frontier: TypeAlias = Mapping[bytes, tuple[int, bytes]]
"""chain -> (seq, env_id): up to and with that envelope."""


class Offer(NamedTuple):
    """A checkpoint that a remote lists. ``covered``: how many envelopes it claims to hold; ``parts``: its objects."""

    covered: int
    chain: bytes
    short: bytes
    size: int
    parts: tuple[str, ...]


class Known(NamedTuple):
    """A checkpoint that was verified here and is held whole. ``since``: when that was (ms). ``ends``: of chains that
    forked or may yet fork, the hashes of the last changes that it holds of each branch."""

    env_id: bytes
    writer: bytes
    frontier: Frontier
    parts: tuple[str, ...]
    size: int
    since: int
    ends: Mapping[bytes, tuple[bytes, ...]] = MappingProxyType({})

    def covers(self, other: Frontier) -> bool:
        """Whether it holds everything that a checkpoint with that frontier holds."""
        return all(self.frontier.get(chain, (0, b""))[0] >= seq for chain, (seq, _) in other.items())


def offers(vault: bytes, listed: Iterable[str]) -> tuple[list[Offer], bool]:
    """The checkpoints of which every part is listed, those that claim most first; and whether parts of others are."""
    found: dict[tuple[int, bytes, bytes, int, int], list[list[str]]] = {}
    for name in set(listed):
        part = names.parse_checkpoint(name)
        if part is not None and part.vault == vault:
            key = (part.covered, part.chain, part.short, part.size, part.parts)
            found.setdefault(key, [[] for _ in range(part.parts)])[part.part].append(name)
    whole = [
        Offer(covered, chain, short, size, tuple(names_there[0] for names_there in places))
        for (covered, chain, short, size, _), places in found.items()
        if all(len(names_there) == 1 for names_there in places)  # which of two is meant, nothing tells
    ]
    whole.sort(key=lambda offer: (offer.covered, offer.short), reverse=True)
    return whole[: limits.MAX_CHECKPOINTS_LOOKED_AT], len(whole) < len(found)


def floors(known: Iterable[Known]) -> dict[bytes, tuple[int, bytes]]:
    """How far each chain is covered by some verified checkpoint."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for one in known:
        for chain, place in one.frontier.items():
            found[chain] = max(found.get(chain, (0, b"")), place)
    return found


# ---- fetching -------------------------------------------------------------------------------------------------------
class Situation(NamedTuple):
    """What a listing says: ``lost``: chains of which envelopes that were applied here are not there any more; ``gaps``:
    chains that cannot go on from here with what is there; ``behind``: envelopes that are there and not applied."""

    lost: frozenset[bytes]
    gaps: frozenset[bytes]
    behind: int

    def wants(self, offer: Offer, tips: Mapping[bytes, Tip]) -> bool:
        """Whether fetching the checkpoint is right: something is missing that it may explain or bring, or it is
        cheaper than the envelopes.

        For who has nothing yet it is when it holds the larger part, and is no larger than those envelopes may be: one
        is written only where they are many or large. It is fetched in less than half the bytes and verified by a
        process of its own, and what it covers is not kept here.
        """
        if self.lost or self.gaps:
            return True
        applied = sum(tip.seq for tip in tips.values())
        gain = min(self.behind, offer.covered - applied)
        if not applied and 2 * gain > self.behind and offer.size <= gain * limits.ENVELOPE_TARGET_BYTES:
            return True
        return gain >= limits.CATCH_UP_ENVELOPES and offer.size <= gain * limits.CATCH_UP_BYTES


class Numbers:
    """The numbers of the envelopes that a remote lists, of listing after listing: in each, only what is new at the end
    is looked at, as envelopes are added there."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[list[str], list[int]]] = {}

    def of(self, chain: bytes, listed: Sequence[str]) -> Sequence[int]:
        """Ascending, each once; nobody may change them. ``listed``: sorted names of one chain's prefix."""
        before, numbers = self._seen.get(chain, ([], []))
        if listed[: len(before)] != before:
            before, numbers = [], []
        new = {parsed.seq for name in listed[len(before) :] if (parsed := names.parse_envelope(name)) is not None}
        if new and numbers and min(new) <= numbers[-1]:
            numbers = sorted(new.union(numbers))
        elif new:
            numbers += sorted(new)
        self._seen[chain] = (list(listed), numbers)
        return numbers


def situation(
    tips: Mapping[bytes, Tip],
    listed: Mapping[bytes, Sequence[str]],
    unsent: Iterable[str] = (),
    numbers: Numbers | None = None,
) -> Situation:
    """``listed``: chain -> the names of its envelopes on the remote, sorted; ``unsent``: those that it was not sent
    yet; ``numbers``: of the listings before."""
    own = [parsed for name in unsent if (parsed := names.parse_envelope(name)) is not None]
    lost, gaps, behind = set(), set(), 0
    numbers = numbers if numbers is not None else Numbers()
    for chain, there in listed.items():
        tip = tips.get(chain, Tip(0, b""))
        seqs = numbers.of(chain, there)
        if mine := {place.seq for place in own if place.chain == chain}:
            seqs = sorted(mine.union(seqs))
        applied = bisect_right(seqs, tip.seq)
        if applied - bisect_right(seqs, tip.floor) < tip.seq - tip.floor:
            lost.add(chain)
        behind += len(seqs) - applied
        if applied < len(seqs) and seqs[applied] != tip.seq + 1:
            gaps.add(chain)
    return Situation(frozenset(lost), frozenset(gaps), behind)


# ---- collecting -----------------------------------------------------------------------------------------------------
def superseded(
    known: Sequence[Known],
    holds: Callable[[Known, Known], bool] = lambda one, other: one.covers(other.frontier),
    absent: Sequence[Known] = (),
) -> list[Known]:
    """Those that two others, each verified later or holding more, hold everything of: nobody needs them any more.

    ``holds``: whether one checkpoint holds everything of another. ``absent``: more that may go, and that count for
    nothing, as the remote does not list them (any more).
    """
    gone: list[Known] = []
    for one in sorted([*known, *absent], key=_weight):
        heavier = (other for other in known if other not in gone and _weight(other) > _weight(one))
        if sum(holds(other, one) for other in heavier) >= 2:
            gone.append(one)
    return gone


def _weight(known: Known) -> tuple[int, bytes]:
    return sum(seq for seq, _ in known.frontier.values()), known.env_id


def collectible(ripe: Iterable[Known], known: Iterable[Known], chain: bytes, held: Iterable[str]) -> Iterator[str]:
    """Of the envelopes ``held``, applied here, those that two checkpoints of ``ripe`` cover and none of ``known`` is
    anchored at.

    ``ripe``: those of ``known`` that the remote holds whole, and that were verified long enough ago.
    """
    places = sorted((one.frontier[chain][0] for one in ripe if chain in one.frontier), reverse=True)
    if len(places) < 2:
        return
    anchored = {one.frontier[chain][0] for one in known if chain in one.frontier}
    for name in held:
        parsed = names.parse_envelope(name)
        if parsed is not None and parsed.chain == chain and parsed.seq < places[1] and parsed.seq not in anchored:
            yield name

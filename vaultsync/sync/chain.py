"""What the core knows of one chain, and the one table of what can happen to an envelope.

An envelope with no record here is either *listed* (its name is in ``wanted`` or ``suspects``), or long applied: then
the chain's tip covers it, and nothing is kept of it but a share in one running hash. So a chain that is fully applied
costs the same whether it holds ten envelopes or a hundred thousand.
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

from vaultsync.errors import VaultSyncError
from vaultsync.limits import RECENT_ENVELOPES, SYNC_WINDOW
from vaultsync.sync import names
from vaultsync.sync.events import Opened, Tip

__all__ = ["TRANSITIONS", "Cause", "Chain", "Claims", "Record", "State", "seq_of", "short_of"]


class State(Enum):
    """Where an envelope stands. ``LISTED`` and ``APPLIED`` ones have no record."""

    LISTED = auto()
    FETCHING = auto()
    OPENED = auto()
    APPLYING = auto()
    APPLIED = auto()
    INCOMPLETE = auto()
    NO_ROSTER = auto()
    NEWER = auto()
    QUARANTINED = auto()


class Cause(Enum):
    """Why an envelope changes its state."""

    ASKED = auto()  # a decision handed it out: to be fetched, to be applied
    OPENED = auto()
    CUT = auto()  # truncated, not there, or the remote failed
    UNKNOWN_CHAIN = auto()
    NEWER_FORMAT = auto()
    REFUSED = auto()
    COMMITTED = auto()
    TAKEN_BACK = auto()  # interrupted, or something it was handed out with failed
    LISTED_AGAIN = auto()
    ROSTER_CHANGED = auto()


_S, _C = State, Cause
TRANSITIONS: Final[Mapping[tuple[State, Cause], State]] = {
    (_S.LISTED, _C.ASKED): _S.FETCHING,
    (_S.FETCHING, _C.OPENED): _S.OPENED,
    (_S.FETCHING, _C.CUT): _S.INCOMPLETE,
    (_S.FETCHING, _C.UNKNOWN_CHAIN): _S.NO_ROSTER,
    (_S.FETCHING, _C.NEWER_FORMAT): _S.NEWER,
    (_S.FETCHING, _C.REFUSED): _S.QUARANTINED,
    (_S.FETCHING, _C.TAKEN_BACK): _S.LISTED,
    (_S.FETCHING, _C.COMMITTED): _S.APPLIED,  # by another process meanwhile
    (_S.OPENED, _C.ASKED): _S.APPLYING,
    (_S.OPENED, _C.REFUSED): _S.QUARANTINED,
    (_S.OPENED, _C.COMMITTED): _S.APPLIED,
    (_S.OPENED, _C.TAKEN_BACK): _S.LISTED,  # of a branch: opened anew with the next listing
    (_S.APPLYING, _C.COMMITTED): _S.APPLIED,
    (_S.APPLYING, _C.TAKEN_BACK): _S.OPENED,
    (_S.APPLYING, _C.REFUSED): _S.QUARANTINED,
    (_S.APPLYING, _C.UNKNOWN_CHAIN): _S.NO_ROSTER,
    (_S.APPLYING, _C.NEWER_FORMAT): _S.NEWER,
    (_S.INCOMPLETE, _C.LISTED_AGAIN): _S.LISTED,
    (_S.INCOMPLETE, _C.COMMITTED): _S.APPLIED,
    (_S.NO_ROSTER, _C.LISTED_AGAIN): _S.LISTED,
    (_S.NO_ROSTER, _C.ROSTER_CHANGED): _S.LISTED,
    (_S.NO_ROSTER, _C.COMMITTED): _S.APPLIED,
    (_S.NEWER, _C.COMMITTED): _S.APPLIED,
}
"""Everything that can happen to an envelope. What is not in the table is a repetition or comes too late, and changes
nothing. A quarantine ends only with the core (or, for a signature, which no name covers, with the next listing)."""


class Claims(NamedTuple):
    """What others said exists of a chain: by number the first half of its id, and whose frontier said so. ``gap``: the
    first number that the last listing did not show."""

    gap: int
    places: dict[int, tuple[bytes, bytes | None]]


class Record:
    """One envelope on its way."""

    __slots__ = ("chain", "error", "missing", "name", "opened", "seq", "side", "state")

    def __init__(self, name: str, chain: Chain) -> None:
        self.name = name
        self.chain = chain
        self.seq = seq_of(name)
        self.state = State.LISTED
        self.opened: Opened | None = None
        self.missing: set[bytes] = set()
        self.error: VaultSyncError | None = None
        self.side = False  # it does not lie on the branch that is followed here

    @property
    def contents(self) -> Opened:
        """What opening said; only for records that were opened."""
        if self.opened is None:
            raise AttributeError(f"{self.name} was not opened")
        return self.opened


class Chain:
    """One chain: its tip, what is on its way, and what the last listing said."""

    def __init__(self, key: bytes, prefix: str, tip: Tip) -> None:
        self.key = key
        self.prefix = prefix
        self.tip = tip
        self.cursor: tuple[int, bytes] = (tip.seq, tip.env_id)  # the tip once everything handed out is applied
        self.records: dict[str, Record] = {}
        self.stalls: dict[str, int] = {}  # those of the records that wait for the roster or an update
        self.at: dict[int, list[Record]] = {}  # opened or applying, by sequence number
        self.genuine: dict[int, set[str]] = {}  # whatever was opened beyond the tip, set aside meanwhile or not
        self.wanted: list[str] = []  # heaps of listed names; equal lengths make their order that of sequence numbers
        self.suspects: list[str] = []  # to be fetched wherever they are: they contradict something
        self.taken: set[str] = set()  # names that may be in both heaps and were handed out
        self.forked = False  # it is known to have several branches
        self.looks: set[str] = set()  # fetched only to see whether a checkpoint covers them
        self.beneath: set[str] | None = None  # listed below the cover and not held; None when no listing says
        self.probe: int | None = None  # nothing beyond is fetched: the roster did not know the chain when last tried
        self.reach = 0  # end of a group that has begun: fetched beyond the window
        self.recent: dict[int, bytes] = {}  # sequence number -> first half of the id, the newest applied
        self.sides: dict[bytes, int] = {}  # ids of applied envelopes of other branches -> their sequence numbers
        self.side_names: set[str] = set()  # and their names
        self.side_reach = 0  # the highest of those numbers
        self.claimants: dict[int, bytes] = {}  # who said so
        self.claims: dict[int, bytes] = {}  # the same, as others' frontiers say, beyond the tip
        self.named = 0  # the highest sequence number that anyone said exists
        # What the last listing said
        self.offered: set[str] = set()  # names beyond the tip
        self.gone: set[str] = set()  # offered once, then not
        self.gap = 0  # the first number beyond the tip that was not offered
        self.last = 0  # the highest one offered
        # A hash over the names up to the tip on which a listing and the store agreed, fed as envelopes are applied
        self.explained = hashlib.sha256() if tip.seq <= tip.floor else None
        self.explained_to = tip.floor
        self.unexplained: tuple[list[str], int] | None = None  # waits for comparing: a listing up to this number
        if tip.seq:
            self.recent[tip.seq] = tip.env_id[:16]

    # ---- fetching -------------------------------------------------------------------------------------------------

    def next_wanted(self) -> str | None:
        """Take the lowest listed name that may be fetched now; None when there is none."""
        limit = max(max(self.tip.seq, self.side_reach) + SYNC_WINDOW, self.reach)
        if self.stalls:
            limit = min(limit, *self.stalls.values())  # what follows would meet the same obstacle
        if self.probe is not None:
            limit = min(limit, self.probe)
        for heap, bound in ((self.wanted, limit), (self.suspects, names.MAX_SEQ if self.probe is None else self.probe)):
            while heap and seq_of(heap[0]) <= bound:
                name = heapq.heappop(heap)
                if name not in self.records and name not in self.taken:
                    if self.suspects or heap is self.suspects:
                        self.taken.add(name)
                    return name
        return None

    def want_again(self, name: str) -> None:
        """Put a name back among those to be fetched."""
        self.taken.discard(name)
        heapq.heappush(self.wanted, name)

    def busy(self) -> bool:
        """Whether anything of this chain may lead to a decision."""
        return bool(self.wanted or self.suspects or self.at)

    # ---- listings -------------------------------------------------------------------------------------------------

    def below(self, listed: Sequence[str], seq: int) -> int:
        """How many of the sorted names ``listed`` have a sequence number below ``seq``."""
        return bisect_left(listed, f"{self.prefix}{seq:012d}")

    def agrees(self, old: Sequence[str], expected: set[str]) -> bool:
        """Whether a listing's names up to the tip are those explained before, then only ``expected`` ones."""
        if self.explained is None:
            return False
        split = self.below(old, self.explained_to + 1)
        return _digest(old[:split]).digest() == self.explained.digest() and expected.issuperset(old[split:])

    def explain(self, old: Sequence[str], seq: int) -> None:
        """The store and the listing agree about these names, all up to ``seq``, or the difference is known for good."""
        self.explained = _digest(old)
        self.explained_to = seq

    def follow(self, name: str) -> None:
        """``name`` belongs to the next listing too, if it continues what is explained."""
        if self.explained is not None and seq_of(name) == self.explained_to + 1:
            self.explained.update(name.encode() + b"\n")
            self.explained_to += 1

    def offer(self, new: Sequence[str]) -> None:
        """Take a listing's names beyond the tip: where its first gap is and which names it no longer offers."""
        now = set(new)
        self.gone = {name for name in self.offered | self.gone if name not in now and seq_of(name) > self.tip.seq}
        self.offered = now
        self.gap = self.tip.seq + 1
        for name in new:
            while self.gap in self.at:
                self.gap += 1
            seq = seq_of(name)
            if seq > self.gap:
                break
            if seq == self.gap:
                self.gap += 1
        while self.gap in self.at:
            self.gap += 1
        self.last = seq_of(new[-1]) if new else 0

    # ---- the tip --------------------------------------------------------------------------------------------------

    def advance(self, seq: int, env_id: bytes) -> None:
        """The envelope after the tip is applied."""
        self.tip = Tip(seq, env_id, self.tip.floor)
        if self.cursor[0] <= seq:
            self.cursor = (seq, env_id)
        self.genuine.pop(seq, None)
        self.recent[seq] = env_id[:16]
        if len(self.recent) > RECENT_ENVELOPES:
            del self.recent[next(iter(self.recent))]

    def branch(self, seq: int, env_id: bytes) -> None:
        """An envelope of another branch is applied."""
        self.sides[env_id] = seq
        self.side_names.add(f"{self.prefix}{seq:012d}-{env_id[:16].hex()}")
        self.side_reach = max(self.side_reach, seq)
        if self.claims.get(seq) == env_id[:16]:
            del self.claims[seq]
            self.named = max(self.claims, default=0)

    def claim(self, seq: int, short: bytes, by: bytes | None = None) -> None:
        """Remember what another device's frontier says about a place beyond the tip."""
        if by is not None:
            self.claimants.setdefault(seq, by)
        self.named = max(self.named, seq)
        self.claims.setdefault(seq, short)
        if len(self.claims) > RECENT_ENVELOPES:
            self.claimants.pop(min(self.claims), None)
            del self.claims[min(self.claims)]


def seq_of(name: str) -> int:
    """The sequence number in an envelope's name."""
    return int(name[-45:-33])


def short_of(name: str) -> bytes:
    """The first 16 bytes of the envelope's id, as its name says."""
    return bytes.fromhex(name[-32:])


def _digest(listed: Sequence[str]) -> hashlib._Hash:
    return hashlib.sha256("\n".join([*listed, ""]).encode())

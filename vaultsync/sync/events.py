"""What the core hears (events) and says (decisions). Plain immutable values; nothing here does anything.

``name`` is always an envelope's full object name, ``chain`` 16 bytes, ``env_id`` and ``prev`` 32, change hashes 32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from vaultsync.errors import VaultSyncError
from vaultsync.sync.report import Finding

__all__ = [
    "NO_ENVELOPE",
    "Advanced",
    "Applied",
    "Decision",
    "Event",
    "Failed",
    "Group",
    "Holds",
    "Incomplete",
    "Interrupted",
    "Known",
    "Listed",
    "Named",
    "Opened",
    "Pardoned",
    "Put",
    "Quarantined",
    "RosterChanged",
    "Sealed",
    "Tip",
    "Unit",
]

NO_ENVELOPE: Final = bytes(32)
"""What ``prev`` of a chain's first envelope says."""


class Tip(NamedTuple):
    """How far a chain is applied here: up to ``seq``, whose envelope is ``env_id``.

    Envelopes up to ``floor`` are covered by checkpoints: they need not be on any remote, nor held here.
    """

    seq: int
    env_id: bytes
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """A batch that is applied as a whole: envelope ``index`` (from 0) of ``count`` consecutive ones of a chain."""

    id: bytes
    index: int
    count: int


# ---- events: what happened outside ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """The remote answered a listing of ``prefix``: one of ``Core.prefixes`` or the prefix of all envelopes. Any order.

    A listing begins a new pass: what was incomplete or missing is tried once more.
    """

    prefix: str
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Holds:
    """The answer to ``Decision.compare``: every envelope of the chain that the local store holds above the floor.

    ``undelivered`` are those of them that this remote was never known to hold; ``forked`` says that the chain is known
    to have several branches, so that a number below the floor does not say that its envelope is covered; ``looked``
    are names below the floor that were opened for that before, and are covered.
    """

    chain: bytes
    names: Iterable[str]
    undelivered: Iterable[str] = ()
    forked: bool = False
    looked: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A fetched envelope was verified and opened, and its changes read.

    ``deps``: hashes its changes depend on that the document lacked at that moment (those it brings itself may be left
    in or out). ``hashes``: those of its changes. ``frontier``: chain -> (seq, env_id) as its body says. ``follows``:
    whether the store holds the envelope that it follows, on whatever branch. ``held``: for chains of the frontier, the
    first halves of the ids that the store holds in the places named. ``known``: whether the document holds all of its
    changes: what it follows may have been collected.
    """

    name: str
    env_id: bytes
    prev: bytes
    hashes: frozenset[bytes] = frozenset()
    deps: frozenset[bytes] = frozenset()
    frontier: Mapping[bytes, tuple[int, bytes]] = field(default_factory=dict)
    group: Group | None = None
    follows: bool = False
    held: Mapping[bytes, frozenset[bytes]] = field(default_factory=dict)
    known: bool = False


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The bytes under ``name`` are truncated or do not hash to it: somebody may still be writing them."""

    name: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Fetching, opening or applying ``name`` raised ``error``; the core knows what each error of the tree means.

    ``UpdateRequired`` waits for an update, ``UnknownChain`` for the roster, ``MissingDependencies`` for its hashes;
    every other ``Refused`` is a quarantine; anything else is tried again: fetching with the next listing, applying when
    next asked. When ``name`` was to be applied, everything else handed out to be applied and not reported yet is taken
    back: drop it and ask for the next decision.
    """

    name: str
    error: VaultSyncError


@dataclass(frozen=True, slots=True)
class Applied:
    """A unit was applied and committed."""

    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Known:
    """These changes are in the document, however they came there (another process, a checkpoint)."""

    hashes: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Advanced:
    """A chain is applied up to ``tip`` by other means than this core's units (another process, a checkpoint)."""

    chain: bytes
    tip: Tip


@dataclass(frozen=True, slots=True)
class Sealed:
    """This device packed an envelope and stored it; it follows the own chain's tip."""

    name: str
    env_id: bytes


@dataclass(frozen=True, slots=True)
class Put:
    """The remote acknowledged ``name``."""

    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody trusted says what exists (the frontier of the device that let this one in)."""

    frontier: Mapping[bytes, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class RosterChanged:
    """The roster learned something. ``chains``: all chains it knows now; None leaves it to opening to find out.
    ``own``: the chain that this device writes from here on, if that is another."""

    chains: Iterable[bytes] | None = None
    own: bytes | None = None


@dataclass(frozen=True, slots=True)
class Pardoned:
    """What these names were set aside for holds no more (more of a removed device's chain is accepted): try again."""

    names: Iterable[str]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The remote went away or the shell stops: whatever was handed out and not reported is taken back."""


Event = (
    Listed
    | Holds
    | Opened
    | Incomplete
    | Failed
    | Applied
    | Known
    | Advanced
    | Sealed
    | Put
    | Named
    | RosterChanged
    | Pardoned
    | Interrupted
)


# ---- decisions: what to do next -------------------------------------------------------------------------------------


class Unit(NamedTuple):
    """Envelopes to apply in this order and in one transaction: one, or all of a group.

    ``side``: they lie on another branch of a forked chain than the one that is followed here.
    """

    chain: bytes
    names: tuple[str, ...]
    side: bool = False


class Quarantined(NamedTuple):
    """An envelope to set aside, with the reason to store and show."""

    name: str
    error: VaultSyncError


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next. Everything in it is handed out once; report each outcome as an event.

    ``fetch``: get, verify and open these. ``apply``: apply these in this order, stopping at the first that fails.
    ``put``: own envelopes this remote lacks, in order. ``heal``: envelopes it lost or never had, put back from the
    local store. ``compare``: answer with ``Holds``. ``confirmed``: the listing shows these, so mark them delivered.
    ``quarantine`` / ``release``: set aside; no longer set aside. ``findings``: new ones. ``covered``: lie below a
    checkpoint's cover, were opened, and hold nothing else than it: remember them for ``Holds``.
    """

    fetch: tuple[str, ...] = ()
    apply: tuple[Unit, ...] = ()
    put: tuple[str, ...] = ()
    heal: tuple[str, ...] = ()
    compare: tuple[bytes, ...] = ()
    confirmed: tuple[str, ...] = ()
    quarantine: tuple[Quarantined, ...] = ()
    release: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    covered: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do; when not, this pass is over."""
        return self != _NOTHING


_NOTHING: Final = Decision()

"""What a remote lists below a checkpoint's cover, and the local store does not hold: covered and not collected yet, or
of another branch than the one that the checkpoint's writer knew. Numbers do not tell which; hashes do.

Whoever opens such an envelope knows: what is covered holds nothing that the document lacks. Opening all of them would
cost what the checkpoint saves, so only those are opened that tell most. Devices collect what they applied themselves,
from the beginning of a chain; what they never saw stays. So another branch whose rivals are all collected lies at the
lower end of a run of numbers, or right above an envelope that some checkpoint is still anchored at: the two lowest of
each run are opened, once. One that brings something new, a rival listed beside one, or an envelope that follows
another one than it should, tells that the chain forked; from then on everything is opened.

Pure: functions of a `Chain`, of whose fields they change ``forked``, ``beneath`` and ``looks`` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from vaultsync.limits import LOOKS_BELOW_COVER
from vaultsync.sync.chain import Chain, Record, State, seq_of
from vaultsync.sync.events import Holds
from vaultsync.sync.ready import held_before

__all__ = ["branches_off", "follows_collected", "forget", "lowest", "named_beneath", "to_open"]


def lowest(listed: Iterable[str]) -> list[str]:
    """The two lowest of each run of consecutive numbers, in order."""
    found: list[str] = []
    before, run = -1, 0
    for name in sorted(listed):
        seq = seq_of(name)
        run = run + (seq != before) if seq <= before + 1 else 1
        if run <= 2:
            found.append(name)
        before = seq
    return found


def to_open(chain: Chain, event: Holds, beneath: set[str], filled: Counter[int], refused: Collection[str]) -> set[str]:
    """Which of the envelopes ``beneath`` are to be opened now. ``filled``: how many are known in each place;
    ``refused``: names that were set aside."""
    chain.forked = chain.forked or event.forked
    chain.beneath = beneath
    chain.looks = set()
    if chain.forked:
        return beneath
    rivals = {name for name in beneath if filled[seq_of(name)] > 1}
    seen = {*event.looked, *refused, *rivals}
    chain.looks = set([name for name in lowest(beneath.difference(refused)) if name not in seen][:LOOKS_BELOW_COVER])
    return rivals | chain.looks


def branches_off(chain: Chain, record: Record) -> bool:
    """Whether an opened envelope follows one beneath: then that one is not covered, or this one rivals what is."""
    return record.side and _before(chain, record) in (chain.beneath or ())


def named_beneath(chain: Chain, seq: int, env_id: bytes) -> str | None:
    """The name of an envelope that somebody built on, if it lies beneath and was not looked at."""
    name = f"{chain.prefix}{seq:012d}-{env_id[:16].hex()}"
    return name if name in (chain.beneath or ()) and name not in chain.records else None


def follows_collected(chain: Chain, record: Record) -> bool:
    """Whether an opened envelope of another branch follows one that is covered, and is nowhere any more: what it
    needs of that is in the document, or it waits for it."""
    return (
        record.side
        and record.state is State.OPENED
        and not record.missing
        and chain.beneath is not None
        and 1 < record.seq <= chain.tip.floor + 1
        and _before(chain, record) not in chain.beneath
        and not held_before(chain, record)
    )


def forget(chain: Chain) -> None:
    """No listing says anything any more."""
    chain.beneath, chain.looks = None, set()


def _before(chain: Chain, record: Record) -> str:
    return f"{chain.prefix}{record.seq - 1:012d}-{record.contents.prev[:16].hex()}"

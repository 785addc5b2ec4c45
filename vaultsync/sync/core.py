"""Deciding what one vault exchanges with one remote. No I/O, no clock, no randomness: the shell around it has those.

The shell tells the core what happened (``receive``), asks what to do (``decide``), does it, and tells the outcome::

    core = Core(vault, tips, own=chain, ...)                 # from the store
    for prefix in core.prefixes(): core.receive(Listed(prefix, remote.list(prefix)))
    while decision := core.decide():
        answer every chain of decision.compare with Holds
        put decision.put, then decision.heal                 -> Put; store that it is delivered
        fetch, verify and open decision.fetch                -> Opened, Incomplete or Failed
        apply decision.apply in order, stop at a failure     -> Applied or Failed
        store decision.quarantine, .release, .confirmed; show .findings

Theory of operation: every event only moves envelopes along the table in ``chain.py``; everything else is decided in
``decide``. These hold whatever a remote or a device sends:

1. What is handed out is not handed out again before its outcome is reported or it is taken back.
2. An envelope is applied only right after its predecessor (``prev`` is the id of the envelope applied before it), and
   only when every change it depends on is applied, or is handed out before it.
3. At most one envelope is ever applied as the next of its chain in one place (chain, seq). A second genuine one is a
   finding; it and what follows it are handed out as a branch beside, for the document to put right.
4. A group is applied whole, or not at all.
5. No trouble of one chain (garbage, gaps, forks, quarantines, formats of the future) delays another: the envelope after
   each chain's tip may always be fetched.
6. An object is fetched at most once a listing, so a pass ends whatever is served. What was incomplete, missing or badly
   signed is tried again with the next listing, and again, for as long as it is listed.
7. Memory is bounded by what is not applied yet, and for each chain by ``SYNC_WINDOW`` and ``RECENT_ENVELOPES``.

Across restarts nothing of this needs to be kept: the chains' tips are in the store, envelopes that were opened and
waited are fetched again, names in quarantine are handed in so that they are not. One core serves one remote; applied
envelopes that came by another way are told to it as ``Advanced``.

What it does not do: verify anything (opening does), look at changes (the document does), or choose between the branches
of a forked chain: it follows the one it applied first (of two ready at once, the smaller id), others beside it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice, pairwise
from operator import lt
from types import MappingProxyType
from typing import Any

from vaultsync.errors import (
    BadSignature,
    MalformedEnvelope,
    MissingDependencies,
    Refused,
    RemoteError,
    UnknownChain,
    UpdateRequired,
    UsageError,
)
from vaultsync.limits import FETCH_BATCH, MAX_GROUP_ENVELOPES
from vaultsync.sync import beneath, names
from vaultsync.sync import events as ev
from vaultsync.sync.chain import Cause, Chain, Claims, Record, State, seq_of, short_of
from vaultsync.sync.ledger import Ledger
from vaultsync.sync.ready import held_before, ready_units
from vaultsync.sync.report import Finding, FindingKind, Waiting
from vaultsync.sync.waits import waiting_of

__all__ = ["Core"]


class Core(Ledger):
    """The state of one vault against one remote. Not thread-safe: one shell drives it.

    ``vault`` and chains are 16 bytes. ``tips``: how far each chain is applied. ``own``: the chain this device writes,
    None before it has one. ``roster``: the chains the roster knows, None to let opening find out. ``outbox``: names of
    own envelopes that this remote was not seen to hold, in order. ``quarantined``: names set aside earlier. ``sides``:
    chain -> id -> number of the applied envelopes that lie on other branches than the one followed. ``former``: chains
    that this device wrote earlier. ``claims``: from `claims` of an earlier core of this remote. ``orderly``: a
    listing of this remote shows all that was put before it began, so that what others saw and it does not show is
    withheld.
    """

    def __init__(
        self,
        vault: bytes,
        tips: Mapping[bytes, ev.Tip],
        *,
        own: bytes | None = None,
        roster: Iterable[bytes] | None = None,
        outbox: Iterable[str] = (),
        quarantined: Iterable[str] = (),
        sides: Mapping[bytes, Mapping[bytes, int]] | None = None,
        former: Iterable[bytes] = (),
        claims: Mapping[bytes, Claims] | None = None,
        orderly: bool = False,
    ) -> None:
        super().__init__(vault, tips, own, roster, outbox, quarantined, sides or {})
        self._former = frozenset(former)
        self._orderly = orderly
        for key, claimed in (claims or {}).items():
            chain = self._chain(key)
            chain.gap = claimed.gap
            for seq, (short, by) in sorted(claimed.places.items()):
                if seq > chain.tip.seq:
                    chain.claim(seq, short, by)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            ev.Listed: self._listed,
            ev.Holds: self._holds,
            ev.Opened: self._opened,
            ev.Incomplete: self._incomplete,
            ev.Failed: self._failed,
            ev.Applied: self._applied,
            ev.Known: lambda event: self._learn(event.hashes),
            ev.Advanced: self._advanced,
            ev.Sealed: self._sealed,
            ev.Put: self._put,
            ev.Named: lambda event: self._frontier(event.frontier),
            ev.RosterChanged: self._roster_changed,
            ev.Pardoned: self._pardoned,
            ev.Interrupted: self._interrupted,
        }

    # ---- questions ------------------------------------------------------------------------------------------------

    def prefixes(self, *, everything: bool = False) -> list[str]:
        """What to list: each chain the roster knows; with ``everything``, or without a roster, all at once."""
        if everything or self._roster is None:
            return [names.envelopes_prefix(self._vault)]
        return [names.chain_prefix(self._vault, key) for key in sorted(self._roster | self._chains.keys())]

    def tips(self) -> dict[bytes, ev.Tip]:
        """How far each chain is applied: the frontier."""
        return {key: chain.tip for key, chain in self._chains.items() if chain.tip.seq}

    def own_ahead(self) -> bool:
        """Whether the remote lists envelopes of an own chain that this device does not know."""
        own = [self._chains[key] for key in (*self._former, self._own) if key in self._chains]
        return any(name not in self._quarantined for chain in own for name in chain.offered)

    def calm(self) -> bool:
        """Whether nothing suggests that there is anything to fetch: nothing waits, and nobody said of an own chain that
        it goes on further than here."""
        own = [self._chains[key] for key in (*self._former, self._own) if key in self._chains]
        return not self.waiting() and not self.own_ahead() and all(chain.named <= chain.tip.seq for chain in own)

    def claims(self) -> dict[bytes, Claims]:
        """What others said exists beyond the tips, to be kept: the envelopes that say so are not opened again."""
        return {
            key: Claims(
                chain.gap,
                {seq: (short, chain.claimants.get(seq)) for seq, short in chain.claims.items() if seq > chain.tip.seq},
            )
            for key, chain in self._chains.items()
            if chain.named > chain.tip.seq and chain.claims
        }

    def settled(self, finding: Finding) -> bool:
        """Whether the cause of a finding went away, as the last listing and what is applied here tell."""
        chain = self._chains.get(finding.chain)
        if chain is None:
            return True
        seq = finding.seq
        applied = seq <= chain.tip.seq or seq in chain.sides.values()
        match finding.kind:
            case FindingKind.WITHHELD | FindingKind.NOT_ARRIVED:
                return applied or any(seq_of(name) == seq for name in chain.offered)
            case FindingKind.ROLLED_BACK:
                gone = chain.gone.union(self._healing, self._heal).intersection(finding.names)
                return not gone and (chain.explained is not None or seq > chain.tip.seq)
            case FindingKind.EQUIVOCATION:
                return seq <= chain.tip.seq and seq in chain.sides.values() and not chain.at.get(seq)
            case FindingKind.BROKEN_CHAIN:
                return not any(name in chain.records for name in finding.names)
            case FindingKind.OTHER_BRANCH:
                return seq in chain.sides.values()
            case FindingKind.OWN_CHAIN_AHEAD:
                return finding.chain != self._own and applied
        return True

    def missing(self) -> frozenset[bytes]:
        """Change hashes that opened envelopes wait for. Tell the core those that the document has as ``Known``."""
        return frozenset(self._awaited)

    def waiting(self) -> tuple[Waiting, ...]:
        """Every chain that cannot go on, and why; meaningful when ``decide`` has nothing more."""
        found = [waiting_of(chain, self._quarantined, self._knows(key)) for key, chain in sorted(self._chains.items())]
        return tuple(waiting for waiting in found if waiting is not None)

    # ---- the two verbs --------------------------------------------------------------------------------------------

    def receive(self, event: ev.Event) -> None:
        """Take in what happened. Repeated and late events change nothing; ``UsageError`` for what cannot happen."""
        self._handlers[type(event)](event)

    def decide(self) -> ev.Decision:
        """What to do next, given everything received. Falsy when there is nothing until something else happens."""
        self._busy = {key for key in self._busy if self._chains[key].busy()}
        busy = [self._chains[key] for key in sorted(self._busy)]
        units, refused = ready_units(busy, self._applying, self._awaited)
        for record, error in refused:
            self._refuse(record, error)
        for unit in units:
            chain = self._chains[unit.chain]
            for name in unit.names:
                self._move(chain.records[name], Cause.ASKED)
            if unit.side:
                continue
            chain.cursor = (seq_of(unit.names[-1]), chain.records[unit.names[-1]].contents.env_id)
        fetch = self._next_fetches(busy)
        if not units and not fetch and not self._fetching:
            self._walk_back(busy)
            fetch = self._next_fetches([self._chains[key] for key in sorted(self._busy)])
        if not units and not fetch and not self._fetching:
            units = self._known_beside(busy)
            if not units:
                self._find_broken(busy)
        if not (units or fetch or self._fetching) and not any(chain.at for chain in busy):
            for chain in self._chains.values():
                beneath.forget(chain)  # nobody waits for what lies there: nothing of a listing is kept
        put = [name for name, handed in self._outbox.items() if not handed]
        self._outbox.update(dict.fromkeys(put, True))
        return self._hand_out(tuple(fetch), tuple(units), tuple(put))

    def _walk_back(self, busy: list[Chain]) -> None:
        """At the end of a pass: what others follow or were built on may lie below a checkpoint's cover."""
        for chain in busy:
            for record in [one for records in chain.at.values() for one in records if one.state is State.OPENED]:
                if not chain.forked and beneath.branches_off(chain, record):
                    self._fork(chain)
                for key, (seq, env_id) in record.contents.frontier.items() if record.missing else ():
                    other = self._chain(key)
                    if (name := beneath.named_beneath(other, seq, env_id)) is not None:
                        other.looks.add(name)
                        other.suspects = sorted({*other.suspects, name})
                        self._busy.add(key)

    def _known_beside(self, busy: list[Chain]) -> list[ev.Unit]:
        """At the end of a pass: what lies on a branch whose beginning was collected. What it needs is in the document:
        itself, as it came with a checkpoint, or everything that it builds on."""
        for chain in busy:
            for record in [one for records in chain.at.values() for one in records]:
                known = record.state is State.OPENED and record.contents.known and not held_before(chain, record)
                if known or beneath.follows_collected(chain, record):
                    record.side, record.opened = True, replace(record.contents, follows=True)
        units, _ = ready_units(busy, self._applying, self._awaited)
        for unit in units:
            for name in unit.names:
                self._move(self._chains[unit.chain].records[name], Cause.ASKED)
        return units

    def _find_broken(self, busy: list[Chain]) -> None:
        """At the end of a pass: what lies on a branch whose beginning nobody showed."""
        for chain in busy:
            for record in [one for records in chain.at.values() for one in records if one.side]:
                if record.state is State.OPENED and not held_before(chain, record):
                    self._find(FindingKind.BROKEN_CHAIN, chain, record.seq, record.name)

    def _next_fetches(self, busy: list[Chain]) -> list[str]:
        """The lowest of each chain, then the next of each, until the batch is full."""
        fetch: list[str] = []
        turn = deque(chain for chain in busy if self._knows(chain.key))
        while turn and self._fetching < FETCH_BATCH:
            chain = turn.popleft()
            name = chain.next_wanted()
            if name is None:
                continue
            if name not in self._quarantined or isinstance(self._quarantined[name], BadSignature):
                self._move(Record(name, chain), Cause.ASKED)
                fetch.append(name)
            turn.append(chain)
        return fetch

    # ---- listings -------------------------------------------------------------------------------------------------

    def _listed(self, event: ev.Listed) -> None:
        everything = names.envelopes_prefix(self._vault)
        listed = list(event.names)
        if not all(map(lt, listed, islice(listed, 1, None))):
            listed = sorted(set(listed))  # a remote may repeat and disorder
        if event.prefix.rstrip("/") != everything.rstrip("/"):
            key = names.chain_of_prefix(self._vault, event.prefix)
            if key is None:
                raise UsageError(f"no prefix of this vault's envelopes: {event.prefix[:80]!r}")
            chain = self._chain(key)
            self._list_chain(chain, listed[chain.below(listed, 0) : chain.below(listed, names.MAX_SEQ + 1)])
            return
        self._list_chains(listed)

    def _list_chains(self, listed: list[str]) -> None:
        position, seen = 0, set()
        while position < len(listed):
            parsed = names.parse_envelope(listed[position])
            if parsed is None or parsed.vault != self._vault:
                position += 1
                continue
            chain = self._chain(parsed.chain)
            end = max(chain.below(listed, names.MAX_SEQ + 1), position + 1)
            self._list_chain(chain, listed[position:end])
            seen.add(parsed.chain)
            position = end
        for key in self._chains.keys() - seen:
            self._list_chain(self._chains[key], [])

    def _list_chain(self, chain: Chain, listed: list[str]) -> None:
        stuck = [record.seq for record in chain.records.values() if record.state is State.NO_ROSTER]
        chain.probe = min(stuck, default=chain.probe)
        for record in list(chain.records.values()):
            self._move(record, Cause.LISTED_AGAIN)
            if record.state is State.QUARANTINED and isinstance(record.error, BadSignature):
                del chain.records[record.name]  # no name covers a signature: the bytes may be better now
            elif record.side and record.state is State.OPENED and record.seq <= chain.tip.seq + 1:
                self._move(record, Cause.TAKEN_BACK)  # opened anew, in case the store holds by now what it follows
        split = chain.below(listed, chain.tip.seq + 1)
        old = listed[:split]
        new = [one for one in listed[split:] if one not in chain.side_names and names.parse_envelope(one) is not None]
        chain.wanted = [name for name in new if name not in chain.records]
        chain.taken.clear()
        chain.suspects = [name for pair in pairwise(new) if seq_of(pair[0]) == seq_of(pair[1]) for name in pair]
        was_gone, was_gap = chain.gone, chain.gap
        chain.offer(new)
        lost = sorted(was_gone & chain.gone - chain.records.keys())
        if lost and seq_of(lost[0]) >= chain.gap:
            self._find(FindingKind.ROLLED_BACK, chain, seq_of(lost[0]), *lost)
        if chain.tip.seq < chain.gap == was_gap <= chain.named and (self._orderly or chain.gap < chain.last):
            by = next((chain.claimants[seq] for seq in sorted(chain.claimants) if seq >= chain.gap), None)
            self._find(FindingKind.WITHHELD, chain, chain.gap, by=by)
        for name in sorted(self._outbox.keys() & set(listed)) if self._outbox else ():
            del self._outbox[name]
            self._confirmed.append(name)
            chain.follow(name)
        beneath.forget(chain)
        if chain.agrees(old, self._healing | self._fresh):
            self._fresh.difference_update(old)
            chain.beneath = set()
        else:
            chain.unexplained = (old, chain.tip.seq)
            self._compare.append(chain.key)
        self._busy.add(chain.key)

    def _holds(self, event: ev.Holds) -> None:
        chain = self._chains.get(event.chain)
        if chain is None or chain.unexplained is None:
            return
        (old, upto), chain.unexplained = chain.unexplained, None
        low, high = f"{chain.prefix}{chain.tip.floor + 1:012d}", f"{chain.prefix}{upto + 1:012d}"
        listed = set(old)
        stored = {name for name in event.names if name < high}
        held = {name for name in stored if low <= name}
        undelivered = set(event.undelivered)
        self._confirmed.extend(sorted(undelivered & held & listed))
        late = {name for name in held - listed if name in self._fresh or name in self._outbox or name in self._healing}
        lost = sorted(held - listed - late)
        self._fresh -= listed | late  # a listing may be late once
        foreign = {name for name in listed - stored if names.parse_envelope(name) is not None and seq_of(name)}
        filled = Counter(map(seq_of, stored | foreign))
        below = {name for name in foreign if name < low}
        foreign = foreign - below | beneath.to_open(chain, event, below, filled, self._quarantined)
        chain.suspects += sorted(foreign - chain.records.keys() - self._quarantined.keys())
        chain.suspects.sort()
        self._heal += lost
        self._healing.update(lost)
        robbed = [name for name in lost if name not in undelivered]
        if robbed:
            self._findings.append(Finding(FindingKind.ROLLED_BACK, chain.key, seq_of(robbed[0]), tuple(robbed)))
        if not lost and not late and foreign <= self._quarantined.keys():
            chain.explain(old, upto)
        else:
            chain.explained = None
        self._busy.add(chain.key)

    # ---- fetched --------------------------------------------------------------------------------------------------

    def _opened(self, event: ev.Opened) -> None:
        record = self._record(event.name)
        if record is None or record.state is not State.FETCHING:
            return
        chain = record.chain
        if event.env_id[:16] != short_of(event.name):
            self._move(record, Cause.CUT)
            return
        record.opened = event
        self._frontier(event.frontier, event.held, chain.key)
        if self._quarantined.pop(record.name, self) is not self:
            self._release.append(record.name)
        chain.probe = None
        if record.seq <= chain.tip.seq:
            if chain.recent.get(record.seq) == event.env_id[:16]:
                self._move(record, Cause.COMMITTED)  # applied by another way meanwhile
                return
            if record.name in chain.looks and not chain.forked and (event.known or not event.hashes):
                self._move(record, Cause.COMMITTED)  # long applied, with a checkpoint
                self._covered.append(record.name)
                return
            self._find(FindingKind.EQUIVOCATION, chain, record.seq, record.name)
            record.side = True
            self._open(record, event)
            self._fork(chain)
            return
        rivals = chain.genuine.setdefault(record.seq, set())
        rivals.add(record.name)
        if len(rivals) > 1:
            self._find(FindingKind.EQUIVOCATION, chain, record.seq, *sorted(rivals))
        group = event.group
        if group is not None:
            if not (0 <= group.index < group.count <= MAX_GROUP_ENVELOPES and group.index < record.seq):
                self._refuse(record, MalformedEnvelope("claims an impossible place in a batch"))
                return
            if record.seq - group.index <= chain.tip.seq + 1:
                chain.reach = max(chain.reach, record.seq - group.index + group.count - 1)
        self._open(record, event)
        if chain.key == self._own:
            self._find(FindingKind.OWN_CHAIN_AHEAD, chain, record.seq, record.name)

    def _fork(self, chain: Chain) -> None:
        """The chain has several branches: whatever is listed below the cover may be of any of them."""
        chain.forked = True
        chain.looks.clear()
        there = (chain.beneath or set()) - chain.records.keys() - self._quarantined.keys()
        chain.suspects = sorted({*chain.suspects, *there})
        self._busy.add(chain.key)

    def _open(self, record: Record, event: ev.Opened) -> None:
        self._move(record, Cause.OPENED)
        record.missing = set(event.deps - event.hashes)
        for hash_ in record.missing:
            self._awaited.setdefault(hash_, set()).add(record)

    def _incomplete(self, event: ev.Incomplete) -> None:
        record = self._record(event.name)
        if record is not None:
            self._move(record, Cause.CUT)

    def _failed(self, event: ev.Failed) -> None:
        record = self._record(event.name)
        if record is None or record.state not in (State.FETCHING, State.OPENED, State.APPLYING):
            return
        error = event.error
        applying = record.state is State.APPLYING
        if isinstance(error, UpdateRequired):
            self._move(record, Cause.NEWER_FORMAT)
        elif isinstance(error, UnknownChain):
            self._move(record, Cause.UNKNOWN_CHAIN)
        elif isinstance(error, Refused):
            self._refuse(record, error)
        elif isinstance(error, MissingDependencies) and record.opened is not None:
            self._forget_missing(record)
            record.missing = set(error.hashes) - record.opened.hashes
            for hash_ in record.missing:
                self._awaited.setdefault(hash_, set()).add(record)
        elif isinstance(error, RemoteError) or not applying:
            self._move(record, Cause.CUT)
        if applying:
            self._take_back(list(self._applying.values()))

    # ---- applied --------------------------------------------------------------------------------------------------

    def _applied(self, event: ev.Applied) -> None:
        for name in event.names:
            record = self._record(name)
            if record is None or record.opened is None:
                continue
            if record.side:
                record.chain.branch(record.seq, record.opened.env_id)
                record.chain.offered.discard(name)
                self._move(record, Cause.COMMITTED)
                self._learn(record.opened.hashes)
                continue
            if record.seq != record.chain.tip.seq + 1:
                raise UsageError(f"reported as applied out of order: {name}")
            self._advance(record.chain, name, record.opened.env_id)

    def _sealed(self, event: ev.Sealed) -> None:
        parsed = names.parse_envelope(event.name)
        if parsed is None or parsed.vault != self._vault or event.env_id[:16] != parsed.short:
            raise UsageError(f"not the name of an envelope of this vault: {event.name[:160]!r}")
        self._own = parsed.chain
        chain = self._chain(parsed.chain)
        if parsed.seq != chain.tip.seq + 1:
            raise UsageError(f"an own envelope {parsed.seq} does not follow {chain.tip.seq}")
        self._outbox[event.name] = False
        self._advance(chain, event.name, event.env_id)

    def _advance(self, chain: Chain, name: str, env_id: bytes) -> None:
        seq = seq_of(name)
        record = chain.records.get(name)
        chain.advance(seq, env_id)
        chain.offered.discard(name)
        if name not in self._outbox:
            chain.follow(name)
        if record is not None:
            self._move(record, Cause.COMMITTED)
            if record.opened is not None:
                self._learn(record.opened.hashes)
        for rival in list(chain.at.get(seq, ())):
            rival.side = True
        said = chain.claims.pop(seq, None)
        if said is not None and said != env_id[:16]:
            self._find(FindingKind.OTHER_BRANCH, chain, seq, name)

    def _advanced(self, event: ev.Advanced) -> None:
        chain = self._chain(event.chain)
        tip = event.tip
        if tip.seq < chain.tip.seq or (tip.seq, tip.floor) == (chain.tip.seq, chain.tip.floor):
            return
        self._take_back([record for record in self._applying.values() if record.chain is chain])
        for record in [record for record in chain.records.values() if record.seq <= tip.seq]:
            hashes = record.opened.hashes if record.opened is not None else frozenset()
            self._move(record, Cause.COMMITTED)
            self._learn(hashes)
        if tip.seq > chain.tip.seq:
            chain.advance(tip.seq, tip.env_id)
        chain.tip = tip
        chain.wanted = sorted(name for name in chain.wanted if seq_of(name) > tip.seq)
        chain.genuine = {seq: rivals for seq, rivals in chain.genuine.items() if seq > tip.seq}
        chain.suspects.clear()  # some of them may be what was applied
        chain.claims = {seq: said for seq, said in chain.claims.items() if seq > tip.seq}
        chain.explained, chain.unexplained = None, None  # the next listing is compared with the store
        beneath.forget(chain)
        self._busy.add(chain.key)

    def _put(self, event: ev.Put) -> None:
        parsed = names.parse_envelope(event.name)
        if parsed is None or parsed.vault != self._vault:
            return  # rosters and account slots are put by the shell alone
        if self._outbox.pop(event.name, None) is not None:
            self._chain(parsed.chain).follow(event.name)
        self._healing.discard(event.name)
        self._fresh.add(event.name)

    # ---- what others say ------------------------------------------------------------------------------------------

    def _frontier(
        self,
        frontier: Mapping[bytes, tuple[int, bytes]],
        held: Mapping[bytes, frozenset[bytes]] = MappingProxyType({}),
        by: bytes | None = None,
    ) -> None:
        for key, (seq, env_id) in frontier.items():
            chain = self._chain(key)
            if env_id in chain.sides or env_id[:16] in held.get(key, ()):
                continue
            if seq > chain.tip.seq:
                chain.claim(seq, env_id[:16], by)
                if key == self._own:
                    self._find(FindingKind.OWN_CHAIN_AHEAD, chain, seq, by=by)
            elif chain.recent.get(seq, env_id[:16]) != env_id[:16] or held.get(key):
                self._find(FindingKind.OTHER_BRANCH, chain, seq, by=by)

    def _roster_changed(self, event: ev.RosterChanged) -> None:
        self._roster = None if event.chains is None else frozenset(event.chains)
        self._own = self._own if event.own is None else event.own
        for chain in self._chains.values():
            again = [record for record in chain.records.values() if record.state is State.NO_ROSTER]
            chain.probe = None
            for record in again:
                self._move(record, Cause.ROSTER_CHANGED)
                chain.want_again(record.name)
            self._busy.add(chain.key)

    def _pardoned(self, event: ev.Pardoned) -> None:
        for name in event.names:
            parsed = names.parse_envelope(name)
            if parsed is None or self._quarantined.pop(name, self) is self:
                continue
            self._release.append(name)
            self._set_aside = [one for one in self._set_aside if one.name != name]
            chain = self._chain(parsed.chain)
            chain.records.pop(name, None)
            if parsed.seq > chain.tip.seq:
                chain.want_again(name)
            else:
                chain.suspects = sorted({*chain.suspects, name})
            self._busy.add(chain.key)

    def _interrupted(self, _event: ev.Interrupted) -> None:
        self._take_back(list(self._applying.values()))
        for chain in self._chains.values():
            for record in [record for record in chain.records.values() if record.state is State.FETCHING]:
                self._move(record, Cause.TAKEN_BACK)
                chain.want_again(record.name)
                self._busy.add(chain.key)
        self._outbox = dict.fromkeys(self._outbox, False)
        self._healing.clear()  # found again by the next listing

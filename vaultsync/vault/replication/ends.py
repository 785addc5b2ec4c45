"""Where the chains of removed devices end, as far as one exchange knows: the rule is `vaultsync.crypto.revocation`'s.

What counts are places named by the list of devices, and by envelopes whose writers had not heard of the removal. Those
are remembered: of the envelopes that are stored here when a removal is first seen, and of every one that is opened from
then on, whether or not it can be applied already.

A place is named by the id of its envelope, and that one names the one before it: so whoever named it fixed the whole of
the chain up to there. What is accepted is this path and nothing else. It is traced back from the place to what is
applied here; a name that leads nowhere, or to a chain that was written later, opens nothing to a removed device.

The same holds of other branches of an ended chain than the one that is followed here, also below its end: a removed
device may write rivals of what it wrote at any later time. Accepted is what lies on the path of a named place, and what
a member's envelope builds on: that one had applied it before it heard.

``said``  JSON: which ended chains were looked for among the stored envelopes, and what envelopes say of them
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from vaultsync.crypto import body as bodies
from vaultsync.crypto import envelope
from vaultsync.crypto.keys import EpochKey
from vaultsync.crypto.revocation import NOTHING, End, Statement, named_ends
from vaultsync.crypto.roster import Roster
from vaultsync.errors import Refused, Revoked, UnknownChain, UpdateRequired
from vaultsync.store import Reading
from vaultsync.sync import names
from vaultsync.sync.events import Tip
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger

__all__ = ["Ends"]

SAID: Final = "said"
MOST_TRACED: Final = 100_000
"""Envelopes that a path may have: what a removed device wrote that only others had."""
_CHANGES: Final = int(envelope.Kind.CHANGES)
Get = Callable[[str], tuple[envelope.Header, bytes] | None]


class Ends:
    """Not thread-safe: of one exchange."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._roster: Roster | None = None
        self._searched: frozenset[bytes] = frozenset()
        self._said: dict[tuple[bytes, int], Statement] = {}
        self._named: Mapping[bytes, frozenset[End]] = {}
        self._tips: Mapping[bytes, int] = {}
        self._paths: dict[bytes, dict[int, bytes]] = {}
        self._refused: set[str] = set()
        self._needed: dict[bytes, frozenset[End]] = {}  # places that members built on
        self._vouched: dict[bytes, set[bytes]] = {}  # by chain the ids on the paths of named places
        self._walked: set[tuple[bytes, End]] = set()  # places whose path was walked to its end
        self._tried: set[tuple[bytes, End]] = set()  # and as far as it was there

    def load(self, identity: Identity, epochs: Mapping[bytes, EpochKey]) -> None:
        """From the store, for what the list of devices says now. Looks through the stored envelopes once a removal."""
        roster = self._roster = identity.roster
        if not roster.revoked:
            self._searched, self._said, self._named = frozenset(), {}, {}
            return
        self._searched, self._said = _unpacked(self._ledger.state(SAID))
        if not roster.revoked.keys() <= self._searched:
            with self._ledger.store.read() as reading:
                self._search(reading, identity, epochs)
            self._searched |= roster.revoked.keys()
            self._keep()
        self._settle()
        with self._ledger.store.read() as reading:
            quarantined = [one.name for one in reading.quarantined() if one.reason.startswith(Revoked.__name__)]
        self._refused.update(quarantined)

    def refused(self, name: str) -> None:
        """An envelope is about to be set aside as past the end."""
        self._refused.add(name)

    def trace(self, tips: Mapping[bytes, Tip], get: Get) -> None:
        """From the named places back to what is applied, which ``tips`` tells; ``get`` reads header and id of an
        envelope by its name, ``None`` where it is not there. The farthest place whose path is there counts."""
        if not self._named and not self._refused:
            self._tips = {}
            return
        self._tips = {chain: tips[chain].seq if chain in tips else 0 for chain in self._named}
        covered = {chain: tip.floor for chain, tip in tips.items()}  # what is not there below is collected, not late
        self._tried = {(chain, place) for chain, place in self._tried if place[0] <= covered.get(chain, 0)}
        for chain in {at.chain for name in self._refused if (at := names.parse_envelope(name)) is not None}:
            self._vouch(chain, get)
        for chain, places in self._named.items():
            tip = tips.get(chain, Tip(*NOTHING))
            self._paths[chain] = {}
            for place in sorted(places, reverse=True):
                if place[0] <= tip.seq:
                    break
                if path := self._path(chain, tip, place, get):
                    self._paths[chain] = path
                    break

    def _path(self, chain: bytes, tip: Tip, place: End, get: Get) -> dict[int, bytes] | None:
        if self._roster is None or place[0] - tip.seq > MOST_TRACED:
            return None
        path: dict[int, bytes] = {}
        seq, env_id = place
        while seq > tip.seq:
            found = get(names.envelope_name(self._roster.vault_id, chain, seq, env_id))
            if found is None or found[1] != env_id or (found[0].chain_id, found[0].seq) != (chain, seq):
                return None
            path[seq] = env_id
            seq, env_id = seq - 1, found[0].prev
        return path if env_id == tip.env_id else None

    def check(self, chain: bytes, seq: int) -> None:
        """Raises `Revoked` for an envelope past the end, as far as its number alone tells."""
        if chain not in self._named:
            return
        places = self._named[chain] | self._needed.get(chain, frozenset())
        if seq > max(self._tips.get(chain, 0), *(at for at, _ in places), 0):
            raise _past()

    def judge(self, chain: bytes, seq: int, env_id: bytes, get: Get, *, new: bool) -> None:
        """Raises `Revoked` for an envelope that is not accepted; ``get`` as for `trace`. ``new``: whether it brings
        anything that is not applied here: what is, stays."""
        if chain not in self._named or (seq <= self._tips.get(chain, 0) and not new):
            return
        if self._paths.get(chain, {}).get(seq) != env_id and env_id not in self._vouch(chain, get):
            raise _past()

    def stand_for(self, chain: bytes, place: End, get: Get) -> None:
        """A member's envelope builds on what the one in that place of an ended chain brings."""
        self._needed[chain] = self._needed.get(chain, frozenset()) | {place}
        self._vouch(chain, get)

    def _vouch(self, chain: bytes, get: Get) -> set[bytes]:
        """Ids on the paths of the places that are named in a chain, back to what is stored here."""
        found = self._vouched.setdefault(chain, set())
        if self._roster is None:
            return found
        for place in self._named.get(chain, frozenset()) | self._needed.get(chain, frozenset()):
            if (chain, place) in self._walked or (chain, place) in self._tried:
                continue
            self._tried.add((chain, place))
            seq, env_id = place
            for _ in range(MOST_TRACED):
                found.add(env_id)
                name = names.envelope_name(self._roster.vault_id, chain, seq, env_id) if seq > 0 else ""
                with self._ledger.store.read() as reading:
                    stored = not name or reading.has_envelope(name)
                if stored:
                    self._walked.add((chain, place))
                    break
                before = get(name)
                if before is None or before[1] != env_id or (before[0].chain_id, before[0].seq) != (chain, seq):
                    break
                seq, env_id = seq - 1, before[0].prev
        return found

    def check_named(self, statement: Statement) -> None:
        """Raises `Revoked` when a statement names a place in an ended chain that nobody else names and that is on no
        accepted path, its own word counted: a number below an accepted one is not enough."""
        if self._roster is None or not self._roster.revoked.keys() & statement.frontier.keys():
            return
        named = named_ends(self._roster, [*self._said.values(), statement])
        for chain in named.keys() & statement.frontier.keys():
            seq, env_id = place = statement.frontier[chain]
            applied = seq <= self._tips.get(chain, 0)  # which branch of it: the checkpoint's anchors tell
            if not applied and place not in named[chain] and self._paths.get(chain, {}).get(seq) != env_id:
                raise Revoked("the checkpoint names what nobody had of a removed device when hearing of the removal")

    def past(self, chain: bytes, seq: int) -> bool:
        """Whether nothing with that number will be applied, by what is known now."""
        return chain in self._named and seq not in self._paths.get(chain, {})

    def hear(self, statement: Statement) -> bool:
        """Take in what an opened envelope says; whether something is named by it that was not: then `trace` again."""
        if self._roster is None or not self._concerns(statement) or (statement.chain, statement.seq) in self._said:
            return False
        before = self._named
        self._note(statement)
        self._keep()
        self._settle()
        return self._named != before

    def released(self) -> list[str]:
        """Names that were set aside as past the end, and are not any more."""
        places = ((name, names.parse_envelope(name)) for name in self._refused)
        found = [
            name
            for name, at in places
            if at is not None and (self._stands(at) or (not self.past(at.chain, at.seq) and self._listed(at)))
        ]
        self._refused.difference_update(found)
        return sorted(found)

    def _listed(self, at: names.EnvelopeName) -> bool:
        accepted = self._paths.get(at.chain, {}).get(at.seq)
        return accepted is None or accepted[:16] == at.short

    def _stands(self, at: names.EnvelopeName) -> bool:
        """Whether it lies on the path of a named place, on whatever branch."""
        return any(env_id[:16] == at.short for env_id in self._vouched.get(at.chain, ()))

    def beside(self) -> list[str]:
        """Names that were set aside and may be of branches that somebody built on."""
        places = ((name, names.parse_envelope(name)) for name in self._refused)
        return sorted(name for name, at in places if at is not None and at.chain in self._named)

    # ---- what envelopes say -----------------------------------------------------------------------------------
    def _search(self, reading: Reading, identity: Identity, epochs: Mapping[bytes, EpochKey]) -> None:
        for stored in reading.envelopes():
            if stored.kind != _CHANGES or names.parse_envelope(stored.name) is None:
                continue
            with contextlib.suppress(Refused, UpdateRequired, KeyError):  # what does not open now says nothing
                header, _ = envelope.peek(stored.data)
                sign_public = identity.roster.sign_public(header.chain_id)
                epoch = epochs[header.epoch_id]
                opened = envelope.open_envelope(
                    stored.data, sign_public=sign_public, epoch=epoch, vault_id=identity.vault_id
                )
                body = bodies.decode(opened)
                self._note(Statement(header.chain_id, header.seq, body.roster_head, body.frontier))

    def _concerns(self, statement: Statement) -> bool:
        """Whether it names an ended chain, and its writer had not heard that it ended."""
        roster = self._roster
        if roster is None:
            return False
        for chain in roster.revoked.keys() & statement.frontier.keys():
            try:
                if not roster.aware(statement.roster_head, chain):
                    return True
            except UnknownChain:
                return True
        return False

    def _note(self, statement: Statement) -> None:
        if self._roster is not None and self._concerns(statement):
            named = {chain: at for chain, at in statement.frontier.items() if chain in self._roster.revoked}
            self._said[statement.chain, statement.seq] = statement._replace(frontier=named)

    def _settle(self) -> None:
        if self._roster is not None:
            self._named = named_ends(self._roster, self._said.values())

    def _keep(self) -> None:
        with self._ledger.noting() as transaction:
            searched, said = _unpacked(transaction.state(SAID))  # what came from another remote meanwhile
            self._searched |= searched
            self._said = said | self._said
            transaction.set_state(SAID, _packed(self._searched, self._said.values()))


def _past() -> Revoked:
    return Revoked("the device was removed, and nobody had this of it when hearing so")


def _packed(searched: frozenset[bytes], said: Iterable[Statement]) -> bytes:
    rows = [
        [one.chain.hex(), one.seq, one.roster_head.hex(), [[c.hex(), n, e.hex()] for c, (n, e) in one.frontier.items()]]
        for one in said
    ]
    return json.dumps({"searched": sorted(chain.hex() for chain in searched), "said": rows}).encode()


def _unpacked(data: bytes | None) -> tuple[frozenset[bytes], dict[tuple[bytes, int], Statement]]:
    if data is None:
        return frozenset(), {}
    stored = json.loads(data)
    unhex = bytes.fromhex
    said = {}
    for chain, seq, head, frontier in stored["said"]:
        named = {unhex(c): (n, unhex(e)) for c, n, e in frontier}
        said[unhex(chain), seq] = Statement(unhex(chain), seq, unhex(head), named)
    return frozenset(map(unhex, stored["searched"])), said

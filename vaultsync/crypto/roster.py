"""The roster: who the devices are, which chains they write and which epochs there are, verified from signed entries.

Entries form a graph by their ``prev`` hashes, from one first entry whose hash is the vault's id. **Whether an entry
counts is a function of its ancestors alone**, never of what else is known or in which order it came; so equal sets of
entries give equal rosters everywhere. An entry whose predecessor is unknown waits; a bad one is set aside with its
reason, and so is everything built on it. An entry of a later version by a valid author is kept, what is built on it is
held unjudged (it may remove or add authors), and the roster says ``needs_update``: load it again from the same bytes
after updating.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from vaultsync import limits
from vaultsync.crypto import primitives as p
from vaultsync.crypto.epochs import Epoch, grant, open_grant, open_links
from vaultsync.crypto.keys import Chain, DeviceKeys, DevicePublic, EpochKey
from vaultsync.crypto.roster_entry import Claim, Entry, Op, build, context_of, decode, entry_hash
from vaultsync.crypto.roster_rules import Standing, joined, judge, judge_first
from vaultsync.errors import (
    BadSeal,
    MalformedRoster,
    Refused,
    UnknownChain,
    UpdateRequired,
    UsageError,
    VaultSyncError,
)

__all__ = ["Claim", "Member", "Roster"]


class Member(NamedTuple):
    """A device, or the recovery identity (which writes no chains). ``chains`` in the order they were announced."""

    public: DevicePublic
    recovery: bool
    chains: tuple[bytes, ...]

    @property
    def id(self) -> bytes:
        return self.public.id


class Roster:
    """Immutable; :meth:`merge` and the ``add_`` methods give a new one."""

    log: tuple[Entry, ...]
    """Accepted entries by (n, hash); their ``data`` is what to store and to publish."""
    heads: tuple[bytes, ...]
    """Accepted entries that no other accepted one builds on, ascending."""
    members: Mapping[bytes, Member]
    """Device id -> member, the recovery identity among them."""

    def __init__(self, vault_id: bytes) -> None:
        """Empty: everything merged into it waits for the entry whose hash begins with ``vault_id`` (16 bytes)."""
        self.vault_id: Final = vault_id
        self._known: dict[bytes, Entry] = {}
        self._standing: dict[bytes, Standing] = {}
        self._waiting: dict[bytes, Entry] = {}
        self._refused: dict[bytes, VaultSyncError] = {}
        self._newer: set[bytes] = set()
        self._public: dict[bytes, DevicePublic] = {}
        self._derive()

    # ---- making one ---------------------------------------------------------------------------------------------

    @classmethod
    def found(
        cls, recovery: DeviceKeys, device: DeviceKeys, chain: Chain, *, entropy: p.Entropy
    ) -> tuple[Roster, bytes]:
        """A new vault's roster and its first entry: recovery identity, first device with its chain, first epoch."""
        epoch = EpochKey.generate(entropy)
        context = context_of(b"", ())
        grants = sorted(grant(epoch, public, context) for public in (recovery.public, device.public))
        subject = (
            recovery.public.to_bytes(),
            Claim.make(device, _own(device, chain)).fields(),
            (epoch.check, ()),
            tuple(map(tuple, grants)),
        )
        data = build(Op.CREATE, n=1, prev=(), author=recovery, subject=subject)
        return cls.load(entry_hash(data)[:16], [data]), data

    @classmethod
    def load(cls, vault_id: bytes, entries: Iterable[bytes]) -> Roster:
        """From all entries in any order; :class:`MalformedRoster` when the vault's first entry is not among them."""
        roster = cls(vault_id).merge(entries)
        if not roster._known:
            raise MalformedRoster("the first entry of the vault's roster is missing or was refused")
        return roster

    def merge(self, entries: Iterable[bytes]) -> Roster:
        """With these entries too, in any order, known ones included. Bad ones end up in :attr:`refused`.

        Raises :class:`MalformedRoster` only when there are more entries than a roster may have.
        """
        new = Roster(self.vault_id)
        new._known, new._standing, new._public = dict(self._known), dict(self._standing), dict(self._public)
        new._waiting, new._refused, new._newer = dict(self._waiting), dict(self._refused), set(self._newer)
        for data in entries:
            name = entry_hash(data)
            if new._judged(name) or name in new._waiting:
                continue
            try:
                new._waiting[name] = decode(data)
            except Refused as error:
                new._refused[name] = type(error)(*error.args)
            except UpdateRequired:
                new._newer.add(name)
        if len(new._known) + len(new._waiting) + len(new._newer) > limits.MAX_ROSTER_ENTRIES:
            raise MalformedRoster("the roster has more entries than the limit")
        new._settle()
        new._derive()
        return new

    def add_device(self, author: DeviceKeys, claim: Claim) -> tuple[Roster, bytes]:
        """Any member adds a device that presented ``claim`` (made with this vault's id), granting it the current epoch.

        Raises :class:`~vaultsync.errors.BadSignature` for a claim without possession, :class:`UpdateRequired`, and
        :class:`UsageError` when ``author`` is no member.
        """
        key = self.epoch_keys(author).get(self.epoch)
        if key is None:
            raise UsageError("only a member that holds the current epoch key can add a device")
        given = grant(key, claim.public, context_of(self.vault_id, self.heads))
        return self._write(Op.ADD, author, (claim.fields(), (tuple(given),)))

    def add_chain(self, author: DeviceKeys, chain: Chain) -> tuple[Roster, bytes]:
        """A device announces a further chain of its own (from :meth:`Chain.new` with its id). Errors as above."""
        return self._write(Op.CHAIN, author, (_own(author, chain).nonce,))

    def _write(self, op: Op, author: DeviceKeys, subject: object) -> tuple[Roster, bytes]:
        if self.needs_update:
            raise UpdateRequired("the list of devices was changed by a newer version: update to change it here")
        if author.public.id not in self.members:
            raise UsageError("only a member of the vault writes into its roster")
        n = 1 + max(self._known[name].n for name in self.heads)
        data = build(op, n=n, prev=self.heads, author=author, subject=subject)
        new = self.merge([data])
        if (reason := new._refused.get(entry_hash(data))) is not None:
            raise reason
        return new, data

    # ---- deciding -----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Judges every waiting entry whose predecessors are all judged; the order does not matter."""
        children: defaultdict[bytes, list[Entry]] = defaultdict(list)
        missing: dict[bytes, int] = {}
        for entry in self._waiting.values():
            unknown = [name for name in entry.prev if not self._judged(name)]
            missing[entry.hash] = len(unknown)
            for name in unknown:
                children[name].append(entry)
        ready = [entry for entry in self._waiting.values() if not missing[entry.hash]]
        while ready:
            entry = ready.pop()
            del self._waiting[entry.hash]
            try:
                self._standing[entry.hash] = self._judge(entry)
                self._known[entry.hash] = entry
                self._public |= {public.id: public for public in entry.publics}
            except Refused as error:
                self._refused[entry.hash] = type(error)(*error.args)
            except UpdateRequired:
                self._newer.add(entry.hash)
            for child in children[entry.hash]:
                missing[child.hash] -= 1
                if not missing[child.hash]:
                    ready.append(child)

    def _judge(self, entry: Entry) -> Standing:
        if any(name in self._refused for name in entry.prev):
            raise MalformedRoster("the entry builds on one that was refused")
        if any(name in self._newer for name in entry.prev):
            raise UpdateRequired("the entry builds on one of a later version")
        if entry.op == Op.CREATE:
            return judge_first(entry, self.vault_id)
        before = joined(self._standing[name] for name in entry.prev)
        return judge(entry, before, self._public.get(entry.author), self.vault_id)

    def _judged(self, name: bytes) -> bool:
        return name in self._known or name in self._refused or name in self._newer

    # ---- what follows -------------------------------------------------------------------------------------------

    def _derive(self) -> None:
        """Everything readable, from the accepted entries in an order that is a function of their set."""
        self.log = tuple(sorted(self._known.values(), key=lambda entry: (entry.n, entry.hash)))
        named = {name for entry in self.log for name in entry.prev}
        self.heads = tuple(sorted([entry.hash for entry in self.log if entry.hash not in named]))
        self._epochs: dict[bytes, Epoch] = {
            entry.epoch.id: entry.epoch for entry in self.log if entry.epoch is not None
        }
        self._writers: dict[bytes, bytes] = {}
        for entry in self.log:
            if entry.chain is not None:
                self._writers.setdefault(entry.chain.id, entry.author if entry.claim is None else entry.claim.public.id)
        chains: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for chain_id, device_id in self._writers.items():
            chains[device_id].append(chain_id)
        recovery = next((entry.recovery.id for entry in self.log if entry.recovery is not None), None)
        self.members = MappingProxyType(
            {
                public.id: Member(public, public.id == recovery, tuple(chains[public.id]))
                for entry in self.log
                for public in entry.publics
            }
        )

    @property
    def head(self) -> bytes:
        """One entry to stand for what is known here: the head of the largest (n, hash). 32 bytes."""
        return self.log[-1].hash

    @property
    def recovery(self) -> Member:
        """The recovery identity."""
        return next(member for member in self.members.values() if member.recovery)

    @property
    def epoch(self) -> bytes:
        """Id (8 bytes) of the epoch to seal under now."""
        return next(entry.epoch.id for entry in reversed(self.log) if entry.epoch is not None)

    @property
    def needs_update(self) -> bool:
        """Something of a later version is among the entries: read on, but change nothing."""
        return bool(self._newer) or any(not entry.known_op for entry in self.log)

    @property
    def refused(self) -> Mapping[bytes, VaultSyncError]:
        """Hash -> why the entry does not count."""
        return MappingProxyType(self._refused)

    @property
    def awaited(self) -> frozenset[bytes]:
        """Hashes of unknown entries that known ones build on."""
        return frozenset(
            name for entry in self._waiting.values() for name in entry.prev if not self._judged(name)
        ) - frozenset(self._waiting)

    def knows(self, name: bytes) -> bool:
        """Whether that entry is accepted here. A joiner asks it of the head that its account slot or sponsor named."""
        return name in self._known

    def device_of(self, chain_id: bytes) -> Member:
        """Who writes that chain; :class:`UnknownChain`."""
        if (device_id := self._writers.get(chain_id)) is None:
            raise UnknownChain("no device in the vault's roster writes this chain")
        return self.members[device_id]

    def sign_public(self, chain_id: bytes) -> bytes:
        """The key (32 bytes) that signs that chain's envelopes; :class:`UnknownChain`."""
        return self.device_of(chain_id).public.sign

    def epoch_keys(self, keys: DeviceKeys) -> dict[bytes, EpochKey]:
        """Every epoch key that these keys reach, by grants and by links from newer epochs: epoch id -> key.

        Empty for a stranger. Raises :class:`BadSeal` when there are grants and none opens to the current epoch.
        """
        granted, failure = [], None
        for entry in self.log:
            for given in entry.grants:
                if given.recipient == keys.public.id:
                    try:
                        granted.append(open_grant(keys, given, entry.grant_context(self.vault_id)))
                    except BadSeal as error:
                        failure = error
        found = open_links(granted, self._epochs)
        if failure is not None and self.epoch not in found:
            raise failure
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Roster) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((self.vault_id, self.heads))

    def _state(self) -> tuple[object, ...]:
        sets = (self._known.keys(), self._waiting.keys(), self._newer, self._refused.keys())
        return (self.vault_id, *(frozenset(names) for names in sets))

    def __repr__(self) -> str:
        return f"<Roster of {self.vault_id.hex()}: {len(self.log)} entries, {len(self.members)} members>"


def _own(keys: DeviceKeys, chain: Chain) -> Chain:
    if Chain.of(keys.public.id, chain.nonce) != chain:
        raise UsageError("the chain was made for another device")
    return chain

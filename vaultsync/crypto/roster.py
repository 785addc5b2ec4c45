"""The roster: who the devices are, which chains they write and which epochs there are, verified from signed entries.

Entries form a graph by their ``prev`` hashes, from one first entry whose hash is the vault's id. Which count is decided
in :mod:`~vaultsync.crypto.roster_log` and :mod:`~vaultsync.crypto.roster_rules`, what they amount to together in
:mod:`~vaultsync.crypto.roster_view`: equal sets of entries give equal rosters everywhere. This module writes entries,
and answers questions. Whoever writes one stores it before acting on it, and publishes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from vaultsync import limits
from vaultsync.crypto import primitives as p
from vaultsync.crypto.epochs import Epoch, grant, link, linked, open_grant, reachable
from vaultsync.crypto.keys import Chain, DeviceKeys, DevicePublic, EpochKey
from vaultsync.crypto.roster_entry import Claim, Entry, Op, build, context_of, entry_hash, hand_over, prove_renewal
from vaultsync.crypto.roster_log import RosterLog
from vaultsync.crypto.roster_view import Member, RevokedChain, View, derive, marks_of, past
from vaultsync.errors import BadSeal, UnknownChain, UpdateRequired, UsageError

__all__ = ["Claim", "FalseGrant", "Frontier", "Member", "RevokedChain", "Roster"]

Frontier = Mapping[bytes, tuple[int, bytes]]
"""Chain id (16 bytes) -> (seq, env_id) of the last envelope applied."""


class FalseGrant(NamedTuple):
    """A grant that does not open to the key it names: who gave it, in which entry, of which epoch (id)."""

    author: bytes
    entry: bytes
    n: int
    epoch: bytes


class Roster(RosterLog):
    """Immutable; :meth:`merge` and the methods that write give a new one, together with the entry's bytes.

    Those raise :class:`UpdateRequired` where something of a later version was written, and :class:`UsageError` when
    ``author`` may not do it.
    """

    members: Mapping[bytes, Member]
    """Id -> every device that is in the vault now, and its recovery identity."""
    former: Mapping[bytes, Member]
    """Id -> devices that were removed (or came with a removed one), and replaced recovery identities."""
    revoked: Mapping[bytes, RevokedChain]
    """Chain id -> what is known of the end of a chain whose device is no member; see ``revocation.py``."""

    # ---- writing: anybody ---------------------------------------------------------------------------------------

    @classmethod
    def found(
        cls, recovery: DeviceKeys, device: DeviceKeys, chain: Chain, *, entropy: p.Entropy
    ) -> tuple[Roster, bytes]:
        """A new vault's roster and its first entry: recovery identity, first device with its chain, first epoch."""
        epoch = EpochKey.generate(entropy)
        subject = (
            recovery.public.to_bytes(),
            Claim.make(device, _own(device, chain)).fields(),
            (epoch.check, ()),
            _granted([epoch], (recovery.public, device.public), context_of(b"", ())),
        )
        data = build(Op.CREATE, n=1, prev=(), author=recovery, subject=subject)
        return cls.load(entry_hash(data)[:16], [data]), data

    def add_device(self, author: DeviceKeys, claim: Claim) -> tuple[Roster, bytes]:
        """Any member adds a device that presented ``claim`` (made with this vault's id), granting it every epoch.

        Raises :class:`~vaultsync.errors.BadSignature` for a claim without possession, too.
        """
        keys = self.opened(author)[0]
        if self.epoch not in keys:
            raise UsageError("only a member that holds the current epoch key can add a device")
        base = self._base()
        granted = [keys[id] for id in self._tops(keys, base)]
        return self._write(
            Op.ADD,
            author,
            base,
            (claim.fields(), _granted(granted, (claim.public,), context_of(self.vault_id, base))),
        )

    def add_chain(self, author: DeviceKeys, chain: Chain) -> tuple[Roster, bytes]:
        """A device announces a further chain of its own (from :meth:`Chain.new` with its id)."""
        return self._write(Op.CHAIN, author, self._base(), (_own(author, chain).nonce,))

    def ack(
        self, author: DeviceKeys, applied: Frontier, *, disputing: Iterable[FalseGrant] = ()
    ) -> tuple[Roster, bytes]:
        """A device says how far it has applied every chain that ended, as it must when :meth:`ack_due` says so.

        ``applied`` must be what is stored in the same transaction as the entry, and from before any further pull.
        ``disputing``: grants to it that did not open; others do not count on them, and give it keys in their place.
        """
        places = {chain: applied[chain] for chain in self.revoked if chain in applied}
        places |= {false.entry[:16]: (false.n, false.entry) for false in disputing}
        marks = marks_of(places)
        return self._write(Op.ACK, author, self._base(), (tuple(map(tuple, marks)),))

    def grant_missing(self, author: DeviceKeys) -> tuple[Roster, bytes] | None:
        """Gives members the epoch keys that they cannot reach and ``author`` can: those who were added beside a
        rotation, say. None when there is nothing to give."""
        held = self.opened(author)[0]
        base = self._base()
        before = self._before(base)
        wanted = []
        for member in self.members.values():
            there = self.counted_on(member.id) | self._given(author.public.id, member.id)
            lacking = {id for id in held.keys() - there if held[id].check in before.epochs}
            for id in self._tops(lacking, base) if member.id in before.members else ():
                wanted.append((held[id], member.public))
        if not wanted:
            return None
        context = context_of(self.vault_id, base)
        grants = sorted(tuple(grant(epoch, public, context)) for epoch, public in wanted[: limits.MAX_GRANTS])
        return self._write(Op.GRANT, author, base, (tuple(grants),))

    # ---- writing: the recovery identity -------------------------------------------------------------------------

    def remove(
        self, author: DeviceKeys, devices: Collection[bytes], applied: Frontier, *, entropy: p.Entropy
    ) -> tuple[Roster, bytes]:
        """Removes devices and begins an epoch that they do not get. Their chains are pinned at ``applied``, which must
        be what is stored here. May be written beside operations of a later version that those devices signed."""
        gone = frozenset(devices)
        if not gone or not gone <= self.members.keys() or self.recovery.id in gone:
            raise UsageError("only devices that are in the vault can be removed")
        ended = {chain for device in gone for chain in self.members[device].chains}
        pins = marks_of({chain: applied[chain] for chain in ended if chain in applied})
        base = self._base()
        rest = [member.public for id, member in self.members.items() if id not in gone]
        subject = (tuple(sorted(gone)), tuple(map(tuple, pins)), *self._begin_epoch(author, base, rest, entropy))
        return self._write(Op.REMOVE, author, base, subject, beside=gone)

    def rotate(self, author: DeviceKeys, *, entropy: p.Entropy) -> tuple[Roster, bytes]:
        """Begins a new epoch for the members there are; needed when :attr:`needs_rotation`."""
        base = self._base()
        everybody = [member.public for member in self.members.values()]
        return self._write(Op.ROTATE, author, base, self._begin_epoch(author, base, everybody, entropy))

    def renew(self, author: DeviceKeys, successor: DeviceKeys, *, entropy: p.Entropy) -> tuple[Roster, bytes]:
        """The recovery identity ``author`` leaked: ``successor`` takes its place, in a new epoch. From here on what
        ``author`` signs has no effect, but what this entry builds on. Devices stand for it by :meth:`ack`."""
        base = self._base()
        rest = [member.public for member in self.members.values() if not member.recovery]
        epoch, grants = self._begin_epoch(author, base, [*rest, successor.public], entropy)
        proof = prove_renewal(successor, self.vault_id, author.public.id)
        to = {member.id: member.public.access for member in self.members.values() if not member.recovery}
        members = [to[recipient] for _, recipient, _ in grants if recipient in to]
        handover = hand_over(author.access, successor.access, self.bucket, 1 + len(self.renewals), members)
        return self._write(Op.RENEW, author, base, (successor.public.to_bytes(), proof, handover, epoch, grants))

    def _begin_epoch(
        self, author: DeviceKeys, base: tuple[bytes, ...], to: Iterable[DevicePublic], entropy: p.Entropy
    ) -> tuple[object, tuple[tuple[bytes, bytes, bytes], ...]]:
        if author.public.id != self.recovery.id:
            raise UsageError(
                "only the vault's recovery identity does this: it takes the password and the recovery code"
            )
        before = self._before(base)
        held = {id: key for id, key in self.opened(author)[0].items() if key.check in before.epochs}
        epoch = EpochKey.generate(entropy)
        links = sorted(tuple(link(epoch, held[id])) for id in self._tops(held, base)[: limits.MAX_ROSTER_PREV])
        present = [public for public in to if public.id in before.members or public.id not in self.members]
        return (epoch.check, tuple(links)), _granted([epoch], present, context_of(self.vault_id, base))

    def _write(
        self,
        op: Op,
        author: DeviceKeys,
        base: tuple[bytes, ...],
        subject: object,
        beside: frozenset[bytes] = frozenset(),
    ) -> tuple[Roster, bytes]:
        if self._unreadable or {entry.author for entry in self.log if self._later(entry.hash)} - beside:
            raise UpdateRequired("the list of devices was changed by a newer version: update to change it here")
        if author.public.id not in self.members:
            raise UsageError("only a member of the vault writes into its roster")
        data = build(op, n=1 + max(self._known[name].n for name in base), prev=base, author=author, subject=subject)
        new = self.merge([data])
        if (reason := new._refused.get(entry_hash(data))) is not None:
            raise reason
        return new, data

    # ---- what follows -------------------------------------------------------------------------------------------

    def _derive(self) -> None:
        super()._derive()
        self._view: View | None = derive(self.log, self._standing) if self.log else None
        view = self._view
        self.members = MappingProxyType(dict(view.members) if view else {})
        self.former = MappingProxyType(dict(view.former) if view else {})
        self.revoked = MappingProxyType(dict(view.revoked) if view else {})
        self._epochs: Mapping[bytes, Epoch] = view.epochs if view else {}
        self._owing: dict[bytes, bool] = {}

    def _found(self) -> View:
        if self._view is None:
            raise UsageError("the first entry of the roster is not here yet")
        return self._view

    @property
    def founding(self) -> Entry:
        """The first entry: the recovery identity and the device that the vault began with."""
        return next(entry for entry in self.log if entry.op == Op.CREATE)

    @property
    def bucket(self) -> bytes:
        """The vault's bucket on relays, 32 bytes: of the recovery identity it began with, and the same for good."""
        founder = self.founding.recovery
        if founder is None:  # pragma: no cover - a first entry without one is refused
            raise UsageError("the first entry of the roster names no recovery identity")
        return p.sha256("relay-bucket", founder.access)

    @property
    def renewals(self) -> tuple[Entry, ...]:
        """Those that led from the first recovery identity to the one that counts now."""
        return tuple(self._known[name] for name in self._found().effects.won)

    @property
    def recovery(self) -> Member:
        """The recovery identity, as renewed."""
        return self.members[self._found().effects.recovery]

    @property
    def lost_renewals(self) -> tuple[bytes, ...]:
        """Renewals that another one won against: two people (or a thief) replaced the recovery identity at once."""
        return self._found().effects.lost

    @property
    def void(self) -> frozenset[bytes]:
        """Accepted entries without effect: written by a removed device or replaced identity beside its removal."""
        return self._found().effects.void

    @property
    def writers(self) -> Mapping[bytes, bytes]:
        """Chain id -> device id, for every chain ever announced, ended ones included."""
        return MappingProxyType(dict(self._found().writers))

    @property
    def epoch(self) -> bytes:
        """Id (8 bytes) of the epoch to seal under now."""
        return self._found().epoch

    @property
    def needs_rotation(self) -> bool:
        """Somebody who is no member holds the current epoch's key, after removals beside each other: what is written
        now can be read by them until the recovery identity rotates."""
        return not self._found().clean

    @property
    def ungranted(self) -> frozenset[bytes]:
        """Members (ids) that cannot reach the current epoch yet: somebody's :meth:`grant_missing` is due. Such a member
        keeps its changes until then: an older key is one that a removed device may have, and others refuse it."""
        return frozenset(id for id in self.members if self.epoch not in self.counted_on(id))

    def owes(self, author: bytes) -> bool:
        """Whether somebody lacks a key that this member has and did not give to it: the current epoch's, or that of one
        begun beside it, in which somebody wrote who had not heard of the other."""
        if author not in self._owing:  # a roster never changes: looked for once
            held = self.counted_on(author)
            others = (id for id in self.members if id != author)
            self._owing[author] = any(held - self.counted_on(id) - self._given(author, id) for id in others)
        return self._owing[author]

    @property
    def needs_update(self) -> bool:
        """Something of a later version is among the entries: read on, but change nothing."""
        return bool(self._unreadable) or any(self._later(entry.hash) for entry in self.log)

    def _later(self, name: bytes) -> bool:
        return not self._known[name].known_op and name not in self._found().effects.void

    def device_of(self, chain_id: bytes) -> Member:
        """Who writes that chain, removed or not; :class:`UnknownChain`."""
        if self._view is None or (device_id := self._view.writers.get(chain_id)) is None:
            raise UnknownChain("no device in the vault's roster writes this chain")
        return self._view.members.get(device_id) or self._view.former[device_id]

    def sign_public(self, chain_id: bytes) -> bytes:
        """The key (32 bytes) that signs that chain's envelopes; :class:`UnknownChain`."""
        return self.device_of(chain_id).public.sign

    # ---- what was known where -----------------------------------------------------------------------------------

    def ack_due(self, device_id: bytes) -> bool:
        """Whether that device has yet to :meth:`ack` a removal or renewal that is known here."""
        view = self._found()
        if (own := view.members.get(device_id)) is None or own.recovery:
            return False
        acks = (entry for entry in self.log if entry.op == Op.ACK and entry.author == device_id)
        return bool(view.enders.difference(*(view.seen[entry.hash] for entry in acks)))

    def aware(self, head: bytes, chain_id: bytes) -> bool:
        """Whether who named ``head`` knew that the chain ended; :class:`UnknownChain` when that entry is unknown."""
        view = self._found()
        if head not in view.seen:
            raise UnknownChain("the envelope names an entry of the list of devices that is not here yet")
        return chain_id in view.revoked and bool(view.seen[head] & view.revoked[chain_id].removals)

    def superseded(self, head: bytes) -> frozenset[bytes]:
        """Ids of epochs that, by ``head`` and its ancestors, another one came after; :class:`UnknownChain`."""
        if head not in self._standing:
            raise UnknownChain("the envelope names an entry of the list of devices that is not here yet")
        return frozenset(check[:8] for check in self._standing[head].superseded)

    def came_before(self, older: bytes, newer: bytes) -> bool:
        """Whether the second epoch (ids) was begun in knowledge of the first. Of two begun beside each other: no."""
        return any(
            older in (check[:8] for check in self._standing[entry.hash].superseded)
            for entry in self.log
            if entry.epoch is not None and entry.epoch.id == newer
        )

    def builds_on(self, head: bytes, older: bytes) -> bool:
        """Whether the second entry is an ancestor of the first (and not the same). False for unknown ones."""
        return head != older and head in self._known and older in past(head, self._known)

    # ---- epoch keys ---------------------------------------------------------------------------------------------

    def epoch_keys(self, keys: DeviceKeys) -> dict[bytes, EpochKey]:
        """Every epoch key that these keys reach, by grants and by links from newer epochs: epoch id -> key.

        Empty for a stranger. Raises :class:`BadSeal` when there are grants and none opens to the current epoch.
        """
        found, false, false_link = self._reached(keys)
        if (false or false_link is not None) and self.epoch not in found:
            raise false_link or BadSeal("a grant does not open to the key that the epoch committed to")
        return found

    def opened(self, keys: DeviceKeys) -> tuple[dict[bytes, EpochKey], tuple[FalseGrant, ...]]:
        """What of :meth:`epoch_keys` can be opened, and the grants of epochs not among them that did not open."""
        found, false, _ = self._reached(keys)
        return found, tuple(one for one in false if one.epoch not in found)

    def _reached(self, keys: DeviceKeys) -> tuple[dict[bytes, EpochKey], list[FalseGrant], BadSeal | None]:
        granted, false = [], []
        for entry in self.log:
            for given in entry.grants:
                if given.recipient == keys.public.id:
                    try:
                        granted.append(open_grant(keys, given, entry.grant_context(self.vault_id)))
                    except BadSeal:
                        false.append(FalseGrant(entry.author, entry.hash, entry.n, given.check[:8]))
        found, false_link = reachable(granted, self._epochs)
        return found, false, false_link

    def disputed(self, id: bytes) -> frozenset[bytes]:
        """Entries (hashes) of which that member said, in its acks, that what they grant to it does not open."""
        acks = (entry for entry in self.log if entry.op == Op.ACK and entry.author == id)
        return frozenset(mark.env_id for ack in acks for mark in ack.marks if mark.env_id[:16] == mark.chain)

    def counted_on(self, id: bytes) -> frozenset[bytes]:
        """Ids of the epochs whose keys a member has, as far as it did not dispute it. Who gave it a false one, by its
        word, is not counted on again; the recovery identity is, but for the entry itself."""
        disputed = self.disputed(id)
        liars = {entry.author for entry in self.log if entry.hash in disputed} - {self.recovery.id}
        return linked(
            (
                given.check[:8]
                for entry in self.log
                if entry.hash not in disputed and entry.author not in liars
                for given in entry.grants
                if given.recipient == id
            ),
            self._epochs,
        )

    def _given(self, author: bytes, id: bytes) -> frozenset[bytes]:
        """What one member gave another: giving it again would be of no use to anybody."""
        entries = (entry for entry in self.log if entry.author == author)
        return linked(
            (given.check[:8] for entry in entries for given in entry.grants if given.recipient == id), self._epochs
        )

    def reach(self, id: bytes) -> frozenset[bytes]:
        """Ids of the epochs whose keys a member has, or a former one had, by what the entries say."""
        return linked(
            (given.check[:8] for entry in self.log for given in entry.grants if given.recipient == id), self._epochs
        )

    def _tops(self, ids: Iterable[bytes], base: tuple[bytes, ...]) -> list[bytes]:
        """Of these epochs those that no other of them leads to, and that are known at ``base``."""
        checks = {check[:8] for check in self._before(base).epochs}
        wanted = sorted(id for id in ids if id in checks)
        led = {id for one in wanted for id in linked([one], self._epochs) if id != one}
        return [id for id in wanted if id not in led]

    def __repr__(self) -> str:
        return f"<Roster of {self.vault_id.hex()}: {len(self.log)} entries, {len(self.members)} members>"


def _granted(
    epochs: Iterable[EpochKey], to: Iterable[DevicePublic], context: bytes
) -> tuple[tuple[bytes, bytes, bytes], ...]:
    recipients = tuple(to)
    made = sorted(grant(epoch, public, context) for epoch in epochs for public in recipients)
    return tuple((given.check, given.recipient, given.sealed) for given in made)


def _own(keys: DeviceKeys, chain: Chain) -> Chain:
    if Chain.of(keys.public.id, chain.nonce) != chain:
        raise UsageError("the chain was made for another device")
    return chain

"""The list of devices and the account on one remote: pulled before anything else, put before any envelope.

Whoever fetches envelopes needs the keys that the list grants, and has to know who was removed before it applies more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vaultsync.crypto.keys import EpochKey
from vaultsync.crypto.roster_entry import Entry, open_entry, seal_entry
from vaultsync.errors import ObjectMissing, Refused, RemoteRefused, RemoteUnavailable, UpdateRequired
from vaultsync.remote.port import Remote
from vaultsync.remote.signing import Readable
from vaultsync.sync import names
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.replication.hearing import due, hear

__all__ = ["Rosters"]


class Rosters:
    """This device's identity as far as one exchange knows it, and what of it lies on the remote. Not thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        remote: Remote,
        identity: Identity,
        *,
        learned: Callable[[Identity], None],
        put: Callable[[str, bytes], None],
        now_ms: Callable[[], int],
    ) -> None:
        """``learned`` is told when the list grew; ``put`` puts an object onto the remote, and counts it."""
        self._ledger = ledger
        self._remote = remote
        self._learned = learned
        self._put = put
        self._now_ms = now_ms
        self.listed: frozenset[bytes] = frozenset()
        """Entries that the remote showed when it was last asked, before any were put."""
        self.account_listed = False
        self._keeps_slots = False  # it refused to delete one
        self._there: set[bytes] = set()
        self._pulled: tuple[list[str], Identity, list[Entry]] | None = None  # what was listed, and said nothing new
        self.use(identity)

    def use(self, identity: Identity) -> None:
        """From now on this is what is known."""
        self.identity = identity
        self.epochs: dict[bytes, EpochKey] = identity.epoch_keys()

    @property
    def chains(self) -> list[bytes]:
        """Every chain that a device of the vault writes or wrote."""
        return list(self.identity.roster.writers)

    @property
    def settled(self) -> bool:
        """Whether this device has nothing to say to the others that the remote was not seen to hold, and no key to wait
        for: what is sealed now can be opened by who reads what lies there."""
        roster = self.identity.roster
        there = all(entry.hash in self._there for entry in roster.log)
        return there and roster.epoch in self.epochs and not due(self.identity)

    # ---- the list of devices ----------------------------------------------------------------------------------
    def pull(self, source: Readable | None = None) -> tuple[bool, list[Entry]]:
        """Hear the entries that are new here. Returns whether the list grew, and which entries are missing there.

        ``source``: where else the list of devices can be read, when the remote does not let this device in."""
        source = source or self._remote
        found = source.list(names.roster_prefix(self.identity.vault_id))
        if (last := self._pulled) is not None and last[0] == found and last[1] is self.identity:
            self._there = set(self.listed)
            return False, last[2]
        self._pulled = None
        listed = {}
        for name in found:
            if (parsed := names.parse_roster(name)) is not None:
                listed[parsed.digest] = name
        self.listed = frozenset(listed)
        self._there = set(listed)
        roster = self.identity.roster
        unknown = [
            (digest, name)
            for digest, name in listed.items()
            if not roster.knows(digest) and digest not in roster.refused
        ]
        fetched = [data for digest, name in unknown if (data := self._fetch(source, name, digest)) is not None]
        changed = bool(fetched) or due(self.identity)
        missing = [entry for entry in self.identity.roster.log if entry.hash not in listed]
        if not unknown and not changed:
            self._pulled = found, self.identity, missing
        if changed:
            with self._ledger.write() as transaction:
                heard = hear(transaction, self.identity, fetched, now_ms=self._now_ms())
            self.use(heard)
            self._learned(heard)
            missing = [entry for entry in heard.roster.log if entry.hash not in listed]
        return changed, missing

    def put(self, missing: Iterable[Entry]) -> None:
        """Put these entries."""
        vault_id, roster_key = self.identity.vault_id, self.identity.roster_key
        for entry in missing:
            sealed = seal_entry(entry.data, vault_id=vault_id, roster_key=roster_key)
            self._put(names.roster_name(vault_id, entry.n, entry.hash), sealed)
            self._there.add(entry.hash)

    def _fetch(self, source: Readable, name: str, digest: bytes) -> bytes | None:
        identity = self.identity
        try:
            data = source.get(name)
            return open_entry(data, vault_id=identity.vault_id, roster_key=identity.roster_key, hash=digest)
        except (ObjectMissing, Refused, UpdateRequired):
            return None  # not there yet, half written, or not ours: looked at again with the next pass

    # ---- the account ------------------------------------------------------------------------------------------
    def put_account(self) -> None:
        """See to it that the account slot is there, unless a newer one is, and that older ones are not: they open with
        passwords that were changed."""
        account = self.identity.account
        if not account.number:
            return
        slots = self._slots(account.locator)
        self.account_listed = any(slot.n >= account.number for _, slot in slots)
        if not self.account_listed:
            self._put(self.account_name, account.data)
        for name, slot in slots:
            if slot.n < account.number and not self._keeps_slots:
                try:
                    self._remote.delete(name)
                except RemoteRefused:
                    self._keeps_slots = True
                except RemoteUnavailable:
                    break  # the next pass does

    @property
    def account_name(self) -> str:
        """Under which the account slot lies on remotes; empty without one."""
        account = self.identity.account
        return names.account_name(account.locator, account.number, account.digest) if account.number else ""

    def drop_slots(self, locator: bytes) -> None:
        """Take the slots at that place off the remote, but the one that counts now. Raises `RemoteError`."""
        account = self.identity.account
        for name, slot in self._slots(locator):
            if locator != account.locator or slot.n < account.number:
                self._remote.delete(name)

    def _slots(self, locator: bytes) -> list[tuple[str, names.AccountName]]:
        listed = self._remote.list(names.account_prefix(locator))
        return [(name, parsed) for name in listed if (parsed := names.parse_account(name)) is not None]

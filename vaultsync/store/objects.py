"""Everything beside the journal: envelopes and what is still to be delivered, quarantine, sealed state, key slots.

What has to go to a remote is kept as an *outbox*: one row for each envelope and remote that is still to come. Looking
for work therefore costs what is pending, not what was ever sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vaultsync.errors import AlreadyStored, DamagedStore
from vaultsync.store.base import Changes, Rows
from vaultsync.store.pictures import Picture
from vaultsync.store.rows import Envelope, Quarantined, Slot
from vaultsync.store.tables import checksum

__all__ = ["ObjectsReading", "ObjectsWriting", "as_slot"]

_ENVELOPES = "reading what was sent and received"
_STATE = "reading the vault's settings"
_FEW: Final = 256
_SLOTS = "reading how the vault is locked"
_ENVELOPE = "SELECT name, chain, seq, env_id, kind, own, data, crc FROM envelopes"


def as_slot(slot: Slot | bytes) -> Slot:
    """A slot given as bytes alone is one for a password."""
    return slot if isinstance(slot, Slot) else Slot("password", slot)


def _above(prefix: str) -> str:
    """The smallest string above every string with this prefix, in SQLite's byte order of UTF-8."""
    return prefix + "\U0010ffff"


def _few(outbox: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether so little is on its way that copying it with every envelope that is sent costs nothing."""
    return sum(map(len, outbox.values())) <= _FEW


class ObjectsReading(Rows):
    """Reads of envelopes, quarantine, state and slots."""

    _states_whole = False  # every sealed value was seen in this transaction
    _remotes_read: list[tuple[int, str]] | None = None  # what this transaction saw of them

    # ---- state and slots
    def state(self, name: str) -> bytes | None:
        """A sealed value. Raises `DamagedStore` rather than taking a vanished one for one never set.

        To be sure of that, a name that is not there costs a pass over all values, once a transaction.
        """
        if (seen := self._seen(Picture.STATE)) is not None:
            return seen.get(name)
        row = self._row(_STATE, "SELECT name, sealed, crc FROM state WHERE name = ?", name)
        if row is None:
            if not self._states_whole:
                self.states()
            return None
        self._check(_STATE, "state", row[:-1], row[-1], f'The stored value "{name}" is not as written.')
        return bytes(row[1])

    def states(self, prefix: str = "") -> dict[str, bytes]:
        """The sealed values whose name starts with ``prefix``, by name. Costs a pass over all, once a transaction."""
        rows = self._rows(
            _STATE,
            "SELECT name, sealed, crc FROM state WHERE name >= ? AND name < ? ORDER BY name",
            prefix,
            _above(prefix),
        )
        for row in rows:
            self._check(_STATE, "state", row[:-1], row[-1], "A stored value is not as written.")
        if prefix:
            if not self._states_whole:
                self.states()  # a damaged name may have moved a value out of this range
        else:
            if len(rows) != self._tally.state:
                raise self._damaged(_STATE, "A stored value is missing.")
            self._states_whole = True
        return {name: bytes(sealed) for name, sealed, _ in rows}

    def slots(self) -> list[Slot]:
        """The wrapped keys, in the order in which they were given."""
        rows = self._rows(_SLOTS, "SELECT id, kind, data, crc FROM slots ORDER BY id")
        for row in rows:
            self._check(_SLOTS, "slots", row[:-1], row[-1], "A wrapped key is not as written.")
        if len(rows) != self._tally.slots:
            raise self._damaged(_SLOTS, "A wrapped key is missing.")
        return [Slot(kind, bytes(data)) for _, kind, data, _ in rows]

    # ---- envelopes
    def envelope(self, name: str) -> Envelope | None:
        """One stored object by its name."""
        row = self._row(_ENVELOPES, f"{_ENVELOPE} WHERE name = ?", name)
        return None if row is None else self._envelope(row)

    def has_envelope(self, name: str) -> bool:
        return self._row(_ENVELOPES, "SELECT 1 FROM envelopes WHERE name = ?", name) is not None

    def _envelope(self, row: Any) -> Envelope:
        self._check(
            _ENVELOPES, "envelopes", row[:-1], row[-1], "An envelope is not as written; it can be fetched again."
        )
        name, chain, seq, env_id, kind, own, data, _ = row
        return Envelope(name, chain, seq, env_id, kind, bool(own), data)

    def envelopes(self, chain: bytes | None = None, after: int = -1) -> Iterator[Envelope]:
        """Stored objects: of one chain with a seq above ``after``, by seq; or all, in the order in which they came."""
        if chain is None:
            ids = self._rows(_ENVELOPES, "SELECT id FROM envelopes ORDER BY id")
        else:
            ids = self._rows(
                _ENVELOPES, "SELECT id FROM envelopes WHERE chain = ? AND seq > ? ORDER BY seq, id", chain, after
            )
        return self._by_ids([row[0] for row in ids])

    def _by_ids(self, ids: Sequence[int]) -> Iterator[Envelope]:
        for id_ in ids:  # one at a time: an envelope may be large, and the caller may write in between
            row = self._row(_ENVELOPES, f"{_ENVELOPE} WHERE id = ?", id_)
            if row is None:
                raise self._damaged(_ENVELOPES, "An envelope is missing.")
            yield self._envelope(row)

    def last_envelope(self, chain: bytes, kind: int | None = None) -> Envelope | None:
        """The object with the highest seq of a chain (of one kind, if given)."""
        row = self._row(
            _ENVELOPES,
            f"{_ENVELOPE} WHERE chain = ? AND (? IS NULL OR kind = ?) ORDER BY seq DESC, id DESC LIMIT 1",
            *(chain, kind, kind),
        )
        return None if row is None else self._envelope(row)

    def last_place(self, chain: bytes, kind: int) -> tuple[int, bytes] | None:
        """(seq, id) of that one alone."""
        seen = self._seen(Picture.LAST)
        if seen is not None and (chain, int(kind)) in seen:
            place: tuple[int, bytes] | None = seen[chain, int(kind)]
            return place
        last = self.last_envelope(chain, kind)
        return None if last is None else (last.seq, last.env_id)

    def names_of(self, chain: bytes, kind: int, after: int = 0) -> list[str]:
        """Names of the stored objects of one chain and kind with a seq above ``after``, by seq, without reading
        them."""
        rows = self._rows(
            _ENVELOPES,
            "SELECT name FROM envelopes WHERE chain = ? AND kind = ? AND seq > ? ORDER BY seq, id",
            *(chain, int(kind), after),
        )
        return [row[0] for row in rows]

    def count_of(self, chain: bytes, kind: int) -> int:
        """How many objects of one chain and kind are stored."""
        query = "SELECT count(*) FROM envelopes WHERE chain = ? AND kind = ?"
        return int(self._rows(_ENVELOPES, query, chain, int(kind))[0][0])

    def bytes_of(self, chain: bytes, kind: int, after: int, last: int) -> int:
        """Bytes of the stored objects of one chain and kind with a seq above ``after``, up to ``last``."""
        query = (
            "SELECT coalesce(sum(length(data)), 0) FROM envelopes WHERE chain = ? AND kind = ? AND seq BETWEEN ? AND ?"
        )
        return int(self._rows(_ENVELOPES, query, chain, int(kind), after + 1, last)[0][0])

    def undelivered_names(self, remote: str) -> set[str]:
        """Names of what still has to go to a remote, without reading it."""
        return {name for name, _, _ in self.undelivered_sizes(remote)}

    def undelivered_sizes(self, remote: str) -> list[tuple[str, int, int]]:
        """(name, kind, bytes) of what still has to go to a remote, oldest first, without reading it."""
        id_ = self._remote(remote)
        columns = "SELECT name, kind, length(data) FROM"
        if id_ is None:
            return self._rows(_ENVELOPES, f"{columns} envelopes WHERE own = 1 ORDER BY id")
        query = f"{columns} outbox JOIN envelopes ON envelopes.id = outbox.envelope WHERE outbox.remote = ? ORDER BY id"
        rows = self._rows(_ENVELOPES, query, id_)
        if not rows:
            self._complete(_ENVELOPES, "outbox")
        return rows

    def outbox(self) -> dict[str, dict[str, tuple[int, int]]]:
        """By remote, by name of an envelope that it lacks, oldest first: (kind, bytes)."""
        return {
            remote: {name: (kind, size) for name, kind, size in self.undelivered_sizes(remote)}
            for remote in self.remotes()
        }

    def names(self, prefix: str = "") -> set[str]:
        """Names of all stored objects below ``prefix``."""
        rows = self._rows(_ENVELOPES, "SELECT name FROM envelopes WHERE name >= ? AND name < ?", prefix, _above(prefix))
        return {row[0] for row in rows}

    # ---- remotes
    def remotes(self) -> list[str]:
        """The remotes that deliveries are kept for."""
        if (seen := self._seen(Picture.OUTBOX)) is not None:
            return list(seen)
        return [remote for _, remote in self._remotes()]

    def _remotes(self) -> list[tuple[int, str]]:
        if self._remotes_read is None:
            rows = self._rows(_ENVELOPES, "SELECT id, remote, crc FROM remotes ORDER BY id")
            for row in rows:
                self._check(_ENVELOPES, "remotes", row[:-1], row[-1])
            if len(rows) != self._tally.remotes:
                raise self._damaged(_ENVELOPES, "Which remotes are used is not known any more.")
            self._remotes_read = [(id_, remote) for id_, remote, _ in rows]
        return self._remotes_read

    def _remote(self, remote: str) -> int | None:
        return next((id_ for id_, name in self._remotes() if name == remote), None)

    def undelivered(self, remote: str) -> Iterator[Envelope]:
        """What still has to go to a remote, oldest first. A remote never heard of lacks every own envelope."""
        id_ = self._remote(remote)
        if id_ is None:
            rows = self._rows(_ENVELOPES, "SELECT id FROM envelopes WHERE own = 1 ORDER BY id")
        else:
            rows = self._rows(_ENVELOPES, "SELECT envelope FROM outbox WHERE remote = ? ORDER BY envelope", id_)
            if not rows:
                self._complete(_ENVELOPES, "outbox")
        return self._by_ids([row[0] for row in rows])

    def undelivered_count(self, remote: str) -> int:
        """How many envelopes `undelivered` would give."""
        id_ = self._remote(remote)
        if id_ is None:
            return int(self._rows(_ENVELOPES, "SELECT count(*) FROM envelopes WHERE own = 1")[0][0])
        return int(self._rows(_ENVELOPES, "SELECT count(*) FROM outbox WHERE remote = ?", id_)[0][0])

    # ---- quarantine
    def quarantined(self) -> Iterator[Quarantined]:
        """Refused objects, by name."""
        for (name,) in self._rows(_ENVELOPES, "SELECT name FROM quarantine ORDER BY name"):
            row = self._row(_ENVELOPES, "SELECT name, reason, data, crc FROM quarantine WHERE name = ?", name)
            if row is None:
                raise self._damaged(_ENVELOPES)
            self._check(_ENVELOPES, "quarantine", row[:-1], row[-1], "An object in quarantine is not as written.")
            yield Quarantined(*row[:-1])

    def quarantined_names(self) -> set[str]:
        """Names of refused objects, without reading them."""
        return {row[0] for row in self._rows(_ENVELOPES, "SELECT name FROM quarantine")}


class ObjectsWriting(ObjectsReading, Changes):
    """Writes of envelopes, quarantine, state and slots."""

    def set_state(self, name: str, sealed: bytes | None) -> None:
        """Set a sealed value, or forget it."""
        doing = "storing a setting"
        seen, before = self._seen(Picture.STATE), self.written["state"]
        if sealed is None:
            self._delete("state", doing, "DELETE FROM state WHERE name = ?", name)
        else:
            crc = checksum("state", name, sealed)
            if seen is None:
                there = self._write(doing, "UPDATE state SET crc = ?, sealed = ? WHERE name = ?", crc, sealed, name)
            else:
                there = name in seen
            if seen is not None or not there:
                replace = "INSERT OR REPLACE INTO state (name, crc, sealed) VALUES (?, ?, ?)"
                self._change(doing, replace, name, crc, sealed)
            if not there:
                self._count("state", 1)
        if (shown := self._changed(Picture.STATE, self.written["state"] - before)) is not None:
            if sealed is None:
                shown.pop(name, None)
            else:
                shown[name] = sealed

    def replace_slots(self, slots: Sequence[Slot | bytes]) -> None:
        """Wrap the key differently: the old slots are overwritten. `Store.scrub` then clears the log of them."""
        doing = "changing how the vault is locked"
        if not slots:
            raise ValueError("a vault without a key slot could never be opened again")
        self._rows(doing, "PRAGMA secure_delete = ON")
        self._delete("slots", doing, "DELETE FROM slots")
        for number, (kind, data) in enumerate(map(as_slot, slots), 1):
            self._insert(
                "slots",
                doing,
                "INSERT INTO slots (id, kind, data, crc) VALUES (?, ?, ?, ?)",
                *(number, kind, data, checksum("slots", number, kind, data)),
            )
        self._rows(doing, "PRAGMA secure_delete = FAST")

    def put_envelope(self, name: str, chain: bytes, seq: int, env_id: bytes, kind: int, data: bytes, own: bool) -> None:
        """Store an object; an own one is from now on undelivered to every remote. Putting it again changes nothing.

        Raises `AlreadyStored` for a name with other contents, and for a second own object of one (kind, chain, seq).
        """
        doing = "storing an envelope"
        kind = int(kind)
        try:
            there = self.envelope(name)
        except DamagedStore:
            there = None
            self._forget(name)  # what was damaged is replaced by what came again
        if there is not None:
            if there != Envelope(name, chain, seq, env_id, kind, own, data):
                raise AlreadyStored(f"{name} is stored with other contents")
            return
        last = (self._seen(Picture.LAST) or {}).get((chain, kind))
        beyond = last is not None and last[0] < seq
        if (
            own
            and not beyond
            and self._row(
                doing, "SELECT 1 FROM envelopes WHERE kind = ? AND chain = ? AND seq = ? AND own = 1", kind, chain, seq
            )
        ):
            raise AlreadyStored(f"number {seq} of the own chain {chain.hex()} is used already")
        self._insert(
            "envelopes",
            doing,
            "INSERT INTO envelopes (name, chain, seq, env_id, kind, own, crc, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(name, chain, seq, env_id, kind, int(own)),
            *(checksum("envelopes", name, chain, seq, env_id, kind, int(own), data), data),
        )
        shown = self._changed(Picture.LAST)
        if shown is not None and (chain, kind) in shown and (last is None or last[0] <= seq):
            shown[chain, kind] = (seq, env_id)
        if own:
            self._owe(name, kind, len(data))

    def _owe(self, name: str, kind: int, size: int) -> None:
        """Every remote lacks an envelope that was just stored."""
        seen, many = self._seen(Picture.OUTBOX), len(self.remotes())
        self._change(
            "noting a delivery",
            "INSERT INTO outbox (remote, envelope) SELECT remotes.id, envelopes.id FROM remotes, envelopes "
            "WHERE envelopes.name = ?",
            name,
        )
        self._count("outbox", many)
        if seen is not None and _few(seen) and (shown := self._changed(Picture.OUTBOX)) is not None:
            for remote, lacks in seen.items():
                shown[remote] = {**lacks, name: (kind, size)}

    def drop_envelope(self, name: str) -> None:
        """Forget a stored object (collected: two verified checkpoints cover it)."""
        self._forget(name)

    def _forget(self, name: str) -> None:
        doing = "dropping an envelope"
        self._delete(
            "outbox", doing, "DELETE FROM outbox WHERE envelope IN (SELECT id FROM envelopes WHERE name = ?)", name
        )
        self._delete("envelopes", doing, "DELETE FROM envelopes WHERE name = ?", name)

    def add_remote(self, remote: str) -> None:
        """Keep deliveries for a remote: it lacks every own envelope so far. Harmless when it is known."""
        self._remote_id(remote)

    def _remote_id(self, remote: str) -> int:
        doing = "noting a remote"
        id_ = self._remote(remote)
        if id_ is not None:
            return id_
        id_ = int(self._rows(doing, "SELECT coalesce(max(id), 0) + 1 FROM remotes")[0][0])
        crc = checksum("remotes", id_, remote)
        self._remotes_read = None
        self._insert("remotes", doing, "INSERT INTO remotes (id, remote, crc) VALUES (?, ?, ?)", id_, remote, crc)
        added = self._write(
            doing, "INSERT INTO outbox (remote, envelope) SELECT ?, id FROM envelopes WHERE own = 1", id_
        )
        self._count("outbox", added)
        return id_

    def forget_remote(self, remote: str) -> None:
        """Keep no deliveries for a remote any more."""
        doing = "forgetting a remote"
        id_ = self._remote(remote)
        if id_ is not None:
            self._delete("outbox", doing, "DELETE FROM outbox WHERE remote = ?", id_)
            self._remotes_read = None
            self._delete("remotes", doing, "DELETE FROM remotes WHERE id = ?", id_)

    def mark_delivered(self, remote: str, name: str) -> None:
        """The remote holds the object. Harmless when that was known."""
        seen = self._seen(Picture.OUTBOX)
        if seen is None or remote not in seen:
            self._remote_id(remote)
        self._delete(
            "outbox",
            "noting a delivery",
            "DELETE FROM outbox WHERE remote = (SELECT id FROM remotes WHERE remote = ?) "
            "AND envelope = (SELECT id FROM envelopes WHERE name = ?)",
            *(remote, name),
        )
        if seen is not None and _few(seen) and (shown := self._changed(Picture.OUTBOX)) is not None:
            shown[remote] = {lacks: what for lacks, what in shown[remote].items() if lacks != name}

    def mark_undelivered(self, remote: str, name: str) -> None:
        """The remote lacks a stored object, own or not: it lost it, or mirrors another remote."""
        added = self._write(
            "noting a delivery",
            "INSERT OR IGNORE INTO outbox (remote, envelope) SELECT ?, id FROM envelopes WHERE name = ?",
            *(self._remote_id(remote), name),
        )
        self._count("outbox", added)

    def quarantine(self, name: str, reason: str, data: bytes) -> None:
        """Set a refused object aside, replacing an earlier one of that name."""
        doing = "setting an object aside"
        self.unquarantine(name)
        self._insert(
            "quarantine",
            doing,
            "INSERT INTO quarantine (name, reason, crc, data) VALUES (?, ?, ?, ?)",
            *(name, reason, checksum("quarantine", name, reason, data), data),
        )

    def unquarantine(self, name: str) -> None:
        """Take an object out of quarantine; harmless when it is not there."""
        self._delete("quarantine", "releasing an object", "DELETE FROM quarantine WHERE name = ?", name)

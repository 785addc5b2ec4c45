"""The journal: every change since the last snapshot, in the order in which this file got to know it.

Every change has a position; they ascend without gaps above the *floor*, the position of the last confirmed snapshot.
One row may hold many changes of one actor that follow each other, under the position of the last. Above the floor those
are somebody else's; below it only own changes remain that are not packed into an envelope yet. The column ``own`` says
how many the row holds: own ones above 0, somebody else's below it, or 0 for one alone. The last position is also kept
in the tally, so a row that vanished with a damaged page is noticed, at the end of the journal too, where an edit that
was acknowledged would be forgotten silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from vaultsync.errors import AlreadyStored, Compacted, DamagedStore
from vaultsync.store.base import Changes, Rows
from vaultsync.store.pictures import Picture
from vaultsync.store.rows import JournalRow, LostRow, NewRow, Origin, Tip, Weight
from vaultsync.store.tables import checksum

__all__ = ["JournalReading", "JournalWriting"]

_DOING = "reading the recorded changes"
_ROW = "SELECT position, actor, seq, hash, own, sealed, crc FROM journal"
_CHUNK = 16
"""Rows fetched at once: no cursor stays open, and a handful of large imports fits into memory."""
_TOGETHER = 64
"""Rows recorded by one statement: SQLite binds 999 values wherever it is."""


def _parts(rows: Sequence[NewRow]) -> Iterator[Sequence[NewRow]]:
    for start in range(0, len(rows), _TOGETHER):
        yield rows[start : start + _TOGETHER]


def _runs(rows: Sequence[NewRow]) -> Iterator[tuple[bytes, int, int]]:
    """(actor, first number, last number) of changes that follow each other."""
    first = 0
    for index, row in enumerate(rows, 1):
        after = rows[index] if index < len(rows) else None
        if after is None or (after.actor, after.seq - after.holds) != (row.actor, row.seq):
            yield row.actor, rows[first].seq - rows[first].holds + 1, row.seq
            first = index


def as_holds(own: int) -> tuple[Origin, int]:
    """Whose changes a row holds, and how many, as its column says."""
    return (Origin.OWN if own > 0 else Origin.FOREIGN), abs(own) or 1


class JournalReading(Rows):
    """Reads of the journal."""

    def position(self) -> int:
        """The last position ever used; 0 in a new file."""
        return self._tally.position

    def floor(self) -> int:
        """Whoever has applied the journal only to a position below this must load the snapshot instead."""
        return self._tally.floor

    def weight(self) -> Weight:
        """Changes and sealed bytes above the floor, without reading them."""
        return Weight(self._tally.position - self._tally.floor, self._tally.journal_bytes)

    def journal(self, after: int = 0) -> Iterator[JournalRow]:
        """Every row with a position above ``after``, ascending, none missing.

        Raises `Compacted` at once when ``after`` lies below the floor; while iterating, `DamagedStore` at the first row
        that is missing or not as written (`salvage` goes on past it).
        """
        if after < self.floor():
            raise Compacted(
                f"changes up to {self.floor()} are in the snapshot; the journal after {after} is not whole any more"
            )
        return self._journal(after, self.position())

    def _journal(self, after: int, last: int) -> Iterator[JournalRow]:
        at = after
        while at < last:
            rows = self._rows(
                _DOING, f"{_ROW} WHERE position > ? AND position <= ? ORDER BY position LIMIT {_CHUNK}", at, last
            )
            for row in rows:
                found = self._journal_row(row)
                if found.position - found.holds != at:
                    raise self._lost_row(at + 1)
                yield found
                at = found.position
            if not rows:
                raise self._lost_row(at + 1)

    def _lost_row(self, position: int) -> DamagedStore:
        return self._damaged(
            _DOING,
            f"Recorded change number {position} cannot be read; later ones may build on it.",
            f"Every change before number {position}, and the snapshot.",
        )

    def _journal_row(self, row: Any) -> JournalRow:
        position, actor, seq, hash_, own, sealed, crc = row
        if checksum("journal", position, actor, seq, hash_, own, sealed) != crc:
            raise self._lost_row(position)
        return JournalRow(position, actor, seq, hash_, sealed, *as_holds(own))

    def salvage(self, after: int = 0) -> Iterator[JournalRow | LostRow]:
        """Every row that can still be read, one by one past every bad page, and a `LostRow` for each change of others.

        For repair and reports: slower than `journal`. Rows below the floor (own, not packed) come too. Never raises
        `DamagedStore`; where even the tally is gone, rows lost at the very end cannot be told.
        """
        known = self._index_entries()
        try:
            floor, last = self.floor(), self.position()
        except DamagedStore:
            floor = last = 0  # only what an index names can be looked for
        expected = set(range(max(after, floor) + 1, last + 1)) | {at for at in known if at > after}
        lost: list[LostRow] = []
        for position in sorted(expected):
            found = self._salvaged(position)
            if found is None:
                lost.append(LostRow(position, *known.get(position, (None, None))))
                continue
            if found.origin is Origin.FOREIGN:  # what it holds has the positions before its own
                lost = [row for row in lost if row.position <= position - found.holds]
            yield from lost
            yield found
            lost = []
        yield from lost

    def _salvaged(self, position: int) -> JournalRow | None:
        try:
            row = self._row(_DOING, f"{_ROW} WHERE position = ?", position)
            return None if row is None else self._journal_row(row)
        except DamagedStore:
            return None

    def _index_entries(self) -> dict[int, tuple[bytes | None, int | None]]:
        """Position -> (actor, seq), from whichever index can be read: neither needs the table's own pages."""
        for query in (
            "SELECT position, actor, seq FROM journal INDEXED BY journal_actor WHERE actor >= x''",
            "SELECT position, NULL, NULL FROM journal INDEXED BY journal_hash WHERE hash >= x''",
            "SELECT position, NULL, NULL FROM journal NOT INDEXED",
        ):
            try:
                return {at: (actor, seq) for at, actor, seq in self._rows(_DOING, query) if isinstance(at, int)}
            except DamagedStore:
                continue
        return {}

    def has_change(self, hash: bytes) -> bool:
        """Whether the change is in the journal, as the last one of its row, or is the last one of an own incarnation
        (also after compaction)."""
        if self._row(_DOING, "SELECT 1 FROM journal WHERE hash = ?", hash) is not None:
            return True
        return self._row(_DOING, "SELECT 1 FROM actors WHERE last_hash = ?", hash) is not None

    def change(self, hash: bytes) -> JournalRow | None:
        """The row that ends with one change, while it is in the journal."""
        row = self._row(_DOING, f"{_ROW} WHERE hash = ?", hash)
        return None if row is None else self._journal_row(row)

    def hash_at(self, position: int) -> bytes | None:
        """The hash of the change at a position, while its row is in the journal."""
        row = self._row(_DOING, "SELECT hash FROM journal WHERE position = ?", position)
        return None if row is None else bytes(row[0])

    def own_tips(self) -> list[Tip]:
        """Every own incarnation that wrote into this file, also those whose rows are compacted."""
        if (seen := self._seen(Picture.TIPS)) is not None:
            return list(seen.values())
        rows = self._rows(_DOING, "SELECT actor, last_seq, last_hash, packed, crc FROM actors ORDER BY actor")
        if len(rows) != self._tally.actors:
            raise self._damaged(_DOING)
        return [self._tip(row) for row in rows]

    def own_tip(self, actor: bytes) -> Tip | None:
        """The same for one incarnation; ``None`` when it never wrote here."""
        if (seen := self._seen(Picture.TIPS)) is not None:
            return seen.get(actor)
        row = self._row(_DOING, "SELECT actor, last_seq, last_hash, packed, crc FROM actors WHERE actor = ?", actor)
        if row is None:
            return next((tip for tip in self.own_tips() if tip.actor == actor), None)  # none, and none is damaged
        return self._tip(row)

    def _tip(self, row: Any) -> Tip:
        self._check(_DOING, "actors", row[:-1], row[-1])
        return Tip(*row[:-1])

    def unpacked(self, actor: bytes) -> Iterator[JournalRow]:
        """Own rows of one incarnation that are in no envelope yet, by seq; also those below the floor. The first may
        hold changes that are in one.

        Raises `DamagedStore` while iterating when one of them is missing.
        """
        tip = self.own_tip(actor)
        if tip is None:
            return
        at = tip.packed
        while at < tip.seq:
            rows = self._rows(
                _DOING,
                f"{_ROW} WHERE actor = ? AND seq > ? AND own > 0 ORDER BY seq LIMIT {_CHUNK}",
                *(actor, at),
            )
            if not rows:
                raise self._lost_own(at + 1)
            for row in rows:
                found = self._journal_row(row)
                before = found.seq - found.holds
                if before > at or (before < at and at != tip.packed):
                    raise self._lost_own(at + 1)
                yield found
                at = found.seq

    def _lost_own(self, seq: int) -> DamagedStore:
        return self._damaged(_DOING, f"Change {seq} of this device, which was not sent anywhere yet, is missing.")


class JournalWriting(JournalReading, Changes):
    """Writes to the journal."""

    def append(self, actor: bytes, seq: int, hash: bytes, sealed: bytes, origin: Origin | str = Origin.OWN) -> int:
        """Record one change; returns its position. Raises `AlreadyStored` for a hash or (actor, seq) that is there.

        An own incarnation counts without gaps (from wherever it starts here): else `ValueError`. Both leave the
        transaction usable.
        """
        return self.append_all([NewRow(actor, seq, hash, sealed)], origin)

    def append_all(self, rows: Sequence[NewRow], origin: Origin | str = Origin.OWN) -> int:
        """Record changes, in that order; returns the position of the last. Like `append`: none is recorded when one
        of them is there already or does not follow. Own ones have a row each (else `ValueError`)."""
        own = Origin(origin) is Origin.OWN
        if own and any(row.holds != 1 for row in rows):
            raise ValueError("own changes are recorded one by one, until a snapshot holds them")
        for part in _parts(rows):
            self._refuse_known(part)
        if own:
            self._advance(rows)
        for part in _parts(rows):
            self._append(part, own)
        return self._tally.position

    def _refuse_known(self, rows: Sequence[NewRow]) -> None:
        runs = list(_runs(rows))
        taken = " OR ".join(["actor = ? AND seq >= ? AND seq - max(abs(own), 1) < ?"] * len(runs))
        marks = ", ".join("?" * len(rows))
        found = self._row(
            "recording a change",
            f"SELECT actor, seq FROM journal WHERE hash IN ({marks}) OR {taken}",  # noqa: S608 (marks of parameters)
            *(row.hash for row in rows),
            *(part for run in runs for part in run),
        )
        if found is not None:
            raise AlreadyStored(f"change {found[1]} of {found[0].hex()} is recorded already")

    def _append(self, rows: Sequence[NewRow], own: bool) -> None:
        tally = self._tally
        columns: list[int | bytes] = []
        for actor, seq, hash_, sealed, holds in rows:
            tally.position += holds
            held = 1 if own else 0 if holds == 1 else -holds
            crc = checksum("journal", tally.position, actor, seq, hash_, held, sealed)
            columns += (tally.position, actor, seq, hash_, held, crc, sealed)
        marks = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(rows))
        self._insert(
            "journal",
            "recording a change",
            f"INSERT INTO journal (position, actor, seq, hash, own, crc, sealed) VALUES {marks}",  # noqa: S608
            *columns,
            rows=len(rows),
        )
        tally.journal_bytes += sum(len(row.sealed) for row in rows)

    def _advance(self, rows: Sequence[NewRow]) -> None:
        """Move the tips of own incarnations. A number at or below one was used once, even if its row is compacted by
        now."""
        tips: dict[bytes, Tip] = {}
        new = []
        for actor, seq, hash_, _, _ in rows:
            tip = tips.get(actor) or self.own_tip(actor)
            if tip is None:
                new.append(actor)
                tip = Tip(actor, seq - 1, b"", seq - 1)
            if seq <= tip.seq:
                raise AlreadyStored(f"change {seq} of {actor.hex()} was recorded before; the last one is {tip.seq}")
            if seq > tip.seq + 1:
                raise ValueError(f"change {seq} of {actor.hex()} does not follow the last one here, {tip.seq}")
            tips[actor] = tip._replace(seq=seq, hash=hash_)
        for actor in new:
            self._insert("actors", "recording a change", "INSERT INTO actors VALUES (?, 0, x'', 0, 0)", actor)
        for tip in tips.values():
            self._set_tip(tip)

    def _set_tip(self, tip: Tip) -> None:
        self._change(
            "recording a change",
            "UPDATE actors SET last_seq = ?, last_hash = ?, packed = ?, crc = ? WHERE actor = ?",
            *(tip.seq, tip.hash, tip.packed, checksum("actors", *tip), tip.actor),
        )
        if (shown := self._changed(Picture.TIPS)) is not None:
            shown[tip.actor] = tip

    def packed_up_to(self, actor: bytes, seq: int) -> None:
        """Own changes up to ``seq`` are in stored envelopes now: those below the floor go. Never moves back.

        Raises `ValueError` for numbers that were never recorded here.
        """
        doing = "noting what is packed"
        tip = self.own_tip(actor)
        if tip is None or seq > tip.seq:
            raise ValueError(f"change {seq} of {actor.hex()} was not recorded here")
        if seq <= tip.packed:
            return
        self._set_tip(tip._replace(packed=seq))
        self._delete(
            "journal",
            doing,
            "DELETE FROM journal WHERE actor = ? AND seq <= ? AND own > 0 AND position <= ?",
            *(actor, seq, self._tally.floor),
        )

    def join_own(self, rows: Sequence[JournalRow], sealed: bytes) -> None:
        """Put one row in the place of own ones below the floor that follow each other; ``sealed`` holds them all.

        Raises `ValueError` for others, and `DamagedStore` when one of them is gone.
        """
        doing = "joining changes that are not sent yet"
        last = rows[-1]
        if any(row.origin is not Origin.OWN or row.actor != last.actor for row in rows) or any(
            after.seq - after.holds != row.seq for row, after in pairwise(rows)
        ):
            raise ValueError("these rows do not follow each other")
        if max(row.position for row in rows) > self._tally.floor:
            raise ValueError("rows above the floor are needed one by one")
        holds = sum(row.holds for row in rows)
        if self._delete(
            "journal",
            doing,
            "DELETE FROM journal WHERE actor = ? AND seq BETWEEN ? AND ? AND own > 0",
            *(last.actor, rows[0].seq, last.seq),
        ) != len(rows):
            raise self._lost_own(rows[0].seq)
        crc = checksum("journal", last.position, last.actor, last.seq, last.hash, holds, sealed)
        self._insert(
            "journal",
            doing,
            "INSERT INTO journal (position, actor, seq, hash, own, crc, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(last.position, last.actor, last.seq, last.hash, holds, crc, sealed),
        )

    def _compact(self, position: int) -> None:
        """A confirmed snapshot covers everything up to ``position``: raise the floor, drop rows except own unpacked
        ones."""
        doing = "dropping changes that a snapshot covers"
        tally = self._tally
        if position <= tally.floor:
            return
        self._delete(
            "journal",
            doing,
            "DELETE FROM journal WHERE position <= ? AND (own <= 0 OR seq <= coalesce("
            "(SELECT packed FROM actors WHERE actors.actor = journal.actor), 0))",
            position,
        )
        tally.floor = position
        tally.journal_bytes = int(
            self._rows(doing, "SELECT coalesce(sum(length(sealed)), 0) FROM journal WHERE position > ?", position)[0][0]
        )

"""What one exchange sends: own changes are packed, and what is packed is put, attachments first."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vaultsync.crypto.roster_entry import Entry
from vaultsync.errors import VaultClosed
from vaultsync.store import Envelope
from vaultsync.sync import events as ev
from vaultsync.sync.core import Core
from vaultsync.vault.attachments import BLOB
from vaultsync.vault.environment import Environment
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.replication.incarnation import write_mark
from vaultsync.vault.replication.parcels import pack_own
from vaultsync.vault.replication.rosters import Rosters
from vaultsync.vault.replication.tally import Tally
from vaultsync.vault.replication.waiting import waiting_for

__all__ = ["Outgoing", "check"]


class Outgoing:
    """Not thread-safe: belongs to one `Exchange`."""

    def __init__(
        self,
        ledger: Ledger,
        remote_id: str,
        environment: Environment,
        rosters: Rosters,
        tally: Tally,
        *,
        put: Callable[[str, bytes], None],
        sent: Callable[[str, int], None],
    ) -> None:
        """``put`` puts an object, and counts it; ``sent`` is told names and bytes of envelopes that were put."""
        self._ledger = ledger
        self._remote_id = remote_id
        self._environment = environment
        self._rosters = rosters
        self._tally = tally
        self._put = put
        self._sent = sent
        self._packed: dict[str, bytes] = {}  # what is about to be sent
        self.announcing: list[Entry] = []
        """Entries of the list of devices that have to be there before any envelope is."""

    def forget(self) -> None:
        """Of what was packed nothing need be at hand."""
        self._packed.clear()

    def pack(self, core: Core) -> bool:
        """Pack what is not yet in envelopes, and tell the core of those; whether there was anything."""
        packed = pack_own(self._ledger, self._rosters.identity, self._rosters.epochs, self._environment)
        if packed:
            *_, last = packed  # of the newest incarnation: it is packed after those before it
            write_mark(self._ledger, last.chain, last.last)
            self._rosters.put(self.announcing)
            self.announcing = []
        for one in packed:
            core.receive(ev.Sealed(one.name, one.env_id))
            self._packed[one.name] = one.data
        return bool(packed)

    def attachments(self, stop: threading.Event | None) -> None:
        """Attachments before the envelopes that refer to them: whoever learns of one can fetch it."""
        for name in self._count():
            check(stop)
            if (data := self._stored(name)) is not None:
                self._put(name, data)
                with self._ledger.store.write() as writing:
                    writing.mark_delivered(self._remote_id, name)
                self._tally.blobs += 1
                self._tally.tell()

    def send(self, core: Core, name: str) -> None:
        """Put one envelope."""
        data = self._packed.pop(name, None) or self._stored(name)
        if data is None:
            return
        self._put(name, data)
        with self._ledger.store.write() as writing:
            writing.mark_delivered(self._remote_id, name)
        core.receive(ev.Put(name))
        self._sent(name, len(data))
        self._tally.sent += 1
        self._tally.tell()

    def _count(self) -> list[str]:
        """What this pass has to send, as far as it is known before anything was received; the names of attachments."""
        waiting = waiting_for(self._ledger, self._remote_id)
        self._tally.to_send, self._tally.bytes_to_send = len(waiting), sum(size for _, size in waiting.values())
        return [name for name, (kind, _) in waiting.items() if kind == BLOB]

    def _stored(self, name: str) -> bytes | None:
        with self._ledger.store.read() as reading:
            held: Envelope | None = reading.envelope(name)
        return None if held is None else held.data


def check(stop: threading.Event | None) -> None:
    """Raises `VaultClosed` when the pass is to end."""
    if stop is not None and stop.is_set():
        raise VaultClosed("the vault is being closed")

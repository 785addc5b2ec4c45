"""What lies on a remote and is of use to nobody any more: letters of pairings whose sponsor never came back, and
attachments that nothing refers to. Looked for once a day, by any device.

Neither says when it ends: a letter is sealed for two devices, and a device that is slow may still send the entry that
an attachment belongs to. So what counts is how long this device saw it lie there without change, by its own clock.

* A **mailbox** in which no letter changed for three days is over: an invitation is valid for one, and its answer waits
  for another. (A relay removes mailboxes itself.)
* An **attachment** goes when for half a year no entry (trash included) and no side of a conflict referred to it, so
  that what history refers to is there as long, and when two checkpoints verified since hold the vault without it.
  A vault that is too small to write any asks for them then, one a day.

``swept/<remote>``  JSON: when this device last looked, by mailbox when and with which letters it was first seen, and by
                    attachment when it was first seen that nothing refers to it
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Final

from vaultsync import limits
from vaultsync.errors import RemoteRefused, RemoteUnavailable
from vaultsync.remote.port import Remote
from vaultsync.remote.signing import AccessControlled
from vaultsync.sync import names
from vaultsync.sync.coverage import Known
from vaultsync.vault.environment import Environment
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger

__all__ = ["Sweeper"]

SWEPT: Final = "swept/"
_ID: Final = re.compile("[0-9a-f]{64}")


class Sweeper:
    """Of one remote. Not thread-safe."""

    def __init__(self, ledger: Ledger, remote: Remote, remote_id: str, environment: Environment) -> None:
        self._ledger, self._remote, self._remote_id = ledger, remote, remote_id
        self._environment = environment
        self.lacks_checkpoint = False
        """Whether something waits for nothing but another checkpoint, as the last `run` that looked found."""
        self._key = SWEPT + hashlib.sha256(remote_id.encode()).hexdigest()[:32]

    def run(self, identity: Identity, known: Iterable[Known], stop: threading.Event | None = None) -> int:
        """Look, if a day has passed since, and delete what may go; returns how many objects went. A remote that is
        away or refuses to delete keeps everything until the next time; neither is an error."""
        self.lacks_checkpoint = False
        now = self._environment.now_ms()
        stored = self._ledger.noted(self._key)
        before = json.loads(stored) if stored else {"looked": None, "mailboxes": {}, "blobs": {}}
        if before["looked"] is not None and 0 <= now - before["looked"] < limits.SWEEP_EVERY_MS:
            return 0
        gone, mailboxes, blobs = 0, before["mailboxes"], before["blobs"]
        try:
            if not isinstance(self._remote, AccessControlled):
                gone, mailboxes = self._mailboxes(mailboxes, now, stop)
            blobs = self._unreferred(identity, blobs, now)
            gone += self._attachments(blobs, list(known), now, stop)
        except (RemoteUnavailable, RemoteRefused):
            pass
        with self._ledger.noting() as transaction:
            transaction.set_state(
                self._key, json.dumps({"looked": now, "mailboxes": mailboxes, "blobs": blobs}).encode()
            )
        return gone

    # ---- mailboxes --------------------------------------------------------------------------------------------
    def _mailboxes(
        self, seen: dict[str, list[object]], now: int, stop: threading.Event | None
    ) -> tuple[int, dict[str, list[object]]]:
        letters: dict[str, list[str]] = {}
        for name in self._remote.list("mailbox/"):
            if names.parse_letter(name) is not None:
                letters.setdefault(name.split("/")[1], []).append(name)
        kept: dict[str, list[object]] = {}
        gone = 0
        for mailbox, listed in sorted(letters.items()):
            digest = hashlib.sha256("\n".join(sorted(listed)).encode()).hexdigest()[:32]
            since, then = seen.get(mailbox, [now, digest])
            if then != digest or not isinstance(since, int) or since > now:
                since = now
            if now - since < limits.MAILBOX_AFTER_MS:
                kept[mailbox] = [since, digest]
                continue
            gone += self._delete(listed, stop)
        return gone, kept

    # ---- attachments ------------------------------------------------------------------------------------------
    def _unreferred(self, identity: Identity, before: dict[str, int], now: int) -> dict[str, int]:
        """Attachments there and here to which nothing refers, and since when."""
        prefix = names.blob_prefix(identity.vault_id)
        there = {name for name in self._remote.list(prefix) if names.parse_blob(name) is not None}
        with self._ledger.store.read() as reading:
            unsent = {name for remote in reading.remotes() for name in reading.undelivered_names(remote)}
            every = (there | reading.names(prefix)) - unsent
        referred = set(self._referred()) if every else set()
        ids = {name: parsed.id.hex() for name in every if (parsed := names.parse_blob(name)) is not None}
        return {name: min(before.get(name, now), now) for name, id in ids.items() if id not in referred}

    def _attachments(
        self, unreferred: dict[str, int], known: list[Known], now: int, stop: threading.Event | None
    ) -> int:
        ripe = []
        for name, since in unreferred.items():
            if now - since < limits.ATTACHMENT_AFTER_MS:
                continue
            later = [one.since for one in known if since < one.since]
            if sum(at <= now - limits.COLLECT_AFTER_MS for at in later) >= 2:
                ripe.append(name)
            elif len(later) < 2:
                self.lacks_checkpoint = True
        gone = self._delete(ripe, stop)
        if gone:
            with self._ledger.store.write() as writing:
                for name in ripe[:gone]:
                    if writing.has_envelope(name):
                        writing.drop_envelope(name)
        return gone

    def _referred(self) -> Iterator[str]:
        """Everything that could be an attachment's id, in any value of any entry, of whatever schema."""
        with self._ledger.lock:
            self._ledger.refresh()
            engine = self._ledger.engine
            for entry, raw in engine.read_all():
                values = [*raw.values()]
                for written in engine.conflicts(entry).values():
                    values += [one.value for one in written]
                for value in values:
                    if isinstance(value, str):
                        yield from _ID.findall(value)

    def _delete(self, listed: Iterable[str], stop: threading.Event | None) -> int:
        gone = 0
        for name in listed:
            if gone >= limits.COLLECT_BATCH or (stop is not None and stop.is_set()):
                break
            self._remote.delete(name)
            gone += 1
        return gone

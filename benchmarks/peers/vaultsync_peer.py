"""VaultSync through its public API: a real vault file, real envelopes, a real second device.

Opened with a raw key, so that no key is derived; the parameters of the account slot, which `join` needs, are those of
the tests for the same reason. Clock and randomness are the real ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import vaultsync as vs
from benchmarks.peers.port import KEY, Peer
from benchmarks.workload import CARD, LOGIN, NOTE, Row
from vaultsync.crypto.primitives import WEAK_FOR_TESTS
from vaultsync.importers.records import Record
from vaultsync.remote.folder import FolderRemote
from vaultsync.testing.remotes import MemoryRemote
from vaultsync.vault.environment import Environment

SCHEMA = vs.Schema(
    "benchmark",
    version=1,
    platform="linux",
    types=[
        vs.EntryType(
            LOGIN,
            label="Login",
            fields=[
                vs.Field("title", vs.text),
                vs.Field("username", vs.text),
                vs.Field("password", vs.secret),
                vs.Field("url", vs.text),
                vs.Field("notes", vs.note),
                vs.Field("totp", vs.secret),
                vs.Field("tags", vs.tags),
            ],
        ),
        vs.EntryType(NOTE, label="Note", fields=[vs.Field("title", vs.text), vs.Field("text", vs.note)]),
        vs.EntryType(
            CARD,
            label="Card",
            fields=[
                vs.Field("title", vs.text),
                vs.Field("holder", vs.text),
                vs.Field("number", vs.secret),
                vs.Field("brand", vs.text),
                vs.Field("month", vs.text),
                vs.Field("year", vs.text),
                vs.Field("code", vs.secret),
                vs.Field("pin", vs.secret),
            ],
        ),
    ],
)
ENVIRONMENT = Environment(argon2=WEAK_FOR_TESTS, weak_keys=True)
PASSWORD = "correct horse battery staple"  # noqa: S105 - of a vault that lives for a minute
URL = "memory://benchmark"
FILE, CODE, REMOTE = "benchmark.vault", "code", "remote"


def records(rows: Sequence[Row]) -> list[Record]:
    """The workload as an importer would hand it over."""
    out = []
    for number, row in enumerate(rows):
        values = {key: value for key, value in row.items() if key not in ("type", "created", "modified")}
        if "tags" in values:
            values["tags"] = set(values["tags"])
        out.append(Record(f"bench:{number}", row["type"], values, row["created"], row["modified"]))
    return out


def open_vault(folder: Path, remote: MemoryRemote | None = None) -> vs.Vault:
    """The vault that lies in a folder."""
    opener: dict[str, Any] = {} if remote is None else {"opener": lambda url: remote}
    return vs.Vault.open(folder / FILE, schema=SCHEMA, key=KEY, environment=ENVIRONMENT, background=False, **opener)


class Indexed(MemoryRemote):
    """One that has its names in order, as every service has: what a listing costs is not what is measured here."""

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []

    def put(self, name: str, data: bytes) -> None:
        """See ``Remote.put``."""
        if name not in self.objects:
            insort(self._names, name)
        super().put(name, data)

    def list(self, prefix: str) -> list[str]:
        """See ``Remote.list``."""
        first = bisect_left(self._names, prefix)
        return self._names[first : bisect_left(self._names, prefix + "\x7f", lo=first)]

    def delete(self, name: str) -> None:
        """See ``Remote.delete``."""
        super().delete(name)
        self._names = sorted(self.objects)


def memory_remote(folder: Path) -> MemoryRemote:
    """What the published remote holds, in memory."""
    stored, remote = FolderRemote(folder / REMOTE), Indexed()
    for name in stored.list(""):
        remote.put(name, stored.get(name))
    return remote


class _Handle:
    def __init__(self, vault: vs.Vault) -> None:
        self.vault = vault

    def listing(self) -> list[vs.Summary]:
        return self.vault.view().summaries

    def read_all(self) -> list[vs.Content]:
        return list(self.vault.view().contents())

    def row(self, read: Any) -> Row:
        row = {"type": read.type, "created": read.created, "modified": read.modified, **read.fields}
        if "tags" in row:
            row["tags"] = sorted(row["tags"])
        return row

    def edit(self, entry_id: str, password: str) -> None:
        self.vault.update(entry_id, password=password)

    def password(self, entry_id: str) -> str:
        found: str = self.vault.view()[entry_id]["password"]
        return found

    def close(self) -> None:
        self.vault.close()


class _Pair:
    def __init__(self, folder: Path, other: Path) -> None:
        remote = memory_remote(folder)
        self._left, self._right = open_vault(folder, remote), open_vault(other, remote)
        for vault in (self._left, self._right, self._left):  # each knows of the other before anything is measured
            vault.sync()
        self._right.view()

    def ids(self) -> list[str]:
        return [entry.id for entry in self._left.view().entries if entry.type == LOGIN]

    def edit(self, entry_id: str, password: str) -> None:
        self._left.update(entry_id, password=password)

    def travel(self, entry_id: str) -> tuple[int, str]:
        sent = self._left.sync()
        self._right.sync()
        return sent.bytes_sent, self.password(entry_id)

    def password(self, entry_id: str) -> str:
        found: str = self._right.view()[entry_id]["password"]
        return found

    def close(self) -> None:
        self._left.close()
        self._right.close()


class _Peer(Peer):
    name = "vaultsync"
    title = "VaultSync"
    packages = ("vaultsync",)
    operations = "ABCDEFGH"
    verifies = True
    note = "encrypted, signed, merged, verified; E and F are durable on both devices"

    def create(self, folder: Path, rows: Sequence[Row]) -> Callable[[], None]:
        vault = vs.Vault.create(
            folder / FILE, schema=SCHEMA, password=PASSWORD, key=KEY, device="A", environment=ENVIRONMENT
        )
        vault.auto_sync = False
        (folder / CODE).write_text(vault.recovery_code or "")
        report = vault.import_records(records(rows))
        if len(report.added) != len(rows):
            raise RuntimeError(str(report))
        return vault.close

    def open(self, folder: Path) -> _Handle:
        return _Handle(open_vault(folder))

    def publish(self, folder: Path) -> None:
        vault = open_vault(folder)
        vault.connect(URL, remote=FolderRemote(folder / REMOTE, create=True))
        vault.sync()
        vault.close()

    def join(self, folder: Path, into: Path) -> _Handle:
        return self.join_showing(folder, into, lambda listed: None)

    def join_showing(self, folder: Path, into: Path, show: Callable[[Sequence[Any]], object]) -> _Handle:
        vault = vs.Vault.join(
            into / FILE,
            URL,
            schema=SCHEMA,
            password=PASSWORD,
            code=(folder / CODE).read_text(),
            key=KEY,
            device="B",
            environment=ENVIRONMENT,
            opener=lambda url: FolderRemote(folder / REMOTE),
            background=False,
            preview=lambda view: show(view.summaries),
        )
        return _Handle(vault)

    pair = staticmethod(partial(_Pair))


PEER = _Peer()

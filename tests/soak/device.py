"""One device of a soak as a process of its own: opens its vault, edits at random, writes down what was acknowledged.

    python -m tests.soak.device FOLDER NUMBER SEED PAUSE

A line in the log stands for an edit that had returned; it is on the disk before the next edit begins. The process ends
in order when the file ``stop`` appears in the folder, and otherwise never: it is killed.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import vaultsync as vs
from vaultsync.crypto.primitives import WEAK_FOR_TESTS
from vaultsync.vault.environment import Environment

KEY = bytes(range(32))
REAL_BUT_QUICK = Environment(argon2=WEAK_FOR_TESTS, weak_keys=True)
SCHEMA = vs.Schema(
    "soak",
    version=1,
    platform="linux",
    types=[
        vs.EntryType(
            "note",
            label="Note",
            fields=[
                vs.Field("title", vs.text),
                vs.Field("count", vs.number),
                vs.Field("shared", vs.text),
                vs.Field("tags", vs.tags),
                vs.Field("lines", vs.items(vs.text)),
            ],
        )
    ],
)


def rows(log: Path) -> Iterator[dict[str, Any]]:
    """What a device acknowledged so far."""
    for line in log.read_text().splitlines() if log.exists() else ():
        with suppress(json.JSONDecodeError):  # it was killed while it wrote that
            yield json.loads(line)


class Device:
    """Edits in ways whose outcome can be told afterwards, whatever the others do:

    ``add``     an entry of its own, which exists at the end
    ``count``   a number in an entry of its own that nobody else writes: the last one stands
    ``delete``  an entry of its own, which others may edit meanwhile
    ``tag``     a tag of its own on an entry of anybody, never removed: there at the end
    ``shared``  a field that everybody writes: equal everywhere in the end, whoever wins
    """

    def __init__(self, vault: vs.Vault, log: Path, number: int, seed: str) -> None:
        self.vault, self.number = vault, number
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.random = random.Random(seed)
        acknowledged = list(rows(log))
        self.made = len(acknowledged)
        deleted = {row["id"] for row in acknowledged if row["op"] == "deleting"}
        self.own = [row["id"] for row in acknowledged if row["op"] == "add" and row["id"] not in deleted]

    def acknowledged(self, **row: Any) -> None:
        os.write(self.log, (json.dumps(row) + "\n").encode())
        os.fsync(self.log)
        self.made += 1

    def edit(self) -> None:
        """One edit, and its line in the log after it returned."""
        tag = f"{self.number}-{os.getpid()}-{self.made}"
        what = self.random.choices(["add", "count", "delete", "tag", "shared"], [30, 25, 5, 25, 15])[0]
        if what == "add" or not self.own:
            entry = self.vault.add("note", title=tag, lines=["one", "two"])
            self.own.append(entry.id)
            self.acknowledged(op="add", id=entry.id)
        elif what == "count":
            entry_id = self.random.choice(self.own)
            self.vault.update(entry_id, count=self.made)
            self.acknowledged(op="count", id=entry_id, value=self.made)
        elif what == "delete":
            entry_id = self.own.pop(self.random.randrange(len(self.own)))
            self.acknowledged(op="deleting", id=entry_id)
            self.vault.purge(entry_id)
            self.acknowledged(op="delete", id=entry_id)
        else:
            entries = self.vault.view().entries
            chosen = self.random.choice(entries) if entries else None
            if chosen is None:
                return
            try:
                if what == "tag":
                    self.vault.update(chosen.id, tags=vs.add(tag))
                    self.acknowledged(op="tag", id=chosen.id, tag=tag)
                else:
                    self.vault.update(chosen, shared=tag, lines=[*chosen.get("lines", ())[:4], tag])
                    self.acknowledged(op="shared", id=chosen.id)
            except vs.NotEditable:
                pass  # deleted by its owner a moment ago


def main() -> None:
    folder, number, seed, pause = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    stop = folder / "stop"
    with vs.Vault.open(folder / f"{number}.vault", schema=SCHEMA, key=KEY, environment=REAL_BUT_QUICK) as vault:
        device = Device(vault, folder / f"{number}.log", number, seed)
        while not stop.exists():
            device.edit()
            time.sleep(device.random.uniform(0, 2 * pause))


if __name__ == "__main__":
    main()

"""Real processes on one vault file: killed at any moment, and two at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vaultsync.schema.kinds import secret, tags, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.testing import MemoryRemote, environment, memory_vault
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.replication.parcels import open_parcel
from vaultsync.vault.vault import Vault

KILLS = int(os.environ.get("VAULTSYNC_KILLS", "40"))
RACES = int(os.environ.get("VAULTSYNC_RACES", "12"))
SEED = int(os.environ.get("VAULTSYNC_SEED", "1"))
SCHEMA = Schema(
    "notes",
    version=1,
    platform="linux",
    types=[EntryType("note", fields=[Field("title", text), Field("password", secret), Field("labels", tags)])],
)

CHILD = """
import json, random, sys
from vaultsync.schema.kinds import secret, tags, text
from vaultsync.schema.kind import add
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.vault.vault import Vault
note = EntryType("note", fields=[Field("title", text), Field("password", secret), Field("labels", tags)])
SCHEMA = Schema("notes", version=1, platform="linux", types=[note])
def say(*words):
    sys.stdout.write(json.dumps(words) + chr(10)); sys.stdout.flush()
path, seed = sys.argv[1], sys.argv[2]
rng = random.Random(seed)
vault = Vault.open(path, schema=SCHEMA, key=bytes.fromhex(sys.argv[3]), background=False)
"""

WRITER = (
    CHILD
    + """
say("open")
number = 0
while True:
    number += 1
    name = f"{seed}.{number}"
    roll = rng.random()
    if roll < 0.55:
        entry = vault.add("note", title=name, password="secret " + name)
        say("add", name, entry.id)
    elif roll < 0.7:
        with vault.batch():
            ids = [vault.add("note", title=f"{name}.{i}").id for i in range(rng.randint(2, 30))]
        say("batch", name, ids)
    elif roll < 0.9 and len(vault.view()):
        entry = vault.view().entries[rng.randrange(len(vault.view()))]
        vault.update(entry, password="changed " + name)
        say("update", entry.id, "changed " + name)
    elif roll < 0.94:
        vault._ledger.snapshot(at_least=1)
        say("snapshot")
    else:
        vault.sync()
        say("sync")
"""
)


def child(source: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, text=True)


def read_until_killed(process: subprocess.Popen[str], delay: float) -> list[list[object]]:
    """What the child said in whole lines until it was killed, ``delay`` seconds after it had opened the vault."""
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == ["open"]
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.wait()
    process.stdout.close()
    return [json.loads(line) for line in rest.split("\n")[:-1]]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """One vault file goes on through every kill; a second device shares it through the folder all the while."""
    rng = random.Random(SEED)
    path, shared = tmp_path / "ann.vault", tmp_path / "shared"
    url = shared.as_uri()
    shared.mkdir()
    vault = Vault.create(path, schema=SCHEMA, password=PASSWORD, key=KEY, environment=environment("killed"))
    code = vault.recovery_code or ""
    vault.auto_sync = False
    vault.connect(url)
    vault.sync()
    vault.close()
    phone = Vault.join(
        tmp_path / "phone.vault", url, schema=SCHEMA, password=PASSWORD, code=code, key=KEY, background=False,
        environment=environment("phone"),
    )  # fmt: skip
    told: dict[str, str] = {}  # entry id -> title
    passwords: dict[str, str] = {}
    acknowledged = 0
    for kill in range(KILLS):
        process = child(WRITER, str(path), f"{SEED}.{kill}", KEY.hex())
        said = read_until_killed(process, rng.random() ** 2 * 0.2)
        acknowledged += len(said)
        batches: list[list[str]] = []
        for what, *words in said:
            if what == "add":
                told[str(words[1])] = str(words[0])
                passwords[str(words[1])] = f"secret {words[0]}"
            elif what == "batch":
                batches.append(words[1])  # type: ignore[arg-type]
            elif what == "update":
                passwords[str(words[0])] = str(words[1])
        with Vault.open(path, schema=SCHEMA, key=KEY, background=False, environment=environment(f"{kill}")) as vault:
            view = vault.view()
            for entry_id, title in told.items():
                assert view[entry_id]["title"] == title, f"kill {kill}, seed {SEED}"
            for entry_id, password in passwords.items():
                now = view[entry_id]["password"]
                unsaid = isinstance(now, str) and now.startswith(f"changed {SEED}.{kill}.")
                assert now == password or unsaid, f"kill {kill}, seed {SEED}"
                passwords[entry_id] = now
            for ids in batches:
                assert all(entry_id in view for entry_id in ids)
            titles: dict[str, int] = {}
            for entry in view.entries:
                name, dot, _ = str(entry["title"]).rpartition(".")
                if str(entry["title"]).count(".") == 3 and dot:
                    titles[name] = titles.get(name, 0) + 1
            assert all(count >= 2 for count in titles.values()), "a batch is there by half"
            if kill % 8 == 0:
                assert vault.check().ok, f"kill {kill}, seed {SEED}"
                vault.add("note", title="saved after a kill")
                vault.sync()
                phone.sync()
                assert {entry.id for entry in phone.view().entries} == {entry.id for entry in vault.view().entries}
                status = vault.status
                assert (status.pending, status.quarantined, status.findings) == (0, 0, ())
    phone.close()
    print(f"{KILLS} kills, {acknowledged} acknowledged acts, {len(told)} entries, seed {SEED}")
    assert acknowledged > KILLS, "the writer got to write something before it was killed"


EDITOR = (
    CHILD
    + """
shared, rounds = sys.argv[4], int(sys.argv[5])
for number in range(rounds):
    entry = vault.add("note", title=f"{seed}.{number}")
    vault.update(shared, labels=add(f"{seed}.{number}"))
    with vault.batch():
        vault.update(entry, password="p")
        vault.add("note", title=f"{seed}.{number} too")
say("done", len(vault.view()))
vault.close()
"""
)


def test_two_processes_edit_at_once(tmp_path: Path) -> None:
    """No edit is lost, no number is given twice, each sees what the other wrote."""
    path, rounds = tmp_path / "ann.vault", 25
    vault = Vault.create(path, schema=SCHEMA, key=KEY, environment=environment("two"))
    shared = vault.add("note", title="shared")
    two = [child(EDITOR, str(path), name, KEY.hex(), shared.id, str(rounds)) for name in ("left", "right")]
    for number in range(rounds):  # and this process is a third
        vault.update(shared.id, password=f"{number}")
    for process in two:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert json.loads(out)[0] == "done"
    view = vault.view()
    titles = sorted(str(entry["title"]) for entry in view.entries)
    wanted = ["shared"]
    for name in ("left", "right"):
        wanted += [f"{name}.{n}{too}" for n in range(rounds) for too in ("", " too")]
    assert titles == sorted(wanted)
    assert view[shared.id]["labels"] == {f"{name}.{n}" for name in ("left", "right") for n in range(rounds)}
    assert view[shared.id]["password"] == str(rounds - 1)
    assert all(
        entry["password"] == "p"
        for entry in view.entries
        if str(entry["title"]).count(".") and "too" not in str(entry["title"])
    )
    with vault._ledger.store.read() as reading:
        seqs = [row.seq for row in reading.journal(after=0)]
    assert len(seqs) == len(set(seqs)) == max(seqs)
    with Vault.open(path, schema=SCHEMA, key=KEY, environment=environment("three")) as again:
        assert again.view().entries == view.entries
        assert again.check().ok
    vault.close()


RACER = (
    CHILD
    + """
from vaultsync.errors import StoreBusy
rounds = int(sys.argv[4])
for number in range(rounds):
    with vault.batch():
        for part in range(rng.randint(1, 3)):
            vault.add("note", title=f"{seed}.{number}.{part}")
    if rng.random() < 0.7:
        try:
            vault.sync()
        except StoreBusy:
            pass
say("done")
vault.close()
"""
)


def test_races_of_two_processes_that_sync(tmp_path: Path) -> None:
    """Both pack and both push: no change is in two envelopes, no number is given twice, and nothing is found."""
    path, shared = tmp_path / "ann.vault", tmp_path / "shared"
    shared.mkdir()
    vault = Vault.create(path, schema=SCHEMA, password=PASSWORD, key=KEY, environment=environment("races"))
    vault.auto_sync = False
    vault.connect(shared.as_uri())
    vault.sync()
    two = [child(RACER, str(path), f"{SEED}/{name}", KEY.hex(), str(RACES)) for name in ("left", "right")]
    for number in range(RACES):  # and this process is a third
        vault.add("note", title=f"here.{number}")
        vault.sync()
    for process in two:
        process.communicate(timeout=600)
        assert process.returncode == 0, f"seed {SEED}"
    vault.sync()
    phone = Vault.join(
        tmp_path / "phone.vault", shared.as_uri(), schema=SCHEMA, password=PASSWORD, code=vault.recovery_code or "",
        key=KEY, background=False, environment=environment("phone of races"),
    )  # fmt: skip
    assert phone.view().entries == vault.view().entries
    with vault._ledger.store.read() as reading:
        chain = vault._ledger.actor
        own = [one for one in reading.envelopes(chain) if one.own]
        tip = reading.own_tip(chain)
    assert [one.seq for one in own] == list(range(1, len(own) + 1))
    parcels = [
        open_parcel(one.name, one.data, vault._works.identity, vault._works.identity.epoch_keys()) for one in own
    ]
    packed = [change.seq for parcel in parcels for change in parcel.changes]
    assert tip is not None
    assert packed == list(range(1, tip.seq + 1)), "each change is in one envelope, in order"
    assert len(vault._works.identity.roster.members[vault._works.identity.keys.public.id].chains) == 1
    for one in (vault, phone):
        assert (one.findings, one.status.quarantined, one.status.pending) == ((), 0, 0)
        one.close()
    print(f"{3 * RACES} races, {len(own)} envelopes, {len(packed)} changes, seed {SEED}")


def test_one_process_of_a_device_syncs_for_the_other() -> None:
    """Two objects on one file: what one fetches the other shows; what one writes the other sends."""
    remote = MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=remote, seed="laptop")
    phone = memory_vault(SCHEMA, joins=laptop, seed="phone")
    twin = Vault.open(
        laptop.path,
        schema=SCHEMA,
        key=KEY,
        environment=environment("twin"),
        opener=lambda url: remote,
        background=False,
    )
    here = laptop.add("note", title="from the one")
    assert twin.view()[here.id]["title"] == "from the one"
    assert twin.sync().sent == 1
    phone.sync()
    there = phone.add("note", title="from the phone")
    phone.sync()
    assert laptop.sync().received == 1
    assert twin.view()[there.id]["title"] == "from the phone"
    assert twin.sync().received == 0
    assert twin.update(there.id, password="by the twin").writable
    assert laptop.view()[there.id]["password"] == "by the twin"
    laptop.sync()
    phone.sync()
    assert phone.view()[there.id]["password"] == "by the twin"
    twin.close()
    phone.close()
    laptop.close()

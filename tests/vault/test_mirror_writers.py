"""Two real processes of one device that push at once, to a primary remote and to a mirror.

VAULTSYNC_RACES=100 pytest tests/vault/test_mirror_writers.py      a long run
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from vaultsync.remote import FolderRemote
from vaultsync.schema.kinds import file, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.sync import names
from vaultsync.testing import environment
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.vault import Vault

RACES = int(os.environ.get("VAULTSYNC_RACES", "1"))
SEED = int(os.environ.get("VAULTSYNC_SEED", "1"))
EDITS = 6
SCHEMA = Schema(
    "notes",
    version=1,
    platform="linux",
    types=[EntryType("note", fields=[Field("title", text), Field("scan", file)])],
)


class Noting(FolderRemote):
    """Writes down every object that is put, in one file for all processes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, create=True)
        self._notes = path.with_name(path.name + ".put")

    def put(self, name: str, data: bytes) -> None:
        super().put(name, data)
        with self._notes.open("a") as notes:
            notes.write(name + "\n")  # one write at the end of the file: whole


def opener(url: str) -> Noting:
    return Noting(Path(url.removeprefix("file://")))


CHILD = """
import random, sys
from pathlib import Path
from tests.vault.test_mirror_writers import EDITS, KEY, SCHEMA, opener
from vaultsync.vault.vault import Vault

path, who, seed, endless = sys.argv[1:]
rng = random.Random(f"{who} {seed}")
vault = Vault.open(path, schema=SCHEMA, key=KEY, opener=opener, background=False)
print("open", flush=True)
sys.stdin.readline()
number = 0
while number < EDITS or endless:
    number += 1
    entry = vault.add("note", title=f"{who} {number}")
    print(f"{who} {number}", flush=True)
    if rng.random() < 0.3:
        vault.attach(entry, "scan", f"{who} {number}".encode())
    if rng.random() < 0.6:
        vault.sync()
vault.sync()
vault.close()
"""


def begun(path: Path, who: str, seed: str, *, endless: bool = False) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), who, seed, "endless" if endless else ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def go(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def founded(folder: Path) -> tuple[Path, str]:
    """A vault with a primary remote and a mirror, and its recovery code."""
    with Vault.create(
        folder / "a.vault", schema=SCHEMA, password=PASSWORD, key=KEY, environment=environment("mirror writers"),
    ) as vault:  # fmt: skip
        vault.auto_sync = False
        for number, where in enumerate(("primary", "mirror")):
            url = f"file://{folder / where}"
            vault.connect(url, remote=opener(url), mirror=bool(number))
        vault.sync()
        return Path(vault.path), vault.recovery_code or ""


def objects(folder: Path) -> dict[str, bytes]:
    remote = FolderRemote(folder)
    there = [name for name in remote.list("") if names.parse_envelope(name) or names.parse_blob(name)]
    return {name: remote.get(name) for name in there}


def check(folder: Path, path: Path, code: str, titles: set[str], note: str) -> None:
    """The same on both remotes, each number once, and whoever joins from the mirror has everything."""
    with Vault.open(path, schema=SCHEMA, key=KEY, opener=opener, background=False) as vault:
        vault.sync()
        assert (vault.status.pending, vault.status.findings) == (0, ()), note
        assert [mirror.pending for mirror in vault.status.mirrors] == [0], note
        assert titles <= {str(entry["title"]) for entry in vault.view()}, note
        scans = {entry.id for entry in vault.view() if entry["scan"] is not None}
    there = objects(folder / "mirror")
    assert there == objects(folder / "primary"), note
    places = [(place.chain, place.seq) for name in there if (place := names.parse_envelope(name)) is not None]
    assert len(set(places)) == len(places), f"{note}: a number twice"
    assert {seq for _, seq in places} == set(range(1, len(places) + 1)), note
    with Vault.join(
        folder / "joined.vault", "file://mirror", schema=SCHEMA, password=PASSWORD, code=code, key=KEY,
        environment=environment("joined"), opener=lambda url: FolderRemote(folder / "mirror"), background=False,
    ) as joined:  # fmt: skip
        assert titles <= {str(entry["title"]) for entry in joined.view()}, note
        for entry in scans:
            assert joined.read_attachment(entry).decode() == joined.view()[entry]["title"], note


@pytest.mark.parametrize("race", range(RACES))
def test_two_processes_send_everything_once_to_each_remote(race: int, tmp_path: Path) -> None:
    path, code = founded(tmp_path)
    processes = [begun(path, who, f"{SEED}.{race}") for who in ("one", "two")]
    go(processes)
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    for where in ("primary", "mirror"):
        put = Counter((tmp_path / f"{where}.put").read_text().split())
        twice = [name for name, count in put.items() if count > 1 and ("/env/" in name or "/blob/" in name)]
        assert not twice, f"race {race}, seed {SEED}: {where}: {twice}"
    check(tmp_path, path, code, {f"{who} {n + 1}" for who in ("one", "two") for n in range(EDITS)}, f"race {race}")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("race", range(RACES))
def test_one_of_two_is_killed_while_both_push(race: int, tmp_path: Path) -> None:
    """What it said is there, on both; the other one is not held up."""
    path, code = founded(tmp_path)
    rng = random.Random(f"{SEED} {race}")
    killed, other = begun(path, "killed", f"{SEED}.{race}", endless=True), begun(path, "other", f"{SEED}.{race}")
    go([killed, other])
    time.sleep(rng.uniform(0.2, 1.5))
    killed.send_signal(signal.SIGKILL)
    said, _ = killed.communicate(timeout=120)
    rest, _ = other.communicate(timeout=120)
    assert (killed.returncode, other.returncode) == (-signal.SIGKILL, 0)
    titles = {line for line in (said + rest).split("\n") if line}
    check(tmp_path, path, code, titles, f"race {race}, seed {SEED}")

"""kill -9 at every statement that writes, with the shelf in use: afterwards it says what the document says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vault.test_shelf import SCHEMA, check, fill, reopen
from vaultsync.testing import environment
from vaultsync.testing.vaults import KEY
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Entry

CHILD = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from tests.vault.test_shelf import SCHEMA
from vaultsync.store import connect
from vaultsync.testing import environment
from vaultsync.testing.vaults import KEY
from vaultsync.vault import shelf as shelves
from vaultsync.vault.vault import Vault

path, at = Path(sys.argv[1]), int(sys.argv[2])
shelves.MOST_LOOSE = 2
seen = 0

class Deadly:
    def __init__(self, real):
        self.real = real
    def execute(self, sql, parameters=()):
        global seen
        if sql.split()[0] in ("INSERT", "DELETE", "UPDATE", "COMMIT", "SAVEPOINT", "RELEASE"):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.real.execute(sql, parameters)
    def close(self):
        self.real.close()
    @property
    def in_transaction(self):
        return self.real.in_transaction

world = replace(environment(f"child {at}"), connect=lambda path: Deadly(connect(path)))
vault = Vault.open(path, schema=SCHEMA, key=KEY, environment=world, background=False)
entries = vault.view().entries
for number in range(4):
    vault.update(entries[number], title=f"edit {number}")
    print(number, flush=True)
vault._picture.shelve()
vault.update(entries[4], title="edit 4")
print(4, flush=True)
vault.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_killed_at_every_write(tmp_path: Path) -> None:
    path = tmp_path / "ann.vault"
    world = replace(environment("killed"))
    with Vault.create(path, schema=SCHEMA, key=KEY, environment=world) as vault:
        ids = fill(vault, 70)
        vault.view()
    kept = path.read_bytes()
    order = [entry.id for entry in reopened(path)]
    step = int(os.environ.get("VAULTSYNC_KILL_STEP", "9"))
    for at in range(1, 400, step):
        path.write_bytes(kept)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        ran = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), str(at)], capture_output=True, text=True, check=False
        )
        acknowledged = [int(line) for line in ran.stdout.split()]
        with reopen(path) as vault:
            view = vault.view()
            for number in acknowledged:
                assert view[order[number]].title == f"edit {number}", f"killed at {at}"
            assert vault._ledger.on_shelf(), f"killed at {at}"
            check(vault, prepared=None)
        if ran.returncode == 0:
            break
        assert ran.returncode == -signal.SIGKILL, ran.stderr
    else:
        pytest.fail("more writes than expected")
    assert acknowledged == [0, 1, 2, 3, 4]
    assert len(ids) == 70


def reopened(path: Path) -> list[Entry]:
    with reopen(path) as vault:
        return list(vault.view().entries)

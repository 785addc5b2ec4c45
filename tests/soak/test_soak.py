"""A short soak for every run; the long one is ``python -m tests.soak``."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.soak.world import FolderPlace, RelayPlace, Soak

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends SIGSTOP")
SECONDS = float(os.environ.get("VAULTSYNC_SOAK_SECONDS", "5"))


@pytest.mark.parametrize("remote", ["folder", "relay"])
def test_killed_devices_lose_nothing_and_end_up_equal(remote: str, tmp_path: Path) -> None:
    if remote == "relay":
        pytest.importorskip("uvicorn", reason="the extra [relay] is not installed")
        pytest.importorskip("httpx", reason="the extra [http] is not installed")
    seed = os.environ.get("VAULTSYNC_SEED") or secrets.token_hex(4)
    print(f"VAULTSYNC_SEED={seed}")
    place = RelayPlace(tmp_path) if remote == "relay" else FolderPlace(tmp_path)
    came = Soak(tmp_path, 3, SECONDS, seed, place, pause=0.15).run()
    print(came)
    assert isinstance(came["acknowledged"], int)
    assert came["acknowledged"] > 0

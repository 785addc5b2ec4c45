"""What a vault takes from the world around it: time, randomness, the cost of key derivation, the disk.

Everything below the vault gets these as arguments, so a simulated history replays from one seed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vaultsync.crypto.primitives import DEFAULT, Argon2Params
from vaultsync.store import Connect
from vaultsync.vault.replication.machine import machine_id

__all__ = ["REAL", "Environment"]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Environment:
    """Clock, entropy, key-derivation cost and disk of one vault object.

    ``now_ms``     milliseconds since the epoch; shown to people and stored as ``$edited``, never decides a merge
    ``monotonic``  seconds of a clock that never jumps: for durations and waiting
    ``entropy``    ``n -> n random bytes``
    ``argon2``     cost of deriving a key from the password when a vault is made
    ``weak_keys``  accept parameters below the published bounds: tests only
    ``python``     the command that runs Python for verifying checkpoints; ``None`` for ``sys.executable``. A frozen
                   application has none and takes no checkpoints, unless it brings an interpreter and says so here
    ``machine``    names the machine, the same after a restart; "" where nothing does
    ``connect``    opens a database file; ``None`` for the ordinary way (tests put a faulty disk there)
    """

    now_ms: Callable[[], int] = _now_ms
    monotonic: Callable[[], float] = time.monotonic
    entropy: Callable[[int], bytes] = os.urandom
    argon2: Argon2Params = DEFAULT
    weak_keys: bool = False
    connect: Connect | None = None
    python: tuple[str, ...] | None = None
    machine: Callable[[], str] = machine_id

    def store_options(self) -> dict[str, Any]:
        return {} if self.connect is None else {"connect": self.connect}


REAL = Environment()

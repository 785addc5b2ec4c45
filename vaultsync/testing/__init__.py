"""What the library's own tests are made of, shipped so that yours can use it too. Nothing in production imports it.

``memory_vault``  a vault for a test: a real file, no key-derivation cost, gone when closed
``MemoryRemote``  a remote in memory; ``FaultyRemote`` around any remote loses, delays, repeats and truncates;
                  ``LyingRemote`` withholds, rolls back, and shows each device something else
``environment``   seeded clock and randomness, so that what went wrong once goes wrong again
``simulate``      devices at several versions share a vault over a faulty remote, checked against the truth
``check_lens``    tries a lens of your own on generated values
``rehearse``      devices at several versions of your own schema, hundreds of histories in seconds (``rehearsal``)
``strategies``    Hypothesis strategies for values, cells and whole schema timelines
``contracts``     suites that every implementation of a port has to pass

Hypothesis and pytest (``pip install vaultsync[testing]``) are needed for the last three only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaultsync.testing import contracts, strategies
    from vaultsync.testing.lenses import LensBroken, check_lens
    from vaultsync.testing.rehearsal import (
        RehearsalFailed,
        assert_rehearsed,
        check_lock,
        rehearse,
        write_lock,
    )
    from vaultsync.testing.remotes import Faults, FaultyRemote, LyingRemote, MemoryRemote
    from vaultsync.testing.seeded import Clock, Entropy, environment
    from vaultsync.testing.simulator import SimulationFailed, simulate
    from vaultsync.testing.vaults import MemoryVault, memory_vault

_HOMES = {
    "lenses": ("LensBroken", "check_lens"),
    "seeded": ("Clock", "Entropy", "environment"),
    "rehearsal": ("RehearsalFailed", "assert_rehearsed", "check_lock", "rehearse", "write_lock"),
    "remotes": ("Faults", "FaultyRemote", "LyingRemote", "MemoryRemote"),
    "simulator": ("SimulationFailed", "simulate"),
    "vaults": ("MemoryVault", "memory_vault"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = frozenset({"contracts", "strategies"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if (home := _HOME_OF.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Clock",
    "Entropy",
    "Faults",
    "FaultyRemote",
    "LensBroken",
    "LyingRemote",
    "MemoryRemote",
    "MemoryVault",
    "RehearsalFailed",
    "SimulationFailed",
    "assert_rehearsed",
    "check_lens",
    "check_lock",
    "contracts",
    "environment",
    "memory_vault",
    "rehearse",
    "simulate",
    "strategies",
    "write_lock",
]

"""Relays for tests of vaults: in this process, on SQLite or PostgreSQL, and a vault's devices on them."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import vaultsync as vs
from vaultsync.presets.passwords import passwords
from vaultsync.relay import RelayConfig
from vaultsync.relay.server import RelayServer
from vaultsync.testing import environment

_SEEDS = itertools.count(1)
"""Every device another one: relays live longer than a test, and equal keys are the same vault to them."""
PATIENT: dict[str, Any] = {"bucket_rate": 1e6, "address_rate": 1e6}


@contextlib.contextmanager
def running(database: str, **config: Any) -> Iterator[RelayServer]:
    """A relay on a free port, ended in order."""
    server = RelayServer(RelayConfig(**{"database": database, "port": 0, **PATIENT, **config}))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive())
    assert server.started
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], object], seconds: float = 20.0) -> float:
    """Wait for it; how long it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise AssertionError("it did not happen in time")
        time.sleep(0.005)
    return time.monotonic() - started


def create(folder: Path, name: str = "Laptop") -> vs.Vault:
    return vs.Vault.create(
        folder / f"{name}.vault",
        schema=passwords(4, "linux"),
        password="pw",
        device=name,
        environment=environment(next(_SEEDS)),
    )


def join(folder: Path, url: str, code: str | None, name: str = "Phone") -> vs.Vault:
    return vs.Vault.join(
        folder / f"{name}.vault",
        url,
        schema=passwords(2, "android"),
        password="pw",
        code=code,
        device=name,
        environment=environment(next(_SEEDS)),
    )


def pair(folder: Path, sponsor: vs.Vault, name: str = "Tablet", **more: Any) -> vs.Vault:
    """Pair by invitation, both sides at once, the codes compared."""
    codes: list[str] = []
    made: list[Any] = []
    with sponsor.invite() as pairing:
        text = pairing.invitation

        def newcomer() -> None:
            try:
                made.append(
                    vs.Vault.join(
                        folder / f"{name}.vault",
                        *more.pop("url", ()),
                        invitation=text,
                        show_code=codes.append,
                        schema=passwords(3, "ios"),
                        password="other",
                        device=name,
                        timeout=30.0,
                        environment=environment(next(_SEEDS)),
                    )
                )
            except BaseException as error:
                made.append(error)

        thread = threading.Thread(target=newcomer)
        thread.start()
        while not made and pairing.poll() is not vs.PairingStage.COMPARING:
            pairing.wait(0.5)
        if not made:
            until(lambda: codes or made)
            assert codes == [pairing.code]
            pairing.approve()
            while not made and pairing.poll() is not vs.PairingStage.DONE:
                pairing.wait(0.5)
        thread.join(30)
        pairing.poll()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]  # type: ignore[no-any-return]

"""A relay under load: many devices wait for news of their vaults, some edit, and each edit must soon be everywhere.

``python -m benchmarks.relay_load --devices 1000 --vaults 200 --edits-per-second 50 --seconds 60``

Starts a relay process, speaks its protocol from another one (signed requests, a connection of its own for every waiting
device), and prints a Markdown section. What is measured is the time from the moment at which an edit was due, so that a
relay that falls behind cannot hide it, until the bytes of its object have arrived at another device of the vault: the
put, the news that name it and the get, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks import sections
from vaultsync.crypto.keys import AccessKey
from vaultsync.remote.signing import SCHEME, Membership, bucket_of, request_parts

OBJECT_BYTES: Final = 636  # an envelope with one edited field
SETTLE_SECONDS: Final = 10.0
ROOT: Final = Path(__file__).resolve().parent.parent


class Connection:
    """HTTP/1.1, one request at a time, kept open."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, target: str, authorization: str, body: bytes = b"") -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        head = f"{method} {target} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Length: {len(body)}\r\n"
        head += f"Authorization: {authorization}\r\n\r\n" if authorization else "\r\n"
        writer.write(head.encode("ascii") + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: ([0-9]+)", answered, re.IGNORECASE)
        return int(answered[9:12]), await reader.readexactly(int(length[1]) if length else 0)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


@dataclass
class Figures:
    """Seconds, but for the counts."""

    arrived: list[float] = field(default_factory=list)
    put: list[float] = field(default_factory=list)
    edits: int = 0
    requests: int = 0
    refused: int = 0


class Device:
    """One that waits, and has a second connection to put with."""

    def __init__(self, vault: Vault, key: AccessKey) -> None:
        self.vault, self.key = vault, key
        self.connection = Connection(vault.host, vault.port)
        self._nonce, self._counter = b"", 0

    async def signed(
        self, method: str, path: str, body: bytes = b"", connection: Connection | None = None
    ) -> tuple[int, bytes]:
        connection = connection or self.connection
        if not self._nonce:
            _, said = await connection.request("POST", "/v1/challenge", "")
            self._nonce = bytes.fromhex(json.loads(said)["nonce"])
        self._counter += 1
        target, digest = f"/v1/{self.vault.bucket}{path}", hashlib.sha256(body).digest()
        host = f"{self.vault.host}:{self.vault.port}"
        parts = request_parts(self._nonce, self._counter, digest, method, host, target)
        fields = f"key={self.key.public.hex()}, nonce={self._nonce.hex()}, counter={self._counter}"
        signature = self.key.sign("relay-request", *parts).hex()
        self.vault.figures.requests += 1
        return await connection.request(
            method, target, f"{SCHEME} {fields}, body={digest.hex()}, signature={signature}", body
        )

    async def live(self) -> None:
        """Wait for news, get what they name, without end."""
        cursor = ""
        while True:
            status, said = await self.signed("GET", f"/news?since={cursor}&seconds=50")
            if status != 200:
                self.vault.figures.refused += 1
                await asyncio.sleep(1.0)
                continue
            listing = json.loads(said)
            if listing["cursor"] == cursor:
                continue
            if "added" not in listing:
                _, said = await self.signed("GET", f"/objects?prefix=v/&since={cursor}")
                listing = json.loads(said)
            if cursor:
                for name in listing["added"]:
                    await self._fetch(name)
            else:
                self.vault.ready += 1
            cursor = listing["cursor"]

    async def _fetch(self, name: str) -> None:
        due = self.vault.due.get(name)
        if due is None or due[0] is self:
            return
        status, data = await self.signed("GET", f"/objects/{name}")
        if status == 200 and len(data) == OBJECT_BYTES:
            self.vault.figures.arrived.append(time.perf_counter() - due[1])


class Vault:
    """A bucket and its devices."""

    def __init__(self, number: int, devices: int, host: str, port: int, figures: Figures) -> None:
        self.host, self.port, self.figures = host, port, figures
        self._owner = AccessKey(hashlib.sha256(b"owner %d" % number).digest())
        self.bucket = bucket_of(self._owner.public).hex()
        keys = [AccessKey(hashlib.sha256(b"%d %d" % (number, at)).digest()) for at in range(devices)]
        self.devices = [Device(self, key) for key in keys]
        self.due: dict[str, tuple[Device, float]] = {}
        self.ready = 0
        self._writing = Connection(host, port)
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        owner, members = self._owner, [device.key.public for device in self.devices]
        body = Membership.edit(owner.sign, owner.public, 0, members).to_json()
        status, _ = await self.devices[0].signed("PUT", "/members", body)
        if status != 200:
            raise SystemExit(f"the relay does not begin a vault: {status}")

    async def edit(self, number: int, draw: random.Random, due: float) -> None:
        device = draw.choice(self.devices)
        name, body = f"v/env/{device.key.public[:16].hex()}/{number:012d}-{number:032x}", draw.randbytes(OBJECT_BYTES)
        self.due[name] = (device, due)
        async with self._turn:
            status, _ = await device.signed("PUT", f"/objects/{name}", body, self._writing)
        if status == 201:
            self.figures.put.append(time.perf_counter() - due)
        else:
            self.figures.refused += 1

    def close(self) -> None:
        for connection in (self._writing, *(device.connection for device in self.devices)):
            connection.close()


async def play(url: str, arguments: argparse.Namespace, pid: int | None) -> str:
    """The load; what came out, as Markdown."""
    parts, figures, draw = urlsplit(url), Figures(), random.Random(arguments.seed)
    share, rest = divmod(arguments.devices, arguments.vaults)
    vaults = [
        Vault(n, share + (n < rest), parts.hostname or "", parts.port or 80, figures) for n in range(arguments.vaults)
    ]
    for vault in vaults:
        await vault.begin()
    waiting = [asyncio.create_task(device.live()) for vault in vaults for device in vault.devices]
    while sum(vault.ready for vault in vaults) < arguments.devices:
        for task in waiting:
            if task.done():
                task.result()
        await asyncio.sleep(0.05)
    idle, mine = _usage(pid), time.process_time()
    started, requests = time.perf_counter(), figures.requests
    edits: list[asyncio.Task[None]] = []
    due, expected = started, 0
    while (due := due + draw.expovariate(arguments.edits_per_second)) < started + arguments.seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        vault = draw.choice(vaults)
        edits.append(asyncio.create_task(vault.edit(len(edits), draw, due)))
        expected += len(vault.devices) - 1
    await asyncio.gather(*edits)
    busy, mine, took = _usage(pid), time.process_time() - mine, time.perf_counter() - started
    settle = time.perf_counter() + SETTLE_SECONDS
    while len(figures.arrived) < expected and time.perf_counter() < settle:
        await asyncio.sleep(0.05)
    figures.edits, asked = len(edits), figures.requests - requests
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for vault in vaults:
        vault.close()
    return _section(arguments, figures, expected, asked, idle, busy, mine, took)


# ---- the relay's process ------------------------------------------------------------------------------------------
@dataclass
class Usage:
    """``rss`` in bytes, ``cpu`` in seconds since the process began."""

    rss: int
    cpu: float


def _usage(pid: int | None) -> Usage | None:
    if pid is None or not Path(f"/proc/{pid}").exists():
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Usage(int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), ticks)


@contextlib.contextmanager
def relay(database: str | None) -> Iterator[tuple[str, int]]:
    """A relay process of its own: address and process id."""
    with tempfile.TemporaryDirectory(prefix="vaultsync-load-") as folder:
        place = ["--database", database] if database else ["--data", str(Path(folder) / "relay.db")]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "vaultsync", "relay", "--port", "0", *place),
                    *("--vault-rate", "1000000", "--address-rate", "1000000"),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
            )
            try:
                said = process.stdout.readline() if process.stdout else ""
                found = re.search(r"http://\S+:[0-9]+", said)
                if found is None:
                    raise SystemExit("the relay does not start")
                yield found[0], process.pid
            finally:
                process.terminate()
                process.wait(30)
                if process.stdout:
                    process.stdout.close()


# ---- what came out ------------------------------------------------------------------------------------------------
def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many are not above; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _section(
    arguments: argparse.Namespace,
    figures: Figures,
    expected: int,
    asked: int,
    idle: Usage | None,
    busy: Usage | None,
    mine: float,
    took: float,
) -> str:
    def ms(values: Sequence[float]) -> str:
        return " | ".join(f"{percentile(values, share) * 1000:.0f} ms" for share in (0.5, 0.99, 1.0))

    lines = [
        f"## A relay under load, on {'PostgreSQL' if arguments.database else 'SQLite'}",
        "",
        f"One relay process on {'PostgreSQL' if arguments.database else 'SQLite'}, {arguments.devices:,} waiting "
        f"devices of {arguments.vaults} vaults, {figures.edits / took:.1f} edits a second for {took:.0f} s "
        f"({asked / took:.0f} signed requests a second), {os.cpu_count()} CPUs shared with the load generator, "
        f"load average {os.getloadavg()[0]:.1f}.",
        "",
        "| | p50 | p99 | worst |",
        "|---|---|---|---|",
        f"| until another device has the object | {ms(figures.arrived)} |",
        f"| until the edit is acknowledged | {ms(figures.put)} |",
        "",
        f"Arrived: {len(figures.arrived):,} of {expected:,}; refused: {figures.refused}.",
    ]
    if idle and busy:
        lines.append(
            f"The relay's memory: {busy.rss / 2**20:.0f} MiB ({idle.rss / 2**20:.0f} MiB before the first edit); "
            f"CPU: {(busy.cpu - idle.cpu) / took * 100:.0f}% of one core, "
            f"{(busy.cpu - idle.cpu) / figures.edits * 1000:.1f} ms an edit and "
            f"{(busy.cpu - idle.cpu) / asked * 1000:.2f} ms a request."
        )
    lines.append(
        f"The generator's CPU: {mine / took * 100:.0f}% of one core, {mine / figures.edits * 1000:.1f} ms an edit."
    )
    return "\n".join(lines) + "\n"


def _run(playing: Coroutine[Any, Any, str]) -> str:
    """On uvloop where it is installed, as the relay does: the generator should not be what is measured."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(playing)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(playing)


def main(given: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay_load", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--vaults", type=int, default=200)
    parser.add_argument("--edits-per-second", type=float, default=50.0, help="of all vaults together")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", help="postgresql://… instead of a file")
    parser.add_argument("--out", type=Path, help="put what came out into this file of results, too")
    parser.add_argument("--url", help="a relay that runs already, with rates that allow it")
    arguments = parser.parse_args(given)
    if not 1 <= arguments.vaults <= arguments.devices:
        parser.error("each vault has at least one device")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * (arguments.devices + arguments.vaults) + 100
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))
    if arguments.url:
        text = _run(play(arguments.url, arguments, None))
    else:
        with relay(arguments.database) as (url, pid):
            text = _run(play(url, arguments, pid))
    print(text)
    if arguments.out:
        again = (
            f"python -m benchmarks.relay_load --devices {arguments.devices} --vaults {arguments.vaults} "
            f"--edits-per-second {arguments.edits_per_second:g} --seconds {arguments.seconds:g}"
        )
        again += " --database postgresql://…" if arguments.database else ""
        name = "relay-postgresql" if arguments.database else "relay"
        sections.put(arguments.out, name, f"{text.rstrip()}\n\nTo repeat: `{again}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())

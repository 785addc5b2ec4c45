"""What a soak is made of: device processes, a remote that is pulled away and meddled with, and the reckoning."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vaultsync as vs
from tests.soak.device import KEY, REAL_BUT_QUICK, SCHEMA, rows

ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "soak"


class FolderPlace:
    """A folder that is unplugged and plugged in again, and that a program like Dropbox meddles with."""

    def __init__(self, path: Path) -> None:
        self.shared, self.away = path / "shared", path / "unplugged"
        self.url = self.shared.as_uri()

    def start(self) -> None:
        """Nothing to start."""

    def disturb(self, rng: random.Random) -> str:
        """One disturbance, over when this returns."""
        what = rng.choice(["unplug", "conflict copy", "partial copy", "lose"])
        if what == "unplug":
            self.shared.rename(self.away)
            time.sleep(rng.uniform(0.1, 3))
            self.away.rename(self.shared)
            return what
        files = [path for path in self.shared.rglob("*") if "env" in path.parts and path.is_file()]
        if files:
            chosen = rng.choice(files)
            with suppress(OSError):
                if what == "conflict copy":
                    chosen.with_name(f"{chosen.name} (conflicted copy)").write_bytes(chosen.read_bytes()[:-3])
                    chosen.with_name(f"{chosen.name}.sync-conflict-20260101").write_bytes(b"")
                elif what == "partial copy":
                    whole = chosen.read_bytes()
                    part = chosen.with_name("." + chosen.name + ".copying")
                    part.write_bytes(whole[: len(whole) // 2])
                    part.replace(chosen)
                    time.sleep(rng.uniform(0, 0.5))
                    part.write_bytes(whole)
                    part.replace(chosen)
                else:
                    chosen.unlink()  # whoever holds it puts it back
        return what

    def stop(self) -> None:
        """Nothing to stop."""


class RelayPlace:
    """A relay as a process of its own, killed and started again on the same file."""

    def __init__(self, path: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.path = path
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.path / "relay.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vaultsync", "relay", "--port", str(self.port), "--data", "relay.db"],
                cwd=self.path, env=environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("the relay does not start: see relay.log")

    def disturb(self, rng: random.Random) -> str:
        assert self.process is not None
        if rng.random() < 0.5:
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.1, 3))
            self.process.send_signal(signal.SIGCONT)
            return "relay held"
        self.stop()
        time.sleep(rng.uniform(0, 2))
        self.start()
        return "relay killed"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass
class Soak:
    """``devices`` processes for ``seconds``; ``pause``: seconds between two edits of one, on average."""

    path: Path
    devices: int
    seconds: float
    seed: str
    place: FolderPlace | RelayPlace
    pause: float = 0.6
    counts: dict[str, int] = field(default_factory=dict)
    lives: int = 0

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # ---- running ----------------------------------------------------------------------------------------------
    def run(self) -> dict[str, object]:
        """Everything, and what came of it. Raises AssertionError with the seed when something was lost."""
        rng = random.Random(self.seed)
        self.place.start()
        running: dict[int, subprocess.Popen[bytes]] = {}
        try:
            self.found()
            for number in range(self.devices):
                running[number] = self.spawn(number)
            self.disturb(rng, running)
            (self.path / "stop").touch()
            for process in running.values():
                process.send_signal(signal.SIGCONT)
                assert process.wait(120) == 0, f"a device did not end in order, seed {self.seed}"
            started = time.monotonic()
            entries, rounds = self.settle()
            return {
                "seed": self.seed,
                "devices": self.devices,
                "seconds": self.seconds,
                "acknowledged": self.reckon(entries),
                "entries": len(entries),
                "equal after": f"{time.monotonic() - started:.1f} s, {rounds} rounds",
                **self.counts,
            }
        finally:
            for process in running.values():
                process.kill()
                process.wait()
            self.place.stop()

    def found(self) -> None:
        with vs.Vault.create(
            self.path / "0.vault", schema=SCHEMA, password=PASSWORD, key=KEY, device="0", environment=REAL_BUT_QUICK
        ) as first:
            first.connect(self.place.url)
            first.sync()
            for number in range(1, self.devices):
                vs.Vault.join(
                    self.path / f"{number}.vault", self.place.url, schema=SCHEMA, password=PASSWORD,
                    code=first.recovery_code, key=KEY, device=str(number), environment=REAL_BUT_QUICK,
                    background=False,
                ).close()  # fmt: skip

    def spawn(self, number: int) -> subprocess.Popen[bytes]:
        self.lives += 1
        arguments = (self.path, number, f"{self.seed}/{self.lives}", self.pause)
        with open(self.path / f"{number}.err", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.soak.device", *map(str, arguments)],
                cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def disturb(self, rng: random.Random, running: dict[int, subprocess.Popen[bytes]]) -> None:
        end = time.monotonic() + self.seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, rng.uniform(0.2, 3.0)))
            number = rng.randrange(self.devices)
            match rng.choice(["kill", "kill", "kill", "hold", "place", "place"]):
                case "kill":
                    self.died(running[number], number)
                    running[number].kill()
                    running[number].wait()
                    self.count("devices killed")
                    time.sleep(rng.uniform(0, 0.5))
                    running[number] = self.spawn(number)
                case "hold":
                    running[number].send_signal(signal.SIGSTOP)
                    time.sleep(rng.uniform(0.1, 2.0))
                    running[number].send_signal(signal.SIGCONT)
                    self.count("devices held")
                case _:
                    self.count(self.place.disturb(rng))
        for number, process in running.items():
            self.died(process, number)

    def died(self, process: subprocess.Popen[bytes], number: int) -> None:
        """Only we end them."""
        if process.poll() is not None:
            said = (self.path / f"{number}.err").read_text()[-2000:]
            raise AssertionError(f"device {number} ended by itself, seed {self.seed}: {said}")

    # ---- the reckoning ----------------------------------------------------------------------------------------
    def settle(self) -> tuple[dict[str, vs.Entry], int]:
        """Sync them in turn until nobody has anything to say, and see that all hold the same."""
        vaults = [self.opened(number) for number in range(self.devices)]
        try:
            rounds = 1
            while any(report.sent or report.received for report in [vault.sync() for vault in vaults]):
                rounds += 1
                assert rounds < 12, f"they go on sending, seed {self.seed}"
            waiting = [str(vault.status) for vault in vaults if vault.status.pending or vault.status.waiting]
            assert not waiting, f"somebody still waits, seed {self.seed}: {waiting}"
            heads = {vault._ledger.engine.heads for vault in vaults}
            assert len(heads) == 1, f"the documents differ, seed {self.seed}"
            shown = [self.shown(vault) for vault in vaults]
            for number, one in enumerate(shown):
                raws = {entry_id: dict(entry.raw) for entry_id, entry in one.items()}
                assert raws == {entry_id: dict(entry.raw) for entry_id, entry in shown[0].items()}, number
                assert vaults[number].check().ok, f"vault {number}, seed {self.seed}"
            return shown[0], rounds
        finally:
            for vault in vaults:
                vault.close()

    def opened(self, number: int) -> vs.Vault:
        return vs.Vault.open(
            self.path / f"{number}.vault", schema=SCHEMA, key=KEY, environment=REAL_BUT_QUICK, background=False
        )

    @staticmethod
    def shown(vault: vs.Vault) -> dict[str, vs.Entry]:
        view = vault.view()
        return {entry.id: entry for entry in (*view.entries, *view.trash, *view.archived, *view.hidden)}

    def rows(self, number: int) -> Iterator[dict[str, Any]]:
        return rows(self.path / f"{number}.log")

    def reckon(self, entries: dict[str, vs.Entry]) -> int:
        """How many edits were acknowledged; every one of them must be there."""
        lost, acknowledged, purged = [], 0, self.purged()
        for number in range(self.devices):
            counts: dict[str, int] = {}
            own = list(self.rows(number))
            acknowledged += sum(row["op"] != "deleting" for row in own)
            for row in own:
                entry = entries.get(str(row["id"]))
                if entry is None:
                    lost.append(row)
                elif row["op"] == "count":
                    counts[entry.id] = int(str(row["value"]))
                elif row["op"] == "tag" and entry.id not in purged and row["tag"] not in entry.get("tags", ()):
                    lost.append(row)
            for entry_id in counts.keys() - purged:
                found = int(entries[entry_id].get("count") or 0)
                if found < counts[entry_id]:
                    lost.append({"op": "count", "id": entry_id, "value": counts[entry_id], "found": found})
        assert not lost, f"acknowledged and lost, seed {self.seed}: {lost[:5]} of {len(lost)}"
        return acknowledged

    def purged(self) -> set[str]:
        """Entries that somebody purged: an edit beside it brings back what was edited, and not what came before."""
        rows = (row for number in range(self.devices) for row in self.rows(number))
        return {str(row["id"]) for row in rows if row["op"] == "deleting"}

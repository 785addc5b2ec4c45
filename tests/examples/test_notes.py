"""examples/notes.py in two terminals, by two processes, seen as a person sees them."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
pyte = pytest.importorskip("pyte", reason="pip install pyte")

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60.0
PROGRAM = f"""
import runpy, sys
from functools import partial
import vaultsync as vs
from vaultsync.crypto.primitives import WEAK_FOR_TESTS
from vaultsync.vault.environment import Environment
weak = Environment(argon2=WEAK_FOR_TESTS, weak_keys=True)
for name in ("create", "open", "join"):
    setattr(vs.Vault, name, partial(getattr(vs.Vault, name), environment=weak))
runpy.run_path({str(ROOT / "examples" / "notes.py")!r}, run_name="__main__")
"""
"""The program as it is, in a world where passwords cost little: with what they cost in earnest it is run by hand."""
UP, DOWN = "\x1bOA", "\x1bOB"


class Terminal:
    """One program on a pseudo-terminal of 80 by 24; ``shows`` waits for what a person would read."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.screen = pyte.Screen(80, 24)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "VAULTSYNC_PASSWORD": "pw"}
        environ |= {"LINES": "24", "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, "-c", PROGRAM, *words], environ)  # noqa: S606

    def read(self, seconds: float = 0.05) -> None:
        while select.select([self.file], [], [], seconds)[0]:
            try:
                data = os.read(self.file, 65536)
            except OSError:  # how Linux says that the other end is closed
                return
            if not data:
                return
            self.raw += data
            self.stream.feed(data)
            seconds = 0.0

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def until(self, holds: Callable[[], bool], what: str) -> float:
        started = time.monotonic()
        while not holds():
            assert time.monotonic() - started < PATIENCE, f"never {what}; on the screen:\n{self.text}"
            self.read()
        return time.monotonic() - started

    def shows(self, text: str) -> float:
        return self.until(lambda: text in self.text, f"showed {text!r}")

    def type(self, keys: str) -> None:
        os.write(self.file, keys.encode())

    def quit(self) -> int:
        self.type("q")
        end = time.monotonic() + PATIENCE
        while (ended := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            assert time.monotonic() < end, "does not quit"
            self.read()
        os.close(self.file)
        return os.waitstatus_to_exitcode(ended[1])

    def kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def test_two_terminals_update_each_other(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    laptop = Terminal(tmp_path, "laptop.vault", "--connect", "shared")
    terminals = [laptop]
    try:
        laptop.shows("Press Enter to begin.")
        code = laptop.text.partition("next device: ")[2].split("\n")[0].strip()
        laptop.type("\n")
        laptop.shows("No notes yet: press n.")
        laptop.shows("up to date")
        laptop.type("nShopping\n")
        laptop.shows("Laptop: 1 notes")

        phone = Terminal(tmp_path, "phone.vault", "--join", "shared", "--code", code)
        terminals.append(phone)
        phone.shows("Phone: 1 notes")
        phone.shows("Shopping")
        took = []
        for number in range(3):
            phone.type(f"aline {number} of the phone\n")
            took.append(laptop.shows(f"line {number} of the phone"))
            laptop.shows("•Shopping")  # marked as changed by somebody else
            laptop.type(f"aline {number} of the laptop\n")
            took.append(phone.shows(f"line {number} of the laptop"))
        print(f"seen in the other terminal after {max(took):.2f} s at most")

        second = Terminal(tmp_path, "laptop.vault")  # the same vault in one more terminal
        terminals.append(second)
        second.shows("line 2 of the laptop")
        second.type("nBy the second window\n")
        laptop.shows("By the second window")
        phone.shows("By the second window")

        (tmp_path / "shared").rename(tmp_path / "unplugged")
        phone.shows("offline")
        phone.type("nWritten offline\n")
        phone.shows("Written offline")
        (tmp_path / "unplugged").rename(tmp_path / "shared")
        laptop.shows("Written offline")
        phone.shows("up to date")

        laptop.until(lambda: laptop.screen.cursor is not None, "settled")
        laptop.type(DOWN * 5 + UP * 5 + "d")
        phone.shows("Phone: 2 notes")
        phone.until(lambda: "Shopping" not in phone.text, "forgot the deleted note")
        for terminal in terminals:
            assert terminal.quit() == 0, terminal.text
            assert b"Traceback" not in terminal.raw
    finally:
        for terminal in terminals:
            terminal.kill()


def test_a_wrong_password_is_one_sentence(tmp_path: Path) -> None:
    for words in (["laptop.vault", "--join", "nowhere", "--code", "x"],):
        terminal = Terminal(tmp_path, *words)
        try:
            terminal.shows("notes: ")
            assert b"Traceback" not in terminal.raw
        finally:
            terminal.kill()

"""Notes in a terminal that update while you look at them. Try it in two terminals:

    python examples/notes.py laptop.vault --connect /tmp/shared     # shows a recovery code once
    python examples/notes.py phone.vault --join /tmp/shared --code CODE

What is typed in one shows up in the other within a second; pull the folder away and both go on offline. A second
terminal on the *same* vault works as well. The tests run this file, in two terminals.
"""

from __future__ import annotations

import argparse
import curses
import getpass
import os
import threading
import time
from pathlib import Path

import vaultsync as vs

NOTE = vs.EntryType("note", label="Note", fields=[vs.Field("title", vs.text), vs.Field("body", vs.note)])
SCHEMA = vs.Schema("notes-example", version=1, types=[NOTE])
HELP = "n new  e rename  a append a line  d delete  arrows choose  q quit"
FRESH_SECONDS = 3.0
REPAINT_SECONDS = 20.0  # "for 3 minutes" goes on by itself


class App:
    """Paints when something happened, and not otherwise. All painting is done by the thread that reads the keys."""

    def __init__(self, vault: vs.Vault) -> None:
        self.vault = vault
        self.chosen: str | None = None
        self.fresh: dict[str, float] = {}  # entry id -> until when it is marked as changed by somebody else
        self.dirty = threading.Event()
        self.dirty.set()
        vault.subscribe(self.hear)

    def hear(self, event: vs.Event) -> None:
        """On the library's thread: note what changed, leave the painting to the other."""
        if event.kind in (vs.EventKind.MERGED, vs.EventKind.ELSEWHERE):
            self.fresh |= dict.fromkeys(event.entries, time.monotonic() + FRESH_SECONDS)
        self.dirty.set()

    # ---- what is seen ---------------------------------------------------------------------------------------------
    def paint(self, screen: curses.window) -> None:
        screen.erase()
        height, width = screen.getmaxyx()
        notes = self.vault.view().entries
        ids = [note.id for note in notes]
        if self.chosen not in ids:
            self.chosen = ids[-1] if ids else None
        at = ids.index(self.chosen) if self.chosen else 0
        rows, left = height - 3, max(12, width // 3)
        first = max(0, at - rows + 1)
        line(screen, 0, 0, width, f" {self.vault.devices[0].name}: {len(notes)} notes", curses.A_REVERSE)
        for row, note in enumerate(notes[first : first + rows]):
            mark = "•" if note.id in self.fresh else " "
            style = curses.A_BOLD | curses.A_REVERSE if note.id == self.chosen else curses.A_NORMAL
            line(screen, 1 + row, 0, left, f"{mark}{note.get('title') or '(no title)'}", style)
        body = str(notes[at].get("body") or "").splitlines() if notes else ["No notes yet: press n."]
        for row in range(rows):
            line(screen, 1 + row, left, 3, "│", curses.A_DIM)
        for row, text in enumerate(body[-rows:]):
            line(screen, 1 + row, left + 2, width - left - 2, text)
        line(screen, height - 2, 0, width, str(self.vault.status), curses.A_DIM)
        line(screen, height - 1, 0, width, HELP)
        screen.refresh()

    # ---- what is typed --------------------------------------------------------------------------------------------
    def press(self, screen: curses.window, key: str | int) -> bool:
        """Whether to go on."""
        ids = [note.id for note in self.vault.view()]
        at = ids.index(self.chosen) if self.chosen in ids else 0
        if key == "q":
            return False
        if key == "n" and (title := ask(screen, "Title: ")):
            self.chosen = self.vault.add("note", title=title).id
        elif key in (curses.KEY_UP, curses.KEY_DOWN, "k", "j") and ids:
            step = -1 if key in (curses.KEY_UP, "k") else 1
            self.chosen = ids[max(0, min(at + step, len(ids) - 1))]
        elif self.chosen in ids:
            note = self.vault.view()[self.chosen]  # edits are compared with what was seen: others' lines survive
            if key == "e" and (title := ask(screen, "New title: ")):
                self.vault.update(note, title=title)
            elif key == "a" and (text := ask(screen, "Line: ")):
                self.vault.update(note, body="\n".join(filter(None, [str(note.get("body") or ""), text])))
            elif key == "d":
                self.vault.delete(note)
        self.dirty.set()
        return True

    def run(self, screen: curses.window) -> None:
        curses.use_default_colors()
        curses.curs_set(0)
        screen.timeout(50)
        going, painted = True, 0.0
        while going:
            now = time.monotonic()
            for entry_id in [entry_id for entry_id, until in self.fresh.items() if until < now]:
                del self.fresh[entry_id]
                self.dirty.set()
            if self.dirty.is_set() or now - painted > REPAINT_SECONDS:
                self.dirty.clear()
                painted = now
                self.paint(screen)
            try:
                going = self.press(screen, screen.get_wch())
            except curses.error:  # nothing was typed
                continue


def line(screen: curses.window, row: int, column: int, width: int, text: str, style: int = curses.A_NORMAL) -> None:
    if width > 1 and row >= 0:
        screen.addnstr(row, column, text.ljust(width - 1), width - 1, style)


def ask(screen: curses.window, question: str) -> str:
    """A line typed at the bottom; Escape gives it up."""
    text, height, width = "", *screen.getmaxyx()
    screen.timeout(-1)
    try:
        while True:
            line(screen, height - 1, 0, width, question + text[-(width - len(question) - 2) :], curses.A_BOLD)
            key = screen.get_wch()
            if key in ("\n", "\r", curses.KEY_ENTER):
                return text.strip()
            if key == "\x1b":
                return ""
            if key in (curses.KEY_BACKSPACE, "\x7f", "\b"):
                text = text[:-1]
            elif isinstance(key, str) and key.isprintable():
                text += key
    finally:
        screen.timeout(50)


def opened(options: argparse.Namespace) -> vs.Vault:
    password = os.environ.get("VAULTSYNC_PASSWORD") or getpass.getpass()
    device = options.device or options.vault.stem.capitalize()
    if options.vault.exists():
        return vs.Vault.open(options.vault, schema=SCHEMA, password=password)
    if options.join is not None:
        url, code = options.join.resolve().as_uri(), options.code or input("Recovery code: ")
        return vs.Vault.join(options.vault, url, schema=SCHEMA, password=password, code=code, device=device)
    vault = vs.Vault.create(options.vault, schema=SCHEMA, password=password, device=device)
    print(f"Recovery code, for the next device: {vault.recovery_code}")
    input("Press Enter to begin. ")
    return vault


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vault", type=Path)
    parser.add_argument("--connect", type=Path, metavar="FOLDER", help="sync through this folder from now on")
    parser.add_argument("--join", type=Path, metavar="FOLDER", help="be one more device of the vault in this folder")
    parser.add_argument("--code", help="the recovery code, to join with")
    parser.add_argument("--device", help="what this device is called")
    options = parser.parse_args()
    try:
        with opened(options) as vault:
            if options.connect is not None:
                vault.connect(options.connect.resolve().as_uri())
            curses.wrapper(App(vault).run)
    except vs.VaultSyncError as error:
        raise SystemExit(f"notes: {error}") from None


if __name__ == "__main__":
    main()

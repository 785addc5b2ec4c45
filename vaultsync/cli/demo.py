"""``vaultsync demo``: the story of two devices at different releases that share one vault, played with real ones.

This module acts; `demo_show` draws. What is drawn is asked of the two vaults after they acted: no count, status,
sentence or value of an outcome is written here. The vaults, the folder between them and the encryption are real.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vaultsync import Entry, ImportReport, NotEditable, SyncReport, Vault, View
from vaultsync.cli.demo_show import Stage
from vaultsync.errors import UsageError, VaultExists
from vaultsync.importers.sample import write_bitwarden
from vaultsync.presets.passwords import NEWEST, passwords

__all__ = ["Outcome", "play", "run_demo"]

PASSWORD: Final = "demo"  # noqa: S105 - of vaults that hold nobody's data
ITEMS: Final = 60
OLD_VERSION: Final = 2
ARRIVES_WITHIN: Final = 8.0
"""Seconds that the last step waits for an edit to arrive by itself."""


@dataclass
class Outcome:
    """The two vaults at the end, still open, and what was picked to look at."""

    laptop: Vault
    phone: Vault
    report: ImportReport
    watched: dict[str, str] = field(default_factory=dict)
    """What each watched entry is an example of -> its id."""
    syncs: list[tuple[str, SyncReport]] = field(default_factory=list)
    refusal: str = ""
    seconds: float | None = None
    """How long an edit took to arrive by itself; None if it did not."""
    found_in_clear: int = 0


def run_demo(keep: str | None) -> None:
    """Play it in a temporary folder, or in ``keep``, and leave nothing behind unless it was asked for."""
    started = time.monotonic()
    with _folder(keep) as folder:
        stage = Stage()
        with play(folder, stage):
            pass
        stage.end(time.monotonic() - started, folder if keep is not None else None, PASSWORD)


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is not None:
        folder = Path(keep)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise VaultExists(f"{keep} is there already and not an empty folder: name another one for --keep")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {keep}: {error.strerror}") from None
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="vaultsync-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def play(folder: Path, stage: Stage, *, items: int = ITEMS, **options: Any) -> Iterator[Outcome]:
    """The whole story. ``options`` go to `Vault.create` and `Vault.join` (tests: an environment with cheap keys)."""
    with ExitStack() as stack:
        yield _Story(folder, stage, stack, items, options).tell()


class _Story:
    def __init__(self, folder: Path, stage: Stage, stack: ExitStack, items: int, options: dict[str, Any]) -> None:
        self.folder = folder
        self.stage = stage
        self.stack = stack
        self.items = items
        self.options = options

    def tell(self) -> Outcome:
        stage = self.stage
        newest, oldest = passwords(NEWEST, "windows"), passwords(OLD_VERSION, "android")
        stage.begin(newest, oldest)

        stage.step("The Laptop makes a vault and imports a Bitwarden export")
        export = self.folder / "bitwarden.json"
        write_bitwarden(export, self.items)
        with stage.working("Deriving keys"):
            laptop = self.stack.enter_context(
                Vault.create(
                    self.folder / "laptop.vault", schema=newest, password=PASSWORD, device="Laptop", **self.options
                )
            )
        code = laptop.recovery_code or ""
        report = laptop.import_file(export)
        stage.imported(report)

        stage.step("The Phone joins through a shared folder, with password and recovery code")
        shared = self.folder / "shared-folder"
        laptop.auto_sync = False  # so that the story decides who knows what, and when
        laptop.connect(shared.as_uri())
        sent = laptop.sync()
        stage.code(code)
        with stage.working("Deriving keys"):
            phone = self.stack.enter_context(
                Vault.join(
                    self.folder / "phone.vault", shared.as_uri(), schema=oldest, password=PASSWORD, code=code,
                    device="Phone", background=False, **self.options,
                )
            )  # fmt: skip
        phone.auto_sync = False
        laptop.sync()
        stage.joined(phone.view(), sent)

        outcome = Outcome(laptop, phone, report)
        stage.step("Both are offline, and both are used")
        self._offline(outcome)

        stage.step("They meet again: each sends and fetches what is new")
        for name, vault in (("Laptop", laptop), ("Phone", phone), ("Laptop", laptop)):
            outcome.syncs.append((name, vault.sync()))
        stage.synced(outcome.syncs)

        stage.step("One vault, two views: each device shows what its release understands")
        views = (laptop.view(), phone.view())
        stage.side_by_side(*views, outcome.watched)
        stage.step("What each device tells its person")
        stage.told(*views)
        stage.planned("Laptop", laptop.upgrade_plan())

        stage.step("Nothing is lost where both were used")
        stage.concurrent(laptop, phone, outcome.watched)
        outcome.refusal = self._refused(phone, outcome.watched["passkey added"])
        stage.refused(outcome.refusal)

        stage.step("The folder holds sealed bytes only")
        outcome.found_in_clear = stage.folder(shared, laptop.view())

        stage.step("From here on it syncs by itself")
        outcome.seconds = self._by_itself(outcome)
        stage.arrived(outcome.seconds)
        return outcome

    # ---- what people do ---------------------------------------------------------------------------------------
    def _offline(self, outcome: Outcome) -> None:
        laptop, phone, watched = outcome.laptop, outcome.phone, outcome.watched
        pick = _Picker(laptop.view(), phone.view())
        both, passkey, partly, deleted = pick.plain(), pick.plain(), pick.plain(), pick.plain()
        watched["passkey added"] = passkey
        watched["two edits"] = both
        watched["edited in part"] = partly
        watched["deleted, edited"] = deleted
        act = self.stage.act

        act(laptop, "adds a passkey to", laptop.update(passkey, passkeys=["demo-credential"]))
        act(laptop, "sets auto-type, which phones don't have, of", laptop.update(partly, auto_type="{USER}{TAB}{PASS}"))
        document = laptop.add("document", title="Passport scan", notes="Renew in time.")
        wifi = laptop.add("wifi", title="Home Wi-Fi", ssid="Fritz 7590", security="WPA3")
        watched["desktop only"], watched["new type"] = document.id, wifi.id
        act(laptop, "adds", document)
        act(laptop, "adds", wifi)
        act(laptop, "changes the user name of", laptop.update(both, username="ann@laptop.example"))
        doomed = laptop.view()[deleted]
        laptop.delete(doomed)
        act(laptop, "deletes", doomed)

        old_note = phone.add(
            "wifi_note", title="Wi-Fi at the cabin", network="Cabin", notes="Password is on the fridge."
        )
        watched["retired type"] = old_note.id
        act(phone, "adds", old_note)
        act(phone, "changes the user name of", phone.update(both, username="ann@phone.example"))
        act(phone, "tags", phone.update(partly, tags={"from-the-phone"}))
        act(phone, "writes a note in", phone.update(deleted, notes="Still needed!"))
        self.stage.acted()

    @staticmethod
    def _refused(vault: Vault, entry_id: str) -> str:
        """What editing an entry that must not be edited here says; "" if it was let through."""
        try:
            vault.update(entry_id, username="someone")
        except NotEditable as error:
            return str(error)
        return ""

    def _by_itself(self, outcome: Outcome) -> float | None:
        """An edit on the Phone with automatic sync on, until the Laptop shows it."""
        laptop = outcome.laptop
        laptop.auto_sync = True
        entry_id = outcome.watched["two edits"]
        outcome.phone.update(entry_id, username="ann@both.example")
        started = time.monotonic()
        outcome.phone.sync()
        return _until(lambda: laptop.view()[entry_id]["username"] == "ann@both.example", started)


def _until(true: Callable[[], bool], started: float) -> float | None:
    while not true():
        if time.monotonic() - started > ARRIVES_WITHIN:
            return None
        time.sleep(0.02)
    return time.monotonic() - started


class _Picker:
    """Logins that both devices show in full, one after the other, each with a title of its own."""

    def __init__(self, laptop: View, phone: View) -> None:
        titles = [entry.title for entry in laptop.entries]
        self._left = iter(
            entry.id
            for entry in laptop.entries
            if entry.type == "login"
            and titles.count(entry.title) == 1
            and _whole(entry)
            and _whole(phone.get(entry.id))
        )

    def plain(self) -> str:
        return next(self._left)


def _whole(entry: Entry | None) -> bool:
    return entry is not None and entry.status.value == "complete" and bool(entry.get("username"))

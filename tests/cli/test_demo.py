"""The demo: what it shows is what the two vaults say, in any width, and it leaves nothing behind."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vaultsync import Entry, Status, Vault, View
from vaultsync.cli import demo
from vaultsync.cli.demo_show import Stage, describe
from vaultsync.crypto.primitives import WEAK_FOR_TESTS
from vaultsync.vault.environment import Environment

WEAK = Environment(argon2=WEAK_FOR_TESTS, weak_keys=True)


class Played:
    def __init__(self, outcome: demo.Outcome, text: str) -> None:
        self.outcome = outcome
        self.text = text
        self.laptop = outcome.laptop.view()
        self.phone = outcome.phone.view()
        self.steps = re.split(r"(?m)^\d+\. ", text)


def played(folder: Path, items: int, width: int) -> Iterator[Played]:
    out = io.StringIO()
    stage = Stage(Console(file=out, width=width, highlight=False, markup=False, color_system=None))
    with demo.play(folder, stage, items=items, environment=WEAK) as outcome:
        yield Played(outcome, out.getvalue())


@pytest.fixture(params=[(60, 80), (35, 120), (140, 100)], ids=lambda p: f"{p[0]} items, {p[1]} columns")
def story(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Played]:
    yield from played(tmp_path, *request.param)


def numbers(view: View) -> list[int]:
    complete = sum(e.status is Status.COMPLETE for e in view)
    return [complete, len(view) - complete, len(view.hidden), len(view.archived), len(view.trash)]


def test_what_it_shows_is_what_the_vaults_say(story: Played) -> None:
    table = story.steps[5]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if "│" in line]
    counts = [tuple(map(int, row[1:])) for row in rows if row[1].isdigit()]
    # The last step edits once more, and nothing that changes a status.
    assert counts == list(zip(numbers(story.laptop), numbers(story.phone), strict=True))
    flat = [" ".join(" ".join(row[i] for row in rows).split()) for i in (1, 2)]
    for column, view in zip(flat, (story.laptop, story.phone), strict=True):
        for entry_id in story.outcome.watched.values():
            assert " ".join(describe(view, entry_id).plain.split()) in column
    told = " ".join(story.steps[6].split())
    for view in (story.laptop, story.phone):
        for notice in view.notices:
            assert " ".join(str(notice).split()) in told
    plan = story.outcome.laptop.upgrade_plan()
    assert plan.types
    assert " ".join(str(plan.types[0]).split()) in told


def test_it_has_everything_that_it_is_there_to_show(story: Played) -> None:
    watched, laptop, phone = story.outcome.watched, story.laptop, story.phone
    assert phone[watched["passkey added"]].status is Status.FLAGGED
    assert phone[watched["edited in part"]].status is Status.FLAGGED
    assert phone[watched["desktop only"]].reason == "platform"
    assert phone[watched["new type"]].reason == "version"
    assert laptop[watched["retired type"]].status is Status.ARCHIVED
    assert phone[watched["retired type"]].status is Status.COMPLETE
    for view in (laptop, phone):
        assert view[watched["deleted, edited"]].status is Status.COMPLETE
        assert view[watched["deleted, edited"]]["notes"].endswith("Still needed!")
    assert laptop[watched["edited in part"]]["auto_type"]
    assert laptop[watched["edited in part"]]["tags"] >= {"from-the-phone"}
    assert "passkeys" in story.outcome.refusal
    assert story.outcome.refusal.split(":")[0] in " ".join(story.steps[7].split())
    assert story.outcome.seconds is not None
    assert story.outcome.found_in_clear == 0
    assert story.outcome.report.complete


def test_the_loser_of_a_concurrent_edit_is_read_from_the_vault(story: Played) -> None:
    section = story.steps[7]
    shown = re.findall(r"(Laptop|Phone):\s+(\S+)\s+\(kept: (\S+) from (\w+)\)", section)
    assert len(shown) == 2
    revisions = story.outcome.laptop.history(story.outcome.watched["two edits"])
    written = {r.device: r.after["username"] for r in revisions if "username" in r.after and r.event == "edit"}
    for _, winner, loser, device in shown:
        assert {winner, loser} == {"ann@laptop.example", "ann@phone.example"}
        assert loser in [r.after.get("username") for r in revisions if r.device == device]
    assert written.keys() == {"Laptop", "Phone"}


def test_lines_fit_and_have_no_colours(story: Played) -> None:
    assert "\x1b" not in story.text
    widest = max(map(len, story.text.splitlines()))
    assert widest <= 120


def test_another_outcome_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the Phone's edit the delete wins, and without its lock the refusal is gone: none of it is typed in."""
    update = Vault.update

    def without_the_note(vault: Vault, entry: Any, /, **values: Any) -> Entry:
        if "notes" in values:
            return vault.view()[entry]
        return update(vault, entry, **({} if "passkeys" in values else values))

    monkeypatch.setattr(Vault, "update", without_the_note)
    for story in played(tmp_path, 40, 100):
        entry_id = story.outcome.watched["deleted, edited"]
        assert story.laptop[entry_id].status is story.phone[entry_id].status is Status.TRASHED
        section = story.steps[7].split("One deleted it")[1].split("The Phone edited")[0]
        assert section.count("in the trash") == 2
        assert "alive" not in section
        assert "let through" in story.text


def test_it_finds_what_is_in_the_clear(tmp_path: Path) -> None:
    for story in played(tmp_path, 30, 80):
        title = next(e.title for e in story.laptop if e.title and len(e.title) > 6)
        (tmp_path / "leak").mkdir()
        (tmp_path / "leak" / "file").write_text(f"…{title}…")
        assert Stage(Console(file=io.StringIO())).folder(tmp_path / "leak", story.laptop) >= 1

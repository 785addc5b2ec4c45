"""Every example is run as a person would run it, and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAYS = {
    "two_devices.py": (
        "Phone 1.0 shows Ann Lee, +1 555 0100 (flagged)",
        "1 Passport needs 2.0 or later",
        "Laptop 2.0 shows Ann Miller, 2 phone numbers",
    ),
}


ELSEWHERE = {
    "backend.py": "tests/examples/test_backend.py",  # needs a server
    "notes.py": "tests/examples/test_notes.py",  # needs a terminal
}


def test_every_example_is_run_by_a_test() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == SAYS.keys() | ELSEWHERE.keys()
    for example, test in ELSEWHERE.items():
        assert example in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("example", sorted(SAYS))
def test_the_example_runs(example: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for sentence in SAYS[example]:
        assert sentence in done.stdout
    assert not list(tmp_path.iterdir()), "examples clean up after themselves"

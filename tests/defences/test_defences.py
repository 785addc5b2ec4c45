"""That the catalogue of defences is up to date, and that its script notices what is not missed.

All of them: ``python -m tests.defences``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.defences.__main__ import ROOT, missed
from tests.defences.catalogue import DEFENCES, Defence


@pytest.mark.parametrize("defence", DEFENCES, ids=[defence.name for defence in DEFENCES])
def test_each_passage_stands_where_the_catalogue_says(defence: Defence) -> None:
    source = (Path(ROOT) / "vaultsync" / defence.file).read_text()
    assert source.count(defence.old) == 1
    compile(source.replace(defence.old, defence.new), defence.file, "exec")
    assert all((Path(ROOT) / path).exists() for path in defence.tests.split())


def test_a_defence_that_is_taken_away_turns_a_test_red() -> None:
    signature = next(defence for defence in DEFENCES if defence.name == "envelope: signature")
    assert missed(signature)


def test_what_is_no_defence_is_not_missed() -> None:
    nothing = Defence(
        "nothing",
        "crypto/envelope.py",
        '"not an envelope, or not of a permitted size"',
        '"no"',
        "tests/crypto/test_body.py",
    )
    assert not missed(nothing)

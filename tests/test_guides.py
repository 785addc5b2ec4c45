"""The guides are run: every Python block, in order, and what stands behind a ``print`` is what it prints."""

from __future__ import annotations

import ast
import io
import itertools
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import vaultsync as vs
from vaultsync import testing

ROOT = Path(__file__).resolve().parent.parent
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


def blocks(text: str) -> list[tuple[int, str]]:
    """Line number and contents of every Python block."""
    found = re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [(text[: match.start(1)].count("\n"), match.group(1)) for match in found]


def promised(code: str) -> list[str]:
    """The output that a block's comments promise: behind a ``print``, or in the lines below it."""
    lines = code.split("\n")
    promises: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            last = (node.end_lineno or node.lineno) - 1
            behind = lines[last][node.end_col_offset or 0 :]
            if "#" in behind:
                promises.append((last, behind.split("#", 1)[1].strip()))
                continue
            below = itertools.takewhile(lambda line: line.startswith("# "), lines[last + 1 :])
            promises += [(last + 1 + number, line[2:].strip()) for number, line in enumerate(below)]
    return [text for _, text in sorted(promises)]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Closes every vault that a guide makes and, being short, leaves open."""
    made: list[vs.Vault] = []
    real: Callable[..., vs.Vault] = testing.memory_vault

    def memory_vault(*args: Any, **more: Any) -> vs.Vault:
        made.append(real(*args, **more))
        return made[-1]

    monkeypatch.setattr(testing, "memory_vault", memory_vault)
    yield
    for vault in made:
        vault.close()


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.stem))
def test_a_guide_does_what_it_says(path: Path, memory: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "guide"}
    found = blocks(path.read_text(encoding="utf-8"))
    assert found
    for number, code in found:
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile("\n" * number + code, str(path), "exec"), names)  # noqa: S102
        assert printed.getvalue().splitlines() == promised(code), f"{path.name}, line {number}"


def test_every_recipe_has_a_block() -> None:
    text = (ROOT / "docs" / "guides" / "changing-your-schema.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        title = section.split("\n")[0]
        assert title == "Which recipe" or "```python" in section, title


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.stem))
def test_what_guides_name_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\bvs\.(\w+)", text):
        assert hasattr(vs, name), name
    for name in re.findall(r"`vault\.(\w+)", text):
        assert hasattr(vs.Vault, name), name
    for name in re.findall(r"`entry\.(\w+)", text):
        assert hasattr(vs.Entry, name), name
    for name in re.findall(r"`plan\.(\w+)", text):
        assert hasattr(vs.UpgradePlan, name), name
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)\)", text):
        assert (path.parent / target).exists(), target

"""The architecture as a test: which layer may import which, who may touch which library, and that no layer is
unknown."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vaultsync"

#: layer -> the layers it may import besides itself. ``errors`` and ``limits`` are open to everybody.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "limits": set(),
    "schema": set(),
    "view": {"schema"},
    "document": set(),
    "crypto": set(),
    "store": set(),
    "remote": set(),
    "sync": {"document"},
    "relay": {"crypto"},
    "vault": {"store", "remote", "sync", "document", "view", "schema", "crypto", "importers"},
    "presets": {"schema"},
    "importers": {"schema", "presets"},
    "cli": {"vault", "presets", "importers", "schema", "view", "sync", "remote", "relay"},
    "testing": {"vault", "store", "remote", "sync", "document", "view", "schema", "crypto", "presets", "importers"},
    "": {"vault", "schema", "view", "sync", "importers"},  # the public face, vaultsync/__init__.py
}
ONLY_IMPORTER = {
    "automerge": {"vaultsync/document/engine.py"},
    "cryptography": {"vaultsync/crypto"},
    "sqlite3": {"vaultsync/store", "vaultsync/relay"},
    "obstore": {"vaultsync/remote/objects.py"},
    "httpx": {"vaultsync/remote"},
    "starlette": {"vaultsync/relay"},
    "uvicorn": {"vaultsync/relay"},
    "psycopg": {"vaultsync/relay"},
    "segno": {"vaultsync/vault/membership/qr.py"},
    "typer": {"vaultsync/cli"},
    "rich": {"vaultsync/cli"},
    "hypothesis": {"vaultsync/testing"},
    "pytest": {"vaultsync/testing"},
}
EVERYBODY = {"errors", "limits"}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)


def layer_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py").replace("__init__", "").replace("__main__", "cli")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import statement, wherever it stands in the module."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            if module == "vaultsync":
                for alias in node.names:
                    yield node.lineno, f"vaultsync.{alias.name}"
            else:
                yield node.lineno, module


def broken_arrows(path: Path) -> list[str]:
    here, found = layer_of(path), []
    for line, name in imports(path):
        parts = name.split(".")
        place = f"{path.relative_to(ROOT)}:{line}"
        if parts[0] == "vaultsync":
            there = parts[1] if len(parts) > 1 else ""
            if "." not in name.removeprefix("vaultsync.") and not any(layer_of(p) == there for p in modules()):
                there = ""  # a name of the public face
            if there not in ALLOWED[here] | EVERYBODY | {here} and not (there == "" and here in ("cli", "testing")):
                found.append(f"{place}: {here or 'vaultsync'} -> {there or 'vaultsync'}")
            if here == "sync" and there == "document" and parts[2:3] != ["changes"]:
                found.append(f"{place}: sync may use document.changes only")
        owners = ONLY_IMPORTER.get(parts[0])
        if owners and not any(str(path.relative_to(ROOT)).startswith(owner) for owner in owners):
            found.append(f"{place}: only {', '.join(sorted(owners))} may import {parts[0]}")
    return found


def test_every_layer_is_known() -> None:
    unknown = {layer_of(p) for p in modules()} - ALLOWED.keys()
    assert not unknown, f"say in ALLOWED what these layers may import: {unknown}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows(path: Path) -> None:
    assert not broken_arrows(path)


def test_a_broken_arrow_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "vaultsync" / "view" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("from ..store import Store\nimport automerge.core\nfrom vaultsync import crypto\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "vaultsync")
    assert len(broken_arrows(bad)) == 3


def test_importing_the_package_is_light() -> None:
    """No optional dependency, no test tool and no document engine start-up cost for somebody who only declares a
    schema."""
    code = "import vaultsync, sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not {"typer", "rich", "hypothesis", "pytest", "obstore", "httpx", "starlette", "uvicorn", "psycopg"} & set(
        loaded
    )

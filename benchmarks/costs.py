"""``python -m benchmarks.costs``: how often each expensive thing happens in an operation, whatever the machine.

Times differ from machine to machine and from run to run; counts do not. The cost of an edit, a merge or an update of
the view must not depend on the size of the vault, and counting shows at once where it does::

    with counting() as counts:
        vault.update(entry_id, password="…")
    counts["entries evaluated"], counts["SQL statements"]

Names: ``entries evaluated``, ``rows sealed`` and ``rows opened`` (and each by table: ``rows opened: journal``),
``engine calls`` (and each: ``engine.read``), ``changes through the gate``, ``SQL statements``.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import sections, workload
from benchmarks.child import spread
from benchmarks.peers.vaultsync_peer import PEER, open_vault
from vaultsync.crypto.rows import LocalKey
from vaultsync.document import batch as batches
from vaultsync.document.engine import Engine
from vaultsync.store.connection import Database
from vaultsync.view import decide, forms

__all__ = ["counting", "measure"]

_ENGINE = ("new", "load", "commit", "apply", "read", "read_all", "read_at", "entry_ids", "conflicts", "save", "changes",
           "own_changes", "history", "verify_snapshot")  # fmt: skip


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count what the library does inside the block, in this process and all its threads."""
    counts: Counter[str] = Counter()
    undo: list[Callable[[], None]] = []

    def counted(owner: Any, name: str, labels: Callable[[tuple[Any, ...]], tuple[str, ...]]) -> None:
        stored = vars(owner)[name]
        inner = stored.__func__ if isinstance(stored, (classmethod, staticmethod)) else stored

        @functools.wraps(inner)
        def call(*arguments: Any, **named: Any) -> Any:
            for label in labels(arguments):
                counts[label] += 1
            return inner(*arguments, **named)

        setattr(owner, name, type(stored)(call) if isinstance(stored, (classmethod, staticmethod)) else call)
        undo.append(lambda: setattr(owner, name, stored))

    try:
        judge = decide.judge
        for module in [m for name, m in sys.modules.items() if name.startswith("vaultsync.")]:
            if vars(module).get("judge") is judge and module is not forms:
                counted(module, "judge", lambda _: ("entries evaluated",))
        counted(forms.Forms, "judge", lambda _: ("entries evaluated",))
        counted(LocalKey, "seal", lambda a: ("rows sealed", f"rows sealed: {a[1]}"))
        counted(LocalKey, "open", lambda a: ("rows opened", f"rows opened: {a[1]}"))
        counted(batches.Batch, "admit", lambda _: ("changes through the gate",))
        counted(Database, "rows", lambda _: ("SQL statements",))
        for name in _ENGINE:
            if name in vars(Engine):
                counted(Engine, name, lambda _, name=name: ("engine calls", f"engine.{name}"))  # type: ignore[misc]
        yield counts
    finally:
        for step in reversed(undo):
            step()


def measure(n: int, folder: Path) -> dict[str, Counter[str]]:
    """The counts of every operation on a vault of ``n`` entries, made in the empty ``folder``."""
    found: dict[str, Counter[str]] = {}

    def counted(name: str, action: Callable[[], Any]) -> Any:
        with counting() as counts:
            result = action()
        found[name] = +counts
        return result

    base, joined = folder / "base", folder / "joined"
    base.mkdir()
    joined.mkdir()
    PEER.create(base, list(workload.vault(n)))()
    vault = open_vault(base)
    vault.view().entries[0]
    vault.close()  # the second opening is the one that counts: the first may write what it found out
    vault = counted("open", lambda: open_vault(base))
    listed = counted("list", lambda: [(e.id, e.title, e.type, e.status) for e in vault.view().entries])
    counted("read all", lambda: [dict(entry.fields) for entry in vault.view().entries])
    counted("search", lambda: vault.view().search("nothing has this"))
    logins = spread([entry_id for entry_id, _, kind, _ in listed if kind == workload.LOGIN], 12)
    counted("first edit", lambda: vault.update(logins[0], password="first"))
    counted("edit", lambda: vault.update(logins[1], password="changed"))
    counted("view after an edit", vault.view)
    counted("delete", lambda: vault.delete(logins[2]))

    def ten() -> None:
        with vault.batch():
            for entry_id in logins[2:12]:
                vault.update(entry_id, title="batch")

    vault.restore(logins[2])
    counted("batch of 10 edits", ten)
    vault.close()
    PEER.publish(base)
    PEER.join(base, joined).close()
    pair = PEER.pair(base, joined)
    pair.edit(logins[3], "warm")
    pair.travel(logins[3])
    pair.edit(logins[4], "travels")
    counted("one edit travels", lambda: pair.travel(logins[4]))
    for entry_id in logins:
        pair.edit(entry_id, "many")
    counted("12 edits travel", lambda: pair.travel(logins[4]))
    pair.close()
    return found


def table(sizes: dict[int, dict[str, Counter[str]]]) -> str:
    """The counts side by side."""
    columns = ("entries evaluated", "rows opened", "rows sealed", "engine calls", "changes through the gate",
               "SQL statements")  # fmt: skip
    lines = ["| operation | N | " + " | ".join(columns) + " |", "|---|--:|" + "--:|" * len(columns)]
    for operation in next(iter(sizes.values())):
        for n, found in sizes.items():
            cells = " | ".join(f"{found[operation][column]:,}" for column in columns)
            lines.append(f"| {operation} | {n:,} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--n", default="1000,10000", help="numbers of entries (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="also by table and by call")
    parser.add_argument("--out", type=Path, help="put the table into this file of results, too")
    arguments = parser.parse_args()
    sizes = {}
    for n in map(int, arguments.n.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="vaultsync-costs-"))
        try:
            sizes[n] = measure(n, folder)
        finally:
            with suppress(OSError):
                shutil.rmtree(folder)
    print(table(sizes))
    if arguments.out:
        head, again = "## What an operation counts, at several sizes", f"`python -m benchmarks.costs --n {arguments.n}`"
        sections.put(arguments.out, "costs", f"{head}\n\n{table(sizes)}\n\nTo repeat: {again}")
    if arguments.all:
        for n, found in sizes.items():
            for operation, counts in found.items():
                print(f"{operation} at {n:,}: {dict(sorted(counts.items()))}")


if __name__ == "__main__":
    main()

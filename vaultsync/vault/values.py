"""Sealed values by name: what this device keeps beside the document, of whatever its parts have to remember."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from vaultsync.crypto.rows import LocalKey
from vaultsync.errors import BadSeal, DamagedStore
from vaultsync.store import Reading, Store
from vaultsync.vault.transaction import STATE

__all__ = ["Values"]

T = TypeVar("T")


class Values:
    """The reading half of a ledger's; they are written in its transactions (`Notes`)."""

    store: Store
    key: LocalKey

    def __init__(self) -> None:
        self._parsed: dict[str, tuple[Mapping[str, bytes], dict[str, tuple[bytes, Any]]]] = {}
        self._noted: dict[str, tuple[bytes, bytes | None]] = {}

    def _check_key(self, reading: Reading) -> None:
        """Raises `VaultClosed` when another process sealed everything anew."""
        raise NotImplementedError

    def state(self, name: str) -> bytes | None:
        """A value that was stored under a name."""
        return self.unseal_state(name, self.store.state(name))

    def noted(self, name: str) -> bytes | None:
        """The same, unsealed once for as long as it is sealed as it was: for what passes look at again and again, and
        holds no secret."""
        return self.unsealed(name, self.store.state(name))

    def unsealed(self, name: str, sealed: bytes | None) -> bytes | None:
        """The same of what was just read."""
        if sealed is None:
            return None
        kept = self._noted.get(name)
        if kept is None or kept[0] != sealed:
            kept = self._noted[name] = (sealed, self.unseal_state(name, sealed))
        return kept[1]

    def know(self, name: str, sealed: bytes, value: bytes) -> None:
        """What such a value says that is about to be stored; if it is not, another one is found in its place."""
        self._noted[name] = (sealed, value)

    def states(self, prefix: str) -> dict[str, bytes]:
        """Every stored value whose name begins with ``prefix``."""
        sealed = sorted((name, value) for name, value in self.store.states().items() if name.startswith(prefix))
        values = {name: self.unseal_state(name, value) for name, value in sealed}
        return {name: value for name, value in values.items() if value is not None}

    def parsed(self, prefix: str, parse: Callable[[str, bytes], T]) -> list[T]:
        """What `states` finds, parsed (name without the prefix, value): once for as long as it is sealed as it was.
        ``prefix`` stands for one way of parsing; nobody may change what comes back. As inside a transaction the store
        is read, values of others are never older than what that shows."""
        sealed = self.store.states()
        of, before = self._parsed.get(prefix, (None, {}))
        if of is sealed:
            return [value for _, value in before.values()]
        found: dict[str, tuple[bytes, Any]] = {}
        for name in sorted(name for name in sealed if name.startswith(prefix)):
            kept = before.get(name)
            if kept is None or kept[0] != sealed[name]:
                value = self.unseal_state(name, sealed[name]) or b""
                kept = (sealed[name], parse(name.removeprefix(prefix), value))
            found[name] = kept
        self._parsed[prefix] = sealed, found
        return [value for _, value in found.values()]

    def unseal_state(self, name: str, sealed: bytes | None) -> bytes | None:
        try:
            return None if sealed is None else self.key.open(STATE, name, sealed)
        except BadSeal:
            with self.store.read() as reading:
                self._check_key(reading)
            raise DamagedStore(
                f"the vault file is damaged: its setting {name!r} cannot be read", lost=(name,), whole=("the entries",)
            ) from None

"""Ready-made schemas. ``vaultsync.presets.passwords`` is a password manager's; importing this package loads none of
them."""

from __future__ import annotations

__all__: list[str] = []
